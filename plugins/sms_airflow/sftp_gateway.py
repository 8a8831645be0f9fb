"""The gateway over SFTP, for tasks (paramiko) and for triggers (asyncssh).

An Airflow connection of type sftp configures both (`gateway_login` reads it, `logging_in`
connects). Only this module turns an SSH or SFTP failure into one of our errors: either the gateway
refused a request, and a retry would not help, or it could not be reached.
"""

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import asyncssh
import paramiko
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_HANDLE,
    CMD_NAME,
    CMD_NAMES,
    CMD_OPENDIR,
    CMD_READDIR,
)

from sms import clock
from sms.delivery.gateway import Folder, RemoteFile
from sms.errors import (
    SUPPORT,
    ConfigurationError,
    GatewayError,
    GatewayRefused,
    GatewayUnreachable,
    UploadRefused,
)
from sms.wire.names import Phase, ReportName, announces_report
from sms.words import shown
from sms_airflow import logging_in
from sms_airflow.sizes import measured, measured_by

log = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER = 60.0  # seconds for one request: neither library has a limit
PROGRESS = 10.0  # seconds between two log lines of an upload
QUICK_CIPHER = "aes128-gcm@openssh.com"
# Bytes of one write: with its header it fills one SSH packet, and every server accepts that size.
BLOCK = 32_600
# Writes without an answer yet: more than OpenSSH's window of 2 MiB, and fewer than the hundred
# after which paramiko waits for all answers.
UNDER_WAY = 96
GOODBYE = 5.0  # seconds for closing a connection


@dataclass(frozen=True, slots=True)
class Account:
    """The provider's account, read from the sftp connection."""

    conn_id: str
    address: str
    service_id: str
    folders: dict[Folder, str] = field(default_factory=dict)


class ListingFailed(GatewayUnreachable):
    """A listing failed, but the connection still works."""


class SftpGateway:
    """A session at the gateway, opened by `with` (one SSH connection, closed at its end)."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._stack = contextlib.ExitStack()
        self._folders: dict[Folder, str] = {}

    def __enter__(self) -> Self:
        where = self._account.address
        with spoken(where, "connecting"):
            login = logging_in.login(self._account.conn_id)
            hook = logging_in.hook_of(login)
            with logging_in.telling_unpinned(login):
                self._client: paramiko.SFTPClient = self._stack.enter_context(
                    hook.get_managed_conn()
                )
        try:
            with spoken(where, "connecting"):
                channel = self._client.get_channel()
                assert channel
                channel.settimeout(ANSWER)
                if not hook.compress:
                    _prefer_quick_cipher(channel.get_transport())
            with spoken(where, "reading the login directory"):
                self._find_directories()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._stack.close()

    def listing(self, folder: Folder) -> list[RemoteFile]:
        """All files of a directory."""
        with self._spoken(f"listing {folder}"), _changing(folder):
            found = [
                RemoteFile(
                    _name(entry.filename, mode), self._size(folder, entry), _moment(entry.st_mtime)
                )
                for entry in _entries(self._client, self._folders[folder])
                if _is_listed(entry.filename, mode := _mode(entry.st_mode, entry.longname))
            ]
        return found

    def _size(self, folder: Folder, entry: paramiko.SFTPAttributes) -> int:
        """A file's size; measured by reading if the server gives none and it matters."""
        mode = _mode(entry.st_mode, entry.longname)
        if entry.st_size is None and not stat.S_ISDIR(mode) and _size_matters(entry.filename):
            return measured(self._client, self._path(folder, entry.filename))
        return entry.st_size or 0

    def fetch(self, folder: Folder, name: str, into: BinaryIO) -> None:
        """Copy a file's bytes into an open file."""
        path = self._path(folder, name)
        with self._spoken(f"fetching {name}"):
            try:
                self._client.getfo(path, into)
            except TypeError:  # paramiko fails if the server gives no size
                with self._client.open(path, "rb") as source:
                    source.prefetch(measured(self._client, path))
                    shutil.copyfileobj(source, into, BLOCK)

    def upload(self, name: str, source: BinaryIO) -> int:
        """Write a file into `Send`; returns the size that the gateway then reports."""
        path = self._path(Folder.SEND, name)
        with self._spoken(f"uploading {name}", UploadRefused):
            with self._client.file(path, "wb") as target:
                _write(target, source, Progress(name, _size(source)))
            size = self._client.stat(path).st_size
            return measured(self._client, path) if size is None else size

    def rename(self, old: str, new: str, may_leave: Callable[[], None] | None = None) -> None:
        """Rename within `Send` by SFTP's plain rename, which never overwrites (R27).

        `may_leave` is called right before the request's bytes leave this machine.
        """
        checked = self._checked_first(may_leave) if may_leave else contextlib.nullcontext()
        with self._spoken(f"renaming {old} to {new}"), checked:
            self._client.rename(self._path(Folder.SEND, old), self._path(Folder.SEND, new))

    def remove(
        self, folder: Folder, name: str, may_leave: Callable[[], None] | None = None
    ) -> bool:
        """Delete a file, False if there was none; `may_leave` is called as in `rename`."""
        checked = self._checked_first(may_leave) if may_leave else contextlib.nullcontext()
        with self._spoken(f"removing {name}"), checked:
            try:
                self._client.remove(self._path(folder, name))
            except FileNotFoundError:
                return False
        return True

    @contextlib.contextmanager
    def _checked_first(self, may_leave: Callable[[], None]) -> Iterator[None]:
        """Call `may_leave` before the first bytes that this thread writes in the block.

        This is as late as possible: a process that is suspended while paramiko builds the packet is
        still refused. A refusal closes the connection, which has counted that packet already.
        """
        channel = self._client.get_channel()
        assert channel
        transport, thread = channel.get_transport(), threading.get_ident()
        write = transport.packetizer.write_all

        def write_all(out: bytes) -> None:
            if threading.get_ident() == thread:
                transport.packetizer.write_all = write
                try:
                    may_leave()
                except BaseException:
                    transport.close()
                    raise
            write(out)

        transport.packetizer.write_all = write_all
        try:
            yield
        finally:
            transport.packetizer.write_all = write

    def _path(self, folder: Folder, name: str) -> str:
        return f"{self._folders[folder]}/{name}"

    def _spoken(
        self, doing: str, unexplained: type[GatewayRefused] = GatewayRefused
    ) -> contextlib.AbstractContextManager[None]:
        return spoken(self._account.address, doing, unexplained)

    def _find_directories(self) -> None:
        clock.verify(self._marker(), self._account.address)
        names = [entry.filename for entry in _entries(self._client, ".")]
        self._folders = resolve(self._account, names)

    def _marker(self) -> str | None:
        try:
            with self._client.open(clock.MARKER) as file:
                return str(file.read(200).decode("ascii", "replace")).strip()
        except (FileNotFoundError, PermissionError):  # a broken connection proves no missing marker
            return None


def _entries(client: paramiko.SFTPClient, path: str) -> list[paramiko.SFTPAttributes]:
    """A directory's entries. Paramiko's own listing stops at the first name that is not UTF-8."""
    directory = _answer(client, CMD_HANDLE, CMD_OPENDIR, path).get_binary()
    found: list[paramiko.SFTPAttributes] = []
    with contextlib.suppress(EOFError):  # the server's sign for the end of the listing
        while True:
            answer = _answer(client, CMD_NAME, CMD_READDIR, directory)
            for _ in range(answer.get_int()):
                name, longname = answer.get_string(), answer.get_string()
                entry = paramiko.SFTPAttributes._from_msg(
                    answer, _decoded(name), _decoded(longname)
                )
                if name not in (b".", b".."):
                    found.append(entry)
    client._request(CMD_CLOSE, directory)
    return found


def _answer(client: paramiko.SFTPClient, kind: int, *request: Any) -> paramiko.Message:
    """The server's answer to a request. Raises SFTPError if it is of another kind."""
    came, answer = client._request(*request)
    if came != kind:
        raise paramiko.SFTPError(f"the server answered by {CMD_NAMES.get(came, came)}")
    return answer


def _decoded(name: bytes) -> str:
    """A name as text. None of our names is non-UTF-8, so such a name need not be reversible."""
    return name.decode("utf-8", "backslashreplace")


def _mode(mode: int | None, longname: str | None) -> int:
    """A file's mode; without one, its type by the first letter of `longname`; 0 for unknown."""
    kinds = {"-": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "p": stat.S_IFIFO}
    return kinds.get((longname or "")[:1], 0) if mode is None else mode


def _is_listed(name: str, mode: int) -> bool:
    """Whether an entry is listed: a directory only if its name is like a report's.

    Its contents are not read, and may be STOPs.
    """
    return not stat.S_ISDIR(mode) or announces_report(name)


def _size_matters(name: str) -> bool:
    """Whether a file's size is used: that of a report, or of an upload that is not renamed."""
    return ReportName.parse(name) is not None or name.lower().endswith(f".{Phase.TMP}")


def _name(name: str, mode: int) -> str:
    """An entry's name; that of a link, pipe or device is marked, so that it is none of ours."""
    return name if not mode or stat.S_ISREG(mode) else f"{name} (no regular file)"


def _write(target: paramiko.SFTPFile, source: BinaryIO, progress: "Progress") -> None:
    """Write a whole file, with as many writes in flight as the connection can hold.

    Paramiko's own `put` waits for all answers after each hundred writes, so a connection to a
    distant server is idle for a whole round trip; here one answer is read for each write.
    """
    answers = target._reqs
    target.set_pipelined(True)
    while block := source.read(BLOCK):
        while len(answers) >= UNDER_WAY:
            target.sftp._read_response(answers.popleft())
        target.write(block)
        progress.add(len(block))
    while answers:  # a write that the server refused raises here, not after the file is closed
        target.sftp._read_response(answers.popleft())
    progress.end()


def _prefer_quick_cipher(transport: paramiko.Transport) -> None:
    """Negotiate a cipher that needs a third less CPU, the limit of uploads without compression.

    The hook applies the extra `ciphers` after the first negotiation, so this starts a second.
    """
    options = transport.get_security_options()
    if QUICK_CIPHER not in options.ciphers or transport.remote_cipher == QUICK_CIPHER:
        return
    others = [cipher for cipher in options.ciphers if cipher != QUICK_CIPHER]
    options.ciphers = (QUICK_CIPHER, *others)
    limit = threading.Timer(ANSWER, transport.close)  # paramiko has no limit
    limit.start()
    try:
        transport.renegotiate_keys()
    finally:
        limit.cancel()


class Progress:
    """Logs the progress of an upload every PROGRESS seconds, and its end."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._done = 0
        self._begun = self._logged = time.monotonic()

    def add(self, size: int) -> None:
        """Count bytes that were written."""
        self._done += size
        if time.monotonic() - self._logged >= PROGRESS:
            self._logged = time.monotonic()
            share = self._done / self._size if self._size else 1
            log.info("%s: %s, %.0f %%", self._name, self._so_far(), 100 * share)

    def end(self) -> None:
        """Log the end of the upload."""
        log.info("%s is uploaded: %s", self._name, self._so_far())

    def _so_far(self) -> str:
        seconds = max(time.monotonic() - self._begun, 0.001)
        megabytes = self._done / 1e6
        return f"{megabytes:.1f} MB in {seconds:.1f} s, {megabytes / seconds:.1f} MB/s"


def _size(source: BinaryIO) -> int:
    """The size of an open file; rewinds it."""
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size


@contextlib.asynccontextmanager
async def watching(account: Account) -> AsyncIterator["SftpWatch"]:
    """A session for triggers, which only lists directories."""
    stack = contextlib.AsyncExitStack()
    try:
        with spoken(account.address, "connecting"):
            client = await _within(ANSWER, _connect(account, stack))
        yield SftpWatch(client)
    finally:
        # A gateway that does not answer does not answer the closing either.
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            await _within(GOODBYE, stack.aclose())


async def _connect(account: Account, stack: contextlib.AsyncExitStack) -> asyncssh.SFTPClient:
    try:
        login = await logging_in.login_of(account.conn_id)
    except AirflowNotFoundException as error:
        # The connection existed when the wait began, and Airflow raises the same error for a
        # deleted connection and for a secrets backend that does not answer.
        raise GatewayUnreachable(
            f"{account.address} can't be reached, as Airflow finds no connection {account.conn_id}"
        ) from error
    try:
        client = await stack.enter_async_context(logging_in.connected(login))
    except (asyncssh.ConnectionLost, ConnectionResetError):
        await logging_in.compare_host_keys(login)
        raise
    clock.verify(await _async_marker(client), account.address)
    return client


async def _within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine. Raises TimeoutError after `seconds`, without waiting for its end.

    `asyncio.timeout` would wait for the cancelled coroutine. But asyncssh then closes the directory
    and waits for the server's answer: over a silent connection for ever.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


class SftpWatch:
    """Lists the gateway's directories repeatedly over one connection."""

    def __init__(self, client: asyncssh.SFTPClient) -> None:
        self._client = client
        self._spelled: dict[str, str] = {}
        self._at_once = asyncio.Semaphore(16)

    async def listing(self, account: Account, folder: Folder) -> list[RemoteFile]:
        """All files of a directory."""
        with spoken(account.address, f"listing {folder}"), _changing(folder):
            entries = await _within(ANSWER, self._files(account, folder))
        return entries

    async def _files(self, account: Account, folder: Folder) -> list[RemoteFile]:
        found: list[RemoteFile] = []
        unsized: list[Coroutine[Any, Any, RemoteFile]] = []
        for entry in await self._entries(account, folder):
            name, longname = _decoded(_raw(entry.filename)), _decoded(_raw(entry.longname or b""))
            mode, size = _mode(entry.attrs.permissions, longname), entry.attrs.size
            if not _is_listed(name, mode) or name in (".", ".."):
                continue
            file = RemoteFile(_name(name, mode), size or 0, _moment(entry.attrs.mtime))
            if size is None and not stat.S_ISDIR(mode) and _size_matters(name):
                where = await self._path(account, folder)
                unsized.append(self._measured(file, where + b"/" + _raw(entry.filename)))
            else:
                found.append(file)
        return found + list(await asyncio.gather(*unsized))

    async def _measured(self, file: RemoteFile, path: bytes) -> RemoteFile:
        async with self._at_once:
            return replace(file, size=await measured_by(self._client, path))

    async def _entries(self, account: Account, folder: Folder) -> Sequence[asyncssh.SFTPName]:
        try:
            try:
                return await self._client.readdir(await self._path(account, folder))
            except asyncssh.SFTPNoSuchFile:
                # The connection works: a file was renamed meanwhile, or the directory is gone. A
                # second request shows which, and does not disturb the other waits.
                self._spelled.clear()
                return await self._client.readdir(await self._path(account, folder))
        except asyncssh.SFTPFailure as error:
            # The server's code for any problem on its side: a full disk, too many open files.
            # Missing permissions and names have their own codes.
            raise ListingFailed(
                f"{account.address} failed while listing {folder} ({error or 'Failure'})"
            ) from error

    async def _path(self, account: Account, folder: Folder) -> bytes:
        """A directory's path in bytes, so that names come in bytes: asyncssh fails on non-UTF-8."""
        wanted = account.folders[folder]
        if wanted not in self._spelled:
            names = [_decoded(name) for name in await self._client.listdir(b".")]
            self._spelled[wanted] = spell(account, folder, names)
        return self._spelled[wanted].encode()


async def _async_marker(client: asyncssh.SFTPClient) -> str | None:
    try:
        async with client.open(clock.MARKER, "rb") as file:
            read = await file.read(200)
            assert isinstance(read, bytes), "the file was opened in binary mode"
            return read.decode("ascii", "replace").strip()
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied):
        return None


def resolve(account: Account, names: Sequence[str]) -> dict[Folder, str]:
    """The two directories in the gateway's spelling."""
    return {folder: spell(account, folder, names) for folder in account.folders}


def spell(account: Account, folder: Folder, names: Sequence[str]) -> str:
    """A directory in the gateway's spelling (R10: case is ambiguous). Raises GatewayRefused."""
    wanted = account.folders[folder]
    if "/" in wanted.strip("/"):  # deeper than the login directory: not looked up
        return wanted.rstrip("/")
    bare = wanted.strip("/")
    alike = [name for name in names if name.isascii() and name.lower() == bare.lower()]
    if bare in names:
        return bare
    if len(alike) > 1:
        raise GatewayRefused(
            f"{account.address} has {' and '.join(sorted(alike))}, and no {wanted}: write the "
            f"right one as {folder.lower()}_dir into the extras of the connection {account.conn_id}"
        )
    if not alike:
        raise GatewayRefused(
            f"{account.address} has no directory {wanted}, only "
            f"{', '.join(map(shown, sorted(names))) or 'an empty directory'}: correct "
            f"{folder.lower()}_dir in the extras of the connection {account.conn_id}"
        )
    return alike[0]


@contextlib.contextmanager
def spoken(
    where: str, doing: str, unexplained: type[GatewayRefused] = GatewayRefused
) -> Iterator[None]:
    """Turn errors of SSH, SFTP or the hook into our own, with a sentence.

    `unexplained` is the class for a refusal without a reason.
    """
    try:
        yield
    except GatewayError:
        raise
    except (paramiko.BadHostKeyException, asyncssh.HostKeyNotVerifiable) as error:
        raise _wrong_host_key(where) from error
    except (paramiko.IncompatiblePeer, asyncssh.KeyExchangeFailed) as error:
        # asyncssh offers only the pinned kind of host key.
        if "host key" in str(error):
            raise _wrong_host_key(where) from error
        raise _refused(where, doing, error) from error
    except (paramiko.AuthenticationException, asyncssh.PermissionDenied) as error:
        raise GatewayRefused(
            f"{where} refused the login while {doing}: check the login and the key or password "
            "of the connection; it is not tried again, so that the server does not block us"
        ) from error
    except paramiko.ssh_exception.NoValidConnectionsError as error:
        # No server listens there now. The error has no errno, like an answer of the server.
        raise _unreachable(where, doing, error) from error
    except paramiko.SSHException as error:
        if "known_hosts" in str(error):
            raise _wrong_host_key(where) from error
        if "No authentication methods" in str(error):  # no login was tried
            raise ConfigurationError(
                f"the connection to {where} can't be used: it has neither a key nor a password. "
                "Add the extra private_key or key_file"
            ) from error
        raise _unreachable(where, doing, error) from error
    except asyncssh.SFTPError as error:
        lost = asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection
        if isinstance(error, lost):
            raise _unreachable(where, doing, error) from error
        raise _refused(where, doing, error) from error
    except (EOFError, ConnectionError, TimeoutError, asyncssh.Error, paramiko.SFTPError) as error:
        raise _unreachable(where, doing, error) from error
    except OSError as error:
        if error.filename:  # a local file that the connection names
            raise ConfigurationError(
                f"the connection to {where} can't be used: {error.filename} can't be read "
                f"({error.strerror}); no login was tried"
            ) from error
        # paramiko gives neither an answer of the server nor a dead channel an errno.
        if error.errno is None and "closed" not in str(error).lower():
            raise _refused(where, doing, error, unexplained) from error
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EEXIST):
            raise _refused(where, doing, error) from error
        raise _unreachable(where, doing, error) from error
    except UnicodeError as error:
        raise GatewayRefused(
            f"{where} answered with bytes that are not text while {doing}"
        ) from error
    except (AirflowException, ValueError) as error:
        raise ConfigurationError(f"the connection to {where} can't be used: {error}") from error


@contextlib.contextmanager
def _changing(folder: Folder) -> Iterator[None]:
    """Raise ListingFailed if a listing fails because one of its files is renamed meanwhile."""
    try:
        yield
    except (FileNotFoundError, asyncssh.SFTPNoSuchFile) as error:
        raise ListingFailed(f"{folder} changed while it was being listed") from error


def _wrong_host_key(where: str) -> GatewayRefused:
    return GatewayRefused(
        f"the host key of {where} is not the one pinned in the connection (extra host_key): it may "
        "be another server in between. No login and no file was sent. Compare the key with the "
        "provider's before you change it"
    )


# The likely meaning of a server's refusal, and the remedy.
NO_RIGHT = (
    "this account has no right to do that there: see send_dir and report_dir of the connection, "
    f"and ask {SUPPORT}"
)
NO_ROOM = (
    "its disk, or our quota there, may be full. The partial file is removed, and the file is "
    f"uploaded again; if that continues, ask {SUPPORT}"
)


def _refused(
    where: str, doing: str, error: Exception, kind: type[GatewayRefused] = GatewayRefused
) -> GatewayRefused:
    message = f"{where} refused while {doing}: {error or type(error).__name__}"
    if isinstance(error, PermissionError | asyncssh.SFTPPermissionDenied):
        message += f"; {NO_RIGHT}"
    elif kind is UploadRefused:
        message += f"; {NO_ROOM}"
    else:
        message += f"; ask {SUPPORT} why, then clear the task"
    return kind(message)


def _unreachable(where: str, doing: str, error: Exception) -> GatewayUnreachable:
    return GatewayUnreachable(
        f"{where} can't be reached while {doing} ({str(error) or type(error).__name__})"
    )


def _moment(mtime: float | None) -> datetime | None:
    """A file's modification time; None if the server gives none."""
    return datetime.fromtimestamp(mtime, UTC) if mtime else None


def _raw(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode()

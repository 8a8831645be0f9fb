"""The gateway over SFTP, for tasks (paramiko) and for triggers (asyncssh).

An Airflow connection of type sftp is all that configures them (`gateway_login` reads it,
`logging_in` gets in). Here, and only here, an SSH or SFTP failure becomes an error of ours: either
the gateway refused us, which trying again won't change, or it could not be reached.
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
from sms.wire.names import Phase, ReportName
from sms.words import shown
from sms_airflow import logging_in
from sms_airflow.sizes import measured, measured_by

log = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER = 60.0  # seconds that one request may take: neither library has a limit of its own
PROGRESS = 10.0  # seconds between two lines in the log of an upload
QUICK_CIPHER = "aes128-gcm@openssh.com"
# Bytes of one write: with its header they fill one SSH packet, and every server takes that many.
BLOCK = 32_600
# Writes that wait for their answers: more than the 2 MiB that OpenSSH lets lie on the line, and
# fewer than the hundred after which paramiko lets the line run dry.
UNDER_WAY = 96
GOODBYE = 5.0  # seconds for ending a connection politely


@dataclass(frozen=True, slots=True)
class Account:
    """What the sftp connection says of the provider's account."""

    conn_id: str
    address: str
    service_id: str
    folders: dict[Folder, str] = field(default_factory=dict)


class ListingFailed(GatewayUnreachable):
    """A listing did not succeed, over a line that is sound."""


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
            with spoken(where, "looking around"):
                self._look_around()
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
                if not stat.S_ISDIR(mode := _mode(entry.st_mode, entry.longname))
            ]
        return found

    def _size(self, folder: Folder, entry: paramiko.SFTPAttributes) -> int:
        """A file's size, found by its bytes where the server tells none and it matters."""
        if entry.st_size is None and _size_matters(entry.filename):
            return measured(self._client, self._path(folder, entry.filename))
        return entry.st_size or 0

    def fetch(self, folder: Folder, name: str, into: BinaryIO) -> None:
        """Copy a file's bytes into an open file."""
        path = self._path(folder, name)
        with self._spoken(f"fetching {name}"):
            try:
                self._client.getfo(path, into)
            except TypeError:  # of paramiko, which adds to a size that it has not been told
                with self._client.open(path, "rb") as source:
                    source.prefetch(measured(self._client, path))
                    shutil.copyfileobj(source, into, BLOCK)

    def upload(self, name: str, source: BinaryIO) -> int:
        """Write a file into `Send`; returns the size that the gateway then reports."""
        path = self._path(Folder.SEND, name)
        with self._spoken(f"uploading {name}", UploadRefused):
            with self._client.file(path, "wb") as target:
                _write(target, source, Progress(name, _size(source)))
            told = self._client.stat(path).st_size
            return measured(self._client, path) if told is None else told

    def rename(self, old: str, new: str, may_leave: Callable[[], None] | None = None) -> None:
        """Rename within `Send` by the plain request, which refuses to overwrite (R27).

        `may_leave` is asked right before the request's bytes leave this machine.
        """
        asked = self._asked_first(may_leave) if may_leave else contextlib.nullcontext()
        with self._spoken(f"renaming {old} to {new}"), asked:
            self._client.rename(self._path(Folder.SEND, old), self._path(Folder.SEND, new))

    def remove(
        self, folder: Folder, name: str, may_leave: Callable[[], None] | None = None
    ) -> bool:
        """Delete a file, False if there was none; `may_leave` is asked as by `rename`."""
        asked = self._asked_first(may_leave) if may_leave else contextlib.nullcontext()
        with self._spoken(f"removing {name}"), asked:
            try:
                self._client.remove(self._path(folder, name))
            except FileNotFoundError:
                return False
        return True

    @contextlib.contextmanager
    def _asked_first(self, may_leave: Callable[[], None]) -> Iterator[None]:
        """Ask before the first bytes that this thread writes to the line in the block.

        As late as can be: whoever stands still for an hour while paramiko makes a packet of the
        request is still refused. What refuses ends the line, which has counted that packet.
        """
        channel = self._client.get_channel()
        assert channel
        transport, us = channel.get_transport(), threading.get_ident()
        write = transport.packetizer.write_all

        def write_all(out: bytes) -> None:
            if threading.get_ident() == us:
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

    def _look_around(self) -> None:
        clock.verify(self._marker(), self._account.address)
        here = [entry.filename for entry in _entries(self._client, ".")]
        self._folders = resolve(self._account, here)

    def _marker(self) -> str | None:
        try:
            with self._client.open(clock.MARKER) as file:
                return str(file.read(200).decode("ascii", "replace")).strip()
        except (FileNotFoundError, PermissionError):  # a line that broke says nothing of a marker
            return None


def _entries(client: paramiko.SFTPClient, path: str) -> list[paramiko.SFTPAttributes]:
    """A directory's entries. Paramiko's own listing ends at the first name that is not UTF-8."""
    directory = _answer(client, CMD_HANDLE, CMD_OPENDIR, path).get_binary()
    found: list[paramiko.SFTPAttributes] = []
    with contextlib.suppress(EOFError):  # which is how it says that there are no more
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
    """The server's answer to a request; any other kind than this one is not understood."""
    came, answer = client._request(*request)
    if came != kind:
        raise paramiko.SFTPError(f"the server answered by {CMD_NAMES.get(came, came)}")
    return answer


def _decoded(name: bytes) -> str:
    """A name as text. Of one that is not UTF-8 nothing is ours, so it need not be found again."""
    return name.decode("utf-8", "backslashreplace")


def _mode(mode: int | None, longname: str | None) -> int:
    """What kind of file it is, by the line for people where nothing else tells; 0 for unknown."""
    kinds = {"-": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "p": stat.S_IFIFO}
    return kinds.get((longname or "")[:1], 0) if mode is None else mode


def _size_matters(name: str) -> bool:
    """Whether something is decided by a file's size: a report's, or an upload's before its end."""
    return ReportName.parse(name) is not None or name.lower().endswith(f".{Phase.TMP}")


def _name(name: str, mode: int) -> str:
    """An entry's name; a link, a pipe or a device gets one that no file of ours can have."""
    return name if not mode or stat.S_ISREG(mode) else f"{name} (no regular file)"


def _write(target: paramiko.SFTPFile, source: BinaryIO, progress: "Progress") -> None:
    """Write all of it, with as many writes under way as the line can hold.

    Paramiko's own `put` waits for all answers after each hundred writes, so that a line to a
    server far away lies idle for a whole round trip; here one answer is read for each write.
    """
    answers = target._reqs
    target.set_pipelined(True)
    while block := source.read(BLOCK):
        while len(answers) >= UNDER_WAY:
            target.sftp._read_response(answers.popleft())
        target.write(block)
        progress.add(len(block))
    while answers:  # a write that the server refused is told here, not lost with the file's end
        target.sftp._read_response(answers.popleft())
    progress.end()


def _prefer_quick_cipher(transport: paramiko.Transport) -> None:
    """Agree on a cipher that costs a third less: where nothing is compressed, ours is the limit.

    The hook reads an extra `ciphers`, too late for the first agreement; so this makes a second.
    """
    options = transport.get_security_options()
    if QUICK_CIPHER not in options.ciphers or transport.remote_cipher == QUICK_CIPHER:
        return
    others = [cipher for cipher in options.ciphers if cipher != QUICK_CIPHER]
    options.ciphers = (QUICK_CIPHER, *others)
    limit = threading.Timer(ANSWER, transport.close)  # paramiko would wait for ever
    limit.start()
    try:
        transport.renegotiate_keys()
    finally:
        limit.cancel()


class Progress:
    """Tells the log how far an upload is, now and then, and at its end."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._done = 0
        self._begun = self._told = time.monotonic()

    def add(self, size: int) -> None:
        """So many bytes more have left."""
        self._done += size
        if time.monotonic() - self._told >= PROGRESS:
            self._told = time.monotonic()
            share = self._done / self._size if self._size else 1
            log.info("%s: %s, %.0f %%", self._name, self._so_far(), 100 * share)

    def end(self) -> None:
        """All of them have arrived."""
        log.info("%s is uploaded: %s", self._name, self._so_far())

    def _so_far(self) -> str:
        seconds = max(time.monotonic() - self._begun, 0.001)
        megabytes = self._done / 1e6
        return f"{megabytes:.1f} MB in {seconds:.1f} s, {megabytes / seconds:.1f} MB/s"


def _size(source: BinaryIO) -> int:
    """The bytes of a file that is about to be read from its beginning."""
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    return size


@contextlib.asynccontextmanager
async def watching(account: Account) -> AsyncIterator["SftpWatch"]:
    """A session of those who wait, that only lists."""
    stack = contextlib.AsyncExitStack()
    try:
        with spoken(account.address, "connecting"):
            client = await _within(ANSWER, _connect(account, stack))
        yield SftpWatch(client)
    finally:
        # A gateway that has fallen silent answers no goodbye either.
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            await _within(GOODBYE, stack.aclose())


async def _connect(account: Account, stack: contextlib.AsyncExitStack) -> asyncssh.SFTPClient:
    try:
        login = await logging_in.login_of(account.conn_id)
    except AirflowNotFoundException as error:
        # It was there when the wait began, and Airflow says the same of one that is deleted and of
        # a secrets backend that does not answer.
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
    """What the work comes to; TimeoutError after so long, whatever becomes of it then.

    `asyncio.timeout` would wait until it has ended by itself. But asyncssh closes a directory whose
    listing is cancelled, and waits for the answer to that: over a silent line for ever.
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
    """Lists the gateway's directories, again and again, over one connection."""

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
        untold: list[Coroutine[Any, Any, RemoteFile]] = []
        for entry in await self._entries(account, folder):
            name, longname = _decoded(_raw(entry.filename)), _decoded(_raw(entry.longname or b""))
            mode, size = _mode(entry.attrs.permissions, longname), entry.attrs.size
            if stat.S_ISDIR(mode) or name in (".", ".."):
                continue
            file = RemoteFile(_name(name, mode), size or 0, _moment(entry.attrs.mtime))
            if size is None and _size_matters(name):
                where = await self._path(account, folder)
                untold.append(self._measured(file, where + b"/" + _raw(entry.filename)))
            else:
                found.append(file)
        return found + list(await asyncio.gather(*untold))

    async def _measured(self, file: RemoteFile, path: bytes) -> RemoteFile:
        async with self._at_once:
            return replace(file, size=await measured_by(self._client, path))

    async def _entries(self, account: Account, folder: Folder) -> Sequence[asyncssh.SFTPName]:
        try:
            try:
                return await self._client.readdir(await self._path(account, folder))
            except asyncssh.SFTPNoSuchFile:
                # The line is sound: a file was renamed meanwhile, or the directory is gone. The
                # second look tells which, and costs others who look over the same line nothing.
                self._spelled.clear()
                return await self._client.readdir(await self._path(account, folder))
        except asyncssh.SFTPFailure as error:
            # The server's word for whatever went wrong on its side: a full disk, too many open
            # files. A permission or a name that it denies us has words of its own.
            raise ListingFailed(
                f"{account.address} failed while listing {folder} ({error or 'Failure'})"
            ) from error

    async def _path(self, account: Account, folder: Folder) -> bytes:
        """In bytes, so that names are given in bytes: asyncssh ends at one that is not UTF-8."""
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
    """The two directories as the gateway spells them."""
    return {folder: spell(account, folder, names) for folder in account.folders}


def spell(account: Account, folder: Folder, names: Sequence[str]) -> str:
    """A directory as the gateway spells it (R10: its case is ambiguous)."""
    wanted = account.folders[folder]
    if "/" in wanted.strip("/"):  # deeper than the login directory: taken as it is
        return wanted.rstrip("/")
    bare = wanted.strip("/")
    alike = [name for name in names if name.isascii() and name.lower() == bare.lower()]
    if bare in names:
        return bare
    if len(alike) > 1:
        raise GatewayRefused(
            f"{account.address} has {' and '.join(sorted(alike))}, and no {wanted}: write which of "
            f"them is meant as {folder.lower()}_dir into the extras of the connection "
            f"{account.conn_id}"
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
    """Turn whatever SSH, SFTP or the hook raises into one of our errors, with a sentence.

    `unexplained` is what a refusal is that gives no reason.
    """
    try:
        yield
    except GatewayError:
        raise
    except (paramiko.BadHostKeyException, asyncssh.HostKeyNotVerifiable) as error:
        raise _wrong_host_key(where) from error
    except (paramiko.IncompatiblePeer, asyncssh.KeyExchangeFailed) as error:
        # asyncssh asks for no other kinds of host key than the one that is pinned.
        if "host key" in str(error):
            raise _wrong_host_key(where) from error
        raise _refused(where, doing, error) from error
    except (paramiko.AuthenticationException, asyncssh.PermissionDenied) as error:
        raise GatewayRefused(
            f"{where} refused our login while {doing}: check the login and the key or password "
            "of the connection; it is not tried again, so that nothing gets blocked"
        ) from error
    except paramiko.ssh_exception.NoValidConnectionsError as error:
        # Nobody listens there at this moment. It has no number, as what a server answers.
        raise _unreachable(where, doing, error) from error
    except paramiko.SSHException as error:
        if "known_hosts" in str(error):
            raise _wrong_host_key(where) from error
        if "No authentication methods" in str(error):  # nobody has logged in
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
        if error.filename:  # of a file here, which the connection names
            raise ConfigurationError(
                f"the connection to {where} can't be used: {error.filename} can't be read "
                f"({error.strerror}); nobody has been asked"
            ) from error
        # paramiko tells an answer of the server's and a dead channel alike without a number.
        if error.errno is None and "closed" not in str(error).lower():
            raise _refused(where, doing, error, unexplained) from error
        if error.errno in (errno.ENOENT, errno.EACCES, errno.EEXIST):
            raise _refused(where, doing, error) from error
        raise _unreachable(where, doing, error) from error
    except UnicodeError as error:
        raise GatewayRefused(
            f"{where} answered with something that is no text while {doing}"
        ) from error
    except (AirflowException, ValueError) as error:
        raise ConfigurationError(f"the connection to {where} can't be used: {error}") from error


@contextlib.contextmanager
def _changing(folder: Folder) -> Iterator[None]:
    """Some servers fail a listing if a file of it is renamed meanwhile; the directory is there."""
    try:
        yield
    except (FileNotFoundError, asyncssh.SFTPNoSuchFile) as error:
        raise ListingFailed(f"{folder} changed while it was being listed") from error


def _wrong_host_key(where: str) -> GatewayRefused:
    return GatewayRefused(
        f"the host key of {where} is not the one pinned in the connection (extra host_key): "
        "somebody may be in between, and got neither a login nor a file. Compare the key with the "
        "provider's before you change it"
    )


# What a server's no most often means, and what to do about it.
NO_RIGHT = (
    "this account has no right to do that there: see send_dir and report_dir of the connection, "
    f"and ask {SUPPORT}"
)
NO_ROOM = (
    "its disk, or our quota there, may be full. What had arrived is removed, and the file is "
    f"uploaded anew; if that goes on, ask {SUPPORT}"
)


def _refused(
    where: str, doing: str, error: Exception, kind: type[GatewayRefused] = GatewayRefused
) -> GatewayRefused:
    said = f"{where} said no while {doing}: {error or type(error).__name__}"
    if isinstance(error, PermissionError | asyncssh.SFTPPermissionDenied):
        said += f"; {NO_RIGHT}"
    elif kind is UploadRefused:
        said += f"; {NO_ROOM}"
    else:
        said += f"; ask {SUPPORT} why, then clear the task"
    return kind(said)


def _unreachable(where: str, doing: str, error: Exception) -> GatewayUnreachable:
    return GatewayUnreachable(
        f"{where} can't be reached while {doing} ({str(error) or type(error).__name__})"
    )


def _moment(mtime: float | None) -> datetime | None:
    """When a file was changed, if the server tells."""
    return datetime.fromtimestamp(mtime, UTC) if mtime else None


def _raw(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode()

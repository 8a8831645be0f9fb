"""The gateway over SFTP, for tasks (paramiko) and for triggers (asyncssh).

Both speak through the provider package's hooks, so an Airflow connection of type sftp is all that
configures them. Here, and only here, an SSH or SFTP failure becomes an error of ours: either the
gateway refused us, which trying again won't change, or it could not be reached.
"""

import asyncio
import contextlib
import errno
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import BinaryIO, Self

import asyncssh
import paramiko
from airflow.providers.sftp.hooks.sftp import SFTPHook, SFTPHookAsync
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from sms import clock
from sms.delivery import Folder, RemoteFile
from sms.errors import ConfigurationError, GatewayError, GatewayRefused, GatewayUnreachable

ANSWER = 60.0  # seconds that one request may take: neither library has a limit of its own
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
            # One attempt: whether to try again is the task's decision, and a refused login must
            # not be repeated.
            hook = SFTPHook(ssh_conn_id=self._account.conn_id, conn_retry_attempts=1)
            self._client: paramiko.SFTPClient = self._stack.enter_context(hook.get_managed_conn())
            channel = self._client.get_channel()
            assert channel
            channel.settimeout(ANSWER)
        try:
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
            entries = self._client.listdir_attr(self._folders[folder])
        return [
            RemoteFile(entry.filename, entry.st_size or 0, _moment(entry.st_mtime))
            for entry in entries
            if not stat.S_ISDIR(entry.st_mode or 0)
        ]

    def fetch(self, folder: Folder, name: str, into: BinaryIO) -> None:
        """Copy a file's bytes into an open file."""
        with self._spoken(f"fetching {name}"):
            self._client.getfo(self._path(folder, name), into)

    def upload(self, name: str, source: BinaryIO) -> int:
        """Write a file into `Send`; returns the size that the gateway then reports."""
        path = self._path(Folder.SEND, name)
        with self._spoken(f"uploading {name}"):
            self._client.putfo(source, path, confirm=False)
            return self._client.stat(path).st_size or 0

    def rename(self, old: str, new: str) -> None:
        """Rename within `Send` by the plain request, which refuses to overwrite (R27)."""
        with self._spoken(f"renaming {old} to {new}"):
            self._client.rename(self._path(Folder.SEND, old), self._path(Folder.SEND, new))

    def remove(self, folder: Folder, name: str) -> bool:
        """Delete a file; False if there was none."""
        with self._spoken(f"removing {name}"):
            try:
                self._client.remove(self._path(folder, name))
            except FileNotFoundError:
                return False
        return True

    def _path(self, folder: Folder, name: str) -> str:
        return f"{self._folders[folder]}/{name}"

    def _spoken(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return spoken(self._account.address, doing)

    def _look_around(self) -> None:
        clock.verify(self._marker(), self._account.address)
        here = self._client.listdir(".")
        self._folders = resolve(self._account, here)

    def _marker(self) -> str | None:
        try:
            with self._client.open(clock.MARKER) as file:
                return file.read(200).decode("ascii", "replace").strip()
        except OSError:
            return None


@contextlib.asynccontextmanager
async def watching(account: Account) -> AsyncIterator["SftpWatch"]:
    """A session of those who wait, that only lists."""
    stack = contextlib.AsyncExitStack()
    try:
        with spoken(account.address, "connecting"):
            async with asyncio.timeout(ANSWER):
                client = await stack.enter_async_context(_managed(account))
                clock.verify(await _async_marker(client), account.address)
        yield SftpWatch(client)
    finally:
        # A gateway that has fallen silent answers no goodbye either.
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(GOODBYE):
                await stack.aclose()


class SftpWatch:
    """Lists the gateway's directories, again and again, over one connection."""

    def __init__(self, client: asyncssh.SFTPClient) -> None:
        self._client = client
        self._spelled: dict[str, str] = {}

    async def listing(self, account: Account, folder: Folder) -> list[RemoteFile]:
        """All files of a directory."""
        with spoken(account.address, f"listing {folder}"), _changing(folder):
            async with asyncio.timeout(ANSWER):
                entries = await self._entries(account, folder)
        return [
            RemoteFile(str(entry.filename), entry.attrs.size or 0, _moment(entry.attrs.mtime))
            for entry in entries
            if entry.attrs.type != asyncssh.FILEXFER_TYPE_DIRECTORY
        ]

    async def _entries(self, account: Account, folder: Folder) -> Sequence[asyncssh.SFTPName]:
        try:
            return await self._client.readdir(await self._path(account, folder))
        except asyncssh.SFTPNoSuchFile:
            # The line is sound: a file was renamed meanwhile, or the directory is gone. The second
            # look tells which, and costs others who look over the same line nothing.
            self._spelled.clear()
            return await self._client.readdir(await self._path(account, folder))
        except asyncssh.SFTPFailure as error:
            # The server's word for whatever went wrong on its side: a full disk, too many open
            # files. A permission or a name that it denies us has words of its own.
            raise ListingFailed(
                f"{account.address} failed while listing {folder} ({error or 'Failure'})"
            ) from error

    async def _path(self, account: Account, folder: Folder) -> str:
        wanted = account.folders[folder]
        if wanted not in self._spelled:
            names = [str(name) for name in await self._client.listdir(".")]
            self._spelled[wanted] = spell(account, folder, names)
        return self._spelled[wanted]


@contextlib.asynccontextmanager
async def _managed(account: Account) -> AsyncIterator[asyncssh.SFTPClient]:
    hook = SFTPHookAsync(sftp_conn_id=account.conn_id)
    try:
        async with hook.get_managed_conn() as client:
            yield client
    except AirflowNotFoundException as error:
        # It was there when the wait began, and Airflow says the same of one that is deleted and of
        # a secrets backend that does not answer.
        raise GatewayUnreachable(
            f"{account.address} can't be reached, as Airflow finds no connection {account.conn_id}"
        ) from error


async def _async_marker(client: asyncssh.SFTPClient) -> str | None:
    try:
        async with client.open(clock.MARKER, "rb") as file:
            return bytes(await file.read(200)).decode("ascii", "replace").strip()
    except asyncssh.SFTPError:
        return None


def resolve(account: Account, names: Sequence[str]) -> dict[Folder, str]:
    """The two directories as the gateway spells them."""
    return {folder: spell(account, folder, names) for folder in account.folders}


def spell(account: Account, folder: Folder, names: Sequence[str]) -> str:
    """A directory as the gateway spells it (R10: its case is ambiguous)."""
    wanted = account.folders[folder]
    if "/" in wanted.strip("/"):  # deeper than the login directory: taken as it is
        return wanted.rstrip("/")
    spelled = {name.casefold(): name for name in sorted(names)} | {name: name for name in names}
    bare = wanted.strip("/")
    name = spelled.get(bare) or spelled.get(bare.casefold())
    if name is None:
        raise GatewayRefused(
            f"{account.address} has no directory {wanted}, only "
            f"{', '.join(sorted(names)) or 'an empty directory'}: correct "
            f"{folder.lower()}_dir in the extras of the connection {account.conn_id}"
        )
    return name


@contextlib.contextmanager
def spoken(where: str, doing: str) -> Iterator[None]:
    """Turn whatever SSH, SFTP or the hook raises into one of our errors, with a sentence."""
    try:
        yield
    except GatewayError:
        raise
    except (paramiko.BadHostKeyException, asyncssh.HostKeyNotVerifiable) as error:
        raise _wrong_host_key(where) from error
    except (paramiko.AuthenticationException, asyncssh.PermissionDenied) as error:
        raise GatewayRefused(
            f"{where} refused our login while {doing}: check the login and the key or password "
            "of the connection; it is not tried again, so that nothing gets blocked"
        ) from error
    except paramiko.SSHException as error:
        if "known_hosts" in str(error):
            raise _wrong_host_key(where) from error
        raise _unreachable(where, doing, error) from error
    except asyncssh.SFTPError as error:
        lost = asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection
        if isinstance(error, lost):
            raise _unreachable(where, doing, error) from error
        raise _refused(where, doing, error) from error
    except (EOFError, ConnectionError, TimeoutError, asyncssh.Error) as error:
        raise _unreachable(where, doing, error) from error
    except OSError as error:
        # paramiko tells an answer of the server's and a dead channel alike without a number.
        answered = error.errno is None and "closed" not in str(error).lower()
        if answered or error.errno in (errno.ENOENT, errno.EACCES, errno.EEXIST):
            raise _refused(where, doing, error) from error
        raise _unreachable(where, doing, error) from error
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
        "somebody may be in between. Nothing was sent; compare the key with the provider's "
        "before you change it"
    )


def _refused(where: str, doing: str, error: Exception) -> GatewayRefused:
    return GatewayRefused(f"{where} said no while {doing}: {error or type(error).__name__}")


def _unreachable(where: str, doing: str, error: Exception) -> GatewayUnreachable:
    return GatewayUnreachable(
        f"{where} can't be reached while {doing} ({str(error) or type(error).__name__})"
    )


def _moment(mtime: float | None) -> datetime:
    return datetime.fromtimestamp(mtime or 0, UTC)

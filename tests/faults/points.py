"""Every effect on the outside world as a numbered point, at which a process can be struck.

Nobody lists the points: they are found where all of them must pass, at the driver's commit, at
SFTP's requests, at the files that are opened for writing. A new effect joins by itself.
"""

import os
import signal
import socket
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import asyncssh
import paramiko
from paramiko import sftp
from sqlalchemy.engine.default import DefaultDialect

How = Literal["killed before", "killed after", "reset", "stalled", "answer lost", "paused"]
Result = TypeVar("Result")

KILLED = 77  # the exit status of a process that was struck dead
READING = {
    *(sftp.CMD_OPENDIR, sftp.CMD_READDIR, sftp.CMD_STAT, sftp.CMD_LSTAT, sftp.CMD_FSTAT),
    *(sftp.CMD_READ, sftp.CMD_REALPATH),
}


@dataclass(frozen=True, slots=True)
class Strike:
    """Where a process is struck, and how: at the n-th effect of a name, counted from 1.

    By name, because how many looks a listing takes is not the same in every run.
    """

    name: str
    nth: int
    how: How

    def __str__(self) -> str:
        return f"{self.name} {self.nth}, {self.how}"


@dataclass(frozen=True, slots=True)
class Part:
    """One of several parts of a plan; each strike is in exactly one of them.

    Which one, the strike alone decides, not its place in the plan: each part makes a plan of its
    own by an untouched run, and one of these may take a look more than another.
    """

    number: int  # from 1
    of: int

    def __contains__(self, strike: Strike) -> bool:
        kind = zlib.crc32(f"{strike.name}, {strike.how}".encode())
        return (kind + strike.nth) % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number} of {self.of}"


def parts(count: int) -> list[Part]:
    """All parts of a plan that is cut into so many."""
    return [Part(number, count) for number in range(1, count + 1)]


@dataclass(slots=True)
class Points:
    """Counts the effects of this process, and strikes at one of them."""

    strike: Strike | None = None
    names: list[str] = field(default_factory=list)
    _opened: list[bool] = field(default_factory=list)  # remote files: whether only to be read

    def pass_by(
        self, name: str, act: Callable[[], Result], line: paramiko.SFTPClient | None = None
    ) -> Result:
        """Do it, unless this is where the process is struck."""
        how = self._how(name)
        if how == "killed before":
            os._exit(KILLED)
        if how == "paused":
            os.kill(os.getpid(), signal.SIGSTOP)  # until somebody lets it go on
        if how == "reset":
            _break(line)
            raise ConnectionResetError("struck: the line broke before")
        result = act()
        if how == "killed after":
            os._exit(KILLED)
        if how == "stalled":
            raise TimeoutError("struck: no answer came in time")
        if how == "answer lost":
            _break(line)
            raise EOFError("struck: the line broke after it was done")
        return result

    def mark(self, name: str) -> None:
        """An effect that will happen now, of which only the beginning can be seen."""
        self.pass_by(name, lambda: None)

    def _how(self, name: str) -> How | None:
        self.names.append(name)
        if self.strike is None or (name, self.names.count(name)) != (
            self.strike.name,
            self.strike.nth,
        ):
            return None
        return self.strike.how

    def watch(self, folders: Sequence[Path]) -> None:
        """See every commit, every SFTP request, every file written below these folders."""
        self._watch_commits()
        self._watch_requests()
        self._watch_listings()
        self._watch_files(tuple(f"{folder}{os.sep}" for folder in folders))

    def _watch_commits(self) -> None:
        commit = DefaultDialect.do_commit

        def do_commit(dialect: Any, connection: Any) -> None:
            # What wrote nothing has no transaction id, and no effect.
            [wrote] = connection.execute("SELECT pg_current_xact_id_if_assigned()").fetchone()
            if wrote is None:
                commit(dialect, connection)
            else:
                self.pass_by("commit", lambda: commit(dialect, connection))

        DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]

    def _watch_requests(self) -> None:
        """Paramiko: connecting, each request with its answer, and the writes of an upload."""
        connect, request = paramiko.SSHClient.connect, paramiko.SFTPClient._request
        send = paramiko.SFTPClient._async_request
        inside: list[bool] = []

        def _connect(client: Any, *args: Any, **kwargs: Any) -> Any:
            return self.pass_by("sftp read connect", lambda: connect(client, *args, **kwargs))

        def _request(client: Any, kind: int, *args: Any) -> Any:
            inside.append(True)
            try:
                return self.pass_by(
                    self._told(kind, args), lambda: request(client, kind, *args), client
                )
            finally:
                inside.pop()

        def _send(client: Any, file: Any, kind: int, *args: Any) -> Any:
            if inside:
                return send(client, file, kind, *args)
            return self.pass_by(
                self._told(kind, args), lambda: send(client, file, kind, *args), client
            )

        paramiko.SSHClient.connect = _connect
        paramiko.SFTPClient._request = _request
        paramiko.SFTPClient._async_request = _send

    def _watch_listings(self) -> None:
        """Asyncssh, which only looks; its trouble never ends a wait."""
        readdir = asyncssh.SFTPClient.readdir

        async def _readdir(client: Any, path: Any) -> Any:
            self.mark("sftp read listing of a trigger")
            return await readdir(client, path)

        asyncssh.SFTPClient.readdir = _readdir  # type: ignore[method-assign]

    def _told(self, kind: int, args: tuple[Any, ...]) -> str:
        """A request's name, and whether it changes nothing at the server."""
        reads = kind in READING
        if kind == sftp.CMD_OPENDIR:
            self._opened.append(True)
        elif kind == sftp.CMD_OPEN:
            reads = args[1] == sftp.SFTP_FLAG_READ
            self._opened.append(reads)
        elif kind == sftp.CMD_CLOSE:
            reads = self._opened.pop()
        return f"sftp {'read ' if reads else ''}{sftp.CMD_NAMES.get(kind, kind)}"

    def _watch_files(self, folders: tuple[str, ...]) -> None:
        def hear(event: str, args: tuple[Any, ...]) -> None:
            if event == "open":
                path, mode, flags = args
                writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or (
                    isinstance(mode, str) and any(letter in mode for letter in "wax+")
                )
                if writes and str(path).startswith(folders):
                    self.mark(f"file {Path(str(path)).suffix}")
            elif event in ("os.rename", "os.remove", "os.mkdir") and str(args[0]).startswith(
                folders
            ):
                self.mark(f"file {event}")

        sys.addaudithook(hear)


def _break(line: paramiko.SFTPClient | None) -> None:
    """Break a line for all who use it.

    Paramiko reads ahead in a thread of its own: an error that is raised there reaches nobody, and
    the act would wait for an answer until its limit, on a line that is sound.
    """
    if line and (channel := line.get_channel()):
        channel.get_transport().sock.shutdown(socket.SHUT_RDWR)


def pauses(names: Sequence[str]) -> list[Strike]:
    """A pause before each point that changes something."""
    return [
        Strike(name, names[: place + 1].count(name), "paused")
        for place, name in enumerate(names)
        if not name.startswith("sftp read")
    ]


def kills(names: Sequence[str]) -> list[Strike]:
    """Only the deaths: how lines break is tried with the same reports in another scene."""
    return [each for each in strikes(names) if each.how in ("killed before", "killed after")]


def strikes(names: Sequence[str]) -> list[Strike]:
    """Every way to strike each of the points that an untouched run passes.

    What only reads leaves nothing behind: to be killed there is to be killed after the point
    before, and however the line breaks comes to the same.
    """
    found: list[Strike] = []
    for place, name in enumerate(names):
        ways: tuple[How, ...] = ()
        if name.startswith("sftp read"):
            ways = ("reset",)
        elif name.startswith("sftp"):
            ways = ("killed before", "killed after", "reset", "stalled", "answer lost")
        elif name.startswith("file"):
            ways = ("killed before",)
        else:
            ways = ("killed before", "killed after")
        nth = names[: place + 1].count(name)
        found += [Strike(name, nth, how) for how in ways]
    return found

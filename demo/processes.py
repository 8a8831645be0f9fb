"""Child processes that surely end: with their whole session, and even if we are killed.

Each child leads a session of its own, so that a terminal's Ctrl-C reaches only us, and so that
whatever it starts (Airflow gives each task a process group of its own) is found and ended with
it. Nothing here knows what the processes are for.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

TAIL = 25  # lines of a dead process's log that its error shows
PAUSE = 0.05  # seconds between two looks
PRIVATE = 0o077  # the umask of children: what they write may be about people


class ProcessDied(RuntimeError):
    """A process that should run has ended; the message carries the end of its log."""


@dataclass(frozen=True, slots=True)
class Session:
    """A process and all it started, unless one of them opened a session of its own."""

    leader: int
    born: float  # a pid alone may belong to a stranger by the time we use it

    @classmethod
    def of(cls, pid: int) -> Self:
        """The session that the running process `pid` leads."""
        return cls(pid, psutil.Process(pid).create_time())

    def members(self) -> list[psutil.Process]:
        """Who still runs, the leader first."""
        return sorted(self._members(), key=lambda process: process.pid != self.leader)

    def _members(self) -> Iterator[psutil.Process]:
        for pid in psutil.pids():
            with suppress(psutil.Error, OSError):
                if os.getsid(pid) == self.leader:
                    process = psutil.Process(pid)
                    # The kernel gives no pid away while a session carries it: either all of
                    # these are ours, or all are younger than a leader who is a stranger.
                    if self._is_ours(process) and process.status() != psutil.STATUS_ZOMBIE:
                        yield process

    def _is_ours(self, process: psutil.Process) -> bool:
        return process.pid != self.leader or bool(process.create_time() == self.born)


def end(sessions: Sequence[Session], *, grace: float, ask: int = signal.SIGTERM) -> None:
    """Ask every leader to end, wait `grace` seconds, then kill all that is left."""
    for session in sessions:
        for process in session.members()[:1]:
            with suppress(psutil.Error):
                process.send_signal(ask)
    _wait(sessions, time.monotonic() + grace)
    deadline = time.monotonic() + 10  # what SIGKILL does not end sits in the kernel
    while left := [process for session in sessions for process in session.members()]:
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        if time.monotonic() > deadline:
            raise RuntimeError(f"these processes can't be ended: {[p.pid for p in left]}")
        time.sleep(PAUSE)


def _wait(sessions: Sequence[Session], deadline: float) -> None:
    while time.monotonic() < deadline and any(session.members() for session in sessions):
        time.sleep(PAUSE)


class Guard:
    """A process that ends what we registered and did not end ourselves, even if we vanish.

    It waits `grace` seconds before it kills: nothing of a stack without its owner is worth more.
    """

    def __init__(self, log: Path, *, grace: float = 5.0) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demo.guard", str(grace)],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def watch(self, wave: int, session: Session, ask: int = signal.SIGTERM) -> None:
        """If we vanish, end this session; lower waves end before higher ones begin."""
        self._tell({"wave": wave, "leader": session.leader, "born": session.born, "ask": ask})

    def remove(self, folder: Path) -> None:
        """If we vanish, remove this folder when all have ended."""
        self._tell({"remove": str(folder)})

    def spare(self, folder: Path) -> None:
        """Leave this folder where it is after all."""
        self._tell({"spare": str(folder)})

    def close(self) -> None:
        """Let it go: it ends what we could not, and has nothing to do if we ended all."""
        with suppress(OSError):
            self._stdin.close()
        self._process.wait()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _tell(self, word: Mapping[str, object]) -> None:
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps(word).encode() + b"\n")
            self._stdin.flush()


class Processes:
    """Children that end together: one wave of a guard's."""

    def __init__(self, guard: Guard, *, wave: int, grace: float) -> None:
        self._guard = guard
        self._wave = wave
        self._grace = grace
        self._children: dict[str, tuple[subprocess.Popen[bytes], Session, Path]] = {}

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        """Start a child in a session of its own; what it prints goes to `log`."""
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=PRIVATE,
            )
        session = Session.of(child.pid)
        self._guard.watch(self._wave, session)
        self._children[name] = (child, session, log)

    def pid(self, name: str) -> int:
        """The process of that name."""
        return self._children[name][0].pid

    def check(self) -> None:
        """Raise ProcessDied if one has ended."""
        for name, (child, _, log) in self._children.items():
            if (code := child.poll()) is not None:
                raise ProcessDied(f"{name} ended with code {code}; its last words:\n{tail(log)}")

    def run(self, name: str, timeout: float) -> None:
        """Wait for a child whose work is to end, and to end well."""
        child, _, log = self._children[name]
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            said = tail(log)
            raise ProcessDied(f"{name} took over {timeout:.0f} s; it said:\n{said}") from error
        if code != 0:
            raise ProcessDied(f"{name} failed with code {code}; its last words:\n{tail(log)}")
        del self._children[name]

    def end(self, name: str | None = None) -> None:
        """End all of them, or one, each with whatever it started."""
        names = list(self._children) if name is None else [name]
        end([self._children[each][1] for each in names], grace=self._grace)
        for each in names:
            self._children.pop(each)[0].wait()

    def kill(self, name: str) -> None:
        """End one and whatever it started as a power cut does: nothing is asked, nothing tidied."""
        end([self._children[name][1]], grace=0, ask=signal.SIGKILL)
        self._children.pop(name)[0].wait()

    def dead(self) -> list[str]:
        """The names of those that have ended by themselves."""
        return [name for name, (child, _, _) in self._children.items() if child.poll() is not None]

    def members(self, name: str) -> list[psutil.Process]:
        """One of them and whatever it started, itself first."""
        return self._children[name][1].members()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def tail(log: Path, lines: int = TAIL) -> str:
    """The end of a log, for a person who has to know what happened."""
    said = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line}" for line in said[-lines:]) or "    (nothing)"


def wait_until(
    ready: Callable[[], bool],
    what: str,
    *,
    timeout: float,
    check: Callable[[], None] | None = None,
    pause: float = PAUSE,
) -> None:
    """Look until `ready` says yes; TimeoutError says what was waited for."""
    deadline = time.monotonic() + timeout
    while not ready():
        if check is not None:
            check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout:.0f} s")
        time.sleep(pause)

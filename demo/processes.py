"""Child processes that always end: with their whole session, and even if we are killed.

Each child leads its own session, so that a terminal's Ctrl-C reaches only us, and so that the
processes that it starts are found and ended with it (Airflow gives each task its own process
group). This module does not depend on the purpose of the processes.
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

TAIL = 25  # lines of a dead process's log in its error
PAUSE = 0.05  # seconds between two checks
PRIVATE = 0o077  # the umask of children, as they may write personal data


class ProcessDied(RuntimeError):
    """A process has ended unexpectedly; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Session:
    """A process and all that it started, except processes that opened their own session."""

    leader: int
    born: float  # the pid alone may belong to another process later

    @classmethod
    def of(cls, pid: int) -> Self:
        """The session led by the running process `pid`."""
        return cls(pid, psutil.Process(pid).create_time())

    def members(self) -> list[psutil.Process]:
        """The processes that still run, the leader first."""
        return sorted(self._members(), key=lambda process: process.pid != self.leader)

    def _members(self) -> Iterator[psutil.Process]:
        for pid in psutil.pids():
            with suppress(psutil.Error, OSError):
                if os.getsid(pid) == self.leader:
                    process = psutil.Process(pid)
                    # The kernel does not reuse a pid while a session has it: either all of these
                    # are ours, or all belong to a later leader with the same pid.
                    if self._is_ours(process) and process.status() != psutil.STATUS_ZOMBIE:
                        yield process

    def _is_ours(self, process: psutil.Process) -> bool:
        return process.pid != self.leader or bool(process.create_time() == self.born)


def end(sessions: Sequence[Session], *, grace: float, ask: int = signal.SIGTERM) -> None:
    """Send each leader the signal `ask`, wait `grace` seconds, then kill what still runs."""
    for session in sessions:
        for process in session.members()[:1]:
            with suppress(psutil.Error):
                process.send_signal(ask)
    _wait(sessions, time.monotonic() + grace)
    deadline = time.monotonic() + 10  # after SIGKILL a process can only hang in the kernel
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
    """A process that ends the registered processes after us, even if we are killed.

    It waits `grace` seconds before it kills them.
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
        """Register a session; lower waves are ended before higher ones."""
        self._send({"wave": wave, "leader": session.leader, "born": session.born, "ask": ask})

    def remove(self, folder: Path) -> None:
        """Register a folder, to be deleted after all sessions have ended."""
        self._send({"remove": str(folder)})

    def spare(self, folder: Path) -> None:
        """Unregister a folder."""
        self._send({"spare": str(folder)})

    def close(self) -> None:
        """End the guard, which first ends registered processes that still run."""
        with suppress(OSError):
            self._stdin.close()
        self._process.wait()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _send(self, order: Mapping[str, object]) -> None:
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps(order).encode() + b"\n")
            self._stdin.flush()


class Processes:
    """Children that end together: one wave of a guard."""

    def __init__(self, guard: Guard, *, wave: int, grace: float) -> None:
        self._guard = guard
        self._wave = wave
        self._grace = grace
        self._children: dict[str, tuple[subprocess.Popen[bytes], Session, Path]] = {}

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
    ) -> None:
        """Start a child in its own session; its output goes to `log`."""
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
        """The pid of a child."""
        return self._children[name][0].pid

    def check(self) -> None:
        """Raise ProcessDied if a child has ended."""
        for name, (child, _, log) in self._children.items():
            if (code := child.poll()) is not None:
                raise ProcessDied(f"{name} ended with code {code}; its last words:\n{tail(log)}")

    def run(self, name: str, timeout: float) -> None:
        """Wait for a child to end. Raises ProcessDied if it fails or takes too long."""
        child, _, log = self._children[name]
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            output = tail(log)
            raise ProcessDied(f"{name} took over {timeout:.0f} s; its log:\n{output}") from error
        if code != 0:
            raise ProcessDied(f"{name} failed with code {code}; its last words:\n{tail(log)}")
        del self._children[name]

    def end(self, name: str | None = None) -> None:
        """End all children, or one, with all that they started."""
        names = list(self._children) if name is None else [name]
        end([self._children[each][1] for each in names], grace=self._grace)
        for each in names:
            self._children.pop(each)[0].wait()

    def kill(self, name: str) -> None:
        """Kill a child and all that it started, as a power cut does."""
        end([self._children[name][1]], grace=0, ask=signal.SIGKILL)
        self._children.pop(name)[0].wait()

    def dead(self) -> list[str]:
        """The names of children that have ended."""
        return [name for name, (child, _, _) in self._children.items() if child.poll() is not None]

    def members(self, name: str) -> list[psutil.Process]:
        """A child and all that it started, the child first."""
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
    """The last lines of a log, indented."""
    content = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"    {line}" for line in content[-lines:]) or "    (nothing)"


def wait_until(
    ready: Callable[[], bool],
    what: str,
    *,
    timeout: float,
    check: Callable[[], None] | None = None,
    pause: float = PAUSE,
) -> None:
    """Wait until `ready` returns true. Raises TimeoutError, which names `what`."""
    deadline = time.monotonic() + timeout
    while not ready():
        if check is not None:
            check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {timeout:.0f} s")
        time.sleep(pause)

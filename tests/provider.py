"""A small script that plays the provider in two plain directories, behind a server not its own."""

import ctypes
import os
import select
import shutil
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

Manner = Literal["accept", "reject", "silent"]

# Linux's inotify: its names and numbers, of sys/inotify.h.
CLOSE_WRITE, MOVED_TO, CREATE, OVERFLOW = 0x0008, 0x0080, 0x0100, 0x4000
EVENT = struct.Struct("iIII")


class Seen(NamedTuple):
    """Something that happened to a name in `Send`."""

    name: str
    kind: int


class Provider:
    """Takes every `.csv` the moment it appears, for a `with` block.

    `manner` says what it makes of it. Its journal misses nothing, however briefly a name was there:
    the kernel keeps it.
    """

    def __init__(self, home: Path) -> None:
        self.send = home / "Send"
        self.report = home / "Report"
        self.manner: Manner = "accept"
        self._desk = home.parent / "desk"  # of the same file system, and not the client's to see
        self._lock = threading.Lock()
        self._journal: list[Seen] = []

    def __enter__(self) -> Self:
        for directory in (self.send, self.report, self._desk):
            directory.mkdir(parents=True)
        kernel = ctypes.CDLL(None, use_errno=True)
        self._events: int = kernel.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        kinds = CREATE | MOVED_TO | CLOSE_WRITE
        watched = kernel.inotify_add_watch(self._events, os.fsencode(self.send), kinds)
        assert watched > 0, os.strerror(ctypes.get_errno())
        self._end, self._ended = os.pipe()
        self._thread = threading.Thread(target=self._play, name="provider")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._ended)
        self._thread.join()
        os.close(self._end)
        os.close(self._events)

    def begin_anew(self) -> None:
        """Empty directories and an empty journal."""
        with self._lock:
            for directory in (self.send, self.report):
                for file in directory.iterdir():
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
            self._observe()
            self._journal.clear()
            self.manner = "accept"

    def turn(self, manner: Manner) -> None:
        """From now on, do this with every `.csv`, and with those that lie there."""
        self.manner = manner
        self.settle()

    def settle(self) -> None:
        """Do all that is to be done."""
        with self._lock:
            self._work()

    def submitted(self) -> list[str]:
        """Every `.csv` that a client ever made."""
        self.settle()
        assert not any(each.kind & OVERFLOW for each in self._journal)
        return [each.name for each in self._made() if each.name.endswith(".csv")]

    def uploads(self) -> int:
        """How many files were written."""
        self.settle()
        return sum(bool(each.kind & CLOSE_WRITE) for each in self._journal)

    def show(self, directory: Path, name: str, content: bytes) -> Path:
        """A file that no client put there."""
        fresh = self._desk / name
        fresh.write_bytes(content)
        with self._lock:
            self._observe()
            shown = fresh.replace(directory / name)
            self._observe(but=name)
            self._work()
        return shown

    def _made(self) -> list[Seen]:
        return [each for each in self._journal if each.kind & (CREATE | MOVED_TO)]

    def _play(self) -> None:
        while True:
            ready, _, _ = select.select([self._events, self._end], [], [])
            if self._end in ready:
                return
            self.settle()

    def _work(self) -> None:
        self._observe()
        if self.manner == "silent":
            return
        verdict = {"accept": ".done", "reject": ".reject"}[self.manner]
        for file in self.send.glob("*.csv"):
            file.rename(file.with_suffix(".lock")).rename(file.with_suffix(verdict))

    def _observe(self, *, but: str = "") -> None:
        """Write down what the kernel has told."""
        while select.select([self._events], [], [], 0)[0]:
            told = os.read(self._events, 1 << 16)
            while told:
                _, kind, _, length = EVENT.unpack_from(told)
                name = os.fsdecode(told[EVENT.size : EVENT.size + length].rstrip(b"\0"))
                told = told[EVENT.size + length :]
                if name != but:
                    self._journal.append(Seen(name, kind))

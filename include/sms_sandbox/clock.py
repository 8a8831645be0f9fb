"""Sandbox time: the clock file that the gateway writes and other processes read.

The file is JSON: `id`; `wall` and `sandbox`, one moment on both clocks in Unix seconds; `rate`,
sandbox seconds per real second; `top_rate`, the highest rate it may reach (readers use it to limit
their sleep). For a reader the clock never runs backwards. `provider` decides the rate.
"""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sms_sandbox import private

ANY_RATE = 1e12  # the `top_rate` of a clock that may jump
LEAD = 0.005  # seconds; a slower face starts this far ahead, to be written in time


@dataclass(frozen=True, slots=True)
class Face:
    """The content of the clock's file."""

    id: str
    wall: float
    sandbox: float
    rate: float
    top_rate: float

    def at(self, wall: float) -> float:
        """Sandbox time, in Unix seconds, at a moment of real time.

        A reader takes the moment before it reads the file, so the face may be newer than the
        moment: time then counts from the face's beginning.
        """
        return self.sandbox + max(wall - self.wall, 0.0) * self.rate


class ClockFixed(RuntimeError):
    """A jump of a clock that was declared without jumps."""


def read(path: Path) -> Face:
    """Read the clock's file."""
    return Face(**json.loads(path.read_text()))


def now(path: Path) -> datetime:
    """Sandbox time, aware, in UTC."""
    wall = time.time()
    return datetime.fromtimestamp(read(path).at(wall), UTC)


def create(path: Path, *, start: datetime | None = None, top_rate: float = 1.0) -> Face:
    """Create a clock that starts now, or continue the existing one with a new `top_rate`."""
    with _held(path):
        if path.exists():
            face = replace(read(path), top_rate=top_rate)
            return _turn(path, face, min(face.rate, top_rate))
        wall = time.time()
        sandbox = wall if start is None else start.timestamp()
        face = Face(uuid.uuid4().hex, wall, sandbox, 1.0, top_rate)
        _write(path, face)
        return face


def set_rate(path: Path, rate: float) -> Face:
    """Change the rate: sandbox seconds per real second. Raises ClockFixed above `top_rate`."""
    with _held(path):
        face = read(path)
        if rate > face.top_rate:
            raise ClockFixed(f"{path} promises at most {face.top_rate:g} s a second, not {rate:g}")
        if rate == face.rate:
            return face
        return _turn(path, face, rate)


def move(path: Path, *, to: datetime) -> Face:
    """Jump forward to an instant; a clock that is already later stays. Raises ClockFixed."""
    with _held(path):
        face = read(path)
        if face.top_rate < ANY_RATE:
            raise ClockFixed(f"{path} was not declared to jump: start the sandbox with jumps")
        wall = time.time()
        jumped = replace(face, wall=wall, sandbox=max(face.at(wall), to.timestamp()))
        _write(path, jumped)
    return jumped


def _turn(path: Path, face: Face, rate: float) -> Face:
    """Write `face` with another rate.

    A faster face starts now: from here on it is ahead. A slower one starts a little ahead, and is
    prepared again if that took too long: a reader of the old face must not have seen a later time
    than the new one shows.
    """
    lead = LEAD if rate < face.rate else 0.0
    while True:
        wall = time.time() + lead
        turned = replace(face, wall=wall, sandbox=face.at(wall), rate=rate)
        fresh = _prepare(path, turned)
        if lead and time.time() > wall - lead / 2:
            lead *= 2
            continue
        fresh.replace(path)
        return turned


@contextmanager
def _held(path: Path) -> Iterator[None]:
    private.make_folder(path.parent)
    with private.opened(path.with_suffix(".lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, face: Face) -> None:
    _prepare(path, face).replace(path)


def _prepare(path: Path, face: Face) -> Path:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    private.write(fresh, json.dumps(asdict(face)))
    return fresh

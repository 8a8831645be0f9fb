"""Sandbox time: the clock file that the gateway owns and everyone else reads.

The file is JSON: `id`; `wall` and `sandbox`, one moment on both clocks in Unix seconds; `rate`,
sandbox seconds in a real second; `top_rate`, the fastest it will ever go (readers rely on it to
know how long they may sleep). No reader ever sees it go backwards. Knows nothing of files at the
gateway: who hurries, and when, is `provider`.
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
LEAD = 0.005  # seconds: how far ahead a slower face is anchored, so that it is shown in time


@dataclass(frozen=True, slots=True)
class Face:
    """What the clock's file says."""

    id: str
    wall: float
    sandbox: float
    rate: float
    top_rate: float

    def at(self, wall: float) -> float:
        """Sandbox time, in Unix seconds, at a moment of real time.

        A reader takes the moment before it reads the file: a face may be newer than the moment,
        never older, and then counts from its own beginning.
        """
        return self.sandbox + max(wall - self.wall, 0.0) * self.rate


class ClockFixed(RuntimeError):
    """Someone would move a clock whose readers were told that it can't jump."""


def read(path: Path) -> Face:
    """The face that the file shows."""
    return Face(**json.loads(path.read_text()))


def now(path: Path) -> datetime:
    """Sandbox time, aware, in UTC."""
    wall = time.time()
    return datetime.fromtimestamp(read(path).at(wall), UTC)


def create(path: Path, *, start: datetime | None = None, top_rate: float = 1.0) -> Face:
    """Make a clock that starts now, or go on with the one that is there; only `top_rate` is new."""
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
    """Let sandbox time pass `rate` times as fast as real time from here on."""
    with _held(path):
        face = read(path)
        if rate > face.top_rate:
            raise ClockFixed(f"{path} promises at most {face.top_rate:g} s a second, not {rate:g}")
        if rate == face.rate:
            return face
        return _turn(path, face, rate)


def move(path: Path, *, to: datetime) -> Face:
    """Jump forward to an instant; a clock that is already later stays where it is."""
    with _held(path):
        face = read(path)
        if face.top_rate < ANY_RATE:
            raise ClockFixed(f"{path} was not declared to jump: start the sandbox with jumps")
        wall = time.time()
        jumped = replace(face, wall=wall, sandbox=max(face.at(wall), to.timestamp()))
        _write(path, jumped)
    return jumped


def _turn(path: Path, face: Face, rate: float) -> Face:
    """Show `face` at another rate.

    A faster face is anchored now: from here on it is ahead. A slower one is anchored a little
    ahead, and prepared anew if that took too long: a reader of the old face must not have seen
    more than the new one shows.
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

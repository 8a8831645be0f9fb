"""The only source of *now*.

Normally *now* is the system's clock. A sandbox may move it: `SMS_SANDBOX_CLOCK` names a file that
the sandbox writes, and for every process that reads the file days pass in seconds. `verify`
refuses such a clock at any gateway except its own sandbox.
"""

import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from sms.errors import ClockMoved, ConfigurationError

PARIS = ZoneInfo("Europe/Paris")
VARIABLE = "SMS_SANDBOX_CLOCK"
MARKER = ".sandbox"  # file in a sandbox gateway's home that contains the id of its clock


class Clock(Protocol):
    """The time, and the earliest real time at which a moment can come."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def earliest_wall_time(self, instant: datetime) -> datetime:
        """The earliest real time at which `now()` may reach `instant`."""


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def earliest_wall_time(self, instant: datetime) -> datetime:
        return instant


@dataclass(frozen=True, slots=True)
class SandboxClock:
    """The clock in the file that the sandbox writes; every call reads the file.

    The file is JSON: `id`; `wall` and `sandbox`, one moment on both clocks (Unix seconds);
    `rate`, sandbox seconds per real second now; `top_rate`, the highest rate it may reach.
    """

    path: Path

    def now(self) -> datetime:
        # Real time is read first. Read after the file, it may follow a change of rate that this
        # copy of the file does not have: the clock would then run back.
        wall = time.time()
        state = self._read()
        passed = max(wall - state["wall"], 0.0) * state["rate"]
        return datetime.fromtimestamp(state["sandbox"] + passed, UTC)

    def earliest_wall_time(self, instant: datetime) -> datetime:
        wait = max((instant - self.now()).total_seconds(), 0) / self._read()["top_rate"]
        return datetime.now(UTC) + timedelta(seconds=wait)

    def id(self) -> str:
        """The id of this clock, which its sandbox writes in `MARKER`."""
        return str(self._read()["id"])

    def _read(self) -> dict[str, float]:
        try:
            state: dict[str, float] = json.loads(self.path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{VARIABLE} names {self.path}, which can't be read as a clock ({error}): "
                "start the sandbox, or unset the variable"
            ) from error
        return state


def clock() -> Clock:
    """The clock of this process."""
    path = os.environ.get(VARIABLE)
    return SandboxClock(Path(path)) if path else SystemClock()


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return clock().now()


def earliest_wall_time(instant: datetime) -> datetime:
    """The earliest real time at which `now()` may reach `instant`."""
    return clock().earliest_wall_time(instant)


def in_paris(instant: datetime) -> str:
    """An instant as Paris time, to the minute."""
    return f"{instant.astimezone(PARIS):%Y-%m-%d %H:%M} in Paris"


def verify(marker: str | None, gateway: str) -> None:
    """Check that `marker`, read from the gateway's home, is the id of a moved clock.

    Raises ClockMoved if it is not. The system's clock needs no marker.
    """
    running = clock()
    if isinstance(running, SandboxClock) and marker != running.id():
        raise ClockMoved(gateway)

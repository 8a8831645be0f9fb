"""The only source of *now*.

Normally it is the system's clock. A sandbox may move it: `SMS_SANDBOX_CLOCK` names a file that
the sandbox writes, and days pass in seconds for everyone who shares it. `verify` keeps such a
clock away from any gateway but its own sandbox.
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
MARKER = ".sandbox"  # the file, in a sandbox gateway's home, that holds the id of its clock


class Clock(Protocol):
    """Tells the time, and when a moment can come at the earliest by the wall's clock."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""

    def earliest_wall_time(self, instant: datetime) -> datetime:
        """The first moment of real time at which `now()` may have reached `instant`."""


class SystemClock:
    """Real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def earliest_wall_time(self, instant: datetime) -> datetime:
        return instant


@dataclass(frozen=True, slots=True)
class SandboxClock:
    """The clock in the file that the sandbox writes; read anew each time it is asked.

    The file is JSON: `id`; `wall` and `sandbox`, one moment on both clocks (Unix seconds);
    `rate`, sandbox seconds in a real second now; `top_rate`, the fastest it will ever go.
    """

    path: Path

    def now(self) -> datetime:
        # The wall first: read after the file, a face from before a change of pace would be asked
        # about a moment after it, and time would run back.
        wall = time.time()
        face = self._read()
        passed = max(wall - face["wall"], 0.0) * face["rate"]
        return datetime.fromtimestamp(face["sandbox"] + passed, UTC)

    def earliest_wall_time(self, instant: datetime) -> datetime:
        wait = max((instant - self.now()).total_seconds(), 0) / self._read()["top_rate"]
        return datetime.now(UTC) + timedelta(seconds=wait)

    def id(self) -> str:
        """The name of this clock, which its sandbox shows in `MARKER`."""
        return str(self._read()["id"])

    def _read(self) -> dict[str, float]:
        try:
            face: dict[str, float] = json.loads(self.path.read_text())
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"{VARIABLE} names {self.path}, which can't be read as a clock ({error}): "
                "start the sandbox, or unset the variable"
            ) from error
        return face


def clock() -> Clock:
    """The clock in force in this process."""
    path = os.environ.get(VARIABLE)
    return SandboxClock(Path(path)) if path else SystemClock()


def now() -> datetime:
    """The present instant, aware, in UTC."""
    return clock().now()


def earliest_wall_time(instant: datetime) -> datetime:
    """The first moment of real time at which `now()` may have reached `instant`."""
    return clock().earliest_wall_time(instant)


def in_paris(instant: datetime) -> str:
    """An instant by the clock in Paris, to the minute."""
    return f"{instant.astimezone(PARIS):%Y-%m-%d %H:%M} in Paris"


def verify(marker: str | None, gateway: str) -> None:
    """Refuse a moved clock unless `marker`, read from the gateway's home, is that clock's id."""
    running = clock()
    if isinstance(running, SandboxClock) and marker != running.id():
        raise ClockMoved(gateway)

"""The rhythm of the gateway: what is done when, and how fast time passes.

One pass of work at a time. Between two passes it waits for exactly the next moment at which
something is due, or for a client, a knob or the clock to move.
"""

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sms_sandbox import clock
from sms_sandbox.campaigns import Memory, Stage
from sms_sandbox.delivery import Delivery
from sms_sandbox.desk import Desk
from sms_sandbox.intake import Intake
from sms_sandbox.knobs import stamp

MONTH = 31 * 86400.0  # page, *Security*: "any files older than a month"
GLANCE = 0.05  # real seconds between two looks at the clock, the knobs and Send
SHORTEST_WAIT = 0.001


class Provider:
    """The provider's side of the two directories."""

    def __init__(self, desk: Desk, *, hurry: float | None) -> None:
        self.desk = desk
        self.hurry = hurry
        self._memory = Memory(desk.place.state)
        self._intake = Intake(desk, self._memory)
        self._delivery = Delivery(desk, self._memory, before_long_work=self._slow_down)
        self._stirred = asyncio.Event()
        self._at_work = asyncio.Lock()

    def begin_upload(self, path: Path) -> None:
        """A client opens a file to write: it is under way from here on, and not taken yet."""
        self._intake.uploading[path] += 1
        self.set_pace()

    def end_upload(self, path: Path) -> None:
        """The client closed it, or was cut off."""
        self._intake.uploading -= Counter([path])
        if path.exists():
            self.desk.date(path)
        self.stir()

    def stir(self) -> None:
        """Something moved: look again."""
        self._stirred.set()

    async def run(self) -> None:
        """Work as things come due, until cancelled."""
        watch = asyncio.create_task(self._watch(self._outlook()))
        try:
            while True:
                self._stirred.clear()
                await self.settle()
                await self._wait()
        finally:
            watch.cancel()

    async def recover(self) -> None:
        """Go on where a former process was stopped."""
        for campaign in self._memory.campaigns.values():
            if campaign.stage is Stage.SETTLING:
                self._intake.finish(campaign)
        await self._delivery.recover()

    async def settle(self) -> None:
        """Do all that can be done at this moment."""
        async with self._at_work:
            while await self._intake.take_in() or await self._delivery.do_next():
                pass
            self._purge()
            self.set_pace()

    def set_pace(self) -> None:
        """Hurry only while an accepted file waits for its ACK and nothing is under way.

        What is under way in Send is seen; of what a client prepares, the file `hold` tells.
        """
        if self.hurry is not None:
            busy = self._intake.is_under_way() or self.desk.place.hold.exists()
            hurries = self._delivery.is_awaited() and not busy
            clock.set_rate(self.desk.place.clock, self.hurry if hurries else 1.0)

    def _slow_down(self) -> None:
        """Let no days pass while the gateway itself is busy; the pass ends with `set_pace`."""
        if self.hurry is not None:
            clock.set_rate(self.desk.place.clock, 1.0)

    async def _wait(self) -> None:
        due = min(self._dues(), default=None)
        timeout = None if due is None else self._real_seconds_until(due)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._stirred.wait()

    def _real_seconds_until(self, due: float) -> float:
        face = clock.read(self.desk.place.clock)
        shortest = GLANCE if face.rate > 1 else SHORTEST_WAIT
        return max((due - face.at(time.time())) / face.rate, shortest)

    def _dues(self) -> Iterator[float]:
        yield from self._intake.dues()
        yield from self._delivery.dues()
        yield from (moment + MONTH for moment in self._files().values())

    async def _watch(self, seen: list[object]) -> None:
        """Notice what comes by no client: a moved clock, turned knobs, a file put into Send."""
        while True:
            await asyncio.sleep(GLANCE)
            fresh = self._outlook()
            if fresh != seen:
                seen = fresh
                self.stir()

    def _outlook(self) -> list[object]:
        place = self.desk.place
        return [*map(stamp, (place.clock, place.knobs, place.hold)), sorted(os.listdir(place.send))]

    def _purge(self) -> None:
        oldest = self.desk.now().timestamp() - MONTH
        for path, moment in self._files().items():
            if moment <= oldest and not path.is_dir():
                path.unlink(missing_ok=True)
                self.desk.note("purged", name=self.desk.shown(path))

    def _files(self) -> dict[Path, float]:
        """What can grow old, with its moment.

        A file under way still has real time's date, which may be months off the sandbox's.
        """
        place = self.desk.place
        ages = self.desk.ages(place.send) | self.desk.ages(place.report)
        return {path: age for path, age in ages.items() if path not in self._intake.uploading}

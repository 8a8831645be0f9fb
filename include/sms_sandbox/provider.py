"""The gateway's loop: its steps, their timing, and the rate of the clock.

One pass of work at a time. Between two passes it waits until the next step is due, or until a
client, a knob or the clock changes something.
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
GLANCE = 0.05  # real seconds between two checks of the clock, the knobs and Send
SHORTEST_WAIT = 0.001


class Provider:
    """The provider's work on the two directories."""

    def __init__(self, desk: Desk, *, hurry: float | None) -> None:
        self.desk = desk
        self.hurry = hurry
        self._memory = Memory(desk.place.state)
        self._intake = Intake(desk, self._memory)
        self._delivery = Delivery(desk, self._memory, before_long_work=self._slow_down)
        self._stirred = asyncio.Event()
        self._at_work = asyncio.Lock()

    def begin_upload(self, path: Path) -> None:
        """Note that a client opened a file to write: it is not taken until it is closed."""
        self._intake.uploading[path] += 1
        self.set_pace()

    def end_upload(self, path: Path) -> None:
        """Note that the client closed the file, or was cut off."""
        self._intake.uploading -= Counter([path])
        if path.exists():
            self.desk.date(path)
        self.stir()

    def stir(self) -> None:
        """Wake the loop after a change."""
        self._stirred.set()

    async def run(self) -> None:
        """Work on due steps until cancelled."""
        watch = asyncio.create_task(self._watch(self._outlook()))
        try:
            while True:
                self._stirred.clear()
                await self.settle()
                await self._wait()
        finally:
            watch.cancel()

    async def recover(self) -> None:
        """Continue the work of a stopped process."""
        for campaign in self._memory.campaigns.values():
            if campaign.stage is Stage.SETTLING:
                self._intake.finish(campaign)
        await self._delivery.recover()

    async def settle(self) -> None:
        """Do all steps that are due now."""
        async with self._at_work:
            while await self._intake.take_in() or await self._delivery.do_next():
                pass
            self._purge()
            self.set_pace()

    def set_pace(self) -> None:
        """Run the clock fast only while an accepted file waits for its ACK and Send is quiet.

        Work of a client outside Send is shown by the file `hold`.
        """
        if self.hurry is not None:
            busy = self._intake.is_under_way() or self.desk.place.hold.exists()
            hurries = self._delivery.is_awaited() and not busy
            clock.set_rate(self.desk.place.clock, self.hurry if hurries else 1.0)

    def _slow_down(self) -> None:
        """Run the clock at real time during long work; `set_pace` ends it."""
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
        """Wake the loop for changes without a client: the clock, knobs, a file put into Send."""
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
        """The files that can grow old, with their moments.

        A file under way is left out: its date is still real time, which may be months off.
        """
        place = self.desk.place
        ages = self.desk.ages(place.send) | self.desk.ages(place.report)
        return {path: age for path, age in ages.items() if path not in self._intake.uploading}

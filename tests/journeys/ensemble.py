"""Journeys side by side on one stack: each is a thread, and all share one clock.

A journey does its part at its own pace, and says `until` where it needs a later hour. Time passes
only when every journey has said so: then the clock jumps to the earliest of these hours. So each
finds the hours as if it were alone, and a day passes once for all of them.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

PATIENCE = 2400.0  # seconds of real time for all that others do meanwhile, on a busy machine
MOST = 100  # journeys


class Timekeeper:
    """Gives so many journeys at once a place to work, and moves the clock when none has one."""

    def __init__(
        self, now: Callable[[], datetime], move: Callable[[datetime], None], *, places: int
    ) -> None:
        self._now = now
        self._move = move
        self._places = places
        self._changed = threading.Condition()
        self._at_work: set[str] = set()
        self._ready: set[str] = set()  # for a place
        self._shy: set[str] = set()  # ready, but for a place without others
        self._alone = False
        self._waiting: dict[str, datetime] = {}

    def expect(self, journeys: Iterable[str]) -> None:
        """No time passes before all of these have begun."""
        with self._changed:
            self._ready |= {*journeys}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A place for the thread that asks."""
        me = _me()
        with self._changed:
            self._take_place(me)
        try:
            yield
        finally:
            self._leave(me)

    def until(self, moment: datetime) -> None:
        """Give the place away and come back to one when the clock shows this moment."""
        me = _me()
        self._leave(me, waiting=moment)
        with self._changed:
            self._wait(lambda: me not in self._waiting, f"the clock to show {moment}")
            self._take_place(me)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else is at work meanwhile, and no time passes."""
        me = _me()
        with self._changed:
            self._at_work.discard(me)
            self._shy.add(me)
            self._changed.notify_all()
            self._wait(lambda: not self._at_work and not self._ready, "all others to pause")
            self._shy.discard(me)
            self._at_work.add(me)
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def _take_place(self, me: str) -> None:
        self._ready.add(me)
        self._wait(
            lambda: len(self._at_work) < self._places and not self._alone, "a place to work at"
        )
        self._ready.discard(me)
        self._at_work.add(me)

    def _leave(self, me: str, *, waiting: datetime | None = None) -> None:
        with self._changed:
            for group in (self._at_work, self._ready, self._shy):
                group.discard(me)
            self._waiting.pop(me, None)
            if waiting is not None:
                self._waiting[me] = waiting
            if self._waiting and not (self._at_work or self._ready or self._shy):
                self._pass_time()
            self._changed.notify_all()

    def _pass_time(self) -> None:
        """Jump to the earliest hour that somebody waits for."""
        self._move(min(self._waiting.values()))
        now = self._now()
        for who in [who for who, moment in self._waiting.items() if moment <= now]:
            del self._waiting[who]
            self._ready.add(who)

    def _wait(self, happened: Callable[[], bool], what: str) -> None:
        if not self._changed.wait_for(happened, PATIENCE):
            waiting = {who: f"{moment:%d %B %H:%M}" for who, moment in self._waiting.items()}
            raise TimeoutError(
                f"{_me()} waited {PATIENCE:.0f} s for {what}; at work are {self._at_work}, ready "
                f"{self._ready | self._shy}, waiting {waiting}"
            )


class Ensemble:
    """Journeys that have begun, and what became of them."""

    def __init__(self, timekeeper: Timekeeper, journeys: Mapping[str, Callable[[], None]]) -> None:
        self._timekeeper = timekeeper
        timekeeper.expect(journeys)
        self._pool = ThreadPoolExecutor(MOST)
        self._played: dict[str, Future[None]] = {
            name: self._pool.submit(self._play, name, journey) for name, journey in journeys.items()
        }

    def result(self, name: str) -> None:
        """Wait for a journey's end; raises what it raised."""
        self._played[name].result()

    def wait(self) -> None:
        """Wait until all have ended, well or not."""
        self._pool.shutdown()

    def _play(self, name: str, journey: Callable[[], None]) -> None:
        threading.current_thread().name = name
        with self._timekeeper.at_work():
            journey()


def _me() -> str:
    """A journey is known by its thread's name."""
    return threading.current_thread().name

"""Journeys share one clock: no awaited hour is skipped, and no journey waits alone."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.journeys import ensemble
from tests.journeys.ensemble import Ensemble, Timekeeper

START = datetime(2027, 3, 2, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Hand:
    """A clock that shows what it was moved to, and every move."""

    def __init__(self) -> None:
        self.moves = [START]

    def now(self) -> datetime:
        return self.moves[-1]


def play(journeys: dict[str, Callable[[Timekeeper], None]], *, places: int = 2) -> list[datetime]:
    """Play journeys to their end; what the clock was moved to."""
    hand = Hand()
    timekeeper = Timekeeper(hand.now, hand.moves.append, places=places)
    begun = {name: lambda play=play: play(timekeeper) for name, play in journeys.items()}
    together = Ensemble(timekeeper, begun)
    together.wait()
    for name in journeys:
        together.result(name)
    return hand.moves[1:]


def test_the_clock_jumps_once_to_each_awaited_hour() -> None:
    moves = play(
        {
            "a": lambda time: [time.until(START + hours * HOUR) for hours in (1, 3)],
            "b": lambda time: time.until(START + 2 * HOUR),
            "c": lambda time: time.until(START + 3 * HOUR),
        }
    )

    assert moves == [START + hours * HOUR for hours in (1, 2, 3)]


def test_no_time_passes_while_a_journey_is_at_work() -> None:
    waits = threading.Event()
    seen: list[datetime] = []

    def busy(time: Timekeeper) -> None:
        assert waits.wait(60)
        seen.append(time._now())

    def waiting(time: Timekeeper) -> None:
        waits.set()
        time.until(START + HOUR)
        seen.append(time._now())

    play({"busy": busy, "waiting": waiting})

    assert seen == [START, START + HOUR]


def test_at_most_the_number_of_places_work_at_once() -> None:
    most: list[int] = []

    def journey(time: Timekeeper) -> None:
        most.append(len(time._at_work))
        time.until(START + HOUR)
        most.append(len(time._at_work))

    play({str(number): journey for number in range(20)}, places=3)

    assert len(most) == 40
    assert 1 <= max(most) <= 3


def test_an_exclusive_journey_runs_alone_without_time_passing() -> None:
    seen: list[tuple[int, datetime]] = []

    def alone(time: Timekeeper) -> None:
        with time.alone():
            seen.append((len(time._at_work), time._now()))
        time.until(START + HOUR)

    def other(time: Timekeeper) -> None:
        time.until(START + HOUR)

    moves = play({"a": other, "b": alone, "c": other, "d": alone}, places=3)

    assert seen == [(1, START)] * 2
    assert moves == [START + HOUR]


def test_a_failing_journey_is_reported_and_blocks_no_other() -> None:
    hand = Hand()
    timekeeper = Timekeeper(hand.now, hand.moves.append, places=2)

    def fails() -> None:
        raise ZeroDivisionError("for itself")

    together = Ensemble(
        timekeeper, {"fails": fails, "waits": lambda: timekeeper.until(START + HOUR)}
    )

    with pytest.raises(ZeroDivisionError, match="for itself"):
        together.result("fails")
    together.result("waits")
    assert hand.now() == START + HOUR


def test_a_wait_times_out_naming_the_working_journeys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ensemble, "PATIENCE", 0.1)
    over = threading.Event()
    timekeeper = Timekeeper(Hand().now, Hand().moves.append, places=2)
    together = Ensemble(
        timekeeper,
        {"hangs": lambda: over.wait(60) and None, "waits": lambda: timekeeper.until(START + HOUR)},
    )

    with pytest.raises(TimeoutError, match=r"waits waited .* at work are \{'hangs'\}"):
        together.result("waits")
    over.set()
    together.result("hangs")

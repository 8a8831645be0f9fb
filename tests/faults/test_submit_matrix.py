"""`submit`, interrupted or paused at every one of its effects, and run again as Airflow would.

Whatever was hit: at most one rename to `.csv` for each stem, every recipient in exactly one
submitted file, nobody who said STOP, and the books balance.
"""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest

from sms.ledger.states import State
from tests.faults.conftest import Ended, Scene, Target, Targets, strike_everywhere
from tests.faults.points import Part, Strike, parts, pauses
from tests.faults.zygote import DONE, FINAL
from tests.world import TUESDAY, numbers, renames

PEOPLE = 5
STOPPED = 33639980002


def prepare(target: Target) -> None:
    """A run of two files, of which one must be written anew: somebody said STOP meanwhile."""
    with target.here():
        parts = target.world.prepare(numbers(PEOPLE), more="max_recipients_per_file: 3\n")
        target.stems = [part.stem for part in parts]
        say_stop(target, STOPPED)


def judge(target: Target, last: Ended) -> bool:
    """Every promise; True if a person was asked."""
    renamed = Counter(renames(target.sandbox))
    assert max(renamed.values(), default=0) <= 1, renamed
    states = [target.world.ledger.submissions.get(stem).state for stem in target.stems]
    if State.UNKNOWN in states:
        assert "may or may not have been delivered" in last.told
        return True
    assert last.status == DONE, last
    assert states == [State.ACCEPTED, State.ACCEPTED]
    target.sandbox.settle()
    sent = Counter(entry["msisdn"] for entry in target.sandbox.journal("sent"))
    everybody = {f"+{33639980000 + number}" for number in range(PEOPLE)} - {f"+{STOPPED}"}
    assert sent == Counter(everybody)
    left = sorted(file.name for file in (target.sandbox.home / "Send").iterdir())
    assert left == [f"{stem}.done" for stem in target.stems]
    summary = target.world.ledger.runs.summary("one")
    assert summary.balanced
    assert (summary.sent, summary.excluded) == (PEOPLE - 1, {"opted_out": 1})
    with target.world.ledger.engine.connect() as db:
        [(messages,)] = db.exec_driver_sql("SELECT count(*) FROM sms.message").all()
    assert messages == PEOPLE - 1
    return False


SCENE = Scene(prepare)


@pytest.mark.parametrize("part", parts(8), ids=str)
def test_submit_interrupted_at_any_effect_keeps_its_promises(
    part: Part, targets: Targets, tell: Callable[[str], None]
) -> None:
    with targets.copy(SCENE) as target:
        untouched = target.play("submit")
        assert not judge(target, untouched)

    def tried(strike: Strike, struck: Callable[[Target], Ended]) -> bool:
        with targets.copy(SCENE) as target:
            return judge(target, struck(target))

    tell(strike_everywhere("submit", untouched.names, part, tried))


NO = 33639980004  # somebody of the second file says so while the process stands still


@pytest.mark.parametrize("part", parts(4), ids=str)
def test_a_stop_during_a_pause_is_excluded_or_late(
    part: Part, targets: Targets, tell: Callable[[str], None]
) -> None:
    def tried(strike: Strike, struck: Callable[..., Ended]) -> bool:
        with targets.copy(SCENE) as target:
            gone: list[str] = []

            def meanwhile() -> None:
                say_stop(target, NO)
                gone.extend(renames(target.sandbox))

            last = struck(target, meanwhile)
            assert last.status == DONE, last
            [first, second] = target.stems
            assert Counter(renames(target.sandbox)) == {f"{first}.csv": 1, f"{second}.csv": 1}
            late = f"{second}.csv" in gone
            target.sandbox.settle()
            sent = {entry["msisdn"] for entry in target.sandbox.journal("sent")}
            assert (f"+{NO}" in sent) == late, (gone, sent)
            # Once it has gone out, a STOP is none of its late ones.
            assert target.world.ledger.submissions.late_stops(second) <= late
            assert target.world.ledger.runs.summary("one").balanced
        return False

    tell(strike_everywhere("submit", effects(targets), part, tried, pauses))


@pytest.mark.parametrize("part", parts(2), ids=str)
def test_a_submit_paused_past_closing_does_not_rename(
    part: Part, targets: Targets, tell: Callable[[str], None]
) -> None:
    def tried(strike: Strike, struck: Callable[..., Ended]) -> bool:
        with targets.copy(SCENE) as target:
            gone: list[str] = []

            def meanwhile() -> None:
                say_stop(target, NO)  # it waits until the server has ended a turn
                gone.extend(renames(target.sandbox))
                target.sandbox.move_clock(to=TUESDAY.replace(hour=23))

            last = struck(target, meanwhile)
            assert renames(target.sandbox) == gone
            assert last.status in (DONE, FINAL), last
            assert len(gone) == 2 or "outside 08:00-22:00" in last.told, last
        return False

    tell(strike_everywhere("submit", effects(targets), part, tried, pauses))


def effects(targets: Targets) -> list[str]:
    """What an untouched run passes by."""
    with targets.copy(SCENE) as target:
        return target.play("submit").names


def say_stop(target: Target, msisdn: int) -> None:
    """Somebody is entered into the stop list, once no file is between its look and its rename."""
    rows = {
        "msisdn": pa.array([msisdn], pa.int64()),
        "opted_out_at": pa.array([None], pa.timestamp("us", "UTC")),
        "message": pa.array(["STOP"]),
    }
    target.world.ledger.stop_list.add(pa.table(rows), source="import")

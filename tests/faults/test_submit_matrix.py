"""`submit`, struck at every one of its effects in every way, and run again as Airflow would.

Whatever was hit: at most one rename to `.csv` for each stem, every recipient in exactly one
submitted file, nobody who said STOP, and the books balance.
"""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest

from sms import clock
from sms.ledger.states import State
from tests.delivery.conftest import numbers, renames
from tests.faults.conftest import Ended, Scene, World, Worlds, strike_everywhere
from tests.faults.points import Part, Strike, parts
from tests.faults.zygote import DONE

PEOPLE = 5
STOPPED = 33639980002


def prepare(world: World) -> None:
    """A run of two files, of which one must be written anew: somebody said STOP meanwhile."""
    with world.here():
        parts = world.desk.prepare(numbers(PEOPLE), more="max_per_file: 3\n")
        world.stems = [part.stem for part in parts]
        rows = {
            "msisdn": pa.array([STOPPED], pa.int64()),
            "opted_out_at": pa.array([clock.now()], pa.timestamp("us", "UTC")),
            "message": pa.array(["STOP"]),
        }
        world.desk.ledger.add_opt_outs(pa.table(rows), source="import")


def judge(world: World, last: Ended) -> bool:
    """Every promise; True if a person was asked."""
    renamed = Counter(renames(world.sandbox))
    assert max(renamed.values(), default=0) <= 1, renamed
    states = [world.desk.ledger.submission(stem).state for stem in world.stems]
    if State.UNKNOWN in states:
        assert "may or may not have been delivered" in last.told
        return True
    assert last.status == DONE, last
    assert states == [State.ACCEPTED, State.ACCEPTED]
    world.sandbox.settle()
    sent = Counter(entry["msisdn"] for entry in world.sandbox.journal("sent"))
    everybody = {f"+{33639980000 + number}" for number in range(PEOPLE)} - {f"+{STOPPED}"}
    assert sent == Counter(everybody)
    left = sorted(file.name for file in (world.sandbox.home / "Send").iterdir())
    assert left == [f"{stem}.done" for stem in world.stems]
    summary = world.desk.ledger.summary("one")
    assert summary.balanced
    assert (summary.sent, summary.excluded) == (PEOPLE - 1, {"opted_out": 1})
    with world.desk.ledger.engine.connect() as db:
        [(messages,)] = db.exec_driver_sql("SELECT count(*) FROM sms.message").all()
    assert messages == PEOPLE - 1
    return False


SCENE = Scene(prepare)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", parts(8), ids=str)
def test_no_strike_at_any_effect_of_submit_breaks_a_promise(
    part: Part, worlds: Worlds, tell: Callable[[str], None]
) -> None:
    with worlds.copy(SCENE) as world:
        untouched = world.play("submit")
        assert not judge(world, untouched)

    def tried(strike: Strike, struck: Callable[[World], Ended]) -> bool:
        with worlds.copy(SCENE) as world:
            return judge(world, struck(world))

    tell(strike_everywhere("submit", untouched.names, part, tried))

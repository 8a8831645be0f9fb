"""Housekeeping, interrupted or paused at every one of its effects, and run again.

Whatever was hit: every report that ever was there is archived and loaded, the counts of the run are
what they were, what is over is gone, and nothing of an open file is.
"""

from collections.abc import Callable
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from sms.ledger.states import State
from tests.faults import collecting
from tests.faults.conftest import Ended, Scene, Target, Targets, strike_everywhere
from tests.faults.points import Part, Strike, kills, parts, pauses
from tests.faults.zygote import DONE, LOOK_HOLDS
from tests.world import numbers


def one_over(target: Target) -> None:
    """A file whose reports are all home, and one that is still open; then time passes."""
    for collector in ("replies", "report"):
        assert target.play(collector).status == DONE
    with target.here():
        [part] = target.world.prepare(numbers(5)[3:], run="two")
        target.world.submit(part.stem)
        target.world.accepted(part.stem)
        years = timedelta(days=9 * 365)  # in which its report may come
        due = "UPDATE sms.submission SET due_at = %s WHERE stem = %s"
        with target.world.ledger.engine.begin() as db:
            db.exec_driver_sql(due, (target.sandbox.now() + years, part.stem))
    target.stems.append(part.stem)
    target.sandbox.settle()
    row = b"+33639980003;20270302;0941;STOP;x\r\n"
    target.sandbox.put_report(f"STOP{part.stem.removeprefix('SEND')}.csv", row)
    assert target.play("replies").status == DONE
    target.sandbox.move_clock(to=target.sandbox.now() + timedelta(days=21))


def years_later(target: Target) -> None:
    """The gateway was cleared, and more time passes than we keep anything."""
    assert target.play("housekeeping").status == DONE
    target.sandbox.move_clock(to=target.sandbox.now() + timedelta(days=4 * 365))


def no_task_waits(target: Target) -> None:
    """Reports that no collector has fetched, a verdict that no task has heard; time passes."""
    with target.here():
        [part] = target.world.prepare(numbers(6)[4:], run="two")
        target.world.submit(part.stem)
    target.stems.append(part.stem)
    target.sandbox.settle()
    row = b"x;+33639980004;TESTS;y;3;delivered;op\r\n"
    target.sandbox.put_report(f"ACK{part.stem.removeprefix('SEND')}.csv", row)
    target.sandbox.move_clock(to=target.sandbox.now() + timedelta(days=10))


ALONE = Scene(no_task_waits, after=collecting.SCENE)
HOUSEKEEPING = Scene(one_over, after=collecting.SCENE)
SCENES = {"housekeeping": HOUSEKEEPING, "expiry": Scene(years_later, after=HOUSEKEEPING)}


def at_gateway(target: Target) -> list[str]:
    """The names in both directories."""
    home = target.sandbox.home
    return sorted(file.name for name in ("Send", "Report") for file in (home / name).iterdir())


def archived(target: Target) -> dict[str, bytes]:
    """Every state of every report in the archive."""
    folder = target.world.folder / "archive"
    files = (path for path in folder.rglob("*.csv"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def summaries(target: Target) -> list[Any]:
    """The numbers of both runs, for analysts and for us."""
    with target.world.ledger.engine.connect() as db:
        rows = db.exec_driver_sql("SELECT * FROM sms.campaign_summary ORDER BY run_key").all()
    ours = [target.world.ledger.runs.summary(run).outcomes for run in ("one", "two")]
    return [[{**row._mapping, "submissions": None} for row in rows], ours]


def judge(target: Target, act: str, before: dict[str, Any]) -> None:
    """Every promise."""
    still_open = target.stems[1]
    assert [target.world.ledger.submissions.get(each).state for each in target.stems] == [
        State.CLOSED,
        State.ACCEPTED,
    ]
    assert summaries(target) == before["summaries"]
    if act == "housekeeping":
        stays = {f"{still_open}.done", f"STOP{still_open.removeprefix('SEND')}.csv"}
        assert {*at_gateway(target)} == stays
        assert archived(target) == before["archived"]
        tables = collecting.kept(target)
        assert {**tables, "submission": None} == {**before["tables"], "submission": None}
        return
    assert not target.world.run_folder("one").path.exists()
    assert target.world.run_folder("two").path.exists()
    assert {*archived(target)} == {
        place for place in before["archived"] if still_open.removeprefix("SEND") in place
    }
    kept = collecting.kept(target)
    assert kept["receipt"] == kept["stranger"] == []
    assert len(kept["opt_out"]) == len(before["tables"]["opt_out"])
    by_number = [row[0] for row in kept["opt_out"] if row[0] > 0]
    assert by_number == [33639980003]  # of the open file; all others are hashes now
    assert [row[1] for row in kept["reply"]] == [f"STOP{still_open.removeprefix('SEND')}.csv"]


def seen(target: Target) -> dict[str, Any]:
    """What must still be true, or there, afterwards."""
    return {
        "summaries": summaries(target),
        "archived": archived(target),
        "tables": collecting.kept(target),
    }


@pytest.mark.parametrize("part", parts(4), ids=str)
@pytest.mark.parametrize("act", list(SCENES))
def test_housekeeping_interrupted_at_any_effect_keeps_its_promises(
    act: str, part: Part, targets: Targets, tell: Callable[[str], None]
) -> None:
    with targets.copy(SCENES[act]) as target:
        before = seen(target)
        untouched = target.play(act)
        assert untouched.status == DONE, untouched
        judge(target, act, before)

    def tried(strike: Strike, struck: Callable[[Target], Ended]) -> bool:
        with targets.copy(SCENES[act]) as target:
            struck(target)
            judge(target, act, before)
        return False

    tell(strike_everywhere(act, untouched.names, part, tried))


@pytest.mark.parametrize("part", parts(2), ids=str)
def test_a_crash_never_loses_a_report_without_a_task(
    part: Part, targets: Targets, tell: Callable[[str], None]
) -> None:
    with targets.copy(ALONE) as target:
        untouched = target.play("housekeeping")
        assert untouched.status == DONE, untouched
        expected = collecting.kept(target)
        shown = at_gateway(target)
        assert [row[1] for row in expected["submission"]] == [State.REPORTED, State.REPORTED]
        assert len(expected["report_file"]) == 4

    def tried(strike: Strike, struck: Callable[[Target], Ended]) -> bool:
        with targets.copy(ALONE) as target:
            struck(target)
            assert collecting.kept(target) == expected
            assert at_gateway(target) == shown
            collecting.require_archived(target)
        return False

    tell(strike_everywhere("housekeeping", untouched.names, part, tried, kills))


@pytest.mark.parametrize("part", parts(2), ids=str)
def test_a_report_written_during_housekeeping_is_not_deleted_unread(
    part: Part, targets: Targets, tell: Callable[[str], None]
) -> None:
    """A STOP, and an outcome: whatever is deleted was read before."""
    late = 33639980009
    with targets.copy(HOUSEKEEPING) as target:
        untouched = target.play("housekeeping")

    def tried(strike: Strike, struck: Callable[..., Ended]) -> bool:
        with targets.copy(HOUSEKEEPING) as target:
            grown: dict[str, bool] = {}

            def meanwhile() -> None:
                for kind, row in (
                    ("STOP", f"+{late};20270302;0945;STOP;x\r\n"),
                    ("ACK", "x2;+33639980003;TESTS;y;4;refused;op\r\n"),
                ):
                    grown[kind] = collecting.append(target, kind, row.encode())
                # Until a look at the gateway is too old: see `zygote.live`.
                Event().wait(2 * LOOK_HOLDS)

            struck(target, meanwhile)
            for _ in range(2):
                target.sandbox.move_clock(to=target.sandbox.now() + timedelta(days=1))
                assert target.play_until_done("housekeeping").status == DONE
            tables = collecting.kept(target)
            stopped = any(abs(row[0]) == late for row in tables["opt_out"])
            refused = any(row[2] == 4 for row in tables["receipt"])
            assert {"STOP": stopped, "ACK": refused} == grown
            assert target.world.ledger.submissions.get(target.stems[0]).state is State.CLOSED
        return False

    tell(strike_everywhere("housekeeping", untouched.names, part, tried, pauses))

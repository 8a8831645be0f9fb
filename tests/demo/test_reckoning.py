"""The demo succeeds only if every number adds up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from demo.reckoning import OptOut, faults
from sms.ledger.records import Reconciliation, Submission, Summary
from sms.ledger.states import State
from tests.factories import planned_run

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
STEM = "SEND-12345-20261201-1030-spring"
RUN = planned_run("d/r", send_at=NOON, planned_at=NOON)
SUBMISSION = Submission(
    *(1, "d/r", STEM, "12345", "spring", 1, 1, State.REPORTED, NOON, "FR", 2, 2, "0", 9),
    *[None] * 10,
)
SUMMARY = Summary(
    run=RUN,
    candidates=3,
    audience=2,
    excluded={"landline": 1},
    replaced={},
    sent=2,
    segments=2,
    submissions={State.REPORTED: 1},
    outcomes=Reconciliation(2, 1, 1, 0, 0, 0, 0, rows=2, strangers=0, duplicates=0),
    stops=1,
    replies=0,
)
Journal = list[dict[str, Any]]
RENAMED = NOON - timedelta(hours=1)
A_DAY = timedelta(days=1)


def stop(at: datetime) -> OptOut:
    return OptOut(at, at)


def sent(last: int) -> dict[str, Any]:
    msisdn = f"+3363998{last:04}"
    return {"what": "sent", "stem": STEM, "msisdn": msisdn, "at": NOON.isoformat()}


def journal() -> Journal:
    return [
        {
            "what": "rename",
            "from": f"Send/{STEM}.tmp",
            "to": f"Send/{STEM}.csv",
            "at": RENAMED.isoformat(),
        },
        {"what": "rename", "from": f"Send/{STEM}.csv", "to": f"Send/{STEM}.lock"},
        sent(1),
        sent(2),
        {"what": "grown", "stem": STEM, "name": f"STOP{STEM.removeprefix('SEND')}.csv", "rows": 1},
    ]


def test_a_good_run_has_no_faults() -> None:
    later = {33639980001: stop(NOON + timedelta(hours=1)), 33639989999: stop(NOON - A_DAY)}

    assert faults(SUMMARY, [SUBMISSION], journal(), later) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda lines: lines.append(lines[0]), "was renamed to .csv 2 times"),
        (lambda lines: lines.pop(0), "was renamed to .csv 0 times"),
        (lambda lines: lines.pop(2), "2 sent, the gateway sent 1"),
        (lambda lines: lines.append(sent(2)), "1 number got the text more than once"),
        (lambda lines: lines[-1].update(rows=2), "2 STOP rows, the ledger 1"),
    ],
)
def test_the_gateways_journal_must_match_the_ledger(
    spoil: Callable[[Journal], object], says: str
) -> None:
    lines = journal()
    spoil(lines)

    assert says in "\n".join(faults(SUMMARY, [SUBMISSION], lines, {}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"candidates": 4}, "4 candidates are not 2 to write to and 1 left out"),
        ({"candidates": 0, "audience": 0, "excluded": {}}, "no candidates"),
        ({"outcomes": replace(SUMMARY.outcomes, delivered=0)}, "do not match"),
        ({"replies": 5}, "0 SMSMO rows, the ledger 5"),
    ],
)
def test_the_ledgers_counts_must_add_up(change: dict[str, Any], says: str) -> None:
    told = faults(replace(SUMMARY, **change), [SUBMISSION], journal(), {})

    assert says in "\n".join(told)


@pytest.mark.parametrize(
    "opt_out",
    [
        OptOut(RENAMED - timedelta(minutes=1), RENAMED - timedelta(seconds=2)),
        OptOut(RENAMED - timedelta(minutes=5), RENAMED + timedelta(hours=1)),
    ],
    ids=["recorded before the rename", "said long before, and not fetched"],
)
def test_a_text_after_a_stop_is_a_fault(opt_out: OptOut) -> None:
    [told] = faults(SUMMARY, [SUBMISSION], journal(), {33639980001: opt_out})

    assert told.startswith("1 number got a text after a STOP: said at ")


@pytest.mark.parametrize(
    "opt_out",
    [
        OptOut(RENAMED - timedelta(seconds=1), RENAMED - timedelta(seconds=1)),
        OptOut(RENAMED - timedelta(minutes=4), RENAMED + timedelta(seconds=1)),
    ],
    ids=["while the rename was under way", "not fetched yet"],
)
def test_a_stop_that_came_too_late_is_no_fault(opt_out: OptOut) -> None:
    assert faults(SUMMARY, [SUBMISSION], journal(), {33639980001: opt_out}) == []


def test_a_file_that_was_never_reported_is_a_fault() -> None:
    waiting = replace(SUBMISSION, state=State.ACCEPTED)

    assert f"{STEM} is accepted, not reported" in faults(SUMMARY, [waiting], journal(), {})

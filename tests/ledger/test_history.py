"""The ledger's knowledge of recipients from earlier runs."""

from datetime import timedelta

import numpy as np
import pyarrow as pa

from sms.ledger.states import State
from tests.factories import FIRST
from tests.ledger.codes import CODES
from tests.ledger.conftest import START

ALL = np.arange(FIRST, FIRST + 5)


def report(office, stem: str, outcomes: dict[int, str]) -> None:
    """Load a delivery report that says so of the n-th people."""
    people = [*outcomes]
    told = {
        "line": pa.array(range(1, len(people) + 1)),
        "idremote": [f"{person:032x}" for person in people],
        "msisdn": pa.array([FIRST + person for person in people]),
        "idstatus": pa.array([CODES[outcome] for outcome in outcomes.values()], pa.int16()),
        "ackoperator": ["a"] * len(people),
        "raw_status": ["0"] * len(people),
    }
    office.ledger.reports.load_delivery_report(stem, pa.table(told))


def test_numbers_written_to_often_are_found(office, hand, make_messages):
    office.submitted(make_messages(3))
    hand.advance(timedelta(days=1))
    office.submitted(make_messages(2))

    def written_to(times: int, since: timedelta = timedelta(days=9), kind: str = "marketing"):
        found = office.ledger.people.written_to(
            ALL, kind=kind, times=times, since=START - since, but=""
        )
        return (found - FIRST).tolist()

    assert written_to(1) == [0, 1, 2]
    assert written_to(2) == [0, 1]
    assert written_to(3) == []
    assert written_to(1, since=-timedelta(hours=3)) == [0, 1]  # only the second went out after it
    assert written_to(1, kind="transactional") == []


def test_only_files_that_may_have_left_count_as_sent(office, make_messages):
    rejected = office.submitted(make_messages(4))
    office.ledger.submissions.move(rejected.stem, to=State.REJECTED)
    office.uploaded(make_messages(4))
    since = START - timedelta(days=1)

    def written_to(but: str = "") -> int:
        found = office.ledger.people.written_to(
            ALL, kind="marketing", times=1, since=since, but=but
        )
        return len(found)

    assert written_to() == 0
    intended = office.intended(make_messages(3))
    assert written_to() == 3
    assert written_to(but=intended.run_key) == 0
    office.ledger.submissions.move(intended.stem, to=State.UNKNOWN)
    assert written_to() == 3


def test_repeatedly_failing_numbers_are_found(office, hand, make_messages):
    for outcomes in (
        {0: "not_delivered", 1: "delivered", 2: "not_delivered", 3: "not_delivered"},
        {0: "not_delivered", 1: "not_delivered", 2: "delivered", 3: "refused"},
        {0: "not_delivered", 1: "not_delivered", 2: "not_delivered", 3: "not_delivered"},
    ):
        hand.advance(timedelta(days=1))
        one = office.submitted(make_messages(5))
        report(office, one.stem, outcomes)

    def failing(times: int):
        return (office.ledger.people.failing(ALL, times=times) - FIRST).tolist()

    assert failing(1) == [0, 1, 2, 3]
    assert failing(2) == [0, 1, 3]  # a refusal tells nothing of the number
    assert failing(3) == [0]
    assert failing(4) == []
    hand.advance(timedelta(days=400))
    assert failing(1) == []


def test_the_latest_runs_that_sent_come_first(office, hand, make_messages):
    sizes = [3, 4, 5]
    runs = []
    for size in sizes:
        hand.advance(timedelta(days=1))
        runs.append(office.submitted(make_messages(size)).run_key)
    office.prepared(9)  # sends nothing

    def latest_sent(**which):
        return list(office.ledger.runs.latest_sent("spring", **{"but": "none", **which}).values())

    assert latest_sent() == [5, 4, 3]
    assert latest_sent(most=2) == [5, 4]
    assert latest_sent(but=runs[-1]) == [4, 3]
    assert office.ledger.runs.latest_sent("autumn", but="none") == {}

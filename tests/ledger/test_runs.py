"""The plan of a run, before its first upload."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest

from sms.errors import LedgerError
from sms.ledger.states import State

LEASE = timedelta(minutes=10)


def test_the_first_plan_of_a_run_wins(office, hand):
    run = office.a_run()
    stored, submission = office.ledger.runs.plan(run, "SEND-12345-20260715-1200-spring1")
    later = replace(run, send_at=run.send_at + timedelta(days=1), slot_reason="asked again")

    again = office.ledger.runs.plan(later, "SEND-12345-20260716-1200-spring1")

    assert (stored, submission) == again
    assert stored == run
    assert submission.state is State.PLANNED
    assert (submission.service_id, submission.campaign_id) == ("12345", "spring1")
    assert office.events(submission.stem) == [(None, "planned")]


def test_concurrent_plans_of_a_run_agree(office, another_ledger):
    run = office.a_run()
    start = Barrier(4)

    def plan(number: int):
        start.wait()
        slot = replace(run, slot_reason=f"worker {number}")
        return another_ledger(f"worker {number}").runs.plan(
            slot, f"SEND-12345-20260715-1200-w{number}"
        )

    with ThreadPoolExecutor(4) as pool:
        plans = list(pool.map(plan, range(4)))

    assert len({(stored.slot_reason, one.stem) for stored, one in plans}) == 1
    assert len(office.ledger.submissions.of_run(run.run_key)) == 1


def test_a_name_is_given_to_one_file_only(office):
    office.ledger.runs.plan(office.a_run(), "SEND-12345-20260715-1200-spring")

    with pytest.raises(LedgerError, match="a name is never used twice"):
        office.ledger.runs.plan(office.a_run(), "SEND-12345-20260715-1200-spring")

    with pytest.raises(LedgerError, match="has no run"):
        office.ledger.runs.get("send__spring/manual__2")  # nothing of the second was kept


def test_times_are_read_back_unchanged(office):
    paris = datetime.fromisoformat("2026-07-15T12:00:00+02:00")
    stored, _ = office.ledger.runs.plan(office.a_run(send_at=paris), office.stem())

    assert stored.send_at == paris
    assert stored.send_at.tzinfo is UTC


def test_an_unplanned_run_is_an_error(office):
    for call in (
        lambda: office.ledger.submissions.get("SEND-12345-20260715-1200-none"),
        lambda: office.ledger.submissions.claim("SEND-12345-20260715-1200-none", "t", lease=LEASE),
        lambda: office.ledger.submissions.reconcile("SEND-12345-20260715-1200-none"),
        lambda: office.ledger.runs.summary("nobody/planned"),
        lambda: office.ledger.runs.record_rendering("nobody/planned", excluded={}, replaced={}),
    ):
        with pytest.raises(LedgerError, match="plan it first"):
            call()


def test_an_unclaimed_run_may_be_replanned(office, make_part):
    one = office.prepared()
    run = office.ledger.runs.get(one.run_key)
    later = replace(run, send_at=run.send_at + timedelta(days=1), slot_reason="too late today")

    stored, new = office.ledger.runs.replan(later, "SEND-12345-20260716-1200-spring1")

    assert stored == later == office.ledger.runs.get(run.run_key)
    assert new.state is State.PLANNED
    assert new.send_at == later.send_at
    assert office.ledger.submissions.get(one.stem).state is State.CANCELLED
    assert office.ledger.submissions.of_run(run.run_key) == [new]
    assert office.ledger.runs.plan(run, one.stem) == (stored, new)
    assert office.ledger.runs.replan(later, new.stem) == (stored, new)  # told again


def test_a_claimed_run_keeps_its_slot(office):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)

    with pytest.raises(LedgerError, match="is uploading already"):
        office.ledger.runs.replan(
            office.ledger.runs.get(one.run_key), "SEND-12345-20260716-1200-spring1"
        )

    assert office.ledger.submissions.get(one.stem).state is State.UPLOADING


def test_a_run_with_an_abandoned_file_gets_another_name(office):
    one = office.intended()
    office.ledger.submissions.move(one.stem, to=State.UNKNOWN)
    office.ledger.submissions.move(one.stem, to=State.CANCELLED)

    _, new = office.ledger.runs.replan(office.ledger.runs.get(one.run_key), f"{one.stem}b")

    assert new.state is State.PLANNED


def test_preparing_a_run_fixes_its_parts(office, make_part):
    one = office.planned()
    parts = [make_part(f"{one.stem}p0{n}", n, 2, messages=10 * n) for n in (1, 2)]

    prepared = office.ledger.runs.prepare(one.run_key, parts)

    assert [(p.stem, p.part, p.parts, p.messages, p.state) for p in prepared] == [
        (f"{one.stem}p01", 1, 2, 10, State.PREPARED),
        (f"{one.stem}p02", 2, 2, 20, State.PREPARED),
    ]
    assert prepared[0].id == one.id
    assert office.events(f"{one.stem}p01") == [(None, "planned"), ("planned", "prepared")]
    assert office.ledger.runs.prepare(one.run_key, parts) == prepared


def test_preparing_a_run_again_may_change_its_parts(office, make_part):
    one = office.planned()

    def prepare(count: int):
        parts = [make_part(f"{one.stem}p0{n}", n, count) for n in range(1, count + 1)]
        return [p.stem[-3:] for p in office.ledger.runs.prepare(one.run_key, parts)]

    assert [prepare(3), prepare(2), prepare(3)] == [
        ["p01", "p02", "p03"],
        ["p01", "p02"],
        ["p01", "p02", "p03"],
    ]


def test_a_sent_run_is_never_prepared_differently(office, make_part):
    one = office.submitted()
    same = make_part(one.stem, messages=one.messages)
    same = replace(same, segments=one.segments, sha256=one.sha256, size_bytes=one.size_bytes)

    assert office.ledger.runs.prepare(one.run_key, [same]) == [one]
    with pytest.raises(LedgerError, match="is submitted already"):
        office.ledger.runs.prepare(one.run_key, [replace(same, sha256="1" * 64)])
    assert office.ledger.submissions.get(one.stem) == one


def test_a_cancelled_run_is_not_revived_by_preparing_it(office, make_part):
    one = office.prepared()
    office.ledger.submissions.move(one.stem, to=State.CANCELLED)

    with pytest.raises(LedgerError, match="was cancelled"):
        office.ledger.runs.prepare(one.run_key, [make_part(one.stem)])

    assert [s.state for s in office.ledger.submissions.of_run(one.run_key)] == [State.CANCELLED]


def test_parts_are_numbered_without_gaps(office, make_part):
    one = office.planned()
    for parts in ([], [make_part(one.stem, 1, 2)], [make_part(one.stem, 2, 2)]):
        with pytest.raises(ValueError, match="numbered 1 to n"):
            office.ledger.runs.prepare(one.run_key, parts)

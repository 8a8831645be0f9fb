"""Reports of a gateway at its worst, and the notices that the operator gets."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from sms.ledger.states import State
from sms.ledger.tables import reply, submission
from tests.journeys.conftest import LiveWorld

pytestmark = pytest.mark.journey
WORST = {
    "torn": True,
    "report_header": True,
    "bare_reports": True,
    "report_hour_moves": True,
    "report_copies": True,
    "rows_twice": True,
    "ack_late_hours": 6,
    "unreported": 0.1,
    "stop": 0.2,
    "reply": 0.4,
}


def recorded(world: LiveWorld, stem: str, kind: str) -> list[tuple[int, str]]:
    """The answers to a file in the ledger: number and text."""
    wanted = (
        select(reply.c.msisdn, reply.c.message)
        .join(submission, submission.c.id == reply.c.submission_id)
        .where(submission.c.stem == stem, reply.c.kind == kind)
    )
    with world.stack.ledger.engine.connect() as db:
        return [(row.msisdn, row.message) for row in db.execute(wanted)]


def is_repeated(one: tuple[int, str], answers: list[tuple[int, str]]) -> bool:
    """Whether a recipient's answer is there twice, or is no beginning of another of theirs."""
    texts = [message for msisdn, message in answers if msisdn == one[0]]
    return texts.count(one[1]) > 1 or not max(texts, key=len).startswith(one[1])


def test_growing_torn_repeated_and_renamed_reports_are_collected_once(world: LiveWorld) -> None:
    world.turn("messy", **WORST)
    run = world.succeeded(world.trigger("messy"))
    [stem] = world.stems(run)
    world.until_reported(stem, late=timedelta(hours=WORST["ack_late_hours"]))
    world.wait_until(lambda: bool(world.journal("report", stem=stem)), "the report")
    world.until(world.stack.now() + timedelta(minutes=10))  # until what was torn off has come
    collection = world.ended("collect_delivery_report", f"ack__{stem}")
    assert world.replies().state == "success"

    assert collection.state == "success"
    summary = world.stack.ledger.runs.summary(f"{run.dag_id}/{run.run_id}")
    [report] = world.journal("report", stem=stem)
    outcomes = summary.outcomes
    assert summary.balanced
    assert (outcomes.sent, outcomes.duplicates) == (60, report["rows"])
    assert outcomes.missing == 60 - report["rows"] > 0
    assert outcomes.delivered == report["outcomes"]["delivered"]
    # The gateway wrote each answer into two files: it came home once. A torn row that a jump of the
    # clock left open for half an hour is read as it is, and then again as a whole.
    grown = world.journal("grown", stem=stem)
    for kind, known in (("STOP", summary.stops), ("SMSMO", summary.replies)):
        rows = sum(each["rows"] for each in grown if each["name"].startswith(kind))
        answers = recorded(world, stem, kind)
        assert len(answers) == known
        assert rows == 2 * len({msisdn for msisdn, _ in answers}) > 0
        assert [one for one in answers if is_repeated(one, answers)] == []
    assert " covers " in world.log(collection, "reconcile")

    told = world.notices(stem)
    assert [(each["event"], each["by"]) for each in told] == [
        ("submitted", "submit"),
        ("accepted", "submit"),
        ("reported", "load"),
    ]
    assert told[1]["words"].startswith(f"the gateway accepted {stem}: 60 messages, for Tuesday")
    assert f"{outcomes.missing} missing" in told[2]["words"]
    assert "the mail server is on fire" in world.log(run, "submit")


def test_an_exhausted_balance_is_reported_and_shown(world: LiveWorld) -> None:
    world.turn("balance", balance=6)
    run = world.succeeded(world.trigger("balance"))
    [stem] = world.stems(run)
    world.collected(stem)

    assert len(world.journal("sent", stem=stem)) == 6
    words = world.notices(stem)[-1]["words"]
    assert "covers 6 of its 10 messages: 4 are missing" in words
    with world.stack.ledger.engine.connect() as db:
        shown = db.exec_driver_sql(
            "SELECT sent, missing, partial FROM sms.reconciliation WHERE stem = %s", (stem,)
        ).one()
    assert tuple(shown) == (10, 4, True)


def test_an_overdue_report_is_an_alarm_with_its_numbers(world: LiveWorld) -> None:
    world.turn("unreported", ack_late_hours=24 * 4)
    run = world.succeeded(world.trigger("unreported"))
    [stem] = world.stems(run)
    world.until_missed(stem)
    collection = world.collected(stem, late=timedelta(days=1))

    assert collection.state == "failed"
    assert world.stack.ledger.submissions.get(stem).state is State.ACCEPTED
    told = world.notices(stem)[-1]
    assert (told["event"], told["by"], told["messages"]) == ("overdue", "await_report", 7)
    assert f"the delivery report of {stem} on 7 messages is overdue: it was due" in told["words"]
    assert told["words"] in world.log(collection, "await_report")

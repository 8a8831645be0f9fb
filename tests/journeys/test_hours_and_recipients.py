"""The right hour, recipients and price, through a real Airflow."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from sms.clock import PARIS
from sms.ledger.states import State
from tests.journeys.conftest import LiveWorld, query

pytestmark = pytest.mark.journey
GUADELOUPE = ZoneInfo("America/Guadeloupe")


def next_sunday(world: LiveWorld) -> datetime:
    today = world.stack.now().astimezone(PARIS)
    sunday = today + timedelta(days=6 - today.weekday() or 7)
    return sunday.replace(hour=10, minute=30, second=0, microsecond=0)


def test_recipients_of_two_zones_get_messages_in_open_hours(
    world: LiveWorld,
) -> None:
    run = world.trigger("zones")
    first, later = world.parts(run)
    world.wait_until(
        lambda: world.stack.ledger.submissions.get(first).state is State.ACCEPTED, "the first hour"
    )
    world.wait_until(lambda: world.states(run)["submit"] == {"deferred"}, "the wait for the next")
    assert world.uploads(later) == []
    world.until(world.stack.ledger.submissions.get(later).send_at - timedelta(minutes=20))
    world.succeeded(run)
    world.until(world.stack.ledger.submissions.get(later).send_at + timedelta(minutes=1))
    world.wait_until_sent(later, 2)

    files = world.stack.ledger.submissions.of_run(f"{run.dag_id}/{run.run_id}")
    assert [each.zone for each in files] == ["FR", "GP"]
    assert [each.messages for each in files] == [4, 2]
    for each, there in zip(files, (PARIS, GUADELOUPE), strict=True):
        assert world.renamed(each.stem) == 1
        rung = [
            datetime.fromisoformat(entry["at"]).astimezone(there)
            for entry in world.journal("sent", stem=each.stem)
        ]
        assert len(rung) == each.messages
        assert all(8 <= at.hour < 22 for at in rung)
    assert files[1].submitted_at
    assert files[1].submitted_at > files[1].send_at - timedelta(hours=1)
    for each in files:
        world.succeeded(world.collected(each.stem))
    assert world.stack.ledger.runs.summary(f"{run.dag_id}/{run.run_id}").balanced


def test_a_sunday_run_moves_to_monday_with_its_reason(world: LiveWorld) -> None:
    sunday = next_sunday(world)
    run = world.trigger("shifted", send_at=sunday.isoformat())
    world.wait_until(lambda: world.states(run)["await_hour"] == {"deferred"}, "the wait")
    world.until(sunday + timedelta(hours=21))
    world.succeeded(run)

    [file] = world.stack.ledger.submissions.of_run(f"{run.dag_id}/{run.run_id}")
    monday = (sunday + timedelta(days=1)).replace(hour=8, minute=0)
    assert file.send_at == monday
    assert f"-{monday:%Y%m%d-%H%M}-" in file.stem
    why = world.stack.airflow.xcom(run.dag_id, run.run_id, "plan")["why"]
    assert f"Sunday {sunday.day}" in why
    assert "is closed, moved to Monday" in why


def test_outside_window_fail_refuses_a_sunday(world: LiveWorld) -> None:
    run = world.finished(world.trigger("punctual", send_at=next_sunday(world).isoformat()))

    closed = "is closed, and the campaign says `outside_window: fail`"
    world.failed_for_good(run, "plan", closed)
    assert world.stems(run) == []


def test_the_frequency_cap_blocks_a_third_weekly_message(world: LiveWorld) -> None:
    runs = []
    for _ in range(3):
        world.next_morning()
        runs.append(world.succeeded(world.trigger("capped")))
    first, second, third = runs

    for run in (first, second):
        [stem] = world.stems(run)
        world.wait_until_sent(stem, 3)
    assert world.states(third)["screen"] == {"skipped"}
    summary = world.stack.ledger.runs.summary(f"{third.dag_id}/{third.run_id}")
    assert summary.excluded == {"frequency_cap": 3}
    [stem] = world.stems(third)
    assert world.stack.ledger.submissions.get(stem).state is State.CANCELLED


def test_a_run_that_grew_too_much_uploads_nothing(world: LiveWorld) -> None:
    world.next_morning()
    world.succeeded(world.trigger("grows"))
    (world.campaigns / "grows" / "recipients.sql").write_text(query("grows", 9))
    world.next_morning()

    run = world.finished(world.trigger("grows"))

    assert "9 recipients are 200% more than the largest of the last 1 run, 3" in (
        world.log(run, "review")
    )
    [stem] = world.stems(run)
    assert world.uploads(stem) == []


def test_a_run_beyond_its_budget_uploads_nothing(world: LiveWorld) -> None:
    run = world.finished(world.trigger("dear"))

    assert "0.15 EUR is more than the budget, 0.10 EUR" in world.log(run, "review")
    [stem] = world.stems(run)
    assert world.uploads(stem) == []


def test_a_proof_reaches_our_phone_before_the_approval(world: LiveWorld) -> None:
    world.next_morning()
    run = world.trigger("proved")
    question = world.question(run)

    [proof] = world.stack.airflow.xcom(run.dag_id, run.run_id, "prepare_proof")
    assert world.renamed(proof) == 1
    world.wait_until(lambda: bool(world.journal("sent", stem=proof)), "the proof")
    assert [each["msisdn"] for each in world.journal("sent", stem=proof)] == ["+33639989901"]
    [stem] = world.stems(run)
    assert world.uploads(stem) == []
    assert "A proof is sent to 1 phone, at " in question["body"]

    world.answer(run, question["options"][0])
    world.succeeded(run)

    world.wait_until_sent(stem, 3)
    world.succeeded(world.collected(proof))

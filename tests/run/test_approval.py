"""A person's yes: to what is prepared, before a byte leaves."""

from datetime import timedelta

import pytest

from sms import clock
from sms.errors import LedgerError, NotApproved, SmsError
from sms.run import approval
from sms_sandbox import Sandbox
from tests.world import SANDBOX_ONLY, World, in_send, numbers, renames

pytestmark = SANDBOX_ONLY

ALWAYS = "approval: always\n"


def say_yes(world: World) -> None:
    world.ledger.runs.approve("one", by="Zoe", shown=world.ledger.runs.prepared_digest("one"))


def test_nothing_is_uploaded_before_the_yes(world: World, gateway: Sandbox) -> None:
    [prepared] = world.prepare(numbers(3), more=ALWAYS)

    with pytest.raises(NotApproved, match="has not been approved") as refused:
        world.submit(prepared.stem)
    assert not refused.value.retryable
    assert in_send(gateway) == []

    say_yes(world)
    world.submit(prepared.stem, token="after the yes")
    assert renames(gateway) == [f"{prepared.stem}.csv"]
    run = world.ledger.runs.get("one")
    assert (run.approved_by, run.approved_at is None) == ("Zoe", False)


def test_what_is_rendered_anew_needs_another_yes(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), more=ALWAYS)
    say_yes(world)
    world.text = "Bonjour {{ name }}, tout est changé !"
    [again] = world.prepare(numbers(3), more=ALWAYS)

    with pytest.raises(NotApproved):
        world.submit(again.stem)

    assert renames(gateway) == []


def test_a_yes_to_what_was_shown_is_none_to_what_was_prepared_since(world: World) -> None:
    world.prepare(numbers(3), more=ALWAYS)
    shown = world.ledger.runs.prepared_digest("one")
    world.text = "Bonjour {{ name }}, tout est changé !"
    world.prepare(numbers(3), more=ALWAYS)

    with pytest.raises(
        LedgerError, match="the files of one are no longer those of the approved review"
    ):
        world.ledger.runs.approve("one", by="Zoe", shown=shown)

    assert world.ledger.runs.get("one").approved_at is None


@pytest.mark.parametrize(
    ("asked", "people", "needed"),
    [
        ("", 3, False),
        ("approval: never\n", 3, False),
        (ALWAYS, 1, True),
        ("approval: {above: 2}\n", 3, True),
        ("approval: {above: 3}\n", 3, False),
    ],
)
def test_who_must_be_asked_is_the_campaigns_to_say(
    world: World, asked: str, people: int, needed: bool
) -> None:
    world.prepare(numbers(people), more=asked)

    plan = world.run_folder("one").read_plan()
    assert approval.is_needed(plan, world.ledger) is needed


def test_an_answer_is_waited_for_until_the_hour_and_no_longer_than_the_settings_say(
    world: World,
) -> None:
    now = clock.now()
    world.prepare(numbers(1))
    world.prepare(numbers(1), run="soon", send_at=now + timedelta(hours=1))
    world.prepare(numbers(1), run="late", send_at=now + timedelta(hours=9))

    def wait(run: str) -> timedelta:
        plan = world.run_folder(run).read_plan()
        files = world.ledger.submissions.of_run(run)
        return approval.deadline(plan, files, world.settings, now) - now

    assert wait("one") == wait("late") == timedelta(hours=4)
    assert timedelta(hours=1) <= wait("soon") <= timedelta(hours=1, minutes=11)


def test_a_plan_that_is_made_again_alone_waives_no_yes(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3), more="approval: always\n")
    world.plan()  # approval: never, and only the task plan was cleared

    with pytest.raises(SmsError):
        world.submit(file.stem)

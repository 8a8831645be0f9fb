"""A run's approval applies to its prepared files, before any upload."""

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


def test_nothing_is_uploaded_before_the_approval(world: World, gateway: Sandbox) -> None:
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


def test_a_run_rendered_again_needs_another_approval(world: World, gateway: Sandbox) -> None:
    world.prepare(numbers(3), more=ALWAYS)
    say_yes(world)
    world.text = "Bonjour {{ name }}, tout est changé !"
    [again] = world.prepare(numbers(3), more=ALWAYS)

    with pytest.raises(NotApproved):
        world.submit(again.stem)

    assert renames(gateway) == []


def test_an_approval_of_older_files_does_not_count(world: World) -> None:
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
def test_the_campaign_says_whether_approval_is_needed(
    world: World, asked: str, people: int, needed: bool
) -> None:
    world.prepare(numbers(people), more=asked)

    plan = world.run_folder("one").read_plan()
    assert approval.is_needed(plan, world.ledger) is needed


def test_the_approval_deadline_is_the_hour_or_the_timeout(
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


def test_replanning_alone_never_waives_the_approval(world: World, gateway: Sandbox) -> None:
    [file] = world.prepare(numbers(3), more="approval: always\n")
    world.plan()  # approval: never, and only the task plan was cleared

    with pytest.raises(SmsError):
        world.submit(file.stem)

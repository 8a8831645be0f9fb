"""A person's yes: to what is prepared, before a byte leaves."""

from datetime import timedelta

import pytest

from sms import clock
from sms.errors import LedgerError, NotApproved
from sms.run import approval
from sms_sandbox import Sandbox
from tests.delivery.conftest import SANDBOX_ONLY, Desk, in_send, numbers, renames

pytestmark = SANDBOX_ONLY

ALWAYS = "approval: always\n"


def say_yes(desk: Desk) -> None:
    desk.ledger.runs.approve("one", by="Zoe", shown=desk.ledger.runs.prepared_digest("one"))


def test_nothing_is_uploaded_before_the_yes(desk: Desk, gateway: Sandbox) -> None:
    [prepared] = desk.prepare(numbers(3), more=ALWAYS)

    with pytest.raises(NotApproved, match="has not been approved") as refused:
        desk.submit(prepared.stem)
    assert not refused.value.retryable
    assert in_send(gateway) == []

    say_yes(desk)
    desk.submit(prepared.stem, token="after the yes")
    assert renames(gateway) == [f"{prepared.stem}.csv"]
    run = desk.ledger.runs.get("one")
    assert (run.approved_by, run.approved_at is None) == ("Zoe", False)


def test_what_is_rendered_anew_needs_another_yes(desk: Desk, gateway: Sandbox) -> None:
    desk.prepare(numbers(3), more=ALWAYS)
    say_yes(desk)
    desk.text = "Bonjour {{ name }}, tout est changé !"
    [again] = desk.prepare(numbers(3), more=ALWAYS)

    with pytest.raises(NotApproved):
        desk.submit(again.stem)

    assert renames(gateway) == []


def test_a_yes_to_what_was_shown_is_none_to_what_was_prepared_since(desk: Desk) -> None:
    desk.prepare(numbers(3), more=ALWAYS)
    shown = desk.ledger.runs.prepared_digest("one")
    desk.text = "Bonjour {{ name }}, tout est changé !"
    desk.prepare(numbers(3), more=ALWAYS)

    with pytest.raises(
        LedgerError, match="the files of one are no longer those of the approved review"
    ):
        desk.ledger.runs.approve("one", by="Zoe", shown=shown)

    assert desk.ledger.runs.get("one").approved_at is None


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
    desk: Desk, asked: str, people: int, needed: bool
) -> None:
    desk.prepare(numbers(people), more=asked)

    plan = desk.run_folder("one").read_plan()
    assert approval.is_needed(plan, desk.ledger) is needed


def test_an_answer_is_waited_for_until_the_hour_and_no_longer_than_the_settings_say(
    desk: Desk,
) -> None:
    now = clock.now()
    desk.prepare(numbers(1))
    desk.prepare(numbers(1), run="soon", send_at=now + timedelta(hours=1))
    desk.prepare(numbers(1), run="late", send_at=now + timedelta(hours=9))

    def wait(run: str) -> timedelta:
        plan = desk.run_folder(run).read_plan()
        files = desk.ledger.submissions.of_run(run)
        return approval.deadline(plan, files, desk.settings, now) - now

    assert wait("one") == wait("late") == timedelta(hours=4)
    assert timedelta(hours=1) <= wait("soon") <= timedelta(hours=1, minutes=11)

"""A run's hour and name: fixed once, kept by whoever plans it again, given up in good order."""

from datetime import timedelta

import pytest

from sms import clock, frames, sending
from sms.errors import WindowClosed
from sms.ledger.states import State
from tests.delivery.conftest import SANDBOX_ONLY, Desk, Gateway, numbers, renames

pytestmark = SANDBOX_ONLY


def test_a_run_planned_again_keeps_its_hour_and_its_name(desk: Desk, gateway: Gateway) -> None:
    [first] = desk.prepare(numbers(2))
    gateway.move_clock(to=clock.now() + timedelta(minutes=4))

    [again] = desk.prepare(numbers(2))

    assert (again.stem, again.send_at) == (first.stem, first.send_at)


def test_a_run_whose_hour_passed_gets_another_hour_and_another_name(
    desk: Desk, gateway: Gateway
) -> None:
    hour = clock.now() + timedelta(minutes=30)
    [first] = desk.prepare(numbers(2), send_at=hour)
    gateway.move_clock(to=hour + timedelta(hours=1))

    with pytest.raises(WindowClosed):
        desk.prepare(numbers(2), send_at=hour)
    [again] = desk.prepare(numbers(2), send_at=clock.now() + timedelta(hours=1))

    assert again.stem != first.stem
    assert desk.ledger.submission(first.stem).state is State.CANCELLED


def test_a_campaigns_own_hour_is_today_if_it_is_ahead(desk: Desk) -> None:
    [ahead] = desk.prepare(numbers(2), more='send_at: "10:30"\n')

    assert ahead.stem.split("-")[2:4] == ["20270302", "1030"]


def test_a_run_that_starts_late_does_not_take_tomorrows_hour(desk: Desk, gateway: Gateway) -> None:
    wanted = clock.now()
    desk.prepare(numbers(2), run="for its campaign", more='send_at: "10:30"\n')
    gateway.move_clock(to=wanted + timedelta(hours=3))
    campaign = sending.read_plan(desk.run_folder("for its campaign")).campaign

    with pytest.raises(WindowClosed, match="10:30 has passed"):
        sending.plan(
            campaign,
            sending.Request(),
            run_key="late",
            service_id="12345",
            folder=desk.run_folder("late"),
            ledger=desk.ledger,
            settings=desk.settings,
            now=clock.now(),
            asked_at=wanted,
        )


def test_once_a_file_is_gone_planning_again_changes_nothing(desk: Desk, gateway: Gateway) -> None:
    [first] = desk.prepare(numbers(2))
    desk.submit(first.stem)
    gateway.move_clock(to=clock.now() + timedelta(days=2))

    again = sending.plan(
        sending.read_plan(desk.run_folder("one")).campaign,
        sending.Request(),
        run_key="one",
        service_id="12345",
        folder=desk.run_folder("one"),
        ledger=desk.ledger,
        settings=desk.settings,
        now=clock.now(),
    )

    assert again.stem(1, 1) == first.stem
    assert renames(gateway) == [f"{first.stem}.csv"]


def test_a_run_that_was_called_off_can_be_planned_again_under_a_new_name(desk: Desk) -> None:
    [first] = desk.prepare(numbers(2))
    sending.call_off(sending.read_plan(desk.run_folder("one")), desk.ledger, "a dry run")

    [again] = desk.prepare(numbers(2))

    assert desk.ledger.submission(first.stem).state is State.CANCELLED
    assert again.stem != first.stem
    assert again.state is State.PREPARED


def test_everybody_is_in_the_file_or_excluded_with_a_reason(desk: Desk) -> None:
    people = [*numbers(3), "06 39 98 00 00", "01 99 00 12 34", "", "no number"]

    [prepared] = desk.prepare(people)

    summary = desk.ledger.summary("one")
    assert prepared.messages == 3
    assert (summary.candidates, summary.audience) == (7, 3)
    assert summary.excluded == {
        "duplicate_msisdn": 1,
        "landline": 1,
        "missing_msisdn": 1,
        "malformed_msisdn": 1,
    }
    assert summary.balanced


def test_the_review_counts_everybody_and_names_nobody(desk: Desk) -> None:
    desk.prepare([*numbers(3), "no number"])

    review = (desk.run_folder("one") / "04_review.md").read_text()

    assert "| candidates of the query | 4 |" in review
    assert "(`malformed_msisdn`) | 1 |" in review
    assert "Bonjour Léa 0, à samedi ! STOP 36180" in review
    assert "39980000" not in review
    assert "+336••••••00" in review


def test_a_limit_reads_no_more_rows(desk: Desk) -> None:
    [prepared] = desk.prepare(numbers(9), limit=4)

    assert prepared.messages == 4
    assert desk.ledger.summary("one").candidates == 4


def test_a_limit_hides_no_opt_out(desk: Desk) -> None:
    """The number's second row says no, and is beyond the limit."""
    plan = desk.plan()
    rows = [
        ("k1", "+33639980001", "Léa", False),
        ("k2", "06 39 98 00 02", "Zoé", False),
        ("k3", "06 39 98 00 01", "Léa", True),
    ]
    batch = frames.from_rows(["key", "msisdn", "name", "opted_out"], rows)
    sending.extract([batch], desk.run_folder("one"))

    counts = sending.screen(
        plan.model_copy(update={"limit": 2}), desk.run_folder("one"), desk.ledger, desk.settings
    )

    assert counts == {"candidates": 2, "audience": 1, "opted_out_in_warehouse": 1}


def test_planning_again_takes_the_corrected_text(desk: Desk) -> None:
    [first] = desk.prepare(numbers(1))
    desk.text = "Bonjour {{ name }}, à dimanche !"

    [again] = desk.prepare(numbers(1))

    assert again.stem == first.stem
    written = (desk.run_folder("one") / f"05_{again.stem}.csv").read_text()
    assert "à dimanche" in written


def test_a_plan_that_the_ledger_does_not_know_is_not_kept(desk: Desk) -> None:
    [first] = desk.prepare(numbers(1))
    file = desk.run_folder("one") / "00_plan.json"
    file.write_text(file.read_text().replace(first.campaign_id, "somethingelse"))

    [again] = desk.prepare(numbers(1))

    assert sending.read_plan(desk.run_folder("one")).stem(1, 1) == again.stem
    assert again.stem != first.stem


def test_people_who_were_chosen_long_ago_are_not_written_to(desk: Desk, gateway: Gateway) -> None:
    [prepared] = desk.prepare(numbers(1))
    gateway.move_clock(to=clock.now() + timedelta(days=2))

    with pytest.raises(WindowClosed, match="chosen more than"):
        desk.submit(prepared.stem)

    assert renames(gateway) == []

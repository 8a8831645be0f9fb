"""The hour and name of a run: fixed once, kept when replanned, and given up in order."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from sms import clock
from sms.campaign.definition import Campaign
from sms.clock import PARIS
from sms.columnar import parquet
from sms.errors import CampaignRepeated, ConfigurationError, LedgerError, WindowClosed
from sms.ledger.states import State
from sms.run import plan as planning
from sms.run import preparation, stages
from sms_sandbox import Sandbox
from tests.world import SANDBOX_ONLY, TUESDAY, Gateway, World, hours, numbers, renames

ZONES = "postcode: postcode\n"

pytestmark = SANDBOX_ONLY


def plan(
    world: World, campaign: Campaign, run: str, asked_at: datetime | None = None
) -> preparation.Plan:
    """The first stage of a run, without the folder being written anew."""
    return planning.plan(
        campaign,
        planning.Request(),
        run_key=run,
        service_id="12345",
        folder=world.run_folder(run),
        ledger=world.ledger,
        settings=world.settings,
        now=clock.now(),
        asked_at=asked_at,
    )


def test_a_replanned_run_keeps_its_hour_and_name(world: World, gateway: Gateway) -> None:
    [first] = world.prepare(numbers(2))
    gateway.move_clock(to=clock.now() + timedelta(minutes=4))

    [again] = world.prepare(numbers(2))

    assert (again.stem, again.send_at) == (first.stem, first.send_at)


def test_a_run_past_its_hour_gets_another_name(world: World, gateway: Gateway) -> None:
    hour = clock.now() + timedelta(minutes=30)
    [first] = world.prepare(numbers(2), send_at=hour)
    gateway.move_clock(to=hour + timedelta(hours=1))

    with pytest.raises(WindowClosed):
        world.prepare(numbers(2), send_at=hour)
    [again] = world.prepare(numbers(2), send_at=clock.now() + timedelta(hours=1))

    assert again.stem != first.stem
    assert world.ledger.submissions.get(first.stem).state is State.CANCELLED


def test_the_campaigns_hour_is_today_if_still_ahead(world: World) -> None:
    [ahead] = world.prepare(numbers(2), more='send_at: "10:30"\n')

    assert ahead.stem.split("-")[2:4] == ["20270302", "1030"]


@pytest.mark.parametrize(
    ("wish", "own", "name"),
    [
        ({"day": date(2027, 3, 15), "hour": "10:15"}, "", ["20270315", "1015"]),
        ({"day": date(2027, 3, 15)}, 'send_at: "10:30"\n', ["20270315", "1030"]),
        ({"day": date(2027, 3, 15), "hour": "09:00"}, 'send_at: "10:30"\n', ["20270315", "0900"]),
        ({"hour": "18:45"}, 'send_at: "10:30"\n', ["20270302", "1845"]),
        ({"hour": "08:00"}, "", ["20270303", "0800"]),  # it has passed today
        ({"day": date(2027, 3, 28), "hour": "18:00"}, "", ["20270330", "0800"]),  # Easter
    ],
)
def test_a_day_and_an_hour_are_those_of_paris(
    world: World, wish: dict[str, Any], own: str, name: list[str]
) -> None:
    [run] = world.prepare(numbers(1), more=own, **wish)

    assert run.stem.split("-")[2:4] == name


def test_an_incomplete_or_redundant_send_time_is_refused(world: World) -> None:
    day = date(2027, 3, 15)

    with pytest.raises(ConfigurationError, match="2027-03-15 was given without an hour"):
        world.plan(day=day)
    for more in ({"day": day}, {"hour": "10:00"}):
        with pytest.raises(
            ConfigurationError, match="send_at contains the day and the hour already"
        ):
            world.plan(send_at=clock.now() + timedelta(hours=1), **more)


def test_a_past_day_is_refused(world: World) -> None:
    with pytest.raises(WindowClosed, match="Monday 1 March, 10:00 has passed"):
        world.plan(day=date(2027, 3, 1), hour="10:00")


def test_a_late_run_does_not_take_tomorrows_hour(world: World, gateway: Gateway) -> None:
    wanted = clock.now()
    world.prepare(numbers(2), run="for its campaign", more='send_at: "10:30"\n')
    gateway.move_clock(to=wanted + timedelta(hours=3))
    campaign = world.run_folder("for its campaign").read_plan().campaign

    with pytest.raises(WindowClosed, match="10:30 has passed"):
        plan(world, campaign, "late", wanted)


def test_replanning_changes_nothing_after_a_file_has_left(world: World, gateway: Gateway) -> None:
    [first] = world.prepare(numbers(2))
    world.submit(first.stem)
    gateway.move_clock(to=clock.now() + timedelta(days=2))

    again = plan(world, world.run_folder("one").read_plan().campaign, "one")

    assert again.stem(1, 1) == first.stem
    assert renames(gateway) == [f"{first.stem}.csv"]


def test_a_called_off_run_can_be_replanned_and_renamed(world: World) -> None:
    [first] = world.prepare(numbers(2))
    planning.call_off(world.run_folder("one").read_plan(), world.ledger, "a dry run")

    [again] = world.prepare(numbers(2))

    assert world.ledger.submissions.get(first.stem).state is State.CANCELLED
    assert again.stem != first.stem
    assert again.state is State.PREPARED


def test_every_candidate_is_in_the_file_or_excluded(world: World) -> None:
    people = [*numbers(3), "06 39 98 00 00", "01 99 00 12 34", "", "no number"]

    [prepared] = world.prepare(people)

    summary = world.ledger.runs.summary("one")
    assert prepared.messages == 3
    assert (summary.candidates, summary.audience) == (7, 3)
    assert summary.excluded == {
        "duplicate_msisdn": 1,
        "landline": 1,
        "missing_msisdn": 1,
        "malformed_msisdn": 1,
    }
    assert summary.balanced


def test_the_review_counts_all_recipients_and_names_none(world: World) -> None:
    world.prepare([*numbers(3), "no number"])

    review = world.run_folder("one").read_review()

    assert "| candidates of the query | 4 |" in review
    assert "(`malformed_msisdn`) | 1 |" in review
    assert "Bonjour Léa 0, à samedi ! STOP 36180" in review
    assert "39980000" not in review
    assert "+336••••••00" in review


def test_a_limit_reads_no_more_rows(world: World) -> None:
    [prepared] = world.prepare(numbers(9), limit=4)

    assert prepared.messages == 4
    assert world.ledger.runs.summary("one").candidates == 4


def test_a_limit_hides_no_opt_out(world: World) -> None:
    """The number's second row says no, and is beyond the limit."""
    plan = world.plan()
    rows = [
        ("k1", "+33639980001", "Léa", False),
        ("k2", "06 39 98 00 02", "Zoé", False),
        ("k3", "06 39 98 00 01", "Léa", True),
    ]
    batch = parquet.from_rows(["key", "msisdn", "name", "opted_out"], rows)
    stages.extract([batch], world.run_folder("one"))

    counts = stages.screen(
        plan.model_copy(update={"limit": 2}),
        world.run_folder("one"),
        world.ledger,
        world.settings,
    )

    assert counts == {"candidates": 2, "audience": 1, "opted_out_in_warehouse": 1}


def test_replanning_uses_the_corrected_text(world: World) -> None:
    [first] = world.prepare(numbers(1))
    world.text = "Bonjour {{ name }}, à dimanche !"

    [again] = world.prepare(numbers(1))

    assert again.stem == first.stem
    written = (world.run_folder("one").path / f"05_{again.stem}.csv").read_text()
    assert "à dimanche" in written


def test_a_plan_unknown_to_the_ledger_is_replaced(world: World) -> None:
    [first] = world.prepare(numbers(1))
    file = world.run_folder("one").path / "00_plan.json"
    file.write_text(file.read_text().replace(first.campaign_id, "somethingelse"))

    [again] = world.prepare(numbers(1))

    assert world.run_folder("one").read_plan().stem(1, 1) == again.stem
    assert again.stem != first.stem


def test_an_audience_older_than_its_maximum_is_refused(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(1))
    gateway.move_clock(to=clock.now() + timedelta(days=2))

    with pytest.raises(WindowClosed, match="selected more than"):
        world.submit(prepared.stem)

    assert renames(gateway) == []


def test_of_two_simultaneous_runs_the_second_is_skipped(world: World, gateway: Gateway) -> None:
    asked = clock.now()
    [first] = world.prepare(numbers(2), asked_at=asked)

    for seconds in (-50, 0, 50):
        with pytest.raises(CampaignRepeated, match="one was first, and this run was skipped") as no:
            world.prepare(numbers(2), run="two", asked_at=asked + timedelta(seconds=seconds))
    assert not no.value.retryable
    assert world.ledger.runs.attempts("two") == 0

    world.submit(first.stem)
    assert renames(gateway) == [f"{first.stem}.csv"]


def test_of_many_simultaneous_runs_only_one_continues(world: World) -> None:
    asked = clock.now()
    campaign = world.plan("before", asked_at=asked - timedelta(hours=1)).campaign
    start = threading.Barrier(8)

    def planned(number: int) -> bool:
        start.wait()
        try:
            plan(world, campaign, f"run {number}", asked)
        except CampaignRepeated:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(planned, range(8))) == 1


def test_runs_a_minute_apart_both_continue(world: World) -> None:
    asked = clock.now()
    world.prepare(numbers(2), asked_at=asked)

    [second] = world.prepare(numbers(2), run="two", asked_at=asked + timedelta(minutes=1))

    assert second.state is State.PREPARED


def test_dry_and_called_off_runs_block_no_other(world: World) -> None:
    asked = clock.now()
    world.prepare(numbers(2), run="dry", asked_at=asked, dry_run=True)
    world.prepare(numbers(2), run="called off", asked_at=asked)
    planning.call_off(world.run_folder("called off").read_plan(), world.ledger, "by hand")
    world.prepare(numbers(2), run="sends", asked_at=asked)

    [dry] = world.prepare(numbers(2), run="dry again", asked_at=asked, dry_run=True)

    assert dry.state is State.PREPARED


def test_a_simultaneous_run_of_another_campaign_continues(world: World) -> None:
    asked = clock.now()
    world.plan(asked_at=asked)
    other = world.run_folder("one").read_plan().campaign.model_copy(update={"name": "other"})

    assert plan(world, other, "two", asked).campaign.name == "other"


def test_a_run_of_a_past_day_sends_nothing(world: World) -> None:
    yesterday = clock.now() - timedelta(days=1)

    with pytest.raises(WindowClosed, match="its day is over, so nothing is sent"):
        world.prepare(numbers(2), asked_at=yesterday)
    with pytest.raises(WindowClosed, match="10:30 has passed"):
        world.prepare(numbers(2), run="two", asked_at=yesterday, more='send_at: "10:30"\n')


@pytest.mark.parametrize(
    ("first", "second"),
    [({"limit": 3}, {}), ({}, {"send_at": timedelta(hours=3)})],
    ids=["a trial and the whole", "morning and noon"],
)
def test_different_runs_both_continue_however_close_together(
    world: World, first: dict[str, Any], second: dict[str, Any]
) -> None:
    asked = clock.now()
    wishes = [
        {name: asked + wish if name == "send_at" else wish for name, wish in wished.items()}
        for wished in (first, second)
    ]
    for run, wish in zip(("one", "two"), wishes, strict=True):
        world.plan(run, asked_at=asked, **wish)


def test_a_rejected_run_blocks_no_other(world: World) -> None:
    asked = clock.now()
    [first] = world.prepare(numbers(2), asked_at=asked)
    world.submit(first.stem)
    assert world.ledger.submissions.move(first.stem, to=State.REJECTED)

    [second] = world.prepare(numbers(2), run="two", asked_at=asked)

    assert second.state is State.PREPARED


def test_a_called_off_run_yields_to_its_successor(world: World) -> None:
    asked = clock.now()
    world.prepare(numbers(2), asked_at=asked)
    planning.call_off(world.run_folder("one").read_plan(), world.ledger, "by hand")
    world.prepare(numbers(2), run="two", asked_at=asked)

    with pytest.raises(CampaignRepeated, match="two was first"):
        world.prepare(numbers(2), asked_at=asked)


def test_replanning_does_not_renew_the_audiences_age(world: World, gateway: Gateway) -> None:
    world.prepare(numbers(2))
    gateway.move_clock(to=clock.now() + timedelta(days=3))
    plan = world.plan(asked_at=clock.now())

    with pytest.raises(LedgerError, match="clear the task screen"):
        stages.render(plan, world.run_folder("one"), world.ledger, world.settings)
    assert world.ledger.runs.get("one").chosen_at < clock.now() - timedelta(days=2)


def test_a_run_before_its_first_file_can_be_replanned(world: World, gateway: Sandbox) -> None:
    more = ZONES + 'send_at: "09:45"\n'
    [file] = world.prepare(numbers(1), more=more, living_in=["97110"], asked_at=clock.now())
    assert hours([file]) == [("GP", "02 13:00", 1)]
    asked_at = TUESDAY
    gateway.move_clock(to=TUESDAY + timedelta(hours=1))

    world.prepare(numbers(1), more=more, living_in=["97110"], asked_at=asked_at)


def test_a_run_restarted_the_next_day_gets_open_hours(world: World, gateway: Sandbox) -> None:
    gateway.move_clock(to=datetime(2027, 3, 2, 21, 0, tzinfo=PARIS))
    world.prepare(numbers(2), more=ZONES, living_in=["75001", "97110"])
    gateway.move_clock(to=datetime(2027, 3, 3, 8, 30, tzinfo=PARIS))

    files = world.prepare(numbers(2), more=ZONES, living_in=["75001", "97110"])

    assert hours(files) == [("FR", "03 08:30", 1), ("GP", "03 13:00", 1)]

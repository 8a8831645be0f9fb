"""Partly sent runs: the remaining files keep their own hours and rules."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from sms import clock
from sms.clock import PARIS
from sms.delivery import settlement
from sms.errors import WindowClosed
from sms.run import upload_time
from sms_sandbox import Sandbox
from tests.world import SANDBOX_ONLY, TUESDAY, World, hours, numbers

ZONES = "postcode: postcode\n"

pytestmark = SANDBOX_ONLY


def test_advice_for_a_partly_sent_run_excludes_sent_recipients(
    world: World, gateway: Sandbox
) -> None:
    first, _ = world.prepare(
        numbers(2), more=ZONES, living_in=["75001", "97110"], send_at=TUESDAY + timedelta(hours=1)
    )
    world.submit(first.stem)
    world.accepted(first.stem)
    gateway.move_clock(to=datetime(2027, 3, 2, 22, 5, tzinfo=PARIS))  # hours after Guadeloupe's

    with pytest.raises(WindowClosed) as refused:
        world.submit(first.stem)

    # A new run alone would write to the first file again.
    assert "a new run whose query leaves out the recipients in sms.delivery" in str(refused.value)


def test_a_remaining_file_is_sent_at_once_when_late(world: World, gateway: Sandbox) -> None:
    first, later = world.prepare(numbers(2), more=ZONES, living_in=["75001", "97110"])
    world.submit(first.stem)
    world.accepted(first.stem)
    gateway.move_clock(to=datetime(2027, 3, 2, 14, 0, tzinfo=PARIS))  # an hour after Guadeloupe's

    assert world.submit(first.stem).stem == later.stem


def test_a_late_run_keeps_the_distance_between_its_steps(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(4), more="spread_over: 1 hour\n")  # as soon as allowed
    gateway.move_clock(to=TUESDAY + timedelta(hours=3))  # a person said yes three hours later
    world.submit(files[0].stem)
    world.accepted(files[0].stem)

    moment = upload_time.upload_at(world.ledger.submissions.of_run("one"), world.settings, None)

    assert timedelta(minutes=14) < moment - clock.now() <= timedelta(minutes=15)


@pytest.mark.parametrize("changed", [{"messages_per_hour": 3}, {"window_end": "21:00"}])
def test_a_lowered_setting_does_not_apply_to_sent_files(
    world: World, gateway: Sandbox, changed: dict[str, Any]
) -> None:
    world.settings = world.settings.model_copy(update={"messages_per_hour": 6})
    evening = datetime(2027, 3, 2, 21, tzinfo=PARIS)
    files = world.prepare(numbers(7), more="past_closing: split\n", send_at=evening)
    assert hours(files) == [("FR", "02 21:00", 5), ("FR", "03 08:00", 2)]
    gateway.move_clock(to=evening)
    world.submit(files[0].stem)
    world.accepted(files[0].stem)
    gateway.move_clock(to=datetime(2027, 3, 3, 7, 45, tzinfo=PARIS))
    told = world.settings.model_dump() | changed
    world.settings = type(world.settings).model_validate(told)

    assert world.submit(files[0].stem).stem == files[1].stem


def test_a_format_change_does_not_block_the_second_file(world: World, gateway: Sandbox) -> None:
    world.text = "Bonjour {{ name }}; à samedi !"
    files = world.prepare(numbers(2), more="spread_over: 1 hour\nspread_every: 30 minutes\n")
    world.submit(files[0].stem)
    world.accepted(files[0].stem)
    world.settings = world.settings.model_copy(update={"delimiter_in_text": "replace"})

    assert world.submit(files[0].stem).stem == files[1].stem


def test_cancelling_one_file_names_the_others(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(3), more="spread_over: 1 hour\nspread_every: 20 minutes\n")
    world.submit(files[0].stem)
    world.accepted(files[0].stem)

    said = settlement.call_off(files[1].stem, world.ledger)

    assert f"The other files of its run are called off too: {files[2].stem}" in said
    errors = world.submit_all(files[0].stem, tries=2)
    assert all("trigger a new run" in error for error in errors)
    assert world.states([files[2].stem]) == ["cancelled"]


def test_a_slow_verdict_does_not_block_later_files(world: World, gateway: Sandbox) -> None:
    files = world.prepare(
        numbers(3), more="spread_over: 1 hour\n", send_at=TUESDAY + timedelta(hours=1)
    )
    gateway.move_clock(to=TUESDAY + timedelta(minutes=30))
    world.submit(files[0].stem)  # `.lock` lies there for an hour
    gateway.move_clock(to=TUESDAY + timedelta(minutes=100))
    world.accepted(files[0].stem)

    errors = world.submit_all(files[0].stem)

    assert world.states([each.stem for each in files]) == ["accepted"] * 3, errors


def test_growth_counts_the_whole_of_a_partly_sent_run(world: World, gateway: Sandbox) -> None:
    world.settings = world.settings.model_copy(update={"messages_per_hour": 6})
    evening = datetime(2027, 3, 2, 21, tzinfo=PARIS)
    more = "past_closing: split\nmax_growth: 10%\n"
    files = world.prepare(numbers(7), run="yesterday", more=more, send_at=evening)
    gateway.move_clock(to=evening)
    world.submit(files[0].stem)
    world.accepted(files[0].stem)
    gateway.move_clock(to=datetime(2027, 3, 3, 7, 0, tzinfo=PARIS))

    today = datetime(2027, 3, 3, 10, tzinfo=PARIS)
    [whole] = world.prepare(numbers(7), run="today", more=more, send_at=today)

    assert whole.messages == 7


def test_a_closed_zone_does_not_block_other_zones(world: World, gateway: Sandbox) -> None:
    gateway.move_clock(to=datetime(2027, 3, 2, 16, 0, tzinfo=PARIS))
    files = world.prepare(numbers(3), more=ZONES, living_in=["75001", "75001", "97400"])
    gateway.move_clock(to=datetime(2027, 3, 2, 19, 5, tzinfo=PARIS))  # 22:05 on La Réunion

    said = world.submit_all(files[0].stem, tries=3)

    assert world.states([each.stem for each in files]) == ["accepted", "uploading"]
    assert settlement.call_off(files[1].stem, world.ledger)
    assert "is 22:05 in La Réunion" in said[-1]
    assert "a new run whose query leaves out the recipients in sms.delivery" in said[-1]

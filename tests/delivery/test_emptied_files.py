"""Files whose recipients all drop out before the rename: the others still leave."""

from datetime import timedelta

import pytest

from sms.errors import GatewayUnreachable, LedgerError
from sms.ledger.states import State
from sms_sandbox import Sandbox
from tests.submitting import opt_out, raising_at
from tests.world import SANDBOX_ONLY, World, numbers

ZONES = "postcode: postcode\n"
ONCE = "frequency_cap: 1 per 7 days\n"

pytestmark = SANDBOX_ONLY


def test_one_stop_in_a_small_zone_does_not_call_off_everybody_else(
    world: World, gateway: Sandbox
) -> None:
    files = world.prepare(numbers(4), more=ZONES, living_in=["75001", "75001", "75001", "97400"])
    opt_out(world.ledger, 33639980003)  # the only one on La Réunion

    said = world.submit_all(files[0].stem)

    assert world.ledger.submissions.get(files[0].stem).state is State.ACCEPTED, said


def test_one_stop_in_a_later_hour_does_not_lose_the_hours_after_it(
    world: World, gateway: Sandbox
) -> None:
    files = world.prepare(numbers(4), more="spread_over: 1 hour\n")
    opt_out(world.ledger, 33639980001)  # the only one of the second file

    said = world.submit_all(files[0].stem)

    assert world.states([each.stem for each in files]) == [
        *("accepted", "cancelled", "accepted", "accepted")
    ], said


def test_a_cap_that_empties_a_file_does_not_lose_the_others(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(4), run="slow", more=ONCE + "spread_over: 1 hour\n")
    [quick] = world.prepare([numbers(4)[1]], run="quick", more=ONCE)
    world.submit(quick.stem)
    world.accepted(quick.stem)

    said = world.submit_all(files[0].stem)

    kept = world.states([each.stem for each in files])
    assert kept == ["accepted", "cancelled", "accepted", "accepted"], said


def test_last_look_finds_the_only_person_said_stop(world: World, gateway: Sandbox) -> None:
    [only] = world.prepare(numbers(1))
    with pytest.raises(GatewayUnreachable):
        world.submit(only.stem, also=raising_at(3, GatewayUnreachable("cut")))
    opt_out(world.ledger, 33639980000)
    with pytest.raises(LedgerError):
        world.submit(only.stem, token="second", lease=timedelta(0))

    assert world.ledger.submissions.get(only.stem).state is State.CANCELLED


def test_everybody_stays_accounted_for_when_a_file_empties(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(4), more="spread_over: 1 hour\n")
    opt_out(world.ledger, 33639980001)
    world.submit_all(files[0].stem)
    summary = world.ledger.runs.summary("one")

    assert summary.balanced, (summary.candidates, summary.audience, summary.excluded)


def test_a_retry_after_a_removal_from_the_stop_list_still_sends(
    world: World, gateway: Sandbox
) -> None:
    [only] = world.prepare(numbers(3))
    opt_out(world.ledger, 33639980000)
    with pytest.raises(GatewayUnreachable):
        world.submit(only.stem, also=raising_at(2, GatewayUnreachable("the line broke")))
    world.ledger.stop_list.remove(33639980000, reason="a mistake")

    world.submit(only.stem, token="second try", lease=timedelta(0))

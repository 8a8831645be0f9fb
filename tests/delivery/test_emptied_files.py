"""Files that lose all recipients before the rename: the run's other files are still sent."""

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


def test_an_emptied_zones_file_leaves_the_other_zones_sent(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(4), more=ZONES, living_in=["75001", "75001", "75001", "97400"])
    opt_out(world.ledger, 33639980003)  # the only one on La Réunion

    said = world.submit_all(files[0].stem)

    assert world.ledger.submissions.get(files[0].stem).state is State.ACCEPTED, said


def test_an_emptied_hours_file_leaves_later_hours_sent(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(4), more="spread_over: 1 hour\n")
    opt_out(world.ledger, 33639980001)  # the only one of the second file

    said = world.submit_all(files[0].stem)

    assert world.states([each.stem for each in files]) == [
        *("accepted", "cancelled", "accepted", "accepted")
    ], said


def test_a_file_emptied_by_the_cap_leaves_others_sent(world: World, gateway: Sandbox) -> None:
    files = world.prepare(numbers(4), run="slow", more=ONCE + "spread_over: 1 hour\n")
    [quick] = world.prepare([numbers(4)[1]], run="quick", more=ONCE)
    world.submit(quick.stem)
    world.accepted(quick.stem)

    said = world.submit_all(files[0].stem)

    kept = world.states([each.stem for each in files])
    assert kept == ["accepted", "cancelled", "accepted", "accepted"], said


def test_the_last_check_finds_the_only_recipient_opted_out(world: World, gateway: Sandbox) -> None:
    [only] = world.prepare(numbers(1))
    with pytest.raises(GatewayUnreachable):
        world.submit(only.stem, also=raising_at(3, GatewayUnreachable("cut")))
    opt_out(world.ledger, 33639980000)
    with pytest.raises(LedgerError):
        world.submit(only.stem, token="second", lease=timedelta(0))

    assert world.ledger.submissions.get(only.stem).state is State.CANCELLED


def test_an_emptied_file_keeps_every_recipient_accounted_for(
    world: World, gateway: Sandbox
) -> None:
    files = world.prepare(numbers(4), more="spread_over: 1 hour\n")
    opt_out(world.ledger, 33639980001)
    world.submit_all(files[0].stem)
    summary = world.ledger.runs.summary("one")

    assert summary.balanced, (summary.candidates, summary.audience, summary.excluded)


def test_a_retry_after_a_stop_list_removal_still_sends(world: World, gateway: Sandbox) -> None:
    [only] = world.prepare(numbers(3))
    opt_out(world.ledger, 33639980000)
    with pytest.raises(GatewayUnreachable):
        world.submit(only.stem, also=raising_at(2, GatewayUnreachable("the line broke")))
    world.ledger.stop_list.remove(33639980000, reason="a mistake")

    world.submit(only.stem, token="second try", lease=timedelta(0))

"""A person's answers: each changes what it says, once, and only where it fits."""

import pytest

from sms import settling
from sms.errors import GatewayUnreachable, LedgerError, SubmissionUnknown
from sms.ledger.states import State
from tests.delivery.conftest import SANDBOX_ONLY, Desk, Gateway, numbers, renames

pytestmark = SANDBOX_ONLY  # answers change the ledger; the gateway only leads to the question
TO_CSV = 2  # of the renames of one try


def unknown(desk: Desk, gateway: Gateway, more: str = "") -> str:
    """A file whose rename was about to happen, and of which nothing is to be seen."""
    stem = desk.prepare(numbers(3), more=more)[0].stem
    gateway.drop_connection_before("rename", TO_CSV + (1 if more else 0))
    with pytest.raises(GatewayUnreachable):
        desk.submit(stem)
    (gateway.home / "Send" / f"{stem}.tmp").unlink()
    with pytest.raises(SubmissionUnknown, match="trigger the DAG settle_submission"):
        desk.submit(stem, token="second try")
    return stem


def test_what_arrived_goes_on_from_its_verdict(desk: Desk, gateway: Gateway) -> None:
    stem = unknown(desk, gateway)

    told = settling.settle(stem, desk.ledger, arrived=True)

    assert told == f"{stem} counts as submitted. Clear its task submit, and the run goes on"
    assert desk.submit(stem, token="cleared").state is State.SUBMITTED
    assert renames(gateway) == []


def test_what_never_arrived_is_never_sent_under_that_name(desk: Desk, gateway: Gateway) -> None:
    stem = unknown(desk, gateway)

    told = settling.settle(stem, desk.ledger, arrived=False)

    assert "it may be sent again" in told
    assert settling.is_alone(stem, desk.ledger)
    with pytest.raises(LedgerError, match="was cancelled"):
        desk.submit(stem, token="cleared")
    [again] = desk.prepare(numbers(3), run="the next")
    assert again.stem != stem
    desk.submit(again.stem)
    assert renames(gateway) == [f"{again.stem}.csv"]


def test_of_several_parts_none_is_sent_again_by_itself(desk: Desk, gateway: Gateway) -> None:
    stem = unknown(desk, gateway, more="max_per_file: 2\n")

    assert "must leave out whoever is in sms.delivery" in settling.settle(
        stem, desk.ledger, arrived=False
    )
    assert not settling.is_alone(stem, desk.ledger)


@pytest.mark.parametrize("arrived", [True, False])
def test_only_what_is_unknown_can_be_settled_and_once(
    desk: Desk, gateway: Gateway, arrived: bool
) -> None:
    [prepared] = desk.prepare(numbers(1))
    with pytest.raises(LedgerError, match="is prepared, not unknown: nothing to settle"):
        settling.settle(prepared.stem, desk.ledger, arrived=arrived)

    stem = unknown(desk, gateway)
    settling.settle(stem, desk.ledger, arrived=arrived)
    with pytest.raises(LedgerError, match="not unknown: nothing to settle"):
        settling.settle(stem, desk.ledger, arrived=not arrived)


def test_what_is_not_renamed_can_be_called_off_and_what_is_cannot(
    desk: Desk, gateway: Gateway
) -> None:
    [first] = desk.prepare(numbers(1))
    assert settling.call_off(first.stem, desk.ledger).endswith("will never be sent")
    with pytest.raises(LedgerError, match="was cancelled"):
        desk.submit(first.stem)

    [second] = desk.prepare(numbers(1), run="two")
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        desk.submit(second.stem)
    with pytest.raises(LedgerError, match=r"about to be renamed, or was: only support@mtarget\.fr"):
        settling.call_off(second.stem, desk.ledger)

    [third] = desk.prepare(numbers(1), run="three")
    desk.submit(third.stem)
    with pytest.raises(LedgerError, match="is submitted, and may be at the gateway"):
        settling.call_off(third.stem, desk.ledger)

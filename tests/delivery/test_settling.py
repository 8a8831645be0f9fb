"""A person's answers: each changes what it says, once, and only where it fits."""

import pytest

from sms import clock, remedies
from sms.delivery import settlement
from sms.errors import GatewayUnreachable, HousekeepingUnfinished, LedgerError, SubmissionUnknown
from sms.ledger.states import State
from sms.remedies import Task
from sms.reports.housekeeping import clean_gateway
from sms_airflow import wiring
from tests.delivery.conftest import SANDBOX_ONLY, Desk, Gateway, in_send, numbers, renames, show

pytestmark = SANDBOX_ONLY  # answers change the ledger; the gateway only leads to the question
TO_CSV = 2  # of the renames of one try


def unknown(desk: Desk, gateway: Gateway, more: str = "") -> str:
    """A file whose rename was about to happen, and of which nothing is to be seen."""
    stem = desk.prepare(numbers(3), more=more)[0].stem
    gateway.drop_connection_before("rename", TO_CSV + (1 if more else 0))
    with pytest.raises(GatewayUnreachable):
        desk.submit(stem)
    (gateway.home / "Send" / f"{stem}.tmp").unlink()
    with pytest.raises(SubmissionUnknown, match="answer by the DAG settle_submission"):
        desk.submit(stem, token="second try")
    return stem


def settled(stem: str, desk: Desk, *, arrived: bool) -> str:
    """A person's answer, as the DAG writes it down."""
    with wiring.gateway() as session:
        return settlement.settle(stem, session, desk.ledger, arrived=arrived)


def test_what_arrived_goes_on_from_its_verdict(desk: Desk, gateway: Gateway) -> None:
    stem = unknown(desk, gateway)

    told = settled(stem, desk, arrived=True)

    assert told == f"{stem} counts as submitted. To go on, {remedies.clear(Task.SUBMIT)}"
    assert desk.submit(stem, token="cleared").state is State.SUBMITTED
    assert renames(gateway) == []


def test_what_never_arrived_is_never_sent_under_that_name(desk: Desk, gateway: Gateway) -> None:
    stem = unknown(desk, gateway)

    told = settled(stem, desk, arrived=False)

    assert "it may be sent again" in told
    assert settlement.is_alone(stem, desk.ledger)
    with pytest.raises(LedgerError, match="was cancelled"):
        desk.submit(stem, token="cleared")
    [again] = desk.prepare(numbers(3), run="the next")
    assert again.stem != stem
    desk.submit(again.stem)
    assert renames(gateway) == [f"{again.stem}.csv"]


@pytest.mark.parametrize("kind", ["ACK", "STOP", "SMSMO"])
def test_never_arrived_is_refused_where_the_provider_reports_on_the_file(
    desk: Desk, gateway: Gateway, kind: str
) -> None:
    stem = unknown(desk, gateway)
    gateway.put_report(f"{stem.replace('SEND', kind)}.csv", b"x\r\n")

    with pytest.raises(LedgerError, match="the gateway shows that"):
        settled(stem, desk, arrived=False)

    assert desk.ledger.submissions.get(stem).state is State.SUBMITTED


def test_of_several_parts_none_is_sent_again_by_itself(desk: Desk, gateway: Gateway) -> None:
    stem = unknown(desk, gateway, more="max_recipients_per_file: 2\n")

    assert "must leave out the recipients in sms.delivery" in settled(stem, desk, arrived=False)
    assert not settlement.is_alone(stem, desk.ledger)


@pytest.mark.parametrize("arrived", [True, False])
def test_only_what_is_unknown_can_be_settled_and_once(
    desk: Desk, gateway: Gateway, arrived: bool
) -> None:
    [prepared] = desk.prepare(numbers(1))
    with pytest.raises(LedgerError, match="is prepared, not unknown: nothing to settle"):
        settled(prepared.stem, desk, arrived=arrived)

    stem = unknown(desk, gateway)
    settled(stem, desk, arrived=arrived)
    with pytest.raises(LedgerError, match="not unknown: nothing to settle"):
        settled(stem, desk, arrived=not arrived)


def test_what_is_not_renamed_can_be_called_off_and_what_is_cannot(
    desk: Desk, gateway: Gateway
) -> None:
    [first] = desk.prepare(numbers(1))
    assert settlement.call_off(first.stem, desk.ledger).endswith("will never be sent")
    with pytest.raises(LedgerError, match="was cancelled"):
        desk.submit(first.stem)

    [second] = desk.prepare(numbers(1), run="two")
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        desk.submit(second.stem)
    with pytest.raises(LedgerError, match=r"about to be renamed, or was: only support@mtarget\.fr"):
        settlement.call_off(second.stem, desk.ledger)

    [third] = desk.prepare(numbers(1), run="three")
    desk.submit(third.stem)
    with pytest.raises(LedgerError, match="is submitted, and may be at the gateway"):
        settlement.call_off(third.stem, desk.ledger)


@pytest.mark.parametrize("phase", ["csv", "lock", "done", "reject"])
def test_an_answer_that_the_gateway_refutes_is_refused(
    desk: Desk, gateway: Gateway, phase: str
) -> None:
    gateway.turn(silent=True)
    stem = unknown(desk, gateway)
    show(gateway, f"{stem}.{phase}", b"")

    with pytest.raises(LedgerError, match=f"the gateway shows that {stem} has arrived"):
        settled(stem, desk, arrived=False)

    assert desk.ledger.submissions.get(stem).state is State.SUBMITTED
    assert renames(gateway) == []


def test_what_never_arrived_leaves_nothing_that_could_leave_late(
    desk: Desk, gateway: Gateway
) -> None:
    [prepared] = desk.prepare(numbers(3))
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        desk.submit(prepared.stem)
    with pytest.raises(SubmissionUnknown):
        desk.submit(prepared.stem, token="second try")
    assert in_send(gateway) == [f"{prepared.stem}.tmp"]

    settled(prepared.stem, desk, arrived=False)

    assert in_send(gateway) == []


def test_housekeeping_lets_the_gateway_settle_what_was_unknown(
    desk: Desk, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.turn(silent=True)
    stem = unknown(desk, gateway)
    with pytest.raises(HousekeepingUnfinished, match=f"{stem} may or may not have been delivered"):
        clear(desk)
    assert desk.ledger.submissions.get(stem).state is State.UNKNOWN
    show(gateway, f"{stem}.done", b"")

    clear(desk)

    assert desk.ledger.submissions.get(stem).state is State.SUBMITTED
    assert f"{stem} counts as submitted: to go on, clear the task submit" in caplog.text


def clear(desk: Desk) -> None:
    """What the task `clean_gateway` does."""
    with wiring.gateway() as session:
        clean_gateway(session, desk.ledger, desk.folder / "archive", desk.settings, clock.now())

"""The answers of `settle_submission`: each applies once, and only where it fits."""

import pytest

from sms import clock, remedies
from sms.delivery import settlement
from sms.errors import GatewayUnreachable, HousekeepingUnfinished, LedgerError, SubmissionUnknown
from sms.ledger.states import State
from sms.remedies import Task
from sms.reports.housekeeping import clean_gateway
from sms_airflow import wiring
from sms_sandbox import Sandbox
from tests.submitting import raising_at
from tests.world import SANDBOX_ONLY, Gateway, World, in_send, numbers, renames, show

pytestmark = SANDBOX_ONLY  # answers change the ledger; the gateway only leads to the question
TO_CSV = 2  # of the renames of one try


def unknown(world: World, gateway: Gateway, more: str = "") -> str:
    """A file whose rename was about to happen, and of which nothing is to be seen."""
    stem = world.prepare(numbers(3), more=more)[0].stem
    gateway.drop_connection_before("rename", TO_CSV + (1 if more else 0))
    with pytest.raises(GatewayUnreachable):
        world.submit(stem)
    (gateway.home / "Send" / f"{stem}.tmp").unlink()
    with pytest.raises(SubmissionUnknown, match="answer by the DAG settle_submission"):
        world.submit(stem, token="second try")
    return stem


def settled(stem: str, world: World, *, arrived: bool) -> str:
    """A person's answer, as the DAG writes it down."""
    with wiring.gateway() as session:
        return settlement.settle(stem, session, world.ledger, arrived=arrived)


def test_an_arrived_file_continues_from_its_verdict(world: World, gateway: Gateway) -> None:
    stem = unknown(world, gateway)

    told = settled(stem, world, arrived=True)

    assert told == f"{stem} counts as submitted. To go on, {remedies.clear(Task.SUBMIT)}"
    assert world.submit(stem, token="cleared").state is State.SUBMITTED
    assert renames(gateway) == []


def test_a_lost_file_is_never_sent_under_its_name(world: World, gateway: Gateway) -> None:
    stem = unknown(world, gateway)

    told = settled(stem, world, arrived=False)

    assert "it may be sent again" in told
    assert settlement.is_alone(stem, world.ledger)
    with pytest.raises(LedgerError, match="was cancelled"):
        world.submit(stem, token="cleared")
    [again] = world.prepare(numbers(3), run="the next")
    assert again.stem != stem
    world.submit(again.stem)
    assert renames(gateway) == [f"{again.stem}.csv"]


@pytest.mark.parametrize("kind", ["ACK", "STOP", "SMSMO"])
def test_never_arrived_is_refused_after_a_provider_report(
    world: World, gateway: Gateway, kind: str
) -> None:
    stem = unknown(world, gateway)
    gateway.put_report(f"{stem.replace('SEND', kind)}.csv", b"x\r\n")

    with pytest.raises(LedgerError, match="the gateway shows that"):
        settled(stem, world, arrived=False)

    assert world.ledger.submissions.get(stem).state is State.SUBMITTED


def test_one_of_several_parts_is_not_resent_alone(world: World, gateway: Gateway) -> None:
    stem = unknown(world, gateway, more="max_recipients_per_file: 2\n")

    assert "must leave out the recipients in sms.delivery" in settled(stem, world, arrived=False)
    assert not settlement.is_alone(stem, world.ledger)


@pytest.mark.parametrize("arrived", [True, False])
def test_only_an_unknown_file_can_be_settled_once(
    world: World, gateway: Gateway, arrived: bool
) -> None:
    [prepared] = world.prepare(numbers(1))
    with pytest.raises(LedgerError, match="is prepared, not unknown: nothing to settle"):
        settled(prepared.stem, world, arrived=arrived)

    stem = unknown(world, gateway)
    settled(stem, world, arrived=arrived)
    with pytest.raises(LedgerError, match="not unknown: nothing to settle"):
        settled(stem, world, arrived=not arrived)


def test_only_a_file_not_renamed_can_be_called_off(world: World, gateway: Gateway) -> None:
    [first] = world.prepare(numbers(1))
    assert settlement.call_off(first.stem, world.ledger).endswith("will never be sent")
    with pytest.raises(LedgerError, match="was cancelled"):
        world.submit(first.stem)

    [second] = world.prepare(numbers(1), run="two")
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        world.submit(second.stem)
    with pytest.raises(LedgerError, match=r"about to be renamed, or was: only support@mtarget\.fr"):
        settlement.call_off(second.stem, world.ledger)

    [third] = world.prepare(numbers(1), run="three")
    world.submit(third.stem)
    with pytest.raises(LedgerError, match="is submitted, and may be at the gateway"):
        settlement.call_off(third.stem, world.ledger)


@pytest.mark.parametrize("phase", ["csv", "lock", "done", "reject"])
def test_an_answer_contradicted_by_the_gateway_is_refused(
    world: World, gateway: Gateway, phase: str
) -> None:
    gateway.turn(silent=True)
    stem = unknown(world, gateway)
    show(gateway, f"{stem}.{phase}", b"")

    with pytest.raises(LedgerError, match=f"the gateway shows that {stem} has arrived"):
        settled(stem, world, arrived=False)

    assert world.ledger.submissions.get(stem).state is State.SUBMITTED
    assert renames(gateway) == []


def test_a_lost_file_leaves_no_tmp_behind(world: World, gateway: Gateway) -> None:
    [prepared] = world.prepare(numbers(3))
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        world.submit(prepared.stem)
    with pytest.raises(SubmissionUnknown):
        world.submit(prepared.stem, token="second try")
    assert in_send(gateway) == [f"{prepared.stem}.tmp"]

    settled(prepared.stem, world, arrived=False)

    assert in_send(gateway) == []


def test_housekeeping_settles_unknown_files_from_the_gateway(
    world: World, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.turn(silent=True)
    stem = unknown(world, gateway)
    with pytest.raises(HousekeepingUnfinished, match=f"{stem} may or may not have been delivered"):
        clear(world)
    assert world.ledger.submissions.get(stem).state is State.UNKNOWN
    show(gateway, f"{stem}.done", b"")

    clear(world)

    assert world.ledger.submissions.get(stem).state is State.SUBMITTED
    assert f"{stem} counts as submitted: to go on, clear the task submit" in caplog.text


def clear(world: World) -> None:
    """What the task `clean_gateway` does."""
    with wiring.gateway() as session:
        clean_gateway(session, world.ledger, world.folder / "archive", world.settings, clock.now())


def test_a_file_halted_before_renaming_can_be_called_off(world: World, gateway: Sandbox) -> None:
    """The kill switch is turned between the intent and the rename: `.tmp` lies there, whole."""
    [only] = world.prepare(numbers(2), run="halted")
    with pytest.raises(LedgerError, match="halted"):
        world.submit(only.stem, also=raising_at(3, LedgerError("halted")))
    assert in_send(gateway) == [f"{only.stem}.tmp"]

    assert settlement.call_off(only.stem, world.ledger)

"""A failure of `submit` never denies a send: it names the files that the ledger knows were sent."""

import errno
import shutil
from types import SimpleNamespace
from typing import Any

import asyncssh
import pytest
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowException
from sqlalchemy import text

from sms.delivery.upload import require_accepted, what_left
from sms.errors import (
    GatewayRefused,
    GatewayUnreachable,
    LedgerError,
    LedgerUnreachable,
    SmsError,
)
from sms.ledger.states import State
from sms_airflow import failures, wiring
from sms_airflow.operators import SubmitOperator
from tests.submitting import TO_CSV
from tests.world import SANDBOX_ONLY, Gateway, World, connect, numbers

pytestmark = SANDBOX_ONLY


def failure(world: World, stems: list[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the task `submit` says when it fails."""
    monkeypatch.setattr(ExecutorSafeguard, "test_mode", True)
    monkeypatch.setattr(wiring, "ledger_for", lambda ti: world.ledger)
    monkeypatch.setattr(wiring, "ledger", lambda: world.ledger)
    monkeypatch.setenv("AIRFLOW_VAR_SMS_HALT", "no")
    context: Any = {"ti": SimpleNamespace(id="try")}
    with pytest.raises(AirflowException) as told:
        SubmitOperator(task_id="submit", stems=stems).execute(context)
    return str(told.value)


def change_host_key(monkeypatch: pytest.MonkeyPatch, gateway: Gateway) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    connect(monkeypatch, gateway, host_key=key.export_public_key().decode().strip())


def test_a_changed_host_key_error_denies_no_send(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [
        each.stem for each in world.prepare(numbers(4), more="max_recipients_per_file: 2\n")
    ]
    world.submit(first)
    world.accepted(first)
    change_host_key(monkeypatch, gateway)

    told = failure(world, [first, second], monkeypatch)

    assert "the host key of" in told
    assert "othing was sent" not in told
    assert told.endswith(f". The provider has {first} (accepted)")


def test_a_file_that_may_have_left_is_named(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [only] = world.prepare(numbers(2))
    gateway.drop_connection_before("rename", TO_CSV)
    with pytest.raises(GatewayUnreachable):
        world.submit(only.stem)

    assert what_left([world.ledger.submissions.get(only.stem)]) == f"It may have {only.stem}"
    told = failure(world, [only.stem], monkeypatch)
    assert world.ledger.submissions.get(only.stem).state is State.UNKNOWN
    assert told.endswith(f". It may have {only.stem}")


def test_an_unsent_file_is_named_too(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [only] = world.prepare(numbers(2))
    change_host_key(monkeypatch, gateway)

    assert failure(world, [only.stem], monkeypatch).endswith("The provider has no file of this run")


def test_a_missing_run_folder_error_names_the_sent_files(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [only] = world.prepare(numbers(2))
    shutil.rmtree(world.run_folder("one").path)

    told = failure(world, [only.stem], monkeypatch)

    assert "00_plan.json can't be read (No such file or directory)" in told
    assert told.endswith(". The provider has no file of this run")


def test_an_os_error_names_the_sent_files(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [only] = world.prepare(numbers(2))

    def unexpected() -> None:
        raise OSError(errno.EMFILE, "any")

    monkeypatch.setattr(wiring, "gateway", unexpected)

    told = failure(world, [only.stem], monkeypatch)

    assert "(Too many open files): raise the limit" in told
    assert told.endswith(". The provider has no file of this run")


@pytest.mark.parametrize("kind", [ValueError, KeyError, MemoryError, RuntimeError])
def test_an_unexpected_error_names_sent_files_without_its_message(
    world: World,
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: type[Exception],
) -> None:
    """A library's message may quote the row that it could not take."""
    [only] = world.prepare(numbers(2))
    row = "+33639980001;Bonjour"

    def unexpected() -> None:
        try:
            raise LookupError(row)
        except LookupError:
            raise kind(f"could not convert {row!r}")  # noqa: B904  (as a library would)

    monkeypatch.setattr(wiring, "gateway", unexpected)

    told = failure(world, [only.stem], monkeypatch)

    assert f"an unexpected {kind.__name__} in {__name__}, line " in told
    assert told.endswith(". The provider has no file of this run")
    assert "in unexpected" in caplog.text  # the way to it
    for place in (told, caplog.text):
        assert row not in place


def test_an_unreachable_ledger_claims_nothing(
    world: World, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    [only] = world.prepare(numbers(2))
    submission = world.ledger.submissions.get
    asked: list[str] = []

    def goes_away(stem: str) -> Any:
        if "connecting" in asked:
            raise LedgerUnreachable("away")
        return submission(stem)

    def connects() -> Any:
        asked.append("connecting")
        raise GatewayRefused("no")

    monkeypatch.setattr(world.ledger.submissions, "get", goes_away)
    monkeypatch.setattr(wiring, "gateway", connects)

    assert "which files of this run have left is not known" in failure(
        world, [only.stem], monkeypatch
    )


def test_a_run_with_a_cancelled_file_never_succeeds(world: World, gateway: Gateway) -> None:
    """Whatever came between submit and the end: it would look as if all were written to."""
    first, second = [
        each.stem for each in world.prepare(numbers(4), more="max_recipients_per_file: 2\n")
    ]
    world.submit(first)
    world.accepted(first)
    files = [world.ledger.submissions.get(stem) for stem in (first, second)]
    with pytest.raises(LedgerError, match=f"not all accepted: {second} is uploading"):
        require_accepted(files)

    world.ledger.submissions.move(second, to=State.CANCELLED)

    with pytest.raises(LedgerError, match=f"not all accepted: {second} is cancelled"):
        require_accepted([*files[:1], world.ledger.submissions.get(second)])
    require_accepted(files[:1])


@pytest.mark.parametrize(
    ("error", "tried", "status"),
    [
        (LedgerError("refused"), 1, "failed"),
        (GatewayUnreachable("away"), 9, "failed"),
        (GatewayUnreachable("away"), 3, "prepared"),
    ],
)
def test_a_final_failure_is_recorded_with_its_run(
    world: World, monkeypatch: pytest.MonkeyPatch, error: SmsError, tried: int, status: str
) -> None:
    world.prepare(numbers(2), run="send__tests/one")
    ti = SimpleNamespace(
        dag_id="send__tests", run_id="one", task_id="submit", try_number=tried, max_tries=8
    )
    monkeypatch.setattr(failures, "get_current_context", lambda: {"ti": ti})
    monkeypatch.setattr(wiring, "ledger_for", lambda ti: world.ledger)

    assert str(failures.verdict_on(error)) == str(error)

    with world.ledger.engine.connect() as db:
        summary = text("SELECT status, failed_task, failed_why FROM sms.campaign_summary")
        [told] = db.execute(summary).all()
    failed = ("submit", str(error)) if status == "failed" else (None, None)
    assert tuple(told) == (status, *failed)

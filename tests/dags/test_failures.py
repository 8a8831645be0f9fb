"""A failure in a task's log is its sentence alone."""

import io
import json
from pathlib import Path

import pytest
import structlog
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sms.errors import GatewayRefused, GatewayUnreachable, LedgerError, SmsError
from sms.settings import ROOT
from sms_airflow.failures import alone, in_a_sentence


def logged(error: BaseException, *first: structlog.typing.Processor) -> dict[str, object]:
    """The line that Airflow's task runner writes of a failure."""
    out = io.StringIO()
    log = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[
            *first,
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(default=str),
        ],
    )
    try:
        raise error
    except BaseException:
        log.exception("Task failed with exception")
    line: dict[str, object] = json.loads(out.getvalue())
    return line


def failed(error: SmsError) -> AirflowException:
    """What a task ends with."""

    @in_a_sentence
    def task() -> None:
        raise error

    with pytest.raises(AirflowException) as told:
        task()
    return told.value


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (GatewayUnreachable("the gateway is away"), AirflowException, True),
        (GatewayRefused("the gateway refused our key"), AirflowFailException, False),
    ],
)
def test_a_failure_is_logged_without_a_traceback(
    error: SmsError, kind: type[AirflowException], retryable: bool
) -> None:
    ended = failed(error)

    assert isinstance(ended, kind)
    assert isinstance(ended, AirflowFailException) is not retryable
    assert logged(ended, alone) == {"event": str(error), "retryable": retryable}
    assert alone in structlog.get_config()["processors"]


def test_a_foreign_error_keeps_its_traceback() -> None:
    for error in (AirflowException("theirs"), ValueError("theirs"), SystemExit(1)):
        line = logged(error, alone)
        assert line["event"] == "Task failed with exception"
        assert line["exception"]


def test_a_log_line_without_an_exception_is_unchanged() -> None:
    assert alone(None, "info", {"event": "3 rows"}) == {"event": "3 rows"}


def test_only_paths_of_the_checkout_become_relative(tmp_path: Path) -> None:
    sql = ROOT / "include" / "campaigns" / "spring_sale" / "recipients.sql"

    assert str(failed(LedgerError(f"{sql}: no such column"))) == (
        "include/campaigns/spring_sale/recipients.sql: no such column"
    )
    assert str(failed(LedgerError(f"file://{ROOT}/runs/one can't be read"))) == (
        "runs/one can't be read"
    )
    assert str(failed(LedgerError(f"{tmp_path}/x can't be read"))) == f"{tmp_path}/x can't be read"

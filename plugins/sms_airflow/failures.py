"""The one place that decides whether a failure is retried, and how it is logged."""

import functools
import logging
import sys
import traceback
from collections.abc import Callable, MutableMapping
from typing import Any, ParamSpec, TypeVar

import structlog
from airflow.sdk import get_current_context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRuntimeError,
)

from sms import storage
from sms.errors import LedgerUnreachable, SmsError, Unforeseen
from sms.settings import ROOT

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


class Failed(AirflowException):
    """A temporary failure: Airflow tries again, if tries are left."""


class FailedForGood(AirflowFailException):
    """A permanent failure: Airflow does not try again."""


# Airflow's own exceptions: they control the task, or report that the API server did not answer.
BESIDE_US = (AirflowException, AirflowRuntimeError)


def verdict_on(error: SmsError, beside: str = "") -> AirflowException:
    """The exception that makes Airflow retry or fail at once, with the error's sentence.

    `beside` is added to the sentence. The ledger records a failure without a further try.
    """
    _record(error)
    _install_processor()
    kind = Failed if error.retryable else FailedForGood
    return kind(_relative(f"{error}. {beside}" if beside else str(error)))


def alone(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: logs one of these failures as its sentence, without a traceback.

    Airflow's task runner logs each failure as "Task failed with exception", with the sentence below
    a traceback of its own frames. Our own traceback is logged at DEBUG.
    """
    error = sys.exc_info()[1] if line.get("exc_info") is True else line.get("exc_info")
    if isinstance(error, Failed | FailedForGood):
        del line["exc_info"]
        line["event"], line["retryable"] = str(error), isinstance(error, Failed)
    return line


def _install_processor() -> None:
    """Add `alone` to structlog's processors, as Airflow has no setting for it.

    The list is changed in place, as existing loggers share it.
    """
    processors = structlog.get_config()["processors"]
    if isinstance(processors, list) and alone not in processors:
        processors.insert(0, alone)


def _relative(sentence: str) -> str:
    """The sentence with paths relative to the checkout."""
    return sentence.replace(f"file://{ROOT}/", "").replace(f"{ROOT}/", "")


def in_a_sentence(work: Callable[P, R]) -> Callable[P, R]:
    """Make a task fail with one sentence instead of a traceback."""

    @functools.wraps(work)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except BESIDE_US:
            raise
        except Exception as error:
            raise verdict_on(in_our_words(error)) from None

    return wrapper


def _record(error: SmsError) -> None:
    """Record a run's failure in the ledger, if no further try follows. Never raises."""
    try:
        ti = get_current_context()["ti"]
        follows = error.retryable and ti.try_number <= ti.max_tries
        if follows or isinstance(error, LedgerUnreachable):
            return
        from sms_airflow import wiring

        run_key = f"{ti.dag_id}/{ti.run_id}"
        wiring.ledger_for(ti).runs.record_failure(
            run_key, task=ti.task_id, why=_relative(str(error))
        )
    except Exception as failed:
        log.debug("The failure was not recorded in the ledger (%s)", type(failed).__name__)


def in_our_words(error: Exception) -> SmsError:
    """The error itself if it is an SmsError; otherwise one with its type and place only.

    A library's message may quote a value: a number, a name, a text. So the log gets the traceback
    without the message.
    """
    if isinstance(error, SmsError):
        log.debug("%s", error, exc_info=True)
        return error
    log.error("Unforeseen, raised here:\n%s", "".join(traceback.format_tb(error.__traceback__)))
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    place = f"{frame.f_globals.get('__name__')}, line {line}"
    if isinstance(error, OSError):
        where = str(error.filename or f"a file or a connection ({place})")
        return storage.as_storage_failed(error, where, "used")
    return Unforeseen(type(error).__name__, place)

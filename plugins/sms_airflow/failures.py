"""Whether a failure is worth another try, and how it stands in the log: decided here alone."""

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
    """A failure that may pass: Airflow tries again, if tries are left."""


class FailedForGood(AirflowFailException):
    """A failure that no other try can mend."""


# Airflow's own: they tell it what to do with the task, or that its API server did not answer.
BESIDE_US = (AirflowException, AirflowRuntimeError)


def verdict_on(error: SmsError, beside: str = "") -> AirflowException:
    """The exception that makes Airflow retry, or fail at once, with the same sentence.

    And with what there is to know beside it. A failure for good is written down with its run.
    """
    _record(error)
    _let_sentences_stand_alone()
    kind = Failed if error.retryable else FailedForGood
    return kind(_relative(f"{error}. {beside}" if beside else str(error)))


def alone(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line of the log that tells one of these failures: the sentence, without a trace.

    Airflow's task runner logs every failure as "Task failed with exception", and the sentence
    below a trace of its own frames. The trace of ours is logged at DEBUG.
    """
    error = sys.exc_info()[1] if line.get("exc_info") is True else line.get("exc_info")
    if isinstance(error, Failed | FailedForGood):
        del line["exc_info"]
        line["event"], line["retryable"] = str(error), isinstance(error, Failed)
    return line


def _let_sentences_stand_alone() -> None:
    """Have `alone` look at what this process logs: there is no setting for it.

    The list is the one that loggers share which are made already.
    """
    processors = structlog.get_config()["processors"]
    if isinstance(processors, list) and alone not in processors:
        processors.insert(0, alone)


def _relative(sentence: str) -> str:
    """Paths below the checkout as they are there."""
    return sentence.replace(f"file://{ROOT}/", "").replace(f"{ROOT}/", "")


def in_a_sentence(work: Callable[P, R]) -> Callable[P, R]:
    """Let a task end with one sentence instead of a traceback."""

    @functools.wraps(work)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except BESIDE_US:
            raise
        except Exception as error:
            raise verdict_on(in_our_words(error)) from None

    return told


def _record(error: SmsError) -> None:
    """Let the ledger know that a run has failed, if no try follows; never another error."""
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
        log.debug("The failure is not in the ledger (%s)", type(failed).__name__)


def in_our_words(error: Exception) -> SmsError:
    """The error itself if it is ours; else what can be said of it.

    A library's message may quote the value that it could not take: a number, a name, a text. So
    what led to it goes to the log without anybody's words.
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

"""Whether a failure is worth another try: decided here and nowhere else."""

import functools
import logging
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRuntimeError,
)

from sms import storage
from sms.errors import LedgerUnreachable, SmsError, Unforeseen

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")
# Airflow's own: they tell it what to do with the task, or that its API server did not answer.
BESIDE_US = (AirflowException, AirflowRuntimeError)


def verdict_on(error: SmsError, beside: str = "") -> AirflowException:
    """The exception that makes Airflow retry, or fail at once, with the same sentence.

    And with what there is to know beside it. A failure for good is written down with its run.
    """
    _record(error)
    kind = AirflowException if error.retryable else AirflowFailException
    return kind(f"{error}. {beside}" if beside else str(error))


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
        wiring.ledger_for(ti).record_failure(run_key, task=ti.task_id, why=str(error))
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
        return storage.in_our_words(error, where, "used")
    return Unforeseen(type(error).__name__, place)

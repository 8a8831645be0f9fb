"""Whether a failure is worth another try: decided here and nowhere else."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sms import storage
from sms.errors import SmsError

log = logging.getLogger(__name__)
P = ParamSpec("P")
R = TypeVar("R")


def verdict_on(error: SmsError, beside: str = "") -> AirflowException:
    """The exception that makes Airflow retry, or fail at once, with the same sentence.

    And with what there is to know beside it.
    """
    kind = AirflowException if error.retryable else AirflowFailException
    return kind(f"{error}. {beside}" if beside else str(error))


def in_a_sentence(work: Callable[P, R]) -> Callable[P, R]:
    """Let a task end with one sentence instead of a traceback."""

    @functools.wraps(work)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except (SmsError, OSError) as error:
            raise verdict_on(in_our_words(error)) from None

    return told


def in_our_words(error: SmsError | OSError) -> SmsError:
    """The error itself; an unforeseen one of the operating system's as what it says of a disk."""
    if isinstance(error, SmsError):
        log.debug("%s", error, exc_info=True)
        return error
    log.info("Unforeseen: its trace follows", exc_info=error)
    where = str(error.filename or f"a file or a connection{_place(error)}")
    return storage.in_our_words(error, where, "used")


def _place(error: OSError) -> str:
    """The line that raised it."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_globals.get('__name__')}, line {trace.tb_lineno})" if trace else ""

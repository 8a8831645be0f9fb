"""Whether a failure is worth another try: decided here and nowhere else."""

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from airflow.sdk.exceptions import AirflowException, AirflowFailException

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
        except SmsError as error:
            log.debug("%s", error, exc_info=True)
            raise verdict_on(error) from None

    return told

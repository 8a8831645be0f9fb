"""What may come between the steps of a submission."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from sms import clock
from sms.ledger.ledger import Ledger
from sms_airflow import wiring

TO_CSV = 2  # of the renames of one try: the first makes the whole upload `.tmp`


def opt_out(ledger: Ledger, *msisdns: int) -> None:
    rows = pa.table(
        {
            "msisdn": pa.array(msisdns, pa.int64()),
            "opted_out_at": pa.array([clock.now()] * len(msisdns), pa.timestamp("us", "UTC")),
            "message": pa.array(["STOP"] * len(msisdns)),
        }
    )
    ledger.stop_list.add(rows, source="import")


def interrupted(
    step: str, act: Callable[[], Any], *, when: str = "after", nth: int = 1
) -> Callable[[], Any]:
    """A gateway where something happens in the world at the n-th step of that kind, once."""

    @contextlib.contextmanager
    def opened() -> Iterator[Any]:
        with wiring.gateway() as session:
            do = getattr(session, step)
            times = iter(range(1, 100))

            def doing(*args: Any) -> Any:
                now = next(times) == nth
                if now and when == "before":
                    act()
                result = do(*args)
                if now and when == "after":
                    act()
                return result

            setattr(session, step, doing)
            yield session

    return opened


def at_check(number: int, act: Callable[[], Any]) -> Callable[[Any], None]:
    """Something that happens in the world at the n-th check of a try: the third is the last."""
    asked = iter(range(1, 100))

    def also(_: Any) -> None:
        if next(asked) == number:
            act()

    return also


def raising_at(number: int, error: Exception) -> Callable[[Any], None]:
    """An error of the n-th check of a try, as if the world had changed just then."""

    def act() -> None:
        raise error

    return at_check(number, act)

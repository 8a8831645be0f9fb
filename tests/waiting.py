"""Triggers as Airflow's triggerer runs them, each until its event."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import structlog
from airflow.triggers.shared_stream import SharedStreamManager

from sms import clock
from sms_airflow import wiring
from sms_airflow.sensors import known_to_triggers
from sms_airflow.triggers import GatewayTrigger
from tests.world import PATIENCE, STEM


@contextlib.asynccontextmanager
async def patience(what: str) -> AsyncIterator[None]:
    """A limit for waits; TimeoutError says what was waited for."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError as error:
        raise TimeoutError(f"{what} did not happen within {PATIENCE} s") from error


def trigger(
    kind: type[GatewayTrigger], stem: str = STEM, within: timedelta = timedelta(hours=1)
) -> GatewayTrigger:
    """One that waits at the gateway, as a task starts it."""
    account = known_to_triggers(wiring.account())
    return kind(account, stem, (clock.now() + within).isoformat(), 0.05)


async def first_event(waiting: GatewayTrigger) -> dict[str, Any]:
    """What ends a wait."""
    async with patience(f"an event of {waiting!r}"), contextlib.aclosing(waiting.run()) as events:
        return dict((await anext(events)).payload)


class Triggerer:
    """Lets triggers share one poll, as Airflow's triggerer does."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._streams = SharedStreamManager(
            log=structlog.get_logger(),
            max_subscriber_queue=1024,
            ack_timeout=300,
            cohort_grace_period=0,
        )

    async def first_event(self, waiting: GatewayTrigger) -> dict[str, Any]:
        """What ends a wait."""
        number, key = next(self._numbers), waiting.shared_stream_key()
        stream = self._streams.subscribe(trigger_id=number, trigger=waiting, key=key)
        try:
            async with patience(f"an event of {waiting!r}"):
                return dict((await anext(waiting.filter_shared_stream(stream))).payload)
        finally:
            await self._streams.unsubscribe(number, key)

"""Waiting at the gateway: what ends a wait, what must not, and what it costs."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from sms import clock
from sms_airflow.triggers import HourTrigger, ReportTrigger, VerdictTrigger
from tests.delivery.conftest import (
    SANDBOX_ONLY,
    SECONDS,
    STEM,
    Gateway,
    Triggerer,
    first_event,
    show,
    trigger,
)


@pytest.mark.parametrize(("extension", "saw"), [("done", "accepted"), ("reject", "rejected")])
def test_a_verdict_ends_the_wait(gateway: Gateway, extension: str, saw: str) -> None:
    show(gateway, f"{STEM}.{extension}")

    event = asyncio.run(first_event(trigger(VerdictTrigger)))

    assert event == {"stem": STEM, "saw": saw}


def test_another_files_verdict_is_not_ours(gateway: Gateway) -> None:
    show(gateway, f"{STEM}2.reject")
    show(gateway, f"{STEM}.done")

    assert asyncio.run(first_event(trigger(VerdictTrigger)))["saw"] == "accepted"


@pytest.mark.parametrize(("extension", "phase"), [("lock", "lock"), (None, None)])
def test_silence_ends_when_its_time_is_up(
    gateway: Gateway, extension: str | None, phase: str | None
) -> None:
    gateway.turn(silent=True)
    if extension:
        show(gateway, f"{STEM}.{extension}")

    event = asyncio.run(first_event(trigger(VerdictTrigger, within=timedelta(0))))

    assert event == {"stem": STEM, "saw": "overdue", "phase": phase}


def test_a_verdict_that_is_there_counts_even_after_the_deadline(gateway: Gateway) -> None:
    show(gateway, f"{STEM}.done")

    event = asyncio.run(first_event(trigger(VerdictTrigger, within=timedelta(0))))

    assert event["saw"] == "accepted"


def test_a_lost_connection_is_not_an_absent_file(gateway: Gateway) -> None:
    show(gateway, f"{STEM}.done")
    # The first listing is of the home directory, the second of Send.
    gateway.drop_connection_before("list", 2)

    event = asyncio.run(first_event(trigger(VerdictTrigger, within=timedelta(0))))

    assert event["saw"] == "accepted"
    assert gateway.counts()["dropped"] == 1


def test_a_moved_clock_waits_at_no_gateway_but_its_own(gateway: Gateway) -> None:
    show(gateway, f"{STEM}.done")
    (gateway.home / ".sandbox").write_text("another clock")

    event = asyncio.run(first_event(trigger(VerdictTrigger)))

    assert event["saw"] == "refusal"
    assert clock.VARIABLE in event["why"]


def test_a_report_ends_the_wait_once_it_no_longer_grows(gateway: Gateway) -> None:
    waiting = trigger(ReportTrigger)
    growing = [b"A1;+33639980001;TESTS;x;3;", b"delivered;op1\r\n"]

    async def listings() -> AsyncIterator[Any]:
        content = b""
        source = type(waiting).open_shared_stream(waiting.serialize()[1])
        async with contextlib.aclosing(source):
            async for listing in source:
                yield listing
                if growing:
                    content += growing.pop(0)
                    name = STEM.replace("SEND", "ACK") + ".csv"
                    await asyncio.to_thread(gateway.put_report, name, content)

    async def event() -> TriggerEvent:
        async with (
            asyncio.timeout(SECONDS),
            contextlib.aclosing(listings()) as seen,
            contextlib.aclosing(waiting.filter_shared_stream(seen)) as events,
        ):
            return await anext(events)

    seen = asyncio.run(event()).payload
    assert seen == {"stem": STEM, "saw": "report", "name": "ACK-12345-20270302-1000-spring.csv"}
    assert growing == []


def test_a_report_that_never_comes_ends_when_its_time_is_up(gateway: Gateway) -> None:
    event = asyncio.run(first_event(trigger(ReportTrigger, within=timedelta(0))))

    assert event == {"stem": STEM, "saw": "overdue"}


@SANDBOX_ONLY
def test_a_trigger_survives_airflows_database(gateway: Gateway) -> None:
    path, arguments = trigger(VerdictTrigger).serialize()

    assert path == "sms_airflow.triggers.VerdictTrigger"
    assert VerdictTrigger(**arguments).serialize() == (path, arguments)


def test_a_hundred_that_wait_share_one_connection(gateway: Gateway) -> None:
    stems = [f"{STEM}{at:03d}" for at in range(100)]
    before = gateway.counts()["connection"]

    async def all_of_them() -> list[dict[str, Any]]:
        triggerer = Triggerer()
        waits = [
            asyncio.create_task(triggerer.first_event(trigger(VerdictTrigger, stem)))
            for stem in stems
        ]
        while not gateway.counts()["login"]:
            await asyncio.sleep(0)
        for stem in stems:
            show(gateway, f"{stem}.done")
        return await asyncio.gather(*waits)

    events = asyncio.run(all_of_them())

    assert [event["saw"] for event in events] == ["accepted"] * 100
    assert gateway.counts()["connection"] == before + 1


@SANDBOX_ONLY
def test_an_upload_waits_for_its_hour_on_a_clock_that_moves(gateway: Gateway) -> None:
    hour = clock.now() + timedelta(hours=2)

    async def waited() -> tuple[bool, dict[str, Any]]:
        async with asyncio.timeout(SECONDS), contextlib.aclosing(_hour(hour)) as events:
            coming = asyncio.ensure_future(anext(events))
            early, _ = await asyncio.wait([coming], timeout=0.5)
            gateway.move_clock(to=hour)
            return bool(early), dict((await coming).payload)

    early, event = asyncio.run(waited())

    assert not early
    assert datetime.fromisoformat(event["now"]) >= hour


@SANDBOX_ONLY
def test_an_hour_that_has_passed_is_not_waited_for(gateway: Gateway) -> None:
    async def waited() -> TriggerEvent:
        async with asyncio.timeout(SECONDS), contextlib.aclosing(_hour(clock.now())) as events:
            return await anext(events)

    assert asyncio.run(waited())


def _hour(moment: datetime) -> AsyncGenerator[TriggerEvent, None]:
    kind, arguments = HourTrigger(moment.isoformat()).serialize()
    assert kind == "sms_airflow.triggers.HourTrigger"
    return HourTrigger(**arguments).run()

"""Waiting at the gateway: what ends a wait, what must not, and what it costs."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from airflow.triggers.base import TriggerEvent
from airflow.triggers.shared_stream import SharedStreamManager

from sms import clock
from sms_airflow import wiring
from sms_airflow.triggers import GatewayTrigger, HourTrigger, ReportTrigger, VerdictTrigger
from sms_sandbox import Sandbox
from tests.delivery.conftest import connect, show

STEM = "SEND-12345-20270302-1000-spring"
SECONDS = 20


def trigger(
    kind: type[GatewayTrigger], stem: str = STEM, within: timedelta = timedelta(hours=1)
) -> GatewayTrigger:
    account = asdict(wiring.account())
    account["folders"] = {key.value: name for key, name in account["folders"].items()}
    return kind(account, stem, (clock.now() + within).isoformat(), 0.05)


async def first_event(waiting: GatewayTrigger) -> dict[str, Any]:
    async with asyncio.timeout(SECONDS), contextlib.aclosing(waiting.run()) as events:
        return dict((await anext(events)).payload)


@pytest.mark.parametrize(("extension", "saw"), [("done", "accepted"), ("reject", "rejected")])
def test_a_verdict_ends_the_wait(sandbox: Sandbox, extension: str, saw: str) -> None:
    show(sandbox, f"{STEM}.{extension}")

    event = asyncio.run(first_event(trigger(VerdictTrigger)))

    assert event == {"stem": STEM, "saw": saw}


def test_another_files_verdict_is_not_ours(sandbox: Sandbox) -> None:
    show(sandbox, f"{STEM}2.reject")
    show(sandbox, f"{STEM}.done")

    assert asyncio.run(first_event(trigger(VerdictTrigger)))["saw"] == "accepted"


@pytest.mark.parametrize(("extension", "phase"), [("lock", "lock"), (None, None)])
def test_silence_ends_when_its_time_is_up(
    sandbox: Sandbox, extension: str | None, phase: str | None
) -> None:
    sandbox.turn(stuck=True)
    if extension:
        show(sandbox, f"{STEM}.{extension}")

    event = asyncio.run(first_event(trigger(VerdictTrigger, within=timedelta(0))))

    assert event == {"stem": STEM, "saw": "overdue", "phase": phase}


def test_a_verdict_that_is_there_counts_even_after_the_deadline(sandbox: Sandbox) -> None:
    show(sandbox, f"{STEM}.done")

    event = asyncio.run(first_event(trigger(VerdictTrigger, within=timedelta(0))))

    assert event["saw"] == "accepted"


def test_a_lost_connection_is_not_an_absent_file(sandbox: Sandbox) -> None:
    show(sandbox, f"{STEM}.done")
    # The first listing is of the home directory, the second of Send.
    sandbox.drop_connection_before("list", 2)

    event = asyncio.run(first_event(trigger(VerdictTrigger, within=timedelta(0))))

    assert event["saw"] == "accepted"
    assert sandbox.counts()["dropped"] == 1


def test_a_refused_login_ends_the_wait_with_a_sentence(sandbox: Sandbox) -> None:
    sandbox.turn(refuse_logins=True)

    event = asyncio.run(first_event(trigger(VerdictTrigger)))

    assert event["saw"] == "refusal"
    assert "refused our login" in event["why"]


def test_a_wrong_host_key_ends_the_wait_with_a_sentence(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJyXFb2SJWqHaY6H8Tn2bCq0nW5dZ6Zk0v1rjYxX5o3k"
    connect(monkeypatch, sandbox, host_key=stranger)

    event = asyncio.run(first_event(trigger(VerdictTrigger)))

    assert event["saw"] == "refusal"
    assert "host key" in event["why"]


def test_a_moved_clock_waits_at_no_gateway_but_its_own(sandbox: Sandbox) -> None:
    show(sandbox, f"{STEM}.done")
    (sandbox.home / ".sandbox").write_text("another clock")

    event = asyncio.run(first_event(trigger(VerdictTrigger)))

    assert event["saw"] == "refusal"
    assert clock.VARIABLE in event["why"]


def test_a_report_ends_the_wait_once_it_no_longer_grows(sandbox: Sandbox) -> None:
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
                    await asyncio.to_thread(sandbox.put_report, name, content)

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


def test_a_report_that_never_comes_ends_when_its_time_is_up(sandbox: Sandbox) -> None:
    event = asyncio.run(first_event(trigger(ReportTrigger, within=timedelta(0))))

    assert event == {"stem": STEM, "saw": "overdue"}


def test_a_trigger_survives_airflows_database(sandbox: Sandbox) -> None:
    path, arguments = trigger(VerdictTrigger).serialize()

    assert path == "sms_airflow.triggers.VerdictTrigger"
    assert VerdictTrigger(**arguments).serialize() == (path, arguments)


def test_a_hundred_that_wait_share_one_connection(sandbox: Sandbox) -> None:
    stems = [f"{STEM}{at:03d}" for at in range(100)]
    before = sandbox.counts()["connection"]
    streams = SharedStreamManager(
        log=structlog.get_logger(),
        max_subscriber_queue=1024,
        ack_timeout=60,
        cohort_grace_period=0,
    )

    async def one(number: int, waiting: GatewayTrigger) -> str:
        key = waiting.shared_stream_key()
        stream = streams.subscribe(trigger_id=number, trigger=waiting, key=key)
        try:
            async for event in waiting.filter_shared_stream(stream):
                return str(event.payload["saw"])
        finally:
            await streams.unsubscribe(number, key)
        raise AssertionError("the wait ended without an event")

    async def all_of_them() -> list[str]:
        waits = [
            asyncio.create_task(one(number, trigger(VerdictTrigger, stem)))
            for number, stem in enumerate(stems)
        ]
        while not sandbox.counts()["listing"]:
            await asyncio.sleep(0)
        for stem in stems:
            show(sandbox, f"{stem}.done")
        async with asyncio.timeout(SECONDS):
            return await asyncio.gather(*waits)

    saw = asyncio.run(all_of_them())

    assert saw == ["accepted"] * 100
    assert sandbox.counts()["connection"] == before + 1


def test_an_upload_waits_for_its_hour_on_a_clock_that_moves(sandbox: Sandbox) -> None:
    hour = clock.now() + timedelta(hours=2)

    async def waited() -> tuple[bool, dict[str, Any]]:
        async with asyncio.timeout(SECONDS), contextlib.aclosing(_hour(hour)) as events:
            coming = asyncio.ensure_future(anext(events))
            early, _ = await asyncio.wait([coming], timeout=0.5)
            sandbox.move_clock(to=hour)
            return bool(early), dict((await coming).payload)

    early, event = asyncio.run(waited())

    assert not early
    assert datetime.fromisoformat(event["now"]) >= hour


def test_an_hour_that_has_passed_is_not_waited_for(sandbox: Sandbox) -> None:
    async def waited() -> TriggerEvent:
        async with asyncio.timeout(SECONDS), contextlib.aclosing(_hour(clock.now())) as events:
            return await anext(events)

    assert asyncio.run(waited())


def _hour(moment: datetime) -> AsyncGenerator[TriggerEvent, None]:
    kind, arguments = HourTrigger(moment.isoformat()).serialize()
    assert kind == "sms_airflow.triggers.HourTrigger"
    return HourTrigger(**arguments).run()

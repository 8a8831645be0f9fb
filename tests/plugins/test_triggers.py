"""Waits at the gateway: what ends a wait, what does not, and its cost."""

import asyncio
import contextlib
import json
import logging
import os
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent
from asyncssh.sftp import SFTPClientHandler
from structlog.contextvars import bind_contextvars, get_contextvars

from sms import clock
from sms.delivery.gateway import Folder, RemoteFile
from sms.errors import GatewayUnreachable
from sms.reports.collection import find_report
from sms.wire.names import phase_of
from sms_airflow import sftp_gateway, shared_connection, triggers
from sms_airflow.triggers import (
    BLINK,
    Away,
    GatewayTrigger,
    HourTrigger,
    Listing,
    Outage,
    ReportTrigger,
    VerdictTrigger,
)
from sms_sandbox import Sandbox
from tests.plugins.relay import Relay
from tests.waiting import Triggerer, first_event, patience, trigger
from tests.world import SANDBOX_ONLY, STEM, Gateway, connect, show


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
def test_a_missing_verdict_ends_the_wait_at_its_deadline(
    gateway: Gateway, extension: str | None, phase: str | None
) -> None:
    if isinstance(gateway, Sandbox):
        gateway.turn(stuck=True)
    else:
        gateway.turn(silent=True)
    if extension:
        show(gateway, f"{STEM}.{extension}")

    event = asyncio.run(first_event(trigger(VerdictTrigger, within=timedelta(0))))

    assert event == {"stem": STEM, "saw": "overdue", "phase": phase}


def test_an_existing_verdict_counts_after_the_deadline(gateway: Gateway) -> None:
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


def test_a_simulated_clock_waits_only_at_its_gateway(gateway: Gateway) -> None:
    show(gateway, f"{STEM}.done")
    (gateway.home / ".sandbox").write_text("another clock")

    event = asyncio.run(first_event(trigger(VerdictTrigger)))

    assert event["saw"] == "refusal"
    assert clock.VARIABLE in event["why"]


def test_a_report_ends_the_wait_when_it_stops_growing(gateway: Gateway) -> None:
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
            patience("a report that no longer grows"),
            contextlib.aclosing(listings()) as seen,
            contextlib.aclosing(waiting.filter_shared_stream(seen)) as events,
        ):
            return await anext(events)

    seen = asyncio.run(event()).payload
    assert seen == {"stem": STEM, "saw": "report", "name": "ACK-12345-20270302-1000-spring.csv"}
    assert growing == []


def test_a_missing_report_ends_the_wait_at_its_deadline(gateway: Gateway) -> None:
    event = asyncio.run(first_event(trigger(ReportTrigger, within=timedelta(0))))

    assert event == {"stem": STEM, "saw": "overdue"}


@SANDBOX_ONLY
def test_a_trigger_survives_airflows_database(gateway: Gateway) -> None:
    path, arguments = trigger(VerdictTrigger).serialize()

    assert path == "sms_airflow.triggers.VerdictTrigger"
    assert VerdictTrigger(**arguments).serialize() == (path, arguments)


def test_a_hundred_waits_share_one_connection(gateway: Gateway) -> None:
    stems = [f"{STEM}{at:03d}" for at in range(100)]
    before = gateway.counts()["connection"]

    async def all_of_them() -> list[dict[str, Any]]:
        triggerer = Triggerer()
        waits = [
            asyncio.create_task(triggerer.first_event(trigger(VerdictTrigger, stem)))
            for stem in stems
        ]
        await until(lambda: gateway.counts()["login"], "the login")
        for stem in stems:
            show(gateway, f"{stem}.done")
        return await asyncio.gather(*waits)

    events = asyncio.run(all_of_them())

    assert [event["saw"] for event in events] == ["accepted"] * 100
    assert gateway.counts()["connection"] == before + 1


@SANDBOX_ONLY
def test_an_upload_waits_for_its_hour_on_simulated_time(gateway: Gateway) -> None:
    hour = clock.now() + timedelta(hours=2)

    async def waited() -> tuple[bool, dict[str, Any]]:
        async with patience("the hour"), contextlib.aclosing(_hour(hour)) as events:
            coming = asyncio.ensure_future(anext(events))
            early, _ = await asyncio.wait([coming], timeout=0.5)
            gateway.move_clock(to=hour)
            return bool(early), dict((await coming).payload)

    early, event = asyncio.run(waited())

    assert not early
    assert datetime.fromisoformat(event["now"]) >= hour


@SANDBOX_ONLY
def test_a_past_hour_needs_no_wait(gateway: Gateway) -> None:
    async def waited() -> TriggerEvent:
        async with patience("an hour of now"), contextlib.aclosing(_hour(clock.now())) as events:
            return await anext(events)

    assert asyncio.run(waited())


def _hour(moment: datetime) -> AsyncGenerator[TriggerEvent, None]:
    kind, arguments = HourTrigger(moment.isoformat()).serialize()
    assert kind == "sms_airflow.triggers.HourTrigger"
    return HourTrigger(**arguments).run()


async def until(happened: Callable[[], object], what: str) -> None:
    """Let others work until it has."""
    async with patience(what):
        while not happened():
            await asyncio.sleep(0.01)


def listings(gateway: Sandbox, folder: str) -> int:
    return sum(entry["name"] == folder for entry in gateway.journal("listing"))


@pytest.fixture
def relay(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The way to the sandbox that can be cut, and can fall silent."""
    with Relay(gateway.port) as way:
        facts = json.loads(os.environ["AIRFLOW_CONN_SMS_GATEWAY"])
        monkeypatch.setenv("AIRFLOW_CONN_SMS_GATEWAY", json.dumps({**facts, "port": way.port}))
        yield way


def report(gateway: Sandbox) -> None:
    gateway.put_report(STEM.replace("SEND", "ACK") + ".csv", b"A1;+33639980001;TESTS;x;3;\r\n")


@SANDBOX_ONLY
def test_all_waits_share_one_connection_until_the_last_ends(gateway: Sandbox, relay: Relay) -> None:
    async def both() -> tuple[list[int], list[Any]]:
        triggerer = Triggerer()
        verdict = asyncio.create_task(triggerer.first_event(trigger(VerdictTrigger)))
        other = asyncio.create_task(triggerer.first_event(trigger(ReportTrigger)))
        await until(lambda: listings(gateway, "Send") and listings(gateway, "Report"), "listings")
        opened = [relay.open]
        show(gateway, f"{STEM}.done")
        events = [await verdict]
        opened.append(relay.open)
        await asyncio.to_thread(report, gateway)
        events.append(await other)
        await until(lambda: not relay.open, "the end of the line")
        return opened, events

    opened, events = asyncio.run(both())

    assert [event["saw"] for event in events] == ["accepted", "report"]
    assert (opened, relay.connections) == ([1, 1], 1)


@SANDBOX_ONLY
def test_a_cancelled_wait_does_not_stop_a_shared_connect(gateway: Sandbox, relay: Relay) -> None:
    show(gateway, f"{STEM}.done")
    relay.silence()

    async def one_gives_up() -> dict[str, Any]:
        triggerer = Triggerer()
        first = asyncio.create_task(triggerer.first_event(trigger(ReportTrigger)))
        second = asyncio.create_task(triggerer.first_event(trigger(VerdictTrigger)))
        await until(lambda: relay.open, "a connection")
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        relay.speak()
        return await second

    assert asyncio.run(one_gives_up())["saw"] == "accepted"
    assert relay.connections == 1


@SANDBOX_ONLY
def test_a_lost_connection_is_restored_by_one_attempt(gateway: Sandbox, relay: Relay) -> None:
    async def both() -> list[dict[str, Any]]:
        triggerer = Triggerer()
        kinds = (VerdictTrigger, ReportTrigger)
        waits = [
            asyncio.create_task(triggerer.first_event(trigger(kind)))
            for number, kind in enumerate(kinds)
        ]
        await until(lambda: listings(gateway, "Send") and listings(gateway, "Report"), "listings")
        relay.cut()
        await until(lambda: relay.connections == 2, "a second connection")
        show(gateway, f"{STEM}.done")
        await asyncio.to_thread(report, gateway)
        return await asyncio.gather(*waits)

    assert [event["saw"] for event in asyncio.run(both())] == ["accepted", "report"]
    assert relay.connections == 2


@SANDBOX_ONLY
def test_a_silent_gateway_is_disconnected_and_reconnected(
    gateway: Sandbox, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sftp_gateway, "GOODBYE", 0.1)
    # All the time: an attempt that began while the relay was silent must end soon, too.
    monkeypatch.setattr(sftp_gateway, "ANSWER", 2.0)

    async def waited() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(trigger(VerdictTrigger)))
        await until(lambda: listings(gateway, "Send"), "a listing of Send")
        relay.silence()  # nobody hangs up: neither side hears any more of the other
        await until(lambda: not relay.open, "the end of the line")
        relay.speak()
        show(gateway, f"{STEM}.done")
        return await waiting

    assert asyncio.run(waited())["saw"] == "accepted"


def test_a_gateway_silent_during_a_listing_is_disconnected(
    gateway: Gateway, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncssh closes the directory of a listing that is cancelled, and waits for the answer."""
    monkeypatch.setattr(sftp_gateway, "GOODBYE", 0.1)
    monkeypatch.setattr(sftp_gateway, "ANSWER", 2.0)
    readdir, asked = SFTPClientHandler.readdir, []

    async def silenced(handler: SFTPClientHandler, directory: bytes) -> Any:
        asked.append(directory)
        if len(asked) == 5:
            relay.silence()
        return await readdir(handler, directory)

    monkeypatch.setattr(SFTPClientHandler, "readdir", silenced)

    async def waited() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(trigger(VerdictTrigger)))
        await until(lambda: len(asked) >= 5, "a listing that falls silent")
        await until(lambda: not relay.open, "the end of the line")
        relay.speak()
        show(gateway, f"{STEM}.done")
        return await waiting

    assert asyncio.run(waited())["saw"] == "accepted"


@SANDBOX_ONLY
def test_a_refused_login_is_reported_to_all_without_repetition(
    gateway: Sandbox,
) -> None:
    gateway.turn(refuse_logins=True)

    async def one_after_the_other() -> tuple[list[str], int]:
        triggerer = Triggerer()
        waits = [
            asyncio.create_task(triggerer.first_event(trigger(kind)))
            for number, kind in enumerate((VerdictTrigger, ReportTrigger, VerdictTrigger))
        ]
        told = [event["saw"] for event in await asyncio.gather(*waits)]
        later = [
            asyncio.create_task(triggerer.first_event(trigger(VerdictTrigger, f"{STEM}{number}")))
            for number in range(10, 20)
        ]
        ended, waiting = await asyncio.wait(later, timeout=0.5)
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        return told, len(ended)

    told, ended = asyncio.run(one_after_the_other())

    assert told == ["refusal"] * 3
    assert ended == 0
    assert gateway.counts()["refused_login"] == 1


@SANDBOX_ONLY
def test_a_wait_after_a_refusal_continues_once_corrected(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_connection, "REFUSED", 0.5)
    gateway.turn(refuse_logins=True)
    show(gateway, f"{STEM}.done")

    async def refused_and_corrected() -> list[str]:
        told = [(await first_event(trigger(VerdictTrigger)))["saw"]]
        await asyncio.to_thread(gateway.turn, refuse_logins=False)
        return [*told, (await first_event(trigger(VerdictTrigger)))["saw"]]

    assert asyncio.run(refused_and_corrected()) == ["refusal", "accepted"]


@SANDBOX_ONLY
def test_a_failed_listing_ends_no_wait_and_no_connection(
    gateway: Sandbox,
) -> None:
    folder, aside = gateway.home / "Report", gateway.root / "aside"
    waiting = trigger(ReportTrigger)
    before = gateway.counts()["connection"]

    async def waited() -> tuple[list[Any], TriggerEvent]:
        folder.rename(aside)
        folder.symlink_to(folder)  # which no server can follow
        facts = waiting.open_shared_stream(waiting.serialize()[1])
        async with patience("a listing of what is there again"), contextlib.aclosing(facts):
            failed = [await anext(facts) for _ in range(3)]
            folder.unlink()
            aside.rename(folder)
            await asyncio.to_thread(report, gateway)
            async with contextlib.aclosing(waiting.filter_shared_stream(facts)) as events:
                return failed, await anext(events)

    failed, event = asyncio.run(waited())

    assert len({seen.since for seen in failed if isinstance(seen, Away)}) == 1
    assert "failed while listing Report" in failed[0].why
    assert event.payload["saw"] == "report"
    assert gateway.counts()["connection"] == before + 1


@SANDBOX_ONLY
def test_a_failed_listing_after_an_outage_is_retried_slowly(gateway: Sandbox, relay: Relay) -> None:
    waiting = trigger(ReportTrigger)
    waiting.poll = 60
    folder = gateway.home / "Report"

    async def waited() -> tuple[list[Any], set[Any]]:
        facts = waiting.open_shared_stream(waiting.serialize()[1])
        async with patience("two failures"), contextlib.aclosing(facts):
            relay.silence()  # or the first listing may have come by the time of the cut
            connecting = asyncio.ensure_future(anext(facts))
            await until(lambda: relay.open, "a connection")
            relay.cut()
            seen = [await connecting]
            relay.speak()
            folder.rmdir()
            folder.symlink_to(folder)
            seen.append(await anext(facts))
            third = asyncio.ensure_future(anext(facts))
            early, _ = await asyncio.wait([third], timeout=0.5)
            third.cancel()
            await asyncio.wait([third])
            return seen, early

    seen, early = asyncio.run(waited())

    assert [isinstance(each, Away) for each in seen] == [True, True]
    assert "failed while listing Report" in seen[1].why
    assert early == set()


@SANDBOX_ONLY
def test_a_slow_listing_does_not_cost_others_their_connection(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = gateway.counts()["connection"]
    found = sftp_gateway.SftpWatch.listing

    async def slow(watch: Any, account: Any, folder: Folder) -> list[RemoteFile]:
        if folder is Folder.SEND:
            return await found(watch, account, folder)
        seen = listings(gateway, "Send")
        await until(lambda: listings(gateway, "Send") > seen + 1, "two more listings of Send")
        raise GatewayUnreachable("it took longer than a minute")

    monkeypatch.setattr(sftp_gateway.SftpWatch, "listing", slow)

    async def both() -> dict[str, Any]:
        triggerer = Triggerer()
        reports = asyncio.create_task(triggerer.first_event(trigger(ReportTrigger)))
        verdict = asyncio.create_task(triggerer.first_event(trigger(VerdictTrigger)))
        await until(lambda: listings(gateway, "Send") >= 6, "six listings of Send")
        show(gateway, f"{STEM}.done")
        event = await verdict
        reports.cancel()
        await asyncio.wait([reports])
        return event

    assert asyncio.run(both())["saw"] == "accepted"
    assert gateway.counts()["connection"] == before + 1


@SANDBOX_ONLY
def test_a_missing_directory_ends_only_the_waits_at_it(
    gateway: Sandbox, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, gateway, report_dir="Reports")
    reports = trigger(ReportTrigger)

    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        triggerer = Triggerer()
        verdict = asyncio.create_task(triggerer.first_event(trigger(VerdictTrigger)))
        refused = await triggerer.first_event(reports)
        show(gateway, f"{STEM}.done")
        return refused, await verdict

    before = gateway.counts()["connection"]
    refused, verdict = asyncio.run(both())

    assert refused["saw"] == "refusal"
    assert "has no directory Reports" in refused["why"]
    assert "report_dir" in refused["why"]
    assert verdict["saw"] == "accepted"
    assert gateway.counts()["connection"] == before + 1


@SANDBOX_ONLY
def test_a_temporarily_missing_airflow_connection_ends_no_wait(
    gateway: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(gateway, f"{STEM}.done")
    waiting = trigger(VerdictTrigger)
    given = os.environ["AIRFLOW_CONN_SMS_GATEWAY"]
    monkeypatch.delenv("AIRFLOW_CONN_SMS_GATEWAY")

    async def waited() -> dict[str, Any]:
        event = asyncio.create_task(first_event(waiting))
        async with contextlib.aclosing(waiting.open_shared_stream(waiting.serialize()[1])) as facts:
            assert isinstance(await anext(facts), Away)
            monkeypatch.setenv("AIRFLOW_CONN_SMS_GATEWAY", given)
            return await event

    assert asyncio.run(waited())["saw"] == "accepted"


def test_pauses_between_attempts_grow_to_a_minute_with_jitter() -> None:
    assert [shared_connection.pause(failures, 1.0) for failures in range(8)] == [
        1,
        2,
        4,
        8,
        16,
        32,
        60,
        60,
    ]
    assert {shared_connection.pause(10**6, chance) for chance in (0.0, 0.5, 1.0)} == {30, 45, 60}


MIDNIGHT = datetime(2026, 11, 26, tzinfo=UTC)
AWAY = Away(MIDNIGHT, "192.0.2.1:22 can't be reached while connecting (no route)")


def heard(outage: Outage, caplog: pytest.LogCaptureFixture, minutes: range) -> list[Any]:
    """When an outage was spoken of, and how loudly, if it was heard of every minute."""
    spoken = []
    for minute in minutes:
        caplog.clear()
        outage.hear(AWAY, MIDNIGHT + timedelta(minutes=minute))
        spoken += [(minute, record.levelname) for record in caplog.records]
    return spoken


def test_an_outage_is_an_error_every_half_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = Outage(f"{STEM} still waits", BLINK)

    assert heard(outage, caplog, range(100)) == [
        *((1, "WARNING"), (30, "ERROR"), (60, "ERROR"), (90, "ERROR"))
    ]
    # Whoever begins to wait in the middle of it says so at once.
    assert heard(Outage("a latecomer waits", BLINK), caplog, range(45, 100)) == [
        *((45, "ERROR"), (75, "ERROR"))
    ]


def test_an_outage_is_logged_with_start_cause_and_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    outage = Outage(f"{STEM} still waits", BLINK)

    outage.hear(AWAY, MIDNIGHT + timedelta(minutes=34))
    outage.hear(Listing(MIDNIGHT, {}), MIDNIGHT + timedelta(minutes=35))

    error, end = caplog.messages
    assert "since 2026-11-26T00:00:00+00:00, for 34 minutes" in error
    assert "no route" in error
    assert f"{STEM} still waits" in error
    assert end == f"The gateway answers again. {STEM} still waits"


class Logs(logging.Handler):
    """Sorts what is said as a triggerer does: by the task in whose context it was said."""

    def __init__(self) -> None:
        super().__init__()
        self.by_task: dict[int | None, list[str]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        self.by_task[get_contextvars().get("trigger_id")].append(record.getMessage())


@SANDBOX_ONLY
def test_an_outage_is_logged_for_each_wait_and_triggerer(
    gateway: Sandbox, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triggers, "BLINK", timedelta(0))
    logs = Logs()
    triggers.log.addHandler(logs)

    async def one(triggerer: Triggerer, number: int, waiting: GatewayTrigger) -> Any:
        bind_contextvars(trigger_id=number)
        return await triggerer.first_event(waiting)

    async def waited() -> None:
        triggerer = Triggerer()
        waits = [
            asyncio.create_task(one(triggerer, number, trigger(VerdictTrigger, f"{STEM}{number}")))
            for number in (1, 2)
        ]
        await until(lambda: listings(gateway, "Send"), "a listing of Send")
        relay.cut()
        await until(lambda: len(logs.by_task) == 3, "three who speak of the outage")
        for each in waits:
            each.cancel()
        await asyncio.wait(waits)

    try:
        asyncio.run(waited())
    finally:
        triggers.log.removeHandler(logs)

    for number in (1, 2):
        assert f"The wait for {STEM}{number} continues" in logs.by_task[number][0]
    assert "All waits at Send continue" in logs.by_task[None][0]


@SANDBOX_ONLY
def test_an_outage_beyond_the_deadline_ends_no_wait(
    gateway: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    async def days() -> AsyncIterator[Any]:
        for _ in range(3 * 24 * 60):
            yield AWAY
        files = [RemoteFile(f"{STEM}.done", 1, MIDNIGHT)]
        yield Listing.of(files, Folder.SEND, clock.now() + timedelta(days=3))

    async def event() -> TriggerEvent:
        events = trigger(VerdictTrigger, within=timedelta(0)).filter_shared_stream(days())
        async with contextlib.aclosing(events):
            return await anext(events)

    assert asyncio.run(event()).payload["saw"] == "accepted"
    assert f"The wait for {STEM} continues" in caplog.messages[0]


def test_one_pass_over_a_listing_finds_every_waits_files() -> None:
    names = [
        *(f"{STEM}.{phase}" for phase in ("tmp", "csv", "lock", "done", "reject")),
        *(f"{STEM}.csv.tmp", f"{STEM}2.done", f"{STEM}.0123abcd.tmp", f"{STEM.lower()}.DONE"),
        *("ACK-12345-20270302-1000-spring.csv", "ack-12345-20270302-1130-SPRING.csv"),
        *("ACK-12345-20270302-1000-spring2.csv", "STOP-12345-20270302-1000-spring.csv"),
        *("README", "SEND-12345-20270302-1000-.done", ".done", "ACK-1-2-3-4.csv"),
    ]
    files = [RemoteFile(name, 1, MIDNIGHT) for name in names]

    for stem in (STEM, f"{STEM}2", STEM.upper(), "SEND-12345-20270302-1000-autumn", "no stem"):
        verdict, ack = (
            kind({"folders": {}}, stem, MIDNIGHT.isoformat(), 1.0)
            for kind in (VerdictTrigger, ReportTrigger)
        )
        sent = Listing.of(files, Folder.SEND, MIDNIGHT).near(verdict.awaited(), Folder.SEND)
        reports = Listing.of(files, Folder.REPORT, MIDNIGHT).near(ack.awaited(), Folder.REPORT)
        assert {phase_of(file.name, stem) for file in sent} | {None} == {
            phase_of(file.name, stem) for file in files
        } | {None}
        assert find_report(reports, stem) == find_report(files, stem)
        assert len(sent) + len(reports) < len(files) / 2 + 1

"""Foreign files at the gateway: no name and no file type stops our work."""

import asyncio
import os

import pytest

from sms import clock
from sms.delivery.gateway import Folder
from sms.errors import GatewayRefused, HousekeepingUnfinished, ReportsFailed
from sms.ledger.states import State
from sms.reports.collection import collect_replies
from sms.reports.housekeeping import clean_gateway
from sms_airflow import wiring
from sms_airflow.sftp_gateway import spell, watching
from sms_airflow.triggers import ReportTrigger, VerdictTrigger
from tests.waiting import first_event, trigger
from tests.world import STEM, Gateway, World, numbers, renames, show

FOREIGN = [
    b"caf\xe9.csv",  # Latin-1
    b"\xff\xfe",
    b"\xed\xa0\x80.csv",  # half a surrogate pair
    "\N{KELVIN SIGN}.csv".encode(),
    "ACK-12345-20270302-1000-\N{LATIN SMALL LETTER LONG S}pring.csv".encode(),
    "SEND-12345-20270302-1000-\N{LATIN SMALL LETTER LONG S}pring.done".encode(),
    "SEND-12345-20270302-1000-\N{ARABIC-INDIC DIGIT ONE}.done".encode(),
    b"a\nline",
    b"\x1b[31mred",
    b"-rf",
    b"x" * 255,
]


@pytest.fixture
def crowded(gateway: Gateway) -> Gateway:
    """A gateway with foreign files in both directories, and in the login directory."""
    for folder, end in (("Send", ".txt"), ("Report", ".csv")):  # a .csv in Send is a submission
        there = gateway.home / folder
        for name in FOREIGN:
            (there / os.fsdecode(name).replace(".csv", end)).write_bytes(b"")
        os.mkfifo(there / f"a pipe{end}")
        (there / f"a link{end}").symlink_to("/nowhere")
        (there / f"a folder{end}").mkdir()
        for entry in there.iterdir():  # or the sandbox would take them for older than its month
            os.utime(entry, (clock.now().timestamp(),) * 2, follow_symlinks=False)
    return gateway


def test_a_file_is_submitted_and_accepted_among_foreign_files(
    crowded: Gateway, world: World
) -> None:
    [prepared] = world.prepare(numbers(3))

    assert world.submit(prepared.stem).state is State.SUBMITTED

    saw = asyncio.run(first_event(trigger(VerdictTrigger, prepared.stem)))
    assert saw["saw"] == "accepted"
    assert renames(crowded) == [f"{prepared.stem}.csv"]


def test_reports_are_collected_among_foreign_files(crowded: Gateway, world: World) -> None:
    ack = STEM.replace("SEND", "ACK") + ".csv"
    crowded.put_report(ack, b"A1;+33639980001;TESTS;x;3;\r\n")
    crowded.put_report(ack.replace("ACK", "STOP"), b"+33639980001;20270302;1015;STOP;A1\r\n")

    saw = asyncio.run(first_event(trigger(ReportTrigger)))
    assert (saw["saw"], saw["name"]) == ("report", ack)
    with wiring.gateway() as session:
        brought = collect_replies(session, world.ledger, world.folder / "archive", clock.now())
        assert [each.opt_outs for each in brought if each.name.startswith("STOP")] == [1]
        with pytest.raises(
            HousekeepingUnfinished, match=r"pring\.csv: it is named like ACK"
        ) as told:
            clean_gateway(
                session, world.ledger, world.folder / "archive", world.settings, clock.now()
            )
        assert "1 file to check, everything else is done" in str(told.value)


def test_both_sessions_list_the_same_regular_files(crowded: Gateway) -> None:
    async def watched() -> list[str]:
        account = wiring.account()
        async with watching(account) as watch:
            return [file.name for file in await watch.listing(account, Folder.SEND)]

    with wiring.gateway() as session:
        listed = sorted(file.name for file in session.listing(Folder.SEND))

    assert sorted(asyncio.run(watched())) == listed
    assert "caf\\xe9.txt" in listed
    assert "a folder.txt" not in listed
    assert {"a pipe.txt (no regular file)", "a link.txt (no regular file)"} <= {*listed}


def test_a_link_is_no_verdict_and_is_never_followed(gateway: Gateway, world: World) -> None:
    gateway.turn(silent=True)
    target = show(gateway, "target.txt", b"people")
    (gateway.home / "Send" / f"{STEM}.done").symlink_to(target)
    stop = STEM.replace("SEND", "STOP") + ".csv"
    (gateway.home / "Report" / stop).symlink_to(target)

    with wiring.gateway() as session:
        assert f"{STEM}.done" not in [file.name for file in session.listing(Folder.SEND)]
        with pytest.raises(ReportsFailed, match=r"no regular file\): it is named like STOP"):
            collect_replies(session, world.ledger, world.folder / "archive", clock.now())


@pytest.mark.parametrize(
    "name",
    [
        "STOP_12345_20270302_1000_spring.csv",
        "STOP-12345-20270302-1000-spring (1).csv",
        "STOP-12345-20270302-1000-spring.csv.zip",
        "STOP-12345-20270302-1000-spring.txt",
        "STOP-12345-20270302-1000-abcdefghijklmnopqrstu.csv",
        "stop.csv",
        "SMSMO 12345.csv",
        "SMSMO-12345-20270302-1000-spring.csv\n",
        "12345-STOP-20270302-1000-spring.csv",
        "Copie de STOP-12345-20270302-1000-spring.csv",
        "ACK-STOP-12345.csv",
        "mtarget_smsmo.csv",
    ],
)
def test_a_possible_stop_file_misnamed_is_reported_at_once(
    gateway: Gateway, world: World, name: str
) -> None:
    gateway.put_report(name, b"+33639980001;20270302;1015;STOP;A1\r\n")

    with wiring.gateway() as session, pytest.raises(ReportsFailed) as told:
        collect_replies(session, world.ledger, world.folder / "archive", clock.now())

    assert f"{name.strip()}" in str(told.value)
    assert "\n" not in str(told.value)
    assert "has no report's name" in str(told.value)
    assert told.value.retryable


@pytest.mark.parametrize("name", ["STOP-12345-20270302-1000-spring.csv", "STOP", "SMSMO_2027"])
def test_a_directory_named_like_stops_is_reported_at_once(
    gateway: Gateway, world: World, name: str
) -> None:
    inside = gateway.home / "Report" / name
    inside.mkdir()
    (inside / "STOP-12345-20270302-1000-spring.csv").write_bytes(b"+33639980001;;;STOP;\r\n")

    async def watched() -> list[str]:
        account = wiring.account()
        async with watching(account) as watch:
            return [file.name for file in await watch.listing(account, Folder.REPORT)]

    with wiring.gateway() as session, pytest.raises(ReportsFailed) as told:
        collect_replies(session, world.ledger, world.folder / "archive", clock.now())

    assert f"{name} (no regular file): it is named like" in str(told.value)
    assert asyncio.run(watched()) == [f"{name} (no regular file)"]


def test_an_unrelated_report_name_is_reported_nightly(
    gateway: Gateway, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("blacklist-12345.csv", "désabonnés.csv"):
        gateway.put_report(name, b"+33639980001;20270302;1015;STOP;A1\r\n")
    (gateway.home / "Report" / "a folder").mkdir()

    with wiring.gateway() as session, caplog.at_level("WARNING"):
        clean_gateway(session, world.ledger, world.folder / "archive", world.settings, clock.now())

    assert (
        "Not read, as the name is not a report's: 2 files in Report (blacklist-12345.csv, "
        "désabonnés.csv). Ask support@mtarget.fr"
    ) in caplog.text


@pytest.mark.parametrize("hour", ["100530", "10", "1000"])
def test_an_unusual_hour_in_a_name_hides_no_stop(gateway: Gateway, world: World, hour: str) -> None:
    name = f"STOP-12345-20270302-{hour}-spring.csv"
    gateway.put_report(name, b"+33639980001;20270302;1015;STOP;A1\r\n")

    with wiring.gateway() as session:
        [brought] = collect_replies(session, world.ledger, world.folder / "archive", clock.now())

    assert (brought.name, brought.opt_outs) == (name, 1)


def test_files_of_other_senders_raise_no_alarm(gateway: Gateway, world: World) -> None:
    for name in ("README", "stopwatch.txt", "ackermann.csv", "nonstop-12345.csv"):
        gateway.put_report(name, b"x")

    with wiring.gateway() as session:
        assert collect_replies(session, world.ledger, world.folder / "archive", clock.now()) == []


def test_an_ambiguous_directory_name_is_refused() -> None:
    account = wiring.Account("sms_gateway", "host:22", "12345", {Folder.SEND: "Send"})

    with pytest.raises(GatewayRefused, match="has SEND and send, and no Send"):
        spell(account, Folder.SEND, ["send", "SEND", "Report"])
    assert spell(account, Folder.SEND, ["send", "Send"]) == "Send"
    assert spell(account, Folder.SEND, ["send"]) == "send"
    with pytest.raises(GatewayRefused, match="has no directory Send"):
        spell(account, Folder.SEND, ["\N{LATIN SMALL LETTER LONG S}end"])

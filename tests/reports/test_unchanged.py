"""Whether a report is unchanged, complete and read: by its bytes and our clock (R11, R29-R32)."""

import gzip
import io
import tracemalloc
from datetime import timedelta

import pytest
from sqlalchemy import event

from sms.errors import ReportsFailed, ReportUnfinished
from sms.ledger.states import State
from sms.reports.collection import CLOCK_STEP, REPORT_SETTLES
from sms.wire import reports
from sms.wire.names import ReportKind
from tests.factories import FIRST
from tests.reports.conftest import reply_row

STOP = "STOP-12345-20260715-1200-spring1.csv"
SMSMO = "SMSMO-12345-20260715-1200-spring1.csv"
ACK = "ACK-12345-20260715-1200-spring1.csv"
MINUTES = timedelta(minutes=5)  # between two looks


def looks(home, after: timedelta = MINUTES) -> None:
    home.now += after
    home.collect_replies()


# STOP and SMSMO files


@pytest.mark.parametrize("name", [STOP, SMSMO])
def test_a_file_rewritten_within_one_second_is_read_again(home, reply, name):
    home.accepted(3)
    home.gateway.shows(name, reply(0))
    home.collect_replies()

    home.gateway.shows(name, reply(1))
    looks(home)

    assert home.stop_list() == [FIRST, FIRST + 1]


def test_a_file_seen_twice_is_not_fetched_again(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    for _ in range(4):
        looks(home)
    assert home.gateway.asked.count(STOP) == 2

    home.gateway.shows(STOP, reply(0) + reply(1), at=home.now)
    for _ in range(4):
        looks(home)
    assert home.gateway.asked.count(STOP) == 4
    assert home.stop_list() == [FIRST, FIRST + 1]


def test_two_listings_within_one_clock_step_prove_nothing(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    home.collect_replies()
    looks(home, CLOCK_STEP / 2)

    home.gateway.shows(STOP, reply(1))
    looks(home)

    assert home.stop_list() == [FIRST, FIRST + 1]


# Delivery reports


@pytest.mark.parametrize("hours", [-3, 3])
def test_the_servers_clock_neither_completes_nor_delays_a_report(home, ack, hours):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2)[:-2], at=home.now + timedelta(hours=hours))
    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)

    home.now += REPORT_SETTLES - timedelta(seconds=1)
    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)

    home.now += timedelta(seconds=1)
    assert home.collect(one.stem).rows == 2


def test_our_clock_set_back_ages_no_report(home, ack):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2)[:-2])
    for since in (timedelta(0), -timedelta(hours=3), REPORT_SETTLES - timedelta(seconds=1)):
        home.now += since
        with pytest.raises(ReportUnfinished):
            home.collect(one.stem)

    home.now += timedelta(seconds=1)
    assert home.collect(one.stem).rows == 2


@pytest.mark.parametrize(
    "blank", [b"", b"\r\n\r\n", b"IDREMOTE;MSISDN;OADC;MSG;IDSTATUS;STATUS;ACKOPERATOR\r\n"]
)
def test_a_first_report_counts_once_it_has_a_row(home, ack, blank):
    one = home.accepted(2)
    home.gateway.shows(ACK, blank)
    home.now += timedelta(days=1)

    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)

    assert home.ledger.submissions.get(one.stem).state is State.ACCEPTED
    assert home.ledger.reports.get(ACK) is None
    home.gateway.shows(ACK, ack(2), at=home.now)
    assert home.collect(one.stem).reconciliation.delivered == 2


def test_a_report_with_an_odd_hour_retracts_nothing(home, ack):
    one = home.accepted(4)
    home.gateway.shows(ACK, ack(3))
    home.collect(one.stem)
    (home.gateway.folder / ACK).unlink()
    home.gateway.shows(ACK.replace("1200", "0900"), ack(1, "4;refused"), at=home.now)

    counts = home.collect(one.stem).reconciliation

    assert (counts.delivered, counts.refused, counts.missing, counts.kept) == (2, 1, 1, 2)
    assert counts.balanced


# Packed by gzip


def test_a_packed_stop_file_is_read_once(home, reply):
    one = home.accepted(3)
    home.gateway.shows(f"{STOP}.gz", gzip.compress(reply(0) + reply(1)[:-2]))

    [brought] = home.collect_replies()

    assert (brought.stem, brought.opt_outs, brought.rows) == (one.stem, 2, 2)
    assert brought.archived.endswith(".csv.gz")
    for _ in range(3):
        looks(home)
    assert home.gateway.asked.count(f"{STOP}.gz") == 2
    assert home.stop_list() == [FIRST, FIRST + 1]


def test_the_same_rows_packed_and_unpacked_are_stored_once(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    home.gateway.shows(f"{STOP}.GZ", gzip.compress(reply(0) + reply(1)))

    home.collect_replies()

    assert home.table("SELECT count(*) FROM sms.reply") == [(2,)]


def test_a_packed_delivery_report_is_collected(home, ack):
    one = home.accepted(3)
    home.gateway.shows(f"{ACK}.gz", gzip.compress(ack(3)))

    assert home.collect(one.stem).reconciliation.delivered == 3
    assert home.collect(one.stem).reconciliation.balanced


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"PK\3\4" + packed])
def test_an_incomplete_packed_file_holds_every_send(home, reply, damage):
    home.accepted(3)
    packed = gzip.compress("".join(reply_row(n) for n in range(3)).encode())
    home.gateway.shows(f"{STOP}.gz", damage(packed))

    with pytest.raises(ReportsFailed, match=f"{STOP}.gz"):
        home.collect_replies()
    assert home.stop_list() == []

    home.gateway.shows(f"{STOP}.gz", packed)
    home.collect_replies()
    assert len(home.stop_list()) == 3


# What a file gained


@pytest.fixture
def begun_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where each reading of a STOP or SMSMO file began, in bytes."""
    found: list[int] = []
    begin = reports.Replies

    def watched(*args: object, start: reports.Start, **how: object) -> reports.Replies:
        found.append(start.size)
        return begin(*args, start=start, **how)

    monkeypatch.setattr(reports, "Replies", watched)
    return found


def test_only_the_added_rows_of_a_file_are_read(home, reply, begun_at):
    home.accepted(3)
    whole = reply(0) + b"who?;20260715;1205;STOP;x\r\n" + reply(1, "merci")
    home.gateway.shows(SMSMO, whole)
    with pytest.raises(ReportsFailed):
        home.collect_replies()
    gained = reply(1, "merci") + b"whose?;20260715;1206;oui;x\r\n"
    home.gateway.shows(SMSMO, whole + gained, at=home.now)

    with pytest.raises(ReportsFailed):
        home.collect_replies()

    assert begun_at == [0, len(whole)]
    assert home.table("SELECT msisdn, occurrence FROM sms.reply ORDER BY 1, 2") == [
        (FIRST, 1),
        (FIRST + 1, 1),
        (FIRST + 1, 2),
    ]
    assert home.table("SELECT line, gone_at FROM sms.unreadable_row ORDER BY 1") == [
        (2, None),
        (5, None),
    ]
    read = home.ledger.reports.get(SMSMO)
    assert (read.rows, read.unreadable, read.size_bytes) == (3, 2, len(whole + gained))


@pytest.mark.parametrize(
    "change",
    [
        lambda before: before.replace(b"merci", b"STOP!"),
        lambda before: before[before.index(b"\n") + 1 :],
        lambda before: before.replace(b"\r\n", b"\n"),
    ],
)
def test_a_file_changed_before_its_end_is_reread(home, reply, begun_at, change):
    home.accepted(9)
    before = reply(0) + reply(1, "merci")
    home.gateway.shows(SMSMO, before)
    home.collect_replies()

    home.gateway.shows(SMSMO, change(before) + reply(2) + reply(3), at=home.now)
    home.collect_replies()

    assert begun_at == [0, 0]
    assert {FIRST + 2, FIRST + 3} <= set(home.stop_list())


def test_added_rows_are_numbered_after_a_shorter_state(home, reply, begun_at):
    """A shorter state of it was read last: then the whole file tells which row is which."""
    home.accepted(9)
    states = [reply(0) * 2, reply(0), reply(0) * 2, reply(0) * 3]
    for step, state in enumerate(states):
        home.gateway.shows(STOP, state, at=home.now + timedelta(hours=step))
        home.collect_replies()

    assert home.table("SELECT max(occurrence), count(*) FROM sms.reply") == [(3, 3)]
    assert begun_at[-1] == 2 * len(reply(0))


def test_a_file_without_its_archive_copy_is_reread(home, reply, begun_at):
    home.accepted(9)
    home.gateway.shows(STOP, reply(0))
    [brought] = home.collect_replies()
    (home.archive / brought.archived).unlink()
    home.gateway.shows(STOP, reply(0) + reply(1), at=home.now)

    home.collect_replies()

    assert begun_at == [0, 0]
    assert home.stop_list() == [FIRST, FIRST + 1]


def test_another_files_rows_never_continue_the_numbering(home, reply, begun_at):
    """Somebody is forgotten, a file of another hour has as many rows: nothing is counted on."""
    one = home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    home.collect_replies()
    home.gateway.shows(STOP.replace("1200", "0900"), reply(1))
    home.collect_replies()
    home.ledger.stop_list.remove(FIRST, reason="asked for messages again")
    for state in (State.REPORTED, State.CLOSED):
        home.ledger.submissions.move(one.stem, to=state)
    home.ledger.people.forget(FIRST)

    home.gateway.shows(STOP, reply(0) * 2, at=home.now)
    looks(home)

    assert begun_at[-1] == 0
    assert FIRST in home.stop_list()


def test_a_packed_file_beside_its_copy_is_reread(home, reply, begun_at):
    home.accepted(3)
    home.gateway.shows(f"{STOP}.gz", gzip.compress(reply(0)))
    home.gateway.shows(STOP, reply(0))
    home.collect_replies()

    home.gateway.shows(STOP, reply(0) * 2, at=home.now)
    looks(home)

    assert begun_at[-1] == 0
    assert home.table("SELECT count(*) FROM sms.reply") == [(2,)]


def test_a_long_fetch_is_no_second_listing(home, reply, monkeypatch):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0))
    home.collect_replies()
    fetch = home.gateway.fetch

    def slow(folder, name, into):
        fetch(folder, name, into)
        home.now += timedelta(seconds=30)

    home.now += CLOCK_STEP / 4
    with monkeypatch.context() as patched:
        patched.setattr(home.gateway, "fetch", slow)
        home.collect_replies()
    home.gateway.shows(STOP, reply(1))
    looks(home)

    assert home.stop_list() == [FIRST, FIRST + 1]


def test_a_later_fetch_of_a_report_is_newer(home, ack):
    """A server's clock that was ahead is put right."""
    one = home.accepted(3)
    home.gateway.shows(ACK, ack(3, "2;sent"), at=home.now + timedelta(hours=3))
    home.collect(one.stem)
    home.gateway.shows(ACK, ack(3), at=home.now)

    counts = home.collect(one.stem).reconciliation

    assert (counts.delivered, counts.pending, counts.kept) == (3, 0, 0)


def test_an_unchanged_collection_needs_few_queries(home, reply, ack):
    home.accepted(3)
    for n in range(30):
        home.gateway.shows(STOP.replace("spring1", f"other{n}"), reply(0))
        home.gateway.shows(ACK.replace("spring1", f"strange{n}"), ack(1))
    looks(home)
    looks(home)
    asked: list[str] = []
    note = lambda *how: asked.append(how[2])  # noqa: E731
    event.listen(home.ledger.engine, "before_cursor_execute", note)
    try:
        assert home.collect_replies() == []
    finally:
        event.remove(home.ledger.engine, "before_cursor_execute", note)

    assert 0 < len(asked) < 12


def test_a_killed_collector_loses_no_stop(home, reply, monkeypatch):
    """It read an older state: what it had not written down is as it was."""
    home.accepted(3)
    older = reply(0)
    newer = older + b"who?;20260715;1205;STOP;x\r\n"

    def shown(content: bytes) -> None:
        home.gateway.shows(STOP, content, at=home.now)
        home.now += MINUTES

    def dies(*args: object) -> None:
        raise MemoryError

    shown(newer)
    with pytest.raises(ReportsFailed):
        home.collect_replies()
    shown(older)
    with monkeypatch.context() as patched:
        patched.setattr("sms.ledger.reports.record", dies)
        with pytest.raises(ReportsFailed):
            home.collect_replies()
    shown(newer)
    for _ in range(3):
        with pytest.raises(ReportsFailed, match="may be a STOP"):
            looks(home)


def test_blank_lines_cost_next_to_nothing():
    content = io.BytesIO(b"\n" * (8 << 20))
    tracemalloc.start()
    try:
        report = reports.read_replies(content, ReportKind.STOP)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert report.count == report.unreadable.num_rows == 0
    assert peak < 200 << 20  # bytes

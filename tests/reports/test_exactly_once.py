"""Reading a report repeatedly while it grows gives the same ledger as reading it once."""

from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sms.errors import ReportsFailed, ReportUnfinished, ReportUnreadable

TEXTS = st.text("STOPé;\"\r\n 'aà€", max_size=8)


def quoted(field: str) -> str:
    """As RFC 4180 wants it."""
    return '"' + field.replace('"', '""') + '"' if set(field) & set(';"\r\n') else field


def row(number: int, hour: int, text: str, style: str, encoding: str, end: str) -> bytes:
    written = quoted(text) if style == "quoted" else text
    line = f"+{33_639_980_000 + number};20260715;{hour:02d}05;{written};id{number}{end}"
    return line.encode(encoding, errors="replace")


ROWS = st.builds(
    row,
    st.integers(0, 4),
    st.integers(8, 11),
    TEXTS,
    st.sampled_from(["quoted", "bare"]),
    st.sampled_from(["utf-8", "utf-8", "cp1252"]),
    st.sampled_from(["\r\n", "\n"]),
)
HEADERS = st.just(b"MSISDN;DATE;HOUR;MESSAGE;IDREMOTE\r\n")
JUNK = st.one_of(st.binary(max_size=12), HEADERS, st.just(b"\xef\xbb\xbf"), st.just(b'"\n'))


@pytest.mark.parametrize("kind", ["STOP", "SMSMO"])
@settings(
    max_examples=12,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    pieces=st.lists(st.one_of(ROWS, ROWS, ROWS, JUNK), max_size=8),
    cuts=st.lists(st.floats(0, 1), max_size=3),
)
def test_reading_a_growing_file_equals_reading_it_whole(home, kind, pieces, cuts):
    name = f"{kind}-12345-20260715-1200-spring1.csv"
    whole = b"".join(pieces)
    grown = told(home, name, [whole[: int(cut * len(whole))] for cut in sorted(cuts)] + [whole])

    assert grown == told(home, name, [whole])


STATUSES = st.sampled_from(["0;waiting", "2 ;sent", "3;delivered", "4;refused", "77;?", ";"])


def delivery(number: int, text: str, status: str, style: str, encoding: str, end: str) -> bytes:
    written = quoted(text) if style == "quoted" else text
    line = f"{number:032x};+{33_639_980_000 + number};SPRING;{written};{status};t {number}{end}"
    return line.encode(encoding, errors="replace")


DELIVERIES = st.builds(
    delivery,
    st.integers(0, 4),  # of three messages: two are strangers
    TEXTS,
    STATUSES,
    st.sampled_from(["quoted", "bare"]),
    st.sampled_from(["utf-8", "utf-8", "cp1252"]),
    st.sampled_from(["\r\n", "\n"]),
)


@settings(
    max_examples=12,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    pieces=st.lists(st.one_of(DELIVERIES, DELIVERIES, DELIVERIES, JUNK), max_size=8),
    cuts=st.lists(st.floats(0, 1), max_size=3),
)
def test_reading_a_growing_delivery_report_equals_reading_it_whole(home, pieces, cuts):
    whole = b"".join(pieces)
    grown = reported(home, [whole[: int(cut * len(whole))] for cut in sorted(cuts)] + [whole])

    assert grown == reported(home, [whole])


def reported(home, states: list[bytes]) -> list[list[tuple[object, ...]]]:
    """What an empty ledger holds after a delivery report was collected in these states."""
    home.empty()
    home.runs = 0
    one = home.accepted(3)
    name = f"{one.stem.replace('SEND', 'ACK')}.csv"
    for minutes, content in enumerate(states):
        home.gateway.shows(name, content, at=home.now + timedelta(minutes=minutes - 60))
        with suppress(ReportUnfinished, ReportUnreadable):
            home.collect(one.stem)
    counts = home.ledger.submissions.reconcile(one.stem)
    assert counts.balanced
    return [
        home.table("SELECT idremote, line, idstatus, raw_status FROM sms.receipt ORDER BY 1, 2"),
        home.table("SELECT idremote, line, outcome, raw_status FROM sms.stranger ORDER BY 1, 2"),
        home.table(
            "SELECT line, raw, reason FROM sms.unreadable_row WHERE gone_at IS NULL ORDER BY line"
        ),
        home.table(
            "SELECT size_bytes, sha256, rows, unreadable FROM sms.report_file WHERE rows > 0"
        ),
        [(counts,)],
    ]


def told(home, name: str, states: list[bytes]) -> list[list[tuple[object, ...]]]:
    """What an empty ledger holds after a file was collected in these states, one after another."""
    home.empty(reports_only=True)
    home.gateway.asked.clear()
    for minutes, content in enumerate(states):
        home.gateway.shows(name, content, at=home.now + timedelta(minutes=minutes))
        with suppress(ReportsFailed):  # not one row in it can be read
            home.collect_replies()
    read = home.table("SELECT size_bytes, sha256, rows, unreadable FROM sms.report_file")
    return [
        home.table(
            "SELECT msisdn, opted_out_at, source, stem, message FROM sms.opt_out ORDER BY 1"
        ),
        home.table(
            "SELECT msisdn, replied_at, raw_date, raw_hour, message, idremote, occurrence "
            "FROM sms.reply ORDER BY 1, 3, 4, 5, 7"
        ),
        [file for file in read if file[2]],
        home.table(
            "SELECT report, line, raw, reason FROM sms.unreadable_row WHERE gone_at IS NULL "
            "ORDER BY 1, 2"
        ),
    ]

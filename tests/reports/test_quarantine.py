"""Unreadable rows of reports are kept with their bytes, line and reason, and are shown."""

import io
import tracemalloc

import pytest

from sms.errors import LedgerError, ReportsFailed
from sms.reports.collection import TAIL_WAITS
from sms.wire import unreadable
from sms.wire.names import ReportKind
from sms.wire.report_rows import LONGEST_ROW
from sms.wire.reports import may_hold_stop, read_replies
from tests.reports.whole import read_delivery_report

ACK = "ACK-12345-20260715-1200-spring1.csv"
STOP = "STOP-12345-20260715-1200-spring1.csv"
SMSMO = "SMSMO-12345-20260715-1200-spring1.csv"
ROW = b"+33639980001;20260715;1205;oui;A1\r\n"

DELIVERY = b"A1;+33639980001;S;B;3;delivered;t\r\n"


def raw(content: bytes, kind: ReportKind = ReportKind.SMSMO) -> list[tuple[int, str, bytes]]:
    source = io.BytesIO(content)
    is_ack = kind is ReportKind.ACK
    report = read_delivery_report(source) if is_ack else read_replies(source, kind)
    source.seek(0)
    return [
        (row["line"], row["reason"], row["raw"])
        for batch in unreadable.raw_rows(source, report.unreadable)
        for row in batch.to_pylist()
    ]


def shown(home) -> list[tuple[object, ...]]:
    return home.table(
        "SELECT kind, report, campaign, line, reason, text, gone_at FROM sms.quarantine "
        "ORDER BY report, line, text"
    )


# Their bytes


def test_the_exact_bytes_of_a_row_are_kept():
    content = ROW + b"w\xe9 \0 who\r\n" + ROW + b"\r\n" + b"x;y\n" + ROW

    assert raw(content) == [
        (2, "holds zero bytes", b"w\xe9 \0 who"),
        (5, "has no MSISDN that can be read", b"x;y"),
    ]


def test_a_row_that_takes_several_lines_is_fetched_whole():
    content = ROW + b'nobody;20260715;1205;"a\r\nb;""\nc";A2\r\n' + b"?\n" + ROW

    assert [(line, bytes_) for line, _, bytes_ in raw(content)] == [
        (2, b'nobody;20260715;1205;"a\r\nb;""\nc";A2'),
        (5, b"?"),
    ]


def test_only_the_beginning_of_an_endless_row_is_kept():
    [(line, reason, bytes_)] = raw(ROW + b"z" * (LONGEST_ROW * 3) + b"\n" + ROW)

    assert (line, reason) == (2, "is longer than 64 KiB")
    assert bytes_ == b"z" * LONGEST_ROW


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_blocks_of_any_size_give_the_same_bytes(monkeypatch, block):
    content = b"\n".join([ROW, b"?one", ROW, b'u;v;w;"a', b'b";x', ROW, b"?last\r"])
    whole = raw(content, ReportKind.STOP) + raw(
        DELIVERY + b"A1;no;S;B;3;d\r\n" * 3 + DELIVERY, ReportKind.ACK
    )

    monkeypatch.setattr(unreadable, "BLOCK", block)

    assert (
        raw(content, ReportKind.STOP)
        + raw(DELIVERY + b"A1;no;S;B;3;d\r\n" * 3 + DELIVERY, ReportKind.ACK)
        == whole
    )


def test_rows_joined_by_a_bare_cr_are_unreadable():
    [(line, reason, _)] = raw(ROW + ROW.replace(b"\r\n", b"\r") + ROW, ReportKind.STOP)

    assert (line, reason) == (2, "holds another row behind a line end that is a bare CR")


def test_fetching_unreadable_rows_needs_one_block_of_memory():
    broken = b"A1;who;" + b"b" * 400 + b"\r\n"
    content = io.BytesIO(b"A1;+33639980001;S;B;3;delivered;t\r\n" + broken * 50_000)
    report = read_delivery_report(content)
    content.seek(0)

    tracemalloc.start()
    count = sum(batch.num_rows for batch in unreadable.raw_rows(content, report.unreadable))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 50_000
    assert peak < 32 << 20  # the file has 20 MiB, and its rows in hex 40


def test_an_endless_row_takes_the_memory_of_a_block():
    content = io.BytesIO(ROW + b"z" * (48 << 20) + b"\r\n" + ROW)
    report = read_replies(content, ReportKind.SMSMO)
    content.seek(0)

    tracemalloc.start()
    count = sum(batch.num_rows for batch in unreadable.raw_rows(content, report.unreadable))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 1
    assert peak < 24 << 20


# In the ledger


def test_unreadable_rows_are_shown_with_line_and_reason(home, ack):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2) + b"secret \xe9 text\r\n")
    home.collect(one.stem)

    reason = "has 1 of 7 fields"
    assert shown(home) == [("ACK", ACK, "spring", 3, reason, "secret \\351 text", None)]
    assert home.table("SELECT raw FROM sms.unreadable_row") == [(b"secret \xe9 text",)]
    assert home.table("SELECT stem, unreadable FROM sms.reconciliation") == [(one.stem, 1)]


def test_no_log_shows_a_quarantined_row(home, ack, caplog):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2) + b"secret;+33639980007\r\n")

    collected = home.collect(one.stem)

    told = f"{caplog.text} {collected.notes}"
    assert "line 3 has 2 of 7 fields" in told
    assert "secret" not in told
    assert "3998" not in told


def test_a_completed_or_vanished_row_is_marked_as_gone(home, reply):
    home.accepted(3)
    both = reply(0, "oui") + b"first?\r\n" + b"second?\r\n"
    home.gateway.shows(SMSMO, both)
    home.collect_replies()
    begun = home.now
    assert [row[3:] for row in shown(home)] == [
        (2, "has no MSISDN that can be read", "first?", None),
        (3, "has no MSISDN that can be read", "second?", None),
    ]

    home.now = begun.replace(hour=20)
    home.gateway.shows(SMSMO, reply(0, "oui") + b"first?\r\n", at=begun)
    home.collect_replies()
    assert [(row[5], row[6]) for row in shown(home)] == [("first?", None), ("second?", home.now)]

    home.gateway.shows(SMSMO, both + reply(1), at=home.now)
    home.collect_replies()
    assert [(row[5], row[6]) for row in shown(home)] == [("first?", None), ("second?", None)]


def test_a_moved_row_is_shown_at_its_new_line(home, reply):
    home.accepted(3)
    home.gateway.shows(SMSMO, reply(0, "oui") + b"first?\r\n")
    home.collect_replies()
    home.gateway.shows(SMSMO, reply(1, "non") + reply(0, "oui") + b"first?\r\n")
    home.collect_replies()

    assert [(row[3], row[6]) for row in shown(home)] == [(2, home.now), (3, None)]


def test_the_alarm_for_a_stop_names_the_view(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + b"who?;20260715;1205;STOP;id00002\r\n")

    with pytest.raises(ReportsFailed, match=r"in the ledger's view sms\.quarantine"):
        home.collect_replies()

    assert [row[5] for row in shown(home)] == ["who?;20260715;1205;STOP;id00002"]


def test_the_operator_who_saw_a_row_is_recorded(home, reply):
    home.gateway.shows(STOP, reply(1) + b"who?\r\n" + b"and who?\r\n")
    with pytest.raises(ReportsFailed):
        home.collect_replies()
    seen = "SELECT line, seen_at, seen_by, seen_reason FROM sms.quarantine ORDER BY line"

    home.ledger.reports.mark_seen(STOP, [3], reason="entered by hand")

    assert home.ledger.reports.unseen_stops() == {STOP: 1}
    assert home.table(seen) == [
        (2, None, None, None),
        (3, home.now, "test", "entered by hand"),
    ]
    assert home.table("SELECT actor, detail FROM sms.event WHERE detail ? 'quarantine_seen'") == [
        ("test", {"quarantine_seen": STOP, "rows": 1})
    ]


@pytest.mark.parametrize("lines", [[2, 3], [7]])
def test_only_a_waiting_row_can_be_marked_seen(home, reply, lines):
    home.gateway.shows(STOP, reply(1) + b"who?\r\n")
    with pytest.raises(ReportsFailed):
        home.collect_replies()

    with pytest.raises(LedgerError, match="Nothing was changed"):
        home.ledger.reports.mark_seen(STOP, lines, reason="entered by hand")
    with pytest.raises(LedgerError, match=f"no row of {SMSMO} is unseen"):
        home.ledger.reports.mark_seen(SMSMO, reason="entered by hand")

    assert home.ledger.reports.unseen_stops() == {STOP: 1}


def test_an_unended_row_completed_later_leaves_the_quarantine(home, reply):
    home.accepted(3)
    home.gateway.shows(SMSMO, reply(0, "oui") + b"+3363998", at=home.now)
    with pytest.raises(ReportsFailed, match="in the middle of a row"):
        home.collect_replies()
    home.now = home.now.replace(hour=14)
    home.collect_replies()
    assert [row[5] for row in shown(home)] == ["+3363998"]

    home.gateway.shows(SMSMO, reply(0, "oui") + reply(1, "non"), at=home.now)
    home.collect_replies()

    assert [(row[5], row[6]) for row in shown(home)] == [("+3363998", home.now)]
    assert home.table("SELECT count(*) FROM sms.reply") == [(2,)]


# They are people's numbers and words


def test_rows_expire_with_their_recipients_data(home, reply):
    home.accepted(3)
    home.gateway.shows(SMSMO, reply(0, "oui") + b"first?\r\n" + b"second?\r\n")
    home.collect_replies()
    met = home.now

    assert home.ledger.reports.expire_unreadable(met, most=10) == 0
    later = met.replace(hour=23)
    assert [home.ledger.reports.expire_unreadable(later, most=1) for _ in range(3)] == [1, 1, 0]
    assert shown(home) == []
    assert home.table("SELECT unreadable FROM sms.report_file") == [(2,)]


@pytest.mark.parametrize(
    "written",
    [
        *("+33639980001", "06 39 98 00 01", "0033.639.98.00.01", "tel\xe9 (0)639-98-00-01"),
        *("\\0639980001", "\\\\0639980001", "\xe9\\\xe90639980001"),
    ],
)
def test_a_forgotten_number_is_deleted_in_every_spelling(home, reply, written):
    home.gateway.shows(
        SMSMO, reply(7, "oui") + f"x {written}\r\nx 0639980002\r\n".encode("latin-1")
    )
    home.collect_replies()
    assert len(shown(home)) == 2

    assert home.ledger.people.forget(33639980001).unreadable == 1

    assert [row[5] for row in shown(home)] == ["x 0639980002"]
    assert home.ledger.people.forget(33639980001).unreadable == 0


# Whatever the encoding, a STOP is one

ENCODINGS = [
    *("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-7", "cp500"),
    *("utf-32", "utf-32-le", "utf-32-be"),
]


@pytest.mark.parametrize("encoding", [*ENCODINGS, "cp1252"])
@pytest.mark.parametrize("word", ["STOP", "Arrêt", "stop!", "DÉSABONNER"])
@pytest.mark.parametrize("row", ["{}", "+33639980001;20260715;1205;{};A1", 'x "{} merci"'])
def test_no_encoding_hides_a_stop(encoding, word, row):
    raw = row.format(word).encode(encoding)

    assert may_hold_stop(raw)
    assert may_hold_stop(raw[1:] if encoding.startswith("utf-16-") and row != "{}" else raw)


@pytest.mark.parametrize("encoding", [each for each in ENCODINGS if each.startswith("utf")])
@pytest.mark.parametrize("row", ["{}", "+33639980001;20260715;1205;{};A1"])
@pytest.mark.parametrize("word", ["Ѕтор", "𝗦𝗧𝗢𝗣"])
@pytest.mark.parametrize("cut", range(4))
def test_no_encoding_hides_a_stop_in_other_letters(encoding, row, word, cut):
    raw = row.format(f"  {word}").encode(encoding)

    assert may_hold_stop(raw[cut:] if encoding.startswith(("utf-16-", "utf-32-")) else raw)


@pytest.mark.parametrize("encoding", ["mac-roman", "cp850", "cp437", "cp037", "cp1140"])
@pytest.mark.parametrize("word", ["STOP", "Arrêtez", "Désabonner"])
def test_no_old_encoding_hides_a_stop(encoding, word):
    assert may_hold_stop(f"x {word} y".encode(encoding))


@pytest.mark.parametrize(
    "raw",
    [
        *(b"D=C3=A9sabonner", b"arr&ecirc;t", b"D?sabonner", "ArrÃªt".encode(), b"=53TOP"),
        b"\0S\0T" + "OP".encode("utf-16-le"),
    ],
)
def test_an_escaped_or_mixed_encoding_hides_no_stop(raw):
    assert may_hold_stop(b"x;" + raw)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_without_a_stop_raises_no_alarm(encoding):
    for text in ("+33639980001;20260715;1205;Bonjour, à samedi;A1", "Oui, merci", "nonstop"):
        assert not may_hold_stop(text.encode(encoding))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp500"])
def test_replies_in_another_encoding_fail_every_collection(home, encoding):
    home.accepted(3)
    text = "+33639980001;20260715;1205;Oui;A1\r\n+33639980002;20260715;1206;STOP;A2\r\n"
    home.gateway.shows(SMSMO, text.encode(encoding))

    for _ in range(2):
        with pytest.raises(ReportsFailed, match="SMSMO-12345"):
            home.collect_replies()
        home.now += TAIL_WAITS

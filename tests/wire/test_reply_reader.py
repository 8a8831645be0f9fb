"""Every STOP and reply is read correctly, also while its file grows (R32, R33, R35)."""

import io
from datetime import UTC, datetime

import pytest

from sms.errors import ReportUnreadable
from sms.wire import report_rows, reports
from sms.wire.names import ReportKind
from sms.wire.reports import REPLIES, Report, moment, read_replies
from tests.reports.whole import read_delivery_report

# The provider's page gives the columns and no example: "MSISDN;DATE;HOUR;MESSAGE;IDREMOTE".
HEADER = "MSISDN;DATE;HOUR;MESSAGE;IDREMOTE\r\n"
ROW = "+33639980001;20260715;1205;STOP;A1\r\n"
MEANT = {
    "msisdn": 33639980001,
    "raw_date": "20260715",
    "raw_hour": "1205",
    "replied_at": datetime(2026, 7, 15, 10, 5, tzinfo=UTC),
    "message": "STOP",
    "idremote": "A1",
    "occurrence": 1,
}


def read(content: str | bytes, kind: ReportKind = ReportKind.STOP, *, grows: bool = True) -> Report:
    raw = content.encode() if isinstance(content, str) else content
    return read_replies(io.BytesIO(raw), kind, grows=grows)


def test_a_row_is_read_in_the_pages_columns():
    report = read(HEADER + ROW)

    assert report.rows.to_pylist() == [MEANT]
    assert report.rows.schema == REPLIES
    assert (report.warnings, report.torn_tail, report.unreadable.num_rows) == ((), False, 0)


@pytest.mark.parametrize(
    ("content", "differs"),
    [
        pytest.param(ROW.replace("\r", ""), {}, id="LF"),
        pytest.param(ROW.replace("\r", ";\r"), {}, id="; at the end"),
        pytest.param(ROW.replace("\r", "; ;;\r"), {}, id="several ; at the end"),
        pytest.param(
            "+33639980001;20260715;1205;STOP; merci;A1;\r\n",
            {"message": "STOP; merci"},
            id="bare ; and one at the end",
        ),
        pytest.param(
            "+33639980001;20260715;1205;Bonjour; stop;\r\n",
            {"message": "Bonjour; stop", "idremote": None},
            id="a message that ends with words",
        ),
        pytest.param(
            "+33639980001;20260715;1205;ok;stop36180;\r\n",
            {"message": "ok;stop36180", "idremote": None},
            id="a message that ends with a STOP",
        ),
        pytest.param("\ufeff" + ROW, {}, id="byte order mark"),
        pytest.param("\ufeff" + HEADER.lower() + ROW, {}, id="header in another case"),
        pytest.param(" +33639980001 ; 20260715 ; 1205 ; STOP ; A1 \r\n", {}, id="spaces"),
        pytest.param('"+33639980001";"20260715";"1205";"STOP";"A1"\r\n', {}, id="all quoted"),
        pytest.param(
            "+33639980001;20260715;1205;STOP; plus de pub;A1\r\n",
            {"message": "STOP; plus de pub"},
            id="bare ;",
        ),
        pytest.param(
            '+33639980001;20260715;1205;"STOP; ""merci""";A1\r\n',
            {"message": 'STOP; "merci"'},
            id="quotes",
        ),
        pytest.param(
            '+33639980001;20260715;1205;"Non\r\nmerci;bye\n";A1\r\n',
            {"message": "Non\r\nmerci;bye"},
            id="line breaks",
        ),
        pytest.param(
            '+33639980001;20260715;1205;Vous dites "non" ?;A1\r\n',
            {"message": 'Vous dites "non" ?'},
            id="bare quotes",
        ),
        pytest.param("+33639980001;20260715;1205;STOP;\r\n", {"idremote": None}, id="no idremote"),
        pytest.param("+33639980001;20260715;1205;STOP\r\n", {"idremote": None}, id="four fields"),
        pytest.param("+33639980001;20260715;1205;;A1\r\n", {"message": ""}, id="empty text"),
        pytest.param(
            "+33639980001;15/07/2026;12:05;STOP;A1\r\n",
            {"raw_date": "15/07/2026", "raw_hour": "12:05"},
            id="French date",
        ),
        pytest.param(
            "+33639980001;soon;later;STOP;A1\r\n",
            {"raw_date": "soon", "raw_hour": "later", "replied_at": None},
            id="no date at all",
        ),
    ],
)
@pytest.mark.parametrize("kind", [ReportKind.STOP, ReportKind.SMSMO])
def test_a_row_has_one_meaning_in_every_spelling(kind, content, differs):
    assert read(content, kind).rows.to_pylist() == [MEANT | differs]


@pytest.mark.parametrize(
    ("date", "hour", "utc"),
    [
        ("20260715", "1205", "2026-07-15T10:05:00"),
        ("2026-07-15", "12:05", "2026-07-15T10:05:00"),
        ("2026-07-15", "12:05:59", "2026-07-15T10:05:59"),
        ("20260715", "120559", "2026-07-15T10:05:59"),
        ("15/07/2026", "9:05", "2026-07-15T07:05:00"),
        ("15-07-2026", "0905", "2026-07-15T07:05:00"),
        ("15.07.2026", "905", "2026-07-15T07:05:00"),  # a leading zero was lost
        ("20260115", "1205", "2026-01-15T11:05:00"),  # winter
        ("20261025", "0230", "2026-10-25T00:30:00"),  # comes twice: the first
        ("20260329", "0230", "2026-03-29T01:30:00"),  # never comes: an hour later
        ("20260715", "0000", "2026-07-14T22:00:00"),
        ("20260715", "2400", None),
        ("20260231", "1205", None),
        ("07/15/2026", "1205", None),
        ("260715", "1205", None),
        ("20260715", "", None),
        ("", "1205", None),
        ("00000000", "1205", None),
        ("00010101", "0000", None),
    ],
)
def test_dates_and_hours_are_paris_time_in_every_format(date, hour, utc):
    expected = datetime.fromisoformat(f"{utc}+00:00") if utc else None

    assert moment(date, hour) == expected


@pytest.mark.parametrize(
    ("row", "stops", "replies"),
    [
        pytest.param("+33639980001", 1, 0, id="a number alone"),
        pytest.param("+33639980001;20260715", 1, 0, id="no text"),
        pytest.param("0639980001;20260715;1205;STOP;A1", 1, 1, id="a national number"),
        pytest.param("3.36E+10;20260715;1205;STOP;A1", 0, 0, id="a float"),
        pytest.param("123;20260715;1205;STOP;A1", 0, 0, id="too short a number"),
        pytest.param(";20260715;1205;STOP;A1", 0, 0, id="no number"),
        pytest.param("bonjour", 0, 0, id="no row"),
    ],
)
def test_a_number_alone_in_a_stop_file_opts_out(row, stops, replies):
    content = ROW + row + "\r\n"

    assert read(content, ReportKind.STOP).rows.num_rows == 1 + stops
    listed = read(content, ReportKind.SMSMO)
    assert listed.rows.num_rows == 1 + replies
    assert listed.unreadable["line"].to_pylist() == ([] if replies else [2])


def test_identical_rows_are_counted_apart():
    other = ROW.replace("A1", "A2")
    rows = read(ROW + ROW.replace("STOP", "Oui") + ROW + other).rows

    assert rows["occurrence"].to_pylist() == [1, 1, 2, 3]


@pytest.mark.parametrize("cut", range(1, len(ROW)))
def test_an_incomplete_last_row_is_omitted_and_noted(cut):
    report = read(HEADER + ROW + ROW[:cut])

    assert report.rows.num_rows == 1
    assert report.torn_tail
    assert report.size_read == len(HEADER + ROW)
    assert report.unreadable.num_rows == 0


def test_the_size_read_includes_an_endless_line(monkeypatch):
    endless = "x" * 3 * report_rows.LONGEST_ROW
    monkeypatch.setattr(report_rows, "BLOCK", report_rows.LONGEST_ROW)
    whole = ROW + endless + "\r\n" + ROW

    report = read(whole + ROW[:9])
    assert (report.rows.num_rows, report.size_read) == (2, len(whole))
    assert report.unreadable["line"].to_pylist() == [2]

    report = read(ROW + endless)
    assert (report.torn_tail, report.size_read) == (True, len(ROW))


def test_a_text_with_an_open_quote_is_incomplete():
    report = read(ROW + '+33639980002;20260715;1205;"Non\r\n')

    assert (report.rows.num_rows, report.torn_tail, report.size_read) == (1, True, len(ROW))


def test_the_last_line_of_a_finished_file_counts():
    report = read(ROW + "+33639980002;20260715;1205;STOP;A2", grows=False)

    assert report.rows["msisdn"].to_pylist() == [33639980001, 33639980002]
    assert not report.torn_tail


def test_a_stray_quote_hides_no_stop():
    stray = '+33639980002;20260715;1205;"Stop;A2\r\n'
    content = ROW + stray + ROW.replace("0001", "0003") + '+33639980004;20260715;1205;Ok";A4\r\n'

    numbers = read(content).rows["msisdn"].to_pylist()

    assert numbers == [33639980001, 33639980002, 33639980003, 33639980004]


@pytest.mark.parametrize("kind", [ReportKind.STOP, ReportKind.SMSMO])
@pytest.mark.parametrize(
    "moment",
    [
        *("2026-07-15T12:05:00Z;12:05", "15 juil. 2026;12h05", "2026-07-15 12:05:00;"),
        *("20260715;12:05:33.123", "20260715;12:05 PM", ";", "15.07.26;midi"),
    ],
)
def test_a_stray_quote_hides_no_stop_with_odd_times(kind, moment):
    content = "".join(
        f"+3363998000{n};{moment};{text};A{n}\r\n"
        for n, text in enumerate(['"STOP', "STOP", "STOP", '"STOP"'])
    )

    assert read(content, kind).rows["msisdn"].to_pylist() == [33639980000 + n for n in range(4)]


@pytest.mark.parametrize(
    "number",
    [
        *("33639980002", "33639980002.0", "06.39.98.00.02", "+33 (0)6 39 98 00 02"),
        *("0033639980002", "'+33639980002", '"+33639980002"', "06-39-98-00-02"),
    ],
)
def test_a_stray_quote_hides_no_stop_with_odd_numbers(number):
    content = f'+33639980001;20260715;1205;"STOP;A\r\n{number};20260715;1205;STOP;B\r\n'

    assert read(content, grows=False).rows["msisdn"].to_pylist() == [33639980001, 33639980002]


def test_a_short_row_behind_a_bare_cr_is_reported():
    report = read("+33639980004;20260715\r+33639980005;20260715\r\n" + ROW)

    assert report.rows["msisdn"].to_pylist() == [33639980001]
    assert report.unreadable["line"].to_pylist() == [1]


def test_a_stray_quote_delays_a_file_only_briefly():
    lines = "".join(f"bonjour {n}\r\n" for n in range(report_rows.MOST_LINES - 1))
    report = read('+33639980002;20260715;1205;"Stop;A2\r\n' + lines, ReportKind.SMSMO)

    assert report.rows.num_rows == 1
    assert report.unreadable.num_rows == report_rows.MOST_LINES - 1
    assert not report.torn_tail


@pytest.mark.parametrize(
    ("content", "lost"),
    [
        pytest.param(HEADER.strip() + "\r" + ROW, 1, id="behind the header"),
        pytest.param((HEADER + ROW + ROW).replace("\n", ""), 1, id="everywhere"),
        pytest.param("+33639980001;20260715\r" + ROW, 1, id="behind a row that is cut"),
        pytest.param("+33639980001\r" + ROW + ROW, 1, id="behind a number"),
    ],
)
def test_no_row_behind_a_bare_cr_is_lost_silently(content, lost):
    try:
        report = read(content, grows=False)
    except ReportUnreadable:
        return
    assert report.unreadable.num_rows == lost


@pytest.mark.timeout(60)
@pytest.mark.parametrize("blank", [" ", "\t", " \t"])
def test_a_blank_line_after_an_open_quote_is_read(blank):
    report = read(ROW + '+33639980002;20260715;1205;"STOP\r\n' + blank * 30_000 + "\r\n" + ROW)

    assert report.rows.num_rows == 3


def test_text_not_in_utf_8_is_read_as_cp1252():
    row = "+33639980001;20260715;1205;Arrêté;A1\r\n"
    report = read(row.encode("cp1252") + row.encode())

    assert report.rows["message"].to_pylist() == ["Arrêté", "Arrêté"]
    assert report.warnings == ("1 field not in UTF-8, read as cp1252",)


def test_an_empty_file_has_no_rows():
    assert read(b"").rows == REPLIES.empty_table()
    assert read(HEADER).rows.num_rows == 0


@pytest.mark.parametrize(
    "junk", [bytes(3000) + b"\n", b"<html>\n</html>\n", ROW.encode("utf-16") + b"\n"]
)
def test_a_file_that_is_no_report_is_refused(junk):
    with pytest.raises(ReportUnreadable) as refused:
        read(junk)

    assert "33639980001" not in str(refused.value)


def test_a_file_with_too_many_unreadable_rows_is_refused(monkeypatch):
    monkeypatch.setattr(reports, "MOST_UNREADABLE", 10)
    assert read(ROW + "who?;x\r\n" * 10).unreadable.num_rows == 10

    with pytest.raises(ReportUnreadable, match="more than 10 of its lines can't be read"):
        read(ROW + "who?;x\r\n" * 11)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("+33692123456", 262_692_123_456),
        ("33692123456", 262_692_123_456),
        ("0033692123456", 262_692_123_456),
        ("+330692123456", 262_692_123_456),
        ("0692123456", 262_692_123_456),
        ("+33 6 90 12 34 56", 590_690_123_456),
        ("+33694123456", 594_694_123_456),
        ("+33696123456", 596_696_123_456),
        ("+262692123456", 262_692_123_456),
        ("+33639980001", 33_639_980_001),
        ("+330639980001", 33_639_980_001),
    ],
)
def test_an_overseas_stop_with_33_stops_the_overseas_number(written, meant):
    for row in (f"{written};20260715;1205;STOP;A1", f"x;{written};TESTS;y;3;delivered;op"):
        if row.startswith("x;"):
            rows = read_delivery_report(io.BytesIO(f"{row}\r\n".encode() * 3)).rows
        else:
            rows = read(f"{row}\r\n", ReportKind.STOP).rows
        assert set(rows["msisdn"].to_pylist()) == {meant}


def test_notes_and_errors_contain_no_number_or_text():
    report = read(
        ROW + "06 39 98 00;20260715;1205;Secret;A1\r\n+33639980001;soon;1205;Secret\r\n",
        ReportKind.SMSMO,
    )

    told = [*report.warnings, *report.unreadable["reason"].to_pylist()]
    assert len(told) == 3
    assert not any("0639" in line or "Secret" in line for line in told)

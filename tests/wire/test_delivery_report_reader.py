"""Every row of an ACK is read correctly, or listed with the reason (R30, R31, R33)."""

import csv
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.errors import ReportUnreadable
from sms.ledger.outcomes import RECEIPTS
from sms.wire import report_cells, report_rows
from sms.wire.reports import DELIVERIES, Report
from tests.reports.whole import read_delivery_report

# The provider's page, *Campaign stats*, verbatim.
PAGE_EXAMPLE = (
    "VZBL6259;+33787789959;Logement;http://www.URL.com/fr/ref-VSQR0339 4P 79m2 3ème étage Imm "
    "ancien 2Chbres Volumes vue Parfait état;2 ;sent;92c30692-705b-4433-8789- 92a1e78104b4"
)
ROW = "A1;+33639980001;Shop;Bonjour;3;delivered;ab-cd"


def read(content: str | bytes) -> Report:
    raw = content.encode() if isinstance(content, str) else content
    return read_delivery_report(io.BytesIO(raw))


def only(content: str | bytes) -> dict[str, object]:
    [row] = read(content).rows.to_pylist()
    return row


def test_the_example_of_the_providers_page_is_read():
    assert only(PAGE_EXAMPLE) == {
        "line": 1,
        "idremote": "VZBL6259",
        "msisdn": 33787789959,
        "idstatus": 2,
        "outcome": "pending",
        "ackoperator": "92c30692-705b-4433-8789-92a1e78104b4",
        "raw_status": "2 ;sent",
    }


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(ROW, id="no line end"),
        pytest.param(ROW + "\n", id="LF"),
        pytest.param(ROW + "\r\n", id="CRLF"),
        pytest.param("\ufeff" + ROW + "\r\n", id="byte order mark"),
        pytest.param("\r\n\n  \r\n" + ROW + "\r\n\r\n", id="blank lines"),
        pytest.param(" A1 ; +33639980001 ;Shop;Bonjour; 3 ; delivered ; ab-cd \r\n", id="spaces"),
        pytest.param("A1;33639980001;Shop;Bonjour;3;delivered;ab-cd\r\n", id="no plus"),
        pytest.param("A1;0033639980001;Shop;Bonjour;3;delivered;ab-cd\r\n", id="00"),
        pytest.param("A1;+33 6 39 98 00 01;Shop;Bonjour;3;delivered;ab-cd\n", id="spaced number"),
        pytest.param("A1;0639980001;Shop;Bonjour;3;delivered;ab-cd\r\n", id="national number"),
        pytest.param("A1;+33639980001;Shop;Oui; non; si;3;delivered;ab-cd\n", id="bare ;"),
        pytest.param('A1;+33639980001;Shop;"Oui; non";3;delivered;ab-cd\n', id="quoted ;"),
        pytest.param('A1;+33639980001;Shop;"Oui ""toi""";3;delivered;ab-cd\n', id="quoted quotes"),
        pytest.param('A1;+33639980001;Shop;5" et 6";3;delivered;ab-cd\n', id="bare quotes"),
        pytest.param('A1;+33639980001;Shop;un 5";3;delivered;ab-cd\n', id="one bare quote"),
        pytest.param('A1;+33639980001;Shop;"Oui;3;delivered;ab-cd\n', id="a quote never closed"),
        pytest.param('A1;+33639980001;Shop;"a\r\nb;c\n\nd";3;delivered;ab-cd\n', id="line breaks"),
        pytest.param('"A1";"+33639980001";"Shop";"B";"3";"delivered";"ab-cd"\n', id="all quoted"),
        pytest.param('A1;+33639980001;Shop;B;3;delivered;"ab-cd"\n', id="one quoted"),
        pytest.param(ROW + ";\n", id="; at the end"),
        pytest.param('A1;+33639980001;Shop;"B;2";3;delivered;ab-cd;\r\n', id="quoted ; at the end"),
        pytest.param(
            'A1;+33639980001;Shop;"B\r\nA2;+33639980002;Shop;C";3;delivered;ab-cd\n',
            id="a row begun",
        ),
        pytest.param(
            'A1;+33639980001;Shop;"B\nA2;+33639980002;S;C;6;failed;t\nD";3;delivered;ab-cd\n',
            id="a row in the text",
        ),
        pytest.param(
            'A1;+33639980001;Shop;"B\nA2;+33639980002;S;C;6;failed;t\nD";3;delivered;ab-cd;\n',
            id="a row in the text and ; at the end",
        ),
        pytest.param("A1;+33639980001;;;3;delivered;ab-cd\n", id="empty fields"),
        pytest.param("A1;+33639980001;Shop;Oui\rnon;3;delivered;ab-cd\r\n", id="a CR in a text"),
        pytest.param("A1;+33639980001;Shop;B;3;delivered;ab-cd\r\r\n", id="CR before CRLF"),
        pytest.param("A1;+33639980001;Shop;Bonjour;3;delivered;ab -c d\n", id="operator's spaces"),
        pytest.param(" \t" * 9 + ROW + " " * 99 + "\n", id="many spaces"),
        pytest.param(
            "A1;+33639980001;S;Été \udce9;3;delivered;ab-cd".encode(errors="surrogateescape"),
            id="a text in no encoding",
        ),
    ],
)
def test_a_row_has_one_meaning_in_every_spelling(content):
    assert only(content) | {"line": 1, "raw_status": ""} == {
        "line": 1,
        "idremote": "A1",
        "msisdn": 33639980001,
        "idstatus": 3,
        "outcome": "delivered",
        "ackoperator": "ab-cd",
        "raw_status": "",
    }


@pytest.mark.parametrize(
    ("idstatus", "known", "outcome"),
    [
        ("0", 0, "pending"),
        ("1", 1, "pending"),
        ("2 ", 2, "pending"),
        ("3", 3, "delivered"),
        ("4", 4, "refused"),
        ("5", 5, "unknown"),  # an inbound message is no delivery
        ("6", 6, "not_delivered"),
        ("7", 7, "unknown"),
        ("9999", 9999, "unknown"),
        ("-1", None, "unknown"),
        ("99999", None, "unknown"),
        ("", None, "unknown"),
        ("DELIVRD", None, "unknown"),
        ("3.0", None, "unknown"),
    ],
)
def test_an_unknown_status_is_never_taken_for_delivered(idstatus, known, outcome):
    report = read(f"A1;+33639980001;S;B;{idstatus};what;t\n")
    [row] = report.rows.to_pylist()

    assert (row["idstatus"], row["outcome"]) == (known, outcome)
    assert row["raw_status"] == f"{idstatus};what".strip()
    assert bool(report.warnings) == (outcome == "unknown")


def test_a_header_is_no_row():
    report = read("IDREMOTE;MSISDN;OADC;MSG;IDSTATUS;STATUS;ACKOPERATOR\r\n" + ROW + "\r\n")

    assert report.rows["line"].to_pylist() == [2]
    assert report.unreadable.num_rows == 0


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        pytest.param("A1;+33639980001;Shop", "has 3 of 7 fields", id="cut off"),
        pytest.param("bonjour", "has 1 of 7 fields", id="no row"),
        pytest.param(
            ";what;S;B;3;delivered;t", "has neither IDREMOTE nor MSISDN", id="names nobody"
        ),
        pytest.param("A1;+33639980001;S;B\0;3;d;t", "holds zero bytes", id="zero byte"),
        pytest.param("x" * 70_000, "is longer than 64 KiB", id="endless line"),
        pytest.param(
            "A1;+33639980001;S;B;6;failed;t\rA2;+33639980002;S;B;3;delivered;t",
            "holds another row behind a line end that is a bare CR",
            id="two rows",
        ),
        pytest.param(
            'A1;+33639980001;S;B;6;failed;"t"\r "A2";"0639980002";S;B;3;delivered;t',
            "holds another row behind a line end that is a bare CR",
            id="two quoted rows",
        ),
    ],
)
def test_an_unreadable_row_is_listed_with_line_and_reason(broken, reason):
    report = read(f"{ROW}\r\n{broken}\r\n{ROW}\r\n")

    assert report.rows["line"].to_pylist() == [1, 3]
    [listed] = report.unreadable.to_pylist()
    assert listed["line"] == 2
    assert listed["reason"].startswith(reason)


def test_a_row_with_unreadable_number_keeps_its_idremote():
    assert only("A1;3.3E+10;S;B;3;delivered;t\n")["msisdn"] is None


def test_an_unclosed_quote_swallows_no_other_row():
    stray = 'A1;+33639980001;Shop;"Oui;3;delivered;ab-cd'
    report = read("\r\n".join([ROW, stray, ROW, '"', ROW, ""]))

    assert report.rows["line"].to_pylist() == [1, 2, 3, 5]
    assert report.unreadable["line"].to_pylist() == [4]


def test_a_text_in_cp1252_is_read_and_noted():
    report = read("A1;+33639980001;S;B;4;refusé;t\n".encode("cp1252"))

    assert report.rows["raw_status"].to_pylist() == ["4;refusé"]
    assert report.warnings == ("1 field not in UTF-8, read as cp1252",)


def test_an_empty_file_is_an_empty_report():
    assert read(b"").rows == DELIVERIES.empty_table()
    assert read("\r\n").rows.num_rows == 0


@pytest.mark.parametrize(
    "junk",
    [
        pytest.param(bytes(5000), id="zero bytes"),
        pytest.param(random.Random(1).randbytes(50_000), id="noise"),
        pytest.param(b"\xff\xfe" + ROW.encode("utf-16-le"), id="UTF-16"),
        pytest.param(f"{ROW}\r".encode() * 3, id="line ends of bare CR"),
        pytest.param(b"PK\x03\x04" + random.Random(2).randbytes(9000), id="an archive"),
        pytest.param(b"<html><body>502 Bad Gateway</body></html>\n", id="a web page"),
        pytest.param(b"no row\n" * 5000 + ROW.encode(), id="a row after too much junk"),
    ],
)
def test_a_file_that_is_no_report_is_refused(junk):
    with pytest.raises(ReportUnreadable, match=r"lines? can be read as a row"):
        read(junk)


def test_quoted_rows_are_read_like_the_csv_module():
    chance = random.Random(7)
    pieces = ["Oui", ";", '"', "\n", "\r\n", " ", "é", "3;x;y", "5€"]
    rows = [
        [
            f"ID{n}",
            f"+{33639980000 + n}",
            "Shop",
            "".join(chance.choices(pieces, k=4)),
            "3",
            "d",
            "t",
        ]
        for n in range(2000)
    ]
    out = io.StringIO()
    csv.writer(out, delimiter=";").writerows(rows)

    report = read(out.getvalue())

    assert report.unreadable.num_rows == 0
    assert report.rows["idremote"].to_pylist() == [row[0] for row in rows]


TEXT = st.lists(
    st.sampled_from(
        [
            *("Oui", ";", '"', "\n", "\r\n", " ", "é", ";3;x;y", '""', '";', ";2"),
            *(
                "\nB1;+33639980002;Shop;a",
                "\nB2;+33639980003;Shop;a;6;failed;t\n",
                "B3;0639980004;",
            ),
        ]
    ),
    max_size=8,
).map("".join)


@settings(max_examples=200)
@given(st.lists(TEXT, min_size=1, max_size=5), st.integers(1, 80), st.booleans())
def test_a_quoted_text_never_changes_its_rows_outcome(texts, block, everything):
    rows = [
        [f"A{n}", f"+{33639980000 + n}", "Shop", text, "3", "delivered", f"t{n}"]
        for n, text in enumerate(texts)
    ]
    out = io.StringIO()
    quoting = csv.QUOTE_ALL if everything else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=";", quoting=quoting).writerows(rows)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_rows, "BLOCK", block)
        report = read(out.getvalue())

    told = [(row["idremote"], row["msisdn"]) for row in report.rows.to_pylist()]
    assert told == [(row[0], int(row[1][1:])) for row in rows]
    assert report.unreadable.num_rows == 0
    assert report.rows["ackoperator"].to_pylist() == [row[-1] for row in rows]


def test_an_unclosed_text_hides_no_row_with_quotes():
    stray = 'A3;+33639980003;Shop;"never closed;6;failed;t'
    quoted = 'A4;+33639980004;Shop;"Salut; toi";3;delivered;t'

    report = read("\r\n".join([stray, ROW, quoted, ROW, ""]))

    assert report.rows["idremote"].to_pylist() == ["A3", "A1", "A4", "A1"]
    assert report.rows["idstatus"].to_pylist() == [6, 3, 3, 3]


def test_blocks_of_any_size_give_the_same_rows(monkeypatch):
    mess = "\r\n".join(
        [
            "IDREMOTE;MSISDN;OADC;MSG;IDSTATUS;STATUS;ACKOPERATOR",
            PAGE_EXAMPLE,
            'A2;+33639980002;Shop;"a\nb;c";4;refused;',
            "junk",
            "x" * 70_000,
            'A3;+33639980003;Shop;"never closed',
            ROW,
            'A4;+33639980004;Shop;"a',
            'b";9;?;t',
            ROW,
        ]
    ).encode()
    whole = read(mess)
    assert whole.rows.num_rows == 5
    assert whole.unreadable.num_rows == 3

    for size in (1, 2, 3, 7, 64, 1000, 65_536, 66_000):
        if size < 7 and len(mess) > 1000:
            monkeypatch.setattr(report_rows, "LONGEST_ROW", 200)
            monkeypatch.setattr(report_cells, "LONGEST_ROW", 200)
        else:
            monkeypatch.undo()
        monkeypatch.setattr(report_rows, "BLOCK", size)
        parts = read(mess)
        assert parts.rows.to_pylist() == whole.rows.to_pylist(), size
        assert parts.unreadable["line"].to_pylist() == whole.unreadable["line"].to_pylist(), size


def test_reading_by_column_matches_reading_line_by_line(monkeypatch):
    chance = random.Random(3)
    choices = [
        ["A1", " A2 ", '"A3"', "", "é", "A" * 70],
        [
            "+33639980001",
            "+330639980001",
            "0033639980002",
            '"+33639980003" ',
            "33639980004",
            "12",
            "?",
        ],
        ["Shop", ""],
        ["Oui", "a;b", '"a;b"', '"a', 'b"', '"say ""hi"""', "", ";;;"],
        ["3", "4 ", '"6"', "", "77", "x"],
        ["sent", "", '"sent"', "\xe9"],
        ["t", "t t", "", '"t"'],
    ]
    mess = "".join(";".join(map(chance.choice, choices)) + "\r\n" for _ in range(5000))
    mess = ROW + "\n" + mess
    fast = read(mess)
    monkeypatch.setattr(
        report_cells.Cells, "of", classmethod(_nothing_plain(report_cells.Cells.of))
    )
    slow = read(mess)

    assert fast.rows.num_rows > 100
    assert fast.rows.to_pylist() == slow.rows.to_pylist()
    assert fast.unreadable == slow.unreadable


def _nothing_plain(of):
    def none(cls, block: bytes) -> report_cells.Cells:
        cells = of(block)
        count = int(cells.plain.sum())
        no = cells.plain[:count] & False
        return cls(
            cells.data,
            cells.begin,
            cells.end,
            cells.plain & False,
            cells.idremote.of(no),
            cells.msisdn[no],
            cells.idstatus[no],
            cells.status.of(no),
            cells.operator.of(no),
        )

    return none


def test_the_columns_are_those_of_the_ledger():
    assert read(ROW).rows.schema == DELIVERIES
    ours = {"submission_id", "sent_on"}  # what the ledger adds
    assert set(RECEIPTS.names) - ours <= set(DELIVERIES.names)

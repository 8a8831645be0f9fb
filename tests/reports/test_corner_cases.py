"""Corner cases of CSV in reports with `;`, and reports of any size."""

import io
from functools import partial
from pathlib import Path

import pytest

from benchmarks.contest import Side, python
from sms.errors import ReportUnreadable
from sms.wire import report_rows, reports
from sms.wire.names import ReportKind
from sms.wire.reports import read_replies
from tests.reports.whole import read_delivery_report

# How a text stands in a file, and what it says: each as public collections of odd CSV have it.
TEXTS = [
    pytest.param("oui", "oui", id="simple"),
    pytest.param("", "", id="empty"),
    pytest.param('""', "", id="empty in quotes"),
    pytest.param('"oui; non"', "oui; non", id="delimiter in quotes"),
    pytest.param('";"', ";", id="a delimiter alone in quotes"),
    pytest.param('"Vous dites ""oui"" ?"', 'Vous dites "oui" ?', id="escaped quotes"),
    pytest.param('""""', '"', id="one escaped quote"),
    pytest.param('"""oui"""', '"oui"', id="quotes around all"),
    pytest.param('"oui\nnon"', "oui\nnon", id="line break"),
    pytest.param('"oui\r\nnon"', "oui\r\nnon", id="line break, CRLF"),
    pytest.param('"oui\r\n\r\nnon"', "oui\r\n\r\nnon", id="empty line in quotes"),
    pytest.param('"oui ""\nnon"" ;"', 'oui "\nnon" ;', id="quotes and line breaks"),
    pytest.param(
        '"{""type"": ""Point""; ""at"": [1.0; 2.0]}"',
        '{"type": "Point"; "at": [1.0; 2.0]}',
        id="JSON in quotes",
    ),
    pytest.param("ʤ été \u20ac", "ʤ été €", id="UTF-8"),
    pytest.param("  oui  ", "oui", id="spaces around"),
    pytest.param(' "oui" ', "oui", id="spaces around quotes"),
    pytest.param("it's", "it's", id="apostrophe"),
    pytest.param('5" ou 6"', '5" ou 6"', id="bare quotes"),
    pytest.param("oui\\", "oui\\", id="backslash at the end"),
    pytest.param("=1+1", "=1+1", id="a formula"),
    pytest.param("NULL", "NULL", id="a word that means nothing"),
]


@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize("header", ["", "MSISDN;DATE;HOUR;MESSAGE;IDREMOTE"], ids=["", "header"])
@pytest.mark.parametrize(("written", "says"), TEXTS)
def test_a_reply_keeps_its_exact_text(written, says, header, end):
    other = f"+33639980002;20260715;1206;après;A2{end}"
    file = f"{header}{end}+33639980001;20260715;1205;{written};A1{end}{other}"

    report = read_replies(io.BytesIO(file.encode()), ReportKind.SMSMO)

    assert report.rows["message"].to_pylist() == [says, "après"]
    assert report.rows["idremote"].to_pylist() == ["A1", "A2"]
    assert (report.unreadable.num_rows, report.warnings) == (0, ())


@pytest.mark.parametrize("end", ["\r\n", "\n"], ids=["CRLF", "LF"])
@pytest.mark.parametrize(("written", "says"), TEXTS)
def test_a_delivery_is_read_with_any_text(written, says, end):
    other = f"A2;+33639980002;Shop;après;4;refused;t-2{end}"
    file = f"A1;+33639980001;Shop;{written};3;delivered;t-1{end}{other}"

    report = read_delivery_report(io.BytesIO(file.encode()))

    assert report.rows["idremote"].to_pylist() == ["A1", "A2"]
    assert report.rows["outcome"].to_pylist() == ["delivered", "refused"]
    assert report.rows["ackoperator"].to_pylist() == ["t-1", "t-2"]
    assert report.unreadable.num_rows == 0


@pytest.mark.parametrize("cut", range(1, len("à l'été €".encode()) + 1))
def test_a_cut_character_waits_for_its_other_half(cut):
    whole = "+33639980001;20260715;1205;à l'été €;A1\r\n".encode()
    begun = whole[: len(b"+33639980001;20260715;1205;") + cut]

    torn = read_replies(io.BytesIO(begun), ReportKind.SMSMO)
    read = read_replies(io.BytesIO(whole), ReportKind.SMSMO)

    assert (torn.rows.num_rows, torn.torn_tail, torn.size_read, torn.warnings) == (0, True, 0, ())
    assert read.rows["message"].to_pylist() == ["à l'été €"]
    assert read.warnings == ()


def test_one_line_of_another_encoding_changes_no_other():
    utf8, cp1252 = (
        f"+33639980001;20260715;12{n:02d};été;A1\r\n".encode(encoding)
        for n, encoding in enumerate(["utf-8", "cp1252"])
    )

    report = read_replies(io.BytesIO(utf8 + cp1252 + utf8), ReportKind.SMSMO)

    assert report.rows["message"].to_pylist() == ["été", "été", "été"]
    assert report.warnings == ("1 field not in UTF-8, read as cp1252",)


MEASURED = """
import sys
import pyarrow as pa
from sms.columnar import text
from sms.errors import ReportUnreadable
from sms.wire import report_rows, reports
from sms.wire.names import ReportKind
from sms.wire.reports import DELIVERIES, Deliveries, read_replies
text.use_lean_memory()
with open(sys.argv[2], "rb") as file:
    if sys.argv[1] == "ACK":
        rows = pa.Table.from_batches(Deliveries(file), DELIVERIES)
    else:
        rows = read_replies(file, ReportKind(sys.argv[1])).rows
print(rows.num_rows)
"""


@pytest.mark.parametrize("kind", ["ACK", "STOP"])
def test_memory_is_limited_to_a_block_and_kept_columns(kind, tmp_path):
    """A report ten times as large takes no more but for its columns, far less than its bytes."""
    text = b"Bonjour " + b"x" * 1500  # an ACK keeps none of it
    rows = {
        "ACK": b"A%09d;+33639980001;Shop;" + text + b";3;delivered;t-1\r\n",
        "STOP": b"+33639980001;20260715;1205;STOP %09d" + b" " * 1500 + b";A1\r\n",
    }
    peaks = []
    for count in (10_000, 100_000):  # 15 and 150 MiB
        file = tmp_path / f"{kind}-{count}.csv"
        with file.open("wb") as out:
            out.writelines(rows[kind] % number for number in range(count))
        read, peak = measured(kind, file)
        assert read == count
        peaks.append(peak)

    assert peaks[1] - peaks[0] < 60


@pytest.mark.parametrize("kind", list(ReportKind))
@pytest.mark.parametrize("line", [b"x\n", b'"x\n', b"a;b;c;d\n"])
@pytest.mark.parametrize("begins", [b"", b"A1;+33639980001;;A;3;d;t\n", b"+33639980001;;;A;A1\n"])
def test_a_file_without_valid_rows_is_refused_early(kind, line, begins, monkeypatch):
    monkeypatch.setattr(reports, "MOST_UNREADABLE", 2 * report_rows.PORTION)
    read = read_delivery_report if kind is ReportKind.ACK else partial(read_replies, kind=kind)
    drawn: list[int] = []

    def counted(*how):
        for rows, upto in report_rows.portions(*how):
            drawn.append(len(rows))
            yield rows, upto

    monkeypatch.setattr(reports, "portions", counted)

    with pytest.raises(ReportUnreadable, match="be read as"):
        read(io.BytesIO(begins + line * 50_000))

    assert sum(drawn) <= 3 * report_rows.PORTION


def measured(kind: str, file: Path) -> tuple[int, int]:
    """Rows of a report, and the peak (MiB) of the process that read it."""
    rows: list[int] = []
    # Measured as benchmarks are, because a child of ours is charged with what we hold ourselves.
    side = Side(
        python("-c", MEASURED, kind, file),
        makes=file.with_suffix(".none"),
        check=lambda said: rows.append(int(said)),
        # What the reader keeps, without the holes that glibc leaves between it and a block's work.
        variables={"MALLOC_MMAP_THRESHOLD_": str(1 << 20)},
    )
    peak = side.run().peak_mib
    return rows[0], int(peak)

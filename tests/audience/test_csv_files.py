"""CSV files of recipients: every row is read, or the file is refused with the line."""

import csv
import io
import os
import re

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sms.columnar import csv_files
from sms.columnar.csv_files import CsvFile
from sms.errors import SourceError


@pytest.fixture
def read(tmp_path):
    """The rows of a file with these bytes, an empty cell without quotes as None."""

    def rows(content: bytes | str, encoding: str | None = None) -> list[list[str | None]]:
        path = tmp_path / "people.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        batches = CsvFile.open(path, encoding).batches()
        return [list(row.values()) for batch in batches for row in batch.to_pylist()]

    return rows


PEOPLE = [["k1", "Zoé"], ["k2", "Léa"]]
AS_WRITTEN = {
    "LF": "key,name\nk1,Zoé\nk2,Léa\n",
    "no line end at the end": "key,name\nk1,Zoé\nk2,Léa",
    "CRLF": "key,name\r\nk1,Zoé\r\nk2,Léa\r\n",
    "CR, as on an old Mac": "key,name\rk1,Zoé\rk2,Léa\r",
    "ends of all kinds": "key,name\rk1,Zoé\r\nk2,Léa\n",
    "CR twice, as of a text mode": "key,name\r\r\nk1,Zoé\r\r\nk2,Léa\r\r\n",
    "blank lines": "key,name\n\nk1,Zoé\n\r\n\nk2,Léa\n\n",
    "quotes": '"key","name"\n"k1","Zoé"\n"k2","Léa"\n',
    "sep=;": "sep=;\nkey;name\nk1;Zoé\nk2;Léa\n",
    "SEP=, in quotes": '"SEP=,"\r\nkey,name\r\nk1,Zoé\r\nk2,Léa\r\n',
    "sep= that a count would not find": "sep=;\nkey;first, middle, last\nk1;Zoé\nk2;Léa\n",
    "UTF-8 with a mark": b"\xef\xbb\xbf" + "key,name\nk1,Zoé\nk2,Léa\n".encode(),
    "a mark before sep=": b"\xef\xbb\xbf" + "sep=;\nkey;name\nk1;Zoé\nk2;Léa\n".encode(),
    "UTF-16, as Excel has it": "\ufeffkey\tname\r\nk1\tZoé\r\nk2\tLéa\r\n".encode("utf-16-le"),
    "UTF-16 the other way round": "\ufeffkey,name\nk1,Zoé\nk2,Léa\n".encode("utf-16-be"),
    "UTF-32": "\ufeffkey,name\nk1,Zoé\nk2,Léa\n".encode("utf-32-le"),
}  # fmt: skip


@pytest.mark.parametrize("content", AS_WRITTEN.values(), ids=AS_WRITTEN.keys())
@pytest.mark.parametrize("block", [48, 8 << 20])
def test_every_csv_dialect_is_read(read, content, block, monkeypatch):
    monkeypatch.setattr(csv_files, "BLOCK", block)

    assert read(content) == PEOPLE


def test_a_quote_inside_an_unquoted_cell_is_literal(read):
    assert read('key,size\nk1,5" screen\nk2,Anne "Nana" B"\nk3,"7"" screen"\n') == [
        ["k1", '5" screen'],
        ["k2", 'Anne "Nana" B"'],
        ["k3", '7" screen'],
    ]


def test_quoted_delimiters_do_not_split_the_header(read):
    assert read('"Nom, prénom, titre, ville";key\nDurand;k1\n') == [["Durand", "k1"]]
    assert read('"a;b;c",key\n1,k1\n') == [["1", "k1"]]


def test_a_column_name_keeps_its_line_break(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text('key,"Téléphone\nmobile"\nk1,"Zoé\n"\nk2\n')

    file = CsvFile.open(path)

    assert file.columns == ("key", "Téléphone\nmobile")
    with pytest.raises(SourceError, match="line 5: the row has 1 cell, and the header 2"):
        [*file.batches()]


def test_a_cell_may_be_as_long_as_a_row(read):
    long = "x" * 1_000_000  # csv's own limit is 131,072 characters
    assert read(f"key,name\nk1,{long}\n") == [["k1", long]]
    assert read(f'key,name\nk1,"{long}"\n') == [["k1", long]]
    for endless in ("y" * (9 << 20), '"' + "z\n" * (9 << 19)):
        with pytest.raises(SourceError, match="line 3: "):
            read(f"key,name\nk0,a\nk1,{endless}")


def test_text_with_line_breaks_in_quotes_is_one_cell(read):
    assert read('key,address,city\r\nk1,"12 rue X\r\nBât. B",Lyon\r\n') == [
        ["k1", "12 rue X\r\nBât. B", "Lyon"]
    ]
    assert read('address,key,city\n"12 rue X, Bât. B\nescalier C\n",k1,Lyon\n') == [
        ["12 rue X, Bât. B\nescalier C\n", "k1", "Lyon"]
    ]
    assert read('msisdn\n"0639980001\n"\n') == [["0639980001\n"]]


FOUR = "msisdn,note\n0639980001,{}\n0639980002,{}\n0639980003,{}\n0639980004,{}\n"
STRAY = {
    "four rows, two of them lost": (
        FOUR.format('"stop', "stop", '"plus rien', "non"),
        "line 2: a quote opens a cell and is closed on line 4",
    ),
    "open at the end": (FOUR.format("a", "b", "c", '"stop'), "line 5: a quote opens a cell that"),
    "open at the beginning": (FOUR.format('"a', "b", "c", "d"), "line 2: a quote opens a cell"),
    "a pair over rows": (FOUR.format("a", '"b', "c", 'd"'), "line 3: a cell in quotes goes on to"),
    "a pair over two rows": (FOUR.format("a", '"b', 'c"', "d"), "line 3: a cell in quotes goes"),
    "a pair over rows without numbers": (
        'key,msisdn,note\nk1,,"a\nk2,,b\nk3,,c"\n',
        "line 2: a cell in quotes goes on to line 4",
    ),
    "two rows without numbers": ('key,msisdn,note\nk1,,"a\nk3,,c"\n', "line 2: a cell in quotes"),
    "in the first column": (
        'note,msisdn\n"a,0639980001\nb",0639980002\n',
        "line 2: a cell in quotes goes on to line 3",
    ),
    "in the middle": (
        'key,note,msisdn\nk1,"a,0639980001\nk2,b",0639980002\n',
        "line 2: a cell in quotes goes on to line 3",
    ),
    "of numbers alone": ('msisdn\n"0639980001\n0639980002"\n', "line 2: a cell in quotes goes on"),
    "beside a quoted cell": (
        '"key","note"\n"k1","stop\n"k2","non"\n',
        "line 2: a quote opens a cell and is closed on line 3",
    ),
    "behind a space": ('key,name\nk1, "Zoé"\n', "line 2: a space precedes the quote"),
    "with text behind": ('key,name\nk1,"Zoé" Durand\n', "line 2: a quote opens a cell, and text"),
    "with a space behind": ('key,name\nk1,"Zoé" \n', "line 2: a quote opens a cell, and text"),
    "escaped by a backslash": ('key,name\nk1,"Zoé \\"Zo\\" D"\n', "line 2: a quote opens a cell, "),
    "in the header": ('"key,msisdn\nk1,0639980001\n', "line 1: the quotes around the columns'"),
    "over the header": ('key,"note\nk1,stop\nk2,"non"\n', "line 1: the quotes around the columns'"),
}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize(("content", "sentence"), STRAY.values(), ids=STRAY.keys())
def test_a_stray_quote_never_swallows_a_row(read, content, sentence, end):
    with pytest.raises(SourceError, match=re.escape(sentence)) as refused:
        read(content.replace("\n", end))

    assert "639980" not in str(refused.value)


def test_an_open_quote_in_the_header_is_refused(read):
    for content in ('key,"note\nk1,stop"\nk2,non\n', 'msisdn,"note\n0639980001,x"\n'):
        with pytest.raises(SourceError, match="line 1: a cell in quotes goes on to line 2"):
            read(content)


NOT_UTF8 = r"2, byte 6: this is not UTF-8.*CSV UTF-8 \(comma delimited\).*--encoding cp1252"
BROKEN = {
    "UTF-16 without a mark": ("key,name\nk1,Zoé\n".encode("utf-16-le"), "it contains zero bytes"),
    "UTF-16 cut short": ("\ufeffkey,name\nk1,Zoé\n".encode("utf-16-le")[:-1], "is not utf-16-le"),
    "a mark alone": ("\ufeff", "line 1: a CSV begins with the names"),
    "cp1252": ("key,name\nk1,Zoé\n".encode("cp1252"), NOT_UTF8),
    "cp1252 behind a CR": ("key,name\rk1,Zoé\r".encode("cp1252"), "line 2, byte 6"),
    "an Excel workbook": (b"PK\x03\x04\x14\x00", "is an Excel workbook"),
    "an old one": (b"\xd0\xcf\x11\xe0\xa1\xb1", "an Excel workbook of before 2007"),
    "packed": (b"\x1f\x8b\x08\x00", "compressed by gzip"),
    "sep= of no delimiter": ("sep=x\nkeyxname\n", "line 1: sep=x is not a supported delimiter"),
    "sep= alone": ("sep=;", "line 2: a CSV begins with the names"),
    "two delimiters": ("key;first,name\n", "line 1: , and ; both divide it into 2 names"),
    "a blank first line": ("\nkey,name\n", "line 1: a CSV begins with the names"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_invalid_csv_is_refused_with_advice(read, content, sentence):
    with pytest.raises(SourceError, match=sentence):
        read(content)


def test_the_encoding_applies_only_to_files_not_in_utf8(read):
    text = "key,name\nk1,Zoé\nk2,Léa\n"
    for encoding in ("cp1252", "mac_roman", "utf-16-le", "cp850"):
        assert read(text.encode(encoding), encoding) == PEOPLE
    assert read(text.encode(), "cp1252") == PEOPLE
    assert read(text.encode("utf-16"), "cp1252") == PEOPLE
    with pytest.raises(SourceError, match="line 3: this is not cp1252"):
        read(text.encode("cp1252").replace(b"L\xe9a", b"L\x81a"), "cp1252")
    names = {"cp1252": "cp1252", "Windows-1252": "cp1252", "latin-1": "iso8859-1"}
    assert {name: csv_files.codec_name(name) for name in names} == names
    assert [csv_files.codec_name(name) for name in ("rot13", "hex", "x", "", "ascii", "a\0b")] == [
        None
    ] * 6


def test_rows_are_found_by_line_number(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text(
        'sep=,\n\nkey,"na\nme"\nk1,a\n\nk2,"b\n\nc"\nk3,d\n'.replace("\n\nkey", "\nkey")
    )
    file = CsvFile.open(path)

    assert [*file.lines([1, 2, 3])] == [4, 6, 9]
    assert [*file.without_header().lines([1, 2])] == [2, 4]


# --- Whatever bytes ----------------------------------------------------------------------------

NUMBERS = [f"06399801{place:02}" for place in range(6)]
QUOTES = st.sampled_from(["", "", "", '"', '""', ' "', '" ', '"x', "é", "\0", "'"])
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])
PLAIN = ("", "", "", "", "\n")
SPOILED = st.lists(st.tuples(QUOTES, QUOTES, QUOTES, QUOTES, ENDS), min_size=6, max_size=6)


@settings(max_examples=150)
@given(SPOILED, st.permutations([0, 1, 2]), st.integers(16, 90), st.booleans())
@example([("", "", '"', "", "\n"), *[PLAIN] * 4, ("", "", "", '"', "\n")], [0, 1, 2], 99, False)
def test_a_quote_never_swallows_another_rows_number(
    tmp_path_factory, spoiled, order, block, headed_in_quotes
):
    names = ["key", "msisdn", "note"]
    header = ",".join(f'"{names[at]}"' if headed_in_quotes else names[at] for at in order)
    text = header + "\n"
    for place, (number, (first, second, third, last, end)) in enumerate(
        zip(NUMBERS, spoiled, strict=True)
    ):
        cells = [f"{first}k{place}", f"{second}{number}", f"{third}stop{last}"]
        text += ",".join(cells[at] for at in order) + end
    path = tmp_path_factory.getbasetemp() / "spoiled.csv"
    path.write_bytes(text.encode())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "BLOCK", max(block, len(header) + 2))
        try:
            rows = [row for batch in CsvFile.open(path).batches() for row in batch.to_pylist()]
        except SourceError:
            return
    assert len(rows) == 6
    for row, number in zip(rows, NUMBERS, strict=True):
        assert row["msisdn"].strip('" ').endswith(number)
        assert not any(
            other in (cell or "") for cell in row.values() for other in {*NUMBERS} - {number}
        )


BITS = st.sampled_from(
    [b'"', b'"', b",", b",", b"\n", b"\n", b"\r\n", b"\r", b"a", b"1", b" ", b"\xc3\xa9"]
)


@settings(max_examples=250)
@given(st.lists(BITS, max_size=40).map(b"".join), st.integers(16, 40))
def test_rows_match_those_of_the_csv_module(tmp_path_factory, content, block):
    """As far as that is strict: it takes a closing quote with text behind it."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"k,n\n" + content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "BLOCK", block)
        try:
            batches = [*CsvFile.open(path).batches()]
        except SourceError:
            return
        rows = pa.Table.from_batches(batches).to_pylist() if batches else []
        lines = [*CsvFile.open(path).lines(range(1, len(rows) + 1))]
    reader = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    assert [[cell or "" for cell in row.values()] for row in rows] == [row for row in reader if row]
    written = re.split("\r\n|\r|\n", f"k,n\n{content.decode()}")
    assert all(written[line - 1] for line in lines)


@settings(max_examples=150)
@given(
    st.binary(max_size=60) | st.text(max_size=40).map(str.encode),
    st.sampled_from([None, "cp1252", "utf-16-le"]),
)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, encoding):
    path = tmp_path_factory.getbasetemp() / "bytes.csv"
    path.write_bytes(content)
    try:
        deep = sum(batch.num_rows for batch in CsvFile.open(path, encoding).batches())
    except SourceError:
        return
    assert deep >= 0


def test_a_pipe_is_refused_without_waiting(tmp_path):
    from sms.audience.table_files import TableFile

    os.mkfifo(tmp_path / "pipe")
    reading, writing = os.pipe()
    try:
        for path in (tmp_path / "pipe", f"/dev/fd/{reading}", "/dev/null"):
            with pytest.raises(SourceError, match="is a pipe or a device, and is read more than"):
                TableFile.open(tmp_path / path)
    finally:
        os.close(reading)
        os.close(writing)

"""The provider's CSV: a written file is read back whole, and every fault is found."""

import csv
import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.errors import ConfigurationError, SourceError
from sms.message.rendering import MESSAGES_SCHEMA
from sms.wire import inspection, send_file
from sms.wire.inspection import FaultCode, Rules
from sms.wire.send_file import Dialect

GOLDEN = Path(__file__).parent.parent / "golden"
NUMBER = 33639980000
GOOD = b"A1;+33639980001;BOUTIQUE;Bonjour\r\n"


FEW = settings(max_examples=60)


def messages(
    *texts: str, numbers: list[int] | None = None, oadc: str = "BOUTIQUE"
) -> pa.RecordBatch:
    count = len(texts)
    columns = {
        "idremote": [f"5c{0x0F + n:02x}" for n in range(count)],
        "msisdn": numbers or [NUMBER + 1 + n for n in range(count)],
        "oadc": [oadc] * count,
        "msg": list(texts),
        "segments": [1] * count,
        "key": [str(n) for n in range(count)],
        "country": ["FR"] * count,
    }
    return pa.RecordBatch.from_pydict(columns, schema=MESSAGES_SCHEMA)


def written(*batches: pa.RecordBatch, dialect: Dialect = Dialect()) -> bytes:  # noqa: B008 (frozen)
    out = io.BytesIO()
    send_file.write(batches, out, dialect)
    return out.getvalue()


def faults(
    content: bytes, dialect: Dialect | None = None, rules: Rules = inspection.STANDARD
) -> list[tuple[int, str]]:
    found = inspection.check(io.BytesIO(content), dialect or Dialect(), rules)
    return [(fault.line, str(fault.code)) for fault in found]


def test_the_bytes_match_the_golden_files():
    plain = messages(
        "Bonjour Zoé, -20 % à Besancon. STOP 36105",
        "Total : 12,50 € [TTC]",
        "Ça va ? ñ Ω ß",
        numbers=[33639980001, 33639980002, 447700900123],
    )
    quoted = messages(
        "Lundi ; mardi", 'Dit "oui"', "deux\nlignes", "CR\r\nLF", "sans rien, d'autre"
    )

    assert written(plain) == (GOLDEN / "plain.csv").read_bytes()
    assert written(quoted) == (GOLDEN / "quoted.csv").read_bytes()
    assert (
        written(messages("Noël à Nîmes"), dialect=Dialect("iso-8859-1"))
        == (GOLDEN / "latin1.csv").read_bytes()
    )


@pytest.mark.parametrize("name", ["plain.csv", "quoted.csv"])
def test_the_golden_files_have_no_fault(name):
    assert faults((GOLDEN / name).read_bytes()) == []


def test_the_written_counts_are_returned():
    out = io.BytesIO()
    told = send_file.write([messages("a", "b"), messages("c")], out, Dialect())

    content = out.getvalue()
    assert told == send_file.WrittenFile(3, len(content), hashlib.sha256(content).hexdigest(), 3)
    assert send_file.write([], io.BytesIO(), Dialect()).rows == 0


def strictly_read(content: bytes, encoding: str = "utf-8") -> list[list[str]]:
    text = io.StringIO(content.decode(encoding), newline="")
    return list(csv.reader(text, delimiter=";", strict=True))


def fields(batch: pa.RecordBatch) -> list[list[str]]:
    return [
        [row["idremote"], f"+{row['msisdn']}", row["oadc"], row["msg"]] for row in batch.to_pylist()
    ]


MESS = (
    st.text(st.sampled_from('ab;"\r\n'), max_size=12)
    | st.text(st.sampled_from('"\r\n;é€😀\x00\t\u2028\x85\ufeff'), max_size=12)
    | st.text(st.characters(codec="utf-8"), max_size=30)
)


@FEW
@given(st.lists(MESS, max_size=12), st.integers(0, 5), st.integers(1, 4))
def test_a_strict_reader_reads_a_written_file(texts, cut, rows_at_once):
    batch = messages(*texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(send_file, "ROWS_AT_ONCE", rows_at_once)
        content = written(batch.slice(0, cut), batch.slice(cut))

    assert strictly_read(content) == fields(batch)
    assert content == written(batch)


@FEW
@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=20), max_size=8))
def test_a_strict_reader_reads_every_supported_encoding(texts):
    batch = messages(*texts)

    assert strictly_read(written(batch, dialect=Dialect("latin-1")), "latin-1") == fields(batch)


@FEW
@given(st.lists(st.tuples(MESS, MESS), max_size=6))
def test_every_field_that_needs_quotes_has_them(pairs):
    batch = messages(*["Bonjour"] * len(pairs))
    for name, place in (("idremote", 0), ("oadc", 1)):
        values = pa.array([pair[place] for pair in pairs], pa.large_string())
        batch = batch.set_column(
            batch.schema.get_field_index(name), batch.schema.field(name), values
        )

    assert strictly_read(written(batch)) == fields(batch)


def long_messages(*segments: int) -> pa.RecordBatch:
    """Messages of as many SMS each."""
    batch = messages(*["a"] * len(segments))
    place = batch.schema.get_field_index("segments")
    field = batch.schema.field(place)
    return batch.set_column(place, field, pa.array(segments, field.type))


def test_a_block_counts_its_rows_and_sms():
    batch = long_messages(1, 3, 5)
    made = send_file.block(batch.slice(1), Dialect())
    nobody = send_file.block(batch.slice(3), Dialect())

    assert (bytes(made.data), made.rows, made.segments) == (written(batch.slice(1)), 2, 8)
    assert (bytes(nobody.data), nobody.rows, nobody.segments) == (b"", 0, 0)


def test_the_counts_of_all_blocks_are_summed(monkeypatch):
    monkeypatch.setattr(send_file, "ROWS_AT_ONCE", 2)
    out = io.BytesIO()
    batches = [long_messages(1, 2, 3), messages(), long_messages(5)]
    told = send_file.write(batches, out, Dialect())

    assert out.getvalue().count(b"\r\n") == 4
    assert (told.rows, told.size_bytes, told.segments) == (4, len(out.getvalue()), 11)
    assert told.sha256 == hashlib.sha256(out.getvalue()).hexdigest()


@FEW
@given(st.lists(st.text(st.sampled_from('ab;"\r\né€,'), min_size=1, max_size=12), max_size=12))
def test_a_written_file_has_no_fault(texts):
    found = faults(written(messages(*texts)))

    assert found == ([] if texts else [(1, FaultCode.EMPTY_FILE)])


@FEW
@given(st.text(st.sampled_from('ab;"\r\n'), max_size=8))
def test_only_a_field_that_needs_quotes_has_them(text):
    field = written(messages(text)).removesuffix(b"\r\n").split(b";", 3)[3]

    assert field.startswith(b'"') == any(special in text for special in ';"\r\n')


@pytest.mark.parametrize("column", ["idremote", "msisdn", "oadc", "msg"])
def test_an_incomplete_message_is_never_omitted_silently(column):
    batch = messages("a", "b")
    place = batch.schema.get_field_index(column)
    nothing = pa.nulls(2, batch.schema.field(place).type)

    with pytest.raises(SourceError, match="lacks"):
        written(batch.set_column(place, column, nothing))


@pytest.mark.parametrize("policy", ["replace", "refuse"])
def test_a_delimiter_is_not_written_where_forbidden(policy):
    with pytest.raises(SourceError, match="delimiter_in_text"):
        written(messages("a;b"), dialect=Dialect(delimiter_in_text=policy))


def test_an_unencodable_character_is_named_without_its_text():
    with pytest.raises(SourceError, match=r"U\+20AC") as raised:
        written(messages("secret €"), dialect=Dialect("iso-8859-1"))

    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-7", "shift_jis", "cp037", "no"])
def test_an_encoding_that_alters_delimiters_is_refused(encoding):
    with pytest.raises(ConfigurationError, match="encod"):
        Dialect(encoding)


@FEW
@given(st.integers(0, 10**8), st.integers(1, 10**7))
def test_parts_are_few_and_balanced(total, maximum):
    if total // maximum > 10_000:
        maximum = total // 10_000 + 1
    sizes = send_file.parts(total, maximum)

    assert sum(sizes) == total
    assert len(sizes) == -(-total // maximum)
    assert max(sizes, default=0) <= maximum
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(
    ("total", "sizes"),
    [
        (0, []),
        (1, [1]),
        (999_999, [999_999]),
        (1_000_000, [1_000_000]),
        (1_000_001, [500_001, 500_000]),
        (2_000_000, [1_000_000, 1_000_000]),
        (2_000_002, [666_668, 666_667, 666_667]),
    ],
)
def test_a_file_holds_at_most_a_million_rows(total, sizes):
    assert send_file.parts(total) == sizes


@pytest.mark.parametrize("maximum", [0, -1])
def test_a_file_without_room_is_refused(maximum):
    with pytest.raises(ConfigurationError, match="room for at least one"):
        send_file.parts(3, maximum)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", [(1, "empty_file")], id="nothing"),
        pytest.param(b"\xef\xbb\xbf" + GOOD, [(1, "bom")], id="a mark"),
        pytest.param(GOOD.replace(b"\r", b""), [(1, "line_end")], id="LF alone"),
        pytest.param(GOOD[:-2], [(1, "line_end")], id="no end of the last line"),
        pytest.param(GOOD[:-1], [(1, "line_end")], id="half an end of the last line"),
        pytest.param(b"A1;+33639980001;S;a\rb\r\n", [(1, "line_end")], id="CR"),
        pytest.param(GOOD + b"\r\n", [(2, "fields")], id="an empty line"),
        pytest.param(b"IDREMOTE;MSISDN;OADC;MSG\r\n" + GOOD, [(1, "msisdn")], id="a header"),
        pytest.param(b"A1;+33639980001;Hello\r\n", [(1, "fields")], id="three fields"),
        pytest.param(b"A1;+33639980001;S;a;b\r\n", [(1, "fields")], id="five fields"),
        pytest.param(b";+33639980001;S;a\r\n", [(1, "idremote")], id="no idremote"),
        pytest.param(b"A-1;+33639980001;S;a\r\n", [(1, "idremote")], id="a hyphen"),
        pytest.param("É1;+33639980001;S;a\r\n".encode(), [(1, "idremote")], id="an accent"),
        pytest.param(b"A" * 40 + b";+33639980001;S;a\r\n", [], id="40 letters"),
        pytest.param(b"A" * 41 + b";+33639980001;S;a\r\n", [(1, "idremote")], id="41 letters"),
        pytest.param(b"A1;33639980001;S;a\r\n", [(1, "msisdn")], id="no plus"),
        pytest.param(b"A1;+0639980001;S;a\r\n", [(1, "msisdn")], id="a leading zero"),
        pytest.param(b"A1;+3363998 0001;S;a\r\n", [(1, "msisdn")], id="a space"),
        pytest.param(b"A1;+1234567;S;a\r\n", [(1, "msisdn")], id="7 digits"),
        pytest.param(b"A1;+1234567890123456;S;a\r\n", [(1, "msisdn")], id="16 digits"),
        pytest.param(b'A1;"+33639980001\n";S;a\r\n', [(1, "msisdn")], id="a line feed after it"),
        pytest.param(
            "A1;+3363998٠٠٠١;S;a\r\n".encode(), [(1, "msisdn")], id="digits of another script"
        ),
        pytest.param(b"A1;+33639980001;;a\r\n", [(1, "oadc")], id="no sender"),
        pytest.param(b"A1;+33639980001;ABCDEFGHIJKL;a\r\n", [(1, "oadc")], id="12 letters"),
        pytest.param(b"A1;+33639980001;La Poste;a\r\n", [(1, "oadc")], id="a space in it"),
        pytest.param("A1;+33639980001;Été;a\r\n".encode(), [(1, "oadc")], id="accents in it"),
        pytest.param(b"A1;+33639980001;S;\r\n", [(1, "empty_text")], id="no text"),
        pytest.param(b'A1;+33639980001;S;""\r\n', [(1, "empty_text")], id="no text in quotes"),
        pytest.param("A1;+33639980001;S;ça\r\n".encode(), [(1, "characters")], id="c cedilla"),
        pytest.param(b"A1;+33639980001;S;a\x00\r\n", [(1, "characters")], id="NUL"),
        pytest.param(b"A1;+33639980001;S;\xe9\r\n", [(1, "encoding")], id="latin-1"),
        pytest.param(b"A1;+33639980001;S;\xed\xa0\x80\r\n", [(1, "encoding")], id="a surrogate"),
        pytest.param(
            f"A1;+33639980001;S;{'a' * 159}€\r\n".encode(), [(1, "too_long")], id="161 septets"
        ),
        pytest.param(
            b'A1;+33639980001;S;"' + b'""' * 160 + b'"\r\n', [], id="160 double quotes"
        ),
        pytest.param(
            b'A1;+33639980001;S;"' + b'""' * 161 + b'"\r\n', [(1, "too_long")], id="161 of them"
        ),
        pytest.param(
            GOOD + b"a1;+33639980002;S;a\r\n" + b'"A1";"+33639980002";"S";"a"\r\n',
            [(3, "idremote_duplicate"), (3, "msisdn_duplicate")],
            id="duplicates, one in quotes",
        ),
        pytest.param(b'A1;+33639980001;S;a"b\r\n' + GOOD, [(1, "quoting")], id="a bare quote"),
        pytest.param(b'A1;+33639980001;S;"a"b\r\n' + GOOD, [(1, "quoting")], id="text after it"),
        pytest.param(
            b'A1;+33639980001;S;"a\r\nA2;+33639980002;S;b\r\nA3;33;S;c\r\n',
            [(1, "quoting"), (3, "msisdn")],
            id="a quote never closed",
        ),
        pytest.param(
            b'A1;+33639980001;S;"a\r\nb\r\nc"\r\nA2;33;S;c\r\n', [(4, "msisdn")], id="line breaks"
        ),
    ],
)  # fmt: skip
def test_each_fault_is_found_on_its_line(content, expected):
    assert faults(content) == expected


def test_every_fault_is_found_across_blocks(monkeypatch):
    monkeypatch.setattr(inspection, "_BLOCK", 101)
    rows = [f'A{n};+{NUMBER + n};S;"l\'été ; {n}\r\n"\r\n' for n in range(300)]
    rows[30] = rows[31]
    rows[200] = f'A200;+{NUMBER + 200};S;x"y\r\n\r\n'  # two lines, as the others have
    rows[299] = rows[299].replace("é", "ê")

    assert faults("".join(rows).encode()) == [
        (63, "idremote_duplicate"),
        (63, "msisdn_duplicate"),
        (401, "quoting"),
        (402, "fields"),
        (599, "characters"),
    ]  # fmt: skip


def test_a_file_with_one_excess_row_is_refused():
    rows = [b"A%d;+336399800%02d;S;a\r\n" % (n, n) for n in range(4)]

    assert faults(b"".join(rows), rules=Rules(maximum_rows=3)) == [(4, "too_many_rows")]
    assert faults(b"".join(rows[:3]), rules=Rules(maximum_rows=3)) == []


def test_a_hopeless_file_is_not_read_to_its_end():
    found = faults(b"no row\r\n" * 50, rules=Rules(maximum_faults=10))

    assert len(found) == 11
    assert found[-1] == (11, "too_many_faults")


def test_the_accounts_options_widen_the_rules():
    long = f"A1;+33639980001;S;{'a' * 300}\r\n".encode()
    foreign = "A1;+33639980001;S;ça 中\r\n".encode()

    assert faults(long, rules=Rules(long_sms=True)) == []
    assert faults(foreign, rules=Rules(unicode=True)) == []
    assert faults(b"A1;+33639980001;;a\r\n", rules=Rules(empty_oadc=True)) == []
    assert faults(f"A1;+33639980001;S;{'中' * 71}\r\n".encode(), rules=Rules(unicode=True)) == [
        (1, "too_long")
    ]


def test_no_quotes_are_written_where_forbidden():
    content = b'A1;+33639980001;S;"a;b"\r\n'

    assert faults(content, Dialect(delimiter_in_text="refuse")) == [(1, "delimiter")]


def test_a_file_in_another_encoding_is_read_in_it():
    content = "A1;+33639980001;S;été\r\n".encode("iso-8859-1")

    assert faults(content, Dialect("iso-8859-1")) == []
    assert faults(content, Dialect("ascii")) == [(1, "encoding")]


def test_a_fault_contains_neither_number_nor_text():
    for fault in inspection.check(io.BytesIO(b"A1;12345;S;secret\xff\r\n"), Dialect()):
        assert "12345" not in repr(fault) + fault.sentence
        assert "secret" not in repr(fault) + fault.sentence

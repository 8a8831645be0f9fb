"""The inspection of a send file, against a slow reader of the provider's page.

Files are written, then spoilt in every way that an editor, a transfer or a colleague can.
"""

import io
import random
import re
from collections.abc import Iterator
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.message.rendering import MESSAGES_SCHEMA
from sms.wire import inspection, send_file
from sms.wire.inspection import FaultCode, Rules
from sms.wire.send_file import Dialect

NUMBER = 33639980000
UTF8 = Dialect()
LATIN1 = Dialect("iso-8859-1")
UNQUOTED = Dialect(delimiter_in_text="refuse")
DIALECTS = [UTF8, LATIN1, UNQUOTED, Dialect("cp1252"), Dialect("ascii")]
RULES = [
    Rules(),
    Rules(long_sms=True),
    Rules(unicode=True),
    Rules(long_sms=True, unicode=True, empty_oadc=True),
]
BLOCKS = [1, 7, 64, 257, inspection._BLOCK]
MANY = settings(max_examples=150)

# --- The page, read slowly -----------------------------------------------------------------------

# 3GPP TS 23.038, but for the small c cedilla (R22); the page counts the second line double (R19).
ONCE = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
TWICE = "€[]{}^\\~|"

Found = set[tuple[int, str]]
Field = tuple[str, bool]  # its text, and whether it stood in quotes


def record(text: str, at: int) -> tuple[list[Field], int, list[int]] | None:
    """A record's fields, where the next one begins, where lines end badly; None: broken quotes."""
    fields: list[Field] = []
    bad: list[int] = []
    while True:
        if text.startswith('"', at):
            quoted = re.compile(r'"((?:[^"]|"")*)"(?=;|\r?\n)').match(text, at)
            if not quoted:
                return None
            fields.append((quoted[1].replace('""', '"'), True))
            at = quoted.end()
        else:
            end = min(place for sign in ";\n" if (place := text.find(sign, at)) >= 0)
            if text[end] == "\n" and text[at:end].endswith("\r"):
                end -= 1
            if '"' in text[at:end]:
                return None
            bad += [place for place in range(at, end) if text[place] == "\r"]
            fields.append((text[at:end], False))
            at = end
        if text[at] != ";":
            break
        at += 1
    if text[at] == "\r":
        return fields, at + 2, bad
    return fields, at + 1, [*bad, at]


def slowly(content: bytes, dialect: Dialect = UTF8, rules: Rules = inspection.STANDARD) -> Found:
    """Every fault of a file, as a patient reader of the page would note them."""
    found: Found = set()
    if content.startswith(b"\xef\xbb\xbf"):
        found.add((1, "bom"))
        content = content[3:]
    if not content:
        return found | {(1, "empty_file")}
    if not content.endswith(b"\n"):
        found.add((content.count(b"\n") + 1, "line_end"))
        content = content.removesuffix(b"\r") + b"\r\n"
    lines = [each.decode(dialect.encoding, "surrogateescape") for each in content.split(b"\n")]
    found |= {(n, "encoding") for n, line in enumerate(lines, start=1) if undecodable(line)}
    text = "\n".join(lines)
    at = rows = 0
    seen: set[tuple[str, str]] = set()
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        rows += 1
        if rows == rules.maximum_rows + 1:
            found.add((line, "too_many_rows"))
        read = record(text, at)
        if read is None:
            found.add((line, "quoting"))
            at = text.index("\n", at) + 1
            continue
        fields, at, bad = read
        found |= {(text.count("\n", 0, place) + 1, "line_end") for place in bad}
        found |= {(line, code) for code in of_fields(fields, dialect, rules, seen)}
    return found


def undecodable(line: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in line)


def of_fields(
    fields: list[Field], dialect: Dialect, rules: Rules, seen: set[tuple[str, str]]
) -> Iterator[str]:
    if len(fields) != 4:
        yield "fields"
        return
    if dialect.delimiter_in_text != "quote" and any(quoted for _, quoted in fields):
        yield "delimiter"
    idremote, msisdn, oadc, msg = (text for text, _ in fields)
    if not re.fullmatch("[A-Za-z0-9]{1,40}", idremote):
        yield "idremote"
    if not re.fullmatch(r"\+[1-9][0-9]{7,14}", msisdn):
        yield "msisdn"
    if not re.fullmatch("[A-Za-z0-9]{1,11}", oadc) and (oadc or not rules.empty_oadc):
        yield "oadc"
    for field in (("idremote", idremote), ("msisdn", msisdn)):
        if field[1] and field in seen:  # what is empty has its fault already
            yield f"{field[0]}_duplicate"
        seen.add(field)
    yield from of_text(msg, rules)


def of_text(msg: str, rules: Rules) -> Iterator[str]:
    msg = re.sub("[\udc80-\udcff]", "?", msg)  # told as undecodable; each takes one place
    foreign = any(character not in ONCE + TWICE for character in msg)
    if not msg:
        yield "empty_text"
    if foreign and not rules.unicode:
        yield "characters"
    if parts(msg, unicode=rules.unicode) > (5 if rules.long_sms else 1):
        yield "too_long"


def parts(msg: str, *, unicode: bool) -> int:
    """How many SMS a text is; a character of two places is never cut in two."""
    sizes = [1 + (ord(each) > 0xFFFF if unicode else each in TWICE) for each in msg]
    single, part = (70, 67) if unicode else (160, 153)
    if sum(sizes) <= single:
        return 1
    count, room = 1, part
    for size in sizes:
        if size > room:
            count, room = count + 1, part
        room -= size
    return count


# --- Files, and what happens to them -------------------------------------------------------------

MESS = st.text(st.sampled_from('abc ;"\r\né€^Ø'), min_size=1, max_size=20)
ANY = st.text(st.sampled_from('ab;"\r\néçœ€中😀\x00\x1b\ufffd\ufeff\x85\u2028'), max_size=20)
LONG = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "é", "€", '"', "ç"]),
    st.sampled_from([66, 69, 70, 71, 158, 159, 160, 161, 5 * 67 - 1, 5 * 153 - 1, 5 * 153]).map(
        lambda size: "a" * size
    ),
    st.sampled_from(["", "b", "€", "\n", "中"]),
)
TEXTS = st.lists(MESS | MESS | st.just("Bonjour") | ANY | LONG, max_size=9)

SCRAPS = [
    *(b"\r", b"\n", b"\r\n", b"\n\r", b";", b";;", b'"', b'""', b'";"', b';"', b'"\r\n', b'"\r'),
    *(b"\x00", b"\xff", b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x85", b"\x1a"),
    *(b"+", b"0", b" ", b"-", b"A" * 40, b"7" * 15, b"a" * 160, b"IDREMOTE;MSISDN;OADC;MSG\r\n"),
    *("é€ç中😀٣\u2028\ufffd".encode(), "ç".encode(), "\ufffd".encode(), "中".encode()),
]  # fmt: skip


def written(texts: list[str], dialect: Dialect = UTF8) -> bytes:
    """A file of these texts in the way of the product; what the dialect lacks, it leaves out."""
    if dialect.delimiter_in_text != "quote":
        texts = [re.sub('[;"\r\n]', "", text) for text in texts]
    texts = [text.encode(dialect.encoding, "ignore").decode(dialect.encoding) for text in texts]
    count = len(texts)
    columns = {
        "idremote": [f"{0x5C00 + 7919 * n:x}" for n in range(count)],
        "msisdn": [NUMBER + 1 + n for n in range(count)],
        "oadc": ["BOUTIQUE"] * count,
        "msg": texts,
        "segments": [1] * count,
        "key": [str(n) for n in range(count)],
        "country": ["FR"] * count,
    }
    out = io.BytesIO()
    batch = pa.RecordBatch.from_pydict(columns, schema=MESSAGES_SCHEMA)
    send_file.write([batch.slice(0, 3), batch.slice(3)], out, dialect)
    return out.getvalue()


def spoilt(content: bytes, chance: random.Random) -> bytes:
    """The file after one mishap."""
    lines = content.splitlines(keepends=True)
    at = chance.randint(0, len(content))
    size = chance.choice([1, 1, 1, 2, 3, 12, 40])
    match chance.randrange(11):
        case 0:
            return content[:at] + content[at + size :]
        case 1 | 2 | 3:
            return content[:at] + chance.choice(SCRAPS) + content[at:]
        case 4:
            return content[:at] + chance.choice(SCRAPS) + content[at + size :]
        case 5:
            flipped = bytes([content[at] ^ 1 << chance.randrange(8)]) if at < len(content) else b""
            return content[:at] + flipped + content[at + 1 :]
        case 6 if lines:
            line = chance.randrange(len(lines))
            return b"".join([*lines[: line + 1], *lines[chance.randrange(len(lines)) :]])
        case 7 if lines:
            chance.shuffle(lines)
            return b"".join(lines)
        case 8:
            return content[:at] if chance.random() < 0.3 else content[: -chance.choice([1, 2])]
        case 9 if lines:
            line = chance.randrange(len(lines))
            fields = lines[line].split(b";")
            fields[chance.randrange(len(fields))] = chance.choice(
                [b"", b'""', b"0", b"+33639980001"]
            )
            return b"".join([*lines[:line], b";".join(fields), *lines[line + 1 :]])
        case 10:
            return chance.choice(SCRAPS) + content
        case _:
            return content + chance.choice(SCRAPS)


def judged(
    content: bytes, block: int, dialect: Dialect = UTF8, rules: Rules = inspection.STANDARD
) -> list[tuple[int, str]]:
    """What the product finds, reading so many bytes at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_BLOCK", block)
        found = inspection.check(io.BytesIO(content), dialect, rules)
    told = [(fault.line, str(fault.code)) for fault in found]
    assert told == sorted(set(told))
    return told


# --- What is promised ----------------------------------------------------------------------------

FILES = {
    "texts": TEXTS,
    "block": st.sampled_from(BLOCKS),
    "dialect": st.sampled_from(DIALECTS),
    "rules": st.sampled_from(RULES),
}
MISHAPS = {"mishaps": st.sampled_from([1, 1, 1, 2, 3, 6]), "seed": st.integers(0, 2**32)}


def mishandled(texts: list[str], dialect: Dialect, mishaps: int, seed: int) -> bytes:
    chance, content = random.Random(seed), written(texts, dialect)
    for _ in range(mishaps):
        content = spoilt(content, chance)
    return content


@MANY
@given(**FILES)
def test_only_the_texts_of_a_written_file_can_fail(texts, block, dialect, rules):
    content = written(texts, dialect)
    found = judged(content, block, dialect, rules)

    assert found == sorted(slowly(content, dialect, rules))
    assert {code for _, code in found} <= {"empty_file", "empty_text", "characters", "too_long"}


@MANY
@given(**FILES, **MISHAPS)
def test_every_damage_to_a_file_is_found(texts, block, dialect, rules, mishaps, seed):
    content = mishandled(texts, dialect, mishaps, seed)

    assert judged(content, block, dialect, rules) == sorted(slowly(content, dialect, rules))


# Lines that look usual, so that most pieces are judged whole; some texts are at a limit.
USUAL = ["Bonjour", "l'été ? 12,50", "a" * 160, "a" * 158 + "€", "a" * 161, "é^€", "ça", "中", "b"]
UNUSUAL = ["a;b", '"oui"', "deux\nlignes", 'CR\r\n"', '"' * 160]


@pytest.mark.parametrize("block", BLOCKS)
def test_damage_to_one_line_of_many_is_found(block):
    for seed in range(150):
        chance = random.Random(seed)
        texts = chance.choices(USUAL, k=chance.randrange(30))
        texts += chance.choices(UNUSUAL, k=chance.randrange(3))
        content = mishandled(texts, UTF8, chance.randrange(3), seed)

        assert judged(content, block) == sorted(slowly(content)), (seed, content)


@MANY
@given(**FILES, **MISHAPS, most=st.integers(1, 6))
def test_of_too_many_faults_only_the_first_are_reported(
    texts, block, dialect, rules, mishaps, seed, most
):
    content = mishandled(texts, dialect, mishaps, seed)
    every = sorted(slowly(content, dialect, rules))
    wanted = every[:most] + [(line, "too_many_faults") for line, _ in every[most : most + 1]]

    assert judged(content, block, dialect, replace(rules, maximum_faults=most)) == wanted


@MANY
@given(**FILES, **MISHAPS, most=st.integers(1, 6))
def test_every_fault_before_the_excess_row_is_reported(
    texts, block, dialect, rules, mishaps, seed, most
):
    content = mishandled(texts, dialect, mishaps, seed)
    rules = replace(rules, maximum_rows=most)
    every = slowly(content, dialect, rules)
    found = set(judged(content, block, dialect, rules))

    last = min((line for line, code in every if code == "too_many_rows"), default=len(content))
    before = {(line, code) for line, code in every if line < last or code == "too_many_rows"}
    assert before <= found <= every


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"\xef\xbb\xbf", [(1, "bom"), (1, "empty_file")], id="a mark alone"),
        pytest.param(b"A1;+33639980001;S;\r", [(1, "empty_text"), (1, "line_end")], id="half end"),
        pytest.param(b'A1;+33639980001;S;"a\r\nb"', [(2, "line_end")], id="no end, second line"),
        pytest.param(b'A1;+33639980001;S;"a\nb"\n', [(2, "line_end")], id="LF, second line"),
        pytest.param(
            b'A1;+33639980001;"\r\n";a\rb\r\n', [(1, "oadc"), (2, "line_end")], id="CR, 2nd line"
        ),
        pytest.param(b'A1;+33639980001;S;"a"\rb\r\n', [(1, "quoting")], id="CR after a quote"),
        pytest.param(b'A1;+33639980001;S;"a"\r\r\n', [(1, "quoting")], id="CR after it, and CRLF"),
        pytest.param(b'A1;+33639980001;S;"a\r\n\xe9"\r\n', [(2, "encoding")], id="2nd undecodable"),
        pytest.param(
            "A1;+33639980001;S;ç".encode() + b"\xe9\r\n",
            [(1, "characters"), (1, "encoding")],
            id="undecodable beside foreign",
        ),
        pytest.param("A1;+33639980001;S;\ufffd\r\n".encode(), [(1, "characters")], id="U+FFFD"),
        pytest.param(
            b"A1;+33639980001;S;" + b"a" * 159 + b"\xe9\r\n", [(1, "encoding")], id="160 with it"
        ),
        pytest.param(
            b"A1;+33639980001;S;\r\nA2;+33639980002;S;a;\r\nA3;+33639980003;a\r\n",
            [(1, "empty_text"), (2, "fields"), (3, "fields")],
            id="a delimiter too many, then one too few",
        ),
        pytest.param(
            b"A1;+33639980001;a\r\nA2;+33639980002;S;a;\r\n",
            [(1, "fields"), (2, "fields")],
            id="a delimiter too few, then one too many",
        ),
        pytest.param(
            b"A1;+33639980001;S;a\rb\nA2;+33639980002;S;a\r\n",
            [(1, "line_end")],
            id="as many CR as LF, but not together",
        ),
        pytest.param(b"A1;+336399800010000;S;a\r\n", [], id="15 digits"),
        pytest.param(b"A1;+33639980;S;a\r\n", [], id="8 digits"),
        pytest.param(b"A1;+33639980001;ABCDEFGHIJK;a\r\n", [], id="11 letters"),
        pytest.param(b";;;\r\n;;;\r\n", [
            (line, code) for line in (1, 2) for code in ("empty_text", "idremote", "msisdn", "oadc")
        ], id="nothing twice is no duplicate"),
        pytest.param(
            b"x\r\n" + b"A1;+33639980001;S;a\r\n" * 2,
            [(1, "fields"), (3, "idremote_duplicate"), (3, "msisdn_duplicate")],
            id="twice the same line",
        ),
    ],
)  # fmt: skip
def test_every_damage_is_reported_by_name_and_line(content, expected, block):
    assert judged(content, block) == expected
    assert slowly(content) == set(expected)


@pytest.mark.parametrize("block", [257, inspection._BLOCK])
def test_an_unclosed_quote_hides_no_later_fault(block):
    """Even in a file that is longer than any record can be."""
    rows = [f"A{n};+{NUMBER + n};S;Bonjour, il est tard\r\n" for n in range(5_000)]
    rows[2] = f'A2;+{NUMBER + 2};S;"Bonjour\r\n'
    rows[4_000] = "A4000;0639984000;S;a\r\n"
    rows[4_999] = rows[7]

    assert judged("".join(rows).encode(), block) == [
        (3, "quoting"),
        (4_001, "msisdn"),
        (5_000, "idremote_duplicate"),
        (5_000, "msisdn_duplicate"),
    ]


def test_a_text_longer_than_any_message_is_a_fault():
    for size in (161, 40_000, 70_000, 200_000):
        content = b'A1;+33639980001;S;"%s"\r\nA2;33;S;b\r\n' % (b"a\r\n" * size)
        found = judged(content, inspection._BLOCK, rules=Rules(maximum_faults=10**6))

        assert {1, 2 + size} <= {line for line, _ in found}


def test_an_unclosed_quote_is_abandoned_early():
    """What closes it after 64 KB comes too late: no whole file is held in memory."""
    content = b'A1;+33639980001;S;"%s"\r\n' % (b"a\r\n" * 40_000)

    assert judged(content, 257)[:2] == [(1, "quoting"), (2, "fields")]


def test_the_maximum_number_of_faults_is_reported_exactly():
    content = b"no row\r\n" * 3

    assert judged(content, 64, rules=Rules(maximum_faults=3)) == [(n, "fields") for n in (1, 2, 3)]
    assert judged(content, 64, rules=Rules(maximum_faults=2)) == [
        (1, "fields"),
        (2, "fields"),
        (3, "too_many_faults"),
    ]


def test_a_hopeless_file_is_not_read_to_its_end():
    source = io.BytesIO(b"no row\r\n" * 5_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_BLOCK", 64)
        inspection.check(source, UTF8, Rules(maximum_faults=10))

    assert source.tell() < 1_000


def test_a_file_with_excess_rows_is_not_read_whole():
    source = io.BytesIO(b"".join(b"A%d;+33639980001;S;a\r\n" % n for n in range(5_000)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inspection, "_BLOCK", 64)
        inspection.check(source, UTF8, Rules(maximum_rows=10))

    assert source.tell() < 2_000


@pytest.mark.parametrize("texts", [USUAL * 3, USUAL + UNUSUAL, []], ids=["usual", "mixed", "none"])
def test_the_fast_check_and_the_record_reader_agree(monkeypatch, texts):
    contents = [mishandled(texts, UTF8, seed % 3, seed) for seed in range(40)]
    both = [judged(content, 257) for content in contents]
    monkeypatch.setattr(inspection._Piece, "of", lambda data, *rules: inspection._Piece(data))

    assert [judged(content, 257) for content in contents] == both


def test_an_ordinary_file_needs_no_record_reader(monkeypatch):
    monkeypatch.setattr(inspection._Reader, "_records", None)

    assert judged(written(["Bonjour", 'Dit "oui" ; là'] * 50), 257) == []

    monkeypatch.setattr(inspection, "_scan", None)

    assert judged(written(["Bonjour"] * 50), 257) == []


@pytest.mark.parametrize("code", list(FaultCode))
def test_every_fault_has_a_sentence(code):
    assert code.sentence[0].islower()

"""A report's bytes into rows of fields, whatever its quotes and line ends, in bounded memory.

What belongs here: where a row begins and ends, and the spelling of single fields. What doesn't:
what the fields mean (`reports`).

A file is read in blocks of `BLOCK` bytes; no row is longer than `LONGEST_ROW`. Whether a row is
whole depends only on lines that are whole themselves, so a file that grows is never read
differently from how it was read before.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import pyarrow as pa

from sms.telecom.msisdn import OVERSEAS_BLOCKS, normalise

# Whether some fields are a row without any doubt.
Whole = Callable[[Sequence[bytes]], bool]

BLOCK = 1 << 20  # bytes: of larger ones nothing is read quicker
LONGEST_ROW = 64 << 10  # bytes: five SMS in UTF-8 have less than 4 KiB
MOST_LINES = 100  # of one row, by line breaks in its text
PORTION = 10_000  # lines that are read row by row before anybody may give up; more than MOST_LINES

# Takes whole lines, the number of the first one and whether the file ends here; returns how many
# bytes and lines it took: fewer than all if a row may go on in the next block.
Take = Callable[[bytes, int, bool], tuple[int, int]]


@dataclass(slots=True)
class Walk:
    """The way through a file: each step hands whole lines to `take`.

    `size` and `lines` tell what was read before of a file that goes on; at its end, `size` tells
    how many bytes were read, and `torn` if a torn tail was left out.
    """

    source: BinaryIO
    take: Take
    grows: bool
    size: int = 0
    lines: int = 0
    torn: bool = False

    def __iter__(self) -> Iterator[None]:
        rest, line, size, cut_away = b"", self.lines + 1, self.size, 0
        while block := self.source.read(BLOCK):
            size += len(block)
            if b"\n" in block:
                cut_away = 0
            rest += block
            whole = rest.rfind(b"\n") + 1
            if whole:
                taken, lines = self.take(rest[:whole], line, False)
                line += lines
                rest = rest[taken:]
                whole -= taken
            # A line beyond all measure is not kept, only that it is one.
            kept = rest[: whole + LONGEST_ROW + 1]
            cut_away += len(rest) - len(kept)
            rest = kept
            yield
        if self.grows:
            self.size, self.torn = size - len(rest) - cut_away, bool(rest)
            return
        if rest:
            self.take(rest if rest.endswith(b"\n") else rest + b"\n", line, True)
        self.size = size
        yield


_OPENING = re.compile(rb'[ \t]*"')
_QUOTE = re.compile(rb'""|(?P<closing>"[ \t\r]*(?=;|\Z))')
_CLOSING = re.compile(rb'"[ \t\r]*(?=;|\Z)')
# Blanks stand in one place of it only: a line of them would be tried in every way to share them.
NUMBER = rb'[ \t]*(?:"[ \t]*)?(?:\+|00?)?[1-9][\d ]{6,20}"?[ \t]*;'
DELIVERY_BEGINS = re.compile(rb"[^;]{0,60};" + NUMBER)
# Whatever may be a number begins a row, however its date and hour are written: a STOP in a text
# that nobody closes would be lost, and a text that is cut before a number costs nobody anything.
REPLY_BEGINS = re.compile(rb"[ \t]*(?:\"[ \t]*)?'?(?:\+|00?)?[(1-9][\d .()/-]{6,28}\"?[ \t]*;")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A row's fields, with quotes undone and spaces left, or why it has none."""

    line: int
    fields: Sequence[bytes] = ()
    fault: str = ""
    lines: int = 1  # how many it takes, by line breaks in its text


def rows_of(
    lines: Sequence[bytes],
    first: int,
    begins: re.Pattern[bytes],
    ends: bool,
    whole: Whole | None = None,
) -> tuple[list[ReportRow], int]:
    """The rows that begin in `lines`, blank ones left out, and how many lines they take.

    `ends` says that no row goes on behind the last line. `whole` tells of some fields whether they
    are a row without any doubt: then RFC 4180 has the word, whatever a line within looks like.
    """
    found: list[ReportRow] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        fields, count = _row_at(at, lines, begins, ends, whole)
        upto = at + count
        if fields is not None:
            found.append(_sound(first + at, fields, lines[at], count))
        elif upto < len(lines) or count == MOST_LINES or ends:
            found += [_literal(first + i, lines[i]) for i in range(at, upto)]
        else:
            break
        at = upto
    return [row for row in found if row.fault or any(cell.strip() for cell in row.fields)], at


def portions(
    lines: Sequence[bytes],
    first: int,
    begins: re.Pattern[bytes],
    ends: bool,
    whole: Whole | None = None,
) -> Iterator[tuple[list[ReportRow], int]]:
    """`rows_of` a portion of the lines after the other, with how many lines are taken by then.

    A block may hold a million lines that are no row: whoever draws them can give up before.
    """
    at = 0
    while at < len(lines):
        some = lines[at : at + PORTION]
        is_last = at + len(some) == len(lines)
        rows, count = rows_of(some, first + at, begins, ends and is_last, whole)
        at += count
        yield rows, at
        if is_last:
            return


def _row_at(
    at: int,
    lines: Sequence[bytes],
    begins: re.Pattern[bytes],
    ends: bool,
    whole: Whole | None,
) -> tuple[list[bytes] | None, int]:
    """The fields of the row that begins at a line, None if a quote stays open; its lines."""
    text = lines[at]
    if whole is not None:
        strict, count = row_by_rfc(lines.__getitem__, at, len(lines), whole)
        if strict is not None or (count and not ends):
            return strict, count
    fields = [] if len(text) > LONGEST_ROW else _split(text)
    upto = at + 1
    while fields is None and upto < len(lines) and upto - at < MOST_LINES:
        following = lines[upto]
        if len(text) + len(following) >= LONGEST_ROW or begins.match(following):
            break
        text += b"\n" + following
        upto += 1
        if _QUOTE.search(following):
            fields = _split(text)
    return fields, upto - at


def row_by_rfc(
    line: Callable[[int], bytes], at: int, end: int, whole: Whole
) -> tuple[list[bytes] | None, int]:
    """The fields of the whole row of several lines that begins at one, and how many it takes.

    No fields and no lines where there is none; no fields, and all lines up to `end`, where that is
    not known before more lines are read.
    """
    text = line(at)
    if text.count(b'"') % 2 == 0 or len(text) > LONGEST_ROW:
        return None, 0
    upto = at + 1
    while (fields := _strictly_split(text)) is None:
        if upto == end:
            return None, end - at
        while True:
            following = line(upto)
            if len(text) + len(following) >= LONGEST_ROW or upto - at == MOST_LINES:
                return None, 0
            text += b"\n" + following
            upto += 1
            if b'"' in following or upto == end:
                break
    return (fields, upto - at) if fields and whole(fields) else (None, 0)


def _strictly_split(text: bytes) -> list[bytes] | None:
    """The fields of a row by RFC 4180 alone: none where it says otherwise; None if it stays open.

    In a quoted field all quotes are doubled, and in others there are none.
    """
    fields: list[bytes] = []
    at = 0
    while at <= len(text):
        opening = _OPENING.match(text, at)
        if not opening:
            end = text.find(b";", at)
            end = len(text) if end < 0 else end
            if b'"' in text[at:end]:
                return []
            fields.append(text[at:end])
            at = end + 1
            continue
        begin = quote = opening.end()
        while (quote := text.find(b'"', quote)) >= 0 and text[quote + 1 : quote + 2] == b'"':
            quote += 2
        if quote < 0:
            return None
        closing = _CLOSING.match(text, quote)
        if not closing:
            return []
        fields.append(text[begin:quote].replace(b'""', b'"'))
        at = closing.end() + 1
    return fields


def _split(text: bytes) -> list[bytes] | None:
    """The fields of a row by RFC 4180, bare quotes allowed; None if a quoted field stays open."""
    if b'"' not in text:
        return text.split(b";")
    fields: list[bytes] = []
    at = 0
    while at <= len(text):
        opening = _OPENING.match(text, at)
        if opening:
            begin = opening.end()
            closing = next((m for m in _QUOTE.finditer(text, begin) if m["closing"]), None)
            if closing is None:
                return None
            fields.append(text[begin : closing.start()].replace(b'""', b'"'))
            at = closing.end()
        else:
            end = text.find(b";", at)
            end = len(text) if end < 0 else end
            fields.append(text[at:end])
            at = end
        at += 1
    return fields


def _literal(number: int, line: bytes) -> ReportRow:
    """A line whose quotes make no sense: they are characters like others."""
    return _sound(number, line.split(b";"), line)


def _sound(number: int, fields: Sequence[bytes], line: bytes, lines: int = 1) -> ReportRow:
    if len(line) > LONGEST_ROW:
        return ReportRow(number, fault=f"is longer than {LONGEST_ROW >> 10} KiB", lines=lines)
    if any(b"\0" in cell for cell in fields):
        return ReportRow(number, fault="holds zero bytes", lines=lines)
    return ReportRow(number, fields, lines=lines)


def bare(cell: bytes) -> bytes:
    """A field without the spaces around it (R30), and without quotes that were left over."""
    return cell.strip().strip(b'"').strip()


_BLOCKS = "|".join(map(str, OVERSEAS_BLOCKS))
# Nobody in France has these; of the block that is kept for fiction, somebody in a test.
METROPOLITAN = re.compile(rf"33(?:63998\d{{4}}|(?!{_BLOCKS})[67]\d{{8}})")


@lru_cache(maxsize=65_536)
def number(cell: bytes) -> int | None:
    """An MSISDN as an integer, in every spelling that screening reads: a STOP must not be lost.

    Beyond those, whatever is international: with `+` or `00`, or by ten digits and more. An
    overseas number that is written with +33 is the overseas one: nobody has the other.
    """
    text = bare(cell).decode("utf-8", "replace").lstrip("'").replace(" ", "").replace("\xa0", "")
    explicit = re.fullmatch(r"(?:\+|00)([1-9]\d{6,14})", text)
    if explicit and METROPOLITAN.fullmatch(explicit[1]):
        return int(explicit[1])  # nearly all: no need to ask
    text = re.sub(r"\.0+$", "", text)  # a spreadsheet's float
    known = int(normalise(pa.array([text])).msisdn[0])
    overseas = re.fullmatch(rf"(?:\+|00)?330?((?:{_BLOCKS})\d{{6}})", text)
    if overseas and not known:
        known = int(normalise(pa.array([f"0{overseas[1]}"])).msisdn[0])
    if known or explicit:
        return known or int(text.lstrip("+0"))
    return int(text) if re.fullmatch(r"[1-9]\d{9,14}", text) else None

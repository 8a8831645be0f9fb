"""Rows and fields of a report's bytes, with any quotes and line ends, in bounded memory.

This module finds where rows begin and end, and reads single fields. `reports` has their meaning.

A file is read in blocks of `BLOCK` bytes; no row is longer than `LONGEST_ROW`. Only complete lines
decide whether a row is complete, so that a file that grows is read the same way each time.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import pyarrow as pa

from sms.telecom.msisdn import OVERSEAS_BLOCKS, normalise

# Whether some fields are certainly a complete row.
Whole = Callable[[Sequence[bytes]], bool]

BLOCK = 1 << 20  # bytes; larger blocks are not faster
LONGEST_ROW = 64 << 10  # bytes: five SMS in UTF-8 have less than 4 KiB
MOST_LINES = 100  # of one row, with line breaks in its text
PORTION = 10_000  # lines per step, so that the caller can stop early; more than MOST_LINES

# Takes whole lines, the number of the first one, and whether the file ends here. Returns the bytes
# and lines that it read: fewer than all if a row may continue in the next block.
Take = Callable[[bytes, int, bool], tuple[int, int]]


@dataclass(slots=True)
class Walk:
    """The reading of a file: each step passes whole lines to `take`.

    `size` and `lines` are what was read earlier of a file that grows. At the end, `size` is the
    number of bytes read, and `torn` whether a torn tail was left out.
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
            # Of a line that is too long only the beginning is kept.
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
# Blanks are allowed in one place only: else a line of blanks would be tried in every split.
NUMBER = rb'[ \t]*(?:"[ \t]*)?(?:\+|00?)?[1-9][\d ]{6,20}"?[ \t]*;'
DELIVERY_BEGINS = re.compile(rb"[^;]{0,60};" + NUMBER)
# Anything like a number begins a row, with any date and hour: a STOP inside an unclosed text would
# be lost, while a text that is cut before a number does no harm.
REPLY_BEGINS = re.compile(rb"[ \t]*(?:\"[ \t]*)?'?(?:\+|00?)?[(1-9][\d .()/-]{6,28}\"?[ \t]*;")


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A row's fields, unquoted, with their spaces; or its fault."""

    line: int
    fields: Sequence[bytes] = ()
    fault: str = ""
    lines: int = 1  # with line breaks in its text


def rows_of(
    lines: Sequence[bytes],
    first: int,
    begins: re.Pattern[bytes],
    ends: bool,
    whole: Whole | None = None,
) -> tuple[list[ReportRow], int]:
    """The rows that begin in `lines`, without blank ones, and the number of lines read.

    `ends`: no row continues after the last line. `whole`: whether fields are certainly a complete
    row; then the row is read by RFC 4180, whatever its inner lines look like.
    """
    rows: list[ReportRow] = []
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        fields, count = _row_at(at, lines, begins, ends, whole)
        upto = at + count
        if fields is not None:
            rows.append(_sound(first + at, fields, lines[at], count))
        elif upto < len(lines) or count == MOST_LINES or ends:
            rows += [_literal(first + i, lines[i]) for i in range(at, upto)]
        else:
            break
        at = upto
    return [row for row in rows if row.fault or any(cell.strip() for cell in row.fields)], at


def portions(
    lines: Sequence[bytes],
    first: int,
    begins: re.Pattern[bytes],
    ends: bool,
    whole: Whole | None = None,
) -> Iterator[tuple[list[ReportRow], int]]:
    """Yield `rows_of` one portion of lines at a time, with the number of lines read so far.

    A block may have a million lines that are no rows: the caller can stop early.
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
    """The fields of a complete row of several lines, and the number of its lines.

    None and 0 if there is no such row; None and all lines up to `end` if more lines must be read
    first.
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
    """The fields of a row by strict RFC 4180: [] if it breaks the rules, None if it stays open.

    In a quoted field all quotes are doubled; other fields have none.
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
    """A row of a line with wrong quotes, which are read as plain characters."""
    return _sound(number, line.split(b";"), line)


def _sound(number: int, fields: Sequence[bytes], line: bytes, lines: int = 1) -> ReportRow:
    if len(line) > LONGEST_ROW:
        return ReportRow(number, fault=f"is longer than {LONGEST_ROW >> 10} KiB", lines=lines)
    if any(b"\0" in cell for cell in fields):
        return ReportRow(number, fault="holds zero bytes", lines=lines)
    return ReportRow(number, fields, lines=lines)


def bare(cell: bytes) -> bytes:
    """A field without spaces around it (R30) and without left-over quotes."""
    return cell.strip().strip(b'"').strip()


_BLOCKS = "|".join(map(str, OVERSEAS_BLOCKS))
# Overseas blocks are not assigned after +33; the fiction block in 639 is for tests.
METROPOLITAN = re.compile(rf"33(?:63998\d{{4}}|(?!{_BLOCKS})[67]\d{{8}})")


@lru_cache(maxsize=65_536)
def number(cell: bytes) -> int | None:
    """An MSISDN as an integer, in every spelling that screening reads: a STOP must not be lost.

    Also reads other international numbers: with `+` or `00`, or of ten digits or more. An overseas
    number written with +33 is read as the overseas one: the other is not assigned.
    """
    text = bare(cell).decode("utf-8", "replace").lstrip("'").replace(" ", "").replace("\xa0", "")
    explicit = re.fullmatch(r"(?:\+|00)([1-9]\d{6,14})", text)
    if explicit and METROPOLITAN.fullmatch(explicit[1]):
        return int(explicit[1])  # nearly all numbers: a short cut
    text = re.sub(r"\.0+$", "", text)  # a float of a spreadsheet
    msisdn = int(normalise(pa.array([text])).msisdn[0])
    overseas = re.fullmatch(rf"(?:\+|00)?330?((?:{_BLOCKS})\d{{6}})", text)
    if overseas and not msisdn:
        msisdn = int(normalise(pa.array([f"0{overseas[1]}"])).msisdn[0])
    if msisdn or explicit:
        return msisdn or int(text.lstrip("+0"))
    return int(text) if re.fullmatch(r"[1-9]\d{9,14}", text) else None

"""Readers of the provider's files in `Report`: deliveries, opt-outs, replies (R29-R35).

This module turns bytes into columns and finds faults of rows. Where the files come from, and what
happens to the rows, is elsewhere.

The page shows an example and leaves the rest open, so the readers accept RFC 4180 and common
deviations:

- Lines end in CRLF or LF; blank lines, a byte order mark and headers are skipped.
- A field may be quoted, and may then contain `;`, `""` and line breaks. A text may also contain
  bare `;`: the fields around it are counted from both ends. A stray quote does not open a long
  text: a line that begins like a row is never part of another row's text, because losing a STOP is
  worse. The exception is an ACK, if strict RFC 4180 gives a row of seven fields with a numeric
  IDSTATUS.
- A `;` after the last field is ignored.
- A field is UTF-8, or else cp1252 with a warning. This is decided field by field: the rest of a
  file that grows must not change how its beginning was read.
- An unreadable row is listed with its line and the reason, never dropped silently. A file without
  any readable row is a ReportUnreadable; an empty file is an empty report.
- A file that still grows may end in a torn row, which is left out and reported. A file that grows
  no more has no torn row: its last line counts with or without a line end. A STOP in a torn row
  counts all the same: `read_tail` finds it.

A file is read in blocks of 1 MiB, and rows are yielded as they are read: a caller that streams them
has one block in memory. Reading of a file that is no report stops after a portion of its lines.
"""

import hashlib
import quopri
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sms.clock import PARIS
from sms.columnar.text import Ints, bytes_of
from sms.errors import ReportUnreadable
from sms.wire.names import ReportKind
from sms.wire.report_cells import Cells, Span
from sms.wire.report_rows import (
    DELIVERY_BEGINS,
    LONGEST_ROW,
    NUMBER,
    REPLY_BEGINS,
    ReportRow,
    Walk,
    bare,
    number,
    portions,
    row_by_rfc,
)
from sms.wire.stop_words import Asks, asks_to_stop, may_become_stop, speaks_of_stop
from sms.words import count, have

LONGEST_MOMENT = 40  # characters of a DATE or an HOUR
ANOTHER_INSIDE = "holds another row behind a line end that is a bare CR"
PATIENCE = 1000  # unreadable lines before the first row: the file is no report
MOST_UNREADABLE = 100_000  # rows of one file; with more, an operator must check the file itself


class Outcome(StrEnum):
    """The state of a message by its last report."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    NOT_DELIVERED = "not_delivered"
    PENDING = "pending"
    UNKNOWN = "unknown"


# R31: the page announces a table of IDSTATUS and omits it. These values are those of public clients
# of the same provider, and the page's own example (`2;sent`) agrees. Any other code is `unknown`.
OUTCOMES = {
    0: Outcome.PENDING,  # waiting
    1: Outcome.PENDING,  # in progress
    2: Outcome.PENDING,  # sent to the operator
    3: Outcome.DELIVERED,
    4: Outcome.REFUSED,
    6: Outcome.NOT_DELIVERED,
}

FEW_TEXTS = pa.dictionary(pa.int32(), pa.large_string())  # for repeated texts

DELIVERIES = pa.schema(
    [
        ("line", pa.int64()),
        ("idremote", pa.large_string()),
        ("msisdn", pa.int64()),  # null: unreadable
        ("idstatus", pa.int16()),  # null: not a number
        ("outcome", FEW_TEXTS),
        ("ackoperator", pa.large_string()),  # without inner spaces (R30); null: empty
        ("raw_status", FEW_TEXTS),  # IDSTATUS;STATUS as in the file
    ]
)
REPLIES = pa.schema(
    [
        ("msisdn", pa.int64()),
        ("raw_date", pa.large_string()),
        ("raw_hour", pa.large_string()),
        ("replied_at", pa.timestamp("us", "UTC")),  # null: an unknown format
        ("message", pa.large_string()),
        ("idremote", pa.large_string()),  # null: empty
        ("occurrence", pa.int32()),  # 1 for the first of identical rows, 2 for the second
    ]
)
UNREADABLE = pa.schema(
    [
        ("line", pa.int64()),
        ("lines", pa.int32()),  # of the row
        ("reason", pa.large_string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Start:
    """The starting point of a reader: the bytes, lines and rows that were read before."""

    size: int = 0
    lines: int = 0
    rows: int = 0


BEGINNING = Start()


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of a report, its faults, and how far it was read.

    `count` is the number of rows, also if `rows` are stored elsewhere. `size_read` is the position
    of the torn tail, or the file's size in bytes.
    """

    rows: pa.Table
    count: int
    unreadable: pa.Table
    warnings: tuple[str, ...]
    torn_tail: bool
    size_read: int


def look_through(source: BinaryIO) -> Report:
    """Read an ACK without keeping its rows. Raises ReportUnreadable."""
    deliveries = Deliveries(source)
    deque(deliveries, maxlen=0)
    return deliveries.report()


def is_blank(source: BinaryIO) -> bool:
    """Whether an ACK has no row yet: it is empty, or a header. Raises ReportUnreadable."""
    deliveries = Deliveries(source)
    return not any(batch.num_rows for batch in deliveries)


def read_replies(source: BinaryIO, kind: ReportKind, *, grows: bool = True) -> Report:
    """The rows of a STOP or SMSMO file (`REPLIES`). Raises ReportUnreadable.

    Without `grows`, the last line counts even without a line end.
    """
    reader = Replies(source, kind, grows=grows)
    rows = pa.Table.from_batches(reader, REPLIES)
    return reader.report(rows)


@dataclass(frozen=True, slots=True)
class Tail:
    """STOPs at the end of a STOP or SMSMO file whose last line has no line end yet.

    `rows` (`REPLIES`) are certain STOPs: the number is complete, even if the row is not.
    `undecided`: the tail is, or may become, a STOP of an unknown number.
    """

    rows: pa.Table
    undecided: bool


def read_tail(raw: bytes, kind: ReportKind) -> Tail:
    """The STOPs in the bytes after a file's last complete row."""
    rows: list[tuple[Any, ...]] = []
    undecided = len(raw) >= LONGEST_ROW
    for line in re.split(rb"[\r\n]+", raw.removeprefix(b"\xef\xbb\xbf")):
        if not bare(line) or HEADER.startswith(b";".join(map(bare, line.upper().split(b";")))):
            continue
        number_cell, *others = line.split(b";")
        msisdn = number(number_cell) if others else None
        message = _decoded(b";".join(others[2:]).strip())
        if kind is ReportKind.SMSMO and len(others) > 2 and asks_to_stop(message) is not Asks.YES:
            undecided |= len(others) == 3 and may_become_stop(message)
            continue
        if msisdn is None or (kind is ReportKind.SMSMO and len(others) < 3):
            undecided = True
            continue
        # A truncated moment would be read as another one.
        date, hour = (_short(_decoded(bare(cell))) for cell in [*others[:2], b"", b""][:2])
        said_at = moment(date, hour) if len(others) > 2 else None
        text = _decoded(b";".join(others[2:-1] if len(others) > 3 else others[2:]).strip())
        rows.append((msisdn, date, hour, said_at, text, None, 1))
    return Tail(_table(rows, REPLIES), undecided)


HEADER = b"MSISDN;DATE;HOUR;MESSAGE;IDREMOTE"


def _decoded(cell: bytes) -> str:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return cell.decode("cp1252", errors="replace")


def may_hold_stop(raw: bytes) -> bool:
    """Whether an unreadable row contains a word that asks for an opt-out, in any encoding (R35).

    A row that is cut at LONGEST_ROW may: its end is unknown.
    """
    return len(raw) >= LONGEST_ROW or any(map(speaks_of_stop, _readings(raw)))


# Encodings with other bytes for STOP than UTF-8. A row that is cut at a line feed byte may begin
# inside a character.
OTHER_ENCODINGS = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-7", "cp500")
MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def _readings(raw: bytes) -> Iterator[str]:
    """Yield every possible text of these bytes."""
    for mark in MARKS:
        raw = raw.removeprefix(mark)
    yield _decoded(raw)
    yield _decoded(raw.replace(b"\0", b""))  # a mix of two encodings
    yield _decoded(quopri.decodestring(raw))
    for encoding in OTHER_ENCODINGS:
        for skipped in range(4 if encoding.startswith("utf-32") else 2 if "16" in encoding else 1):
            yield raw[skipped:].decode(encoding, "ignore")


class _Reader:
    """A file's rows, for one iteration, and the reader's counts."""

    schema: pa.Schema

    def __init__(self, source: BinaryIO, *, grows: bool, start: Start = BEGINNING) -> None:
        if start.size:
            source.seek(start.size)
        self.walk = Walk(source, self.take, grows, start.size, start.lines)
        self.rows = start.rows
        self.junk = 0  # unreadable lines before the first row
        self.faults: list[tuple[int, int, str]] = []  # not yet in `unreadable`
        self.faulty = 0  # number of those in `unreadable`
        self.cp1252 = 0
        self.read: list[pa.Table] = []  # not yet yielded
        self.unreadable: list[pa.Table] = []

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as they are read. Raises ReportUnreadable."""
        for _ in self.walk:
            for table in self.read:
                yield from table.combine_chunks().to_batches()
            self.read = []
        if self.rows:
            return
        for unreadable in self.unreadable:
            for first in unreadable.slice(0, 1).to_pylist():
                lines = sum(table.num_rows for table in self.unreadable)
                raise ReportUnreadable(
                    f"none of {count(lines, 'line')} can be read as a row; line {first['line']} "
                    f"{first['reason']}"
                )

    def take(self, block: bytes, first: int, ends: bool) -> tuple[int, int]:
        """Read whole lines: see `report_rows.Take`."""
        raise NotImplementedError

    def text(self, cell: bytes) -> str:
        """A field's text; the five undefined bytes of cp1252 become U+FFFD."""
        try:
            return cell.decode()
        except UnicodeDecodeError:
            self.cp1252 += 1
            return _decoded(cell)

    def keep(self, table: pa.Table, first_line: int | None) -> None:
        """Add rows; raises ReportUnreadable if the file is no report."""
        self.read.append(table)
        junk = sum(first_line is None or line < first_line for line, _, _ in self.faults)
        self.require_report(junk)
        self.junk += 0 if self.rows else junk
        self.rows += table.num_rows
        self.unreadable.append(_table(self.faults, UNREADABLE))
        self.faulty += len(self.faults)
        self.faults = []

    def require_report(self, junk: int) -> None:
        """Raise ReportUnreadable for too many unreadable lines; `junk` new ones precede any row."""
        if not self.rows and self.junk + junk >= PATIENCE:
            raise ReportUnreadable(f"none of its first {PATIENCE} lines can be read as a row")
        if self.faulty + len(self.faults) > MOST_UNREADABLE:
            raise ReportUnreadable(
                f"more than {MOST_UNREADABLE:,} of its lines can't be read as rows"
            )

    def warnings(self) -> Iterator[str]:
        """Yield warnings as sentences, without any recipient's text."""
        if self.cp1252:
            yield f"{count(self.cp1252, 'field')} not in UTF-8, read as cp1252"

    def report(self, rows: pa.Table | None = None) -> Report:
        """The report, after all rows are read."""
        return Report(
            rows=self.schema.empty_table() if rows is None else rows,
            count=self.rows,
            unreadable=pa.concat_tables([UNREADABLE.empty_table(), *self.unreadable]),
            warnings=tuple(self.warnings()),
            torn_tail=self.walk.torn,
            size_read=self.walk.size,
        )


def _without_mark(lines: bytes, first: int) -> bytes:
    """The block with spaces instead of its byte order mark, so that offsets stay the same."""
    if first == 1 and lines.startswith(b"\xef\xbb\xbf"):
        return b"   " + lines[3:]
    return lines


def _is_header(row: ReportRow, name: str) -> bool:
    """Whether a row is the header, without another row after a bare CR."""
    names = b";".join(row.fields).rstrip()
    return bool(row.fields) and bare(row.fields[0]).upper() == name.encode() and b"\r" not in names


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, of.type) for column, of in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


# STOP and SMSMO ----------------------------------------------------------------------------------


class Replies(_Reader):
    """Rows of MSISDN;DATE;HOUR;MESSAGE;IDREMOTE: three fields from the left, one from the right.

    With a `start`, `occurrence` counts from there on.
    """

    schema = REPLIES

    def __init__(
        self, source: BinaryIO, kind: ReportKind, *, grows: bool, start: Start = BEGINNING
    ) -> None:
        super().__init__(source, grows=grows, start=start)
        self.kind = kind
        self.short = 0
        self.undated = 0
        self.seen: Counter[int] = Counter()

    def take(self, block: bytes, first: int, ends: bool) -> tuple[int, int]:
        lines = _without_mark(block, first).split(b"\n")[:-1]
        taken = 0
        for rows, upto in portions(lines, first, REPLY_BEGINS, ends):
            taken = upto
            read = [self._read(row) for row in rows if not _is_header(row, "MSISDN")]
            kept = [values for values in read if values is not None]
            table = _table([values[1:] for values in kept], REPLIES)
            self.keep(table, kept[0][0] if kept else None)
        return sum(len(line) + 1 for line in lines[:taken]), taken

    def _read(self, row: ReportRow) -> tuple[Any, ...] | None:
        fields = row.fields
        msisdn = number(fields[0]) if fields else None
        fault = row.fault
        if not fault and msisdn is None:
            fault = "has no MSISDN that can be read"
        if not fault and _REPLY_INSIDE.search(b";".join(fields)):
            fault = ANOTHER_INSIDE
        # In a STOP file the number alone is enough: every listed number opted out (R35).
        if not fault and len(fields) < 4 and self.kind is not ReportKind.STOP:
            fault = f"has {len(fields)} of 5 fields"
        if fault:
            self.faults.append((row.line, row.lines, fault))
            return None
        fields = _without_behind(fields)
        self.short += len(fields) < 5
        idremote = fields[-1] if len(fields) > 4 else b""
        texts = [*fields[1:3], b"", b""][:2]
        date, hour = (_short(self.text(bare(cell))) for cell in texts)
        message = self.text(b";".join(fields[3 : max(4, len(fields) - 1)]).strip())
        replied_at = moment(date, hour)
        self.undated += replied_at is None
        row_is = hash((msisdn, date, hour, message))
        self.seen[row_is] += 1
        key = self.text(bare(idremote)) or None
        return row.line, msisdn, date, hour, replied_at, message, key, self.seen[row_is]

    def warnings(self) -> Iterator[str]:
        yield from super().warnings()
        if self.short:
            yield f"{count(self.short, 'row')} {have(self.short)} fewer than 5 fields"
        if self.undated:
            rows = f"{count(self.undated, 'row')} {have(self.undated)}"
            yield f"{rows} a date or an hour in a format that is not known"


def _without_behind(fields: Sequence[bytes]) -> Sequence[bytes]:
    """The fields of a reply without empty ones from `;` at the line's end.

    They are dropped only after an IDREMOTE: a message may end with `;` and have no IDREMOTE.
    """
    end = len(fields)
    while end > 5 and not bare(fields[end - 1]):
        end -= 1
    key = bare(fields[end - 1]) if end else b""
    is_key = _KEY.fullmatch(key) and not speaks_of_stop(key.decode())
    return fields[:end] if is_key and end < len(fields) else fields


_KEY = re.compile(rb"(?=[A-Za-z]*\d)[A-Za-z0-9]{1,40}")  # has a digit, unlike a word of a message


def _short(text: str) -> str:
    """A DATE or HOUR; a long text is shortened to the size of an index entry in the ledger."""
    if len(text) <= LONGEST_MOMENT:
        return text
    return f"{text[:LONGEST_MOMENT]}... {hashlib.sha256(text.encode()).hexdigest()}"


_REPLY_INSIDE = re.compile(rb"\r" + REPLY_BEGINS.pattern)

_DATES = (
    re.compile(r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"),
    re.compile(r"(?P<year>\d{4})[-/](?P<month>\d\d?)[-/](?P<day>\d\d?)"),
    re.compile(r"(?P<day>\d\d?)[-/.](?P<month>\d\d?)[-/.](?P<year>\d{4})"),
)
_HOURS = (
    re.compile(r"(?P<hour>\d{1,2})(?P<minute>\d\d)(?P<second>\d\d)?"),  # may lack a leading zero
    re.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?"),
)


@lru_cache(maxsize=65_536)
def moment(date: str, hour: str) -> datetime | None:
    """The instant of a report's DATE and HOUR, Paris time (R32), in UTC; None if unreadable.

    An hour that comes twice in autumn is read as the first: an earlier opt-out does no harm.
    """
    day = next((match for pattern in _DATES if (match := pattern.fullmatch(date))), None)
    time = next((match for pattern in _HOURS if (match := pattern.fullmatch(hour))), None)
    if not day or not time:
        return None
    parts = {name: int(value or 0) for name, value in (day.groupdict() | time.groupdict()).items()}
    try:
        return datetime(**parts, tzinfo=PARIS).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# ACK ---------------------------------------------------------------------------------------------

_DELIVERY_INSIDE = re.compile(rb'\r[ \t]*"?[A-Za-z0-9]{1,40}"?[ \t]*;' + NUMBER)


class Deliveries(_Reader):
    """Rows of IDREMOTE;MSISDN;OADC;MSG;IDSTATUS;STATUS;ACKOPERATOR, three from either end (R30).

    Plain lines are read as columns, the rest row by row. The provider writes an ACK once, so its
    last line counts even without a line end.
    """

    schema = DELIVERIES

    def __init__(self, source: BinaryIO) -> None:
        super().__init__(source, grows=False)
        self.codes: Counter[int | None] = Counter()  # with the outcome `unknown`

    def take(self, block: bytes, first: int, ends: bool) -> tuple[int, int]:
        block = _without_mark(block, first)
        cells = Cells.of(block)
        cells = cells.without(_within_texts(block, cells, ends))
        others: list[tuple[Any, ...]] = []
        taken = len(block), len(cells.begin)
        for lines in _runs(np.flatnonzero(~cells.plain)):
            last = int(lines[-1]) == len(cells.begin) - 1
            texts = [block[cells.begin[i] : cells.end[i]] for i in lines]
            count, begins = 0, first + int(lines[0])
            for rows, upto in portions(texts, begins, DELIVERY_BEGINS, ends or not last, _is_whole):
                count = upto
                others += self._one_by_one(rows)
                self.require_report(0 if others or cells.plain.any() else len(self.faults))
            if count < len(lines):
                taken = int(cells.begin[lines[count]]), int(lines[count])
        table = self._columns(cells, first)
        if others:
            table = pa.concat_tables([table, _table(others, DELIVERIES)]).sort_by("line")
        self._count_unknown(table)
        self.keep(table, table["line"][0].as_py() if table.num_rows else None)
        return taken

    def _columns(self, cells: Cells, first: int) -> pa.Table:
        status = self._texts(cells, cells.status).dictionary_encode()
        return pa.Table.from_arrays(
            [
                pa.array(np.flatnonzero(cells.plain) + first),
                self._texts(cells, cells.idremote),
                pa.array(cells.msisdn),
                pa.array(cells.idstatus.astype(np.int16)),
                _outcomes(cells.idstatus),
                _compact(self._texts(cells, cells.operator)),
                pa.DictionaryArray.from_arrays(
                    status.indices, pc.replace_substring(status.dictionary, '"', "")
                ),
            ],
            schema=DELIVERIES,
        )

    def _texts(self, cells: Cells, where: Span) -> pa.Array:
        raw = where.cut(cells.data)
        try:
            return raw.cast(pa.large_string())
        except pa.ArrowInvalid:
            return pa.array([self.text(cell) for cell in raw.to_pylist()], pa.large_string())

    def _one_by_one(self, rows: Iterable[ReportRow]) -> list[tuple[Any, ...]]:
        read = [self._read(row) for row in rows if not _is_header(row, "IDREMOTE")]
        return [values for values in read if values is not None]

    def _read(self, row: ReportRow) -> tuple[Any, ...] | None:
        fault, fields = row.fault, _without_last(row.fields)
        # Read as one row, the first message would get the last row's outcome.
        if not fault and _DELIVERY_INSIDE.search(b";".join(fields)):
            fault = ANOTHER_INSIDE
        if not fault and len(fields) < 7:
            fault = f"has {len(fields)} of 7 fields"
        msisdn = None if fault else number(fields[1])
        idremote = "" if fault else self.text(bare(fields[0]))
        if not fault and msisdn is None and not re.fullmatch("[A-Za-z0-9]{1,40}", idremote):
            fault = "has neither IDREMOTE nor MSISDN that can be read"
        if fault:
            self.faults.append((row.line, row.lines, fault))
            return None
        code = IDSTATUS.fullmatch(bare(fields[-3]))
        idstatus = int(code[0]) if code else None
        outcome = OUTCOMES.get(-1 if idstatus is None else idstatus, Outcome.UNKNOWN)
        operator = self.text(bare(fields[-1])).replace(" ", "") or None
        raw_status = self.text(b";".join(fields[-3:-1]).replace(b'"', b"").strip())
        return row.line, idremote, msisdn, idstatus, outcome.value, operator, raw_status

    def _count_unknown(self, table: pa.Table) -> None:
        unknown = table.filter(pc.equal(table["outcome"], Outcome.UNKNOWN.value))
        self.codes.update(unknown["idstatus"].to_pylist())

    def warnings(self) -> Iterator[str]:
        yield from super().warnings()
        for code, rows in self.codes.most_common(5):
            name = "that is no number" if code is None else str(code)
            yield (
                f"{count(rows, 'row')} {have(rows)} an IDSTATUS {name}, whose meaning is not known"
            )


IDSTATUS = re.compile(rb"\d{1,4}")


def _without_last(fields: Sequence[bytes]) -> Sequence[bytes]:
    """The fields of a delivery without an empty one from a `;` at the line's end."""
    if len(fields) > 7 and not bare(fields[-1]):
        at_end, before = (IDSTATUS.fullmatch(bare(fields[place])) for place in (-3, -4))
        if before and not at_end:
            return fields[:-1]
    return fields


def _is_whole(fields: Sequence[bytes]) -> bool:
    """Whether fields are certainly a delivery."""
    fields = _without_last(fields)
    return len(fields) == 7 and IDSTATUS.fullmatch(bare(fields[4])) is not None


def _within_texts(block: bytes, cells: Cells, ends: bool) -> npt.NDArray[np.bool_]:
    """Which lines are, or may be, inside the text of a row that begins on an earlier line."""
    within = np.zeros(len(cells.begin), np.bool_)

    def line(number: int) -> bytes:
        return block[cells.begin[number] : cells.end[number]]

    upto = 0
    for at in np.flatnonzero(~cells.plain).tolist():
        if at >= upto:
            fields, count = row_by_rfc(line, at, len(within), _is_whole)
            if fields is not None or (count and not ends):
                upto = at + count
                within[at + 1 : upto] = True
    return within


def _runs(lines: Ints) -> list[Ints]:
    """Line numbers, split at gaps."""
    return np.split(lines, np.flatnonzero(np.diff(lines) > 1) + 1) if len(lines) else []


def _outcomes(idstatus: Ints) -> pa.DictionaryArray:
    listed = [*OUTCOMES.values(), Outcome.UNKNOWN]
    which = np.full(10_000, len(OUTCOMES), np.int32)
    which[list(OUTCOMES)] = np.arange(len(OUTCOMES))
    texts = pa.array([o.value for o in listed], pa.large_string())
    return pa.DictionaryArray.from_arrays(pa.array(which[idstatus]), texts)


def _compact(operator: pa.Array) -> pa.Array:
    """The operators without inner spaces (R30), null if empty; most need no copy."""
    if (bytes_of(operator)[0] == ord(" ")).any():
        operator = pc.replace_substring(operator, " ", "")
    empty = pc.equal(operator, "")
    return pc.if_else(empty, None, operator) if pc.any(empty).as_py() else operator

"""Inspection of the provider's CSV: every fault of a file's bytes, by the rules of the page.

It reads only the bytes, and shares only the alphabet and the dialect with the writer. Pieces in the
usual form are checked in threads, one each; any other piece is read again, record by record, by the
general reader below.
"""

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedIOBase

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.digests import identity
from sms.columnar.text import TEXT, Bytes, Flags, Ints, Uint64s, bytes_of, is_utf8, ranges, rows_of
from sms.columnar.threads import ordered
from sms.telecom import gsm
from sms.telecom.coded import Coded
from sms.wire.send_file import FIELDS, MOST_ROWS, Dialect


class FaultCode(Coded):
    """A rule of the provider's page that a file breaks: a code and a sentence."""

    EMPTY_FILE = "empty_file", "the file holds no row"
    BOM = "bom", "the file begins with a byte order mark"
    ENCODING = "encoding", "the bytes are not in the agreed encoding"
    LINE_END = "line_end", "the line does not end in CR LF"
    QUOTING = "quoting", "double quotes are not used as RFC 4180 says"
    DELIMITER = "delimiter", "the text holds a delimiter, which this gateway does not take"
    FIELDS = "fields", "the row does not have exactly four fields"
    IDREMOTE = "idremote", "the IDREMOTE is not 1 to 40 letters or digits without accents"
    IDREMOTE_DUPLICATE = "idremote_duplicate", "the IDREMOTE is on an earlier line too"
    MSISDN = "msisdn", "the number is not in international format, + and 8 to 15 digits"
    MSISDN_DUPLICATE = "msisdn_duplicate", "the number is on an earlier line too"
    OADC = "oadc", "the sender is not 1 to 11 letters or digits without accents"
    EMPTY_TEXT = "empty_text", "the text is empty"
    CHARACTERS = "characters", "the text holds a character that GSM 03.38 lacks"
    TOO_LONG = "too_long", "the text is longer than the account may send"
    TOO_MANY_ROWS = "too_many_rows", "the file has more rows than one file may have"
    TOO_MANY_FAULTS = "too_many_faults", "reading stopped here, after too many faults"


@dataclass(frozen=True, slots=True, order=True)
class FileFault:
    """The line and code of a fault, without any content."""

    line: int  # from 1, as in an editor: a line break inside quotes counts too
    code: FaultCode

    @property
    def sentence(self) -> str:
        return self.code.sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits of the account."""

    long_sms: bool = False
    unicode: bool = False
    empty_oadc: bool = False  # phones show the account's own short number (R18)
    maximum_rows: int = MOST_ROWS
    maximum_faults: int = 1_000  # reading stops here


STANDARD = Rules()


def check(source: BufferedIOBase, dialect: Dialect, rules: Rules = STANDARD) -> list[FileFault]:
    """All faults of a file by the provider's page, by line, in one reading.

    Keeps 40 bytes a row in memory, and a few pieces of the file.
    """
    inspection = _Inspection(dialect, rules)
    reader = _Reader(inspection)
    pieces = ordered(lambda piece: _Piece.of(piece, dialect, rules), _whole_lines(source))
    for piece in pieces:
        reader.read(piece)
        if inspection.enough(reader.line):
            break
    else:
        reader.finish()
    return inspection.conclude()


@dataclass(frozen=True, slots=True)
class _Block:
    """Records of four fields each: UTF-8 bytes, and the positions of fields with their quotes."""

    data: Bytes
    starts: tuple[Ints, ...]  # by field, of each record
    ends: tuple[Ints, ...]
    lines: Ints
    controls: bool  # whether control characters other than CR and LF may occur

    def column(self, name: str, rows: Ints | slice = slice(None)) -> pa.Array:
        """A field of all or some records, unquoted."""
        place = FIELDS.index(name)
        fields = _taken_out(self.data, self.starts[place][rows], self.ends[place][rows])
        quoted = pc.starts_with(fields, '"')
        if not pc.any(quoted, min_count=0).as_py():
            return fields
        inner = pc.utf8_slice_codeunits(fields.filter(quoted), 1, -1)
        return pc.replace_with_mask(fields, quoted, pc.replace_substring(inner, '""', '"'))

    def quoted(self) -> Flags:
        """The records with a quoted field."""
        last = len(self.data) - 1
        flags = np.zeros(len(self.lines), np.bool_)
        for starts in self.starts:
            flags |= self.data[np.minimum(starts, last)] == _QUOTE
        return flags


def _taken_out(data: Bytes, starts: Ints, ends: Ints) -> pa.LargeStringArray:
    """The bytes between these positions, as a text column."""
    count, size = len(starts), int(ends[0] - starts[0]) if len(starts) else 0
    if size and (ends - starts == size).all():
        everywhere = np.ndarray(len(data) - size + 1, f"V{size}", buffer=data, strides=(1,))
        offsets = np.arange(0, (count + 1) * size, size)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(everywhere[starts])]
        return pa.Array.from_buffers(TEXT, count, buffers)
    bounds = np.zeros(2 * count + 1, np.int64)
    bounds[0:-1:2], bounds[1::2] = starts, ends
    bounds[-1] = bounds[-2] if count else 0
    # A column of texts and gaps in turn, of which every second one is taken.
    pieces = pa.Array.from_buffers(
        TEXT, 2 * count, [None, pa.py_buffer(bounds), pa.py_buffer(data)]
    )
    return pieces.take(pa.array(np.arange(0, 2 * count, 2)))


@dataclass(frozen=True, slots=True)
class _Judged:
    """Checked records, each field by its own rule; lines count from the block's first."""

    lines: Ints
    faults: list[tuple[FaultCode, Ints]]  # codes and lines
    idremotes: Uint64s  # identities, shape (rows, 2)
    numbers: Uint64s

    @classmethod
    def of(cls, block: _Block, dialect: Dialect, rules: Rules) -> "_Judged":
        idremote, msisdn, oadc = (block.column(name) for name in FIELDS[:-1])
        wrong = [
            (FaultCode.IDREMOTE, _other_than(_ALPHANUMERIC, idremote, 1, 40)),
            (FaultCode.MSISDN, _no_number(msisdn)),
            (FaultCode.OADC, _other_than(_ALPHANUMERIC, oadc, 0 if rules.empty_oadc else 1, 11)),
            *_judged_texts(block, rules),
        ]
        if dialect.delimiter_in_text != "quote":
            wrong.append((FaultCode.DELIMITER, block.quoted()))
        faults = [(code, block.lines[rows]) for code, rows in wrong if rows.any()]
        return cls(block.lines, faults, identity(idremote), identity(msisdn))

    def moved(self, by: int) -> "_Judged":
        """The same, moved down by some lines."""
        faults = [(code, lines + by) for code, lines in self.faults]
        return replace(self, lines=self.lines + by, faults=faults)


def _judged_texts(block: _Block, rules: Rules) -> list[tuple[FaultCode, Flags]]:
    """The faults of the texts, which are most of a file: only suspect ones are copied."""
    starts, ends = block.starts[-1], block.ends[-1]
    sizes = ends - starts
    empty, long, foreign = (np.zeros(len(sizes), np.bool_) for _ in range(3))
    # A quoted empty field is empty too.
    short = np.flatnonzero(sizes <= 2)
    empty[short] = np.diff(bytes_of(block.column("msg", short))[1]) == 0
    most = gsm.MOST_PARTS if rules.long_sms else 1
    rare = gsm.rare_ascii(block.data)
    suspects = gsm.may_be_long(sizes, rare, unicode=rules.unicode)
    parts = gsm.segments(block.column("msg", suspects), unicode=rules.unicode)
    long[suspects] = parts > most
    if not rules.unicode and (block.controls or not gsm.is_surely_gsm(block.data, rare)):
        at = gsm.foreign_in(block.data)
        record = np.minimum(np.searchsorted(ends, at), len(sizes) - 1) if len(sizes) else at[:0]
        foreign[record[(at >= starts[record]) & (at < ends[record])]] = True
    return [
        (FaultCode.EMPTY_TEXT, empty),
        (FaultCode.TOO_LONG, long),
        (FaultCode.CHARACTERS, foreign),
    ]


_ALPHANUMERIC = ((ord("a"), 26), (ord("A"), 26), (ord("0"), 10))
_DIGITS = ((ord("0"), 10),)


def _other_than(
    alphabet: Sequence[tuple[int, int]], texts: pa.LargeStringArray, least: int, most: int
) -> Flags:
    """Which texts have bytes outside these ranges, or a wrong length."""
    data, offsets = bytes_of(texts)
    sizes = np.diff(offsets)
    wrong: Flags = (sizes < least) | (sizes > most)
    strange = np.ones(len(data), np.bool_)
    for first, count in alphabet:
        strange &= (data - np.uint8(first)) >= count
    if strange.any():
        wrong[rows_of(offsets, np.flatnonzero(strange))] = True
    return wrong


def _no_number(texts: pa.LargeStringArray) -> Flags:
    """Which texts aren't a plus and 8 to 15 digits without a leading zero (R17)."""
    data, offsets = bytes_of(texts)
    sizes = np.diff(offsets)
    wrong: Flags = (sizes < 9) | (sizes > 16)
    rows = np.flatnonzero(~wrong)
    first = offsets[:-1][rows]
    wrong[rows] = (data[first] != ord("+")) | (data[first + 1] == ord("0"))
    strange = (data - np.uint8(ord("0"))) >= 10
    strange[first] = False
    if strange.any():
        wrong[rows_of(offsets, np.flatnonzero(strange))] = True
    return wrong


@dataclass(frozen=True, slots=True)
class _Piece:
    """Whole lines of the file; `judged` if all are records in the usual form."""

    data: Bytes
    line_feeds: int = 0
    judged: _Judged | None = None

    @classmethod
    def of(cls, data: Bytes, dialect: Dialect, rules: Rules) -> "_Piece":
        """Check lines that are assumed to begin with a record; the reader verifies that."""
        has_bom = data[:3].tobytes() == codecs.BOM_UTF8
        if not dialect.is_utf8 or has_bom or not is_utf8(data):
            return cls(data)
        block = _plain(data)
        if block is not None:
            return cls(data, len(block.lines), _Judged.of(block, dialect, rules))
        scan = _scan(data)
        if scan.is_regular and scan.length == len(data):
            return cls(data, scan.line_feeds, _Judged.of(scan.block, dialect, rules))
        return cls(data)


def _plain(content: Bytes) -> _Block | None:
    """Records of four fields, each on one line that ends in CR LF; None if a scan is needed."""
    if content[-1] != _LF:
        return None
    at = _outside_quotes(content, np.flatnonzero((content == _SEMICOLON) | (content == _LF)))
    if at is None or len(at) % len(FIELDS):
        return None
    at = at.reshape(-1, len(FIELDS))
    ends = at[:, -1] - 1
    if (content[at] != _SHAPE).any() or (content[ends] != _CR).any():
        return None
    controls = np.count_nonzero(content < 0x20) != 2 * len(at)
    if controls and np.count_nonzero(content == _CR) != len(at):
        return None
    starts = np.concatenate([[0], at[:-1, -1] + 1])
    between = [*at[:, :-1].T]
    return _Block(
        content,
        (starts, *(delimiters + 1 for delimiters in between)),
        (*between, ends),
        np.arange(len(at)),
        controls,
    )


def _outside_quotes(content: Bytes, at: Ints) -> Ints | None:
    """The semicolons and line feeds outside quotes; None if a scan is needed.

    A scan is needed for a misplaced quote, or a quoted field of several lines.
    """
    quotes = np.flatnonzero(content == _QUOTE)
    if not quotes.size:
        return at
    opening = np.arange(len(quotes)) % 2 == 0
    if (
        len(quotes) % 2
        or _first_broken_quote(content, quotes, content[quotes], opening) is not None
    ):
        return None
    first, last = np.searchsorted(at, quotes[0::2]), np.searchsorted(at, quotes[1::2])
    inside = ranges(first, last - first)
    if (content[at[inside]] == _LF).any():
        return None
    return np.delete(at, inside)


@dataclass(slots=True)
class _Inspection:
    """The faults so far, and the identities for finding duplicates."""

    dialect: Dialect
    rules: Rules
    faults: set[FileFault] = field(default_factory=set)
    rows: int = 0
    judged: list[_Judged] = field(default_factory=list)

    def enough(self, line: int) -> bool:
        """Whether there are enough faults above this line to stop."""
        most = self.rules.maximum_faults
        if self.rows > self.rules.maximum_rows:
            return True
        return len(self.faults) > most and sum(each.line < line for each in self.faults) > most

    def add(self, code: FaultCode, lines: Sequence[int] | Ints) -> None:
        """Note a fault on each of these ascending lines, up to the maximum."""
        some = lines[: self.rules.maximum_faults + 1]
        self.faults.update(FileFault(int(line), code) for line in some)

    def count(self, lines: Ints) -> None:
        """Count rows, valid or not."""
        room = self.rules.maximum_rows - self.rows
        if self.rows <= self.rules.maximum_rows < self.rows + len(lines):
            self.add(FaultCode.TOO_MANY_ROWS, lines[room : room + 1])
        self.rows += len(lines)

    def take(self, judged: _Judged) -> None:
        """Note the faults of checked records; their lines are the file's."""
        for code, lines in judged.faults:
            self.add(code, lines)
        self.judged.append(replace(judged, faults=[]))

    def conclude(self) -> list[FileFault]:
        """All faults, including those of the whole file."""
        if not self.rows:
            self.add(FaultCode.EMPTY_FILE, [1])
        if self.judged:
            lines = np.concatenate([each.lines for each in self.judged])
            for code, columns in (
                (FaultCode.IDREMOTE_DUPLICATE, [each.idremotes for each in self.judged]),
                (FaultCode.MSISDN_DUPLICATE, [each.numbers for each in self.judged]),
            ):
                self.add(code, lines[_again(np.concatenate(columns))])
        faults = sorted(self.faults, key=lambda fault: (fault.line, fault.code))
        most = self.rules.maximum_faults
        if len(faults) > most:
            faults[most:] = [FileFault(faults[most].line, FaultCode.TOO_MANY_FAULTS)]
        return faults


def _again(words: Uint64s) -> Flags:
    """Which texts repeat an earlier one, except empty ones, which are another fault."""
    first = np.sort(words[:, 0])
    if not (first[1:] == first[:-1]).any():
        return np.zeros(len(first), np.bool_)
    again: Flags = pd.DataFrame(words).duplicated().to_numpy(np.bool_)
    return again & words.any(axis=1)  # the words of an empty text are zero


_QUOTE, _SEMICOLON, _CR, _LF = (ord(character) for character in '";\r\n')
_SHAPE = np.frombuffer(b";;;\n", np.uint8)  # the separators and the end of a record
_BLOCK = 4 << 20
_UNDECODED = re.compile("[\udc80-\udcff]")  # undecodable bytes, by Python's "surrogateescape"
_LONGEST_RECORD = 64 << 10  # longer than any message: a quote that is never closed


def _whole_lines(source: BufferedIOBase) -> Iterator[Bytes]:
    """Yield the file in pieces that end at a line feed, except the last.

    Each piece is read in its final place, as copying would block other threads.
    """
    rest = np.zeros(0, np.uint8)
    while True:
        room = np.empty(len(rest) + max(_BLOCK, len(rest)), np.uint8)
        room[: len(rest)] = rest
        size = source.readinto(room[len(rest) :].data)
        if not size:
            break
        piece = room[: len(rest) + size]
        cut = _last_line_end(piece, len(rest))
        if cut:
            yield piece[:cut]
        rest = piece[cut:].copy() if cut else piece
    if len(rest):
        yield rest


def _last_line_end(piece: Bytes, start: int) -> int:
    """The end of the last whole line; 0 if there is no line feed from `start` on."""
    window = 1 << 12
    for end in range(len(piece), start, -window):
        line_feed = piece[max(start, end - window) : end].tobytes().rfind(b"\n")
        if line_feed >= 0:
            return max(start, end - window) + line_feed + 1
    return 0


@dataclass(frozen=True, slots=True)
class _Scan:
    """The complete records at the beginning of some bytes, up to the first broken quote."""

    block: _Block  # the records with four fields
    lines: Ints  # of all records, counted from the first
    misshapen: Flags  # records with more or fewer fields
    badly_ended: Ints  # lines of the file, not of records
    length: int  # bytes of all records
    line_feeds: int  # in those bytes
    broken: bool  # the next record has a broken quote

    @property
    def is_regular(self) -> bool:
        """Whether every record has four fields and a correct line end."""
        return not (self.broken or self.misshapen.any() or self.badly_ended.size)


def _scan(content: Bytes) -> _Scan:
    """Find records and fields by delimiters, quotes and line ends only.

    A byte is inside quotes if an odd number of quotes precedes it; a doubled quote does not change
    that.
    """
    at = np.flatnonzero(
        (content == _SEMICOLON) | (content == _QUOTE) | (content == _CR) | (content == _LF)
    )
    kind = content[at]
    inside = (np.cumsum(kind == _QUOTE) & 1).astype(np.bool_)
    ends = at[(kind == _LF) & ~inside]
    broken_at = _first_broken_quote(content, at, kind, inside)
    if broken_at is not None:
        ends = ends[ends < broken_at]
    length = int(ends[-1]) + 1 if len(ends) else 0
    seen = at < length
    at, kind, inside = at[seen], kind[seen], inside[seen]

    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    after_cr = (content[ends - 1] == _CR) & (ends > starts)
    stray = at[(kind == _CR) & ~inside & (content[np.minimum(at + 1, length - 1)] != _LF)]

    delimiters = at[(kind == _SEMICOLON) & ~inside]
    record = np.searchsorted(ends, delimiters)
    good = np.bincount(record, minlength=len(ends)) == len(FIELDS) - 1
    between = [*delimiters[good[record]].reshape(-1, len(FIELDS) - 1).T]
    feeds = at[kind == _LF]
    lines = np.searchsorted(feeds, starts).astype(np.int64)
    badly_ended = np.searchsorted(feeds, np.sort(np.concatenate([ends[~after_cr], stray])))
    block = _Block(
        content,
        (starts[good], *(delimiters + 1 for delimiters in between)),
        (*between, (ends - after_cr)[good]),
        lines[good],
        controls=True,
    )
    return _Scan(block, lines, ~good, badly_ended, length, len(feeds), broken_at is not None)


def _first_broken_quote(content: Bytes, at: Ints, kind: Bytes, inside: Flags) -> int | None:
    """The position of the first quote that opens or closes inside a field, None for none."""
    quotes, opening = at[kind == _QUOTE], inside[kind == _QUOTE]
    beside = _bytes_at(content, np.where(opening, quotes - 1, quotes + 1))
    fine = (beside == _SEMICOLON) | (beside == _QUOTE) | (beside == _LF)
    fine |= ~opening & (beside == _CR) & (_bytes_at(content, quotes + 2) == _LF)
    broken = quotes[~fine]
    return int(broken[0]) if len(broken) else None


def _bytes_at(content: Bytes, places: Ints) -> Bytes:
    """The bytes at these positions; a position outside is a line feed."""
    within = (places >= 0) & (places < len(content))
    signs: Bytes = np.where(within, content[np.where(within, places, 0)], np.uint8(_LF))
    return signs


@dataclass(slots=True)
class _Reader:
    """An RFC 4180 reader of a file's pieces, which reports faults to an inspection."""

    inspection: _Inspection
    line: int = 1  # of the next record
    ahead: int = 1  # of the next piece
    pending: bytes = b""  # the beginning of an unfinished record
    first: bool = True

    def read(self, piece: _Piece) -> None:
        """Check the records that a piece completes."""
        if piece.judged is not None and not self.pending:
            self.first = False
            judged = piece.judged.moved(self.line)
            self.inspection.count(judged.lines)
            self.inspection.take(judged)
            self.line += piece.line_feeds
            self.ahead = self.line
            return
        data = self.pending + self._lines(piece.data.tobytes())
        self.pending = data[self._records(data, last=False) :]

    def finish(self) -> None:
        """Check the rest after the last piece."""
        if self.pending:
            self._records(self.pending, last=True)

    def _lines(self, piece: bytes) -> bytes:
        """A piece's lines in UTF-8; faults of the bytes are reported."""
        if self.first and piece.startswith(codecs.BOM_UTF8):
            self.inspection.add(FaultCode.BOM, [1])
            piece = piece.removeprefix(codecs.BOM_UTF8)
        self.first = False
        data = self._utf8(piece, self.ahead)
        self.ahead += piece.count(b"\n")
        if data and not data.endswith(b"\n"):
            self.inspection.add(FaultCode.LINE_END, [self.ahead])
            data = data.removesuffix(b"\r") + b"\r\n"
        return data

    def _utf8(self, piece: bytes, line: int) -> bytes:
        """The lines in UTF-8; lines in another encoding are reported."""
        dialect = self.inspection.dialect
        try:
            text = piece.decode(dialect.encoding)
        except UnicodeDecodeError:
            contents = enumerate(piece.split(b"\n"), line)
            wrong = [n for n, content in contents if not _decodes(content, dialect.encoding)]
            self.inspection.add(FaultCode.ENCODING, wrong)
            text = _UNDECODED.sub("?", piece.decode(dialect.encoding, "surrogateescape"))
            return text.encode()
        return piece if dialect.is_utf8 else text.encode()

    def _records(self, data: bytes, *, last: bool) -> int:
        """Check the complete records; returns their size in bytes.

        After a broken quote it continues at the next line, in smaller steps.
        """
        at, step = 0, len(data)
        while at < len(data) and not self.inspection.enough(self.line):
            some = data[at : at + step]
            to_the_end = at + step >= len(data)
            scan = _scan(np.frombuffer(some, np.uint8))
            self._report(scan)
            at += scan.length
            left = len(some) - scan.length
            if scan.broken or left > _LONGEST_RECORD or (last and to_the_end and left):
                at, step = self._skip_line(data, at), 2 * _LONGEST_RECORD
            elif to_the_end:
                break
            else:
                step *= 2
        return at

    def _report(self, scan: _Scan) -> None:
        """Report the faults of a scan's records, with their lines in the file."""
        lines = self.line + scan.lines
        self.inspection.count(lines)
        self.inspection.add(FaultCode.LINE_END, self.line + scan.badly_ended)
        self.inspection.add(FaultCode.FIELDS, lines[scan.misshapen])
        if len(scan.block.lines):
            judged = _Judged.of(scan.block, self.inspection.dialect, self.inspection.rules)
            self.inspection.take(judged.moved(self.line))
        self.line += scan.line_feeds

    def _skip_line(self, data: bytes, at: int) -> int:
        self.inspection.add(FaultCode.QUOTING, [self.line])
        self.inspection.count(np.array([self.line], np.int64))
        self.line += 1
        return data.find(b"\n", at) + 1 or len(data)


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True

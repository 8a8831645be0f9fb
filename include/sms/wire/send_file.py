"""The provider's CSV: its bytes written from messages, and read back to be judged (R14-R18, R23).

Writing and checking share no code but the alphabet: `check` believes nothing but the bytes. What a
text says, and who gets it, was decided before.
"""

import codecs
import hashlib
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms import gsm
from sms.coded import Coded
from sms.errors import ConfigurationError, SourceError
from sms.pipeline import ordered

DelimiterInText: TypeAlias = Literal["quote", "replace", "refuse"]
Ints: TypeAlias = npt.NDArray[np.int64]
Bytes: TypeAlias = npt.NDArray[np.uint8]
Flags: TypeAlias = npt.NDArray[np.bool_]

MOST_ROWS = 1_000_000  # spec: "up to 1 million recipients"
FIELDS = ("idremote", "msisdn", "oadc", "msg")
TEXT = pa.large_string()
NEEDS_QUOTES = '[;"\r\n]'  # RFC 4180, 2.6, with the provider's delimiter
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the gateway wants its CSV, as far as that can differ."""

    encoding: str = "utf-8"
    delimiter_in_text: DelimiterInText = "quote"

    def __post_init__(self) -> None:
        plain = bytes(range(128))
        try:
            fits = plain.decode("ascii").encode(self.encoding) == plain
            width = len(bytes(range(256)).decode(self.encoding, "replace"))
        except (LookupError, UnicodeError) as error:
            raise ConfigurationError(f"{self.encoding} is no encoding for the gateway") from error
        # One byte a character, or UTF-8: a delimiter is then never a part of a character.
        if not fits or (width != 256 and codecs.lookup(self.encoding).name != "utf-8"):
            raise ConfigurationError(
                f"{self.encoding} can't encode the gateway's files: choose utf-8, or an encoding "
                "of one byte a character that contains ASCII"
            )

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name == "utf-8"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    rows: int
    size_bytes: int
    sha256: str
    segments: int


def parts(total: int, maximum: int = MOST_ROWS) -> list[int]:
    """The sizes of the fewest files for `total` rows: at most `maximum`, as equal as can be."""
    if maximum < 1:
        raise ConfigurationError("a file needs room for at least one recipient")
    count = -(-total // maximum)
    return [total // count + (number < total % count) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Block:
    """The bytes of some messages, ready to be written."""

    data: bytes
    rows: int
    segments: int


class Output:
    """A file that blocks are written to, one after the other."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._rows = self._size = self._segments = 0

    def add(self, block: Block) -> None:
        """Write a block, and count it."""
        self._stream.write(block.data)
        self._digest.update(block.data)
        self._size += len(block.data)
        self._rows += block.rows
        self._segments += block.segments

    @property
    def written(self) -> Written:
        """What was written so far."""
        return Written(self._rows, self._size, self._digest.hexdigest(), self._segments)


def write(batches: Iterable[pa.RecordBatch], out: BinaryIO, dialect: Dialect) -> Written:
    """Write messages (idremote, msisdn, oadc, msg, segments) as the file that is uploaded."""
    output = Output(out)
    for made in ordered(lambda some: block(some, dialect), _sliced(batches)):
        output.add(made)
    return output.written


def _sliced(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            yield batch.slice(start, ROWS_AT_ONCE)


def block(messages: pa.RecordBatch, dialect: Dialect) -> Block:
    """Messages (idremote, msisdn, oadc, msg, segments) as the file's lines."""
    data = _encoded(_lines(messages, dialect), dialect)
    return Block(data, messages.num_rows, pc.sum(messages.column("segments"), min_count=0).as_py())


def _lines(batch: pa.RecordBatch, dialect: Dialect) -> pa.Array:
    """Each message as a line, with its line end."""
    text = {name: _quoted(batch.column(name), dialect) for name in ("idremote", "oadc", "msg")}
    lines = pc.binary_join_element_wise(
        text["idremote"],
        pa.scalar(";+", TEXT),
        batch.column("msisdn").cast(TEXT),
        pa.scalar(";", TEXT),
        text["oadc"],
        pa.scalar(";", TEXT),
        text["msg"],
        pa.scalar("\r\n", TEXT),
        pa.scalar("", TEXT),
    )
    if lines.null_count:
        raise SourceError("a message lacks its IDREMOTE, number, sender or text: render it anew")
    return lines


def _quoted(column: pa.Array, dialect: Dialect) -> pa.Array:
    """The fields as RFC 4180 writes them: in quotes only where they must be."""
    fields = column.cast(TEXT)
    special = pc.fill_null(pc.match_substring_regex(fields, NEEDS_QUOTES), False)
    if not pc.any(special, min_count=0).as_py():
        return fields
    if dialect.delimiter_in_text != "quote":
        raise SourceError(
            "a message still holds a semicolon, a double quote or a line break, and the settings "
            f"say `delimiter_in_text: {dialect.delimiter_in_text}`: render it anew"
        )
    doubled = pc.replace_substring(fields.filter(special), '"', '""')
    quote = pa.scalar('"', TEXT)
    wrapped = pc.binary_join_element_wise(quote, doubled, quote, pa.scalar("", TEXT))
    return pc.replace_with_mask(fields, special, wrapped)


def _encoded(lines: pa.Array, dialect: Dialect) -> bytes:
    """The lines' bytes, one after the other."""
    _, bounds, data = lines.buffers()
    offsets = np.frombuffer(bounds, np.int64)
    first, last = offsets[lines.offset], offsets[lines.offset + len(lines)]
    block = memoryview(data)[first:last]
    if dialect.is_utf8:
        return bytes(block)
    try:
        return bytes(block).decode().encode(dialect.encoding)
    except UnicodeEncodeError as error:
        raise SourceError(
            f"{dialect.encoding} has no {gsm.name_of(error.object[error.start])}, which a message "
            "holds: leave it out of the text, or ask the provider to take UTF-8"
        ) from None  # the error holds all the texts


class FaultCode(Coded):
    """A rule of the provider's page that a file breaks: a code for machines, a sentence for us."""

    EMPTY_FILE = "empty_file", "the file holds no row"
    BOM = "bom", "the file begins with a byte order mark"
    ENCODING = "encoding", "the bytes are not in the agreed encoding"
    LINE_END = "line_end", "the line does not end in CR LF"
    QUOTING = "quoting", "double quotes are not used as RFC 4180 says"
    DELIMITER = "delimiter", "the text holds a delimiter, which this gateway does not take"
    FIELDS = "fields", "the row does not have exactly four fields"
    IDREMOTE = "idremote", "the IDREMOTE is not 1 to 40 letters or digits without accents"
    IDREMOTE_DUPLICATE = "idremote_duplicate", "the IDREMOTE stands on an earlier line too"
    MSISDN = "msisdn", "the number is not in international format, + and 8 to 15 digits"
    MSISDN_DUPLICATE = "msisdn_duplicate", "the number stands on an earlier line too"
    OADC = "oadc", "the sender is not 1 to 11 letters or digits without accents"
    EMPTY_TEXT = "empty_text", "the text is empty"
    CHARACTERS = "characters", "the text holds a character that GSM 03.38 lacks"
    TOO_LONG = "too_long", "the text is longer than the account may send"
    TOO_MANY_ROWS = "too_many_rows", "the file has more rows than one file may have"
    TOO_MANY_FAULTS = "too_many_faults", "reading stopped here, after too many faults"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Where a file breaks a rule; never what stands there."""

    line: int  # as an editor counts, from 1: a line break inside quotes counts too
    code: FaultCode

    @property
    def sentence(self) -> str:
        return self.code.sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the account may send."""

    long_sms: bool = False
    unicode: bool = False
    empty_oadc: bool = False  # the account's own short number is shown (R18)
    maximum_rows: int = MOST_ROWS
    maximum_faults: int = 1_000  # a file this wrong need not be read to its end


STANDARD = Rules()


def check(source: BinaryIO, dialect: Dialect, rules: Rules = STANDARD) -> list[Fault]:
    """Every fault of a file by the provider's page, in the order of its lines, reading it once.

    Keeps the numbers and IDREMOTEs of the file in memory, nothing else.
    """
    inspection = _Inspection(dialect, rules)
    for block in _Reader(inspection).blocks(_whole_lines(source)):
        inspection.judge(block)
        if inspection.enough:
            break
    return inspection.conclude()


@dataclass(frozen=True, slots=True)
class _Block:
    """Records of four fields each: UTF-8, with where their fields lie, quotes included."""

    data: Bytes
    starts: Ints  # (records, 4)
    ends: Ints  # (records, 4)
    lines: Ints

    def column(self, name: str) -> pa.Array:
        """A field of all records, as it is meant: without its quotes."""
        place = FIELDS.index(name)
        bounds = np.empty(2 * len(self.lines) + 1, np.int64)
        bounds[0:-1:2], bounds[1::2] = self.starts[:, place], self.ends[:, place]
        bounds[-1] = bounds[-2] if len(bounds) > 1 else 0
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(self.data)]
        # Fields and what lies between them in turn: every second one is wanted.
        pieces = pa.Array.from_buffers(TEXT, len(bounds) - 1, buffers)
        fields = pieces.take(pa.array(np.arange(0, len(pieces), 2)))
        quoted = pc.starts_with(fields, '"')
        if not pc.any(quoted, min_count=0).as_py():
            return fields
        inner = pc.utf8_slice_codeunits(fields.filter(quoted), 1, -1)
        return pc.replace_with_mask(fields, quoted, pc.replace_substring(inner, '""', '"'))

    def quoted(self) -> Flags:
        """Records with a field in quotes."""
        flags: Flags = (self.data[np.minimum(self.starts, len(self.data) - 1)] == _QUOTE).any(1)
        return flags


@dataclass(slots=True)
class _Inspection:
    """The faults found so far, and what must be remembered to find duplicates."""

    dialect: Dialect
    rules: Rules
    faults: set[Fault] = field(default_factory=set)
    rows: int = 0
    idremotes: list[pa.Array] = field(default_factory=list)
    numbers: list[pa.Array] = field(default_factory=list)
    lines: list[Ints] = field(default_factory=list)

    @property
    def enough(self) -> bool:
        return len(self.faults) >= self.rules.maximum_faults or (
            self.rows > self.rules.maximum_rows
        )

    def add(self, code: FaultCode, lines: Iterable[int]) -> None:
        """Note a fault on each of these lines, until there are enough."""
        for line in lines:
            if len(self.faults) >= self.rules.maximum_faults:
                self.faults.add(Fault(int(line), FaultCode.TOO_MANY_FAULTS))
                return
            self.faults.add(Fault(int(line), code))

    def count(self, lines: Ints) -> None:
        """Count rows, whatever they hold."""
        room = self.rules.maximum_rows - self.rows
        if self.rows <= self.rules.maximum_rows < self.rows + len(lines):
            self.add(FaultCode.TOO_MANY_ROWS, lines[room : room + 1])
        self.rows += len(lines)

    def judge(self, block: _Block) -> None:
        """Judge each field of a block by its own rule."""
        if not len(block.lines):
            return
        columns = {name: block.column(name) for name in FIELDS}
        frame = pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype)
        frame.index = pd.Index(block.lines)
        shortest = 0 if self.rules.empty_oadc else 1
        self._require(frame["idremote"].str.fullmatch("[A-Za-z0-9]{1,40}"), FaultCode.IDREMOTE)
        self._require(frame["msisdn"].str.fullmatch(r"\+[1-9][0-9]{7,14}"), FaultCode.MSISDN)
        self._require(frame["oadc"].str.fullmatch(f"[A-Za-z0-9]{{{shortest},11}}"), FaultCode.OADC)
        self._require(frame["msg"] != "", FaultCode.EMPTY_TEXT)
        self._judge_texts(columns["msg"], block.lines)
        if self.dialect.delimiter_in_text != "quote":
            self.add(FaultCode.DELIMITER, block.lines[block.quoted()])
        self.idremotes.append(columns["idremote"])
        self.numbers.append(columns["msisdn"])
        self.lines.append(block.lines)

    def _require(self, kept: "pd.Series[bool]", code: FaultCode) -> None:
        if not kept.all():
            self.add(code, kept.index[~kept.to_numpy(np.bool_)])

    def _judge_texts(self, texts: pa.Array, lines: Ints) -> None:
        unicode = self.rules.unicode
        segments = gsm.segments(texts, unicode=unicode)
        most = gsm.MOST_PARTS if self.rules.long_sms else 1
        self.add(FaultCode.TOO_LONG, lines[segments > most])
        if not unicode:
            undecodable = {fault.line for fault in self.faults if fault.code is FaultCode.ENCODING}
            foreign = lines[gsm.has_foreign(texts)].tolist()
            self.add(FaultCode.CHARACTERS, [line for line in foreign if line not in undecodable])

    def conclude(self) -> list[Fault]:
        """All faults, those that only the whole file shows included."""
        if not self.rows:
            self.add(FaultCode.EMPTY_FILE, [1])
        if self.lines:
            lines = np.concatenate(self.lines)
            self._find_duplicates(self.idremotes, lines, FaultCode.IDREMOTE_DUPLICATE)
            self._find_duplicates(self.numbers, lines, FaultCode.MSISDN_DUPLICATE)
        return sorted(self.faults, key=lambda fault: (fault.line, fault.code))

    def _find_duplicates(self, columns: list[pa.Array], lines: Ints, code: FaultCode) -> None:
        values = pa.chunked_array(columns, TEXT)
        if pc.count_distinct(values).as_py() == len(values):
            return
        repeated = pd.Series(values, dtype=pd.ArrowDtype(TEXT)).duplicated().to_numpy(np.bool_)
        filled = pc.not_equal(values, "").to_numpy().astype(np.bool_)  # empty: told already
        self.add(code, lines[repeated & filled])


_QUOTE, _SEMICOLON, _CR, _LF = (ord(character) for character in '";\r\n')
_BLOCK = 8 << 20
_LONGEST_RECORD = 64 << 10  # far beyond any message: a quote was opened and never closed


def _whole_lines(source: BinaryIO) -> Iterator[bytes]:
    """The file in pieces that end at a line feed, but for the last."""
    rest = b""
    while piece := source.read(_BLOCK):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece
    if rest:
        yield rest


@dataclass(frozen=True, slots=True)
class _Scan:
    """The complete records at the beginning of some bytes, up to the first with a broken quote."""

    block: _Block  # those of four fields
    lines: Ints  # of all records, counted from the first
    misshapen: Flags  # records of more or fewer fields
    badly_ended: Flags
    length: int  # bytes of all records
    line_feeds: int  # in those bytes
    broken: bool  # the record after them uses quotes wrongly


def _scan(data: bytes) -> _Scan:
    """Find records and fields by looking at delimiters, quotes and line ends alone.

    A byte lies inside quotes if an odd number of quotes stands before it; a doubled quote leaves
    that as it was.
    """
    content = np.frombuffer(data, np.uint8)
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
    badly_ended = ~after_cr
    stray = at[(kind == _CR) & ~inside & (content[np.minimum(at + 1, length - 1)] != _LF)]
    badly_ended[np.searchsorted(ends, stray)] = True

    delimiters = at[(kind == _SEMICOLON) & ~inside]
    record = np.searchsorted(ends, delimiters)
    good = np.bincount(record, minlength=len(ends)) == len(FIELDS) - 1
    between = delimiters[good[record]].reshape(-1, len(FIELDS) - 1)
    feeds = at[kind == _LF]
    lines = np.searchsorted(feeds, starts).astype(np.int64)
    block = _Block(
        content,
        np.column_stack([starts[good], between + 1]),
        np.column_stack([between, (ends - after_cr)[good]]),
        lines[good],
    )
    return _Scan(block, lines, ~good, badly_ended, length, len(feeds), broken_at is not None)


def _first_broken_quote(content: Bytes, at: Ints, kind: Bytes, inside: Flags) -> int | None:
    """Where a quote opens or closes in the middle of a field, if one does."""
    quotes, opening = at[kind == _QUOTE], inside[kind == _QUOTE]
    neighbour = np.where(opening, quotes - 1, quotes + 1)
    edge = (neighbour < 0) | (neighbour >= len(content))
    beside = content[np.clip(neighbour, 0, len(content) - 1)]
    fine = edge | (beside == _SEMICOLON) | (beside == _QUOTE) | (beside == _LF)
    fine |= ~opening & (beside == _CR)
    broken = quotes[~fine]
    return int(broken[0]) if len(broken) else None


@dataclass(slots=True)
class _Reader:
    """An RFC 4180 reader over pieces of a file, which tells an inspection what it stumbles on."""

    inspection: _Inspection
    line: int = 1  # of the next record

    def blocks(self, pieces: Iterator[bytes]) -> Iterator[_Block]:
        """The records of four fields, in order."""
        pending, line = b"", 1
        for number, piece in enumerate(pieces):
            if number == 0 and piece.startswith(codecs.BOM_UTF8):
                self.inspection.add(FaultCode.BOM, [1])
                piece = piece.removeprefix(codecs.BOM_UTF8)
            data = pending + self._utf8(piece, line)
            line += piece.count(b"\n")
            if not piece.endswith(b"\n"):
                self.inspection.add(FaultCode.LINE_END, [line])
                data += b"\r\n"
            used = yield from self._read(data, last=False)
            pending = data[used:]
        yield from self._read(pending, last=True)

    def _utf8(self, piece: bytes, line: int) -> bytes:
        """The same lines in UTF-8; those that aren't in the agreed encoding are told."""
        dialect = self.inspection.dialect
        try:
            text = piece.decode(dialect.encoding)
        except UnicodeDecodeError:
            contents = enumerate(piece.split(b"\n"), line)
            wrong = [n for n, content in contents if not _decodes(content, dialect.encoding)]
            self.inspection.add(FaultCode.ENCODING, wrong)
            return piece.decode(dialect.encoding, "replace").encode()
        return piece if dialect.is_utf8 else text.encode()

    def _read(self, data: bytes, *, last: bool) -> Generator[_Block, None, int]:
        """Read what is complete; returns how many bytes that was.

        After a broken quote it goes on at the next line, by smaller steps.
        """
        at, step = 0, len(data)
        while at < len(data) and not self.inspection.enough:
            some = data[at : at + step]
            to_the_end = at + step >= len(data)
            scan = _scan(some)
            yield self._told(scan)
            at += scan.length
            left = len(some) - scan.length
            if scan.broken or left > _LONGEST_RECORD or (last and to_the_end and left):
                at, step = self._skip_line(data, at), 2 * _LONGEST_RECORD
            elif to_the_end:
                break
            else:
                step *= 2
        return at

    def _told(self, scan: _Scan) -> _Block:
        """The scan's block, its lines as they are in the file; its faults are told."""
        lines = self.line + scan.lines
        self.inspection.count(lines)
        self.inspection.add(FaultCode.LINE_END, lines[scan.badly_ended])
        self.inspection.add(FaultCode.FIELDS, lines[scan.misshapen])
        block = replace(scan.block, lines=self.line + scan.block.lines)
        self.line += scan.line_feeds
        return block

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

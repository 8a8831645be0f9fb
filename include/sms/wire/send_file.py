"""Writing messages as the provider's CSV (R14-R16, R23).

Texts and recipients are decided elsewhere. `sms.wire.inspection` checks the bytes; the two modules
share only the dialect.
"""

import codecs
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import BinaryIO, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.text import TEXT, Encoded, Flags, Pieced, bytes_of, joined, rows_of
from sms.columnar.threads import ordered
from sms.errors import ConfigurationError, SourceError
from sms.telecom import gsm

DelimiterInText: TypeAlias = Literal["quote", "replace", "refuse"]

MOST_ROWS = 1_000_000  # spec: "up to 1 million recipients"
FIELDS = ("idremote", "msisdn", "oadc", "msg")
NEED_QUOTES = b';"\r\n'  # RFC 4180, 2.6, with the provider's delimiter
ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class Dialect:
    """The settings of the gateway's CSV."""

    encoding: str = "utf-8"
    delimiter_in_text: DelimiterInText = "quote"

    def __post_init__(self) -> None:
        plain = bytes(range(128))
        try:
            fits = plain.decode("ascii").encode(self.encoding) == plain
            width = len(bytes(range(256)).decode(self.encoding, "replace"))
        except (LookupError, UnicodeError) as error:
            raise ConfigurationError(f"{self.encoding} is no encoding for the gateway") from error
        # One byte a character, or UTF-8: then a delimiter is never part of a character.
        if not fits or (width != 256 and codecs.lookup(self.encoding).name != "utf-8"):
            raise ConfigurationError(
                f"{self.encoding} can't encode the gateway's files: choose utf-8, or an encoding "
                "of one byte a character that contains ASCII"
            )

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name == "utf-8"


@cache
def beyond(encoding: str) -> str | None:
    """An Arrow pattern of the characters that an encoding lacks; None for UTF-8, which has all.

    `encoding` is a Dialect's.
    """
    if codecs.lookup(encoding).name == "utf-8":
        return None
    encodable = bytes(range(256)).decode(encoding, "ignore")
    codes = "".join(rf"\x{{{ord(character):X}}}" for character in encodable)
    return f"[^{codes}]"


def lacking(text: str, encoding: str) -> list[str]:
    """The codes of a text's distinct characters that an encoding lacks."""
    others = {each for each in text if not each.encode(encoding, "ignore")}
    return sorted(map(gsm.name_of, others))


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """The counts, size and digest of a written file."""

    rows: int
    size_bytes: int
    sha256: str
    segments: int


def parts(total: int, maximum: int = MOST_ROWS) -> list[int]:
    """The sizes of the fewest files for `total` rows: at most `maximum` each, nearly equal."""
    if maximum < 1:
        raise ConfigurationError("a file needs room for at least one recipient")
    count = -(-total // maximum)
    return [total // count + (number < total % count) for number in range(count)]


@dataclass(frozen=True, slots=True)
class Block:
    """The bytes of some messages, ready to write."""

    data: bytes | memoryview
    rows: int
    segments: int


class Output:
    """A file for blocks of messages; without a stream, blocks are only counted."""

    def __init__(self, stream: BinaryIO | None) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._rows = self._size = self._segments = 0

    def add(self, block: Block) -> None:
        """Write and count a block."""
        if self._stream is not None:
            self._stream.write(block.data)
        self._digest.update(block.data)
        self._size += len(block.data)
        self._rows += block.rows
        self._segments += block.segments

    @property
    def written(self) -> WrittenFile:
        """The totals of the blocks so far."""
        return WrittenFile(self._rows, self._size, self._digest.hexdigest(), self._segments)


def write(batches: Iterable[pa.RecordBatch], out: BinaryIO, dialect: Dialect) -> WrittenFile:
    """Write messages (idremote, msisdn, oadc, msg, segments) as the file to upload."""
    output = Output(out)
    for encoded in ordered(lambda some: block(some, dialect), _sliced(batches)):
        output.add(encoded)
    return output.written


def _sliced(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            yield batch.slice(start, ROWS_AT_ONCE)


def block(messages: pa.RecordBatch, dialect: Dialect) -> Block:
    """Messages (idremote, msisdn, oadc, msg, segments) as lines of the file."""
    idremote, oadc, msg = (_quoted(messages[name], dialect) for name in ("idremote", "oadc", "msg"))
    data = _encoded(_lines(idremote, messages["msisdn"], oadc, [msg]), dialect)
    return Block(data, messages.num_rows, pc.sum(messages["segments"], min_count=0).as_py())


def block_of(
    idremote: pa.LargeStringArray,
    msisdn: pa.Int64Array,
    oadc: str,
    msg: Pieced,
    segments: npt.NDArray[np.integer],
    dialect: Dialect,
) -> Block:
    """The lines of texts in pieces; each piece is checked once and copied once.

    IDREMOTE and sender must need no quotes.
    """
    lines = _lines(idremote, msisdn, pa.scalar(oadc, TEXT), _quoted_pieces(msg, dialect))
    return Block(_encoded(lines, dialect), msg.size, int(segments.sum()))


def _lines(
    idremote: pa.Array, msisdn: pa.Array, oadc: pa.Array | pa.Scalar, msg: list[pa.Array]
) -> pa.Array:
    """Each message as a line with its line end."""
    plus, delimiter, end = (pa.scalar(word, TEXT) for word in (";+", ";", "\r\n"))
    parts = [idremote, plus, msisdn.cast(TEXT), delimiter, oadc, delimiter, *msg, end]
    lines = joined(parts, len(idremote))
    if lines.null_count:
        raise SourceError("a message lacks its IDREMOTE, number, sender or text: render it anew")
    return lines


def _quoted(column: pa.Array, dialect: Dialect) -> pa.Array:
    """The fields in the form of RFC 4180: quoted only if they need it."""
    fields = column.cast(TEXT)
    special = _special(fields)
    if special is None:
        return fields
    _require_quotes(dialect)
    chosen = pa.array(special)
    doubled = pc.replace_substring(fields.filter(chosen), '"', '""')
    quote = pa.scalar('"', TEXT)
    return pc.replace_with_mask(fields, chosen, joined([quote, doubled, quote], len(doubled)))


def _quoted_pieces(column: Pieced, dialect: Dialect) -> list[pa.Array | pa.Scalar]:
    """`_quoted` for fields in pieces; the quotes are pieces too."""
    special = np.zeros(column.size, np.bool_)
    pieces = []
    for piece in column.pieces:
        flags = _special(piece.texts)
        if flags is not None:
            special |= piece.by_row(flags)
            piece = Encoded(pc.replace_substring(piece.texts, '"', '""'), piece.which)
        pieces.append(piece.column())
    if not special.any():
        return pieces
    _require_quotes(dialect)
    quote = Encoded(pa.array(["", '"'], TEXT), special.astype(np.int64)).column()
    return [quote, *pieces, quote]


def _require_quotes(dialect: Dialect) -> None:
    if dialect.delimiter_in_text != "quote":
        raise SourceError(
            "a message still holds a semicolon, a double quote or a line break, and the settings "
            f"say `delimiter_in_text: {dialect.delimiter_in_text}`: render it anew"
        )


def _special(fields: pa.LargeStringArray) -> Flags | None:
    """Which fields need quotes; None if none does, as in most campaigns."""
    data, offsets = bytes_of(fields)
    raw = data.tobytes()  # `in` is faster on bytes than on an array
    positions = [np.flatnonzero(data == byte) for byte in NEED_QUOTES if byte in raw]
    if not positions:
        return None
    special = np.zeros(len(fields), np.bool_)
    special[rows_of(offsets, np.concatenate(positions))] = True
    return special


def _encoded(lines: pa.Array, dialect: Dialect) -> bytes | memoryview:
    """The bytes of the lines."""
    _, bounds, data = lines.buffers()
    offsets = np.frombuffer(bounds, np.int64)
    first, last = offsets[lines.offset], offsets[lines.offset + len(lines)]
    block = memoryview(data)[first:last]
    if dialect.is_utf8:
        return block
    try:
        return bytes(block).decode().encode(dialect.encoding)
    except UnicodeEncodeError as error:
        raise SourceError(
            f"{dialect.encoding} has no {gsm.name_of(error.object[error.start])}, which a message "
            "contains: leave it out of the text, or ask the provider to take UTF-8"
        ) from None  # the cause contains all the texts

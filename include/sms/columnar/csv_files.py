"""CSV files of people: their format, and their rows as text columns.

This module has encodings, the delimiter, the header, and errors that name a line. `csv_rows` finds
where a row ends. The meaning of columns is elsewhere.

A file is UTF-8, or the encoding of its byte order mark; the encoding is never guessed from
letters. `csv_rows` cuts the bytes into rows once, and Arrow reads the cells of whole rows.
"""

import codecs
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from sms.columnar.csv_rows import LINE_END, Block, Rows, line_ends
from sms.columnar.text import TEXT
from sms.columnar.threads import ordered
from sms.errors import SourceError
from sms.words import count

BLOCK = 8 << 20  # bytes
THREADS = 2  # Arrow parses faster than any caller consumes
DELIMITERS = ",;\t|"
BYTES = pa.large_binary()
SHOWN = {"\t": "a tab"}

# Longer marks first: UTF-32's mark begins with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# First bytes of other file types.
OTHERS = (
    (b"PK\x03\x04", "an Excel workbook, or another ZIP"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook of before 2007"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"%PDF", "a PDF"),
)
SAVE = 'Excel\'s Save As has "CSV UTF-8 (comma delimited)" for it'
SEPARATOR = re.compile(rb'"?sep=([^\r\n])"?(?:\r\n|\r|\n|\Z)', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CsvFile:
    """The format of a CSV. Its rows start after `head` bytes of UTF-8, on line `first`."""

    path: Path
    columns: tuple[str, ...]
    delimiter: str
    encoding: str
    mark: int  # bytes
    head: int
    first: int

    @classmethod
    def open(cls, path: Path, encoding: str | None = None) -> "CsvFile":
        """Read a file's beginning. Raises SourceError if it is not a CSV.

        `encoding` is for a file without a byte order mark that is not UTF-8.
        """
        with path.open("rb") as source:
            start = source.read(BLOCK)
        for sign, kind in OTHERS:
            if start.startswith(sign):
                raise SourceError(f"{path} is {kind}, and no CSV: save it as one. {SAVE}")
        encoding, mark = _encoding(path, start, encoding)
        file = cls(path, (), "", encoding, mark, 0, 1)
        text = next(file._pieces(), b"")
        if b"\0" in LINE_END.split(text, maxsplit=1)[0]:
            raise SourceError(
                f"{path}, line 1: it contains zero bytes, as UTF-16 without a byte order mark "
                f"does. Save the file as UTF-8: {SAVE}. Or name its encoding, such as --encoding "
                "utf-16-le"
            )
        match = SEPARATOR.match(text)
        delimiters, head = DELIMITERS, 0
        if match:
            head, delimiters = match.end(), match[1].decode("utf-8", "replace")
            if delimiters not in DELIMITERS:
                raise SourceError(
                    f"{path}, line 1: sep={delimiters} is not a supported delimiter: use "
                    "one of comma, semicolon, tab and |"
                )
        line = 2 if match else 1
        if text[head : head + 1] in (b"", b"\r", b"\n"):
            raise SourceError(f"{path}, line {line}: a CSV begins with the names of its columns")
        delimiter, names, size = file._header(text[head:], delimiters, line)
        return replace(
            file,
            columns=names,
            delimiter=delimiter,
            head=head + size,
            first=1 + line_ends(text[: head + size]),
        )

    def without_header(self) -> "CsvFile":
        """The same file with its first line as a row; columns are `column 1` and so on."""
        names = tuple(f"column {place}" for place in range(1, len(self.columns) + 1))
        separator = SEPARATOR.match(next(self._pieces(), b""))
        return replace(
            self,
            columns=names,
            head=separator.end() if separator else 0,
            first=2 if separator else 1,
        )

    def batches(
        self, columns: Sequence[str] | None = None, raw: Collection[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows, with all or only the named columns; an empty unquoted cell is null.

        The `raw` columns are bytes in any encoding. Raises SourceError with the line of a fault.
        """
        return ordered(_Parser(self, columns, raw), self._blocks(), THREADS)

    def lines(self, rows: Iterable[int]) -> Iterator[int]:
        """The line where each of these rows begins; `rows` count from 1, ascending."""
        before, wanted = 0, iter(rows)
        row = next(wanted, None)
        for block in self._blocks():
            lines = block.lines()
            while row is not None and row - before <= len(lines):
                yield int(lines[row - before - 1])
                row = next(wanted, None)
            if row is None:
                return
            before += len(lines)

    def _header(self, text: bytes, delimiters: str, line: int) -> tuple[str, tuple[str, ...], int]:
        """The delimiter, the column names, and the header's size in bytes."""
        read = {sign: _first_row(text, sign) for sign in delimiters}
        cells = {sign: names for sign, names in read.items() if names}
        most = max((len(names) for names, _ in cells.values()), default=0)
        if most < 2 and None in read.values():
            raise SourceError(
                f"{self.path}, line {line}: the quotes around the columns' names are not in pairs, "
                f"or the names are longer than {BLOCK >> 20} MiB"
            )
        best = [sign for sign, (names, _) in cells.items() if len(names) == most]
        if len(best) > 1 and most > 1:
            signs = " and ".join(SHOWN.get(sign, sign) for sign in best)
            raise SourceError(
                f"{self.path}, line {line}: {signs} both divide it into {most} names. Put the "
                "right one into a line of its own before it, such as sep=;"
            )
        names, size = cells[best[0]]
        rows = Rows(self.path, best[0], most)
        for row in rows.blocks([text[:size]], line):
            rows.require_no_rows_in_cells(row)
        try:
            decoded = tuple(name.decode() for name in names)
        except UnicodeDecodeError:
            raise SourceError(_undecodable(self.path, line, None)) from None
        return best[0], decoded, size

    def _blocks(self) -> Iterator[Block]:
        rows = Rows(self.path, self.delimiter, len(self.columns))
        return rows.blocks(_behind(self.head, self._pieces()), self.first)

    def _pieces(self) -> Iterator[bytes]:
        """Yield the file's bytes as UTF-8, without the byte order mark."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        line = 1
        with self.path.open("rb") as source:
            source.seek(self.mark)
            while piece := source.read(BLOCK):
                if self.encoding != "utf-8":
                    piece = self._decoded(decoder, piece, line, last=False)
                    line += line_ends(piece)
                yield piece
        if self.encoding != "utf-8":
            yield self._decoded(decoder, b"", line, last=True)

    def _decoded(
        self, decoder: codecs.IncrementalDecoder, piece: bytes, line: int, *, last: bool
    ) -> bytes:
        try:
            return decoder.decode(piece, last).encode()
        except UnicodeError as error:
            start = getattr(error, "start", 0)
            good = piece[:start].decode(self.encoding, "ignore").encode()
            raise SourceError(
                f"{self.path}, line {line + line_ends(good)}: this is not {self.encoding}: save "
                f"the file as UTF-8. {SAVE}"
            ) from None


def codec_name(encoding: str) -> str | None:
    """Python's name of a text encoding; None if Python has none of that name."""
    with suppress(LookupError, UnicodeError, ValueError):
        codec = codecs.lookup(encoding)
        "é".encode(codec.name)
        return codec.name if codec.incrementaldecoder else None
    return None


def _encoding(path: Path, start: bytes, asked: str | None) -> tuple[str, int]:
    """A file's encoding, and the size of its byte order mark in bytes."""
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    first = LINE_END.split(start, maxsplit=1)[0]
    if asked and (b"\0" in first or not _is_utf8(path)):
        return asked, 0
    return "utf-8", 0


def _is_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as source:
            while piece := source.read(BLOCK):
                decoder.decode(piece)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _behind(head: int, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces without their first `head` bytes."""
    for piece in pieces:
        yield piece[head:]
        head = max(0, head - len(piece))


def _first_row(text: bytes, delimiter: str) -> tuple[list[bytes], int] | None:
    """The cells of the first row, and its size in bytes; None if its quotes are not in pairs."""
    mark = re.escape(delimiter.encode())
    cell = re.compile(
        rb'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"%b\r\n][^%b\r\n]*+|))(%b|\r\n|\r|\n|\Z)'
        % (mark, mark, mark)
    )
    cells: list[bytes] = []
    at = 0
    while match := cell.match(text, at):
        at = match.end()
        cells.append(match[2] if match[1] is None else match[1].replace(b'""', b'"'))
        if match[3] != delimiter.encode():
            return None if at >= BLOCK else (cells, at)
    return None


class _Parser:
    """Arrow's reader of whole rows; its errors name a line and show no cell."""

    def __init__(self, file: CsvFile, columns: Sequence[str] | None, raw: Collection[str]) -> None:
        self.file = file
        self.rows = Rows(file.path, file.delimiter, len(file.columns))
        self.convert = pa.csv.ConvertOptions(
            column_types={name: BYTES if name in raw else TEXT for name in file.columns},
            include_columns=None if columns is None else [*columns],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        )

    def __call__(self, block: Block) -> pa.RecordBatch:
        self.rows.require_no_rows_in_cells(block)
        quoted = len(block.cells.opens) > 0
        read = pa.csv.ReadOptions(
            use_threads=False,
            block_size=len(block.data) + 1,
            column_names=list(self.file.columns),
        )
        parse = pa.csv.ParseOptions(
            delimiter=self.file.delimiter,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted,
        )
        try:
            table = pa.csv.read_csv(pa.BufferReader(block.data), read, parse, self.convert)
        except pa.ArrowInvalid as error:  # its message may quote a cell
            raise SourceError(self._sentence(block, error)) from None
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)

    def _sentence(self, block: Block, error: pa.ArrowInvalid) -> str:
        path, header = self.file.path, len(self.file.columns)
        counts = self.rows.counts(block)
        for row in np.flatnonzero(counts != header)[:1]:
            line = block.lines()[row]
            cells = count(int(counts[row]), "cell")
            return f"{path}, line {line}: the row has {cells}, and the header {header}"
        for start, end in zip(block.starts, [*block.starts[1:], len(block.data)], strict=True):
            try:
                block.data[start:end].decode()
            except UnicodeDecodeError as wrong:
                place = int(start) + wrong.start
                began = max(block.data.rfind(sign, 0, place) for sign in (b"\n", b"\r"))
                return _undecodable(path, block.line(place), place - began)
        return f"{path} can't be read as a CSV ({type(error).__name__})"


def _undecodable(path: Path, line: int, place: int | None) -> str:
    where = f", byte {place}" if place else ""
    return (
        f"{path}, line {line}{where}: this is not UTF-8; save the file in that encoding. {SAVE}; "
        "or name its encoding, such as --encoding cp1252 for Excel's plain CSV"
    )

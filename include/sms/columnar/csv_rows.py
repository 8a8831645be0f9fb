"""Blocks of whole CSV rows, checked before a cell is read.

This module finds where rows and quoted cells begin and end (RFC 4180), and on which line.
Encodings and columns are in `csv_files`.

A quote opens a cell only at the cell's beginning, and closes it only at its end. Anywhere else it
is a character of an unquoted cell, or the file is refused with the line. A stray quote at a cell's
beginning would take the rows up to the next quote into one cell: so a quoted cell with line breaks
is refused if its text looks like rows. Bytes without quotes need none of these checks.

A row may end in LF, CRLF or CR; a blank line is not a row.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from sms.columnar.text import Bytes, Flags, Ints
from sms.errors import SourceError

LONGEST_ROW = 8 << 20  # bytes
FEWEST_DIGITS = 6  # of a phone number, valid or not

QUOTE = ord('"')
LINE_END = re.compile(rb"\r\n|\r|\n")
NOTHING: Ints = np.zeros(0, np.int64)
ADVICE = 'Write a quote that is part of a text twice, and the text in quotes ("5"" screen")'


@dataclass(frozen=True, slots=True)
class Cells:
    """The quoted cells of some bytes: positions of their outer quotes, and of an unclosed one."""

    opens: Ints = field(default_factory=NOTHING.copy)
    closes: Ints = field(default_factory=NOTHING.copy)
    unclosed: int | None = None

    def around(self, places: Ints) -> Ints:
        """The cell at each position; -1 for a position outside quoted cells."""
        if not len(self.opens):
            return np.full(len(places), -1)
        cell = np.searchsorted(self.opens, places, side="right") - 1
        return np.where((cell >= 0) & (places < self.closes[cell]), cell, -1)


@dataclass(frozen=True)
class Block:
    """Whole rows of a CSV; `first` is their first line number."""

    data: bytes
    first: int
    cells: Cells

    @cached_property
    def ends(self) -> Ints:
        """The positions of all line ends, including those in quoted cells."""
        view = np.frombuffer(self.data, np.uint8)
        is_end = view == ord("\n")
        if b"\r" in self.data:
            returned = view == ord("\r")
            returned[:-1] &= ~is_end[1:]  # CRLF is one end
            is_end |= returned
        ends: Ints = np.flatnonzero(is_end)
        return ends

    @cached_property
    def starts(self) -> Ints:
        """The positions where rows begin."""
        view = np.frombuffer(self.data, np.uint8)
        starts = np.concatenate([[0], self.ends[self.cells.around(self.ends) < 0] + 1])
        starts = starts[starts < len(view)]
        filled: Ints = starts[(view[starts] != ord("\n")) & (view[starts] != ord("\r"))]
        return filled

    def lines(self) -> Ints:
        """The line where each row begins."""
        lines: Ints = self.first + np.searchsorted(self.ends, self.starts)
        return lines

    def row_around(self, place: int) -> tuple[int, int]:
        """The begin and end of the row at a position."""
        after = int(np.searchsorted(self.starts, place, side="right"))
        end = int(self.starts[after]) if after < len(self.starts) else len(self.data)
        return int(self.starts[after - 1]), end

    def line(self, place: int) -> int:
        """The line at a position."""
        return self.first + int(np.searchsorted(self.ends, place))


@dataclass(frozen=True, slots=True)
class Rows:
    """The splitter of a file into rows: its delimiter and the cells of each row."""

    path: Path
    delimiter: str
    columns: int

    def blocks(self, pieces: Iterable[bytes], first: int = 1) -> Iterator[Block]:
        """Yield the file's bytes, cut after whole rows. Raises SourceError with the line."""
        rest = b""
        for piece in pieces:
            data = rest + piece
            cells = self._cells(data, first, ends=False)
            cut = _behind_rows(data, cells)
            rest = data[cut:]
            if cut:
                block = Block(data[:cut], first, _until(cells, cut))
                yield block
                first += line_ends(block.data)
            if len(rest) >= LONGEST_ROW:
                raise self._unclosed(first, cells.unclosed is not None)
        if rest:
            yield Block(rest, first, self._cells(rest, first, ends=True))

    def _cells(self, data: bytes, first: int, *, ends: bool) -> Cells:
        """The quoted cells of bytes that begin with a row; `ends` means the end of the file."""
        if b'"' not in data:
            return Cells()
        cells = _plainly_quoted(data, self.delimiter.encode(), ends)
        if cells is None:
            cells = self._walk(data, first, ends)
        if ends and cells.unclosed is not None:
            raise self._unclosed(first + line_ends(data[: cells.unclosed]), True)
        return cells

    def _walk(self, data: bytes, first: int, ends: bool) -> Cells:
        """The same, one quote at a time, for bytes with quotes inside unquoted cells."""
        border = re.escape(self.delimiter.encode()) + rb"\r\n"
        opening = re.compile(rb"(?:\A|(?<=[%b]))( *+)\"" % border)
        cell = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')
        at = 0
        opens: list[int] = []
        closes: list[int] = []
        while match := opening.search(data, at):
            if match[1]:
                raise self._wrong(
                    first + line_ends(data[: match.start()]),
                    "a space precedes the quote that opens a cell: remove the space",
                )
            closed = cell.match(data, match.end())
            if closed is None or (closed.end() == len(data) and not ends):
                return _cells_of(opens, closes, match.end() - 1)
            at = closed.end()
            if at < len(data) and data[at] not in b"\r\n" + self.delimiter.encode():
                line = first + line_ends(data[: match.start()])
                upto = first + line_ends(data[:at])
                on = "" if upto == line else f" and is closed on line {upto}"
                raise self._wrong(
                    line, f"a quote opens a cell{on}, and text follows the quote that closes it"
                )
            opens.append(match.end() - 1)
            closes.append(at - 1)
        return _cells_of(opens, closes, None)

    def require_no_rows_in_cells(self, block: Block) -> None:
        """Check that no stray quote made rows the text of a cell. Raises SourceError."""
        if not len(block.cells.opens):
            return
        broken = block.cells.around(block.ends)
        broken = np.unique(broken[broken >= 0])
        if self.columns > 1:  # what looks like a row has a delimiter
            marks = np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord(self.delimiter))
            upto = np.searchsorted(marks, block.cells.closes[broken])
            broken = broken[upto > np.searchsorted(marks, block.cells.opens[broken])]
        for cell in broken.tolist():
            begin, end = block.row_around(int(block.cells.opens[cell]))
            text = block.data[block.cells.opens[cell] + 1 : block.cells.closes[cell]]
            if self._are_rows(block.data[begin:end]) or self._holds_row(text):
                line = block.line(begin)
                upto_line = line + line_ends(block.data[begin:end].rstrip())
                raise self._wrong(
                    line,
                    f"a cell in quotes goes on to line {upto_line} and contains what looks like "
                    "rows; if it is one text, replace its line breaks by spaces",
                )

    def counts(self, block: Block) -> Ints:
        """The number of cells in each row."""
        marks = np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord(self.delimiter))
        marks = marks[block.cells.around(marks) < 0]
        counts: Ints = 1 + np.diff(np.searchsorted(marks, [*block.starts, len(block.data)]))
        return counts

    def _are_rows(self, lines: bytes) -> bool:
        """Whether the lines of one row would be rows if quotes were plain characters."""
        filled = [line for line in LINE_END.split(lines) if line.strip(b' \t"')]
        marks = [line.count(self.delimiter.encode()) for line in filled]
        return len(marks) > 1 and {*marks} == {self.columns - 1}

    def _holds_row(self, text: bytes) -> bool:
        """Whether a cell's text contains a whole row, or a number next to a delimiter."""
        delimiter = self.delimiter.encode()
        lines = LINE_END.split(text)
        if any(line.count(delimiter) >= self.columns - 1 for line in lines[1:-1]):
            return True
        divided = (line.split(delimiter) for line in lines if delimiter in line)
        return any(_like_a_number(piece) for pieces in divided for piece in pieces)

    def _unclosed(self, line: int, quoted: bool) -> SourceError:
        if quoted:
            return self._wrong(line, "a quote opens a cell that no quote closes")
        return SourceError(
            f"{self.path}, line {line}: the row is longer than {LONGEST_ROW >> 20} MiB, so this is "
            "no CSV of people or numbers"
        )

    def _wrong(self, line: int, what: str) -> SourceError:
        return SourceError(f"{self.path}, line {line}: {what}. {ADVICE}")


def line_ends(data: bytes) -> int:
    """The number of line ends in these bytes."""
    ends = int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))
    return ends + data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else ends


def _like_a_number(piece: bytes) -> bool:
    digits = sum(48 <= sign <= 57 for sign in piece)
    return digits >= FEWEST_DIGITS and not re.search(rb"[A-Za-z]", piece)


def _cells_of(opens: Sequence[int], closes: Sequence[int], unclosed: int | None) -> Cells:
    return Cells(np.array(opens, np.int64), np.array(closes, np.int64), unclosed)


def _until(cells: Cells, place: int) -> Cells:
    count = int(np.searchsorted(cells.opens, place))
    return Cells(cells.opens[:count], cells.closes[:count])


def _plainly_quoted(data: bytes, delimiter: bytes, ends: bool) -> Cells | None:
    """The quoted cells, as whole columns; None if a quote neither bounds a cell nor is doubled."""
    view = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(view == QUOTE)
    opens, closes = quotes[::2], quotes[1::2]
    # A closing quote and an opening one right after it are one doubled quote.
    doubled = opens[1:] - closes[: len(opens) - 1] == 1
    opening = _borders(view.take(opens - 1, mode="wrap"), delimiter)
    opening[0] |= opens[0] == 0
    opening[1:] |= doubled
    closing = _borders(view.take(closes + 1, mode="clip"), delimiter)
    closing[-1:] |= closes[-1:] == len(view) - 1
    closing[: len(doubled)] |= doubled
    if not (opening.all() and closing.all()):
        return None
    if doubled.any():
        opens = opens[np.concatenate([[True], ~doubled])]
        closes = closes[np.concatenate([~doubled, [True]])[: len(closes)]]
    if len(closes) and not ends and closes[-1] == len(view) - 1:  # a second quote may follow
        closes = closes[:-1]
    if len(opens) > len(closes):
        return Cells(opens[:-1], closes, int(opens[-1]))
    return Cells(opens, closes)


def _borders(signs: Bytes, delimiter: bytes) -> Flags:
    """Which of these characters separate cells."""
    borders: Flags = (signs == ord(delimiter)) | (signs == ord("\n")) | (signs == ord("\r"))
    return borders


def _behind_rows(data: bytes, cells: Cells) -> int:
    """The end of the last surely complete row; a CR at the very end may become CRLF."""
    limit = len(data) if cells.unclosed is None else cells.unclosed
    while True:
        returned = data.rfind(b"\r", 0, min(limit, len(data) - 1))
        place = max(data.rfind(b"\n", 0, limit), returned)
        cell = int(cells.around(np.array([place]))[0]) if place >= 0 else -1
        if cell < 0:
            return place + 1
        limit = int(cells.opens[cell])

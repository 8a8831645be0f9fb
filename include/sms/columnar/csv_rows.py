"""A CSV's bytes into blocks of whole rows, judged before a cell is read.

What belongs here: where rows and quoted cells begin and end (RFC 4180), and in which line. What
doesn't: encodings and columns (`csv_files`).

A quote opens a cell only at its beginning, and closes it only at its end: anywhere else it is a
character of a cell without quotes, or the file is refused by line. A stray quote at a cell's
beginning would swallow the rows up to the next one, so a quoted cell with line breaks in it is
refused where what it holds looks like rows. Bytes without quotes need none of this.

A row may end in LF, CRLF or CR; a blank line is no row.
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
FEWEST_DIGITS = 6  # of a number, though it be a bad one

QUOTE = ord('"')
LINE_END = re.compile(rb"\r\n|\r|\n")
NOTHING: Ints = np.zeros(0, np.int64)
ADVICE = 'write a quote that is part of a text twice, and the text in quotes ("5"" screen")'


@dataclass(frozen=True, slots=True)
class Cells:
    """The quoted cells of some bytes: where their outer quotes are, and the one that stays open."""

    opens: Ints = field(default_factory=NOTHING.copy)
    closes: Ints = field(default_factory=NOTHING.copy)
    unclosed: int | None = None

    def around(self, places: Ints) -> Ints:
        """Which cell each of these places is in; -1 for those that are in none."""
        if not len(self.opens):
            return np.full(len(places), -1)
        cell = np.searchsorted(self.opens, places, side="right") - 1
        return np.where((cell >= 0) & (places < self.closes[cell]), cell, -1)


@dataclass(frozen=True)
class Block:
    """Whole rows of a CSV; `first` is the number of their first line."""

    data: bytes
    first: int
    cells: Cells

    @cached_property
    def ends(self) -> Ints:
        """Where its lines end, those in quoted cells among them."""
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
        """Where its rows begin."""
        view = np.frombuffer(self.data, np.uint8)
        starts = np.concatenate([[0], self.ends[self.cells.around(self.ends) < 0] + 1])
        starts = starts[starts < len(view)]
        filled: Ints = starts[(view[starts] != ord("\n")) & (view[starts] != ord("\r"))]
        return filled

    def lines(self) -> Ints:
        """The line in which each of its rows begins."""
        found: Ints = self.first + np.searchsorted(self.ends, self.starts)
        return found

    def row_around(self, place: int) -> tuple[int, int]:
        """Where the row of a byte begins and ends."""
        after = int(np.searchsorted(self.starts, place, side="right"))
        end = int(self.starts[after]) if after < len(self.starts) else len(self.data)
        return int(self.starts[after - 1]), end

    def line(self, place: int) -> int:
        """The line of a byte."""
        return self.first + int(np.searchsorted(self.ends, place))


@dataclass(frozen=True, slots=True)
class Rows:
    """How the rows of a file are found: its delimiter, and how many cells each must have."""

    path: Path
    delimiter: str
    columns: int

    def blocks(self, pieces: Iterable[bytes], first: int = 1) -> Iterator[Block]:
        """The file's bytes, cut behind whole rows. Raises SourceError with the line of a fault."""
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
        """The quoted cells of bytes that begin with a row; `ends` says that the file ends there."""
        if b'"' not in data:
            return Cells()
        cells = _plainly_quoted(data, self.delimiter.encode(), ends)
        if cells is None:
            cells = self._walk(data, first, ends)
        if ends and cells.unclosed is not None:
            raise self._unclosed(first + line_ends(data[: cells.unclosed]), True)
        return cells

    def _walk(self, data: bytes, first: int, ends: bool) -> Cells:
        """The same, quote by quote, where some are characters of cells without quotes."""
        border = re.escape(self.delimiter.encode()) + rb"\r\n"
        opening = re.compile(rb"(?:\A|(?<=[%b]))( *+)\"" % border)
        cell = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')
        at = 0
        opens: list[int] = []
        closes: list[int] = []
        while found := opening.search(data, at):
            if found[1]:
                raise self._wrong(
                    first + line_ends(data[: found.start()]),
                    "a space stands before the quote that opens a cell: remove the space",
                )
            closed = cell.match(data, found.end())
            if closed is None or (closed.end() == len(data) and not ends):
                return _cells_of(opens, closes, found.end() - 1)
            at = closed.end()
            if at < len(data) and data[at] not in b"\r\n" + self.delimiter.encode():
                line = first + line_ends(data[: found.start()])
                upto = first + line_ends(data[:at])
                on = "" if upto == line else f" and is closed on line {upto}"
                raise self._wrong(
                    line, f"a quote opens a cell{on}, and text follows the quote that closes it"
                )
            opens.append(found.end() - 1)
            closes.append(at - 1)
        return _cells_of(opens, closes, None)

    def require_no_rows_in_cells(self, block: Block) -> None:
        """See that no stray quote took rows for the text of a cell. Raises SourceError."""
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
                    f"a cell in quotes goes on to line {upto_line}, and holds what looks like "
                    "rows; if it is one text, put spaces for its line breaks",
                )

    def counts(self, block: Block) -> Ints:
        """How many cells each row has."""
        marks = np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord(self.delimiter))
        marks = marks[block.cells.around(marks) < 0]
        counts: Ints = 1 + np.diff(np.searchsorted(marks, [*block.starts, len(block.data)]))
        return counts

    def _are_rows(self, lines: bytes) -> bool:
        """Whether the lines of a row are rows themselves, were quotes no more than characters."""
        filled = [line for line in LINE_END.split(lines) if line.strip(b' \t"')]
        marks = [line.count(self.delimiter.encode()) for line in filled]
        return len(marks) > 1 and {*marks} == {self.columns - 1}

    def _holds_row(self, text: bytes) -> bool:
        """Whether a cell's text holds a whole row, or a number where a row would have it."""
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
    """How many lines end in these bytes."""
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
    """The quoted cells, as whole columns; None if a quote is neither around a cell nor doubled."""
    view = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(view == QUOTE)
    opens, closes = quotes[::2], quotes[1::2]
    # A quote that closes and one that opens right behind it are one, doubled.
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
    if len(closes) and not ends and closes[-1] == len(view) - 1:  # what follows is not known yet
        closes = closes[:-1]
    if len(opens) > len(closes):
        return Cells(opens[:-1], closes, int(opens[-1]))
    return Cells(opens, closes)


def _borders(signs: Bytes, delimiter: bytes) -> Flags:
    """Which of these characters stand between cells."""
    found: Flags = (signs == ord(delimiter)) | (signs == ord("\n")) | (signs == ord("\r"))
    return found


def _behind_rows(data: bytes, cells: Cells) -> int:
    """Where the last row that is whole for certain ends; a CR at the very end may become CRLF."""
    limit = len(data) if cells.unclosed is None else cells.unclosed
    while True:
        returned = data.rfind(b"\r", 0, min(limit, len(data) - 1))
        place = max(data.rfind(b"\n", 0, limit), returned)
        cell = int(cells.around(np.array([place]))[0]) if place >= 0 else -1
        if cell < 0:
            return place + 1
        limit = int(cells.opens[cell])

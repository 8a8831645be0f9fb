"""Plain lines of a delivery report, read as whole columns.

This module finds the fields of a million rows without a loop over rows. `report_rows` reads the
other lines one by one: odd quotes, headers, broken rows.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms.columnar.text import Flags, Ints
from sms.telecom.msisdn import OVERSEAS_BLOCKS
from sms.wire.report_rows import LONGEST_ROW

Bytes = npt.NDArray[np.uint8]

_STRIPPED = np.zeros(256, dtype=bool)
_STRIPPED[list(b' \t\r"')] = True
_BLOCK_OVERSEAS = np.isin(np.arange(1000), OVERSEAS_BLOCKS)
_FICTION = 33_63998  # in the overseas block 639, and a mainland number


@dataclass(frozen=True, slots=True)
class Span:
    """The begin and end of one field in many lines, without spaces and quotes around it."""

    begin: Ints
    end: Ints

    @classmethod
    def trimmed(cls, block: Bytes, begin: Ints, end: Ints) -> "Span":
        for _ in range(4):  # a field with more around it is read row by row
            before = (begin < end) & _STRIPPED[block[begin]]
            begin = begin + before
            behind = (begin < end) & _STRIPPED[block[end - 1]]
            end = end - behind
            if not before.any() and not behind.any():
                break
        return cls(begin, end)

    def of(self, rows: Flags) -> "Span":
        return Span(self.begin[rows], self.end[rows])

    def is_trimmed(self, block: Bytes) -> Flags:
        inner = self.begin < self.end
        return ~(inner & (_STRIPPED[block[self.begin]] | _STRIPPED[block[self.end - 1]]))

    def cut(self, block: Bytes) -> pa.LargeBinaryArray:
        """The bytes of the fields."""
        # Arrow copies the fields out of a column of fields and gaps in turn.
        offsets = np.column_stack((self.begin, self.end)).ravel()
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(block)]
        count = max(len(offsets) - 1, 0)
        both = pa.LargeBinaryArray.from_buffers(pa.large_binary(), count, buffers)
        return both.take(pa.array(np.arange(0, count, 2)))

    def integers(self, block: Bytes, most: int) -> Ints:
        """The fields as integers of at most `most` digits; -1 for anything else."""
        value = np.full(len(self.begin), -1, dtype=np.int64)
        length = self.end - self.begin
        for digits in range(1, most + 1):  # few passes, as nearly all have one length
            rows = np.flatnonzero(length == digits)
            if len(rows):
                value[rows] = _integers(block, self.begin[rows], digits)
        return value


@dataclass(frozen=True, slots=True)
class Cells:
    """A block's lines, which of them are plain rows, and the fields of these rows."""

    data: Bytes
    begin: Ints
    end: Ints
    plain: Flags
    idremote: Span
    msisdn: Ints
    idstatus: Ints
    status: Span
    operator: Span

    @classmethod
    def of(cls, block: bytes) -> "Cells":
        data = np.frombuffer(block, np.uint8)
        is_it = np.empty(len(data), np.bool_)  # reused: new memory costs more than a search
        end = _places(data, "\n", is_it)
        begin = np.concatenate(([0], end[:-1] + 1))
        marks = _places(data, ";", is_it)
        upto = np.searchsorted(marks, end)
        since = np.concatenate(([0], upto[:-1]))
        # A line with an odd number of quotes may open a text that goes on in the next line.
        plain = (upto - since >= 6) & (end - begin <= LONGEST_ROW)
        quote = _places(data, '"', is_it)
        quotes = _count(quote, end)
        plain &= quotes % 2 == 0
        if b"\0" in block:
            plain &= _count(_places(data, "\0", is_it), end) == 0
        returns = data[end - 1] == ord("\r")
        if block.count(b"\r") > returns.sum():  # one inside a line may be a line end too
            plain &= _count(_places(data, "\r", is_it), end) == returns
        left, right = since[plain], upto[plain]
        lines = Span(begin[plain], end[plain])
        cuts = [lines.begin, marks[left], marks[left + 1]]
        tail = [marks[right - 3], marks[right - 2], marks[right - 1], lines.end]
        whole = np.ones(len(left), dtype=bool)
        quoted = np.flatnonzero(quotes[plain])
        for outer in (cuts, tail):
            whole[quoted] &= _none_torn(quote, [cut[quoted] for cut in outer])
        idremote = Span.trimmed(data, lines.begin, marks[left])
        number = Span.trimmed(data, marks[left] + 1, marks[left + 1])
        signed = data[number.begin] == ord("+")
        number = Span(number.begin + signed, number.end)
        code = Span.trimmed(data, marks[right - 3] + 1, marks[right - 2])
        status = Span.trimmed(data, marks[right - 3] + 1, marks[right - 1])
        operator = Span.trimmed(data, marks[right - 1] + 1, lines.end)
        msisdn, idstatus = number.integers(data, 15), code.integers(data, 4)
        sure = (
            whole
            & (msisdn >= 1_000_000)
            & (data[number.begin] != ord("0"))
            # A number without a sign may be national; only French mobiles are certain.
            & (signed | (msisdn // 100_000_000 == 336) | (msisdn // 100_000_000 == 337))
            & (msisdn // 1_000_000_000 != 330)  # +33 0 6...: an extra zero
            & ~_is_overseas_with_33(msisdn)
            & (idstatus >= 0)
            & (marks[left] - lines.begin <= 60)  # a longer one is no row's beginning
            & idremote.is_trimmed(data)
            & operator.is_trimmed(data)
            & status.is_trimmed(data)
        )
        plain[np.flatnonzero(plain)[~sure]] = False
        return cls(
            data,
            begin,
            end,
            plain,
            idremote.of(sure),
            msisdn[sure],
            idstatus[sure],
            status.of(sure),
            operator.of(sure),
        )

    def without(self, lines: Flags) -> "Cells":
        """The same cells; these lines are not rows by themselves."""
        left = ~lines[self.plain]
        if left.all():
            return self
        return replace(
            self,
            plain=self.plain & ~lines,
            idremote=self.idremote.of(left),
            msisdn=self.msisdn[left],
            idstatus=self.idstatus[left],
            status=self.status.of(left),
            operator=self.operator.of(left),
        )


def _integers(block: Bytes, begin: Ints, digits: int) -> Ints:
    value = np.zeros(len(begin), dtype=np.int64)
    good = np.ones(len(begin), dtype=bool)
    for place in range(digits):
        digit = block[begin + place] - np.uint8(ord("0"))  # lower bytes wrap around
        good &= digit <= 9
        value = value * 10 + digit
    return np.where(good, value, -1)


def _none_torn(quote: Ints, cuts: list[Ints]) -> Flags:
    """Whether every field between the cuts has an even number of quotes, by line.

    If not, a cut is a `;` inside a quoted field.
    """
    upto = np.stack([np.searchsorted(quote, cut) for cut in cuts])
    even: Flags = (np.diff(upto, axis=0) % 2 == 0).all(axis=0)
    return even


def _places(data: Bytes, sign: str, is_it: Flags) -> Ints:
    """The positions of a character; `is_it` is overwritten."""
    return np.flatnonzero(np.equal(data, ord(sign), out=is_it))


def _is_overseas_with_33(msisdn: Ints) -> Flags:
    """Which are overseas numbers after +33; `number` knows their meaning."""
    block = msisdn // 1_000_000
    french = (block >= 33_000) & (block < 34_000)
    overseas = french & _BLOCK_OVERSEAS[np.where(french, block - 33_000, 0)]
    flags: Flags = overseas & (msisdn // 10_000 != _FICTION)
    return flags


def _count(places: Ints, end: Ints) -> Ints:
    """The number of these positions in each line."""
    return np.diff(np.searchsorted(places, end), prepend=0)

"""Text columns as Arrow stores them: UTF-8 bytes of all values, and the offset of each.

Code that reads a column's bytes starts here, so that slices, nulls and empty columns are handled
once.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bytes: TypeAlias = npt.NDArray[np.uint8]
Flags: TypeAlias = npt.NDArray[np.bool_]
Ints: TypeAlias = npt.NDArray[np.int64]
Uint64s: TypeAlias = npt.NDArray[np.uint64]  # eight bytes of text each

TEXT = pa.large_string()


def bytes_of(column: pa.LargeStringArray) -> tuple[Bytes, Ints]:
    """The bytes of all values, and the offset of each (rows + 1 of them), the first at 0.

    A null may have bytes: callers check the column's nulls if that matters.
    """
    _, bounds, values = column.buffers()
    if not len(column) or bounds is None:
        return np.zeros(0, np.uint8), np.zeros(len(column) + 1, np.int64)
    offsets = np.frombuffer(bounds, np.int64)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(values if values is not None else b"", np.uint8)
    return data[offsets[0] : offsets[-1]], offsets - offsets[0]


def rows_of(offsets: Ints, at: Ints) -> Ints:
    """The row of each byte position."""
    rows: Ints = np.searchsorted(offsets, at, side="right") - 1
    return rows


def ranges(starts: Ints, sizes: Ints) -> Ints:
    """start, start + 1 ... for each start, `size` of them, concatenated."""
    before = np.cumsum(sizes) - sizes
    steps: Ints = np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))
    return steps


def is_utf8(data: Bytes | bytes) -> bool:
    """Whether bytes are valid UTF-8."""
    bounds = pa.py_buffer(np.array([0, len(data)], np.int64))
    try:
        pa.Array.from_buffers(TEXT, 1, [None, bounds, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def nulls_of(column: pa.Array) -> Flags:
    """Which values are null."""
    if not column.null_count:
        return np.zeros(len(column), np.bool_)
    null: Flags = column.is_null().to_numpy(zero_copy_only=False)
    return null


def distinct(numbers: Ints) -> Ints:
    """The numbers sorted and without repeats; an array that already is so is not copied.

    np.unique builds a hash table first, which is ten times slower where few numbers repeat.
    """
    if not (numbers[1:] > numbers[:-1]).all():
        numbers = np.sort(numbers)
        numbers = numbers[np.concatenate([[True], numbers[1:] > numbers[:-1]])]
    return numbers


def flags_of(column: pa.BooleanArray) -> Flags:
    """A boolean column without nulls, as NumPy."""
    flags: Flags = column.to_numpy(zero_copy_only=False)
    return flags


def holding(column: pa.LargeStringArray, word: str) -> Flags:
    """Which values contain a word of two bytes or more.

    Searching for the word's last two bytes first is four times as fast as Arrow's own search.
    """
    word_bytes = np.frombuffer(word.encode(), np.uint8)
    data, offsets = bytes_of(column)
    last = len(word_bytes) - 1
    at = np.flatnonzero((data[last - 1 : -1] == word_bytes[-2]) & (data[last:] == word_bytes[-1]))
    for place, byte in enumerate(word_bytes[:-2]):
        at = at[data[at + place] == byte]
    rows = rows_of(offsets, at)
    whole = at + len(word_bytes) <= offsets[rows + 1]  # not across two values
    flags = np.zeros(len(column), np.bool_)
    flags[rows[whole]] = True
    return flags


@dataclass(frozen=True, slots=True)
class Encoded:
    """A column as its distinct texts, and the index of each row's text."""

    texts: pa.LargeStringArray
    which: Ints | None  # None: every row has the first text

    def of(self, rows: Ints | Flags) -> "Encoded":
        """The same for some rows."""
        return self if self.which is None else Encoded(self.texts, self.which[rows])

    def by_row(self, facts: npt.NDArray[Any]) -> Any:
        """For each row the fact of its text; one value if all rows share a text."""
        return facts[0] if self.which is None else facts[self.which]

    def column(self) -> pa.Array | pa.Scalar:
        """The whole column, a scalar if all rows share a text; a null becomes empty."""
        texts = pc.fill_null(self.texts, "") if self.texts.null_count else self.texts
        return texts[0] if self.which is None else texts.take(pa.array(self.which))


@dataclass(frozen=True, slots=True)
class Pieced:
    """A column of texts that are not yet joined: their pieces, in order."""

    pieces: Sequence[Encoded]
    size: int

    def of(self, rows: Ints) -> "Pieced":
        """The same for some rows."""
        return Pieced([piece.of(rows) for piece in self.pieces], len(rows))

    def joined(self) -> pa.LargeStringArray:
        """Join the pieces of each text."""
        return joined([piece.column() for piece in self.pieces], self.size)


def joined(parts: Iterable[pa.Array | pa.Scalar], size: int) -> pa.Array:
    """Join the parts of each of `size` rows; a scalar part is the same in all rows."""
    fewer: list[pa.Array | pa.Scalar] = []
    for part in parts:
        if isinstance(part, pa.Scalar) and fewer and isinstance(fewer[-1], pa.Scalar):
            fewer[-1] = pa.scalar(f"{fewer[-1]}{part}", TEXT)
        else:
            fewer.append(part)
    if all(isinstance(part, pa.Scalar) for part in fewer):
        return pa.repeat(fewer[0] if fewer else pa.scalar("", TEXT), size)
    return pc.binary_join_element_wise(*fewer, pa.scalar("", TEXT))


def use_lean_memory() -> None:
    """Make Arrow use the system's allocator, as NumPy does, unless the environment names one.

    With Arrow's own allocator each thread keeps its freed memory: the peak is half as much again.
    """
    if "ARROW_DEFAULT_MEMORY_POOL" not in os.environ:
        pa.set_memory_pool(pa.system_memory_pool())


def give_memory_back() -> None:
    """Return the unused memory of a finished stage to the machine, Arrow's and NumPy's."""
    pa.default_memory_pool().release_unused()

"""Recipients and stop lists that come as files: CSV or Parquet, read as streams, as often as asked.

What belongs here: finding out how a file is written, and saying where it is broken. What doesn't:
what its columns mean to a campaign.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from sms.columns import TEXT, Flags, distinct
from sms.errors import SourceError, StopListUnsafe
from sms.frames import as_text
from sms.msisdn import Fault, Int64s, Numbers, normalise
from sms.pipeline import ordered

BATCH = 65_536  # rows of a Parquet batch,
NARROW = 131_072  # and where little is made of each row: Python's own share is one a batch
BLOCK = 8 << 20  # bytes of a CSV batch
PARQUET = b"PAR1"
DELIMITERS = ",;\t|"

NOBODY = np.zeros(0, np.int64)
ENOUGH_ROWS = 100_000  # to find out what a column holds
FEWEST_DIGITS = 6  # of a number, though it be a bad one

# What a stop list may hold without anybody being written to by mistake: these numbers never are.
HARMLESS = (
    *(Fault.MISSING, Fault.LANDLINE, Fault.PREMIUM),
    *(Fault.NOT_A_MOBILE, Fault.OVERSEAS_AS_METROPOLITAN),
)


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table in a file, CSV with a header or Parquet; `rows` is None where only reading tells."""

    path: Path
    columns: tuple[str, ...]
    rows: int | None
    delimiter: str | None = None  # of a CSV
    has_header: bool = True

    @classmethod
    def open(cls, path: Path) -> "TableFile":
        """Look at a file's first bytes. Raises SourceError where they are no table."""
        try:
            with path.open("rb") as source:
                start = source.read(len(PARQUET))
        except OSError as error:
            raise SourceError(f"{path} can't be read: {error.strerror}") from error
        return cls._parquet(path) if start == PARQUET else cls._csv(path)

    @classmethod
    def _parquet(cls, path: Path) -> "TableFile":
        try:
            with pq.ParquetFile(path) as file:
                return cls(path, tuple(file.schema_arrow.names), file.metadata.num_rows)
        except pa.ArrowException as error:
            raise SourceError(f"{path} begins like Parquet and can't be read as such") from error

    @classmethod
    def _csv(cls, path: Path) -> "TableFile":
        with path.open("rb") as source:
            first = source.readline(BLOCK)
        try:
            line = first.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError:
            raise SourceError(_not_utf8(path, 1, None)) from None
        if not line:
            raise SourceError(f"{path}, line 1: a CSV begins with the names of its columns")
        delimiter = max(DELIMITERS, key=line.count)
        names = tuple(next(csv.reader([line], delimiter=delimiter)))
        return cls(path, names, None if first.endswith(b"\n") else 0, delimiter)

    def batches(
        self,
        columns: Sequence[str] | None = None,
        rows: int = BATCH,
        encoded: Sequence[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """All rows from the first, all columns or those named, in the file's order.

        A Parquet's batches have `rows` rows each, a CSV's are cut by their bytes. Texts among the
        `encoded` columns of a Parquet come dictionary encoded, as the file most likely has them.

        A CSV's cells are text, and an empty one without quotes is null. Raises SourceError with
        the line of a broken CSV.
        """
        if self.rows == 0:
            return
        if self.delimiter is None:
            kinds = pq.read_schema(self.path)
            texts = [name for name in encoded if _is_text(kinds.field(name).type)]
            with pq.ParquetFile(self.path, read_dictionary=texts) as file:
                yield from file.iter_batches(rows, columns=None if columns is None else [*columns])
            return
        reader = _CsvReader(self, self.delimiter, columns)
        yield from reader.batches()

    def where(self, column: str) -> str | None:
        """The column's name as this file spells it, whatever its case and spaces; None if none.

        SourceError if there are several.
        """
        wanted = column.strip().casefold()
        alike = [name for name in self.columns if name.strip().casefold() == wanted]
        if len(alike) > 1:
            raise SourceError(
                f"{self.path} has {len(alike)} columns {wanted!r}: which one is meant? Rename the "
                "others"
            )
        return alike[0] if alike else None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


class _CsvReader:
    """Arrow's reader, with sentences that name a line and show no cell."""

    def __init__(self, file: TableFile, delimiter: str, columns: Sequence[str] | None) -> None:
        self.file = file
        self.broken: pa.csv.InvalidRow | None = None
        self.read = pa.csv.ReadOptions(
            block_size=BLOCK,
            column_names=list(file.columns),
            skip_rows=1 if file.has_header else 0,
        )
        self.parse = pa.csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, invalid_row_handler=self._note
        )
        self.convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(file.columns, TEXT),
            include_columns=None if columns is None else [*columns],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            with pa.csv.open_csv(self.file.path, self.read, self.parse, self.convert) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise SourceError(self._sentence(error)) from None  # its message may quote a cell

    def _note(self, row: "pa.csv.InvalidRow") -> str:
        self.broken = row
        return "error"

    def _sentence(self, error: pa.ArrowInvalid) -> str:
        path, header = self.file.path, len(self.file.columns)
        if self.broken is not None:
            wrong = _first_uneven(self.file)
            line = f", line {wrong[0]}" if wrong else ""
            cells = self.broken.actual_columns
            return f"{path}{line}: the row has {cells} cells, and the header {header}"
        wrong = _first_undecodable(path)
        if wrong:
            return _not_utf8(path, *wrong)
        return f"{path} can't be read as a CSV ({type(error).__name__})"


def _first_uneven(file: TableFile) -> tuple[int, int] | None:
    """The line and the cells of the first row that has more or fewer than the header."""
    with file.path.open(encoding="utf-8-sig", errors="replace", newline="") as source:
        reader = csv.reader(source, delimiter=file.delimiter or ",")
        for row in reader:
            if row and len(row) != len(file.columns):
                return reader.line_num, len(row)
    return None


def _first_undecodable(path: Path) -> tuple[int, int] | None:
    """The line and the byte in it where a file stops being UTF-8."""
    with path.open("rb") as source:
        for number, line in enumerate(source, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return number, error.start + 1
    return None


def _not_utf8(path: Path, line: int, place: int | None) -> str:
    where = f", byte {place}" if place else ""
    return f"{path}, line {line}{where}: this is not UTF-8; save the file in that encoding"


def open_stop_list(path: Path) -> tuple[TableFile, str]:
    """A stop list's file and the column of its numbers.

    That is `msisdn`, or the only column, or the only one with mobile numbers in it: a place says
    nothing about what a column holds. Raises SourceError where several could be meant, or none.
    The header may lack, as in the provider's own files; columns are then `column 1` and so on.
    """
    file = TableFile.open(path)
    if file.delimiter and any(map(_may_be_a_number, file.columns)):
        names = tuple(f"column {place}" for place in range(1, len(file.columns) + 1))
        file = TableFile(path, names, None, file.delimiter, has_header=False)  # even of one line
    named = file.where("msisdn")
    return file, named or _only_with_numbers(file)


def _only_with_numbers(file: TableFile) -> str:
    if len(file.columns) == 1:
        return file.columns[0]
    columns = ", ".join(map(repr, file.columns))
    if len({*file.columns}) < len(file.columns):
        raise SourceError(
            f"{file.path} has columns of one name ({columns}): call the one that holds the numbers "
            "msisdn, and each other one something else"
        )
    found: set[str] = set()
    rows = 0
    for batch in file.batches():
        rows += batch.num_rows
        found |= {name for name in file.columns if _holds_mobiles(as_text(batch.select([name]))[0])}
        if found and rows >= ENOUGH_ROWS:
            break
    if len(found) == 1:
        return found.pop()
    if not rows:
        raise SourceError(
            f"{file.path} has no rows, and which of its columns {columns} is for numbers can't be "
            "told: call that one msisdn"
        )
    do = " and ".join(repr(name) for name in file.columns if name in found)
    which = f"{do} do and only one may be meant" if found else "none does"
    raise SourceError(
        f"{file.path}: which column holds the numbers? Of {columns}, {which}: call that one "
        "msisdn, in a first line"
    )


def _holds_mobiles(texts: pa.LargeStringArray) -> bool:
    numbers, _, meant = read_numbers(texts)
    return bool((numbers.msisdn != 0).any() or meant.size)


@dataclass(frozen=True, slots=True)
class StopList:
    """A stop list's numbers (int64, sorted, each once), and where they stood: `column`, if any."""

    numbers: Int64s
    column: str | None = None

    def __str__(self) -> str:
        if self.column is None:
            return "No stop list was given: some of these people may have said STOP."
        return f"Stop list: {len(self.numbers):,} numbers, from the column {self.column!r}"


def read_stop_list(path: Path) -> StopList:
    """The numbers of a stop list; its columns are `open_stop_list`'s.

    An overseas number written with +33 is also read as what it was meant to be.
    Raises StopListUnsafe for a row whose number can't be understood, as it is somebody's no, and
    for a list of rows without any number.
    """
    file, column = open_stop_list(path)
    found: list[Int64s] = []
    row = 1
    for numbers, _, meant in ordered(_read_numbers, file.batches([column])):
        wrong = np.flatnonzero(misunderstood(numbers))
        if wrong.size:
            raise StopListUnsafe(
                f"{path}, row {row + wrong[0]} of the column {column!r} is no number that can be "
                "understood, and may be somebody's no: correct it, or take it out"
            )
        found += [numbers.msisdn[numbers.msisdn != 0], meant]
        row += len(numbers)
    listed = StopList(distinct(np.concatenate(found) if found else NOBODY), column)
    if row > 1 and not listed.numbers.size:
        raise StopListUnsafe(no_number(file, column, row - 1))
    return listed


def no_number(file: TableFile, column: str, rows: int) -> str:
    """What to say of a list that stops nobody."""
    return (
        f"{file.path} has {rows:,} rows, and no number in the column {column!r}: a list that stops "
        f"nobody is not understood. Its columns are {', '.join(map(repr, file.columns))}: call the "
        "one that holds the numbers msisdn"
    )


def _read_numbers(batch: pa.RecordBatch) -> tuple[Numbers, Int64s, Int64s]:
    return read_numbers(as_text(batch)[0])


def read_numbers(texts: pa.LargeStringArray) -> tuple[Numbers, Int64s, Int64s]:
    """Numbers; the rows of overseas ones with +33, and which numbers these were meant to be."""
    numbers = normalise(texts)
    guessed = pc.equal(numbers.reason.dictionary, str(Fault.OVERSEAS_AS_METROPOLITAN))
    rows = guessed.to_numpy(zero_copy_only=False)[numbers.reason.indices.to_numpy()]
    if not rows.any():
        return numbers, np.zeros(0, np.int64), np.zeros(0, np.int64)
    digits = pc.replace_substring_regex(texts.filter(pa.array(rows)), r"\D", "")
    subscriber = pc.utf8_slice_codeunits(digits, -9)
    national = pc.binary_join_element_wise(pa.scalar("0", TEXT), subscriber, pa.scalar("", TEXT))
    meant = normalise(national).msisdn
    return numbers, np.flatnonzero(rows)[meant != 0], meant[meant != 0]


def _may_be_a_number(text: str) -> bool:
    """Whether a first line is a row and no header: a no must not be taken for a column's name."""
    return sum(sign.isdigit() for sign in text) >= FEWEST_DIGITS


def misunderstood(numbers: Numbers) -> Flags:
    """Which rows were to be a number and can't be read as one."""
    harmless = pa.array(["", *(str(fault) for fault in HARMLESS)], TEXT)
    known = pc.is_in(numbers.reason.dictionary, value_set=harmless)
    wrong: Flags = ~known.to_numpy(zero_copy_only=False)[numbers.reason.indices.to_numpy()]
    return wrong


def found_in(stop_list: Int64s, numbers: Int64s) -> Int64s:
    """Which of these sorted numbers are in a sorted stop list."""
    if not stop_list.size:
        return np.zeros(0, np.int64)
    pieces = (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))
    found = ordered(lambda piece: piece[_is_in(stop_list, piece)], pieces)
    return np.concatenate([np.zeros(0, np.int64), *found])


def _is_in(stop_list: Int64s, numbers: Int64s) -> Flags:
    """Which of these sorted numbers are in the stop list, that part of it that may hold them."""
    near = stop_list[slice(*np.searchsorted(stop_list, (numbers[0], numbers[-1] + 1)))]
    if not near.size:
        return np.zeros(len(numbers), np.bool_)
    place = np.minimum(np.searchsorted(near, numbers), len(near) - 1)
    there: Flags = near[place] == numbers
    return there

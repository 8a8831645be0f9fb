"""Recipients and stop lists as tables: CSV or Parquet, streamed, readable several times.

This module detects a file's format, reports where it is broken, and reads stop lists. The meaning
of a table's columns is elsewhere; `table_frames` reads frames.
"""

import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sms.audience.column_names import unaccented
from sms.columnar.csv_files import CsvFile
from sms.columnar.csv_rows import FEWEST_DIGITS
from sms.columnar.parquet import as_text
from sms.columnar.text import TEXT, Flags, Ints, distinct, flags_of
from sms.columnar.threads import ordered
from sms.errors import SourceError, StopListUnsafe
from sms.telecom.msisdn import NumberFault, Numbers, normalise
from sms.telecom.national import is_ambiguous, meanings_by_row
from sms.words import count

BATCH = 65_536  # rows of a Parquet batch,
NARROW = 131_072  # and for cheap work on each row: fewer batches cost less Python
PARQUET = b"PAR1"

NO_NUMBERS = np.zeros(0, np.int64)

# Faults that are harmless in a stop list: such numbers never get a message.
HARMLESS = (
    *(NumberFault.MISSING, NumberFault.LANDLINE, NumberFault.PREMIUM),
    *(NumberFault.NOT_A_MOBILE, NumberFault.OVERSEAS_AS_METROPOLITAN),
)


class Table(Protocol):
    """A table in a file or in memory, whose rows can be read several times."""

    @property
    def name(self) -> str:
        """The table's name in errors."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""

    @property
    def rows(self) -> int | None:
        """The number of rows; None if it is only known after reading."""

    @property
    def is_typed(self) -> bool:
        """Whether the columns have types."""

    def batches(
        self,
        columns: Sequence[str] | None = None,
        rows: int = BATCH,
        encoded: Sequence[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, with all or only the named columns."""

    def batches_beside(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows, with these columns and each other one that may hold numbers."""

    @property
    def place(self) -> str:
        """The unit of `places`: "row" or "line"."""

    def places(self, rows: Iterable[int]) -> Iterator[int]:
        """The places of these ascending rows (from 1), for errors."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table in a file, CSV with a header or Parquet; `rows` is None for a CSV."""

    path: Path
    columns: tuple[str, ...]
    rows: int | None
    csv: CsvFile | None = None
    has_header: bool = True

    @classmethod
    def open(cls, path: Path, encoding: str | None = None) -> "TableFile":
        """Read a file's beginning. Raises SourceError if it is not a table.

        `encoding` is for a CSV without a byte order mark that is not UTF-8.
        """
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise SourceError(
                    f"{path} is a pipe or a device, and is read more than once: save what comes "
                    "from it as a file, and name that"
                )
            with path.open("rb") as source:
                start = source.read(len(PARQUET))
            if start == PARQUET:
                return cls._parquet(path)
            csv = CsvFile.open(path, encoding)
        except OSError as error:
            raise SourceError(f"{path} can't be read: {error.strerror}") from error
        return cls(path, csv.columns, None, csv)

    @property
    def name(self) -> str:
        """The file's path, for errors."""
        return str(self.path)

    @property
    def is_typed(self) -> bool:
        """Whether the columns have types."""
        return self.csv is None

    @classmethod
    def _parquet(cls, path: Path) -> "TableFile":
        with _reading_parquet(path), pq.ParquetFile(path) as file:
            return cls(path, tuple(file.schema_arrow.names), file.metadata.num_rows)

    def headless(self) -> "TableFile":
        """The same CSV with its first line as a row; columns are `column 1` and so on."""
        if self.csv is None:
            return self
        csv = self.csv.without_header()
        return TableFile(self.path, csv.columns, None, csv, has_header=False)

    def batches(
        self,
        columns: Sequence[str] | None = None,
        rows: int = BATCH,
        encoded: Sequence[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, with all or only the named columns.

        A Parquet's batches have `rows` rows each, a CSV's are cut by bytes. Text columns of a
        Parquet that are in `encoded` stay dictionary encoded, as they probably are in the file.

        A CSV's cells are text; an empty unquoted cell is null. Raises SourceError with the line of
        a broken CSV.
        """
        if self.csv is not None:
            yield from self.csv.batches(columns)
            return
        with _reading_parquet(self.path):
            kinds = pq.read_schema(self.path)
            texts = [name for name in encoded if _is_text(kinds.field(name).type)]
            file = pq.ParquetFile(self.path, read_dictionary=texts)
        with file:
            stream = file.iter_batches(rows, columns=None if columns is None else [*columns])
            while True:
                with _reading_parquet(self.path):
                    batch = next(stream, None)
                if batch is None:
                    return
                yield without_views(batch)

    def batches_beside(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows, with these columns and each other one that may hold numbers.

        The others of a CSV are bytes: most are never read, so that their encoding does not matter.
        """
        if self.csv is not None:
            raw = [name for name in self.columns if name not in columns]
            yield from self.csv.batches(None, raw)
            return
        with _reading_parquet(self.path):
            kinds = pq.read_schema(self.path)
        others = [each.name for each in kinds if may_hold_numbers(each.type)]
        yield from self.batches([*dict.fromkeys([*columns, *others])])

    def places(self, rows: Iterable[int]) -> Iterator[int]:
        """The lines of these ascending rows of a CSV, from 1; for a Parquet, the rows."""
        return iter(rows) if self.csv is None else self.csv.lines(rows)

    @property
    def place(self) -> str:
        """The unit of `places`: "row" or "line"."""
        return "row" if self.csv is None else "line"

    def where(self, column: str) -> str | None:
        """The column's name as this file spells it, by any case and spaces; None if absent.

        Raises SourceError if several match.
        """
        return where(self, column)


def where(table: Table, column: str) -> str | None:
    """A column's name as a table spells it, by any case and spaces; None if absent.

    Raises SourceError if several match.
    """
    wanted = column.strip().casefold()
    alike = [name for name in table.columns if name.strip().casefold() == wanted]
    if len(alike) > 1:
        raise SourceError(
            f"{table.name} has {len(alike)} columns {wanted!r}: which one is meant? Rename the "
            "others"
        )
    return alike[0] if alike else None


@contextmanager
def _reading_parquet(path: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} begins like Parquet and can't be read as such") from error


def without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with plain text columns: Arrow can't take rows of its string views."""
    for place, column in enumerate(batch.schema):
        if _has_views(column.type):
            texts = as_text(batch.select([column.name])).column(0)
            batch = batch.set_column(place, column.name, texts)
    return batch


def _has_views(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _has_views(kind.value_type)
    inner = (kind.field(place).type for place in range(kind.num_fields))
    view = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
    return view or any(map(_has_views, inner))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def may_hold_numbers(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold telephone numbers, one or several in each cell.

    Floats may: pandas makes them of a column of numbers with a gap.
    """
    if pa.types.is_dictionary(kind) or _is_list(kind):
        return may_hold_numbers(kind.value_type)
    plain = pa.types.is_string_view(kind) or pa.types.is_integer(kind) or _is_binary(kind)
    return _is_text(kind) or bool(plain or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_list(kind: pa.DataType) -> bool:
    """Whether a cell of this type is a list."""
    known = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_it(kind) for is_it in known)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def open_stop_list(path: Path, encoding: str | None = None) -> tuple[TableFile, str]:
    """A stop list's file and the name of its column of numbers.

    That is `msisdn`, or the only column, or the only one with mobile numbers; the position of a
    column does not count. Raises SourceError if several columns or none qualify. A file may have no
    header, as the provider's have none; its columns are then `column 1` and so on.
    """
    file = TableFile.open(path, encoding)
    if begins_with_a_row(file):
        file = file.headless()
    return file, column_of_numbers(file)


def begins_with_a_row(table: Table) -> bool:
    """Whether the header is really a row."""
    return any(map(_may_be_a_number, table.columns))


def column_of_numbers(table: Table) -> str:
    """The column of a stop list's numbers, by the rule of `open_stop_list`."""
    return where(table, "msisdn") or _only_with_numbers(table)


def _only_with_numbers(file: Table) -> str:
    if len(file.columns) == 1 and any(batch.num_rows for batch in file.batches()):
        return file.columns[0]
    columns = ", ".join(map(repr, file.columns))
    if len({*file.columns}) < len(file.columns):
        raise SourceError(
            f"{file.name} has columns of one name ({columns}): call the one that holds the numbers "
            "msisdn, and each other one something else"
        )
    with_numbers: set[str] = set()
    rows = 0

    def with_mobiles(batch: pa.RecordBatch) -> tuple[int, set[str]]:
        others = [name for name in file.columns if name not in with_numbers]
        return batch.num_rows, {name for name in others if _holds_mobiles(batch, name)}

    for seen, names in ordered(with_mobiles, file.batches()):  # the first mobile may be late
        rows += seen
        with_numbers |= names
        if len(with_numbers) > 1:
            break
    if len(with_numbers) == 1:
        return with_numbers.pop()
    if not rows:
        raise SourceError(
            f"{file.name} has no rows, and no column named msisdn, but {columns}: name the right "
            "one msisdn, in a first line"
        )
    if not with_numbers:
        raise SourceError(
            f"{file.name}: none of the columns {columns} holds mobile numbers: name the right one "
            "msisdn, in a first line"
        )
    *first, last = (repr(name) for name in file.columns if name in with_numbers)
    raise SourceError(
        f"{file.name}: the columns {', '.join(first)} and {last} {'all' if first[1:] else 'both'} "
        "hold numbers: name the right one msisdn, in a first line"
    )


def _holds_mobiles(batch: pa.RecordBatch, column: str) -> bool:
    numbers, _, meant = _read_numbers(batch.select([column]))
    return bool((numbers.msisdn != 0).any() or meant.size)


@dataclass(frozen=True, slots=True)
class StopList:
    """A stop list's numbers (int64, sorted, distinct), and their column, if any."""

    numbers: Ints
    column: str | None = None
    rows: int = 0
    without: int = 0  # rows without a mobile number
    others: tuple[str, ...] = ()  # columns with more numbers of the same people

    def __str__(self) -> str:
        if self.column is None:
            return "No stop list was given: some of these people may have said STOP."
        where = from_columns(self.column, self.others)
        text = f"Stop list: {count(len(self.numbers), 'number')}, from {where}"
        if not self.without:
            return text
        hold = "holds" if self.without == 1 else "hold"
        rows = count(self.rows, "row")
        return f"{text}; {self.without:,} of {rows} {hold} no mobile number there"


def read_stop_list(
    path: Path, encoding: str | None = None, countries: Collection[str] = ()
) -> StopList:
    """Read a stop list from a file; columns as in `open_stop_list`. Raises as `numbers_in`."""
    return numbers_in(*open_stop_list(path, encoding), countries)


def numbers_in(file: Table, column: str, countries: Collection[str] = ()) -> StopList:
    """Read the numbers of an open stop list.

    An overseas number written with +33 is also read as its probable meaning, and a number without
    a country code as each number that it may be in `countries`, those of the campaign. A person's
    other telephones in the same row are read, too.
    Raises StopListUnsafe for a row whose number can't be read or is in another column alone, as
    the row may be an opt-out, and for a list of rows without any number.
    """
    batches_of_numbers: list[Ints] = []
    without: list[Ints] = []
    others: set[str] = set()
    rows = 0

    def read(batch: pa.RecordBatch) -> tuple[Numbers, Ints, Ints, list[Beside]]:
        texts = as_text(batch.select([column]))[0]
        numbers, overseas, meant = read_numbers(texts)
        national, foreign = abroad(texts, countries)
        empty = numbers.msisdn == 0
        empty[overseas] = empty[national] = False
        more = [*numbers_beside(batch, [column], np.flatnonzero(~empty), countries)]
        return numbers, np.concatenate([meant, foreign]), np.flatnonzero(empty), more

    for numbers, meant, empty, more in ordered(read, file.batches_beside([column])):
        wrong = [(int(row), column) for row in np.flatnonzero(misunderstood(numbers))[:1]]
        wrong += [(row, each.column) for each in more for row, _ in each.unreadable[:1]]
        if wrong:
            row, name = min(wrong)
            raise _no_readable_number(file, rows + row, name)
        batches_of_numbers += [numbers.msisdn[numbers.msisdn != 0], meant]
        batches_of_numbers += [each.msisdn for each in more]
        others |= {each.column for each in more if each.rows.size}
        without.append(rows + empty)
        rows += len(numbers)
    no_number_rows = np.concatenate([NO_NUMBERS, *without])
    numbers_found = distinct(np.concatenate([NO_NUMBERS, *batches_of_numbers]))
    for row, other, is_mobile in elsewhere(file, column, no_number_rows):
        if not is_mobile:
            raise _no_readable_number(file, row, other)
        [place] = file.places([row + 1])
        raise StopListUnsafe(
            f"{file.name}, {file.place} {place}: the column {column!r} holds no mobile number and "
            f"{other!r} does, which may be an opt-out: write it into {column!r}, or take it out"
        )
    if rows and not numbers_found.size:
        raise StopListUnsafe(no_number(file, column, rows))
    beside = tuple(name for name in file.columns if name in others)
    return StopList(numbers_found, column, rows, len(no_number_rows), beside)


def _no_readable_number(file: Table, row: int, column: str) -> StopListUnsafe:
    """The error for a cell that may be an opt-out; `row` counts from 0."""
    [place] = file.places([row + 1])
    return StopListUnsafe(
        f"{file.name}, {file.place} {place}: the column {column!r} holds no number that can be "
        "read, and may be an opt-out: correct it, or take it out"
    )


def from_columns(column: str, others: Collection[str]) -> str:
    """The columns of a list's numbers, in words."""
    if not others:
        return f"the column {column!r}"
    *first, last = map(repr, (column, *others))
    return f"the columns {', '.join(first)} and {last}"


@dataclass(frozen=True, slots=True)
class Beside:
    """The numbers of one more column of a stop list, their rows (from 0), and unreadable cells."""

    column: str
    rows: Ints
    msisdn: Ints
    unreadable: list[tuple[int, str]]  # row and reason


def numbers_beside(
    batch: pa.RecordBatch, known: Collection[str], rows: Ints, countries: Collection[str]
) -> Iterator[Beside]:
    """Yield the numbers of other telephones in these rows: an opt-out is a person's.

    A column whose name means telephone is read as the main column is, with its unreadable cells. In
    other columns a number counts only in an unambiguous spelling: an id or a date may read like a
    mobile number.
    """
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if name in known or not rows.size:
            continue
        texts, at = _each_number(_texts(column.take(pa.array(rows))))
        here = rows[at]
        is_telephone = _TELEPHONE.search(unaccented(name)) is not None
        if not is_telephone:
            plain = np.flatnonzero(flags_of(pc.fill_null(_plainly_numbers(texts), False)))
            texts, here = texts.take(pa.array(plain)), here[plain]
        if not here.size:
            continue
        numbers, overseas, meant = read_numbers(texts)
        national, foreign = abroad(texts, countries)
        good = np.flatnonzero(numbers.msisdn)
        found = np.concatenate([good, overseas, national])
        unreadable = _unreadable(texts, at, numbers, found) if is_telephone else NO_NUMBERS
        if found.size or unreadable.size:
            reasons = numbers.reason.take(pa.array(unreadable)).to_pylist()
            yield Beside(
                name,
                here[found],
                np.concatenate([numbers.msisdn[good], meant, foreign]),
                list(zip(here[unreadable].tolist(), reasons, strict=True)),
            )


def _unreadable(texts: pa.LargeStringArray, at: Ints, numbers: Numbers, found: Ints) -> Ints:
    """Which texts of `_each_number`, at these rows, have digits and are no number; `found` are."""
    wrong = misunderstood(numbers)
    wrong &= flags_of(pc.fill_null(pc.match_substring_regex(texts, r"\d"), False))  # no note
    wrong[found] = False
    cells = int(at.max(initial=-1)) + 1
    wrong[:cells] &= ~np.isin(at[:cells], at[cells:])  # of a cell with several, its parts count
    return np.flatnonzero(wrong)


def _texts(column: pa.Array) -> pa.LargeStringArray:
    """A column as text; a whole float has no point, and what is not UTF-8 is no number."""
    if pa.types.is_floating(column.type):
        values = column.to_numpy(zero_copy_only=False).astype(np.float64)
        numbers = (abs(values) < MOST_FLOAT) & (values == np.floor(values))
        whole = np.where(numbers, values, 0).astype(np.int64)
        return pa.array(whole, mask=~numbers).cast(TEXT)
    if _is_binary(column.type):
        texts = _decoded(column)
    else:
        texts = as_text(pa.record_batch([column], ["beside"]))[0]
    return pc.replace_substring_regex(texts, r"^(\s*\+?\d{8,15})\.0\s*$", r"\1")


def _decoded(column: pa.Array) -> pa.LargeStringArray:
    try:
        return column.cast(TEXT)
    except pa.ArrowInvalid:
        cells = (cell and cell.decode("utf-8", "replace") for cell in column.to_pylist())
        return pa.array(cells, TEXT)


def _each_number(texts: pa.LargeStringArray) -> tuple[pa.LargeStringArray, Ints]:
    """The texts, then the parts of those with more digits than a number; and the row of each."""
    rows = np.arange(len(texts))
    many = flags_of(pc.fill_null(pc.match_substring_regex(texts, r"(?:\d\D*){16}"), False))
    if not many.any():
        return texts, rows
    parts = pc.split_pattern_regex(texts.filter(pa.array(many)), _BETWEEN_NUMBERS)
    at = pc.list_parent_indices(parts).to_numpy()
    both = pa.concat_arrays([texts, pc.list_flatten(parts).cast(TEXT)])
    return both, np.concatenate([rows, rows[many][at]])


def _plainly_numbers(texts: pa.LargeStringArray) -> pa.BooleanArray:
    return pc.match_substring_regex(texts, _PLAINLY)


MOST_FLOAT = 1e15  # above it, a float may have lost digits of a number
_BETWEEN_NUMBERS = r"[;,/|&\r\n]+|\s(?i:ou|et|or|and|puis)\s|\s-\s|\s{2,}"
_TELEPHONE = re.compile(r"(?:^|[^a-z])tel|phone|mobile|portable|gsm|msisdn|whatsapp")
# International, or national with the zero; separators are between pairs of digits, and none of
# those of dates and hours.
_PLAINLY = (
    r"^[\s'\"=]*(?:(?:\+|00)[1-9][\d .()\x{a0}\x{202f}-]{7,}|33[67]\d{8}"
    r"|0[67](?:[^\dA-Za-z/:,;]{0,3}\d\d){4})[\s'\"]*$"
)


def elsewhere(file: Table, column: str, rows: Ints) -> Iterator[tuple[int, str, bool]]:
    """Yield the rows (from 0, ascending) that another column may opt out, and that column.

    For rows without a number in the main column: some lists have one column for each telephone.
    The flag says whether the column holds a mobile number, or one that can't be read.
    """
    others = [place for place, name in enumerate(file.columns) if name != column]
    if not rows.size or not others:
        return
    before = 0
    for batch in file.batches():
        in_batch = rows[slice(*np.searchsorted(rows, (before, before + batch.num_rows)))] - before
        some = batch.take(pa.array(in_batch))
        holds: dict[int, tuple[str, bool]] = {}
        for place in reversed(others):  # the first of several wins
            name = file.columns[place]
            texts, at = _each_number(_texts(some.column(place)))
            numbers, overseas, _ = read_numbers(texts)
            mobile = np.concatenate([np.flatnonzero(numbers.msisdn), overseas])
            if _TELEPHONE.search(unaccented(name)):
                unreadable = _unreadable(texts, at, numbers, mobile)
                holds |= dict.fromkeys(at[unreadable].tolist(), (name, False))
            holds |= dict.fromkeys(at[mobile].tolist(), (name, True))
        yield from ((before + int(in_batch[row]), *holds[row]) for row in sorted(holds))
        before += batch.num_rows


def no_number(file: Table, column: str, rows: int) -> str:
    """The sentence for a list without any number."""
    return (
        f"{file.name} has {count(rows, 'row')}, and no number in the column {column!r}: a stop "
        "list without numbers is refused. Its columns are "
        f"{', '.join(map(repr, file.columns))}: call the one that holds the numbers msisdn"
    )


def _read_numbers(batch: pa.RecordBatch) -> tuple[Numbers, Ints, Ints]:
    return read_numbers(as_text(batch)[0])


def abroad(texts: pa.LargeStringArray, countries: Collection[str]) -> tuple[Ints, Ints]:
    """The possible numbers of texts without a country code, in countries that write as France.

    Returns rows (from 0) and numbers.
    """
    if not is_ambiguous(countries):
        return NO_NUMBERS, NO_NUMBERS
    national = pc.match_substring_regex(pc.utf8_trim_whitespace(texts), r"^\D*(?:0[^+0]|[1-9])")
    coded = pc.match_substring(texts, "+")
    at = np.flatnonzero(flags_of(pc.fill_null(pc.and_not(national, coded), False)))
    rows, numbers = meanings_by_row(texts.take(pa.array(at)), countries)
    return at[rows], numbers


def read_numbers(texts: pa.LargeStringArray) -> tuple[Numbers, Ints, Ints]:
    """Numbers; then rows and probable meanings of overseas numbers written with +33."""
    numbers = normalise(texts)
    guessed = pc.equal(numbers.reason.dictionary, str(NumberFault.OVERSEAS_AS_METROPOLITAN))
    rows = guessed.to_numpy(zero_copy_only=False)[numbers.reason.indices.to_numpy()]
    if not rows.any():
        return numbers, np.zeros(0, np.int64), np.zeros(0, np.int64)
    digits = pc.replace_substring_regex(texts.filter(pa.array(rows)), r"\D", "")
    subscriber = pc.utf8_slice_codeunits(digits, -9)
    national = pc.binary_join_element_wise(pa.scalar("0", TEXT), subscriber, pa.scalar("", TEXT))
    meant = normalise(national).msisdn
    return numbers, np.flatnonzero(rows)[meant != 0], meant[meant != 0]


def _may_be_a_number(text: str) -> bool:
    """Whether a column's name looks like a number, so that the first line is a row."""
    return sum(sign.isdigit() for sign in text) >= FEWEST_DIGITS


def misunderstood(numbers: Numbers) -> Flags:
    """Which rows have a number that can't be read."""
    harmless = pa.array(["", *(str(fault) for fault in HARMLESS)], TEXT)
    known = pc.is_in(numbers.reason.dictionary, value_set=harmless)
    wrong: Flags = ~known.to_numpy(zero_copy_only=False)[numbers.reason.indices.to_numpy()]
    return wrong


def found_in(stop_list: Ints, numbers: Ints) -> Ints:
    """The numbers that are in the stop list; both are sorted."""
    if not stop_list.size:
        return np.zeros(0, np.int64)
    pieces = (numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH))
    listed = ordered(lambda piece: piece[_is_in(stop_list, piece)], pieces)
    return np.concatenate([np.zeros(0, np.int64), *listed])


def _is_in(stop_list: Ints, numbers: Ints) -> Flags:
    """Which of these sorted numbers are in the stop list; only its part in range is searched."""
    near = stop_list[slice(*np.searchsorted(stop_list, (numbers[0], numbers[-1] + 1)))]
    if not near.size:
        return np.zeros(len(numbers), np.bool_)
    place = np.minimum(np.searchsorted(near, numbers), len(near) - 1)
    listed: Flags = near[place] == numbers
    return listed

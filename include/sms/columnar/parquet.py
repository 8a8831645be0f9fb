"""A run's Parquet files as streams of record batches, and query results as text.

This module reads and writes `01_candidates` to `03_messages` through any path object with
pathlib's methods, and turns the values of any driver into all-text columns. The meaning of columns
is elsewhere.

A file is complete or unreadable: Parquet's footer is written last, so a truncated file can't be
read as a shorter one. A stage that fails leaves an empty file, or none.
"""

import datetime
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import IO, Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sms import storage
from sms.columnar import kinds
from sms.columnar.text import TEXT, bytes_of, is_utf8
from sms.columnar.values import ValueKind
from sms.errors import SourceError

ROW_GROUP = 131_072  # rows; small batches of a cursor are collected up to this size
BATCH = 65_536  # rows of a batch when reading
FIRST_DAY, LAST_DAY = (
    each.toordinal() - 719_163 for each in (datetime.date.min, datetime.date.max)
)
KINDS = "sms.kinds"  # in a file's footer: the kind of each column's values


class FilePath(Protocol):
    """The path of a file: pathlib.Path, upath.UPath, Airflow's ObjectStoragePath."""

    def open(self, mode: str, /) -> IO[Any]: ...


class _Undecodable(Exception):
    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


def write(
    path: FilePath, batches: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema | None = None
) -> int:
    """Write a stream of batches as one Parquet file; returns the number of rows.

    Without `schema`, the first batch's schema is used. If the stream fails, the file is emptied:
    a part of the rows never looks complete.
    """
    stream = iter(batches)
    if schema is None:
        head = next(stream, None)
        if head is None:
            raise ValueError("without a batch, a file needs a schema")
        schema, stream = head.schema, itertools.chain([head], stream)
    with writing(path, schema) as file:
        for batch in stream:
            file.write(batch)
    return file.rows


@contextmanager
def writing(path: FilePath, schema: pa.Schema) -> Iterator["Writer"]:
    """A Parquet file to write batches into; complete after the block, empty if the block fails."""
    sink = storage.opened(path, "wb")
    try:
        file = Writer(pq.ParquetWriter(sink, schema, compression="zstd"))
        try:
            yield file
            file.close()
        except BaseException:
            file.abandon(sink)
            raise
        sink.close()
    except BaseException:
        _empty(path, sink)
        raise


class Writer:
    """An open file of the run; collects small batches into row groups."""

    def __init__(self, parquet: pq.ParquetWriter) -> None:
        self.rows = 0
        self._kinds: dict[str, ValueKind | None] = {}
        self._parquet = parquet
        self._held: list[pa.Table] = []
        self._waiting = 0

    def write(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows; an empty batch adds none."""
        for field in batch.schema:
            kind = kinds.of_field(field)
            self._kinds[field.name] = kinds.merged(self._kinds.get(field.name), kind)
        table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        self._held.append(table)
        self._waiting += table.num_rows
        if self._waiting >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write the collected rows, and the footer that completes the file."""
        self._flush()
        known = {name: str(kind) for name, kind in self._kinds.items() if kind}
        self._parquet.add_key_value_metadata({KINDS: json.dumps(known)})
        self._parquet.close()

    def abandon(self, sink: IO[Any]) -> None:
        """Close without a footer, which pyarrow would write even when its writer is destroyed."""
        with suppress(Exception):  # the first failure is the one to report
            sink.close()
        self._parquet.is_open = False

    def _flush(self) -> None:
        if self._held:
            group = pa.concat_tables(self._held)
            self._parquet.write_table(group, row_group_size=ROW_GROUP)
            self.rows += group.num_rows
            self._held, self._waiting = [], 0


def _empty(path: FilePath, sink: IO[Any]) -> None:
    with suppress(Exception):
        sink.close()
    storage.empty(path)


def batches(path: FilePath, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read a file of the run as a stream of batches, with all or only the named columns."""
    with storage.opened(path, "rb") as source:
        file = _finished(path, source)
        absent = set(columns or ()) - set(file.schema_arrow.names)
        if absent:
            raise SourceError(
                f"{path} has no column {', '.join(sorted(absent))}, only "
                f"{', '.join(file.schema_arrow.names)}: run the stage that writes it again"
            )
        known = _kinds(file)
        for batch in file.iter_batches(
            batch_size=BATCH, columns=None if columns is None else [*columns]
        ):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=_with_kinds(known, batch.schema))


def _kinds(file: pq.ParquetFile) -> dict[str, ValueKind]:
    """The kinds over all rows of a file; its schema was written with the first batch's kinds."""
    footer = (file.metadata.metadata or {}).get(KINDS.encode())
    return {name: ValueKind(kind) for name, kind in json.loads(footer).items()} if footer else {}


def _with_kinds(known: Mapping[str, ValueKind], schema: pa.Schema) -> pa.Schema:
    return pa.schema(
        [
            kinds.field(each.name, known.get(each.name)) if each.type == TEXT else each
            for each in schema
        ]
    )


def columns(path: FilePath) -> list[str]:
    """The names of a file's columns."""
    with storage.opened(path, "rb") as source:
        return list(_finished(path, source).schema_arrow.names)


def rows(path: FilePath) -> int:
    """The number of rows in a file of the run, from its footer."""
    with storage.opened(path, "rb") as source:
        count: int = _finished(path, source).metadata.num_rows
        return count


def _finished(path: FilePath, source: IO[Any]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(source)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"{path} is not a finished Parquet file: run the stage that writes it again"
        ) from error


# --- A query's answer as text -------------------------------------------------------------------


def from_rows(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], first: int = 1
) -> pa.RecordBatch:
    """The rows of a DB-API cursor as all-text columns; `first` is the first row's number.

    Each value becomes text by itself, so an integer beside a NULL stays an integer.
    """
    _require_distinct(columns)
    fetched = list(rows)
    across: list[Any] = list(zip(*fetched, strict=True)) if fetched else [()] * len(columns)
    if len(across) != len(columns):
        raise SourceError(
            f"the query announced {len(columns)} columns, and its rows have {len(across)}: the "
            "driver can't be trusted with this query"
        )
    return _batch(columns, across, _text_of_values, [*map(kinds.of_values, across)], first)


def as_text(batch: pa.RecordBatch | pa.Table | pd.DataFrame, first: int = 1) -> pa.RecordBatch:
    """A batch of SQL results as all-text columns: "3", ISO dates, "true", plain decimals.

    Each column's field has the kind of its values (`sms.columnar.kinds`). A float column keeps its
    point ("3.0"): pandas makes floats of integers with NULLs, and afterwards they look alike.
    `from_rows` keeps integers.
    """
    if isinstance(batch, pd.DataFrame):
        names = [str(name) for name in batch.columns]
        _require_distinct(names)
        series = [batch.iloc[:, place] for place in range(len(names))]
        return _batch(names, series, _text_of_series, [*map(_kind_of_series, series)], first)
    names = batch.schema.names
    _require_distinct(names)
    known = [*map(kinds.of_field, batch.schema)]
    return _batch(names, batch.columns, _text_of_array, known, first)


def placed(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield the number of rows before each batch, and the batch."""
    before = 0
    for batch in batches:
        yield before, batch
        before += batch.num_rows


def _require_distinct(names: Sequence[str]) -> None:
    for place, name in enumerate(names, start=1):
        if not _encodes(name):
            raise SourceError(
                f"the name of the query's column {place} is not UTF-8: give it another there"
            )
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise SourceError(
            f"the query returns more than one column named {', '.join(twice)}: name each once"
        )


def _batch(
    names: Sequence[str],
    columns: Sequence[Any],
    text_of: Callable[[Any], pa.Array],
    known: Sequence[ValueKind | None],
    first: int,
) -> pa.RecordBatch:
    arrays = []
    for name, column in zip(names, columns, strict=True):
        try:
            arrays.append(text_of(column))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # an unknown time zone, for example
            raise SourceError(
                f"column {name} holds values of a type that can't be read: cast it in the query"
            ) from None
        except _Undecodable as error:
            raise SourceError(
                f"column {name} holds bytes that are not UTF-8, first in row "
                f"{first + error.row}: convert them to text in the query"
            ) from None
    fields = map(kinds.field, names, known)
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _text_of_array(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _text_of_array(array.dictionary_decode())
    if (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        return _decodable(array.cast(TEXT))
    if pa.types.is_date32(kind):
        days = array.cast(pa.int32())
        in_range = pc.and_(pc.greater_equal(days, FIRST_DAY), pc.less_equal(days, LAST_DAY))
        return pc.if_else(in_range, array, pa.scalar(None, kind)).cast(TEXT)
    if pa.types.is_floating(kind):
        values = array.to_numpy(zero_copy_only=False)  # in its own width: 0.1 stays "0.1"
        present = array.is_valid().to_numpy(zero_copy_only=False) & ~np.isnan(values)
        return pa.array([str(v) if p else None for v, p in zip(values, present, strict=True)], TEXT)
    return _text_of_values(_values(array))


def _values(array: pa.Array) -> list[Any]:
    """The Python values of a column; None if Python can't represent one, such as a late date."""
    try:
        return list(array.to_pylist())
    except pa.ArrowInvalid:  # a subclass of ValueError
        raise
    except (OverflowError, ValueError):
        return [_value(each) for each in array]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        return None


def _decodable(texts: pa.Array) -> pa.Array:
    """Check that texts are UTF-8: Arrow itself accepts any bytes. Raises _Undecodable."""
    data, offsets = bytes_of(texts)
    # Checked as one text, with no value that begins inside a character.
    if is_utf8(data) and not ((data[offsets[:-1][np.diff(offsets) > 0]] & 0xC0) == 0x80).any():
        return texts
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        for row, value in enumerate(texts.cast(pa.large_binary()).to_pylist()):
            _text(row, value)
        raise
    return texts


def _text_of_series(series: "pd.Series[Any]") -> pa.Array:
    if series.dtype == object:
        # Arrow would give the column one type: 1 beside 2.5 would become 1.0.
        return _text_of_values([None if _is_null(value) else value for value in series])
    try:
        return _text_of_array(pa.Array.from_pandas(series))
    except (UnicodeEncodeError, pa.ArrowException):
        # A lone surrogate, or categories of several types.
        return _text_of_values([None if _is_null(value) else value for value in series])


def _kind_of_series(series: "pd.Series[Any]") -> ValueKind | None:
    if series.dtype == object:
        return kinds.of_values(value for value in series if not _is_null(value))
    try:
        return kinds.of_arrow(pa.Array.from_pandas(series.iloc[:0]).type)
    except pa.ArrowException:
        return ValueKind.TEXT


def _is_null(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def _text_of_values(values: Sequence[Any]) -> pa.Array:
    kinds = set(map(type, values)) - {type(None)}
    try:
        if kinds == {str}:
            return pa.array(values, TEXT)
        if kinds == {int} or kinds == {bool}:
            return pa.array(values).cast(TEXT)
    except (UnicodeEncodeError, OverflowError, pa.ArrowInvalid):
        pass  # a lone surrogate or an integer over 64 bits: one value at a time
    return pa.array([_encodable(row, _text(row, value)) for row, value in enumerate(values)], TEXT)


def _encodable(row: int, text: str | None) -> str | None:
    if text is not None and not _encodes(text):
        raise _Undecodable(row)
    return text


def _encodes(text: str) -> bool:
    """Whether a text can be encoded as UTF-8; half a surrogate pair can't."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def _text(row: int, value: Any) -> str | None:
    """One value as text; NaN is null, so that no message shows "nan"."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Decimal):
        return None if value.is_nan() else format(value, "f")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return kinds.BITS.get(bytes(value)) or bytes(value).decode()
        except UnicodeDecodeError:
            raise _Undecodable(row) from None
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)

"""Recipients and stop lists as pandas frames, read as a Parquet file would be.

This module reads a frame's labels, index and dtypes. It refuses a dtype without a plain spelling,
and floats where numbers or keys are expected: pandas may have made `12.0` of 12.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa

from sms.audience.table_files import (
    BATCH,
    StopList,
    begins_with_a_row,
    column_of_numbers,
    may_hold_numbers,
    numbers_in,
    without_views,
)
from sms.columnar import kinds, parquet
from sms.columnar.text import TEXT
from sms.columnar.values import ValueKind
from sms.errors import SourceError

Series: TypeAlias = "pd.Series[Any]"


@dataclass(frozen=True, slots=True)
class TableFrame:
    """A frame as a table; rows count from 1 by position, not by index.

    Named levels of the index are columns, as in `to_parquet`.
    """

    name: str
    columns: tuple[str, ...]
    rows: int
    _series: Sequence[Series]
    _converted_columns: dict[int, pa.ChunkedArray] = field(default_factory=dict)
    _kinds: dict[int, pa.Field] = field(default_factory=dict)

    is_typed = True
    place = "row"

    @classmethod
    def of(cls, frame: Any, name: str) -> "TableFrame":
        """A frame, or a single column; `name` is for errors. Raises SourceError for other types."""
        if isinstance(frame, pd.Series):
            frame = frame.to_frame()
        if not isinstance(frame, pd.DataFrame):
            raise SourceError(
                f"{name} is of the type {type(frame).__name__}: give a DataFrame, or the path of a "
                "CSV or a Parquet"
            )
        levels = [
            frame.index.get_level_values(place).to_series(index=pd.RangeIndex(len(frame)))
            for place, label in enumerate(frame.index.names)
            if label is not None
        ]
        labels = [*(each.name for each in levels), *_labels(frame, name)]
        series = [*levels, *(frame.iloc[:, place] for place in range(frame.shape[1]))]
        for label in labels:
            if not isinstance(label, str):
                raise SourceError(
                    f"{name} has a column {label!r}, whose label is no text: rename it, such as "
                    "frame.columns = [...]"
                )
        return cls(name, tuple(map(str, labels)), len(frame), series)

    def batches(
        self,
        columns: Sequence[str] | None = None,
        rows: int = BATCH,
        encoded: Sequence[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows, with all or only the named columns; categories stay encoded."""
        places = [self.columns.index(name) for name in columns or ()]
        if columns is None:
            places = [*range(len(self.columns))]
        arrays = [self._array(place) for place in places]
        schema = pa.schema([self._kinds[place] for place in places])
        if places:
            for batch in pa.Table.from_arrays(arrays, schema=schema).to_batches(rows):
                yield without_views(batch)

    def batches_beside(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows, with these columns and each other one that may hold numbers."""
        others = [
            name
            for place, name in enumerate(self.columns)
            if name not in columns and self.columns.count(name) == 1 and self._may_count(place)
        ]
        return self.batches([*columns, *others])

    def _may_count(self, place: int) -> bool:
        try:
            return may_hold_numbers(self._array(place).type)
        except SourceError:  # a column without a spelling, which is not read
            return False

    def places(self, rows: Iterable[int]) -> Iterator[int]:
        """The rows themselves."""
        return iter(rows)

    def require_no_floats(self, *columns: str) -> None:
        """Raise SourceError for the first of these columns with floats."""
        for name in columns:
            if self.columns.count(name) != 1:
                continue  # reported when the columns are read
            place = self.columns.index(name)
            array = self._array(place)
            if (
                kinds.of_field(self._kinds[place]) is ValueKind.FLOAT
                and array.null_count < self.rows
            ):
                raise SourceError(
                    f"the column {name!r} of {self.name} holds floats, so that 1042 would be "
                    "'1042.0', and a long number may have lost digits: read it as text, or make it "
                    f"whole numbers, such as frame.astype({{{name!r}: 'Int64'}})"
                )

    def _array(self, place: int) -> pa.ChunkedArray:
        """A column, converted once, so that repeated reads are equal."""
        if place not in self._converted_columns:
            array, kind = self._converted(self.columns[place], self._series[place])
            self._converted_columns[place] = array
            self._kinds[place] = kind
        return self._converted_columns[place]

    def _converted(self, name: str, series: Series) -> tuple[pa.ChunkedArray, pa.Field]:
        if isinstance(series.dtype, pd.SparseDtype):
            series = series.astype(series.dtype.subtype)
        if series.dtype != object:
            try:
                array = pa.chunked_array(pa.Array.from_pandas(series))
            except (pa.ArrowException, TypeError, ValueError):
                if not isinstance(series.dtype, pd.CategoricalDtype):
                    raise self._unreadable(name, series) from None
            else:
                if _has_no_spelling(array.type):
                    raise self._unreadable(name, series)
                return array, pa.field(name, array.type)
        return self._of_objects(name, series)

    def _of_objects(self, name: str, series: Series) -> tuple[pa.ChunkedArray, pa.Field]:
        """A column of Python objects, one value at a time: 1 beside 2.5 stays 1."""
        values = [None if _is_null(each) else each for each in series]
        if all(isinstance(each, str | None) for each in values):
            try:
                return pa.chunked_array([pa.array(values, TEXT)]), kinds.field(
                    name, kinds.of_values(values)
                )
            except UnicodeEncodeError:
                pass  # reported below with its row
        try:
            batch = parquet.from_rows([name], [(each,) for each in values])
        except SourceError as error:
            raise SourceError(f"{self.name}: {error}") from None
        kind = batch.schema.field(0)
        if kinds.of_field(kind) is ValueKind.OTHER and not all(
            isinstance(each, list | dict | tuple | None) for each in values
        ):
            raise self._unreadable(name, series)
        return pa.chunked_array(batch.columns), kind

    def _unreadable(self, name: str, series: Series) -> SourceError:
        return SourceError(
            f"the column {name!r} of {self.name} has the dtype {series.dtype}, which has no one "
            f"spelling: make it text, such as frame[{name!r}].astype(str), or a plain type"
        )


def stop_list_of(frame: Any, name: str, countries: Sequence[str]) -> StopList:
    """The numbers of a stop list in a frame; it has the columns of a stop list's file.

    Raises SourceError and StopListUnsafe as `read_stop_list` does.
    """
    table = TableFrame.of(frame, name)
    if begins_with_a_row(table):
        raise SourceError(
            f"{name} has a column called {_masked(table.columns)}, which looks like a row: read "
            "the file with header=None"
        )
    column = column_of_numbers(table)
    table.require_no_floats(column)
    return numbers_in(table, column, countries)


def _labels(frame: pd.DataFrame, name: str) -> list[Any]:
    """The labels of a frame's columns; numbers (`header=None`) become `column 1` and so on."""
    if frame.columns.nlevels > 1:
        raise SourceError(
            f"the columns of {name} have {frame.columns.nlevels} levels: give each one name, such "
            "as frame.columns = frame.columns.map('_'.join)"
        )
    labels = frame.columns.tolist()
    if labels == [*range(len(labels))] or labels == [None]:
        return [f"column {place}" for place in range(1, len(labels) + 1)]
    return labels


def _masked(columns: Sequence[str]) -> str:
    """The first column's name with its digits masked: it may be a number."""
    return repr("".join("•" if sign.isdigit() else sign for sign in columns[0]))


def _has_no_spelling(kind: pa.DataType) -> bool:
    """Whether values have no plain text: Arrow stores a period as a number of months."""
    if pa.types.is_dictionary(kind):
        return _has_no_spelling(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return str(kind.extension_name).startswith("pandas.")
    return bool(pa.types.is_duration(kind) or pa.types.is_interval(kind))


def _is_null(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return any(value is null for null in (None, pd.NA, pd.NaT))

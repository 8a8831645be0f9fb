"""A run's Parquet files, complete or absent, and a query's answer as text."""

import datetime
import gc
import io
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.columnar import parquet
from sms.errors import SourceError
from tests.columnar.batches import texts


class Shelf:
    """A path that has pathlib's `open` and nothing else, as an object store's has."""

    def __init__(self):
        self.content = b""

    def __str__(self):
        return "s3://runs/01_candidates.parquet"

    def open(self, mode):
        shelf = self

        class Upload(io.BytesIO):
            def close(self):
                if not self.closed:
                    shelf.content = self.getvalue()
                super().close()

        return Upload() if mode == "wb" else io.BytesIO(self.content)


@pytest.fixture(params=["file", "object store"])
def path(request, tmp_path):
    return tmp_path / "a file.parquet" if request.param == "file" else Shelf()


def test_rows_are_read_back_in_order(path):
    stream = [texts(key=["1", None], name=["Zoé", ""]), texts(key=["3"], name=[None])]

    assert parquet.write(path, iter(stream)) == 3
    read = pa.Table.from_batches(parquet.batches(path))
    assert read == pa.Table.from_batches(stream)
    assert parquet.rows(path) == 3


def test_selected_columns_come_alone_in_the_requested_order(path):
    parquet.write(path, [texts(a=["1"], b=["2"], c=["3"])])

    assert [batch.to_pylist() for batch in parquet.batches(path, ["c", "a"])] == [
        [{"c": "3", "a": "1"}]
    ]


def test_a_missing_column_error_lists_the_existing_ones(path):
    parquet.write(path, [texts(a=["1"], b=["2"])])

    with pytest.raises(SourceError, match=r"has no column c, only a, b: run the stage"):
        list(parquet.batches(path, ["a", "c"]))


def test_an_empty_file_needs_a_schema(path):
    schema = pa.schema([("key", parquet.TEXT)])

    assert parquet.write(path, [], schema) == 0
    assert parquet.rows(path) == 0
    assert list(parquet.batches(path)) == []
    with pytest.raises(ValueError, match="needs a schema"):
        parquet.write(path, [])


def test_small_batches_are_merged_and_large_ones_read_piecewise(path):
    rows = 2 * parquet.ROW_GROUP
    small = (texts(key=["x"] * 1024) for _ in range(rows // 1024))

    assert parquet.write(path, small) == rows
    with path.open("rb") as source:
        assert pq.ParquetFile(source).metadata.num_row_groups == 2
    assert {batch.num_rows for batch in parquet.batches(path)} == {parquet.BATCH}


def test_a_failing_stream_leaves_no_complete_looking_file(path):
    parquet.write(path, [texts(key=["from an earlier try"])])

    def broken():
        for _ in range(3):
            yield texts(key=["x"] * parquet.ROW_GROUP)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        parquet.write(path, broken())
    gc.collect()  # pyarrow's writer adds a footer when it is destroyed

    with path.open("rb") as left:
        assert left.read() == b""
    with pytest.raises(SourceError, match=r"parquet is not a finished Parquet file: run the stage"):
        list(parquet.batches(path))


def test_a_truncated_file_is_not_read_as_shorter():
    shelf = Shelf()
    parquet.write(shelf, [texts(key=["x", "y"]) for _ in range(3)])
    whole = shelf.content
    for size in range(len(whole)):
        shelf.content = whole[:size]
        with pytest.raises(SourceError, match="not a finished Parquet file"):
            parquet.rows(shelf)


# --- A query's answer as text --------------------------------------------------------------------

UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
PARIS_SUMMER = datetime.timezone(datetime.timedelta(hours=2))
VALUES = {
    "integer": (3, "3"),
    "negative": (-3, "-3"),
    "beyond 64 bits": (2**70, "1180591620717411303424"),
    "numpy integer": (np.int64(3), "3"),
    "float": (3.0, "3.0"),
    "float with a long fraction": (0.1 + 0.2, "0.30000000000000004"),
    "NaN": (float("nan"), None),
    "decimal": (Decimal("3.10"), "3.10"),
    "decimal with an exponent": (Decimal("1E+3"), "1000"),
    "small decimal": (Decimal("1E-9"), "0.000000001"),
    "decimal NaN": (Decimal("NaN"), None),
    "true": (True, "true"),
    "false": (False, "false"),
    "date": (datetime.date(2026, 7, 15), "2026-07-15"),
    "time": (datetime.time(8, 30), "08:30:00"),
    "timestamp": (
        datetime.datetime(2026, 7, 15, 10, tzinfo=PARIS_SUMMER),
        "2026-07-15T10:00:00+02:00",
    ),
    "bytes": ("Zoé".encode(), "Zoé"),
    "memoryview": (memoryview(b"abc"), "abc"),
    "uuid": (UUID, str(UUID)),
    "JSON": ({"é": [1, None]}, '{"é": [1, null]}'),
    "text": ("Zoé", "Zoé"),
    "text of a null": ("None", "None"),
    "empty text": ("", ""),
    "NUL and emoji": ("a\x00😀", "a\x00😀"),
    "null": (None, None),
}


@pytest.mark.parametrize(("value", "text"), VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("beside", [[], [None], ["é"], [7], [2.5]], ids=str)
def test_a_value_has_the_same_text_beside_any_other(value, text, beside):
    rows = [(value,), *[(other,) for other in beside]]
    frame = pd.DataFrame({"c": pd.Series([row[0] for row in rows], dtype=object)})

    assert parquet.from_rows(["c"], rows)["c"][0].as_py() == text
    assert parquet.as_text(frame)["c"][0].as_py() == text


ARROW = {
    "int64 with nulls": (pa.array([3, None]), ["3", None]),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    "float": (pa.array([3.0, None, float("nan"), 1e22]), ["3.0", None, None, "1e+22"]),
    "float32": (pa.array([0.1], pa.float32()), ["0.1"]),
    "bool": (pa.array([True, None, False]), ["true", None, "false"]),
    "decimal": (pa.array([Decimal("0.0000001"), None]), ["0.0000001", None]),
    "date": (pa.array([datetime.date(2026, 7, 15)]), ["2026-07-15"]),
    "timestamp": (pa.array([datetime.datetime(2026, 7, 15, 10)]), ["2026-07-15T10:00:00"]),  # noqa: DTZ001 - a warehouse's TIMESTAMP has no zone
    "binary": (pa.array([b"Zo\xc3\xa9", None]), ["Zoé", None]),
    "string": (pa.array(["x", None]), ["x", None]),
    "string view": (pa.array(["x", None], pa.string_view()), ["x", None]),
    "dictionary": (pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
    "uuid": (pa.array([UUID.bytes], pa.uuid()), [str(UUID)]),
    "list": (pa.array([[1, None]]), ["[1, null]"]),
    "nothing but nulls": (pa.nulls(2), [None, None]),
}


@pytest.mark.parametrize(("array", "wanted"), ARROW.values(), ids=ARROW.keys())
def test_an_arrow_column_becomes_text(array, wanted):
    batch = parquet.as_text(pa.record_batch({"c": array}))
    sliced = parquet.as_text(pa.table({"c": pa.chunked_array([array, array])}).slice(len(array)))

    assert batch["c"].to_pylist() == wanted
    assert sliced["c"].to_pylist() == wanted
    assert batch.schema == pa.schema([("c", parquet.TEXT)])


PANDAS = {
    "Int64": (pd.array([3, None], dtype="Int64"), ["3", None]),
    "object integers": (pd.Series([3, None], dtype=object), ["3", None]),
    "object, mixed": (pd.Series([3, 2.5, float("nan")], dtype=object), ["3", "2.5", None]),
    "float": (pd.Series([3.0, None]), ["3.0", None]),
    "str": (pd.Series(["x", None], dtype="str"), ["x", None]),
    "category": (pd.Series(["x", None], dtype="category"), ["x", None]),
    "category of integers and text": (
        pd.Series([1, "x", None], dtype="category"),
        ["1", "x", None],
    ),
    "NA and NaT": (pd.Series([pd.NA, pd.NaT], dtype=object), [None, None]),
    "timestamps": (
        pd.Series(pd.to_datetime(["2026-07-15 10:00", None])),
        ["2026-07-15T10:00:00", None],
    ),
    "arrow integers": (pd.array([3, None], dtype="int64[pyarrow]"), ["3", None]),
}


@pytest.mark.parametrize(("column", "wanted"), PANDAS.values(), ids=PANDAS.keys())
def test_a_pandas_column_becomes_text(column, wanted):
    assert parquet.as_text(pd.DataFrame({"c": column}))["c"].to_pylist() == wanted


def unchecked(kind, width):
    """Two texts as a driver may hand them on: Arrow doesn't look at their bytes."""
    bounds = pa.py_buffer(np.array([0, 1, 4], width))
    return pa.Array.from_buffers(kind, 2, [None, bounds, pa.py_buffer(b"a\xed\xa0\x80")])


NOT_UTF8 = {
    "bytes of a cursor": lambda: parquet.from_rows(["name"], [("a",), (b"Zo\xe9",)]),
    "lone surrogate": lambda: parquet.from_rows(["name"], [("a",), ("\ud800",)]),
    "lone surrogate beside an integer": lambda: parquet.from_rows(["name"], [(1,), ("a\udfff",)]),
    "lone surrogate in a list": lambda: parquet.from_rows(["name"], [("a",), (["\ud800"],)]),
    "lone surrogate of a document": lambda: parquet.from_rows(["name"], [({},), ({"\ud800": 1},)]),
    "lone surrogate of NumPy": lambda: parquet.from_rows(["name"], [("a",), (np.str_("\ud800"),)]),
    "arrow binary": lambda: parquet.as_text(pa.record_batch({"name": [b"a", b"Zo\xe9"]})),
    "arrow text": lambda: parquet.as_text(pa.record_batch({"name": unchecked(pa.string(), "i4")})),
    "arrow large text": lambda: parquet.as_text(
        pa.record_batch({"name": unchecked(pa.large_string(), "i8")})
    ),
    "arrow text in chunks": lambda: parquet.as_text(
        pa.table({"name": pa.chunked_array([["a"], unchecked(pa.string(), "i4").slice(1)])})
    ),
    "arrow dictionary": lambda: parquet.as_text(
        pa.record_batch(
            {"name": pa.DictionaryArray.from_arrays([0, 1], unchecked(pa.string(), "i4"))}
        )
    ),
    "pandas text": lambda: parquet.as_text(
        pd.DataFrame({"name": pd.Series(["a", "\ud800"], dtype=pd.StringDtype("python"))})
    ),
    "pandas object": lambda: parquet.as_text(
        pd.DataFrame({"name": pd.Series(["a", "\ud800"], dtype=object)})
    ),
}


@pytest.mark.parametrize("read", NOT_UTF8.values(), ids=NOT_UTF8.keys())
def test_invalid_utf8_is_reported_by_column_and_row(read):
    with pytest.raises(SourceError) as raised:
        read()

    assert str(raised.value) == (
        "column name holds bytes that are not UTF-8, first in row 2: convert them to text in the "
        "query"
    )


@pytest.mark.parametrize(
    "read",
    [
        lambda name: parquet.from_rows(["key", name], []),
        lambda name: parquet.as_text(
            pd.DataFrame([[1, 2]], columns=pd.Index(["key", name], dtype=object))
        ),
    ],
    ids=["cursor", "pandas"],
)
def test_an_undecodable_column_name_is_reported_by_position(read):
    with pytest.raises(SourceError, match="the name of the query's column 2 is not UTF-8"):
        read("pr\udce9nom")


def test_a_null_with_hidden_bytes_is_a_null():
    hidden = unchecked(pa.large_string(), "i8").buffers()
    column = pa.Array.from_buffers(pa.large_string(), 2, [pa.py_buffer(b"\x01"), *hidden[1:]])

    assert parquet.as_text(pa.record_batch({"name": column}))["name"].to_pylist() == ["a", None]


def test_a_later_batch_continues_the_row_numbers():
    with pytest.raises(SourceError, match="first in row 1001:"):
        parquet.from_rows(["name"], [(b"\xff",)], first=1001)


def test_one_name_for_two_columns_is_refused():
    for read in (
        lambda: parquet.from_rows(["id", "x", "id"], []),
        lambda: parquet.as_text(pa.table([[1], [2]], names=["id", "id"])),
        lambda: parquet.as_text(pd.DataFrame([[1, 2]], columns=["id", "id"])),
    ):
        with pytest.raises(SourceError, match="more than one column named id"):
            read()


def test_rows_with_other_columns_than_announced_are_refused():
    with pytest.raises(SourceError, match="announced 2 columns, and its rows have 1"):
        parquet.from_rows(["a", "b"], [("x",)])


def test_a_cursor_without_rows_still_has_its_columns():
    batch = parquet.from_rows(["key", "msisdn"], [])

    assert batch.schema == pa.schema([("key", parquet.TEXT), ("msisdn", parquet.TEXT)])
    assert batch.num_rows == 0


ROWS = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(exclude_categories=["Cs"])), st.none() | st.integers()
    ),
    max_size=20,
)


@given(ROWS, ROWS)
@settings(max_examples=60)
def test_text_and_integers_survive_writing_and_reading(first, second):
    shelf = Shelf()
    parquet.write(shelf, [parquet.from_rows(["text", "number"], rows) for rows in (first, second)])
    read = [row for batch in parquet.batches(shelf) for row in batch.to_pylist()]

    assert [(row["text"], row["number"]) for row in read] == [
        (text, None if number is None else str(number)) for text, number in first + second
    ]

"""Rows of a query from PostgreSQL by COPY, as the same texts that a cursor's values would give.

What belongs here: gathering COPY's messages into blocks, parsing blocks with Arrow, and the
spelling of each type. A cursor creates a Python object for each cell; here cells stay bytes in a
column from the socket to Parquet, and only values of rare types are converted one by one.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from psycopg import pq
from psycopg.abc import Loader, PQGen
from psycopg.adapt import Transformer
from psycopg.waiting import Wait

from sms.columnar import kinds, parquet
from sms.columnar.text import TEXT
from sms.columnar.values import ValueKind
from sms.errors import SourceError

BLOCK = 2 << 20  # bytes of CSV that are parsed at once, some 30,000 rows; larger is no faster
CANCELLING = 5.0  # seconds for the server to accept a cancellation
# Arrow removes a byte order mark at the start of its input, even if it belongs to the first cell.
HEAD = b"-\n"
# Defaults of a role or a database must not change a text or lose digits.
SETTINGS = """\
SELECT set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'postgres', true),
       set_config('extra_float_digits', '1', true)"""
NOT_HERE = (
    psycopg.errors.SyntaxError,
    psycopg.errors.FeatureNotSupported,
    psycopg.errors.UndefinedObject,
)

Spelling = Callable[[pa.Array, int], pa.Array]  # the cells, the number of the first row


class Refused(Exception):
    """The server does not support this COPY (Redshift, some proxies): use a cursor instead."""


@dataclass(frozen=True, slots=True)
class CopiedColumn:
    """A column of the answer: the Arrow type to read it as, and its conversion to text."""

    name: str
    read_as: pa.DataType
    spell: Spelling | None = None
    kind: ValueKind | None = None  # of its values; None if Arrow's type or each value shows it


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows as CSV, and the number of the first row."""

    first: int
    csv: bytearray


def speak_utf8(connection: "psycopg.Connection[Any]") -> None:
    """Set the client encoding to UTF-8, independent of the database's encoding.

    SQL_ASCII is left as it is: such a server does not know its encoding and sends bytes unchanged.
    Call this first, as the query itself is text.
    """
    if connection.info.parameter_status("server_encoding") != "SQL_ASCII":
        connection.execute("SET client_encoding TO 'UTF8'")


def rows(
    connection: "psycopg.Connection[Any]", query: str, names: Sequence[str], oids: Sequence[int]
) -> Iterator[pa.RecordBatch]:
    """Stream the rows of one SELECT as all-text batches, in the query's own order.

    `query` has no semicolon at its end; `names` and `oids` are those of its columns. If the caller
    stops early, the query is cancelled at the server. Raises Refused before the first row, and
    psycopg's errors.
    """
    with ExitStack() as stack:
        try:
            connection.execute(SETTINGS)
            columns = _columns(connection, names, oids)
            cursor = stack.enter_context(connection.cursor())
            stack.enter_context(cursor.copy(f"COPY (\n{query}\n) TO STDOUT (FORMAT csv)"))
        except NOT_HERE as error:
            raise Refused from error
        blocks = stack.enter_context(closing(_blocks(connection)))
        for block in blocks:
            yield _parsed(columns, block)


# --- From the socket to blocks ------------------------------------------------------------------


def _blocks(connection: "psycopg.Connection[Any]") -> Generator[Block, None, None]:
    """All blocks; a thread reads the next one while the caller works on the last.

    The server fills a small buffer and then waits, so time without a reader would add to its own.
    """
    first = 1
    with ThreadPoolExecutor(1, thread_name_prefix="sms-copy") as reader, _cancelling(connection):
        coming = reader.submit(_next, connection)
        ended = False
        while not ended:
            csv, count, ended = coming.result()
            if not ended:
                coming = reader.submit(_next, connection)
            if count:
                yield Block(first, csv)
            first += count


def _next(connection: "psycopg.Connection[Any]") -> tuple[bytearray, int, bool]:
    return connection.wait(_gathered(connection.pgconn))


@contextmanager
def _cancelling(connection: "psycopg.Connection[Any]") -> Iterator[None]:
    """Cancel the query at the server on an early stop: the next row may take hours."""
    try:
        yield
    except BaseException:
        with suppress(psycopg.Error):
            connection.cancel_safe(timeout=CANCELLING)
        raise


def _gathered(pgconn: pq.abc.PGconn) -> PQGen[tuple[bytearray, int, bool]]:
    """The next rows up to a block, their number, and whether they are the last.

    libpq returns one row a call. psycopg's own loop waits for the socket before each row, which
    takes longer than all the rest; here only an empty socket is waited for.
    """
    csv, count, next_row = bytearray(HEAD), 0, pgconn.get_copy_data
    while len(csv) < len(HEAD) + BLOCK:
        size, row = next_row(1)
        if size > 0:
            csv += row
            count += 1
        elif size == 0:
            yield from _more(pgconn)
        else:
            yield from _farewell(pgconn)
            return csv, count, True
    return csv, count, False


def _more(pgconn: pq.abc.PGconn) -> PQGen[None]:
    while not (yield Wait.R):
        pass
    pgconn.consume_input()


def _farewell(pgconn: pq.abc.PGconn) -> PQGen[None]:
    """Read the server's final result. Raises its error."""
    while True:
        while pgconn.is_busy():
            yield from _more(pgconn)
        result = pgconn.get_result()
        if result is None:
            return
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.errors.error_from_result(result)


# --- From a block to text -----------------------------------------------------------------------


def _parsed(columns: Sequence[CopiedColumn], block: Block) -> pa.RecordBatch:
    """A block's rows as text. Raises SourceError if a cell is not UTF-8."""
    try:
        batch = _read(columns, block.csv)
    except pa.ArrowInvalid:  # its message may quote a cell
        raise _unreadable(columns, block) from None
    spelled = [
        each.spell(array, block.first) if each.spell else array
        for each, array in zip(columns, batch.columns, strict=True)
    ]
    fields = [
        kinds.field(each.name, each.kind) if each.kind else pa.field(each.name, array.type)
        for each, array in zip(columns, spelled, strict=True)
    ]
    return parquet.as_text(
        pa.RecordBatch.from_arrays(spelled, schema=pa.schema(fields)), block.first
    )


def _unreadable(columns: Sequence[CopiedColumn], block: Block) -> SourceError:
    try:
        cells = _read([CopiedColumn(each.name, pa.large_binary()) for each in columns], block.csv)
        parquet.as_text(cells, block.first)
    except SourceError as error:
        return error
    except pa.ArrowInvalid:
        pass
    return SourceError(f"the answer of COPY can't be read, after row {block.first - 1}")


def _read(columns: Sequence[CopiedColumn], csv: bytearray) -> pa.RecordBatch:
    """Parse a block. In COPY's CSV a null is an empty cell without quotes, "" an empty text."""
    table = pa.csv.read_csv(
        pa.py_buffer(csv),
        pa.csv.ReadOptions(
            column_names=[each.name for each in columns],
            skip_rows=1,
            block_size=len(csv),
            use_threads=False,
        ),
        pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        pa.csv.ConvertOptions(
            column_types={each.name: each.read_as for each in columns},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    (batch,) = table.combine_chunks().to_batches()
    return batch


# --- Types --------------------------------------------------------------------------------------


def _columns(
    connection: "psycopg.Connection[Any]", names: Sequence[str], oids: Sequence[int]
) -> list[CopiedColumn]:
    return [_column(connection, name, oid) for name, oid in zip(names, oids, strict=True)]


def _column(connection: "psycopg.Connection[Any]", name: str, oid: int) -> CopiedColumn:
    known = connection.adapters.types.get(oid)
    if known and known.array_oid != oid and known.name in COMMON:
        return CopiedColumn(name, *COMMON[known.name])
    if connection.adapters.get_loader(oid, pq.Format.TEXT) is None:
        return CopiedColumn(name, TEXT)  # an enum, a geometry: text in psycopg too
    loader = Transformer(connection).get_loader(oid, pq.Format.TEXT)
    return CopiedColumn(name, pa.large_binary(), partial(_one_by_one, name, loader), kind_of(oid))


def kind_of(oid: int) -> ValueKind:
    """The kind of a type's values, by its OID."""
    known = psycopg.adapters.types.get(oid)
    if known is None:
        return ValueKind.TEXT
    if known.array_oid == oid or known.name.endswith("range") or known.name == "interval":
        return ValueKind.OTHER
    if known.name not in COMMON:
        return ValueKind.TEXT
    read_as, _, kind = COMMON[known.name]
    return kind or kinds.of_arrow(read_as) or ValueKind.TEXT


def _one_by_one(name: str, loader: Loader, cells: pa.Array, first: int) -> pa.Array:
    """Each cell as the text of psycopg's value: JSON, arrays, times, bytes."""
    rows = [(None if cell is None else _loaded(loader, cell),) for cell in cells.to_pylist()]
    return parquet.from_rows([name], rows, first).column(0)


def _loaded(loader: Loader, cell: bytes) -> Any:
    try:
        return loader.load(cell)
    except Exception:  # Python has no such value (infinity); the error's text would quote it
        return cell


def _number(cells: pa.Array, first: int) -> pa.Array:
    """Decimals, with NaN as null: no message may contain NaN."""
    return pc.if_else(pc.equal(cells, "NaN"), pa.scalar(None, TEXT), cells)


def _moment(cells: pa.Array, first: int) -> pa.Array:
    """Timestamps as Python spells them: with T, and six decimals or none."""
    text = pc.replace_substring(cells, " ", "T", max_replacements=1)
    if pc.any(pc.match_substring(text, ".")).as_py():
        text = pc.replace_substring_regex(text, r"\.(\d+)", r".\100000")
        text = pc.replace_substring_regex(text, r"\.(\d{6})0*", r".\1")
    return text


def _zoned_moment(cells: pa.Array, first: int) -> pa.Array:
    """The same with an offset; PostgreSQL omits its minutes if they are zero."""
    return pc.replace_substring_regex(_moment(cells, first), r"([+-]\d\d)$", r"\1:00")


# Texts and whole numbers keep PostgreSQL's spelling, which is also a cursor's. `as_text` spells
# floats, which are read as numbers, and booleans.
COMMON: dict[str, tuple[pa.DataType, Spelling | None, ValueKind | None]] = {
    **dict.fromkeys(("text", "varchar", "bpchar", "name", '"char"'), (TEXT, None, ValueKind.TEXT)),
    **dict.fromkeys(("int2", "int4", "int8", "oid"), (TEXT, None, ValueKind.INTEGER)),
    **dict.fromkeys(("float4", "float8"), (pa.float64(), None, None)),
    "bool": (pa.bool_(), None, None),
    "numeric": (TEXT, _number, ValueKind.DECIMAL),
    "date": (TEXT, None, ValueKind.DATE),
    "timestamp": (TEXT, _moment, ValueKind.TIMESTAMP),
    "timestamptz": (TEXT, _zoned_moment, ValueKind.TIMESTAMP),
}

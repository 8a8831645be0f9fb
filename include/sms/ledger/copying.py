"""Arrow into PostgreSQL by COPY, and numbers by binary COPY: the way in, and out, in bulk.

Text goes as CSV because Arrow writes that at the speed of memory: it quotes every text and
leaves a null bare, which is how PostgreSQL tells an empty text from none.
"""

import io
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from psycopg import sql
from psycopg.copy import QueuedLibpqWriter
from pyarrow import csv
from sqlalchemy import text

from sms.ledger.database import Transaction

Rows: TypeAlias = pa.Table | Iterable[pa.RecordBatch]
Numbers: TypeAlias = pa.Array | pa.ChunkedArray | np.ndarray

CHUNK = 65_536  # rows
NUL = b"\x00"  # PostgreSQL's text holds every character but this one
REPLACEMENT = "\ufffd".encode()

# A row of binary COPY with one bigint: the number of fields, the field's length, the field.
_NUMBER = np.dtype([("fields", ">i2"), ("length", ">i4"), ("number", ">i8")])
_BINARY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_BINARY_TRAILER = b"\xff\xff"


def batches(rows: Rows) -> Iterator[pa.RecordBatch]:
    """The rows in portions that fit in memory."""
    yield from rows.to_batches(max_chunksize=CHUNK) if isinstance(rows, pa.Table) else rows


def copy_rows(tx: Transaction, table: str, schema: pa.Schema, rows: Rows) -> int:
    """COPY the columns that `schema` names into a table (`schema.table` or a temporary one).

    Columns beyond the schema are left aside; a missing one, or a null where the schema has none,
    is a ValueError. Returns how many rows went in.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(*table.split(".")),
        sql.SQL(", ").join(sql.Identifier(name) for name in schema.names),
    )
    count = 0
    # A thread of its own sends: the next portion is made while the server takes this one.
    with (
        tx.cursor as cursor,
        cursor.copy(statement, writer=QueuedLibpqWriter(cursor)) as copy,
    ):
        for batch in batches(rows):
            fitting = _fit(batch, schema)
            copy.write(_as_csv(fitting))
            count += fitting.num_rows
    return count


def copy_numbers(tx: Transaction, table: str, column: str, numbers: np.ndarray) -> None:
    """COPY int64 numbers into one bigint column."""
    encoded = np.empty(len(numbers), dtype=_NUMBER)
    encoded["fields"], encoded["length"], encoded["number"] = 1, 8, numbers
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(*table.split(".")), sql.Identifier(column)
    )
    with tx.cursor as cursor, cursor.copy(statement) as copy:
        copy.write(_BINARY_HEADER)
        copy.write(encoded.tobytes())
        copy.write(_BINARY_TRAILER)


def copied_out(tx: Transaction, statement: str, row: np.dtype[np.void]) -> Iterator[np.ndarray]:
    """The rows of a binary `COPY ... TO STDOUT` whose fields are all there and of fixed length.

    `row` is such a row. Comes in pieces of at most CHUNK rows, as the server sends them.
    """
    held = bytearray()
    with tx.cursor as cursor, cursor.copy(statement.encode()) as copy:
        for piece in copy:
            held += piece
            if len(held) >= CHUNK * row.itemsize:
                yield _whole_rows(held, row)
    if held.removesuffix(_BINARY_TRAILER) not in (b"", _BINARY_HEADER):
        yield _whole_rows(held, row)


def _whole_rows(held: bytearray, row: np.dtype[np.void]) -> np.ndarray:
    """Take the whole rows off the bytes that came, and leave the rest there."""
    if held.startswith(_BINARY_HEADER):
        del held[: len(_BINARY_HEADER)]
    count = len(held) // row.itemsize
    rows = np.frombuffer(bytes(held[: count * row.itemsize]), row)
    del held[: count * row.itemsize]
    return rows


def hand_over(tx: Transaction, numbers: Numbers) -> None:
    """Put these int64 numbers, each once, into the table `pg_temp.asked` of this transaction.

    The numbers go to the database, not its lists to us: memory stays flat however long they grow.
    """
    asked = np.unique(np.asarray(numbers, dtype=np.int64))
    tx.db.execute(text("CREATE TEMP TABLE IF NOT EXISTS asked (msisdn bigint) ON COMMIT DROP"))
    tx.db.execute(text("TRUNCATE asked"))
    copy_numbers(tx, "pg_temp.asked", "msisdn", asked)
    tx.db.execute(text("ANALYZE asked"))


def _fit(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    lacking = set(schema.names) - set(batch.schema.names)
    if lacking:
        raise ValueError(f"columns are missing: {', '.join(sorted(lacking))}")
    columns = [batch.column(field.name).cast(field.type) for field in schema]
    for field, column in zip(schema, columns, strict=True):
        if not field.nullable and column.null_count:
            raise ValueError(f"column {field.name} has {column.null_count} nulls")
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _as_csv(batch: pa.RecordBatch) -> bytes:
    out = io.BytesIO()
    csv.write_csv(batch, out, csv.WriteOptions(include_header=False))
    return out.getvalue().replace(NUL, REPLACEMENT)

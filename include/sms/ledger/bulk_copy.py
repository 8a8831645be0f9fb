"""Arrow rows into PostgreSQL by binary COPY, and numbers out of it.

Binary COPY costs the server some 40 % less than text, which has to be parsed. A column must have
the table's own type: `int16` for smallint, `int32` for integer, `int64` for bigint.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql
from sqlalchemy import text

from sms.columnar.text import TEXT, bytes_of
from sms.ledger.database import Transaction

Rows: TypeAlias = pa.Table | Iterable[pa.RecordBatch]
Numbers: TypeAlias = pa.Array | pa.ChunkedArray | np.ndarray

CHUNK = 65_536  # rows
HEAVY = 32 << 20  # bytes of rows that are held together at most; usual rows are smaller
ENCODED = 1 << 15  # rows encoded at once
READY = 4  # encoded pieces ahead, so that the server need not wait for the next
NUL = "\0"  # the only character that PostgreSQL's text can't hold
REPLACEMENT = "\ufffd"

# A row of binary COPY with one bigint: the number of fields, the field's length, the field.
_NUMBER = np.dtype([("fields", ">i2"), ("length", ">i4"), ("number", ">i8")])
_BINARY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_BINARY_TRAILER = b"\xff\xff"


def batches(rows: Rows) -> Iterator[pa.RecordBatch]:
    """The rows in batches; those of a table have at most CHUNK rows."""
    yield from rows.to_batches(max_chunksize=CHUNK) if isinstance(rows, pa.Table) else rows


def portions(rows: Rows, most: int, ready: Callable[[], bool]) -> Iterator[pa.RecordBatch]:
    """Join batches into portions: the first when `ready`, each next one up to half as large again.

    A portion has about `most` rows at most. Large portions from the start would make the server
    wait.
    """
    held: list[pa.RecordBatch] = []
    size = 0  # until the first portion is complete
    for batch in batches(rows):
        held.append(batch)
        if are_full(held, size or most) or (not size and ready()):
            # Drop our reference while the caller works on the portion.
            whole, held = _joined(held), []
            size = min(most, 3 * whole.num_rows // 2)
            yield whole
            del whole
    if held:
        yield _joined(held)


def are_full(held: Sequence[pa.RecordBatch], most: int) -> bool:
    """Whether the batches have `most` rows, or HEAVY bytes."""
    rows: int = sum(each.num_rows for each in held)
    size: int = sum(each.nbytes for each in held)
    return rows >= most or size >= HEAVY


def _joined(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch with the rows of all parts."""
    if len(parts) == 1:
        return parts[0]
    [whole] = pa.Table.from_batches(parts).combine_chunks().to_batches() or [parts[0]]
    return whole


def copy_rows(tx: Transaction, table: str, schema: pa.Schema, rows: Rows) -> int:
    """COPY the columns of `schema` into a table (`schema.table` or a temporary one).

    Returns the number of rows. Other columns are ignored. Raises ValueError for a missing column,
    and for a null in a column that allows none.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(*table.split(".")),
        sql.SQL(", ").join(sql.Identifier(name) for name in schema.names),
    )
    encoder = ArrowToPostgresBinaryEncoder(schema)
    count = 0
    # A thread sends, so that the next rows are encoded while the server reads.
    with (
        tx.cursor as cursor,
        cursor.copy(statement) as copy,
        ThreadPoolExecutor(1, thread_name_prefix="sms-copy") as sender,
    ):
        sent = deque([sender.submit(copy.write, encoder.write_header())])
        try:
            for batch in batches(rows):
                for first in range(0, batch.num_rows, ENCODED):
                    encoded = encoder.write_batch(_fit(batch.slice(first, ENCODED), schema))
                    if len(sent) == READY:
                        sent.popleft().result()
                    sent.append(sender.submit(copy.write, encoded))
                count += batch.num_rows
                del batch  # free it before the next one is created
            sent.append(sender.submit(copy.write, encoder.finish()))
            for each in sent:
                each.result()
        except BaseException:
            sender.shutdown(wait=False, cancel_futures=True)  # finish the running write only
            raise
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
    """The rows of a binary `COPY ... TO STDOUT` without nulls and with fields of fixed length.

    `row` is the dtype of a row. Yields arrays of about CHUNK rows.
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
    """Remove the complete rows from the buffer and return them; the rest stays in it."""
    if held.startswith(_BINARY_HEADER):
        del held[: len(_BINARY_HEADER)]
    count = len(held) // row.itemsize
    rows = np.frombuffer(bytes(held[: count * row.itemsize]), row)
    del held[: count * row.itemsize]
    return rows


def numbers_out(tx: Transaction, query: str) -> np.ndarray:
    """The int64 numbers of a query with one bigint column, without nulls."""
    pieces = copied_out(tx, f"COPY ({query}) TO STDOUT (FORMAT binary)", _NUMBER)
    found = [piece["number"].astype(np.int64) for piece in pieces]
    return np.concatenate([np.empty(0, np.int64), *found])


def hand_over(tx: Transaction, numbers: Numbers) -> None:
    """Put these int64 numbers, each once, into the table `pg_temp.asked` of this transaction.

    The query then runs in the database, so that our memory does not grow with its lists.
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
    columns = [_without_nul(batch.column(field.name).cast(field.type)) for field in schema]
    for field, column in zip(schema, columns, strict=True):
        if not field.nullable and column.null_count:
            raise ValueError(f"column {field.name} has {column.null_count} nulls")
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _without_nul(column: pa.Array) -> pa.Array:
    if column.type == TEXT and not bytes_of(column)[0].all():
        return pc.replace_substring(column, NUL, REPLACEMENT)
    return column

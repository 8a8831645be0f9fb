"""The original bytes of a report's unreadable rows, from a second reading of the file.

The readers report why a row is unreadable; this module finds where it begins and ends.
"""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from sms.wire.report_rows import BLOCK, LONGEST_ROW

TOGETHER = 1 << 20  # approximate bytes of rows in one batch

RAW = pa.schema(
    [
        ("line", pa.int64()),
        ("reason", pa.large_string()),
        ("raw", pa.large_binary()),
    ]
)


def raw_rows(source: BinaryIO, unreadable: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `unreadable` (`reports.UNREADABLE`, by line) with their bytes (`RAW`).

    A longer row is cut to 64 KiB. Batches keep the memory constant.
    """
    lines = _lines(source)
    rows: list[tuple[int, str, bytes]] = []
    size = 0
    for batch in unreadable.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            raw = _row(lines, row["line"], row["lines"])
            rows.append((row["line"], row["reason"], raw))
            size += len(raw)
            if size >= TOGETHER:
                yield _batch(rows)
                rows, size = [], 0
    if rows:
        yield _batch(rows)


def _row(lines: Iterator[tuple[int, bytes]], first: int, count: int) -> bytes:
    """The bytes of a row; `lines` must not have passed its first line."""
    upto = first + count - 1
    rows = []
    for number, line in lines:
        if number >= first:
            rows.append(line)
        if number >= upto:
            break
    return b"\n".join(rows).removesuffix(b"\r")


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers; a very long line is cut."""
    number, rest = 0, b""
    while block := source.read(BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        rest = rest[:LONGEST_ROW]
        for line in whole:
            number += 1
            yield number, line[:LONGEST_ROW]
    if rest:
        yield number + 1, rest


def _batch(rows: list[tuple[int, str, bytes]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, of.type) for column, of in zip(columns, RAW, strict=True)], schema=RAW
    )

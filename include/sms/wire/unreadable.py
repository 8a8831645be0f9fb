"""The very bytes of a report's rows that can't be read, fetched from the file a second time.

What belongs here: where such a row begins and ends. Why it can't be read, the readers said.
"""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from sms.wire.report_rows import BLOCK, LONGEST_ROW

TOGETHER = 1 << 20  # bytes of rows in one batch, about

RAW = pa.schema(
    [
        ("line", pa.int64()),
        ("reason", pa.large_string()),
        ("raw", pa.large_binary()),
    ]
)


def raw_rows(source: BinaryIO, unreadable: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows listed in `unreadable` (`reports.UNREADABLE`, by line) with their bytes (`RAW`).

    Of a row beyond all measure its first 64 KiB. In batches, so that memory stays flat.
    """
    lines = _lines(source)
    found: list[tuple[int, str, bytes]] = []
    size = 0
    for batch in unreadable.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            raw = _row(lines, row["line"], row["lines"])
            found.append((row["line"], row["reason"], raw))
            size += len(raw)
            if size >= TOGETHER:
                yield _batch(found)
                found, size = [], 0
    if found:
        yield _batch(found)


def _row(lines: Iterator[tuple[int, bytes]], first: int, count: int) -> bytes:
    """A row's lines, out of lines that were not read further than where it begins."""
    upto = first + count - 1
    found = []
    for number, line in lines:
        if number >= first:
            found.append(line)
        if number >= upto:
            break
    return b"\n".join(found).removesuffix(b"\r")


def _lines(source: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines of a file and their numbers; of an endless one the beginning."""
    number, rest = 0, b""
    while block := source.read(BLOCK):
        *whole, rest = (rest + block).split(b"\n")
        rest = rest[:LONGEST_ROW]
        for line in whole:
            number += 1
            yield number, line[:LONGEST_ROW]
    if rest:
        yield number + 1, rest


def _batch(found: list[tuple[int, str, bytes]]) -> pa.RecordBatch:
    columns = zip(*found, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, of.type) for column, of in zip(columns, RAW, strict=True)], schema=RAW
    )

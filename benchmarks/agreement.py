"""That two sides made the same: row by row, with the first rows where they didn't."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.contest import Mismatch

SHOWN = 5
ID = 32  # hexadecimal digits that a line of a send file begins with
_IS_HEX = np.isin(np.arange(256), list(b"0123456789abcdef"))


def require_same_messages(made: Sequence[Path], expected: Path) -> None:
    """Send files, one after the other, hold the expected lines, each byte but the IDREMOTE's.

    How an IDREMOTE is drawn is ours to change: it must be 32 hexadecimal digits, once each.
    """
    ids = bytearray()
    differing: list[str] = []
    pairs = zip_longest(_lines(made), _lines([expected]), fillvalue=b"")
    for row, (ours, theirs) in enumerate(pairs, start=1):
        if ours[ID:] != theirs[ID:] or not ours:
            differing.append(f"row {row}: {ours!r} where {theirs!r} was expected")
            if len(differing) == SHOWN:
                break
        ids += ours[:ID]
    if differing:
        raise Mismatch("\n  ".join(["the messages differ", *differing]))
    _require_ids(ids)


def require_same_tables(made: pa.Table, expected: pa.Table) -> None:
    """Two tables have the same columns of the same values, in the same order of rows."""
    if made.schema.names != expected.schema.names or made.num_rows != expected.num_rows:
        raise Mismatch(
            f"{made.num_rows} rows of {made.schema.names} where {expected.num_rows} of "
            f"{expected.schema.names} were expected"
        )
    for name in made.schema.names:
        ours, theirs = made[name], expected[name].cast(made[name].type)
        same = pc.or_(
            pc.fill_null(pc.equal(ours, theirs), False), pc.and_(ours.is_null(), theirs.is_null())
        )
        rows = np.flatnonzero(~same.to_numpy())[:SHOWN].tolist()
        if rows:
            differing = (
                f"row {row + 1}: {ours[row].as_py()!r} where {theirs[row].as_py()!r} was expected"
                for row in rows
            )
            raise Mismatch("\n  ".join([f"the column {name} differs", *differing]))


def _lines(files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        with path.open("rb") as source:
            yield from source


def _require_ids(ids: bytearray) -> None:
    if len(ids) % ID or not _IS_HEX[np.frombuffer(ids, np.uint8)].all():
        raise Mismatch(f"an IDREMOTE is not {ID} hexadecimal digits")
    words = np.frombuffer(ids, np.uint64).reshape(-1, ID // 8)
    if pd.DataFrame(words).duplicated().any():
        raise Mismatch("an IDREMOTE stands in more than one row")

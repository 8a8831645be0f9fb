"""IDREMOTEs in the ledger: 16 bytes for 32 hexadecimal digits.

Our IDREMOTEs are such digits (R16), and half the size makes tables and indexes smaller and loads
faster. A report may contain any text: one that is not 32 digits is replaced by its digest, so that
equal texts stay equal.
"""

from binascii import unhexlify
from typing import NamedTuple, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms.columnar.digests import digest
from sms.columnar.text import TEXT, Bytes, Flags, Ints, bytes_of, ranges

Keys: TypeAlias = Bytes  # of shape (rows, 16)

SIZE = 16
KEY = pa.binary(SIZE)
DIGITS = 2 * SIZE
OTHER = "an IDREMOTE that is none of ours"  # a seed that no campaign id (the seed of ours) equals

_VALUE = np.full(256, 255, np.uint8)
_VALUE[np.frombuffer(b"0123456789ABCDEF", np.uint8)] = np.arange(16)
_VALUE[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def keys(texts: pa.Array) -> tuple[Keys, Flags]:
    """A key for each text, and which of the texts are not 32 digits (of either case)."""
    texts = texts.cast(TEXT)
    data, offsets = bytes_of(texts)
    foreign: Flags = np.diff(offsets) != DIGITS
    digits = np.flatnonzero(~foreign)
    if len(digits) < len(texts):
        data = data[ranges(offsets[digits], np.full(len(digits), DIGITS))]
    keys_found = np.zeros((len(texts), SIZE), np.uint8)
    try:
        keys_found[digits] = np.frombuffer(unhexlify(data.data), np.uint8).reshape(-1, SIZE)
    except ValueError:  # one of them is not hexadecimal
        values = _VALUE[data].reshape(-1, DIGITS)
        foreign[digits] = (values > 15).any(axis=1)
        keys_found[digits] = values[:, ::2] << 4 | values[:, 1::2]
    if foreign.any():
        digests = digest(texts.filter(pa.array(foreign)), seed=OTHER)
        keys_found[foreign] = digests.view(np.uint8).reshape(-1, SIZE)
    return keys_found, foreign


def column(some: Keys) -> pa.FixedSizeBinaryArray:
    """Keys as an Arrow column, for COPY into a uuid column."""
    buffer = pa.py_buffer(np.ascontiguousarray(some))
    return pa.FixedSizeBinaryArray.from_buffers(KEY, len(some), [None, buffer])


def uuid(key: Bytes) -> UUID:
    """A key as a UUID, for the database's driver."""
    return UUID(bytes=key.tobytes())


class Words(NamedTuple):
    """Keys as two numbers each, in the keys' order; `high` alone is nearly unique."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]

    def of(self, rows: Ints | Flags) -> "Words":
        """The words of some rows."""
        return Words(self.high[rows], self.low[rows])


def words(some: Keys) -> Words:
    """The two halves of each key."""
    halves = np.ascontiguousarray(some).view(">u8")
    return Words(halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64))


def of_words(some: Words) -> Keys:
    """The keys of these words."""
    return np.column_stack(some).astype(">u8").view(np.uint8)


def in_order(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Flags]:
    """The rows sorted by key, with keys in place of texts, and which texts are foreign.

    An index grows several times faster in this order. The flags are in the rows' original order.
    """
    found, foreign = keys(batch.column("idremote"))
    order = np.argsort(words(found).high)
    ranked = batch.drop_columns(["idremote"]).take(pa.array(order))
    return ranked.append_column("idremote", column(found[order])), foreign

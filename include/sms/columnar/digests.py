"""128-bit hashes of text columns: the same on every machine and in every version.

MurmurHash3 (x64, 128 bits), over whole columns. It distinguishes keys; it is not cryptographic.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms.columnar.text import TEXT, Uint64s, bytes_of, rows_of

C1, C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
STIR = np.uint64(0x52DCE729), np.uint64(0x38495AB5)
BLOCK = 16  # bytes
AT_ONCE = 16_384  # rows at a time, so that the arrays stay in a core's cache


def digest(texts: pa.Array, seed: str = "") -> Uint64s:
    """Two 64-bit words for each text, shape (rows, 2); a null counts as "".

    Without `seed` this is the standard function with seed 0. The seed may be any text: its first
    128 bits of SHA-256 are used.
    """
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    column = column.cast(TEXT).fill_null("")
    seeds = _seeds(seed)
    parts = [_of(column.slice(row, AT_ONCE), *seeds) for row in range(0, len(column), AT_ONCE)]
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.uint64)


def scattered(numbers: npt.NDArray[np.int64], seed: str) -> Uint64s:
    """A pseudo-random 64-bit word for each number; another seed gives other words.

    The finalizer of MurmurHash3, twice, with half of the seed's 128 bits before each.
    """
    first, second = _seeds(seed)
    words = np.empty(len(numbers), np.uint64)
    for row in range(0, len(numbers), AT_ONCE):
        some = numbers[row : row + AT_ONCE].astype(np.uint64)
        words[row : row + AT_ONCE] = _mixed(_mixed(some ^ first) ^ second)
    return words


def identity(texts: pa.LargeStringArray) -> Uint64s:
    """Two words that identify each text, shape (rows, 2); "" is zero.

    A text of up to 16 bytes is its own bytes, which is faster; a longer one is its digest. The
    first word alone identifies nearly all texts.
    """
    data, offsets = bytes_of(texts)
    sizes = np.diff(offsets)
    others = sizes > BLOCK
    if not data.all():  # NUL is the padding of shorter texts
        others[rows_of(offsets, np.flatnonzero(data == 0))] = True
    if others.all():
        return digest(texts)
    padded = np.concatenate([data, np.zeros(BLOCK, np.uint8)])
    first = _words(padded, offsets[:-1]) & _mask(sizes)
    second = _words(padded, offsets[:-1] + 8) & _mask(np.maximum(sizes - 8, 0))
    words = np.column_stack([first + _mixed(second.copy()), second])
    rows = np.flatnonzero(others)
    if rows.size:
        words[rows] = digest(texts.take(pa.array(rows)))
    return words


def _of(column: pa.LargeStringArray, first: np.uint64, second: np.uint64) -> Uint64s:
    data, offsets = bytes_of(column)
    starts, sizes = offsets[:-1], np.diff(offsets)
    if sizes[0] and (sizes == sizes[0]).all():
        return _of_one_size(data.reshape(len(sizes), -1), first, second)
    padded = np.concatenate([data, np.zeros(BLOCK, np.uint8)])
    h1 = np.full(len(sizes), first, np.uint64)
    h2 = np.full(len(sizes), second, np.uint64)
    _absorb_blocks(padded, starts, sizes, h1, h2)
    _absorb_tail(padded, starts, sizes, h1, h2)
    return _finished(h1, h2, sizes)


def _seeds(seed: str) -> tuple[np.uint64, np.uint64]:
    if not seed:
        return np.uint64(0), np.uint64(0)
    first, second = np.frombuffer(hashlib.sha256(seed.encode()).digest()[:16], "<u8")
    return np.uint64(first), np.uint64(second)


def _of_one_size(texts: npt.NDArray[np.uint8], first: np.uint64, second: np.uint64) -> Uint64s:
    """`_of` for texts of one size, shape (rows, size), as keys and numbers often are.

    No row needs a lookup, and the missing bytes of the last block are zero.
    """
    rows, size = texts.shape
    padded = np.zeros((rows, -(-size // BLOCK) * BLOCK), np.uint8)
    padded[:, :size] = texts
    words = padded.view("<u8")
    h1, h2 = np.full(rows, first, np.uint64), np.full(rows, second, np.uint64)
    for place in range(0, words.shape[1], 2):
        a, b = words[:, place] * C1, words[:, place + 1] * C2
        h1 ^= _rotated(a, 31) * C2
        if (place + 2) * 8 <= size:
            h1 = _stirred(h1, 27, h2, STIR[0])
        h2 ^= _rotated(b, 33) * C1
        if (place + 2) * 8 <= size:
            h2 = _stirred(h2, 31, h1, STIR[1])
    return _finished(h1, h2, np.full(rows, size, np.int64))


def _stirred(one: Uint64s, by: int, other: Uint64s, constant: np.uint64) -> Uint64s:
    return (_rotated(one, by) + other) * np.uint64(5) + constant


def _words(padded: npt.NDArray[np.uint8], at: npt.NDArray[np.int64]) -> Uint64s:
    """The eight bytes at each position, as a little-endian integer."""
    everywhere = np.ndarray((len(padded) - 7,), "<u8", buffer=padded, strides=(1,))
    words: Uint64s = everywhere[at].astype(np.uint64, copy=False)
    return words


def _rotated(words: Uint64s, by: int) -> Uint64s:
    rotated: Uint64s = (words << np.uint64(by)) | (words >> np.uint64(64 - by))
    return rotated


def _absorb_blocks(
    padded: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    h1: Uint64s,
    h2: Uint64s,
) -> None:
    """Hash the whole blocks of 16 bytes; each round has fewer texts."""
    rows = np.flatnonzero(sizes >= BLOCK)
    place = 0
    while rows.size:
        at = starts[rows] + place
        a, b = h1[rows], h2[rows]
        a ^= _rotated(_words(padded, at) * C1, 31) * C2
        a = _stirred(a, 27, b, STIR[0])
        b ^= _rotated(_words(padded, at + 8) * C2, 33) * C1
        b = _stirred(b, 31, a, STIR[1])
        h1[rows], h2[rows] = a, b
        place += BLOCK
        rows = rows[sizes[rows] >= place + BLOCK]


def _absorb_tail(
    padded: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
    h1: Uint64s,
    h2: Uint64s,
) -> None:
    """Hash the last 0 to 15 bytes, padded with zeros."""
    left = sizes % BLOCK
    at = starts + sizes - left
    h1 ^= _rotated((_words(padded, at) & _mask(left)) * C1, 31) * C2
    long = np.flatnonzero(left > 8)
    if long.size:
        second = _words(padded, at[long] + 8) & _mask(left[long] - 8)
        h2[long] ^= _rotated(second * C2, 33) * C1


def _mask(sizes: npt.NDArray[np.int64]) -> Uint64s:
    """A mask of the lowest `sizes` bytes, at most eight."""
    return _MASKS[np.minimum(sizes, 8)]


_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


def _finished(h1: Uint64s, h2: Uint64s, sizes: npt.NDArray[np.int64]) -> Uint64s:
    lengths = sizes.astype(np.uint64)
    h1 ^= lengths
    h2 ^= lengths
    h1 += h2
    h2 += h1
    h1, h2 = _mixed(h1), _mixed(h2)
    h1 += h2
    h2 += h1
    return np.column_stack([h1, h2])


def _mixed(words: Uint64s) -> Uint64s:
    for factor in (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)):
        words ^= words >> np.uint64(33)
        words *= factor
    words ^= words >> np.uint64(33)
    return words

"""128 bits that stand for a text: the same on every machine, for ever.

MurmurHash3 (x64, 128 bits), over whole columns. It tells keys apart; it keeps nothing secret.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms.columnar.text import TEXT, Uint64s, bytes_of, rows_of

C1, C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
STIR = np.uint64(0x52DCE729), np.uint64(0x38495AB5)
BLOCK = 16  # bytes
AT_ONCE = 16_384  # rows: what is computed of them stays in a core's own cache


def digest(texts: pa.Array, seed: str = "") -> Uint64s:
    """Two words of 64 bits for each text, shape (rows, 2); a null counts as "".

    Without `seed` it is the standard's function with seed 0; any text is a seed of 128 bits.
    """
    column = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    column = column.cast(TEXT).fill_null("")
    seeds = _seeds(seed)
    made = [_of(column.slice(row, AT_ONCE), *seeds) for row in range(0, len(column), AT_ONCE)]
    return np.concatenate(made) if made else np.zeros((0, 2), np.uint64)


def scattered(numbers: npt.NDArray[np.int64], seed: str) -> Uint64s:
    """A word of 64 bits for each number, as if drawn by lot, and by another lot for each seed.

    The standard's last step, twice, with half of the seed's 128 bits before each.
    """
    first, second = _seeds(seed)
    words = np.empty(len(numbers), np.uint64)
    for row in range(0, len(numbers), AT_ONCE):
        some = numbers[row : row + AT_ONCE].astype(np.uint64)
        words[row : row + AT_ONCE] = _mixed(_mixed(some ^ first) ^ second)
    return words


def identity(texts: pa.LargeStringArray) -> Uint64s:
    """Two words that tell each text from others, shape (rows, 2); "" is zero.

    They are a digest of what is longer than 16 bytes, and of others the bytes themselves, which
    costs less. The first word alone tells nearly all of them.
    """
    data, offsets = bytes_of(texts)
    sizes = np.diff(offsets)
    others = sizes > BLOCK
    if not data.all():  # NUL is what shorter texts are filled up with
        others[rows_of(offsets, np.flatnonzero(data == 0))] = True
    if others.all():
        return digest(texts)
    padded = np.concatenate([data, np.zeros(BLOCK, np.uint8)])
    first = _words(padded, offsets[:-1]) & _mask(sizes)
    second = _words(padded, offsets[:-1] + 8) & _mask(np.maximum(sizes - 8, 0))
    found = np.column_stack([first + _mixed(second.copy()), second])
    rows = np.flatnonzero(others)
    if rows.size:
        found[rows] = digest(texts.take(pa.array(rows)))
    return found


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
    """The same for texts of one size, shape (rows, size), as keys and numbers often are.

    Nothing has to be looked up row by row then, and what is missing from the last block is zero.
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
    """The eight bytes at each place, as a little-endian integer."""
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
    """Take in the whole blocks of 16 bytes; fewer and fewer texts have another one."""
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
    """Take in the last 0 to 15 bytes, the missing ones as zeros."""
    left = sizes % BLOCK
    at = starts + sizes - left
    h1 ^= _rotated((_words(padded, at) & _mask(left)) * C1, 31) * C2
    long = np.flatnonzero(left > 8)
    if long.size:
        second = _words(padded, at[long] + 8) & _mask(left[long] - 8)
        h2[long] ^= _rotated(second * C2, 33) * C1


def _mask(sizes: npt.NDArray[np.int64]) -> Uint64s:
    """The lowest bytes, as many as `sizes` say, at most eight."""
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

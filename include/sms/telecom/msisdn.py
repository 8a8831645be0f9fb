"""Phone numbers from free text to E.164, a whole column at a time (R17, section F).

This module has the spellings of numbers, the French numbering plan, and the check that a number is
a mobile. Who may be written to is decided in `sms.audience.screening`.

Rules for spellings that leave a choice:

- Spaces of every kind, invisible characters, dots, commas, colons, dashes, slashes, brackets,
  quotes, a label ("Tél. :", "tel:", a telephone symbol) and a `(0)` after the country code are
  ignored. Other letters make a number malformed, an extension ("poste 12", "x3") too.
- `+...` and `00...` are international; a trunk zero after a French code is dropped.
- Without either, `0` and nine digits is a French national number. So are nine digits without the
  zero, which a column of integers loses. `33...`, and `262, 590, 594, 596` with nine digits, are
  international numbers that lost their plus. Any other bare number is malformed: a country is
  never guessed.
- An overseas mobile written nationally (0692...) gets its own code (+262). The same digits after
  +33 are assigned to no subscriber: excluded, because the source guessed the code.
- 0508 and six digits, or 0708..., is how France calls Saint-Pierre-et-Miquelon (+508).
- With `national=False` no national number is read, as it may be another country's: 079 123 45 67
  is a mobile in Bern and one in Lyon.
- Decimal or scientific notation (33612345678.0, 6.1E+08) may have lost digits: excluded.
- Too many digits are a fault, whether of one number or of several in one field.
"""

import re
import unicodedata
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType, ValidationResult

from sms.columnar.nulls import OF_NUMBERS
from sms.columnar.text import TEXT, Bytes, Flags, Ints, Uint64s, bytes_of
from sms.telecom.coded import Coded

Counts = npt.NDArray[np.signedinteger[Any]]
Codes = npt.NDArray[np.int16]  # indexes of faults or regions


class NumberFault(Coded):
    """Why a text is not a mobile number; each is a `Reason` of `sms.audience.screening`."""

    MISSING = "missing_msisdn", "there is no number"
    MALFORMED = (
        "malformed_msisdn",
        "this is neither a French number nor an international one with + or 00",
    )
    FLOAT = (
        "float_msisdn",
        "the number is written as a decimal or in scientific notation and may have lost digits: "
        "cast the column to text in the query",
    )
    TOO_SHORT = "too_short_msisdn", "the number has too few digits"
    TOO_LONG = (
        "too_long_msisdn",
        "the number has too many digits, or the field holds more than one number",
    )
    LANDLINE = "landline", "this is a landline or a box, which gets no SMS"
    PREMIUM = "premium", "this is a premium, shared cost or free number, not a person's"
    NOT_A_MOBILE = "not_a_mobile", "the number is in no range of mobile phones"
    OVERSEAS_AS_METROPOLITAN = (
        "overseas_as_metropolitan",
        "an overseas number is written with +33: write it with its own code, or nationally",
    )
    NATIONAL = (
        "national_msisdn",
        "the number has no country's code, and some of allowed_countries write theirs as France "
        "does: write it with + and the code, or say `national_numbers: FR` in campaign.yaml if "
        "all such numbers are French",
    )


# The French plans, which are decided by table; libphonenumber decides the rest of the world.
# +590 is shared with BL and MF, whose ranges equal GP's in the metadata.
# PM's nine-digit numbers are mobiles; its other numbers have six digits.
FRENCH = {"FR": 33, "RE": 262, "YT": 262, "GP": 590, "GF": 594, "MQ": 596, "PM": 508}
OVERSEAS_CODES = (262, 590, 594, 596)
MIQUELON, MIQUELON_MOBILE = 508, 508_708
OVERSEAS_BLOCKS = (639, 690, 691, 692, 693, 694, 696, 697, 709)  # section F
REGIONS = ("", *FRENCH, *sorted({*phonenumbers.SUPPORTED_REGIONS, "001"} - {*FRENCH}))

# Numbers reserved for fiction, which libphonenumber calls invalid: ARCEP's +33 6 39 98 xx xx
# (section F) and Ofcom's +44 7700 900xxx. They have no subscribers: for samples and tests.
FICTION_FR = 63998
FICTION_GB = 447700900

SHORTEST, LONGEST = 8, 15  # digits of an E.164 number (R17)

_FAULTS = tuple(NumberFault)
_CODE = {fault: code for code, fault in enumerate(_FAULTS, start=1)}
_REGION = {region: code for code, region in enumerate(REGIONS)}
_FAULT_WORDS = pa.array(["", *map(str, _FAULTS)], TEXT)
_REGION_WORDS = pa.array(REGIONS, TEXT)
_POWER = np.array([10**exponent for exponent in range(19)], dtype=np.int64)
_BILLION = 10**9  # a French number has nine digits after the code


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of checked numbers: each an MSISDN and its country, or a fault.

    `msisdn`: int64, E.164 without the plus, 0 for none. `country`: dictionary array of ISO 3166
    regions, "" for none. `reason`: dictionary array of `NumberFault` codes, "" for a good number.
    """

    msisdn: Ints
    country: pa.DictionaryArray
    reason: pa.DictionaryArray

    def __len__(self) -> int:
        return len(self.msisdn)


def normalise(raw: pa.Array | pa.ChunkedArray, *, national: bool = True) -> Numbers:
    """Read a text column as mobile numbers: each becomes E.164 or gets a fault.

    Without `national`, a number without its country code is a fault. Raises TypeError for a column
    that is not text.
    """
    return _judged(_written(_texts(raw)), national)


def countries(msisdns: pa.Array) -> pa.DictionaryArray:
    """The country (ISO 3166) of each MSISDN (int64); "" if it is not a mobile number."""
    plus, nothing = pa.scalar("+", TEXT), pa.scalar("", TEXT)
    return normalise(pc.binary_join_element_wise(plus, msisdns.cast(TEXT), nothing)).country


def _judged(written: "_Written", national: bool) -> Numbers:
    """Check plain French mobiles first, as whole arrays, and the rest by the general rules."""
    if not national:
        written.fault[_national(written) & (written.fault == 0)] = _CODE[NumberFault.NATIONAL]
    judged = _judge_french_mobiles(written)
    left = np.flatnonzero(judged.region == 0)
    if left.size:
        judged.put(left, _judge_generally(written.take(left)))
    return _numbers(judged)


def _national(written: "_Written") -> Flags:
    """Which numbers are complete and have no country code.

    Nine digits without a zero have lost it, or belong to a country that writes none.
    """
    whole = (written.count >= SHORTEST) & (written.count <= LONGEST)
    local: Flags = ~written.plus & np.where(written.zeros == 0, written.count == 9, whole)
    return local & (written.zeros <= 1) & ~written.odd


def _judge_generally(written: "_Written") -> "_Judged":
    judged = _Judged.blank(len(written.value))
    judged.fault[:] = written.fault
    foreign = np.flatnonzero(_judge_french(written, judged))
    if foreign.size:
        judged.put(foreign, _judge_foreign(written.value[foreign]))
    return judged


def _numbers(judged: "_Judged") -> Numbers:
    return Numbers(
        judged.msisdn,
        pa.DictionaryArray.from_arrays(pa.array(judged.region), _REGION_WORDS),
        pa.DictionaryArray.from_arrays(pa.array(judged.fault), _FAULT_WORDS),
    )


def _texts(raw: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    if isinstance(raw, pa.ChunkedArray):
        raw = raw.combine_chunks()
    if pa.types.is_dictionary(raw.type):
        raw = raw.dictionary_decode()
    kind = raw.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise TypeError(f"numbers are read from text, not {kind}: see sms.columnar.parquet.as_text")
    texts = raw if kind == TEXT else raw.cast(TEXT)
    return texts.fill_null("") if texts.null_count else texts


# --- Spelling: from bytes to digits -------------------------------------------------------------

_GAP, _DIGIT, _PLUS, _ODD = 0, 1, 2, 3
_KIND = np.full(256, _ODD, dtype=np.uint8)
_KIND[list(b" \t\r\n\v\f.,;:|-/()[]_='\"")] = _GAP
_KIND[list(b"0123456789")] = _DIGIT
_KIND[ord("+")] = _PLUS

# Separators, invisible characters and dashes of all scripts, U+2212 minus, middle dots,
# typographic apostrophes, and telephone symbols.
_EXOTIC_GAPS = (
    r"[\p{Z}\p{Cf}\p{Pd}\x{2212}\x{00B7}\x{2022}\x{2018}\x{2019}"
    r"\x{260E}\x{260F}\x{1F4DE}\x{1F4F1}\x{1F4F2}\x{FE0E}\x{FE0F}]"
)
# Atomic: "telephone" is one label or two, and a cell may repeat it a thousand times.
_LABEL = re.compile(
    r"""[\s="']*(?>(?:t[eé]l[eé]?(?:phone)?|phone|portable|port|mobile|mob|gsm|cell|sms|fixe"""
    r"""|whatsapp|callto|num[eé]ro|num|n[°o])[\s.:]*)++(?=[\d+(])""",
    re.IGNORECASE,
)
# A decimal has no groups of digits, or groups of three; it may have many zeros after the point. A
# number with a plus is not read as groups: foreign phone numbers are often written in threes.
_DECIMAL = (
    r"^[\s'\"=]*(?:[+-]?\d{9,}[.,](?:\d{1,6}|0+)|-?\d{1,3}(?:[ .,']\d{3}){2,}[.,]\d{1,2})[\s'\"]*$"
)
_SCIENTIFIC = re.compile(r"""[\s'"]*[+-]?\d+(?:[.,]\d*)?e[+-]?\d+[\s'"]*""", re.IGNORECASE)
_MOST_DIGITS = 17  # 00 and fifteen digits
_MANY = 99  # digits; the counter's maximum


@dataclass(slots=True)
class _Written:
    """The digits of each text, before any rule is applied."""

    value: Ints  # the digits as one integer
    count: Codes  # how many digits, leading zeros included; _MANY for more
    plus: Flags  # a plus before the first digit
    zeros: npt.NDArray[np.int8]  # leading zeros: 0, 1, 2, or 3 for more
    odd: Flags  # has other characters than digits, a leading plus and gaps
    fault: Codes

    def put(self, rows: Ints, other: "_Written") -> None:
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)

    def take(self, rows: Ints) -> "_Written":
        return _Written(*(getattr(self, field.name)[rows] for field in fields(self)))


def _written(texts: pa.LargeStringArray) -> _Written:
    """The digits of each text: plain spellings first, the rest by the general rules."""
    data, offsets = bytes_of(texts)
    written = _plainly_written(data, offsets)
    left = np.flatnonzero(written.odd)
    if left.size == len(texts):
        return _generally_written(texts)
    if left.size:
        written.put(left, _generally_written(texts.take(pa.array(left))))
    return written


# Plain spellings are digits, with or without a plus, or digits in one of these groupings; a space
# here means any separator. They have no brackets, since `(0)` has its own rule.
_SPACED = (
    "00 00 00 00 00",
    "+00 0 00 00 00 00",
    "0000 0 00 00 00 00",
    "00 00 0 00 00 00 00",
)
_SEPARATORS = np.isin(np.arange(256), list(b" .-/_"))
_WIDEST = 16  # digits read at once, as two words of eight bytes
_ZEROS = np.uint64(0x3030303030303030)
_LEAST = np.array([0, 0, 0, *_POWER[:17]])  # the lowest value with n digits, for n from -2


def _kept(count: int) -> int:
    """A 128-bit mask of the last `count` of sixteen bytes; later bytes are higher."""
    return ((1 << 128) - 1) & ~((1 << 8 * (_WIDEST - count)) - 1)


_KEPT_HIGH = np.array([_kept(n) & ((1 << 64) - 1) for n in range(_WIDEST + 1)], np.uint64)
_KEPT_LOW = np.array([_kept(n) >> 64 for n in range(_WIDEST + 1)], np.uint64)


def _plainly_written(data: Bytes, offsets: Ints) -> _Written:
    """Read plain spellings; all other texts are `odd`."""
    # Sixteen bytes before and one after, so that no read leaves the array.
    padded = np.concatenate([np.zeros(_WIDEST, np.uint8), data, np.zeros(1, np.uint8)])
    starts, ends = offsets[:-1], offsets[1:]
    plus = padded[starts + _WIDEST] == ord("+")
    count = ends - starts - plus
    fits = (count >= 1) & (count <= _WIDEST)
    count = np.where(fits, count, 1).astype(np.int16)
    words = np.ndarray((len(padded) - 7,), "<u8", buffer=padded, strides=(1,))
    value, digits = _integers_of_words(words[ends], words[ends + 8], count)
    written = _Written(
        value, count, plus, _zeros_of(value, count), ~(fits & digits), np.zeros(len(ends), np.int16)
    )
    if written.odd.any():
        for shape in _SPACED:
            _read_spaced(shape, padded[_WIDEST:], offsets, written)
    return written


def _integers_of_words(high: Uint64s, low: Uint64s, count: Codes) -> tuple[Ints, Flags]:
    """The last `count` of sixteen bytes as an integer, and whether all are digits."""
    high, low = high ^ _ZEROS, low ^ _ZEROS
    high &= _KEPT_HIGH.take(count)
    low &= _KEPT_LOW.take(count)
    # Adding 0x76 sets the highest bit of a byte above nine, if it isn't set already.
    over = high + np.uint64(0x7676767676767676)
    over |= high
    also_over = low + np.uint64(0x7676767676767676)
    over |= also_over
    over |= low
    over &= np.uint64(0x8080808080808080)
    value = _integer_of_word(high)
    value *= np.uint64(10**8)
    value += _integer_of_word(low)
    return value.view(np.int64), over == 0


def _integer_of_word(word: Uint64s) -> Uint64s:
    """Eight digits, one a byte, the first lowest: combined by pairs, then fours, then all."""
    pair = word * np.uint64(10)
    pair += word >> np.uint64(8)
    later = pair >> np.uint64(16)
    pairs = np.uint64(0x000000FF000000FF)
    pair &= pairs
    later &= pairs
    pair *= np.uint64(100 + (10**6 << 32))
    later *= np.uint64(1 + (10**4 << 32))
    pair += later
    pair >>= np.uint64(32)
    return pair


def _zeros_of(value: Ints, count: Codes) -> npt.NDArray[np.int8]:
    """The number of leading zeros, at most three."""
    zeros = (value < _LEAST.take(count + 2)).astype(np.int8)
    rows = np.flatnonzero(zeros)
    for place in (1, 0):
        rows = rows[value[rows] < _LEAST[count[rows] + place]]
        zeros[rows] += 1
    return zeros


def _read_spaced(shape: str, data: Bytes, offsets: Ints, written: _Written) -> None:
    """Read the odd texts that have this grouping."""
    size = len(shape)
    rows = np.flatnonzero(written.odd & (np.diff(offsets) == size))
    if not rows.size:
        return
    square = np.ndarray((len(data) - size + 1, size), np.uint8, buffer=data, strides=(1, 1))
    texts = square[offsets[rows]]
    right = _SEPARATORS[texts[:, [n for n, char in enumerate(shape) if char == " "]]].all(axis=1)
    places = [n for n, char in enumerate(shape) if char == "0"]
    if shape.startswith("+"):
        right &= texts[:, 0] == ord("+")
    squeezed = np.zeros((len(rows), _WIDEST), np.uint8)
    squeezed[:, -len(places) :] = texts[:, places]
    words = squeezed.view("<u8")
    count = np.full(len(rows), len(places), np.int16)
    value, digits = _integers_of_words(words[:, 0], words[:, 1], count)
    right &= digits
    rows, value, count = rows[right], value[right], count[right]
    written.value[rows], written.count[rows] = value, count
    written.plus[rows] = shape.startswith("+")
    written.zeros[rows], written.odd[rows] = _zeros_of(value, count), False


def _generally_written(texts: pa.LargeStringArray) -> _Written:
    """The digits of each text; slower rules run only on texts that are still odd."""
    written = _scan(texts)
    rows, left = np.arange(len(texts)), texts
    for respell in (_without_exotic_gaps, _plainly):
        still = np.flatnonzero(written.odd[rows])
        rows, left = rows[still], respell(left.take(pa.array(still)))
        if rows.size:
            written.put(rows, _scan(left))
    still = np.flatnonzero(written.odd[rows])
    if still.size:
        written.fault[rows[still]] = _faults_of_odd(left.take(pa.array(still)))
    return written


def _scan(texts: pa.LargeStringArray) -> _Written:
    data, offsets = bytes_of(texts)
    kind = _KIND[data]
    starts, ends = offsets[:-1], offsets[1:]
    digit = kind == _DIGIT
    before = _running_count(digit)
    if _drop_bracketed_zeros(data, offsets, digit, before):
        before = _running_count(digit)
    first = before[starts]
    count = (before[ends] - first).astype(np.int64)
    plus, odd = _signs(kind, offsets, before)
    digits = data[digit]
    written = _Written(
        value=_integers(digits, before[offsets].astype(np.int64), count),
        count=np.minimum(count, _MANY).astype(np.int16),
        plus=plus,
        zeros=_leading_zeros(digits, first, count),
        odd=odd,
        fault=np.zeros(len(texts), dtype=np.int16),
    )
    written.fault[count > _MOST_DIGITS] = _CODE[NumberFault.TOO_LONG]
    written.fault[(count == 0) & ~odd] = _CODE[NumberFault.MISSING]
    written.fault[_decimals(texts, data, offsets, before)] = _CODE[NumberFault.FLOAT]
    return written


def _running_count(mask: Flags) -> Counts:
    """The number of true values before each position, and in total."""
    # int32 takes half the memory and half the time; batches are below two billion bytes.
    count: Counts = np.zeros(len(mask) + 1, dtype=np.int32 if len(mask) < 1 << 31 else np.int64)
    np.cumsum(mask, out=count[1:])
    return count


def _rows_of(positions: Ints, offsets: Ints) -> Ints:
    return np.searchsorted(offsets, positions, side="right") - 1


def _drop_bracketed_zeros(data: Bytes, offsets: Ints, digit: Flags, before: Counts) -> bool:
    """Unmark the zero of `(0)` after one to five digits: a country code, with or without 00."""
    zero = np.flatnonzero(data == ord("(")) + 1
    zero = zero[zero < len(data) - 1]
    zero = zero[(data[zero] == ord("0")) & (data[zero + 1] == ord(")"))]
    rows = _rows_of(zero, offsets)
    code = before[zero] - before[offsets[rows]]
    zero = zero[(code >= 1) & (code <= 5)]
    digit[zero] = False
    return bool(zero.size)


def _signs(kind: Bytes, offsets: Ints, before: Counts) -> tuple[Flags, Flags]:
    """Which texts have one plus before their first digit, and which have odd characters."""
    rows = len(offsets) - 1
    plus, odd = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    at_start = kind[offsets[filled]] == _PLUS
    plus[filled] = at_start
    later = kind >= _PLUS
    later[offsets[filled[at_start]]] = False
    positions = np.flatnonzero(later)
    of = _rows_of(positions, offsets)
    single = (
        (kind[positions] == _PLUS)
        & (before[positions] == before[offsets[of]])
        & ~plus[of]
        & (np.bincount(of, minlength=rows)[of] == 1)
    )
    odd[of[~single]] = True
    plus[of[single]] = True
    return plus, odd


def _integers(digits: Bytes, offsets: Ints, count: Ints) -> Ints:
    """The digits of each text as an integer, 0 for none or too many."""
    readable = (count > 0) & (count <= _MOST_DIGITS)
    texts = pa.LargeStringArray.from_buffers(
        len(count),
        pa.py_buffer(np.ascontiguousarray(offsets)),
        pa.py_buffer(np.ascontiguousarray(digits)),
        pa.py_buffer(np.packbits(readable, bitorder="little")),
    )
    integers: Ints = texts.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return integers.copy()


def _leading_zeros(digits: Bytes, first: Counts, count: Ints) -> npt.NDArray[np.int8]:
    zeros = np.zeros(len(count), dtype=np.int8)
    still = np.flatnonzero(count > 0)
    for place in range(3):
        still = still[count[still] > place]
        still = still[digits[first[still] + place] == ord("0")]
        zeros[still] = place + 1
    return zeros


def _decimals(texts: pa.LargeStringArray, data: Bytes, offsets: Ints, before: Counts) -> Ints:
    """The rows of decimals: nine digits or more, a point, a few digits (R17)."""
    points = np.flatnonzero((data == ord(".")) | (data == ord(",")))
    rows = _rows_of(points, offsets)
    rows = np.unique(rows[before[points] - before[offsets[rows]] >= 9])
    if not rows.size:
        return rows
    matching = pc.match_substring_regex(texts.take(pa.array(rows)), _DECIMAL)
    decimal: Flags = matching.to_numpy(zero_copy_only=False)
    return rows[decimal]


def _without_exotic_gaps(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    return pc.replace_substring_regex(texts, _EXOTIC_GAPS, " ")


def _plainly(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Texts with compatibility forms and foreign digits as ASCII, and without a label."""
    encoded = texts.dictionary_encode()
    plain = pa.array([_plain(text) for text in encoded.dictionary.to_pylist()], pa.large_string())
    return plain.take(encoded.indices)


def _plain(text: str) -> str:
    if not text.isascii():
        text = "".join(
            str(unicodedata.digit(char)) if char.isdigit() and not char.isascii() else char
            for char in unicodedata.normalize("NFKC", text)
        )
    label = _LABEL.match(text)
    return text[label.end() :] if label else text


def _faults_of_odd(texts: pa.LargeStringArray) -> Codes:
    encoded = texts.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    faults = np.array([_CODE[_fault_of_odd(word)] for word in words], dtype=np.int16)
    index: Ints = encoded.indices.to_numpy()
    return faults[index]


def _fault_of_odd(text: str) -> NumberFault:
    if _SCIENTIFIC.fullmatch(text):
        return NumberFault.FLOAT
    if text.strip().casefold() in OF_NUMBERS:
        return NumberFault.MISSING
    if sum(char.isdigit() for char in text) > _MOST_DIGITS:
        return NumberFault.TOO_LONG
    return NumberFault.MALFORMED


# --- France, metropolitan and overseas ----------------------------------------------------------


@dataclass(slots=True)
class _Judged:
    msisdn: Ints
    region: Codes
    fault: Codes

    @classmethod
    def blank(cls, rows: int) -> "_Judged":
        return cls(np.zeros(rows, np.int64), np.zeros(rows, np.int16), np.zeros(rows, np.int16))

    def put(self, rows: Ints, other: "_Judged") -> None:
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)

    def take(self, rows: Ints) -> "_Judged":
        return _Judged(self.msisdn[rows], self.region[rows], self.fault[rows])


_FAULT_BY_FIRST_DIGIT = np.array(
    [
        _CODE[fault]
        for fault in (
            NumberFault.MALFORMED,
            *[NumberFault.LANDLINE] * 5,
            *[NumberFault.NOT_A_MOBILE] * 2,
            NumberFault.PREMIUM,
            NumberFault.LANDLINE,  # 09: boxes
        )
    ],
    dtype=np.int16,
)
_CALLING = np.array([0, *FRENCH.values()], dtype=np.int64)  # by code of region
_IS_OVERSEAS_BLOCK = np.isin(np.arange(1000), OVERSEAS_BLOCKS)


@cache
def _plan() -> Codes:
    """The region of each five-digit prefix of French mobiles, from the metadata.

    The last four digits are free in all of these plans, and no two plans share a prefix: tests
    check both.
    """
    blocks = np.arange(60_000, 80_000)
    samples = pc.binary_join_element_wise(pa.array(blocks).cast(pa.string()), "0000", "")
    plan = np.zeros(100_000, dtype=np.int16)
    for region in FRENCH:
        mobile = pc.match_substring_regex(samples, f"^(?:{_pattern(region, 'mobile')})$")
        plan[blocks[mobile.to_numpy(zero_copy_only=False)]] = _REGION[region]
    plan[FICTION_FR] = _REGION["FR"]
    return plan


def _metadata(region: str) -> PhoneMetadata:
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None:
        raise LookupError(f"phonenumbers knows no numbers of {region}")
    return metadata


def _pattern(region: str, kind: str) -> str | None:
    """The pattern of a region's numbers of one kind, None if it has none."""
    description = getattr(_metadata(region), kind)
    return description.national_number_pattern if description else None


def _judge_french_mobiles(written: _Written) -> _Judged:
    """Check plain French mobiles; all other rows stay blank."""
    billions = written.value // _BILLION
    number = written.value - billions * _BILLION
    owner = _plan().take(number // 10_000)
    calling = _CALLING.take(owner)
    # A mobile without its code has nine digits, one with its code at most as many more. So the
    # number of leading zeros separates national from international spellings.
    national = (billions == 0) & (written.zeros <= 1) & ~written.plus
    coded = (billions == calling) & ((written.zeros == 0) | (written.zeros == 2))
    mobile = (owner > 0) & (national | coded) & (written.fault == 0)
    return _Judged(
        (calling * _BILLION + number) * mobile, owner * mobile, np.zeros(len(mobile), np.int16)
    )


def _judge_french(written: _Written, judged: _Judged) -> Flags:
    """Check French numbers and mark unreadable ones; returns which rows are foreign."""
    value, count, zeros = written.value, written.count, written.zeros
    whole = judged.fault == 0
    international = written.plus | (zeros >= 2)
    digits = (count - np.where(zeros >= 2, 2, 0)).astype(np.int64)

    national = ~international & (zeros == 1)
    bare = ~international & (zeros == 0)
    code, rest = _french_code(value, digits)
    lost_plus = bare & (digits >= 10) & ((code == 33) | ((code > 0) & (rest == 9)))
    lost_zero = bare & (digits == 9)

    _fault(judged, whole & international & ((zeros == 1) | (zeros == 3)), NumberFault.MALFORMED)
    _fault(judged, whole & national & (count < 10), NumberFault.TOO_SHORT)
    _fault(judged, whole & national & (count > 10), NumberFault.TOO_LONG)
    neither = whole & bare & ~lost_plus & ~lost_zero
    _fault(judged, neither & (digits < 9), NumberFault.TOO_SHORT)
    _fault(judged, neither & (digits > LONGEST), NumberFault.TOO_LONG)
    _fault(judged, neither, NumberFault.MALFORMED)

    coded = whole & ((international & (zeros != 1) & (zeros != 3)) | lost_plus)
    french = coded & (code > 0)
    _fault(judged, french & (rest < 9), NumberFault.TOO_SHORT)
    _fault(judged, french & (rest > 9), NumberFault.TOO_LONG)
    miquelon = whole & (lost_zero | (national & (count == 10))) & (value // 10**6 == MIQUELON)
    within = (judged.fault == 0) & whole & (french | lost_zero | national) & ~miquelon
    _judge_subscriber(value % _BILLION, np.where(french, code, 0), within, judged)

    foreign: Flags = (coded & ~french) | miquelon
    _fault(judged, foreign & (digits < SHORTEST), NumberFault.TOO_SHORT)
    _fault(judged, foreign & (digits > LONGEST), NumberFault.TOO_LONG)
    foreign &= judged.fault == 0
    return foreign


def _fault(judged: _Judged, rows: Flags, fault: NumberFault) -> None:
    """Set `fault` on the rows that have none yet."""
    judged.fault[rows & (judged.fault == 0)] = _CODE[fault]


def _french_code(value: Ints, digits: Ints) -> tuple[Ints, Ints]:
    """The French calling code of each number, 0 for none, and the digits after it.

    A trunk zero between code and number is not counted.
    """
    head = value // _POWER[np.clip(digits - 3, 0, 18)]
    overseas = np.isin(head, OVERSEAS_CODES) | (value // 10**6 == MIQUELON_MOBILE)
    code = np.where(head // 10 == 33, 33, np.where(overseas, head, 0))
    rest = digits - np.where(code == 33, 2, 3)
    trunk = (rest == 10) & (value % (10 * _BILLION) < _BILLION)
    return code, rest - trunk


def _judge_subscriber(number: Ints, code: Ints, rows: Flags, judged: _Judged) -> None:
    """Check nine-digit French numbers; `code` is 0 for a national spelling."""
    owner = np.where(rows, _plan()[np.where(rows, number // 10_000, 0)], 0)
    calling = _CALLING[owner]
    mobile = rows & (owner > 0) & ((code == 0) | (code == calling))
    judged.msisdn[mobile] = (calling * _BILLION + number)[mobile]
    judged.region[mobile] = owner[mobile]
    other = rows & ~mobile
    overseas = other & (code == 33) & ((owner > 0) | _IS_OVERSEAS_BLOCK[number // 1_000_000])
    _fault(judged, overseas, NumberFault.OVERSEAS_AS_METROPOLITAN)
    other &= ~overseas
    judged.fault[other] = _FAULT_BY_FIRST_DIGIT[(number // 10**8)[other]]


# --- The rest of the world ----------------------------------------------------------------------

_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_FAULT_BY_TYPE = {
    PhoneNumberType.FIXED_LINE: NumberFault.LANDLINE,
    PhoneNumberType.PREMIUM_RATE: NumberFault.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberFault.PREMIUM,
    PhoneNumberType.TOLL_FREE: NumberFault.PREMIUM,
}
_FAULT_BY_LENGTH = {
    ValidationResult.TOO_SHORT: NumberFault.TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: NumberFault.TOO_SHORT,
    ValidationResult.TOO_LONG: NumberFault.TOO_LONG,
}


def _judge_foreign(values: Ints) -> _Judged:
    """Check international numbers of other countries, as integers of eight to fifteen digits.

    Many numbers of one calling code are checked as an array by libphonenumber's patterns.
    libphonenumber itself checks the rest, and numbers that it may read in more than one way.
    """
    judged = _Judged.blank(len(values))
    judged.fault[:] = _IN_DOUBT
    codes = _calling_codes(values)
    for code in np.flatnonzero(np.bincount(codes) >= _WORTH_PATTERNS).tolist():
        if _plans(code):
            rows = np.flatnonzero(codes == code)
            judged.put(rows, _judge_by_patterns(code, values[rows]))
    alone = np.flatnonzero(judged.fault == _IN_DOUBT)
    distinct, which = np.unique(values[alone], return_inverse=True)
    verdicts = np.array([_verdict(value) for value in distinct.tolist()], np.int64).reshape(-1, 3)
    judged.put(alone, _Judged(*verdicts[which].T))
    fiction = np.flatnonzero(values // 1000 == FICTION_GB)
    judged.msisdn[fiction], judged.region[fiction] = values[fiction], _REGION["GB"]
    judged.fault[fiction] = 0
    return judged


_WORTH_PATTERNS = 16  # numbers: compiling a country's patterns takes as long as parsing so many
_IN_DOUBT, _UNKNOWN = -1, -2  # instead of a fault: for libphonenumber itself; of no known kind


@cache
def _code_of_heads() -> Ints:
    """The calling code of each three-digit prefix, 0 for none; no code begins with another."""
    codes = np.zeros(1000, np.int64)
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        width = 10 ** (3 - len(str(code)))
        codes[code * width : (code + 1) * width] = code
    return codes


def _calling_codes(values: Ints) -> Ints:
    """The calling code of each number, 0 for none."""
    codes: Ints = _code_of_heads()[values // _POWER[_digits_of(values) - 3]]
    return codes


def _digits_of(values: Ints) -> Ints:
    """The number of digits of each number."""
    digits: Ints = np.searchsorted(_POWER, values, side="right")
    return digits


def _judge_by_patterns(code: int, values: Ints) -> _Judged:
    """Check numbers of one calling code by its regions' patterns; some stay in doubt.

    A number that a parser may shorten stays in doubt. An exception is a trunk zero before a valid
    mobile: it is always dropped.
    """
    judged = _judge_in_plans(code, values)
    if _plans(code)[0].drops_zero:
        doubtful = np.flatnonzero(judged.fault == _IN_DOUBT)
        without = _judge_in_plans(code, _without_trunk_zero(code, values[doubtful]))
        long_enough = without.msisdn >= _POWER[SHORTEST - 1]
        mobile = np.flatnonzero((without.fault == 0) & long_enough)
        judged.put(doubtful[mobile], without.take(mobile))
    return judged


def _without_trunk_zero(code: int, values: Ints) -> Ints:
    """The numbers without one zero after the calling code, if they have one."""
    unit = _POWER[_digits_of(values) - len(str(code))]
    number = values - code * unit
    return np.where(number < unit // 10, code * (unit // 10) + number, values)


def _judge_in_plans(code: int, values: Ints) -> _Judged:
    """Check numbers that a parser would not shorten, in libphonenumber's order."""
    plans = _plans(code)
    judged = _Judged.blank(len(values))
    judged.fault[:] = _IN_DOUBT
    texts = pa.array(values).cast(TEXT)
    rows = np.flatnonzero(~plans[0].may_be_stripped(texts))
    judged.fault[rows] = _UNKNOWN
    for plan in plans:
        texts_left = texts.take(pa.array(rows))
        claimed = plan.begins(texts_left)
        fault = np.full(len(rows), _UNKNOWN, np.int16)
        fault[claimed] = plan.faults(texts_left.filter(pa.array(claimed)))
        if not plan.leading:
            claimed = fault != _UNKNOWN
        mine = rows[claimed]
        judged.fault[mine] = fault[claimed]
        judged.region[mine] = _REGION[plan.region]
        rows = rows[~claimed]
        if not rows.size:
            break
    mobile = judged.fault == 0
    judged.msisdn[mobile] = values[mobile]
    judged.region[~mobile] = 0
    unknown = np.flatnonzero(judged.fault == _UNKNOWN)
    lengths = _digits_of(values[unknown]) - len(str(code))
    judged.fault[unknown] = [_CODE[_fault_of_length(code, length)] for length in lengths.tolist()]
    return judged


@lru_cache(maxsize=1 << 16)
def _verdict(value: int) -> tuple[int, int, int]:
    """libphonenumber's answer for one number: MSISDN, region index and fault index."""
    try:
        number = phonenumbers.parse(f"+{value}")
    except phonenumbers.NumberParseException:
        return 0, 0, _CODE[NumberFault.MALFORMED]
    kind = phonenumbers.number_type(number)
    if kind not in _MOBILE:
        return 0, 0, _CODE[_fault_of_kind(number, kind)]
    msisdn = int(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    if msisdn < 10 ** (SHORTEST - 1):
        return 0, 0, _CODE[NumberFault.TOO_SHORT]
    return msisdn, _REGION[phonenumbers.region_code_for_number(number) or "001"], 0


def _fault_of_kind(number: phonenumbers.PhoneNumber, kind: int) -> NumberFault:
    if kind == PhoneNumberType.UNKNOWN:
        length = phonenumbers.is_possible_number_with_reason(number)
        return _FAULT_BY_LENGTH.get(length, NumberFault.NOT_A_MOBILE)
    return _FAULT_BY_TYPE.get(kind, NumberFault.NOT_A_MOBILE)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A region's patterns from libphonenumber's metadata, with the calling code."""

    region: str
    leading: str | None  # the prefix of this region among those with its code
    trunk: str | None  # a prefix that a parser may drop or change
    drops_zero: bool  # the trunk prefix is a zero, or a zero and some others without one
    whole: str
    kinds: tuple[tuple[str, int], ...]  # the first match gives the fault, 0 for a mobile

    @classmethod
    def of(cls, code: int, region: str, *, alone: bool) -> "_Plan":
        metadata = _metadata(region)
        leading, trunk = metadata.leading_digits, metadata.national_prefix_for_parsing
        whole = _pattern(region, "general_desc") or ""
        kinds = ((_any_of(region, names), fault) for names, fault in _KINDS)
        return cls(
            region,
            f"^{code}(?:{leading})" if leading and not alone else None,
            f"^{code}(?:{trunk})" if trunk else None,
            bool(trunk and re.fullmatch(r"0(\|[1-9]\d*)*", trunk)),
            f"^{code}(?:{whole})$",
            tuple((f"^{code}(?:{kind})$", fault) for kind, fault in kinds if kind),
        )

    def may_be_stripped(self, texts: pa.LargeStringArray) -> Flags:
        """Which numbers a parser may shorten; all, if the pattern also matches the empty text."""
        return _matching(texts, self.trunk) if self.trunk else np.zeros(len(texts), np.bool_)

    def begins(self, texts: pa.LargeStringArray) -> Flags:
        """Which numbers begin with this region's prefix."""
        return _matching(texts, self.leading) if self.leading else np.ones(len(texts), np.bool_)

    def faults(self, texts: pa.LargeStringArray) -> Codes:
        """The fault of each number of this region: 0 for a mobile, _UNKNOWN for no known kind."""
        fault = np.full(len(texts), _UNKNOWN, np.int16)
        if not len(texts):
            return fault
        for pattern, meaning in reversed(self.kinds):
            fault[_matching(texts, pattern)] = meaning
        fault[~_matching(texts, self.whole)] = _UNKNOWN
        return fault


# libphonenumber's order: premium numbers first, then services. A number that may be a landline or
# a mobile counts as a mobile, as libphonenumber's own answer (either) does here.
_KINDS = (
    (("premium_rate", "toll_free", "shared_cost"), _CODE[NumberFault.PREMIUM]),
    (("voip", "personal_number", "pager", "uan", "voicemail"), _CODE[NumberFault.NOT_A_MOBILE]),
    (("mobile",), 0),
    (("fixed_line",), _CODE[NumberFault.LANDLINE]),
)


def _any_of(region: str, kinds: tuple[str, ...]) -> str:
    """One pattern for several kinds of a region's numbers, "" if it has none of them."""
    return "|".join(f"(?:{p})" for p in (_pattern(region, kind) for kind in kinds) if p)


def _matching(texts: pa.LargeStringArray, pattern: str) -> Flags:
    matching: Flags = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return matching


@cache
def _plans(code: int) -> tuple[_Plan, ...]:
    """The plans of a calling code's regions; empty for codes without a country."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    return tuple(
        _Plan.of(code, region, alone=len(regions) == 1) for region in regions if region != "001"
    )


@lru_cache(maxsize=4096)
def _fault_of_length(code: int, length: int) -> NumberFault:
    """The fault of a number of unknown kind, which depends only on country and length."""
    number = phonenumbers.PhoneNumber(country_code=code, national_number=10 ** (length - 1))
    reason = phonenumbers.is_possible_number_with_reason(number)
    return _FAULT_BY_LENGTH.get(reason, NumberFault.NOT_A_MOBILE)

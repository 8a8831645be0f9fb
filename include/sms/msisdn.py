"""From a number as people write it to E.164, a whole column at a time (R17, section F).

What belongs here: spellings, the French numbering plan, the question whether a number is a
mobile. What doesn't: who may be written to (`sms.recipients`).

How a number is read, where its spelling leaves a choice:

- Spaces of every kind, invisible characters, dots, commas, dashes, slashes, brackets, quotes, a
  label ("Tél. :", "tel:") and a `(0)` after the country code carry no meaning.
- `+...` and `00...` are international; a trunk zero after a French code is dropped.
- Without either, `0` and nine digits is a French national number. So are nine digits without the
  zero, which a column of integers loses. `33...` and `262, 590, 594, 596` with nine digits are
  international numbers that lost their plus. Any other bare number is malformed: we never guess
  a country.
- An overseas mobile written nationally (0692...) gets its own code (+262). The same digits after
  +33 belong to nobody: excluded, since whoever wrote them guessed.
- A decimal or scientific notation (33612345678.0, 6.1E+08) may have lost digits: excluded.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneMetadata, PhoneNumberFormat, PhoneNumberType, ValidationResult

from sms.coded import Coded

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Fault(Coded):
    """Why a text is no number of a mobile phone; each is a `Reason` of `sms.recipients`."""

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
    NOT_A_MOBILE = "not_a_mobile", "the number lies in no range that is given to mobile phones"
    OVERSEAS_AS_METROPOLITAN = (
        "overseas_as_metropolitan",
        "an overseas number is written with +33: write it with its own code, or nationally",
    )


# The French plans that are judged by table: the rest of the world is libphonenumber's.
# +590 is shared with BL and MF, whose ranges the metadata can't tell from GP's.
FRENCH = {"FR": 33, "RE": 262, "YT": 262, "GP": 590, "GF": 594, "MQ": 596}
OVERSEAS_CODES = (262, 590, 594, 596)
OVERSEAS_BLOCKS = (639, 690, 691, 692, 693, 694, 696, 697, 709)  # section F
REGIONS = ("", *FRENCH, *sorted({*phonenumbers.SUPPORTED_REGIONS, "001"} - {*FRENCH}))

# Numbers reserved for fiction, which libphonenumber calls invalid: ARCEP's +33 6 39 98 xx xx
# (section F) and Ofcom's +44 7700 900xxx. Nobody owns one, so samples and tests may use them.
FICTION_FR = 63998
FICTION_GB = 447700900

SHORTEST, LONGEST = 8, 15  # digits of an E.164 number (R17)

_FAULTS = tuple(Fault)
_CODE = {fault: code for code, fault in enumerate(_FAULTS, start=1)}
_REGION = {region: code for code, region in enumerate(REGIONS)}
_POWER = np.array([10**exponent for exponent in range(19)], dtype=np.int64)
_BILLION = 10**9  # a French number has nine digits after the code


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers, judged: an MSISDN and its country, or a fault.

    `msisdn`: int64, E.164 without the plus, 0 for none. `country`: dictionary array of ISO 3166
    regions, "" for none. `reason`: dictionary array of `Fault` codes, "" for a good number.
    """

    msisdn: Int64s
    country: pa.DictionaryArray
    reason: pa.DictionaryArray

    def __len__(self) -> int:
        return len(self.msisdn)


def normalise(raw: pa.Array | pa.ChunkedArray) -> Numbers:
    """Read a column of texts as mobile numbers, each in E.164 or with the fault it has."""
    written = _written(_texts(raw))
    judged = _Judged.blank(len(written.value))
    judged.fault[:] = written.fault
    _judge_french(written, judged)
    _judge_foreign(written, judged)
    good = judged.fault == 0
    return Numbers(
        np.where(good, judged.msisdn, 0),
        _dictionary(np.where(good, judged.region, 0), REGIONS),
        _dictionary(judged.fault, ("", *_FAULTS)),
    )


def _dictionary(codes: npt.NDArray[np.int16], words: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(codes, pa.int16()), pa.array([str(word) for word in words], pa.large_string())
    )


def _texts(raw: pa.Array | pa.ChunkedArray) -> pa.LargeStringArray:
    if isinstance(raw, pa.ChunkedArray):
        raw = raw.combine_chunks()
    if pa.types.is_dictionary(raw.type):
        raw = raw.dictionary_decode()
    kind = raw.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise TypeError(f"numbers are read from text, not {kind}: see sms.frames.as_text")
    return raw.cast(pa.large_string()).fill_null("")


# --- Spelling: from bytes to digits -------------------------------------------------------------

_GAP, _DIGIT, _PLUS, _ODD = 0, 1, 2, 3
_KIND = np.full(256, _ODD, dtype=np.uint8)
_KIND[list(b" \t\r\n.,-/()[]_='\"")] = _GAP
_KIND[list(b"0123456789")] = _DIGIT
_KIND[ord("+")] = _PLUS

# Separators, invisible characters and dashes of all scripts, U+2212 minus, middle dots and
# typographic apostrophes, which lie among symbols and punctuation.
_EXOTIC_GAPS = r"[\p{Z}\p{Cf}\p{Pd}\x{2212}\x{00B7}\x{2022}\x{2018}\x{2019}]"
_LABEL = re.compile(
    r"""[\s="']*(?:t[eé]l[eé]?(?:phone)?|phone|portable|port|mobile|mob|gsm|cell|sms)\s*[.:]*\s*:?\s*""",
    re.IGNORECASE,
)
_DECIMAL = r"^[\s'\"]*[+-]?\d{9,}[.,]\d{1,6}[\s'\"]*$"
_SCIENTIFIC = re.compile(r"""[\s'"]*[+-]?\d+(?:[.,]\d*)?e[+-]?\d+[\s'"]*""", re.IGNORECASE)
_NULLS = frozenset({"nan", "none", "null", "<na>", "nat", "n/a", "na", "#n/a", r"\n"})
_MOST_DIGITS = 17  # 00 and fifteen digits


@dataclass(slots=True)
class _Written:
    """What the digits of each text say, before they are understood."""

    value: Int64s  # the digits as one integer
    count: Int64s  # how many digits, leading zeros included
    plus: Bools  # a plus before the first digit
    zeros: Int64s  # leading zeros: 0, 1, 2, or 3 for more
    odd: Bools  # something else than digits, one leading plus and gaps
    fault: npt.NDArray[np.int16]

    def put(self, rows: Int64s, other: "_Written") -> None:
        for name in ("value", "count", "plus", "zeros", "odd", "fault"):
            getattr(self, name)[rows] = getattr(other, name)


def _written(texts: pa.LargeStringArray) -> _Written:
    """The digits of each text; dearer ways of reading only for what the cheaper left odd."""
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
    data, offsets = _buffers(texts)
    kind = _KIND[data]
    starts, ends = offsets[:-1], offsets[1:]
    digit = kind == _DIGIT
    before = _running_count(digit)
    if _drop_bracketed_zeros(data, offsets, digit, before):
        before = _running_count(digit)
    first = before[starts]
    count = before[ends] - first
    plus, odd = _signs(kind, offsets, before)
    digits = data[digit]
    written = _Written(
        value=_integers(digits, before[offsets], count),
        count=count,
        plus=plus,
        zeros=_leading_zeros(digits, first, count),
        odd=odd,
        fault=np.zeros(len(texts), dtype=np.int16),
    )
    written.fault[count > _MOST_DIGITS] = _CODE[Fault.TOO_LONG]
    written.fault[(count == 0) & ~odd] = _CODE[Fault.MISSING]
    written.fault[_decimals(texts, data, offsets, before)] = _CODE[Fault.FLOAT]
    return written


def _buffers(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], Int64s]:
    """The UTF-8 bytes of all texts, one after the other, and where each begins and ends."""
    _, offsets_buffer, data_buffer = texts.buffers()
    if not len(texts) or data_buffer is None:
        return np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64)
    offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    return data, offsets - offsets[0]


def _running_count(mask: Bools) -> Int64s:
    """How many are true before each position, and in all."""
    count = np.zeros(len(mask) + 1, dtype=np.int64)
    np.cumsum(mask, out=count[1:])
    return count


def _rows_of(positions: Int64s, offsets: Int64s) -> Int64s:
    return np.searchsorted(offsets, positions, side="right") - 1


def _drop_bracketed_zeros(
    data: npt.NDArray[np.uint8], offsets: Int64s, digit: Bools, before: Int64s
) -> bool:
    """No digit: the zero of `(0)` after one to five digits, a country code with or without 00."""
    zero = np.flatnonzero(data == ord("(")) + 1
    zero = zero[zero < len(data) - 1]
    zero = zero[(data[zero] == ord("0")) & (data[zero + 1] == ord(")"))]
    rows = _rows_of(zero, offsets)
    code = before[zero] - before[offsets[rows]]
    zero = zero[(code >= 1) & (code <= 5)]
    digit[zero] = False
    return bool(zero.size)


def _signs(kind: npt.NDArray[np.uint8], offsets: Int64s, before: Int64s) -> tuple[Bools, Bools]:
    """Which texts have one plus before their first digit, and which hold anything odd."""
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


def _integers(digits: npt.NDArray[np.uint8], offsets: Int64s, count: Int64s) -> Int64s:
    """The digits of each text as an integer, 0 where there are none or too many."""
    readable = (count > 0) & (count <= _MOST_DIGITS)
    texts = pa.LargeStringArray.from_buffers(
        len(count),
        pa.py_buffer(np.ascontiguousarray(offsets)),
        pa.py_buffer(np.ascontiguousarray(digits)),
        pa.py_buffer(np.packbits(readable, bitorder="little")),
    )
    integers: Int64s = texts.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return integers.copy()


def _leading_zeros(digits: npt.NDArray[np.uint8], first: Int64s, count: Int64s) -> Int64s:
    zeros = np.zeros(len(count), dtype=np.int64)
    still = np.flatnonzero(count > 0)
    for place in range(3):
        still = still[count[still] > place]
        still = still[digits[first[still] + place] == ord("0")]
        zeros[still] = place + 1
    return zeros


def _decimals(
    texts: pa.LargeStringArray, data: npt.NDArray[np.uint8], offsets: Int64s, before: Int64s
) -> Int64s:
    """Rows written as a decimal: nine digits or more, one point, a few digits (R17)."""
    points = np.flatnonzero((data == ord(".")) | (data == ord(",")))
    rows = _rows_of(points, offsets)
    rows = np.unique(rows[before[points] - before[offsets[rows]] >= 9])
    if not rows.size:
        return rows
    matching = pc.match_substring_regex(texts.take(pa.array(rows)), _DECIMAL)
    decimal: Bools = matching.to_numpy(zero_copy_only=False)
    return rows[decimal]


def _without_exotic_gaps(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    return pc.replace_substring_regex(texts, _EXOTIC_GAPS, " ")


def _plainly(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Compatibility forms and digits of other scripts made plain, a label dropped."""
    encoded = texts.dictionary_encode()
    plain = pa.array([_plain(text) for text in encoded.dictionary.to_pylist()], pa.large_string())
    return plain.take(encoded.indices)


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    text = "".join(
        str(unicodedata.digit(char)) if char.isdigit() and not char.isascii() else char
        for char in text
    )
    label = _LABEL.match(text)
    return text[label.end() :] if label else text


def _faults_of_odd(texts: pa.LargeStringArray) -> npt.NDArray[np.int16]:
    encoded = texts.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    faults = np.array([_CODE[_fault_of_odd(word)] for word in words], dtype=np.int16)
    index: Int64s = encoded.indices.to_numpy()
    return faults[index]


def _fault_of_odd(text: str) -> Fault:
    if _SCIENTIFIC.fullmatch(text):
        return Fault.FLOAT
    if text.strip().casefold() in _NULLS:
        return Fault.MISSING
    return Fault.MALFORMED


# --- France, metropolitan and overseas ----------------------------------------------------------


@dataclass(slots=True)
class _Judged:
    msisdn: Int64s
    region: npt.NDArray[np.int16]
    fault: npt.NDArray[np.int16]
    foreign: Bools  # left to libphonenumber

    @classmethod
    def blank(cls, rows: int) -> "_Judged":
        return cls(
            np.zeros(rows, np.int64),
            np.zeros(rows, np.int16),
            np.zeros(rows, np.int16),
            np.zeros(rows, np.bool_),
        )


_FAULT_BY_FIRST_DIGIT = np.array(
    [
        _CODE[fault]
        for fault in (
            Fault.MALFORMED,
            *[Fault.LANDLINE] * 5,
            *[Fault.NOT_A_MOBILE] * 2,
            Fault.PREMIUM,
            Fault.LANDLINE,  # 09: boxes
        )
    ],
    dtype=np.int16,
)
_CALLING = np.array([0, *FRENCH.values()], dtype=np.int64)  # by code of region
_IS_OVERSEAS_BLOCK = np.isin(np.arange(1000), OVERSEAS_BLOCKS)


@cache
def _plan() -> npt.NDArray[np.int16]:
    """The region that owns each first five digits of a French mobile, from the metadata.

    The last four digits are free in all of these plans, and no two plans share a block: both
    are tests.
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
    """The pattern of a region's numbers of one kind, None where it has none."""
    description = getattr(_metadata(region), kind)
    return description.national_number_pattern if description else None


def _judge_french(written: _Written, judged: _Judged) -> None:
    """Judge what is French, fault what can't be understood, and mark the rest as foreign."""
    value, count, zeros = written.value, written.count, written.zeros
    whole = judged.fault == 0
    international = written.plus | (zeros >= 2)
    digits = count - np.where(zeros >= 2, 2, 0)

    national = ~international & (zeros == 1)
    bare = ~international & (zeros == 0)
    code, rest = _french_code(value, digits)
    lost_plus = bare & (digits >= 10) & ((code == 33) | ((code > 0) & (rest == 9)))
    lost_zero = bare & (digits == 9)

    _fault(judged, whole & international & ((zeros == 1) | (zeros == 3)), Fault.MALFORMED)
    _fault(judged, whole & national & (count < 10), Fault.TOO_SHORT)
    _fault(judged, whole & national & (count > 10), Fault.TOO_LONG)
    neither = whole & bare & ~lost_plus & ~lost_zero
    _fault(judged, neither & (digits < 9), Fault.TOO_SHORT)
    _fault(judged, neither & (digits > LONGEST), Fault.TOO_LONG)
    _fault(judged, neither, Fault.MALFORMED)

    coded = whole & ((international & (zeros != 1) & (zeros != 3)) | lost_plus)
    french = coded & (code > 0)
    _fault(judged, french & (rest < 9), Fault.TOO_SHORT)
    _fault(judged, french & (rest > 9), Fault.TOO_LONG)
    within = (judged.fault == 0) & whole & (french | lost_zero | national)
    _judge_subscriber(value % _BILLION, np.where(french, code, 0), within, judged)

    foreign = coded & ~french
    _fault(judged, foreign & (digits < SHORTEST), Fault.TOO_SHORT)
    _fault(judged, foreign & (digits > LONGEST), Fault.TOO_LONG)
    judged.foreign = foreign & (judged.fault == 0)


def _fault(judged: _Judged, rows: Bools, fault: Fault) -> None:
    """Give `fault` to those of `rows` that have none yet."""
    judged.fault[rows & (judged.fault == 0)] = _CODE[fault]


def _french_code(value: Int64s, digits: Int64s) -> tuple[Int64s, Int64s]:
    """The French calling code that each number begins with, 0 for none, and the digits after it.

    A trunk zero between code and number is not counted.
    """
    head = value // _POWER[np.clip(digits - 3, 0, 18)]
    code = np.where(head // 10 == 33, 33, np.where(np.isin(head, OVERSEAS_CODES), head, 0))
    rest = digits - np.where(code == 33, 2, 3)
    trunk = (rest == 10) & (value % (10 * _BILLION) < _BILLION)
    return code, rest - trunk


def _judge_subscriber(number: Int64s, code: Int64s, rows: Bools, judged: _Judged) -> None:
    """Judge nine-digit French numbers; `code` is 0 where they are written nationally."""
    owner = np.where(rows, _plan()[np.where(rows, number // 10_000, 0)], 0)
    calling = _CALLING[owner]
    mobile = rows & (owner > 0) & ((code == 0) | (code == calling))
    judged.msisdn[mobile] = (calling * _BILLION + number)[mobile]
    judged.region[mobile] = owner[mobile]
    other = rows & ~mobile
    overseas = other & (code == 33) & _IS_OVERSEAS_BLOCK[number // 1_000_000]
    _fault(judged, overseas, Fault.OVERSEAS_AS_METROPOLITAN)
    other &= ~overseas
    judged.fault[other] = _FAULT_BY_FIRST_DIGIT[(number // 10**8)[other]]


# --- The rest of the world ----------------------------------------------------------------------

_MOBILE = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_FAULT_BY_TYPE = {
    PhoneNumberType.FIXED_LINE: Fault.LANDLINE,
    PhoneNumberType.PREMIUM_RATE: Fault.PREMIUM,
    PhoneNumberType.SHARED_COST: Fault.PREMIUM,
    PhoneNumberType.TOLL_FREE: Fault.PREMIUM,
}
_FAULT_BY_LENGTH = {
    ValidationResult.TOO_SHORT: Fault.TOO_SHORT,
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: Fault.TOO_SHORT,
    ValidationResult.TOO_LONG: Fault.TOO_LONG,
}


def _judge_foreign(written: _Written, judged: _Judged) -> None:
    """Judge each distinct number that is left by libphonenumber's metadata."""
    rows = np.flatnonzero(judged.foreign)
    if not rows.size:
        return
    distinct, index = np.unique(written.value[rows], return_inverse=True)
    verdicts = np.array([_verdict(value) for value in distinct.tolist()], dtype=np.int64)[index]
    judged.msisdn[rows] = verdicts[:, 0]
    judged.region[rows] = verdicts[:, 1]
    judged.fault[rows] = verdicts[:, 2]


def _verdict(value: int) -> tuple[int, int, int]:
    """MSISDN, region and fault, as codes, of an international number's digits."""
    if value // 1000 == FICTION_GB:
        return value, _REGION["GB"], 0
    region = _plain_mobile(str(value))
    if region:
        return value, _REGION[region], 0
    try:
        number = phonenumbers.parse(f"+{value}")
    except phonenumbers.NumberParseException:
        return 0, 0, _CODE[Fault.MALFORMED]
    kind = phonenumbers.number_type(number)
    if kind not in _MOBILE:
        return 0, 0, _CODE[_fault_of_kind(number, kind)]
    msisdn = int(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    if msisdn < 10 ** (SHORTEST - 1):
        return 0, 0, _CODE[Fault.TOO_SHORT]
    return msisdn, _REGION[phonenumbers.region_code_for_number(number) or "001"], 0


def _fault_of_kind(number: phonenumbers.PhoneNumber, kind: int) -> Fault:
    if kind == PhoneNumberType.UNKNOWN:
        length = phonenumbers.is_possible_number_with_reason(number)
        return _FAULT_BY_LENGTH.get(length, Fault.NOT_A_MOBILE)
    return _FAULT_BY_TYPE.get(kind, Fault.NOT_A_MOBILE)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A region's patterns, from libphonenumber's metadata; they match the whole number."""

    region: str
    leading: re.Pattern[str] | None  # the beginning that tells it from others of its code
    trunk: re.Pattern[str]  # what a parser may strip from the beginning
    whole: re.Pattern[str]
    mobile: re.Pattern[str]
    landline: re.Pattern[str]
    special: re.Pattern[str]  # premium, free, VoIP...: these go before mobile

    @classmethod
    def of(cls, region: str) -> "_Plan":
        metadata = _metadata(region)
        leading = metadata.leading_digits
        return cls(
            region,
            re.compile(leading) if leading else None,
            _any_of([metadata.national_prefix_for_parsing]),
            _any_of([_pattern(region, "general_desc")]),
            _any_of([_pattern(region, "mobile")]),
            _any_of([_pattern(region, "fixed_line")]),
            _any_of([_pattern(region, name) for name in _SPECIAL]),
        )

    def is_mobile(self, number: str) -> bool:
        return bool(
            self.whole.fullmatch(number)
            and self.mobile.fullmatch(number)
            and not self.special.fullmatch(number)
        )

    def claims(self, number: str) -> bool:
        """Whether the number is this region's rather than a later one's of the same code."""
        if self.leading:
            return bool(self.leading.match(number))
        return bool(
            self.whole.fullmatch(number)
            and (
                self.mobile.fullmatch(number)
                or self.landline.fullmatch(number)
                or self.special.fullmatch(number)
            )
        )


_SPECIAL = (
    *("premium_rate", "toll_free", "shared_cost", "voip"),
    *("personal_number", "pager", "uan", "voicemail"),
)


def _any_of(patterns: list[str | None]) -> re.Pattern[str]:
    """One pattern for all; without any, one that matches nothing but the empty text."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns if pattern))


@cache
def _plans(code: int) -> tuple[_Plan, ...]:
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    return tuple(_Plan.of(region) for region in regions if region != "001")


def _plain_mobile(digits: str) -> str | None:
    """The region of what is plainly a mobile by the metadata's patterns, else None.

    Ten times as fast as parsing, which stays the judge of everything else: of faults, and of
    numbers whose beginning a parser might take for a trunk prefix.
    """
    plans, number = _plans_of(digits)
    if not plans or number.startswith("0"):
        return None
    trunk = plans[0].trunk.match(number)
    if trunk and trunk.end():
        return None
    owner = plans[0] if len(plans) == 1 else next((p for p in plans if p.claims(number)), None)
    return owner.region if owner and owner.is_mobile(number) else None


def _plans_of(digits: str) -> tuple[tuple[_Plan, ...], str]:
    """The plans of a number's calling code, and the digits after it."""
    for length in (1, 2, 3):
        plans = _plans(int(digits[:length]))
        if plans:
            return plans, digits[length:]
    return (), digits

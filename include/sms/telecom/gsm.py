"""GSM 03.38: the characters of a phone, the septets they take, and the parts of an SMS.

All functions work on whole columns. Limits on the length of texts, and the format of files, are
elsewhere. The tables are the standard's (3GPP TS 23.038, 6.2.1). The transliteration is our own,
because the provider replaces missing characters without documenting how (R22).
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.text import Bytes, Flags, Ints, bytes_of, distinct, flags_of, ranges, rows_of
from sms.telecom import numerals

Texts: TypeAlias = pa.Array | pa.ChunkedArray
Unsupported: TypeAlias = Literal["replace", "exclude", "refuse"]

# 0x09 is capital C cedilla in 3GPP's table and small in Unicode's own mapping file. A phone may
# show either, so the small one counts as missing (R22). 0x1B, the escape, is not a character.
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = "^{}\\[~]|€"  # two septets each: an escape and the character
ALPHABET = frozenset(BASIC + EXTENSION)

SINGLE, PART = 160, 153  # septets; each part of a long SMS has a header of 7 (spec, MSG)
UNICODE_SINGLE, UNICODE_PART = 70, 67  # UTF-16 units (R21)
MOST_PARTS = 5  # spec, MSG: "we allow up to 5* 153"

UNKNOWN = "?"  # replaces a character without a transliteration

_LATIN_CAPITALS = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEZHIKMNOPTYX", strict=True))
_CYRILLIC_TWINS = dict(zip("АВЕКМНОРСТУХІЈЅаеорсухіјѕ", "ABEKMHOPCTYXIJSaeopcyxijs", strict=True))

# Accents aren't listed. A letter that Unicode splits into a GSM letter and marks loses the marks
# (ç -> c, ê -> e, ő -> o). Compatibility forms become their plain form (ﬁ -> fi, Ａ -> A, ² -> 2,
# ½ -> 1/2; beside a digit see `numerals`), and circled characters are put in brackets
# (① -> (1)). Lower-case Greek becomes the capital, which GSM has.
TRANSLITERATION: dict[str, str] = {
    # ligatures and letters that Unicode doesn't split
    **{"œ": "oe", "Œ": "OE", "ẞ": "ß", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D"},
    **{"þ": "th", "Þ": "Th", "ı": "i", "ħ": "h", "Ħ": "H", "ŧ": "t", "Ŧ": "T", "ŋ": "n", "Ŋ": "N"},
    **{"ĸ": "k", "ƒ": "f", "ə": "e", "Ə": "E"},
    # quotes and primes
    **dict.fromkeys("‘’‚‛′‵ʼʹʻˈ`´‹›＇", "'"),
    **dict.fromkeys("“”„‟″‶«»〝〞〟ʺ＂", '"'),
    # dashes, bullets, dots
    **dict.fromkeys("‐‑‒–—―−⁃﹘﹣－¬•‣◦∙●▪■", "-"),
    **{"…": "...", "·": ".", "‧": ".", "⁄": "/", "∕": "/", "∗": "*", "‖": "||", "¦": "|"},
    # spaces; those without width and the soft hyphen are format characters, which are dropped
    **dict.fromkeys("\t\v\f\u00a0\u1680\u202f\u205f\u3000", " "),
    **dict.fromkeys(map(chr, range(0x2000, 0x200B)), " "),
    **dict.fromkeys("\u0085\u2028\u2029", "\n"),
    # signs
    **{"©": "(c)", "®": "(R)", "™": "TM", "°": "o", "µ": "u", "±": "+/-", "×": "x", "÷": "/"},
    **{"‰": "o/oo", "¢": "c", "₤": "£", "←": "<-", "→": "->", "⇒": "=>", "≤": "<=", "≥": ">="},
    **{"≠": "!=", "≈": "~", "¯": "-", "¨": '"', "¸": ",", "˜": "~", "ˆ": "^"},
    # look-alikes of other scripts, and Greek letters as phones write them
    **_LATIN_CAPITALS,
    **_CYRILLIC_TWINS,
    **{"ς": "Σ", "🔟": "10"},
}
# Marks, modifiers, symbols such as emoji, format and control characters are dropped.
_DROPPED = frozenset({"Mn", "Me", "Sk", "So", "Cf", "Cc", "Co"})
_PICTOGRAPHS = range(0x1F000, 0x1FC00)  # includes some that this Python's Unicode lacks
# Numbers in black or double circles: Unicode doesn't split them.
_DINGBAT_NUMBERS = frozenset((*range(0x2776, 0x2794), *range(0x24EB, 0x2500), 0x1F10B, 0x1F10C))
_REPLACEMENT = "\ufffd"  # an unreadable byte of an earlier program: not dropped as an emoji is

# UTF-8 that a program read as Latin-1, Latin-2 or Windows-1252 (R24); then an encoding of one byte
# that was read as another one: a capital or a sign inside a word (ZoŽ, Ren‚e), a control character.
_CONTROLS = "".join(map(chr, (*range(0x80, 0x85), *range(0x86, 0xA0))))
_MISPLACED = "ÀÁÂÃÈÊËÌÍÎÏÒÓÔÕÙÚÛÝÐÞŽŠŒŸ‚„†‡ˆ‰"
_SIGNS = "“”‹›•™"
MOJIBAKE = (
    "Ã[\u0080-\u00bf\u0152-\u2122]|Ă[\u0080-\u00bf]|â€|Â[\u00a0-\u00bf ]|\ufffd"
    f"|[a-z][{_MISPLACED}]|[{_CONTROLS}]|[a-z][{_SIGNS}][a-z]|[A-Z][ÐÞŽŠŒŸ‚„†‡ˆ‰][a-z]"
)
_MOJIBAKE_CODES = np.array([*map(ord, f"Ăâ\ufffd{_SIGNS}{_MISPLACED}{_CONTROLS}")])

_LAST = max(map(ord, ALPHABET)) + 1
_IN_GSM = np.zeros(_LAST + 1, np.bool_)
_IN_GSM[[ord(character) for character in ALPHABET]] = True
_CONTROL = np.zeros(_LAST + 1, np.bool_)
_CONTROL[[*range(0x20), *range(0x7F, 0xA0)]] = True
_CONTROL[[0x0A, 0x0D]] = False


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A column in NFC and, as far as possible, in GSM; nulls stay null."""

    texts: pa.Array
    rows: Ints  # for each replaced character its row,
    codes: Ints  # and its code point
    unsupported: Flags  # by row: has a character without a transliteration
    mojibake: Flags  # by row: looks like UTF-8 that was read in another encoding

    @property
    def replaced(self) -> Counter[str]:
        """The number of replacements of each character, by its code ("U+00E7")."""
        return self.counted(np.ones(len(self.texts), np.int64))

    def counted(self, times: Ints) -> Counter[str]:
        """The same, where row `i` counts `times[i]` times."""
        characters, which = np.unique(self.codes, return_inverse=True)
        counts = np.bincount(which, weights=times[self.rows], minlength=len(characters))
        pairs = zip(characters.tolist(), counts.tolist(), strict=True)
        return Counter({name_of(chr(code)): int(count) for code, count in pairs if count})


def swapped(cleaned: Cleaned, pairs: Mapping[str, str]) -> Cleaned:
    """`cleaned` with some ASCII characters replaced one for one, which are counted too."""
    data, offsets = bytes_of(cleaned.texts)
    book = np.arange(256, dtype=np.uint8)
    for old, new in pairs.items():
        book[ord(old)] = ord(new)
    at = np.flatnonzero(book[data] != data)
    if not at.size:
        return cleaned
    old_codes = data[at].astype(np.int64)
    return replace(
        cleaned,
        texts=_column(book[data], offsets, cleaned.texts),
        rows=np.concatenate([cleaned.rows, rows_of(offsets, at)]),
        codes=np.concatenate([cleaned.codes, old_codes]),
    )


def unknown_in(text: str) -> list[str]:
    """The codes of the distinct characters of a text that have no transliteration."""
    return [
        name_of(character) for character in sorted(set(text)) if transliterated(character) is None
    ]


def name_of(character: str) -> str:
    """The code of a character that can't be shown: "U+00E7"."""
    return f"U+{ord(character):04X}"


@lru_cache(maxsize=4096)
def transliterated(character: str) -> str | None:
    """The GSM text of one character: "" if it is dropped, None if it has none."""
    if character in ALPHABET:
        return character
    if character in TRANSLITERATION:
        return TRANSLITERATION[character]
    if character == _REPLACEMENT:
        return None
    split = unicodedata.normalize("NFKD", character)
    if split != character:
        word = _joined(map(transliterated, _unmarked(split)))
        circled = unicodedata.decomposition(character).startswith("<circle>")
        return f"({word})" if circled and word and word.isdigit() else word
    return _lone(character)


def _lone(character: str) -> str | None:
    """The GSM text of a character that is not in the table and that Unicode doesn't split."""
    if ord(character) in _DINGBAT_NUMBERS:
        return f"({unicodedata.numeric(character):.0f})"
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    if "α" <= character <= "ω":
        return transliterated(character.upper())
    if unicodedata.category(character) in _DROPPED or ord(character) in _PICTOGRAPHS:
        return ""
    return None


def _unmarked(split: str) -> str:
    return "".join(part for part in split if not unicodedata.combining(part))


def _joined(parts: Iterable[str | None]) -> str | None:
    known = list(parts)
    return None if None in known else "".join(part for part in known if part)


def septets(texts: Texts) -> npt.NDArray[np.int32]:
    """The septets of each GSM text: one a character, two for one of the extension table."""
    return _lengths(_flat(texts), unicode=False)


def utf16_units(texts: Texts) -> npt.NDArray[np.int32]:
    """The UTF-16 units of each text, which a Unicode SMS counts."""
    return _lengths(_flat(texts), unicode=True)


def segments(texts: Texts, *, unicode: bool = False) -> npt.NDArray[np.int32]:
    """The parts of each text as an SMS; more than `MOST_PARTS` can't be sent. Empty is one."""
    flat = _flat(texts)
    data, offsets = bytes_of(flat)
    long = may_be_long(np.diff(offsets), rare_ascii(data), unicode=unicode)
    parts = np.ones(len(flat), np.int32)
    if long.size:
        some = flat.take(pa.array(long))
        lengths = _lengths(some, unicode=unicode)
        parts[long] = segments_of(lengths, lambda rows: some.take(pa.array(rows)), unicode=unicode)
    return parts


def segments_of(
    lengths: npt.NDArray[np.int32], texts: Callable[[Ints], pa.Array], *, unicode: bool = False
) -> npt.NDArray[np.int32]:
    """`segments` for known lengths (septets or UTF-16 units).

    `texts` returns the texts of some rows; only the long ones are requested.
    """
    single = UNICODE_SINGLE if unicode else SINGLE
    parts = np.ones(len(lengths), np.int32)
    long = np.flatnonzero(lengths > single)
    if long.size:
        parts[long] = _parts(texts(long), lengths[long], unicode=unicode)
    return parts


def _parts(
    texts: pa.Array, lengths: npt.NDArray[np.int32], *, unicode: bool
) -> npt.NDArray[np.int32]:
    """Fill the parts of all texts at once; a pair that would be split moves to the next part.

    The texts are concatenated on one axis of septets. A part may not end between an escape and its
    character: `inside` has those positions.
    """
    size = UNICODE_PART if unicode else PART
    data, _ = bytes_of(texts)
    ends = np.cumsum(lengths)
    pairs = _pairs(data, unicode=unicode)
    inside = _axis(data, pairs) + 1
    reached = ends - lengths
    parts = np.zeros(len(texts), np.int32)
    unfinished = reached < ends
    while unfinished.any():
        target = np.minimum(reached + size, ends)
        reached = np.where(unfinished, target - _among(target, inside), reached)
        parts += unfinished
        unfinished = reached < ends
    return parts


def _axis(data: Bytes, pairs: Ints) -> Ints:
    """The position of each pair on the axis of septets (or units)."""
    characters = np.cumsum((data & 0xC0) != 0x80)
    return characters[pairs] - 1 + np.arange(len(pairs))


def _among(values: Ints, ordered: Ints) -> Flags:
    if not ordered.size:
        return np.zeros(len(values), np.bool_)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    flags: Flags = ordered[at] == values
    return flags


def _lengths(flat: pa.Array, *, unicode: bool) -> npt.NDArray[np.int32]:
    characters = pc.fill_null(pc.utf8_length(flat), 0).to_numpy()
    data, offsets = bytes_of(flat)
    pairs = _pairs(data, unicode=unicode)
    extra = np.bincount(rows_of(offsets, pairs), minlength=len(flat)) if pairs.size else 0
    total: npt.NDArray[np.int32] = (characters + extra).astype(np.int32)
    return total


def _pairs(data: Bytes, *, unicode: bool) -> Ints:
    """The byte positions of characters that count two."""
    if unicode:
        return np.flatnonzero(data >= 0xF0)
    double = _doubled(data)
    euro = np.flatnonzero(data == 0xE2)
    euro = euro[(data[euro + 1] == 0x82) & (data[euro + 2] == 0xAC)]
    double[euro] = True
    return np.flatnonzero(double)


def _doubled(data: Bytes) -> Flags:
    """Which bytes are ASCII characters of the extension table.

    [ \\ ] ^ and { | } ~ are two ranges that differ by one bit.
    """
    doubled: Flags = ((data & 0xDF) - np.uint8(ord("["))) < 4
    return doubled


def clean(texts: Texts, policy: Unsupported = "replace", *, unicode: bool = False) -> Cleaned:
    """Put a column into NFC, transliterate what GSM lacks, and count each replaced character.

    A character without a transliteration becomes "?" under `replace`; under the other policies it
    stays, and its row is `unsupported`. With `unicode`, only control characters are replaced.
    """
    flat = _flat(texts)
    data, offsets = bytes_of(flat)
    at, codes = _beyond_gsm(data)
    if not at.size:
        clear = np.zeros(len(flat), np.bool_)
        return Cleaned(flat, at, codes, unsupported=clear, mojibake=clear)
    loose = _composable(codes)
    if loose.any():
        flat, at, codes = _composed(
            flat, at, codes, _marked(rows_of(offsets, at[loose]), len(flat))
        )
        data, offsets = bytes_of(flat)
    mojibake = _mojibake(flat, rows_of(offsets, at), codes)
    if unicode:
        chosen = _CONTROL[np.minimum(codes, _LAST)]
        at, codes = at[chosen], codes[chosen]
    kinds, which = _distinct(codes)
    answers = [_answer(int(code)) for code in kinds]
    lacking = np.array([answer is None for answer in answers], np.bool_)
    stuck = lacking[which] if len(kinds) else np.zeros(0, np.bool_)
    rows = rows_of(offsets, at)
    unsupported = _marked(rows[stuck], len(flat))
    if policy != "replace":
        at, codes, which, rows = at[~stuck], codes[~stuck], which[~stuck], rows[~stuck]
    if at.size:
        words = [(UNKNOWN if answer is None else answer).encode() for answer in answers]
        if not unicode:
            words, which = numerals.set_apart(
                data, offsets, rows, at, codes, words, which, transliterated
            )
        flat = _spliced(flat, data, offsets, rows, at, words, which)
    return Cleaned(flat, rows, codes, unsupported, mojibake)


def _answer(code: int) -> str | None:
    return transliterated(chr(code))


def _beyond_gsm(data: Bytes) -> tuple[Ints, Ints]:
    """The positions and code points of characters that GSM lacks."""
    at, codes = _characters(data)
    lacking = ~_IN_GSM[np.minimum(codes, _LAST)]
    return at[lacking], codes[lacking]


def _composable(codes: Ints) -> Flags:
    """Which of these characters NFC may change; GSM's own are all in NFC."""
    kinds, which = _distinct(codes)
    loose = np.array([_may_compose(chr(code)) for code in kinds], np.bool_)
    return loose[which] if loose.any() else np.zeros(len(codes), np.bool_)


def _composed(flat: pa.Array, at: Ints, codes: Ints, chosen: Flags) -> tuple[pa.Array, Ints, Ints]:
    """The column with these rows in NFC, and its characters that GSM lacks.

    The other rows aren't read again.
    """
    mask = pa.array(chosen)
    some = pc.utf8_normalize(flat.filter(mask), form="NFC")
    whole = pc.replace_with_mask(flat, mask, some)
    before, after = bytes_of(flat)[1], bytes_of(whole)[1]
    rows = rows_of(before, at)
    left = ~chosen[rows]
    rows, at, codes = rows[left], at[left], codes[left]
    data, offsets = bytes_of(some)
    new_at, new_codes = _beyond_gsm(data)
    new_rows = rows_of(offsets, new_at)
    new_at += after[np.flatnonzero(chosen)[new_rows]] - offsets[new_rows]
    at += after[rows] - before[rows]
    place = np.searchsorted(at, new_at)
    return whole, np.insert(at, place, new_at), np.insert(codes, place, new_codes)


@lru_cache(maxsize=4096)
def _may_compose(character: str) -> bool:
    """Whether NFC may change a text with this character."""
    return (
        unicodedata.category(character).startswith("M")
        or "\u1161" <= character <= "\u1175"
        or "\u11a8" <= character <= "\u11c2"
        or not unicodedata.is_normalized("NFC", character)
    )


def foreign_in(data: Bytes) -> Ints:
    """The positions in UTF-8 bytes of characters that GSM lacks."""
    return _beyond_gsm(data)[0]


def rare_ascii(texts: Bytes) -> Bytes:
    """The rare ASCII characters of some bytes.

    They include all of the extension table's, and all that GSM lacks except control characters.
    """
    pieces = [np.zeros(0, np.uint8)]
    for start in range(0, len(texts), _IN_CACHE):
        some = texts[start : start + _IN_CACHE]
        rare = (some - np.uint8(ord("["))) < 6
        rare |= (some - np.uint8(ord("{"))) < 5
        pieces.append(some[np.flatnonzero(rare)])
    return np.concatenate(pieces)


def is_surely_gsm(texts: Bytes, rare: Bytes) -> bool:
    """Whether GSM has every character of UTF-8 texts without control characters except CR and LF.

    `rare` is `rare_ascii` of them. False is no answer: `foreign_in` checks exactly. This check
    takes half the time, as it only reads the bytes outside ASCII, which in UTF-8 are whole
    characters.
    """
    if not _IN_GSM[rare].all():
        return False
    beyond = _beyond_ascii(texts)
    euros = np.flatnonzero(beyond >= 0xE0)
    if euros.size:
        signs = euros[:, None] + np.arange(3)
        if (beyond[np.minimum(signs, len(beyond) - 1)] != _EURO).any():
            return False
        beyond = np.delete(beyond, signs)
    if len(beyond) % 2:  # the last character is cut off
        return False
    return bool(_PAIR_IN_GSM[beyond.view("<u2")].all())


def _beyond_ascii(data: Bytes) -> Bytes:
    """The bytes outside ASCII. They are few, and searched eight at a time.

    Taking by position is twice as fast as taking by flags.
    """
    whole = len(data) // 8 * 8
    eights = data[:whole].view(np.uint64)
    found = np.flatnonzero((eights & np.uint64(0x8080808080808080)) != 0)
    some = np.concatenate([eights[found].view(np.uint8), data[whole:]])
    return some[np.flatnonzero(some >= 0x80)]


def may_be_long(sizes: Ints, rare: Bytes, *, unicode: bool = False) -> Ints:
    """The rows that may need more than one part, by their size in bytes.

    A byte is one septet or unit at most; only the extension's ASCII characters are two, which
    `rare_ascii` finds.
    """
    doubled = not unicode and bool(_doubled(rare).any())
    return np.flatnonzero(sizes * (2 if doubled else 1) > (UNICODE_SINGLE if unicode else SINGLE))


def leans_back(texts: Texts) -> bool:
    """Whether the text before may change the first character of any text.

    NFC may combine the two, or the first character is a numeral that needs a separator after a
    digit.
    """
    flat = _flat(texts)
    data, offsets = bytes_of(flat)
    filled = np.flatnonzero(np.diff(offsets))
    first = data[offsets[filled]]
    suspects = filled[(first >= _FIRST_MARK) | (first == _FIRST_NUMERAL)]
    if not suspects.size:
        return False
    firsts = pc.unique(pc.utf8_slice_codeunits(flat.take(pa.array(suspects)), 0, 1)).to_pylist()
    return any(_may_compose(each) or _is_numeral(each) for each in firsts)


def leans_on(texts: Texts, following: Sequence[Texts]) -> bool:
    """Whether any text ends with a numeral, and any `following` text may begin with a digit."""
    flat = _flat(texts)
    data, offsets = bytes_of(flat)
    ends = offsets[1:][np.diff(offsets) > 1]
    if not (data[ends - 1] >= 0x80).any() or not any(map(_begins_with_digit, following)):
        return False
    suspects = np.flatnonzero(np.diff(offsets) > 1)[data[ends - 1] >= 0x80]
    lasts = pc.unique(pc.utf8_slice_codeunits(flat.take(pa.array(suspects)), -1)).to_pylist()
    return any(map(_is_numeral, lasts))


def _begins_with_digit(texts: Texts) -> bool:
    """Whether any text begins with a digit, or with a character that may become one."""
    data, offsets = bytes_of(_flat(texts))
    first = data[offsets[:-1][np.diff(offsets) > 0]]
    return bool((((first >= ord("0")) & (first <= ord("9"))) | (first >= _FIRST_MARK)).any())


def _is_numeral(character: str) -> bool:
    return bool(numerals.kind_of(character, transliterated))


def _mojibake(flat: pa.Array, rows: Ints, codes: Ints) -> Flags:
    """The rows that match MOJIBAKE; each match contains one of a few characters that GSM lacks."""
    marked = np.zeros(len(flat), np.bool_)
    suspects = distinct(rows[np.isin(codes, _MOJIBAKE_CODES)])
    if suspects.size:
        hits = pc.match_substring_regex(flat.take(pa.array(suspects)), MOJIBAKE)
        marked[suspects] = flags_of(hits)
    return marked


def _characters(data: Bytes) -> tuple[Ints, Ints]:
    """The positions and code points of all characters that GSM may lack.

    Every byte of every text is read here: so bytes are read in few passes, and code points are
    computed for few characters.
    """
    starts = range(0, len(data), _AT_ONCE)
    at = np.concatenate([np.zeros(0, np.int64), *(_special(data, start) for start in starts)])
    lead, second = data[at], data[np.minimum(at + 1, len(data) - 1)]
    # Decoded as two bytes, as most have; longer ones and controls are kept without this test.
    pair = ((lead & 0x1F).astype(np.uint16) << 6) | (second & 0x3F)
    chosen = np.flatnonzero(_LACKING_PAIR[pair] | (lead >= 0xE0) | (lead < 0x80))
    return at[chosen], _decoded(data, at[chosen])


def _special(data: Bytes, start: int) -> Ints:
    """The positions from `start` on of non-ASCII characters, control characters and `."""
    some = data[start : start + _AT_ONCE]
    special = some >= 0xC2
    if some.min() < 0x20:
        special |= some < 0x20
    raw = some.tobytes()  # `in` is faster on bytes than on an array
    for rare in (0x60, 0x7F):
        if rare in raw:
            special |= some == rare
    return np.flatnonzero(special) + start


def _decoded(data: Bytes, at: Ints) -> Ints:
    """The code points of the characters at these positions."""
    codes = data[at].astype(np.int64)
    for lead, width in ((0xC2, 2), (0xE0, 3), (0xF0, 4)):
        chosen = np.flatnonzero((codes >= lead) & (codes < _NEXT_LEAD[lead]))
        first, code = at[chosen], codes[chosen] & (0xFF >> (width + 1))
        for step in range(1, width):
            code = (code << 6) | (data[first + step] & 0x3F)
        codes[chosen] = -code  # negative until the end, so that no code looks like a lead byte
    return np.abs(codes)


_FIRST_MARK = "\u0300".encode()[0]  # no earlier character combines with the one before it
_FIRST_NUMERAL = "²".encode()[0]  # lead byte of all numerals below _FIRST_MARK
_NEXT_LEAD = {0xC2: 0xE0, 0xE0: 0xF0, 0xF0: 0x100}
_AT_ONCE = 1 << 20  # bytes; much faster than arrays large enough to be returned to the system
_IN_CACHE = 1 << 18  # bytes, so that the arrays stay in a core's cache
_LACKING_PAIR = np.array([chr(code) not in ALPHABET for code in range(0x800)])
_EURO = np.frombuffer("€".encode(), np.uint8)
_PAIR_IN_GSM = np.zeros(1 << 16, np.bool_)  # two bytes of UTF-8, little-endian
_PAIR_IN_GSM[[int.from_bytes(c.encode(), "little") for c in ALPHABET if 0x80 <= ord(c) < 0x800]] = (
    True
)


def _spliced(
    flat: pa.Array,
    data: Bytes,
    offsets: Ints,
    rows: Ints,
    at: Ints,
    words: list[bytes],
    which: Ints,
) -> pa.Array:
    """The column with the character at each position in `at` replaced by its word.

    The words are written over the characters, and left-over bytes are removed: half the work of
    building the column anew.
    """
    lead = data[at]
    old = 1 + (lead >= 0xC2).astype(np.int64) + (lead >= 0xE0) + (lead >= 0xF0)
    new = np.array([len(word) for word in words], np.int64)[which]
    grown = np.concatenate([[0], np.cumsum(new - old)])
    moved = offsets.copy()
    moved[1:] += grown[np.cumsum(np.bincount(rows, minlength=len(flat)))]
    more = np.maximum(new - old, 0)
    if more.any():
        data = np.insert(data, np.repeat(at + old, more), 0)
        at, old = at + np.cumsum(more) - more, old + more
    else:
        data = data.copy()
    data[ranges(at, new)] = _bytes_of(words, which, new)
    kept = np.ones(len(data), np.bool_)
    kept[ranges(at + new, old - new)] = False
    return _column(data[kept], moved, flat)


def _bytes_of(words: list[bytes], which: Ints, sizes: Ints) -> Bytes:
    """The bytes of the chosen words, concatenated."""
    book = np.frombuffer(b"".join(words), np.uint8)
    starts = np.concatenate([[0], np.cumsum([len(word) for word in words])])[:-1]
    chosen: Bytes = book[ranges(starts[which], sizes)]
    return chosen


def _distinct(codes: Ints) -> tuple[Ints, Ints]:
    which, kinds = pd.factorize(codes)
    return np.asarray(kinds, np.int64), which.astype(np.int64)


def _marked(rows: Ints, size: int) -> Flags:
    marked = np.zeros(size, np.bool_)
    marked[rows] = True
    return marked


def _flat(texts: Texts) -> pa.Array:
    """One contiguous large_string array."""
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    if isinstance(whole, pa.ChunkedArray):  # combine_chunks of no chunks
        whole = pa.array([], pa.large_string())
    flat = whole if whole.type == pa.large_string() else whole.cast(pa.large_string())
    if not flat.null_count:
        return flat
    # A null in Arrow may have bytes; the new column's nulls have none.
    return pc.if_else(flat.is_valid(), flat, pa.scalar(None, pa.large_string()))


def _column(data: Bytes, offsets: Ints, like: pa.Array) -> pa.Array:
    """A text column over these bytes; null where `like` is null."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(offsets, np.int64)), pa.py_buffer(data)]
    column = pa.Array.from_buffers(pa.large_string(), len(like), buffers)
    if not like.null_count:
        return column
    return pc.if_else(like.is_valid(), column, pa.scalar(None, pa.large_string()))

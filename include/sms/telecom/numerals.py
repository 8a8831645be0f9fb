"""Characters that stand for digits, and would change a number that they are written beside.

2¾ is no 23/4, and 10² no 102. What stands for such a character in GSM is `gsm`'s to know; here it
is set apart from the digits around it: a power by ^, an index by _, all else by a space.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sms.columnar.text import Bytes, Flags, Ints

StandsFor = Callable[[str], str | None]  # as `gsm.transliterated`

POWER, INDEX, OTHER = "power", "index", "other"
# What may be set apart by, in the order of its code; "" comes first.
_JOINTS = ("", " ", "^", "_")
_OPENING = " \n\r([{<\"'"  # before a power that begins something: a footnote's number, at its foot
_SIGNS = "+-"


def kind(character: str, word: str | None) -> str:
    """Which kind of numeral a character is, whose word in GSM is this one; "" for any other.

    Digits of other scripts and shapes (fullwidth, mathematical) are digits, and none of these.
    """
    if not word or word == character or unicodedata.category(character) == "Nd":
        return ""
    shape = unicodedata.decomposition(character).partition(" ")[0]
    if shape in ("<super>", "<sub>") and (word.isdigit() or word in _SIGNS):
        return POWER if shape == "<super>" else INDEX
    return OTHER if word[0].isdigit() or word[-1].isdigit() or word[:-1].isdigit() else ""


def joint(before: str, kind_before: str, word: str, own: str) -> str:
    """What comes between a text that ends with `before` and a numeral of its own kind."""
    if own == POWER:
        plain = not before or kind_before == POWER or before.isalpha() or before in _OPENING
        return "" if plain else "^"
    if not before.isdigit() or not word[0].isdigit():
        return ""
    if own == INDEX:
        return "" if kind_before == INDEX else "_"
    return " "


def set_apart(
    data: Bytes,
    offsets: Ints,
    rows: Ints,
    at: Ints,
    codes: Ints,
    words: list[bytes],
    which: Ints,
    stands_for: StandsFor,
) -> tuple[list[bytes], Ints]:
    """The words, and which of them is for each character at `at`, with what sets numerals apart."""
    known = kinds_of(codes, which, len(words), stands_for)
    some = (
        np.flatnonzero(np.array([bool(own) for own in known])[which]) if any(known) else which[:0]
    )
    if not some.size:
        return words, which
    text = _Around(data, offsets, stands_for)
    before = text.joints(some, rows, at, [(known[n], words[n].decode()) for n in which[some]])
    behind = text.behind(some, rows, at, words, which)
    variant = (which[some] * len(_JOINTS) + before) * 2 + behind
    distinct, place = np.unique(variant, return_inverse=True)
    more = []
    for each in distinct.tolist():
        number, spaced = divmod(each, 2)
        word, how = divmod(number, len(_JOINTS))
        more.append(_JOINTS[how].encode() + words[word] + b" " * spaced)
    chosen = which.copy()
    chosen[some] = len(words) + place
    return [*words, *more], chosen


def kinds_of(codes: Ints, which: Ints, count: int, stands_for: StandsFor) -> list[str]:
    """The kind of each of `count` distinct characters, of which `which` tells the places."""
    first = np.zeros(count, np.int64)
    first[which] = codes
    return [kind_of(chr(code), stands_for) for code in first.tolist()]


@lru_cache(maxsize=4096)
def kind_of(character: str, stands_for: StandsFor) -> str:
    """Which kind of numeral a character is, "" for any other."""
    return kind(character, stands_for(character))


class _Around:
    """What is before and behind some characters of a column's texts.

    ASCII neighbours, as nearly all are, are looked at all at once, others one by one.
    """

    def __init__(self, data: Bytes, offsets: Ints, stands_for: StandsFor) -> None:
        self._data, self._offsets, self._stands_for = data, offsets, stands_for

    def joints(
        self, some: Ints, rows: Ints, at: Ints, own: list[tuple[str, str]]
    ) -> npt.NDArray[np.int64]:
        """The code of what comes before each."""
        begins, places = self._offsets[rows[some]], at[some]
        byte = np.where(places > begins, self._data[places - 1], 0)
        byte[places == begins] = ord("\n")  # as at the beginning of a line
        plain = (byte >= 0x20) & (byte < 0x7F) | (byte == ord("\n"))
        kinds, which = np.unique(
            np.array([f"{kind}:{word}" for kind, word in own]), return_inverse=True
        )
        table = np.zeros((len(kinds), 128), np.int64)
        for row, told in enumerate(kinds.tolist()):
            kind, _, word = told.partition(":")
            for code in range(128):
                table[row, code] = _JOINTS.index(joint(chr(code), "", word, kind))
        codes: npt.NDArray[np.int64] = table[which, np.minimum(byte, 127)]
        for n in np.flatnonzero(~plain).tolist():
            text = self._data[begins[n] : places[n]].tobytes().decode()
            codes[n] = _JOINTS.index(joint(*self._last(text), own[n][1], own[n][0]))
        return codes

    def behind(
        self, some: Ints, rows: Ints, at: Ints, words: list[bytes], which: Ints
    ) -> npt.NDArray[np.int64]:
        """1 for each that a digit follows which would be read with it, else 0."""
        ends, places = self._offsets[rows[some] + 1], at[some]
        lead = self._data[places]
        places = places + 1 + (lead >= 0xC2) + (lead >= 0xE0) + (lead >= 0xF0)
        byte = np.where(places < ends, self._data[np.minimum(places, len(self._data) - 1)], 0x20)
        digit: Flags = (byte >= ord("0")) & (byte <= ord("9"))
        for n in np.flatnonzero((byte < 0x20) | (byte >= 0x7F)).tolist():
            digit[n] = self._begins(self._data[places[n] : ends[n]].tobytes().decode())
        closed = np.array([word[-1:].isdigit() or word[-1:] == b"." for word in words])
        joined: npt.NDArray[np.int64] = (digit & closed[which[some]]).astype(np.int64)
        return joined

    def _last(self, text: str) -> tuple[str, str]:
        """The last character that a phone shows of a text, and which kind of numeral it was."""
        for character in reversed(text):
            word = self._stands_for(character)
            if word != "":
                return (word or "?")[-1], kind_of(character, self._stands_for)
        return "", ""

    def _begins(self, text: str) -> bool:
        """Whether a phone shows a digit first of a text, that is no numeral."""
        for character in text:
            word = self._stands_for(character)
            if word != "":
                shown = bool(word) and word is not None and word[0].isdigit()
                return shown and not kind_of(character, self._stands_for)
        return False

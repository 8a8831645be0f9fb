"""Number characters such as ², ¾ and ①, which would join the digits beside them.

2¾ is not 23/4, and 10² is not 102. `gsm` has the GSM text of each character; this module
separates that text from neighbouring digits: ^ before a power, _ before an index, a space
otherwise.
"""

import unicodedata
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sms.columnar.text import Bytes, Flags, Ints

StandsFor = Callable[[str], str | None]  # as `gsm.transliterated`

POWER, INDEX, OTHER = "power", "index", "other"
# The possible separators, by code; "" is 0.
_JOINTS = ("", " ", "^", "_")
_OPENING = " \n\r([{<\"'"  # a power after one of these needs no ^: a footnote's number, for example
_SIGNS = "+-"


def kind(character: str, word: str | None) -> str:
    """The kind of a number character with its GSM text `word`; "" for any other character.

    Digits of other scripts and shapes (fullwidth, mathematical) are plain digits.
    """
    if not word or word == character or unicodedata.category(character) == "Nd":
        return ""
    shape = unicodedata.decomposition(character).partition(" ")[0]
    if shape in ("<super>", "<sub>") and (word.isdigit() or word in _SIGNS):
        return POWER if shape == "<super>" else INDEX
    return OTHER if word[0].isdigit() or word[-1].isdigit() or word[:-1].isdigit() else ""


def joint(before: str, kind_before: str, word: str, own: str) -> str:
    """The separator between a text that ends with `before` and a number character."""
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
    """The texts to insert, with separators, and the index of the one for each position in `at`."""
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
    """The kind of each of `count` distinct characters; `which` is the index at each position."""
    first = np.zeros(count, np.int64)
    first[which] = codes
    return [kind_of(chr(code), stands_for) for code in first.tolist()]


@lru_cache(maxsize=4096)
def kind_of(character: str, stands_for: StandsFor) -> str:
    """The kind of a number character, "" for any other."""
    return kind(character, stands_for(character))


class _Around:
    """The neighbours of some characters in a text column.

    ASCII neighbours, which are nearly all, are read as arrays; others one at a time.
    """

    def __init__(self, data: Bytes, offsets: Ints, stands_for: StandsFor) -> None:
        self._data, self._offsets, self._stands_for = data, offsets, stands_for

    def joints(
        self, some: Ints, rows: Ints, at: Ints, own: list[tuple[str, str]]
    ) -> npt.NDArray[np.int64]:
        """The code of the separator before each character."""
        begins, places = self._offsets[rows[some]], at[some]
        byte = np.where(places > begins, self._data[places - 1], 0)
        byte[places == begins] = ord("\n")  # the beginning of a text counts as that of a line
        plain = (byte >= 0x20) & (byte < 0x7F) | (byte == ord("\n"))
        kinds, which = np.unique(
            np.array([f"{kind}:{word}" for kind, word in own]), return_inverse=True
        )
        table = np.zeros((len(kinds), 128), np.int64)
        for row, kind_and_word in enumerate(kinds.tolist()):
            kind, _, word = kind_and_word.partition(":")
            for code in range(128):
                shown = self._stands_for(chr(code)) or chr(code)  # "`" is shown as "'"
                table[row, code] = _JOINTS.index(joint(shown, "", word, kind))
        codes: npt.NDArray[np.int64] = table[which, np.minimum(byte, 127)]
        for n in np.flatnonzero(~plain).tolist():
            text = self._data[begins[n] : places[n]].tobytes().decode()
            codes[n] = _JOINTS.index(joint(*self._last(text), own[n][1], own[n][0]))
        return codes

    def behind(
        self, some: Ints, rows: Ints, at: Ints, words: list[bytes], which: Ints
    ) -> npt.NDArray[np.int64]:
        """1 if a following digit needs a space, else 0."""
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
        """The last visible character of a text, and its kind of number character."""
        for character in reversed(text):
            word = self._stands_for(character)
            if word != "":
                return (word or "?")[-1], kind_of(character, self._stands_for)
        return "", ""

    def _begins(self, text: str) -> bool:
        """Whether the first visible character of a text is a plain digit."""
        for character in text:
            word = self._stands_for(character)
            if word != "":
                shown = bool(word) and word is not None and word[0].isdigit()
                return shown and not kind_of(character, self._stands_for)
        return False

"""The length of a text: GSM 03.38 septets, or UTF-16 units if Unicode is on.

Page, *Character count*; the characters are those of 3GPP TS 23.038, sections 6.2.1 and 6.2.1.1.
"""

from collections.abc import Iterable

BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENDED = frozenset("\f^{}\\[~]|€")
KNOWN = BASIC | EXTENDED
UNKNOWN = "?"  # page: "characters that are not received will automatically be replaced"
MOST_SEGMENTS = 5  # page: "up to 5* 153 GSM characters"


def received(text: str) -> str:
    """The text as a handset shows it, with other characters replaced."""
    if KNOWN.issuperset(text):
        return text
    return "".join(c if c in KNOWN else UNKNOWN for c in text)


def segments(text: str, *, unicode: bool = False) -> int:
    """The number of SMS of a text."""
    if unicode and received(text) != text:
        return _packed((len(c.encode("utf-16-be")) // 2 for c in text), single=70, part=67)
    return _packed((2 if c in EXTENDED else 1 for c in text), single=160, part=153)


def _packed(each: Iterable[int], *, single: int, part: int) -> int:
    """The number of parts for characters of these sizes; no character is split."""
    sizes = list(each)
    if sum(sizes) <= single:
        return 1
    parts, used = 1, 0
    for size in sizes:
        if used + size > part:
            parts, used = parts + 1, 0
        used += size
    return parts

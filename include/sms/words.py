"""Counts, durations and file names as text in a sentence: `1 number`, `2 days 3 hours`."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import islice

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
LISTED = 5  # names in a list within a sentence


def count(number: int, noun: str, plural: str = "") -> str:
    """A count with its noun; `plural` if it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def are(number: int) -> str:
    """`is` or `are`, by the count."""
    return "is" if number == 1 else "are"


def have(number: int) -> str:
    """The verb of what a number of things have."""
    return "has" if number == 1 else "have"


def duration(length: timedelta) -> str:
    """A duration in its two largest units; fractions of a second are dropped."""
    left = round(abs(length.total_seconds()))
    parts = []
    for noun, seconds in UNITS:
        number, left = divmod(left, seconds)
        parts.append((number, noun))
    largest = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    texts = [count(number, noun) for number, noun in parts[largest : largest + 2] if number]
    return " ".join(texts) or count(0, "second")


def listed(names: Iterable[str], most: int = LISTED) -> str:
    """The first few names, with `...` if there are more."""
    first = list(islice(names, most + 1))
    return ", ".join(first[:most]) + (", ..." if len(first) > most else "")


def shown(name: str) -> str:
    """A file name on one line: characters that can't be printed are escaped."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name
    )

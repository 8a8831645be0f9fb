"""Counts, durations and foreign names as a sentence has them: `1 number`, `2 days 3 hours`."""

from collections.abc import Iterable
from datetime import timedelta
from itertools import islice

UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
LISTED = 5  # names that a sentence lists


def count(number: int, noun: str, plural: str = "") -> str:
    """A number of things; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def are(number: int) -> str:
    """The verb to a number of things."""
    return "is" if number == 1 else "are"


def duration(length: timedelta) -> str:
    """A length of time by its two largest units, without what is smaller than a second."""
    left = round(abs(length.total_seconds()))
    parts = []
    for noun, seconds in UNITS:
        number, left = divmod(left, seconds)
        parts.append((number, noun))
    first = next((place for place, (number, _) in enumerate(parts) if number), len(parts) - 1)
    told = [count(number, noun) for number, noun in parts[first : first + 2] if number]
    return " ".join(told) or count(0, "second")


def listed(names: Iterable[str], most: int = LISTED) -> str:
    """The first few names, and a sign that there are more."""
    found = list(islice(names, most + 1))
    return ", ".join(found[:most]) + (", ..." if len(found) > most else "")


def shown(name: str) -> str:
    """A foreign file's name as one line may hold it: what can't be printed is escaped."""
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name
    )

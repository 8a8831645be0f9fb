"""Typed values of columns for templates: from text to value, and from value to text.

Airflow imports this module at each parse of a DAG, so it imports nothing heavy.
`sms.columnar.kinds` finds the kind of a column.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from math import isfinite
from typing import Any

from sms.clock import PARIS


class ValueKind(StrEnum):
    """The kind of a column's values; `noun` is its name for people."""

    TEXT = "text"
    YES_NO = "yes_no"  # only words for yes and no
    MIXED = "mixed"  # mostly words for yes and no, or mostly numbers
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    DATE = "date"
    TIMESTAMP = "timestamp"
    OTHER = "other"  # a type without a spelling for a phone

    @property
    def noun(self) -> str:
        return _NOUNS[self]


_NOUNS = {
    ValueKind.TEXT: "text",
    ValueKind.YES_NO: "text that says yes or no",
    ValueKind.MIXED: "text, of which much says yes, no or a number",
    ValueKind.BOOLEAN: "a boolean",
    ValueKind.INTEGER: "a whole number",
    ValueKind.DECIMAL: "a decimal number",
    ValueKind.FLOAT: "a floating-point number",
    ValueKind.DATE: "a date",
    ValueKind.TIMESTAMP: "a timestamp",
    ValueKind.OTHER: "a list, a record, a duration or the like",
}
NUMBERS = (ValueKind.INTEGER, ValueKind.DECIMAL, ValueKind.FLOAT)  # each holds the ones before it

YES = frozenset({"1", "true", "t", "yes", "y", "oui", "o", "vrai", "v", "on"})
NO = frozenset({"0", "false", "f", "no", "n", "non", "faux", "off"})
PLAIN_NO = frozenset({"0", "0.0", "false"})  # in any column: no name is spelled so


class Blank:
    """The value of a cell without anything that a phone shows."""


BLANK = Blank()


class YesNo(str):
    """A word for yes or no: text whose truth is its meaning."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return self.casefold() not in NO

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bool):
            return bool(self) is other
        return str.__eq__(self, other) if isinstance(other, str) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


class SpeltDate(date):
    """A date of a CSV, which keeps its spelling."""

    spelling: str


class SpeltDecimal(Decimal):
    """A number of a column, which keeps its spelling; a computed result does not."""

    spelling: str


def values(texts: Sequence[str | None], kind: ValueKind | None) -> list[Any]:
    """The values of texts, for a template; None for a null and for a text not of this kind.

    Numbers are int or Decimal (a float would only be near the number and would equal none in a
    template), dates are `date`, timestamps are naive `datetime`s of Paris.
    """
    return [None if text is None else parsed(kind or ValueKind.TEXT, text) for text in texts]


def parsed(kind: ValueKind, text: str) -> Any:
    """The value of a text; None if it is not of this kind."""
    try:
        return _PARSERS[kind](text)
    except (ValueError, InvalidOperation, OverflowError):  # infinity, a year before 1
        return None


def _text(text: str) -> str:
    return YesNo(text) if text.casefold() in PLAIN_NO else text


def _decimal(text: str) -> Decimal | None:
    number = SpeltDecimal(text.replace(",", "."))
    number.spelling = text
    return number if number.is_finite() else None


def _float(text: str) -> Decimal | None:
    number = Decimal(text)
    return number if number.is_finite() else None


def _date(text: str) -> date:
    if "/" in text:
        day, month, year = text.split("/")
        spelt = SpeltDate(int(year), int(month), int(day))
        spelt.spelling = text
        return spelt
    return date.fromisoformat(text)


def _timestamp(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is None else moment.astimezone(PARIS).replace(tzinfo=None)


_PARSERS: dict[ValueKind, Callable[[str], Any]] = {
    ValueKind.TEXT: _text,
    ValueKind.YES_NO: YesNo,
    ValueKind.MIXED: _text,
    ValueKind.BOOLEAN: lambda text: text == "true",
    ValueKind.INTEGER: int,
    ValueKind.DECIMAL: _decimal,
    ValueKind.FLOAT: _float,
    ValueKind.DATE: _date,
    ValueKind.TIMESTAMP: _timestamp,
    ValueKind.OTHER: _text,
}


def written(value: Any) -> Any:
    """A value as a message shows it: no point in whole numbers, true and false, no exponent."""
    if isinstance(value, SpeltDate | SpeltDecimal):
        return value.spelling
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        value = Decimal(repr(value)) if isfinite(value) else value
    if isinstance(value, Decimal):
        if not value.is_finite():
            return value
        return _computed(value)
    return value


def _computed(value: Decimal) -> str:
    """A number without trailing zeros: cents stay (25.10), a whole number has no point."""
    whole, _, digits = format(value, f".{DIGITS}f").partition(".")
    shown = digits.rstrip("0")
    if shown and int(value.as_tuple().exponent) <= -CENTS:
        shown = shown.ljust(CENTS, "0")
    text = f"{whole}.{shown}".removesuffix(".")
    return text.removeprefix("-") if not Decimal(text) else text


CENTS = 2  # digits after the point
DIGITS = 10  # after the point, of a computed number

"""What a template computes with: a column's values, made of their texts, and written as texts.

Nothing is imported here that Airflow would have to load at each parse of a DAG; which kind a
column is of is found out in `sms.columnar.kinds`.
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from math import isfinite
from typing import Any

from sms.clock import PARIS


class ValueKind(StrEnum):
    """What a column's values are; `noun` says it to people."""

    TEXT = "text"
    YES_NO = "yes_no"  # text that says yes or no in words
    MIXED = "mixed"  # text that mostly does, or is mostly numbers
    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    FLOAT = "float"
    DATE = "date"
    TIMESTAMP = "timestamp"
    OTHER = "other"  # of a type that has no spelling which a phone should show

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
PLAIN_NO = frozenset({"0", "0.0", "false"})  # in any column: nobody has such a name


class Blank:
    """The one value of a cell that is filled with nothing that a phone shows."""


BLANK = Blank()


class YesNo(str):
    """A word for yes or no: text, that is true or false as it says."""

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
    """A date of a CSV, which is written as it stood there."""

    spelling: str


class SpeltDecimal(Decimal):
    """A column's number, which is written as it stood there; what is computed of it is not."""

    spelling: str


def values(texts: Sequence[str | None], kind: ValueKind | None) -> list[Any]:
    """What a template gets for texts of a kind; None for a null, and for what is no such value.

    Numbers are int or Decimal (a float would be near what was meant, and equal to nothing that is
    written), dates are `date`, timestamps are naive `datetime`s of Paris.
    """
    return [None if text is None else made(kind or ValueKind.TEXT, text) for text in texts]


def made(kind: ValueKind, text: str) -> Any:
    """The value of a text; None where it is none of that kind."""
    try:
        return _MAKERS[kind](text)
    except (ValueError, InvalidOperation, OverflowError):  # infinity, a year before Christ
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


_MAKERS: dict[ValueKind, Callable[[str], Any]] = {
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
    """A value as a text shows it: whole numbers without a point, true and false, no exponent."""
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
    """A number without zeros that say nothing: cents stay (25.10), a whole number has no point."""
    whole, _, digits = format(value, f".{DIGITS}f").partition(".")
    told = digits.rstrip("0")
    if told and int(value.as_tuple().exponent) <= -CENTS:
        told = told.ljust(CENTS, "0")
    text = f"{whole}.{told}".removesuffix(".")
    return text.removeprefix("-") if not Decimal(text) else text


CENTS = 2  # digits after the point
DIGITS = 10  # after the point, of what a text computes

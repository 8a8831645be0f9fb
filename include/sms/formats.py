"""Numbers, money and dates as people write them: the filters `number`, `money`, `euro` and `date`.

The locale's own rules are Babel's, which is loaded where a text first needs it. French is what is
meant unless a text says otherwise, as in `{{ amount | euro(locale="nl_BE") }}`.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

FRENCH = "fr_FR"
MOST_DECIMALS = 10
MOST_DISTINCT = 1 << 16  # values that are remembered
_QUOTED = re.compile(r"'[^']*'")
_KNOWN_LETTERS = frozenset("dEMLyHhmsa")  # of Unicode's patterns, those that an SMS may need


class Unfit(TypeError):
    """A filter that was given what it can't write; the message says what it needs, no value."""


@lru_cache(MOST_DISTINCT, typed=True)
def number(value: Any, decimals: int | None = None, locale: str = FRENCH) -> str:
    """A number with the locale's separators: 1234.5 is "1 234,5", with `decimals=2` "1 234,50"."""
    from babel.numbers import format_decimal

    exact = _exact(value, "number")
    if decimals is not None:
        exact = _rounded(exact, decimals)
    pattern = "#,##0.##########" if decimals is None else f"#,##0.{'0' * decimals}".rstrip(".")
    return _plain(format_decimal(exact, pattern, locale=_known(locale)))


def money(value: Any, currency: str = "EUR", decimals: int = 2, locale: str = FRENCH) -> str:
    """An amount with its currency: 1234.5 is "1 234,50 €". Half a cent is rounded up."""
    return _amount(_exact(value, "money"), currency, decimals, locale)


def euro(value: Any, decimals: int = 2, locale: str = FRENCH) -> str:
    """An amount in euros: 1234.5 is "1 234,50 €"."""
    return _amount(_exact(value, "euro"), "EUR", decimals, locale)


@lru_cache(MOST_DISTINCT, typed=True)
def _amount(amount: Decimal, currency: str, decimals: int, locale: str) -> str:
    from babel.numbers import format_currency, is_currency

    if not (isinstance(currency, str) and is_currency(currency)):
        raise Unfit("`money` needs a currency's code, such as EUR or CHF")
    exact, pattern = _rounded(amount, decimals), _pattern(locale, decimals)
    return _plain(
        format_currency(exact, currency, pattern, locale=_known(locale), currency_digits=False)
    )


@lru_cache(MOST_DISTINCT, typed=True)
def day(value: Any, pattern: str = "d MMMM y", locale: str = FRENCH) -> str:
    """A date or timestamp by a pattern of Unicode's: "EEEE d MMMM" is "mercredi 3 mars"."""
    from babel.dates import format_date, format_datetime

    if problem := problem_of_pattern(pattern):
        raise Unfit(problem)
    if isinstance(value, datetime):
        return _plain(format_datetime(value, pattern, locale=_known(locale)))
    if not isinstance(value, date):
        raise Unfit("`date` needs a date or a timestamp: cast the column in the query")
    if re.search("[Hhmsa]", _QUOTED.sub("", pattern)):
        raise Unfit("`date` was asked for the time of a date, which has none")
    return _plain(format_date(value, pattern, locale=_known(locale)))


def problem_of_pattern(pattern: Any) -> str | None:
    """Why a date's pattern is none, or writes something else than it looks like."""
    example = 'write it as in "EEEE d MMMM y" or "dd/MM/y HH:mm"'
    if not isinstance(pattern, str) or len(pattern) > 100:
        return f"the pattern of `date` is no short text: {example}"
    letters = _QUOTED.sub("", pattern)
    if "%" in letters:
        return f"the pattern of `date` is not one of strftime's: {example}"
    unknown = sorted({sign for sign in letters if sign.isascii() and sign.isalpha()})
    unknown = [sign for sign in unknown if sign not in _KNOWN_LETTERS]
    if unknown:
        meant = {"D": "the day of the year, d is the day", "Y": "the year of the week, y the year"}
        told = f" (it is {meant[unknown[0]]})" if unknown[0] in meant else ""
        return (
            f"the pattern of `date` has the letter {unknown[0]}{told}: {example}, and words in "
            "single quotes"
        )
    if re.search("m", letters) and not re.search("[Hh]", letters):
        return f"the pattern of `date` has m, which is minutes, M is the month: {example}"
    if re.search(r"[Hh]\W*M", letters):
        return f"the pattern of `date` has M after the hour, which is the month: {example}"
    return None


FILTERS: dict[str, Callable[..., str]] = {
    "number": number,
    "money": money,
    "euro": euro,
    "date": day,
}


def _exact(value: Any, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit(f"`{name}` needs a number: cast the column in the query")
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _rounded(value: Decimal, decimals: Any) -> Decimal:
    if type(decimals) is not int or not 0 <= decimals <= MOST_DECIMALS:
        raise Unfit(f"decimals are a whole number from 0 to {MOST_DECIMALS}")
    return value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)


@lru_cache
def _pattern(locale: str, decimals: int) -> str:
    """The locale's pattern of money, with so many decimals."""
    pattern = str(_known(locale).currency_formats["standard"].pattern)
    return re.sub(r"0\.0+", "0" + ("." + "0" * decimals if decimals else ""), pattern)


@lru_cache
def _known(locale: Any) -> Any:
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(locale)
    except (UnknownLocaleError, ValueError, TypeError):
        raise Unfit("a locale is written as in fr_FR, nl_BE or en_GB") from None


def _plain(text: str) -> str:
    """The same with plain spaces: phones have no others, and a file may not carry them."""
    return text.translate(_SPACES)


_SPACES = {0xA0: " ", 0x202F: " ", 0x2009: " ", 0x2019: "'"}

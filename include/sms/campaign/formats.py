"""Filters for numbers, money and dates in a text: `number`, `money`, `euro` and `date`.

Babel has the locales' rules; it is imported at the first use. The locale is French unless a text
names another, as in `{{ amount | euro(locale="nl_BE") }}`.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache
from typing import Any

FRENCH = "fr_FR"
MOST_DECIMALS = 10
MOST_DIGITS = 400  # of any number: a double has up to 309 before its point
MOST_DISTINCT = 1 << 16  # cached values
_QUOTED = re.compile(r"'[^']*'")
# Patterns that are valid and probably a mistake.
_MISLEADING = (
    (r"H.*h|h.*H", "has h beside H, and both are the hour: put words in single quotes"),
    (r"^[^a]*h[^a]*$", "has h, the hour of twelve, without a: write H"),
    (r"[Hh][:.\0]?M", "has M after the hour, which is the month"),
    (r"(?<!y)yyy(?!y)|y{5}", "has a number of y that no year is written with"),
    (r"d{3}", "has ddd, where d is the day: the weekday is EEE or EEEE"),
)
_TIME = re.compile(r"[Hh]{1,2}[:.\0]?m{1,2}(?:[:.\0]?s{1,2})?")
_KNOWN_LETTERS = frozenset("dEMLyHhmsa")  # of Unicode's date patterns, those an SMS may need


class Unfit(TypeError):
    """A filter got a value that it can't format; the message names the need, not the value."""


class NoNumber(Unfit):
    """A text is not a number; only its row is affected."""


@lru_cache(MOST_DISTINCT, typed=True)
def number(value: Any, decimals: int | None = None, locale: str = FRENCH) -> str:
    """A number with the locale's separators: 1234.5 is "1 234,5", with `decimals=2` "1 234,50"."""
    from babel.numbers import format_decimal

    exact = _exact(value, "number")
    if decimals is not None:
        exact = _rounded(exact, decimals)
    exact = _without_sign(exact)
    pattern = "#,##0.##########" if decimals is None else f"#,##0.{'0' * decimals}".rstrip(".")
    with localcontext(prec=MOST_DIGITS):
        return _plain(format_decimal(exact, pattern, locale=_locale(locale)))


def money(
    value: Any, currency: str = "EUR", decimals: int | None = None, locale: str = FRENCH
) -> str:
    """An amount with its currency: 1234.5 is "1 234,50 €". Half a cent is rounded up.

    `decimals` defaults to the currency's own number: yen have none.
    """
    return _amount(_exact(value, "money"), currency, decimals, locale)


def euro(value: Any, decimals: int = 2, locale: str = FRENCH) -> str:
    """An amount in euros: 1234.5 is "1 234,50 €"."""
    return _amount(_exact(value, "euro"), "EUR", decimals, locale)


@lru_cache(MOST_DISTINCT, typed=True)
def _amount(amount: Decimal, currency: str, decimals: int | None, locale: str) -> str:
    from babel.numbers import format_currency, get_currency_precision, is_currency

    if not (isinstance(currency, str) and is_currency(currency)):
        raise Unfit("`money` needs a currency's code, such as EUR or CHF")
    places = get_currency_precision(currency) if decimals is None else decimals
    exact, pattern = _rounded(amount, places), _pattern(locale, places)
    babel_locale = _locale(locale)
    with localcontext(prec=MOST_DIGITS):
        return _plain(
            format_currency(exact, currency, pattern, locale=babel_locale, currency_digits=False)
        )


@lru_cache(MOST_DISTINCT, typed=True)
def day(value: Any, pattern: str = "d MMMM y", locale: str = FRENCH) -> str:
    """A date or timestamp in a Unicode pattern: "EEEE d MMMM" is "mercredi 3 mars"."""
    from babel.dates import format_date, format_datetime

    if problem := problem_of_pattern(pattern):
        raise Unfit(problem)
    if isinstance(value, datetime):
        return _plain(format_datetime(value, pattern, locale=_locale(locale)))
    if not isinstance(value, date):
        raise Unfit("`date` needs a date or a timestamp: cast the column in the query")
    if re.search("[Hhmsa]", _QUOTED.sub("", pattern)):
        raise Unfit("`date` was asked for the time of a date, which has none")
    return _plain(format_date(value, pattern, locale=_locale(locale)))


def problem_of_pattern(pattern: Any) -> str | None:
    """Why a date pattern is invalid or misleading; None if it is good."""
    example = 'write it as in "EEEE d MMMM y" or "dd/MM/y HH:mm"'
    if not isinstance(pattern, str) or len(pattern) > 100:
        return f"the pattern of `date` is no short text: {example}"
    letters = _QUOTED.sub("''", pattern)
    if not pattern.strip():
        return f"the pattern of `date` is empty: {example}"
    if letters.replace("''", "").count("'"):
        return f"the pattern of `date` has a single quote that none closes: {example}"
    letters = letters.replace("''", "\0")
    if "%" in letters:
        return f"the pattern of `date` is not one of strftime's: {example}"
    unknown = sorted({sign for sign in letters if sign.isascii() and sign.isalpha()})
    unknown = [sign for sign in unknown if sign not in _KNOWN_LETTERS]
    if unknown:
        meant = {"D": "the day of the year, d is the day", "Y": "the year of the week, y the year"}
        meaning = f" (it is {meant[unknown[0]]})" if unknown[0] in meant else ""
        return (
            f"the pattern of `date` has the letter {unknown[0]}{meaning}: {example}, and words in "
            "single quotes"
        )
    for wrong, what in _MISLEADING:
        if re.search(wrong, letters):
            return f"the pattern of `date` {what}: {example}"
    if "m" in _TIME.sub("", letters):
        return f"the pattern of `date` has m, which is minutes, M is the month: {example}"
    return None


def whole(value: Any, default: Any = None, base: int = 10) -> Any:
    """The whole number of a text or a number; decimals are cut off."""
    exact = _read(value) if base == 10 or not isinstance(value, str) else int(value, base)
    return _or_default("int", None if exact is None else int(exact), default)


def decimal(value: Any, default: Any = None) -> Any:
    """The number of a text, also in French spelling: "1 234,50" is 1234.50."""
    return _or_default("float", _read(value), default)


def rounded(value: Any, precision: int = 0, method: str = "common") -> Decimal:
    """A number rounded to `precision` decimals; halves are rounded away from zero."""
    modes = {"common": ROUND_HALF_UP, "ceil": ROUND_CEILING, "floor": ROUND_FLOOR}
    if method not in modes:
        raise Unfit("`round` knows the methods common, ceil and floor")
    return _rounded(_exact(value, "round"), precision, modes[method])


def _read(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str):
        return Decimal(value) if isinstance(value, int | Decimal) else _exact(value, "float")
    plain = re.sub(r"[\s\u202f\u00a0']", "", value).replace(",", ".")
    return Decimal(plain) if re.fullmatch(r"[+-]?[0-9]+(?:\.[0-9]+)?", plain) else None


def _or_default(name: str, found: Any, default: Any) -> Any:
    if found is None and default is None:
        raise NoNumber(f"`{name}` was given a text that is no number")
    return default if found is None else found


FILTERS: dict[str, Callable[..., Any]] = {
    "number": number,
    "money": money,
    "euro": euro,
    "date": day,
    "int": whole,
    "float": decimal,
    "round": rounded,
}


def _exact(value: Any, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise Unfit(f"`{name}` needs a number: cast the column in the query")
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _rounded(value: Decimal, decimals: Any, mode: str = ROUND_HALF_UP) -> Decimal:
    if type(decimals) is not int or not 0 <= decimals <= MOST_DECIMALS:
        raise Unfit(f"decimals are a whole number from 0 to {MOST_DECIMALS}")
    with localcontext(prec=MOST_DIGITS):
        short = value.quantize(Decimal(1).scaleb(-decimals), mode)
    return _without_sign(short)


def _without_sign(value: Decimal) -> Decimal:
    """The value; zero loses its sign."""
    return value.copy_abs() if value.is_zero() else value


@lru_cache
def _pattern(locale: str, decimals: int) -> str:
    """The locale's currency pattern with this number of decimals."""
    pattern = str(_locale(locale).currency_formats["standard"].pattern)
    return re.sub(r"0\.0+", "0" + ("." + "0" * decimals if decimals else ""), pattern)


@lru_cache
def _locale(locale: Any) -> Any:
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(locale)
    except (UnknownLocaleError, ValueError, TypeError):
        raise Unfit("a locale is written as in fr_FR, nl_BE or en_GB") from None


def _plain(text: str) -> str:
    """The text with plain spaces: phones show no others, and a file may not contain them."""
    return text.translate(_SPACES)


_SPACES = {0xA0: " ", 0x202F: " ", 0x2009: " ", 0x2019: "'"}

"""The law's hours, restated from the law and not from the code, and moments to try them on."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import strategies as st

from sms.clock import PARIS
from sms.settings import Settings

DEFAULT = Settings()


def paris(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS)


instants = st.datetimes(
    datetime.fromisoformat("2024-01-01"),  # hypothesis wants its bounds naive
    datetime.fromisoformat("2044-01-01"),
    timezones=st.just(UTC),
)


def easter(year: int) -> date:
    """Easter Sunday by Gauss' rule for the Gregorian calendar: our oracle, not the library's."""
    golden, century = year % 19, year // 100
    moon = (century - century // 4 - (8 * century + 13) // 25 + 19 * golden + 15) % 30
    moon -= (moon // 28) * (1 - (29 // (moon + 1)) * ((21 - golden) // 11))
    weekday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    after = moon - weekday
    month = 3 + (after + 40) // 44
    return date(year, month, after + 28 - 31 * (month // 4))


def by_the_law(instant: datetime) -> bool:
    """Whether marketing is open, restated from the law rather than from our code."""
    local = instant.astimezone(PARIS)
    moving = [easter(local.year) + timedelta(days=after) for after in (1, 39, 50)]
    fixed = {(1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)}
    holiday = local.date() in moving or (local.month, local.day) in fixed
    return local.isoweekday() <= 6 and not holiday and 8 <= local.hour < 22

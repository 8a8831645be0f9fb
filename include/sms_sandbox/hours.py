"""When marketing may be sent in France (page, *Routing*).

"Allowed from Monday to Saturday between 8am and 10pm, forbidden on Sundays and bank holidays.
[...] outside of the allowed timeslot will be queued on our end and sent the next day at 8am
(unless sent on Sunday or bank holidays, in which case the message will be rejected)."
The strictest reading: before 8 a message waits until 8 the same morning; after 22 until 8 the next
day, and if that is a Sunday or bank holiday the message is rejected.
"""

from datetime import UTC, datetime, time, timedelta
from functools import cache

import holidays

from sms_sandbox.names import FRANCE

OPENS = time(8)
CLOSES = time(22)


def moment_of_sending(asked: datetime) -> datetime | None:
    """When a marketing message for `asked` is sent, in UTC; None if it is rejected."""
    local = asked.astimezone(FRANCE)
    if _is_forbidden(local):
        return None
    if OPENS <= local.time() < CLOSES:
        return asked.astimezone(UTC)
    day = local.date() + timedelta(days=int(local.time() >= CLOSES))
    opening = datetime.combine(day, OPENS, FRANCE)
    return None if _is_forbidden(opening) else opening.astimezone(UTC)


def _is_forbidden(local: datetime) -> bool:
    return local.weekday() == 6 or local.date() in _bank_holidays(local.year)


@cache
def _bank_holidays(year: int) -> holidays.HolidayBase:
    return holidays.country_holidays("FR", years=year)

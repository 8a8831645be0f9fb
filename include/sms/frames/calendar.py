"""`sms.slots`: the open hours of marketing, and the reasons for closed days."""

from collections.abc import Iterable

import pandas as pd

from sms import clock
from sms.calendar import send_window
from sms.calendar import zones as places
from sms.clock import PARIS
from sms.frames import request
from sms.settings import Settings

FRENCH = tuple(each.code for each in places.FRENCH)


def slots(
    days: int = 14,
    first: request.Moment | None = None,
    zones: Iterable[str] = FRENCH,
    *,
    settings: Settings | None = None,
) -> pd.DataFrame:
    """The open hours of marketing by zone and day, Paris time; a closed day has its reason.

    A row is an open span of a day in a zone, of which there may be several, or a closed day.
    `first` is the first day, by default today. `zones` are those of France by default; others are
    named by code, such as RE, 67 or BE.
    """
    chosen = request.chosen(settings)
    begin = clock.now() if first is None else request.moment(first)
    rows = [
        (where.code, where.name, day.day, opens, closes, day.closed)
        for where in map(places.zone, zones)
        for day in send_window.calendar(
            begin.astimezone(PARIS).date(), days, settings=chosen, zone=where
        )
        for opens, closes in day.spans or [(None, None)]
    ]
    frame = pd.DataFrame(rows, columns=["zone", "name", "day", "opens", "closes", "closed"])
    frame["day"] = frame["day"].astype("date32[pyarrow]")
    for name in ("opens", "closes"):
        frame[name] = pd.to_datetime(frame[name], utc=True).dt.tz_convert(PARIS)
    return frame.astype(dict.fromkeys(["zone", "name", "closed"], "category"))

"""What goes out next: the files that wait for their hour, and when campaigns start by schedule."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from croniter import croniter  # type: ignore[import-untyped]

from sms.calendar import send_window
from sms.campaign.definition import Campaign
from sms.clock import PARIS
from sms.errors import WindowClosed
from sms.run.plan import STARTING
from sms.settings import Settings

MOST_STARTS = 10  # of one campaign


@dataclass(frozen=True, slots=True)
class Start:
    """A run that a schedule will make: when it starts, and the hour that it would send at.

    `send_at` is None for a run that would be refused, and `why` says so; else it is the reason of
    the hour. `more` says that the campaign's next starts are left out.
    """

    campaign: str
    starts_at: datetime
    send_at: datetime | None
    why: str
    more: bool = False


def starts(
    campaigns: Iterable[Campaign], settings: Settings, *, now: datetime, until: datetime
) -> list[Start]:
    """The starts of these campaigns until then, the earliest first; paused ones among them."""
    found = [
        start for campaign in campaigns for start in _of(campaign, settings, now=now, until=until)
    ]
    return sorted(found, key=lambda each: (each.starts_at, each.campaign))


def _of(
    campaign: Campaign, settings: Settings, *, now: datetime, until: datetime
) -> Iterator[Start]:
    if campaign.schedule is None:
        return
    times = croniter(campaign.schedule, now.astimezone(PARIS))
    at: datetime = times.get_next(datetime)
    for number in range(MOST_STARTS):
        if at > until:
            return
        following: datetime = times.get_next(datetime)
        more = number == MOST_STARTS - 1 and following <= until
        yield _start(campaign, at, settings, more)
        at = following


def _start(campaign: Campaign, at: datetime, settings: Settings, more: bool) -> Start:
    hour = campaign.send_at
    wanted = send_window.first_at(hour, after=at - STARTING) if hour else None
    try:
        slot = send_window.slot(
            wanted,
            campaign.kind,
            now=at,
            settings=settings,
            outside_window=campaign.outside_window,
        )
    except WindowClosed as error:
        return Start(campaign.name, at, None, str(error), more)
    return Start(campaign.name, at, slot.send_at, slot.reason, more)

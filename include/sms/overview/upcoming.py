"""Upcoming starts of campaigns by their schedules."""

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
    """A scheduled run: when it starts, and the hour at which it would send.

    `send_at` is None if the run would be refused. `why` is the reason of the hour or of the
    refusal. `more` is true if later starts of the campaign are left out.
    """

    campaign: str
    starts_at: datetime
    send_at: datetime | None
    why: str
    more: bool = False


def starts(
    campaigns: Iterable[Campaign], settings: Settings, *, now: datetime, until: datetime
) -> list[Start]:
    """The campaigns' starts before `until`, the earliest first; paused campaigns are included."""
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

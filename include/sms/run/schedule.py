"""The schedule of a run: its files, their sizes, zones and hours.

Most runs are one file. An audience that is too large for one file is split over several at the same
minute (R1). Zones have their own hours (R5-R7), and `spread_over` staggers files. With
`past_closing: split`, messages that can't leave before closing (R12) wait for the next opening.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from sms import remedies
from sms.calendar import send_window
from sms.calendar.zones import ALSACE_MOSELLE, FRANCE, Zone, bank_holidays, zone
from sms.campaign.definition import Campaign, Kind
from sms.clock import PARIS
from sms.errors import WindowClosed
from sms.remedies import Task
from sms.settings import Settings
from sms.wire import send_file
from sms.words import duration

SPREAD_EVERY = timedelta(minutes=15)
MOST_FILES = 999  # a name has three digits for the part
LONGEST_PUT_OFF = timedelta(days=7)  # for a zone that is closed at the run's hour
MOST_LATE = timedelta(hours=1)  # at most so much time is kept free before closing for late files
LONGEST_RUN = timedelta(days=25)  # after that its recipients were selected too long ago


class PlannedFile(BaseModel):
    """One file of a run, before anything is rendered."""

    model_config = ConfigDict(frozen=True)

    zone: str
    send_at: datetime
    people: int
    reason: str


class Schedule(BaseModel):
    """The files of a run, by hour; a zone's recipients are assigned to its files in this order."""

    model_config = ConfigDict(frozen=True)

    files: tuple[PlannedFile, ...]
    campaign_id: str = ""  # of the plan, once it is stored

    @property
    def begins(self) -> datetime | None:
        """The earliest hour; None without files."""
        return min((each.send_at for each in self.files), default=None)


@dataclass(order=True)
class _Chunk:
    """A number of recipients of one zone, to be sent from one minute on."""

    start: datetime
    place: int  # of the zone, then of the chunk in it: recipients are assigned in this order
    people: int = field(compare=False)
    where: Zone = field(compare=False)
    reason: str = field(compare=False)


def schedule(
    campaign: Campaign,
    send_at: datetime,
    reason: str,
    people: Mapping[str, int],
    *,
    now: datetime,
    settings: Settings,
) -> Schedule:
    """Assign the recipients of each zone, `people`, to files, for a run at `send_at`.

    Raises WindowClosed for a zone that is closed at that hour with `outside_window: fail`, and for
    a spread that leaves the open hours with `past_closing: refuse`.
    """
    last = send_at + LONGEST_RUN
    waiting = [
        chunk
        for number, (code, count) in enumerate(people.items())
        if count
        for chunk in _spread(
            campaign,
            count,
            zone(code),
            *_slot(campaign, zone(code), send_at, reason, now=now, settings=settings),
            place=number * MOST_FILES,
        )
    ]
    heapq.heapify(waiting)
    placed: list[_Chunk] = []
    free = now  # when the provider has finished the placed chunks
    while waiting:
        chunk = heapq.heappop(waiting)
        opens = _opening(chunk, campaign, settings)
        if opens > chunk.start:
            _move_on(chunk, opens, waiting, last)
            continue
        room = _room(chunk, free, campaign, settings)
        if room and settings.messages_per_hour:
            takes = timedelta(hours=room / settings.messages_per_hour)
            free = max(free, chunk.start) + takes
        if room:
            placed.append(_part(chunk, room))
        if chunk.people:
            _move_on(chunk, _after_closing(chunk, campaign, settings), waiting, last)
        if len(placed) > MOST_FILES:
            raise _too_many()
    most = min(campaign.max_recipients_per_file, settings.max_recipients_per_file)
    files = [
        PlannedFile(zone=each.where.code, send_at=each.start, people=size, reason=each.reason)
        for each in sorted(placed)
        for size in send_file.parts(each.people, most)
    ]
    if len(files) > MOST_FILES:
        raise _too_many()
    return Schedule(files=tuple(files))


def hour_there(send_at: datetime, where: Zone) -> datetime:
    """When all clocks of a zone have reached the hour that Paris' clock shows at an instant."""
    wall = send_at.astimezone(PARIS).replace(tzinfo=None)
    return max(wall.replace(tzinfo=clock).astimezone(send_at.tzinfo) for clock in where.times())


def _slot(
    campaign: Campaign,
    where: Zone,
    send_at: datetime,
    reason: str,
    *,
    now: datetime,
    settings: Settings,
) -> tuple[datetime, str]:
    """The slot of a zone, and its reason, for a run whose slot is `send_at`."""
    if where.code == FRANCE or campaign.kind is Kind.TRANSACTIONAL:
        return send_at, reason + _unwarned(campaign, send_at)
    wish = send_at
    # If that hour has passed in the zone, or will before the upload ends, Paris' hour is taken.
    if campaign.local_time and hour_there(send_at, where) > now + settings.upload_lead:
        wish = hour_there(send_at, where)
    remedy = "Write `overseas: exclude` to leave them out, or `mainland` to send at Paris' hour"
    try:
        slot = send_window.slot(
            wish,
            campaign.kind,
            now=wish,
            settings=settings,
            outside_window=campaign.outside_window,
            send_now=True,
            zone=where,
        )
    except WindowClosed as error:
        if not where.is_overseas:
            raise
        raise WindowClosed(f"{error}. {remedy}") from None
    if slot.send_at - send_at > LONGEST_PUT_OFF:
        raise WindowClosed(
            f"recipients in {where.name} can't be written to before {slot.send_at:%Y-%m-%d}: "
            f"{slot.reason}. {remedy}"
        )
    return slot.send_at, f"{where.name}: {slot.reason}"


def _unwarned(campaign: Campaign, send_at: datetime) -> str:
    """A warning on a holiday in Alsace-Moselle, as some recipients may live there unrecognised."""
    if campaign.kind is Kind.TRANSACTIONAL or campaign.alsace_moselle != "warn":
        return ""
    day = send_at.astimezone(PARIS).date()
    holiday = bank_holidays(zone(ALSACE_MOSELLE), day.year).get(day)
    if not holiday:
        return ""
    who = "recipients without a readable postcode are" if campaign.postcode else "everyone is"
    return (
        f"; it is a holiday in Alsace-Moselle ({holiday}), and {who} assumed to live elsewhere: "
        "see alsace_moselle in campaign.yaml"
    )


def _spread(
    campaign: Campaign, people: int, where: Zone, start: datetime, reason: str, *, place: int
) -> Iterator[_Chunk]:
    """A zone's recipients, in chunks staggered over the campaign's `spread_over`."""
    over = campaign.spread_over or timedelta(0)
    every = campaign.spread_every or min(SPREAD_EVERY, over)
    steps = min(-(-over // every), people) if over else 1
    for step in range(steps):
        size = people // steps + (step < people % steps)
        yield _Chunk(start + step * every, place + step, size, where, reason)


def _opening(chunk: _Chunk, campaign: Campaign, settings: Settings) -> datetime:
    """The chunk's minute if it is open, or the next opening. Raises WindowClosed for `refuse`."""
    opens = send_window.next_open(chunk.start, campaign.kind, settings=settings, zone=chunk.where)
    if (
        opens > chunk.start
        and campaign.past_closing == "refuse"
        and campaign.kind is Kind.MARKETING
    ):
        if not campaign.spread_over:
            raise WindowClosed(
                f"{chunk.start.astimezone(PARIS):%H:%M}, the run's hour, is no longer open: "
                f"{remedies.clear(Task.PLAN)}. It takes the next open hour"
            )
        raise WindowClosed(
            f"spread over {duration(campaign.spread_over)}, some messages to {chunk.where.name} "
            f"would be sent at {chunk.start.astimezone(PARIS):%H:%M}, when marketing is closed. "
            "Nothing is sent: start earlier, spread over less, or write `past_closing: split`"
        )
    return opens


def _room(chunk: _Chunk, free: datetime, campaign: Campaign, settings: Settings) -> int:
    """How many of a chunk's recipients the provider can write to before closing."""
    pace = settings.messages_per_hour
    if pace is None or campaign.past_closing == "refuse" or campaign.kind is Kind.TRANSACTIONAL:
        return chunk.people
    closes = send_window.closing(chunk.start, settings=settings, zone=chunk.where)
    # A file may be up to max_delay late, and must still finish before closing.
    time = closes - min(settings.max_delay, MOST_LATE) - max(free, chunk.start)
    return min(chunk.people, max(0, int(time / timedelta(hours=1) * pace)))


def _after_closing(chunk: _Chunk, campaign: Campaign, settings: Settings) -> datetime:
    closes = send_window.closing(chunk.start, settings=settings, zone=chunk.where)
    return send_window.next_open(closes, campaign.kind, settings=settings, zone=chunk.where)


def _part(chunk: _Chunk, people: int) -> _Chunk:
    """Take some recipients out of a chunk, as a chunk."""
    chunk.people -= people
    return _Chunk(chunk.start, chunk.place, people, chunk.where, chunk.reason)


def _move_on(chunk: _Chunk, opens: datetime, waiting: list[_Chunk], last: datetime) -> None:
    """Postpone a chunk to an opening, and all later chunks of its zone by the same time."""
    if opens > last:
        raise _too_many()
    later = opens - chunk.start
    for each in waiting:
        if each.where == chunk.where:
            each.start += later
    chunk.start = opens
    chunk.reason = "messages that did not fit into the hours before"
    heapq.heapify(waiting)
    heapq.heappush(waiting, chunk)


def _too_many() -> WindowClosed:
    return WindowClosed(
        f"the run would take more than {MOST_FILES} files, or {LONGEST_RUN.days} days: write to "
        "fewer recipients, spread over less, or correct messages_per_hour in the settings"
    )

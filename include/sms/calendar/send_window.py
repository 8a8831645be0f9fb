"""The send window (R5-R7, R26): open hours, the next opening, and the reason for a slot.

Marketing in France is open from Monday to Saturday, except on bank holidays, within the hours of
the settings, both in Paris and in the recipients' zone (`zones`). A transactional message may go
at any hour that a file's name can express. Only this module and `wire.names` use wall time;
instants come in and go out aware, and go out in UTC.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sms.calendar.zones import MAINLAND, Zone, bank_holidays
from sms.campaign.definition import Kind
from sms.clock import PARIS
from sms.errors import WindowClosed
from sms.remedies import NEW_RUN
from sms.settings import Settings
from sms.words import count, duration

SUNDAY = 6
MINUTE = timedelta(minutes=1)
FAR_AWAY = timedelta(days=30)  # longer than any closure, unless the hours never meet Paris'

# Not strftime's names, which depend on the machine's language.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Slot:
    """The minute of a file's sending, and the reason in words."""

    send_at: datetime
    reason: str


def slot(
    wanted: datetime | None,
    kind: Kind | str,
    *,
    now: datetime,
    settings: Settings,
    outside_window: str = "shift",
    send_now: bool = False,
    zone: Zone = MAINLAND,
) -> Slot:
    """The slot for a wanted instant (None: as soon as possible).

    Raises WindowClosed for an instant more than `max_delay` ago, unless `send_now`, and, with
    `outside_window="fail"`, for a closed one. Instants must be aware.
    """
    now = _utc(now)
    wish = now if wanted is None else _utc(wanted)
    if not send_now:
        _refuse_late(wish, now=now, settings=settings)
    earliest = _minute(max(wish, now))
    send_at = next_open(earliest, kind, settings=settings, zone=zone)
    if send_at == earliest:
        return Slot(send_at, _as_requested(wanted, send_at) + _far(send_at, now, settings))

    closed = closures(earliest, send_at, kind, settings=settings, zone=zone)
    opens = _spoken(send_at, after=earliest)
    if outside_window == "fail":
        raise WindowClosed(
            f"{closed}, and the campaign says `outside_window: fail`: trigger a new "
            f"run for {opens} or later, or write `outside_window: shift`"
        )
    return Slot(send_at, f"{closed}, moved to {opens}" + _far(send_at, now, settings))


def require_open(
    send_at: datetime,
    kind: Kind | str,
    *,
    now: datetime,
    settings: Settings,
    send_now: bool = False,
    zone: Zone = MAINLAND,
    again: str = NEW_RUN,
) -> None:
    """Raise WindowClosed if a file that is uploaded now would be sent late or in a closed hour.

    A slot that was good when planned may be closed hours later: the provider sends a file whose
    hour has passed at once (R26). `send_now` is for a run that wants *as soon as possible*, at any
    delay. `again` is the remedy, in words.
    """
    now, send_at = _utc(now), _utc(send_at)
    if not send_now:
        _refuse_late(send_at, now=now, settings=settings, again=again)
    effective = _minute(max(send_at, now))
    if not is_open(effective, kind, settings=settings, zone=zone):
        opens = next_open(effective, kind, settings=settings, zone=zone)
        raise WindowClosed(
            f"{closures(effective, opens, kind, settings=settings, zone=zone)}, so the file "
            f"planned for {_spoken(send_at)} can't go up any more: {again} for "
            f"{_spoken(opens, after=effective)} or later"
        )


@dataclass(frozen=True, slots=True)
class Sending:
    """Messages that are sent from an instant on."""

    start: datetime
    messages: int
    zone: Zone = MAINLAND
    gone: bool = False  # already at the gateway


def ends(sendings: Sequence[Sending], settings: Settings) -> list[datetime] | None:
    """The end of each sending, one after the other; None if the pace is unknown.

    The provider is assumed to send `messages_per_hour` in all, across files.
    """
    if settings.messages_per_hour is None:
        return None
    done: dict[int, datetime] = {}
    free = datetime.min.replace(tzinfo=UTC)
    for place in sorted(range(len(sendings)), key=lambda place: _utc(sendings[place].start)):
        begun = max(free, _utc(sendings[place].start))
        free = begun + timedelta(hours=sendings[place].messages / settings.messages_per_hour)
        done[place] = free
    return [done[place] for place in range(len(sendings))]


def require_no_tail(
    sendings: Sequence[Sending],
    kind: Kind | str,
    *,
    settings: Settings,
    advice: str = "send earlier or to fewer, or write `past_closing: split`",
) -> None:
    """Raise WindowClosed if marketing would still be sent when its hours end.

    A sending that is `gone` takes its time but is not refused.
    """
    done = ends(sendings, settings)
    if done is None or Kind(kind) is Kind.TRANSACTIONAL:
        return
    for each, end in zip(sendings, done, strict=True):
        closes = closing(each.start, settings=settings, zone=each.zone)
        if end > closes and not each.gone:
            beside = [place for place, one in enumerate(sendings) if one.start == each.start]
            messages, end = sum(sendings[place].messages for place in beside), done[beside[-1]]
            raise WindowClosed(
                f"{count(messages, 'message')} from {_spoken(each.start)} on would take until "
                f"{_spoken(end)} at {settings.messages_per_hour:,} an hour, and marketing closes "
                f"at {_local(closes):%H:%M}: the rest would be rejected. Nothing more is sent: "
                f"{advice}, or correct messages_per_hour in the settings"
            )


@dataclass(frozen=True, slots=True)
class OpenDay:
    """A day in marketing's calendar: its open hours, or the reason why it has none."""

    day: date
    hours: str
    closed: str = ""
    spans: tuple[tuple[datetime, datetime], ...] = ()  # (open, close) in UTC

    def __str__(self) -> str:
        return f"{_day(self.day)} {self.day.year}: {self.hours or f'closed ({self.closed})'}"


def calendar(first: date, days: int, *, settings: Settings, zone: Zone = MAINLAND) -> list[OpenDay]:
    """The open hours of marketing on `days` days from `first`, Paris time."""
    return [
        _open_day(day, settings, zone)
        for day in (first + timedelta(days=place) for place in range(days))
    ]


def _open_day(day: date, settings: Settings, zone: Zone) -> OpenDay:
    if why := _why_closed(day, MAINLAND):
        return OpenDay(day, "", why)
    hours, abroad, spans = [], [], []
    begin, end = _at(day, settings.window_start), _at(day, settings.window_end)
    while (opens := next_open(begin, Kind.MARKETING, settings=settings, zone=zone)) < end:
        begin = closing(opens, settings=settings, zone=zone)
        spans.append((opens, begin))
        hours.append(f"{_local(opens):%H:%M}-{_local(begin):%H:%M}")
        there = [moment.astimezone(zone.times()[0]) for moment in (opens, begin)]
        abroad.append(f"{there[0]:%H:%M}-{there[1]:%H:%M}")
    if not hours and (why := _why_closed(day, zone)):
        return OpenDay(day, "", f"{why} in {zone.name}")
    if not hours:
        start = _at(day, settings.window_start)
        return OpenDay(day, "", closures(start, end, Kind.MARKETING, settings=settings, zone=zone))
    text = ", ".join(hours)
    if hours != abroad:
        text += f" ({', '.join(abroad)} there)"
    return OpenDay(day, text, "", tuple(spans))


def require_recent(asked_at: datetime, *, now: datetime, settings: Settings) -> None:
    """Raise WindowClosed for a run that wanted as soon as possible, too long ago.

    Such runs come from a backfill, or after a pause of the scheduler: their days are over, and all
    of them would be sent now.
    """
    if _utc(now) - _utc(asked_at) > settings.max_audience_age:
        raise WindowClosed(
            f"this run was to start on {_spoken(asked_at)}, longer ago than max_audience_age "
            f"({duration(settings.max_audience_age)}) allows: its day is over, so nothing is sent. "
            "Trigger a new run to send now"
        )


def first_at(send_at: str, *, after: datetime) -> datetime:
    """The first "HH:MM", Paris time, at or after an instant's minute."""
    local = _local(_minute(after))
    hour = time.fromisoformat(send_at)
    day = local.date() if hour >= local.time() else local.date() + timedelta(days=1)
    return _at(day, hour)


def at(day: date, hour: str) -> datetime:
    """The instant of "HH:MM" on a day in Paris, in UTC."""
    return _at(day, time.fromisoformat(hour))


def in_words(instant: datetime) -> str:
    """An instant as unambiguous text: weekday, day, year, hour, and place."""
    local = _local(instant)
    return f"{_day(local.date())} {local.year} at {local:%H:%M} in Paris"


def is_open(
    instant: datetime, kind: Kind | str, *, settings: Settings, zone: Zone = MAINLAND
) -> bool:
    """Whether a message of this kind may be sent at an instant to a zone."""
    return next_open(instant, kind, settings=settings, zone=zone) == instant


def next_open(
    instant: datetime, kind: Kind | str, *, settings: Settings, zone: Zone = MAINLAND
) -> datetime:
    """The instant if it is open, else the next opening, in UTC.

    Raises WindowClosed if Paris and the zone are never open at the same time.
    """
    begin = opens = _utc(instant)
    if Kind(kind) is Kind.TRANSACTIONAL:  # closed only in the hour that comes twice
        local = _local(opens)
        return _at(local.date(), time(3)) if _comes_twice(local) else opens
    while (later := max(each.opening(opens, settings) for each in _clocks(zone))) > opens:
        opens = later
        if opens - begin > FAR_AWAY:
            raise WindowClosed(
                f"no hour within {FAR_AWAY.days} days is open in Paris and in {zone.name} at "
                "once: widen window_start and window_end in the settings"
            )
    return opens


def closing(instant: datetime, *, settings: Settings, zone: Zone = MAINLAND) -> datetime:
    """The end of marketing's hours around an open instant."""
    return min(
        _at(_there(instant, each.clock).date(), settings.window_end, each.clock)
        for each in _clocks(zone)
    )


def closures(
    start: datetime,
    end: datetime,
    kind: Kind | str,
    *,
    settings: Settings,
    zone: Zone = MAINLAND,
) -> str:
    """The reason why nothing may be sent from a closed instant until the next opening."""
    if Kind(kind) is Kind.TRANSACTIONAL:
        return f"{_spoken(start)} comes twice that night, and a file's name can't say which"
    reasons: list[str] = []
    instant, end = _utc(start), _utc(end)
    while instant < end:
        shut = [each for each in _clocks(zone) if each.opening(instant, settings) > instant]
        if not shut:
            break
        opens = shut[0].opening(instant, settings)
        # The first reason names its hour; the moments in between need none.
        reasons += shut[0].reasons(instant, opens, settings, hours=not reasons)
        instant = opens
    return ", ".join(reasons)


@dataclass(frozen=True, slots=True)
class _Clock:
    """One local time that must be open, with its holidays."""

    clock: ZoneInfo
    zone: Zone

    def opening(self, instant: datetime, settings: Settings) -> datetime:
        """The instant, or the next opening, by this local time only."""
        local = _there(instant, self.clock)
        day = local.date()
        opened = settings.window_start <= local.time() < settings.window_end
        if opened and not _why_closed(day, self.zone):
            return _utc(instant)
        if local.time() >= settings.window_start:
            day += timedelta(days=1)
        while _why_closed(day, self.zone):
            day += timedelta(days=1)
        return _at(day, settings.window_start, self.clock)

    def reasons(
        self, start: datetime, end: datetime, settings: Settings, *, hours: bool
    ) -> Iterator[str]:
        """Yield the reasons for a closed span, by this local time only."""
        local, until = _there(start, self.clock), _there(end, self.clock)
        where = "" if self.zone == MAINLAND else f" in {self.zone.name}"
        day, named = local.date(), None
        if not _why_closed(day, self.zone):
            if hours:
                at_home = _local(start).replace(tzinfo=None) == local.replace(tzinfo=None)
                there = "" if at_home else f" {_day_and_hour(local, _local(start).date())}{where},"
                yield f"{_spoken(start)} is{there} outside {_hours(settings)}"
                named = day
            day += timedelta(days=1)
        while day < until.date():
            why = "" if day.weekday() == SUNDAY else f" ({bank_holidays(self.zone, day.year)[day]})"
            yield f"{_day(day, named)} is closed{where}{why}"
            named, day = day, day + timedelta(days=1)


def _hours(settings: Settings) -> str:
    return f"{settings.window_start:%H:%M}-{settings.window_end:%H:%M}"


def _clocks(zone: Zone) -> list[_Clock]:
    """The clocks of Paris, which the provider uses, and of the zone."""
    beside = () if zone == MAINLAND else tuple(_Clock(each, zone) for each in zone.times())
    return [_Clock(PARIS, MAINLAND), *beside]


def _why_closed(day: date, zone: Zone) -> str | None:
    if day.weekday() == SUNDAY:
        return "Sunday"
    return bank_holidays(zone, day.year).get(day)


def _comes_twice(local: datetime) -> bool:
    """Whether an hour comes twice: 02:00-03:00 in the night to winter time, ambiguous (R25)."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def _at(day: date, hour: time, clock: ZoneInfo = PARIS) -> datetime:
    return datetime.combine(day, hour, clock).astimezone(UTC)


def _utc(instant: datetime) -> datetime:
    """In UTC: Python compares two instants of one time zone by their wall time."""
    if instant.tzinfo is None:
        raise ValueError("an instant must be aware")
    return instant.astimezone(UTC)


def _local(instant: datetime) -> datetime:
    return _there(instant, PARIS)


def _there(instant: datetime, clock: ZoneInfo) -> datetime:
    return _utc(instant).astimezone(clock)


def _minute(instant: datetime) -> datetime:
    return _utc(instant).replace(second=0, microsecond=0)


def _refuse_late(
    wish: datetime, *, now: datetime, settings: Settings, again: str = NEW_RUN
) -> None:
    if now - wish > settings.max_delay:
        raise WindowClosed(
            f"{_spoken(wish)} has passed, by more than max_delay ({duration(settings.max_delay)}) "
            f"allows: {again} with a later send_at, or leave it empty to send as soon as allowed"
        )


def _as_requested(wanted: datetime | None, send_at: datetime) -> str:
    if wanted is None:
        return f"as soon as possible: {_spoken(send_at)}"
    if _minute(wanted) == send_at:
        return f"as requested: {_spoken(send_at)}"
    return f"{_spoken(wanted)} has passed, sent at once: {_spoken(send_at, after=wanted)}"


def _far(send_at: datetime, now: datetime, settings: Settings) -> str:
    if send_at - now <= settings.schedule_horizon:
        return ""
    return f"; that is more than {duration(settings.schedule_horizon)} ahead"


def _day(day: date, after: date | None = None) -> str:
    name = f"{DAYS[day.weekday()]} {day.day}"
    if after and (day.year, day.month) == (after.year, after.month):
        return name
    return f"{name} {MONTHS[day.month - 1]}"


def _spoken(instant: datetime, after: datetime | None = None) -> str:
    """An instant in Paris in words, without the parts that `after` has."""
    return _day_and_hour(_local(instant), _local(after).date() if after else None)


def _day_and_hour(local: datetime, named: date | None) -> str:
    if named == local.date():
        return f"{local:%H:%M}"
    return f"{_day(local.date(), named)}, {local:%H:%M}"

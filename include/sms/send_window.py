"""When a message may go out (R5-R7, R26): the open hours, the next of them, and why.

Marketing in France is open from Monday to Saturday, except on bank holidays, within the hours of
the settings. Transactional messages may go at any hour that a file's name can tell. French wall
time appears here and in `wire.names` only; instants come in and go out aware, and go out in UTC.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

from holidays import country_holidays

from sms.campaign import Kind
from sms.clock import PARIS
from sms.errors import WindowClosed
from sms.settings import Settings

SUNDAY = 6
MINUTE = timedelta(minutes=1)

# Not strftime's names: those follow the machine's language.
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


@dataclass(frozen=True, slots=True)
class Slot:
    """The minute at which a file is to be sent, and in words why then."""

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
) -> Slot:
    """The minute to write in a file's name for a wish (None: as soon as possible).

    Raises WindowClosed for a wish that passed more than `max_late` ago, unless `send_now`, and,
    with `outside_window="fail"`, for one that is closed. Instants must be aware.
    """
    now = _utc(now)
    wish = now if wanted is None else _utc(wanted)
    if not send_now:
        _refuse_late(wish, now=now, settings=settings)
    earliest = _minute(max(wish, now))
    send_at = next_open(earliest, kind, settings=settings)
    if send_at == earliest:
        return Slot(send_at, _as_wished(wanted, send_at) + _far(send_at, now, settings))

    closed = closures(earliest, send_at, kind, settings=settings)
    opens = _spoken(send_at, after=earliest)
    if outside_window == "fail":
        raise WindowClosed(
            f"{closed}, and the campaign says `outside_window: fail`: nothing was sent. Trigger a "
            f"new run for {opens} or later, or write `outside_window: shift`"
        )
    return Slot(send_at, f"{closed}, moved to {opens}" + _far(send_at, now, settings))


def require_open(
    send_at: datetime,
    kind: Kind | str,
    *,
    now: datetime,
    settings: Settings,
    send_now: bool = False,
) -> None:
    """Refuse with WindowClosed a file that, uploaded now, would go out late or in a closed hour.

    A slot that was good when planned need not be good hours later: an hour that has passed means
    *at once* to the provider (R26). For a run that wants *as soon as possible*, whatever that
    took, say `send_now`.
    """
    now, send_at = _utc(now), _utc(send_at)
    if not send_now:
        _refuse_late(send_at, now=now, settings=settings)
    effective = _minute(max(send_at, now))
    if not is_open(effective, kind, settings=settings):
        opens = next_open(effective, kind, settings=settings)
        raise WindowClosed(
            f"{closures(effective, opens, kind, settings=settings)}, so the file planned for "
            f"{_spoken(send_at)} can't go up any more: trigger a new run for "
            f"{_spoken(opens, after=effective)} or later"
        )


def expected_end(send_at: datetime, messages: int, settings: Settings) -> datetime | None:
    """When the last of so many messages goes out; None if nobody knows the provider's pace."""
    if settings.messages_per_hour is None:
        return None
    return _utc(send_at) + timedelta(hours=messages / settings.messages_per_hour)


def require_no_tail(
    send_at: datetime, messages: int, kind: Kind | str, *, settings: Settings
) -> None:
    """Refuse with WindowClosed marketing that would still be going out when its hours end."""
    end = expected_end(send_at, messages, settings)
    if end is None or Kind(kind) is Kind.TRANSACTIONAL:
        return
    closes = _at(_local(send_at).date(), settings.window_end)
    if end > closes:
        raise WindowClosed(
            f"{messages:,} messages from {_spoken(send_at)} on would take until {_spoken(end)} at "
            f"{settings.messages_per_hour:,} an hour, and marketing closes at "
            f"{settings.window_end:%H:%M}: the rest would be rejected. Nothing was sent: send "
            "earlier or to fewer, or correct messages_per_hour in the settings"
        )


@dataclass(frozen=True, slots=True)
class OpenDay:
    """A day of marketing's calendar: its open hours, or in words why it has none."""

    day: date
    hours: str
    closed: str = ""

    def __str__(self) -> str:
        return f"{_day(self.day)} {self.day.year}: {self.hours or f'closed ({self.closed})'}"


def calendar(first: date, days: int, *, settings: Settings) -> list[OpenDay]:
    """When marketing may go out on so many days, Paris time."""
    hours = f"{settings.window_start:%H:%M}-{settings.window_end:%H:%M}"
    return [
        OpenDay(day, "", why) if (why := _why_closed(day)) else OpenDay(day, hours)
        for day in (first + timedelta(days=place) for place in range(days))
    ]


def require_recent(asked_at: datetime, *, now: datetime, settings: Settings) -> None:
    """Refuse with WindowClosed a run that was to send as soon as allowed, and long ago.

    Such are the runs of a backfill and of a scheduler that was away: each of their days is over,
    and all of them would go out now.
    """
    if _utc(now) - _utc(asked_at) > settings.max_age:
        raise WindowClosed(
            f"this run was to start on {_spoken(asked_at)}, longer ago than max_age "
            f"({settings.max_age}) allows: its day is over, so nothing is sent. Trigger a new run "
            "to send now"
        )


def first_at(send_at: str, *, after: datetime) -> datetime:
    """The first "HH:MM", Paris time, at or after the minute of an instant: a run's own time."""
    local = _local(_minute(after))
    hour = time.fromisoformat(send_at)
    day = local.date() if hour >= local.time() else local.date() + timedelta(days=1)
    return _at(day, hour)


def is_open(instant: datetime, kind: Kind | str, *, settings: Settings) -> bool:
    """Whether a message of this kind may go out at an instant."""
    local = _local(instant)
    if _comes_twice(local):
        return False
    if Kind(kind) is Kind.TRANSACTIONAL:
        return True
    return _is_open_day(local.date()) and (
        settings.window_start <= local.time() < settings.window_end
    )


def next_open(instant: datetime, kind: Kind | str, *, settings: Settings) -> datetime:
    """The instant itself if it is open, else the next opening after it, in UTC."""
    if is_open(instant, kind, settings=settings):
        return _utc(instant)
    local = _local(instant)
    if Kind(kind) is Kind.TRANSACTIONAL:  # closed in the hour that comes twice only
        return _at(local.date(), time(3))
    day = local.date()
    if local.time() >= settings.window_start:
        day += timedelta(days=1)
    while not _is_open_day(day):
        day += timedelta(days=1)
    return _at(day, settings.window_start)


def closures(start: datetime, end: datetime, kind: Kind | str, *, settings: Settings) -> str:
    """Why nothing may go out from a closed instant until the next opening, in words."""
    local, until = _local(start), _local(end)
    if Kind(kind) is Kind.TRANSACTIONAL:
        return f"{_spoken(start)} comes twice that night, and a file's name can't say which"
    told = []
    if _is_open_day(local.date()):
        hours = f"{settings.window_start:%H:%M}-{settings.window_end:%H:%M}"
        told.append(f"{_spoken(start)} is outside {hours}")
    day = local.date() + timedelta(days=len(told))
    named = local.date() if told else None
    while day < until.date():
        why = "" if day.weekday() == SUNDAY else f" ({bank_holidays(day.year)[day]})"
        told.append(f"{_day(day, after=named)} is closed{why}")
        named, day = day, day + timedelta(days=1)
    return ", ".join(told)


@cache
def bank_holidays(year: int) -> dict[date, str]:
    """The bank holidays of mainland France in a year, with their French names."""
    return dict(country_holidays("FR", years=year, language="fr"))


def _is_open_day(day: date) -> bool:
    return not _why_closed(day)


def _why_closed(day: date) -> str:
    if day.weekday() == SUNDAY:
        return "Sunday"
    return bank_holidays(day.year).get(day, "")


def _comes_twice(local: datetime) -> bool:
    """In the night to winter time, 02:00-03:00 comes twice, so a file's name is ambiguous (R25)."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def _at(day: date, hour: time) -> datetime:
    return datetime.combine(day, hour, PARIS).astimezone(UTC)


def _utc(instant: datetime) -> datetime:
    """In UTC, as two instants of one French zone would be compared by their wall time."""
    if instant.tzinfo is None:
        raise ValueError("an instant must be aware")
    return instant.astimezone(UTC)


def _local(instant: datetime) -> datetime:
    return _utc(instant).astimezone(PARIS)


def _minute(instant: datetime) -> datetime:
    return _utc(instant).replace(second=0, microsecond=0)


def _refuse_late(wish: datetime, *, now: datetime, settings: Settings) -> None:
    if now - wish > settings.max_late:
        raise WindowClosed(
            f"{_spoken(wish)} has passed, by more than max_late ({settings.max_late}) allows: "
            "trigger a new run with a later send_at, or leave it empty to send as soon as allowed"
        )


def _as_wished(wanted: datetime | None, send_at: datetime) -> str:
    if wanted is None:
        return f"as soon as possible: {_spoken(send_at)}"
    if _minute(wanted) == send_at:
        return f"as wished: {_spoken(send_at)}"
    return f"{_spoken(wanted)} has passed, sent at once: {_spoken(send_at, after=wanted)}"


def _far(send_at: datetime, now: datetime, settings: Settings) -> str:
    if send_at - now <= settings.schedule_horizon:
        return ""
    return f"; that is more than {settings.schedule_horizon.days} days ahead"


def _day(day: date, after: date | None = None) -> str:
    name = f"{DAYS[day.weekday()]} {day.day}"
    if after and (day.year, day.month) == (after.year, after.month):
        return name
    return f"{name} {MONTHS[day.month - 1]}"


def _spoken(instant: datetime, after: datetime | None = None) -> str:
    """An instant in Paris in words; what `after` already said is left out."""
    local = _local(instant)
    said = _local(after).date() if after else None
    return (
        f"{local:%H:%M}" if said == local.date() else f"{_day(local.date(), said)}, {local:%H:%M}"
    )

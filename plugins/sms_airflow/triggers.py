"""Waiting at the gateway, without a worker: one listing serves all who wait.

Triggers that watch the same directory of the same gateway at the same pace share one stream of
listings in the triggerer, and all streams share one SSH connection (`shared_connection`). A listing
is the whole truth of a moment, so a latecomer misses nothing. A connection that breaks is not an
absent file: it never ends a wait, and is only logged.

Keyword arguments and class paths are stored in Airflow's database while a task waits: keep them
compatible from one deployment to the next.
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent
from structlog.contextvars import clear_contextvars

from sms import clock
from sms.delivery.gateway import Folder, RemoteFile
from sms.errors import GatewayUnreachable, SmsError
from sms.reports.collection import find_report
from sms.wire.names import Phase, ReportKind, phase_of, reported_campaign, submitted_file
from sms_airflow.sftp_gateway import Account
from sms_airflow.shared_connection import SharedConnection, shared_connection

log = logging.getLogger(__name__)

SLOWEST = 60.0  # seconds between two looks at the clock
SHORTEST = 0.1
# Seconds within which Airflow's scheduler hears that a wait began, however fast the wait is polled.
# One that ends before is taken for a task that was killed: it costs a try, and the pause before it.
HEARD_WITHIN = 5.0
# How long a gateway may be away, in real time, before those who wait speak of it; and before, and
# how often, they call it an error.
BLINK = timedelta(minutes=1)
ALARM = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a directory at a moment of `sms.clock`, sorted once for all who look."""

    at: datetime
    files: Mapping[str, Sequence[RemoteFile]]

    @classmethod
    def of(cls, files: Iterable[RemoteFile], folder: Folder, at: datetime) -> Self:
        """Sort files by the submission, or in `Report` the campaign, that they can be of."""
        sorted_files: dict[str, list[RemoteFile]] = defaultdict(list)
        for file in files:
            if key := OWNER[folder](file.name):
                sorted_files[key].append(file)
        return cls(at, sorted_files)

    def near(self, name: str, folder: Folder) -> Sequence[RemoteFile]:
        """The few files that can have to do with the one called `name`."""
        return self.files.get(OWNER[folder](name) or "", ())


OWNER = {Folder.SEND: submitted_file, Folder.REPORT: reported_campaign}


@dataclass(frozen=True, slots=True)
class Away:
    """The gateway can't be reached: since when, by the wall's clock, and why."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gateway refuses us: no use in asking again."""

    why: str


class Outage:
    """Says that a gateway is away, once it is worth a word, and that it is back.

    `who` is what waits; `patience`, how long the gateway may be away before the first word.
    """

    def __init__(self, who: str, patience: timedelta) -> None:
        self._who = who
        self._patience = patience
        self._next = patience

    def hear(self, seen: Listing | Away | Refusal, now: datetime) -> None:
        """Speak, or keep silent."""
        match seen:
            case Away():
                self._speak(seen, now - seen.since)
            case Listing() if self._next != self._patience:
                log.info("The gateway answers again. %s", self._who)
                self._next = self._patience

    def _speak(self, seen: Away, gone: timedelta) -> None:
        if gone < self._next:
            return
        log.log(
            logging.ERROR if gone >= ALARM else logging.WARNING,
            "%s. That is so since %s, for %d minutes. %s: nothing is lost, and no wait ends by "
            "this; it goes on as soon as the gateway answers",
            seen.why,
            seen.since.isoformat(timespec="seconds"),
            gone.total_seconds() / 60,
            self._who,
        )
        self._next = gone + ALARM if gone >= ALARM else ALARM


class GatewayTrigger(BaseEventTrigger):
    """Waits for something to be seen in one directory of the gateway, until a deadline.

    :param account: conn_id, address, service_id and folders of the gateway
    :param stem: the submission that is waited for
    :param deadline: ISO instant of `sms.clock`, judged only on a listing that succeeded
    :param poll: real seconds between two listings
    """

    folder: ClassVar[Folder]

    def __init__(self, account: dict[str, Any], stem: str, deadline: str, poll: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.account = account
        self.stem = stem
        self.deadline = deadline
        self.poll = poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for Airflow's database."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", self._arguments()

    def shared_stream_key(self) -> Hashable:
        """Who watches the same directory at the same pace shares one stream."""
        folders = tuple(sorted(self.account["folders"].items()))
        where = (self.account["conn_id"], self.account["address"], self.account["service_id"])
        return ("sms", *where, folders, self.folder.value, self.poll)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Listings for ever; Away while there are none, Refusal where the gateway won't have us."""
        # Airflow runs this in the context of the task that came first, so that what it says would
        # be in that task's log and in nobody else's. It belongs into the triggerer's.
        clear_contextvars()
        account = Account(**kwargs["account"])
        outage = Outage(f"Whoever waits at {cls.folder} still does", timedelta(0))
        async with shared_connection(account).leased() as connection:
            since: datetime | None = None
            while True:
                seen = await cls._look(connection, account, since)
                since = seen.since if isinstance(seen, Away) else None
                outage.hear(seen, datetime.now(UTC))
                yield seen
                if connection.lost_at is None or not since:  # else it says when to try again
                    await asyncio.sleep(float(kwargs["poll"]))

    @classmethod
    async def _look(
        cls, connection: SharedConnection, account: Account, since: datetime | None
    ) -> Listing | Away | Refusal:
        try:
            files = await connection.listing(account, cls.folder)
            return Listing.of(files, cls.folder, clock.now())
        except GatewayUnreachable as error:
            return Away(since or connection.lost_at or datetime.now(UTC), str(error))
        except SmsError as error:
            log.error("%s. Whoever waits at %s is told", error, cls.folder)
            return Refusal(str(error))

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Any]
    ) -> AsyncGenerator[TriggerEvent, None]:
        """The one event that ends this wait."""
        begun = time.monotonic()
        outage = Outage(f"{self.stem} still waits", BLINK)
        async for seen in shared_stream:
            outage.hear(seen, datetime.now(UTC))
            if facts := self._facts(seen):
                await asyncio.sleep(begun + min(self.poll, HEARD_WITHIN) - time.monotonic())
                yield TriggerEvent({"stem": self.stem, **facts})
                return

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """The same without sharing, as `dag.test()` and a plain triggerer do it."""
        async with (
            contextlib.aclosing(self.open_shared_stream(self._arguments())) as stream,
            contextlib.aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event

    def judge(self, listing: Sequence[RemoteFile], now: datetime) -> dict[str, Any] | None:
        """The facts that end the wait, or None to go on waiting."""
        raise NotImplementedError

    def awaited(self) -> str:
        """A name of the kind that is waited for."""
        raise NotImplementedError

    def overdue(self, now: datetime) -> bool:
        """Whether the deadline has passed."""
        return now >= datetime.fromisoformat(self.deadline)

    def _facts(self, seen: Listing | Away | Refusal) -> dict[str, Any] | None:
        match seen:
            case Listing():
                return self.judge(seen.near(self.awaited(), self.folder), seen.at)
            case Refusal():
                return {"saw": "refusal", "why": seen.why}
            case Away():
                return None

    def _arguments(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "stem": self.stem,
            "deadline": self.deadline,
            "poll": self.poll,
        }


class VerdictTrigger(GatewayTrigger):
    """Waits in `Send` for `.done` or `.reject` (R27, R28)."""

    folder = Folder.SEND

    def awaited(self) -> str:
        """The verdict that everybody hopes for."""
        return f"{self.stem}.{Phase.DONE}"

    def judge(self, listing: Sequence[RemoteFile], now: datetime) -> dict[str, Any] | None:
        """`accepted`, `rejected`, or what was seen when the time was up."""
        phases = {phase_of(file.name, self.stem) for file in listing}
        if Phase.REJECT in phases:
            return {"saw": "rejected"}
        if Phase.DONE in phases:
            return {"saw": "accepted"}
        if not self.overdue(now):
            return None
        last = next((phase for phase in (Phase.LOCK, Phase.CSV) if phase in phases), None)
        return {"saw": "overdue", "phase": last.value if last else None}


class ReportTrigger(GatewayTrigger):
    """Waits in `Report` for a delivery report that has stopped growing (R29, R30, R34)."""

    folder = Folder.REPORT
    _before: RemoteFile | None = None

    def awaited(self) -> str:
        """The report's own name, if the provider keeps the hour."""
        return f"{self.stem.replace('SEND', ReportKind.ACK, 1)}.csv"

    def judge(self, listing: Sequence[RemoteFile], now: datetime) -> dict[str, Any] | None:
        """`report` once two listings in a row show the same file, or `overdue`."""
        found = find_report((file for file in listing if file.size), self.stem)
        settled = found is not None and found == self._before
        self._before = found
        if found is not None and settled:
            return {"saw": "report", "name": found.name}
        return {"saw": "overdue"} if found is None and self.overdue(now) else None


class HourTrigger(BaseTrigger):
    """Waits until `sms.clock` shows an hour.

    :param moment: ISO instant of `sms.clock`
    """

    def __init__(self, moment: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moment = moment

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for Airflow's database."""
        return f"{__name__}.HourTrigger", {"moment": self.moment}

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """One event, when the hour has come."""
        moment = datetime.fromisoformat(self.moment)
        while (now := clock.now()) < moment:
            wait = (clock.earliest_wall_time(moment) - datetime.now(UTC)).total_seconds()
            await asyncio.sleep(min(max(wait, SHORTEST), SLOWEST))
        yield TriggerEvent({"now": now.isoformat()})

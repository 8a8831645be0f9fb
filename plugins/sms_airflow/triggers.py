"""Triggers that wait at the gateway without a worker; one listing serves all of them.

Triggers that watch the same directory of the same gateway at the same pace share one stream of
listings in the triggerer, and all streams share one SSH connection (`shared_connection`). A listing
is complete, so a trigger that joins later misses nothing. A broken connection does not mean that a
file is absent: it never ends a wait, and is only logged.

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

SLOWEST = 60.0  # seconds at most between two checks of the clock
SHORTEST = 0.1
# Seconds until Airflow's scheduler has noticed a new wait, whatever its poll. A wait that ends
# before counts as a killed task: it costs a try, and the delay before the next.
HEARD_WITHIN = 5.0
# How long a gateway may be unreachable, in real time, before a wait logs a warning; and before, and
# how often, it logs an error.
BLINK = timedelta(minutes=1)
ALARM = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Listing:
    """A directory's files at an instant of `sms.clock`, sorted once for all triggers."""

    at: datetime
    files: Mapping[str, Sequence[RemoteFile]]

    @classmethod
    def of(cls, files: Iterable[RemoteFile], folder: Folder, at: datetime) -> Self:
        """Group files by the submission, or in `Report` by the campaign, of their names."""
        sorted_files: dict[str, list[RemoteFile]] = defaultdict(list)
        for file in files:
            if key := OWNER[folder](file.name):
                sorted_files[key].append(file)
        return cls(at, sorted_files)

    def near(self, name: str, folder: Folder) -> Sequence[RemoteFile]:
        """The files of the same group as `name`."""
        return self.files.get(OWNER[folder](name) or "", ())


OWNER = {Folder.SEND: submitted_file, Folder.REPORT: reported_campaign}


@dataclass(frozen=True, slots=True)
class Away:
    """The gateway can't be reached: since when, in real time, and why."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gateway refuses the connection: a retry would not help."""

    why: str


class Outage:
    """Logs that a gateway can't be reached, and that it answers again.

    `who` is a sentence on what waits; `patience` is the time before the first log line.
    """

    def __init__(self, who: str, patience: timedelta) -> None:
        self._who = who
        self._patience = patience
        self._next = patience

    def hear(self, seen: Listing | Away | Refusal, now: datetime) -> None:
        """Log a line if it is due."""
        match seen:
            case Away():
                self._log(seen, now - seen.since)
            case Listing() if self._next != self._patience:
                log.info("The gateway answers again. %s", self._who)
                self._next = self._patience

    def _log(self, seen: Away, gone: timedelta) -> None:
        if gone < self._next:
            return
        log.log(
            logging.ERROR if gone >= ALARM else logging.WARNING,
            "%s, since %s, for %d minutes. %s: nothing is lost, and no wait ends by this; it "
            "continues as soon as the gateway answers",
            seen.why,
            seen.since.isoformat(timespec="seconds"),
            gone.total_seconds() / 60,
            self._who,
        )
        self._next = gone + ALARM if gone >= ALARM else ALARM


class GatewayTrigger(BaseEventTrigger):
    """Waits for a file in one directory of the gateway, until a deadline.

    :param account: conn_id, address, service_id and folders of the gateway
    :param stem: the awaited submission
    :param deadline: ISO instant of `sms.clock`, checked only after a successful listing
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
        """The key of the stream: triggers of one directory and one poll share it."""
        folders = tuple(sorted(self.account["folders"].items()))
        where = (self.account["conn_id"], self.account["address"], self.account["service_id"])
        return ("sms", *where, folders, self.folder.value, self.poll)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Endless listings; Away while the gateway can't be reached, Refusal if it refuses us."""
        # Airflow runs this in the context of the first task, so its log lines would go to that
        # task's log alone. They belong into the triggerer's log.
        clear_contextvars()
        account = Account(**kwargs["account"])
        outage = Outage(f"All waits at {cls.folder} continue", timedelta(0))
        async with shared_connection(account).leased() as connection:
            since: datetime | None = None
            while True:
                seen = await cls._look(connection, account, since)
                since = seen.since if isinstance(seen, Away) else None
                outage.hear(seen, datetime.now(UTC))
                yield seen
                if connection.lost_at is None or not since:  # otherwise the connection waits itself
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
            log.error("%s. All waits at %s end", error, cls.folder)
            return Refusal(str(error))

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Any]
    ) -> AsyncGenerator[TriggerEvent, None]:
        """The one event that ends this wait."""
        begun = time.monotonic()
        outage = Outage(f"The wait for {self.stem} continues", BLINK)
        async for seen in shared_stream:
            outage.hear(seen, datetime.now(UTC))
            if facts := self._facts(seen):
                await asyncio.sleep(begun + min(self.poll, HEARD_WITHIN) - time.monotonic())
                yield TriggerEvent({"stem": self.stem, **facts})
                return

    async def run(self) -> AsyncGenerator[TriggerEvent, None]:
        """The same without a shared stream, for `dag.test()` and a triggerer without sharing."""
        async with (
            contextlib.aclosing(self.open_shared_stream(self._arguments())) as stream,
            contextlib.aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event

    def judge(self, listing: Sequence[RemoteFile], now: datetime) -> dict[str, Any] | None:
        """The facts that end the wait; None to continue."""
        raise NotImplementedError

    def awaited(self) -> str:
        """A name in the group of the awaited files."""
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
        """The name with `.done`."""
        return f"{self.stem}.{Phase.DONE}"

    def judge(self, listing: Sequence[RemoteFile], now: datetime) -> dict[str, Any] | None:
        """`accepted`, `rejected`, or at the deadline `overdue` with the last phase."""
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
        """The report's name, if the provider keeps the hour."""
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

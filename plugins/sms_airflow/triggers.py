"""Waiting at the gateway, without a worker: one listing serves all who wait.

Triggers that watch the same directory of the same gateway at the same pace share one poll in the
triggerer (one SSH connection, one listing an interval). A listing is the whole truth of a moment,
so a latecomer misses nothing. A line that breaks is not an absent file: it never ends a wait.

Keyword arguments and class paths are stored in Airflow's database while a task waits: keep them
compatible from one deployment to the next.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from sms import clock
from sms.collecting import find_report
from sms.delivery import Folder, RemoteFile
from sms.errors import GatewayRefused, GatewayUnreachable, SmsError
from sms.wire.names import Phase, phase_of
from sms_airflow.sftp_gateway import Account, watching

log = logging.getLogger(__name__)

SLOWEST = 60.0  # seconds between two looks at a gateway that is away, or at the clock
SHORTEST = 0.1
# Seconds between two logins of ours that are refused: who counts failures to lock addresses out
# mostly counts to five in ten minutes, and `Send` and `Report` are watched apart.
REFUSED = 300.0

refused_at: dict[str, float] = {}  # by address: whoever waits in this process was refused with it


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gateway refuses us: no use in asking again."""

    why: str


class GatewayTrigger(BaseEventTrigger):
    """Waits for something to be seen in one directory of the gateway, until a deadline.

    :param account: conn_id, address, service_id and folders of the gateway
    :param stem: the submission that is waited for
    :param deadline: ISO instant of `sms.clock`, judged only on a listing that succeeded
    :param poll: real seconds between two listings
    """

    folder: ClassVar[Folder]

    def __init__(self, account: dict[str, Any], stem: str, deadline: str, poll: float) -> None:
        super().__init__()
        self.account = account
        self.stem = stem
        self.deadline = deadline
        self.poll = poll

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for Airflow's database."""
        kind = type(self)
        return f"{kind.__module__}.{kind.__qualname__}", self._arguments()

    def shared_stream_key(self) -> Hashable:
        """Who watches the same directory at the same pace shares one poll."""
        folders = tuple(sorted(self.account["folders"].items()))
        return ("sms", self.account["conn_id"], folders, self.folder.value, self.poll)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Listings for ever; a Refusal where the gateway won't have us.

        A Refusal ends every wait that hears it. One that begins later logs in by itself, and a
        thousand that begin one after the other must not be a thousand refused logins.
        """
        account = Account(**kwargs["account"])
        pause = float(kwargs["poll"])
        while True:
            await _let_a_refusal_pass(account.address)
            try:
                async with watching(account) as session:
                    pause = float(kwargs["poll"])
                    while True:
                        yield await session.listing(cls.folder)
                        await asyncio.sleep(float(kwargs["poll"]))
            except GatewayUnreachable as error:
                log.warning("%s; still waiting, trying again in %.0f s", error, pause)
            except SmsError as error:
                if isinstance(error, GatewayRefused):
                    refused_at[account.address] = time.monotonic()
                yield Refusal(str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, SLOWEST)

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Any]
    ) -> AsyncIterator[TriggerEvent]:
        """The one event that ends this wait."""
        async for seen in shared_stream:
            facts = (
                {"saw": "refusal", "why": seen.why}
                if isinstance(seen, Refusal)
                else self.judge(seen, clock.now())
            )
            if facts:
                yield TriggerEvent({"stem": self.stem, **facts})
                return

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """The same without sharing, as `dag.test()` and a plain triggerer do it."""
        async with (
            contextlib.aclosing(self.open_shared_stream(self._arguments())) as stream,
            contextlib.aclosing(self.filter_shared_stream(stream)) as events,
        ):
            async for event in events:
                yield event

    def judge(self, listing: list[RemoteFile], now: datetime) -> dict[str, Any] | None:
        """The facts that end the wait, or None to go on waiting."""
        raise NotImplementedError

    def overdue(self, now: datetime) -> bool:
        """Whether the deadline has passed."""
        return now >= datetime.fromisoformat(self.deadline)

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

    def judge(self, listing: list[RemoteFile], now: datetime) -> dict[str, Any] | None:
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

    def judge(self, listing: list[RemoteFile], now: datetime) -> dict[str, Any] | None:
        """`report` once two listings in a row show the same file, or `overdue`."""
        found = find_report(listing, self.stem)
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
        super().__init__()
        self.moment = moment

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class path and arguments, for Airflow's database."""
        return f"{__name__}.HourTrigger", {"moment": self.moment}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event, when the hour has come."""
        moment = datetime.fromisoformat(self.moment)
        while (now := clock.now()) < moment:
            wait = (clock.earliest_wall_time(moment) - datetime.now(UTC)).total_seconds()
            await asyncio.sleep(min(max(wait, SHORTEST), SLOWEST))
        yield TriggerEvent({"now": now.isoformat()})


async def _let_a_refusal_pass(address: str) -> None:
    """Wait until logging in again is no hammering; at once if nobody here was refused lately."""
    while (left := refused_at.get(address, -math.inf) + REFUSED - time.monotonic()) > 0:
        log.warning("%s refused us a while ago; logging in again in %.0f s", address, left)
        await asyncio.sleep(left)

"""Processing of `Send`: .csv -> .lock -> .done or .reject (page, *File processing*).

The extension is the state of a file; nothing else is stored until the file is accepted.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from sms_sandbox import checks, hours, private
from sms_sandbox.campaigns import Campaign, Memory, Stage
from sms_sandbox.desk import Desk
from sms_sandbox.names import BadName, Name
from sms_sandbox.outcomes import Shares

UNDER_WAY = (".tmp", ".csv", ".lock")


class Intake:
    """Takes files from `Send` and accepts or rejects them."""

    def __init__(self, desk: Desk, memory: Memory) -> None:
        self.desk = desk
        self.memory = memory
        self.uploading: Counter[Path] = Counter()  # files that a client has open for writing

    def is_under_way(self) -> bool:
        """Whether a client or the gateway is still working on a file in `Send`."""
        folder = self.desk.place.send
        return bool(self.uploading) or any(path.suffix in UNDER_WAY for path in folder.iterdir())

    def dues(self) -> Iterator[float]:
        """Yield the moments when a .lock may end, in Unix seconds."""
        for path, locked_at in self._files(".lock").items():
            knobs = self.desk.knobs_for(path.stem)
            if not knobs.stuck:
                yield locked_at + knobs.lock_seconds

    async def take_in(self) -> bool:
        """Lock new files, check locked ones; True if any file changed."""
        taken = [path for path in self._files(".csv") if self._may_take(path)]
        for path in taken:
            with contextlib.suppress(FileNotFoundError):  # a client removed it
                self.desk.date(path)
                self.desk.rename(path, path.with_suffix(".lock"))
        locked = self._files(".lock")
        judged = [path for path, locked_at in locked.items() if self._may_judge(path, locked_at)]
        for path in judged:
            with contextlib.suppress(FileNotFoundError):
                await self._judge(path)
        return bool(taken or judged)

    def finish(self, campaign: Campaign) -> None:
        """Rename an accepted file to .done; repeated after a kill of the gateway."""
        lock = self.desk.place.send / f"{campaign.stem}.lock"
        if lock.exists():
            facts = {"messages": campaign.messages, "segments": campaign.segments}
            self.desk.note("verdict", stem=campaign.stem, accepted=True, **facts)
            self.desk.rename(lock, lock.with_suffix(".done"))
        campaign.stage = Stage.WAITING
        self.memory.keep(campaign)

    def _files(self, suffix: str) -> dict[Path, float]:
        return self.desk.ages(self.desk.place.send, suffix)

    def _may_take(self, csv: Path) -> bool:
        return csv not in self.uploading and not self.desk.knobs_for(csv.stem).silent

    def _may_judge(self, lock: Path, locked_at: float) -> bool:
        knobs = self.desk.knobs_for(lock.stem)
        return not knobs.stuck and self.desk.now().timestamp() >= locked_at + knobs.lock_seconds

    async def _judge(self, lock: Path) -> None:
        try:
            name = Name.parse(lock.stem, self.desk.account.service_id)
            content = await asyncio.to_thread(checks.check, lock, self.desk.account)
            if self.desk.knobs_for(lock.stem).reject:
                raise checks.NotCompliant(None, "the knob `reject` is on")
        except (BadName, checks.NotCompliant) as fault:
            self.desk.note("verdict", stem=lock.stem, accepted=False, reason=str(fault))
            self.desk.rename(lock, lock.with_suffix(".reject"))
        else:
            await self._accept(lock, name, content)

    async def _accept(self, lock: Path, name: Name, content: checks.Content) -> None:
        """Store the campaign before its file is .done, so that no kill loses or doubles it."""
        asked = max(name.send_at(), self.desk.now())  # page: "a date in the past": immediately
        sending = self._moment_of_sending(name, asked)
        id = self.memory.free_id(lock.stem)
        await asyncio.to_thread(private.copy, lock, self.memory.content(id))
        knobs = self.desk.knobs_for(lock.stem)
        balance = knobs.balance
        campaign = Campaign(
            id=id,
            stem=lock.stem,
            send_at=(sending or asked).timestamp(),
            is_closed=sending is None,
            messages=content.messages,
            paid=content.messages if balance is None else min(balance, content.messages),
            segments=content.segments,
            shares=Shares(**{share: getattr(knobs, share) for share in Shares.__slots__}),
        )
        self.memory.keep(campaign)
        self.finish(campaign)
        if sending is not None and sending > asked:
            self.desk.note("queued", stem=lock.stem, until=sending.isoformat())

    def _moment_of_sending(self, name: Name, asked: datetime) -> datetime | None:
        if self.desk.account.is_marketing(name.campaign_id):
            return hours.moment_of_sending(asked)
        return asked

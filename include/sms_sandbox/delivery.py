"""A campaign after .done: the send at its hour, STOPs and replies, the ACK."""

import asyncio
import gzip
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sms_sandbox import checks, gsm, journal, private, reports
from sms_sandbox.campaigns import Campaign, Memory, Stage
from sms_sandbox.desk import Desk
from sms_sandbox.growth import Growth
from sms_sandbox.outcomes import Fate, Lottery, Status

BATCH = 5000  # journal lines per write
COPY_IS_LATER = timedelta(hours=1)  # the difference in a copy's name

Coming = list[tuple[float, str, str]]  # Unix seconds, STOP or SMSMO, the report's line


class Delivery:
    """Does the due steps of accepted campaigns, oldest first."""

    def __init__(self, desk: Desk, memory: Memory, *, before_long_work: Callable[[], None]) -> None:
        self.desk = desk
        self.memory = memory
        self._before_long_work = before_long_work
        self.growth = Growth(desk, memory)
        self._answers: dict[str, Coming] = {}

    def is_awaited(self) -> bool:
        """Whether any accepted file still waits for its ACK."""
        return any(campaign.is_awaited for campaign in self.memory.campaigns.values())

    def dues(self) -> Iterator[float]:
        """Yield the moments of all coming steps, in Unix seconds."""
        return (due for due, _ in self._agenda())

    async def do_next(self) -> bool:
        """Do the step that is due longest; False if none is due."""
        due, id = min(self._agenda(), default=(float("inf"), ""))
        if due > self.desk.now().timestamp():
            return False
        await self._advance(self.memory.campaigns[id], due)
        return True

    async def recover(self) -> None:
        """Continue the work of a stopped process."""
        for campaign in self.memory.campaigns.values():
            self.growth.undo(campaign)
            if campaign.stage is Stage.SENDING:
                sent = journal.read(self.desk.place.journal, "sent")
                already = sum(entry["campaign"] == campaign.id for entry in sent)
                await self._send(campaign, already)
            elif campaign.stage is Stage.SENT:
                self._answers[campaign.id] = await asyncio.to_thread(self._foreseen, campaign)

    def _agenda(self) -> Iterator[tuple[float, str]]:
        for campaign in self.memory.campaigns.values():
            if campaign.stage is Stage.WAITING:
                yield campaign.send_at, campaign.id
            if campaign.stage is Stage.SENT:
                late = self.desk.knobs_for(campaign.stem).ack_late_hours * 3600
                yield campaign.ack_at + late, campaign.id
                for due, _, _ in self._coming(campaign, 1):
                    yield due, campaign.id
            if campaign.tails:
                yield campaign.tails_due, campaign.id

    async def _advance(self, campaign: Campaign, due: float) -> None:
        if campaign.stage is Stage.WAITING:
            await self._send(campaign)
        elif campaign.tails and campaign.tails_due <= due:
            self.growth.complete(campaign)
        elif any(moment <= due for moment, _, _ in self._coming(campaign, 1)):
            self._answer(campaign)
        else:
            await self._acknowledge(campaign)

    async def _send(self, campaign: Campaign, already: int = 0) -> None:
        """Send the messages, except the first `already` ones, which a stopped process sent."""
        self._before_long_work()
        campaign.stage = Stage.SENDING
        self.memory.keep(campaign)
        if campaign.is_closed:
            self.desk.note("closed", stem=campaign.stem, messages=campaign.messages)
        else:
            drawn = await asyncio.to_thread(self._send_messages, campaign, already)
            self._answers[campaign.id] = drawn
        campaign.stage = Stage.SENT
        self.memory.keep(campaign)

    def _send_messages(self, campaign: Campaign, already: int) -> Coming:
        """Write each message to the journal; returns the coming answers."""
        lots = self._lots(campaign)
        coming: Coming = []
        while batch := list(islice(lots, BATCH)):
            fresh, already = batch[already:], max(already - len(batch), 0)
            self.desk.journal.write_all(self._entry(campaign, *lot) for lot in fresh)
            coming += self._answers_to(campaign, batch)
        return sorted(coming)

    def _entry(self, campaign: Campaign, row: checks.SubmittedRow, lot: Fate) -> dict[str, Any]:
        return {
            "at": campaign.sent_at.isoformat(),
            "what": "sent",
            "stem": campaign.stem,
            "campaign": campaign.id,
            "idremote": row.idremote,
            "msisdn": row.msisdn,
            "oadc": row.oadc,
            "text": row.msg if self.desk.account.unicode else gsm.received(row.msg),
            "idstatus": lot.status.value,
        }

    def _answers_to(
        self, campaign: Campaign, lots: Iterable[tuple[checks.SubmittedRow, Fate]]
    ) -> Iterator[tuple[float, str, str]]:
        bare = self.desk.knobs_for(campaign.stem).bare_reports
        for row, lot in lots:
            if lot.answer is not None:
                at = campaign.sent_at + lot.answer.after
                line = reports.answer(row, lot.answer.text, at, bare=bare)
                yield at.timestamp(), lot.answer.kind, line

    def _lots(self, campaign: Campaign) -> Iterator[tuple[checks.SubmittedRow, Fate]]:
        """Yield the paid messages, each with its outcome."""
        rows = checks.rows(self.memory.content(campaign.id), self.desk.account.encoding)
        drawn_for = campaign.name.campaign_id, campaign.shares, campaign.span
        lottery = Lottery(self.desk.seed, *drawn_for)
        for row in islice(rows, campaign.paid):
            yield row, lottery.fate(row.idremote or row.msisdn)

    def _foreseen(self, campaign: Campaign) -> Coming:
        """The coming answers of a campaign that a stopped process sent."""
        lots = () if campaign.is_closed else self._lots(campaign)
        return sorted(self._answers_to(campaign, lots))

    def _coming(self, campaign: Campaign, most: int | None = None) -> Coming:
        end = None if most is None else campaign.answered + most
        return self._answers.get(campaign.id, [])[campaign.answered : end]

    def _answer(self, campaign: Campaign) -> None:
        """Append the STOPs and replies that are due."""
        now = self.desk.now().timestamp()
        fresh = [answer for answer in self._coming(campaign) if answer[0] <= now]
        lines: dict[str, str] = {}
        for _, kind, line in fresh:
            for name in self._report_names(campaign, kind):
                lines[name] = lines.get(name, "") + line
        self.growth.append(campaign, lines, answers=len(fresh))

    async def _acknowledge(self, campaign: Campaign) -> None:
        self._before_long_work()
        name, *copies = self._report_names(campaign, "ACK")
        fresh = self.desk.place.state / "ack.part"
        counted = await asyncio.to_thread(self._write_ack, campaign, fresh)
        rows = counted.total()
        self.desk.note("report", name=name, stem=campaign.stem, rows=rows, outcomes=counted)
        for copy in copies:
            second = self.desk.place.state / "ack.copy"
            await asyncio.to_thread(private.copy, fresh, second)
            self._show(campaign, copy, second)
        self._show(campaign, name, fresh)
        campaign.stage = Stage.ACKNOWLEDGED
        self.memory.keep(campaign)
        self._answers.pop(campaign.id, None)

    def _show(self, campaign: Campaign, name: str, fresh: Path) -> None:
        """Put a report into Report, packed or torn if a knob says so."""
        if self.desk.knobs_for(campaign.stem).packed_acks:
            name += ".gz"
            private.write(fresh, gzip.compress(fresh.read_bytes()))
        else:
            self.growth.tear(campaign, name, fresh)
        self.desk.date(fresh)
        fresh.replace(self.desk.place.report / name)

    def _write_ack(self, campaign: Campaign, path: Path) -> Counter[str]:
        knobs, counted = self.desk.knobs_for(campaign.stem), Counter[str]()
        bare = knobs.bare_reports
        with private.opened(path, "w", encoding="utf-8", newline="") as report:
            if knobs.report_header:
                report.write(reports.ACK_HEADER)
            for row, lot in self._lots(campaign):
                if lot.is_reported:
                    if knobs.rows_twice:
                        report.write(reports.delivery(row, Status.SENT, lot.ticket, bare=bare))
                    status = Status.REFUSED if campaign.is_closed else lot.status
                    report.write(reports.delivery(row, status, lot.ticket, bare=bare))
                    counted[status.label] += 1
        return counted

    def _report_names(self, campaign: Campaign, kind: str) -> list[str]:
        knobs = self.desk.knobs_for(campaign.stem)
        names = [campaign.name.report(kind, campaign.sent_at if knobs.report_hour_moves else None)]
        if knobs.report_copies:
            names.append(campaign.name.report(kind, campaign.sent_at + COPY_IS_LATER))
        return names

"""Growth of files in `Report`: bytes appended or put on top, sometimes torn or halved."""

import os
from collections.abc import Iterable
from pathlib import Path

from sms_sandbox import private, reports
from sms_sandbox.campaigns import Campaign, Memory
from sms_sandbox.desk import Desk

TORN_FOR = 60.0  # sandbox seconds until the rest of a torn line is written
HALVED_FOR = 3600.0  # sandbox seconds until the second half of an ACK is written
LONGEST_LINE = 8192  # most bytes of a report's line


class Growth:
    """Appends to reports; a kill during an append does no harm."""

    def __init__(self, desk: Desk, memory: Memory) -> None:
        self.desk = desk
        self.memory = memory

    def append(self, campaign: Campaign, lines: dict[str, str], *, answers: int) -> None:
        """Add lines to reports, by name; they contain `answers` answers."""
        pieces = {name: bytes.fromhex(tail) for name, tail in campaign.tails.items()}
        for name, text in lines.items():
            pieces[name] = pieces.get(name, b"") + self._headed(campaign, name, text).encode()
        self._intend(campaign, pieces)
        campaign.tails = {}
        torn = {name: self._torn(campaign, name, piece) for name, piece in pieces.items()}
        self._write(campaign, torn)
        campaign.answered += answers
        self._done(campaign)
        for name, text in lines.items():
            self.desk.note("grown", name=name, stem=campaign.stem, rows=text.count("\r\n"))

    def complete(self, campaign: Campaign) -> None:
        """Write the held back bytes."""
        self._intend(campaign, campaign.tails)
        self._write(campaign, {name: bytes.fromhex(tail) for name, tail in campaign.tails.items()})
        campaign.tails = {}
        self._done(campaign)

    def tear(self, campaign: Campaign, name: str, whole: Path) -> None:
        """Cut a new report before it appears, if a knob says so."""
        if self.desk.knobs_for(campaign.stem).ack_in_halves:
            self._halve(campaign, name, whole)
            return
        size = whole.stat().st_size
        with whole.open("r+b") as report:
            report.seek(max(size - LONGEST_LINE, 0))
            end = report.read()
            report.truncate(size - len(end) + len(self._torn(campaign, name, end)))

    def undo(self, campaign: Campaign) -> None:
        """Undo the unfinished work of a stopped process."""
        for name, size in campaign.growing.items():
            path = self.desk.place.report / name
            if path.exists() and self._newest_first(campaign, name):
                content = path.read_bytes()
                self._replace(path, content[len(content) - size :])
            elif path.exists():
                os.truncate(path, size)
        campaign.growing = {}

    def _halve(self, campaign: Campaign, name: str, whole: Path) -> None:
        rows = whole.read_bytes().splitlines(keepends=True)
        half = (len(rows) + 1) // 2
        whole.write_bytes(b"".join(rows[:half]))
        if rows[half:]:
            campaign.tails[name] = b"".join(rows[half:]).hex()
            campaign.tails_due = self.desk.now().timestamp() + HALVED_FOR

    def _newest_first(self, campaign: Campaign, name: str) -> bool:
        knobs = self.desk.knobs_for(campaign.stem)
        return knobs.newest_first and not name.startswith("ACK")

    def _replace(self, path: Path, content: bytes) -> None:
        fresh = self.desk.place.state / "grown.part"
        private.write(fresh, content)
        self.desk.date(fresh)
        fresh.replace(path)

    def _intend(self, campaign: Campaign, names: Iterable[str]) -> None:
        """Store the sizes of the reports before they change."""
        paths = {name: self.desk.place.report / name for name in names}
        sizes = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
        campaign.growing = sizes
        self.memory.keep(campaign)

    def _write(self, campaign: Campaign, pieces: dict[str, bytes]) -> None:
        for name, piece in pieces.items():
            path = self.desk.place.report / name
            if self._newest_first(campaign, name):
                self._replace(path, piece + (path.read_bytes() if path.exists() else b""))
                continue
            with private.opened(path, "ab") as report:
                report.write(piece)
            self.desk.date(path)

    def _done(self, campaign: Campaign) -> None:
        campaign.growing = {}
        self.memory.keep(campaign)

    def _headed(self, campaign: Campaign, name: str, text: str) -> str:
        is_new = not (self.desk.place.report / name).exists()
        is_wanted = self.desk.knobs_for(campaign.stem).report_header
        return reports.ANSWER_HEADER + text if is_new and is_wanted else text

    def _torn(self, campaign: Campaign, name: str, piece: bytes) -> bytes:
        """The part of `piece` to write now: with the knob `torn`, half of the last line waits."""
        torn = self.desk.knobs_for(campaign.stem).torn and not self._newest_first(campaign, name)
        if not torn or not piece:
            return piece
        last = len(piece) - (piece.rfind(b"\n", 0, -1) + 1)
        cut = len(piece) - last // 2
        campaign.tails[name] = piece[cut:].hex()
        campaign.tails_due = self.desk.now().timestamp() + TORN_FOR
        return piece[:cut]

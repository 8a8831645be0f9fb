"""What everyone at the provider's works with: where things are, the time, the journal."""

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sms_sandbox import clock
from sms_sandbox.account import Account
from sms_sandbox.journal import Journal
from sms_sandbox.knobs import Knobs, Panel


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gateway's things are, under one root."""

    root: Path

    @property
    def home(self) -> Path:
        """What clients see."""
        return self.root / "home"

    @property
    def send(self) -> Path:
        return self.home / "Send"

    @property
    def report(self) -> Path:
        return self.home / "Report"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def clock(self) -> Path:
        return self.root / "clock.json"

    @property
    def hold(self) -> Path:
        """While this file is there, time does not hurry: somebody has something under way."""
        return self.root / "hold"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def knobs(self) -> Path:
        return self.root / "knobs.json"


@dataclass(frozen=True, slots=True)
class Desk:
    """One gateway's place, account, knobs and journal."""

    place: Place
    account: Account
    panel: Panel
    journal: Journal
    seed: int

    @property
    def knobs(self) -> Knobs:
        """The knobs as they are turned now."""
        return self.panel.knobs

    def knobs_for(self, stem: str) -> Knobs:
        """The knobs as they are turned now for the campaign of a file."""
        return self.knobs.for_campaign(stem.rpartition("-")[2])

    def now(self) -> datetime:
        """Sandbox time."""
        return clock.now(self.place.clock)

    def note(self, what: str, **facts: object) -> None:
        """Write to the journal that something happened now."""
        self.journal.write(what, self.now(), **facts)

    def shown(self, path: Path) -> str:
        """A path as clients see it from their home."""
        return path.relative_to(self.place.home).as_posix()

    def ages(self, folder: Path, suffix: str = "") -> dict[Path, float]:
        """The files in a folder with their moments, in Unix seconds; any may vanish meanwhile."""
        found = {}
        for path in sorted(folder.glob(f"*{suffix}")):
            with contextlib.suppress(FileNotFoundError):
                found[path] = path.stat().st_mtime
        return found

    def rename(self, old: Path, new: Path) -> None:
        """Move a file as the gateway."""
        old.rename(new)
        names = {"from": self.shown(old), "to": self.shown(new)}
        self.note("rename", **names, by="gateway")

    def date(self, path: Path) -> None:
        """Give a file sandbox time, so that its age is right."""
        moment = self.now().timestamp()
        os.utime(path, (moment, moment))

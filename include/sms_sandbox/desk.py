"""Shared state of the gateway's modules: paths, time, knobs, journal."""

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
    """The paths of a gateway, under one root."""

    root: Path

    @property
    def home(self) -> Path:
        """The directory that clients see."""
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
        """While this file exists, the clock runs at real time: a client is at work."""
        return self.root / "hold"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def knobs(self) -> Path:
        return self.root / "knobs.json"


@dataclass(frozen=True, slots=True)
class Desk:
    """One gateway's paths, account, knobs and journal."""

    place: Place
    account: Account
    panel: Panel
    journal: Journal
    seed: int

    @property
    def knobs(self) -> Knobs:
        """The current knobs."""
        return self.panel.knobs

    def knobs_for(self, stem: str) -> Knobs:
        """The current knobs for the campaign of a file."""
        return self.knobs.for_campaign(stem.rpartition("-")[2])

    def now(self) -> datetime:
        """Sandbox time."""
        return clock.now(self.place.clock)

    def note(self, what: str, **facts: object) -> None:
        """Write an event to the journal, with sandbox time."""
        self.journal.write(what, self.now(), **facts)

    def shown(self, path: Path) -> str:
        """A path relative to the clients' home."""
        return path.relative_to(self.place.home).as_posix()

    def ages(self, folder: Path, suffix: str = "") -> dict[Path, float]:
        """The files in a folder with their moments, in Unix seconds; vanished files are skipped."""
        ages = {}
        for path in sorted(folder.glob(f"*{suffix}")):
            with contextlib.suppress(FileNotFoundError):
                ages[path] = path.stat().st_mtime
        return ages

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file as the gateway."""
        old.rename(new)
        names = {"from": self.shown(old), "to": self.shown(new)}
        self.note("rename", **names, by="gateway")

    def date(self, path: Path) -> None:
        """Set a file's times to sandbox time, so that its age is right."""
        moment = self.now().timestamp()
        os.utime(path, (moment, moment))

"""The gateway's memory of accepted files, always on disk.

A campaign is one JSON file in `DIR/state`, beside a copy of the accepted bytes, as the client may
delete its own. A killed gateway continues from there. `delivery` works on the campaigns.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from sms_sandbox import private
from sms_sandbox.names import Name
from sms_sandbox.outcomes import Shares

FEW = 10_000  # page, *Campaign stats*: "1 day after for [...] less than 10 000", else 4 days


class Stage(StrEnum):
    """The progress of an accepted campaign."""

    SETTLING = "settling"  # stored, its file not yet renamed to .done
    WAITING = "waiting"  # until its hour
    SENDING = "sending"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"  # its ACK file is written


@dataclass(slots=True)
class Campaign:
    """One accepted file. Moments are Unix seconds of sandbox time."""

    id: str  # the stem, with a number if the same stem was accepted before
    stem: str
    send_at: float
    is_closed: bool  # marketing on a closed day: every message is refused
    messages: int
    paid: int  # the first ones, up to the balance
    segments: int
    shares: Shares
    stage: Stage = Stage.SETTLING
    answered: int = 0  # STOPs and replies already in their reports
    growing: dict[str, int] = field(default_factory=dict)  # report: its size before it grows
    tails: dict[str, str] = field(default_factory=dict)  # report: held back bytes, in hex
    tails_due: float = 0.0

    @property
    def name(self) -> Name:
        """The parts of the file's name."""
        _, service_id, date, hour, campaign_id = self.stem.split("-")
        return Name(service_id, date, hour, campaign_id)

    @property
    def span(self) -> timedelta:
        """The time from the send to the ACK."""
        return timedelta(days=1 if self.messages < FEW else 4)

    @property
    def ack_at(self) -> float:
        """The moment when the ACK file is due."""
        return self.send_at + self.span.total_seconds()

    @property
    def is_awaited(self) -> bool:
        """Whether the campaign still has a report to come."""
        return self.stage is not Stage.ACKNOWLEDGED or bool(self.tails)

    @property
    def sent_at(self) -> datetime:
        """The moment of the send, in UTC."""
        return datetime.fromtimestamp(self.send_at, UTC)


class Memory:
    """The campaigns, each stored at every change."""

    def __init__(self, folder: Path) -> None:
        private.make_folder(folder)
        self.folder = folder
        self.campaigns = {path.stem: _load(path) for path in sorted(folder.glob("SEND-*.json"))}

    def free_id(self, stem: str) -> str:
        """An id for another campaign of this stem."""
        id, times = stem, 1
        while id in self.campaigns:
            times += 1
            id = f"{stem}~{times}"
        return id

    def content(self, id: str) -> Path:
        """The path of a campaign's accepted bytes."""
        return self.folder / f"{id}.csv"

    def keep(self, campaign: Campaign) -> None:
        """Store a campaign's present state."""
        self.campaigns[campaign.id] = campaign
        path = self.folder / f"{campaign.id}.json"
        fresh = path.with_suffix(f".{os.getpid()}")
        private.write(fresh, json.dumps(asdict(campaign)))
        fresh.replace(path)


def _load(path: Path) -> Campaign:
    stored = json.loads(path.read_text())
    stored["shares"] = Shares(**stored["shares"])
    stored["stage"] = Stage(stored["stage"])
    return Campaign(**stored)

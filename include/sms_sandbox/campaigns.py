"""What the gateway remembers of the files it accepted, on disk at every moment.

A campaign is one JSON file in `DIR/state`, beside a copy of the accepted bytes: the client may
delete its own. A gateway that is killed goes on from there. What the campaigns do is `provider`.
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
    """How far an accepted campaign has come."""

    SETTLING = "settling"  # remembered, its file not yet renamed to .done
    WAITING = "waiting"  # for its hour
    SENDING = "sending"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"  # its ACK file is there


@dataclass(slots=True)
class Campaign:
    """One accepted file. Moments are Unix seconds of sandbox time."""

    id: str  # the stem, numbered if the same stem was accepted before
    stem: str
    send_at: float
    is_closed: bool  # marketing on a day that is closed to it: every message is refused
    messages: int
    paid: int  # the first of them, as far as the balance goes
    segments: int
    shares: Shares
    stage: Stage = Stage.SETTLING
    answered: int = 0  # STOPs and replies that are in their reports
    growing: dict[str, int] = field(default_factory=dict)  # report: its size before it grows
    tails: dict[str, str] = field(default_factory=dict)  # report: torn off bytes, in hex
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
        """When the ACK file is due."""
        return self.send_at + self.span.total_seconds()

    @property
    def is_awaited(self) -> bool:
        """Whether something of this campaign is still to come."""
        return self.stage is not Stage.ACKNOWLEDGED or bool(self.tails)

    @property
    def sent_at(self) -> datetime:
        """The moment of the send, in UTC."""
        return datetime.fromtimestamp(self.send_at, UTC)


class Memory:
    """The campaigns, each kept as it changes."""

    def __init__(self, folder: Path) -> None:
        private.make_folder(folder)
        self.folder = folder
        self.campaigns = {path.stem: _load(path) for path in sorted(folder.glob("SEND-*.json"))}

    def free_id(self, stem: str) -> str:
        """An id for one more campaign of this stem."""
        id, times = stem, 1
        while id in self.campaigns:
            times += 1
            id = f"{stem}~{times}"
        return id

    def content(self, id: str) -> Path:
        """Where the accepted bytes of a campaign are."""
        return self.folder / f"{id}.csv"

    def keep(self, campaign: Campaign) -> None:
        """Remember a campaign as it is now."""
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

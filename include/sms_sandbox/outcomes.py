"""The outcome of each message, drawn from a seed.

An outcome depends only on (seed, campaign id, idremote) and the shares: not on the order of rows,
other messages or a restart.
"""

import hashlib
import struct
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import NamedTuple


class Status(IntEnum):
    """IDSTATUS of a delivery report.

    The page lacks its own table "IDSTATUS et STATUS"; the numbers are those of its example
    ("2;sent") and of the provider's public clients.
    """

    WAITING = 0
    IN_PROGRESS = 1
    SENT = 2
    DELIVERED = 3
    REFUSED = 4
    NOT_DELIVERED = 6

    @property
    def label(self) -> str:
        """STATUS of a delivery report."""
        return self.name.lower().replace("_", " ")


PENDING = (Status.SENT, Status.WAITING, Status.IN_PROGRESS)
STOPS = ("STOP", "Stop", "stop", "STOP SMS", "Stop. Merci", "STOP; plus de pub")
REPLIES = (
    "Oui",
    "Merci beaucoup",
    "Qui êtes-vous ?",
    "Ok; à demain",
    "Je serai là à 10h",
    "Non merci",
    'Vous dites "demain" ?',
    "ARRET",
)
NUMBERS = struct.Struct("<4IQ")  # the parts of a message's digest
WHOLE = 2.0**32  # divides a 32-bit number into [0, 1)
FIRST_ANSWER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Shares:
    """The share of each outcome; fixed for a campaign."""

    refused: float
    not_delivered: float
    pending: float
    unreported: float
    stop: float
    reply: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A recipient's reply, and its delay after the send."""

    kind: str  # STOP or SMSMO
    text: str
    after: timedelta


class Fate(NamedTuple):
    """The outcome of one message."""

    status: Status
    is_reported: bool
    answer: Answer | None
    draw: bytes

    @property
    def ticket(self) -> str:
        """ACKOPERATOR: an identifier in the format of the page's."""
        digits = self.draw[:16].hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class Lottery:
    """Draws the outcomes of one campaign's messages."""

    def __init__(self, seed: int, campaign_id: str, shares: Shares, span: timedelta) -> None:
        """`span` is the time from the send to the delivery report."""
        self._hash = hashlib.blake2b(f"{seed}/{campaign_id}/".encode(), digest_size=24)
        self._refused = shares.refused
        self._not_delivered = self._refused + shares.not_delivered
        self._pending = self._not_delivered + shares.pending
        self._unreported = shares.unreported
        self._stop = shares.stop
        self._answering = shares.stop + shares.reply
        self._span = span

    def fate(self, idremote: str) -> Fate:
        """The outcome of a message, always the same."""
        hashed = self._hash.copy()
        hashed.update(idremote.encode())
        draw = hashed.digest()
        status_chance, answer_chance, delay, report_chance, pick = NUMBERS.unpack(draw)
        status = self._status(status_chance / WHOLE, pick)
        answer = None
        if status is Status.DELIVERED and answer_chance / WHOLE < self._answering:
            answer = self._answer(answer_chance / WHOLE, pick, delay / WHOLE)
        return Fate(status, report_chance / WHOLE >= self._unreported, answer, draw)

    def _status(self, chance: float, pick: int) -> Status:
        if chance >= self._pending:
            return Status.DELIVERED
        if chance >= self._not_delivered:
            return PENDING[pick % len(PENDING)]
        return Status.NOT_DELIVERED if chance >= self._refused else Status.REFUSED

    def _answer(self, chance: float, pick: int, delay: float) -> Answer:
        """A reply; the delay is cubed, so most are early, and all precede the delivery report."""
        after = FIRST_ANSWER + (self._span - 2 * FIRST_ANSWER) * delay**3
        if chance < self._stop:
            return Answer("STOP", STOPS[pick % len(STOPS)], after)
        return Answer("SMSMO", REPLIES[pick % len(REPLIES)], after)

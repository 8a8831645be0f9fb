"""Every way in which the gateway can be made to misbehave, and how to turn it while it runs.

The flags of the command line set them at the start; `DIR/knobs.json` (an object of the fields
below) wins over them, and is read again before every operation if it changed.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args

from sms_sandbox import private

Verb = Literal["login", "put", "write", "rename", "remove", "list", "stat", "get"]
When = Literal["before", "after"]
Attribute = Literal["size", "times", "permissions"]


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut the connection at the n-th time of a verb: before it is done, or done but unanswered.

    A put begins when a file is opened for writing and is done when it is closed.
    """

    verb: Verb
    when: When = "after"
    nth: int = 1

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Drop":
        """A drop from a mapping; ValueError if no such drop is known."""
        drop = cls(**told)
        if drop.verb not in get_args(Verb) or drop.when not in get_args(When) or drop.nth < 1:
            raise ValueError(f"no such drop: {drop}")
        return drop


@dataclass(frozen=True, slots=True)
class Knobs:
    """The gateway's manners; the defaults are a provider on a good day."""

    latency: float = 0.0  # real seconds that each operation takes longer
    refuse_logins: bool = False
    silent: bool = False  # a .csv is never taken
    stuck: bool = False  # a .lock never ends
    lock_seconds: float = 0.0  # sandbox seconds that a .lock lasts at least
    reject: bool = False  # every file gets .reject
    ack_late_hours: float = 0.0  # sandbox hours
    torn: bool = False  # the last line of a growing report comes in two pieces
    ack_in_halves: bool = False  # half of an ACK's rows come an hour after the others
    packed_acks: bool = False  # an ACK comes as .csv.gz
    newest_first: bool = False  # a growing report is written anew, its latest rows on top
    bare_reports: bool = False  # reports as in the page's example: no quotes, "2 ", a broken UUID
    report_header: bool = False
    report_hour_moves: bool = False  # a report's name shows the hour of the real send
    report_copies: bool = False  # each report comes a second time, named by an hour later
    rows_twice: bool = False  # an ACK tells of each message twice: as sent, then as it ended
    balance: int | None = None  # SMS that can still be paid for, in each campaign
    refused: float = 0.02  # shares of the messages sent
    not_delivered: float = 0.04
    pending: float = 0.01
    unreported: float = 0.0  # sent, but without a row in the ACK
    stop: float = 0.02  # shares of the recipients reached
    reply: float = 0.03
    untold: tuple[Attribute, ...] = ()  # what listings and stats leave out
    drops: tuple[Drop, ...] = ()
    # By shell-style patterns of campaign ids: what is turned otherwise for these campaigns' files.
    campaigns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, turned: dict[str, Any], base: "Knobs") -> "Knobs":
        """`base` with what a mapping says otherwise; ValueError names an unknown knob."""
        unknown = turned.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"no such knob: {', '.join(sorted(unknown))}")
        for pattern, special in turned.get("campaigns", {}).items():
            if of_all := special.keys() & OF_ALL_CAMPAIGNS:
                raise ValueError(f"{', '.join(sorted(of_all))} can't be turned for {pattern} alone")
            cls.of(dict(special), base)
        drops = turned.get("drops", base.drops)
        listed = tuple(drop if isinstance(drop, Drop) else Drop.of(drop) for drop in drops)
        untold = tuple(turned.get("untold", base.untold))
        if strange := set(untold) - set(get_args(Attribute)):
            raise ValueError(f"no such attribute: {', '.join(sorted(strange))}")
        return replace(base, **{**turned, "drops": listed, "untold": untold})

    def for_campaign(self, campaign_id: str) -> "Knobs":
        """As they are turned for one campaign; of several patterns that match, the last wins."""
        special: dict[str, Any] = {}
        for pattern, turned in self.campaigns.items():
            if fnmatchcase(campaign_id, pattern):
                special |= turned
        return replace(self, **special) if special else self


OF_ALL_CAMPAIGNS = {"refuse_logins", "untold", "drops", "campaigns"}


class Panel:
    """The knobs as they are turned now, and which drops have had their turn."""

    def __init__(self, path: Path, base: Knobs) -> None:
        self.path = path
        self._base = base
        self._knobs = base
        self._seen: tuple[int, ...] | None = None
        self._times: Counter[tuple[str, str]] = Counter()

    @property
    def knobs(self) -> Knobs:
        """How they are turned at this moment."""
        seen = stamp(self.path)
        if seen != self._seen:
            self._seen = seen
            with contextlib.suppress(json.JSONDecodeError):  # being written: it will change again
                told = json.loads(self.path.read_text()) if seen else {}
                self._take(Knobs.of(told, self._base))
        return self._knobs

    def turn(self, **changes: Any) -> Knobs:
        """Turn some knobs and leave the others; the file shows it."""
        turned = Knobs.of(changes, self.knobs)
        if "drops" in changes:
            self._times.clear()  # the same drop may be asked for again
        fresh = self.path.with_name(f".{self.path.name}")
        private.write(fresh, json.dumps(asdict(turned)))
        fresh.replace(self.path)
        return self.knobs

    def is_dropped(self, verb: Verb, when: When) -> bool:
        """Whether the connection breaks at this very operation; asking counts it."""
        drops = [drop for drop in self.knobs.drops if (drop.verb, drop.when) == (verb, when)]
        self._times[verb, when] += 1
        return any(drop.nth == self._times[verb, when] for drop in drops)

    def _take(self, knobs: Knobs) -> None:
        if knobs.drops != self._knobs.drops:
            self._times.clear()
        self._knobs = knobs


def stamp(path: Path) -> tuple[int, ...] | None:
    """What changes whenever a file is replaced; None while there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size

"""Every misbehaviour of the gateway, and how to change it while the gateway runs.

Command-line flags set the knobs at the start. `DIR/knobs.json` (an object of the fields below)
overrides them, and is read again before every operation if it changed.
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
    """A cut of the connection at the n-th call of a verb: before it runs, or before its answer.

    A put begins when a file is opened for writing and ends when the file is closed.
    """

    verb: Verb
    when: When = "after"
    nth: int = 1

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Drop":
        """A drop from a mapping. Raises ValueError for an unknown drop."""
        drop = cls(**values)
        if drop.verb not in get_args(Verb) or drop.when not in get_args(When) or drop.nth < 1:
            raise ValueError(f"no such drop: {drop}")
        return drop


@dataclass(frozen=True, slots=True)
class Knobs:
    """The gateway's behaviour; the defaults are a provider without faults."""

    latency: float = 0.0  # extra real seconds of each operation
    refuse_logins: bool = False
    silent: bool = False  # no .csv is taken
    stuck: bool = False  # no .lock ends
    lock_seconds: float = 0.0  # least sandbox seconds of a .lock
    reject: bool = False  # every file gets .reject
    ack_late_hours: float = 0.0  # sandbox hours
    torn: bool = False  # the last line of a growing report is written in two pieces
    ack_in_halves: bool = False  # half of an ACK's rows are written an hour later
    packed_acks: bool = False  # ACKs are .csv.gz
    newest_first: bool = False  # a growing report is rewritten with its latest rows on top
    bare_reports: bool = False  # as the page's example: no quotes, "2 ", a broken UUID
    report_header: bool = False
    report_hour_moves: bool = False  # a report's name has the hour of the real send
    report_copies: bool = False  # each report has a copy, with a name one hour later
    rows_twice: bool = False  # an ACK has two rows of each message: sent, and the final status
    balance: int | None = None  # paid SMS in each campaign
    refused: float = 0.02  # shares of the messages sent
    not_delivered: float = 0.04
    pending: float = 0.01
    unreported: float = 0.0  # sent, without a row in the ACK
    stop: float = 0.02  # shares of the reached recipients
    reply: float = 0.03
    hidden: tuple[Attribute, ...] = ()  # attributes missing in listings and stats
    drops: tuple[Drop, ...] = ()
    # Other values for some campaigns, by shell-style patterns of their ids.
    campaigns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, turned: dict[str, Any], base: "Knobs") -> "Knobs":
        """`base` with the changes of a mapping. Raises ValueError for an unknown knob."""
        unknown = turned.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"no such knob: {', '.join(sorted(unknown))}")
        for pattern, special in turned.get("campaigns", {}).items():
            if of_all := special.keys() & OF_ALL_CAMPAIGNS:
                raise ValueError(f"{', '.join(sorted(of_all))} can't be turned for {pattern} alone")
            cls.of(dict(special), base)
        drops = turned.get("drops", base.drops)
        listed = tuple(drop if isinstance(drop, Drop) else Drop.of(drop) for drop in drops)
        hidden = tuple(turned.get("hidden", base.hidden))
        if strange := set(hidden) - set(get_args(Attribute)):
            raise ValueError(f"no such attribute: {', '.join(sorted(strange))}")
        return replace(base, **{**turned, "drops": listed, "hidden": hidden})

    def for_campaign(self, campaign_id: str) -> "Knobs":
        """The knobs for one campaign; of several matching patterns, the last wins."""
        special: dict[str, Any] = {}
        for pattern, turned in self.campaigns.items():
            if fnmatchcase(campaign_id, pattern):
                special |= turned
        return replace(self, **special) if special else self


OF_ALL_CAMPAIGNS = {"refuse_logins", "hidden", "drops", "campaigns"}


class Panel:
    """The current knobs, and the count of calls for drops."""

    def __init__(self, path: Path, base: Knobs) -> None:
        self.path = path
        self._base = base
        self._knobs = base
        self._seen: tuple[int, ...] | None = None
        self._times: Counter[tuple[str, str]] = Counter()

    @property
    def knobs(self) -> Knobs:
        """The current knobs."""
        seen = stamp(self.path)
        if seen != self._seen:
            self._seen = seen
            with contextlib.suppress(json.JSONDecodeError):  # half written: it will change again
                values = json.loads(self.path.read_text()) if seen else {}
                self._take(Knobs.of(values, self._base))
        return self._knobs

    def turn(self, **changes: Any) -> Knobs:
        """Change some knobs, also in the file."""
        turned = Knobs.of(changes, self.knobs)
        if "drops" in changes:
            self._times.clear()  # counts start again for repeated drops
        fresh = self.path.with_name(f".{self.path.name}")
        private.write(fresh, json.dumps(asdict(turned)))
        fresh.replace(self.path)
        return self.knobs

    def is_dropped(self, verb: Verb, when: When) -> bool:
        """Whether the connection breaks at this operation; each call counts one operation."""
        drops = [drop for drop in self.knobs.drops if (drop.verb, drop.when) == (verb, when)]
        self._times[verb, when] += 1
        return any(drop.nth == self._times[verb, when] for drop in drops)

    def _take(self, knobs: Knobs) -> None:
        if knobs.drops != self._knobs.drops:
            self._times.clear()
        self._knobs = knobs


def stamp(path: Path) -> tuple[int, ...] | None:
    """A value that changes whenever a file is replaced; None without a file."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size

"""What goes wrong: parts that are killed, lines that break, a gateway that is away, late STOPs.

Everything is drawn from one seed. What was done to whom is counted; what is down comes back after
a while, as a machine's own supervisor would bring it back.
"""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import psutil
import psycopg
import pyarrow as pa

from demo.reckoning import ON_ITS_WAY
from demo.stack import AIRFLOW_PARTS, DATABASES, Stack
from sms.errors import LedgerUnreachable

SCHEDULERS = [part for part in AIRFLOW_PARTS if "scheduler" in part]
GATEWAY = "sandbox"
VERBS = ("login", "put", "write", "rename", "rename", "remove", "list", "stat", "get")
LONGEST_AWAY = 6.0  # seconds
# How the provider writes its reports on some of the campaigns, by their ids.
MANNERS = {"alone*": {"packed_acks": True}, "sale*": {"newest_first": True}}


@dataclass
class Troubles:
    """Makes one after the other, and mends them."""

    stack: Stack
    chance: random.Random
    people: Collection[int] = ()  # who may say STOP
    said_stop: dict[int, datetime] = field(default_factory=dict)  # and when all knew of it
    made: Counter[str] = field(default_factory=Counter)
    _down: dict[str, float] = field(default_factory=dict)  # until when
    _slow_until: float = 0.0

    def __post_init__(self) -> None:
        self._turn()

    def make_one(self) -> None:
        """One trouble, drawn by its weight."""
        weights: dict[Callable[[], str | None], int] = {
            self._kill_some_part: 3,
            self.kill_task: 3,
            self._cut_some_database: 2,
            self._kill_gateway_that_is_up: 2,
            self._cut_some_line: 4,
            self.slow_gateway: 1,
            self._let_somebody_say_stop: 3,
        }
        [trouble] = self.chance.choices([*weights], [*weights.values()])
        self.make(trouble)

    def make(self, trouble: Callable[[], str | None]) -> bool:
        """Whether this trouble could be made; then it is counted."""
        told = trouble()
        if told:
            self.made[told] += 1
        return bool(told)

    def mend(self, *, all_of_it: bool = False) -> None:
        """Bring back what has been down for long enough, and what ended by itself."""
        for name in [*self.stack.parts.dead()]:
            self.stack.parts.end(name)
            self.made[f"{name} ended by itself"] += 1
            self._down[name] = 0.0
        now = time.monotonic()
        self.bring_back([name for name, until in self._down.items() if all_of_it or now >= until])
        if self._slow_until and (all_of_it or now >= self._slow_until):
            self._slow_until = 0.0
            self._turn()
        if all_of_it:
            self._turn()

    def bring_back(self, names: Collection[str] | None = None) -> None:
        """Start these parts anew, or all that are down."""
        for name in [*self._down] if names is None else names:
            del self._down[name]
            if name == GATEWAY:
                self.stack.start_gateway()
            else:
                self.stack.start(name)

    def restart_schedulers(self) -> None:
        """What a person does who sees tasks that stay queued.

        A worker of the LocalExecutor that was killed takes its place in the executor with it, and
        may hold the queue for ever (Airflow 3.3): only a new scheduler begins with all of them.
        """
        for part in SCHEDULERS:
            if part not in self._down:
                self.stack.parts.kill(part)
                self._down[part] = 0.0
        self.made["schedulers restarted by hand"] += 1

    def kill_part(self, part: str) -> str:
        """End a part of Airflow as a power cut does."""
        self.stack.parts.kill(part)
        self._away(part)
        return f"{part} killed"

    def kill_task(self) -> str | None:
        """End a process below a scheduler: a task's own, or the one that watches over it."""
        found: list[psutil.Process] = []
        for part in SCHEDULERS:
            if part not in self._down:
                leader, *others = self.stack.parts.members(part)
                for process in others:
                    with suppress(psutil.Error):
                        if process.ppid() != leader.pid or process.children():
                            found.append(process)
        if not found:
            return None
        with suppress(psutil.Error):
            self.chance.choice(found).kill()
        return "task killed"

    def cut_database(self, database: str, share: float = 0.7) -> str:
        """End this share of a database's connections."""
        with self.stack.postgres.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND random() < %s",
                [database, share],
            )
        return f"connections to {database} cut"

    def kill_gateway(self) -> str:
        """End the gateway as a power cut does."""
        self.stack.servers.kill(GATEWAY)
        self._away(GATEWAY)
        return "gateway killed"

    def cut_line(self, verb: str, when: str, nth: int = 1) -> str:
        """Cut the line at the n-th time of a verb from now."""
        self._turn(drops=[{"verb": verb, "when": when, "nth": nth}])
        return f"line cut {when} {verb}"

    def slow_gateway(self) -> str:
        """Let each of the gateway's answers come late."""
        self._slow_until = time.monotonic() + self.chance.uniform(1, LONGEST_AWAY)
        self._turn(latency=0.3)
        return "gateway slow"

    def say_stop(self, person: int) -> str | None:
        """Let somebody say STOP."""
        rows = pa.table(
            {
                "msisdn": pa.array([person], pa.int64()),
                "opted_out_at": pa.array([self.stack.now()], pa.timestamp("us", "UTC")),
                "message": ["STOP"],
            }
        )
        try:
            self.stack.ledger.stop_list.add(rows, source="import")
        except (LedgerUnreachable, psycopg.OperationalError):  # our own connection was cut, too
            return None
        self.said_stop[person] = self.stack.now()
        return "STOP said"

    def _kill_some_part(self) -> str | None:
        up = [part for part in AIRFLOW_PARTS if part not in self._down]
        return self.kill_part(self.chance.choice(up)) if up else None

    def _cut_some_database(self) -> str:
        return self.cut_database(self.chance.choice(DATABASES))

    def _kill_gateway_that_is_up(self) -> str | None:
        return None if GATEWAY in self._down else self.kill_gateway()

    def _cut_some_line(self) -> str:
        verb, when = self.chance.choice(VERBS), self.chance.choice(("before", "after"))
        return self.cut_line(verb, when, self.chance.randint(1, 3))

    def _let_somebody_say_stop(self) -> str | None:
        silent = sorted(set(self.people) - self.said_stop.keys())
        return self.say_stop(self.chance.choice(silent)) if silent else None

    def _away(self, name: str) -> None:
        self._down[name] = time.monotonic() + self.chance.uniform(0.5, LONGEST_AWAY)

    def _turn(self, **knobs: object) -> None:
        assert self.stack.gateway
        file = self.stack.gateway.root / "knobs.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({"campaigns": MANNERS, **knobs}))
        fresh.replace(file)


def late(said_at: datetime, renamed_at: datetime) -> bool:
    """Whether a STOP came too late to be left out: when the rename was on its way already."""
    return said_at > renamed_at - ON_ITS_WAY

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
from datetime import datetime, timedelta

import psutil
import psycopg
import pyarrow as pa

from demo.stack import AIRFLOW_PARTS, DATABASES, Stack
from sms.errors import LedgerUnreachable

SCHEDULERS = [part for part in AIRFLOW_PARTS if "scheduler" in part]
GATEWAY = "sandbox"
VERBS = ("login", "put", "write", "rename", "rename", "remove", "list", "stat", "get")
LONGEST_AWAY = 6.0  # seconds


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

    def make_one(self) -> None:
        """One trouble, drawn by its weight."""
        weights: dict[Callable[[], str | None], int] = {
            self._kill_part: 3,
            self._kill_task: 3,
            self._cut_database: 2,
            self._kill_gateway: 2,
            self._cut_line: 4,
            self._slow_gateway: 1,
            self._say_stop: 3,
        }
        [trouble] = self.chance.choices([*weights], [*weights.values()])
        if told := trouble():
            self.made[told] += 1

    def mend(self, *, all_of_it: bool = False) -> None:
        """Bring back what has been down for long enough, and what ended by itself."""
        for name in [*self.stack.parts.dead()]:
            self.stack.parts.end(name)
            self.made[f"{name} ended by itself"] += 1
            self._down[name] = 0.0
        now = time.monotonic()
        for name in [name for name, until in self._down.items() if all_of_it or now >= until]:
            del self._down[name]
            if name == GATEWAY:
                self.stack.start_gateway()
            else:
                self.stack.start(name)
        if self._slow_until and (all_of_it or now >= self._slow_until):
            self._slow_until = 0.0
            self._turn()
        if all_of_it:
            self._turn()

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

    def _kill_part(self) -> str | None:
        up = [part for part in AIRFLOW_PARTS if part not in self._down]
        if not up:
            return None
        part = self.chance.choice(up)
        self.stack.parts.kill(part)
        self._away(part)
        return f"{part} killed"

    def _kill_task(self) -> str | None:
        """A process below a scheduler: a task's own, or the one that watches over it."""
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

    def _cut_database(self) -> str | None:
        database = self.chance.choice(DATABASES)
        with self.stack.postgres.connect() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = %s AND random() < 0.7",
                [database],
            )
        return f"connections to {database} cut"

    def _kill_gateway(self) -> str | None:
        if GATEWAY in self._down:
            return None
        self.stack.servers.kill(GATEWAY)
        self._away(GATEWAY)
        return "gateway killed"

    def _cut_line(self) -> str | None:
        verb, when = self.chance.choice(VERBS), self.chance.choice(("before", "after"))
        self._turn(drops=[{"verb": verb, "when": when, "nth": self.chance.randint(1, 3)}])
        return f"line cut {when} {verb}"

    def _slow_gateway(self) -> str | None:
        self._slow_until = time.monotonic() + self.chance.uniform(1, LONGEST_AWAY)
        self._turn(latency=0.3)
        return "gateway slow"

    def _say_stop(self) -> str | None:
        silent = sorted(set(self.people) - self.said_stop.keys())
        if not silent:
            return None
        person = self.chance.choice(silent)
        rows = pa.table(
            {
                "msisdn": pa.array([person], pa.int64()),
                "opted_out_at": pa.array([self.stack.now()], pa.timestamp("us", "UTC")),
                "message": ["STOP"],
            }
        )
        try:
            self.stack.ledger.add_opt_outs(rows, source="import")
        except (LedgerUnreachable, psycopg.OperationalError):  # our own connection was cut, too
            return None
        self.said_stop[person] = self.stack.now()
        return "STOP said"

    def _away(self, name: str) -> None:
        self._down[name] = time.monotonic() + self.chance.uniform(0.5, LONGEST_AWAY)

    def _turn(self, **knobs: object) -> None:
        assert self.stack.gateway
        file = self.stack.gateway.root / "knobs.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(knobs))
        fresh.replace(file)


def late(said_at: datetime, renamed_at: datetime) -> bool:
    """Whether a STOP came too late to be left out: while the last look had already been taken."""
    return said_at > renamed_at - LOOK_TO_RENAME


LOOK_TO_RENAME = timedelta(seconds=10)  # at most, on a machine that is busy dying

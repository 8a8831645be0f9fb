"""Many campaigns while everything dies around them; in the end the books balance.

`CHAOS_MINUTES` (2) is how long new days are begun, `CHAOS_SEED` decides what goes wrong. A person
is played, too: whoever finds a failed task clears it, restarts the schedulers where tasks stay
queued, and does no more.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from demo.airflow_api import AirflowRefused, NotThere, Run, TaskInstance
from demo.processes import PAUSE
from demo.stack import Stack
from sms.clock import PARIS
from sms_sandbox import clock
from tests.chaos.books import faults
from tests.chaos.troubles import Troubles
from tests.journeys.conftest import PEOPLE, TEXT, TUESDAY, write_campaign

MINUTES = float(os.environ.get("CHAOS_MINUTES") or 2)
SEED = int(os.environ.get("CHAOS_SEED") or 20270302)
SENDING, COLLECTING = 75.0, 45.0  # seconds of trouble in a day: two minutes
HEALING = 300.0  # seconds until all is well again, or it never will be
QUEUED_FOR_LONG = 40.0
FIRST = 33_639_980_000

PARCEL = "kind: transactional\nsender: CHAOS\n"
SALE = 'kind: marketing\nsender: CHAOS\nstop_mention: "STOP 36180"\n'
CAMPAIGNS = {  # name: its file, its people from and to
    "alone": (PARCEL, 1, 40),
    "in_parts": (PARCEL + "max_per_file: 10\n", 101, 125),
    "at_an_hour": (PARCEL, 201, 230),
    "clicked_twice": (PARCEL, 301, 330),
    "sale": (SALE, 401, 440),
}
# What a cluster that lives for months finds out in minutes, this one must in seconds.
VARIABLES = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
SETTINGS = {"claim_lease": "20 seconds", "upload_lead": "20 seconds"}
FLAGS = ("--jumps", "--torn", "--stop", "0.05", "--reply", "0.1")

Deed = Callable[[], object]


@dataclass
class Chaos:
    """A stack, what goes wrong with it, and the one who cares for its campaigns."""

    stack: Stack
    troubles: Troubles
    days: int = 0
    sent: list[Run] = field(default_factory=list)  # those that were to send
    _today: list[Run] = field(default_factory=list)

    def day(self) -> None:
        """Some campaigns go out, a night passes, their reports come home."""
        self.days += 1
        self._today = []
        clicks = [self._click("clicked_twice", f"_click{n}") for n in (1, 2)]
        self._suffer(
            SENDING,
            [
                (0, self._click("alone")),
                (5, self._click("in_parts")),
                (10, self._click("at_an_hour", ahead=timedelta(minutes=1))),
                (20, clicks[0]),
                (20, clicks[1]),
                (30, self._click("sale")),
            ],
        )
        self._heal(self._today)
        self.sent += [run for run in self._today if not self._stood_aside(run)]
        stems = [each.stem for run in self._today for each in self._files(run)]
        begun = self.stack.now()
        self._suffer(
            COLLECTING,
            [
                (0, lambda: self._jump(begun + timedelta(hours=3))),
                (5, self._collect("morning")),
                (15, lambda: self._jump(begun + timedelta(hours=26))),
                (25, self._collect("evening")),
            ],
        )
        self._heal([_run("collect_delivery_report", f"ack__{stem}") for stem in stems])
        last = _run("collect_replies", f"night{self.days}")
        self._trigger(last)
        # One at a time: one that waits for its next try holds up all others.
        earlier = self.stack.airflow.runs(last.dag_id)
        self._heal([*(run for run in earlier if not run.finished), last])
        self._jump(_next_open_day(self.stack.now()))

    def faults(self) -> list[str]:
        """What does not add up."""
        keys = [f"{run.dag_id}/{run.run_id}" for run in self.sent]
        return faults(self.stack, keys, self.troubles.said_stop)

    def __str__(self) -> str:
        made = ", ".join(f"{what} {times}x" for what, times in self.troubles.made.most_common())
        files = sum(len(self._files(run)) for run in self.sent)
        return (
            f"chaos, seed {SEED}: {self.days} days, {len(self.sent)} runs, {files} files, "
            f"{self.troubles.made.total()} troubles ({made})"
        )

    def _suffer(self, seconds: float, plot: Sequence[tuple[float, Deed]]) -> None:
        """Trouble after trouble, while the deeds of the plot are done, each when its time comes."""
        chance, begun = self.troubles.chance, time.monotonic()
        waiting, next_one = [*plot], begun
        while (passed := time.monotonic() - begun) < seconds or waiting:
            self.troubles.mend()
            if waiting and passed >= waiting[0][0] and _done(waiting[0][1]):
                waiting.pop(0)
            if time.monotonic() >= next_one:
                self.troubles.make_one()
                next_one = time.monotonic() + chance.uniform(1, 4)
            time.sleep(PAUSE)
        self.troubles.mend(all_of_it=True)

    def _heal(self, runs: Sequence[Run]) -> None:
        """Clear what failed, as a person does, until each run has done its work."""
        left = [*runs]
        begun = looked = time.monotonic()
        while left:
            if time.monotonic() > looked + QUEUED_FOR_LONG:
                looked = time.monotonic()
                if any("queued" in self._states(run) for run in left):
                    self.troubles.restart_schedulers()
            self.troubles.mend()
            left = [run for run in left if not _done(lambda: self._is_well(run))]  # noqa: B023
            assert time.monotonic() < begun + HEALING, "\n".join(map(self._told, left))
            time.sleep(0.5)

    def _is_well(self, run: Run) -> None:
        """Return once the run has done its work; else clear what failed, and say no."""
        now = self.stack.airflow.run(run.dag_id, run.run_id)
        if now.state == "success" or self._stood_aside(run):
            return
        tasks = self._tasks(run)
        stuck = ("up_for_retry",) if now.state != "failed" else ("failed", "upstream_failed")
        if failed := [task.task_id for task in tasks if task.state in stuck]:
            self.stack.airflow.clear(run.dag_id, run.run_id, failed, only_failed=False)
        raise NotThere("it is still at work")

    def _states(self, run: Run) -> set[str | None]:
        found: set[str | None] = set()
        _done(lambda: found.update(task.state for task in self._tasks(run)))
        return found

    def _tasks(self, run: Run) -> list[TaskInstance]:
        return self.stack.airflow.task_instances(run.dag_id, run.run_id)

    def _stood_aside(self, run: Run) -> bool:
        """Whether it left its campaign to the run that was triggered at the same moment."""
        if not run.dag_id.endswith("clicked_twice"):
            return False
        tasks = self._tasks(run)
        plan = next(task for task in tasks if task.task_id == "plan")
        return plan.state == "failed" and "this run stands aside" in self.stack.airflow.log(
            run.dag_id, run.run_id, plan
        )

    def _click(self, campaign: str, which: str = "", ahead: timedelta | None = None) -> Deed:
        run = _run(f"send__{campaign}", f"day{self.days}{which}")

        def click() -> None:
            send_at = (self.stack.now() + ahead).isoformat() if ahead else None
            self._trigger(run, send_at=send_at)
            self._today.append(run)

        return click

    def _trigger(self, run: Run, **params: object) -> None:
        try:
            self.stack.airflow.trigger(run.dag_id, params, run_id=run.run_id)
        except AirflowRefused as error:
            if "already exists" not in str(error):  # else only the answer had been lost
                raise

    def _collect(self, when: str) -> Deed:
        return lambda: self._trigger(_run("collect_replies", f"{when}{self.days}"))

    def _jump(self, to: datetime) -> None:
        assert self.stack.gateway
        clock.move(self.stack.gateway.clock_file, to=to)

    def _files(self, run: Run) -> list[object]:
        return self.stack.ledger.submissions(f"{run.dag_id}/{run.run_id}")

    def _told(self, run: Run) -> str:
        told = [f"{run.dag_id} {run.run_id} never got well"]
        try:
            tasks = self._tasks(run)
        except AirflowRefused as error:
            return f"{told[0]}: {error}"
        for task in tasks:
            told.append(f"  {task.task_id} is {task.state}, try {task.try_number}")
            if task.state in ("failed", "up_for_retry", "running"):
                log = self.stack.airflow.log(run.dag_id, run.run_id, task).splitlines()
                told += [f"    {line}" for line in log[-12:]]
        return "\n".join(told)


def _run(dag_id: str, run_id: str) -> Run:
    return Run(dag_id, run_id, "queued", datetime.now(PARIS), None, None)


def _done(deed: Deed) -> bool:
    """Whether it could be done: what is down now may be up at the next try."""
    try:
        deed()
    except (AirflowRefused, httpx.TransportError):
        return False
    return True


def _next_open_day(now: datetime) -> datetime:
    """The next morning on which shops write to people."""
    morning = now.astimezone(PARIS).replace(hour=9, minute=30, second=0) + timedelta(days=1)
    return morning + timedelta(days=morning.weekday() == 6)


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Chaos]:
    """Everything up, two schedulers among it, and the campaigns on."""
    campaigns = tmp_path / "campaigns"
    campaigns.mkdir()
    people = []
    for name, (yaml, first, last) in CAMPAIGNS.items():
        write_campaign(campaigns / name, yaml, PEOPLE % (first, last), TEXT)
        people += range(FIRST + first, FIRST + last + 1)
    with Stack(
        clock=TUESDAY,
        flags=FLAGS,
        changes={"campaigns_folder": str(campaigns), **SETTINGS},
        variables=VARIABLES,
        two_schedulers=True,
    ) as stack:
        for dag_id in (*(f"send__{name}" for name in CAMPAIGNS), *COLLECTORS):
            stack.airflow.unpause(dag_id)
        yield Chaos(stack, Troubles(stack, random.Random(SEED), people))


COLLECTORS = ("collect_delivery_report", "collect_replies")


@pytest.mark.timeout(MINUTES * 60 + 4 * HEALING)
def test_the_books_balance_whatever_dies(chaos: Chaos, tell: Callable[[str], None]) -> None:
    begun = time.monotonic()
    while not chaos.days or time.monotonic() - begun < MINUTES * 60:
        chaos.day()

    found = chaos.faults()

    tell(f"{chaos}: {len(found)} broken promises")
    assert found == []
    assert len(chaos.sent) == chaos.days * len(CAMPAIGNS)

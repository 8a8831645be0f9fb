"""Days on which campaigns go out while everything dies around them, and who cares for them.

A person is played, too: whoever finds a failed task clears it, asks the provider about a file of
unknown fate and says what they said, restarts the schedulers where tasks stay queued, and does no
more.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import psycopg

from demo.airflow_api import AirflowRefused, NotThere, Run, TaskInstance
from demo.processes import PAUSE, wait_until
from demo.stack import Stack
from sms.clock import PARIS
from sms.errors import LedgerUnreachable
from sms.ledger.records import Submission
from sms.ledger.runs import AT_ONCE
from sms.ledger.states import SENT, State
from sms_sandbox import clock
from tests.chaos.books import faults
from tests.chaos.troubles import SCHEDULERS, Troubles
from tests.journeys.conftest import CALM

SENDING, COLLECTING = 75.0, 45.0  # seconds of trouble in a day: two minutes
HEALING = 1800.0  # seconds until all is well again on a busy machine, or it never will be
QUEUED_FOR_LONG = 40.0  # seconds, at first: a person who restarts in vain waits longer each time
LOOK = 0.25  # seconds between two looks
FIRST = 33_639_980_000

PARCEL = "kind: transactional\nsender: CHAOS\n"
SALE = 'kind: marketing\nsender: CHAOS\nstop_mention: "STOP 36180"\n'
CAMPAIGNS = {  # name: its file, its people from and to
    "alone": (PARCEL, 1, 40),
    "in_parts": (PARCEL + "max_recipients_per_file: 10\n", 101, 125),
    "at_an_hour": (PARCEL, 201, 230),
    "clicked_twice": (PARCEL, 301, 330),
    "sale": (SALE, 401, 440),
}
COLLECTORS = ("collect_delivery_report", "collect_replies")
# What a cluster that lives for months finds out in minutes, this one must in seconds.
VARIABLES = {
    **CALM,
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "10",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
}
SETTINGS = {"claim_lease": "20 seconds", "upload_lead": "20 seconds", "verdict_poll": 2.0}
FLAGS = ("--jumps", "--torn", "--stop", "0.05", "--reply", "0.1")

Deed = Callable[[], object]


@dataclass
class Chaos:
    """A stack, what goes wrong with it, and the one who cares for its campaigns."""

    stack: Stack
    troubles: Troubles
    days: int = 0
    sent: list[Run] = field(default_factory=list)  # those that were to send
    # Those of which a part never arrived: another run would have to write to its people.
    broken_off: list[Run] = field(default_factory=list)
    clicked_apart: int = 0  # days on which the second of two clicks was a wish of its own
    _never_arrived: dict[str, tuple[str, str]] = field(default_factory=dict)  # stem: its run
    _asking: dict[str, str] = field(default_factory=dict)  # stem: what the provider said of it
    _today: list[Run] = field(default_factory=list)

    def day(self) -> None:
        """Some campaigns go out, a night passes, their reports come home; trouble all the time."""
        self._begin_day()
        clicks = self._clicks_at_once()
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
        stems = self._heal_sent()
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
        self._heal_collected(stems)

    def day_by_the_book(self) -> None:
        """The same day, on which each kind of trouble comes once, at a moment that is known."""
        make = self.troubles
        self._begin_day()
        make.make(lambda: make.cut_line("rename", "after"))
        alone, in_parts = self._click("alone"), self._click("in_parts")
        hour = self.stack.now() + timedelta(minutes=30)
        for click in (alone, in_parts, self._click("at_an_hour", ahead=timedelta(minutes=30))):
            self._do(click)
        self._when(lambda: self._has_begun("alone"), lambda: make.kill_part(SCHEDULERS[0]))
        self._when(lambda: self._saw("put", "alone"), lambda: make.cut_database("ledger", 1.0))
        self._when(lambda: self._saw("dropped"), lambda: make.kill_part("triggerer"))
        self._when(lambda: self._saw("put", "inparts"), make.kill_task)
        self._when(lambda: self._saw("rename", "inparts"), make.kill_gateway)
        self._heal(self._today[:2])
        self._when(lambda: self._waits_for_its_hour("at_an_hour"), self._stop_of("at_an_hour"))
        self._jump(hour - timedelta(seconds=10))
        for click in (*self._clicks_at_once(), self._click("sale")):
            self._do(click)
        self._when(lambda: self._saw("put", "sale"), lambda: make.cut_database("airflow", 1.0))
        stems = self._heal_sent()

        begun = self.stack.now()
        self._jump(begun + timedelta(hours=3))
        self._do(self._collect("morning"))
        make.make(lambda: make.cut_line("get", "before"))
        self._jump(begun + timedelta(hours=26))
        self._when(lambda: self._saw("dropped", times=2), lambda: make.kill_part("api-server"))
        make.make(make.slow_gateway)
        make.make(lambda: make.kill_part("dag-processor"))
        self._do(self._collect("evening"))
        make.mend(all_of_it=True)
        self._heal_collected(stems)

    def faults(self) -> list[str]:
        """What does not add up."""
        keys = [f"{run.dag_id}/{run.run_id}" for run in self.sent]
        gone = [
            each.stem for run in self.broken_off for each in self._files(run) if each.state in SENT
        ]
        return faults(self.stack, keys, gone, self.troubles.said_stop)

    def _begin_day(self) -> None:
        self.days += 1
        self._today = []

    def _heal_sent(self) -> list[str]:
        """Until today's campaigns have done their work; the stems of their files."""
        healed = 0
        while healed < len(self._today):  # of what never arrived, another run begins
            healed = len(self._today)
            self._heal(self._today)
        self.clicked_apart += self._clicked_apart()
        for run in self._today:
            files = self._files(run)
            if self._is_broken_off(run):
                self.broken_off += [run] if len(files) > 1 else []
            elif not self._stood_aside(run):
                self.sent.append(run)
        files = [each for run in self._today for each in self._files(run)]
        # Of a run whose part never arrived, the others are called off.
        return [each.stem for each in files if each.state is not State.CANCELLED]

    def _heal_collected(self, stems: Sequence[str]) -> None:
        """Until all reports on these files and all replies are home; then it is the next day."""
        self._heal([_run("collect_delivery_report", f"ack__{stem}") for stem in stems])
        last = _run("collect_replies", f"night{self.days}")
        self._do(lambda: self._trigger(last))
        # One at a time: one that waits for its next try holds up all others.
        earlier = self.stack.airflow.runs(last.dag_id)
        self._heal([*(run for run in earlier if not run.finished), last])
        self._jump(_next_open_day(self.stack.now()))

    def _clicked_apart(self) -> bool:
        """Whether today's two clicks came so late after each other that both are meant."""
        clicks = [run for run in self._today if run.dag_id.endswith("clicked_twice")]
        clicks = [self.stack.airflow.run(run.dag_id, run.run_id) for run in clicks]
        first, *_, last = sorted(click.run_after for click in clicks)
        return last - first > AT_ONCE

    def _clicks_at_once(self) -> list[Deed]:
        return [self._click("clicked_twice", f"_click{n}") for n in (1, 2)]

    def __str__(self) -> str:
        made = ", ".join(f"{what} {times}x" for what, times in self.troubles.made.most_common())
        files = sum(len(self._files(run)) for run in self.sent)
        return (
            f"chaos: {self.days} days, {len(self.sent)} runs, {files} files, "
            f"{self.troubles.made.total()} troubles ({made})"
        )

    def _do(self, deed: Deed) -> None:
        """Do it as soon as it can be done."""
        wait_until(lambda: _done(deed), "an answer of Airflow's", timeout=HEALING, pause=LOOK)

    def _when(self, happened: Callable[[], bool], trouble: Callable[[], str | None]) -> None:
        """Make this trouble as soon as something has happened; what is down comes back at once."""
        made: list[bool] = []
        wait_until(
            lambda: _done(lambda: made.append(happened())) and made[-1],
            f"what should come before {trouble}; the gateway saw {self._journal()[-5:]}",
            timeout=HEALING,
            pause=LOOK,
        )
        # There may be no task to kill at this very moment: it is no day by the book without.
        wait_until(lambda: self.troubles.make(trouble), f"{trouble}", timeout=HEALING)
        self.troubles.bring_back()

    def _saw(self, what: str, of: str = "", *, times: int = 1) -> bool:
        """Whether the gateway saw this so often, of files of one campaign or of any."""
        seen = [
            line
            for line in self._journal()
            if line["what"] == what
            and (not of or f"-{of}" in f"{line.get('name')}{line.get('to')}")
        ]
        return len(seen) >= times

    def _journal(self) -> list[dict[str, Any]]:
        assert self.stack.gateway
        return self.stack.gateway.journal()

    def _has_begun(self, campaign: str) -> bool:
        return any(task.state == "running" for task in self._tasks(self._of_today(campaign)))

    def _waits_for_its_hour(self, campaign: str) -> bool:
        tasks = self._tasks(self._of_today(campaign))
        return any((task.task_id, task.state) == ("await_hour", "deferred") for task in tasks)

    def _of_today(self, campaign: str) -> Run:
        return next(run for run in self._today if run.dag_id == f"send__{campaign}")

    def _stop_of(self, campaign: str) -> Callable[[], str | None]:
        """STOP, said by the first of a campaign's people."""
        return lambda: self.troubles.say_stop(FIRST + CAMPAIGNS[campaign][1])

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
        patience, waiting = QUEUED_FOR_LONG, self._queued(left)
        while left:
            if time.monotonic() > looked + patience:
                still = waiting & (waiting := self._queued(left))
                if still:
                    # On a busy machine a scheduler needs longer to be up than was waited for.
                    self.troubles.restart_schedulers()
                    patience *= 2
                looked = time.monotonic()
            self.troubles.mend()
            left = [run for run in left if not _done(lambda: self._is_well(run))]  # noqa: B023
            assert time.monotonic() < begun + HEALING, "\n".join(map(self._told, left))
            time.sleep(1.0)

    def _is_well(self, run: Run) -> None:
        """Return once the run has done its work; else clear what failed, and say no."""
        now = self.stack.airflow.run(run.dag_id, run.run_id)
        if now.state == "success" or self._stood_aside(run) or self._is_broken_off(run):
            return
        for each in self._files(run):
            if each.state is State.UNKNOWN or each.stem in self._asking:
                self._ask_provider(each.stem, run)
        tasks = self._tasks(run)
        stuck = ("up_for_retry",) if now.state != "failed" else ("failed", "upstream_failed")
        if failed := [task.task_id for task in tasks if task.state in stuck]:
            self.stack.airflow.clear(run.dag_id, run.run_id, failed, only_failed=False)
        raise NotThere("it is still at work")

    def _ask_provider(self, stem: str, run: Run) -> None:
        """Say of a file what the gateway's own journal says of it, and see it through.

        A rename may arrive after the answer was given: the answer is then refused, as the gateway
        shows the file, and the person gives the other one.
        """
        answer = self._asking.setdefault(stem, self._answer(stem))
        settles = self._settles(stem, answer)
        self._trigger(settles, stem=stem, answer=answer)
        refused = self.stack.airflow.run(settles.dag_id, settles.run_id).state == "failed"
        if refused and answer != self._answer(stem):
            del self._asking[stem]
            raise NotThere("the provider says something else by now")
        self._is_well(settles)
        del self._asking[stem]
        if answer == "never_arrived":
            self._never_arrived[stem] = run.dag_id, run.run_id
            if self.stack.ledger.submissions.get(stem).parts == 1:
                self._today.append(_run(run.dag_id, f"again__{stem}"))

    def _answer(self, stem: str) -> str:
        arrived = any(
            line["what"] == "rename" and line["to"].endswith(f"/{stem}.csv")
            for line in self._journal()
        )
        return "arrived" if arrived else "never_arrived"

    def _settles(self, stem: str, answer: str) -> Run:
        return _run("settle_submission", f"settle__{stem}__{answer}")

    def _is_broken_off(self, run: Run) -> bool:
        return (run.dag_id, run.run_id) in self._never_arrived.values()

    def _queued(self, runs: Sequence[Run]) -> set[tuple[str, str, str, int]]:
        """The task instances that wait for a worker: DAG, run, task and map index."""
        found: set[tuple[str, str, str, int]] = set()
        for run in runs:
            with suppress(AirflowRefused, httpx.TransportError):
                found |= {
                    (run.dag_id, run.run_id, task.task_id, task.map_index)
                    for task in self._tasks(run)
                    if task.state == "queued"
                }
        return found

    def _tasks(self, run: Run) -> list[TaskInstance]:
        return self.stack.airflow.task_instances(run.dag_id, run.run_id)

    def _stood_aside(self, run: Run) -> bool:
        """Whether it left its campaign to the run that was triggered at the same moment."""
        if not run.dag_id.endswith("clicked_twice"):
            return False
        tasks = self._tasks(run)
        plan = next(task for task in tasks if task.task_id == "plan")
        return plan.state == "failed" and "this run was skipped" in self.stack.airflow.log(
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

    def _files(self, run: Run) -> list[Submission]:
        return self.stack.ledger.submissions.of_run(f"{run.dag_id}/{run.run_id}")

    def _told(self, run: Run) -> str:
        told = [f"{run.dag_id} {run.run_id} never got well"]
        try:
            tasks = self._tasks(run)
        except AirflowRefused as error:
            return "\n".join([f"{told[0]}: {error}", *self._booked(run)])
        for task in tasks:
            told.append(f"  {task.task_id} is {task.state}, try {task.try_number}")
            if task.state in ("failed", "up_for_retry", "running"):
                log = self.stack.airflow.log(run.dag_id, run.run_id, task).splitlines()
                told += [f"    {line}" for line in log[-12:]]
        for file in self._files(run):
            told.append(f"  {file.stem} is {file.state}; the gateway saw")
            told += [f"    {line}" for line in self._journal() if file.stem in str(line)]
            if answer := self._asking.get(file.stem):
                told.append(self._told(self._settles(file.stem, answer)))
        return "\n".join(told)

    def _booked(self, run: Run) -> Iterator[str]:
        """What is known of a collection's booking, by the run that should have made it."""
        stem = run.run_id.removeprefix("ack__")
        for sent in self._today:
            if stem not in [each.stem for each in self._files(sent)]:
                continue
            yield f"  {stem} is {self.stack.ledger.submissions.get(stem).state}, of {sent.run_id}"
            for task in self._tasks(sent):
                yield f"  {task.task_id} {task.map_index} is {task.state}, try {task.try_number}"
                if task.task_id in ("submit", "schedule_collection"):
                    log = self.stack.airflow.log(sent.dag_id, sent.run_id, task).splitlines()
                    yield from (f"    {line}" for line in log[-12:])


def _run(dag_id: str, run_id: str) -> Run:
    return Run(dag_id, run_id, "queued", datetime.now(PARIS), None, None)


def _done(deed: Deed) -> bool:
    """Whether it could be done: what is down now may be up at the next try."""
    try:
        deed()
    except (AirflowRefused, httpx.TransportError, LedgerUnreachable, psycopg.OperationalError):
        return False
    return True


def _next_open_day(now: datetime) -> datetime:
    """The next morning on which shops write to people."""
    morning = now.astimezone(PARIS).replace(hour=9, minute=30, second=0) + timedelta(days=1)
    return morning + timedelta(days=morning.weekday() == 6)

"""One real Airflow for all journeys: scheduler, triggerer, PostgreSQL, the sandbox gateway.

A journey is a test that takes `world` alone and is marked so. All of them are played at once, see
`ensemble`: each has a campaign, people and knobs of its own, and a pytest item waits for its end.
"""

import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from demo.airflow_api import NotThere, Run, TaskInstance
from demo.processes import wait_until
from demo.stack import Stack
from sms.calendar import send_window
from sms.campaign.definition import SLUG_LENGTH
from sms.clock import PARIS
from sms.ledger.states import State
from sms.settings import Settings
from sms_sandbox import clock
from tests.campaign_folder import write_campaign
from tests.factories import part, planned_run
from tests.journeys.ensemble import PATIENCE as PATIENCE_OF_ALL
from tests.journeys.ensemble import Ensemble, Timekeeper
from tests.notebook import lines

TUESDAY = datetime(2027, 3, 2, 9, 30, tzinfo=PARIS)
AT_ONCE = 6  # journeys at work
PATIENCE = 1200  # seconds of real time, for a machine that is busy
# Seconds of real time between two looks. All journeys look at one Airflow, and four looks a second
# of each took a quarter of the machine.
LOOK = 1.0
READING = timedelta(seconds=5)
OPENS_AT, LATEST = 10, 17  # hours in Paris between which journeys begin
FIRST = 33_639_980_000  # of the numbers kept for fiction
NUMBER = re.compile(r"(\+|\b)3363998\d{4}|\b0?6 ?39 ?98 ?\d\d")
BLOCK = 100  # numbers kept for each campaign, by its place

YAML = """\
description: A campaign of the journeys
owner: journeys
kind: marketing
sender: JOURNEY
stop_mention: "STOP 36180"
"""
PEOPLE = """\
SELECT 'k' || n AS key, '+3363998' || to_char(n, 'FM0000') AS msisdn, 'Léa' AS name
FROM generate_series(%d, %d) AS n
"""
TEXT = "Bonjour {{ name }}, à samedi !"
IN_PARTS = "kind: transactional\nsender: JOURNEY\nmax_recipients_per_file: 4\n"
HOMES = PEOPLE.replace("AS name", "AS name, CASE n %% 3 WHEN 0 THEN '97110' END AS home")

# What each is: its file, and how many people or its query.
CAMPAIGNS: Mapping[str, tuple[str, int | str]] = {
    "plain": (YAML, 40),
    "again": (YAML, 5),
    "answers": (YAML, 40),
    "dry": (YAML, 30),
    "graph": (YAML, 2),
    "formal": (YAML + 'send_at: "10:30"\n', 2),
    "refused": (YAML, 3),
    "late": (YAML, 3),
    "in_parts": (IN_PARTS, 10),
    "held": (IN_PARTS, 10),
    "twice": (YAML, 3),
    "cleared": (YAML, 3),
    "daily": (YAML + 'schedule: "30 8 * * *"\n', 3),
    **{
        f"{who}_asks": (YAML + "approval: always\n", 3)
        for who in ("yes", "no", "silence", "browser")
    },
    "messy": (YAML, 60),
    "balance": (YAML, 10),
    "unreported": (YAML, 7),
    "marked": (YAML, 3),
    "halted": (YAML, 3),
    "resent": (YAML, 3),
    "too_many": (YAML + "max_recipients: 2\n", 3),
    "column": (YAML, 3),
    "table": (YAML, "SELECT * FROM nothing_like_this"),
    "cast": (YAML, "SELECT '06 39 98 05 05 ?'::bigint AS key"),
    "nobody": (YAML, PEOPLE % (5, 4)),
    "elsewhere": (YAML + "warehouse: elsewhere\n", 2),
    "misspelt": (YAML, 2),
    "someday": (YAML, 2),
    "broken": (YAML.replace("sender: JOURNEY", "sender: Spring Sale!"), 2),
    "zones": (YAML + "postcode: home\n", HOMES % (9001, 9006)),
    "shifted": (YAML, 2),
    "punctual": (YAML + "outside_window: fail\n", 2),
    "capped": (YAML + "frequency_cap: 2 per 7 days\non_empty: skip\n", 3),
    "grows": (YAML + "max_growth: 50%\n", 3),
    "dear": (YAML + "budget: 0.10\n", 3),
    "proved": (YAML + 'proof_to: ["+33639989901"]\n', 3),
}
PREPARING = ["plan", "extract", "screen", "render", "review"]
STORY = [
    *PREPARING,
    "approve",
    "await_hour",
    "fetch_stops",
    "submit",
    "schedule_collection",
    "summarize",
]
TEXTS = {"column": "Bonjour {{ surname }} !"}
# Nobody says STOP or answers who isn't told to: whom a journey writes to is no matter of chance.
QUIET = ("--jumps", "--stop", "0", "--reply", "0")
# What Airflow does while nothing happens took a third of a core. Nobody edits these campaigns'
# files, and with so many runs the scheduler is seldom idle.
CALM = {
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "1",
}


def people(campaign: str, how_many: int) -> range:
    """The last digits of the first numbers that are kept for a campaign."""
    first = 1 + BLOCK * [*CAMPAIGNS].index(campaign)
    return range(first, first + how_many)


def query(campaign: str, how_many: int) -> str:
    """SQL that returns so many of a campaign's people."""
    numbers = people(campaign, how_many)
    return PEOPLE % (numbers[0], numbers[-1])


@dataclass
class LiveWorld:
    """The stack, and what a person does with it."""

    stack: Stack
    campaigns: Path
    timekeeper: Timekeeper | None = None
    ensemble: Ensemble | None = None
    _knobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _turning: threading.Lock = field(default_factory=threading.Lock)

    def trigger(self, campaign: str, **params: Any) -> Run:
        """Start a run of a campaign as the form does, at an hour at which shops write."""
        if self.timekeeper and not self._is_open():
            self.next_morning()
        return self.stack.airflow.trigger(f"send__{campaign}", params)

    def until(self, moment: datetime) -> None:
        """Wait until the stack's clock shows this moment; it jumps once all journeys wait."""
        assert self.timekeeper
        self.timekeeper.until(moment)

    def next_morning(self) -> None:
        """Wait until ten o'clock on the next day that is open."""
        tomorrow = self.stack.now().astimezone(PARIS) + timedelta(days=1)
        opens = send_window.next_open(
            tomorrow.replace(hour=OPENS_AT), "marketing", settings=Settings()
        )
        self.until(opens.astimezone(PARIS).replace(hour=OPENS_AT, minute=0))

    def alone(self) -> AbstractContextManager[None]:
        """For what concerns all campaigns: no other journey is at work in the block."""
        assert self.timekeeper
        return self.timekeeper.alone()

    def _is_open(self) -> bool:
        now = self.stack.now().astimezone(PARIS)
        in_time = time(hour=8) <= now.time() < time(hour=LATEST)
        return in_time and send_window.is_open(now, "marketing", settings=Settings())

    def finished(self, run: Run) -> Run:
        """The run once it has ended."""
        return self.ended(run.dag_id, run.run_id)

    def succeeded(self, run: Run) -> Run:
        """The run, ended well; else an error that shows the logs of what failed."""
        ended = self.finished(run)
        failed = [
            self.stack.airflow.log(run.dag_id, run.run_id, instance)
            for instance in self.stack.airflow.task_instances(run.dag_id, run.run_id)
            if instance.state == "failed"
        ]
        assert ended.state == "success", "\n".join([str(self.states(run)), *failed])
        return ended

    def collected(self, stem: str, late: timedelta = timedelta(0)) -> Run:
        """The collection of a submission's report, once it was due and has ended."""
        self.until_reported(stem, late)
        return self.ended("collect_delivery_report", f"ack__{stem}")

    def until_reported(self, stem: str, late: timedelta = timedelta(0)) -> None:
        """Wait until a file's report must be there, to a full hour that others wait for, too."""
        due = self.stack.ledger.submissions.get(stem).due_at
        assert due, f"no collection of {stem} is booked"
        self.until((due + late).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1))

    def until_missed(self, stem: str) -> None:
        """Wait until a file's report was due, did not come, and is waited for."""
        self.until_reported(stem)
        booked = self.stack.airflow.run("collect_delivery_report", f"ack__{stem}")
        self.wait_until(
            lambda: self.states(booked)["await_report"] == {"deferred"}, f"the wait for {stem}"
        )

    def unknown(self, campaign: str) -> str:
        """A file that is in the ledger as one whose fate can't be known; its campaign is on."""
        ledger, now = self.stack.ledger, self.stack.now()
        stem = f"SEND-12345-{now.astimezone(PARIS):%Y%m%d-%H%M}-{campaign}lost"
        run_key = f"send__{campaign}/lost"
        trial = {"campaign": campaign, "row_limit": 2, "send_at": now, "planned_at": now}
        run = planned_run(run_key, **trial)
        ledger.runs.plan(run, stem)
        ledger.runs.prepare(run_key, [part(stem)])
        ledger.submissions.claim(stem, "the try that was lost", lease=timedelta(minutes=1))
        ledger.submissions.record_upload(
            stem, "the try that was lost", messages=[], sha256="0" * 64, size_bytes=99
        )
        ledger.submissions.intend_rename(stem, "the try that was lost")
        assert ledger.submissions.move(stem, to=State.UNKNOWN)
        return stem

    def replies(self) -> Run:
        """A run of the replies' collector, to its end."""
        return self.finished(self.stack.airflow.trigger("collect_replies"))

    def stems(self, run: Run) -> list[str]:
        """The files of a run."""
        return [
            each.stem for each in self.stack.ledger.submissions.of_run(f"{run.dag_id}/{run.run_id}")
        ]

    def tasks(self, run: Run) -> Mapping[str, list[TaskInstance]]:
        """The instances of each task of a run, by the task's short name."""
        found: dict[str, list[TaskInstance]] = {}
        for instance in self.stack.airflow.task_instances(run.dag_id, run.run_id):
            found.setdefault(instance.name, []).append(instance)
        return found

    def states(self, run: Run) -> dict[str, set[str | None]]:
        """The states of each task."""
        return {name: {one.state for one in ones} for name, ones in self.tasks(run).items()}

    def log(self, run: Run, task: str) -> str:
        """What the last try of a task wrote."""
        return self.stack.airflow.log(run.dag_id, run.run_id, self.tasks(run)[task][0])

    def failed_for_good(self, run: Run, task: str, sentence: str) -> str:
        """The log of the try in which a task failed with a sentence: no try came after it.

        Tries before it may have failed of something else that passes, a server that was too busy.
        """
        [instance] = self.tasks(run)[task]
        logs = self.tries(run, instance)
        said_in = [number for number, log in enumerate(logs, 1) if sentence in log]
        told = "\n\n".join(logs)
        assert (instance.state, said_in) == ("failed", [instance.try_number]), told
        return logs[-1]

    def tries(self, run: Run, task: TaskInstance) -> list[str]:
        """The log of each try of a task; of one that Airflow only counted it is empty.

        Where a wait ends at once, its scheduler may hear that the task has given its worker back
        when that has gone on already, takes it for a task that was killed, and counts a try.
        """
        logs = []
        for number in range(1, task.try_number + 1):
            logs.append("")
            with suppress(NotThere):
                logs[-1] = self.stack.airflow.log(run.dag_id, run.run_id, task, try_number=number)
        return logs

    def turn(self, campaign: str, **knobs: Any) -> None:
        """Turn the sandbox's knobs for the files of a campaign: these, and no others."""
        assert self.stack.gateway
        file = self.stack.gateway.root / "knobs.json"
        with self._turning:
            self._knobs[f"{slug(campaign)}????????*"] = knobs
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps({"campaigns": self._knobs}))
            fresh.replace(file)

    def journal(self, what: str, **facts: Any) -> list[dict[str, Any]]:
        """What the gateway saw of one kind, and with these facts."""
        assert self.stack.gateway
        return [
            entry
            for entry in self.stack.gateway.journal()
            if entry["what"] == what and facts.items() <= entry.items()
        ]

    def renamed(self, stem: str) -> int:
        """How often a file of this stem became `.csv` at the gateway."""
        names = (PurePosixPath(entry["to"]).name for entry in self.journal("rename"))
        return sum(name == f"{stem}.csv" for name in names)

    def uploads(self, stem: str) -> list[dict[str, Any]]:
        """Every upload of a file, whichever try it was."""
        return [each for each in self.journal("put") if f"/{stem}." in each["name"]]

    def uploads_of(self, campaign: str) -> list[dict[str, Any]]:
        """Every upload of any of a campaign's files."""
        return [each for each in self.journal("put") if f"-{slug(campaign)}" in each["name"]]

    def wait_until_sent(self, stem: str, messages: int) -> None:
        """Until the gateway has sent so many messages of a file."""
        self.wait_until(
            lambda: len(self.journal("sent", stem=stem)) == messages, f"{messages} SMS of {stem}"
        )

    def question(self, run: Run) -> dict[str, Any]:
        """What a run asks a person, once that person has had time to read it.

        An answer that comes before Airflow has noticed the end of the task that asked costs its
        try, and it asks again (apache/airflow#72716).
        """
        found: dict[str, Any] = {}

        def read() -> bool:
            if self.states(run)["approve"] != {"awaiting_input"}:
                return False
            found.update(self.stack.airflow.question(run.dag_id, run.run_id, "approve"))
            asked_at = datetime.fromisoformat(found["created_at"])
            return datetime.now(UTC) - asked_at > READING

        self.wait_until(read, f"a question of {run.dag_id}")
        return found

    def let_time_run_out(self, run: Run) -> None:
        """Let the time for an answer be over: it is Airflow's own, which no clock of ours moves."""
        with self.stack.postgres.connect("airflow") as database:
            database.execute(
                "UPDATE task_instance SET trigger_timeout = now() "
                "WHERE dag_id = %s AND run_id = %s AND task_id = 'approve'",
                [run.dag_id, run.run_id],
            )

    def answer(self, run: Run, option: str) -> None:
        """Answer it."""
        self.stack.airflow.answer(run.dag_id, run.run_id, "approve", option)

    def parts(self, run: Run) -> list[str]:
        """A run's files, as soon as there are several."""
        self.wait_until(lambda: len(self.stems(run)) > 1, f"the parts of {run.dag_id}")
        return self.stems(run)

    def wait_until_renamed(self, stem: str) -> None:
        """Until the gateway saw a file become `.csv`."""
        self.wait_until(lambda: self.renamed(stem) == 1, stem)

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        """Until something has happened."""
        wait_until(happened, what, timeout=PATIENCE, check=self.stack.check, pause=LOOK)

    def notices(self, stem: str) -> list[dict[str, Any]]:
        """What the operator's notifier was told of a file."""
        return [each for each in lines(notebook(self.campaigns)) if each["stem"] == stem]

    def at_the_gateway(self, name: str) -> bool:
        """Whether `Send` shows a file of this name."""
        assert self.stack.gateway
        return (self.stack.gateway.root / "home" / "Send" / name).exists()

    def ended(self, dag_id: str, run_id: str) -> Run:
        """A run by its id, once it is there and has ended."""

        def ended() -> bool:
            try:
                return self.stack.airflow.run(dag_id, run_id).finished
            except NotThere:
                return False

        try:
            self.wait_until(ended, f"the end of {dag_id} {run_id}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}: {self._progress(dag_id, run_id)}") from error
        return self.stack.airflow.run(dag_id, run_id)

    def _progress(self, dag_id: str, run_id: str) -> str:
        """How far a run has come, and the log of each task that isn't done."""
        told = []
        for task in self.stack.airflow.task_instances(dag_id, run_id):
            told.append(f"{task.task_id} is {task.state}, try {task.try_number}")
            if task.state not in (None, "success", "skipped", "upstream_failed"):
                told.append(self.stack.airflow.log(dag_id, run_id, task))
        return "\n".join(told)


@pytest.fixture(scope="session")
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveWorld]:
    """Airflow with the campaigns of the journeys, all of which begin now."""
    folder = tmp_path_factory.mktemp("some campaigns")
    for name, (yaml, whom) in CAMPAIGNS.items():
        sql = query(name, whom) if isinstance(whom, int) else whom
        write_campaign(folder / name, yaml, sql, TEXTS.get(name, TEXT))
    with a_stack(folder) as stack:
        world = LiveWorld(
            stack, folder, Timekeeper(stack.now, partial(jump, stack), places=AT_ONCE)
        )
        journeys = {
            item.nodeid: partial(item.obj, world=world)
            for item in request.session.items
            if isinstance(item, pytest.Function) and item.get_closest_marker("journey")
        }
        if "PYTEST_XDIST_WORKER" in os.environ:  # or each process would play all of them
            assert all("@world" in name for name in journeys), "pytest-xdist keeps no groups"
        world.ensemble = Ensemble(world.timekeeper, journeys)
        yield world
        world.ensemble.wait()


def pytest_itemcollected(item: pytest.Item) -> None:
    """All journeys are of one process, and each may have to wait for all others."""
    if "world" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group("world"))
        item.add_marker(pytest.mark.timeout(2 * PATIENCE_OF_ALL))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A journey has begun with the world: what is left to do is to wait for its end."""
    if not pyfuncitem.get_closest_marker("journey"):
        return None
    pyfuncitem.funcargs["world"].ensemble.result(pyfuncitem.nodeid)
    return True


@contextmanager
def a_stack(campaigns: Path) -> Iterator[Stack]:
    """Airflow with these campaigns, on a Tuesday morning that stays until somebody moves on."""
    settings = {
        "campaigns_folder": str(campaigns),
        "approval_timeout": "1 hour",
        "upload_lead": "30 minutes",
        "verdict_poll": 2.0,  # or a busy scheduler hears of a wait first when it is over
        "prices": {"FR": 0.05},
        "notify": [
            {
                "on": ["submitted", "accepted", "rejected", "reported", "overdue"],
                "notifier": "tests.notebook.Notebook",
                "arguments": {"path": str(notebook(campaigns)), "words": "{{ sms.sentence }}"},
            },
            # Fails at an event of every journey, and stops none.
            {"on": ["accepted"], "notifier": "tests.notebook.Clumsy", "arguments": {}},
        ],
    }
    known = {f"send__{name}" for name in CAMPAIGNS if name not in ("broken", "daily", "formal")}
    with Stack(clock=TUESDAY, flags=QUIET, changes=settings, variables=CALM) as stack:
        stack.unpause("collect_delivery_report", "collect_replies", "settle_submission", *known)
        yield stack


def jump(stack: Stack, to: datetime) -> None:
    """Let the time until then have passed."""
    assert stack.gateway
    clock.move(stack.gateway.clock_file, to=to)


def slug(campaign: str) -> str:
    """What a campaign's files are called by."""
    return campaign.replace("_", "")[:SLUG_LENGTH]


def notebook(campaigns: Path) -> Path:
    """Where the operator's notifier writes, beside the campaigns."""
    return campaigns.with_name(f"{campaigns.name} notices.jsonl")

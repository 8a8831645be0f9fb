"""One real Airflow for all journeys: scheduler, triggerer, PostgreSQL, the sandbox gateway."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import pytest

from demo.airflow_api import NotThere, Run, TaskInstance
from demo.processes import wait_until
from demo.stack import Stack
from sms.clock import PARIS
from sms.ledger.ledger import Part, PlannedRun, State
from tests.notebook import lines

TUESDAY = datetime(2027, 3, 2, 9, 30, tzinfo=PARIS)
DAY_IN_SECONDS = 6
PATIENCE = 120  # seconds of real time, for a machine that is busy
READING = timedelta(seconds=5)

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

CAMPAIGNS = {
    "plain": (YAML, PEOPLE % (1, 40), TEXT),
    "formal": (YAML + 'send_at: "10:30"\n', PEOPLE % (321, 322), TEXT),
    "refused": (YAML, PEOPLE % (101, 103), TEXT),
    "late": (YAML, PEOPLE % (201, 203), TEXT),
    # Transactional: once one part is accepted the sandbox's hours fly, and a part that comes late
    # on a busy machine would find the evening closed.
    "in_parts": (
        "kind: transactional\nsender: JOURNEY\nmax_per_file: 4\n",
        PEOPLE % (301, 310),
        TEXT,
    ),
    "twice": (YAML, PEOPLE % (231, 233), TEXT),
    "cleared": (YAML, PEOPLE % (241, 243), TEXT),
    "daily": (YAML + 'schedule: "30 8 * * *"\n', PEOPLE % (251, 253), TEXT),
    **{
        f"asks_{who}": (YAML + "approval: always\n", PEOPLE % (at, at + 2), TEXT)
        for who, at in (("yes", 271), ("no", 281), ("nobody", 291), ("in_a_browser", 311))
    },
    "messy": (YAML, PEOPLE % (411, 470), TEXT),
    "partial": (YAML, PEOPLE % (471, 480), TEXT),
    "unreported": (YAML, PEOPLE % (481, 487), TEXT),
    "marked": (YAML, PEOPLE % (261, 263), TEXT),
    "halted": (YAML, PEOPLE % (211, 213), TEXT),
    "resent": (YAML, PEOPLE % (221, 223), TEXT),
    "too_many": (YAML + "max_recipients: 2\n", PEOPLE % (401, 403), TEXT),
    "no_such_column": (YAML, PEOPLE % (401, 403), "Bonjour {{ surname }} !"),
    "no_such_table": (YAML, "SELECT * FROM nothing_like_this", TEXT),
    "not_a_number": (YAML, "SELECT '06 39 98 05 05 ?'::bigint AS key", TEXT),
    "nobody": (YAML, PEOPLE % (5, 4), TEXT),
    "no_warehouse": (YAML + "warehouse: elsewhere\n", PEOPLE % (1, 2), TEXT),
    "broken": (YAML.replace("sender: JOURNEY", "sender: Spring Sale!"), PEOPLE % (1, 2), TEXT),
}


@dataclass
class World:
    """The stack, and what a person does with it."""

    stack: Stack
    campaigns: Path

    def trigger(self, campaign: str, **params: Any) -> Run:
        """Start a run of a campaign as the form does, at an hour when time does not fly."""
        if self.stack.gateway:
            wait_until(lambda: self._pace() <= 1, "the end of quiet days", timeout=PATIENCE)
        self.stack.airflow.unpause(f"send__{campaign}")
        return self.stack.airflow.trigger(f"send__{campaign}", params)

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

    def collected(self, stem: str) -> Run:
        """The collection of a submission's report once it has ended."""
        return self.ended("collect_delivery_report", f"ack__{stem}")

    def unknown(self, campaign: str) -> str:
        """A file that is in the ledger as one whose fate can't be known; its campaign is on."""
        ledger, now = self.stack.ledger, self.stack.now()
        stem = f"SEND-12345-{now.astimezone(PARIS):%Y%m%d-%H%M}-{campaign}lost"
        run_key = f"send__{campaign}/lost"
        facts = {"campaign": campaign, "kind": "marketing", "service_id": "12345"}
        moments = {"send_at": now, "planned_at": now}
        run = PlannedRun(
            run_key,
            **facts,
            **moments,
            slot_reason="",
            dry_run=False,
            folder="nowhere",
            row_limit=2,  # a trial
        )
        ledger.plan(run, stem)
        ledger.prepare(run_key, [Part(stem, 1, 1, 3, 3, "0" * 64, 99)])
        ledger.claim(stem, "the try that was lost", lease=timedelta(minutes=1))
        ledger.record_upload(
            stem, "the try that was lost", messages=[], sha256="0" * 64, size_bytes=99
        )
        ledger.intend_rename(stem, "the try that was lost")
        assert ledger.move(stem, to=State.UNKNOWN)
        self.stack.airflow.unpause(f"send__{campaign}")
        return stem

    def replies(self) -> Run:
        """A run of the replies' collector, to its end."""
        return self.finished(self.stack.airflow.trigger("collect_replies"))

    def stems(self, run: Run) -> list[str]:
        """The files of a run."""
        return [each.stem for each in self.stack.ledger.submissions(f"{run.dag_id}/{run.run_id}")]

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

    def turn(self, **knobs: Any) -> None:
        """Turn the sandbox's knobs."""
        assert self.stack.gateway
        file = self.stack.gateway.root / "knobs.json"
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps(knobs))
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

    def answer(self, run: Run, option: str) -> None:
        """Answer it."""
        self.stack.airflow.answer(run.dag_id, run.run_id, "approve", option)

    def parts(self, run: Run) -> list[str]:
        """A run's files, as soon as there are several."""
        wait_until(
            lambda: len(self.stems(run)) > 1, "the parts", timeout=PATIENCE, check=self.stack.check
        )
        return self.stems(run)

    def wait_until_renamed(self, stem: str) -> None:
        """Until the gateway saw a file become `.csv`."""
        self.wait_until(lambda: self.renamed(stem) == 1, stem)

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        """Until something has happened."""
        wait_until(happened, what, timeout=PATIENCE, check=self.stack.check)

    def notices(self, stem: str) -> list[dict[str, Any]]:
        """What the operator's notifier was told of a file."""
        return [each for each in lines(notebook(self.campaigns)) if each["stem"] == stem]

    def at_the_gateway(self, name: str) -> bool:
        """Whether `Send` shows a file of this name."""
        assert self.stack.gateway
        return (self.stack.gateway.root / "home" / "Send" / name).exists()

    def _pace(self) -> float:
        """Sandbox seconds in a real second."""
        assert self.stack.gateway
        return float(json.loads(self.stack.gateway.clock_file.read_text())["rate"])

    def ended(self, dag_id: str, run_id: str) -> Run:
        """A run by its id, once it is there and has ended."""

        def ended() -> bool:
            try:
                return self.stack.airflow.run(dag_id, run_id).finished
            except NotThere:
                return False

        what = f"the end of {dag_id} {run_id}"
        wait_until(ended, what, timeout=PATIENCE, check=self.stack.check)
        return self.stack.airflow.run(dag_id, run_id)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Airflow with the campaigns of the journeys, its days a few seconds long."""
    campaigns = tmp_path_factory.mktemp("some campaigns")
    with a_world(CAMPAIGNS, campaigns, hurry=86400 / DAY_IN_SECONDS) as world:
        yield world


@contextmanager
def a_world(
    campaigns: Mapping[str, tuple[str, str, str]],
    folder: Path,
    changes: Mapping[str, Any] = MappingProxyType({}),
    **how: Any,
) -> Iterator[World]:
    """Airflow with these campaigns, on a Tuesday morning; `how` it runs is a stack's to know."""
    for name, files in campaigns.items():
        write_campaign(folder / name, *files)
    settings = {
        "campaigns_folder": str(folder),
        "approval_timeout": "60 seconds",
        "notify": [
            {
                "on": ["submitted", "accepted", "rejected", "reported", "overdue"],
                "notifier": "tests.notebook.Notebook",
                "arguments": {"path": str(notebook(folder)), "words": "{{ sms.sentence }}"},
            },
            # Fails at an event of every journey, and stops none.
            {"on": ["accepted"], "notifier": "tests.notebook.Clumsy", "arguments": {}},
        ],
        **changes,
    }
    with Stack(clock=TUESDAY, changes=settings, **how) as stack:
        for dag_id in ("collect_delivery_report", "collect_replies", "settle_submission"):
            stack.airflow.unpause(dag_id)
        yield World(stack, folder)


def notebook(campaigns: Path) -> Path:
    """Where the operator's notifier writes, beside the campaigns."""
    return campaigns.with_name(f"{campaigns.name} notices.jsonl")


def write_campaign(folder: Path, yaml: str, sql: str, text: str) -> None:
    """A campaign's folder."""
    folder.mkdir()
    (folder / "campaign.yaml").write_text(yaml)
    (folder / "recipients.sql").write_text(sql)
    (folder / "message.txt").write_text(text)

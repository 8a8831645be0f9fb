"""The progress of the demo: its stages, with their states and counts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from demo.airflow_api import NotThere, TaskInstance
from demo.stack import Stack
from sms.clock import PARIS
from sms.errors import LedgerError
from sms.ledger.records import Submission, Summary

COLLECT_REPORT = "collect_delivery_report"
COLLECT_REPLIES = "collect_replies"

# The tasks by DAG, in order.
SENDING = (
    *("plan", "extract", "screen", "render", "review"),
    *("approve", "await_hour", "fetch_stops", "submit", "schedule_collection", "summarize"),
)
COLLECTING = ("await_report", "archive", "load", "reconcile")
REPLIES = ("collect_replies",)

DONE, FAILED, BUSY, AHEAD = "done", "failed", "busy", "ahead"
BAD_STATES = {"failed", "upstream_failed", "removed"}
BUSY_STATES = {"queued", "running", "deferred", "restarting", "up_for_retry", "awaiting_input"}


@dataclass(frozen=True, slots=True)
class Stage:
    """One task of the run, over all its files."""

    name: str
    state: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """The state of the demo at one moment."""

    moment: datetime
    stages: tuple[Stage, ...]
    summary: Summary | None
    submissions: tuple[Submission, ...]


class Story:
    """The progress of one campaign run, from its plan to its replies."""

    def __init__(self, stack: Stack, dag_id: str, run_id: str) -> None:
        self.stack = stack
        self.dag_id = dag_id
        self.run_id = run_id
        self.run_key = f"{dag_id}/{run_id}"
        self.replies_run: str | None = None

    def scene(self) -> Scene:
        """Read the present state from Airflow and the ledger."""
        summary, submissions = self._ledger()
        stages: list[Stage] = []
        for names, instances in self._acts(submissions):
            by_name = {name: [each for each in instances if each.name == name] for name in names}
            for name, found in by_name.items():
                state = _state(found)
                text = _counts_text(name, state, summary, submissions)
                stages.append(Stage(name, state, _retrying(found) or text))
        return Scene(self.stack.now(), tuple(stages), summary, submissions)

    def failures(self) -> Iterator[tuple[str, str, TaskInstance]]:
        """The task instances whose last try failed, with their DAG and run."""
        for dag_id, run_id in self._runs(self._ledger()[1]):
            for instance in self._instances(dag_id, run_id):
                if instance.state in ("failed", "up_for_retry"):
                    yield dag_id, run_id, instance

    def _ledger(self) -> tuple[Summary | None, tuple[Submission, ...]]:
        try:
            return (
                self.stack.ledger.runs.summary(self.run_key),
                tuple(self.stack.ledger.submissions.of_run(self.run_key)),
            )
        except LedgerError:  # nothing is planned yet
            return None, ()

    def _acts(
        self, submissions: tuple[Submission, ...]
    ) -> Iterator[tuple[tuple[str, ...], list[TaskInstance]]]:
        yield SENDING, self._instances(self.dag_id, self.run_id)
        stems = [each.stem for each in submissions]
        yield (
            COLLECTING,
            [
                instance
                for stem in stems
                for instance in self._instances(COLLECT_REPORT, f"ack__{stem}")
            ],
        )
        replies = self._instances(COLLECT_REPLIES, self.replies_run) if self.replies_run else []
        yield REPLIES, replies

    def _runs(self, submissions: tuple[Submission, ...]) -> Iterator[tuple[str, str]]:
        yield self.dag_id, self.run_id
        for each in submissions:
            yield COLLECT_REPORT, f"ack__{each.stem}"
        if self.replies_run:
            yield COLLECT_REPLIES, self.replies_run

    def _instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        try:
            return self.stack.airflow.task_instances(dag_id, run_id)
        except NotThere:  # not booked yet
            return []


def _state(instances: list[TaskInstance]) -> str:
    states = {each.state for each in instances}
    if states & BAD_STATES:
        return FAILED
    if states & BUSY_STATES:
        return BUSY
    return DONE if states and states <= {"success", "skipped"} else AHEAD


def _retrying(instances: list[TaskInstance]) -> str:
    waiting = [each for each in instances if each.state == "up_for_retry"]
    return f"try {waiting[0].try_number} failed, another follows" if waiting else ""


def _counts_text(
    name: str, state: str, summary: Summary | None, submissions: tuple[Submission, ...]
) -> str:
    """The counts of a stage, or what it waits for."""
    if summary is None:
        return ""
    say = SAYINGS.get((name, state))
    return say(summary, submissions) if say else ""


def paris(moment: datetime | None) -> str:
    """An instant in Paris, as a short text."""
    return f"{moment.astimezone(PARIS):%a %d %b %H:%M}" if moment else "?"


def _files(submissions: tuple[Submission, ...]) -> str:
    return submissions[0].stem if len(submissions) == 1 else f"{len(submissions)} files"


def _until(submissions: tuple[Submission, ...]) -> str:
    is_booked = any(each.due_at for each in submissions)
    return f"time passes until {_dues(submissions)}" if is_booked else ""


def _dues(submissions: tuple[Submission, ...]) -> str:
    return paris(max((each.due_at for each in submissions if each.due_at), default=None))


Saying = Callable[[Summary, tuple[Submission, ...]], str]
SAYINGS: dict[tuple[str, str], Saying] = {
    ("plan", DONE): lambda run, _: f"to be sent on {paris(run.run.send_at)}",
    ("extract", DONE): lambda run, _: f"{run.candidates:,} candidates" if run.candidates else "",
    ("screen", DONE): lambda run, _: (
        f"{run.candidates:,} candidates: {run.audience:,} to write to, "
        f"{sum(run.excluded.values()):,} left out"
    ),
    ("render", DONE): lambda _, files: (
        f"{sum(each.messages or 0 for each in files):,} messages, "
        f"{sum(each.segments or 0 for each in files):,} segments"
    ),
    ("review", DONE): lambda _, files: f"checked: {_files(files)}",
    ("submit", DONE): lambda _, files: f"{_files(files)} accepted by the gateway",
    ("schedule_collection", DONE): lambda _, files: f"delivery report due {_dues(files)}",
    ("await_report", AHEAD): lambda _, files: _until(files),
    ("await_report", BUSY): lambda _, files: _until(files),
    ("load", DONE): lambda run, _: (
        f"{run.outcomes.delivered:,} delivered, {run.outcomes.refused:,} refused, "
        f"{run.outcomes.not_delivered:,} not delivered, {run.outcomes.pending:,} pending"
    ),
    ("reconcile", DONE): lambda run, _: f"{run.outcomes.missing:,} missing",
    ("collect_replies", DONE): lambda run, _: f"{run.stops:,} STOPs, {run.replies:,} replies",
}

"""The demo: triggers the sample campaign, follows it to its report, and checks all counts."""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from datetime import time as hour

import pyarrow as pa

from demo.airflow_api import Airflow
from demo.environment import ROOT
from demo.reckoning import faults, stop_list
from demo.screen import Screen, phone, table_of
from demo.stack import Stack
from demo.story import COLLECT_REPLIES, COLLECT_REPORT, Scene, Story
from sms import settings
from sms.calendar import send_window
from sms.campaign import definition
from sms.clock import PARIS

CAMPAIGN = "spring_sale"
SEND = f"send__{CAMPAIGN}"
HURRY = 9600  # a day in nine seconds
BOUND = 210.0  # real seconds for everything
PAUSE = 0.4  # real seconds between two checks
TUESDAY = 1
HEAD_START = timedelta(minutes=12)  # before the campaign's hour: the file may be uploaded at once
LOG_TAIL = 15  # lines of a failed task's log


class DemoFailed(RuntimeError):
    """The demo failed; the message has the cause."""


class TookTooLong(DemoFailed):
    """The time limit of the demo has passed."""


def opening(today: date) -> datetime:
    """When the sandbox's clock starts: on the next open Tuesday, shortly before the sale."""
    found = definition.load(ROOT / "include" / "campaigns" / CAMPAIGN)
    at = hour.fromisoformat(found.send_at or "09:42")
    rules = settings.load(settings.DEFAULT_PATH)
    day = today + timedelta(days=(TUESDAY - today.weekday()) % 7 or 7)
    while True:
        sale = datetime.combine(day, at, tzinfo=PARIS)
        if send_window.is_open(sale, found.kind, settings=rules):
            return sale - HEAD_START
        day += timedelta(days=7)


class Play:
    """One run of the demo, on a running stack, with a screen."""

    def __init__(self, stack: Stack, screen: Screen, *, deadline: float) -> None:
        self._stack = stack
        self._airflow: Airflow = stack.airflow
        self._screen = screen
        self._deadline = deadline

    def perform(self) -> None:
        """Run the demo to its end. Raises DemoFailed."""
        self._wait_for_dags()
        stopped = self._import_earlier_stops()
        self._screen.say(f"{stopped} earlier STOPs are imported into the stop list")
        for dag_id in (COLLECT_REPORT, COLLECT_REPLIES, SEND):
            self._airflow.unpause(dag_id)
        run = self._airflow.trigger(SEND)
        self._screen.say(f"triggered {SEND}; watch it at {self._airflow.url}/dags/{SEND}")
        story = Story(self._stack, SEND, run.run_id)
        with self._screen:
            self._follow(story, SEND, run.run_id)
            for each in story.scene().submissions:
                self._follow(story, COLLECT_REPORT, f"ack__{each.stem}")
            story.replies_run = self._airflow.trigger(COLLECT_REPLIES).run_id
            self._follow(story, COLLECT_REPLIES, story.replies_run)
        self._check_counts(story.scene())

    def _wait_for_dags(self) -> None:
        wanted = {SEND, COLLECT_REPORT, COLLECT_REPLIES}
        for _ in self._looks(f"the DAGs {', '.join(sorted(wanted))} to be known"):
            if errors := self._airflow.import_errors():
                raise DemoFailed("these DAG files can't be imported:\n" + "\n".join(errors))
            if wanted <= self._airflow.dag_ids():
                return

    def _import_earlier_stops(self) -> int:
        """Enter some customers into the stop list, as opt-outs of a former sender."""
        with self._stack.postgres.connect("warehouse") as connection:
            found = connection.execute(
                r"SELECT phone FROM shop.customer WHERE phone ~ '^\+33\d{9}$' "
                "AND id NOT IN (SELECT customer_id FROM shop.sms_opt_out) ORDER BY id LIMIT 25"
            ).fetchall()
        then = self._stack.now().astimezone(UTC) - timedelta(days=90)
        rows = pa.table(
            {
                "msisdn": pa.array([int(phone) for (phone,) in found], pa.int64()),
                "opted_out_at": pa.array([then] * len(found), pa.timestamp("us", tz="UTC")),
                "message": pa.array(["STOP"] * len(found), pa.large_string()),
            }
        )
        return self._stack.ledger.stop_list.add(rows, source="import")

    def _follow(self, story: Story, dag_id: str, run_id: str) -> None:
        """Show the progress until this run has succeeded. Raises DemoFailed."""
        try:
            for _ in self._looks(f"the run {run_id} of {dag_id} to end"):
                run = self._airflow.run(dag_id, run_id)
                self._screen.show(story.scene())
                if run.finished:
                    break
        except TookTooLong as error:
            raise DemoFailed("\n".join([str(error), *self._why(story)])) from error
        if run.state == "failed":
            raise DemoFailed("\n".join(self._why(story)))

    def _why(self, story: Story) -> list[str]:
        lines = []
        for dag_id, run_id, instance in story.failures():
            log = self._airflow.log(dag_id, run_id, instance).splitlines()[-LOG_TAIL:]
            lines.append(f"{dag_id}.{instance.task_id} failed:\n    " + "\n    ".join(log))
        return lines

    def _check_counts(self, scene: Scene) -> None:
        if scene.summary is None or self._stack.gateway is None:
            raise DemoFailed("the ledger does not have the run")
        journal = self._stack.gateway.journal()
        self._screen.console.print(table_of(scene.summary))
        stems = {each.stem for each in scene.submissions}
        delivered = [
            line
            for line in journal
            if line["what"] == "sent" and line["stem"] in stems and line["idstatus"] == 3
        ]
        stopped = stop_list(self._stack.ledger)
        if found := faults(scene.summary, scene.submissions, journal, stopped):
            raise DemoFailed(
                "these counts do not match:\n" + "\n".join(f"  - {each}" for each in found)
            )
        if not delivered:
            raise DemoFailed("no message was delivered")
        self._screen.console.print(phone(delivered[len(delivered) // 2]))

    def _looks(self, what: str) -> Iterator[None]:
        """Yield every PAUSE seconds. Raises TookTooLong after the deadline."""
        while True:
            self._stack.check()
            yield
            if time.monotonic() > self._deadline:
                raise TookTooLong(f"after {BOUND:.0f} s it still waited for {what}")
            time.sleep(PAUSE)

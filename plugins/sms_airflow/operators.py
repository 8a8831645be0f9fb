"""Our operators: submit a run's files, and schedule the collection of a delivery report."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseOperator, Context, ObjectStoragePath
from airflow.sdk.exceptions import AirflowSkipException

from sms.errors import (
    FileRejected,
    GatewayRefused,
    LedgerError,
    SmsError,
    SubmissionContradicted,
    VerdictOverdue,
)
from sms_airflow.failures import BESIDE_US, in_a_sentence, in_our_words, verdict_on
from sms_airflow.sensors import watch

if TYPE_CHECKING:
    from sms.ledger.ledger import Ledger
    from sms.ledger.records import Submission


def says_what_left(work: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Add the files that have left, by the ledger, to the message of a failure of `submit`."""

    @functools.wraps(work)
    def wrapper(self: SubmitOperator, *args: Any, **kwargs: Any) -> list[str]:
        try:
            return work(self, *args, **kwargs)
        except BESIDE_US:
            raise
        except Exception as error:
            # After a contradiction the ledger's list would be wrong.
            contradicted = isinstance(error, SubmissionContradicted)
            left = "" if contradicted else self.what_left()
            raise verdict_on(in_our_words(error), left) from None

    return wrapper


def _in_paris(moment: str) -> str:
    from sms import clock

    return clock.in_paris(datetime.fromisoformat(moment))


class SubmitOperator(BaseOperator):
    """Upload a run's files as `.tmp`, then rename one after the other to `.csv`, each at most once.

    All files of an hour are uploaded before the first is renamed, and each must be accepted
    (`.done`) before the next is renamed (R1, R27): a `.reject` stops the files that follow. Files
    of a later hour are uploaded shortly before that hour, after another download of STOPs.
    Airflow's SFTP operator only puts a file; this one claims each submission in the ledger and
    checks the gateway first, so that it may be retried, cleared or run twice. It waits for verdicts
    and hours without a worker. `stems` are the prepared submissions of one run.
    """

    template_fields = ("stems",)

    def __init__(self, *, stems: Any, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(**kwargs)
        self.stems = stems

    @says_what_left
    def execute(self, context: Context) -> list[str]:
        """Return the stems once the gateway has accepted all files."""
        return self._go_on(context)

    @says_what_left
    def concluded(self, context: Context, event: dict[str, Any]) -> list[str]:
        """Record the verdict on one file, and continue with the next."""
        from sms import clock
        from sms.delivery import upload
        from sms_airflow import notifying, wiring

        stem = event["stem"]
        ledger = wiring.ledger_for(context["ti"])
        match event:
            case {"saw": "accepted" | "rejected" as verdict}:
                accepted = verdict == "accepted"
                upload.record_verdict(stem, ledger, clock.now(), accepted=accepted)
                return self._go_on(context)
            case {"saw": "refusal", "why": why}:
                raise GatewayRefused(str(why))
            case _:
                error = VerdictOverdue(stem, event.get("phase"))
                notifying.of_overdue(ledger, error, stem)
                raise error

    @says_what_left
    def reached(self, context: Context, event: dict[str, Any]) -> list[str]:
        """Continue with the files of a later hour."""
        self.log.info("The wait ended at %s", _in_paris(event["now"]))
        return self._go_on(context)

    def _go_on(self, context: Context) -> list[str]:
        """Rename the next file and wait for its verdict, until no file is left."""
        from sms import clock
        from sms.delivery import upload
        from sms.ledger.states import ACCEPTED_AND_LATER, State
        from sms.run import frequency_cap
        from sms.run.departure import DepartureRules
        from sms.run.folder import RunFolder
        from sms.run.prepared_file import PreparedFile
        from sms.run.upload_time import upload_at
        from sms.words import count
        from sms_airflow import wiring
        from sms_airflow.triggers import VerdictTrigger

        ledger, settings = wiring.ledger_for(context["ti"]), wiring.settings()
        files = [ledger.submissions.get(stem) for stem in self.stems]
        if any(each.state is State.REJECTED for each in files):
            raise self._rejection(files, ledger)
        left = [each for each in files if not upload.is_accepted(each)]
        if not left and any(each.state in ACCEPTED_AND_LATER for each in files):
            return list(self.stems)
        # The files may be of several runs (proofs of variants): one run after the other.
        run_key = (left or files)[0].run_key
        files = [each for each in files if each.run_key == run_key]
        folder = RunFolder(ObjectStoragePath(ledger.runs.get(files[0].run_key).folder))
        plan = folder.read_plan()
        if upload.begins_another_hour(files):
            self._wait_for_the_hour(upload_at(files, settings, ledger.submissions.upload_pace()))
            self._fetch_stops(ledger)

        cap = frequency_cap.of_next_files(plan, ledger, files, clock.now())
        rules = DepartureRules(plan, ledger, settings, wiring.require_running, clock.now, cap)
        parcels = {each.stem: PreparedFile(folder, each.stem) for each in files}
        token = str(context["ti"].id)
        this = upload.Try(wiring.gateway, ledger, token, settings.claim_lease, rules)
        waiting = upload.submit_next(parcels, this)
        if waiting is None:
            return self._go_on(context)
        messages = count(waiting.messages or 0, "message")
        self.log.info("%s is at the gateway with %s", waiting.stem, messages)
        deadline = clock.now() + settings.verdict_timeout
        watch(self, VerdictTrigger, waiting.stem, deadline, settings.verdict_poll)

    def _wait_for_the_hour(self, moment: datetime) -> None:
        """Defer until the files of a later hour should be uploaded."""
        from sms import clock
        from sms_airflow.triggers import HourTrigger

        if clock.now() < moment:
            until = clock.in_paris(moment)
            self.log.info("The next files wait until %s; until then they can be called off", until)
            self.defer(trigger=HourTrigger(moment.isoformat()), method_name="reached")

    def _fetch_stops(self, ledger: Ledger) -> None:
        """Download pending STOPs, as the task `fetch_stops` did for the first hour."""
        from sms import clock
        from sms.reports import collection
        from sms_airflow import wiring

        with wiring.gateway() as session:
            collection.collect_replies(session, ledger, wiring.archive(), clock.now())

    def _rejection(self, files: list[Submission], ledger: Ledger) -> FileRejected:
        """Hold back the run's other files, and return the error for the rejected one."""
        from sms.delivery import upload
        from sms.ledger.states import SENT, State
        from sms.run.folder import RunFolder
        from sms.run.rejection import likely_causes
        from sms_airflow import wiring

        rejected = next(each for each in files if each.state is State.REJECTED)
        others = [each.stem for each in files if each.state is not State.REJECTED]
        held = upload.hold(others, wiring.gateway, ledger, f"{rejected.stem} was rejected")
        folder = RunFolder(ObjectStoragePath(ledger.runs.get(rejected.run_key).folder))
        causes = likely_causes(folder, rejected, wiring.settings())
        sent = tuple(each.stem for each in files if each.state in SENT)
        return FileRejected(rejected.stem, causes, sent, tuple(held))

    def what_left(self) -> str:
        """A sentence on the files of this run that the provider has, by the ledger."""
        from sms.delivery import upload
        from sms_airflow import wiring

        try:
            ledger = wiring.ledger()
            return upload.what_left([ledger.submissions.get(stem) for stem in self.stems])
        except SmsError:
            return "The ledger does not answer: which files of this run have left is not known"


class ScheduleCollection(TriggerDagRunOperator):
    """Create the run of `collect_delivery_report` that starts when the report is due (R29).

    The run stays in Airflow's queue until its `run_after` and takes no slot; its note says what was
    sent. If the run exists already, the task is skipped. It fails for a file that is not accepted
    yet.
    """

    template_fields = ("stem", *TriggerDagRunOperator.template_fields)

    @classmethod
    def of_each(cls, stems: Any, **kwargs: Any) -> Any:
        """A mapped task for each file, even if another file was rejected."""
        kwargs.setdefault("doc_md", inspect.getdoc(cls))
        return cls.partial(trigger_rule="all_done", **kwargs).expand(stem=stems)

    def __init__(self, *, stem: str, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(
            trigger_dag_id="collect_delivery_report",
            logical_date=None,
            skip_when_already_exists=True,
            openlineage_inject_parent_info=False,
            **kwargs,
        )
        self.stem = stem

    @in_a_sentence
    def execute(self, context: Context) -> None:
        """Create the run, at a time of the real clock."""
        from sms import clock
        from sms.delivery import upload
        from sms.ledger.states import NO_REPORT_DUE
        from sms_airflow import wiring

        ledger = wiring.ledger()
        submission = ledger.submissions.get(self.stem)
        if submission.state in NO_REPORT_DUE:
            raise AirflowSkipException(f"{self.stem} is {submission.state}: no report is due")
        if submission.due_at is None:
            # A failure, not a skip: it must be cleared together with the failed `submit`.
            raise LedgerError(
                f"{self.stem} is {submission.state}, not accepted: its report is scheduled after "
                "`submit` has succeeded. Clear this task with it"
            )
        self.trigger_run_id = f"ack__{self.stem}"
        self.conf = {"stem": self.stem}
        self.run_after = clock.earliest_wall_time(submission.due_at)
        campaign = ledger.runs.get(submission.run_key).campaign
        self.note = f"{campaign}: {upload.what_was_sent([submission])}"
        due = clock.in_paris(submission.due_at)
        self.log.info("The report of %s is collected from %s", self.stem, due)
        super().execute(context)

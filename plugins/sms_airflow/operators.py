"""Operators of ours: bring a file to the gateway, and book the collection of its report."""

import inspect
from typing import Any

from airflow.providers.sftp.operators.sftp import SFTPOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Context, ObjectStoragePath

from sms.errors import LedgerError
from sms_airflow.failures import in_a_sentence


class SubmitOperator(SFTPOperator):
    """Upload one prepared file as `.tmp` and rename it to `.csv`, at most once ever (R27).

    The provider's operator puts a file and no more; this one claims the submission in the
    ledger, looks at the gateway, and only then acts, so that it may be retried, cleared or run
    twice. `stem` names a prepared submission.
    """

    template_fields = ("stem",)

    def __init__(self, *, stem: str, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(ssh_conn_id="sms_gateway", remote_filepath="", **kwargs)
        self.stem = stem

    @in_a_sentence
    def execute(self, context: Context) -> str:
        """The stem, once the gateway has the file."""
        from sms import clock, delivery, sending
        from sms.ledger.states import State
        from sms_airflow import wiring

        settings = wiring.settings()
        ti = context["ti"]
        ledger = wiring.ledger(actor=f"{ti.dag_id}/{ti.run_id}/{ti.task_id}#{ti.try_number}")
        submission = ledger.submission(self.stem)
        if submission.state not in (State.PREPARED, State.UPLOADING):
            delivery.standing(submission)
            return self.stem
        folder = ObjectStoragePath(ledger.run(submission.run_key).folder)
        plan = sending.read_plan(folder)
        delivered = delivery.submit(
            self.stem,
            sending.PreparedPart(folder, submission, settings),
            gateway=wiring.gateway,
            ledger=ledger,
            token=str(ti.id),
            lease=settings.claim_lease,
            check=lambda held: sending.require_sendable(held, plan, ledger, settings, clock.now()),
        )
        self.log.info("%s is %s with %s messages", self.stem, delivered.state, delivered.messages)
        return self.stem


class BookCollection(TriggerDagRunOperator):
    """Create the run of `collect_delivery_report` that starts when the report is due (R29).

    Nothing waits meanwhile: the run sits in Airflow's queue with its `run_after`. Booking twice
    finds the first booking and is skipped.
    """

    template_fields = ("stem", *TriggerDagRunOperator.template_fields)

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
        """Book the run, by the wall's clock."""
        from sms import clock
        from sms_airflow import wiring

        submission = wiring.ledger().submission(self.stem)
        if submission.due_at is None:
            raise LedgerError(
                f"{self.stem} is {submission.state}, so no report on it is due: clear the task "
                "await_verdict"
            )
        self.trigger_run_id = f"ack__{self.stem}"
        self.conf = {"stem": self.stem}
        self.run_after = clock.earliest_wall_time(submission.due_at)
        self.log.info("The report of %s is collected from %s", self.stem, submission.due_at)
        super().execute(context)

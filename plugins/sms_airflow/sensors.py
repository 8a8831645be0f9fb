"""Tasks that wait: for the verdict on a file, and for its delivery report.

Each looks into the ledger first, so that clearing one that is long settled answers at once; then
it gives its worker back and lets a trigger watch the gateway. What is heavy to import is imported
where it is used: Airflow parses the DAGs, and with them this module, again and again.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, Context

from sms.errors import FileRejected, GatewayRefused, LedgerError, ReportOverdue, VerdictOverdue
from sms_airflow.failures import in_a_sentence

if TYPE_CHECKING:
    from sms.ledger.records import Submission
    from sms_airflow.triggers import GatewayTrigger


class GatewaySensor(BaseSensorOperator):
    """Waits for something to be seen of one submission at the gateway, deferred."""

    template_fields = ("stem",)

    def __init__(self, *, stem: str, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(**kwargs)
        self.stem = stem

    def wait(self, trigger: type[GatewayTrigger], deadline: datetime, poll: float) -> None:
        """Hand over to a trigger; `concluded` hears what it saw."""
        from sms_airflow import wiring

        account = asdict(wiring.account())
        account["folders"] = {key.value: name for key, name in account["folders"].items()}
        self.defer(
            trigger=trigger(account, self.stem, deadline.isoformat(), poll),
            method_name="concluded",
        )


class VerdictSensor(GatewaySensor):
    """Goes on with `.done`, fails at once and for good with `.reject` (R27, R28)."""

    @in_a_sentence
    def execute(self, context: Context) -> str | None:
        """Answer from the ledger, or wait at the gateway."""
        from sms import clock
        from sms.ledger.states import State
        from sms_airflow import wiring
        from sms_airflow.triggers import VerdictTrigger

        submission = wiring.ledger().submission(self.stem)
        if submission.state is State.REJECTED:
            raise FileRejected(self.stem)
        if submission.state in (State.ACCEPTED, State.REPORTED, State.CLOSED):
            self.log.info("%s is %s already.", self.stem, submission.state)
            return self.stem
        if submission.state is not State.SUBMITTED:
            raise LedgerError(
                f"{self.stem} is {submission.state}, so no verdict on it can come: clear the task "
                "submit, which finds out how far it came"
            )
        settings = wiring.settings()
        deadline = clock.now() + settings.verdict_timeout
        self.wait(VerdictTrigger, deadline, settings.verdict_poll)
        return None

    @in_a_sentence
    def concluded(self, context: Context, event: dict[str, Any]) -> str:
        """Write what was seen into the ledger, and say it."""
        from sms import clock
        from sms.ledger.states import State
        from sms_airflow import wiring

        ledger = wiring.ledger(actor=_actor(context))
        match event:
            case {"saw": "accepted"}:
                now = clock.now()
                due = _due(ledger.submission(self.stem), now)
                ledger.move(self.stem, to=State.ACCEPTED, verdict_at=now, due_at=due)
                self.log.info("The gateway accepted %s; its report is due %s", self.stem, due)
                return self.stem
            case {"saw": "rejected"}:
                ledger.move(self.stem, to=State.REJECTED, verdict_at=clock.now())
                raise FileRejected(self.stem)
            case {"saw": "refusal", "why": why}:
                raise GatewayRefused(str(why))
            case _:
                raise VerdictOverdue(self.stem, event.get("phase"))


class ReportSensor(GatewaySensor):
    """Waits until the delivery report is there and no longer grows (R29)."""

    @in_a_sentence
    def execute(self, context: Context) -> str | None:
        """Wait at the gateway until the report is overdue by the settings' grace."""
        from sms import clock
        from sms_airflow import wiring
        from sms_airflow.triggers import ReportTrigger

        submission = wiring.ledger().submission(self.stem)
        settings = wiring.settings()
        # Cleared by hand after the alarm, it waits for the same grace once more.
        due = max(submission.due_at or submission.send_at, clock.now())
        self.wait(ReportTrigger, due + settings.report_grace, settings.report_poll)
        return None

    @in_a_sentence
    def concluded(self, context: Context, event: dict[str, Any]) -> str:
        """The report's name."""
        match event:
            case {"saw": "report", "name": name}:
                return str(name)
            case {"saw": "refusal", "why": why}:
                raise GatewayRefused(str(why))
            case _:
                raise ReportOverdue(self.stem)


def _due(submission: Submission, now: datetime) -> datetime:
    """When the report may be looked for, counted from when the messages go out."""
    from sms.delivery import report_due

    sent = max(submission.send_at, submission.submitted_at or now)
    return report_due(sent, submission.messages or 0, submission.segments or 0)


def _actor(context: Context) -> str:
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}#{ti.try_number}"

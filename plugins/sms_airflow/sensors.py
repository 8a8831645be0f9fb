"""Tasks that wait: for the time of an upload, and for a delivery report.

Each checks the ledger first, so that a cleared task ends at once if there is nothing to wait for;
then it defers to a trigger, without a worker. Heavy modules are imported inside functions, as
Airflow imports this module each time it parses the DAGs.
"""

from __future__ import annotations

import inspect
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, BaseSensorOperator, Context
from airflow.sdk.exceptions import AirflowSkipException

from sms.errors import GatewayRefused
from sms_airflow.failures import in_a_sentence

if TYPE_CHECKING:
    from sms.errors import ReportOverdue
    from sms_airflow.sftp_gateway import Account
    from sms_airflow.triggers import GatewayTrigger


def watch(
    task: BaseOperator, trigger: type[GatewayTrigger], stem: str, deadline: datetime, poll: float
) -> NoReturn:
    """Defer to a trigger that watches for a file; `concluded` receives its event."""
    from sms_airflow import wiring

    account = known_to_triggers(wiring.account())
    task.defer(
        trigger=trigger(account, stem, deadline.isoformat(), poll),
        method_name="concluded",
    )


def known_to_triggers(account: Account) -> dict[str, Any]:
    """An account as JSON, for Airflow's database while a task waits."""
    facts = asdict(account)
    facts["folders"] = {key.value: name for key, name in account.folders.items()}
    return facts


class HourSensor(BaseSensorOperator):
    """Waits for the upload of a run's first files: as late as is safe before their hour.

    Until then new opt-outs are left out, and the run can be called off: mark it as failed, or call
    its files off by `settle_submission`. A run that sends nothing ends here.
    """

    template_fields = ("stems",)

    def __init__(self, *, stems: Any, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(**kwargs)
        self.stems = stems

    @in_a_sentence
    def execute(self, context: Context) -> None:
        """Continue at once, or defer."""
        from sms import clock
        from sms.ledger.states import UNCLAIMED
        from sms.run.upload_time import upload_at
        from sms_airflow import wiring
        from sms_airflow.triggers import HourTrigger

        if not self.stems:
            raise AirflowSkipException("This run sends nothing")
        ledger = wiring.ledger()
        files = [ledger.submissions.get(stem) for stem in self.stems]
        if any(each.state not in UNCLAIMED for each in files):
            return
        moment = upload_at(files, wiring.settings(), ledger.submissions.upload_pace())
        if clock.now() >= moment:
            return
        until = clock.in_paris(moment)
        self.log.info("The upload waits until %s; until then the run can be called off", until)
        self.defer(trigger=HourTrigger(moment.isoformat()), method_name="reached")

    def reached(self, context: Context, event: dict[str, Any]) -> None:
        """Log the end of the wait."""
        from sms import clock

        self.log.info("The wait ended at %s", clock.in_paris(datetime.fromisoformat(event["now"])))


class ReportSensor(BaseSensorOperator):
    """Waits until the delivery report is at the gateway and no longer grows (R29)."""

    template_fields = ("stem",)

    def __init__(self, *, stem: str, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(**kwargs)
        self.stem = stem

    @in_a_sentence
    def execute(self, context: Context) -> str:
        """Wait for the report, until `report_grace` after its due time.

        If a report was loaded before, its name is returned: it may be deleted at the gateway.
        """
        from sms import clock
        from sms_airflow import wiring
        from sms_airflow.triggers import ReportTrigger

        ledger = wiring.ledger()
        submission = ledger.submissions.get(self.stem)
        if known := ledger.reports.delivery_report(self.stem):
            self.log.info("%s was loaded before", known.name)
            return known.name
        settings = wiring.settings()
        # If the task is cleared after the alarm, it waits for the same grace again.
        due = max(submission.due_at or submission.send_at, clock.now())
        watch(self, ReportTrigger, self.stem, due + settings.report_grace, settings.report_poll)

    @in_a_sentence
    def concluded(self, context: Context, event: dict[str, Any]) -> str:
        """Return the report's name."""
        match event:
            case {"saw": "report", "name": name}:
                return str(name)
            case {"saw": "refusal", "why": why}:
                raise GatewayRefused(str(why))
            case _:
                raise self._overdue(context)

    def _overdue(self, context: Context) -> ReportOverdue:
        """The error for an overdue report; the operator's notifiers are called too."""
        from sms.reports import collection
        from sms_airflow import notifying, wiring

        ledger = wiring.ledger_for(context["ti"])
        error = collection.overdue(self.stem, ledger)
        notifying.of_overdue(ledger, error, self.stem)
        return error

"""Tasks that wait: for the hour of an upload, and for a delivery report.

Each looks into the ledger first, so that clearing one that is long settled answers at once; then
it gives its worker back and lets a trigger watch. What is heavy to import is imported where it is
used: Airflow parses the DAGs, and with them this module, again and again.
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
    """Give the worker back until a trigger has seen something of a file; `concluded` hears it."""
    from sms_airflow import wiring

    account = known_to_triggers(wiring.account())
    task.defer(
        trigger=trigger(account, stem, deadline.isoformat(), poll),
        method_name="concluded",
    )


def known_to_triggers(account: Account) -> dict[str, Any]:
    """An account as Airflow's database keeps it while a task waits."""
    facts = asdict(account)
    facts["folders"] = {key.value: name for key, name in account.folders.items()}
    return facts


class HourSensor(BaseSensorOperator):
    """Waits until a run's first files should go up, which is as late as is safe before their hour.

    Until then whoever says STOP is left out, and the run can be called off: mark it, or cancel its
    files in the ledger. A run that sends nothing ends here.
    """

    template_fields = ("stems",)

    def __init__(self, *, stems: Any, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(**kwargs)
        self.stems = stems

    @in_a_sentence
    def execute(self, context: Context) -> None:
        """Go on at once, or wait without a worker."""
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
        """The hour has come."""
        from sms import clock

        self.log.info("The wait ended, %s", clock.in_paris(datetime.fromisoformat(event["now"])))


class ReportSensor(BaseSensorOperator):
    """Waits until the delivery report is there and no longer grows (R29)."""

    template_fields = ("stem",)

    def __init__(self, *, stem: str, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(**kwargs)
        self.stem = stem

    @in_a_sentence
    def execute(self, context: Context) -> str:
        """Wait at the gateway until the report is overdue by the settings' grace.

        One that was loaded before may be deleted there by now: its name is the answer.
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
        # Cleared by hand after the alarm, it waits for the same grace once more.
        due = max(submission.due_at or submission.send_at, clock.now())
        watch(self, ReportTrigger, self.stem, due + settings.report_grace, settings.report_poll)

    @in_a_sentence
    def concluded(self, context: Context, event: dict[str, Any]) -> str:
        """The report's name."""
        match event:
            case {"saw": "report", "name": name}:
                return str(name)
            case {"saw": "refusal", "why": why}:
                raise GatewayRefused(str(why))
            case _:
                raise self._overdue(context)

    def _overdue(self, context: Context) -> ReportOverdue:
        """The alarm, which the operator's notifiers hear of, too."""
        from sms.reports import collection
        from sms_airflow import notifying, wiring

        ledger = wiring.ledger_for(context["ti"])
        error = collection.overdue(self.stem, ledger)
        notifying.of_overdue(ledger, error, self.stem)
        return error

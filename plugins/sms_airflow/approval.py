"""The approval of a run on Airflow's page for required actions, with the review as its text."""

from __future__ import annotations

import inspect
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, ObjectStoragePath
from airflow.sdk.exceptions import AirflowSkipException

from sms.errors import NotApproved
from sms_airflow.failures import in_a_sentence

APPROVE, REFUSE = "Send it, as in review no. {}", "Don't send it"


class ApproveOperator(HITLOperator):
    """Wait for an operator's approval if the campaign requires one (`approval` in campaign.yaml).

    The page shows the review: recipients, cost, sample messages. Nothing is uploaded before the
    approval, which the ledger records with the operator's name. A refusal calls the run off, and so
    does a missing answer (`approval_timeout`, and the run's hour). A run that needs no approval
    passes.
    """

    template_fields = ("stems", *HITLOperator.template_fields)

    def __init__(self, *, stems: Any, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(subject="", body="", options=[REFUSE], **kwargs)
        self.stems = stems

    @in_a_sentence
    def execute(self, context: Context) -> None:
        """Ask for an approval, unless none is needed."""
        from sms import clock
        from sms.clock import PARIS
        from sms.run import approval
        from sms.run import plan as planning
        from sms.run.folder import RunFolder
        from sms.words import count
        from sms_airflow import wiring

        if not self.stems:
            raise AirflowSkipException("This run sends nothing")
        ledger = wiring.ledger_for(context["ti"])
        run = ledger.runs.get(ledger.submissions.get(self.stems[0]).run_key)
        folder = RunFolder(ObjectStoragePath(run.folder))
        plan = folder.read_plan()
        if planning.is_under_way(run.run_key, ledger) or not approval.is_needed(plan, ledger):
            return
        if run.approved_at:
            at = clock.in_paris(run.approved_at)
            self.log.info("%s has already approved the run, at %s", run.approved_by, at)
            return
        files, proofs = (
            ledger.submissions.of_run(run.run_key),
            approval.require_proved(plan, ledger),
        )
        deadline = approval.deadline(plan, files, wiring.settings(), clock.now(), proofs)
        self.response_timeout = deadline - clock.now()
        messages = sum(ledger.submissions.get(stem).messages or 0 for stem in self.stems)
        self.subject = f"Send {plan.campaign.name} to {count(messages, 'person', 'people')}?"
        self.body = folder.read_review()
        for proof in proofs:
            hour = (
                f"{max(proof.send_at, proof.submitted_at or proof.send_at).astimezone(PARIS):%H:%M}"
            )
            phones = count(proof.messages or 0, "phone")
            self.body = f"A proof is sent to {phones}, at {hour} in Paris.\n\n{self.body}"
        # The number identifies the bytes: after a clear, Airflow shows the old question again, and
        # an approval of it must not count for a later preparation.
        review = _number(ledger.runs.prepared_digest(run.run_key))
        self.body = f"Review no. {review}\n\n{self.body}"
        self.options = [APPROVE.format(review), REFUSE]
        self.log.info("Asking for an approval until %s", clock.in_paris(deadline))
        super().execute(context)

    @in_a_sentence
    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Record the approval and return the operator's name; otherwise call the run off."""
        from sms.run import plan as planning
        from sms.run.folder import RunFolder
        from sms_airflow import wiring

        ledger = wiring.ledger_for(context["ti"])
        run = ledger.runs.get(ledger.submissions.get(self.stems[0]).run_key)
        plan = RunFolder(ObjectStoragePath(run.folder)).read_plan()
        if event.get("error_type") == "timeout":
            planning.call_off(plan, ledger, "not approved in time")
            raise NotApproved(
                f"{plan.campaign.name} was not approved in time, so nothing is sent: trigger a new "
                "run if it is still wanted"
            )
        by = str((event["responded_by_user"] or {}).get("name") or "an unnamed user")
        if event["chosen_options"] == [REFUSE]:
            planning.call_off(plan, ledger, f"{by} refused")
            raise AirflowSkipException(f"{by} refused: nothing is sent")
        digest = ledger.runs.prepared_digest(run.run_key)
        if event["chosen_options"] != [APPROVE.format(_number(digest))]:
            planning.call_off(plan, ledger, f"{by} approved an earlier preparation")
            raise NotApproved(
                f"{by} approved an older review of {plan.campaign.name} than the present one, so "
                "nothing is sent: trigger a new run, which asks again"
            )
        ledger.runs.approve(run.run_key, by=by, shown=digest)
        return by


def _number(digest: str) -> str:
    """A digest as six digits, shown on the page and on the button."""
    return f"{int(digest, 16) % 1_000_000:06}"

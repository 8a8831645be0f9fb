"""The human's yes: Airflow's own page asks for it, with the review as what there is to read."""

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
    """Ask a person, where the campaign wants one: `approval` in campaign.yaml.

    The review is the question: whom it goes to, what it costs, what phones will show. Nothing is
    uploaded before the answer, which is in the ledger with who gave it. No answer in time
    (`approval_timeout`, and the run's hour) is a no; a no calls the run off. A run that needs no
    yes passes by.
    """

    template_fields = ("stems", *HITLOperator.template_fields)

    def __init__(self, *, stems: Any, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", inspect.getdoc(type(self)))
        super().__init__(subject="", body="", options=[REFUSE], **kwargs)
        self.stems = stems

    @in_a_sentence
    def execute(self, context: Context) -> None:
        """Ask, unless nobody need be asked."""
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
            self.log.info("%s approved it already, at %s", run.approved_by, at)
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
            rings = (
                f"{max(proof.send_at, proof.submitted_at or proof.send_at).astimezone(PARIS):%H:%M}"
            )
            phones = count(proof.messages or 0, "phone")
            self.body = f"A proof goes to {phones} of ours, at {rings} in Paris.\n\n{self.body}"
        # The number stands for the bytes: Airflow shows an old question again after a clear, and
        # a yes to that must not be one to what was prepared since.
        review = _number(ledger.runs.prepared_digest(run.run_key))
        self.body = f"Review no. {review}\n\n{self.body}"
        self.options = [APPROVE.format(review), REFUSE]
        self.log.info("Asking for an approval until %s", clock.in_paris(deadline))
        super().execute(context)

    @in_a_sentence
    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Who said yes; a no, or none in time, calls the run off."""
        from sms.run import plan as planning
        from sms.run.folder import RunFolder
        from sms_airflow import wiring

        ledger = wiring.ledger_for(context["ti"])
        run = ledger.runs.get(ledger.submissions.get(self.stems[0]).run_key)
        plan = RunFolder(ObjectStoragePath(run.folder)).read_plan()
        if event.get("error_type") == "timeout":
            planning.call_off(plan, ledger, "nobody said yes in time")
            raise NotApproved(
                f"nobody said yes to {plan.campaign.name} in time, so nothing is sent: trigger a "
                "new run if it is still wanted"
            )
        by = str((event["responded_by_user"] or {}).get("name") or "somebody")
        if event["chosen_options"] == [REFUSE]:
            planning.call_off(plan, ledger, f"{by} refused")
            raise AirflowSkipException(f"{by} refused: nothing is sent")
        digest = ledger.runs.prepared_digest(run.run_key)
        if event["chosen_options"] != [APPROVE.format(_number(digest))]:
            planning.call_off(plan, ledger, f"{by} said yes to what was prepared before")
            raise NotApproved(
                f"{by} was shown an older review of {plan.campaign.name} than what is prepared "
                "now, so nothing is sent: trigger a new run, which asks anew"
            )
        ledger.runs.approve(run.run_key, by=by, shown=digest)
        return by


def _number(digest: str) -> str:
    """What a person reads in the place of a digest: six digits, the same on page and button."""
    return f"{int(digest, 16) % 1_000_000:06}"

"""The approval of a run: its proofs must have been sent, and an operator must have approved it."""

from collections.abc import Sequence
from datetime import datetime

from sms import remedies
from sms.errors import NotApproved
from sms.ledger.ledger import Ledger
from sms.ledger.records import PROOF, Submission
from sms.ledger.states import SENT
from sms.remedies import Task
from sms.run.preparation import Plan
from sms.settings import Settings


def proof_keys(plan: Plan, ledger: Ledger) -> dict[str, str]:
    """The run keys of the present preparation's proofs, by variant; none without `proof_to`."""
    if plan.dry_run or not plan.campaign.proof_to:
        return {}
    key = f"{plan.run_key}/{PROOF}-{ledger.runs.prepared_digest(plan.run_key)}"
    return {name: f"{key}-{name}" if name else key for name in plan.campaign.texts}


def require_proved(plan: Plan, ledger: Ledger) -> list[Submission]:
    """The proofs of the present preparation. Raises NotApproved unless each has been sent."""
    run_keys = proof_keys(plan, ledger).values()
    proofs = [each for run_key in run_keys for each in ledger.submissions.of_run(run_key)]
    if len(proofs) < len(run_keys) or any(each.state not in SENT for each in proofs):
        raise NotApproved(
            "the proof of the present preparation has not been sent, so it can't be checked: "
            f"{remedies.clear(Task.PREPARE_PROOF)}"
        )
    return proofs


def is_needed(plan: Plan, ledger: Ledger) -> bool:
    """Whether this run needs an approval; with `proof_to` it always does."""
    if plan.campaign.proof_to:
        return True
    least = plan.campaign.approval
    if not least:
        return False
    return sum(each.messages or 0 for each in ledger.submissions.of_run(plan.run_key)) >= least


def deadline(
    plan: Plan,
    files: Sequence[Submission],
    settings: Settings,
    now: datetime,
    proofs: Sequence[Submission] = (),
) -> datetime:
    """Until when a run may be approved: its first hour, plus `max_delay`, at the latest.

    `approval_timeout` is counted from the arrival of the proofs.
    """
    latest = max([now, *(each.send_at for each in proofs)]) + settings.approval_timeout
    begins = min(each.send_at for each in files)
    return latest if plan.at_once else min(latest, begins + settings.max_delay)

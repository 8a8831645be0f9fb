"""Manual decisions on a submission: an `unknown` file arrived or not, a file is called off.

What belongs here: the possible answers, and what each changes in the ledger. This module reads the
gateway and deletes a `.tmp` that must not be sent; it never sends a file.
"""

from sms import remedies
from sms.delivery.gateway import Gateway
from sms.delivery.upload import clear_away, contradiction, look_again, proof_of_arrival
from sms.errors import SUPPORT, LedgerError
from sms.ledger.ledger import Ledger
from sms.ledger.records import is_proof
from sms.ledger.states import AHEAD, State
from sms.remedies import Task

STILL_HERE = (State.PLANNED, *sorted(AHEAD))


def settle(stem: str, gateway: Gateway, ledger: Ledger, *, arrived: bool) -> str:
    """Settle a submission in `unknown`, and return a sentence on what to do next.

    The gateway is checked first. Raises LedgerError if the submission is in another state, or if
    the gateway contradicts the answer; GatewayError.
    """
    _require(stem, ledger, (State.UNKNOWN,), "not unknown: nothing to settle")
    found = look_again(ledger.submissions.get(stem), gateway, ledger)
    if found.state is State.UNKNOWN:
        # Before the answer is recorded: a deleted file can't be renamed by a late request.
        if not arrived and not clear_away(stem, gateway):
            look_again(found, gateway, ledger)
            raise LedgerError(
                f"{stem} was renamed by a late request meanwhile: it may have arrived, whatever "
                "the answer says, and nothing is sent again. Answer again once the gateway shows "
                "its state"
            )
        answer = "arrived" if arrived else "never arrived"
        to = State.SUBMITTED if arrived else State.CANCELLED
        if not ledger.submissions.move(stem, to=to, detail={"settled": answer}):
            _require(stem, ledger, (), "already settled by another answer")
    elif not arrived:
        raise LedgerError(
            f"the gateway shows that {stem} has arrived, whatever the answer says: it counts as "
            f"submitted, and nothing is sent again. {_goes_on(stem, ledger)}"
        )
    if arrived:
        return f"{stem} counts as submitted. {_goes_on(stem, ledger)}"
    if is_proof(found.run_key):
        return f"{stem} is cancelled. For another proof, {remedies.clear(Task.PREPARE_PROOF)}"
    if is_alone(stem, ledger):
        return f"{stem} is cancelled, and nothing of its run was sent: it may be sent again"
    return (
        f"{stem} is cancelled. Other files of its {found.parts} may have been sent: the query of a "
        "new run must leave out the recipients in sms.delivery"
    )


def _goes_on(stem: str, ledger: Ledger) -> str:
    """The task to clear so that the run of a file that arrived continues."""
    proof = is_proof(ledger.submissions.get(stem).run_key)
    return f"To go on, {remedies.clear(Task.SEND_PROOF if proof else Task.SUBMIT)}"


def is_alone(stem: str, ledger: Ledger) -> bool:
    """Whether a submission is the only file of its run, so that a new run texts no one twice.

    A proof never is: it belongs to a larger run.
    """
    found = ledger.submissions.get(stem)
    return found.parts == 1 and not is_proof(found.run_key)


def call_off(stem: str, ledger: Ledger, gateway: Gateway | None = None) -> str:
    """Cancel a submission that can't have left yet. Raises LedgerError if it may have left.

    If a gateway is given, it is checked too: SubmissionContradicted if it shows a file that the
    ledger never let go.
    """
    if gateway and (proof := proof_of_arrival(stem, gateway, ledger)):
        _require(stem, ledger, STILL_HERE, f"and at the gateway: only {SUPPORT} can stop it now")
        raise contradiction(stem, proof)
    _require(stem, ledger, STILL_HERE, f"and may be at the gateway: only {SUPPORT} can stop it now")
    if not ledger.submissions.move(stem, to=State.CANCELLED, detail={"why": "called off"}):
        _require(stem, ledger, (), f"about to be renamed, or was: only {SUPPORT} can stop it now")
    others = [
        each.stem
        for each in ledger.submissions.of_run(ledger.submissions.get(stem).run_key)
        if each.state in STILL_HERE
    ]
    beside = f". The other files of its run are called off too: {', '.join(others)}"
    return f"{stem} is cancelled and will never be sent" + (beside if others else "")


def _require(stem: str, ledger: Ledger, states: tuple[State, ...], otherwise: str) -> None:
    state = ledger.submissions.get(stem).state
    if state not in states:
        raise LedgerError(f"{stem} is {state}, {otherwise}")

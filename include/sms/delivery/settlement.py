"""Open cases that a person closes: a file whose fate can't be known, a file that must not leave.

What belongs here: which answers there are, and what each changes in the ledger. The gateway is only
looked at, and a `.tmp` that must not leave is removed; nothing is sent.
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
    """Say what became of a submission in `unknown`; what to do next, in a sentence.

    The gateway is asked first. Raises LedgerError for any other submission, and for an answer that
    the gateway refutes; GatewayError.
    """
    _require(stem, ledger, (State.UNKNOWN,), "not unknown: nothing to settle")
    found = look_again(ledger.submissions.get(stem), gateway, ledger)
    if found.state is State.UNKNOWN:
        # First of all: what is gone can't be renamed late.
        if not arrived and not clear_away(stem, gateway):
            look_again(found, gateway, ledger)
            raise LedgerError(
                f"a late rename of {stem} came meanwhile: it may have arrived, whatever anybody "
                "says, and nothing is sent again. Answer again once the gateway shows what became "
                "of it"
            )
        answer = "arrived" if arrived else "never arrived"
        to = State.SUBMITTED if arrived else State.CANCELLED
        if not ledger.submissions.move(stem, to=to, detail={"settled": answer}):
            _require(stem, ledger, (), "settled by somebody else meanwhile")
    elif not arrived:
        raise LedgerError(
            f"the gateway shows that {stem} has arrived, whatever anybody says: it counts as "
            f"submitted, and nothing is sent again. {_goes_on(stem, ledger)}"
        )
    if arrived:
        return f"{stem} counts as submitted. {_goes_on(stem, ledger)}"
    if is_proof(found.run_key):
        return f"{stem} is cancelled. For another proof, {remedies.clear(Task.PREPARE_PROOF)}"
    if is_alone(stem, ledger):
        return f"{stem} is cancelled, and nothing of its run was sent: it may be sent again"
    return (
        f"{stem} is cancelled. Others of its {found.parts} parts may have gone "
        "out: a new run's query must leave out whoever is in sms.delivery"
    )


def _goes_on(stem: str, ledger: Ledger) -> str:
    """How the run of a file that arrived goes on: the task that waits for the verdict."""
    proof = is_proof(ledger.submissions.get(stem).run_key)
    return f"To go on, {remedies.clear(Task.SEND_PROOF if proof else Task.SUBMIT)}"


def is_alone(stem: str, ledger: Ledger) -> bool:
    """Whether a submission is all there is of its run, so that sending anew texts nobody twice.

    A proof is only a part of one.
    """
    found = ledger.submissions.get(stem)
    return found.parts == 1 and not is_proof(found.run_key)


def call_off(stem: str, ledger: Ledger, gateway: Gateway | None = None) -> str:
    """Cancel a submission that can't have left yet; LedgerError if it may have.

    A gateway that is given is asked, too: SubmissionContradicted if it shows what never left.
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
    beside = f". The other files of its run are called off with it: {', '.join(others)}"
    return f"{stem} is cancelled and will never be sent" + (beside if others else "")


def _require(stem: str, ledger: Ledger, states: tuple[State, ...], otherwise: str) -> None:
    state = ledger.submissions.get(stem).state
    if state not in states:
        raise LedgerError(f"{stem} is {state}, {otherwise}")

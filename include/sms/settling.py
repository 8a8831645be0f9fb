"""Open cases that a person closes: a file whose fate can't be known, a file that must not leave.

What belongs here: which answers there are, and what each changes in the ledger. Nothing here talks
to the gateway, and nothing is sent.
"""

from sms.errors import SUPPORT, LedgerError
from sms.ledger.ledger import Ledger
from sms.ledger.states import AHEAD, State
from sms.proving import is_proof

STILL_HERE = (State.PLANNED, *sorted(AHEAD))


def settle(stem: str, ledger: Ledger, *, arrived: bool) -> str:
    """Say what became of a submission in `unknown`; what to do next, in a sentence.

    Raises LedgerError for any other submission.
    """
    to = State.SUBMITTED if arrived else State.CANCELLED
    _require(stem, ledger, (State.UNKNOWN,), "not unknown: nothing to settle")
    if not ledger.move(stem, to=to, detail={"settled": "arrived" if arrived else "never arrived"}):
        _require(stem, ledger, (), "settled by somebody else meanwhile")
    proof = is_proof(ledger.submission(stem).run_key)
    if arrived:
        task = "send_proof" if proof else "submit"
        return f"{stem} counts as submitted. Clear its task {task}, and the run goes on"
    if proof:
        return f"{stem} is cancelled. Clear the task prove of its run, which sends another proof"
    if is_alone(stem, ledger):
        return f"{stem} is cancelled, and nothing of its run was sent: it may be sent again"
    return (
        f"{stem} is cancelled. Others of its {ledger.submission(stem).parts} parts may have gone "
        "out: a new run's query must leave out whoever is in sms.delivery"
    )


def is_alone(stem: str, ledger: Ledger) -> bool:
    """Whether a submission is all there is of its run, so that sending anew texts nobody twice.

    A proof is only a part of one.
    """
    found = ledger.submission(stem)
    return found.parts == 1 and not is_proof(found.run_key)


def call_off(stem: str, ledger: Ledger) -> str:
    """Cancel a submission that can't have left yet; LedgerError if it may have."""
    _require(stem, ledger, STILL_HERE, f"and may be at the gateway: only {SUPPORT} can stop it now")
    if not ledger.move(stem, to=State.CANCELLED, detail={"why": "called off"}):
        _require(stem, ledger, (), f"about to be renamed, or was: only {SUPPORT} can stop it now")
    others = [
        each.stem
        for each in ledger.submissions(ledger.submission(stem).run_key)
        if each.state in STILL_HERE
    ]
    beside = f". The other files of its run are called off with it: {', '.join(others)}"
    return f"{stem} is cancelled and will never be sent" + (beside if others else "")


def _require(stem: str, ledger: Ledger, states: tuple[State, ...], otherwise: str) -> None:
    state = ledger.submission(stem).state
    if state not in states:
        raise LedgerError(f"{stem} is {state}, {otherwise}")

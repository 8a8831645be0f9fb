"""A run whose proof is prepared and sent."""

from sms import clock
from sms.ledger.states import State
from sms.run import proof
from tests.delivery.conftest import Desk

OURS = 'proof_to: ["+33 6 39 98 99 01", "+33639989902"]\n'


def proved(desk: Desk, run: str = "one") -> list[str]:
    folder = desk.run_folder(run)
    plan = folder.read_plan()
    return proof.prove(plan, folder, desk.ledger, desk.settings, clock.now())


def submit_proof(desk: Desk, stem: str) -> State:
    """What the task `send_proof` does with it."""
    run_key = desk.ledger.submissions.get(stem).run_key
    link = desk.folder / "runs" / run_key
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(desk.ledger.runs.get(run_key).folder, target_is_directory=True)
    return desk.submit(stem).state

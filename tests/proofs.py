"""A run whose proof is prepared and sent."""

from sms import clock
from sms.ledger.states import State
from sms.run import proof
from tests.world import World

OURS = 'proof_to: ["+33 6 39 98 99 01", "+33639989902"]\n'


def proved(world: World, run: str = "one") -> list[str]:
    folder = world.run_folder(run)
    plan = folder.read_plan()
    return proof.prove(plan, folder, world.ledger, world.settings, clock.now())


def submit_proof(world: World, stem: str) -> State:
    """What the task `send_proof` does with it."""
    run_key = world.ledger.submissions.get(stem).run_key
    link = world.folder / "runs" / run_key
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(world.ledger.runs.get(run_key).folder, target_is_directory=True)
    return world.submit(stem).state

"""A run has a status and its failure; a proof is no run, and no message to a recipient."""

from sms.ledger.migrations import scripts

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0018_runs.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

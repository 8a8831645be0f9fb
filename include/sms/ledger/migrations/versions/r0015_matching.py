"""Receipts are matched before they are stored, and nothing is noted that nobody asks for."""

from sms.ledger.migrations import scripts

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0015_matching.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""Which rows that can't be read may be somebody's STOP, and who has looked at them."""

from sms.ledger.migrations import scripts

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0012_quarantine.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

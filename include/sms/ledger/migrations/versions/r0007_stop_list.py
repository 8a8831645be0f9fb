"""The stop list's imports and removals, each with its trace, and what lets a number leave."""

from sms.ledger.migrations import scripts

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0007_stop_list.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""An intent to rename may be withdrawn where it is certain that nothing left by it."""

from sms.ledger.migrations import scripts

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0016_withdrawn.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""An IDREMOTE of ours as the 16 bytes that its 32 digits stand for: half the size, and faster."""

from sms.ledger.migrations import scripts

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0011_idremote.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""The words of a removed opt-out may be erased; its trace stays final."""

from sms.ledger.migrations import scripts

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0013_words_of_removals.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

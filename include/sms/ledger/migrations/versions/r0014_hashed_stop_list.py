"""The stop list's old numbers may become pseudonyms, by a key that is one for ever."""

from sms.ledger.migrations import scripts

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0014_hashed_stop_list.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

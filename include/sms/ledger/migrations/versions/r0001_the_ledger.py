"""The ledger's tables, what the database itself refuses, and the views for analysts."""

from sms.ledger.migrations import scripts

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for script in ("r0001_tables.sql", "r0001_refusals.sql", "r0001_views.sql"):
        scripts.run(script)


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

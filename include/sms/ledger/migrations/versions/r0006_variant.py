"""Which variant of a campaign's text a message is, and what became of each."""

from alembic import op

from sms.ledger.migrations import scripts

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sms.message ADD COLUMN variant text")
    scripts.run("r0006_views.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

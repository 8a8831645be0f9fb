"""Where the people of a file live, as files have hours of their own."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sms.submission ADD COLUMN zone text NOT NULL DEFAULT 'FR'")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""When a file's `.tmp` was whole, and its messages recorded; its intent to rename comes later."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sms.submission ADD COLUMN uploaded_at timestamptz")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

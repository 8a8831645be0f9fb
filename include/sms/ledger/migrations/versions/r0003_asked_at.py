"""When a run was to start: of two that were asked for at once, one sends."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sms.campaign_run ADD COLUMN asked_at timestamptz")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

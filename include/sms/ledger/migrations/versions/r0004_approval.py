"""Who said yes to what a run is about to send."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE sms.campaign_run ADD COLUMN approved_by text, "
        "ADD COLUMN approved_at timestamptz"
    )


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

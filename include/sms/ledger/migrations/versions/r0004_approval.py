"""Who said yes, and to which bytes; when people were chosen; which runs are trials."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE sms.campaign_run ADD COLUMN row_limit integer, "
        "ADD COLUMN chosen_at timestamptz, ADD COLUMN approved_by text, "
        "ADD COLUMN approved_at timestamptz"
    )
    op.execute("ALTER TABLE sms.submission ADD COLUMN prepared_sha256 text")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

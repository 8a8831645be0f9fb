"""When a run was to start, as of two asked for at once one sends; late STOPs in the summary."""

from alembic import op

from sms.ledger.migrations import scripts

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sms.campaign_run ADD COLUMN asked_at timestamptz")
    scripts.run("r0003_views.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""When a run was to start, as of two asked for at once one sends; late STOPs in the summary."""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE sms.campaign_run ADD COLUMN asked_at timestamptz")
    view = (Path(__file__).parent / "r0003_views.sql").read_text(encoding="utf-8")
    # Not `op.execute`: it would take a colon or a percent sign for a parameter.
    op.get_bind().exec_driver_sql(view, execution_options={"no_parameters": True})


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

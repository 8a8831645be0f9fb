"""Rows about people expire: what they counted for is kept, and the summary still adds up."""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE sms.erased ("
        "submission_id bigint NOT NULL REFERENCES sms.submission, "
        "what text NOT NULL CONSTRAINT erased_what CHECK (what IN ('delivered', 'refused', "
        "'not_delivered', 'pending', 'unknown', 'missing', 'stranger', 'late_stop', 'STOP', "
        "'SMSMO', 'segments', 'stopped')), "
        "variant text NOT NULL DEFAULT '', "
        "number bigint NOT NULL, "
        "PRIMARY KEY (submission_id, what, variant))"
    )
    views = (Path(__file__).parent / "r0008_views.sql").read_text(encoding="utf-8")
    # Not `op.execute`: it would take a colon or a percent sign for a parameter.
    op.get_bind().exec_driver_sql(views, execution_options={"no_parameters": True})


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

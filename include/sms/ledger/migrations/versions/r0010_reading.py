"""What of the reports can't be read, and what tells of no file of ours; each file's sums."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE TABLE sms.unreadable_row ("
        "report text NOT NULL, line bigint NOT NULL, "
        "digest bytea GENERATED ALWAYS AS (sha256(raw)) STORED, raw bytea NOT NULL, "
        "reason text NOT NULL, recorded_at timestamptz NOT NULL, gone_at timestamptz, "
        "CONSTRAINT unreadable_row_pkey PRIMARY KEY (report, line, digest))"
    )
    views = (Path(__file__).parent / "r0010_views.sql").read_text(encoding="utf-8")
    # Not `op.execute`: it would take a colon or a percent sign for a parameter.
    op.get_bind().exec_driver_sql(views, execution_options={"no_parameters": True})


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""What of the reports can't be read, and what tells of no file of ours; each file's sums."""

from alembic import op

from sms.ledger.migrations import scripts

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
    scripts.run("r0010_views.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""Rows about people expire: what they counted for is kept, and the summary still adds up."""

from alembic import op

from sms.ledger.migrations import scripts

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
    scripts.run("r0008_views.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

"""Reports are merged, and seen by our own clock: sightings, and outcomes that a report left out."""

from sms.ledger.migrations import scripts

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    scripts.run("r0017_sightings.sql")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

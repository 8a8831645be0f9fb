"""An IDREMOTE of ours as the 16 bytes that its 32 digits stand for: half the size, and faster."""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    statements = (Path(__file__).parent / "r0011_idremote.sql").read_text(encoding="utf-8")
    # Not `op.execute`: it would take a colon or a percent sign for a parameter.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

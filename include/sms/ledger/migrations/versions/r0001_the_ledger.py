"""The ledger's tables, what the database itself refuses, and the views for analysts."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for script in ("r0001_tables.sql", "r0001_refusals.sql", "r0001_views.sql"):
        statements = (Path(__file__).parent / script).read_text(encoding="utf-8")
        # Not `op.execute`: it would take a colon or a percent sign for a parameter.
        op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

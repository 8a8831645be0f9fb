"""The words of a removed opt-out may be erased; its trace stays final."""

from pathlib import Path

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    statements = (Path(__file__).parent / "r0013_words_of_removals.sql").read_text(encoding="utf-8")
    # Not `op.execute`: it would take a colon or a percent sign for a parameter.
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")

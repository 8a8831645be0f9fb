"""Runs the SQL files of revisions."""

from pathlib import Path

from alembic import op

VERSIONS = Path(__file__).parent / "versions"


def run(name: str) -> None:
    """Run the statements of a file of `versions`."""
    execute((VERSIONS / name).read_text(encoding="utf-8"))


def execute(statements: str) -> None:
    """Run statements unchanged: `op.execute` would read a colon as a parameter."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})

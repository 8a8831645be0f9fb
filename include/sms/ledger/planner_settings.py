"""PostgreSQL's planner settings for statements on new rows.

The planner's statistics may be older than these rows, or from the middle of a load: then it expects
a few rows instead of a million. So joins of new rows do not depend on its estimates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import text

from sms.ledger.database import Transaction

# For many rows: at worst the whole file is read once.
HASH_JOINS = {"enable_nestloop": "off", "enable_mergejoin": "off"}

# For a few rows: each is looked up by its key.
INDEX_LOOKUPS = {
    **{"enable_seqscan": "off", "enable_bitmapscan": "off"},
    **{"enable_hashjoin": "off", "enable_mergejoin": "off"},
}

FEW = 1_000  # rows


def join_settings(rows: int) -> Mapping[str, str]:
    """The settings to join a number of new rows: index look-ups for a few, hash joins for many."""
    return INDEX_LOOKUPS if rows < FEW else HASH_JOINS


@contextmanager
def set_planner(tx: Transaction, settings: Mapping[str, str]) -> Iterator[None]:
    """Apply settings inside the `with` block."""
    for setting, value in settings.items():
        tx.db.execute(text(f"SET LOCAL {setting} = {value}"))
    yield
    for setting in settings:
        tx.db.execute(text(f"SET LOCAL {setting} TO DEFAULT"))

"""PostgreSQL's planner settings for statements on rows that came a moment ago.

The planner's statistics may be from before these rows, or from the middle of a load: then it takes
a million rows for a handful. So what joins new rows is not left to its estimates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import text

from sms.ledger.database import Transaction

# At worst the whole file is read once.
HASH_JOINS = {"enable_nestloop": "off", "enable_mergejoin": "off"}

# A few rows are looked up by their keys.
INDEX_LOOKUPS = {
    **{"enable_seqscan": "off", "enable_bitmapscan": "off"},
    **{"enable_hashjoin": "off", "enable_mergejoin": "off"},
}

FEW = 1_000  # rows


def join_settings(rows: int) -> Mapping[str, str]:
    """The settings to join so many new rows: a few are looked up; of many, all is read once."""
    return INDEX_LOOKUPS if rows < FEW else HASH_JOINS


@contextmanager
def set_planner(tx: Transaction, settings: Mapping[str, str]) -> Iterator[None]:
    """The planner's settings inside the `with` block."""
    for setting, value in settings.items():
        tx.db.execute(text(f"SET LOCAL {setting} = {value}"))
    yield
    for setting in settings:
        tx.db.execute(text(f"SET LOCAL {setting} TO DEFAULT"))

"""How a statement is carried out, where the planner can't know: on rows that came a moment ago.

By its statistics, which may be from before them or from the middle of a load, a million rows are a
handful. So what joins new rows is not left to its estimates.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import text

from sms.ledger.database import Transaction

# What is looked up is at worst looked for once through the whole file.
HASHED = {"enable_nestloop": "off", "enable_mergejoin": "off"}

# A few rows are looked up by their keys.
LOOKED_UP = {
    **{"enable_seqscan": "off", "enable_bitmapscan": "off"},
    **{"enable_hashjoin": "off", "enable_mergejoin": "off"},
}


FEW = 1_000  # rows


def joining(rows: int) -> Mapping[str, str]:
    """The settings to join so many new rows: a few are looked up; of many, all is read once."""
    return LOOKED_UP if rows < FEW else HASHED


@contextmanager
def planned(tx: Transaction, settings: Mapping[str, str]) -> Iterator[None]:
    """The planner's settings inside the `with` block."""
    for setting, value in settings.items():
        tx.db.execute(text(f"SET LOCAL {setting} = {value}"))
    yield
    for setting in settings:
        tx.db.execute(text(f"SET LOCAL {setting} TO DEFAULT"))

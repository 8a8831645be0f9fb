"""Reports at the gateway as we saw them: in which state, and since when by our own clock.

A server's clock may be hours off, and counts seconds at best. So whether a file has stopped
changing is decided by our own fetches alone.
"""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import and_, case, func, select
from sqlalchemy.dialects.postgresql import insert

from sms.ledger.database import Transaction
from sms.ledger.records import RemoteState, Sighting
from sms.ledger.tables import sighting


def record(tx: Transaction, name: str, state: RemoteState, fetched_at: datetime) -> Sighting:
    """Record that a report was fetched in a state; since when it is in it.

    A fetch counts from its beginning, and a state from its end: the time between may be long.
    """
    values = {**asdict(state), "since": tx.now, "fetched_at": fetched_at}
    unchanged = and_(*(sighting.c[column] == value for column, value in asdict(state).items()))
    # Where our own clock went back, a state is not older than it says now.
    since = case((unchanged, func.least(sighting.c.since, tx.now)), else_=tx.now)
    kept = tx.db.execute(
        insert(sighting)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_={**values, "since": since})
        .returning(sighting.c.since)
    ).scalar_one()
    return Sighting(state, kept, fetched_at)


def get(tx: Transaction, name: str) -> Sighting | None:
    """The state in which a report was fetched last, or None."""
    return named(tx, [name]).get(name)


def named(tx: Transaction, names: Collection[str]) -> dict[str, Sighting]:
    """The states in which these reports were fetched last, by name."""
    found = tx.db.execute(select(sighting).where(sighting.c.name.in_(names)))
    return {
        row.name: Sighting(
            RemoteState(row.size_bytes, row.modified_at, row.sha256), row.since, row.fetched_at
        )
        for row in found
    }

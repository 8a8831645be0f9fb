"""States of reports at the gateway, and since when each is unchanged by our own clock.

A server's clock may be hours off, and has a resolution of seconds at best. So only our own
downloads decide whether a file has stopped changing.
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
    """Record the state in which a report was fetched, and return its sighting.

    `fetched_at` is the beginning of the fetch; a new state counts from now, its end: the time
    between may be long.
    """
    values = {**asdict(state), "since": tx.now, "fetched_at": fetched_at}
    unchanged = and_(*(sighting.c[column] == value for column, value in asdict(state).items()))
    # If our clock was set back, the state is not older than the clock now says.
    since = case((unchanged, func.least(sighting.c.since, tx.now)), else_=tx.now)
    kept = tx.db.execute(
        insert(sighting)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_={**values, "since": since})
        .returning(sighting.c.since)
    ).scalar_one()
    return Sighting(state, kept, fetched_at)


def get(tx: Transaction, name: str) -> Sighting | None:
    """The sighting of a report, or None."""
    return named(tx, [name]).get(name)


def named(tx: Transaction, names: Collection[str]) -> dict[str, Sighting]:
    """The sightings of these reports, by name."""
    found = tx.db.execute(select(sighting).where(sighting.c.name.in_(names)))
    return {
        row.name: Sighting(
            RemoteState(row.size_bytes, row.modified_at, row.sha256), row.since, row.fetched_at
        )
        for row in found
    }

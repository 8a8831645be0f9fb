"""Reports at the gateway as we saw them: in which state, and since when by our own clock.

A server's clock may be hours off, and counts seconds at best. So whether a file has stopped
changing is decided by our own fetches alone.
"""

from dataclasses import asdict

from sqlalchemy import and_, case, func, select
from sqlalchemy.dialects.postgresql import insert

from sms.ledger.database import Transaction
from sms.ledger.records import RemoteState, Sighting
from sms.ledger.tables import sighting


def record(tx: Transaction, name: str, state: RemoteState) -> Sighting:
    """Write down that a file was fetched in a state; since when it is in it."""
    values = {**asdict(state), "since": tx.now, "fetched_at": tx.now}
    unchanged = and_(*(sighting.c[column] == value for column, value in asdict(state).items()))
    # Where our own clock went back, a state is not older than it says now.
    since = case((unchanged, func.least(sighting.c.since, tx.now)), else_=tx.now)
    kept = tx.db.execute(
        insert(sighting)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=["name"], set_={**values, "since": since})
        .returning(sighting.c.since)
    ).scalar_one()
    return Sighting(state, kept, tx.now)


def of(tx: Transaction, name: str) -> Sighting | None:
    """The state in which a file was fetched last, or None."""
    row = tx.db.execute(select(sighting).where(sighting.c.name == name)).first()
    if row is None:
        return None
    state = RemoteState(row.size_bytes, row.modified_at, row.sha256)
    return Sighting(state, row.since, row.fetched_at)

"""SQLAlchemy engines for the ledger: one for each URL and process, with a small pool.

A transaction is mostly shorter than connecting, so a connection is kept between transactions. It is
tested before use, replaced when it is old, and never used by a forked process.
"""

import atexit
import os
from typing import Any

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import Pool

from sms.errors import ConfigurationError

CONNECT_TIMEOUT = 10  # seconds
KEPT = 1  # connections: a task holds no more during an upload of half an hour
# Seconds after which a connection is replaced before use. A firewall drops an idle connection
# silently, and a ping over it would wait for a quarter of an hour.
RECYCLED_AFTER = 10
CONNECTION: dict[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    "application_name": "sms ledger",
    # Prepared statements outlive their transaction, and not every pooler supports that.
    "prepare_threshold": None,
}

_shared: dict[str, Engine] = {}
_inherited: list[Pool] = []


def shared_engine(url: str) -> Engine:
    """This process's engine for a PostgreSQL URL. Raises ConfigurationError for any other URL."""
    if url not in _shared:
        _shared.setdefault(url, engine_of(url))  # of two threads' engines, one is kept
    return _shared[url]


def engine_of(url: str) -> Engine:
    """A new engine for a PostgreSQL URL. Raises ConfigurationError for any other URL."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "the ledger's URL can't be read: write postgresql://user:password@host:5432/database"
        ) from error
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the ledger must be PostgreSQL, not {parsed.get_backend_name()}: "
            "correct the connection sms_ledger"
        )
    return create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=KEPT,
        max_overflow=-1,  # a nested transaction, or one of another thread, never waits
        pool_pre_ping=True,
        pool_recycle=RECYCLED_AFTER,
        isolation_level="READ COMMITTED",  # after a lock, changes of its former holder are visible
        hide_parameters=True,  # a failing statement's parameters may hold numbers
        connect_args=CONNECTION,
    )


def close_all() -> None:
    """Close idle connections; the engines open new ones on demand."""
    for engine in list(_shared.values()):
        engine.dispose()


def _leave_to_parent() -> None:
    """Start a forked process with empty pools.

    The parent's pools are kept unused: closing or collecting them could end the parent's sessions.
    """
    for engine in _shared.values():
        _inherited.append(engine.pool)
        engine.dispose(close=False)


atexit.register(close_all)
os.register_at_fork(after_in_child=_leave_to_parent)

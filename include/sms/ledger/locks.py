"""Locks on the stop list: between its changes, and between changes and a leaving file."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import LockNotAvailable
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from sms.errors import LedgerBusy
from sms.ledger.database import Transaction

LOCK = 0x534D54  # the advisory lock
# Longer than the server allows a file's turn to last, see `turn.LIMITS`.
LONGEST = "30s"


def hold_off(tx: Transaction) -> None:
    """Prevent removals and hashing until this transaction ends; several may hold it at once."""
    tx.db.execute(select(func.pg_advisory_xact_lock_shared(LOCK)))


def hold(tx: Transaction) -> None:
    """Prevent other changes of the stop list (entries, removals, hashing) until this one ends."""
    tx.db.execute(select(func.pg_advisory_xact_lock(LOCK)))


def after_turns(tx: Transaction) -> Transaction:
    """Wait until no file is in its turn, and return this transaction with the present time.

    No other turn begins before this transaction ends. Raises LedgerBusy if the wait is longer than
    a turn can last.
    """
    tx.db.execute(select(func.set_config("lock_timeout", LONGEST, True)))
    with bounded(
        f"a file has been in its turn for {LONGEST}, longer than a turn may last: nothing was "
        "entered into the stop list. Try again; if that continues, find the session that locks "
        "sms.opt_out (pg_locks) and end it"
    ):
        tx.db.execute(text("LOCK TABLE sms.opt_out IN ROW EXCLUSIVE MODE"))
    tx.db.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
    return tx.at_this_moment()


@contextmanager
def bounded(message: str) -> Iterator[None]:
    """Raise LedgerBusy with this message if a lock is not granted in time."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise LedgerBusy(message) from None
        raise

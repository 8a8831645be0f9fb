"""Where changes of the stop list wait: for each other, and for a file that is leaving."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.errors import LockNotAvailable
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from sms.errors import LedgerBusy
from sms.ledger.database import Transaction

LOCK = 0x534D54  # the advisory lock
# Longer than the server lets a file's turn last, see `turn.LIMITS`.
LONGEST = "30s"


def hold_off(tx: Transaction) -> None:
    """Let nobody be removed or hashed until this transaction ends; several may at once."""
    tx.db.execute(select(func.pg_advisory_xact_lock_shared(LOCK)))


def hold(tx: Transaction) -> None:
    """Let nobody be entered, removed or hashed beside this transaction until it ends."""
    tx.db.execute(select(func.pg_advisory_xact_lock(LOCK)))


def after_turns(tx: Transaction) -> Transaction:
    """This transaction, once no file is between its last look and its rename, at that moment.

    Until it ends no other file's turn begins. LedgerBusy if it takes longer than a turn can.
    """
    tx.db.execute(select(func.set_config("lock_timeout", LONGEST, True)))
    with bounded(
        f"a file has been about to be renamed for {LONGEST}, which no turn may last: nothing was "
        "entered into the stop list. Enter it again; if this stays so, look for a session of the "
        "ledger that locks sms.opt_out (pg_locks) and end it"
    ):
        tx.db.execute(text("LOCK TABLE sms.opt_out IN ROW EXCLUSIVE MODE"))
    tx.db.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
    return tx.at_this_moment()


@contextmanager
def bounded(told: str) -> Iterator[None]:
    """LedgerBusy with this sentence where a lock can't be had in time."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            raise LedgerBusy(told) from None
        raise

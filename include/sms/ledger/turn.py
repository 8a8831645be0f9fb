"""The turn of a file: it orders the file's rename and changes of the stop list.

An opt-out is either entered before the last check of a rename, and obeyed, or waits until that turn
is over, and counts as late. PostgreSQL keeps this order: a turn locks the tables with opt-outs
against changes.
"""

import numpy as np
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError

from sms.errors import LookExpired
from sms.ledger import quarantine, stop_list
from sms.ledger.bulk_copy import Numbers
from sms.ledger.database import Transaction
from sms.ledger.locks import bounded

TURN = 7_777_002  # the key of an advisory lock
# If a process is suspended in its turn, or its machine is lost, others wait only until the server
# notices. That turn can then no longer rename its file.
LIMITS = {
    "lock_timeout": "15s",
    "idle_in_transaction_session_timeout": "10s",
    **{"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"},
}
LOCKED = "LOCK TABLE sms.opt_out, sms.unreadable_row IN SHARE MODE"


class Turn:
    """The checks of a file before its rename; their results do not change during the turn."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def opted_out(self, msisdns: Numbers) -> np.ndarray:
        """The int64 numbers that are in the stop list, ascending, each once."""
        return stop_list.opted_out(self._tx, msisdns)

    def unseen_stops(self) -> dict[str, int]:
        """How many unreadable rows may be a STOP and are unseen, by report."""
        return quarantine.unseen_stops(self._tx)

    def require(self) -> None:
        """Raise LookExpired unless the server answers, which proves that the lock is held."""
        try:
            self._tx.db.execute(select(1))
        except DBAPIError:
            raise LookExpired from None


def take(tx: Transaction, *, alone: bool) -> Turn:
    """Begin a turn: wait for changes of the stop list, then prevent them until `tx` ends.

    With `alone` no other file leaves meanwhile, as frequency_cap needs all files that left before.
    Raises LedgerBusy after some seconds.
    """
    for setting, value in LIMITS.items():
        tx.db.execute(select(func.set_config(setting, value, True)))
    advisory = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
    with bounded(
        "the rename of another file takes longer than it should, and frequency_cap is checked one "
        "file at a time: this one tries again later"
    ):
        tx.db.execute(select(advisory(TURN)))
    with bounded(
        "a change of the stop list, perhaps an import, takes longer than a rename waits: nothing "
        "was renamed, and this file tries again later"
    ):
        tx.db.execute(text(LOCKED))
    return Turn(tx)

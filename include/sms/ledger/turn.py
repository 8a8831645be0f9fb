"""The turn in which a file leaves: one order between its rename and whatever forbids it.

Whatever enters the stop list is there before the last look of a rename, and is obeyed, or waits
until that turn is over, and counts as late. PostgreSQL keeps this order: a turn locks the tables
that tell who must not be written to, against everybody who changes them.
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
# A process that stands still in its turn, or whose machine vanished, holds off nobody for longer
# than the server takes to notice. Its file is not renamed by that look any more.
LIMITS = {
    "lock_timeout": "15s",
    "idle_in_transaction_session_timeout": "10s",
    **{"tcp_keepalives_idle": "20", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"},
}
LOCKED = "LOCK TABLE sms.opt_out, sms.unreadable_row IN SHARE MODE"


class Turn:
    """What a file must not leave without having asked, as it stands until the turn ends."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def opted_out(self, msisdns: Numbers) -> np.ndarray:
        """Which of these int64 numbers are in the stop list, ascending, each once."""
        return stop_list.opted_out(self._tx, msisdns)

    def unseen_stops(self) -> dict[str, int]:
        """How many unreadable rows may be a STOP and were seen by nobody, by report."""
        return quarantine.unseen_stops(self._tx)

    def require(self) -> None:
        """LookExpired unless the turn still lasts: the server answers, so its lock is held."""
        try:
            self._tx.db.execute(select(1))
        except DBAPIError:
            raise LookExpired from None


def take(tx: Transaction, *, alone: bool) -> Turn:
    """Hold whatever enters the stop list until this transaction ends, and wait for what does.

    Whoever is `alone` sees all files that left before, and none leaves meanwhile: frequency_cap is
    judged so. LedgerBusy after some seconds.
    """
    for setting, value in LIMITS.items():
        tx.db.execute(select(func.set_config(setting, value, True)))
    advisory = func.pg_advisory_xact_lock if alone else func.pg_advisory_xact_lock_shared
    with bounded(
        "another file is being renamed for longer than it should take, and frequency_cap is judged "
        "one file at a time: this one tries again later"
    ):
        tx.db.execute(select(advisory(TURN)))
    with bounded(
        "the stop list is being changed for longer than a rename waits, by an import perhaps: "
        "nothing was renamed, and this file tries again later"
    ):
        tx.db.execute(text(LOCKED))
    return Turn(tx)

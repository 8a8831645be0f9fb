"""Where changes of the stop list wait for each other."""

from sqlalchemy import func, select

from sms.ledger.database import Transaction

LOCK = 0x534D54  # the advisory lock


def hold_off(tx: Transaction) -> None:
    """Let nobody be removed or hashed until this transaction ends; several may at once."""
    tx.db.execute(select(func.pg_advisory_xact_lock_shared(LOCK)))


def hold(tx: Transaction) -> None:
    """Let nobody be entered, removed or hashed beside this transaction until it ends."""
    tx.db.execute(select(func.pg_advisory_xact_lock(LOCK)))

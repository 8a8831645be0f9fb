"""Monthly partitions of `message` and `receipt`: opened in time, and dropped whole.

A file's rows are in the month of its day in Paris. Their outcomes are counted in other tables
(`outcome_count`, `answer_count`), so a dropped month takes no count with it.
"""

from datetime import date

from sqlalchemy import func, select

from sms.errors import LedgerError
from sms.ledger.database import Transaction
from sms.ledger.tables import submission


def day_of(tx: Transaction, submission_id: int) -> date:
    """The day in Paris that a file is sent on; LedgerError once its messages were dropped."""
    row = tx.db.execute(
        select(submission.c.stem, submission.c.sent_on, submission.c.dropped_at).where(
            submission.c.id == submission_id
        )
    ).one()
    if row.dropped_at is not None:
        raise LedgerError(
            f"the messages of {row.stem} were dropped on {row.dropped_at:%Y-%m-%d} with their "
            "month: its counts are final, and nothing can be matched with them any more"
        )
    day: date = row.sent_on
    return day


def open_month(tx: Transaction, day: date) -> None:
    """Make room for the rows of a day; nothing where there is room."""
    tx.db.execute(select(func.sms.open_month(day)))


def drop_months(tx: Transaction, before: date) -> list[date]:
    """Drop the messages and receipts of each month that ended by that day; their first days.

    Counts stay. A month stays as long as the gateway may still report on one of its files.
    LedgerUnreachable where a reader holds the tables for too long: try again.
    """
    dropped = list(tx.db.scalars(select(func.sms.drop_months(before, tx.now))))
    for month in dropped:
        tx.record(detail={"dropped_month": f"{month:%Y-%m}"})
    return dropped

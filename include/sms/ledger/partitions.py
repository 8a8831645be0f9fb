"""Monthly partitions of `message` and `receipt`: created in time, and dropped as a whole.

A file's rows are in the month of its day in Paris. Outcomes are counted in other tables
(`outcome_count`, `answer_count`), so dropping a month loses no count.
"""

from datetime import date

from sqlalchemy import func, select

from sms.errors import LedgerError
from sms.ledger.database import Transaction
from sms.ledger.tables import submission


def day_of(tx: Transaction, submission_id: int) -> date:
    """The day in Paris on which a file is sent. Raises LedgerError if its month was dropped."""
    row = tx.db.execute(
        select(submission.c.stem, submission.c.sent_on, submission.c.dropped_at).where(
            submission.c.id == submission_id
        )
    ).one()
    if row.dropped_at is not None:
        raise LedgerError(
            f"the messages of {row.stem} were dropped on {row.dropped_at:%Y-%m-%d} with their "
            "month: its counts are final, and no report can be matched any more"
        )
    day: date = row.sent_on
    return day


def open_month(tx: Transaction, day: date) -> None:
    """Create the partitions for the rows of a day, unless they exist."""
    tx.db.execute(select(func.sms.open_month(day)))


def drop_months(tx: Transaction, before: date) -> list[date]:
    """Drop the messages and receipts of each month that ended by a day; return the first days.

    Counts stay. A month stays while the gateway may still report on one of its files. Raises
    LedgerUnreachable if a reader locks the tables for too long: try again.
    """
    dropped = list(tx.db.scalars(select(func.sms.drop_months(before, tx.now))))
    for month in dropped:
        tx.record(detail={"dropped_month": f"{month:%Y-%m}"})
    return dropped

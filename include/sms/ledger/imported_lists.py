"""Import of another tool's opt-outs: a whole list at once, each number with the list's name."""

import pyarrow as pa
from sqlalchemy import text

from sms.ledger import locks, removals, stop_list
from sms.ledger.bulk_copy import Rows
from sms.ledger.database import Transaction
from sms.ledger.records import Import

LISTED = pa.schema(
    [
        pa.field("msisdn", pa.int64(), nullable=False),
        pa.field("opted_out_at", pa.timestamp("us", tz="UTC")),
    ]
)
REMEMBER = text(
    """
    INSERT INTO sms.imported (msisdn, list, opted_out_at, recorded_at)
    SELECT msisdn, :list, opted_out_at, :now
    FROM (SELECT DISTINCT msisdn, opted_out_at FROM pg_temp.leaving ORDER BY msisdn) AS said
    ON CONFLICT DO NOTHING
    """
)


def import_list(
    tx: Transaction, rows: Rows, *, named: str, file: str, trial: bool = False
) -> Import:
    """Enter another tool's list (msisdn, opted_out_at) under the name `named`, all or nothing.

    The earliest opt-out of each number is kept; a row without a time counts from now on. A `trial`
    is rolled back, and returns the counts of a real import.
    """
    locks.hold_off(tx)
    tx.db.execute(text("SET LOCAL work_mem = '256MB'"))  # a million numbers are sorted in memory
    with tx.db.begin_nested() as all_of_it:
        stop_list.gather(tx, LISTED, rows)
        found = int(
            tx.db.execute(text("SELECT count(DISTINCT msisdn) FROM pg_temp.leaving")).scalar_one()
        )
        tx.db.execute(REMEMBER, {"list": named, "now": tx.now})
        removed = removals.set_aside_listed(tx)
        new, again = stop_list.enter(tx, "import", named=named)
        facts = {"list": named, "file": file, "numbers": found}
        tx.record(detail={"opted_out": new, "source": "import", **facts})
        if trial:
            all_of_it.rollback()
    return Import(numbers=found, new=new, again=again, removed=removed)

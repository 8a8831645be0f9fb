"""Who said no: entered once, kept for ever, asked before every send, and trusted only if whole."""

import numpy as np
import pyarrow as pa
from sqlalchemy import BigInteger, cast, func, select, text
from sqlalchemy.exc import ProgrammingError

from sms.errors import StopListUnsafe
from sms.ledger.copying import Numbers, Rows, copy_rows, hand_over
from sms.ledger.database import Transaction
from sms.ledger.tables import campaign_run, event, opt_out

OPT_OUTS = pa.schema(
    [
        pa.field("msisdn", pa.int64(), nullable=False),
        pa.field("opted_out_at", pa.timestamp("us", tz="UTC")),
        pa.field("message", pa.large_string()),
    ]
)


def opted_out(tx: Transaction, msisdns: Numbers) -> np.ndarray:
    """Which of these numbers are in the stop list, ascending, each once."""
    hand_over(tx, msisdns)
    found = tx.db.execute(
        text("SELECT msisdn FROM pg_temp.asked JOIN sms.opt_out USING (msisdn) ORDER BY msisdn")
    )
    return np.fromiter(found.scalars(), dtype=np.int64)


def size(tx: Transaction) -> int:
    """How many numbers are in the stop list."""
    return tx.db.execute(select(func.count()).select_from(opt_out)).scalar_one()


def require_safe(tx: Transaction) -> int:
    """The stop list's size; StopListUnsafe if it can't be read, or holds less than it once did.

    What it once held is known twice: from the sizes that screenings saw, and from the events that
    say how many numbers were ever entered.
    """
    try:
        present = size(tx)
    except ProgrammingError as error:
        raise StopListUnsafe(
            "the stop list can't be read, so nothing may be sent: restore the table sms.opt_out "
            "and the ledger's right to read it"
        ) from error
    seen = tx.db.execute(select(func.max(campaign_run.c.stop_list_size))).scalar_one() or 0
    entered = tx.db.execute(
        select(func.sum(cast(event.c.detail["opted_out"].astext, BigInteger))).where(
            event.c.detail.has_key("opted_out")
        )
    ).scalar_one()
    before = max(seen, int(entered or 0))
    if present < before:
        raise StopListUnsafe(
            f"the stop list holds {present} numbers and once held {before}, so nothing may be "
            "sent: restore sms.opt_out from a backup"
        )
    return present


def add(tx: Transaction, rows: Rows, source: str, stem: str | None) -> int:
    """Enter opt-outs, and return how many numbers are new; the earliest of a number is kept.

    A row without a moment counts from now on.
    """
    tx.db.execute(
        text(
            "CREATE TEMP TABLE IF NOT EXISTS leaving (line bigint GENERATED ALWAYS AS IDENTITY, "
            "msisdn bigint, opted_out_at timestamptz, message text) ON COMMIT DROP"
        )
    )
    tx.db.execute(text("TRUNCATE leaving"))
    if not copy_rows(tx, "pg_temp.leaving", OPT_OUTS, rows):
        return 0
    # In the order of the numbers, so that two loads at once wait for each other in one direction.
    new: int = tx.db.execute(
        text(
            """
            WITH entered AS (
                INSERT INTO sms.opt_out AS kept
                    (msisdn, opted_out_at, source, stem, message, recorded_at)
                SELECT DISTINCT ON (msisdn)
                    msisdn, coalesce(opted_out_at, :now), :source, :stem, message, :now
                FROM pg_temp.leaving
                ORDER BY msisdn, opted_out_at, line
                ON CONFLICT (msisdn) DO UPDATE SET
                    opted_out_at = excluded.opted_out_at,
                    source = excluded.source,
                    stem = excluded.stem,
                    message = excluded.message
                WHERE excluded.opted_out_at < kept.opted_out_at
                RETURNING xmax = 0 AS new
            )
            SELECT count(*) FILTER (WHERE new) FROM entered
            """
        ),
        {"now": tx.now, "source": source, "stem": stem},
    ).scalar_one()
    if new:
        tx.record(detail={"opted_out": new, "source": source, "stem": stem})
    return new

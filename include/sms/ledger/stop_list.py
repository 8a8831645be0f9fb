"""The stop list: opted-out numbers, checked before every send, and only used if complete.

It holds numbers for all campaigns. `imported_lists` imports lists of other tools, `removals`
removes numbers on request, and `hashed_numbers` has the pseudonyms of old numbers.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from sqlalchemy import func, select, text
from sqlalchemy.exc import ProgrammingError

from sms.errors import StopListUnsafe
from sms.ledger import hashed_numbers, locks, removals
from sms.ledger.bulk_copy import Numbers, Rows, copied_out, copy_rows, hand_over
from sms.ledger.database import Transaction
from sms.ledger.planner_settings import join_settings, set_planner
from sms.ledger.tables import opt_out
from sms.wire.names import ReportName
from sms.words import count

LEAVING = """
CREATE TEMP TABLE IF NOT EXISTS leaving (line bigint GENERATED ALWAYS AS IDENTITY, msisdn bigint,
    opted_out_at timestamptz, message text, raw_date text, raw_hour text, occurrence integer,
    idremote text)
ON COMMIT DROP
"""
# The recipient of the answered message, if the reply comes from another number: people have several
# numbers, and some forward messages.
ANSWERED = text(
    """
    INSERT INTO pg_temp.leaving (msisdn, opted_out_at, message, raw_date, raw_hour, occurrence)
    SELECT m.msisdn, l.opted_out_at, l.message, l.raw_date, l.raw_hour, l.occurrence
    FROM pg_temp.leaving l
    JOIN sms.submission s ON s.stem = :stem
    JOIN sms.message m ON m.submission_id = s.id AND m.sent_on = s.sent_on
        AND m.idremote = CASE WHEN l.idremote ~ '^[0-9a-f]{32}$' THEN l.idremote::uuid END
    WHERE m.msisdn <> l.msisdn
    """
)
OPT_OUTS = pa.schema(
    [
        pa.field("msisdn", pa.int64(), nullable=False),
        pa.field("opted_out_at", pa.timestamp("us", tz="UTC")),
        pa.field("message", pa.large_string()),
    ]
)
# Further columns of a report's row, which identify it: see `removals`.
REPORTED = pa.schema(
    [
        *OPT_OUTS,
        pa.field("raw_date", pa.large_string()),
        pa.field("raw_hour", pa.large_string()),
        pa.field("occurrence", pa.int32()),
        pa.field("idremote", pa.large_string()),
    ]
)

# A row of the list in binary COPY: the number of fields, then each field's length and value.
LISTED_ROW = np.dtype(
    [
        *(("fields", ">i2"), ("length", ">i4"), ("msisdn", ">i8")),
        *(("length_of_moment", ">i4"), ("opted_out_at", ">i8")),
    ]
)
POSTGRES_EPOCH = int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000  # microseconds

ENTER = text(
    """
    WITH entered AS (
        INSERT INTO sms.opt_out AS kept
            (msisdn, opted_out_at, source, list, stem, message, recorded_at)
        SELECT DISTINCT ON (msisdn)
            msisdn, coalesce(opted_out_at, :now), :source, :list, :stem, message, :now
        FROM pg_temp.leaving
        ORDER BY msisdn, opted_out_at, line
        ON CONFLICT (msisdn) DO UPDATE SET
            opted_out_at = excluded.opted_out_at,
            source = excluded.source,
            list = excluded.list,
            stem = excluded.stem,
            message = excluded.message
        WHERE excluded.opted_out_at < kept.opted_out_at
        RETURNING msisdn, xmax = 0 AS new
    )
    SELECT count(*) FILTER (WHERE new) AS new, count(*) FILTER (WHERE new AND EXISTS (
        SELECT FROM sms.removal r WHERE r.msisdn = entered.msisdn)) AS again
    FROM entered
    """
)
# The larger of: all numbers ever entered minus the removed ones; the size that a screening saw
# minus later removals. A screening reads the size somewhat before its time is recorded.
ONCE_HELD = text(
    """
    SELECT greatest(
        (SELECT sum((detail ->> 'opted_out')::bigint) FROM sms.event WHERE detail ? 'opted_out')
            - (SELECT count(*) FROM sms.removal),
        (SELECT max(stop_list_size - (
            SELECT count(*) FROM sms.removal
            WHERE removed_at > least(run.planned_at, run.chosen_at) - interval '1 hour'))
        FROM sms.campaign_run run))
    """
)


def opted_out(tx: Transaction, msisdns: Numbers) -> np.ndarray:
    """The int64 numbers that are in the stop list, ascending, each once.

    One statement finds numbers and hashes, so that a number that is hashed meanwhile is not missed.
    """
    asked = np.unique(np.asarray(msisdns, dtype=np.int64))
    key = hashed_numbers.key_in_use(tx)
    if key is None:
        found = _found(tx, asked)
        key = hashed_numbers.key_in_use(tx)
        if key is None:  # otherwise the first numbers were hashed meanwhile
            return found
    pseudonyms = key.pseudonyms(asked)
    found = _found(tx, np.concatenate([asked, pseudonyms]))
    return asked[np.isin(asked, found) | np.isin(pseudonyms, found)]


def _found(tx: Transaction, names: np.ndarray) -> np.ndarray:
    hand_over(tx, names)
    found = tx.db.execute(
        text("SELECT msisdn FROM pg_temp.asked JOIN sms.opt_out USING (msisdn) ORDER BY msisdn")
    )
    return np.fromiter(found.scalars(), dtype=np.int64)


def size(tx: Transaction) -> int:
    """How many numbers are in the stop list."""
    return tx.db.execute(select(func.count()).select_from(opt_out)).scalar_one()


def require_safe(tx: Transaction) -> int:
    """The stop list's size. Raises StopListUnsafe if it can't be read, or has shrunk.

    Its former size is known from two sources: the sizes that screenings saw, and the events with
    the numbers entered. Recorded removals are subtracted. Everything is read in one snapshot, so
    that a number entered meanwhile does not look lost.
    """
    try:
        present = size(tx)
        hashed_numbers.key_in_use(tx)
    except ProgrammingError as error:
        raise StopListUnsafe(
            "the stop list can't be read, so nothing may be sent: restore the tables sms.opt_out "
            "and sms.stop_list_key, and the right of the ledger's user to read them"
        ) from error
    before = int(tx.db.execute(ONCE_HELD).scalar_one() or 0)
    if present < before:
        raise StopListUnsafe(
            f"the stop list has {count(present, 'number')} and once had {before:,}, so nothing may "
            "be sent: restore sms.opt_out from a backup"
        )
    return present


def add(
    tx: Transaction,
    rows: Rows,
    *,
    source: str,
    stem: str | None = None,
    report: ReportName | None = None,
) -> int:
    """Enter opt-outs (msisdn, opted_out_at, message), and return how many numbers are new.

    `source` is stop_report, reply or import. The earliest opt-out of a number is kept; a row
    without a time counts from now on. Rows of a `report` are identified by raw_date, raw_hour and
    occurrence: a row that was known when its number was removed does not enter it again.
    """
    locks.hold_off(tx)
    if not gather(tx, REPORTED if report else OPT_OUTS, rows, stem if report else None):
        return 0
    if report:
        removals.set_aside_reported(tx, report, source, stem)
    new, _ = enter(tx, source, stem=stem)
    if new:
        tx.record(detail={"opted_out": new, "source": source, "stem": stem})
    return new


def gather(tx: Transaction, schema: pa.Schema, rows: Rows, stem: str | None = None) -> int:
    """Put rows into the table `pg_temp.leaving` of this transaction, and return their number.

    Numbers that are hashed are replaced by their pseudonyms. For a report on the file `stem`, the
    recipients of the answered messages are added.
    """
    tx.db.execute(text(LEAVING))
    tx.db.execute(text("TRUNCATE leaving"))
    gathered = copy_rows(tx, "pg_temp.leaving", schema, rows)
    if gathered and stem:
        with set_planner(tx, join_settings(gathered)):
            tx.db.execute(ANSWERED, {"stem": stem})
    if gathered:
        hashed_numbers.stand_in(tx)
    return gathered


def enter(
    tx: Transaction, source: str, *, stem: str | None = None, named: str | None = None
) -> tuple[int, int]:
    """Enter the gathered rows: how many numbers are new, and how many of these were removed once.

    Numbers are entered in order, so that two loads at once lock rows in the same order. During a
    file's turn this waits, and its numbers count as late for that file.
    """
    tx = locks.after_turns(tx)
    params = {"now": tx.now, "source": source, "stem": stem, "list": named}
    new, again = tx.db.execute(ENTER, params).one()
    return new, again


def rows(tx: Transaction) -> Iterator[pa.RecordBatch]:
    """The stop list by number (msisdn int64, opted_out_at), streamed from one snapshot.

    Hashed numbers are left out; `count_hashed` returns how many there are.
    """
    statement = (
        "COPY (SELECT msisdn, opted_out_at FROM sms.opt_out WHERE msisdn > 0 ORDER BY msisdn) "
        "TO STDOUT (FORMAT binary)"
    )
    for cells in copied_out(tx, statement, LISTED_ROW):
        moments = cells["opted_out_at"].astype(np.int64) + POSTGRES_EPOCH
        yield pa.RecordBatch.from_arrays(
            [
                pa.array(cells["msisdn"].astype(np.int64)),
                pa.array(moments).cast(pa.timestamp("us", tz="UTC")),
            ],
            names=["msisdn", "opted_out_at"],
        )

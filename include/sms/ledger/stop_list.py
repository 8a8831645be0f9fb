"""Who said no: entered once, kept, asked before every send, and trusted only if whole.

By number, never by campaign. Lists of other tools are in `imported_lists`, numbers that a person
takes off the list in `removals`, and pseudonyms of old numbers in `hashed_numbers`.
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
# Whose message a row answers, where it comes from another number than we wrote to: people have
# several, and some are forwarded.
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
# What a report says beside: by it a row is known again, see `removals`.
REPORTED = pa.schema(
    [
        *OPT_OUTS,
        pa.field("raw_date", pa.large_string()),
        pa.field("raw_hour", pa.large_string()),
        pa.field("occurrence", pa.int32()),
        pa.field("idremote", pa.large_string()),
    ]
)

# A row of the list in binary COPY: the number of fields, then each one's length and its value.
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
# How many numbers were ever entered and not removed; and how many a screening saw, less what was
# removed since. It looked somewhat earlier than it was written down.
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
    """Which of these int64 numbers are in the stop list, ascending, each once.

    Those that are kept as hashes are found by one and the same statement, so that nobody who is
    hashed meanwhile can be missed.
    """
    asked = np.unique(np.asarray(msisdns, dtype=np.int64))
    key = hashed_numbers.key_in_use(tx)
    if key is None:
        found = _found(tx, asked)
        key = hashed_numbers.key_in_use(tx)
        if key is None:  # else the first of all were hashed right now
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
    """The stop list's size; StopListUnsafe if it can't be read, or is smaller than it once was.

    What it once held is known twice: from the sizes that screenings saw, and from the events that
    say how many numbers were ever entered. What was removed with its trace is not missing. All of
    it as one moment saw it: what is entered meanwhile must not look as if it were lost.
    """
    try:
        present = size(tx)
        hashed_numbers.key_in_use(tx)
    except ProgrammingError as error:
        raise StopListUnsafe(
            "the stop list can't be read, so nothing may be sent: restore the tables sms.opt_out "
            "and sms.stop_list_key, and the ledger's right to read them"
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
    """Enter opt-outs (msisdn, opted_out_at, message); how many numbers are new.

    `source` is stop_report, reply or import. The earliest opt-out of a number is kept; a row
    without a moment counts from now on. Rows of a `report` say which each is (raw_date, raw_hour,
    occurrence): a row that was known when its number was removed does not bring it back.
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
    """Put rows into the table `pg_temp.leaving` of this transaction; how many those are.

    Each under the name by which its person is known; of a report on the file `stem`, also whoever
    was written to by the message that a row answers.
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
    """Enter what was gathered: how many numbers are new, and how many of these were removed once.

    In the order of the numbers, so that two loads at once wait for each other in one direction.
    Whoever is entered while a file leaves is entered after it, and counts as late.
    """
    tx = locks.after_turns(tx)
    told = {"now": tx.now, "source": source, "stem": stem, "list": named}
    new, again = tx.db.execute(ENTER, told).one()
    return new, again


def rows(tx: Transaction) -> Iterator[pa.RecordBatch]:
    """The stop list by number (msisdn int64, opted_out_at), as of one moment, streamed.

    Without the numbers that are kept as hashes: `count_hashed` says how many those are.
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

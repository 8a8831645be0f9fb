"""A delivery report into the ledger: COPY straight into its table, then only the exceptions.

The file's latest state wins: what it says replaces what it said before, and loading it again
changes nothing. Nearly every row is about one of our messages and about no other row's, so what
is left for the database is to find the few that aren't.
"""

from collections.abc import Iterator

import pyarrow as pa
from sqlalchemy import delete, exists, select, text, update

from sms.ledger.copying import Rows, batches, copy_rows
from sms.ledger.database import Transaction
from sms.ledger.queries import OUTCOMES
from sms.ledger.submissions import locked
from sms.ledger.tables import erased, receipt, stranger, submission

RECEIPTS = pa.schema(
    [
        pa.field("submission_id", pa.int64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("idremote", pa.large_string(), nullable=False),
        pa.field("msisdn", pa.int64()),
        pa.field("idstatus", pa.int16()),
        pa.field("outcome", pa.large_string(), nullable=False),
        pa.field("ackoperator", pa.large_string()),
        pa.field("raw_status", pa.large_string()),
    ]
)

# `ctid`: nothing else moves rows of this submission while we hold its lock.
# Matched are rows by (IDREMOTE, MSISDN) (R30); where the number can't be read, by the IDREMOTE
# alone, which is ours and unique in the file.
UNMATCHED = """
CREATE TEMP TABLE unmatched ON COMMIT DROP AS
SELECT a.ctid AS place, a.msisdn, CAST(NULL AS text) AS message
FROM sms.receipt a
WHERE a.submission_id = :id AND NOT EXISTS (
    SELECT FROM sms.message m
    WHERE m.submission_id = :id AND m.idremote = a.idremote
        AND coalesce(a.msisdn, m.msisdn) = m.msisdn
)
"""

FIND_BY_NUMBER = """
UPDATE pg_temp.unmatched u SET message = m.idremote
FROM (
    SELECT msisdn, min(idremote) AS idremote FROM sms.message
    WHERE submission_id = :id AND msisdn IN (SELECT msisdn FROM pg_temp.unmatched)
    GROUP BY msisdn HAVING count(*) = 1
) AS m
WHERE u.msisdn = m.msisdn
"""

CORRECT = """
UPDATE sms.receipt a SET idremote = u.message FROM pg_temp.unmatched u
WHERE a.submission_id = :id AND a.ctid = u.place AND u.message IS NOT NULL
"""

# Of a file whose people expired or were forgotten, a row without its message may be one of them:
# it is counted, and not kept. What the counts of those people already hold is no stranger.
COUNT_STRANGERS = """
WITH aside AS (
    DELETE FROM sms.receipt a USING pg_temp.unmatched u
    WHERE a.submission_id = :id AND a.ctid = u.place AND u.message IS NULL
    RETURNING a.line
)
INSERT INTO sms.erased (submission_id, what, number)
SELECT :id, 'stranger', greatest(count(*) - (
    SELECT coalesce(sum(number), 0) FROM sms.erased
    WHERE submission_id = :id AND what = ANY(:outcomes)), 0)
FROM aside
ON CONFLICT (submission_id, what, variant) DO UPDATE SET number = excluded.number
"""

SET_STRANGERS_ASIDE = """
WITH aside AS (
    DELETE FROM sms.receipt a USING pg_temp.unmatched u
    WHERE a.submission_id = :id AND a.ctid = u.place AND u.message IS NULL
    RETURNING a.*
)
INSERT INTO sms.stranger
    (submission_id, line, idremote, msisdn, idstatus, outcome, ackoperator, raw_status)
SELECT submission_id, line, idremote, msisdn, idstatus, outcome, ackoperator, raw_status
FROM aside
"""

DROP_SUPERSEDED = """
DELETE FROM sms.receipt a
USING (
    SELECT idremote, max(line) AS last FROM sms.receipt
    WHERE submission_id = :id GROUP BY idremote HAVING count(*) > 1
) AS b
WHERE a.submission_id = :id AND a.idremote = b.idremote AND a.line < b.last
"""


def load(tx: Transaction, stem: str, rows: Rows) -> None:
    """Make the messages' outcomes, the strangers and the duplicates those of this report."""
    held = locked(tx, stem)
    for table in (receipt, stranger):
        tx.db.execute(delete(table).where(table.c.submission_id == held.id))
    count = copy_rows(tx, "sms.receipt", RECEIPTS, _of(held.id, rows))
    ours = {"id": held.id}
    # No statistics know these rows yet: left alone, the planner would look a million up singly.
    tx.db.execute(text("SET LOCAL enable_nestloop = off"))
    unmatched = tx.db.execute(text(UNMATCHED), ours).rowcount
    tx.db.execute(text("SET LOCAL enable_nestloop = on"))
    if unmatched:
        for statement in (FIND_BY_NUMBER, CORRECT):
            tx.db.execute(text(statement), ours)
        if _lacks_people(tx, held.id):
            tx.db.execute(text(COUNT_STRANGERS), {**ours, "outcomes": list(OUTCOMES)})
        else:
            tx.db.execute(text(SET_STRANGERS_ASIDE), ours)
    duplicates = tx.db.execute(text(DROP_SUPERSEDED), ours).rowcount
    tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id)
        .values(report_rows=count, report_duplicates=duplicates, report_loaded_at=tx.now)
    )


def _lacks_people(tx: Transaction, submission_id: int) -> bool:
    """Whether rows about people of this file were erased."""
    ours = exists().where(erased.c.submission_id == submission_id)
    return bool(tx.db.execute(select(ours)).scalar_one())


def _of(submission_id: int, rows: Rows) -> Iterator[pa.RecordBatch]:
    for batch in batches(rows):
        # In the order of the index, which then grows several times faster.
        yield batch.sort_by("idremote").append_column(
            "submission_id", pa.repeat(submission_id, batch.num_rows)
        )

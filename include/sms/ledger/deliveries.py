"""A delivery report into the ledger: COPY straight into its table, then only the exceptions.

The file's latest state wins: what it says replaces what it said before, and loading it again
changes nothing. Nearly every row is about one of our messages and about no other row's, so one
join finds the few that aren't, and counts all others on its way.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlalchemy import delete, exists, select, text, update

from sms.ledger import months
from sms.ledger.copying import CHUNK, Rows, copy_rows
from sms.ledger.database import Transaction
from sms.ledger.submissions import locked
from sms.ledger.tables import OUTCOMES, erased, receipt, stranger, submission

RECEIPTS = pa.schema(
    [
        pa.field("submission_id", pa.int64(), nullable=False),
        pa.field("sent_on", pa.date32(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("idremote", pa.large_string(), nullable=False),
        pa.field("msisdn", pa.int64()),
        pa.field("idstatus", pa.int16()),
        pa.field("outcome", pa.large_string(), nullable=False),
        pa.field("ackoperator", pa.large_string()),
        pa.field("raw_status", pa.large_string()),
    ]
)

Words = npt.NDArray[np.uint64]

# Both tables give a file's rows in the order of their key, so they are merged as they come, in
# no memory, however many other files the month holds. No statistics know the new rows yet: left
# alone, the planner takes a million for a handful.
MERGED = {
    "enable_mergejoin": "on",
    "enable_hashjoin": "off",
    "enable_nestloop": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
}
FEW = 20_000  # IDREMOTEs that are rather looked up singly

# Matched are rows by (IDREMOTE, MSISDN) (R30); where the number can't be read, by the IDREMOTE
# alone, which is ours and unique in the file.
# `ctid`: nothing else moves rows of this submission while we hold its lock.
COUNT = """
CREATE TEMP TABLE counted ON COMMIT DROP AS
SELECT m.country, m.variant, m.segments, a.outcome, count(*) AS messages,
    array_agg(a.ctid) FILTER (WHERE m.idremote IS NULL) AS unmatched
FROM sms.receipt a
LEFT JOIN sms.message m ON m.submission_id = :id AND m.sent_on = :day
    AND m.idremote = a.idremote AND coalesce(a.msisdn, m.msisdn) = m.msisdn
WHERE a.submission_id = :id AND a.sent_on = :day
GROUP BY m.country, m.variant, m.segments, a.outcome
"""

UNMATCHED = """
CREATE TEMP TABLE unmatched ON COMMIT DROP AS
SELECT a.ctid AS place, a.msisdn, a.outcome, CAST(NULL AS text) AS message
FROM (SELECT unnest(unmatched) AS place FROM pg_temp.counted WHERE country IS NULL) AS u
JOIN sms.receipt a ON a.ctid = u.place
WHERE a.submission_id = :id AND a.sent_on = :day
"""

FIND_BY_NUMBER = """
UPDATE pg_temp.unmatched u SET message = m.idremote
FROM (
    SELECT msisdn, min(idremote) AS idremote FROM sms.message
    WHERE submission_id = :id AND sent_on = :day
        AND msisdn IN (SELECT msisdn FROM pg_temp.unmatched)
    GROUP BY msisdn HAVING count(*) = 1
) AS m
WHERE u.msisdn = m.msisdn
"""

CORRECT = """
WITH corrected AS (
    UPDATE sms.receipt a SET idremote = u.message FROM pg_temp.unmatched u
    WHERE a.submission_id = :id AND a.sent_on = :day AND a.ctid = u.place
        AND u.message IS NOT NULL
    RETURNING a.idremote, a.outcome
)
INSERT INTO pg_temp.counted (country, variant, segments, outcome, messages)
SELECT m.country, m.variant, m.segments, c.outcome, 1
FROM corrected c JOIN sms.message m
    ON m.submission_id = :id AND m.sent_on = :day AND m.idremote = c.idremote
"""

# Of a file whose people expired or were forgotten, a row without its message may be one of them:
# it is counted, and not kept. What the counts of those people already hold is no stranger.
COUNT_STRANGERS = """
WITH aside AS (
    DELETE FROM sms.receipt a USING pg_temp.unmatched u
    WHERE a.submission_id = :id AND a.sent_on = :day AND a.ctid = u.place AND u.message IS NULL
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
    WHERE a.submission_id = :id AND a.sent_on = :day AND a.ctid = u.place AND u.message IS NULL
    RETURNING a.*
)
INSERT INTO sms.stranger
    (submission_id, line, idremote, msisdn, idstatus, outcome, ackoperator, raw_status)
SELECT submission_id, line, idremote, msisdn, idstatus, outcome, ackoperator, raw_status
FROM aside
"""

CORRECTED = "SELECT DISTINCT message FROM pg_temp.unmatched WHERE message IS NOT NULL"

DROP_SUPERSEDED = """
WITH dropped AS (
    DELETE FROM sms.receipt a
    USING (
        SELECT idremote, max(line) AS last FROM sms.receipt
        WHERE submission_id = :id AND sent_on = :day {which}
        GROUP BY idremote HAVING count(*) > 1
    ) AS b
    WHERE a.submission_id = :id AND a.sent_on = :day AND a.idremote = b.idremote
        AND a.line < b.last
    RETURNING a.idremote, a.outcome
)
INSERT INTO pg_temp.counted (country, variant, segments, outcome, messages)
SELECT m.country, m.variant, m.segments, d.outcome, -1
FROM dropped d JOIN sms.message m
    ON m.submission_id = :id AND m.sent_on = :day AND m.idremote = d.idremote
"""

# How many messages there are of a kind is known since the upload; what no row tells of is missing.
COUNT_ANEW = """
WITH known AS (
    DELETE FROM sms.outcome_count WHERE submission_id = :id
    RETURNING country, variant, segments, messages
), told AS (
    SELECT country, variant, segments, outcome, messages
    FROM pg_temp.counted WHERE country IS NOT NULL
    UNION ALL
    SELECT country, variant, segments, 'missing', messages FROM known
    UNION ALL
    SELECT country, variant, segments, 'missing', -messages
    FROM pg_temp.counted WHERE country IS NOT NULL
)
SELECT country, variant, segments, outcome, CAST(sum(messages) AS integer) AS messages
FROM told GROUP BY country, variant, segments, outcome HAVING sum(messages) > 0
"""

KEEP_COUNT = """
INSERT INTO sms.outcome_count (submission_id, country, variant, segments, outcome, messages)
VALUES (:id, :country, :variant, :segments, :outcome, :messages)
"""


def load(tx: Transaction, stem: str, rows: Rows) -> None:
    """Make the messages' outcomes, the strangers and the duplicates those of this report.

    LedgerError once the messages were dropped with their month.
    """
    held = locked(tx, stem)
    day = months.day_of(tx, held.id)
    tx.db.execute(
        delete(receipt).where(receipt.c.submission_id == held.id, receipt.c.sent_on == day)
    )
    tx.db.execute(delete(stranger).where(stranger.c.submission_id == held.id))
    table = rows if isinstance(rows, pa.Table) else _whole(rows)
    repeated = _repeated(table)
    count = copy_rows(tx, "sms.receipt", RECEIPTS, _in_order(table, held.id, day))
    ours = {"id": held.id, "day": day}
    with _planned(tx, MERGED):
        tx.db.execute(text(COUNT), ours)
    for statement in (UNMATCHED, FIND_BY_NUMBER, CORRECT):
        tx.db.execute(text(statement), ours)
    lacks_people = _lacks_people(tx, held.id)
    if lacks_people:
        tx.db.execute(text(COUNT_STRANGERS), {**ours, "outcomes": list(OUTCOMES)})
    else:
        tx.db.execute(text(SET_STRANGERS_ASIDE), ours)
    repeated += tx.db.scalars(text(CORRECTED))
    duplicates = _drop_superseded(tx, ours, repeated) if repeated else 0
    if not lacks_people:  # what those who are gone counted for is in the counts as they are
        _count_anew(tx, ours)
    tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id)
        .values(report_rows=count, report_duplicates=duplicates, report_loaded_at=tx.now)
    )


def _count_anew(tx: Transaction, ours: Mapping[str, Any]) -> None:
    counts = tx.db.execute(text(COUNT_ANEW), ours).mappings().all()
    if counts:
        tx.db.execute(text(KEEP_COUNT), [{"id": ours["id"], **each} for each in counts])


def _lacks_people(tx: Transaction, submission_id: int) -> bool:
    """Whether rows about people of this file were erased."""
    ours = exists().where(erased.c.submission_id == submission_id)
    return bool(tx.db.execute(select(ours)).scalar_one())


def _drop_superseded(tx: Transaction, ours: Mapping[str, Any], repeated: list[str]) -> int:
    """Keep the last row of each message that may have several; how many rows went."""
    if len(repeated) < FEW:
        statement = text(DROP_SUPERSEDED.format(which="AND idremote = ANY(:repeated)"))
        return tx.db.execute(statement, {**ours, "repeated": repeated}).rowcount
    return tx.db.execute(text(DROP_SUPERSEDED.format(which="")), ours).rowcount


@contextmanager
def _planned(tx: Transaction, settings: Mapping[str, str]) -> Iterator[None]:
    """The planner's settings inside the `with` block."""
    for setting, value in settings.items():
        tx.db.execute(text(f"SET LOCAL {setting} = {value}"))
    yield
    for setting in settings:
        tx.db.execute(text(f"SET LOCAL {setting} TO DEFAULT"))


def _whole(rows: Any) -> pa.Table:
    batches = list(rows)
    return pa.Table.from_batches(batches) if batches else RECEIPTS.empty_table()


def _in_order(table: pa.Table, submission_id: int, day: date) -> Iterator[pa.RecordBatch]:
    """The rows in the order of the index, which then grows several times faster, and at its end."""
    order = np.argsort(_words(table, 0), kind="stable")
    pieces = table.to_batches()
    ends = np.cumsum([piece.num_rows for piece in pieces])
    for at in range(0, len(order), CHUNK):
        rows = np.sort(order[at : at + CHUNK])
        cuts = np.searchsorted(rows, ends)
        taken = [
            piece.take(pa.array(rows[begin:end] - (last - piece.num_rows)))
            for piece, begin, end, last in zip(
                pieces, [0, *cuts[:-1]], cuts, ends.tolist(), strict=True
            )
            if begin < end
        ]
        [batch] = pa.Table.from_batches(taken).combine_chunks().sort_by("idremote").to_batches()
        batch = batch.append_column("sent_on", pa.repeat(pa.scalar(day, pa.date32()), len(rows)))
        yield batch.append_column("submission_id", pa.repeat(submission_id, len(rows)))


def _repeated(table: pa.Table) -> list[str]:
    """Every IDREMOTE that stands in several rows, and maybe a few that only look alike."""
    digest = np.zeros(table.num_rows, np.uint64)
    for place in range(0, 40, 8):  # R16: 40 characters are the most
        digest = (digest ^ _words(table, place)) * np.uint64(0x9E3779B97F4A7C15)
        digest ^= digest >> np.uint64(32)
    order = np.argsort(digest, kind="stable")
    alike = np.flatnonzero(digest[order][1:] == digest[order][:-1])
    found: list[str] = table["idremote"].take(pa.array(np.unique(order[alike]))).to_pylist()
    return found


def _words(table: pa.Table, place: int) -> Words:
    """Eight bytes of each IDREMOTE from a place on, zeros behind its end, as a number."""
    return np.concatenate(
        [np.zeros(0, np.uint64), *(_words_of(chunk, place) for chunk in table["idremote"].chunks)]
    )


def _words_of(chunk: pa.LargeStringArray, place: int) -> Words:
    chunk = chunk.cast(pa.large_binary())
    _, where, content = chunk.buffers()
    offsets = np.frombuffer(where, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
    data = np.frombuffer(content, np.uint8) if content else np.zeros(0, np.uint8)
    if not len(chunk) or not len(data):
        return np.zeros(len(chunk), np.uint64)
    width = int(offsets[1] - offsets[0])
    if width % 8 == 0 and width > place and (np.diff(offsets) == width).all():
        rows = data[offsets[0] : offsets[-1]].reshape(-1, width)  # our own IDREMOTE: 32 digits
        return rows[:, place : place + 8].copy().view(">u8").ravel().astype(np.uint64)
    word = np.zeros(len(chunk), np.uint64)
    for at in range(place, place + 8):
        position = offsets[:-1] + at
        inside = position < offsets[1:]
        byte = np.where(inside, data[np.minimum(position, len(data) - 1)], 0)
        word = (word << np.uint64(8)) | byte.astype(np.uint64)
    return word

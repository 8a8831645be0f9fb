"""A delivery report into the ledger: COPY straight into its table, then only the exceptions.

The file's latest state wins: what it says replaces what it said before, and loading it again
changes nothing. Nearly every row is about one of our messages and about no other row's, so one
join finds the few that aren't, and counts all others on its way.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from sqlalchemy import delete, exists, select, text, update

from sms.ledger import idremotes, months
from sms.ledger.copying import Rows, copy_rows, portions
from sms.ledger.database import Transaction
from sms.ledger.planning import HASHED, planned
from sms.ledger.submissions import locked
from sms.ledger.tables import OUTCOMES, erased, receipt, stranger, submission

RECEIPTS = pa.schema(
    [
        pa.field("submission_id", pa.int64(), nullable=False),
        pa.field("sent_on", pa.date32(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("idremote", idremotes.KEY, nullable=False),
        pa.field("msisdn", pa.int64()),
        pa.field("idstatus", pa.int16()),
        pa.field("ackoperator", pa.large_string()),
        pa.field("raw_status", pa.large_string()),
    ]
)

TOLD = [name for name in RECEIPTS.names if name not in ("submission_id", "sent_on")]
FOREIGN = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("idremote", pa.large_string(), nullable=False),
    ]
)

# Both tables give a file's rows in the order of their key, so they are merged as they come, in
# no memory, however many other files the month holds.
MERGED = {
    "enable_mergejoin": "on",
    "enable_hashjoin": "off",
    "enable_nestloop": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
}
# A few rows are fetched by their place.
FETCHED = {"enable_seqscan": "off", "enable_indexscan": "off", "enable_bitmapscan": "off"}
FEW = 20_000  # keys that are rather looked up singly
RUN = 1 << 17  # rows that are sorted together
MIDDLE = UUID(int=1 << 127)  # half of all digests come before

MAKE_ROOM = (
    "CREATE TEMP TABLE foreign_id (line bigint, idremote text) ON COMMIT DROP",
    "CREATE TEMP TABLE moved (idremote uuid, idstatus smallint, messages integer) ON COMMIT DROP",
)

# Matched are rows by (IDREMOTE, MSISDN) (R30); where the number can't be read, by the IDREMOTE
# alone, which is ours and unique in the file.
# `ctid`: nothing else moves rows of this submission while we hold its lock.
COUNT_PART = """
SELECT m.country, m.variant, m.segments, sms.outcome_of(a.idstatus) AS outcome,
    count(*) AS messages, array_agg(a.ctid) FILTER (WHERE m.idremote IS NULL) AS unmatched
FROM sms.receipt a
LEFT JOIN sms.message m ON m.submission_id = :id AND m.sent_on = :day
    AND m.idremote = a.idremote AND coalesce(a.msisdn, m.msisdn) = m.msisdn
    AND m.idremote {which}
WHERE a.submission_id = :id AND a.sent_on = :day AND a.idremote {which}
GROUP BY m.country, m.variant, m.segments, a.idstatus
"""
# In two halves, which the server counts at the same time where it has the workers.
COUNT = f"""
CREATE TEMP TABLE counted ON COMMIT DROP AS
({COUNT_PART.format(which="< :middle")})
UNION ALL
({COUNT_PART.format(which=">= :middle")})
"""

UNMATCHED = """
CREATE TEMP TABLE unmatched ON COMMIT DROP AS
SELECT a.ctid AS place, a.msisdn, CAST(NULL AS uuid) AS message
FROM (SELECT unnest(unmatched) AS place FROM pg_temp.counted WHERE country IS NULL) AS u
JOIN sms.receipt a ON a.ctid = u.place
WHERE a.submission_id = :id AND a.sent_on = :day AND {fetched}
"""

FIND_BY_NUMBER = """
UPDATE pg_temp.unmatched u SET message = m.idremote
FROM (
    SELECT msisdn, (array_agg(idremote))[1] AS idremote FROM sms.message
    WHERE submission_id = :id AND sent_on = :day AND msisdn {which}
    GROUP BY msisdn HAVING count(*) = 1
) AS m
WHERE u.msisdn = m.msisdn
"""

CORRECT = """
WITH corrected AS (
    UPDATE sms.receipt a SET idremote = u.message FROM pg_temp.unmatched u
    WHERE a.submission_id = :id AND a.sent_on = :day AND {fetched}
        AND a.ctid = u.place AND u.message IS NOT NULL
    RETURNING a.idremote, a.idstatus
)
INSERT INTO pg_temp.moved SELECT idremote, idstatus, 1 FROM corrected
"""

# Of a file whose people expired or were forgotten, a row without its message may be one of them:
# it is counted, and not kept. What the counts of those people already hold is no stranger.
COUNT_STRANGERS = """
WITH aside AS (
    DELETE FROM sms.receipt a USING pg_temp.unmatched u
    WHERE a.submission_id = :id AND a.sent_on = :day AND {fetched}
        AND a.ctid = u.place AND u.message IS NULL
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
    WHERE a.submission_id = :id AND a.sent_on = :day AND {fetched}
        AND a.ctid = u.place AND u.message IS NULL
    RETURNING a.*
)
INSERT INTO sms.stranger
    (submission_id, line, idremote, msisdn, idstatus, outcome, ackoperator, raw_status)
SELECT submission_id, line, encode(uuid_send(idremote), 'hex'), msisdn, idstatus,
    sms.outcome_of(idstatus), ackoperator, raw_status
FROM aside
"""

NAME_STRANGERS = """
UPDATE sms.stranger s SET idremote = f.idremote FROM pg_temp.foreign_id f
WHERE s.submission_id = :id AND s.line = f.line
"""

DROP_SUPERSEDED = """
WITH dropped AS (
    DELETE FROM sms.receipt a
    USING (
        SELECT idremote, max(line) AS last FROM sms.receipt
        WHERE submission_id = :id AND sent_on = :day AND {which}
        GROUP BY idremote HAVING count(*) > 1
    ) AS b
    WHERE a.submission_id = :id AND a.sent_on = :day AND a.{which}
        AND a.idremote = b.idremote AND a.line < b.last
    RETURNING a.idremote, a.idstatus
)
INSERT INTO pg_temp.moved SELECT idremote, idstatus, -1 FROM dropped
"""

COUNT_MOVED = """
INSERT INTO pg_temp.counted (country, variant, segments, outcome, messages)
SELECT m.country, m.variant, m.segments, sms.outcome_of(c.idstatus), sum(c.messages)
FROM pg_temp.moved c JOIN sms.message m
    ON m.submission_id = :id AND m.sent_on = :day AND m.{which} AND m.idremote = c.idremote
GROUP BY m.country, m.variant, m.segments, c.idstatus
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
    ours = {"id": held.id, "day": day}
    runs = _Runs(rows, held.id, day)
    count = copy_rows(tx, "sms.receipt", RECEIPTS, runs)
    for statement in MAKE_ROOM:
        tx.db.execute(text(statement))
    copy_rows(tx, "pg_temp.foreign_id", FOREIGN, runs.foreign)
    with planned(tx, MERGED):
        tx.db.execute(text(COUNT), {**ours, "middle": MIDDLE})
    places = _unmatched(tx)
    _match_by_number(tx, ours, places)
    lacks_people = _lacks_people(tx, held.id)
    if lacks_people:
        _fetch(tx, COUNT_STRANGERS, {**ours, "outcomes": list(OUTCOMES)}, places)
    else:
        _fetch(tx, SET_STRANGERS_ASIDE, ours, places)
        with planned(tx, HASHED):
            tx.db.execute(text(NAME_STRANGERS), ours)
    duplicates = _drop_superseded(tx, ours, runs.repeated())
    # What those who are gone counted for is in the counts as they are: without a report, missing.
    if not (lacks_people and _was_told(tx, held.id)):
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


def _was_told(tx: Transaction, submission_id: int) -> bool:
    """Whether a delivery report of this file was loaded before."""
    loaded_at = select(submission.c.report_loaded_at).where(submission.c.id == submission_id)
    return tx.db.execute(loaded_at).scalar_one() is not None


def _unmatched(tx: Transaction) -> list[str]:
    """Where rows lie whose IDREMOTE is none of the file's; not all, if they are many."""
    listed = "SELECT CAST(unnest(unmatched) AS text) FROM pg_temp.counted WHERE country IS NULL"
    return list(tx.db.scalars(text(f"{listed} LIMIT {FEW}")))


def _match_by_number(tx: Transaction, ours: Mapping[str, Any], places: list[str]) -> None:
    """Find the messages of those rows by their numbers (R30)."""
    _fetch(tx, UNMATCHED, ours, places)
    which, told = "IN (SELECT msisdn FROM pg_temp.unmatched)", {**ours}
    if len(places) < FEW:
        numbers = tx.db.scalars(text("SELECT DISTINCT msisdn FROM pg_temp.unmatched"))
        which, told = "= ANY(:numbers)", {**ours, "numbers": list(numbers)}
    with planned(tx, HASHED):
        tx.db.execute(text(FIND_BY_NUMBER.format(which=which)), told)
    _fetch(tx, CORRECT, ours, places)


def _fetch(tx: Transaction, statement: str, told: Mapping[str, Any], places: list[str]) -> None:
    """Carry out what is about the rows at those places."""
    settings, fetched = HASHED, "true"
    if len(places) < FEW:
        settings, fetched = HASHED | FETCHED, "a.ctid = ANY(CAST(:places AS tid[]))"
        told = {**told, "places": places}
    with planned(tx, settings):
        tx.db.execute(text(statement.format(fetched=fetched)), told)


def _drop_superseded(tx: Transaction, ours: Mapping[str, Any], repeated: list[UUID]) -> int:
    """Keep the last row of each message that may have several; how many rows went.

    And count what moved by then, to its message or away.
    """
    corrected = tx.db.scalars(text(f"SELECT DISTINCT idremote FROM pg_temp.moved LIMIT {FEW}"))
    keys = [*repeated, *corrected]
    if not keys:
        return 0
    which, told = "idremote = ANY(:keys)", {**ours, "keys": keys}
    if len(keys) >= FEW:
        which, told = "idremote IS NOT NULL", {**ours}
    with planned(tx, HASHED):
        dropped = tx.db.execute(text(DROP_SUPERSEDED.format(which=which)), told).rowcount
        tx.db.execute(text(COUNT_MOVED.format(which=which)), told)
    return dropped


class _Runs:
    """The rows on their way into the table, in runs that are sorted by their keys.

    An index grows several times faster by keys in order. To sort all rows would take a little
    less time there, and more in the end: the server would wait until the last one is read.
    """

    def __init__(self, rows: Rows, submission_id: int, day: date) -> None:
        self.foreign: list[pa.RecordBatch] = []  # IDREMOTEs that are none of ours, by line
        self._keys = [np.zeros((0, idremotes.SIZE), np.uint8)]
        self._rows = rows
        self._id = submission_id
        self._day = pa.scalar(day, pa.date32())

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for run in portions(self._rows, RUN):
            batch, keys, foreign = idremotes.in_order(run.select(TOLD))
            self._keys.append(keys)
            if foreign.any():
                self.foreign.append(run.select(FOREIGN.names).filter(pa.array(foreign)))
            batch = batch.append_column("sent_on", pa.repeat(self._day, len(batch)))
            yield batch.append_column("submission_id", pa.repeat(self._id, len(batch)))

    def repeated(self) -> list[UUID]:
        """Each key that stands in several rows, and maybe a few that only begin alike."""
        keys = np.concatenate(self._keys)
        words = idremotes.first_words(keys)
        order = np.argsort(words)
        ranked = words[order]
        alike = order[:-1][ranked[1:] == ranked[:-1]]
        return [idremotes.uuid(key) for key in np.unique(keys[alike], axis=0)]

"""Outcomes of messages: the rows of a delivery report, matched with their messages and stored.

Reports are merged message by message: the latest status of a message wins, and a message that a
later report lacks keeps its status. Loading a report again changes nothing.
"""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import date
from itertools import chain, islice
from typing import Any, NamedTuple, cast

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import delete, exists, select, text, update

from sms.columnar.text import Flags, Ints
from sms.ledger import idremotes, partitions
from sms.ledger.bulk_copy import Rows, are_full, copy_rows, portions
from sms.ledger.database import Transaction
from sms.ledger.idremotes import Keys
from sms.ledger.planner_settings import HASH_JOINS, INDEX_LOOKUPS, set_planner
from sms.ledger.report_matching import NO_CODE, NOWHERE, UNREADABLE, MessageGroup, Messages
from sms.ledger.submissions import locked
from sms.ledger.tables import OUTCOMES, erased, receipt, stranger, submission

RECEIPTS = pa.schema(
    [
        pa.field("submission_id", pa.int64(), nullable=False),
        pa.field("sent_on", pa.date32(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("idremote", idremotes.KEY, nullable=False),
        pa.field("idstatus", pa.int16()),
        pa.field("ackoperator", pa.large_string()),
        pa.field("raw_status", pa.large_string()),
    ]
)
ASIDE = pa.schema(
    [
        pa.field("submission_id", pa.int64(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("idremote", pa.large_string(), nullable=False),
        pa.field("msisdn", pa.int64()),
        pa.field("idstatus", pa.int16()),
        pa.field("ackoperator", pa.large_string()),
        pa.field("raw_status", pa.large_string()),
    ]
)
STATUS_COLUMNS = ["line", "idstatus", "ackoperator", "raw_status"]

RUN = 1 << 17  # rows sorted together
FEW = 10_000  # keys in one statement

# Only the file's own rows are read, in stored order, and grouped by hashing.
STORED_ORDER = {"enable_seqscan": "off", "enable_indexscan": "off", "enable_sort": "off"}

MESSAGES = """
SELECT country, variant, segments, string_agg(uuid_send(idremote) || int8send(msisdn), '')
FROM sms.message WHERE submission_id = %(id)s AND sent_on = %(day)s
GROUP BY country, variant, segments, msisdn & 31
"""

# The outcomes of earlier reports, kept aside while a report is loaded. CREATE TABLE AS takes no
# parameters; these are our own number and date.
SET_ASIDE = """
CREATE TEMP TABLE earlier ON COMMIT DROP AS
SELECT idremote, line, idstatus, ackoperator, raw_status FROM sms.receipt
WHERE submission_id = {id} AND sent_on = '{day}'
"""

STATED_AGAIN = """
DELETE FROM pg_temp.earlier e USING sms.receipt r
WHERE r.submission_id = :id AND r.sent_on = :day AND r.idremote = e.idremote
"""

STATED_BEFORE = """
DELETE FROM sms.receipt r USING pg_temp.earlier e
WHERE r.submission_id = :id AND r.sent_on = :day AND r.idremote = e.idremote
"""

KEEP = """
INSERT INTO sms.receipt (submission_id, sent_on, line, idremote, idstatus, ackoperator, raw_status)
SELECT :id, :day, line, idremote, idstatus, ackoperator, raw_status FROM pg_temp.earlier
ORDER BY idremote
"""

KEPT = """
SELECT idstatus, string_agg(uuid_send(idremote), '') FROM pg_temp.earlier
GROUP BY idstatus, get_byte(uuid_send(idremote), 0) & 31
"""

MAKE_WAY = """
DELETE FROM sms.receipt
WHERE submission_id = :id AND sent_on = :day AND idremote = ANY(:keys)
"""

# If personal data of a file was erased, a row without a message may belong to it: it is counted and
# not kept. Outcomes in the counts of erased rows are not strangers.
COUNT_STRANGERS = """
INSERT INTO sms.erased (submission_id, what, number)
SELECT :id, 'stranger', greatest(:strangers - coalesce(sum(number), 0), 0) FROM sms.erased
WHERE submission_id = :id AND what = ANY(:outcomes)
ON CONFLICT (submission_id, what) DO UPDATE SET number = excluded.number
"""

# The number of messages of each kind is known since the upload; those without a row are missing.
COUNT_ANEW = """
WITH known AS (
    DELETE FROM sms.outcome_count WHERE submission_id = :id
    RETURNING country, variant, segments, messages
), stated AS (
    SELECT country, variant, segments, sms.outcome_of(idstatus) AS outcome, messages
    FROM unnest(
        CAST(:countries AS text[]), CAST(:variants AS text[]), CAST(:segments AS smallint[]),
        CAST(:codes AS smallint[]), CAST(:messages AS integer[])
    ) AS counted (country, variant, segments, idstatus, messages)
), moved AS (
    SELECT country, variant, segments, outcome, messages FROM stated
    UNION ALL
    SELECT country, variant, segments, 'missing', messages FROM known
    UNION ALL
    SELECT country, variant, segments, 'missing', -messages FROM stated
)
SELECT country, variant, segments, outcome, CAST(sum(messages) AS integer) AS messages
FROM moved GROUP BY country, variant, segments, outcome HAVING sum(messages) > 0
"""

KEEP_COUNT = """
INSERT INTO sms.outcome_count (submission_id, country, variant, segments, outcome, messages)
VALUES (:id, :country, :variant, :segments, :outcome, :messages)
"""


def load(tx: Transaction, stem: str, rows: Rows, *, latest: bool = True) -> None:
    """Merge a delivery report into the outcomes of a file's messages.

    The `latest` report replaces the known status of a message; another one only adds missing ones.
    Messages that it lacks keep their status. Strangers and duplicates are those of this report.
    Raises LedgerError once the messages were dropped with their month.
    """
    held = locked(tx, stem)
    day = partitions.day_of(tx, held.id)
    was_reported = _was_reported(tx, held.id)
    if was_reported:
        tx.db.execute(text(SET_ASIDE.format(id=held.id, day=day)))
    tx.db.execute(
        delete(receipt).where(receipt.c.submission_id == held.id, receipt.c.sent_on == day)
    )
    tx.db.execute(delete(stranger).where(stranger.c.submission_id == held.id))
    messages, runs = _read(tx, rows, held.id, day)
    lacks_people = _lacks_people(tx, held.id)
    loading = _Loading(tx, messages, held.id, day, keeps_strangers=not lacks_people)
    loading.store(runs)
    kept = loading.keep_earlier(latest=latest) if was_reported else 0
    if lacks_people:
        params = {"id": held.id, "strangers": loading.strangers, "outcomes": list(OUTCOMES)}
        tx.db.execute(text(COUNT_STRANGERS), params)
    # The counts include erased rows, so they can't be computed again. Before a first report all
    # rows are counted as missing, erased or not.
    if not (lacks_people and was_reported):
        _recount(tx, held.id, messages)
    tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id)
        .values(
            report_rows=loading.rows,
            report_duplicates=loading.duplicates,
            report_kept=kept,
            report_loaded_at=tx.now,
        )
    )


def _read(
    tx: Transaction, rows: Rows, submission_id: int, day: date
) -> tuple[Messages, Iterator[pa.RecordBatch]]:
    """All messages of the file, and the report's rows; both are read at the same time."""
    connection = tx.driver
    with ThreadPoolExecutor(1, thread_name_prefix="sms-messages") as reader:
        reading = reader.submit(_messages, tx, submission_id, day)
        runs = portions(rows, RUN, ready=reading.done)
        try:
            ahead = deque(islice(runs, 1))
            messages = reading.result()
        except BaseException:
            # On an interrupt, do not wait for the server, which may wait for a lock.
            if not reading.done():
                with suppress(psycopg.Error):
                    connection.cancel_safe()
            raise
    return messages, chain(_emptied(ahead), runs)


def _messages(tx: Transaction, submission_id: int, day: date) -> Messages:
    """All messages of the file, transferred as 24 bytes each."""
    params = {"id": submission_id, "day": day}
    with set_planner(tx, STORED_ORDER), tx.cursor as cursor:
        found = cast(Generator[tuple[Any, ...]], cursor.stream(MESSAGES, params, binary=True))
        with closing(found):  # an open stream locks the connection for this thread
            return Messages((MessageGroup(*kind), packed) for *kind, packed in found)


def _recount(tx: Transaction, submission_id: int, messages: Messages) -> None:
    outcomes = messages.by_status()
    arrays = {
        "countries": [each.kind.country for each in outcomes],
        "variants": [each.kind.variant for each in outcomes],
        "segments": [each.kind.segments for each in outcomes],
        "codes": [each.idstatus for each in outcomes],
        "messages": [each.messages for each in outcomes],
    }
    counts = tx.db.execute(text(COUNT_ANEW), {"id": submission_id, **arrays}).mappings().all()
    if counts:
        tx.db.execute(text(KEEP_COUNT), [{"id": submission_id, **each} for each in counts])


def _lacks_people(tx: Transaction, submission_id: int) -> bool:
    """Whether personal data of this file was erased."""
    of_file = exists().where(erased.c.submission_id == submission_id)
    return bool(tx.db.execute(select(of_file)).scalar_one())


def _was_reported(tx: Transaction, submission_id: int) -> bool:
    """Whether a delivery report of this file was loaded before."""
    loaded_at = select(submission.c.report_loaded_at).where(submission.c.id == submission_id)
    return tx.db.execute(loaded_at).scalar_one() is not None


class _Receipts(NamedTuple):
    """Rows of the schema RECEIPTS, and the keys of stored rows that they replace."""

    rows: pa.RecordBatch
    replacing: Keys


class _Loading:
    """The loading of a report's rows: each is stored with its message, or as a stranger.

    Rows are stored in runs sorted by key, as an index grows several times faster in key order.
    Sorting all rows at once would save a little time in the index and cost more in all: the server
    would wait until the last row is read.
    """

    def __init__(
        self,
        tx: Transaction,
        messages: Messages,
        submission_id: int,
        day: date,
        *,
        keeps_strangers: bool,
    ) -> None:
        self.rows = 0
        self.duplicates = 0
        self.strangers = 0
        self._tx = tx
        self._messages = messages
        self._ours = {"id": submission_id, "day": day}
        self._keeps_strangers = keeps_strangers
        self._held: _Receipts | None = None  # until what they replace is deleted
        self._others: list[pa.RecordBatch] = []  # rows with an IDREMOTE that the file does not have
        self._ended = False

    def store(self, runs: Iterator[pa.RecordBatch]) -> None:
        """Write all rows, in as few COPYs as possible."""
        while not self._ended:
            if self._held:
                self._delete(self._held.replacing)
            copy_rows(self._tx, "sms.receipt", RECEIPTS, self._matched(runs))
            if not self._held and (self._ended or are_full(self._others, RUN)):
                self._settle_others()

    def keep_earlier(self, *, latest: bool) -> int:
        """Put back the earlier outcomes that this report lacks, and return their number."""
        with set_planner(self._tx, HASH_JOINS):
            if latest:
                self._tx.db.execute(text(STATED_AGAIN), self._ours)
            else:
                overruled = self._tx.db.execute(text(STATED_BEFORE), self._ours)
                self.duplicates += overruled.rowcount
        with self._tx.cursor as cursor:
            for code, packed in cursor.stream(KEPT, binary=True):
                keys: Keys = np.frombuffer(packed, np.uint8).reshape(-1, idremotes.SIZE)
                self._messages.keep(keys, NO_CODE if code is None else code)
        return self._tx.db.execute(text(KEEP), self._ours).rowcount

    def _matched(self, runs: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows for one COPY: until stored rows must be deleted, or the other rows stored."""
        if self._held:
            yield self._held.rows
            self._held = None
            if are_full(self._others, RUN):
                return
        for run in runs:
            self.rows += len(run)
            receipts = self._match(run)
            if len(receipts.replacing):
                self._held = receipts
                return
            yield receipts.rows
            if are_full(self._others, RUN):
                return
        self._ended = True

    def _settle_others(self) -> None:
        """Match the other rows by number (R30), and store the rest as strangers."""
        whole = pa.Table.from_batches(self._others, ASIDE).combine_chunks()
        self._others = []
        for waiting in whole.to_batches():
            places = self._messages.find_by_number(_integers(waiting, "msisdn", UNREADABLE))
            found = places != NOWHERE
            rows = np.flatnonzero(found)
            rows = rows[np.argsort(places[rows])]
            by_number = self._receipts(waiting, rows, places[rows])
            self._delete(by_number.replacing)
            copy_rows(self._tx, "sms.receipt", RECEIPTS, [by_number.rows])
            self.strangers += len(waiting) - len(rows)
            if self._keeps_strangers:
                strange = waiting.filter(pa.array(~found))
                copy_rows(self._tx, "sms.stranger", ASIDE, [strange])

    def _match(self, run: pa.RecordBatch) -> _Receipts:
        keys, foreign = idremotes.keys(run.column("idremote"))
        words = idremotes.words(keys)
        order = np.argsort(words.high)
        msisdns = _integers(run, "msisdn", UNREADABLE)
        places = self._messages.find(words.of(order), msisdns[order])
        found = places != NOWHERE
        if not found.all():
            self._others.append(self._aside(run, order[~found], foreign))
        return self._receipts(run, order[found], places[found])

    def _receipts(self, run: pa.RecordBatch, rows: Ints, places: Ints) -> _Receipts:
        """The rows of the messages at these places; of several on one message the last."""
        lines = _integers(run, "line", 0)[rows]
        codes = _integers(run, "idstatus", NO_CODE)[rows]
        last, replaced = self._messages.record(places, lines, codes)
        self.duplicates += len(rows) - int(last.sum()) + len(replaced)
        kept = run.select(STATUS_COLUMNS).take(pa.array(rows[last]))
        columns = {
            "idremote": idremotes.column(self._messages.keys(places[last])),
            "submission_id": pa.repeat(self._ours["id"], len(kept)),
            "sent_on": pa.repeat(pa.scalar(self._ours["day"], pa.date32()), len(kept)),
        }
        for name, column in columns.items():
            kept = kept.append_column(name, column)
        return _Receipts(kept, self._messages.keys(replaced))

    def _aside(self, run: pa.RecordBatch, rows: Ints, foreign: Flags) -> pa.RecordBatch:
        """Rows of the schema ASIDE: digits in lower case, any other text unchanged."""
        taken = run.take(pa.array(rows))
        texts = taken.column("idremote")
        columns = {
            "submission_id": pa.repeat(self._ours["id"], len(taken)),
            "idremote": pc.if_else(pa.array(foreign[rows]), texts, pc.ascii_lower(texts)),
            "msisdn": taken.column("msisdn"),
            **{name: taken.column(name) for name in STATUS_COLUMNS},
        }
        arrays = [columns[field.name].cast(field.type) for field in ASIDE]
        return pa.RecordBatch.from_arrays(arrays, schema=ASIDE)

    def _delete(self, keys: Keys) -> None:
        """Delete stored rows that later rows on the same messages replace."""
        for first in range(0, len(keys), FEW):
            params = {"keys": [idremotes.uuid(key) for key in keys[first : first + FEW]]}
            with set_planner(self._tx, INDEX_LOOKUPS):
                self._tx.db.execute(text(MAKE_WAY), {**self._ours, **params})


def _emptied(ahead: deque[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while ahead:
        yield ahead.popleft()


def _integers(run: pa.RecordBatch, name: str, instead: int) -> Ints:
    """A column of integers, with `instead` for null."""
    numbers: Ints = run.column(name).fill_null(instead).to_numpy()
    return numbers

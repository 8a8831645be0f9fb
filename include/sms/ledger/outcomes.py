"""The outcomes of messages: a delivery report's rows, each matched with its message and stored.

Reports are merged message by message: the latest statement about a message wins, and what a later
report leaves out stays as it was. Loading a report again changes nothing.
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
TOLD = ["line", "idstatus", "ackoperator", "raw_status"]

RUN = 1 << 17  # rows that are sorted together
FEW = 10_000  # keys that are named in one statement

# A file's rows are read as they lie, no other's, and grouped as they come.
STORED_ORDER = {"enable_seqscan": "off", "enable_indexscan": "off", "enable_sort": "off"}

MESSAGES = """
SELECT country, variant, segments, string_agg(uuid_send(idremote) || int8send(msisdn), '')
FROM sms.message WHERE submission_id = %(id)s AND sent_on = %(day)s
GROUP BY country, variant, segments, msisdn & 31
"""

# What earlier reports stated, beside the table while a report is loaded. Such a statement takes no
# parameters; these are a number and a date of ours.
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

# Of a file whose people expired or were forgotten, a row without its message may be one of them:
# it is counted, and not kept. What the counts of those people already hold is no stranger.
COUNT_STRANGERS = """
INSERT INTO sms.erased (submission_id, what, number)
SELECT :id, 'stranger', greatest(:strangers - coalesce(sum(number), 0), 0) FROM sms.erased
WHERE submission_id = :id AND what = ANY(:outcomes)
ON CONFLICT (submission_id, what) DO UPDATE SET number = excluded.number
"""

# How many messages there are of a kind is known since the upload; what no row tells of is missing.
COUNT_ANEW = """
WITH known AS (
    DELETE FROM sms.outcome_count WHERE submission_id = :id
    RETURNING country, variant, segments, messages
), told AS (
    SELECT country, variant, segments, sms.outcome_of(idstatus) AS outcome, messages
    FROM unnest(
        CAST(:countries AS text[]), CAST(:variants AS text[]), CAST(:segments AS smallint[]),
        CAST(:codes AS smallint[]), CAST(:messages AS integer[])
    ) AS counted (country, variant, segments, idstatus, messages)
), moved AS (
    SELECT country, variant, segments, outcome, messages FROM told
    UNION ALL
    SELECT country, variant, segments, 'missing', messages FROM known
    UNION ALL
    SELECT country, variant, segments, 'missing', -messages FROM told
)
SELECT country, variant, segments, outcome, CAST(sum(messages) AS integer) AS messages
FROM moved GROUP BY country, variant, segments, outcome HAVING sum(messages) > 0
"""

KEEP_COUNT = """
INSERT INTO sms.outcome_count (submission_id, country, variant, segments, outcome, messages)
VALUES (:id, :country, :variant, :segments, :outcome, :messages)
"""


def load(tx: Transaction, stem: str, rows: Rows, *, latest: bool = True) -> None:
    """Merge a delivery report into what is known of a file's messages.

    What it states about a message replaces what was known, unless it is not the `latest`: then it
    only adds what was missing. What it leaves out stays as it was; the strangers and duplicates
    are those of this report. LedgerError once the messages were dropped with their month.
    """
    held = locked(tx, stem)
    day = partitions.day_of(tx, held.id)
    was_told = _was_told(tx, held.id)
    if was_told:
        tx.db.execute(text(SET_ASIDE.format(id=held.id, day=day)))
    tx.db.execute(
        delete(receipt).where(receipt.c.submission_id == held.id, receipt.c.sent_on == day)
    )
    tx.db.execute(delete(stranger).where(stranger.c.submission_id == held.id))
    messages, runs = _read(tx, rows, held.id, day)
    lacks_people = _lacks_people(tx, held.id)
    loading = _Loading(tx, messages, held.id, day, keeps_strangers=not lacks_people)
    loading.store(runs)
    kept = loading.keep_earlier(latest=latest) if was_told else 0
    if lacks_people:
        told = {"id": held.id, "strangers": loading.strangers, "outcomes": list(OUTCOMES)}
        tx.db.execute(text(COUNT_STRANGERS), told)
    # What those who are gone counted for is in the counts as they are: without a report, missing.
    if not (lacks_people and was_told):
        _count_anew(tx, held.id, messages)
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
    """All messages of the file, and the rows of the report, whose first are read meanwhile."""
    connection = tx.driver
    with ThreadPoolExecutor(1, thread_name_prefix="sms-messages") as reader:
        reading = reader.submit(_messages, tx, submission_id, day)
        runs = portions(rows, RUN, ready=reading.done)
        try:
            ahead = deque(islice(runs, 1))
            messages = reading.result()
        except BaseException:
            # Whoever is told to end need not wait for the server, which may wait for a lock.
            if not reading.done():
                with suppress(psycopg.Error):
                    connection.cancel_safe()
            raise
    return messages, chain(_emptied(ahead), runs)


def _messages(tx: Transaction, submission_id: int, day: date) -> Messages:
    """All that the file holds: 24 bytes each on the way."""
    told = {"id": submission_id, "day": day}
    with set_planner(tx, STORED_ORDER), tx.cursor as cursor:
        found = cast(Generator[tuple[Any, ...]], cursor.stream(MESSAGES, told, binary=True))
        with closing(found):  # until it is, it locks the connection for this thread alone
            return Messages((MessageGroup(*kind), packed) for *kind, packed in found)


def _count_anew(tx: Transaction, submission_id: int, messages: Messages) -> None:
    told = messages.told()
    arrays = {
        "countries": [each.kind.country for each in told],
        "variants": [each.kind.variant for each in told],
        "segments": [each.kind.segments for each in told],
        "codes": [each.idstatus for each in told],
        "messages": [each.messages for each in told],
    }
    counts = tx.db.execute(text(COUNT_ANEW), {"id": submission_id, **arrays}).mappings().all()
    if counts:
        tx.db.execute(text(KEEP_COUNT), [{"id": submission_id, **each} for each in counts])


def _lacks_people(tx: Transaction, submission_id: int) -> bool:
    """Whether rows about people of this file were erased."""
    ours = exists().where(erased.c.submission_id == submission_id)
    return bool(tx.db.execute(select(ours)).scalar_one())


def _was_told(tx: Transaction, submission_id: int) -> bool:
    """Whether a delivery report of this file was loaded before."""
    loaded_at = select(submission.c.report_loaded_at).where(submission.c.id == submission_id)
    return tx.db.execute(loaded_at).scalar_one() is not None


class _Receipts(NamedTuple):
    """Rows as RECEIPTS, and the keys of those among them that replace a stored one."""

    rows: pa.RecordBatch
    replacing: Keys


class _Loading:
    """The rows on their way: to the message that each is about, or aside.

    They go in runs that are sorted by their keys: an index grows several times faster by keys in
    order. To sort all rows would take a little less time there, and more in the end: the server
    would wait until the last one is read.
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
        self._others: list[pa.RecordBatch] = []  # rows whose IDREMOTE is none of the file's
        self._ended = False

    def store(self, runs: Iterator[pa.RecordBatch]) -> None:
        """Write all rows, in as few COPYs as their order allows."""
        while not self._ended:
            if self._held:
                self._delete(self._held.replacing)
            copy_rows(self._tx, "sms.receipt", RECEIPTS, self._matched(runs))
            if not self._held and (self._ended or are_full(self._others, RUN)):
                self._settle_others()

    def keep_earlier(self, *, latest: bool) -> int:
        """Put back what was set aside and this report leaves out; of how many messages that is."""
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
        """As many rows as can be stored before something else must be done."""
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
        """Store those whose number alone tells the message (R30), and the rest as strangers."""
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
        """The rows about the messages at these places, each message's last one."""
        lines = _integers(run, "line", 0)[rows]
        codes = _integers(run, "idstatus", NO_CODE)[rows]
        last, replaced = self._messages.tell(places, lines, codes)
        self.duplicates += len(rows) - int(last.sum()) + len(replaced)
        kept = run.select(TOLD).take(pa.array(rows[last]))
        columns = {
            "idremote": idremotes.column(self._messages.keys(places[last])),
            "submission_id": pa.repeat(self._ours["id"], len(kept)),
            "sent_on": pa.repeat(pa.scalar(self._ours["day"], pa.date32()), len(kept)),
        }
        for name, column in columns.items():
            kept = kept.append_column(name, column)
        return _Receipts(kept, self._messages.keys(replaced))

    def _aside(self, run: pa.RecordBatch, rows: Ints, foreign: Flags) -> pa.RecordBatch:
        """The rows as ASIDE: digits in one spelling, any other text as it stands."""
        some = run.take(pa.array(rows))
        texts = some.column("idremote")
        columns = {
            "submission_id": pa.repeat(self._ours["id"], len(some)),
            "idremote": pc.if_else(pa.array(foreign[rows]), texts, pc.ascii_lower(texts)),
            "msisdn": some.column("msisdn"),
            **{name: some.column(name) for name in TOLD},
        }
        arrays = [columns[field.name].cast(field.type) for field in ASIDE]
        return pa.RecordBatch.from_arrays(arrays, schema=ASIDE)

    def _delete(self, keys: Keys) -> None:
        """Delete stored rows, to make room for later ones about the same messages."""
        for first in range(0, len(keys), FEW):
            told = {"keys": [idremotes.uuid(key) for key in keys[first : first + FEW]]}
            with set_planner(self._tx, INDEX_LOOKUPS):
                self._tx.db.execute(text(MAKE_WAY), {**self._ours, **told})


def _emptied(ahead: deque[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while ahead:
        yield ahead.popleft()


def _integers(run: pa.RecordBatch, name: str, instead: int) -> Ints:
    """A column of integers; `instead` where it is null."""
    numbers: Ints = run.column(name).fill_null(instead).to_numpy()
    return numbers

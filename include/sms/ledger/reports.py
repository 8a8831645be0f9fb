"""Rows of STOP and SMSMO files, each stored once, and the record of the report files read."""

from collections.abc import Collection, Iterator
from dataclasses import asdict, fields, replace
from datetime import datetime
from hashlib import sha256

import numpy as np
import pyarrow as pa
from sqlalchemy import exists, func, select, text
from sqlalchemy.dialects.postgresql import insert

from sms.ledger import quarantine, submissions
from sms.ledger.bulk_copy import Rows, batches, copy_rows
from sms.ledger.database import Transaction
from sms.ledger.planner_settings import HASH_JOINS, INDEX_LOOKUPS, join_settings, set_planner
from sms.ledger.records import ReportFile, Submission
from sms.ledger.states import UNCLAIMED, State
from sms.ledger.submissions import COLUMNS, one
from sms.ledger.tables import report_file, submission
from sms.wire.names import ReportKind, ReportName
from sms.wire.stop_words import opts_out

REPLIES = pa.schema(
    [
        pa.field("msisdn", pa.int64(), nullable=False),
        pa.field("raw_date", pa.large_string(), nullable=False),
        pa.field("raw_hour", pa.large_string(), nullable=False),
        pa.field("replied_at", pa.timestamp("us", tz="UTC")),
        pa.field("message", pa.large_string(), nullable=False),
        pa.field("message_digest", pa.large_string(), nullable=False),
        pa.field("idremote", pa.large_string()),
        pa.field("occurrence", pa.int32(), nullable=False),
        pa.field("asks_to_stop", pa.bool_(), nullable=False),
    ]
)


def find_submission(tx: Transaction, report: ReportName) -> Submission | None:
    """The submission of a report: by its exact stem, or the only one of its campaign id (R34)."""
    exact = one(tx, submission.c.stem == report.stem)
    if exact:
        return exact
    candidates = tx.db.execute(
        select(*COLUMNS)
        .where(submission.c.service_id == report.service_id)
        .where(func.lower(submission.c.campaign_id) == report.campaign_id.lower())
        .where(submission.c.state.not_in([*UNCLAIMED, State.CANCELLED]))
        .limit(2)
    ).all()
    return Submission.of(candidates[0]) if len(candidates) == 1 else None


def count_on(tx: Transaction, report: ReportName, before: int, rows: pa.Table) -> pa.Table | None:
    """The rows appended to a STOP or SMSMO file, with their occurrences continued.

    `before` is the number of rows it had. None if the ledger does not have exactly these: then the
    whole file must be read to number its rows.
    """
    whose = {
        "kind": report.kind,
        "service_id": report.service_id,
        "campaign_id": report.campaign_id,
        "report": str(report),
    }
    # A compressed and a plain report have the same name here, so their rows can't be distinguished.
    files = tx.db.execute(
        text(NAMESAKES), {"names": [str(report).lower(), f"{report}.gz".lower()]}
    ).scalar_one()
    if files > 1 or tx.db.execute(text(STORED), whose).scalar_one() != before:
        return None
    tx.db.execute(text(MORE))
    keys = rows.select(["msisdn", "raw_date", "raw_hour", "message"])
    keys = keys.append_column("row", pa.array(np.arange(len(rows)), pa.int64()))
    copy_rows(tx, "pg_temp.more", MORE_ROWS, _digested(keys))
    occurrence = rows["occurrence"].to_numpy().copy()
    with set_planner(tx, INDEX_LOOKUPS):
        for row, earlier in tx.db.execute(text(KNOWN_BEFORE), whose):
            occurrence[row] += earlier
    at = rows.schema.get_field_index("occurrence")
    return rows.set_column(at, rows.schema.field(at), pa.array(occurrence, pa.int32()))


NAMESAKES = "SELECT count(*) FROM sms.report_file WHERE lower(name) = ANY(:names)"

STORED = """
SELECT count(*) FROM sms.reply
WHERE kind = :kind AND service_id = :service_id AND campaign_id = :campaign_id
    AND report = :report
"""

MORE = """
CREATE TEMP TABLE more (
    "row" bigint, msisdn bigint, raw_date text, raw_hour text, message_digest text
) ON COMMIT DROP
"""

MORE_ROWS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        *(REPLIES.field(name) for name in ("msisdn", "raw_date", "raw_hour", "message_digest")),
    ]
)

KNOWN_BEFORE = """
SELECT m."row", max(r.occurrence) FROM pg_temp.more m
JOIN sms.reply r ON r.kind = :kind AND r.service_id = :service_id
    AND r.campaign_id = :campaign_id AND r.msisdn = m.msisdn AND r.raw_date = m.raw_date
    AND r.raw_hour = m.raw_hour AND r.message_digest = m.message_digest
    AND r.report = :report
GROUP BY m."row"
"""


def load_replies(tx: Transaction, report: ReportName, rows: Rows) -> int:
    """Store the rows of a STOP or SMSMO file that are not stored yet, and return their number."""
    tx.db.execute(
        text(
            "CREATE TEMP TABLE answers (msisdn bigint, raw_date text, raw_hour text, "
            "replied_at timestamptz, message text, message_digest text, idremote text, "
            "occurrence integer, asks_to_stop boolean) ON COMMIT DROP"
        )
    )
    if not copy_rows(tx, "pg_temp.answers", REPLIES, _judged(rows)):
        return 0
    owner = find_submission(tx, report)
    tx.db.execute(text(NEWS))
    if owner:
        _take_orphans(tx, str(report), owner)
        with set_planner(tx, HASH_JOINS):
            tx.db.execute(text(SET_GONE_ASIDE), {"id": owner.id})
    stored = tx.db.execute(
        text(STORE),
        {
            "kind": report.kind,
            "service_id": report.service_id,
            "campaign_id": report.campaign_id,
            "report": str(report),
            "submission_id": owner.id if owner else None,
            "now": tx.now,
        },
    )
    if owner:
        _count_answers(tx, owner)
    return stored.rowcount


# New answers, which are not counted yet.
NEWS = "CREATE TEMP TABLE news (id bigint, msisdn bigint) ON COMMIT DROP"

# Sorted, so that two loads at once lock rows in the same order.
STORE = """
WITH stored AS (
    INSERT INTO sms.reply (
        kind, service_id, campaign_id, report, submission_id, msisdn, replied_at,
        raw_date, raw_hour, message, message_digest, idremote, occurrence, asks_to_stop,
        recorded_at)
    SELECT
        :kind, :service_id, :campaign_id, :report, :submission_id, msisdn, replied_at,
        raw_date, raw_hour, message, message_digest, idremote, occurrence,
        :kind = 'STOP' OR asks_to_stop, :now
    FROM pg_temp.answers
    ORDER BY msisdn, raw_date, raw_hour, message_digest, occurrence
    ON CONFLICT ON CONSTRAINT reply_once DO NOTHING
    RETURNING id, msisdn
)
INSERT INTO pg_temp.news SELECT id, msisdn FROM stored
"""


# If answers of a file were erased, a row without a message may belong to an erased person: it was
# counted, and must not be stored again.
SET_GONE_ASIDE = """
DELETE FROM pg_temp.answers a
WHERE EXISTS (SELECT FROM sms.erased WHERE submission_id = :id AND what IN ('STOP', 'SMSMO'))
    AND NOT EXISTS (
        SELECT FROM sms.message m
        WHERE m.submission_id = :id AND m.msisdn = a.msisdn
            AND m.sent_on = (SELECT sent_on FROM sms.submission WHERE id = :id))
"""

TAKE_ORPHANS = """
WITH taken AS (
    UPDATE sms.reply SET submission_id = :id WHERE report = :name AND submission_id IS NULL
    RETURNING id, msisdn
)
INSERT INTO pg_temp.news SELECT id, msisdn FROM taken
"""


def _take_orphans(tx: Transaction, name: str, owner: Submission) -> None:
    """Assign to a file the answers that were loaded before the ledger had the file.

    The file is locked, so that transactions count its answers one after the other.
    """
    tx.db.execute(
        select(submission.c.id).where(submission.c.id == owner.id).with_for_update(key_share=True)
    )
    tx.db.execute(text(TAKE_ORPHANS), {"id": owner.id, "name": name})


COUNT_ANSWERS = """
WITH known AS (
    SELECT DISTINCT ON (m.msisdn) m.msisdn, m.country, m.variant, m.segments
    FROM (SELECT DISTINCT msisdn FROM pg_temp.news) n
    JOIN sms.message m ON m.msisdn = n.msisdn
    WHERE m.submission_id = :id
        AND m.sent_on = (SELECT sent_on FROM sms.submission WHERE id = :id)
    ORDER BY m.msisdn, m.idremote
), stopped AS (
    SELECT DISTINCT r.msisdn
    FROM (SELECT DISTINCT msisdn FROM pg_temp.news) n
    JOIN sms.reply r ON r.msisdn = n.msisdn
    WHERE r.submission_id = :id AND r.asks_to_stop
        AND NOT EXISTS (SELECT FROM pg_temp.news f WHERE f.id = r.id)
)
INSERT INTO sms.answer_count AS kept
    (submission_id, country, variant, segments, stop_rows, reply_rows, people)
SELECT :id, m.country, m.variant, m.segments,
    count(*) FILTER (WHERE a.kind = 'STOP'), count(*) FILTER (WHERE a.kind = 'SMSMO'),
    count(DISTINCT a.msisdn) FILTER (WHERE a.asks_to_stop AND b.msisdn IS NULL)
FROM pg_temp.news f
JOIN sms.reply a ON a.id = f.id
LEFT JOIN known m ON m.msisdn = a.msisdn
LEFT JOIN stopped b ON b.msisdn = a.msisdn
GROUP BY m.country, m.variant, m.segments
ON CONFLICT ON CONSTRAINT answer_count_once DO UPDATE SET
    stop_rows = kept.stop_rows + excluded.stop_rows,
    reply_rows = kept.reply_rows + excluded.reply_rows,
    people = kept.people + excluded.people
"""


def _count_answers(tx: Transaction, owner: Submission) -> None:
    """Add the new answers to the counts; erased ones stay counted."""
    number = tx.db.execute(text("SELECT count(*) FROM pg_temp.news")).scalar_one()
    if number:
        with set_planner(tx, join_settings(number)):
            tx.db.execute(text(COUNT_ANSWERS), {"id": owner.id})


def _digested(rows: Rows) -> Iterator[pa.RecordBatch]:
    for batch in batches(rows):
        digests = [sha256(text.encode()).hexdigest() for text in batch["message"].to_pylist()]
        yield batch.append_column("message_digest", pa.array(digests, pa.large_string()))


def _judged(rows: Rows) -> Iterator[pa.RecordBatch]:
    for batch in _digested(rows):
        yield batch.append_column("asks_to_stop", opts_out(batch["message"]))


def get(tx: Transaction, name: str) -> ReportFile | None:
    """The record of a report's last reading, or None."""
    columns = [report_file.c[field.name] for field in fields(ReportFile)]
    row = tx.db.execute(select(*columns).where(report_file.c.name == name)).first()
    return None if row is None else ReportFile(**row._asdict())


def is_still(tx: Transaction, name: str, before: ReportFile | None) -> bool:
    """Whether a report's record is still `before`; locks it until this transaction ends."""
    tx.db.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
    now = get(tx, name)
    if now is None or before is None:
        return now is before
    return replace(now, loaded_at=None) == replace(before, loaded_at=None)


def delivery_report(tx: Transaction, stem: str) -> ReportFile | None:
    """The record of a file's latest delivery report, or None."""
    reports = [each for each in of_submission(tx, stem) if each.kind == ReportKind.ACK]
    return reports[-1] if reports else None


def of_submission(tx: Transaction, stem: str) -> list[ReportFile]:
    """The records of all reports on a file, the latest at the end."""
    columns = [report_file.c[field.name] for field in fields(ReportFile)]
    query = select(*columns).where(report_file.c.stem == stem).order_by(report_file.c.loaded_at)
    return [ReportFile(**row._asdict()) for row in tx.db.execute(query)]


def named(tx: Transaction, names: Collection[str]) -> dict[str, ReportFile]:
    """The records of these reports by name; those never read are missing."""
    columns = [report_file.c[field.name] for field in fields(ReportFile)]
    found = tx.db.execute(select(*columns).where(report_file.c.name.in_(names)))
    return {row.name: ReportFile(**row._asdict()) for row in found}


def unmatched(tx: Transaction) -> list[ReportFile]:
    """The reports that matched no file when they were read, and whose campaign has a file now."""
    columns = [report_file.c[field.name] for field in fields(ReportFile)]
    campaign_id = func.split_part(func.split_part(report_file.c.name, "-", 5), ".", 1)
    ours = exists().where(func.lower(submission.c.campaign_id) == func.lower(campaign_id))
    found = select(*columns).where(report_file.c.submission_id.is_(None), ours).order_by("name")
    return [ReportFile(**row._asdict()) for row in tx.db.execute(found)]


ADOPT = (
    "UPDATE sms.report_file SET submission_id = :id, stem = :stem WHERE name = :name",
    "UPDATE sms.opt_out SET stem = :stem WHERE stem = :said AND stem <> :stem",
)


def adopt(tx: Transaction, file: ReportFile, stem: str) -> None:
    """Assign to a file a report, and its replies and opt-outs, loaded before the file was known."""
    owner = submissions.get(tx, stem)
    report = ReportName.parse(file.name)
    named = report.stem if report else None
    params = {"id": owner.id, "stem": owner.stem, "name": file.name, "said": named}
    for statement in ADOPT:
        tx.db.execute(text(statement), params)
    tx.db.execute(text(NEWS))
    _take_orphans(tx, str(report or file.name), owner)
    _count_answers(tx, owner)


def record_modified_at(tx: Transaction, file: ReportFile, modified_at: datetime) -> None:
    """Record a report's new modification time, unless another task has read it since."""
    if is_still(tx, file.name, file):
        record(tx, replace(file, modified_at=modified_at))


def record_reading(
    tx: Transaction,
    before: ReportFile | None,
    file: ReportFile,
    unreadable: Rows,
    *,
    after: int = 0,
) -> bool:
    """Record how far a report was read, and its unreadable rows.

    `unreadable` are `quarantine.UNREADABLE` rows after the line `after`; rows of earlier lines stay
    as they are. False, and nothing is written, if the record is no longer `before`, as another task
    has read the report: then the next run reads it again.
    """
    if not is_still(tx, file.name, before):
        return False
    quarantine.replace(tx, file.name, unreadable, after)
    record(tx, file)
    return True


def record(tx: Transaction, file: ReportFile) -> None:
    """Record a report's reading in place of its former record."""
    values = {**asdict(file), "loaded_at": tx.now}
    tx.db.execute(
        insert(report_file)
        .values(**values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )

"""Rows of reports that can't be read: kept with their bytes until a person has looked."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
from sqlalchemy import text

from sms.errors import LedgerError
from sms.ledger.bulk_copy import Rows, copy_rows
from sms.ledger.database import Transaction

UNREADABLE = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("reason", pa.large_string(), nullable=False),
        pa.field("raw", pa.large_binary(), nullable=False),
        pa.field("may_be_stop", pa.bool_(), nullable=False),
    ]
)

ALL = 1 << 31  # rows of one person, in one transaction

# One by one in the order of the lines, so that two loads at once wait in one direction.
KEEP = """
INSERT INTO sms.unreadable_row AS kept (report, line, raw, reason, may_be_stop, recorded_at)
SELECT :report, line, raw, reason, may_be_stop, :now FROM pg_temp.broken ORDER BY line
ON CONFLICT (report, line, digest) DO UPDATE SET gone_at = NULL WHERE kept.gone_at IS NOT NULL
"""
LET_GO = """
UPDATE sms.unreadable_row u SET gone_at = :now
WHERE u.report = :report AND u.line > :after AND u.gone_at IS NULL AND NOT EXISTS (
    SELECT FROM pg_temp.broken b WHERE b.line = u.line AND sha256(b.raw) = u.digest
)
"""


def replace(tx: Transaction, report: str, rows: Rows, after: int) -> None:
    """Make these rows (line, reason, raw, may_be_stop) what can't be read behind a report's line.

    A row of an earlier state is never deleted, only marked as gone.
    """
    tx.db.execute(
        text(
            "CREATE TEMP TABLE broken (line bigint, reason text, raw bytea, may_be_stop boolean) "
            "ON COMMIT DROP"
        )
    )
    copy_rows(tx, "pg_temp.broken", UNREADABLE, rows)
    told = {"report": report, "now": tx.now}
    tx.db.execute(text(LET_GO), {**told, "after": after})
    tx.db.execute(text(KEEP), told)


UNSEEN = """
SELECT report, count(*) AS rows FROM sms.unreadable_row
WHERE may_be_stop AND gone_at IS NULL AND seen_at IS NULL GROUP BY report ORDER BY report
"""
SEE = """
UPDATE sms.unreadable_row SET seen_at = :now, seen_by = :actor, seen_reason = :reason
WHERE report = :report AND gone_at IS NULL AND seen_at IS NULL
    AND (CAST(:lines AS bigint[]) IS NULL OR line = ANY(CAST(:lines AS bigint[])))
RETURNING line
"""


def unseen_stops(tx: Transaction) -> dict[str, int]:
    """How many unreadable rows may be a STOP and are not marked as seen, by report."""
    return {row.report: row.rows for row in tx.db.execute(text(UNSEEN))}


def mark_seen(
    tx: Transaction, report: str, lines: Sequence[int] | None = None, *, reason: str
) -> list[int]:
    """Mark a report's unreadable rows, or those of these lines, as seen; their lines.

    LedgerError if one of these lines does not wait for that.
    """
    told = {"report": report, "now": tx.now, "actor": tx.actor, "reason": reason}
    at = sorted(tx.db.execute(text(SEE), told | {"lines": lines and list(lines)}).scalars())
    if not at or not set(lines or ()).issubset(at):
        rows = f"not every line of {', '.join(map(str, lines))}" if lines else "no row"
        raise LedgerError(
            f"{rows} of {report} waits for somebody to look at it: see sms.quarantine for the "
            "names and lines that do. Nothing was changed"
        )
    tx.record(detail={"quarantine_seen": report, "rows": len(at)})
    return at


EXPIRE = """
WITH gone AS (
    DELETE FROM sms.unreadable_row
    WHERE (report, line, digest) IN (
        SELECT report, line, digest FROM sms.unreadable_row WHERE {whose} LIMIT :most)
    RETURNING report
)
SELECT report, count(*) AS number FROM gone GROUP BY report
"""
# However the number is written, its last nine digits stand together, spaces and signs left out.
# A backslash of the row's own is written as two, and digits behind it are no byte's.
OF_PERSON = r"""
position(right(CAST(:msisdn AS text), 9) IN
    regexp_replace(encode(raw, 'escape'), '\\\\|\\[0-7]{3}|\D', '', 'g')) > 0
"""


def expire(tx: Transaction, before: datetime, *, most: int) -> int:
    """Erase at most so many unreadable rows recorded before then; `report_file` keeps the count."""
    return sum(_erase(tx, "recorded_at < :before", most, before=before).values())


def forget(tx: Transaction, msisdn: int) -> dict[str, int]:
    """Erase every row that holds a number's digits; how many they were of each report."""
    return _erase(tx, OF_PERSON, ALL, msisdn=msisdn)


def _erase(tx: Transaction, whose: str, most: int, **told: object) -> dict[str, int]:
    statement = text(EXPIRE.replace("{whose}", whose))
    found = tx.db.execute(statement, {**told, "most": most})
    return {row.report: row.number for row in found}

"""Quarantine: unreadable rows of reports, kept with their bytes until an operator has seen them."""

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

# In the order of the lines, so that two loads at once lock rows in the same order.
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
    """Replace a report's unreadable rows after a line by these (line, reason, raw, may_be_stop).

    A row of an earlier state is never deleted, only marked as gone.
    """
    tx.db.execute(
        text(
            "CREATE TEMP TABLE broken (line bigint, reason text, raw bytea, may_be_stop boolean) "
            "ON COMMIT DROP"
        )
    )
    copy_rows(tx, "pg_temp.broken", UNREADABLE, rows)
    params = {"report": report, "now": tx.now}
    tx.db.execute(text(LET_GO), {**params, "after": after})
    tx.db.execute(text(KEEP), params)


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
    """Mark a report's unreadable rows, all or those of some lines, as seen; return their lines.

    Raises LedgerError if one of these lines is not unseen.
    """
    params = {"report": report, "now": tx.now, "actor": tx.actor, "reason": reason}
    at = sorted(tx.db.execute(text(SEE), params | {"lines": lines and list(lines)}).scalars())
    if not at or not set(lines or ()).issubset(at):
        rows = f"not every line of {', '.join(map(str, lines))}" if lines else "no row"
        raise LedgerError(
            f"{rows} of {report} is unseen: sms.quarantine lists the reports and lines that are. "
            "Nothing was changed"
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
# In any notation the last nine digits are adjacent once spaces and signs are removed. encode()
# doubles a backslash of the row, so that digits after it are not taken for an escaped byte.
OF_PERSON = r"""
position(right(CAST(:msisdn AS text), 9) IN
    regexp_replace(encode(raw, 'escape'), '\\\\|\\[0-7]{3}|\D', '', 'g')) > 0
"""


def expire(tx: Transaction, before: datetime, *, most: int) -> int:
    """Erase at most `most` unreadable rows recorded before then; `report_file` has their count."""
    return sum(_erase(tx, "recorded_at < :before", most, before=before).values())


def forget(tx: Transaction, msisdn: int) -> dict[str, int]:
    """Erase each row that contains a number's digits, and return how many of each report."""
    return _erase(tx, OF_PERSON, ALL, msisdn=msisdn)


def _erase(tx: Transaction, whose: str, most: int, **params: object) -> dict[str, int]:
    statement = text(EXPIRE.replace("{whose}", whose))
    found = tx.db.execute(statement, {**params, "most": most})
    return {row.report: row.number for row in found}

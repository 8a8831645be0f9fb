"""Announcements of new opt-outs and reports to other DAGs, each made once.

The ledger keeps them, not the task: if a try loads rows and then fails without an announcement, the
next try has nothing new to load, and must still announce them.
"""

from sqlalchemy import text

from sms.ledger import locks, submissions
from sms.ledger.database import Transaction

# An announcement is an event with 0 opt-outs, so that the index of opt-outs finds it. A load writes
# its event while it holds the lock, so no announcement skips one.
NEW_OPT_OUTS = text(
    """
    SELECT coalesce(sum((detail ->> 'opted_out')::bigint), 0) FROM sms.event
    WHERE detail ? 'opted_out' AND id > coalesce((
        SELECT id FROM sms.event
        WHERE detail ? 'opted_out' AND detail ? 'announced' ORDER BY id DESC LIMIT 1), 0)
    """
)
IS_NEW_REPORT = text(
    """
    SELECT EXISTS (
        SELECT FROM sms.report_file f
        WHERE f.submission_id = :id AND f.kind = 'ACK' AND f.loaded_at > coalesce((
            SELECT max(at) FROM sms.event
            WHERE submission_id = :id AND detail ? 'announced'), '-infinity'))
    """
)


def opt_outs(tx: Transaction) -> int:
    """How many opt-outs were entered or imported since the last call."""
    locks.hold(tx)
    new = int(tx.db.execute(NEW_OPT_OUTS).scalar_one())
    if new:
        tx.record(detail={"opted_out": 0, "announced": new})
    return new


def delivery_report(tx: Transaction, stem: str) -> bool:
    """Whether a file's delivery report was loaded, or changed, since the last call."""
    submission_id = submissions.get(tx, stem).id
    new = bool(tx.db.execute(IS_NEW_REPORT, {"id": submission_id}).scalar_one())
    if new:
        tx.record(submission_id=submission_id, detail={"announced": "delivery_report"})
    return new

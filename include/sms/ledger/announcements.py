"""What other programs were told of, so that each piece of news is told once.

Kept here and not by whoever tells: a try that fails after it loaded something tells nothing, and
the next one finds nothing new to load.
"""

from sqlalchemy import text

from sms.ledger import locks, submissions
from sms.ledger.database import Transaction

# An announcement is itself among the events of opt-outs, with none of its own: so their index
# finds it. A load writes its event while it holds the lock, so none is overtaken.
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
    """How many opt-outs were entered, or imported, since the last call: each is announced once."""
    locks.hold(tx)
    new = int(tx.db.execute(NEW_OPT_OUTS).scalar_one())
    if new:
        tx.record(detail={"opted_out": 0, "announced": new})
    return new


def delivery_report(tx: Transaction, stem: str) -> bool:
    """Whether a file's delivery report came, or changed, since the last call."""
    submission_id = submissions.get(tx, stem).id
    new = bool(tx.db.execute(IS_NEW_REPORT, {"id": submission_id}).scalar_one())
    if new:
        tx.record(submission_id=submission_id, detail={"announced": "delivery_report"})
    return new

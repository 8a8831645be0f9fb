"""Removal of a number from the stop list by an operator, and which later rows enter it again.

A row that was known at the removal never enters the number again, however often it is read. A row
that the ledger did not know does; and if the two can't be distinguished, it does too: a STOP wins.
"""

from sqlalchemy import text

from sms.errors import LedgerError
from sms.ledger import hashed_numbers, locks
from sms.ledger.database import Transaction
from sms.wire.names import ReportName

KEYS = ("kind", "service_id", "campaign_id")

# The identity of a report's row (`reply_once`), as a digest, as the reply may be erased later.
MARK = """encode(sha256(convert_to(concat_ws(chr(31), {kind}, {service_id}, {campaign_id}, raw_date,
        raw_hour, {message_digest}, occurrence), 'UTF8')), 'hex')"""
OF_REPLY = MARK.format_map({name: name for name in (*KEYS, "message_digest")})
OF_ROW = MARK.format(
    message_digest="encode(sha256(convert_to(l.message, 'UTF8')), 'hex')",
    **{name: f"CAST(:{name} AS text)" for name in KEYS},
)

# Replies from other numbers to a message that went to this one.
ANSWERS = """
    SELECT a.id FROM sms.message m
    JOIN sms.reply a ON a.submission_id = m.submission_id
        AND a.idremote = encode(uuid_send(m.idremote), 'hex')
    WHERE m.msisdn = :msisdn
"""

REMOVE = text(
    f"""
    INSERT INTO sms.removal (msisdn, removed_at, actor, reason, opted_out_at, source, list, stem,
        message, recorded_at, heard)
    SELECT msisdn, :now, :actor, :reason, opted_out_at, source, list, stem, message, recorded_at,
        ARRAY(
            SELECT {OF_REPLY} FROM sms.reply WHERE msisdn = :msisdn
            UNION
            SELECT {OF_REPLY} FROM sms.reply WHERE id IN ({ANSWERS})
        )
    FROM sms.opt_out WHERE msisdn = ANY (:names)
    """
)
# The removed STOP itself is known even if its reply was not stored yet. An identical row of the
# same minute is another STOP.
SET_ASIDE_REPORTED = text(
    f"""
    DELETE FROM pg_temp.leaving l USING sms.removal r
    WHERE r.msisdn = l.msisdn AND ({OF_ROW} = ANY (r.heard)
        OR (l.occurrence = 1 AND r.source = :source AND r.opted_out_at = l.opted_out_at
            AND r.message = l.message AND r.stem = :stem))
    """
)
# A day without an hour may be a later opt-out if the day was not over at the removal. A row without
# a time always may.
SET_ASIDE_LISTED = text(
    """
    WITH aside AS (
        DELETE FROM pg_temp.leaving l USING sms.removal r
        WHERE r.msisdn = l.msisdn
            AND (l.opted_out_at = r.opted_out_at OR EXISTS (
                SELECT FROM sms.imported i
                WHERE i.msisdn = l.msisdn AND i.opted_out_at = l.opted_out_at
                    AND i.recorded_at < r.removed_at))
            AND NOT (l.opted_out_at = date_trunc('day', l.opted_out_at, 'Europe/Paris')
                AND l.opted_out_at > r.removed_at - interval '25 hours')
        RETURNING l.msisdn
    )
    SELECT count(DISTINCT msisdn) FROM aside a
    WHERE NOT EXISTS (SELECT FROM sms.opt_out o WHERE o.msisdn = a.msisdn)
    """
)


def remove(tx: Transaction, msisdn: int, *, reason: str) -> None:
    """Remove a number from the stop list, and record it. Raises LedgerError if it is not in it."""
    locks.hold(tx)
    params = {
        "now": tx.now,
        "actor": tx.actor,
        "reason": reason,
        "msisdn": msisdn,
        "names": hashed_numbers.names(tx, msisdn),
    }
    if not tx.db.execute(REMOVE, params).rowcount:
        raise LedgerError("the number is not in the stop list: nothing was removed")
    tx.db.execute(text("DELETE FROM sms.opt_out WHERE msisdn = ANY (:names)"), params)
    tx.record(detail={"removed": 1})


def set_aside_reported(tx: Transaction, report: ReportName, source: str, stem: str | None) -> None:
    """Drop gathered rows of a report that were known when their number was removed."""
    named = {name: str(getattr(report, name)) for name in KEYS}
    tx.db.execute(SET_ASIDE_REPORTED, {**named, "source": source, "stem": stem})


def set_aside_listed(tx: Transaction) -> int:
    """Drop gathered rows of a list that were known then; return how many numbers stay removed."""
    return int(tx.db.execute(SET_ASIDE_LISTED).scalar_one())

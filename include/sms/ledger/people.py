"""The ledger's data on one number, for the person's own access request and those who answer it."""

from datetime import datetime

from sqlalchemy import text

from sms.ledger import hashed_numbers
from sms.ledger.database import Transaction
from sms.ledger.records import History, Listed, OptOut, Removal, Reply, Sent
from sms.ledger.states import State
from sms.wire.stop_words import Asks, asks_to_stop

OPT_OUT = "opted_out_at, source, list, campaign, stem, message, recorded_at"
STANDING = text(
    f"SELECT msisdn, {OPT_OUT} FROM sms.stop_list WHERE msisdn = ANY (:names) ORDER BY msisdn DESC"
)
REMOVALS = text(
    """
    SELECT removed_at, actor, reason, x.opted_out_at, x.source, x.list, r.campaign, x.stem,
        x.message, x.recorded_at
    FROM sms.removal x
    LEFT JOIN sms.submission s USING (stem)
    LEFT JOIN sms.campaign_run r USING (run_key)
    WHERE msisdn = ANY (:names) ORDER BY x.id
    """
)
LISTED = text(
    """
    SELECT list, opted_out_at, recorded_at FROM sms.imported
    WHERE msisdn = ANY (:names) ORDER BY recorded_at, list, opted_out_at
    """
)
REPLY = """
    a.kind, a.replied_at, a.recorded_at, a.message, r.campaign, s.stem, a.report
    FROM sms.reply a
    LEFT JOIN sms.submission s ON s.id = a.submission_id
    LEFT JOIN sms.campaign_run r USING (run_key)
"""
REPLIES = text(
    f"""
    SELECT {REPLY}
    WHERE msisdn = :msisdn ORDER BY coalesce(a.replied_at, a.recorded_at), a.id
    """
)
UNHEARD = text(
    f"""
    SELECT a.msisdn, {REPLY}
    WHERE a.kind = 'SMSMO' AND NOT a.asks_to_stop
        AND coalesce(a.replied_at, a.recorded_at) >= :since
        AND NOT EXISTS (SELECT FROM sms.stop_list l WHERE l.msisdn = a.msisdn)
    ORDER BY coalesce(a.replied_at, a.recorded_at), a.id
    """
)
SENT = """
    SELECT r.campaign, r.run_key, r.folder, m.msisdn, s.stem, s.state, s.send_at, s.submitted_at,
        m.segments, encode(uuid_send(m.idremote), 'hex') AS idremote, a.raw_status,
        CASE WHEN a.line IS NOT NULL THEN sms.outcome_of(a.idstatus) END AS outcome,
        CASE WHEN a.line IS NOT NULL THEN s.report_loaded_at END AS reported_at
    FROM sms.message m
    JOIN sms.submission s ON s.id = m.submission_id
    JOIN sms.campaign_run r USING (run_key)
    LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
        AND a.sent_on = m.sent_on
    WHERE {whose} AND s.send_at >= :since
    ORDER BY s.send_at, s.id
"""
WERE_ERASED = text(
    """
    SELECT s.dropped_at IS NOT NULL
        OR EXISTS (SELECT FROM sms.erased e WHERE e.submission_id = s.id)
    FROM sms.submission s WHERE s.stem = :stem
    """
)


def history(tx: Transaction, msisdn: int) -> History:
    """All records of the stop list on one number, the oldest first."""
    params = {"msisdn": msisdn, "names": hashed_numbers.names(tx, msisdn)}
    present = tx.db.execute(STANDING, params).first()
    name, *opt_out = present or (None,)
    return History(
        opt_out=OptOut(*opt_out) if opt_out else None,
        hashed=name is not None and name < 0,
        removals=tuple(
            Removal(at, actor, reason, OptOut(*removed))
            for at, actor, reason, *removed in tx.db.execute(REMOVALS, params)
        ),
        listed=tuple(Listed(*row) for row in tx.db.execute(LISTED, params)),
        replies=tuple(Reply(*row) for row in tx.db.execute(REPLIES, params)),
    )


def unsure_replies(tx: Transaction, since: datetime) -> list[tuple[int, Reply]]:
    """Replies after `since` that may ask to stop, with their number, the oldest first.

    Only of numbers that are not in the stop list.
    """
    found = tx.db.execution_options(yield_per=10_000).execute(UNHEARD, {"since": since})
    replies = ((msisdn, Reply(*reply)) for msisdn, *reply in found)
    return [each for each in replies if asks_to_stop(each[1].message) is Asks.PERHAPS]


def sent_to(tx: Transaction, msisdn: int, *, since: datetime) -> list[Sent]:
    """The messages to a number in uploaded files with an hour after `since`, by hour."""
    return _sent(tx, "m.msisdn = :msisdn", since, msisdn=msisdn)


def sent_with_key(tx: Transaction, key: str, *, since: datetime) -> list[Sent]:
    """The messages with a recipient's key, like `sent_to`.

    Keys have no index: all messages after `since` are read, older months are not.
    """
    named = "m.key = :key AND m.sent_on = s.sent_on AND m.sent_on >= CAST(:since AS date) - 1"
    return _sent(tx, named, since, key=key)


def _sent(tx: Transaction, whose: str, since: datetime, **params: object) -> list[Sent]:
    found = tx.db.execute(text(SENT.format(whose=whose)), {**params, "since": since})
    return [Sent(**{**row._asdict(), "state": State(row.state)}) for row in found]


def were_erased(tx: Transaction, stem: str) -> bool:
    """Whether personal data of a file was erased: on request, expired, or dropped."""
    return bool(tx.db.execute(WERE_ERASED, {"stem": stem}).scalar_one())

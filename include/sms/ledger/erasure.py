"""Erasure of personal data in the ledger: of expired files, and of one person.

The erased rows' counts are recorded in the same transaction, so a run's figures stay correct.
Opt-outs stay: only their message texts are erased, and their number if it is hashed.
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Select, bindparam, exists, or_, select, text, update

from sms.errors import LedgerError, StillReported
from sms.ledger import hashed_numbers, locks, quarantine
from sms.ledger.database import Transaction
from sms.ledger.records import Forgotten, Submission
from sms.ledger.states import OVER
from sms.ledger.submissions import COLUMNS, locked
from sms.ledger.tables import message, opt_out, removal, reply, stranger, submission

NOTE = """
INSERT INTO sms.erased AS kept (submission_id, what, number)
SELECT :id, what, number FROM counted WHERE number > 0
ON CONFLICT (submission_id, what) DO UPDATE SET number = kept.number + excluded.number
"""

# A late STOP: a recipient of the file whose opt-out was recorded after the rename and dates from
# before the hour. `campaign_summary` counts the same; here it is counted for the last time.
MESSAGES = """
WITH gone AS (
    DELETE FROM sms.message
    WHERE submission_id = :id AND idremote IN (
        SELECT idremote FROM sms.message WHERE submission_id = :id {whose} LIMIT :most)
    RETURNING idremote, msisdn
), stated AS (
    DELETE FROM sms.receipt a USING gone
    WHERE a.submission_id = :id AND a.idremote = gone.idremote
    RETURNING a.idremote, sms.outcome_of(a.idstatus) AS outcome
), counted AS (
    SELECT coalesce(stated.outcome, 'missing') AS what, count(*) AS number
    FROM gone LEFT JOIN stated USING (idremote)
    GROUP BY stated.outcome
    UNION ALL
    SELECT 'late_stop', count(*)
    FROM gone JOIN sms.opt_out o USING (msisdn) JOIN sms.submission s ON s.id = :id
    WHERE o.recorded_at > coalesce(s.rename_intended_at, s.submitted_at)
        AND o.opted_out_at < greatest(s.send_at, s.submitted_at)
), noted AS ({note})
SELECT count(*) FROM gone
"""

STRANGERS = """
WITH gone AS (
    DELETE FROM sms.stranger
    WHERE submission_id = :id AND line IN (
        SELECT line FROM sms.stranger WHERE submission_id = :id {whose} LIMIT :most)
    RETURNING line
), counted AS (
    SELECT 'stranger' AS what, count(*) AS number FROM gone
), noted AS ({note})
SELECT count(*) FROM gone
"""

REPLIES = """
WITH gone AS (
    DELETE FROM sms.reply
    WHERE id IN (SELECT id FROM sms.reply WHERE submission_id = :id {whose} LIMIT :most)
    RETURNING kind
), counted AS (
    SELECT kind AS what, count(*) AS number FROM gone GROUP BY kind
), noted AS ({note})
SELECT count(*) FROM gone
"""

# Replies to a file that the ledger does not have: no run counts them.
STRAY_REPLIES = """
WITH gone AS (
    DELETE FROM sms.reply
    WHERE id IN (SELECT id FROM sms.reply
        WHERE submission_id IS NULL AND {whose} LIMIT :most)
    RETURNING report
)
SELECT report, count(*) AS number FROM gone GROUP BY report
"""

# Texts in the stop list, and in its removals.
TEXTS = (
    """
    UPDATE sms.opt_out SET message = NULL
    WHERE msisdn IN (SELECT msisdn FROM sms.opt_out
        WHERE message IS NOT NULL AND recorded_at < :before ORDER BY msisdn LIMIT :most)
    """,
    """
    UPDATE sms.removal SET message = NULL
    WHERE id IN (SELECT id FROM sms.removal
        WHERE message IS NOT NULL AND recorded_at < :before ORDER BY id LIMIT :most)
    """,
)

EVERYTHING = 1 << 31  # rows of one person, in one transaction


def expired(tx: Transaction, before: datetime) -> list[str]:
    """The closed files sent before an instant that still have rows with personal data."""
    return list(
        tx.db.scalars(
            select(submission.c.stem)
            .where(submission.c.state.in_(OVER), submission.c.send_at < before)
            .where(
                or_(
                    *(
                        exists().where(table.c.submission_id == submission.c.id)
                        for table in (message, stranger, reply)
                    )
                )
            )
            .order_by(submission.c.send_at)
        )
    )


def expire(tx: Transaction, stem: str, *, most: int) -> dict[str, int]:
    """Erase at most `most` messages, strangers and replies each of a closed file.

    Returns the number of each; the run's counts stay. Raises LedgerError if the file is open.
    """
    held = locked(tx, stem)
    if held.state not in OVER:
        raise LedgerError(f"{stem} is {held.state}: its rows are still needed")
    return _erase(tx, held.id, most)


def expire_stray_replies(tx: Transaction, before: datetime, *, most: int) -> int:
    """Erase at most `most` replies to files that the ledger does not have."""
    return sum(_erase_strays(tx, "recorded_at < :before", most, before=before).values())


def expire_texts(tx: Transaction, before: datetime, *, most: int) -> int:
    """Erase at most `most` texts each of the stop list and its removals; the numbers stay."""
    params = {"before": before, "most": most}
    return sum(tx.db.execute(text(each), params).rowcount for each in TEXTS)


def forget(tx: Transaction, msisdn: int, *, hashed: bool = False) -> Forgotten:
    """Erase one person's messages, outcomes and replies; the opt-out and all counts stay.

    With `hashed` the opt-out stays as a hash only. Raises LedgerError while the key of hashes is
    not in use yet, StillReported while one of the person's files is open.
    """
    if hashed:
        hashed_numbers.require_key(tx)
    files = [locked(tx, each.stem) for each in _of_person(tx, msisdn)]
    still_open = [each for each in files if each.state not in OVER]
    if still_open:
        last = max(each.send_at for each in still_open)
        raise StillReported([each.stem for each in still_open], last)
    found = [_erase(tx, each.id, EVERYTHING, msisdn) for each in files]
    strays = _erase_strays(tx, "msisdn = :msisdn", EVERYTHING, msisdn=msisdn)
    unreadable = quarantine.forget(tx, msisdn)
    (locks.hold if hashed else locks.hold_off)(tx)
    opted_out = _erase_texts(tx, msisdn)
    newly_hashed = hashed and hashed_numbers.hash_one(tx, msisdn)
    forgotten = Forgotten(
        messages=sum(each["messages"] for each in found),
        strangers=sum(each["strangers"] for each in found),
        replies=sum(each["replies"] for each in found) + sum(strays.values()),
        unreadable=sum(unreadable.values()),
        opted_out=opted_out,
        hashed=opted_out and not hashed_numbers.has_number(tx, msisdn),
        files=tuple(files),
        reports=tuple(sorted({*strays, *unreadable})),
    )
    if forgotten.rows or newly_hashed:
        # Neither the number nor its digest: either would identify the person.
        tx.record(
            detail={
                "forgotten": 1,
                "messages": forgotten.messages,
                "replies": forgotten.replies,
            }
        )
    return forgotten


def _erase(
    tx: Transaction, submission_id: int, most: int, msisdn: int | None = None
) -> dict[str, int]:
    """Erase rows of a file, all or those of one number, and return how many of each kind.

    Messages come first, as their late STOPs are counted while the replies exist.
    """
    params = {"id": submission_id, "most": most, "msisdn": msisdn}
    whose = "" if msisdn is None else "AND msisdn = :msisdn"
    kinds = {"messages": MESSAGES, "strangers": STRANGERS, "replies": REPLIES}
    found = dict.fromkeys(kinds, 0)
    for kind, statement in kinds.items():
        erasing = text(statement.format(whose=whose, note=NOTE))
        found[kind] = int(tx.db.execute(erasing, params).scalar_one())
        if found[kind] == most:
            break
    return found


def _erase_strays(tx: Transaction, whose: str, most: int, **params: object) -> dict[str, int]:
    """Erase replies to files that the ledger does not have, and return how many of each report."""
    statement = text(STRAY_REPLIES.format(whose=whose))
    found = tx.db.execute(statement, {**params, "most": most})
    return {row.report: row.number for row in found}


def _erase_texts(tx: Transaction, msisdn: int) -> bool:
    """Erase a person's texts in the stop list and its removals; whether the stop list has them."""
    names = hashed_numbers.names(tx, msisdn)
    tx.db.execute(
        update(removal)
        .where(removal.c.msisdn.in_(names), removal.c.message.is_not(None))
        .values(message=None)
    )
    listed = update(opt_out).where(opt_out.c.msisdn.in_(names)).values(message=None)
    return bool(tx.db.execute(listed).rowcount)


def _of_person(tx: Transaction, msisdn: int) -> Iterable[Submission]:
    """The files that have rows with a number, oldest first."""
    places: list[Select[int]] = [
        select(table.c.submission_id).where(table.c.msisdn == bindparam("msisdn"))
        for table in (message, stranger, reply)
    ]
    query = (
        select(*COLUMNS)
        .where(or_(*(submission.c.id.in_(place) for place in places)))
        .order_by(submission.c.id)
    )
    return [Submission.of(row) for row in tx.db.execute(query, {"msisdn": msisdn})]

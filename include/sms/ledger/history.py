"""What is known of people from earlier runs: how often they were written to, and in vain."""

from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import bindparam, text

from sms.ledger.bulk_copy import hand_over
from sms.ledger.database import Transaction
from sms.ledger.records import UnfinishedRun
from sms.ledger.states import AHEAD, SENT, UNCLAIMED, State

MAY_HAVE_ARRIVED = (*SENT, State.UNKNOWN)  # and an upload whose rename is intended
REMEMBERED = timedelta(days=365)  # how far back a failure counts

WRITTEN_TO = text(
    """
    SELECT m.msisdn
    FROM pg_temp.asked
    JOIN sms.message m USING (msisdn)
    JOIN sms.submission s ON s.id = m.submission_id
    JOIN sms.campaign_run r USING (run_key)
    WHERE r.kind = :kind AND r.run_key <> :but AND NOT starts_with(r.run_key, :but || '/')
        AND (s.state IN :states OR (s.state = 'uploading' AND s.rename_intended_at IS NOT NULL
            AND s.rename_withdrawn_at IS NULL))
        AND greatest(s.send_at, s.submitted_at) > :since
    GROUP BY m.msisdn HAVING count(*) >= :times
    ORDER BY m.msisdn
    """
).bindparams(bindparam("states", expanding=True))
FAILING = text(
    """
    WITH told AS (
        SELECT m.msisdn, sms.outcome_of(a.idstatus) AS outcome,
            row_number() OVER (PARTITION BY m.msisdn ORDER BY s.send_at DESC, s.id DESC) AS nth
        FROM pg_temp.asked
        JOIN sms.message m USING (msisdn)
        JOIN sms.submission s ON s.id = m.submission_id
        JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
            AND a.sent_on = m.sent_on
        WHERE s.send_at > :since AND sms.outcome_of(a.idstatus) IN ('delivered', 'not_delivered')
    )
    SELECT msisdn FROM told WHERE nth <= :times
    GROUP BY msisdn HAVING count(*) = :times AND bool_and(outcome = 'not_delivered')
    ORDER BY msisdn
    """
)
LATEST_SENT = text(
    """
    SELECT r.run_key, sum(s.messages) AS messages
    FROM sms.campaign_run r JOIN sms.submission s USING (run_key)
    WHERE r.campaign = :campaign AND r.run_key <> :run_key AND r.row_limit IS NULL
        AND (s.state IN :states OR s.state IN :ahead)
    GROUP BY r.run_key HAVING bool_or(s.state IN :states)
    ORDER BY max(s.send_at) DESC, r.run_key DESC
    LIMIT :most
    """
).bindparams(bindparam("states", expanding=True), bindparam("ahead", expanding=True))

# What waits for its hour, unless that is so long ago that it can't go out any more or a task of
# the run has failed for good, and what is on its way: whatever became of the run in Airflow.
# A proof is no run.
UNFINISHED_RUNS = text(
    """
    SELECT r.run_key, min(s.send_at) AS send_at, sum(s.messages) AS messages,
        array_agg(DISTINCT s.state ORDER BY s.state) AS states
    FROM sms.campaign_run r JOIN sms.submission s USING (run_key)
    WHERE r.campaign = :campaign AND r.run_key <> :run_key AND NOT r.dry_run
        AND NOT sms.is_proof(r.run_key)
        AND (s.state IN :under_way OR s.state IN :unclaimed AND s.send_at > :since
            AND NOT sms.has_failed(r.run_key, r.failed_at))
    GROUP BY r.run_key
    ORDER BY send_at, r.run_key
    """
).bindparams(bindparam("under_way", expanding=True), bindparam("unclaimed", expanding=True))
UNDER_WAY = (State.UPLOADING, State.UNKNOWN, State.SUBMITTED)


def written_to(
    tx: Transaction, msisdns: np.ndarray, *, kind: str, times: int, since: datetime, but: str
) -> np.ndarray:
    """Which of these numbers got `times` messages of a kind since then, or more, ascending.

    Messages of the run `but` and of its proofs do not count. A file that is about to be renamed
    does: it may have left.
    """
    hand_over(tx, msisdns)
    told = {"kind": kind, "times": times, "since": since, "but": but, "states": MAY_HAVE_ARRIVED}
    return np.fromiter(tx.db.execute(WRITTEN_TO, told).scalars(), dtype=np.int64)


def failing(tx: Transaction, msisdns: np.ndarray, *, times: int) -> np.ndarray:
    """Which of these numbers the latest `times` messages to them did not reach, ascending.

    Of the last year, and by what is final: a message that the operator refused says something of
    the message, not of the number.
    """
    hand_over(tx, msisdns)
    told = {"times": times, "since": tx.now - REMEMBERED}
    return np.fromiter(tx.db.execute(FAILING, told).scalars(), dtype=np.int64)


def latest_sent(tx: Transaction, campaign: str, *, but: str, most: int = 5) -> dict[str, int]:
    """How many messages the campaign's latest runs sent, by run, without the run `but`.

    What a run that has begun is still to send counts with the rest of it.
    """
    told = {
        **{"campaign": campaign, "run_key": but, "most": most},
        **{"states": sorted(SENT), "ahead": sorted(AHEAD)},
    }
    return {row.run_key: int(row.messages) for row in tx.db.execute(LATEST_SENT, told)}


def unfinished_runs(
    tx: Transaction, campaign: str, *, but: str, within: timedelta
) -> list[UnfinishedRun]:
    """The campaign's runs under way, or whose hour is to come or at most so long ago, by hour.

    Without the run `but`.
    """
    told = {
        "campaign": campaign,
        "run_key": but,
        "under_way": UNDER_WAY,
        "unclaimed": sorted(UNCLAIMED),
        "since": tx.now - within,
    }
    return [
        UnfinishedRun(row.run_key, row.send_at.astimezone(UTC), row.messages, tuple(row.states))
        for row in tx.db.execute(UNFINISHED_RUNS, told)
    ]

"""Numbers in earlier runs: how often they were written to, how often in vain; and those runs."""

from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy import bindparam, text

from sms.ledger.bulk_copy import hand_over
from sms.ledger.database import Transaction
from sms.ledger.records import UnfinishedRun
from sms.ledger.states import AHEAD, SENT, UNCLAIMED, State

MAY_HAVE_ARRIVED = (*SENT, State.UNKNOWN)  # and uploads whose rename is intended
REMEMBERED = timedelta(days=365)  # failures count for so long

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
    WITH stated AS (
        SELECT m.msisdn, sms.outcome_of(a.idstatus) AS outcome,
            row_number() OVER (PARTITION BY m.msisdn ORDER BY s.send_at DESC, s.id DESC) AS nth
        FROM pg_temp.asked
        JOIN sms.message m USING (msisdn)
        JOIN sms.submission s ON s.id = m.submission_id
        JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
            AND a.sent_on = m.sent_on
        WHERE s.send_at > :since AND sms.outcome_of(a.idstatus) IN ('delivered', 'not_delivered')
    )
    SELECT msisdn FROM stated WHERE nth <= :times
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

# Runs that wait for their hour, unless it is too long ago to be sent or a task has failed for good,
# and runs being sent, whatever their state in Airflow. A proof is no run.
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
    """The numbers that got at least `times` messages of a kind since then, ascending.

    Messages of the run `but` and of its proofs do not count. A file whose rename is intended
    counts: it may have left.
    """
    hand_over(tx, msisdns)
    params = {"kind": kind, "times": times, "since": since, "but": but, "states": MAY_HAVE_ARRIVED}
    return np.fromiter(tx.db.execute(WRITTEN_TO, params).scalars(), dtype=np.int64)


def failing(tx: Transaction, msisdns: np.ndarray, *, times: int) -> np.ndarray:
    """The numbers whose latest `times` messages were not delivered, ascending.

    Only final outcomes of the last year count. A message that the operator refused does not count:
    that concerns the message, not the number.
    """
    hand_over(tx, msisdns)
    params = {"times": times, "since": tx.now - REMEMBERED}
    return np.fromiter(tx.db.execute(FAILING, params).scalars(), dtype=np.int64)


def latest_sent(tx: Transaction, campaign: str, *, but: str, most: int = 5) -> dict[str, int]:
    """The messages sent by the campaign's latest runs, by run key, without the run `but`.

    Files that a begun run has not sent yet are included.
    """
    params = {
        **{"campaign": campaign, "run_key": but, "most": most},
        **{"states": sorted(SENT), "ahead": sorted(AHEAD)},
    }
    return {row.run_key: int(row.messages) for row in tx.db.execute(LATEST_SENT, params)}


def unfinished_runs(
    tx: Transaction, campaign: str, *, but: str, within: timedelta
) -> list[UnfinishedRun]:
    """The campaign's runs that are being sent or wait for their hour, by hour.

    Without the run `but`, and without runs whose hour is longer ago than `within`.
    """
    params = {
        "campaign": campaign,
        "run_key": but,
        "under_way": UNDER_WAY,
        "unclaimed": sorted(UNCLAIMED),
        "since": tx.now - within,
    }
    return [
        UnfinishedRun(row.run_key, row.send_at.astimezone(UTC), row.messages, tuple(row.states))
        for row in tx.db.execute(UNFINISHED_RUNS, params)
    ]

"""Queries for the daily overview: results of runs, upcoming files, problems.

Call them within a snapshot, like `queries`. None returns personal data.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from sms.errors import LedgerError
from sms.ledger.database import Transaction
from sms.ledger.records import Recurring, RunLine, ScheduledFile, Shortfall
from sms.ledger.states import State
from sms.ledger.tables import last_success, submission
from sms.words import count, listed

RUNS = text(
    """
    SELECT r.run_key, r.campaign, r.send_at, r.status, r.candidates,
        (SELECT coalesce(sum(number::bigint), 0) FROM (
            SELECT * FROM jsonb_each_text(r.screened_out)
            UNION ALL SELECT * FROM jsonb_each_text(r.rendered_out)) AS out (reason, number)
        )::bigint + r.late_out::bigint AS excluded,
        r.sent::bigint AS sent, r.delivered::bigint AS delivered, r.missing::bigint AS missing,
        r.stops::bigint AS stops, r.failed_at, r.failed_task, r.failed_why
    FROM sms.campaign_summary r
    WHERE r.send_at >= :since
        AND (CAST(:campaign AS text) IS NULL OR r.campaign = :campaign)
        AND (CAST(:run_key AS text) IS NULL OR r.run_key = :run_key)
    ORDER BY r.send_at DESC, r.run_key DESC
    LIMIT :most
    """
)
# By run key, by a file's stem, by Airflow's run id, or by campaign (its latest run).
NAMED = (
    "SELECT run_key FROM sms.campaign_run WHERE run_key = :name",
    "SELECT run_key FROM sms.submission WHERE lower(stem) = lower(:stem)",
    """
    SELECT run_key FROM sms.campaign_run
    WHERE substr(run_key, position('/' IN run_key) + 1) = :name AND NOT sms.is_proof(run_key)
    ORDER BY run_key
    """,
    """
    SELECT run_key FROM sms.campaign_run WHERE campaign = :name AND NOT sms.is_proof(run_key)
    ORDER BY planned_at DESC, run_key LIMIT 1
    """,
)
SCHEDULED = text(
    """
    SELECT r.campaign, r.run_key, s.stem, s.state, s.send_at, s.messages, s.zone
    FROM sms.submission s JOIN sms.campaign_run r USING (run_key)
    WHERE s.state IN ('planned', 'prepared', 'uploading') AND NOT r.dry_run
        AND s.send_at BETWEEN :since AND :until AND NOT sms.has_failed(r.run_key, r.failed_at)
    ORDER BY s.send_at, s.stem
    """
)
SHORTFALLS = text(
    """
    SELECT stem, sent, missing FROM sms.reconciliation
    WHERE partial AND reported_at >= :since ORDER BY reported_at, stem
    """
)


def run_lines(
    tx: Transaction, *, since: datetime, campaign: str | None = None, most: int | None = None
) -> list[RunLine]:
    """The runs with an hour after `since`, the latest first, of one campaign or of all."""
    return _run_lines(tx, since=since, campaign=campaign, most=most)


def run_line(tx: Transaction, run_key: str) -> RunLine | None:
    """The line of one run; None for a proof."""
    return next(iter(_run_lines(tx, since=datetime.min.replace(tzinfo=UTC), run_key=run_key)), None)


def _run_lines(
    tx: Transaction,
    *,
    since: datetime,
    campaign: str | None = None,
    run_key: str | None = None,
    most: int | None = None,
) -> list[RunLine]:
    params = {"since": since, "campaign": campaign, "run_key": run_key, "most": most}
    return [RunLine(**_aware(row._mapping)) for row in tx.db.execute(RUNS, params)]


def find_run_key(tx: Transaction, name: str, stem: str = "") -> str:
    """The key of the run with this key, Airflow run id or file, or of a campaign's latest run.

    `stem` is the stem to find if it differs from `name`. Raises LedgerError if there is no such
    run, or several.
    """
    for query in NAMED:
        params = {"name": name, "stem": stem or name}
        found = list(tx.db.execute(text(query), params).scalars())
        if len(found) > 1:
            raise LedgerError(
                f"{name} is the id of {count(len(found), 'run')} ({listed(found)}): give the full "
                "key of one"
            )
        if found:
            return str(found[0])
    raise LedgerError(f"the ledger has no run, file or campaign {name}: `sms runs` lists them")


def scheduled(tx: Transaction, *, since: datetime, until: datetime) -> list[ScheduledFile]:
    """The files that wait for an hour between `since` and `until`, the earliest first.

    Proofs are included, files of a failed run are not.
    """
    found = tx.db.execute(SCHEDULED, {"since": since, "until": until})
    return [ScheduledFile(**{**_aware(row._mapping), "state": State(row.state)}) for row in found]


def rejected(tx: Transaction, *, since: datetime) -> list[str]:
    """The files that the gateway rejected after `since`, the oldest first."""
    query = (
        select(submission.c.stem)
        .where(submission.c.state == State.REJECTED, submission.c.verdict_at >= since)
        .order_by(submission.c.verdict_at, submission.c.stem)
    )
    return list(tx.db.scalars(query))


def shortfalls(tx: Transaction, *, since: datetime) -> list[Shortfall]:
    """The files whose delivery report was loaded after `since` and lacks messages."""
    return [Shortfall(**row._mapping) for row in tx.db.execute(SHORTFALLS, {"since": since})]


def last_submitted(tx: Transaction) -> datetime | None:
    """When a file was last submitted; None if never."""
    found: datetime | None = tx.db.scalar(select(func.max(submission.c.submitted_at)))
    return found


def task_successes(tx: Transaction) -> dict[Recurring, datetime]:
    """When each recurring task last succeeded."""
    return {Recurring(row.task): row.at for row in tx.db.execute(select(last_success))}


def record_success(tx: Transaction, task: Recurring) -> None:
    """Record that a recurring task has succeeded now."""
    now = {"at": func.greatest(last_success.c.at, tx.now)}
    entered = insert(last_success).values(task=task, at=tx.now)
    tx.db.execute(entered.on_conflict_do_update(index_elements=["task"], set_=now))


def _aware(columns: Any) -> dict[str, Any]:
    """A row of a view with its times in UTC."""
    return {
        name: value.astimezone(UTC) if isinstance(value, datetime) else value
        for name, value in columns.items()
    }

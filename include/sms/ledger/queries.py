"""Read-only queries on files and runs.

Call them within a snapshot: their statements must see the same state.
"""

from collections import Counter
from collections.abc import Mapping

from sqlalchemy import BigInteger, ColumnElement, Select, and_, cast, func, select

from sms.ledger import runs, submissions
from sms.ledger.database import Transaction
from sms.ledger.records import Reconciliation, Summary
from sms.ledger.states import SENT, State
from sms.ledger.tables import (
    MISSING,
    OUTCOMES,
    campaign_run,
    erased,
    message,
    opt_out,
    outcome_count,
    reply,
    stranger,
    submission,
)


def reconcile(tx: Transaction, stem: str) -> Reconciliation:
    """The outcomes of a file's messages; a file that never left sent none."""
    return _reconciliation(tx, submission.c.id == submissions.get(tx, stem).id)


def late_stops(tx: Transaction, stem: str) -> int:
    """How many of a sent file's recipients opted out after its rename and before its hour."""
    hour = func.greatest(submission.c.send_at, submission.c.submitted_at)
    # Opt-outs entered before the rename was intended are not in the file: see `turn`.
    left = func.coalesce(submission.c.rename_intended_at, submission.c.submitted_at)
    found = tx.db.execute(
        select(func.count())
        .select_from(message)
        .join(
            submission,
            and_(
                submission.c.id == message.c.submission_id,
                submission.c.sent_on == message.c.sent_on,
            ),
        )
        .join(opt_out, opt_out.c.msisdn == message.c.msisdn)
        .where(submission.c.stem == stem, submission.c.state.in_(SENT))
        .where(opt_out.c.recorded_at > left, opt_out.c.opted_out_at < hour)
    ).scalar_one()
    gone = _by(tx, _erased(and_(submission.c.stem == stem, submission.c.state.in_(SENT))))
    return int(found) + gone.get("late_stop", 0)


def summary(tx: Transaction, run_key: str) -> Summary:
    """The counts of a run, from its candidates to its replies."""
    planned = runs.get(tx, run_key)
    ours = submission.c.run_key == run_key
    noted = tx.db.execute(
        select(
            campaign_run.c.candidates,
            campaign_run.c.audience,
            campaign_run.c.screened_out,
            campaign_run.c.rendered_out,
            campaign_run.c.replaced,
            campaign_run.c.stop_list_size,
        ).where(campaign_run.c.run_key == run_key)
    ).one()
    after_screening = Counter(noted.rendered_out or {}) + _late(tx, ours)
    outcomes = _reconciliation(tx, ours)
    answers = Counter(_by(tx, _answers(run_key))) + Counter(_by(tx, _erased(ours)))
    return Summary(
        run=planned,
        candidates=noted.candidates or 0,
        audience=(noted.audience or 0) - after_screening.total(),
        excluded=dict(Counter(noted.screened_out or {}) + after_screening),
        replaced=noted.replaced or {},
        sent=outcomes.sent,
        segments=_sum_of_sent(tx, "segments", ours),
        submissions={State(state): count for state, count in _by(tx, _states(run_key)).items()},
        outcomes=outcomes,
        stops=answers["STOP"],
        replies=answers["SMSMO"],
        stop_list_size=noted.stop_list_size,
    )


def _reconciliation(tx: Transaction, ours: ColumnElement[bool]) -> Reconciliation:
    by_outcome = _by(
        tx,
        select(outcome_count.c.outcome, cast(func.sum(outcome_count.c.messages), BigInteger))
        .join(submission, submission.c.id == outcome_count.c.submission_id)
        .where(ours, submission.c.state.in_(SENT))
        .group_by(outcome_count.c.outcome),
    )
    gone = _by(tx, _erased(and_(ours, submission.c.state.in_(SENT))))
    strangers = tx.db.execute(
        select(func.count())
        .select_from(stranger)
        .join(submission, submission.c.id == stranger.c.submission_id)
        .where(ours, submission.c.state.in_(SENT))
    ).scalar_one()
    return Reconciliation(
        sent=_sum_of_sent(tx, "messages", ours),
        **{outcome: by_outcome.get(outcome, 0) for outcome in (*OUTCOMES, MISSING)},
        rows=_sum_of_sent(tx, "report_rows", ours),
        strangers=strangers + gone.get("stranger", 0),
        duplicates=_sum_of_sent(tx, "report_duplicates", ours),
        kept=_sum_of_sent(tx, "report_kept", ours),
    )


def _sum_of_sent(tx: Transaction, column: str, ours: ColumnElement[bool]) -> int:
    total = func.coalesce(func.sum(submission.c[column]), 0)
    return int(tx.db.execute(select(total).where(ours, submission.c.state.in_(SENT))).scalar_one())


def _late(tx: Transaction, ours: ColumnElement[bool]) -> Counter[str]:
    """Recipients left out between preparation and rename, by Reason."""
    late: Counter[str] = Counter()
    for counts in tx.db.scalars(
        select(submission.c.late_out).where(ours, submission.c.state != State.CANCELLED)
    ):
        late.update(counts or {})
    return late


def _states(run_key: str) -> Select[str, int]:
    return (
        select(submission.c.state, func.count())
        .where(submission.c.run_key == run_key)
        .group_by(submission.c.state)
    )


def _answers(run_key: str) -> Select[str, int]:
    return (
        select(reply.c.kind, func.count())
        .join(submission, submission.c.id == reply.c.submission_id)
        .where(submission.c.run_key == run_key)
        .group_by(reply.c.kind)
    )


def _erased(ours: ColumnElement[bool]) -> Select[str, int]:
    """The counts of erased rows."""
    return (
        select(erased.c.what, cast(func.sum(erased.c.number), BigInteger))
        .join(submission, submission.c.id == erased.c.submission_id)
        .where(ours)
        .group_by(erased.c.what)
    )


def _by(tx: Transaction, query: Select[str, int]) -> Mapping[str, int]:
    return {row[0]: row[1] for row in tx.db.execute(query)}

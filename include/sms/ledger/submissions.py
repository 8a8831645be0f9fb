"""State changes of a submission: its claim, its upload, the intent to rename it, its moves.

Only `move` and `end_empty` change a state. Functions that write hold the submission's row lock, so
that its row does not change between their read and their write.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, delete, func, insert, select, update

from sms.errors import LedgerError, SubmissionTaken
from sms.ledger import idremotes, partitions
from sms.ledger.bulk_copy import copy_rows
from sms.ledger.database import Transaction
from sms.ledger.records import Submission
from sms.ledger.states import NEXT, STAMP, State
from sms.ledger.tables import MISSING, campaign_run, event, message, outcome_count, submission
from sms.telecom.msisdn import countries

COLUMNS = [submission.c[field.name] for field in fields(Submission)]
MOMENTS = frozenset({"submitted_at", "verdict_at", "due_at", "reported_at"})

MESSAGES = pa.schema(
    [
        pa.field("submission_id", pa.int64(), nullable=False),
        pa.field("idremote", idremotes.KEY, nullable=False),
        pa.field("msisdn", pa.int64(), nullable=False),
        pa.field("key", pa.large_string(), nullable=False),
        pa.field("segments", pa.int16(), nullable=False),
        pa.field("variant", pa.large_string()),
        pa.field("country", pa.large_string(), nullable=False),
        pa.field("sent_on", pa.date32(), nullable=False),
    ]
)


def locked(tx: Transaction, stem: str) -> Submission:
    """A submission; its row is locked until this transaction ends. Raises LedgerError."""
    row = tx.db.execute(select(*COLUMNS).where(submission.c.stem == stem).with_for_update()).first()
    if row is None:
        raise _no_such_file(stem)
    return Submission.of(row)


def get(tx: Transaction, stem: str) -> Submission:
    """A submission, without a lock. Raises LedgerError if there is none."""
    found = one(tx, submission.c.stem == stem)
    if found is None:
        raise _no_such_file(stem)
    return found


def one(tx: Transaction, where: ColumnElement[bool]) -> Submission | None:
    """The submission that meets a condition, or None; without a lock."""
    row = tx.db.execute(select(*COLUMNS).where(where)).first()
    return None if row is None else Submission.of(row)


def of_run(tx: Transaction, run_key: str) -> list[Submission]:
    """A run's live submissions by part; the cancelled ones if there is no live one."""
    query = (
        select(*COLUMNS)
        .where(submission.c.run_key == run_key)
        .order_by(submission.c.part, submission.c.id)
    )
    found = [Submission.of(row) for row in tx.db.execute(query)]
    return [each for each in found if each.state is not State.CANCELLED] or found


def named(tx: Transaction, stems: Collection[str]) -> dict[str, Submission]:
    """Submissions by their stem in lower case; a stem may be given in any case."""
    query = select(*COLUMNS).where(
        func.lower(submission.c.stem).in_([stem.lower() for stem in stems])
    )
    return {row.stem.lower(): Submission.of(row) for row in tx.db.execute(query)}


def in_state(tx: Transaction, state: State) -> list[Submission]:
    """Every submission in a state, the earliest hour first."""
    query = select(*COLUMNS).where(submission.c.state == state).order_by(submission.c.send_at)
    return [Submission.of(row) for row in tx.db.execute(query)]


def _no_such_file(stem: str) -> LedgerError:
    return LedgerError(f"the ledger has no file {stem}: plan it first")


def may_move(held: Submission, to: State) -> bool:
    """Whether a submission may move to a state."""
    if to is State.CANCELLED and held.state is State.UPLOADING:
        return not held.may_have_left
    return to in NEXT[held.state]


def move(
    tx: Transaction,
    held: Submission,
    to: State,
    *,
    detail: Mapping[str, Any] | None = None,
    **columns: Any,
) -> bool:
    """Compare and set a state, with its event in the same transaction; True if it moved."""
    if not may_move(held, to):
        return False
    if to in STAMP:
        columns.setdefault(STAMP[to], tx.now)
    changed = tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id, submission.c.state == held.state)
        .values(state=to, **columns)
    )
    if changed.rowcount != 1:
        return False
    tx.record(
        submission_id=held.id,
        run_key=held.run_key,
        from_state=held.state,
        to_state=to,
        detail=detail,
    )
    return True


def move_stem(
    tx: Transaction,
    /,
    stem: str,
    *,
    to: State,
    token: str | None = None,
    detail: Mapping[str, Any] | None = None,
    **moments: datetime,
) -> bool:
    """Move a submission; True for the one caller that moved it.

    With a token, only the holder of the claim may move it. `moments` may set submitted_at,
    verdict_at, due_at, reported_at; the new state's own time defaults to now. `detail` is stored in
    the event. `Ledger.on_move` is called after the commit.
    """
    strange = moments.keys() - MOMENTS
    if strange:
        raise TypeError(f"a move sets only {sorted(MOMENTS)}, not {sorted(strange)}")
    held = locked(tx, stem)
    if token is not None and held.claim != token:
        return False
    moved = move(tx, held, to, detail=detail, **moments)
    if moved:
        tx.moves.append((stem, to))
    return moved


def claim(tx: Transaction, stem: str, token: str, *, lease: timedelta) -> Submission:
    """Claim a submission for the try `token`. Raises SubmissionTaken during another try's lease.

    The holder's next call renews the claim. A submission in a later state is returned without a
    claim: check its state.
    """
    held = locked(tx, stem)
    if held.state is State.PLANNED:
        raise LedgerError(f"{stem} is planned but not prepared: render and review it first")
    ours = {"claim": token, "claimed_at": tx.now}
    if held.state is State.PREPARED:
        move(tx, held, State.UPLOADING, detail={"claim": token}, **ours)
    elif held.state is State.UPLOADING:
        if held.claim != token:
            _take_over(tx, held, token, lease)
        tx.db.execute(update(submission).where(submission.c.id == held.id).values(**ours))
    return locked(tx, stem)


def _take_over(tx: Transaction, held: Submission, token: str, lease: timedelta) -> None:
    # By the absolute difference, so that a clock set back does not extend the lease much.
    if held.claimed_at is not None and abs(tx.now - held.claimed_at) <= lease:
        raise SubmissionTaken(
            f"{held.stem} is held by another try since {held.claimed_at:%Y-%m-%d %H:%M:%S} UTC: "
            "this one stops"
        )
    _note(tx, held, {"claim": token, "taken_over_from": held.claim})


def release(tx: Transaction, stem: str, token: str) -> None:
    """End a try's claim if it still holds it, so that the next try need not wait for the lease."""
    held = locked(tx, stem)
    if held.state is not State.UPLOADING or held.claim != token:
        return
    tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id)
        .values(claim=f"released by {token}", claimed_at=None)
    )
    _note(tx, held, {"released": token})


def holds(tx: Transaction, stem: str, token: str) -> bool:
    """Whether a try still holds the submission."""
    found = one(tx, submission.c.stem == stem)
    return found is not None and found.state is State.UPLOADING and found.claim == token


def forget_upload(tx: Transaction, stem: str, token: str) -> bool:
    """Record that the `.tmp` at the gateway is about to be replaced; False if the claim is lost."""
    held = locked(tx, stem)
    if held.state is not State.UPLOADING or held.claim != token:
        return False
    tx.db.execute(update(submission).where(submission.c.id == held.id).values(uploaded_at=None))
    return True


def record_upload(
    tx: Transaction,
    stem: str,
    token: str,
    *,
    messages: Iterable[pa.RecordBatch],
    sha256: str,
    size_bytes: int,
    late_out: Mapping[str, int] | None = None,
    seconds: float = 0.0,
) -> Submission:
    """Record all messages of the `.tmp` at the gateway, and its digest.

    `late_out` are the recipients left out after preparation, by Reason; `seconds` is the duration
    of the upload. Raises SubmissionTaken if another try holds the claim, LedgerError if the file is
    not uploading.
    """
    held = _held_for_upload(tx, stem, token)
    day = partitions.day_of(tx, held.id)
    partitions.open_month(tx, day)
    tx.db.execute(
        delete(message).where(message.c.submission_id == held.id, message.c.sent_on == day)
    )
    counted = _Counted(held.id, day, messages)
    copy_rows(tx, "sms.message", MESSAGES, counted)
    tx.db.execute(delete(outcome_count).where(outcome_count.c.submission_id == held.id))
    if counted.messages:
        tx.db.execute(insert(outcome_count), counted.as_missing())
    tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id)
        .values(
            messages=counted.messages,
            segments=counted.segments,
            sha256=sha256,
            size_bytes=size_bytes,
            late_out=dict(late_out or {}),
            uploaded_at=tx.now,
        )
    )
    detail = {"uploaded": sha256, "messages": counted.messages, "bytes": size_bytes}
    _note(tx, held, {**detail, "seconds": round(seconds, 3)})
    return locked(tx, stem)


def end_empty(tx: Transaction, stem: str, token: str, *, left_out: Mapping[str, int]) -> Submission:
    """Cancel a file without recipients, and add `left_out`, by Reason, to its run's exclusions.

    This is allowed even after an intended rename: the holder has deleted the `.tmp`, so no rename
    can happen. Raises SubmissionTaken if another try holds the claim.
    """
    held = _held_for_upload(tx, stem, token)
    for table in (message, outcome_count):
        tx.db.execute(delete(table).where(table.c.submission_id == held.id))
    tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id)
        .values(state=State.CANCELLED, messages=0, segments=0, late_out=None)
    )
    noted = select(campaign_run.c.rendered_out).where(campaign_run.c.run_key == held.run_key)
    before = tx.db.execute(noted.with_for_update()).scalar_one()
    counts = Counter(before or {}) + Counter(left_out)
    tx.db.execute(
        update(campaign_run)
        .where(campaign_run.c.run_key == held.run_key)
        .values(rendered_out=dict(counts))
    )
    tx.record(
        submission_id=held.id,
        run_key=held.run_key,
        from_state=held.state,
        to_state=State.CANCELLED,
        detail={"all_excluded": dict(left_out)},
    )
    return locked(tx, stem)


def intend_rename(tx: Transaction, stem: str, token: str) -> Submission:
    """Record that the rename comes next: after this the file can't be cancelled.

    Raises SubmissionTaken if another try holds the claim, LedgerError if the file is not uploading,
    or its upload is not recorded.
    """
    held = _held_for_upload(tx, stem, token)
    if held.uploaded_at is None:
        raise LedgerError(f"{stem} was not uploaded: it must not be renamed")
    tx.db.execute(
        update(submission)
        .where(submission.c.id == held.id)
        .values(rename_intended_at=tx.now, rename_withdrawn_at=None)
    )
    _note(tx, held, {"rename_intended": held.sha256, "messages": held.messages})
    return locked(tx, stem)


def withdraw_rename(tx: Transaction, stem: str, token: str, why: str) -> None:
    """Withdraw an intent, as no rename was requested, or it was refused.

    Changes nothing if the try does not hold the file any more.
    """
    held = locked(tx, stem)
    if held.state is not State.UPLOADING or held.claim != token or not held.may_have_left:
        return
    tx.db.execute(
        update(submission).where(submission.c.id == held.id).values(rename_withdrawn_at=tx.now)
    )
    _note(tx, held, {"rename_withdrawn": why})


def _held_for_upload(tx: Transaction, stem: str, token: str) -> Submission:
    """The submission, locked, if the try holds it. Raises LedgerError, SubmissionTaken."""
    held = locked(tx, stem)
    if held.state is not State.UPLOADING:
        raise LedgerError(f"{stem} is {held.state}, not uploading: it must not be renamed")
    if held.claim != token:
        raise SubmissionTaken(f"another try has taken {stem} over: this one stops")
    return held


def _note(tx: Transaction, held: Submission, detail: Mapping[str, Any]) -> None:
    """Record an event without a change of state."""
    tx.record(
        submission_id=held.id,
        run_key=held.run_key,
        from_state=held.state,
        to_state=held.state,
        detail=detail,
    )


def upload_pace(tx: Transaction) -> float | None:
    """Bytes per second of the slowest of the latest five uploads; None before the first.

    Small files are ignored, as they measure only latency.
    """
    detail = event.c.detail
    rows = tx.db.execute(
        select(detail["bytes"].as_float() / detail["seconds"].as_float())
        .where(detail.has_key("uploaded"), detail["bytes"].as_integer() >= TELLING_SIZE)
        .where(detail["seconds"].as_float() > 0)
        .order_by(event.c.id.desc())
        .limit(5)
    ).scalars()
    return min(rows, default=None)


TELLING_SIZE = 1 << 20  # bytes


class _Counted:
    """An iterable of message batches for the table, which counts them."""

    def __init__(self, submission_id: int, day: date, batches: Iterable[pa.RecordBatch]) -> None:
        self.messages = 0
        self.segments = 0
        self._groups: Counter[tuple[str, str | None, int]] = Counter()
        self._id = submission_id
        self._day = pa.scalar(day, pa.date32())
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.messages += batch.num_rows
            self.segments += pc.sum(batch.column("segments")).as_py() or 0
            if "variant" not in batch.schema.names:
                batch = batch.append_column("variant", pa.nulls(batch.num_rows, pa.large_string()))
            if "country" not in batch.schema.names:  # rendered by an earlier version
                country = countries(batch.column("msisdn")).cast(pa.large_string())
                batch = batch.append_column("country", country)
            batch = batch.append_column("sent_on", pa.repeat(self._day, batch.num_rows))
            self._count(batch)
            yield _by_key(batch).append_column("submission_id", pa.repeat(self._id, batch.num_rows))

    def _count(self, batch: pa.RecordBatch) -> None:
        group = ["country", "variant", "segments"]
        counts = pa.table(batch.select(group)).group_by(group).aggregate([([], "count_all")])
        for *values, number in zip(*counts.to_pydict().values(), strict=True):
            self._groups[tuple(values)] += number

    def as_missing(self) -> list[dict[str, Any]]:
        """Rows of `outcome_count` before the first report: all messages are missing."""
        return [
            {
                "submission_id": self._id,
                "country": country,
                "variant": variant,
                "segments": segments,
                "outcome": MISSING,
                "messages": number,
            }
            for (country, variant, segments), number in self._groups.items()
        ]


def _by_key(batch: pa.RecordBatch) -> pa.RecordBatch:
    ranked, foreign = idremotes.in_order(batch)
    if foreign.any():
        raise ValueError(f"{foreign.sum()} IDREMOTEs are not 32 hexadecimal digits (R16)")
    return ranked

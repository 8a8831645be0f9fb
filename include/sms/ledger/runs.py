"""Runs before their upload: planned, planned again, screened, rendered, prepared, approved."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.exc import IntegrityError

from sms import remedies
from sms.clock import PARIS
from sms.errors import CampaignRepeated, LedgerError
from sms.ledger import partitions
from sms.ledger.database import Transaction
from sms.ledger.records import KeptRun, Part, PlannedRun, Submission
from sms.ledger.states import UNCLAIMED, State
from sms.ledger.submissions import locked, move, of_run
from sms.ledger.tables import campaign_run, submission

# Less than a minute (the shortest interval of a schedule), minus a tolerance between two clocks.
AT_ONCE = timedelta(seconds=55)
SAME_HOUR = timedelta(minutes=2)  # the hours of two runs as soon as possible may differ by a minute
TWINS = 7_777_001  # the key of an advisory lock, with the campaign's as its second

RUN_COLUMNS = [campaign_run.c[field.name] for field in fields(PlannedRun)]


def get(tx: Transaction, run_key: str) -> PlannedRun:
    """A run's plan. Raises LedgerError if there is no such run."""
    return _get(tx, run_key, lock=False)


def _get(tx: Transaction, run_key: str, *, lock: bool) -> PlannedRun:
    """A run's plan; with `lock`, the run's row is locked until this transaction ends."""
    query = select(*RUN_COLUMNS).where(campaign_run.c.run_key == run_key)
    row = tx.db.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise LedgerError(f"the ledger has no run {run_key}: plan it first")
    return PlannedRun(**row._asdict())


def recent(tx: Transaction, *, since: datetime, most: int) -> list[PlannedRun]:
    """The runs planned after `since`, the newest first, at most `most`."""
    query = (
        select(*RUN_COLUMNS)
        .where(campaign_run.c.planned_at >= since)
        .order_by(campaign_run.c.planned_at.desc(), campaign_run.c.run_key)
        .limit(most)
    )
    return [PlannedRun(**row._asdict()) for row in tx.db.execute(query)]


def folders(tx: Transaction) -> list[KeptRun]:
    """The folder, the hour and the submissions' states of every run."""
    found: dict[str, KeptRun] = {}
    query = select(
        *(campaign_run.c[name] for name in ("run_key", "folder", "send_at")),
        *(submission.c[name].label(f"file_{name}") for name in ("stem", "state", "send_at")),
    ).join(submission)
    for row in tx.db.execute(query):
        before = found.get(row.run_key) or KeptRun(row.folder, row.send_at, {})
        found[row.run_key] = KeptRun(
            row.folder,
            max(before.send_at, row.file_send_at),
            {**before.stems, row.file_stem: State(row.file_state)},
        )
    return list(found.values())


def attempts(tx: Transaction, run_key: str) -> int:
    """How many times a run got an hour and a name, including cancelled ones."""
    query = select(func.count()).where(submission.c.run_key == run_key, submission.c.part == 1)
    return int(tx.db.execute(query).scalar_one())


def plan(tx: Transaction, planned: PlannedRun, stem: str) -> tuple[PlannedRun, Submission]:
    """Store a run and its first file's name; of an existing run, return what is stored.

    Raises CampaignRepeated if another run of the campaign was triggered within a minute.
    """
    if planned.asked_at and not planned.dry_run:
        _require_no_twin(tx, planned, planned.asked_at)
    new = tx.db.execute(
        insert_or(campaign_run)
        .values(**asdict(planned))
        .on_conflict_do_nothing()
        .returning(campaign_run.c.run_key)
    ).first()
    stored = _get(tx, planned.run_key, lock=True)
    if new:
        _add(tx, stored, stem, part=1, parts=1, state=State.PLANNED)
    return stored, _first(tx, planned.run_key)


def _require_no_twin(tx: Transaction, planned: PlannedRun, asked_at: datetime) -> None:
    """Raise CampaignRepeated if the campaign has a twin of this run.

    A lock for each campaign, held until the commit, makes the second of two runs find the first.
    """
    tx.db.execute(select(func.pg_advisory_xact_lock(TWINS, func.hashtext(planned.campaign))))
    twins = (
        select(campaign_run.c.run_key)
        .join(submission)
        .where(
            campaign_run.c.campaign == planned.campaign,
            campaign_run.c.run_key != planned.run_key,
            campaign_run.c.dry_run.is_(False),
            campaign_run.c.row_limit.is_not_distinct_from(planned.row_limit),
            campaign_run.c.send_at > planned.send_at - SAME_HOUR,
            campaign_run.c.send_at < planned.send_at + SAME_HOUR,
            campaign_run.c.asked_at > asked_at - AT_ONCE,
            campaign_run.c.asked_at < asked_at + AT_ONCE,
            submission.c.state.not_in((State.CANCELLED, State.REJECTED)),
        )
    )
    if twin := tx.db.execute(twins.limit(1)).scalar():
        raise CampaignRepeated(planned.campaign, twin)


def replan(tx: Transaction, planned: PlannedRun, stem: str) -> tuple[PlannedRun, Submission]:
    """Give a run another slot and name. Raises LedgerError once a try has claimed a file."""
    if planned.asked_at and not planned.dry_run:
        _require_no_twin(tx, planned, planned.asked_at)
    _get(tx, planned.run_key, lock=True)
    live = _live_unclaimed(tx, planned.run_key, "planned again")
    tx.db.execute(
        update(campaign_run)
        .where(campaign_run.c.run_key == planned.run_key)
        .values(UNFAILED | _replanned(planned))
    )
    if [one.stem for one in live] != [stem]:
        for one in live:
            move(tx, one, State.CANCELLED, detail={"planned_anew_as": stem})
        _add(tx, planned, stem, part=1, parts=1, state=State.PLANNED)
    return planned, _first(tx, planned.run_key)


def _replanned(planned: PlannedRun) -> dict[str, object]:
    """The plan's columns, without the time of screening, which stays."""
    return {name: value for name, value in asdict(planned).items() if name != "chosen_at"}


def record_screening(
    tx: Transaction,
    run_key: str,
    *,
    candidates: int,
    audience: int,
    excluded: Mapping[str, int],
    stop_list_size: int,
) -> None:
    """Record the screening's counts by Reason; a second screening replaces the first."""
    _note(
        tx,
        run_key,
        candidates=candidates,
        audience=audience,
        screened_out=dict(excluded),
        stop_list_size=stop_list_size,
        chosen_at=tx.now,
    )


def record_rendering(
    tx: Transaction, run_key: str, *, excluded: Mapping[str, int], replaced: Mapping[str, int]
) -> None:
    """Record the rendering's exclusions beside the screening's, and the replaced characters."""
    _note(tx, run_key, rendered_out=dict(excluded), replaced=dict(replaced))


def prepare(tx: Transaction, run_key: str, parts: Sequence[Part]) -> list[Submission]:
    """Set a run's files, ready to be claimed. Raises LedgerError once one was claimed."""
    numbering = [(one.part, one.parts) for one in parts]
    if not parts or numbering != [(number + 1, len(parts)) for number in range(len(parts))]:
        raise ValueError("the parts of a run are numbered 1 to n, and there is at least one")
    planned = _get(tx, run_key, lock=True)
    parts = [replace(one, send_at=one.send_at or planned.send_at) for one in parts]
    present = of_run(tx, run_key)
    if [_as_part(one) for one in present] == parts and not any(
        one.state in UNCLAIMED or one.state is State.CANCELLED for one in present
    ):
        return present  # the same files, which have left already
    live = {one.part: one for one in _live_unclaimed(tx, run_key, "prepared differently")}
    if not live:
        raise LedgerError(f"run {run_key} was cancelled: {remedies.NEW_RUN}")
    _note(tx, run_key, approved_by=None, approved_at=None)  # an approval is for the reviewed bytes
    for surplus in [one for number, one in live.items() if number > len(parts)]:
        _withdraw(tx, surplus)
    _make_way(tx, live, parts)
    for part in parts:
        _prepare_part(tx, planned, live.get(part.part), part)
        # Not at the upload: that transaction takes long, and others would wait for its lock.
        partitions.open_month(tx, (part.send_at or planned.send_at).astimezone(PARIS).date())
    return of_run(tx, run_key)


def approve(tx: Transaction, run_key: str, *, by: str, shown: str) -> None:
    """Record the approval of the files whose digest is `shown`.

    Raises LedgerError if the files have another digest. A run that is prepared again needs a new
    approval.
    """
    _get(tx, run_key, lock=True)
    if shown != prepared_digest(tx, run_key):
        raise LedgerError(f"the files of {run_key} are no longer those of the approved review")
    _note(tx, run_key, approved_by=by, approved_at=tx.now)
    tx.record(run_key=run_key, detail={"approved_by": by})


def prepared_digest(tx: Transaction, run_key: str) -> str:
    """A short digest of a run's prepared files."""
    files = "".join(f"{each.stem} {each.prepared_sha256}\n" for each in of_run(tx, run_key))
    return hashlib.sha256(files.encode()).hexdigest()[:8]


def _make_way(tx: Transaction, live: Mapping[int, Submission], parts: Sequence[Part]) -> None:
    """Free the names of files that get another name, as a part may get another part's name."""
    for part in parts:
        held = live.get(part.part)
        if held and held.stem != part.stem:
            tx.db.execute(
                update(submission)
                .where(submission.c.id == held.id)
                .values(stem=f"{held.stem} {held.id}")
            )


def _prepare_part(
    tx: Transaction, planned: PlannedRun, live: Submission | None, part: Part
) -> None:
    numbers: dict[str, int | str] = {
        "zone": part.zone,
        "messages": part.messages,
        "segments": part.segments,
        "sha256": part.sha256,
        "prepared_sha256": part.sha256,
        "size_bytes": part.size_bytes,
    }
    if live is None:
        _add(
            tx,
            planned,
            part.stem,
            part=part.part,
            parts=part.parts,
            state=State.PREPARED,
            send_at=part.send_at,
            **numbers,
        )
        return
    try:
        tx.db.execute(
            update(submission)
            .where(submission.c.id == live.id)
            .values(stem=part.stem, parts=part.parts, send_at=part.send_at, **numbers)
        )
    except IntegrityError as error:
        raise _stem_taken(part.stem) from error
    if live.state is State.PLANNED:
        move(tx, live, State.PREPARED, detail={"messages": part.messages})


def _withdraw(tx: Transaction, surplus: Submission) -> None:
    """Delete a part that the run no longer has; never claimed, its name was never used."""
    tx.db.execute(delete(submission).where(submission.c.id == surplus.id))
    tx.record(
        submission_id=surplus.id,
        run_key=surplus.run_key,
        from_state=surplus.state,
        detail={"withdrawn": surplus.stem},
    )


def _live_unclaimed(tx: Transaction, run_key: str, what: str) -> list[Submission]:
    """The live submissions, locked. Raises LedgerError if one of them was ever claimed."""
    live = [locked(tx, one.stem) for one in of_run(tx, run_key) if one.state is not State.CANCELLED]
    for one in live:
        if one.state not in UNCLAIMED:
            raise LedgerError(
                f"run {run_key} can't be {what}: {one.stem} is {one.state} already. "
                f"To send it, {remedies.NEW_RUN}"
            )
    return live


def _add(
    tx: Transaction,
    planned: PlannedRun,
    stem: str,
    *,
    part: int,
    parts: int,
    state: State,
    send_at: datetime | None = None,
    **numbers: int | str,
) -> None:
    try:
        submission_id = tx.db.execute(
            insert(submission)
            .values(
                run_key=planned.run_key,
                stem=stem,
                part=part,
                parts=parts,
                state=state,
                send_at=send_at or planned.send_at,
                **numbers,
            )
            .returning(submission.c.id)
        ).scalar_one()
    except IntegrityError as error:
        raise _stem_taken(stem) from error
    tx.record(
        submission_id=submission_id,
        run_key=planned.run_key,
        to_state=state,
        detail={"stem": stem},
    )


def _stem_taken(stem: str) -> LedgerError:
    return LedgerError(
        f"the name {stem} belongs to another file, and a name is never used twice: choose another "
        f"slot, or {remedies.NEW_RUN}"
    )


def _first(tx: Transaction, run_key: str) -> Submission:
    """The latest submission of part 1."""
    return [one for one in of_run(tx, run_key) if one.part == 1][-1]


def _as_part(one: Submission) -> Part:
    return Part(
        stem=one.stem,
        part=one.part,
        parts=one.parts,
        send_at=one.send_at,
        zone=one.zone,
        messages=one.messages or 0,
        segments=one.segments or 0,
        sha256=one.sha256 or "",
        size_bytes=one.size_bytes or 0,
    )


def record_failure(tx: Transaction, run_key: str, *, task: str, why: str) -> None:
    """Record that a task of a run failed for good; a later task of the run clears it.

    `why` is a sentence without phone numbers or texts. Does nothing if the run is not planned yet.
    """
    failed = {"failed_at": tx.now, "failed_task": task, "failed_why": why}
    tx.db.execute(update(campaign_run).where(campaign_run.c.run_key == run_key).values(**failed))


UNFAILED = {"failed_at": None, "failed_task": None, "failed_why": None}


def _note(tx: Transaction, run_key: str, **columns: object) -> None:
    noted = tx.db.execute(
        update(campaign_run).where(campaign_run.c.run_key == run_key).values(UNFAILED | columns)
    )
    if noted.rowcount != 1:
        raise LedgerError(f"the ledger has no run {run_key}: plan it first")

"""The way out, told in stages: plan, extract, screen, render, review, and what submit needs.

Each stage reads what the one before left in the run's folder, writes its own numbered file, and
puts its counts into the ledger; between them travel a path and a few numbers. A stage may be run
again until the first file of the run is on its way; from then on every stage leaves everything as
it is, so that what was sent stays on record.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, ValidationError

from sms import frames, limits, preparing, reviewing, send_window, stop_mentions, storage
from sms.campaign import Campaign, campaign_id
from sms.clock import PARIS
from sms.delivery import Cap, fingerprint, next_files, report_due
from sms.errors import (
    SUPPORT,
    ConfigurationError,
    LedgerError,
    LimitTripped,
    NotApproved,
    SourceError,
    StopListUnsafe,
    StorageFailed,
    WindowClosed,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import Part, PlannedRun, Submission, Summary
from sms.ledger.states import SENT, State
from sms.message import DELIMITER, VARIANT, WAY, DelimiterInText
from sms.places import Geography
from sms.preparing import Plan
from sms.recipients import EXCLUDED_SCHEMA, Reason
from sms.samples import EachWay, FirstOfEach, rows_at
from sms.schedule import Schedule, hour_there, schedule
from sms.send_window import Sending
from sms.settings import Settings
from sms.source_faults import SourceFault, SourceFaults
from sms.variants import histograms
from sms.wire import inspection, send_file
from sms.words import count, duration
from sms.zones import zone

log = logging.getLogger(__name__)

Kept = TypeVar("Kept", bound=BaseModel)

PLAN = "00_plan.json"
CANDIDATES = "01_candidates.parquet"
AUDIENCE = "02_audience.parquet"
EXCLUDED = "02_excluded.parquet"
SCHEDULE = "02_schedule.json"
REFUSAL = "02_refusal.txt"
UNRENDERED = "03_excluded.parquet"
SUSPECTS = "03_suspects.json"
RENDERED = "03_rendered.json"
REVIEW = "04_review.md"
PROOF = "proof"  # the folder, and what a proof's run is called by in the ledger

# What a run may take to start: until then its campaign's hour still means today's.
STARTING = timedelta(minutes=5)

SAMPLES = 5
SAMPLE_COLUMNS = ["msisdn", "msg", "segments"]


class Request(BaseModel):
    """What the one who triggers a run asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    send_at: datetime | None = None  # or, in Paris time,
    day: date | None = None
    hour: str | None = None  # "HH:MM"
    dry_run: bool = False
    limit: int | None = None


class Rendered(BaseModel):
    """By what a run's files were made: what they are judged by until they have left."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    encoding: str
    delimiter_in_text: DelimiterInText


def read_plan(folder: Any) -> Plan:
    """The plan that the first stage left in the run's folder."""
    return _read(folder / PLAN, Plan)


def read_schedule(folder: Any) -> Schedule:
    """The files and hours that the screening left in the run's folder."""
    return _read(folder / SCHEDULE, Schedule)


def _read(path: Any, model: type[Kept]) -> Kept:
    """What a stage left in the run's folder. LedgerError where it can't be read, without it."""
    try:
        return model.model_validate_json(storage.read_text(path))
    except ValidationError as error:
        raise LedgerError(
            f"{path} can't be read ({error.error_count()} faults): it was cut short, or is of "
            "another version. Remove it and clear the task plan with what is downstream of it, or "
            "trigger a new run"
        ) from None  # its message would quote numbers


def write_schedule(dealt: Schedule, plan: Plan, folder: Any) -> None:
    """Leave the files and their hours in the run's folder, and whose they are."""
    whose = dealt.model_copy(update={"campaign_id": plan.campaign_id})
    storage.write_text(folder / SCHEDULE, whose.model_dump_json(indent=1))


def is_under_way(run_key: str, ledger: Ledger) -> bool:
    """Whether a file of this run has been claimed for upload: nothing is made again then."""
    before = (State.PLANNED, State.PREPARED, State.CANCELLED)
    return any(each.state not in before for each in ledger.submissions(run_key))


def plan(
    campaign: Campaign,
    request: Request,
    *,
    run_key: str,
    service_id: str,
    folder: Any,
    ledger: Ledger,
    settings: Settings,
    now: datetime,
    asked_at: datetime | None = None,
) -> Plan:
    """Fix hour and name in the ledger. Planned again, a run keeps both while its hour is ahead.

    `asked_at` is when the run was to start: a run that starts late must not take the hour of the
    next one, and one that starts after its day is over must not send. Raises WindowClosed, and
    CampaignRepeated for the second of two runs that were asked for at once.
    """
    if is_under_way(run_key, ledger):
        log.info("%s is under way already: nothing of it is made again", run_key)
        return read_plan(folder)
    known = ledger.submissions(run_key)
    kept = _kept_plan(folder, [each for each in known if each.state is not State.CANCELLED])
    if kept and _is_ahead(kept, folder, now, settings):
        # The hour and the name stay; what the campaign says may have been corrected meanwhile.
        wishes = {"dry_run": request.dry_run, "limit": request.limit, "campaign": campaign}
        return write_plan(kept.model_copy(update=wishes), folder)
    wanted = _wanted(campaign, request, after=(asked_at or now) - STARTING)
    if wanted is None:
        send_window.require_recent(asked_at or now, now=now, settings=settings)
    slot = send_window.slot(
        wanted,
        campaign.kind,
        now=now,
        settings=settings,
        outside_window=campaign.outside_window,
    )
    drawn = Plan(
        run_key=run_key,
        campaign=campaign,
        campaign_id=campaign_id(campaign.name, run_key, ledger.attempts(run_key) + 1),
        service_id=service_id,
        send_at=slot.send_at,
        slot_reason=slot.reason,
        at_once=wanted is None,
        dry_run=request.dry_run,
        limit=request.limit,
        planned_at=now,
    )
    record_plan(drawn, folder, ledger, asked_at)
    return write_plan(drawn, folder)


def record_plan(drawn: Plan, folder: Any, ledger: Ledger, asked_at: datetime | None = None) -> None:
    """Fix a plan's hour and name in the ledger; a run that is known is planned anew."""
    run = PlannedRun(
        run_key=drawn.run_key,
        campaign=drawn.campaign.name,
        kind=drawn.campaign.kind,
        service_id=drawn.service_id,
        send_at=drawn.send_at,
        slot_reason=drawn.slot_reason,
        dry_run=drawn.dry_run,
        planned_at=drawn.planned_at,
        folder=str(folder),
        asked_at=asked_at,
        row_limit=drawn.limit,
    )
    known = ledger.submissions(drawn.run_key)
    (ledger.replan if known else ledger.plan)(run, drawn.stem(1, 1))


def _wanted(campaign: Campaign, request: Request, *, after: datetime) -> datetime | None:
    """When a run is to go out, None for as soon as allowed; an hour alone is the first one `after`.

    ConfigurationError for a request that tells that twice, or half of it.
    """
    hour = request.hour or campaign.send_at
    if request.send_at:
        if request.day or request.hour:
            raise ConfigurationError(
                "send_at tells the day and the hour already: leave it out, or leave out day and "
                "hour. Nothing was sent, trigger a new run"
            )
        return request.send_at
    if request.day and not hour:
        raise ConfigurationError(
            f"the day {request.day} is asked for without an hour, and the campaign "
            f"{campaign.name} has none of its own: nothing was sent, trigger a new run with an "
            "hour, or without a day to send as soon as allowed"
        )
    if request.day and hour:
        return send_window.at(request.day, hour)
    return send_window.first_at(hour, after=after) if hour else None


def _is_ahead(kept: Plan, folder: Any, now: datetime, settings: Settings) -> bool:
    """Whether a plan's hours, or the first of them, can still be kept."""
    begins = kept.send_at
    if storage.exists(folder / SCHEDULE):
        begins = read_schedule(folder).begins or begins
    if kept.at_once and begins.astimezone(PARIS).date() == now.astimezone(PARIS).date():
        return True
    return begins >= now - settings.max_late


def _kept_plan(folder: Any, live: Sequence[Submission]) -> Plan | None:
    """The plan in the folder, if it is the one that the ledger knows."""
    if not live or not storage.exists(folder / PLAN):
        return None
    kept = read_plan(folder)
    # A file's own id is the plan's, or begins with it where it is one of several.
    return kept if live[0].campaign_id.startswith(kept.campaign_id) else None


def write_plan(plan: Plan, folder: Any) -> Plan:
    """Leave the plan in the run's folder, for the later stages."""
    storage.make_folder(folder)
    storage.write_text(folder / PLAN, plan.model_dump_json(indent=1))
    return plan


def extract(rows: Iterable[pa.RecordBatch], folder: Any) -> int:
    """Write the query's rows down as they came; how many there are."""
    return frames.write(folder / CANDIDATES, rows)


def screen(plan: Plan, folder: Any, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Split the candidates into those we write to, each in a file, and those we don't, and why.

    Raises WindowClosed as `schedule` does.
    """
    campaign = plan.campaign
    stop_list_size = require_stop_list(ledger, settings)
    text = preparing.template(campaign)
    if text.slow_because:
        log.warning("%s, %s", campaign.text_path, text.slow_because)
    screener = preparing.screener(campaign, text, unicode=settings.unicode)
    candidates = folder / CANDIDATES
    looked_at = screener.among(frames.columns(candidates))
    survey = screener.survey(
        frames.batches(candidates, looked_at),
        ledger.opted_out,
        plan.limit,
        _spared(plan, ledger),
    )
    survey = preparing.typed(text, survey)
    for name, noun in survey.read_as.items():
        log.info("The column %s is read as %s, as all its values are", name, noun)
    for note in text.notes:
        log.warning("%s, line %s: %s", campaign.text_path, note.line, note.problem)
    dealt = _dealt(plan, survey.people, folder, settings)
    survey = survey.dealt([(each.zone, each.people) for each in dealt.files])
    write_schedule(dealt, plan, folder)
    with (
        frames.writing(folder / AUDIENCE, screener.audience_schema(survey.kinds)) as kept,
        frames.writing(folder / EXCLUDED, EXCLUDED_SCHEMA) as left_out,
    ):
        for screening in survey.split(frames.batches(candidates, looked_at)):
            kept.write(screening.audience)
            left_out.write(screening.excluded)
    ledger.record_screening(
        plan.run_key,
        candidates=survey.candidates,
        audience=survey.audience,
        excluded=survey.reasons,
        stop_list_size=stop_list_size,
    )
    if not survey.audience:
        if campaign.on_empty == "fail":
            raise SourceError(preparing.nobody_passed(campaign.sql_path, survey))
        # Nobody is not to be skipped in silence where that is no chance but a broken source.
        nobody = limits.Run(survey.candidates, 0, survey.reasons, {})
        limits.require(campaign, nobody, limits.Cost.of({}, {}, settings.currency))
    return {"candidates": survey.candidates, "audience": survey.audience, **survey.reasons}


def _dealt(plan: Plan, people: Mapping[str, int], folder: Any, settings: Settings) -> Schedule:
    """The run's files; of a dry run that couldn't go out as it could, which its review tells."""

    def dealt(campaign: Campaign) -> Schedule:
        hour, why, now = plan.send_at, plan.slot_reason, plan.planned_at
        return schedule(campaign, hour, why, people, now=now, settings=settings)

    storage.write_text(folder / REFUSAL, "")
    try:
        return dealt(plan.campaign)
    except WindowClosed as error:
        if not plan.dry_run:
            raise
        storage.write_text(folder / REFUSAL, str(error))
    lenient = {"tail": "split", "outside_window": "shift"}
    return dealt(plan.campaign.model_copy(update=lenient))


def cap_of(plan: Plan, ledger: Ledger, files: Sequence[Submission], now: datetime) -> Cap | None:
    """Who has been written to as often as the campaign allows, when the next of its files go."""
    begins = min((each.send_at for each in next_files(files)), default=plan.send_at)
    return _cap(plan, ledger, max(now, begins))


def _cap(plan: Plan, ledger: Ledger, send_at: datetime) -> Cap | None:
    """Who has been written to as often as the campaign allows by then, if it says how often."""
    if not plan.campaign.at_most:
        return None
    times, days = plan.campaign.at_most
    reached = partial(
        ledger.written_to,
        kind=plan.campaign.kind,
        times=times,
        since=send_at - timedelta(days=days),
        but=plan.run_key,
    )
    return Cap(str(Reason.AT_MOST), reached)


def _spared(
    plan: Plan, ledger: Ledger
) -> dict[Reason, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]]:
    """Whom the campaign leaves alone, by what the ledger knows of earlier runs."""
    spared: dict[Reason, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]] = {}
    # Nobody's hour is known yet, and with `local_time` some may be earlier than the run's.
    zones = Geography.of(plan.campaign).zones if plan.campaign.local_time else ()
    earliest = min([plan.send_at, *(hour_there(plan.send_at, each) for each in zones)])
    if cap := _cap(plan, ledger, max(earliest, plan.planned_at)):
        spared[Reason.AT_MOST] = cap.reached
    if times := plan.campaign.suppress_after_failures:
        spared[Reason.FAILING_NUMBER] = partial(ledger.failing, times=times)
    return spared


def render(plan: Plan, folder: Any, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Write everyone's text and the exact bytes of each file; the ledger's `prepared`."""
    campaign = plan.campaign
    dealt = read_schedule(folder)
    if dealt.campaign_id != plan.campaign_id:
        raise LedgerError(
            f"{plan.run_key} was planned anew since its people were screened: clear the task "
            "screen with what is downstream of it"
        )
    writer = preparing.Writer(plan, settings, dealt)
    tally = preparing.Tally()
    messages_schema = preparing.messages_schema(campaign)
    made: dict[str, send_file.Written] = {}

    @contextmanager
    def opening(stem: str) -> Iterator[tuple[frames.Writer, send_file.Output]]:
        with (
            frames.writing(messages_file(folder, stem), messages_schema) as kept,
            storage.writing(bytes_file(folder, stem)) as out,
        ):
            output = send_file.Output(out)
            yield kept, output
            made[stem] = output.written

    with (
        frames.writing(folder / UNRENDERED, EXCLUDED_SCHEMA) as left_out,
        preparing.Outputs(writer, opening) as outputs,
    ):
        for piece in preparing.rendered(writer, frames.batches(folder / AUDIENCE)):
            kept, output = outputs.of(piece.stem)
            kept.write(piece.rendering.messages)
            left_out.write(piece.rendering.excluded)
            output.add(piece.block)
            tally.add(piece.rendering)
    written = [(stem, made[stem]) for stem in writer.stems if stem in made and made[stem].rows]
    ledger.record_rendering(plan.run_key, excluded=tally.reasons, replaced=tally.replaced)
    storage.write_text(folder / SUSPECTS, json.dumps(tally.suspects))
    rendered = Rendered(
        plan=plan, encoding=settings.encoding, delimiter_in_text=settings.delimiter_in_text
    )
    storage.write_text(folder / RENDERED, rendered.model_dump_json(indent=1))
    if not written:
        if campaign.on_empty == "fail":
            audience = frames.rows(folder / AUDIENCE)
            raise SourceError(preparing.nothing_to_send(campaign.text_path, audience, tally))
        return {"messages": 0, "segments": 0, **tally.reasons}
    ledger.prepare(
        plan.run_key,
        [
            Part(
                stem=stem,
                part=number,
                parts=len(written),
                send_at=writer.files[stem].send_at,
                zone=writer.files[stem].zone,
                messages=each.rows,
                segments=each.segments,
                sha256=each.sha256,
                size_bytes=each.size_bytes,
            )
            for number, (stem, each) in enumerate(written, start=1)
        ],
    )
    return {
        "messages": sum(each.rows for _, each in written),
        "segments": sum(each.segments for _, each in written),
        **tally.reasons,
    }


def review(
    plan: Plan,
    folder: Any,
    ledger: Ledger,
    settings: Settings,
    balance: limits.Balance = limits.UNASKED,
) -> str:
    """Judge the very bytes by the provider's rules, and write the report that a person reads.

    Raises, when that is written, LimitTripped for a run that breaks a limit of its campaign, and
    WindowClosed for one that would not be done by closing time. A dry run only tells it.
    """
    files = require_faultless(plan, folder, ledger, settings)
    summary = ledger.summary(plan.run_key)
    histogram = _histogram(folder, files)
    due = max(report_due(each.send_at, each.messages or 0, each.segments or 0) for each in files)
    run = limits.Run(
        candidates=summary.candidates,
        audience=summary.audience,
        excluded=summary.excluded,
        segments=_segments_by_country(plan, folder, files),
        earlier=tuple(ledger.latest_sent(plan.campaign.name, but=plan.run_key).values()),
    )
    cost = limits.Cost.of(run.segments, settings.prices, settings.currency)
    counts = reviewing.counts_page(
        plan.campaign.name,
        summary,
        files,
        histogram,
        due,
        cost=cost,
        balance=balance,
        ends=send_window.ends(_sendings(files), settings),
        reasons=_reasons(plan, folder),
        earlier=run.earlier,
        faults=_source_faults(folder),
        beside=_beside(plan, folder, ledger, settings, summary, run, cost),
        variants=_by_variant(plan, folder, files),
    )
    try:
        if refusal := _refusal(folder):
            raise WindowClosed(refusal)
        limits.require(plan.campaign, run, cost, balance)
        send_window.require_no_tail(
            _sendings(files), plan.campaign.kind, settings=settings, advice=_advice(plan)
        )
    except (LimitTripped, WindowClosed) as error:
        counts = reviewing.refused(counts, str(error))
        if not plan.dry_run:
            raise
    finally:
        storage.write_text(
            folder / REVIEW, reviewing.with_samples(counts, *_samples(plan, folder, files))
        )
    return counts


def require_faultless(
    plan: Plan, folder: Any, ledger: Ledger, settings: Settings
) -> list[Submission]:
    """The run's files, their very bytes judged by the provider's rules. Raises SourceError."""
    files = ledger.submissions(plan.run_key)
    for each in files:
        with storage.opened(bytes_file(folder, each.stem), "rb") as source:
            preparing.require_faultless(source, each.stem, settings)
    return files


def call_off(plan: Plan, ledger: Ledger, why: str) -> None:
    """End a run that sends nothing; planned again, it gets a new name."""
    for each in ledger.submissions(plan.run_key):
        ledger.move(each.stem, to=State.CANCELLED, detail={"why": why})


def require_sendable(
    submission: Submission, plan: Plan, ledger: Ledger, settings: Settings, now: datetime
) -> None:
    """Refuse a send in a closed or missed hour, without its yes, or without a safe stop list.

    Once a run has begun, a file whose hour has passed goes at once, if it is open: what is left of
    a run can't be sent otherwise without writing to some a second time.
    """
    files = ledger.submissions(submission.run_key)
    begun = any(each.state in SENT for each in files)
    again = LEFT_OF_A_RUN if begun else send_window.AGAIN
    send_window.require_open(
        submission.send_at,
        plan.campaign.kind,
        now=now,
        settings=settings,
        send_now=plan.at_once or begun,
        zone=zone(submission.zone),
        again=again,
    )
    # Of the whole run: one file must not leave for another to be late.
    send_window.require_no_tail(
        _sendings(files, now), plan.campaign.kind, settings=settings, advice=_advice(plan)
    )
    run = ledger.run(submission.run_key)
    require_proved(plan, ledger)
    if run.approved_at is None and needs_approval(plan, ledger):
        raise NotApproved(
            f"{submission.stem} has not been approved as it is prepared now: clear the task "
            "approve with what is downstream of it"
        )
    chosen_at = run.chosen_at or run.planned_at
    if now - max(submission.send_at, chosen_at) > settings.max_age:
        raise WindowClosed(
            f"the people of {submission.stem} were chosen more than "
            f"{duration(settings.max_age)} ago, and some may have refused since: {again}"
        )
    require_stop_list(ledger, settings)


# What to do about the rest of a run whose first files have left.
LEFT_OF_A_RUN = (
    "some of its run have been written to: a new run, whose query leaves out whoever is in "
    "sms.delivery, may go on"
)


def _advice(plan: Plan) -> str:
    """What to do about a run that takes too long."""
    if plan.campaign.tail == "split":
        return "send earlier, to fewer, or say yes sooner"
    return "send earlier or to fewer, or write `tail: split`"


def proof_keys(plan: Plan, ledger: Ledger) -> dict[str, str]:
    """The runs that prove what is prepared now, by variant; none without `proof_to`."""
    if plan.dry_run or not plan.campaign.proof_to:
        return {}
    key = f"{plan.run_key}/{PROOF}-{ledger.prepared_digest(plan.run_key)}"
    return {name: f"{key}-{name}" if name else key for name in plan.campaign.texts}


def require_proved(plan: Plan, ledger: Ledger) -> list[Submission]:
    """The proofs of what is prepared now; NotApproved unless each has left."""
    proofs = [
        each
        for run_key in proof_keys(plan, ledger).values()
        for each in ledger.submissions(run_key)
    ]
    variants = len(proof_keys(plan, ledger))
    if len(proofs) < variants or any(each.state not in SENT for each in proofs):
        raise NotApproved(
            "the proof of what is prepared now has not left, so nobody can have seen it: clear the "
            "tasks prove and send_proof with what is downstream of them"
        )
    return proofs


def needs_approval(plan: Plan, ledger: Ledger) -> bool:
    """Whether the campaign wants a person to say yes to this run: always after a proof."""
    if plan.campaign.proof_to:
        return True
    least = plan.campaign.approval
    if not least:
        return False
    return sum(each.messages or 0 for each in ledger.submissions(plan.run_key)) >= least


def answer_by(
    plan: Plan,
    files: Sequence[Submission],
    settings: Settings,
    now: datetime,
    proofs: Sequence[Submission] = (),
) -> datetime:
    """Until when a person may say yes: not for ever, and not beyond the run's first hour.

    The time for it begins when the proofs ring.
    """
    latest = max([now, *(each.send_at for each in proofs)]) + settings.approval_timeout
    begins = min(each.send_at for each in files)
    return latest if plan.at_once else min(latest, begins + settings.max_late)


SLOWEST_PACE = 1e6  # bytes a second: a slow line, taken for ours until an upload was measured
MARGIN = 2  # times as slow as the latest uploads may the next one be


def upload_at(files: Sequence[Submission], settings: Settings, pace: float | None) -> datetime:
    """When the next of a run's files should go up: as late as is safe before their hour.

    `pace` is what the latest uploads went at, in bytes a second.
    """
    first = next_files(files)
    begins = min(each.send_at for each in first)
    if late := _lateness(files, settings):
        return begins + late  # in the past by its name, it goes out as soon as it is up
    size = sum(each.size_bytes or 0 for each in first)
    takes = timedelta(seconds=MARGIN * size / (pace or SLOWEST_PACE))
    return begins - settings.upload_lead - takes


def _lateness(files: Sequence[Submission], settings: Settings) -> timedelta:
    """By how much a run began late, whose steps must be as far apart as they were planned."""
    gone = [each for each in files if each.state in SENT and each.submitted_at]
    late = [each.submitted_at - each.send_at for each in gone if each.submitted_at]
    return max(late) if late and min(late) > settings.max_late else timedelta(0)


def likely_causes(folder: Any, submission: Submission, settings: Settings) -> tuple[str, ...]:
    """Why the gateway may have rejected a file, which it doesn't say: what the bytes show."""
    with storage.opened(bytes_file(folder, submission.stem), "rb") as source:
        faults = inspection.check(source, preparing.dialect(settings), preparing.rules(settings))
    found = [f"line {fault.line}: {fault.sentence}" for fault in faults[:3]]
    quoted = sum(
        pc.sum(pc.match_substring_regex(batch["msg"], DELIMITER.pattern), min_count=0).as_py()
        for batch in frames.batches(messages_file(folder, submission.stem), ["msg"])
    )
    if quoted:
        found.append(
            f"{count(quoted, 'text')} in quotes, for a semicolon, a quote or a line break: "
            "if the provider reads quotes otherwise, set delimiter_in_text: replace"
        )
    if settings.encoding != "utf-8":
        found.append(f"the file is in {settings.encoding}: is that what you agreed on?")
    if (submission.segments or 0) > (submission.messages or 0):
        found.append("some texts take several SMS: is that switched on for your account?")
    if settings.unicode:
        found.append("texts may hold Unicode: is that switched on for your account?")
    if not faults:
        found.append(f"our own check finds no fault in it, so ask {SUPPORT}")
    return tuple(found)


def require_stop_list(ledger: Ledger, settings: Settings) -> int:
    """The stop list's size; StopListUnsafe where it may have lost somebody."""
    size = ledger.require_safe_stop_list()
    if size < settings.stop_list_minimum:
        raise StopListUnsafe(
            f"the stop list has {count(size, 'number')}, fewer than the setting stop_list_minimum "
            f"({settings.stop_list_minimum:,}): is this the right ledger? Nothing is "
            "sent until it is"
        )
    return size


class PreparedPart:
    """One file of a run as `delivery.submit` takes it; can leave out whoever said STOP since."""

    def __init__(self, folder: Any, submission: Submission, settings: Settings) -> None:
        self._stem = submission.stem
        self._rows = messages_file(folder, submission.stem)
        self._bytes = bytes_file(folder, submission.stem)
        rendered = _read(folder / RENDERED, Rendered)
        self._dialect = send_file.Dialect(rendered.encoding, rendered.delimiter_in_text)
        self._is_planned_so = rendered.plan == read_plan(folder)
        self._left_out = np.empty(0, np.int64)
        self._reasons: Counter[str] = Counter()

    def msisdns(self) -> npt.NDArray[np.int64]:
        """Everyone who is still in the file."""
        columns = [batch.column(0) for batch in self._batches(["msisdn"])]
        numbers: npt.NDArray[np.int64] = pa.chunked_array(columns, pa.int64()).to_numpy()
        return numbers

    def messages(self) -> Iterator[pa.RecordBatch]:
        """The rows of the file: idremote, msisdn, oadc, msg, segments, key, variant if any."""
        return self._batches()

    def path(self) -> Any:
        """The exact bytes.

        Of a file that lacks somebody, under a name that these people decide: two tries that leave
        out different people never write into one file.
        """
        if not len(self._left_out):
            return self._bytes
        whom = hashlib.sha256(self._left_out.tobytes()).hexdigest()[:8]
        return self._bytes.with_name(f"06_{self._stem}.{whom}.csv")

    def require_prepared(self, sha256: str) -> None:
        """LedgerError unless rows and bytes are those prepared, but for whoever is left out."""
        with open(os.devnull, "wb") as nowhere:
            rows = send_file.write(frames.batches(self._rows), nowhere, self._dialect).sha256
        if not self._is_planned_so:
            raise LedgerError(
                f"{self._bytes} was made by another plan than the run has now: clear the task "
                "render with what is downstream of it"
            )
        if rows == sha256 and not len(self._left_out) and not self._holds(sha256):
            self._write()
        if rows != sha256:
            raise LedgerError(
                f"{self._bytes} is not what was prepared and reviewed: somebody has rendered it "
                "anew, or begun to. Clear the task plan with what is downstream of it"
            )

    def leave_out(self, msisdns: npt.NDArray[np.int64], reason: str) -> None:
        """Write the file anew without these numbers."""
        before = len(self._left_out)
        self._left_out = np.union1d(self._left_out, msisdns)
        self._reasons[reason] += len(self._left_out) - before
        self._write()

    def late_out(self) -> dict[str, int]:
        """How many were left out since the file was first written, by Reason."""
        return dict(self._reasons)

    def _holds(self, sha256: str) -> bool:
        return storage.exists(self._bytes) and fingerprint(self._bytes)["sha256"] == sha256

    def _write(self) -> None:
        with storage.replacing(self.path()) as out:
            send_file.write(self._batches(), out, self._dialect)

    def _batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        left_out = pa.array(self._left_out, pa.int64())
        for batch in frames.batches(self._rows, columns):
            stays = pc.invert(pc.is_in(batch.column("msisdn"), value_set=left_out))
            yield batch.filter(stays)


def messages_file(folder: Any, stem: str) -> Any:
    """Where the rows of a file are kept."""
    return folder / f"03_messages-{stem}.parquet"


def bytes_file(folder: Any, stem: str) -> Any:
    """Where the exact bytes of a file are kept."""
    return folder / f"05_{stem}.csv"


def _histogram(folder: Any, files: Sequence[Submission]) -> dict[int, int]:
    """How many messages have how many segments."""
    histogram: Counter[int] = Counter()
    for each in files:
        for batch in frames.batches(messages_file(folder, each.stem), ["segments"]):
            histogram.update(preparing.histogram(batch["segments"]))
    return dict(sorted(histogram.items()))


def _by_variant(plan: Plan, folder: Any, files: Sequence[Submission]) -> dict[str, Counter[int]]:
    """How many messages of each variant have how many segments, in the campaign's order."""
    counts: dict[str, Counter[int]] = {name: Counter() for name in plan.campaign.variants}
    for each in files if counts else ():
        for batch in frames.batches(messages_file(folder, each.stem), ["variant", "segments"]):
            for name, told in histograms(batch["variant"], batch["segments"]).items():
                counts[name].update(told)
    return counts


def _samples(
    plan: Plan, folder: Any, files: Sequence[Submission]
) -> tuple[list[reviewing.Sample], list[str]]:
    """The first few messages of each variant, and one for each way through its text.

    Numbers are masked. Also what is to be said of conditions that nobody meets.
    """
    variants, paths = plan.campaign.variants, [messages_file(folder, each.stem) for each in files]
    columns = [*SAMPLE_COLUMNS, VARIANT.name] if variants else SAMPLE_COLUMNS
    first = FirstOfEach(-(-SAMPLES // max(len(variants), 1)), variants)
    for batch in (batch for path in paths for batch in frames.batches(path, columns)):
        first.look_at(batch)
        if first.complete:
            break
    ways, others = EachWay(), list[pa.RecordBatch]()
    for path in paths:
        if WAY.name in frames.columns(path):
            narrow = [VARIANT.name, WAY.name] if variants else [WAY.name]
            found = [
                before + row
                for before, batch in frames.placed(frames.batches(path, narrow))
                for row in ways.fresh(batch)
            ]
            others += rows_at(frames.batches(path, columns), found)
    shown = reviewing.samples(first.found)
    return [*shown, *(each for each in reviewing.samples(others) if each not in shown)], [
        f"{Path(text.path).name}, {told}"
        for name, text in preparing.texts(plan.campaign).items()
        for told in ways.unmet(text.conditions, name)
    ]


def _sendings(files: Sequence[Submission], now: datetime | None = None) -> list[Sending]:
    """What goes out when: as planned, or as it has gone and, from `now` on, still can."""
    return [
        Sending(
            max(each.send_at, each.submitted_at or now or each.send_at),
            each.messages or 0,
            zone(each.zone),
            gone=each.state in SENT,
        )
        for each in files
    ]


def _refusal(folder: Any) -> str:
    """Why the files of a dry run could not go out when they should, if they couldn't."""
    return storage.read_text(folder / REFUSAL) if storage.exists(folder / REFUSAL) else ""


def _reasons(plan: Plan, folder: Any) -> dict[str, str]:
    """Why each file goes out when it does, by stem."""
    dealt = read_schedule(folder)
    return {stem: each.reason for stem, each in zip(plan.stems(dealt), dealt.files, strict=True)}


def _segments_by_country(plan: Plan, folder: Any, files: Sequence[Submission]) -> dict[str, int]:
    """How many SMS go to each country."""
    if len(plan.campaign.allowed_countries) == 1:
        return {plan.campaign.allowed_countries[0]: sum(each.segments or 0 for each in files)}
    people = frames.batches(folder / AUDIENCE, ["msisdn", "country"])
    table = pa.Table.from_batches(people).to_pandas()
    country = pd.Series(table["country"].to_numpy(), index=table["msisdn"])
    counts: Counter[str] = Counter()
    for each in files:
        for batch in frames.batches(messages_file(folder, each.stem), ["msisdn", "segments"]):
            where = country.reindex(batch["msisdn"].to_numpy())
            by_country = pd.Series(batch["segments"].to_numpy()).groupby(where.to_numpy()).sum()
            counts.update({str(key): int(size) for key, size in by_country.items()})
    return dict(counts)


def _beside(
    plan: Plan,
    folder: Any,
    ledger: Ledger,
    settings: Settings,
    summary: Summary,
    run: limits.Run,
    cost: limits.Cost,
) -> list[str]:
    """What there is beside this run: its campaign's limits, and its campaign's other runs."""
    name = plan.campaign.name
    warning = stop_mentions.unreached(plan.campaign, run.segments)
    told = [f"- **Stop mention:** {warning}"] if warning else []
    told += reviewing.limits_section(limits.standing(plan.campaign, run, cost))
    for last in ledger.latest_sent(name, but=plan.run_key, most=1):
        before = _before(plan, folder, ledger.summary(last), settings)
        told += reviewing.changes_section(summary, sum(run.segments.values()), cost, before)
    others = ledger.open_runs(name, but=plan.run_key, within=settings.max_age)
    return told + reviewing.open_runs_section(others)


def _before(plan: Plan, folder: Any, last: Summary, settings: Settings) -> reviewing.Before:
    """The run that sent last; its text and query are in its folder, for as long as that is kept."""
    prices = {settings.prices.get(country) for country in plan.campaign.allowed_countries}
    [price] = prices if len(prices) == 1 else [None]  # nobody noted which SMS went to which country
    cost = None if price is None else price * last.segments
    try:
        then = read_plan(folder.parent / last.run.folder.rstrip("/").rpartition("/")[2]).campaign
    except (StorageFailed, ValueError):  # gone, or of another version of ours
        return reviewing.Before(last, cost, None, None)
    now = plan.campaign
    return reviewing.Before(last, cost, then.text != now.text, then.sql != now.sql)


def _source_faults(folder: Any) -> list[SourceFault]:
    """What was wrong with the source, with the first rows of each fault."""
    faults = SourceFaults()
    for left_out in (EXCLUDED, UNRENDERED):
        for batch in frames.batches(folder / left_out, ["row", "reason", "detail"]):
            faults.add(batch)
    faults.add_suspects(json.loads(storage.read_text(folder / SUSPECTS)))
    return faults.found()

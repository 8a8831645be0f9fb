"""The way out, told in stages: plan, extract, screen, render, review, and what submit needs.

Each stage reads what the one before left in the run's folder, writes its own numbered file, and
puts its counts into the ledger; between them travel a path and a few numbers. A stage may be run
again until the first file of the run is on its way; from then on every stage leaves everything as
it is, so that what was sent stays on record.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from sms import frames, limits, preparing, reviewing, send_window
from sms.campaign import Campaign, campaign_id
from sms.delivery import fingerprint, report_due
from sms.errors import (
    SUPPORT,
    LedgerError,
    LimitTripped,
    NotApproved,
    SourceError,
    StopListUnsafe,
    WindowClosed,
)
from sms.ledger.ledger import Ledger
from sms.ledger.records import Part, PlannedRun, Submission
from sms.ledger.states import State
from sms.message import DELIMITER, MESSAGES_SCHEMA
from sms.preparing import Plan
from sms.recipients import EXCLUDED_SCHEMA, Reason
from sms.settings import Settings
from sms.source_faults import SourceFault, SourceFaults
from sms.wire import inspection, send_file

log = logging.getLogger(__name__)

PLAN = "00_plan.json"
CANDIDATES = "01_candidates.parquet"
AUDIENCE = "02_audience.parquet"
EXCLUDED = "02_excluded.parquet"
UNRENDERED = "03_excluded.parquet"
MOJIBAKE = "03_mojibake.json"
REVIEW = "04_review.md"

# What a run may take to start: until then its campaign's hour still means today's.
STARTING = timedelta(minutes=5)

SAMPLES = 5
SAMPLE_COLUMNS = ["msisdn", "msg", "segments"]


class Request(BaseModel):
    """What the one who triggers a run asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    send_at: datetime | None = None
    dry_run: bool = False
    limit: int | None = None


def read_plan(folder: Any) -> Plan:
    """The plan that the first stage left in the run's folder."""
    return Plan.model_validate_json((folder / PLAN).read_text())


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
    if kept and (kept.at_once or kept.send_at >= now - settings.max_late):
        # The hour and the name stay; what the campaign says may have been corrected meanwhile.
        wishes = {"dry_run": request.dry_run, "limit": request.limit, "campaign": campaign}
        return _written(kept.model_copy(update=wishes), folder)
    wanted = request.send_at
    if wanted is None and campaign.send_at:
        wanted = send_window.first_at(campaign.send_at, after=(asked_at or now) - STARTING)
    elif wanted is None:
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
    )
    run = PlannedRun(
        run_key=run_key,
        campaign=campaign.name,
        kind=campaign.kind,
        service_id=service_id,
        send_at=drawn.send_at,
        slot_reason=drawn.slot_reason,
        dry_run=drawn.dry_run,
        planned_at=now,
        folder=str(folder),
        asked_at=asked_at,
        row_limit=drawn.limit,
    )
    (ledger.replan if known else ledger.plan)(run, drawn.stem(1, 1))
    return _written(drawn, folder)


def _kept_plan(folder: Any, live: Sequence[Submission]) -> Plan | None:
    """The plan in the folder, if it is the one that the ledger knows."""
    if not live or not (folder / PLAN).exists():
        return None
    kept = read_plan(folder)
    ours = (kept.stem(1, 1), kept.stem(1, 2))  # alone, and as the first of several
    return kept if live[0].stem in ours else None


def _written(plan: Plan, folder: Any) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLAN).write_text(plan.model_dump_json(indent=1))
    return plan


def extract(rows: Iterable[pa.RecordBatch], folder: Any) -> int:
    """Write the query's rows down as they came; how many there are."""
    return frames.write(folder / CANDIDATES, rows)


def screen(plan: Plan, folder: Any, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Split the candidates into those we write to and those we don't, with the reason."""
    campaign = plan.campaign
    stop_list_size = require_stop_list(ledger, settings)
    text = preparing.template(campaign)
    if text.slow_because:
        log.warning("%s, %s", campaign.text_path, text.slow_because)
    screener = preparing.screener(campaign, text)
    candidates = folder / CANDIDATES
    looked_at = screener.among(frames.columns(candidates))
    survey = screener.survey(
        frames.batches(candidates, looked_at),
        ledger.opted_out,
        plan.limit,
        _spared(campaign, ledger, plan.send_at),
    )
    with (
        frames.writing(folder / AUDIENCE, screener.audience_schema) as kept,
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


def _spared(
    campaign: Campaign, ledger: Ledger, send_at: datetime
) -> dict[Reason, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]]:
    """Whom the campaign leaves alone, by what the ledger knows of earlier runs."""
    spared: dict[Reason, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]] = {}
    if campaign.at_most:
        times, days = campaign.at_most
        since = send_at - timedelta(days=days)
        spared[Reason.AT_MOST] = partial(
            ledger.written_to, kind=campaign.kind, times=times, since=since
        )
    if campaign.suppress_after_failures:
        spared[Reason.FAILING_NUMBER] = partial(
            ledger.failing, times=campaign.suppress_after_failures
        )
    return spared


def render(plan: Plan, folder: Any, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Write everyone's text and the exact bytes of each file; the ledger's `prepared`."""
    campaign = plan.campaign
    audience = frames.rows(folder / AUDIENCE)
    tally = preparing.Tally()
    made: list[tuple[str, send_file.Written]] = []
    with frames.writing(folder / UNRENDERED, EXCLUDED_SCHEMA) as left_out:
        pieces = preparing.rendered(plan, settings, frames.batches(folder / AUDIENCE), audience)
        for stem, file in groupby(pieces, key=lambda piece: piece.stem):
            with (
                frames.writing(messages_file(folder, stem), MESSAGES_SCHEMA) as kept,
                bytes_file(folder, stem).open("wb") as out,
            ):
                output = send_file.Output(out)
                for piece in file:
                    kept.write(piece.rendering.messages)
                    left_out.write(piece.rendering.excluded)
                    output.add(piece.block)
                    tally.add(piece.rendering)
            if output.written.rows:
                made.append((stem, output.written))
    ledger.record_rendering(plan.run_key, excluded=tally.reasons, replaced=tally.replaced)
    (folder / MOJIBAKE).write_text(json.dumps(tally.mojibake))
    if not made:
        if campaign.on_empty == "fail":
            raise SourceError(preparing.nothing_to_send(campaign.text_path, audience, tally))
        return {"messages": 0, "segments": 0, **tally.reasons}
    ledger.prepare(
        plan.run_key,
        [
            Part(
                stem=stem,
                part=number,
                parts=len(made),
                messages=written.rows,
                segments=written.segments,
                sha256=written.sha256,
                size_bytes=written.size_bytes,
            )
            for number, (stem, written) in enumerate(made, start=1)
        ],
    )
    return {
        "messages": sum(written.rows for _, written in made),
        "segments": sum(written.segments for _, written in made),
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
    files = ledger.submissions(plan.run_key)
    for submission in files:
        with bytes_file(folder, submission.stem).open("rb") as source:
            preparing.require_faultless(source, submission.stem, settings)
    summary = ledger.summary(plan.run_key)
    histogram, samples = _looked_through(folder, files)
    due = report_due(plan.send_at, summary.audience, reviewing.sum_of(histogram))
    run = limits.Run(
        candidates=summary.candidates,
        audience=summary.audience,
        excluded=summary.excluded,
        segments=_segments_by_country(plan, folder, files),
        earlier=ledger.latest_sent(plan.campaign.name, but=plan.run_key),
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
        end=send_window.expected_end(plan.send_at, summary.audience, settings),
        earlier=run.earlier,
        faults=_source_faults(folder),
    )
    try:
        limits.require(plan.campaign, run, cost, balance)
        send_window.require_no_tail(
            plan.send_at, summary.audience, plan.campaign.kind, settings=settings
        )
    except (LimitTripped, WindowClosed) as error:
        counts += f"\n## It would not go out\n\n{error}\n"
        if not plan.dry_run:
            raise
    finally:
        (folder / REVIEW).write_text(counts + reviewing.samples_page(samples), encoding="utf-8")
    return counts


def call_off(plan: Plan, ledger: Ledger, why: str) -> None:
    """End a run that sends nothing; planned again, it gets a new name."""
    for each in ledger.submissions(plan.run_key):
        ledger.move(each.stem, to=State.CANCELLED, detail={"why": why})


def require_sendable(
    submission: Submission, plan: Plan, ledger: Ledger, settings: Settings, now: datetime
) -> None:
    """Refuse a send in a closed or missed hour, without its yes, or without a safe stop list."""
    send_window.require_open(
        submission.send_at, plan.campaign.kind, now=now, settings=settings, send_now=plan.at_once
    )
    # Of the whole run, and from its first file on: one file must not leave for another to be late.
    files = ledger.submissions(submission.run_key)
    begun = min((each.submitted_at for each in files if each.submitted_at), default=now)
    send_window.require_no_tail(
        max(submission.send_at, begun),
        sum(each.messages or 0 for each in files),
        plan.campaign.kind,
        settings=settings,
    )
    run = ledger.run(submission.run_key)
    if run.approved_at is None and needs_approval(plan, ledger):
        raise NotApproved(
            f"{submission.stem} needs a person's yes, and nobody gave one to what is prepared "
            "now: clear the task approve with what is downstream of it"
        )
    chosen_at = run.chosen_at or run.planned_at
    if now - max(submission.send_at, chosen_at) > settings.max_age:
        raise WindowClosed(
            f"the people of {submission.stem} were chosen more than {settings.max_age} ago, and "
            "some may have refused since: trigger a new run"
        )
    require_stop_list(ledger, settings)


def needs_approval(plan: Plan, ledger: Ledger) -> bool:
    """Whether the campaign wants a person to say yes to this run."""
    least = plan.campaign.approval
    if not least:
        return False
    return sum(each.messages or 0 for each in ledger.submissions(plan.run_key)) >= least


def answer_by(plan: Plan, settings: Settings, now: datetime) -> datetime:
    """Until when a person may say yes: not for ever, and not beyond the run's hour."""
    latest = now + settings.approval_timeout
    return latest if plan.at_once else min(latest, plan.send_at + settings.max_late)


SLOWEST_PACE = 1e6  # bytes a second: a slow line, taken for ours until an upload was measured
MARGIN = 2  # times as slow as the latest uploads may the next one be


def upload_at(
    submissions: Sequence[Submission], settings: Settings, pace: float | None
) -> datetime:
    """When a run's files should go up: as late as is safe before their hour.

    `pace` is what the latest uploads went at, in bytes a second.
    """
    size = sum(each.size_bytes or 0 for each in submissions)
    takes = timedelta(seconds=MARGIN * size / (pace or SLOWEST_PACE))
    return min(each.send_at for each in submissions) - settings.upload_lead - takes


def likely_causes(folder: Any, submission: Submission, settings: Settings) -> tuple[str, ...]:
    """Why the gateway may have rejected a file, which it doesn't say: what the bytes show."""
    with bytes_file(folder, submission.stem).open("rb") as source:
        faults = inspection.check(source, preparing.dialect(settings), preparing.rules(settings))
    found = [f"line {fault.line}: {fault.sentence}" for fault in faults[:3]]
    quoted = sum(
        pc.sum(pc.match_substring_regex(batch["msg"], DELIMITER.pattern), min_count=0).as_py()
        for batch in frames.batches(messages_file(folder, submission.stem), ["msg"])
    )
    if quoted:
        found.append(
            f"{quoted:,} texts stand in quotes, since they hold a semicolon, a quote or a line "
            "break: if the provider reads quotes otherwise, set delimiter_in_text: replace"
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
            f"the stop list holds {size} numbers, fewer than the stop_list_minimum "
            f"{settings.stop_list_minimum} of the settings: is this the right ledger? Nothing is "
            "sent until it is"
        )
    return size


class PreparedPart:
    """One file of a run as `delivery.submit` takes it; can leave out whoever said STOP since."""

    def __init__(self, folder: Any, submission: Submission, settings: Settings) -> None:
        self._rows = messages_file(folder, submission.stem)
        self._bytes = bytes_file(folder, submission.stem)
        self._dialect = preparing.dialect(settings)
        self._left_out = np.empty(0, np.int64)

    def msisdns(self) -> npt.NDArray[np.int64]:
        """Everyone who is still in the file."""
        columns = [batch.column(0) for batch in self._batches(["msisdn"])]
        numbers: npt.NDArray[np.int64] = pa.chunked_array(columns, pa.int64()).to_numpy()
        return numbers

    def messages(self) -> Iterator[pa.RecordBatch]:
        """The rows of the file: idremote, msisdn, oadc, msg, segments, key."""
        return self._batches()

    def path(self) -> Any:
        """The exact bytes."""
        return self._bytes

    def require_prepared(self, sha256: str) -> None:
        """LedgerError unless rows and bytes are those that were prepared, but for late STOPs."""
        with open(os.devnull, "wb") as nowhere:
            rows = send_file.write(frames.batches(self._rows), nowhere, self._dialect).sha256
        found = {rows} if len(self._left_out) else {rows, fingerprint(self._bytes)["sha256"]}
        if found != {sha256}:
            raise LedgerError(
                f"{self._bytes} is not what was prepared and reviewed: somebody has rendered it "
                "anew, or begun to. Clear the task plan with what is downstream of it"
            )

    def leave_out(self, msisdns: npt.NDArray[np.int64]) -> None:
        """Write the file anew without these numbers."""
        self._left_out = np.union1d(self._left_out, msisdns)
        with self._bytes.open("wb") as out:
            send_file.write(self._batches(), out, self._dialect)

    def late_out(self) -> dict[str, int]:
        """How many were left out since the file was first written, by Reason."""
        return {str(Reason.OPTED_OUT): len(self._left_out)} if len(self._left_out) else {}

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


def _looked_through(
    folder: Any, files: Sequence[Submission]
) -> tuple[dict[int, int], list[reviewing.Sample]]:
    """How many messages have how many segments, and the first few messages, numbers masked."""
    histogram: Counter[int] = Counter()
    samples: list[reviewing.Sample] = []
    for each in files:
        rows = messages_file(folder, each.stem)
        for batch in frames.batches(rows, ["segments"]):
            histogram.update(preparing.histogram(batch["segments"]))
        if len(samples) < SAMPLES:
            first = next(frames.batches(rows, SAMPLE_COLUMNS))
            samples += reviewing.samples(first.slice(0, SAMPLES - len(samples)))
    return dict(sorted(histogram.items())), samples


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


def _source_faults(folder: Any) -> list[SourceFault]:
    """What was wrong with the source, with the first rows of each fault."""
    faults = SourceFaults()
    for left_out in (EXCLUDED, UNRENDERED):
        for batch in frames.batches(folder / left_out, ["row", "reason", "detail"]):
            faults.add(batch)
    faults.add_mojibake(**json.loads((folder / MOJIBAKE).read_text()))
    return faults.found()

"""The stages of a run that make its files: extract, screen, render.

Each stage reads what the one before left in the run's folder, writes its own numbered file, and
puts its counts into the ledger; between them travel a path and a few numbers. A stage may be run
again until the first file of the run is on its way; from then on every stage leaves everything as
it is, so that what was sent stays on record.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sms import remedies, storage
from sms.audience.residence import Geography
from sms.audience.screening import EXCLUDED_SCHEMA, Reason
from sms.campaign.definition import Campaign
from sms.columnar import parquet
from sms.errors import LedgerError, SourceError, WindowClosed
from sms.ledger.ledger import Ledger
from sms.ledger.records import Part, Submission
from sms.remedies import Task
from sms.run import frequency_cap, limits, preparation
from sms.run.departure import require_stop_list
from sms.run.folder import Rendered, RunFolder
from sms.run.preparation import Plan
from sms.run.schedule import Schedule, hour_there, schedule
from sms.settings import Settings
from sms.wire import send_file

log = logging.getLogger(__name__)


def extract(rows: Iterable[pa.RecordBatch], folder: RunFolder) -> int:
    """Write the query's rows down as they came; how many there are."""
    return parquet.write(folder.candidates, rows)


def screen(plan: Plan, folder: RunFolder, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Split the candidates into those we write to, each in a file, and those we don't, and why.

    Raises WindowClosed as `schedule` does.
    """
    campaign = plan.campaign
    stop_list_size = require_stop_list(ledger, settings)
    text = preparation.template(campaign)
    if text.slow_because:
        log.warning("%s, %s", campaign.text_path, text.slow_because)
    screener = preparation.screener(campaign, text, unicode=settings.unicode)
    candidates = folder.candidates
    looked_at = screener.among(parquet.columns(candidates))
    survey = screener.survey(
        parquet.batches(candidates, looked_at),
        ledger.stop_list.opted_out,
        plan.limit,
        _spared(plan, ledger),
    )
    survey = preparation.typed(text, survey)
    for name, noun in survey.read_as.items():
        log.info("The column %s is read as %s, as all its values are", name, noun)
    for note in preparation.notes(campaign):
        log.warning("%s, line %s: %s", campaign.text_path, note.line, note.problem)
    dealt = _dealt(plan, survey.people, folder, settings)
    survey = survey.dealt([(each.zone, each.people) for each in dealt.files])
    folder.write_schedule(dealt, plan)
    with (
        parquet.writing(folder.audience, screener.audience_schema(survey.kinds)) as kept,
        parquet.writing(folder.excluded, EXCLUDED_SCHEMA) as left_out,
    ):
        for screening in survey.split(parquet.batches(candidates, looked_at)):
            kept.write(screening.audience)
            left_out.write(screening.excluded)
    ledger.runs.record_screening(
        plan.run_key,
        candidates=survey.candidates,
        audience=survey.audience,
        excluded=survey.reasons,
        stop_list_size=stop_list_size,
    )
    if not survey.audience:
        if campaign.on_empty == "fail":
            raise SourceError(preparation.nobody_passed(campaign.sql_path, survey))
        # Nobody is not to be skipped in silence where that is no chance but a broken source.
        nobody = limits.Run(survey.candidates, 0, survey.reasons, {})
        limits.require(campaign, nobody, limits.Cost.of({}, {}, settings.currency))
    return {"candidates": survey.candidates, "audience": survey.audience, **survey.reasons}


def _dealt(
    plan: Plan, people: Mapping[str, int], folder: RunFolder, settings: Settings
) -> Schedule:
    """The run's files; of a dry run that couldn't go out as it could, which its review tells."""

    def dealt(campaign: Campaign) -> Schedule:
        hour, why, now = plan.send_at, plan.slot_reason, plan.planned_at
        return schedule(campaign, hour, why, people, now=now, settings=settings)

    folder.write_refusal("")
    try:
        return dealt(plan.campaign)
    except WindowClosed as error:
        if not plan.dry_run:
            raise
        folder.write_refusal(str(error))
    lenient = {"tail": "split", "outside_window": "shift"}
    return dealt(plan.campaign.model_copy(update=lenient))


def _spared(
    plan: Plan, ledger: Ledger
) -> dict[Reason, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]]:
    """Whom the campaign leaves alone, by what the ledger knows of earlier runs."""
    spared: dict[Reason, Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]] = {}
    # Nobody's hour is known yet, and with `local_time` some may be earlier than the run's.
    zones = Geography.of(plan.campaign).zones if plan.campaign.local_time else ()
    earliest = min([plan.send_at, *(hour_there(plan.send_at, each) for each in zones)])
    if cap := frequency_cap.at(max(earliest, plan.planned_at), plan, ledger):
        spared[cap.reason] = cap.reached
    if times := plan.campaign.suppress_after_failures:
        spared[Reason.FAILING_NUMBER] = partial(ledger.people.failing, times=times)
    return spared


def render(plan: Plan, folder: RunFolder, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Write everyone's text and the exact bytes of each file; the ledger's `prepared`."""
    campaign = plan.campaign
    dealt = folder.read_schedule()
    if dealt.campaign_id != plan.campaign_id:
        raise LedgerError(
            f"{plan.run_key} was planned anew since its people were screened: "
            f"{remedies.clear(Task.SCREEN)}"
        )
    writer = preparation.Writer(plan, settings, dealt)
    tally = preparation.Tally()
    messages_schema = preparation.messages_schema(campaign)
    made: dict[str, send_file.Written] = {}

    @contextmanager
    def opening(stem: str) -> Iterator[tuple[parquet.Writer, send_file.Output]]:
        with (
            parquet.writing(folder.messages(stem), messages_schema) as kept,
            storage.writing(folder.send_file(stem)) as out,
        ):
            output = send_file.Output(out)
            yield kept, output
            made[stem] = output.written

    with (
        parquet.writing(folder.unrendered, EXCLUDED_SCHEMA) as left_out,
        preparation.Outputs(writer, opening) as outputs,
    ):
        for piece in preparation.rendered(writer, parquet.batches(folder.audience)):
            kept, output = outputs.of(piece.stem)
            kept.write(piece.rendering.messages)
            left_out.write(piece.rendering.excluded)
            output.add(piece.block)
            tally.add(piece.rendering)
    written = [(stem, made[stem]) for stem in writer.stems if stem in made and made[stem].rows]
    ledger.runs.record_rendering(plan.run_key, excluded=tally.reasons, replaced=tally.replaced)
    folder.write_suspects(tally.suspects)
    rendered = Rendered(
        plan=plan, encoding=settings.encoding, delimiter_in_text=settings.delimiter_in_text
    )
    folder.write_rendered(rendered)
    if not written:
        if campaign.on_empty == "fail":
            audience = parquet.rows(folder.audience)
            raise SourceError(preparation.nothing_to_send(campaign.text_path, audience, tally))
        return {"messages": 0, "segments": 0, **tally.reasons}
    ledger.runs.prepare(
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


def require_faultless(
    plan: Plan, folder: RunFolder, ledger: Ledger, settings: Settings
) -> list[Submission]:
    """The run's files, their very bytes judged by the provider's rules. Raises SourceError."""
    files = ledger.submissions.of_run(plan.run_key)
    for each in files:
        with storage.opened(folder.send_file(each.stem), "rb") as source:
            preparation.require_faultless(source, each.stem, settings)
    return files

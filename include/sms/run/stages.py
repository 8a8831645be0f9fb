"""The stages that make a run's files: extract, screen, render.

Each stage reads the files of the stage before in the run's folder, writes its own numbered files,
and records its counts in the ledger. Only a path and a few counts are passed between stages. A
stage may be run again until the upload of the run's first file begins; after that no stage changes
anything, so that the sent files stay on record.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import partial

import pyarrow as pa

from sms import remedies
from sms.audience.residence import Geography
from sms.audience.screening import Asked, Reason
from sms.campaign.definition import Campaign
from sms.columnar import parquet
from sms.errors import LedgerError, WindowClosed
from sms.ledger.ledger import Ledger
from sms.ledger.records import Part, Submission
from sms.remedies import Task
from sms.run import frequency_cap, limits, preparation, rendered, screened
from sms.run.departure import require_stop_list
from sms.run.folder import Rendered, RunFolder
from sms.run.preparation import Plan
from sms.run.schedule import Schedule, hour_there
from sms.run.screened import Dealing, QueryAnswer
from sms.settings import Settings

log = logging.getLogger(__name__)


def extract(rows: Iterable[pa.RecordBatch], folder: RunFolder) -> int:
    """Write the query's rows unchanged, and return their number."""
    return parquet.write(folder.candidates, rows)


def screen(plan: Plan, folder: RunFolder, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Split the candidates into the audience, assigned to files, and the excluded, with a Reason.

    Raises WindowClosed like `schedule`.
    """
    campaign = plan.campaign
    stop_list_size = require_stop_list(ledger, settings)
    text = preparation.template(campaign)
    if text.slow_because:
        log.warning("%s, %s", campaign.text_path, text.slow_because)
    found = screened.screen(
        plan,
        QueryAnswer(folder.candidates, str(campaign.sql_path)),
        ledger.stop_list.opted_out,
        settings,
        spared=_spared(plan, ledger),
        deal=_dealing(plan, folder, settings),
    )
    survey = found.survey
    for name, noun in survey.read_as.items():
        log.info("The column %s is read as %s, as all its values are", name, noun)
    for note in preparation.notes(campaign):
        log.warning("%s, line %s: %s", campaign.text_path, note.line, note.problem)
    folder.write_schedule(found.schedule, plan)
    folder.write_faults(screened.divide(found, folder).found())
    ledger.runs.record_screening(
        plan.run_key,
        candidates=survey.candidates,
        audience=survey.audience,
        excluded=survey.reasons,
        stop_list_size=stop_list_size,
    )
    rendered.require_audience(found)
    if not survey.audience:
        # `on_empty: skip` must not hide a broken source: the limits apply to an empty audience too.
        empty = limits.Run(survey.candidates, 0, survey.reasons, {})
        limits.require(campaign, empty, limits.Cost.of({}, {}, settings.currency))
    return {"candidates": survey.candidates, "audience": survey.audience, **survey.reasons}


def _dealing(plan: Plan, folder: RunFolder, settings: Settings) -> Dealing:
    """The dealing of a run. A dry run that can't be sent gets lenient hours, and a refusal."""
    deal = screened.dealing(plan, settings)

    def dealt(campaign: Campaign, people: Mapping[str, int]) -> Schedule:
        folder.write_refusal("")
        try:
            return deal(campaign, people)
        except WindowClosed as error:
            if not plan.dry_run:
                raise
            folder.write_refusal(str(error))
        lenient = {"past_closing": "split", "outside_window": "shift"}
        return deal(campaign.model_copy(update=lenient), people)

    return dealt


def _spared(plan: Plan, ledger: Ledger) -> dict[Reason, Asked]:
    """The campaign's exclusions by earlier runs: frequency cap and failing numbers."""
    spared: dict[Reason, Asked] = {}
    # No recipient's hour is known yet: with `local_time` a zone's may be earlier than the run's.
    zones = Geography.of(plan.campaign).zones if plan.campaign.local_time else ()
    earliest = min([plan.send_at, *(hour_there(plan.send_at, each) for each in zones)])
    if cap := frequency_cap.at(max(earliest, plan.planned_at), plan, ledger):
        spared[cap.reason] = cap.reached
    if times := plan.campaign.suppress_after_failures:
        spared[Reason.FAILING_NUMBER] = partial(ledger.people.failing, times=times)
    return spared


def render(plan: Plan, folder: RunFolder, ledger: Ledger, settings: Settings) -> dict[str, int]:
    """Write the messages and the exact bytes of each file; move the files to `prepared`."""
    campaign = plan.campaign
    dealt = folder.read_schedule()
    if dealt.campaign_id != plan.campaign_id:
        raise LedgerError(
            f"{plan.run_key} was planned again after its screening: {remedies.clear(Task.SCREEN)}"
        )
    audience = screened.already_divided(parquet.batches(folder.audience))
    made = rendered.render(plan, dealt, audience, folder, settings)
    tally = made.tally
    ledger.runs.record_rendering(plan.run_key, excluded=tally.reasons, replaced=tally.replaced)
    folder.write_counts(tally.kept(campaign))
    by = Rendered(
        plan=plan, encoding=settings.encoding, delimiter_in_text=settings.delimiter_in_text
    )
    folder.write_rendered(by)
    rendered.require_messages(campaign, parquet.rows(folder.audience), made)
    if not made.files:
        return {"messages": 0, "segments": 0, **tally.reasons}
    hours = dict(zip(plan.stems(dealt), dealt.files, strict=True))
    ledger.runs.prepare(
        plan.run_key,
        [
            Part(
                stem=stem,
                part=number,
                parts=len(made.files),
                send_at=hours[stem].send_at,
                zone=hours[stem].zone,
                messages=each.rows,
                segments=each.segments,
                sha256=each.sha256,
                size_bytes=each.size_bytes,
            )
            for number, (stem, each) in enumerate(made.files.items(), start=1)
        ],
    )
    sizes = tally.sizes
    return {"messages": sizes.messages, "segments": sizes.sms, **tally.reasons}


def require_faultless(
    plan: Plan, folder: RunFolder, ledger: Ledger, settings: Settings
) -> list[Submission]:
    """Check the run's files by the provider's rules, and return them. Raises SourceError."""
    files = ledger.submissions.of_run(plan.run_key)
    for each in files:
        with folder.reading_file(each.stem) as source:
            rendered.require_faultless(source, each.stem, settings)
    return files

"""The stage `review`: checks the exact bytes by the provider's rules, and writes the report."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from sms.audience.source_faults import SourceFault, SourceFaults
from sms.calendar import send_window
from sms.campaign import stop_mentions
from sms.columnar import parquet
from sms.delivery.upload import report_due
from sms.errors import LedgerError, LimitTripped, StorageFailed, WindowClosed
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission, Summary
from sms.message.rendering import VARIANT
from sms.message.samples import FirstOfEach, rows_at
from sms.run import limits, review_page
from sms.run.departure import sendings, tail_advice
from sms.run.folder import RunFolder
from sms.run.preparation import Plan
from sms.run.rendered import Counts
from sms.run.stages import require_faultless
from sms.settings import Settings

SAMPLES = 5
SAMPLE_COLUMNS = ["msisdn", "msg", "segments"]


def review(
    plan: Plan,
    folder: RunFolder,
    ledger: Ledger,
    settings: Settings,
    balance: limits.Balance = limits.UNASKED,
) -> str:
    """Check the exact bytes by the provider's rules, and write the report.

    Then raises LimitTripped if the run breaks a limit of its campaign, and WindowClosed if it would
    not finish by closing time. A dry run only reports it.
    """
    files = require_faultless(plan, folder, ledger, settings)
    summary = ledger.runs.summary(plan.run_key)
    kept = folder.read_counts()
    sizes = kept.sizes
    due = max(report_due(each.send_at, each.messages or 0, each.segments or 0) for each in files)
    run = limits.Run(
        candidates=summary.candidates,
        audience=summary.audience,
        excluded=summary.excluded,
        segments=sizes.by_country,
        earlier=tuple(ledger.runs.latest_sent(plan.campaign.name, but=plan.run_key).values()),
    )
    cost = limits.Cost.of(run.segments, settings.prices, settings.currency)
    counts = review_page.counts_page(
        plan.campaign.name,
        summary,
        files,
        sizes.by_size,
        due,
        cost=cost,
        balance=balance,
        ends=send_window.ends(sendings(files), settings),
        reasons=_reasons(plan, folder),
        earlier=run.earlier,
        faults=_source_faults(folder, kept),
        beside=_beside(plan, folder, ledger, settings, summary, run, cost),
        variants=sizes.by_variant(plan.campaign),
    )
    try:
        if refusal := folder.read_refusal():
            raise WindowClosed(refusal)
        limits.require(plan.campaign, run, cost, balance)
        send_window.require_no_tail(
            sendings(files), plan.campaign.kind, settings=settings, advice=tail_advice(plan)
        )
    except (LimitTripped, WindowClosed) as error:
        counts = review_page.refused(counts, str(error))
        if not plan.dry_run:
            raise
    finally:
        samples = _samples(plan, folder, files, kept.showing)
        folder.write_review(review_page.with_samples(counts, samples, kept.unmet))
    return counts


def _samples(
    plan: Plan, folder: RunFolder, files: Sequence[Submission], showing: Mapping[str, Sequence[int]]
) -> list[review_page.Sample]:
    """The first few messages of each variant, and one for each way through its text's conditions.

    Numbers are masked. `showing` are the rows of the second kind, by stem.
    """
    variants, paths = plan.campaign.variants, [folder.messages(each.stem) for each in files]
    columns = [*SAMPLE_COLUMNS, VARIANT.name] if variants else SAMPLE_COLUMNS
    first = FirstOfEach(-(-SAMPLES // max(len(variants), 1)), variants)
    for batch in (batch for path in paths for batch in parquet.batches(path, columns)):
        first.look_at(batch)
        if first.complete:
            break
    others: list[pa.RecordBatch] = []
    for each, path in zip(files, paths, strict=True):
        others += rows_at(parquet.batches(path, columns), showing.get(each.stem, ()))
    shown = review_page.samples(first.found)
    return [*shown, *(each for each in review_page.samples(others) if each not in shown)]


def _reasons(plan: Plan, folder: RunFolder) -> dict[str, str]:
    """The reason for each file's hour, by stem."""
    dealt = folder.read_schedule()
    return {stem: each.reason for stem, each in zip(plan.stems(dealt), dealt.files, strict=True)}


def _beside(
    plan: Plan,
    folder: RunFolder,
    ledger: Ledger,
    settings: Settings,
    summary: Summary,
    run: limits.Run,
    cost: limits.Cost,
) -> list[str]:
    """Lines on the campaign's stop mention, its limits, and its other runs."""
    name = plan.campaign.name
    warning = stop_mentions.unreached(plan.campaign, run.segments)
    lines = [f"- **Stop mention:** {warning}"] if warning else []
    lines += review_page.limits_section(limits.standing(plan.campaign, run, cost))
    for last in ledger.runs.latest_sent(name, but=plan.run_key, most=1):
        before = _before(plan, folder, ledger.runs.summary(last), settings)
        lines += review_page.changes_section(summary, sum(run.segments.values()), cost, before)
    others = ledger.runs.unfinished(name, but=plan.run_key, within=settings.max_audience_age)
    return lines + review_page.open_runs_section(others)


def _before(plan: Plan, folder: RunFolder, last: Summary, settings: Settings) -> review_page.Before:
    """The last run that sent; its text and query are in its folder, until that is deleted."""
    before = folder.beside(last.run.folder)
    cost = _spent(plan, before, last, settings)
    try:
        then = before.read_plan().campaign
    except (StorageFailed, LedgerError):  # deleted, or written by another version
        return review_page.Before(last, cost, None, None)
    now = plan.campaign
    return review_page.Before(last, cost, then.text != now.text, then.sql != now.sql)


def _spent(plan: Plan, before: RunFolder, last: Summary, settings: Settings) -> float | None:
    """The cost of the last run that sent, by today's prices; None if it is not known."""
    prices = {settings.prices.get(country) for country in plan.campaign.allowed_countries}
    if len(prices) == 1:
        [price] = prices
        return None if price is None else price * last.segments
    try:
        by_country = before.read_counts().sizes.by_country  # as it was rendered
    except (StorageFailed, LedgerError):
        return None
    cost = limits.Cost.of(by_country, settings.prices, settings.currency)
    return None if cost.unpriced else cost.amount


def _source_faults(folder: RunFolder, counts: Counts) -> list[SourceFault]:
    """The source's faults, with the first rows of each."""
    faults = SourceFaults()
    faults.add_found(folder.read_faults())
    faults.add_found(counts.faults)
    return faults.found()

"""The stage `review`: the exact bytes judged by the provider's rules, and the report on a run."""

from collections import Counter
from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

from sms.audience.source_faults import SourceFault, SourceFaults
from sms.calendar import send_window
from sms.campaign import stop_mentions
from sms.columnar import parquet
from sms.delivery.upload import report_due
from sms.errors import LimitTripped, StorageFailed, WindowClosed
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission, Summary
from sms.message.rendering import VARIANT, WAY
from sms.message.samples import EachWay, FirstOfEach, rows_at
from sms.message.variants import histograms
from sms.run import limits, rendered, review_page
from sms.run.departure import sendings, tail_advice
from sms.run.folder import RunFolder
from sms.run.preparation import Plan
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
    """Judge the very bytes by the provider's rules, and write the report that a person reads.

    Raises, when that is written, LimitTripped for a run that breaks a limit of its campaign, and
    WindowClosed for one that would not be done by closing time. A dry run only tells it.
    """
    files = require_faultless(plan, folder, ledger, settings)
    summary = ledger.runs.summary(plan.run_key)
    histogram = _histogram(folder, files)
    due = max(report_due(each.send_at, each.messages or 0, each.segments or 0) for each in files)
    run = limits.Run(
        candidates=summary.candidates,
        audience=summary.audience,
        excluded=summary.excluded,
        segments=_segments_by_country(plan, folder, files),
        earlier=tuple(ledger.runs.latest_sent(plan.campaign.name, but=plan.run_key).values()),
    )
    cost = limits.Cost.of(run.segments, settings.prices, settings.currency)
    counts = review_page.counts_page(
        plan.campaign.name,
        summary,
        files,
        histogram,
        due,
        cost=cost,
        balance=balance,
        ends=send_window.ends(sendings(files), settings),
        reasons=_reasons(plan, folder),
        earlier=run.earlier,
        faults=_source_faults(folder),
        beside=_beside(plan, folder, ledger, settings, summary, run, cost),
        variants=_by_variant(plan, folder, files),
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
        folder.write_review(review_page.with_samples(counts, *_samples(plan, folder, files)))
    return counts


def _histogram(folder: RunFolder, files: Sequence[Submission]) -> dict[int, int]:
    """How many messages have how many segments."""
    histogram: Counter[int] = Counter()
    for each in files:
        for batch in parquet.batches(folder.messages(each.stem), ["segments"]):
            histogram.update(rendered.histogram(batch["segments"]))
    return dict(sorted(histogram.items()))


def _by_variant(
    plan: Plan, folder: RunFolder, files: Sequence[Submission]
) -> dict[str, Counter[int]]:
    """How many messages of each variant have how many segments, in the campaign's order."""
    counts: dict[str, Counter[int]] = {name: Counter() for name in plan.campaign.variants}
    for each in files if counts else ():
        for batch in parquet.batches(folder.messages(each.stem), ["variant", "segments"]):
            for name, told in histograms(batch["variant"], batch["segments"]).items():
                counts[name].update(told)
    return counts


def _samples(
    plan: Plan, folder: RunFolder, files: Sequence[Submission]
) -> tuple[list[review_page.Sample], list[str]]:
    """The first few messages of each variant, and one for each way through its text.

    Numbers are masked. Also what is to be said of conditions that nobody meets.
    """
    variants, paths = plan.campaign.variants, [folder.messages(each.stem) for each in files]
    columns = [*SAMPLE_COLUMNS, VARIANT.name] if variants else SAMPLE_COLUMNS
    first = FirstOfEach(-(-SAMPLES // max(len(variants), 1)), variants)
    for batch in (batch for path in paths for batch in parquet.batches(path, columns)):
        first.look_at(batch)
        if first.complete:
            break
    ways, others = EachWay(), list[pa.RecordBatch]()
    for path in paths:
        if WAY.name in parquet.columns(path):
            narrow = [VARIANT.name, WAY.name] if variants else [WAY.name]
            found = [
                before + row
                for before, batch in parquet.placed(parquet.batches(path, narrow))
                for row in ways.fresh(batch)
            ]
            others += rows_at(parquet.batches(path, columns), found)
    shown = review_page.samples(first.found)
    more = (each for each in review_page.samples(others) if each not in shown)
    return [*shown, *more], rendered.unmet(plan.campaign, ways)


def _reasons(plan: Plan, folder: RunFolder) -> dict[str, str]:
    """Why each file goes out when it does, by stem."""
    dealt = folder.read_schedule()
    return {stem: each.reason for stem, each in zip(plan.stems(dealt), dealt.files, strict=True)}


def _segments_by_country(
    plan: Plan, folder: RunFolder, files: Sequence[Submission]
) -> dict[str, int]:
    """How many SMS go to each country."""
    if len(plan.campaign.allowed_countries) == 1:
        return {plan.campaign.allowed_countries[0]: sum(each.segments or 0 for each in files)}
    people = parquet.batches(folder.audience, ["msisdn", "country"])
    table = pa.Table.from_batches(people).to_pandas()
    country = pd.Series(table["country"].to_numpy(), index=table["msisdn"])
    counts: Counter[str] = Counter()
    for each in files:
        for batch in parquet.batches(folder.messages(each.stem), ["msisdn", "segments"]):
            where = country.reindex(batch["msisdn"].to_numpy())
            by_country = pd.Series(batch["segments"].to_numpy()).groupby(where.to_numpy()).sum()
            counts.update({str(key): int(size) for key, size in by_country.items()})
    return dict(counts)


def _beside(
    plan: Plan,
    folder: RunFolder,
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
    told += review_page.limits_section(limits.standing(plan.campaign, run, cost))
    for last in ledger.runs.latest_sent(name, but=plan.run_key, most=1):
        before = _before(plan, folder, ledger.runs.summary(last), settings)
        told += review_page.changes_section(summary, sum(run.segments.values()), cost, before)
    others = ledger.runs.unfinished(name, but=plan.run_key, within=settings.max_age)
    return told + review_page.open_runs_section(others)


def _before(plan: Plan, folder: RunFolder, last: Summary, settings: Settings) -> review_page.Before:
    """The run that sent last; its text and query are in its folder, for as long as that is kept."""
    prices = {settings.prices.get(country) for country in plan.campaign.allowed_countries}
    [price] = prices if len(prices) == 1 else [None]  # nobody noted which SMS went to which country
    cost = None if price is None else price * last.segments
    try:
        then = folder.beside(last.run.folder).read_plan().campaign
    except (StorageFailed, ValueError):  # gone, or of another version of ours
        return review_page.Before(last, cost, None, None)
    now = plan.campaign
    return review_page.Before(last, cost, then.text != now.text, then.sql != now.sql)


def _source_faults(folder: RunFolder) -> list[SourceFault]:
    """What was wrong with the source, with the first rows of each fault."""
    faults = SourceFaults()
    for left_out in (folder.excluded, folder.unrendered):
        for batch in parquet.batches(left_out, ["row", "reason", "detail"]):
            faults.add(batch)
    faults.add_suspects(folder.read_suspects())
    return faults.found()

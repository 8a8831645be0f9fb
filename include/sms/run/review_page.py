"""The review's Markdown page, read before a campaign is approved and sent.

The counts hold no personal data and may be kept in Airflow's log and database. The samples are
texts to recipients: they stay in the run's folder, except for the approval's page.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import pyarrow as pa

from sms.audience.screening import SENTENCES, Reason
from sms.audience.source_faults import SourceFault
from sms.calendar.zones import zone
from sms.clock import PARIS
from sms.ledger.records import Submission, Summary, UnfinishedRun
from sms.run.limits import UNASKED, Balance, Cost
from sms.run.rendered import sum_of
from sms.words import count


@dataclass(frozen=True, slots=True)
class Sample:
    """One rendered message with its number masked; it must not be logged."""

    msisdn: str
    text: str
    segments: int
    variant: str = ""


def samples(messages: Iterable[pa.RecordBatch]) -> list[Sample]:
    """These messages (msisdn, msg, segments, variant if any) as samples, numbers masked."""
    return [
        Sample(masked(row["msisdn"]), row["msg"], row["segments"], row.get("variant", ""))
        for batch in messages
        for row in batch.to_pylist()
    ]


def counts_page(
    title: str,
    summary: Summary,
    files: Sequence[Submission],
    histogram: Mapping[int, int],
    due: datetime,
    *,
    cost: Cost | None = None,
    balance: Balance = UNASKED,
    ends: Sequence[datetime] | None = None,
    reasons: Mapping[str, str] = MappingProxyType({}),
    earlier: Sequence[int] = (),
    faults: Sequence[SourceFault] = (),
    beside: Sequence[str] = (),
    variants: Mapping[str, Mapping[int, int]] = MappingProxyType({}),
) -> str:
    """The counts of a run, without texts or phone numbers.

    `histogram` has the number of messages by SMS per message, `variants` the same for each
    variant. `ends` is when the last message of each file is expected to leave, `reasons` the reason
    for each file's hour, by stem.
    """
    run, stops = summary.run, count(summary.stop_list_size or 0, "number")
    lines = [
        f"# {title}",
        "",
        f"- **Slot:** {_slot(summary, files, reasons)}",
        f"- **Expected end:** {_expected(max(ends) if ends else None)}",
        f"- **Kind:** {run.kind}{', a dry run: nothing is sent' if run.dry_run else ''}",
        f"- **Messages:** {_count(summary.audience)} in {_count(sum_of(histogram))} SMS"
        f"{_compared(summary.audience, earlier)}",
        f"- **Cost:** {_cost_text(cost)}",
        f"- **Balance:** {_balance_text(balance)}",
        f"- **Stop list:** {stops} at the time of screening",
        f"- **Delivery report expected:** {_paris(due)}",
        *beside,
        "",
        "## Recipients",
        "",
        "| | people |",
        "|---|---:|",
        f"| candidates of the query | {_count(summary.candidates)} |",
    ]
    for code, people in sorted(summary.excluded.items(), key=lambda item: -item[1]):
        lines.append(f"| excluded: {SENTENCES[code]} (`{code}`) | {_count(people)} |")
    lines.append(f"| **written to** | **{_count(summary.audience)}** |")
    lines += _compared_texts(variants, summary.excluded.get(Reason.CONTROL_GROUP, 0))
    if faults:
        lines += ["", "## Faults of the source", "", *(f"- {fault}" for fault in faults)]
    lines += ["", "## Length", "", "| SMS each | messages |", "|---:|---:|"]
    lines += [f"| {size} | {_count(count)} |" for size, count in sorted(histogram.items())]
    if summary.replaced:
        lines += ["", "## Characters replaced", "", "| character | times |", "|---|---:|"]
        ranked = sorted(summary.replaced.items(), key=lambda item: -item[1])
        lines += [f"| {_character(code)} | {_count(count)} |" for code, count in ranked[:20]]
    lines += ["", "## Files", "", *_files(files, ends)]
    return "\n".join(lines) + "\n"


def _slot(summary: Summary, files: Sequence[Submission], reasons: Mapping[str, str]) -> str:
    """The hour or hours of a run's files, and the reasons."""
    run = summary.run
    why = list(dict.fromkeys(reasons[each.stem] for each in files if each.stem in reasons))
    if len({each.send_at for each in files}) < 2 and len(why) < 2:
        hour = files[0].send_at if files else run.send_at
        return f"{_paris(hour)} ({why[0] if why else run.slot_reason})"
    first, last = files[0].send_at, files[-1].send_at
    hours = f"{_paris(first)} to {_paris(last)}, in {count(len(files), 'file')}"
    return "\n".join([hours, *(f"  - {reason}" for reason in why)])


def _files(files: Sequence[Submission], ends: Sequence[datetime] | None) -> Iterator[str]:
    """A table of the files: hour, zone, messages, bytes and expected end of each."""
    yield "| file | hour | people of | messages | bytes | expected end |"
    yield "|---|---|---|---:|---:|---|"
    for place, each in enumerate(files):
        end = f"{ends[place].astimezone(PARIS):%Y-%m-%d %H:%M}" if ends else ""
        yield (
            f"| `{each.stem}.csv` | {each.send_at.astimezone(PARIS):%Y-%m-%d %H:%M} "
            f"| {zone(each.zone).name} | {_count(each.messages or 0)} "
            f"| {_count(each.size_bytes or 0)} | {end} |"
        )


@dataclass(frozen=True, slots=True)
class Before:
    """The last run of the campaign that sent; a field is None if it is no longer known."""

    summary: Summary
    cost: float | None  # by the prices of today
    text_changed: bool | None
    query_changed: bool | None


def limits_section(standing: Iterable[tuple[str, str, str]]) -> list[str]:
    """A table of the campaign's limits and this run's values; empty without limits."""
    rows = [f"| `{key}` | {value} | {of_run} |" for key, value, of_run in standing]
    head = ["", "## Limits", "", "| limit | value | this run |", "|---|---:|---:|"]
    return [*head, *rows] if rows else []


def changes_section(summary: Summary, segments: int, cost: Cost, before: Before) -> list[str]:
    """A table of the differences from the last run that sent: messages, SMS, cost, exclusions."""
    people, last = summary.audience, before.summary
    rows: list[tuple[str, float, float, int]] = [  # what, now, then, decimals
        ("messages", people, last.sent, 0),
        ("SMS", segments, last.segments, 0),
        ("SMS per message", _each(segments, people), _each(last.segments, last.sent), 2),
    ]
    if before.cost is not None and not cost.unpriced:
        each = f"{cost.currency} per message, by today's prices"
        rows.append((each, _each(cost.amount, people), _each(before.cost, last.sent), 4))
    for code in sorted(summary.excluded.keys() | last.excluded.keys()):
        now, then = (each.excluded.get(code, 0) for each in (summary, last))
        if now != then:
            rows.append((f"excluded: {SENTENCES[code]}", now, then, 0))
    return [
        *("", f"## Against the last run, {_paris(last.run.send_at)}", ""),
        f"- **Text:** {_changed(before.text_changed)}",
        f"- **Query:** {_changed(before.query_changed)}",
        *("", "| | this run | last run | change |", "|---|---:|---:|---:|"),
        *(
            f"| {what} | {now:,.{digits}f} | {then:,.{digits}f} "
            f"| {_difference(now - then, digits)} |"
            for what, now, then, digits in rows
        ),
    ]


def open_runs_section(runs: Sequence[UnfinishedRun]) -> list[str]:
    """A table of the campaign's other runs that are not over; empty without any."""
    if not runs:
        return []
    return [
        *("", "## Other runs of this campaign that are still open", ""),
        *("| hour | messages | state | run |", "|---|---:|---|---|"),
        *(
            f"| {_paris(run.send_at)} | {'?' if run.messages is None else _count(run.messages)} "
            f"| {', '.join(run.states)} | `{run.run_key.partition('/')[2] or run.run_key}` |"
            for run in runs
        ),
    ]


def _difference(change: float, digits: int) -> str:
    return f"{change:+,.{digits}f}" if round(change, digits) else "none"


def _each(amount: float, messages: int) -> float:
    return amount / messages if messages else 0.0


def _changed(whether: bool | None) -> str:
    if whether is None:
        return "not known, since the last run's folder is gone"
    return "**changed**" if whether else "unchanged"


def _compared_texts(variants: Mapping[str, Mapping[int, int]], control_group: int) -> list[str]:
    """A table of the recipients of each variant, and of the control group."""
    if not variants and not control_group:
        return []
    lines = ["", "## To compare", "", "| | people | SMS |", "|---|---:|---:|"]
    for name, counts in variants.items():
        lines.append(
            f"| variant `{name}` | {_count(sum(counts.values()))} | {_count(sum_of(counts))} |"
        )
    return [*lines, f"| control group, not written to | {_count(control_group)} | 0 |"]


def _compared(people: int, earlier: Sequence[int]) -> str:
    """The comparison with the run before, the first of `earlier`."""
    if not earlier:
        return "; no run before it sent anything"
    last = earlier[0]
    change = f", {people / last - 1:+.0%}" if last else ""
    return f"; the run before it sent {_count(last)}{change}"


def _cost_text(cost: Cost | None) -> str:
    if cost is None or (not cost.amount and cost.unpriced):
        return "not known, since the settings give no price"
    return str(cost)


def _expected(end: datetime | None) -> str:
    return _paris(end) if end else "not known, since the settings give no messages_per_hour"


def _balance_text(balance: Balance) -> str:
    if balance.amount is None:
        return f"not known, since {balance.why}"
    return f"{balance.amount:,.2f} at the provider; it is taken at the hour of sending"


def refused(page: str, why: str) -> str:
    """The page, with the reason why the run can't be sent at its top."""
    title, rest = page.split("\n", 1)
    return f"{title}\n\n**It would not be sent:** {why}\n{rest}"


def with_samples(page: str, samples: Sequence[Sample], unmet: Sequence[str] = ()) -> str:
    """The page, with sample messages between its counts and its tables.

    Numbers are masked. `unmet` are warnings of conditions that no recipient meets.
    """
    counts, tables = page.split("\n## ", 1)
    return f"{counts}{_samples_section(samples, unmet)}\n## {tables}"


def _samples_section(samples: Sequence[Sample], unmet: Sequence[str]) -> str:
    warnings = [*(f"- **{each}**" for each in unmet), *([""] if unmet else [])]
    lines = ["", "## Samples", "", *warnings]
    for sample in samples:
        variant = f", variant `{sample.variant}`" if sample.variant else ""
        lines += [f"- `{sample.msisdn}`, {sample.segments} SMS{variant}", ""]
        lines += [f"  > {line}" for line in sample.text.splitlines()] + [""]
    return "\n".join(lines) + "\n"


def masked(msisdn: int) -> str:
    """A number masked except for its country and its last two digits."""
    digits = str(msisdn)
    return f"+{digits[:3]}{'•' * (len(digits) - 5)}{digits[-2:]}"


def _paris(instant: datetime) -> str:
    return f"{instant.astimezone(PARIS):%Y-%m-%d %H:%M} in Paris"


def _count(number: int) -> str:
    return f"{number:,}"


def _character(code: str) -> str:
    return f"{chr(int(code.removeprefix('U+'), 16))} `{code}`"

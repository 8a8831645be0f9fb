"""A campaign made on one machine from files: the bytes that the DAG would upload, without it.

No Airflow, no gateway, no ledger, no clock: what is made depends on the arguments alone.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from sms import storage
from sms.audience.screening import EXCLUDED_SCHEMA, SENTENCES, Stretch, Survey
from sms.audience.source_faults import SourceFault, SourceFaults
from sms.audience.table_files import NARROW, NOBODY, StopList, TableFile, found_in, read_stop_list
from sms.calendar import send_window
from sms.campaign.definition import Campaign, campaign_id
from sms.campaign.template import Logic, Piece, Template, Words
from sms.columnar.spreadsheets import harmless
from sms.columnar.text import give_memory_back
from sms.columnar.threads import ordered
from sms.errors import BadCampaign, SourceError
from sms.message.rendering import Rendering
from sms.message.samples import EachWay, FirstOfEach
from sms.message.variants import named
from sms.run import limits, preparation
from sms.run.preparation import Plan
from sms.run.schedule import File, Schedule, schedule
from sms.settings import Settings
from sms.wire import send_file
from sms.yaml_files import Fault

EXCLUDED, SUMMARY = "excluded.csv", "summary.json"
UNKNOWN_ACCOUNT = "00000"
NOBODYS_NUMBER = 33639980000  # of the block kept for fiction
NOBODYS_RUN = "nobody"
UNFINISHED = ".tmp"  # as at the gateway: whole files alone end in .csv

# Told of a stage, how far it is, of how many rows (None: not known yet).
Watch = Callable[[str, int, int | None], None]


def unwatched(stage: str, rows: int, of: int | None) -> None:
    """Watch nothing."""


def plan(
    campaign: Campaign,
    at: datetime,
    *,
    settings: Settings,
    run_id: str | None = None,
    service_id: str = UNKNOWN_ACCOUNT,
    limit: int | None = None,
    planned_at: datetime | None = None,
) -> Plan:
    """The plan of a run that wants to send at an instant, planned at that instant or before.

    With the `run_id` of a DAG run, and the account's `service_id`, names and IDREMOTEs are that
    run's. Raises WindowClosed.
    """
    slot = send_window.slot(
        at, campaign.kind, now=at, settings=settings, outside_window=campaign.outside_window
    )
    run_key = f"send__{campaign.name}/{run_id or f'prepare__{at.isoformat()}'}"
    return Plan(
        run_key=run_key,
        campaign=campaign,
        campaign_id=campaign_id(campaign.name, run_key),
        service_id=service_id,
        send_at=slot.send_at,
        slot_reason=slot.reason,
        at_once=False,
        dry_run=True,
        limit=limit,
        planned_at=planned_at or slot.send_at,
    )


@dataclass(frozen=True, slots=True)
class Screened:
    """The recipients of a file, judged and ready to be rendered."""

    plan: Plan
    recipients: TableFile
    columns: tuple[str, ...]
    survey: Survey
    schedule: Schedule
    stop_list: StopList


def screen(
    plan: Plan,
    recipients: Path,
    stop_list: Path | None,
    settings: Settings,
    watch: Watch = unwatched,
    *,
    encoding: str | None = None,
) -> Screened:
    """Judge everybody in a file, and deal them to the run's files.

    Without a stop list nobody is known to have said STOP. `encoding` is that of a CSV that is not
    UTF-8. Raises SourceError where a file is not understood, and WindowClosed as `schedule` does.
    """
    file = TableFile.open(recipients, encoding)
    text = preparation.template(plan.campaign)
    asked = preparation.screener(plan.campaign, text, recipients, unicode=settings.unicode)
    asked = replace(asked, untyped=file.csv is not None)
    columns = asked.among(file.columns)
    for name in columns:
        if file.columns.count(name) > 1:
            raise SourceError(
                f"{recipients} has {file.columns.count(name)} columns {name!r}: "
                "which one is meant? Rename the others"
            )
    with ThreadPoolExecutor(1, thread_name_prefix="sms-stop-list") as beside:
        reading = beside.submit(_stop_list, stop_list, encoding, plan.campaign.allowed_countries)
        survey = asked.survey(
            _watched("screening", file.batches(columns, NARROW, asked.encodable), file.rows, watch),
            lambda numbers: found_in(reading.result().numbers, numbers),
            plan.limit,
        )
    survey = preparation.typed(text, survey)
    dealt = schedule(
        plan.campaign,
        plan.send_at,
        plan.slot_reason,
        survey.people,
        now=plan.planned_at,
        settings=settings,
    )
    survey = survey.dealt([(each.zone, each.people) for each in dealt.files])
    give_memory_back()
    return Screened(plan, file, tuple(columns), survey, dealt, reading.result())


def _stop_list(path: Path | None, encoding: str | None, countries: Sequence[str]) -> StopList:
    return StopList(NOBODY) if path is None else read_stop_list(path, encoding, countries)


def pieces(
    screened: Screened,
    writer: preparation.Writer,
    left_out: Callable[[pa.RecordBatch], None],
    watch: Watch = unwatched,
) -> Iterator[preparation.Piece]:
    """Messages and bytes, batch after batch; whoever is excluded is handed to `left_out`."""
    survey = screened.survey

    def made(stretch: Stretch) -> tuple[pa.RecordBatch, list[preparation.Piece]]:
        screening = survey.part(stretch)
        return screening.excluded, writer.pieces(screening.audience)

    encoded = survey.screener.encodable
    rows = screened.recipients.batches(screened.columns, encoded=encoded)
    watched = _watched("rendering", rows, survey.candidates, watch)
    for excluded, found in ordered(made, survey.stretches(watched)):
        left_out(excluded)
        for piece in found:
            left_out(piece.rendering.excluded)
            yield piece


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of everybody in a file of recipients."""

    screened: Screened
    tally: preparation.Tally
    faults: list[SourceFault]
    unmet: Sequence[str] = ()  # what is to be said of conditions that nobody meets

    @property
    def excluded(self) -> Counter[str]:
        """How many are left out, by code of the Reason."""
        return self.screened.survey.reasons + self.tally.reasons

    @property
    def variants(self) -> dict[str, Counter[int]]:
        """How many messages of each variant take how many SMS, in the campaign's order."""
        variants = self.screened.plan.campaign.variants
        return {name: self.tally.variants.get(name, Counter()) for name in variants}

    @property
    def read_as(self) -> dict[str, str]:
        """What each column that the text computes with was taken for, where it says no type."""
        return self.screened.survey.read_as

    @property
    def unused(self) -> tuple[str, ...]:
        """The file's columns that nothing was read from: one of them may say who has opted out."""
        screened = self.screened
        return tuple(name for name in screened.recipients.columns if name not in screened.columns)

    @property
    def notes(self) -> tuple[Fault, ...]:
        """What the text says and hardly means."""
        return preparation.notes(self.screened.plan.campaign)

    @property
    def slow_because(self) -> str | None:
        """Why the text can't be rendered by column, if it can't."""
        return preparation.template(self.screened.plan.campaign).slow_because


@dataclass(frozen=True, slots=True)
class Prepared:
    """What `prepare` made; `as_json` is what it writes down."""

    outcome: Outcome
    files: list[tuple[str, send_file.Written]]

    @property
    def hours(self) -> dict[str, File]:
        """What the schedule says of each file, by stem."""
        screened = self.outcome.screened
        stems = screened.plan.stems(screened.schedule)
        return dict(zip(stems, screened.schedule.files, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Counts and names; no number and no text of a person."""
        screened, tally = self.outcome.screened, self.outcome.tally
        plan, excluded = screened.plan, self.outcome.excluded
        variants = {
            name: {"messages": counts.total(), "segments": preparation.sum_of(counts)}
            for name, counts in self.outcome.variants.items()
        }
        return {
            "campaign": plan.campaign.name,
            "campaign_id": plan.campaign_id,
            "run_key": plan.run_key,
            "kind": str(plan.campaign.kind),
            "send_at": plan.send_at.isoformat(),
            "slot_reason": plan.slot_reason,
            "stop_list": len(screened.stop_list.numbers),
            "candidates": screened.survey.candidates,
            "audience": screened.survey.audience,
            "messages": tally.messages,
            "segments": tally.parts,
            "messages_by_segments": {str(size): tally.segments[size] for size in tally.segments},
            **({"variants": variants} if variants else {}),
            "excluded": dict(excluded.most_common()),
            "reasons": {code: SENTENCES[code] for code in sorted(excluded)},
            "replaced": dict(tally.replaced.most_common()),
            "source_faults": [
                {
                    "code": fault.code,
                    "column": fault.column,
                    "count": fault.count,
                    "first_rows": list(fault.rows),
                    "sentence": fault.sentence,
                }
                for fault in self.outcome.faults
            ],
            "slow_because": self.outcome.slow_because,
            "read_as": self.outcome.read_as,
            "unused_columns": list(self.outcome.unused),
            "files": [
                {
                    "name": f"{stem}.csv",
                    "zone": self.hours[stem].zone,
                    "send_at": self.hours[stem].send_at.isoformat(),
                    "reason": self.hours[stem].reason,
                    "messages": written.rows,
                    "segments": written.segments,
                    "bytes": written.size_bytes,
                    "sha256": written.sha256,
                }
                for stem, written in self.files
            ],
        }


def broken_limits(outcome: Outcome, settings: Settings) -> list[str]:
    """The campaign's own limits that would stop a run, as far as no ledger need be asked."""
    survey, campaign = outcome.screened.survey, outcome.screened.plan.campaign
    country, *others = campaign.allowed_countries
    segments = {country: outcome.tally.parts}
    run = limits.Run(survey.candidates, outcome.tally.messages, outcome.excluded, segments)
    # Where there are several countries nobody knows here which text goes to which.
    prices = {country: 0.0} if others else settings.prices
    cost = limits.Cost.of(segments, prices, settings.currency)
    return list(limits.tripped(campaign, run, cost))


def prepare(
    screened: Screened, settings: Settings, out: Path, watch: Watch = unwatched
) -> Prepared:
    """Write the files, everyone left out, and a summary into the folder `out`.

    A file gets its name when it is whole and was judged by the provider's rules. Raises
    SourceError where nobody is left and the campaign's `on_empty` is `fail`.
    """
    plan = screened.plan
    if not screened.survey.audience and plan.campaign.on_empty == "fail":
        raise SourceError(preparation.nobody_passed(screened.recipients.path, screened.survey))
    _make_room(out)
    writer = preparation.Writer(plan, settings, screened.schedule)
    try:
        prepared = _written(screened, settings, out, writer, watch)
    except BaseException as error:
        for stem in writer.stems:
            storage.discard(out / f"{stem}{UNFINISHED}")
            storage.discard(out / f"{stem}.csv")
        if not isinstance(error, SourceError):  # which says to look at who is left out
            storage.discard(out / EXCLUDED)
        raise
    return prepared


def _written(
    screened: Screened, settings: Settings, out: Path, writer: preparation.Writer, watch: Watch
) -> Prepared:
    campaign = screened.plan.campaign
    tally, faults, ways = preparation.Tally(), SourceFaults(), EachWay()
    files: list[tuple[str, send_file.Written]] = []
    made: dict[str, send_file.Output] = {}

    @contextmanager
    def opening(stem: str) -> Iterator[send_file.Output]:
        with storage.writing(out / f"{stem}{UNFINISHED}") as unfinished:
            made[stem] = send_file.Output(unfinished)
            yield made[stem]

    with (
        storage.writing(out / EXCLUDED) as others,
        pa.csv.CSVWriter(others, EXCLUDED_SCHEMA) as excluded,
    ):

        def left_out(batch: pa.RecordBatch) -> None:
            faults.add(batch)
            excluded.write(harmless(batch))

        with preparation.Outputs(writer, opening) as outputs:
            for piece in pieces(screened, writer, left_out, watch):
                outputs.of(piece.stem).add(piece.block)
                tally.add(piece.rendering)
                if piece.rendering.way is not None:
                    ways.fresh(piece.rendering.ways)
    for stem in writer.stems:
        if stem in made and made[stem].written.rows:
            files.append((stem, made[stem].written))
        elif stem in made:
            storage.discard(out / f"{stem}{UNFINISHED}")
    faults.add_suspects(tally.suspects)
    if not files and campaign.on_empty == "fail":
        audience = screened.survey.audience
        raise SourceError(preparation.nothing_to_send(campaign.text_path, audience, tally))
    give_memory_back()
    for stem, _ in files:
        watch("checking", 0, None)
        unfinished = out / f"{stem}{UNFINISHED}"
        with storage.opened(unfinished, "rb") as source:
            preparation.require_faultless(source, stem, settings)
        with storage.told(unfinished, "renamed"):
            unfinished.rename(out / f"{stem}.csv")
    unmet = _unmet(campaign, ways) if files else []
    prepared = Prepared(Outcome(screened, tally, faults.found(), unmet), files)
    summary = json.dumps(prepared.as_json(), indent=1, ensure_ascii=False)
    storage.write_text(out / SUMMARY, summary + "\n")
    return prepared


@dataclass(frozen=True, slots=True)
class Preview:
    """What phones would show; without recipients there is no outcome."""

    messages: pa.RecordBatch  # msisdn, oadc, msg, segments, ...
    outcome: Outcome | None = None


def preview(
    screened: Screened, settings: Settings, samples: int, watch: Watch = unwatched
) -> Preview:
    """Make everything and keep nothing but counts, the first messages and the longest.

    There are so many `samples` of each variant.
    """
    campaign = screened.plan.campaign
    tally, faults = preparation.Tally(), SourceFaults()
    first, longest = FirstOfEach(samples, campaign.variants), _Longest()
    ways, others = EachWay(), list[pa.RecordBatch]()
    writer = preparation.Writer(screened.plan, settings, screened.schedule)
    for piece in pieces(screened, writer, faults.add, watch):
        messages = piece.rendering.messages
        tally.add(piece.rendering)
        longest.look_at(messages)
        first.look_at(messages)
        others.append(messages.take(pa.array(ways.fresh(messages), pa.int64())))
    faults.add_suspects(tally.suspects)
    known = {one for batch in first.found for one in batch["idremote"].to_pylist()}
    more = []
    for batch in (*others, *longest.found):
        new = [place for place, one in enumerate(batch["idremote"].to_pylist()) if one not in known]
        more.append(batch.take(pa.array(new, pa.int64())))
        known |= {*batch["idremote"].to_pylist()}
    schema = preparation.messages_schema(campaign)
    table = pa.Table.from_batches([*first.found, *more], schema=schema)
    [batch] = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    unmet = _unmet(campaign, ways)
    return Preview(batch, Outcome(screened, tally, faults.found(), unmet))


def _unmet(campaign: Campaign, ways: EachWay) -> list[str]:
    """What is to be said of conditions that nobody meets, by the text's file."""
    return [
        f"{Path(one.path).name}, {told}"
        for name, one in preparation.texts(campaign).items()
        for told in ways.unmet(one.conditions, name)
    ]


def preview_of_nobody(plan: Plan, settings: Settings) -> Preview:
    """Each text with every column's name, in capitals, where its value would be."""
    made = [
        named(_of_nobody(plan.campaign, _named(one), settings), name).messages
        for name, one in preparation.texts(plan.campaign).items()
    ]
    return Preview(pa.concat_batches(made))


def _of_nobody(campaign: Campaign, text: Template, settings: Settings) -> Rendering:
    return replace(rendering_of_nobody(campaign, text, settings, str.upper), way=None)


def _named(text: Template) -> Template:
    """The same text, with the names of its columns for logic that no name can stand in for."""
    shown = copy.copy(text)
    shown.pieces = tuple(map(_as_names, text.pieces))
    return shown


def _as_names(piece: Piece) -> Piece:
    if isinstance(piece, Logic):
        try:
            piece.of({name: name.upper() for name in piece.columns})
        except BadCampaign:  # it needs a number, or a date
            return Words(" ".join(piece.columns).upper(), 1)
    return piece


def rendering_of_nobody(
    campaign: Campaign, text: Template, settings: Settings, value: Callable[[str], str]
) -> Rendering:
    """One message, or its exclusion; `value` makes one of a column's name."""
    row = {"row": 1, "key": "1", "msisdn": NOBODYS_NUMBER, "country": "FR", "of_file": 0}
    audience = pa.RecordBatch.from_pylist(
        [{**{name: value(name) for name in text.columns}, **row}],
        preparation.screener(campaign, text).audience_schema(),
    )
    [renderer] = preparation.renderers(campaign, NOBODYS_RUN, text, settings).values()
    return renderer.render(audience)


class _Longest:
    """The longest message so far, if it is longer than those shown anyway."""

    def __init__(self) -> None:
        self.size = 0
        self.found: list[pa.RecordBatch] = []

    def look_at(self, messages: pa.RecordBatch) -> None:
        sizes = pc.utf8_length(messages["msg"])
        size = pc.max(sizes).as_py() or 0
        if size > self.size:
            self.size = size
            self.found = [messages.slice(pc.index(sizes, size).as_py(), 1)]


def _make_room(out: Path) -> None:
    """Make the folder, and take away what an earlier `prepare` wrote there, by its own list."""
    storage.make_folder(out)
    known = set()
    if (out / SUMMARY).exists():
        try:
            before = json.loads((out / SUMMARY).read_text(encoding="utf-8"))
            known = {str(file["name"]) for file in before["files"]}
        except (ValueError, KeyError, TypeError):
            known = set()
    others = sorted(path.name for path in out.glob("SEND-*.csv") if path.name not in known)
    if others:
        raise SourceError(
            f"{out} holds {others[0]}, which this command did not write: choose another folder"
        )
    for path in (*(out / name for name in known), *out.glob(f"SEND-*{UNFINISHED}"), out / SUMMARY):
        with storage.told(path, "removed"):
            path.unlink(missing_ok=True)


def _watched(
    stage: str, batches: Iterable[pa.RecordBatch], of: int | None, watch: Watch
) -> Iterator[pa.RecordBatch]:
    """The same batches; `watch` hears how many rows have passed."""
    rows = 0
    watch(stage, rows, of)
    for batch in batches:
        rows += batch.num_rows
        yield batch
        watch(stage, rows, of)

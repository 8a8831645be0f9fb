"""A campaign made on one machine from files: the bytes that the DAG would upload, without it.

No Airflow, no gateway, no ledger, no clock: what is made depends on the arguments alone.
"""

import copy
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from sms.audience.screening import SENTENCES
from sms.audience.source_faults import SourceFault
from sms.audience.table_files import NOBODY, StopList, TableFile, found_in, read_stop_list
from sms.calendar import send_window
from sms.campaign.definition import Campaign, campaign_id
from sms.campaign.template import Logic, Piece, Template, Words
from sms.columnar.text import give_memory_back
from sms.errors import BadCampaign, SourceError
from sms.message.rendering import Rendering
from sms.message.variants import named
from sms.run import limits, preparation, rendered, screened
from sms.run.preparation import Plan
from sms.run.rendered import Sizes, Tally, sum_of
from sms.run.schedule import PlannedFile
from sms.run.screened import Candidates, ScreenedCandidates, Watch, unwatched
from sms.run.stores import LocalFolder, MessageStore, Samples
from sms.settings import Settings
from sms.wire import send_file
from sms.yaml_files import DocumentFault

UNKNOWN_ACCOUNT = "00000"
NOBODYS_NUMBER = 33639980000  # of the block kept for fiction
NOBODYS_RUN = "nobody"


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


def screen(
    plan: Plan,
    recipients: Path,
    stop_list: Path | None,
    settings: Settings,
    watch: Watch = unwatched,
    *,
    encoding: str | None = None,
) -> "Judged":
    """Judge everybody in a file, and deal them to the run's files.

    Without a stop list nobody is known to have said STOP. `encoding` is that of a CSV that is not
    UTF-8. Raises SourceError where a file is not understood, and WindowClosed as `schedule` does.
    """

    def read() -> StopList:
        if stop_list is None:
            return StopList(NOBODY)
        return read_stop_list(stop_list, encoding, plan.campaign.allowed_countries)

    return judge(plan, TableFile.open(recipients, encoding), read, settings, watch)


def judge(
    plan: Plan,
    candidates: Candidates,
    read: Callable[[], StopList],
    settings: Settings,
    watch: Watch = unwatched,
) -> "Judged":
    """Judge all candidates by a stop list that is read meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="sms-stop-list") as beside:
        reading = beside.submit(read)
        found = screened.screen(
            plan,
            candidates,
            lambda numbers: found_in(reading.result().numbers, numbers),
            settings,
            watch=watch,
        )
    return Judged(found, reading.result())


@dataclass(frozen=True, slots=True)
class Judged:
    """Candidates, judged by a stop list, and ready to be rendered."""

    screened: ScreenedCandidates
    stop_list: StopList


@dataclass(frozen=True)
class Result:
    """What became of everybody in a table of recipients."""

    judged: Judged
    tally: Tally
    unmet: Sequence[str] = ()  # what is to be said of conditions that nobody meets

    @property
    def screened(self) -> ScreenedCandidates:
        """The candidates."""
        return self.judged.screened

    @property
    def stop_list(self) -> StopList:
        """Whose numbers were left out."""
        return self.judged.stop_list

    @property
    def faults(self) -> list[SourceFault]:
        """What is wrong with the source."""
        return self.tally.faults.found()

    @property
    def excluded(self) -> Counter[str]:
        """How many are left out, by code of the Reason."""
        return self.screened.survey.reasons + self.tally.reasons

    @cached_property
    def sizes(self) -> Sizes:
        """The messages by country, variant and SMS."""
        return self.tally.sizes

    @property
    def variants(self) -> dict[str, dict[int, int]]:
        """How many messages of each variant take how many SMS, in the campaign's order."""
        return self.sizes.by_variant(self.screened.plan.campaign)

    @property
    def read_as(self) -> dict[str, str]:
        """What each column that the text computes with was taken for, where it says no type."""
        return self.screened.survey.read_as

    @property
    def unused(self) -> tuple[str, ...]:
        """The columns that nothing was read from."""
        return self.screened.unused

    @property
    def notes(self) -> tuple[DocumentFault, ...]:
        """What the text says and hardly means."""
        return preparation.notes(self.screened.plan.campaign)

    @property
    def slow_because(self) -> str | None:
        """Why the text can't be rendered by column, if it can't."""
        return preparation.template(self.screened.plan.campaign).slow_because


@dataclass(frozen=True, slots=True)
class PreparedFiles:
    """What `prepare` made; `as_json` is what it writes down."""

    outcome: Result
    files: list[tuple[str, send_file.WrittenFile]]

    @property
    def hours(self) -> dict[str, PlannedFile]:
        """What the schedule says of each file, by stem."""
        screened = self.outcome.screened
        stems = screened.plan.stems(screened.schedule)
        return dict(zip(stems, screened.schedule.files, strict=True))

    @property
    def summary(self) -> str:
        """The text of `summary.json`."""
        return json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Counts and names; no number and no text of a person."""
        screened, tally = self.outcome.screened, self.outcome.tally
        plan, excluded, sizes = screened.plan, self.outcome.excluded, self.outcome.sizes
        variants = {
            name: {"messages": sum(counts.values()), "segments": sum_of(counts)}
            for name, counts in self.outcome.variants.items()
        }
        return {
            "campaign": plan.campaign.name,
            "campaign_id": plan.campaign_id,
            "run_key": plan.run_key,
            "kind": str(plan.campaign.kind),
            "send_at": plan.send_at.isoformat(),
            "slot_reason": plan.slot_reason,
            "stop_list": len(self.outcome.stop_list.numbers),
            "candidates": screened.survey.candidates,
            "audience": screened.survey.audience,
            "messages": sizes.messages,
            "segments": sizes.sms,
            "messages_by_segments": {str(size): each for size, each in sizes.by_size.items()},
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


def broken_limits(outcome: Result, settings: Settings) -> list[str]:
    """The campaign's own limits that would stop a run, as far as no ledger need be asked."""
    survey, sizes = outcome.screened.survey, outcome.sizes
    run = limits.Run(survey.candidates, sizes.messages, outcome.excluded, sizes.by_country)
    cost = limits.Cost.of(run.segments, settings.prices, settings.currency)
    return list(limits.tripped(outcome.screened.plan.campaign, run, cost))


def prepare(
    judged: Judged, settings: Settings, out: Path, watch: Watch = unwatched
) -> PreparedFiles:
    """Write the files, everyone left out, and a summary into the folder `out`.

    A file gets its name when it is whole and was judged by the provider's rules. Raises
    SourceError where nobody is left and the campaign's `on_empty` is `fail`.
    """
    rendered.require_audience(judged.screened)
    folder = LocalFolder(out)
    folder.make_room()
    stems = judged.screened.plan.stems(judged.screened.schedule)
    try:
        prepared = make(judged, folder, settings, watch)
        named = [stem for stem, _ in prepared.files]
        folder.discard(stem for stem in stems if stem not in named)
        folder.finish(named, prepared.summary)
    except BaseException as error:
        # A SourceError says to look at who is left out.
        folder.discard(stems, excluded=not isinstance(error, SourceError))
        raise
    return prepared


def make(
    judged: Judged, store: MessageStore, settings: Settings, watch: Watch = unwatched
) -> PreparedFiles:
    """Render into a store, and judge what is there by the provider's rules.

    Raises SourceError where nobody is left and the campaign's `on_empty` is `fail`.
    """
    found = judged.screened
    rendered.require_audience(found)
    made = rendered.render(found.plan, found.schedule, found.screenings(watch), store, settings)
    rendered.require_messages(found.plan.campaign, found.survey.audience, made)
    give_memory_back()
    for stem in made.files:
        watch("checking", 0, None)
        with store.reading_file(stem) as source:
            rendered.require_faultless(source, stem, settings)
    unmet = rendered.unmet(found.plan.campaign, made.tally.ways) if made.files else []
    return PreparedFiles(Result(judged, made.tally, unmet), list(made.files.items()))


@dataclass(frozen=True, slots=True)
class Preview:
    """What phones would show; without recipients there is no outcome."""

    messages: pa.RecordBatch  # msisdn, oadc, msg, segments, ...
    outcome: Result | None = None


def preview(judged: Judged, settings: Settings, samples: int, watch: Watch = unwatched) -> Preview:
    """Make everything and keep nothing but counts, the first messages and the longest.

    There are so many `samples` of each variant.
    """
    found = judged.screened
    campaign = found.plan.campaign
    store = Samples(samples, campaign.variants)
    made = rendered.render(found.plan, found.schedule, found.screenings(watch), store, settings)
    unmet = rendered.unmet(campaign, made.tally.ways)
    messages = store.found(preparation.messages_schema(campaign))
    return Preview(messages, Result(judged, made.tally, unmet))


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

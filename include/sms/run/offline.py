"""Preparation of a campaign from local files: the exact bytes that the DAG would upload.

It needs no Airflow, no gateway, no ledger and no clock: the result depends on the arguments alone.
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
from sms.audience.table_files import NO_NUMBERS, StopList, TableFile, found_in, read_stop_list
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
SAMPLE_NUMBER = 33639980000  # of the range reserved for fiction
SAMPLE_RUN = "nobody"


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
    """The plan of a run that is to send at the instant `at`.

    With the `run_id` of a DAG run and the account's `service_id`, names and IDREMOTEs are the same
    as in that run. Raises WindowClosed.
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
    """Screen the candidates in a file, and assign the recipients to the run's files.

    Without a stop list no number counts as opted out. `encoding` is needed for a CSV that is not
    UTF-8. Raises SourceError if a file can't be read, and WindowClosed like `schedule`.
    """

    def read() -> StopList:
        if stop_list is None:
            return StopList(NO_NUMBERS)
        return read_stop_list(stop_list, encoding, plan.campaign.allowed_countries)

    return judge(plan, TableFile.open(recipients, encoding), read, settings, watch)


def judge(
    plan: Plan,
    candidates: Candidates,
    read: Callable[[], StopList],
    settings: Settings,
    watch: Watch = unwatched,
) -> "Judged":
    """Screen all candidates; `read` reads the stop list at the same time, in a thread."""
    with ThreadPoolExecutor(1, thread_name_prefix="sms-stop-list") as executor:
        reading = executor.submit(read)
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
    """Screened candidates and the stop list used, ready to be rendered."""

    screened: ScreenedCandidates
    stop_list: StopList


@dataclass(frozen=True)
class Result:
    """The result of screening and rendering a table of recipients."""

    judged: Judged
    tally: Tally
    unmet: Sequence[str] = ()  # warnings of conditions that no recipient meets

    @property
    def screened(self) -> ScreenedCandidates:
        """The screened candidates."""
        return self.judged.screened

    @property
    def stop_list(self) -> StopList:
        """The stop list used."""
        return self.judged.stop_list

    @property
    def faults(self) -> list[SourceFault]:
        """The source's faults."""
        return self.tally.faults.found()

    @property
    def excluded(self) -> Counter[str]:
        """How many candidates are left out, by code of the Reason."""
        return self.screened.survey.reasons + self.tally.reasons

    @cached_property
    def sizes(self) -> Sizes:
        """The messages by country, variant and SMS."""
        return self.tally.sizes

    @property
    def variants(self) -> dict[str, dict[int, int]]:
        """For each variant, the number of messages by SMS per message, in the campaign's order."""
        return self.sizes.by_variant(self.screened.plan.campaign)

    @property
    def read_as(self) -> dict[str, str]:
        """The type assumed for each column without a type that the text computes with."""
        return self.screened.survey.read_as

    @property
    def unused(self) -> tuple[str, ...]:
        """The columns that were not read."""
        return self.screened.unused

    @property
    def notes(self) -> tuple[DocumentFault, ...]:
        """Warnings of likely mistakes in the text."""
        return preparation.notes(self.screened.plan.campaign)

    @property
    def slow_because(self) -> str | None:
        """Why the text is rendered row by row, if it can't be rendered by column."""
        return preparation.template(self.screened.plan.campaign).slow_because


@dataclass(frozen=True, slots=True)
class PreparedFiles:
    """The result of `prepare`; `as_json` is the content of its summary."""

    outcome: Result
    files: list[tuple[str, send_file.WrittenFile]]

    @property
    def hours(self) -> dict[str, PlannedFile]:
        """Each file's entry in the schedule, by stem."""
        screened = self.outcome.screened
        stems = screened.plan.stems(screened.schedule)
        return dict(zip(stems, screened.schedule.files, strict=True))

    @property
    def summary(self) -> str:
        """The text of `summary.json`."""
        return json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n"

    def as_json(self) -> dict[str, Any]:
        """Counts and names, without phone numbers or texts."""
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
    """A sentence for each limit that would stop a run, except those that need the ledger."""
    survey, sizes = outcome.screened.survey, outcome.sizes
    run = limits.Run(survey.candidates, sizes.messages, outcome.excluded, sizes.by_country)
    cost = limits.Cost.of(run.segments, settings.prices, settings.currency)
    return list(limits.tripped(outcome.screened.plan.campaign, run, cost))


def prepare(
    judged: Judged, settings: Settings, out: Path, watch: Watch = unwatched
) -> PreparedFiles:
    """Write the files, the excluded candidates and a summary into the folder `out`.

    A file gets its final name once it is whole and passes the provider's rules. Raises SourceError
    if no recipient is left and the campaign's `on_empty` is `fail`.
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
        # A SourceError refers to the excluded candidates, so their file stays.
        folder.discard(stems, excluded=not isinstance(error, SourceError))
        raise
    return prepared


def make(
    judged: Judged, store: MessageStore, settings: Settings, watch: Watch = unwatched
) -> PreparedFiles:
    """Render into a store, and check the files by the provider's rules.

    Raises SourceError if no recipient is left and the campaign's `on_empty` is `fail`.
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
    """Messages as phones would show them; `outcome` is None without recipients."""

    messages: pa.RecordBatch  # msisdn, oadc, msg, segments, ...
    outcome: Result | None = None


def preview(judged: Judged, settings: Settings, samples: int, watch: Watch = unwatched) -> Preview:
    """Render everything, and keep only counts, the first messages and the longest.

    `samples` is the number of first messages of each variant.
    """
    found = judged.screened
    campaign = found.plan.campaign
    store = Samples(samples, campaign.variants)
    made = rendered.render(found.plan, found.schedule, found.screenings(watch), store, settings)
    unmet = rendered.unmet(campaign, made.tally.ways)
    messages = store.found(preparation.messages_schema(campaign))
    return Preview(messages, Result(judged, made.tally, unmet))


def preview_of_names(plan: Plan, settings: Settings) -> Preview:
    """Each text with the columns' names, in capitals, in place of their values."""
    batches = [
        named(_rendering_of_names(plan.campaign, _named(one), settings), name).messages
        for name, one in preparation.texts(plan.campaign).items()
    ]
    return Preview(pa.concat_batches(batches))


def _rendering_of_names(campaign: Campaign, text: Template, settings: Settings) -> Rendering:
    return replace(rendering_of_sample(campaign, text, settings, str.upper), way=None)


def _named(text: Template) -> Template:
    """The same text, with column names in place of logic that fails on names."""
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


def rendering_of_sample(
    campaign: Campaign, text: Template, settings: Settings, value: Callable[[str], str]
) -> Rendering:
    """One message, or its exclusion; `value` returns a column's value from its name."""
    row = {"row": 1, "key": "1", "msisdn": SAMPLE_NUMBER, "country": "FR", "of_file": 0}
    audience = pa.RecordBatch.from_pylist(
        [{**{name: value(name) for name in text.columns}, **row}],
        preparation.screener(campaign, text).audience_schema(),
    )
    [renderer] = preparation.renderers(campaign, SAMPLE_RUN, text, settings).values()
    return renderer.render(audience)

"""From candidates to the exact bytes, in streams: what the DAG's stages and `sms prepare` share.

What belongs here: the plan of a run, and the screening and rendering of its people, batch by
batch. What doesn't: where rows come from, where anything is kept, the ledger.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from io import BufferedIOBase
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from sms.audience.residence import Geography
from sms.audience.screening import Screener, Survey
from sms.audience.source_faults import FIRST_ROWS, Suspects
from sms.campaign import stop_mentions
from sms.campaign.definition import Campaign
from sms.campaign.template import Template
from sms.columnar.threads import ordered
from sms.columnar.values import Kind
from sms.errors import SourceError
from sms.message.rendering import MESSAGES_SCHEMA, VARIANT, WAY, Renderer, Rendering
from sms.message.variants import Assignment, HoldOut, Texts, VariantRenderer, histograms
from sms.run.schedule import Schedule
from sms.settings import Settings
from sms.wire import inspection, send_file
from sms.wire.names import SubmissionName
from sms.words import count
from sms.yaml_files import Fault

Open = TypeVar("Open")
# What the cells of a source without types may look like by chance.
GUESSED = (Kind.INTEGER, Kind.DECIMAL, Kind.DATE, Kind.TIMESTAMP)


class Plan(BaseModel):
    """What a run is going to do, fixed before anything is read; the later stages obey it."""

    model_config = ConfigDict(frozen=True)

    run_key: str
    campaign: Campaign
    campaign_id: str
    service_id: str
    send_at: datetime
    slot_reason: str
    at_once: bool
    dry_run: bool
    limit: int | None
    planned_at: datetime

    def stem(self, part: int, parts: int, send_at: datetime | None = None) -> str:
        """A part's name at the gateway; a single file has no suffix (R1).

        Without an hour of its own a part has the plan's.
        """
        suffix = f"p{part:02d}" if parts > 1 else ""
        name = self.campaign_id + suffix
        return SubmissionName(self.service_id, send_at or self.send_at, name).stem

    def stems(self, schedule: Schedule) -> list[str]:
        """The names of a schedule's files."""
        files = schedule.files
        return [
            self.stem(number, len(files), each.send_at)
            for number, each in enumerate(files, start=1)
        ]


def texts(campaign: Campaign) -> dict[str, Template]:
    """The campaign's texts, compiled, by variant; without variants one, by "". BadCampaign."""
    return {name: Template(text, str(path)) for name, (path, text) in campaign.texts.items()}


def template(campaign: Campaign) -> Template | Texts:
    """The campaign's text, compiled, or its variants' texts. Raises BadCampaign."""
    compiled = texts(campaign)
    return Texts(compiled) if campaign.variants else compiled[""]


def notes(campaign: Campaign) -> tuple[Fault, ...]:
    """What the campaign's texts say and hardly mean."""
    doubled = (
        note
        for text in texts(campaign).values()
        for note in stop_mentions.doubled(text, campaign.stop_mention)
    )
    return (*template(campaign).notes, *doubled)


def screener(
    campaign: Campaign, text: Template | Texts, query: Any = None, *, unicode: bool = False
) -> Screener:
    """What the campaign asks of its candidates; `query` names where they come from in errors.

    `unicode` is the settings'.
    """
    geography = Geography.of(campaign)
    return Screener(
        columns=text.columns,
        computed=text.computed,
        needed=text.needed,
        allowed_countries=campaign.allowed_countries,
        national_numbers=campaign.national_numbers,
        key=campaign.key,
        msisdn=campaign.msisdn,
        postcode=campaign.postcode if geography.by_postcode else None,
        lacks_postcode=geography.lacks_postcode,
        geography=geography,
        held_out=HoldOut(campaign.name, campaign.held_out) if campaign.held_out else None,
        unicode=unicode,
        query=str(query or campaign.sql_path),
        text=text.path,
    )


def typed(text: Template | Texts, survey: Survey) -> Survey:
    """The survey with the kinds that the text asks for, where its source has no types.

    A column of whole numbers may be one of codes: if the text takes it for text, so it is. Raises
    BadCampaign for the first expression that values of their kinds would break.
    """
    known = dict(survey.kinds)
    broken = text.broken_by(known)
    guessed = [name for name in survey.screener.computed if known.get(name) in GUESSED]
    for name in guessed if survey.screener.untyped and broken else ():
        as_text = known | {name: Kind.TEXT}
        left = text.broken_by(as_text)
        if len(left) < len(broken):
            known, broken = as_text, left
    for error in broken:
        raise error
    return replace(survey, kinds=known)


def renderer(
    campaign: Campaign, campaign_id: str, text: Template | Texts, settings: Settings
) -> Renderer | VariantRenderer:
    """What writes the campaign's messages. Raises BadCampaign for a text that nobody can get."""
    each = renderers(campaign, campaign_id, text, settings)
    if isinstance(text, Template):
        return each[""]
    return VariantRenderer(Assignment(campaign.name, campaign.weights), each)


def renderers(
    campaign: Campaign, campaign_id: str, text: Template | Texts, settings: Settings
) -> dict[str, Renderer]:
    """What writes the messages of each variant; without variants all of them, by ""."""
    by_variant = {"": text} if isinstance(text, Template) else text.by_variant
    return {
        name: Renderer(
            template=one,
            sender=campaign.sender,
            campaign_id=campaign_id,
            stop_mention=campaign.stop_mention,
            long_sms=settings.long_sms,
            unicode=settings.unicode,
            unsupported=campaign.unsupported,
            delimiter_in_text=settings.delimiter_in_text,
            encoding=settings.encoding,
        )
        for name, one in by_variant.items()
    }


def messages_schema(campaign: Campaign) -> pa.Schema:
    """The columns of the campaign's messages."""
    schema = MESSAGES_SCHEMA.append(VARIANT) if campaign.variants else MESSAGES_SCHEMA
    return schema.append(WAY) if template(campaign).conditions else schema


def dialect(settings: Settings) -> send_file.Dialect:
    """How the gateway wants its CSV."""
    return send_file.Dialect(settings.encoding, settings.delimiter_in_text)


def rules(settings: Settings) -> inspection.Rules:
    """What the account may send."""
    return inspection.Rules(long_sms=settings.long_sms, unicode=settings.unicode)


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch of one file: its messages, whom it leaves out, and its bytes."""

    stem: str
    rendering: Rendering
    block: send_file.Block


class Writer:
    """Makes the files of a run from its audience, a batch at a time and in any order (R1).

    Who is in which file was settled before a text leaves anybody out.
    """

    def __init__(self, plan: Plan, settings: Settings, schedule: Schedule) -> None:
        text = template(plan.campaign)
        self._renderer = renderer(plan.campaign, plan.campaign_id, text, settings)
        self._dialect = dialect(settings)
        self.stems = plan.stems(schedule)
        self.files = dict(zip(self.stems, schedule.files, strict=True))

    def pieces(self, audience: pa.RecordBatch) -> list[Piece]:
        """The messages and bytes of a batch, by file."""
        numbers = audience.column("of_file").to_numpy()
        made = []
        for number in np.unique(numbers).tolist():
            here = numbers == number
            some = audience if here.all() else audience.filter(pa.array(here))
            rendering = self._renderer.render(some)
            made.append(Piece(self.stems[number], rendering, rendering.block(self._dialect)))
        return made


class Outputs(AbstractContextManager["Outputs[Open]"], Generic[Open]):
    """The files that are being written, by stem: of each zone one at a time.

    People are dealt to a zone's files in order, so that one is whole when the next begins, and
    what is held of open files stays little. `opening` opens the file of a stem.
    """

    def __init__(
        self, writer: Writer, opening: Callable[[str], AbstractContextManager[Open]]
    ) -> None:
        self._files = writer.files
        self._opening = opening
        self._open: dict[str, tuple[str, ExitStack, Open]] = {}

    def of(self, stem: str) -> Open:
        """The file of a stem, opened if it is not yet."""
        zone = self._files[stem].zone
        held = self._open.get(zone)
        if held is None or held[0] != stem:
            if held:
                del self._open[zone]
                held[1].close()
            with ExitStack() as opening:
                file = opening.enter_context(self._opening(stem))
                held = self._open[zone] = (stem, opening.pop_all(), file)
        return held[2]

    def __exit__(self, *error: Any) -> bool | None:
        """Finish what is open; after an error, by its own account of that."""
        everything = ExitStack()
        for _, file, _ in self._open.values():
            everything.push(file)
        return everything.__exit__(*error)


def rendered(writer: Writer, audience: Iterable[pa.RecordBatch]) -> Iterator[Piece]:
    """The messages and bytes of an audience, batch after batch."""
    for made in ordered(writer.pieces, audience):
        yield from made


@dataclass(slots=True)
class Tally:
    """What the rendering of all batches comes to."""

    reasons: Counter[str] = field(default_factory=Counter)  # excluded, by code of the Reason
    replaced: Counter[str] = field(default_factory=Counter)  # by character, "U+00E7"
    segments: Counter[int] = field(default_factory=Counter)  # messages by their segments
    variants: dict[str, Counter[int]] = field(default_factory=dict)  # the same of each variant
    suspects: dict[str, Suspects] = field(default_factory=dict)  # messages that look broken

    def add(self, rendering: Rendering) -> None:
        """Take in one batch, in the order of the rows."""
        self.reasons.update(rendering.reasons)
        self.replaced.update(rendering.replaced)
        self.segments.update(histogram(pa.array(rendering.segments)))
        if rendering.variant is not None:
            told = histograms(rendering.variant, pa.array(rendering.segments))
            for name, counts in told.items():
                self.variants.setdefault(name, Counter()).update(counts)
        for code, rows in rendering.suspects.items():
            known = self.suspects.setdefault(code, {"count": 0, "rows": []})
            known["count"] += len(rows)
            known["rows"] += rows[: FIRST_ROWS - len(known["rows"])].tolist()

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return self.segments.total()

    @property
    def parts(self) -> int:
        """How many SMS they are."""
        return sum_of(self.segments)


def histogram(segments: pa.Array) -> dict[int, int]:
    """How many messages have how many segments."""
    counts = pc.value_counts(segments)
    return {each["values"]: each["counts"] for each in counts.to_pylist()}


def sum_of(histogram: Mapping[int, int]) -> int:
    """All segments of a histogram of segments."""
    return sum(size * count for size, count in histogram.items())


def require_faultless(source: BufferedIOBase, stem: str, settings: Settings) -> None:
    """Judge a file's very bytes by the provider's rules; SourceError tells the first fault."""
    faults = inspection.check(source, dialect(settings), rules(settings))
    if faults:
        raise SourceError(
            f"{stem}.csv breaks the provider's rules at {len(faults)} places, the first in line "
            f"{faults[0].line}: {faults[0].sentence}. It is not uploaded; this is a defect of "
            "ours, please report it with the run's folder at hand"
        )


def nobody_passed(query: Any, survey: Survey) -> str:
    """The sentence on an audience of nobody."""
    return (
        f"{query} leaves nobody to write to: of {count(survey.candidates, 'candidate')} "
        f"{_told(survey.reasons)}. Correct the query, or set on_empty: skip in campaign.yaml"
    )


def nothing_to_send(text: Any, audience: int, tally: Tally) -> str:
    """The sentence on a text that reaches nobody."""
    return (
        f"{text} can be sent to nobody: of {count(audience, 'recipient')} {_told(tally.reasons)}. "
        "Correct the text or the query"
    )


def _told(reasons: Counter[str]) -> str:
    return ", ".join(f"{rows} {reason}" for reason, rows in reasons.most_common()) or "none"

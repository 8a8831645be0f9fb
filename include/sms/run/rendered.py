"""The rendering of a run's audience: messages and exact bytes, the same for every store.

What belongs here: which message goes to which file, the order of the work, and its counts. What
doesn't: the rendering of a text (`sms.message`), stores (`sms.run.stores`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from sms.audience.source_faults import FIRST_ROWS, SourceFault, SourceFaults, Suspects
from sms.campaign.definition import Campaign
from sms.columnar.threads import ordered
from sms.errors import SourceError
from sms.message.rendering import Group, Rendering
from sms.message.samples import EachWay
from sms.run import preparation
from sms.run.preparation import Plan
from sms.run.schedule import Schedule
from sms.run.screened import Making, ScreenedCandidates
from sms.run.stores import MessageStore, OpenFile
from sms.settings import Settings
from sms.wire import inspection, send_file
from sms.words import count

Open = TypeVar("Open")


@dataclass(frozen=True, slots=True)
class Piece:
    """A batch of one file: its messages, its exclusions, and its bytes."""

    stem: str
    rendering: Rendering
    block: send_file.Block


class Writer:
    """Renders the audience into the files of a run, a batch at a time and in any order (R1).

    Each recipient's file was fixed before a text excludes a recipient.
    """

    def __init__(self, plan: Plan, settings: Settings, schedule: Schedule) -> None:
        text = preparation.template(plan.campaign)
        self._renderer = preparation.renderer(plan.campaign, plan.campaign_id, text, settings)
        self._dialect = preparation.dialect(settings)
        self.stems = plan.stems(schedule)
        self.files = dict(zip(self.stems, schedule.files, strict=True))

    def pieces(self, audience: pa.RecordBatch) -> list[Piece]:
        """The messages and bytes of a batch, by file."""
        numbers = audience.column("of_file").to_numpy()
        pieces = []
        for number in np.unique(numbers).tolist():
            in_file = numbers == number
            rows = audience if in_file.all() else audience.filter(pa.array(in_file))
            rendering = self._renderer.render(rows)
            pieces.append(Piece(self.stems[number], rendering, rendering.block(self._dialect)))
            _ = rendering.groups  # counted in this thread, while others render
        return pieces


class Outputs(AbstractContextManager["Outputs[Open]"], Generic[Open]):
    """The files that are being written, by stem: at most one of each zone.

    A zone's recipients are assigned to its files in order, so one file is complete when the next
    begins, and few files are open at once. `opening` opens the file of a stem.
    """

    def __init__(
        self, writer: Writer, opening: Callable[[str], AbstractContextManager[Open]]
    ) -> None:
        self._files = writer.files
        self._opening = opening
        self._open: dict[str, tuple[str, ExitStack, Open]] = {}

    def of(self, stem: str) -> Open:
        """The file of a stem; opens it first if needed."""
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
        """Close the open files; each of them receives the error, if there is one."""
        files = ExitStack()
        for _, file, _ in self._open.values():
            files.push(file)
        return files.__exit__(*error)


@dataclass(slots=True)
class Tally:
    """The counts of a rendering, over all batches."""

    reasons: Counter[str] = field(default_factory=Counter)  # excluded, by code of the Reason
    replaced: Counter[str] = field(default_factory=Counter)  # by character, "U+00E7"
    groups: Counter[Group] = field(default_factory=Counter)  # of messages
    suspects: dict[str, Suspects] = field(default_factory=dict)  # messages that look broken
    faults: SourceFaults = field(default_factory=SourceFaults)  # of excluded recipients
    ways: EachWay = field(default_factory=EachWay)  # through the conditions of the texts
    showing: dict[str, list[int]] = field(default_factory=dict)  # by stem, rows for each way

    def add(self, piece: Piece, before: int) -> None:
        """Add one batch; batches come in row order. Its file has `before` messages already."""
        rendering = piece.rendering
        self.reasons.update(rendering.reasons)
        self.replaced.update(rendering.replaced)
        self.groups.update(rendering.groups)
        for code, rows in rendering.suspects.items():
            suspects = self.suspects.setdefault(code, {"count": 0, "rows": []})
            suspects["count"] += len(rows)
            suspects["rows"] += rows[: FIRST_ROWS - len(suspects["rows"])].tolist()
        if rendering.way is not None:
            fresh = self.ways.fresh(rendering.ways)
            self.showing.setdefault(piece.stem, []).extend(before + row for row in fresh)

    @property
    def sizes(self) -> "Sizes":
        """The messages by country, variant and SMS."""
        return Sizes(self.groups)

    def kept(self, campaign: Campaign) -> "Counts":
        """The counts that a run's folder keeps for the review."""
        return Counts(
            groups=[(*group, messages) for group, messages in sorted(self.groups.items())],
            faults=self.faults.found(),
            showing=self.showing,
            unmet=unmet(campaign, self.ways),
        )


class Sizes:
    """How many messages a run has, and how many SMS they are."""

    def __init__(self, groups: Mapping[Group, int]) -> None:
        columns = ["country", "variant", "size", "messages"]
        rows = [(*group, messages) for group, messages in sorted(groups.items())]
        self.table = pd.DataFrame.from_records(rows, columns=columns)
        self.table["sms"] = self.table["size"] * self.table["messages"]

    @property
    def messages(self) -> int:
        """How many messages there are."""
        return int(self.table["messages"].sum())

    @property
    def sms(self) -> int:
        """How many SMS they are."""
        return int(self.table["sms"].sum())

    @property
    def by_size(self) -> dict[int, int]:
        """The number of messages, by SMS per message."""
        return _by_name(self.table.groupby("size")["messages"].sum())

    @property
    def by_country(self) -> dict[str, int]:
        """How many SMS go to each country."""
        return _by_name(self.table.groupby("country")["sms"].sum())

    def by_variant(self, campaign: Campaign) -> dict[str, dict[int, int]]:
        """For each variant, the number of messages by SMS per message, in the campaign's order."""
        of_each = {name: self.table[self.table["variant"] == name] for name in campaign.variants}
        return {
            name: _by_name(rows.groupby("size")["messages"].sum()) for name, rows in of_each.items()
        }


def _by_name(sums: "pd.Series[Any]") -> dict[Any, int]:
    return dict(zip(sums.index.tolist(), sums.tolist(), strict=True))


class Counts(BaseModel):
    """The counts of a rendering, kept so that the review need not read the messages again."""

    model_config = ConfigDict(frozen=True)

    groups: list[tuple[str, str, int, int]]  # a Group, and how many messages
    faults: list[SourceFault]  # of recipients that the rendering excluded, and of suspect texts
    showing: dict[str, list[int]]  # by stem, rows of messages that show each way through the texts
    unmet: list[str]  # warnings of conditions that no recipient meets

    @property
    def sizes(self) -> Sizes:
        """The messages by country, variant and SMS."""
        return Sizes({(country, name, size): each for country, name, size, each in self.groups})


def sum_of(histogram: Mapping[int, int]) -> int:
    """The total of segments in a histogram of segments per message."""
    return sum(size * count for size, count in histogram.items())


@dataclass(frozen=True, slots=True)
class Made:
    """The result of a rendering: its counts, and its files that are not empty, by stem."""

    tally: Tally
    files: dict[str, send_file.WrittenFile]


def render(
    plan: Plan,
    schedule: Schedule,
    screenings: Iterable[Making],
    store: MessageStore,
    settings: Settings,
) -> Made:
    """Write the messages and the exact bytes of each file, in one pass.

    `screenings` come from `ScreenedCandidates.screenings` or from `already_divided`.
    """
    writer = Writer(plan, settings, schedule)
    schema = preparation.messages_schema(plan.campaign)
    tally = Tally()
    written: dict[str, send_file.WrittenFile] = {}

    @contextmanager
    def opening(stem: str) -> Iterator[OpenFile]:
        with store.writing_file(stem, schema) as file:
            yield file
            written[stem] = file.output.written

    def made(screening: Making) -> tuple[pa.RecordBatch, list[Piece]]:
        found = screening()
        pieces = writer.pieces(found.audience)
        return _by_row([found.excluded, *(each.rendering.excluded for each in pieces)]), pieces

    with store.writing_left_out() as leave_out, Outputs(writer, opening) as outputs:
        for excluded, pieces in ordered(made, screenings):
            leave_out(excluded)
            tally.faults.add(excluded)
            for piece in pieces:
                file = outputs.of(piece.stem)
                tally.add(piece, file.output.written.rows)
                file.add(piece.rendering, piece.block)
    tally.faults.add_suspects(tally.suspects)
    files = {stem: written[stem] for stem in writer.stems if stem in written}
    return Made(tally, {stem: each for stem, each in files.items() if each.rows})


def _by_row(excluded: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """The same rows, in the order of the candidates."""
    batches = [each for each in excluded if each.num_rows]
    if len(batches) > 1:
        return pa.concat_batches(batches).sort_by("row")
    return (batches or excluded)[0]


def unmet(campaign: Campaign, ways: EachWay) -> list[str]:
    """Warnings of conditions that no recipient meets, with the text's file."""
    return [
        f"{Path(one.path).name}, {warning}"
        for name, one in preparation.texts(campaign).items()
        for warning in ways.unmet(one.conditions, name)
    ]


def require_faultless(source: BufferedIOBase, stem: str, settings: Settings) -> None:
    """Check a file's bytes by the provider's rules. Raises SourceError with the first fault."""
    faults = inspection.check(source, preparation.dialect(settings), preparation.rules(settings))
    if faults:
        raise SourceError(
            f"{stem}.csv breaks the provider's rules at {len(faults)} places, the first in line "
            f"{faults[0].line}: {faults[0].sentence}. It is not uploaded. This is a bug: please "
            "report it, and keep the run's folder"
        )


def require_audience(screened: ScreenedCandidates) -> None:
    """Raise SourceError for an empty audience, if the campaign's `on_empty` is `fail`."""
    survey = screened.survey
    if not survey.audience and screened.plan.campaign.on_empty == "fail":
        raise SourceError(
            f"{screened.candidates.name} leaves no recipient: of "
            f"{count(survey.candidates, 'candidate')} {_reasons_text(survey.reasons)}. Correct the "
            "query, or set on_empty: skip in campaign.yaml"
        )


def require_messages(campaign: Campaign, audience: int, made: Made) -> None:
    """Raise SourceError if no message could be rendered and `on_empty` is `fail`."""
    if not made.files and campaign.on_empty == "fail":
        raise SourceError(
            f"{campaign.text_path} can be sent to no recipient: of "
            f"{count(audience, 'recipient')} {_reasons_text(made.tally.reasons)}. Correct the text "
            "or the query"
        )


def _reasons_text(reasons: Counter[str]) -> str:
    return ", ".join(f"{rows} {reason}" for reason, rows in reasons.most_common()) or "none"

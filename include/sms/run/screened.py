"""The screening of a run's candidates: the same code for a query's answer, a file and a frame.

What belongs here: reading candidates twice, screening them, and assigning them to the run's files.
What doesn't: the reasons for an exclusion (`sms.audience.screening`), stores (`sms.run.stores`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Protocol, TypeAlias

import pyarrow as pa

from sms.audience.screening import EXCLUDED_SCHEMA, Asked, Reason, Screening, Survey
from sms.audience.source_faults import SourceFaults
from sms.audience.table_files import BATCH, NARROW
from sms.campaign.definition import Campaign
from sms.columnar import parquet
from sms.columnar.text import give_memory_back
from sms.columnar.threads import ordered
from sms.errors import SourceError
from sms.run import preparation
from sms.run.preparation import Plan
from sms.run.schedule import Schedule, schedule
from sms.run.stores import AudienceStore
from sms.settings import Settings

# Progress callback: a stage, its rows done, and its total of rows (None: not known yet).
Watch: TypeAlias = Callable[[str, int, int | None], None]
# Screens a batch of rows, in any thread: audience, and excluded.
Making: TypeAlias = Callable[[], Screening]
# Returns the files and hours for the number of recipients in each zone.
Dealing: TypeAlias = Callable[[Campaign, Mapping[str, int]], Schedule]


def unwatched(stage: str, rows: int, of: int | None) -> None:
    """Report no progress."""


class Candidates(Protocol):
    """Rows that can be read several times: a query's answer, a table in a file, a frame."""

    @property
    def name(self) -> str:
        """The source's name in errors."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of its columns."""

    @property
    def rows(self) -> int | None:
        """How many rows there are; None if that is not known before they are read."""

    @property
    def is_typed(self) -> bool:
        """Whether its columns have types; a CSV's cells are text."""

    def batches(
        self, columns: Sequence[str], rows: int = BATCH, encoded: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """All rows in order, with these columns; those of `encoded` may be dictionary-encoded."""


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The candidates in a run's folder, as the query returned them."""

    path: parquet.FilePath
    name: str

    @property
    def columns(self) -> Sequence[str]:
        """The query's columns."""
        return parquet.columns(self.path)

    @property
    def rows(self) -> int | None:
        """How many rows the query returned."""
        return parquet.rows(self.path)

    @property
    def is_typed(self) -> bool:
        """True: each column's field has its kind."""
        return True

    def batches(
        self, columns: Sequence[str], rows: int = BATCH, encoded: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """All rows, as text."""
        yield from parquet.batches(self.path, columns)


@dataclass(frozen=True, slots=True)
class ScreenedCandidates:
    """Screened candidates, ready to be divided and rendered."""

    plan: Plan
    candidates: Candidates
    columns: tuple[str, ...]  # that are read
    survey: Survey
    schedule: Schedule

    @property
    def unused(self) -> tuple[str, ...]:
        """The columns that were not read; one of them may hold opt-outs."""
        return tuple(name for name in self.candidates.columns if name not in self.columns)

    @property
    def audience_schema(self) -> pa.Schema:
        """The schema of the audience; the text's columns have their kinds."""
        return self.survey.screener.audience_schema(self.survey.kinds)

    def screenings(self, watch: Watch = unwatched, stage: str = "rendering") -> Iterator[Making]:
        """Read all rows again, batch by batch; each result screens its batch when it is called.

        Columns that only the survey needs, such as countries, are not read again.
        """
        asked = self.survey.screener
        needed = {asked.key, asked.msisdn, *asked.carried}
        columns = [name for name in self.columns if name in needed]
        rows = self.candidates.batches(columns, encoded=asked.encodable)
        seen = _watched(stage, rows, self.survey.candidates, watch)
        for stretch in self.survey.stretches(seen):
            yield partial(self.survey.part, stretch)


def screen(
    plan: Plan,
    candidates: Candidates,
    opted_out: Asked,
    settings: Settings,
    *,
    spared: Mapping[Reason, Asked] = MappingProxyType({}),
    deal: Dealing | None = None,
    watch: Watch = unwatched,
) -> ScreenedCandidates:
    """Screen all candidates, and assign the recipients to the run's files.

    `opted_out` and each of `spared` take sorted numbers and return those in their list. `deal` is
    `dealing` by default. Raises SourceError if the candidates can't be read, and WindowClosed like
    `schedule`.
    """
    text = preparation.template(plan.campaign)
    asked = preparation.screener(plan.campaign, text, candidates.name, unicode=settings.unicode)
    asked = replace(asked, untyped=not candidates.is_typed)
    present = candidates.columns
    columns = asked.among(present)
    _require_each_once(columns, present, candidates.name)
    rows = candidates.batches(columns, NARROW, asked.encodable)
    seen = _watched("screening", rows, candidates.rows, watch)
    survey = preparation.typed(text, asked.survey(seen, opted_out, plan.limit, spared))
    dealt = (deal or dealing(plan, settings))(plan.campaign, survey.people)
    survey = survey.dealt([(each.zone, each.people) for each in dealt.files])
    give_memory_back()
    return ScreenedCandidates(plan, candidates, tuple(columns), survey, dealt)


def dealing(plan: Plan, settings: Settings) -> Dealing:
    """A function that returns a plan's files and hours; it raises WindowClosed when called."""

    def deal(campaign: Campaign, people: Mapping[str, int]) -> Schedule:
        hour, why, now = plan.send_at, plan.slot_reason, plan.planned_at
        return schedule(campaign, hour, why, people, now=now, settings=settings)

    return deal


def divide(
    screened: ScreenedCandidates, store: AudienceStore, watch: Watch = unwatched
) -> SourceFaults:
    """Store audience and excluded rows, and return the source's faults among the excluded."""
    faults = SourceFaults()
    with (
        store.writing_audience(screened.audience_schema) as keep,
        store.writing_excluded() as leave_out,
    ):
        for screening in ordered(_call, screened.screenings(watch, "dividing")):
            keep(screening.audience)
            leave_out(screening.excluded)
            faults.add(screening.excluded)
    return faults


def already_divided(audience: Iterable[pa.RecordBatch]) -> Iterator[Making]:
    """The audience that an earlier stage stored, as screenings without exclusions."""
    for batch in audience:
        yield partial(Screening, batch, _NO_EXCLUSIONS)


_NO_EXCLUSIONS = pa.RecordBatch.from_pylist([], EXCLUDED_SCHEMA)


def _call(screening: Making) -> Screening:
    return screening()


def _require_each_once(columns: Iterable[str], present: Sequence[str], where: str) -> None:
    for name in columns:
        if present.count(name) > 1:
            raise SourceError(
                f"{where} has {present.count(name)} columns {name!r}, and only one is expected: "
                "rename the others"
            )


def _watched(
    stage: str, batches: Iterable[pa.RecordBatch], of: int | None, watch: Watch
) -> Iterator[pa.RecordBatch]:
    """The same batches; `watch` is called with the number of rows so far."""
    rows = 0
    watch(stage, rows, of)
    for batch in batches:
        rows += batch.num_rows
        yield batch
        watch(stage, rows, of)

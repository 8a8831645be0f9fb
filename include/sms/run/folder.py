"""A run's folder: which files it has, and how each of them is read and written.

The names tell the story in order; `messages` and `send_file` are one for each file at the gateway.
What the files mean belongs to the stages that write them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Self, TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from sms import remedies, storage
from sms.audience.screening import EXCLUDED_SCHEMA
from sms.audience.source_faults import SourceFault
from sms.columnar import parquet
from sms.errors import LedgerError
from sms.ledger.records import PROOF
from sms.remedies import Task
from sms.run.preparation import Plan
from sms.run.rendered import Counts
from sms.run.schedule import Schedule
from sms.run.stores import Keep, OpenFile
from sms.storage import StoragePath
from sms.wire import send_file
from sms.wire.send_file import DelimiterInText

Kept = TypeVar("Kept", bound=BaseModel)


class Rendered(BaseModel):
    """By what a run's files were made: what they are judged by until they have left."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    encoding: str
    delimiter_in_text: DelimiterInText


class Faults(BaseModel):
    """What is wrong with a source, as the screening found it."""

    model_config = ConfigDict(frozen=True)

    found: list[SourceFault]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run, local or in an object store."""

    path: StoragePath

    def __str__(self) -> str:
        return str(self.path)

    # Parquet files, which are read and written as streams

    @property
    def candidates(self) -> StoragePath:
        """The query's rows as they came."""
        return self.path / "01_candidates.parquet"

    @property
    def audience(self) -> StoragePath:
        """The recipients, each in a file."""
        return self.path / "02_audience.parquet"

    @property
    def excluded(self) -> StoragePath:
        """The candidates that the screening left out, each with a Reason."""
        return self.path / "02_excluded.parquet"

    @property
    def unrendered(self) -> StoragePath:
        """The recipients whose text could not be written, each with a Reason."""
        return self.path / "03_excluded.parquet"

    def messages(self, stem: str) -> StoragePath:
        """The rows of one file."""
        return self.path / f"03_messages-{stem}.parquet"

    # The files that go to the gateway

    def send_file(self, stem: str) -> StoragePath:
        """The exact bytes of one file, as prepared and reviewed."""
        return self.path / f"05_{stem}.csv"

    def shortened_file(self, stem: str, digest: str) -> StoragePath:
        """The exact bytes of one file without the recipients that `digest` stands for."""
        return self.path / f"06_{stem}.{digest}.csv"

    # What the steps of a run write, a batch at a time (`sms.run.stores`)

    @contextmanager
    def writing_audience(self, schema: pa.Schema) -> Iterator[Keep]:
        """The recipients, each in a file."""
        with parquet.writing(self.audience, schema) as file:
            yield file.write

    @contextmanager
    def writing_excluded(self) -> Iterator[Keep]:
        """The candidates that the screening leaves out."""
        with parquet.writing(self.excluded, EXCLUDED_SCHEMA) as file:
            yield file.write

    @contextmanager
    def writing_left_out(self) -> Iterator[Keep]:
        """The recipients whose text can't be written."""
        with parquet.writing(self.unrendered, EXCLUDED_SCHEMA) as file:
            yield file.write

    @contextmanager
    def writing_file(self, stem: str, schema: pa.Schema) -> Iterator[OpenFile]:
        """The rows of one file, and its exact bytes."""
        with (
            parquet.writing(self.messages(stem), schema) as kept,
            storage.writing(self.send_file(stem)) as out,
        ):
            yield OpenFile(send_file.Output(out), lambda made: kept.write(made.messages))

    @contextmanager
    def reading_file(self, stem: str) -> Iterator[BufferedIOBase]:
        """The exact bytes of one file."""
        with storage.opened(self.send_file(stem), "rb") as source:
            yield source

    # Small files, which are read and written whole

    @property
    def plan_file(self) -> StoragePath:
        """What the run is going to do."""
        return self.path / "00_plan.json"

    @property
    def has_plan(self) -> bool:
        """Whether the first stage has left its plan."""
        return storage.exists(self.plan_file)

    def read_plan(self) -> Plan:
        """The plan that the first stage left. Raises LedgerError."""
        return _read(self.plan_file, Plan)

    def write_plan(self, plan: Plan) -> Plan:
        """Leave the plan for the later stages, and make the folder for it."""
        storage.make_folder(self.path)
        storage.write_text(self.plan_file, plan.model_dump_json(indent=1))
        return plan

    @property
    def schedule_file(self) -> StoragePath:
        """The files of the run, and their hours."""
        return self.path / "02_schedule.json"

    @property
    def has_schedule(self) -> bool:
        """Whether the run's files have their hours."""
        return storage.exists(self.schedule_file)

    def read_schedule(self) -> Schedule:
        """The files and hours that the screening left. Raises LedgerError."""
        return _read(self.schedule_file, Schedule)

    def write_schedule(self, schedule: Schedule, plan: Plan) -> None:
        """Leave the files and their hours, and whose they are."""
        whose = schedule.model_copy(update={"campaign_id": plan.campaign_id})
        storage.write_text(self.schedule_file, whose.model_dump_json(indent=1))

    def read_refusal(self) -> str:
        """Why the files of a dry run could not go out when they should; "" if they could."""
        return storage.read_text(self._refusal) if storage.exists(self._refusal) else ""

    def write_refusal(self, why: str) -> None:
        """Leave it for the review."""
        storage.write_text(self._refusal, why)

    @property
    def _refusal(self) -> StoragePath:
        return self.path / "02_refusal.txt"

    def read_faults(self) -> list[SourceFault]:
        """The faults of the source that the screening found. Raises LedgerError."""
        return _read(self._faults, Faults).found

    def write_faults(self, found: list[SourceFault]) -> None:
        """Leave them for the review."""
        storage.write_text(self._faults, Faults(found=found).model_dump_json(indent=1))

    @property
    def _faults(self) -> StoragePath:
        return self.path / "02_faults.json"

    def read_counts(self) -> Counts:
        """What the rendering counted. Raises LedgerError."""
        return _read(self._counts, Counts)

    def write_counts(self, counts: Counts) -> None:
        """Leave it for the review."""
        storage.write_text(self._counts, counts.model_dump_json(indent=1))

    @property
    def _counts(self) -> StoragePath:
        return self.path / "03_counts.json"

    def read_rendered(self) -> Rendered:
        """By what the run's files were made. Raises LedgerError."""
        return _read(self._rendered, Rendered)

    def write_rendered(self, rendered: Rendered) -> None:
        """Leave it for the upload."""
        storage.write_text(self._rendered, rendered.model_dump_json(indent=1))

    @property
    def _rendered(self) -> StoragePath:
        return self.path / "03_rendered.json"

    @property
    def review(self) -> StoragePath:
        """The report that a person reads, Markdown."""
        return self.path / "04_review.md"

    def read_review(self) -> str:
        """The report that a person reads."""
        return storage.read_text(self.review)

    def write_review(self, page: str) -> None:
        """Leave it for people, and for the question that asks for an approval."""
        storage.write_text(self.review, page)

    # Other runs' folders

    def proof(self, variant: str = "") -> Self:
        """The folder of the run's proof, or of that of a variant."""
        return type(self)(self.path / (f"{PROOF}-{variant}" if variant else PROOF))

    def beside(self, folder: str) -> Self:
        """The folder of another run of the same campaign, by the end of its path."""
        return type(self)(self.path.parent / folder.rstrip("/").rpartition("/")[2])


def _read(path: StoragePath, model: type[Kept]) -> Kept:
    """A small file. LedgerError where it can't be read, which does not quote it."""
    try:
        return model.model_validate_json(storage.read_text(path))
    except ValidationError as error:
        raise LedgerError(
            f"{path} can't be read ({error.error_count()} faults): it was cut short, or is of "
            f"another version. Remove it and {remedies.clear(Task.PLAN)}, "
            f"or {remedies.NEW_RUN}"
        ) from None  # its message would quote numbers

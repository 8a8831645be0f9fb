"""A run's folder: the names of its files, and how each is read and written.

The numbers in the names are the order of the stages. `messages` and `send_file` exist once for each
file at the gateway. The meaning of a file belongs to the stage that writes it.
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
    """The plan and settings by which a run's files were made; the upload compares them."""

    model_config = ConfigDict(frozen=True)

    plan: Plan
    encoding: str
    delimiter_in_text: DelimiterInText


class Faults(BaseModel):
    """The source's faults that the screening found."""

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
        """The query's rows, unchanged."""
        return self.path / "01_candidates.parquet"

    @property
    def audience(self) -> StoragePath:
        """The recipients, each assigned to a file."""
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
        """The exact bytes of one file without some recipients, of whose numbers `digest` is."""
        return self.path / f"06_{stem}.{digest}.csv"

    # Files that the stages write a batch at a time (`sms.run.stores`)

    @contextmanager
    def writing_audience(self, schema: pa.Schema) -> Iterator[Keep]:
        """The recipients, each assigned to a file."""
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
            yield OpenFile(send_file.Output(out), lambda rendering: kept.write(rendering.messages))

    @contextmanager
    def reading_file(self, stem: str) -> Iterator[BufferedIOBase]:
        """The exact bytes of one file."""
        with storage.opened(self.send_file(stem), "rb") as source:
            yield source

    # Small files, which are read and written whole

    @property
    def plan_file(self) -> StoragePath:
        """The run's plan."""
        return self.path / "00_plan.json"

    @property
    def has_plan(self) -> bool:
        """Whether the stage `plan` has written its plan."""
        return storage.exists(self.plan_file)

    def read_plan(self) -> Plan:
        """The run's plan. Raises LedgerError."""
        return _read(self.plan_file, Plan)

    def write_plan(self, plan: Plan) -> Plan:
        """Create the folder, and write the plan for the later stages."""
        storage.make_folder(self.path)
        storage.write_text(self.plan_file, plan.model_dump_json(indent=1))
        return plan

    @property
    def schedule_file(self) -> StoragePath:
        """The files of the run, and their hours."""
        return self.path / "02_schedule.json"

    @property
    def has_schedule(self) -> bool:
        """Whether the stage `screen` has written the schedule."""
        return storage.exists(self.schedule_file)

    def read_schedule(self) -> Schedule:
        """The run's files and their hours. Raises LedgerError."""
        return _read(self.schedule_file, Schedule)

    def write_schedule(self, schedule: Schedule, plan: Plan) -> None:
        """Write the files and their hours, with the id of the plan that they belong to."""
        owned = schedule.model_copy(update={"campaign_id": plan.campaign_id})
        storage.write_text(self.schedule_file, owned.model_dump_json(indent=1))

    def read_refusal(self) -> str:
        """Why a real run could not send at its hours (dry runs only); "" if it could."""
        return storage.read_text(self._refusal) if storage.exists(self._refusal) else ""

    def write_refusal(self, why: str) -> None:
        """Write the refusal for the review."""
        storage.write_text(self._refusal, why)

    @property
    def _refusal(self) -> StoragePath:
        return self.path / "02_refusal.txt"

    def read_faults(self) -> list[SourceFault]:
        """The faults of the source that the screening found. Raises LedgerError."""
        return _read(self._faults, Faults).found

    def write_faults(self, found: list[SourceFault]) -> None:
        """Write the faults for the review."""
        storage.write_text(self._faults, Faults(found=found).model_dump_json(indent=1))

    @property
    def _faults(self) -> StoragePath:
        return self.path / "02_faults.json"

    def read_counts(self) -> Counts:
        """The counts of the rendering. Raises LedgerError."""
        return _read(self._counts, Counts)

    def write_counts(self, counts: Counts) -> None:
        """Write the counts for the review."""
        storage.write_text(self._counts, counts.model_dump_json(indent=1))

    @property
    def _counts(self) -> StoragePath:
        return self.path / "03_counts.json"

    def read_rendered(self) -> Rendered:
        """The plan and settings of the rendering. Raises LedgerError."""
        return _read(self._rendered, Rendered)

    def write_rendered(self, rendered: Rendered) -> None:
        """Write the plan and settings of the rendering, for the upload."""
        storage.write_text(self._rendered, rendered.model_dump_json(indent=1))

    @property
    def _rendered(self) -> StoragePath:
        return self.path / "03_rendered.json"

    @property
    def review(self) -> StoragePath:
        """The review, in Markdown."""
        return self.path / "04_review.md"

    def read_review(self) -> str:
        """The review's text."""
        return storage.read_text(self.review)

    def write_review(self, page: str) -> None:
        """Write the review; the approval's page shows it too."""
        storage.write_text(self.review, page)

    # Other runs' folders

    def proof(self, variant: str = "") -> Self:
        """The folder of the run's proof, or of a variant's proof."""
        return type(self)(self.path / (f"{PROOF}-{variant}" if variant else PROOF))

    def beside(self, folder: str) -> Self:
        """The folder of another run of the same campaign, by the last part of its path."""
        return type(self)(self.path.parent / folder.rstrip("/").rpartition("/")[2])


def _read(path: StoragePath, model: type[Kept]) -> Kept:
    """Read a small file. Raises LedgerError, without quoting it, if it can't be read."""
    try:
        return model.model_validate_json(storage.read_text(path))
    except ValidationError as error:
        raise LedgerError(
            f"{path} can't be read ({error.error_count()} faults): it was cut short, or is of "
            f"another version. Remove it and {remedies.clear(Task.PLAN)}, "
            f"or {remedies.NEW_RUN}"
        ) from None  # its message would quote numbers

"""Stores for the files of a run: the protocols, a local folder, memory, and samples.

What belongs here: storing screened and rendered rows. Their content and order belong to `screened`
and `rendered`. The folder of a DAG run is another store (`sms.run.folder`).
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import Protocol, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from sms import storage
from sms.audience.screening import EXCLUDED_SCHEMA
from sms.columnar.spreadsheets import harmless
from sms.errors import SourceError
from sms.message.rendering import Rendering
from sms.message.samples import EachWay, FirstOfEach
from sms.wire import send_file

EXCLUDED, SUMMARY = "excluded.csv", "summary.json"
UNFINISHED = ".tmp"  # as at the gateway: only whole files end in .csv

Keep: TypeAlias = Callable[[pa.RecordBatch], None]


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file for the gateway that is being written: its bytes, and its messages if stored."""

    output: send_file.Output
    keep: Callable[[Rendering], None] | None = None

    def add(self, rendering: Rendering, block: send_file.Block) -> None:
        """Write a batch of messages, and its bytes."""
        if self.keep:
            self.keep(rendering)
        self.output.add(block)


class AudienceStore(Protocol):
    """A store of the audience and the excluded, between screening and rendering."""

    def writing_audience(self, schema: pa.Schema) -> AbstractContextManager[Keep]:
        """The recipients, each assigned to a file."""

    def writing_excluded(self) -> AbstractContextManager[Keep]:
        """The candidates that the screening leaves out."""


class MessageStore(Protocol):
    """A store of rendered messages and files."""

    def writing_left_out(self) -> AbstractContextManager[Keep]:
        """Exclusions by the rendering, and by a screening in the same pass."""

    def writing_file(self, stem: str, schema: pa.Schema) -> AbstractContextManager[OpenFile]:
        """The file of a stem; `schema` is that of its messages."""

    def reading_file(self, stem: str) -> AbstractContextManager[BufferedIOBase]:
        """The exact bytes of a written file."""


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """The output folder of `sms prepare`: the files, the excluded, and a summary.

    A file is called `.tmp` until `finish` renames it.
    """

    path: Path

    def make_room(self) -> None:
        """Create the folder, and delete the files that an earlier summary there lists."""
        out = self.path
        storage.make_folder(out)
        listed = self._written_before()
        others = sorted(path.name for path in out.glob("SEND-*.csv") if path.name not in listed)
        if others:
            raise SourceError(
                f"{out} has {others[0]}, which this command did not write: choose another folder"
            )
        earlier = (out / name for name in listed)
        for path in (*earlier, *out.glob(f"SEND-*{UNFINISHED}"), out / SUMMARY):
            with storage.translating(path, "removed"):
                path.unlink(missing_ok=True)

    def _written_before(self) -> set[str]:
        if not (self.path / SUMMARY).exists():
            return set()
        try:
            before = json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))
            return {str(file["name"]) for file in before["files"]}
        except (ValueError, KeyError, TypeError):
            return set()

    @contextmanager
    def writing_left_out(self) -> Iterator[Keep]:
        """Open `excluded.csv`."""
        with (
            storage.writing(self.path / EXCLUDED) as out,
            pa.csv.CSVWriter(out, EXCLUDED_SCHEMA) as excluded,
        ):
            yield lambda batch: excluded.write(harmless(batch))

    @contextmanager
    def writing_file(self, stem: str, schema: pa.Schema) -> Iterator[OpenFile]:
        """Open the file for its bytes; messages are not stored."""
        with storage.writing(self._unfinished(stem)) as out:
            yield OpenFile(send_file.Output(out))

    @contextmanager
    def reading_file(self, stem: str) -> Iterator[BufferedIOBase]:
        """Open a file that is not renamed yet."""
        with storage.opened(self._unfinished(stem), "rb") as source:
            yield source

    def write_file(self, stem: str, content: bytes) -> None:
        """Write the bytes of a file."""
        with storage.writing(self._unfinished(stem)) as out:
            out.write(content)

    def finish(self, stems: Iterable[str], summary: str) -> None:
        """Give the files their final names, and write the summary."""
        for stem in stems:
            with storage.translating(self._unfinished(stem), "renamed"):
                self._unfinished(stem).rename(self.path / f"{stem}.csv")
        storage.write_text(self.path / SUMMARY, summary)

    def discard(self, stems: Iterable[str], *, excluded: bool = False) -> None:
        """Delete files, finished or not, and with `excluded` also `excluded.csv`."""
        for stem in stems:
            storage.discard(self._unfinished(stem))
            storage.discard(self.path / f"{stem}.csv")
        if excluded:
            storage.discard(self.path / EXCLUDED)

    def _unfinished(self, stem: str) -> Path:
        return self.path / f"{stem}{UNFINISHED}"


@dataclass(slots=True)
class Memory:
    """A store in memory, as Arrow batches and bytes."""

    audience: list[pa.RecordBatch] = field(default_factory=list)
    excluded: list[pa.RecordBatch] = field(default_factory=list)
    messages: dict[str, list[pa.RecordBatch]] = field(default_factory=dict)  # by stem
    files: dict[str, bytes] = field(default_factory=dict)  # by stem

    @contextmanager
    def writing_audience(self, schema: pa.Schema) -> Iterator[Keep]:
        """The recipients."""
        yield self.audience.append

    @contextmanager
    def writing_excluded(self) -> Iterator[Keep]:
        """The excluded, by screening or rendering."""
        yield self.excluded.append

    writing_left_out = writing_excluded

    @contextmanager
    def writing_file(self, stem: str, schema: pa.Schema) -> Iterator[OpenFile]:
        """Messages and bytes."""
        messages: list[pa.RecordBatch] = []
        out = io.BytesIO()
        yield OpenFile(send_file.Output(out), lambda each: messages.append(each.messages))
        self.messages[stem], self.files[stem] = messages, out.getvalue()

    @contextmanager
    def reading_file(self, stem: str) -> Iterator[BufferedIOBase]:
        """The bytes of a file."""
        yield io.BytesIO(self.files[stem])


class Samples:
    """A store that keeps only sample messages.

    They are the first, the longest, and one for each way through the texts' conditions.
    """

    def __init__(self, most: int, variants: Iterable[str]) -> None:
        self._first = FirstOfEach(most, variants)
        self._longest = _Longest()
        self._ways = EachWay()
        self._others: list[pa.RecordBatch] = []

    @contextmanager
    def writing_left_out(self) -> Iterator[Keep]:
        """Exclusions are not stored."""
        yield lambda batch: None

    @contextmanager
    def writing_file(self, stem: str, schema: pa.Schema) -> Iterator[OpenFile]:
        """Samples of the messages are kept, bytes are not."""
        yield OpenFile(send_file.Output(None), lambda each: self.look_at(each.messages))

    def reading_file(self, stem: str) -> AbstractContextManager[BufferedIOBase]:
        """Not supported, as no bytes are stored."""
        raise NotImplementedError

    def look_at(self, messages: pa.RecordBatch) -> None:
        """Take samples of a batch of messages."""
        self._longest.look_at(messages)
        self._first.look_at(messages)
        self._others.append(messages.take(pa.array(self._ways.fresh(messages), pa.int64())))

    def found(self, schema: pa.Schema) -> pa.RecordBatch:
        """The samples, each once."""
        batches = [*self._first.found, *self._others, *self._longest.found]
        table = pa.Table.from_batches(batches, schema=schema)
        repeated = table["idremote"].to_pandas().duplicated().to_numpy()
        [batch] = table.filter(pa.array(~repeated)).combine_chunks().to_batches() or [
            pa.RecordBatch.from_pylist([], schema)
        ]
        return batch


class _Longest:
    """The longest message so far."""

    def __init__(self) -> None:
        self.size = 0
        self.found: list[pa.RecordBatch] = []

    def look_at(self, messages: pa.RecordBatch) -> None:
        sizes = pc.utf8_length(messages["msg"])
        size = pc.max(sizes).as_py() or 0
        if size > self.size:
            self.size = size
            self.found = [messages.slice(pc.index(sizes, size).as_py(), 1)]

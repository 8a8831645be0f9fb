"""Search for one person in run folders, by number or by key, in files of any size.

What belongs here: finding the person's rows. `story` explains them. A deleted folder gives no
result; one that can't be read is noted, and does not stop the search.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sms.audience.screening import EXCLUDED_SCHEMA
from sms.columnar import parquet
from sms.errors import StorageGone
from sms.privacy.dialling import dialled
from sms.run.folder import RunFolder
from sms.storage import StoragePath
from sms.words import LISTED

SUBSCRIBER = 8  # digits at a number's end, the same in every notation
TEXT_COLUMNS = ["msisdn", "idremote", "oadc", "msg", "segments", "key"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The rows of a run excluded for one reason, with the first few of their keys."""

    reason: str
    detail: str
    rows: int
    keys: tuple[str, ...]


@dataclass
class Search:
    """A search for a number, or for a key.

    `unread` has a file that could not be read for each run folder, with the type of error. `given`
    are the numbers found in the key's rows.
    """

    open_folder: Callable[[str], Any]
    msisdn: int | None = None
    key: str | None = None
    unread: dict[str, str] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)

    def is_gone(self, folder: str) -> bool:
        """Whether a run's folder is no longer kept."""
        try:
            return not self.open_folder(folder).exists()
        except Exception:  # of any storage: it is reported when the folder is read
            return False

    def excluded(self, folder: str) -> list[LeftOut]:
        """The excluded rows of a run by reason, counted, as a default number may have a million."""
        rows: Counter[tuple[str, str]] = Counter()
        keys: dict[tuple[str, str], list[str]] = {}
        files = RunFolder(self.open_folder(folder))
        for path in (files.excluded, files.unrendered):
            for batch in self._batches(folder, path, list(EXCLUDED_SCHEMA.names)):
                for row in self._counted(batch):
                    why = (row["reason"], row["detail"] or "")
                    rows[why] += row["row_count"]
                    listed = keys.setdefault(why, [])
                    listed += row["key_list"][: LISTED + 1 - len(listed)]
        return [LeftOut(*why, count, tuple(keys[why])) for why, count in rows.items()]

    def message(self, folder: str, stem: str) -> dict[str, Any] | None:
        """The person's message in a file, if the folder is still kept."""
        path = RunFolder(self.open_folder(folder)).messages(stem)
        for batch in self._batches(folder, path, TEXT_COLUMNS):
            if batch.num_rows:
                found: dict[str, Any] = batch.slice(0, 1).to_pylist()[0]
                self.given |= {found["msisdn"]} if self.key is not None else set()
                return found
        return None

    def _batches(
        self, folder: str, path: StoragePath, columns: list[str]
    ) -> Iterator[pa.RecordBatch]:
        """The person's rows of a file."""
        try:
            for batch in parquet.batches(path, columns):
                yield self._matching(batch)
        except StorageGone:
            return
        except Exception as error:  # of any storage, or of a run that is being written
            self.unread.setdefault(folder, f"{path.name}: {type(error).__name__}")

    def _matching(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.key is not None:
            return batch.filter(pc.equal(batch.column("key"), self.key))
        if pa.types.is_integer(batch.schema.field("msisdn").type):
            return batch.filter(pc.equal(batch.column("msisdn"), self.msisdn))
        return self._spelled_alike(batch)

    def _spelled_alike(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with the number in any notation, even one that campaigns do not accept."""
        # The last digits of the number, with any characters between them.
        end = r"\D*".join(str(self.msisdn)[-SUBSCRIBER:])
        alike = batch.filter(pc.match_substring_regex(batch.column("msisdn"), end))
        spellings = pc.unique(alike.column("msisdn"))
        same = [text for text in spellings.to_pylist() if dialled(text) == self.msisdn]
        return alike.filter(pc.is_in(alike.column("msisdn"), pa.array(same, spellings.type)))

    def _counted(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        """Excluded rows, counted by reason."""
        if self.key is not None:
            spellings = pc.unique(batch.column("msisdn").drop_null()).to_pylist()
            self.given |= {read for text in spellings if (read := dialled(text)) is not None}
        counted: list[dict[str, Any]] = (
            pa.Table.from_batches([batch])
            .group_by(["reason", "detail"])
            .aggregate([("row", "count"), ("key", "list")])
            .to_pylist()
        )
        return counted

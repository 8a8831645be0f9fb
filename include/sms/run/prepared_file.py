"""One prepared file of a run, ready for the upload: its rows, and its exact bytes."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sms import remedies, storage
from sms.columnar import parquet
from sms.delivery.upload import fingerprint
from sms.errors import LedgerError
from sms.remedies import Task
from sms.run.folder import RunFolder
from sms.storage import StoragePath
from sms.wire import send_file


class PreparedFile:
    """A file that `delivery` uploads; recipients can be left out of it."""

    def __init__(self, folder: RunFolder, stem: str) -> None:
        self._folder = folder
        self._stem = stem
        self._rows = folder.messages(stem)
        self._bytes = folder.send_file(stem)
        rendered = folder.read_rendered()
        self._dialect = send_file.Dialect(rendered.encoding, rendered.delimiter_in_text)
        self._is_planned_so = rendered.plan == folder.read_plan()
        self._left_out = np.empty(0, np.int64)
        self._reasons: Counter[str] = Counter()

    def msisdns(self) -> npt.NDArray[np.int64]:
        """The numbers of the file, without those left out."""
        columns = [batch.column(0) for batch in self._batches(["msisdn"])]
        numbers: npt.NDArray[np.int64] = pa.chunked_array(columns, pa.int64()).to_numpy()
        return numbers

    def messages(self) -> Iterator[pa.RecordBatch]:
        """The rows of the file: idremote, msisdn, oadc, msg, segments, key, variant if any."""
        return self._batches()

    def path(self) -> StoragePath:
        """The path of the exact bytes.

        If recipients were left out, a digest of their numbers is in the name: two tries that leave
        out different numbers never write into the same file.
        """
        if not len(self._left_out):
            return self._bytes
        digest = hashlib.sha256(self._left_out.tobytes()).hexdigest()[:8]
        return self._folder.shortened_file(self._stem, digest)

    def require_prepared(self, sha256: str) -> None:
        """Raise LedgerError unless the file is as prepared, minus the recipients left out.

        Bytes that are missing or broken are written again if the rows are the prepared ones.
        """
        with open(os.devnull, "wb") as devnull:
            rows = send_file.write(parquet.batches(self._rows), devnull, self._dialect).sha256
        if not self._is_planned_so:
            raise LedgerError(
                f"{self._bytes} was rendered by another plan than the run has now: "
                f"{remedies.clear(Task.RENDER)}"
            )
        if rows == sha256 and not len(self._left_out) and not self._holds(sha256):
            self._write()
        if rows != sha256:
            raise LedgerError(
                f"{self._bytes} is not what was prepared and reviewed: its messages were rendered "
                f"again since. To go on, {remedies.clear(Task.PLAN)}"
            )

    def leave_out(self, msisdns: npt.NDArray[np.int64], reason: str) -> None:
        """Rewrite the file without these numbers."""
        before = len(self._left_out)
        self._left_out = np.union1d(self._left_out, msisdns)
        self._reasons[reason] += len(self._left_out) - before
        self._write()

    def late_out(self) -> dict[str, int]:
        """How many recipients were left out after preparation, by Reason."""
        return dict(self._reasons)

    def _holds(self, sha256: str) -> bool:
        return storage.exists(self._bytes) and fingerprint(self._bytes)["sha256"] == sha256

    def _write(self) -> None:
        with storage.replacing(self.path()) as out:
            send_file.write(self._batches(), out, self._dialect)

    def _batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        left_out = pa.array(self._left_out, pa.int64())
        for batch in parquet.batches(self._rows, columns):
            stays = pc.invert(pc.is_in(batch.column("msisdn"), value_set=left_out))
            yield batch.filter(stays)

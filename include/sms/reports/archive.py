"""The archive of every report's raw bytes, under names made from their content.

`<kind>/<name without .csv>/<sha256[:12]>.csv`, or `.csv.gz` if the provider compressed it. A report
that has grown is a new file beside the former one; no file is overwritten with other bytes. Paths
are any objects with pathlib's methods.
"""

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, BinaryIO, Self, cast

from sms import storage
from sms.errors import ConfigurationError, ReportUnfinished, ReportUnreadable
from sms.wire.names import ReportKind, ReportName, is_compressed

PIECE = 1 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Archived:
    """One state of a report, stored in the archive.

    `place` is relative to the archive's folder. `ends_whole` is true if the last byte is a line
    end, or if the file is compressed: then decompression detects a missing end.
    """

    name: str
    place: str
    sha256: str
    size_bytes: int
    modified_at: datetime
    ends_whole: bool

    @property
    def report(self) -> ReportName:
        """The parsed name of the report."""
        report = ReportName.parse(self.name)
        if report is None:
            raise ValueError(f"{self.name} is no report's name")
        return report

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON, to pass them to another task."""
        return {**asdict(self), "modified_at": self.modified_at.isoformat()}

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Self:
        """The object that `as_json` wrote."""
        return cls(**{**facts, "modified_at": datetime.fromisoformat(facts["modified_at"])})


def keep(source: BinaryIO, name: str, modified_at: datetime, archive: Any) -> Archived:
    """Store a report's bytes and read them back; replaces an incomplete file of an earlier try."""
    report = ReportName.parse(name)
    if report is None:
        raise ValueError(f"{name} is no report's name")
    source.seek(0)
    sha256, size, last = _fingerprint(source)
    place = place_of(report.kind, name)
    kept = Archived(
        name=name,
        place=f"{place}/{sha256[:12]}.csv{'.gz' if is_compressed(name) else ''}",
        sha256=sha256,
        size_bytes=size,
        modified_at=modified_at,
        ends_whole=last == b"\n" or is_compressed(name),
    )
    path = archive / kept.place
    if not holds(path, sha256):
        storage.make_folder(archive / place)
        source.seek(0)
        with storage.writing(path) as target:
            while piece := source.read(PIECE):
                target.write(piece)
        if not holds(path, sha256):
            raise ConfigurationError(
                f"{path} does not return the bytes of {name} that were written to it: check the "
                "archive's folder; nothing was loaded"
            )
    return kept


def place_of(kind: ReportKind, name: str) -> str:
    """The folder of all states of a report."""
    return f"{kind}/{re.sub(r'[.]csv([.]gz)?$', '', name, flags=re.IGNORECASE)}"


def find(place: str, name: str, modified_at: datetime, archive: Any) -> Archived | None:
    """The archived file at a place; None if there is none."""
    path = archive / place
    if not storage.exists(path):
        return None
    with storage.opened(path, "rb") as file:
        sha256, size, last = _fingerprint(file)
    ends_whole = last == b"\n" or is_compressed(name)
    return Archived(name, place, sha256, size, modified_at, ends_whole)


@contextmanager
def opened(archived: Archived, archive: Any) -> Iterator[BinaryIO]:
    """Open a report, decompressed.

    Raises ReportUnfinished if the compressed file is cut short, ReportUnreadable if it is not gzip.
    """
    with storage.opened(archive / archived.place, "rb") as file:
        if not is_compressed(archived.name):
            yield file
            return
        try:
            yield cast(BinaryIO, gzip.GzipFile(fileobj=file))
        except EOFError as error:
            raise ReportUnfinished(archived.name) from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ReportUnreadable(f"it is not compressed by gzip ({error})") from error


def holds(path: Any, sha256: str) -> bool:
    """Whether the file exists and has these bytes."""
    if not storage.exists(path):
        return False
    with storage.opened(path, "rb") as file:
        return _fingerprint(file)[0] == sha256


def _fingerprint(file: BinaryIO) -> tuple[str, int, bytes]:
    """SHA-256 in hex, size, last byte."""
    digest, size, last = hashlib.sha256(), 0, b""
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
        last = piece[-1:]
    return digest.hexdigest(), size, last

"""All events at the gateway, one JSON object a line; tests read it instead of asking the client.

Each line has `at` (sandbox time) and `what`: connection, refused_address, login, refused_login,
listing, put, get, rename, remove, verdict, queued, closed, sent, grown, report, purged, dropped,
clock, knobs. Only the journal has the reason of a rejection: the real gateway gives none.
A verdict and a report are written before clients can see them.
"""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from sms_sandbox import private

LINES = json.JSONEncoder(ensure_ascii=False)
LONGEST = 1 << 24  # most bytes of one write


class Journal:
    """Appends whole lines, from any thread; readable while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = private.descriptor(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._mend()

    def write(self, what: str, at: datetime, **facts: Any) -> None:
        """Add one line."""
        self.write_all([{"at": at.isoformat(), "what": what, **facts}])

    def write_all(self, entries: Iterable[dict[str, Any]]) -> None:
        """Add a line for each entry, together."""
        text = "".join(f"{LINES.encode(entry)}\n" for entry in entries)
        # A name may not be UTF-8; wrong bytes become an escape that JSON can read.
        left = memoryview(text.encode(errors="backslashreplace"))
        with self._lock:
            while left:
                left = left[os.write(self._file, left) :]

    def _mend(self) -> None:
        """Remove the half line of a killed process."""
        with self.path.open("rb") as written:
            size = written.seek(0, os.SEEK_END)
            start = max(size - LONGEST, 0)
            written.seek(start)
            end = written.read()
        if end and not end.endswith(b"\n"):
            os.ftruncate(self._file, start + end.rfind(b"\n") + 1)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def read(path: Path, what: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the entries so far, all or one kind; an unfinished line is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                entry = json.loads(line)
                if what is None or entry["what"] == what:
                    yield entry


def counts(path: Path) -> Counter[str]:
    """The number of entries by kind: connections, logins, listings ..."""
    return Counter(entry["what"] for entry in read(path))

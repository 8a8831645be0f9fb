"""Records of the ledger with boring defaults: a test names only what matters to it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sms.ledger.records import Part, PlannedRun

FIRST = 33_639_980_000  # the first of the numbers reserved for fiction
NO_DIGEST = "0" * 64


def planned_run(run_key: str, **differently: Any) -> PlannedRun:
    """A run of the marketing campaign `spring`, for 15 July 2026 at noon in Paris."""
    usual: dict[str, Any] = {
        "campaign": "spring",
        "kind": "marketing",
        "service_id": "12345",
        "send_at": datetime(2026, 7, 15, 10, 0, tzinfo=UTC),
        "slot_reason": "as requested",
        "dry_run": False,
        "planned_at": datetime(2026, 7, 15, 8, 0, tzinfo=UTC),
        "folder": "runs/spring",
    }
    return PlannedRun(run_key=run_key, **{**usual, **differently})


def part(stem: str, number: int = 1, parts: int = 1, messages: int = 3) -> Part:
    """A prepared file, with one SMS for each message."""
    return Part(stem, number, parts, messages, messages, sha256=NO_DIGEST, size_bytes=99)


def messages(
    count: int, start: int = 0, text: str = "Bonjour", segments: Sequence[int] = (1,)
) -> pa.RecordBatch:
    """The messages of a file, as a run's Parquet file has them; they take `segments` in turn."""
    numbers = range(start, start + count)
    return pa.RecordBatch.from_pydict(
        {
            "idremote": pa.array([f"{n:032x}" for n in numbers], pa.large_string()),
            "msisdn": pa.array([FIRST + n for n in numbers], pa.int64()),
            "oadc": pa.array(["SPRING"] * count, pa.large_string()),
            "msg": pa.array([text] * count, pa.large_string()),
            "segments": pa.array([segments[n % len(segments)] for n in numbers], pa.int16()),
            "key": pa.array([f"customer {n}" for n in numbers], pa.large_string()),
        }
    )

"""What people said, as the ledger is given it: rows of a STOP report, or of a tool's list."""

from datetime import UTC, datetime

import pyarrow as pa

from sms.wire.names import ReportName

FIRST = 33_639_980_000  # the first of the numbers reserved for fiction
JULY = datetime(2026, 7, 1, 10, 5, tzinfo=UTC)  # of a STOP, unless a test says another hour
STOPS = ReportName.parse("STOP-12345-20260701-1200-spring.csv")


def reported(*said: tuple[int, int], hour: str = "1205", message: str = "STOP") -> pa.Table:
    """STOPs as a report has them: whose, and the how manieth of its kind."""
    count = len(said)
    at = JULY.replace(hour=int(hour[:2]) - 2)
    return pa.table(
        {
            "msisdn": pa.array([FIRST + number for number, _ in said], pa.int64()),
            "opted_out_at": pa.array([at] * count, pa.timestamp("us", tz="UTC")),
            "replied_at": pa.array([at] * count, pa.timestamp("us", tz="UTC")),
            "raw_date": ["20260701"] * count,
            "raw_hour": [hour] * count,
            "message": [message] * count,
            "idremote": pa.array([None] * count, pa.large_string()),
            "occurrence": pa.array([nth for _, nth in said], pa.int32()),
        }
    )


def listed(*rows: tuple[int, datetime | None]) -> pa.Table:
    """A list's numbers, each with its moment if the list has one."""
    return pa.table(
        {
            "msisdn": pa.array([FIRST + number for number, _ in rows], pa.int64()),
            "opted_out_at": pa.array([at for _, at in rows], pa.timestamp("us", tz="UTC")),
        }
    )

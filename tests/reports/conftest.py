"""A gateway in a folder, an archive, and a submission that was accepted."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from sqlalchemy import text

from demo.postgres import PostgreSQL
from sms.delivery.gateway import Folder, RemoteFile
from sms.errors import GatewayUnreachable
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.ledger.tables import metadata
from sms.reports.collection import Collected, collect_delivery_report, collect_replies
from tests import factories
from tests.conftest import keeping_connections
from tests.factories import FIRST, part, planned_run

NOW = datetime(2026, 7, 20, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=2)
LEASE = timedelta(minutes=10)
TABLES = (
    "receipt",
    "stranger",
    "opt_out",
    "reply",
    "report_file",
    "unreadable_row",
    "submission",
)


@dataclass
class FolderGateway:
    """The gateway's Report directory as a folder; it counts what it is asked."""

    folder: Path
    asked: list[str] = field(default_factory=list)
    unreachable: set[str] = field(default_factory=set)

    def listing(self, folder: Folder) -> list[RemoteFile]:
        assert folder is Folder.REPORT
        self.asked.append("listing")
        return [
            RemoteFile(
                path.name,
                path.stat().st_size,
                datetime.fromtimestamp(int(path.stat().st_mtime), UTC),
            )
            for path in sorted(self.folder.iterdir())
        ]

    def fetch(self, folder: Folder, name: str, into: BinaryIO) -> None:
        self.asked.append(name)
        if name in self.unreachable:
            raise GatewayUnreachable("the line broke")
        into.write((self.folder / name).read_bytes())

    def upload(self, name: str, source: BinaryIO) -> int:
        raise AssertionError("the way home uploads nothing")

    def rename(self, old: str, new: str, may_leave: Callable[[], None] | None = None) -> None:
        raise AssertionError("the way home renames nothing")

    def remove(
        self, folder: Folder, name: str, may_leave: Callable[[], None] | None = None
    ) -> bool:
        raise AssertionError("collecting deletes nothing")

    def shows(self, name: str, content: bytes, at: datetime = LONG_AGO) -> None:
        """Put a report there, or replace it."""
        path = self.folder / name
        path.write_bytes(content)
        os.utime(path, (at.timestamp(), at.timestamp()))


@dataclass
class Home:
    """Everything that the way home needs, with a clock that the test sets."""

    gateway: FolderGateway
    ledger: Ledger
    archive: Path
    now: datetime = NOW
    runs: int = 0

    def submitted(
        self, messages: int = 3, campaign_id: str | None = None, date: str = "20260715"
    ) -> Submission:
        """A file at the gateway whose verdict nobody has seen yet."""
        self.runs += 1
        campaign_id = campaign_id or f"spring{self.runs}"
        stem = f"SEND-12345-{date}-1200-{campaign_id}"
        run = planned_run(f"send__spring/{self.runs}", planned_at=self.now)
        self.ledger.runs.plan(run, stem)
        self.ledger.runs.prepare(run.run_key, [part(stem, messages=messages)])
        self.ledger.submissions.claim(stem, "try", lease=LEASE)
        self.ledger.submissions.record_upload(
            stem, "try", messages=[factories.messages(messages)], sha256="0" * 64, size_bytes=99
        )
        self.ledger.submissions.intend_rename(stem, "try")
        self.ledger.submissions.move(stem, to=State.SUBMITTED)
        return self.ledger.submissions.get(stem)

    def accepted(self, messages: int = 3, **differently: str) -> Submission:
        one = self.submitted(messages, **differently)
        self.ledger.submissions.move(one.stem, to=State.ACCEPTED)
        return self.ledger.submissions.get(one.stem)

    def collect(self, stem: str) -> Collected:
        return collect_delivery_report(stem, self.gateway, self.ledger, self.archive, self.now)

    def collect_replies(self) -> list[Collected]:
        return collect_replies(self.gateway, self.ledger, self.archive, self.now)

    def table(self, query: str) -> list[tuple[object, ...]]:
        with self.ledger.engine.connect() as db:
            return [tuple(row) for row in db.execute(text(query))]

    def stop_list(self) -> list[object]:
        return [row[0] for row in self.table("SELECT msisdn FROM sms.opt_out ORDER BY 1")]

    def tables(self) -> dict[str, list[tuple[object, ...]]]:
        """All that a report may change, but for when the ledger was last told of it."""
        told = "id, state, verdict_at, reported_at, report_rows, report_duplicates, report_kept"
        return {
            name: self.table(
                f"SELECT {told if name == 'submission' else '*'} FROM sms.{name} ORDER BY 1, 2"
            )
            for name in TABLES
        }

    def empty(self, *, reports_only: bool = False) -> None:
        """Make the ledger new, or as it was before its first report; its triggers would refuse."""
        names = [f"sms.{table.name}" for table in reversed(metadata.sorted_tables)]
        if reports_only:
            names = ["sms.opt_out", "sms.reply", "sms.report_file", "sms.unreadable_row"]
        with self.ledger.engine.begin() as db:
            db.execute(text("SET LOCAL session_replication_role = replica"))
            for name in names:  # small tables: faster than TRUNCATE
                db.execute(text(f"DELETE FROM {name}"))


def ack_row(number: int, status: str = "3;delivered") -> str:
    """A row of an ACK about the n-th message."""
    return f"{number:032x};+{FIRST + number};SPRING;Bonjour;{status};t-{number}\r\n"


def reply_row(number: int, message: str = "STOP", hour: str = "1205") -> str:
    """A row of a STOP or SMSMO file by the n-th recipient."""
    return f"+{FIRST + number};20260715;{hour};{message};{number:032x}\r\n"


@pytest.fixture(scope="session")
def shared_ledger(postgres: PostgreSQL, ledger_template: str) -> Iterator[Ledger]:
    """A ledger for all tests here, which each of them finds empty.

    It keeps its connections: a new one for each transaction was two thirds of these tests' time.
    """
    postgres.create_database("reports", ledger_template)
    with keeping_connections(postgres.url("reports")) as engine:
        yield Ledger(engine, actor="test")


@pytest.fixture
def home(shared_ledger: Ledger, tmp_path: Path) -> Home:
    report = tmp_path / "Report"
    report.mkdir()
    made = Home(FolderGateway(report), shared_ledger, tmp_path / "archive")
    made.ledger = Ledger(shared_ledger.engine, clock=lambda: made.now, actor="test")
    made.empty()
    return made


@pytest.fixture
def ack() -> Callable[..., bytes]:
    """An ACK about the first so many messages."""
    return lambda count, status="3;delivered": "".join(
        ack_row(number, status) for number in range(count)
    ).encode()


@pytest.fixture
def reply() -> Callable[..., bytes]:
    """A row of a STOP or SMSMO file."""
    return lambda number, message="STOP", hour="1205": reply_row(number, message, hour).encode()

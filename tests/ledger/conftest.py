"""A ledger whose clock the test sets, and submissions at any point of their way."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import text

from sms.ledger.ledger import Ledger
from sms.ledger.records import Part, PlannedRun, Submission
from sms.ledger.states import State
from tests import factories
from tests.conftest import keeping_connections
from tests.factories import part, planned_run

START = datetime(2026, 7, 15, 8, 0, tzinfo=UTC)
LEASE = timedelta(minutes=10)


@dataclass
class Hand:
    """The clock's hand, moved by the test."""

    at: datetime = START

    def __call__(self) -> datetime:
        return self.at

    def advance(self, by: timedelta) -> None:
        self.at += by


@dataclass
class Office:
    """A ledger at work: shorthands for the way that every test has to go."""

    ledger: Ledger
    hand: Hand
    runs: int = field(default=0)

    def a_run(self, **differently: Any) -> PlannedRun:
        self.runs += 1
        usual = {
            "run_key": f"send__spring/manual__{self.runs}",
            "planned_at": self.hand(),
            "folder": f"runs/spring/{self.runs}",
        }
        return planned_run(**{**usual, **differently})

    def stem(self, number: int | None = None) -> str:
        return f"SEND-12345-20260715-1200-spring{number or self.runs}"

    def planned(self) -> Submission:
        run = self.a_run()
        return self.ledger.runs.plan(run, self.stem())[1]

    def prepared(self, messages: int = 3) -> Submission:
        planned = self.planned()
        [prepared] = self.ledger.runs.prepare(
            planned.run_key, [part(planned.stem, messages=messages)]
        )
        return prepared

    def uploaded(self, rows: pa.RecordBatch | None = None, token: str = "try-1") -> Submission:
        rows = messages(3) if rows is None else rows
        one = self.prepared(rows.num_rows)
        self.ledger.submissions.claim(one.stem, token, lease=LEASE)
        return self.ledger.submissions.record_upload(
            one.stem, token, messages=[rows], sha256="f" * 64, size_bytes=100
        )

    def intended(self, rows: pa.RecordBatch | None = None, token: str = "try-1") -> Submission:
        return self.ledger.submissions.intend_rename(self.uploaded(rows, token).stem, token)

    def submitted(self, rows: pa.RecordBatch | None = None) -> Submission:
        one = self.intended(rows)
        assert self.ledger.submissions.move(one.stem, to=State.SUBMITTED, token="try-1")
        return self.ledger.submissions.get(one.stem)

    def events(self, stem: str) -> list[tuple[str | None, str | None]]:
        with self.ledger.engine.connect() as db:
            rows = db.execute(
                text(
                    "SELECT from_state, to_state FROM sms.event e JOIN sms.submission s "
                    "ON s.id = e.submission_id WHERE s.stem = :stem ORDER BY e.id"
                ),
                {"stem": stem},
            )
            return [(row.from_state, row.to_state) for row in rows]

    def table(self, query: str) -> list[tuple[object, ...]]:
        with self.ledger.engine.connect() as db:
            return [tuple(row) for row in db.execute(text(query))]


def messages(count: int, start: int = 0) -> pa.RecordBatch:
    """Messages of one and two SMS in turn, with the file's delimiter in their text."""
    return factories.messages(count, start, "Bonjour; à bientôt", segments=(1, 2))


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def another_ledger(ledger_url: str, hand: Hand) -> Iterator[Callable[[str], Ledger]]:
    """More ledgers on the same database, as other workers have them."""
    with keeping_connections(ledger_url) as engine:
        yield lambda actor: Ledger(engine, clock=hand, actor=actor)


@pytest.fixture
def office(another_ledger: Callable[[str], Ledger], hand: Hand) -> Office:
    return Office(another_ledger("worker"), hand)


@pytest.fixture
def make_part() -> Callable[..., Part]:
    return part


@pytest.fixture
def make_messages() -> Callable[..., pa.RecordBatch]:
    return messages

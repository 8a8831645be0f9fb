"""`sms quarantine`: an operator marks unreadable rows as seen."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from sms.ledger.ledger import Ledger
from sms.ledger.quarantine import UNREADABLE
from sms.ledger.records import ReportFile
from tests.command_line import sms

STOP = "STOP-12345-20260715-1200-spring1.csv"


@pytest.fixture
def ledger(ledger_url) -> Ledger:
    """A ledger with two rows of a STOP file that can't be read."""
    ledger = Ledger.connect(ledger_url, actor="test")
    rows = [
        {"line": line, "reason": "has 1 of 5 fields", "raw": b"who?", "may_be_stop": True}
        for line in (2, 5)
    ]
    at = datetime(2026, 7, 15, 10, 5, tzinfo=UTC)
    file = ReportFile(STOP, "STOP", None, None, 99, at, "0" * 64, 1, 2, "place")
    ledger.reports.record_reading(None, file, [pa.RecordBatch.from_pylist(rows, UNREADABLE)])
    return ledger


def test_rows_are_marked_seen_singly_or_per_report(ledger, ledger_url):
    told = ("--reason", "entered by hand", "--url", ledger_url)
    one = sms("quarantine", "seen", STOP, "--line", "5", *told)

    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout.splitlines() == [
        f"1 row of {STOP} marked as seen: line 5.",
        f"Not yet seen: 1 row of {STOP}.",
    ]
    rest = sms("quarantine", "seen", STOP, *told)
    assert rest.stdout == f"1 row of {STOP} marked as seen: line 2.\n"
    assert ledger.reports.unseen_stops() == {}


def test_a_report_without_waiting_rows_is_refused(ledger, ledger_url):
    done = sms("quarantine", "seen", "STOP-x.csv", "--reason", "entered", "--url", ledger_url)

    assert done.returncode == 1
    assert "no row of STOP-x.csv is unseen" in done.stderr
    assert ledger.reports.unseen_stops() == {STOP: 2}


def test_marking_rows_as_seen_needs_a_reason(ledger, ledger_url):
    done = sms("quarantine", "seen", STOP, "--reason", " ", "--url", ledger_url)

    assert done.returncode == 2
    assert ledger.reports.unseen_stops() == {STOP: 2}

"""Failures of commands: one sentence and an exit status, whatever the cause."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from sms.calendar import send_window
from sms.ledger.ledger import Ledger
from tests.airflow_home import ROOT
from tests.command_line import COMMAND, TIMEOUT, sms

FAR = ("9999-12-31T23:59", "0001-01-01T00:00", "9999-12-31T23:59-12:00", "2100-01-01", "1969-12-31")


def shell(*arguments: object, stdout: str | int, **variables: str) -> tuple[int, str, str]:
    """A process of its own, which writes where it is told; its status, output and complaints."""
    to = stdout if isinstance(stdout, int) else os.open(stdout, os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        stdout=to,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "include"), **variables},
        check=False,
        timeout=TIMEOUT,
    )
    return done.returncode, (done.stdout or b"").decode("latin-1"), done.stderr.decode()


@pytest.mark.parametrize("at", FAR)
def test_a_date_beyond_the_calendar_is_a_usage_error(tmp_path: Path, at: str) -> None:
    people = ("--recipients", tmp_path / "x", "--stop-list", tmp_path / "y", "--out", tmp_path)
    for call in (
        ("prepare", "spring_sale", *people, "--at", at),
        ("prepare", "spring_sale", *people, "--at", "2027-03-02T10:00", "--planned-at", at),
        ("slots", "--from", at),
        ("explain", "0639980001", "--since", at, "--url", "postgresql://x@127.0.0.1:1/x"),
    ):
        done = sms(*call)

        assert done.returncode == 2, call
        assert "1970 to 2099" in " ".join(done.stderr.split())


def test_the_last_days_of_the_calendar_are_shown() -> None:
    assert len(sms("slots", "--from", "2099-12-31", "--days", "3660").stdout.splitlines()) == 3660


def test_a_terminal_encoding_without_our_letters_gets_substitutes() -> None:
    status, out, err = shell(
        *("preview", "spring_sale"), stdout=subprocess.PIPE, PYTHONIOENCODING="ascii"
    )

    assert (status, err) == (0, "")
    assert "est l\\xe0 !" in out


def test_an_unwritable_output_is_one_error_sentence(ledger_url: str) -> None:
    ledger = Ledger.connect(ledger_url)
    rows = {
        "msisdn": [33639980001],
        "opted_out_at": pa.array([datetime(2026, 7, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
        "message": ["STOP"],
    }
    ledger.stop_list.add(pa.table(rows), source="stop_report", stem="SEND-x")
    for call in (
        ("slots",),
        ("slots", "--help"),
        ("explain", "0639980001", "--json", "--url", ledger_url),
        ("stop-list", "export", "-", "--url", ledger_url),
    ):
        status, _, err = shell(*call, stdout="/dev/full")

        assert status == 1, call
        assert err.startswith("standard output")
        assert err.count("\n") == 1, err


def test_an_unexpected_error_is_reported_by_location_without_values(monkeypatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyError("+33639980001")

    monkeypatch.setattr(send_window, "calendar", fails)
    done = sms("slots")

    assert (done.returncode, done.stdout) == (1, "")
    assert "an unexpected KeyError in tests.cli.test_failures, line " in done.stderr
    assert "639980" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_excessive_number_of_samples_is_a_usage_error() -> None:
    assert sms("preview", "spring_sale", "--samples", 10**30).returncode == 2

"""A ledger at a moment that the test sets, and the command that reads it at that moment."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sms.ledger.ledger import Ledger
from tests.command_line import sms
from tests.conftest import keeping_connections
from tests.ledger.conftest import Hand, Office

# A Monday beyond the database's own clock, which decides when a waiting run counts as failed.
MONDAY = datetime(2100, 3, 1, 8, 0, tzinfo=UTC)
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def hand() -> Hand:
    return Hand(MONDAY)


@pytest.fixture
def office(ledger_url: str, hand: Hand) -> Iterator[Office]:
    with keeping_connections(ledger_url) as engine:
        yield Office(Ledger(engine, clock=hand, actor="worker"), hand)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where campaigns are: one that starts on weekdays at 08:00, and one by hand."""
    for name, more in {
        "spring": 'schedule: "0 8 * * 1-5"\nsend_at: "10:15"\n',
        "other": "",
    }.items():
        folder = tmp_path / "campaigns" / name
        folder.mkdir(parents=True)
        (folder / "campaign.yaml").write_text(
            f'kind: marketing\nsender: SPRING\nstop_mention: "STOP 36180"\n{more}'
        )
        (folder / "recipients.sql").write_text("SELECT 1")
        (folder / "message.txt").write_text("Bonjour !")
    return tmp_path / "campaigns"


@pytest.fixture
def command(ledger_url: str, hand: Hand, home: Path, tmp_path: Path) -> Command:
    """The command `sms`, at the moment that the hand shows."""
    settings, clock = tmp_path / "settings.yaml", tmp_path / "clock.json"
    settings.write_text(f"campaigns_folder: {home}\n")

    def run(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        face = {"id": "test", "wall": 0, "sandbox": hand().timestamp(), "rate": 0, "top_rate": 1}
        clock.write_text(json.dumps(face))
        return sms(
            *arguments,
            SMS_LEDGER_URL=ledger_url,
            SMS_SETTINGS=str(settings),
            SMS_SANDBOX_CLOCK=str(clock),
            **variables,
        )

    return run


def later(**by: float) -> datetime:
    """A moment after Monday's."""
    return MONDAY + timedelta(**by)

"""A prepared campaign, a real gateway behind a real Airflow connection, a real ledger."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sms import clock, delivery, frames, sending
from sms.campaign import load
from sms.clock import PARIS
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.settings import Settings
from sms_airflow import wiring
from sms_sandbox import Sandbox

TUESDAY = datetime(2027, 3, 2, 9, 30, tzinfo=PARIS)
CAMPAIGN = """\
description: A campaign of the tests
kind: marketing
sender: TESTS
stop_mention: "STOP 36180"
"""
LEASE = timedelta(minutes=10)


def numbers(count: int) -> list[str]:
    """So many mobile numbers of the block kept for fiction, as people write them."""
    return [f"06 39 98 {at // 100:02d} {at % 100:02d}" for at in range(count)]


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """The gateway on a Tuesday morning, and everything that points at it."""
    with Sandbox(tmp_path / "gateway", start=TUESDAY) as gateway:
        monkeypatch.setenv(clock.VARIABLE, str(gateway.clock_path))
        connect(monkeypatch, gateway)
        yield gateway


def connect(monkeypatch: pytest.MonkeyPatch, gateway: Sandbox, **extra: Any) -> None:
    """Make `sms_gateway` the connection to this gateway; None takes an extra away."""
    monkeypatch.setenv("AIRFLOW_CONN_SMS_GATEWAY", connection(gateway, **extra))


def connection(gateway: Sandbox, **extra: Any) -> str:
    """The connection to this gateway, as Airflow's environment has it."""
    extras = {
        "service_id": "12345",
        "host_key": gateway.host_key,
        "key_file": str(gateway.client_key_path),
        **extra,
    }
    facts = {
        "conn_type": "sftp",
        "host": gateway.host,
        "port": gateway.port,
        "login": gateway.user,
        "extra": {name: value for name, value in extras.items() if value is not None},
    }
    return json.dumps(facts)


@dataclass
class Desk:
    """Where campaigns are prepared and handed in, as the DAG's tasks do it."""

    folder: Path
    ledger: Ledger
    settings: Settings = Settings()  # noqa: RUF009  (frozen)

    text: str = "Bonjour {{ name }}, à samedi !"
    runs: list[str] = field(default_factory=list)

    def plan(
        self, run: str = "one", more: str = "", asked_at: datetime | None = None, **request: Any
    ) -> sending.Plan:
        """The first stage of a run of a small campaign."""
        home = self.folder / "campaigns" / "tests"
        home.mkdir(parents=True, exist_ok=True)
        (home / "campaign.yaml").write_text(CAMPAIGN + more)
        (home / "recipients.sql").write_text("SELECT key, msisdn, name FROM people")
        (home / "message.txt").write_text(self.text)
        return sending.plan(
            load(home),
            sending.Request(**request),
            run_key=run,
            service_id="12345",
            folder=self.run_folder(run),
            ledger=self.ledger,
            settings=self.settings,
            now=clock.now(),
            asked_at=asked_at or clock.now() - timedelta(minutes=2 * self._place(run)),
        )

    def _place(self, run: str) -> int:
        """Which of the desk's runs it is: each was asked for at another time than the others."""
        self.runs = [*self.runs, *([] if run in self.runs else [run])]
        return self.runs.index(run)

    def prepare(
        self, people: list[str], run: str = "one", more: str = "", **request: Any
    ) -> list[Submission]:
        """A run of a small campaign, from plan to review."""
        plan = self.plan(run, more, **request)
        rows = [(f"k{at}", number, f"Léa {at}") for at, number in enumerate(people)]
        batch = frames.from_rows(["key", "msisdn", "name"], rows)
        sending.extract([batch], self.run_folder(run))
        sending.screen(plan, self.run_folder(run), self.ledger, self.settings)
        sending.render(plan, self.run_folder(run), self.ledger, self.settings)
        sending.review(plan, self.run_folder(run), self.ledger, self.settings)
        return self.ledger.submissions(run)

    def submit(
        self,
        stem: str,
        token: str = "first try",
        gateway: Callable[[], Any] = wiring.gateway,
        lease: timedelta = LEASE,
        also: Callable[[Submission], None] = lambda held: None,
    ) -> Submission:
        """What the task `submit` does until it waits for a verdict; `also` is checked, too."""
        run = self.ledger.submission(stem).run_key
        folder = self.run_folder(run)
        plan = sending.read_plan(folder)

        def check(held: Submission) -> None:
            also(held)
            sending.require_sendable(held, plan, self.ledger, self.settings, clock.now())

        parcels = {
            each.stem: sending.PreparedPart(folder, each, self.settings)
            for each in map(self.ledger.submission, self.stems(run))
        }
        this = delivery.Try(gateway, self.ledger, token, lease, check)
        return delivery.submit_next(parcels, this) or self.ledger.submission(stem)

    def accepted(self, stem: str) -> None:
        """What the task `submit` writes down when it hears `.done`."""
        assert self.ledger.move(stem, to=State.ACCEPTED)

    def stems(self, run: str) -> list[str]:
        """The files of a run as they were rendered, whatever became of them."""
        files = self.run_folder(run).glob("05_*.csv")
        return sorted(file.stem.removeprefix("05_") for file in files)

    def run_folder(self, run: str) -> Path:
        return self.folder / "runs" / run


@pytest.fixture
def desk(sandbox: Sandbox, ledger: Ledger, tmp_path: Path) -> Desk:
    """The desk beside that gateway."""
    return Desk(tmp_path, ledger)


def renames(gateway: Sandbox) -> list[str]:
    """Every rename to `.csv` that the gateway ever did."""
    moved = (PurePosixPath(entry["to"]) for entry in gateway.journal("rename"))
    return [name.name for name in moved if name.suffix == ".csv"]


def show(gateway: Sandbox, name: str, content: bytes = b"") -> Path:
    """A file in `Send` that no client of ours put there: of today, by the sandbox's calendar."""
    fresh = gateway.root / name
    fresh.write_bytes(content)
    now = clock.now().timestamp()
    os.utime(fresh, (now, now))
    return fresh.rename(gateway.home / "Send" / name)

"""The world of a campaign: a real gateway behind a real Airflow connection, and a real ledger.

It imports no Airflow until something opens that connection.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sms import clock
from sms.campaign.definition import load
from sms.clock import PARIS
from sms.columnar import parquet
from sms.delivery import upload
from sms.errors import SmsError
from sms.ledger.ledger import Ledger
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.run import frequency_cap, preparation, review, stages
from sms.run import plan as planning
from sms.run.departure import DepartureRules
from sms.run.folder import RunFolder
from sms.run.prepared_file import PreparedFile
from sms.settings import Settings
from sms_sandbox import Sandbox
from tests.openssh import OpenSsh

TUESDAY = datetime(2027, 3, 2, 9, 30, tzinfo=PARIS)
CAMPAIGN = """\
description: A campaign of the tests
kind: marketing
sender: TESTS
stop_mention: "STOP 36180"
"""
LEASE = timedelta(minutes=10)
STEM = "SEND-12345-20270302-1000-spring"
PATIENCE = 120  # seconds, for a machine that is busy

Gateway = Sandbox | OpenSsh
# For what only the sandbox can do, or where no gateway matters.
SANDBOX_ONLY = pytest.mark.parametrize("gateway", ["sandbox"], indirect=True)


def numbers(count: int) -> list[str]:
    """So many mobile numbers of the block kept for fiction, as people write them."""
    return [f"06 39 98 {at // 100:02d} {at % 100:02d}" for at in range(count)]


def hours(files: list[Submission]) -> list[tuple[str, str, int | None]]:
    """Zone, day and hour in Paris, and messages of each file."""
    return [
        (each.zone, f"{each.send_at.astimezone(PARIS):%d %H:%M}", each.messages) for each in files
    ]


@pytest.fixture(params=["sandbox", "openssh"])
def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    """The gateway on a Tuesday morning, and everything that points at it."""
    with running(request, tmp_path) as server:
        monkeypatch.setenv(clock.VARIABLE, str(server.clock_path))
        connect(monkeypatch, server)
        yield server
        submitted = renames(server)
        assert len(submitted) == len(set(submitted))  # whatever happened to a client meanwhile


@contextlib.contextmanager
def running(request: pytest.FixtureRequest, folder: Path) -> Iterator[Gateway]:
    """The server that the fixture's parameter names."""
    if request.param == "sandbox":
        with Sandbox(folder / "gateway", start=TUESDAY) as sandbox:
            yield sandbox
    else:
        openssh: OpenSsh = request.getfixturevalue("openssh")
        openssh.follow(folder / "clock.json", TUESDAY)
        yield openssh


def connect(monkeypatch: pytest.MonkeyPatch, gateway: Gateway, **extra: Any) -> None:
    """Make `sms_gateway` the connection to this gateway; None takes an extra away."""
    monkeypatch.setenv("AIRFLOW_CONN_SMS_GATEWAY", connection(gateway, **extra))


def connection(gateway: Gateway, **extra: Any) -> str:
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


@dataclass(frozen=True)
class OneRuleMore(DepartureRules):
    """The rules for a file, after one of a test's own."""

    also: Callable[[Submission], None] = lambda held: None

    def require(self, submission: Submission) -> None:
        self.also(submission)
        super().require(submission)


@dataclass
class World:
    """Prepares campaigns and submits their files, as the DAG's tasks do."""

    folder: Path
    ledger: Ledger
    settings: Settings = Settings()  # noqa: RUF009  (frozen)

    text: str = "Bonjour {{ name }}, à samedi !"
    runs: list[str] = field(default_factory=list)

    def plan(
        self, run: str = "one", more: str = "", asked_at: datetime | None = None, **request: Any
    ) -> preparation.Plan:
        """The first stage of a run of a small campaign."""
        home = self.folder / "campaigns" / "tests"
        home.mkdir(parents=True, exist_ok=True)
        (home / "campaign.yaml").write_text(CAMPAIGN + more)
        (home / "recipients.sql").write_text("SELECT key, msisdn, name FROM people")
        (home / "message.txt").write_text(self.text)
        return planning.plan(
            load(home),
            planning.Request(**request),
            run_key=run,
            service_id="12345",
            folder=self.run_folder(run),
            ledger=self.ledger,
            settings=self.settings,
            now=clock.now(),
            asked_at=asked_at or clock.now() - timedelta(minutes=2 * self._place(run)),
        )

    def _place(self, run: str) -> int:
        """Which of this world's runs it is: each was asked for at another time than the others."""
        self.runs = [*self.runs, *([] if run in self.runs else [run])]
        return self.runs.index(run)

    def prepare(
        self,
        people: list[str],
        run: str = "one",
        more: str = "",
        living_in: Sequence[str] = (),
        **request: Any,
    ) -> list[Submission]:
        """A run of a small campaign, from plan to review; `living_in` are people's postcodes."""
        plan = self.plan(run, more, **request)
        rows = [
            (f"k{at}", number, f"Léa {at}", postcode)
            for at, (number, postcode) in enumerate(zip_longest(people, living_in, fillvalue=""))
        ]
        columns = ["key", "msisdn", "name", *(["postcode"] if living_in else [])]
        batch = parquet.from_rows(columns, [row[: len(columns)] for row in rows])
        stages.extract([batch], self.run_folder(run))
        stages.screen(plan, self.run_folder(run), self.ledger, self.settings)
        stages.render(plan, self.run_folder(run), self.ledger, self.settings)
        review.review(plan, self.run_folder(run), self.ledger, self.settings)
        return self.ledger.submissions.of_run(run)

    def submit(
        self,
        stem: str,
        token: str = "first try",
        gateway: Callable[[], Any] | None = None,
        lease: timedelta = LEASE,
        also: Callable[[Submission], None] = lambda held: None,
    ) -> Submission:
        """What the task `submit` does until it waits for a verdict; `also` is checked, too."""
        run = self.ledger.submissions.get(stem).run_key
        folder = self.run_folder(run)
        plan = folder.read_plan()

        parcels = {
            each.stem: PreparedFile(folder, each.stem)
            for each in map(self.ledger.submissions.get, self.stems(run))
        }
        cap = frequency_cap.of_next_files(
            plan, self.ledger, self.ledger.submissions.of_run(run), clock.now()
        )
        rules = OneRuleMore(
            plan, self.ledger, self.settings, lambda: None, clock.now, cap, also=also
        )
        this = upload.Try(gateway or over_sftp, self.ledger, token, lease, rules)
        return upload.submit_next(parcels, this) or self.ledger.submissions.get(stem)

    def accepted(self, stem: str) -> None:
        """What the task `submit` writes down when it hears `.done`."""
        assert self.ledger.submissions.move(stem, to=State.ACCEPTED)

    def submit_all(self, stem: str, tries: int = 8) -> list[str]:
        """What `submit` does over several tries, every verdict `.done`; the errors."""
        said = []
        for at in range(tries):
            try:
                waiting = self.submit(stem, token=f"try {at}", lease=timedelta(0))
            except SmsError as error:
                said.append(str(error))
                continue
            if waiting.state is State.SUBMITTED:
                self.accepted(waiting.stem)
        return said

    def states(self, stems: list[str]) -> list[str]:
        """The states of these files, in this order."""
        return [str(self.ledger.submissions.get(stem).state) for stem in stems]

    def stems(self, run: str) -> list[str]:
        """The files of a run as they were rendered, whatever became of them."""
        files = self.run_folder(run).path.glob("05_*.csv")
        return sorted(file.stem.removeprefix("05_") for file in files)

    def run_folder(self, run: str) -> RunFolder:
        return RunFolder(self.folder / "runs" / run)


def over_sftp() -> Any:
    """A session as a task has it, behind Airflow's connection."""
    from sms_airflow import wiring

    return wiring.gateway()


@pytest.fixture
def world(gateway: Gateway, ledger: Ledger, tmp_path: Path) -> World:
    """The world around that gateway."""
    return World(tmp_path, ledger)


def renames(gateway: Gateway) -> list[str]:
    """Every rename to `.csv` that the gateway ever did."""
    if isinstance(gateway, OpenSsh):
        return gateway.submitted()
    moved = (PurePosixPath(entry["to"]) for entry in gateway.journal("rename"))
    return [name.name for name in moved if name.suffix == ".csv"]


def sent_to(gateway: Gateway) -> list[str]:
    """Everyone whom the gateway sends to, once it has done its work."""
    gateway.settle()
    if isinstance(gateway, Sandbox):
        return sorted(entry["msisdn"] for entry in gateway.journal("sent"))
    accepted = b"".join(file.read_bytes() for file in gateway.send.glob("*.done"))
    return sorted(line.split(b";")[1].decode() for line in accepted.splitlines())


def show(gateway: Gateway, name: str, content: bytes = b"") -> Path:
    """A file in `Send` that no client of ours put there: of today, by the sandbox's calendar."""
    if isinstance(gateway, OpenSsh):
        return gateway.provider.show(gateway.send, name, content)
    fresh = gateway.root / name
    fresh.write_bytes(content)
    now = clock.now().timestamp()
    os.utime(fresh, (now, now))
    return fresh.rename(gateway.home / "Send" / name)


def in_send(gateway: Gateway) -> list[str]:
    """What lies in `Send` at this moment."""
    return sorted(file.name for file in (gateway.home / "Send").iterdir())


def stop_answering(gateway: Gateway) -> None:
    """From now on, whoever is logged in gets no answer in time."""
    if isinstance(gateway, OpenSsh):
        gateway.stop_answering()
    else:
        gateway.turn(latency=2.0 * PATIENCE)

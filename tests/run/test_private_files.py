"""Every file with personal data is readable by its owner only, whatever the umask."""

import csv
import os
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import ObjectStoragePath

from sms import clock
from sms.ledger.ledger import Ledger
from sms.ledger.states import State
from sms.reports import collection
from sms.run.folder import RunFolder
from sms_airflow import wiring
from sms_sandbox import Sandbox
from tests.command_line import sms
from tests.world import SANDBOX_ONLY, World, numbers

pytestmark = [
    SANDBOX_ONLY,
    # Airflow's collector of lineage, which hears of every file that is read, loads its providers.
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
]


@pytest.fixture(params=[0o000, 0o077], ids=oct, autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


class AirflowWorld(World):
    """One whose folders are such as the tasks have."""

    scheme = "file://"

    def run_folder(self, run: str) -> RunFolder:
        return RunFolder(ObjectStoragePath(f"{self.scheme}{self.folder}/runs/{run}"))


class PlainPathsWorld(AirflowWorld):
    """The same, named without a scheme."""

    scheme = ""


def modes(*roots: Path) -> dict[str, int]:
    """Of every file and folder that is not as private as it must be, its mode."""
    found = [each for root in roots for each in (root, *root.rglob("*"))]
    kept = {each: stat.S_IMODE(each.stat().st_mode) for each in found}
    wrong = {
        each: mode for each, mode in kept.items() if mode != (0o700 if each.is_dir() else 0o600)
    }
    return {str(each): mode for each, mode in wrong.items()} | {"seen": len(kept)}


@pytest.mark.parametrize("desk_of", [World, AirflowWorld, PlainPathsWorld])
def test_a_whole_runs_files_are_private(
    gateway: Sandbox, ledger: Ledger, tmp_path: Path, desk_of: Callable[..., World]
) -> None:
    gateway.turn(stop=0.2, reply=0.2, report_copies=True)
    world, archive = desk_of(tmp_path, ledger), ObjectStoragePath(f"file://{tmp_path}/archive")
    [prepared] = world.prepare(numbers(50))
    world.submit(prepared.stem)
    gateway.settle()
    world.accepted(prepared.stem)
    with wiring.gateway() as session:
        for days in (1, 2):
            gateway.move_clock(to=prepared.send_at + timedelta(days=days))
            collection.collect_replies(session, ledger, archive, clock.now())
        collection.collect_delivery_report(prepared.stem, session, ledger, archive, clock.now())

    assert ledger.submissions.get(prepared.stem).state is State.REPORTED
    seen = modes(tmp_path / "runs", tmp_path / "archive", gateway.root)
    assert seen.pop("seen") > 40
    assert seen == {}


def test_files_of_the_command_line_are_private(
    gateway: Sandbox, ledger: Ledger, ledger_url: str, tmp_path: Path
) -> None:
    World(tmp_path, ledger).plan()  # which leaves a campaign there
    people, stops = tmp_path / "people.csv", tmp_path / "stops.csv"
    rows = [(f"k{at}", number, "Léa") for at, number in enumerate(numbers(20))]
    with people.open("w", newline="") as out:
        csv.writer(out).writerows([("key", "msisdn", "name"), *rows])
    stops.write_text("msisdn\n+33639980001\nsoon\n")
    good = tmp_path / "good.csv"
    good.write_text("msisdn\n+33639980001\n")

    prepare = ["prepare", tmp_path / "campaigns" / "tests", "--recipients", people]
    prepare += [
        "--stop-list",
        good,
        "--at",
        "2027-03-02T10:00",
        "--out",
        tmp_path / "below" / "out",
    ]
    for words in (
        prepare,
        ("stop-list", "import", good, "--source", "crm", "--url", ledger_url),
        ("stop-list", "export", tmp_path / "below" / "stop.csv", "--url", ledger_url),
        ("stop-list", "export", tmp_path / "below" / "stop.parquet", "--url", ledger_url),
    ):
        done = sms(*words)
        assert done.returncode == 0, done.stderr
    assert sms("stop-list", "import", stops, "--source", "crm", "--url", ledger_url).returncode == 1

    seen = modes(tmp_path / "below")
    assert seen.pop("seen") == 7  # two folders, the file, excluded, the summary, two exports
    assert seen == {}
    rejects = tmp_path / "stops.csv.rejects.csv"
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600


def test_an_export_makes_a_readable_file_private(
    gateway: Sandbox, ledger_url: str, tmp_path: Path
) -> None:
    there = tmp_path / "stop.csv"
    there.write_text("msisdn\n")
    there.chmod(0o644)

    assert sms("stop-list", "export", there, "--url", ledger_url).returncode == 0

    assert stat.S_IMODE(there.stat().st_mode) == 0o600

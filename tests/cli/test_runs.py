"""`sms runs` and `sms report`: the outcome of runs."""

import json
from datetime import timedelta

import pyarrow as pa
import pytest

from sms.ledger.states import State
from tests.cli.conftest import Command, later
from tests.factories import FIRST, part
from tests.ledger.conftest import Office, messages

HOUR = later(hours=2)


def a_run(office: Office) -> str:
    """A run that wrote to 3 of 5 people; its stem."""
    office.runs += 1
    run = office.a_run(run_key="send__spring/manual__one", send_at=HOUR)
    stem = "SEND-12345-21000301-1100-spring1"
    office.ledger.runs.plan(run, stem)
    office.ledger.runs.record_screening(
        run.run_key, candidates=5, audience=3, excluded={"opted_out": 2}, stop_list_size=9
    )
    office.ledger.runs.prepare(run.run_key, [part(stem)])
    office.ledger.submissions.claim(stem, "t", lease=timedelta(minutes=9))
    office.ledger.submissions.record_upload(
        stem, "t", messages=[messages(3)], sha256="", size_bytes=1
    )
    office.ledger.submissions.intend_rename(stem, "t")
    office.ledger.submissions.move(stem, to=State.SUBMITTED, token="t")
    office.ledger.submissions.move(stem, to=State.ACCEPTED)
    return stem


def reported(office: Office, stem: str) -> None:
    """A delivery report that covers two of the three messages."""
    rows = pa.table(
        {
            "line": pa.array([1, 2], pa.int64()),
            "idremote": [f"{n:032x}" for n in (0, 1)],
            "msisdn": pa.array([FIRST, FIRST + 1], pa.int64()),
            "idstatus": pa.array([3, 6], pa.int16()),
            "ackoperator": ["a", "b"],
            "raw_status": ["3", "6"],
        }
    )
    office.ledger.reports.load_delivery_report(stem, rows)
    office.ledger.submissions.move(stem, to=State.REPORTED)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["runs"], "The ledger has no run in the last 7 days.\n"),
        (["runs", "--campaign", "spring"], "The ledger has no run of spring in the last 7 days.\n"),
        (["runs", "--json"], "[]\n"),
    ],
)
def test_an_empty_ledger_has_no_runs(command: Command, ledger_url: str, call, said):
    done = command(*call)

    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_runs_are_listed_with_their_outcomes(office: Office, command: Command):
    reported(office, a_run(office))
    failed = office.a_run(run_key="send__other/manual__two", campaign="other", send_at=HOUR)
    office.ledger.runs.plan(failed, "SEND-12345-21000301-1100-other")
    office.ledger.runs.record_failure(failed.run_key, task="extract", why="no such table: people")
    proof = office.a_run(run_key="send__spring/manual__one/proof-1a2b", send_at=HOUR)
    office.ledger.runs.plan(proof, "SEND-12345-21000301-1000-proof")

    done = command("runs")

    assert [" ".join(line.split()) for line in done.stdout.splitlines()] == [
        "hour campaign status candidates excluded sent delivered run",
        "2100-03-01 11:00 spring reported 5 2 3 1 manual__one",
        "2100-03-01 11:00 other failed in extract 0 0 0 manual__two",
    ]
    assert done.stderr == (
        "send__other/manual__two: failed in extract, 2100-03-01 09:00: no such table: people\n"
    )
    told = json.loads(command("runs", "--campaign", "other", "--json").stdout)
    assert [(each["status"], each["failed_task"]) for each in told] == [("failed", "extract")]


def test_a_report_accounts_for_every_recipient(office: Office, command: Command):
    stem = a_run(office)
    reported(office, stem)

    done = command("report", "manual__one")

    assert done.returncode == 0, done.stderr
    told = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        "run send__spring/manual__one",
        "campaign spring, marketing",
        "status reported",
        "hour 2100-03-01 11:00 in Paris (as requested)",
        "5 candidates",
        "2 opted_out the number is in the stop list",
        "3 to be written to",
        f"2100-03-01 11:00 reported 3 4 {stem}",
        "3 sent, in 4 SMS",
        "1 delivered",
        "1 not delivered",
        "1 missing",
        "0 STOPs, 0 replies",
    ):
        assert line in told, done.stdout
    assert done.stderr.startswith(f"note: the delivery report of {stem} covers 2 of its 3 messages")


def test_a_run_is_found_by_any_of_its_names(office: Office, command: Command):
    stem = a_run(office)

    for name in ("send__spring/manual__one", "manual__one", stem, f"{stem}.csv", "spring"):
        told = json.loads(command("report", name, "--json").stdout)
        assert (told["run_key"], told["status"]) == ("send__spring/manual__one", "sent")
        assert [file["stem"] for file in told["files"]] == [stem]


def test_an_unknown_or_ambiguous_run_name_is_refused(office: Office, command: Command):
    for campaign in ("spring", "other"):
        run = office.a_run(run_key=f"send__{campaign}/scheduled__1", campaign=campaign)
        office.ledger.runs.plan(run, office.stem())

    unknown, several = command("report", "winter"), command("report", "scheduled__1")

    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr == (
        "the ledger has no run, file or campaign winter: `sms runs` lists them\n"
    )
    assert several.returncode == 1
    assert several.stderr == (
        "scheduled__1 is the id of 2 runs (send__other/scheduled__1, send__spring/scheduled__1): "
        "give the full key of one\n"
    )


@pytest.mark.parametrize("wrong", ["", " ", "a\udcff"])
def test_an_unreadable_run_name_is_a_usage_error(command: Command, wrong: str):
    done = command("report", wrong)

    assert (done.returncode, done.stdout) == (2, "")
    assert "write what to look up" in done.stderr or "no UTF-8" in done.stderr


def test_a_proof_has_a_report_by_its_key(office: Office, command: Command):
    proof = office.a_run(run_key="send__spring/manual__one/proof-1a2b")
    office.ledger.runs.plan(proof, "SEND-12345-21000301-1000-proof")

    done = command("report", proof.run_key)

    assert "status    a proof\n" in done.stdout
    assert done.stdout.endswith("\nNothing was sent.\n")

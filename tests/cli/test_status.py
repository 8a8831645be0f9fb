"""`sms status` and `sms upcoming`: open problems, and the next runs."""

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from sms.ledger.quarantine import UNREADABLE
from sms.ledger.records import Recurring, ReportFile
from sms.ledger.states import State
from tests.cli.conftest import MONDAY, Command, later
from tests.factories import part
from tests.ledger.conftest import Hand, Office


def checks(command: Command, *call: object) -> dict[str, tuple[str, str, list[str]]]:
    """What `sms status` looked at, by name."""
    done = command("status", "--json", *call)
    told = json.loads(done.stdout)
    assert told["well"] is (done.returncode == 0), done.stderr
    return {
        each["name"]: (each["level"], each["sentence"], each["cases"]) for each in told["checks"]
    }


def problems(command: Command) -> dict[str, list[str]]:
    """What is wrong, and each case of it."""
    return {
        name: cases for name, (level, _, cases) in checks(command).items() if level == "problem"
    }


def test_an_empty_ledger_is_healthy_with_its_checks_listed(command: Command):
    done = command("status")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ok       no file is unknown",
        "ok       no upload was interrupted",
        "ok       no verdict is overdue",
        "ok       no delivery report is overdue",
        "ok       every STOP could be read",
        "ok       the stop list has 0 numbers",
        "ok       STOPs were never fetched, and no file was ever sent",
        "ok       the gateway was never cleared, and no file was ever sent",
        "ok       2 campaign folders can be read",
        "ok       no run failed in the last 7 days",
        "ok       no file was rejected in the last 7 days",
        "ok       every delivery report in the last 7 days covers all messages of its file",
        "ok       no reply is unsure",
        "No problem found.",
    ]


def test_a_healthy_status_shows_the_last_fetched_stops(
    office: Office, hand: Hand, command: Command
):
    office.submitted()
    for task in Recurring:
        office.ledger.reports.record_success(task)
    hand.advance(timedelta(minutes=4, seconds=30))

    told = checks(command)

    assert told["collect_replies"][:2] == (
        "ok",
        "STOPs were last fetched 4 minutes 30 seconds ago, 2100-03-01 09:00",
    )
    assert problems(command) == {}


def test_a_stopped_collector_is_a_problem(office: Office, hand: Hand, command: Command):
    office.submitted()
    assert problems(command).keys() == {"collect_replies", "clean_gateway"}
    for task in Recurring:
        office.ledger.reports.record_success(task)
    hand.advance(timedelta(hours=2))

    [(name, (_, sentence, _))] = [
        (name, told) for name, told in checks(command).items() if told[0] == "problem"
    ]

    assert name == "collect_replies"
    assert sentence == (
        "STOPs were last fetched 2 hours ago, 2100-03-01 09:00: check the DAG collect_replies, and "
        "whether it is paused"
    )


def test_a_success_is_never_set_back(office: Office, hand: Hand):
    office.ledger.reports.record_success(Recurring.COLLECT_REPLIES)
    hand.advance(timedelta(hours=-1))
    office.ledger.reports.record_success(Recurring.COLLECT_REPLIES)

    assert office.ledger.reports.task_successes() == {Recurring.COLLECT_REPLIES: MONDAY}


def test_open_cases_and_overdue_reports_are_named_problems(
    office: Office, hand: Hand, command: Command
):
    unknown = office.intended()
    office.ledger.submissions.move(unknown.stem, to=State.UNKNOWN)
    uploading, submitted, accepted = office.uploaded(), office.submitted(), office.submitted()
    office.ledger.submissions.move(accepted.stem, to=State.ACCEPTED, due_at=later(days=1))
    assert problems(command) == {
        **{"unknown_files": [unknown.stem], "collect_replies": [], "clean_gateway": []}
    }
    hand.advance(timedelta(days=3))
    for task in Recurring:
        office.ledger.reports.record_success(task)

    assert problems(command) == {
        "unknown_files": [unknown.stem],
        "broken_uploads": [uploading.stem],
        "overdue_verdicts": [submitted.stem],
        "overdue_reports": [accepted.stem],
    }
    done = command("status")
    assert done.returncode == 1
    assert done.stdout.endswith("There are problems: see above.\n")


def test_an_unreadable_stop_is_a_problem(office: Office, command: Command):
    row = {"line": 2, "reason": "has 1 of 5 fields", "raw": b"06 39 98 00 01", "may_be_stop": True}
    name = "STOP-12345-21000301-1100-spring1.csv"
    file = ReportFile(name, "STOP", None, None, 9, MONDAY, "0" * 64, 0, 1, "place")
    office.ledger.reports.record_reading(
        None, file, [pa.RecordBatch.from_pylist([row], UNREADABLE)]
    )

    assert problems(command) == {"unread_stops": [f"{name}: 1 row"]}
    assert "39 98" not in command("status").stdout


def test_a_broken_campaign_folder_is_a_problem(command: Command, home: Path):
    (home / "other" / "message.txt").unlink()

    [case] = problems(command)["campaign_folders"]

    assert case.startswith(f"{home}/other/message.txt: ")


def test_an_irreversible_change_is_a_notice_for_days(office: Office, hand: Hand, command: Command):
    rejected = office.submitted()
    office.ledger.submissions.move(rejected.stem, to=State.REJECTED)
    run = office.a_run(send_at=later(hours=1))
    office.ledger.runs.plan(run, office.stem())
    office.ledger.runs.record_failure(run.run_key, task="extract", why="no such table: people")
    for task in Recurring:
        office.ledger.reports.record_success(task)

    told = {name: (level, cases) for name, (level, _, cases) in checks(command).items()}
    assert told["rejected_files"] == ("notice", [rejected.stem])
    assert told["failed_runs"] == (
        "notice",
        [f"{run.run_key}, in extract: no such table: people"],
    )
    assert command("status").returncode == 0
    hand.advance(timedelta(days=2))
    for task in Recurring:
        office.ledger.reports.record_success(task)
    assert {level for level, _, _ in checks(command, "--days", "1").values()} == {"ok"}


def test_a_stop_list_below_its_minimum_is_a_problem(command: Command, tmp_path: Path, home: Path):
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"campaigns_folder: {home}\nstop_list_minimum: 1\n")

    assert problems(command) == {"stop_list": []}


def test_upcoming_runs_are_listed_with_hours_and_reasons(office: Office, command: Command):
    run = office.a_run(send_at=later(hours=2), run_key="send__other/manual__1", campaign="other")
    office.ledger.runs.plan(run, "SEND-12345-21000301-1100-other")
    office.ledger.runs.prepare(run.run_key, [part("SEND-12345-21000301-1100-other")])
    failed = office.a_run(send_at=later(hours=2))
    office.ledger.runs.plan(failed, "SEND-12345-21000301-1100-failed")
    office.ledger.runs.record_failure(failed.run_key, task="extract", why="gone")
    dry = office.a_run(send_at=later(hours=2), dry_run=True)
    office.ledger.runs.plan(dry, "SEND-12345-21000301-1100-dry")

    done = command("upcoming", "--days", "2")

    assert (done.returncode, done.stderr) == (0, "")
    told = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert told == [
        "Files",
        "hour campaign state messages file",
        "2100-03-01 11:00 other prepared 3 SEND-12345-21000301-1100-other",
        "",
        "Starts by schedule, unless the campaign is paused",
        "start campaign sends at because",
        "2100-03-02 08:00 spring 2100-03-02 10:15 as requested: Tuesday 2 March, 10:15",
        "2100-03-03 08:00 spring 2100-03-03 10:15 as requested: Wednesday 3 March, 10:15",
    ]


def test_a_closed_start_shows_the_next_hour_or_refusal(command: Command, home: Path):
    yaml = home / "spring" / "campaign.yaml"
    for more, hour in {"": "2100-03-08T07:00:00+00:00", "outside_window: fail\n": None}.items():
        yaml.write_text(
            'kind: marketing\nsender: SPRING\nstop_mention: "STOP 36180"\n'
            f'schedule: "30 9 * * 7"\n{more}'
        )
        told = json.loads(command("upcoming", "--json").stdout)
        assert told["files"] == []
        [start] = told["starts"]
        assert (start["starts_at"], start["send_at"]) == ("2100-03-07T08:30:00+00:00", hour)
        assert "Sunday" in start["why"]


def test_a_frequent_campaign_is_listed_with_its_first_starts(command: Command, home: Path):
    yaml = home / "spring" / "campaign.yaml"
    yaml.write_text("kind: transactional\nsender: SPRING\nschedule: '*/5 * * * *'\n")

    done = command("upcoming", "--days", "1")

    assert done.stdout.count(" spring ") == 10
    assert done.stdout.endswith("spring has more starts: only the first are listed\n")


@pytest.mark.parametrize("call", [["upcoming"], ["upcoming", "--json"]])
def test_an_empty_upcoming_list_says_so(command: Command, home: Path, call):
    (home / "spring" / "campaign.yaml").write_text("kind: transactional\nsender: SPRING\n")

    done = command(*call)

    assert (done.returncode, done.stderr) == (0, "")
    if "--json" in call:
        assert json.loads(done.stdout) == {"files": [], "starts": [], "broken": []}
    else:
        assert done.stdout.splitlines() == [
            "No file waits for an hour in the next 7 days.",
            "No campaign starts by schedule in the next 7 days.",
        ]

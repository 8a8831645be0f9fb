"""The command `sms`: what it prints, where, and its exit status."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from sms.ledger.ledger import Ledger
from sms.ledger.states import State
from tests.airflow_home import ROOT
from tests.campaign_folder import write_campaign
from tests.command_line import TIMEOUT, sms, sms_as_a_process
from tests.factories import part, planned_run

STEM = "SEND-12345-20270302-1000-spring"
SPRING = "spring_sale: no fault found; needs from the query: key, msisdn, first_name, points, store"
NOW = datetime(2027, 3, 2, 9, 0, tzinfo=UTC)


def test_good_campaigns_pass() -> None:
    done = sms_as_a_process("check")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "parcel_ready: no fault found; needs from the query: parcel_id, phone, first_name, store, "
        "keep_until, pickup_code",
        SPRING,
    ]


def test_campaigns_are_checked_by_name_with_the_current_settings(tmp_path: Path) -> None:
    home = tmp_path / "campaigns"
    (home / "autumn").mkdir(parents=True)
    (home / "autumn" / "campaign.yaml").write_text(
        "kind: transactional\nsender: AUTUMN\nbudget: 9.5\n"
    )
    (home / "autumn" / "recipients.sql").write_text("SELECT 1")
    (home / "autumn" / "message.txt").write_text("Bonjour !")
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"campaigns_folder: {home}\nprices: {{FR: 0.05}}\n")

    good = sms("check", "autumn", SMS_SETTINGS=str(settings))
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout == "autumn: no fault found; needs from the query: key, msisdn\n"

    settings.write_text(f"campaigns_folder: {home}\n")
    for named in (["autumn"], []):
        done = sms("check", *named, SMS_SETTINGS=str(settings))
        assert (done.returncode, done.stdout) == (1, "")
        where = f"{home}/autumn/campaign.yaml, line 3"
        assert done.stderr.startswith(f"fault {where}: budget: the budget ")
        told = json.loads(sms("check", *named, "--json", SMS_SETTINGS=str(settings)).stdout)
        [fault] = told["faults"]
        assert (fault["path"], fault["line"]) == (f"{home}/autumn/campaign.yaml", 3)
        assert told["campaigns"] == []


def test_a_stop_mention_unreachable_from_abroad_is_a_warning(tmp_path: Path) -> None:
    home = write_campaign(
        tmp_path / "autumn",
        'kind: marketing\nsender: AUTUMN\nstop_mention: "STOP 36180"\n'
        "allowed_countries: [FR, CH]\n",
        "SELECT 1",
        "Bonjour !",
    )

    done = sms("check", home)

    assert done.returncode == 0
    assert done.stdout.startswith("autumn: no fault found; needs from the query: ")
    told = " ".join(done.stderr.split())
    assert told.startswith("note")
    assert "stop_mention: 'STOP 36180' is a short code" in told
    for country, owner in (("MF", "GP"), ("BL", "GP")):
        (home / "campaign.yaml").write_text(
            f"kind: transactional\nsender: AUTUMN\nallowed_countries: [{country}]\n"
        )
        done = sms("check", home)
        assert done.returncode == 1
        assert f"{country!r} no number would be matched" in done.stderr
        assert f"write {owner}" in done.stderr


def test_an_unknown_campaign_error_lists_the_known_ones() -> None:
    done = sms("check", "spring_sales", "spring_sale")

    assert (done.returncode, done.stdout) == (1, f"{SPRING}\n")
    assert done.stderr.startswith("fault spring_sales: is no folder, and no campaign of ")
    assert done.stderr.endswith("known are parcel_ready, spring_sale\n")


def test_settings_that_are_wrong_fail_the_check(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("prices: {FR: 0,045}\n")

    done = sms("check", SMS_SETTINGS=str(settings))

    assert done.returncode == 1
    assert done.stderr.startswith(f"fault {settings}, line 1: prices.45: is no country's code")


def test_all_faults_of_campaigns_and_settings_are_reported(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("prices: {FR: 0,045}\n")
    for name in ("autumn", "winter"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "campaign.yaml").write_text(
            "kind: marketing\nsender: AUTUMN\nstop: no\n"
        )
        (tmp_path / name / "recipients.sql").write_text("-- nothing\n")
        (tmp_path / name / "message.txt").write_text("Bonjour {{ name }")

    done = sms("check", tmp_path / "autumn", tmp_path / "winter", SMS_SETTINGS=str(settings))

    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert {line.split()[0] for line in lines} == {"fault"}
    for name in ("autumn", "winter"):
        for file in ("campaign.yaml", "recipients.sql", "message.txt"):
            where = f"fault {tmp_path}/{name}/{file}"
            assert any(line.startswith(where) for line in lines), done.stderr
    assert any(f"{settings}, line 1" in line for line in lines)


def test_check_lists_needed_columns_by_the_campaigns_names(tmp_path: Path) -> None:
    folder = write_campaign(
        tmp_path / "autumn",
        "kind: transactional\nsender: AUTUMN\nkey: id\nmsisdn: phone\npostcode: zip\n",
        "SELECT 1",
        "{{ id }} {% if points %}{{ points }}{% endif %} {{ zip }}",
    )

    told = json.loads(sms("check", folder, "--json").stdout)

    [campaign] = told["campaigns"]
    assert sorted(campaign["needs"]) == ["id", "phone", "points", "zip"]
    (folder / "message.txt").write_text("Bonjour {{ msisdn }}")
    refused = sms("check", folder)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"fault {folder}/message.txt: uses {{{{ msisdn }}}}, a name")


def test_the_calendar_gives_the_reason_of_closed_days() -> None:
    done = sms("slots", "--days", "4", "--from", "2027-12-24")

    assert done.stdout.splitlines() == [
        "Friday 24 December 2027: 08:00-22:00",
        "Saturday 25 December 2027: closed (Noël)",
        "Sunday 26 December 2027: closed (Sunday)",
        "Monday 27 December 2027: 08:00-22:00",
    ]
    assert len(sms("slots").stdout.splitlines()) == 14


def test_a_department_of_the_mainland_has_the_mainlands_hours() -> None:
    days = ("--days", "2", "--from", "2027-03-26")
    mainland = sms("slots", *days).stdout

    for place in ("75", "75001", "2A", "01", "FR-75"):
        done = sms("slots", *days, "--zone", place)
        assert (done.returncode, done.stdout) == (0, mainland)
    for place in ("67", "067", "67000", "alsace_moselle"):
        told = sms("slots", *days, "--zone", place).stdout
        assert told.startswith("Friday 26 March 2027: closed (Vendredi saint in Alsace-Moselle)")
    for place in ("97", "99", "XX"):
        done = sms("slots", *days, "--zone", place)
        assert done.returncode == 1
        assert f"'{place}' is no zone: write a country's code" in done.stderr


def test_a_broken_folder_fails_with_its_file_and_line(tmp_path: Path) -> None:
    folder = write_campaign(
        tmp_path / "autumn",
        "kind: marketing\nsender: AUTUMN\nstop: no\n",
        "SELECT 1",
        "Bonjour {{ name }",
    )

    done = sms("check", folder, ROOT / "include" / "campaigns" / "spring_sale")

    assert done.returncode == 1
    assert done.stdout == f"{SPRING}\n"
    assert f"{folder}/campaign.yaml, line " in done.stderr
    assert "message.txt, line 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slow_text_passes_with_a_note(tmp_path: Path) -> None:
    folder = write_campaign(
        tmp_path / "autumn",
        "kind: transactional\nsender: AUTUMN\n",
        "SELECT 1",
        "Bonjour\n{{ name|title }}, merci",
    )

    done = sms("check", folder)

    told = "autumn: no fault found; needs from the query: key, msisdn, name\n"
    assert (done.returncode, done.stdout) == (0, told)
    assert done.stderr == (
        f"note  {folder}/message.txt, line 2: `title` is worked out by Python, once for each "
        "combination of name\n"
    )


def test_help_is_shown_before_anything_heavy_is_loaded() -> None:
    heavy = "numpy pandas pyarrow sqlalchemy alembic phonenumbers pydantic jinja2 holidays"
    code = (
        "import sys, sms.cli.main\n"
        "try: sms.cli.main.main()\n"
        f"finally: print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "include")},
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )

    assert "stop-list" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_usage_error_shows_the_usage() -> None:
    done = sms_as_a_process("ledger", "cancel", STEM)

    assert (done.returncode, done.stdout) == (2, "")
    assert "SMS_LEDGER_URL" in done.stderr or "--url" in done.stderr


def test_creating_the_ledger_may_be_repeated(empty_database_url: str) -> None:
    for _ in range(2):
        assert sms("ledger", "upgrade", "--url", empty_database_url).returncode == 0

    Ledger.connect(empty_database_url).require_current()


def test_an_unreachable_ledger_is_one_error_sentence() -> None:
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    done = sms_as_a_process("ledger", "upgrade", SMS_LEDGER_URL=url)

    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "127.0.0.1" in done.stderr


def test_only_an_unsent_file_can_be_cancelled(ledger: Ledger, ledger_url: str) -> None:
    ahead, gone = make_prepared(ledger, STEM + "a"), make_unknown(ledger, STEM + "b")

    done = sms("ledger", "cancel", ahead, SMS_LEDGER_URL=ledger_url)
    assert done.returncode == 0, done.stderr
    assert ledger.submissions.get(ahead).state is State.CANCELLED

    for state in (State.UNKNOWN, State.SUBMITTED):
        ledger.submissions.move(gone, to=state)
        refused = sms("ledger", "cancel", gone, SMS_LEDGER_URL=ledger_url)
        assert refused.returncode == 1
        assert "support@mtarget.fr" in refused.stderr
        assert ledger.submissions.get(gone).state is state


def make_prepared(ledger: Ledger, stem: str) -> str:
    ledger.runs.plan(planned_run(stem, send_at=NOW, planned_at=NOW), stem)
    ledger.runs.prepare(stem, [part(stem, messages=1)])
    return stem


def make_unknown(ledger: Ledger, stem: str) -> str:
    make_prepared(ledger, stem)
    ledger.submissions.claim(stem, "a try", lease=timedelta(minutes=1))
    assert ledger.submissions.move(stem, to=State.UNKNOWN)
    return stem


def test_prepare_says_which_limit_would_stop_the_run(tmp_path: Path) -> None:
    folder = write_campaign(
        tmp_path / "autumn",
        'kind: marketing\nsender: AUTUMN\nstop_mention: "STOP 36180"\nmax_recipients: 1\n',
        "SELECT 1",
        "Bonjour !",
    )
    people, stops = tmp_path / "people.csv", tmp_path / "stops.csv"
    people.write_text("key,msisdn\na,+33639980001\nb,+33639980002\n")
    stops.write_text("msisdn\n")
    files = ["--recipients", people, "--stop-list", stops, "--out", tmp_path / "out"]

    done = sms("prepare", folder, *files, "--at", "2027-03-15T10:00")

    assert done.returncode == 0, done.stderr
    told = "limit 2 recipients are more than max_recipients, 1: the DAG would not send this"
    assert told in done.stderr


def test_the_version_is_shown() -> None:
    done = sms("--version")

    assert (done.returncode, done.stdout) == (0, f"{metadata.version('sms-campaigns')}\n")


def test_a_shell_completes_commands_and_campaigns() -> None:
    for words, completed in {"sms sta": "status", "sms preview spr": "spring_sale"}.items():
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = sms("", _SMS_COMPLETE="complete_bash", **asked)
        assert done.stdout.splitlines() == [completed]

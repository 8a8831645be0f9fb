"""A replay of archived reports restores the ledger's tables."""

import shutil
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sms.errors import ReplayUnfinished, ReportsFailed
from sms.ledger.states import State
from sms.reports.replay import replay
from tests.command_line import sms
from tests.reports.conftest import ack_row, reply_row

TABLES = {
    "opt_out": "msisdn, opted_out_at, source, stem, message",
    "reply": "kind, report, submission_id, msisdn, replied_at, raw_date, raw_hour, message, "
    "message_digest, idremote, occurrence",
    "receipt": "submission_id, line, idremote, idstatus, ackoperator, raw_status",
    "stranger": "submission_id, line, idremote, msisdn, outcome, raw_status",
    "report_file": "name, kind, stem, submission_id, sha256, rows, archive",
    "submission": "stem, state, report_rows, report_duplicates",
}


def kept(home, *names: str) -> dict[str, list[tuple[object, ...]]]:
    """The tables, but for when they were written."""
    return {
        name: sorted(home.table(f"SELECT {TABLES[name]} FROM sms.{name}"), key=str)
        for name in names or TABLES
    }


def lose_reports(home) -> None:
    """A ledger that was set back to the morning on which its file was accepted."""
    home.empty(reports_only=True)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        db.exec_driver_sql("DELETE FROM sms.receipt")
        db.exec_driver_sql("DELETE FROM sms.stranger")
        db.exec_driver_sql(
            "UPDATE sms.submission SET state = 'accepted', report_rows = NULL, "
            "report_duplicates = NULL"
        )


STOPS = st.lists(
    st.builds(reply_row, st.integers(0, 4), st.sampled_from(["STOP", "é;à"])), max_size=5
)
REPLIES = st.lists(
    st.builds(reply_row, st.integers(0, 4), st.sampled_from(["STOP", "oui", "stop!"])), max_size=5
)
ACKS = st.lists(st.builds(ack_row, st.integers(0, 6)), min_size=1, max_size=6)


@settings(
    max_examples=12,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(stops=STOPS, replies=REPLIES, acks=st.lists(ACKS, max_size=2), cut=st.floats(0, 1))
def test_a_replay_restores_the_original_tables(home, stops, replies, acks, cut):
    home.empty()
    shutil.rmtree(home.archive, ignore_errors=True)
    for path in home.gateway.folder.iterdir():
        path.unlink()
    one = home.accepted(5, campaign_id="spring1")
    grown = {"STOP": "".join(stops).encode(), "SMSMO": "".join(replies).encode()}
    for step, part in enumerate((cut, 1.0), start=1):
        for kind, content in grown.items():
            shown = content[: int(part * len(content))]
            home.gateway.shows(
                f"{kind}-12345-20260715-1200-spring1.csv",
                shown,
                at=home.now + timedelta(hours=step),
            )
        with suppress(ReportsFailed):  # a torn line alone is nothing that can be read
            home.collect_replies()
    for step, rows in enumerate(acks):
        home.gateway.shows(
            "ACK-12345-20260715-1200-spring1.csv",
            "".join(rows).encode(),
            at=home.now - timedelta(days=2 - step),
        )
        home.collect(one.stem)
    first = kept(home)

    lose_reports(home)
    with suppress(ReplayUnfinished):
        replay([home.archive], home.ledger, home.archive)

    assert kept(home) == first

    with suppress(ReplayUnfinished):
        replay([home.archive], home.ledger, home.archive)
    assert kept(home) == first


@pytest.fixture
def archived(home, ack, reply):
    """A file whose reports lie in the archive."""
    one = home.accepted(3)
    home.gateway.shows("STOP-12345-20260715-1200-spring1.csv", reply(0))
    home.gateway.shows("ACK-12345-20260715-1200-spring1.csv", ack(3))
    home.collect_replies()
    home.collect(one.stem)
    return one


def test_an_empty_ledger_gets_stops_but_no_outcomes(home, archived):
    first = kept(home, "opt_out")
    home.empty()

    with pytest.raises(ReplayUnfinished, match="1 report loaded, 1 not") as told:
        replay([home.archive], home.ledger, home.archive)

    assert kept(home, "opt_out") == first
    assert "restore sms.campaign_run, sms.submission and sms.message first" in str(told.value)


def test_a_report_outside_the_archive_is_archived_first(home, archived, tmp_path, reply):
    mine = tmp_path / "STOP-12345-20260715-1200-spring1.csv"
    mine.write_bytes(reply(0) + reply(1))

    [loaded] = replay([mine], home.ledger, home.archive)

    assert (loaded.opt_outs, loaded.replies) == (1, 1)
    assert (home.archive / loaded.archived).read_bytes() == mine.read_bytes()


def test_a_file_that_is_no_report_stops_no_other(home, archived, tmp_path):
    odd = tmp_path / "notes.csv"
    odd.write_bytes(b"a;b")

    with pytest.raises(ReplayUnfinished, match="neither its name nor its folder's") as told:
        replay([odd, home.archive], home.ledger, home.archive)

    assert told.value.loaded == 2


def test_a_replay_marks_files_reported_but_closes_none(home, archived):
    lose_reports(home)

    replay([home.archive], home.ledger, home.archive)

    assert home.ledger.submissions.get(archived.stem).state is State.REPORTED


def test_a_replay_counts_replies_older_than_their_file(home, reply):
    home.gateway.shows("STOP-12345-20260715-1200-spring1.csv", reply(0) + reply(1))
    home.collect_replies()
    one = home.accepted(3)

    replay([home.archive], home.ledger, home.archive)
    replay([home.archive], home.ledger, home.archive)

    assert home.ledger.runs.summary(one.run_key).stops == 2
    assert home.table("SELECT stop_rows, people FROM sms.answer_count") == [(2, 2)]


def test_a_replay_restores_a_forgotten_recipients_opt_out_only(home, archived):
    home.ledger.submissions.move(archived.stem, to=State.CLOSED)
    summary = home.ledger.runs.summary(archived.run_key)
    home.ledger.people.forget(33639980000)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        db.exec_driver_sql("DELETE FROM sms.opt_out")

    replay([home.archive], home.ledger, home.archive)

    assert home.stop_list() == [33639980000]
    assert home.table("SELECT message FROM sms.reply") == []
    assert home.ledger.runs.summary(archived.run_key) == summary


# The commands


def command(home, tmp_path: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    chosen = tmp_path / "settings.yaml"
    chosen.write_text(f"archive_folder: {home.archive}\n")
    url = home.ledger.engine.url.render_as_string(hide_password=False)
    return sms(*arguments, "--url", url, SMS_SETTINGS=str(chosen))


def test_the_command_replays_a_folder(home, archived, tmp_path):
    first = kept(home)
    lose_reports(home)

    done = command(home, tmp_path, "replay", home.archive)

    assert done.returncode == 0, done.stderr
    assert kept(home) == first
    assert "ACK-12345-20260715-1200-spring1.csv: 3 rows" in done.stdout
    assert done.stdout.endswith("2 reports loaded.\n")


def test_the_command_forgets_or_refuses_in_a_sentence(home, archived, tmp_path):
    refused = command(home, tmp_path, "forget", "+33639980000")
    assert refused.returncode == 1
    assert "nothing was erased" in refused.stderr
    assert "from 2026-08-05 on" in " ".join(refused.stderr.split())  # 20 days and a night
    assert "Traceback" not in refused.stderr

    home.ledger.submissions.move(archived.stem, to=State.CLOSED)
    done = command(home, tmp_path, "forget", "+33639980000")

    assert done.returncode == 0, done.stderr
    assert "Erased: 1 message with outcome" in done.stdout
    assert "their opt-out is kept" in done.stdout
    assert home.stop_list() == [33639980000]


def test_forgetting_an_unlisted_number_says_so(home, tmp_path):
    done = command(home, tmp_path, "forget", "+33639980001")

    assert done.returncode == 0, done.stderr
    assert "; the number is not in the stop list." in done.stdout


def test_forgetting_names_the_reports_on_unknown_files(home, tmp_path, reply):
    home.gateway.shows("SMSMO-12345-20260715-1200-other.csv", reply(0, "oui"))
    home.collect_replies()

    done = command(home, tmp_path, "forget", "+33639980000")

    assert "/archive/SMSMO/SMSMO-12345-20260715-1200-other until 2027-07-16" in done.stdout


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("nowhere", "there is no report in"),
        ("empty", "there is no report in"),
        ("s3://no-bucket/archive", "s3://no-bucket/archive can't be read: "),
    ],
)
def test_replaying_an_empty_folder_is_an_error(home, tmp_path, place, sentence):
    (tmp_path / "empty").mkdir()

    done = command(home, tmp_path, "replay", place if ":" in place else tmp_path / place)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(sentence)
    assert "Traceback" not in done.stderr


def test_a_replay_with_an_unreadable_stop_warns_of_it(home, tmp_path):
    report = tmp_path / "STOP-12345-20260701-1200-nobody.csv"
    report.write_bytes(b"+33639980000;20260701;1205;STOP;x\r\nwho;20260701;1205;STOP;x\r\n")

    done = command(home, tmp_path, "replay", report)

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == (
        f"1 row of {report.name} can't be read and may be a STOP: nothing is sent until "
        "they are marked by `sms quarantine seen`."
    )

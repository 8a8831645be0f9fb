"""Personal data of closed files expires after its retention, and no other data."""

import itertools
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from upath import UPath

from sms.errors import ConfigurationError, LedgerError
from sms.ledger.ledger import Ledger
from sms.ledger.pseudonyms import Key
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.privacy.erasure import forget
from sms.privacy.retention import expire_archive, expire_personal_data, expire_runs
from sms.settings import Settings
from sms_airflow import wiring
from tests.airflow_home import ledger_connection

KEEP = timedelta(days=90)
_numbers = itertools.count(1)


@pytest.fixture(params=["local", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A folder of ours: on disk, or in a store that knows no folders."""
    if request.param == "local":
        return tmp_path / "kept"
    return UPath(f"memory://bucket{next(_numbers)}/kept")


def write(path: Any, content: bytes = b"people") -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def left(root: Any) -> list[str]:
    """All files below a folder, by their ends."""
    found = []
    for each in root.iterdir() if root.exists() else ():
        found += left(each) if each.is_dir() else [f"{each.parent.name}/{each.name}"]
    return sorted(found)


def run_of(home, root: Any, one: Submission) -> Any:
    """The run's folder, as the ledger knows it and with a file in it."""
    folder = root / "send__spring" / str(one.id)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE sms.campaign_run SET folder = %s WHERE run_key = %s", (str(folder), one.run_key)
        )
    write(folder / "01_candidates.parquet")
    write(folder / "deeper" / "part.parquet")
    return folder


def closed(home) -> Submission:
    one = home.accepted(3)
    home.ledger.submissions.move(one.stem, to=State.REPORTED)
    home.ledger.submissions.move(one.stem, to=State.CLOSED)
    return one


def test_the_folder_of_a_closed_run_expires(home, root):
    over, still_open = closed(home), home.accepted(3)
    folders = [run_of(home, root, each) for each in (over, still_open)]
    write(root / "send__spring" / "stranger" / "file")
    at_the_limit = over.send_at + KEEP

    assert expire_runs(root, home.ledger, KEEP, at_the_limit).folders == 0
    found = expire_runs(root, home.ledger, KEEP, at_the_limit + timedelta(minutes=1))

    assert (found.folders, found.called_off, found.unknown) == (1, (), 1)
    assert left(root) == [
        f"{folders[1].name}/01_candidates.parquet",
        "deeper/part.parquet",
        "stranger/file",
    ]
    assert not folders[0].exists()
    assert expire_runs(root, home.ledger, KEEP, at_the_limit + timedelta(days=1)).folders == 0


def test_an_expired_unsent_run_is_cancelled(home, root):
    one = home.accepted(3)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        db.exec_driver_sql("UPDATE sms.submission SET state = 'prepared'")
    run_of(home, root, one)

    found = expire_runs(root, home.ledger, KEEP, one.send_at + KEEP + timedelta(days=1))

    assert (found.folders, found.called_off) == (1, (one.stem,))
    assert home.ledger.submissions.get(one.stem).state is State.CANCELLED
    assert left(root) == []


def test_a_missing_folder_needs_no_work(home, tmp_path):
    assert expire_runs(tmp_path / "none", home.ledger, KEEP, home.now).folders == 0
    assert expire_archive(tmp_path / "none", home.ledger, KEEP, home.now) == 0


def test_archived_reports_expire_by_the_day_in_their_name(home, root):
    over, still_open = closed(home), home.accepted(3)
    for stem in (over.stem, still_open.stem, "SEND-12345-20260715-1200-nobody"):
        for state in ("aaaa", "bbbb"):
            write(root / "STOP" / stem.replace("SEND", "STOP") / f"{state}.csv")
    write(root / "ACK" / "ACK-12345-20269999-1200-odd" / "aaaa.csv")
    write(root / "notes" / "mine.txt")
    day = home.now.replace(year=2026, month=7, day=14, hour=22, minute=0)  # midnight in Paris

    assert expire_archive(root, home.ledger, KEEP, day + KEEP) == 0
    assert expire_archive(root, home.ledger, KEEP, day + KEEP + timedelta(minutes=1)) == 2

    stays = still_open.stem.replace("SEND", "STOP")
    assert left(root) == [
        "ACK-12345-20269999-1200-odd/aaaa.csv",
        *(f"{stays}/{state}.csv" for state in ("aaaa", "bbbb")),
        "notes/mine.txt",
    ]


def test_personal_data_expires_in_portions(home, ack, reply):
    over, still_open = closed(home), home.accepted(3)
    home.gateway.shows(over.stem.replace("SEND", "STOP") + ".csv", reply(0))
    home.gateway.shows("SMSMO-12345-20260701-1200-nobody.csv", reply(1, "merci"))
    home.collect_replies()
    summary = home.ledger.runs.summary(over.run_key)

    assert expire_personal_data(home.ledger, KEEP, over.send_at + KEEP) == {
        "months": 0,
        "messages": 0,
        "strangers": 0,
        "replies": 0,
        "texts": 0,
        "unreadable": 0,
    }
    found = expire_personal_data(home.ledger, KEEP, home.now + KEEP + timedelta(days=1), portion=2)

    people = {"messages": 3, "strangers": 0, "replies": 2, "texts": 1, "unreadable": 0}
    assert found == {"months": 0, **people}  # a file that is still open keeps its month
    assert home.ledger.runs.summary(over.run_key) == summary
    assert home.table("SELECT submission_id, count(*) FROM sms.message GROUP BY 1") == [
        (still_open.id, 3)
    ]
    assert home.stop_list() == [33639980000]


def test_old_numbers_of_the_stop_list_become_hashes(home, reply):
    home.ledger = Ledger(
        home.ledger.engine, clock=lambda: home.now, actor="test", key=lambda: Key.of("k" * 32)
    )
    over = closed(home)
    home.gateway.shows(over.stem.replace("SEND", "STOP") + ".csv", reply(0) + reply(1) + reply(2))
    home.collect_replies()
    later = home.now + KEEP + timedelta(days=1)

    assert "hashed" not in expire_personal_data(home.ledger, KEEP, later)
    assert home.stop_list() == [33639980000, 33639980001, 33639980002]
    found = expire_personal_data(home.ledger, KEEP, later, hash_stop_list=True, portion=2)
    again = expire_personal_data(home.ledger, KEEP, later, hash_stop_list=True, portion=2)

    assert (found["hashed"], again["hashed"]) == (3, 0)
    assert all(name < 0 for name in home.stop_list())
    assert home.ledger.stop_list.opted_out(np.arange(33639980000, 33639980009)).tolist() == [
        *range(33639980000, 33639980003)
    ]


def test_tasks_read_the_stop_lists_key_from_a_connection(home, reply, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_SMS_LEDGER", ledger_connection(home.ledger.engine.url))
    over = closed(home)
    home.gateway.shows(over.stem.replace("SEND", "STOP") + ".csv", reply(0))
    home.collect_replies()
    later = home.now + KEEP + timedelta(days=1)
    asked = np.array([33639980000])
    assert wiring.ledger().stop_list.opted_out(asked).tolist() == [33639980000]  # it needs none yet

    with pytest.raises(ConfigurationError, match="there is no connection sms_stop_list_key: cre"):
        expire_personal_data(wiring.ledger(), KEEP, later, hash_stop_list=True)
    monkeypatch.setenv("AIRFLOW_CONN_SMS_STOP_LIST_KEY", f"generic://:{'k' * 32}@")
    assert expire_personal_data(wiring.ledger(), KEEP, later, hash_stop_list=True)["hashed"] == 1
    assert wiring.ledger().stop_list.opted_out(asked).tolist() == [33639980000]

    monkeypatch.delenv("AIRFLOW_CONN_SMS_STOP_LIST_KEY")
    with pytest.raises(ConfigurationError, match="set AIRFLOW_CONN_SMS_STOP_LIST_KEY"):
        wiring.ledger().stop_list.require_safe()
    monkeypatch.setenv("AIRFLOW_CONN_SMS_STOP_LIST_KEY", '{"conn_type": "generic"}')
    with pytest.raises(ConfigurationError, match="key is empty: give the key"):
        wiring.ledger().stop_list.opted_out(asked)


def test_without_the_stop_lists_key_all_else_expires(home, reply):
    over = closed(home)
    home.gateway.shows(over.stem.replace("SEND", "STOP") + ".csv", reply(0))
    home.collect_replies()
    later = home.now + KEEP + timedelta(days=1)

    with pytest.raises(ConfigurationError, match="key was not given"):
        expire_personal_data(home.ledger, KEEP, later, hash_stop_list=True)

    assert home.table("SELECT count(*) FROM sms.reply") == [(0,)]
    assert home.stop_list() == [33639980000]


def test_an_expired_month_is_dropped_and_its_counts_stay(home, ack, reply):
    over = closed(home)
    home.gateway.shows(over.stem.replace("SEND", "STOP") + ".csv", reply(0))
    home.collect_replies()
    summary = home.ledger.runs.summary(over.run_key)
    later = home.now + KEEP + timedelta(days=40)

    found = expire_personal_data(home.ledger, KEEP, later)
    again = expire_personal_data(home.ledger, KEEP, later)

    assert (found["months"], found["messages"], again["months"]) == (1, 0, 0)
    assert home.table("SELECT count(*) FROM sms.message") == [(0,)]
    assert home.ledger.runs.summary(over.run_key) == summary
    assert home.stop_list() == [33639980000]


def test_without_the_right_to_drop_months_rows_are_deleted(home, ack, monkeypatch):
    over = closed(home)

    def refused(before):
        raise LedgerError("permission denied for function drop_months")

    monkeypatch.setattr(home.ledger.people, "drop_months", refused)
    found = expire_personal_data(home.ledger, KEEP, home.now + KEEP + timedelta(days=40))

    assert (found["months"], found["messages"]) == (0, 3)
    assert home.ledger.runs.summary(over.run_key).balanced


def test_forgetting_names_the_places_still_holding_the_number(home, ack):
    one = home.accepted(3)
    home.gateway.shows(one.stem.replace("SEND", "ACK") + ".csv", ack(3))
    home.collect(one.stem)
    home.ledger.submissions.move(one.stem, to=State.CLOSED)
    settings = Settings(archive_folder="/somewhere")

    forgotten, kept = forget("06 39 98 00 00", home.ledger, settings, home.now)

    assert (forgotten.messages, forgotten.opted_out) == (1, False)
    assert [each.place for each in kept] == [
        "runs/spring",
        f"file:///somewhere/ACK/{one.stem.replace('SEND', 'ACK')}",
    ]
    assert kept[0].until == one.send_at + settings.run_retention + timedelta(days=1)

    later = one.send_at + settings.archive_retention + timedelta(days=2)
    assert forget("+33639980001", home.ledger, settings, later)[1] == []


OTHER = "SMSMO-12345-20260715-1200-other"


@pytest.mark.parametrize("line", ["+33639980000;20260715;1205;merci;\r\n", "x 0639980000\r\n"])
def test_forgetting_names_where_unmatched_reports_keep_the_number(home, reply, line):
    home.gateway.shows(f"{OTHER}.csv", line.encode() + reply(1, "merci"))
    home.collect_replies()
    settings = Settings(archive_folder="/somewhere")

    _, kept = forget("+33639980000", home.ledger, settings, home.now)

    assert [each.place for each in kept] == [
        f"file:///somewhere/SMSMO/{OTHER}",
        f"Report/{OTHER}.csv at the gateway, if it was not deleted there,",
    ]
    assert forget("+33639980000", home.ledger, settings, home.now)[1] == []


def test_a_report_without_a_date_is_kept_until_deleted(home, reply):
    odd = OTHER.replace("0715", "9999")
    home.gateway.shows(f"{odd}.csv", reply(0, "merci"))
    home.collect_replies()

    archived, _ = forget("+33639980000", home.ledger, Settings(), home.now)[1]

    assert (archived.place.endswith(odd), archived.until) == (True, None)


@pytest.mark.parametrize("number", ["+336399800007", "00 33 6399800007"])
def test_a_number_that_only_replied_can_be_forgotten(home, number):
    home.gateway.shows(f"{OTHER}.csv", b"+336399800007;20260715;1205;merci;\r\n")
    home.collect_replies()

    assert forget(number, home.ledger, Settings(), home.now)[0].replies == 1


def test_an_invalid_number_is_not_quoted(home):
    with pytest.raises(ConfigurationError, match="no telephone number") as refused:
        forget("somebody, 12", home.ledger, Settings(), home.now)

    assert "somebody" not in str(refused.value)

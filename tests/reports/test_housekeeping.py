"""What housekeeping deletes at the gateway, and what it never deletes (R11, R32)."""

import gzip
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk.execution_time.context import set_current_context

from sms import clock
from sms.delivery.gateway import Folder
from sms.delivery.settlement import call_off
from sms.errors import HousekeepingUnfinished, SubmissionContradicted
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.reports.collection import REPORT_SETTLES
from sms.reports.housekeeping import REJECT_STAYS, Cleared, clean_gateway
from sms.settings import MONTH, UNREAD, Settings
from sms_airflow import housekeeping_tasks, wiring
from sms_airflow.sensors import ReportSensor
from sms_sandbox import Sandbox
from tests.world import connect, in_send, show

HOUR = datetime(2026, 7, 15, 10, 0, tzinfo=UTC)  # of every file here
SETTINGS = Settings()
QUIET = SETTINGS.close_after
A_DAY = timedelta(days=1)


@pytest.fixture
def gateway(home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A gateway at the hour at which the files here go out, and everything that points at it."""
    with Sandbox(tmp_path / "gateway", start=HOUR) as sandbox:
        connect(monkeypatch, sandbox)
        monkeypatch.setenv(clock.VARIABLE, str(sandbox.clock_path))
        with wiring.gateway() as session:
            home.gateway = session
            home.now = HOUR
            yield sandbox


@pytest.fixture
def later(home, gateway: Sandbox) -> Callable[[timedelta], None]:
    """Moves every clock to so long after the files' hour."""

    def move(passed: timedelta) -> None:
        home.now = HOUR + passed
        gateway.move_clock(to=home.now)

    return move


def name(kind: str, one: Submission) -> str:
    return one.stem.replace("SEND", kind) + ".csv"


def clear(home) -> Cleared:
    return clean_gateway(home.gateway, home.ledger, home.archive, SETTINGS, home.now)


def state(home, one: Submission) -> State:
    return home.ledger.submissions.get(one.stem).state


@pytest.fixture
def reported(home, gateway: Sandbox, later, ack, reply) -> Submission:
    """A file whose reports are all home, and all of them still at the gateway."""
    one = home.accepted(3)
    show(gateway, f"{one.stem}.done", b"people")
    gateway.put_report(name("STOP", one), reply(0))
    gateway.put_report(name("SMSMO", one), reply(1, "merci"))
    later(A_DAY)
    gateway.put_report(name("ACK", one), ack(3))
    home.collect(one.stem)
    home.collect_replies()
    later(A_DAY + REPORT_SETTLES)
    return one


# What goes, and when


def test_delivery_reports_are_deleted_first_and_quiet_files_later(home, gateway, later, reported):
    first = clear(home)

    assert first == Cleared((name("ACK", reported),), (f"{reported.stem}.done",), (), 0)
    assert gateway.report_names() == [name("SMSMO", reported), name("STOP", reported)]
    assert state(home, reported) is State.REPORTED

    later(QUIET - timedelta(minutes=1))
    assert clear(home) == Cleared((), (), (), 0)

    later(QUIET)
    last = clear(home)
    assert sorted(last.reports) == [name("SMSMO", reported), name("STOP", reported)]
    assert last.closed == (reported.stem,)
    assert gateway.report_names() == in_send(gateway) == []
    assert state(home, reported) is State.CLOSED
    assert clear(home) == Cleared((), (), (), 0)


def test_a_recent_delivery_report_stays_with_its_done(home, gateway, later, ack):
    one = home.accepted(3)
    show(gateway, f"{one.stem}.done", b"people")
    later(A_DAY)
    gateway.put_report(name("ACK", one), ack(3))
    home.collect(one.stem)

    later(A_DAY + REPORT_SETTLES - timedelta(seconds=1))
    assert clear(home) == Cleared((), (), (), 0)
    assert in_send(gateway) == [f"{one.stem}.done"]

    later(A_DAY + REPORT_SETTLES)
    assert clear(home) == Cleared((name("ACK", one),), (f"{one.stem}.done",), (), 0)


def test_nothing_of_an_open_file_is_deleted(home, gateway, later, reply):
    one = home.accepted(3)
    show(gateway, f"{one.stem}.done")
    gateway.put_report(name("STOP", one), reply(0))
    home.collect_replies()
    later(QUIET + timedelta(days=1))

    with pytest.raises(HousekeepingUnfinished, match=f"the delivery report of {one.stem}"):
        clear(home)
    assert gateway.report_names() == [name("STOP", one)]
    assert in_send(gateway) == [f"{one.stem}.done"]


def test_an_unread_report_stays(home, gateway, later, ack):
    one = home.accepted(3)
    later(A_DAY)
    gateway.put_report(name("ACK", one), ack(3))

    assert clear(home).reports == ()
    assert state(home, one) is State.ACCEPTED
    assert home.ledger.reports.get(name("ACK", one)) is None


def test_a_grown_report_is_read_again_before_deletion(home, gateway, later, reported, ack, reply):
    gateway.put_report(name("ACK", reported), ack(3, "4;refused"))
    later(QUIET)
    gateway.put_report(name("STOP", reported), reply(0) + reply(2))

    cleared = clear(home)

    assert home.ledger.submissions.reconcile(reported.stem).refused == 3
    assert home.stop_list() == [33639980000, 33639980002]
    assert sorted(cleared.reports) == [name("SMSMO", reported), name("STOP", reported)]
    later(QUIET + REPORT_SETTLES)  # what was new to us a moment ago may not be whole
    assert clear(home).reports == (name("ACK", reported),)
    archived = sorted(path.read_bytes() for path in home.archive.rglob("STOP*/*.csv"))
    assert archived == [reply(0), reply(0) + reply(2)]


@pytest.mark.parametrize("kind", ["STOP", "ACK"])
def test_a_report_growing_before_its_deletion_stays(
    home, gateway, later, reported, monkeypatch, kind, ack, reply
):
    """The provider appends right after the listing by which a file was judged."""
    later(QUIET)
    listing, seen = home.gateway.listing, []

    def growing(folder: Folder) -> list:
        found = listing(folder)
        seen.append(folder)
        # The third look at `Report` is the one that judges, after both collectors' own.
        if seen.count(Folder.REPORT) == 3 and folder is Folder.REPORT:
            grown = reply(0) + reply(2) if kind == "STOP" else ack(3, "4;refused")
            gateway.put_report(name(kind, reported), grown)
        return found

    monkeypatch.setattr(home.gateway, "listing", growing)
    cleared = clear(home)
    monkeypatch.undo()

    assert name(kind, reported) not in cleared.reports
    assert gateway.report_names() == [name(kind, reported)]
    assert state(home, reported) is State.REPORTED


def test_a_file_that_vanishes_meanwhile_counts_as_deleted(
    home, gateway, later, reported, monkeypatch
):
    listing = home.gateway.listing
    ack_path = gateway.home / "Report" / name("ACK", reported)
    looks = []

    def vanishing(folder: Folder) -> list:
        found = listing(folder)
        looks.append(folder)
        if folder is Folder.REPORT and looks.count(folder) == 3:
            ack_path.unlink()
        return found

    monkeypatch.setattr(home.gateway, "listing", vanishing)

    assert clear(home).reports == (name("ACK", reported),)


def test_a_lost_archive_copy_is_restored_before_deletion(home, gateway, reported):
    known = home.ledger.reports.get(name("ACK", reported))
    place = home.archive / known.archive
    content = place.read_bytes()
    place.unlink()

    assert clear(home).reports == (name("ACK", reported),)
    assert place.read_bytes() == content


def test_a_damaged_archive_copy_does_not_count_as_archived(home, gateway, reported):
    known = home.ledger.reports.get(name("ACK", reported))
    (home.archive / known.archive).write_bytes(b"somebody edited this")

    clear(home)

    assert (home.archive / known.archive).read_bytes() != b"somebody edited this"


# Files in `Send`


def test_only_our_finished_files_are_deleted_from_send(home, gateway, later):
    rejected, cancelled, open_one = home.submitted(), home.accepted(), home.accepted()
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("UPDATE sms.submission SET due_at = %s", (HOUR + 2 * REJECT_STAYS,))
    home.ledger.submissions.move(rejected.stem, to=State.REJECTED)
    unknown_stem = "SEND-12345-20260715-1200-nobody"
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql(
            "UPDATE sms.submission SET state = 'cancelled' WHERE stem = %s", (cancelled.stem,)
        )
    names = [
        f"{rejected.stem}.reject",
        f"{cancelled.stem}.tmp",
        f"{cancelled.stem}.0123abcd.tmp",
        f"{open_one.stem}.tmp",
        f"{open_one.stem}.0123abcd.tmp",
        f"{unknown_stem}.done",
        f"{unknown_stem}.0123abcd.tmp",
        "SEND-99999-20260715-1200-theirs.done",
        "readme.txt",
    ]
    for each in names:
        show(gateway, each)

    assert clear(home) == Cleared((), (), (), 4)

    later(SETTINGS.claim_lease + timedelta(minutes=1))
    drafts = sorted(clear(home).sent)
    assert drafts == [f"{cancelled.stem}.0123abcd.tmp", f"{cancelled.stem}.tmp"]

    later(REJECT_STAYS - timedelta(minutes=1))
    assert clear(home).sent == ()
    later(REJECT_STAYS + timedelta(minutes=1))
    assert clear(home).sent == (f"{rejected.stem}.reject",)
    assert {*in_send(gateway)} == {*names} - {*drafts, f"{rejected.stem}.reject"}


def test_a_file_in_progress_is_never_touched(home, openssh, monkeypatch):
    connect(monkeypatch, openssh)
    openssh.provider.turn("silent")
    over = home.accepted(3)
    home.ledger.submissions.move(over.stem, to=State.REPORTED)
    for phase in ("csv", "lock", "done"):
        show(openssh, f"{over.stem}.{phase}")
    home.now = datetime.now(UTC) + timedelta(days=1)

    with wiring.gateway() as home.gateway, pytest.raises(HousekeepingUnfinished) as alarm:
        clear(home)

    assert "still shows it as csv, lock, so it can't be closed" in str(alarm.value)
    assert in_send(openssh) == [f"{over.stem}.csv", f"{over.stem}.lock"]
    assert state(home, over) is State.REPORTED


def test_reports_of_other_senders_are_left_alone(home, gateway, later, ack, reply):
    theirs = "ACK-99999-20260715-1200-theirs.csv", "STOP-12345-20260715-1200-nobody.csv"
    gateway.put_report(theirs[0], ack(1))
    gateway.put_report(theirs[1], reply(0))
    later(UNREAD)

    assert clear(home) == Cleared((), (), (), 2)
    assert gateway.report_names() == sorted(theirs)


# What needs a person


def test_a_report_unread_for_25_days_is_named_last(home, gateway, later, reported, ack):
    unread = home.accepted(3)  # a day after the other
    with home.ledger.engine.begin() as db:
        due = "UPDATE sms.submission SET due_at = %s WHERE stem = %s"
        db.exec_driver_sql(due, (HOUR + MONTH, unread.stem))
    later(UNREAD + A_DAY - timedelta(minutes=1))
    gateway.put_report(name("ACK", unread), ack(3))
    clear(home)
    assert state(home, reported) is State.CLOSED

    later(UNREAD + A_DAY + REPORT_SETTLES)
    with pytest.raises(HousekeepingUnfinished, match="1 file to check") as alarm:
        clear(home)

    assert not alarm.value.retryable
    assert name("ACK", unread) in str(alarm.value)
    assert f"trigger collect_delivery_report with the stem {unread.stem}" in str(alarm.value)


def test_an_unreadable_stop_is_reported_and_blocks_nothing_else(home, gateway, later, reported):
    other = home.accepted(3)
    gateway.put_report(name("STOP", other), b"\x00\x01\x02\n" * 9)
    later(QUIET)

    with pytest.raises(HousekeepingUnfinished, match=name("STOP", other)):
        clear(home)

    assert state(home, reported) is State.CLOSED
    assert gateway.report_names() == [name("STOP", other)]


def test_a_file_without_report_is_closed_after_a_month(home, gateway, later):
    one = home.accepted(3)
    later(MONTH)
    with pytest.raises(HousekeepingUnfinished, match=f"the delivery report of {one.stem} on 3"):
        clear(home)
    assert state(home, one) is State.ACCEPTED

    later(MONTH + timedelta(minutes=1))
    with pytest.raises(HousekeepingUnfinished, match="it is closed without a delivery report"):
        clear(home)
    assert state(home, one) is State.CLOSED
    assert clear(home) == Cleared((), (), (), 0)


def test_an_unreadable_report_keeps_its_file_open(home, gateway, later):
    one = home.accepted(3)
    later(timedelta(days=20))
    gateway.put_report(name("ACK", one), b"<html>\r\n" * 3)
    later(MONTH + timedelta(days=1))

    with pytest.raises(HousekeepingUnfinished, match=r"1 file to check.*is not a readable report"):
        clear(home)
    assert state(home, one) is State.ACCEPTED
    assert gateway.report_names() == [name("ACK", one)]


def test_a_report_read_before_its_first_sighting_is_deleted(home, gateway, later, reported):
    """As one that an earlier version has read."""
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("DELETE FROM sms.sighting")
    later(2 * A_DAY)
    assert clear(home).reports == ()

    later(3 * A_DAY)
    assert clear(home).reports == (name("ACK", reported),)


# What a report may still get


def test_a_partial_report_stays_until_it_covers_all(home, gateway, later, ack):
    one = home.accepted(10)
    show(gateway, f"{one.stem}.done")
    later(A_DAY)
    gateway.put_report(name("ACK", one), ack(4))
    home.collect(one.stem)
    later(2 * A_DAY)
    assert clear(home) == Cleared((), (), (), 0)

    gateway.put_report(name("ACK", one), ack(10))
    later(3 * A_DAY)
    assert clear(home) == Cleared((), (), (), 0)
    assert home.ledger.submissions.reconcile(one.stem).delivered == 10
    later(4 * A_DAY)
    assert clear(home) == Cleared((name("ACK", one),), (f"{one.stem}.done",), (), 0)


def test_a_report_never_complete_is_deleted_and_recorded(home, gateway, later, ack, caplog):
    one = home.accepted(10)
    later(A_DAY)
    gateway.put_report(name("ACK", one), ack(4))
    home.collect(one.stem)
    later(A_DAY + SETTINGS.incomplete_report_retention - timedelta(minutes=1))
    assert clear(home).reports == ()
    assert f"{name('ACK', one)} does not cover 6 messages" in caplog.text

    later(A_DAY + SETTINGS.incomplete_report_retention)
    assert clear(home).reports == (name("ACK", one),)
    later(QUIET)
    assert clear(home).closed == (one.stem,)
    told = "SELECT detail FROM sms.event WHERE to_state = 'closed'"
    assert home.table(told) == [({"missing": 6},)]


@pytest.mark.parametrize("kind", ["STOP", "SMSMO", "ACK"])
def test_bytes_are_compared_before_a_deletion(home, gateway, later, reported, kind, ack, reply):
    """A tool may write a file anew and keep its size and its time."""
    home.collect_replies()  # a second look: from now on size and time are believed
    path = gateway.home / "Report" / name(kind, reported)
    before = path.stat()
    other = {"STOP": reply(2), "SMSMO": reply(2, "arret"), "ACK": ack(3, "6;delivered")}[kind]
    assert len(other) == before.st_size
    later(QUIET)
    path.write_bytes(other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert name(kind, reported) not in clear(home).reports

    if kind == "ACK":
        assert home.ledger.submissions.reconcile(reported.stem).not_delivered == 3
    else:
        assert 33639980002 in home.stop_list()
    later(QUIET + A_DAY)
    assert name(kind, reported) in clear(home).reports


# What no task waits for


def broken_off(home, intended: datetime | None = None) -> Submission:
    """A file whose last try died in the middle, with or without an intent to rename it."""
    one = home.submitted(3)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        db.exec_driver_sql(
            "UPDATE sms.submission SET state = 'uploading', claim = 'dead', submitted_at = NULL, "
            "claimed_at = %s, rename_intended_at = %s",
            (HOUR, intended),
        )
    return one


def test_a_verdict_without_a_waiting_task_is_recorded(home, gateway, later, ack):
    """The DAG was deleted, or Airflow's database lost."""
    done, refused, silent, young = (home.submitted(3) for _ in range(4))
    show(gateway, f"{done.stem}.done")
    show(gateway, f"{refused.stem}.reject")
    with home.ledger.engine.begin() as db:
        late = "UPDATE sms.submission SET submitted_at = %s WHERE stem = %s"
        for each in (done, refused, silent):
            db.exec_driver_sql(late, (HOUR, each.stem))
        db.exec_driver_sql(late, (HOUR + timedelta(minutes=1), young.stem))
    later(SETTINGS.verdict_timeout)

    with pytest.raises(HousekeepingUnfinished, match="2 files to check") as alarm:
        clear(home)

    told = str(alarm.value)
    assert (
        f"{refused.stem}: the gateway rejected it, and no task was waiting for the verdict" in told
    )
    assert f"{silent.stem}: no verdict on {silent.stem} in time" in told
    assert [state(home, each) for each in (done, refused, silent, young)] == [
        *(State.ACCEPTED, State.REJECTED, State.SUBMITTED, State.SUBMITTED)
    ]
    assert home.ledger.submissions.get(done.stem).due_at == HOUR + A_DAY


@pytest.mark.parametrize("heard", [True, False])
def test_a_report_without_a_waiting_task_is_fetched(home, gateway, later, ack, heard):
    one = home.accepted(3) if heard else home.submitted(3)
    later(120 * A_DAY)
    gateway.put_report(name("ACK", one), ack(3))

    assert clear(home).reports == ()
    assert home.ledger.submissions.reconcile(one.stem).delivered == 3
    assert state(home, one) is State.REPORTED
    later(121 * A_DAY)
    assert clear(home).reports == (name("ACK", one),)


def test_every_delivery_report_on_a_file_is_read(home, gateway, later, ack):
    """One under another hour, one packed: each tells of other messages."""
    one = home.accepted(9)
    later(A_DAY)
    rows = ack(9).splitlines(keepends=True)
    gateway.put_report(name("ACK", one), b"".join(rows[:3]))
    home.collect(one.stem)
    gateway.put_report(name("ACK", one).replace("1200", "0900"), b"".join(rows[3:6]))
    gateway.put_report(f"{name('ACK', one)}.gz", gzip.compress(b"".join(rows[6:])))
    later(2 * A_DAY)

    assert clear(home).reports == (name("ACK", one),)  # with the others, all messages are covered
    assert home.ledger.submissions.reconcile(one.stem).delivered == 9
    later(3 * A_DAY)
    assert len(clear(home).reports) == 2


def test_an_older_report_with_another_hour_retracts_nothing(home, gateway, later, ack):
    """Loaded last, and of another name: by the server's clock it was written first."""
    one = home.accepted(9)
    later(A_DAY)
    older = name("ACK", one).replace("1200", "0900")
    gateway.put_report(older, ack(9, "1;in progress"))
    later(2 * A_DAY)
    gateway.put_report(name("ACK", one), ack(9))

    home.collect(one.stem)
    assert home.ledger.submissions.reconcile(one.stem).delivered == 9
    clear(home)

    assert older in {each.name for each in home.ledger.reports.of_submission(one.stem)}
    assert home.ledger.submissions.reconcile(one.stem).delivered == 9


def test_a_misnamed_delivery_report_is_reported(home, gateway, later, ack, caplog):
    one = home.accepted(3)
    later(A_DAY)
    odd = name("ACK", one).replace(".csv", " (1).csv")
    gateway.put_report(odd, ack(3))

    home.collect_replies()
    [at_once] = [each for each in caplog.records if each.levelname == "ERROR"]
    with pytest.raises(HousekeepingUnfinished, match="named like ACK") as told:
        clear(home)

    assert at_once.message.startswith(f"{odd}: it is named like ACK")

    assert odd in str(told.value)


@pytest.mark.parametrize("intended", [None, HOUR])
@pytest.mark.parametrize("kind", ["ACK", "STOP", "SMSMO"])
def test_a_report_proves_that_its_file_arrived(home, gateway, later, kind, ack, reply, intended):
    one = broken_off(home, intended=intended)
    gateway.put_report(name(kind, one), ack(3) if kind == "ACK" else reply(0, "merci"))
    later(2 * A_DAY)

    if intended is None:
        with pytest.raises(HousekeepingUnfinished, match="this ledger never intended to rename it"):
            clear(home)
        with pytest.raises(SubmissionContradicted):
            call_off(one.stem, home.ledger, home.gateway)
        assert state(home, one) is State.UPLOADING
    else:
        clear(home)
        assert state(home, one) is State.SUBMITTED


def test_a_prepared_file_shown_by_the_gateway_is_reported(home, gateway, later):
    one = broken_off(home)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("SET LOCAL session_replication_role = replica")
        db.exec_driver_sql("UPDATE sms.submission SET state = 'prepared', claim = NULL")
    later(2 * A_DAY)
    assert clear(home) == Cleared((), (), (), 0)
    show(gateway, f"{one.stem}.done")

    with pytest.raises(HousekeepingUnfinished, match="this ledger never intended to rename it"):
        clear(home)


def test_an_unexpected_error_stops_no_other_report(home, gateway, later, reported, monkeypatch):
    other = home.accepted(3)
    later(2 * A_DAY)
    gateway.put_report(name("ACK", other), b"x" * 99)

    def fails(*args: object) -> None:
        raise RuntimeError("+33639980001")

    monkeypatch.setattr("sms.reports.overdue.bring_delivery_report", fails)
    later(4 * A_DAY)
    with pytest.raises(HousekeepingUnfinished, match="an unexpected RuntimeError at") as alarm:
        clear(home)

    assert "3363998" not in str(alarm.value)
    assert name("ACK", reported) not in gateway.report_names()


@pytest.mark.parametrize("age", [30 * A_DAY, 120 * A_DAY])
def test_a_file_no_longer_shown_is_reported_every_night(home, gateway, later, age):
    one = home.submitted(3)
    later(age)

    for _ in range(2):
        with pytest.raises(HousekeepingUnfinished, match=f"no verdict on {one.stem} in time"):
            clear(home)


def test_an_interrupted_upload_without_a_task_is_reported(home, gateway, later):
    one = broken_off(home)
    show(gateway, f"{one.stem}.tmp")
    later(A_DAY - timedelta(minutes=1))
    assert clear(home) == Cleared((), (), (), 0)

    later(A_DAY)
    with pytest.raises(HousekeepingUnfinished, match=f"{one.stem}: its upload was interrupted"):
        clear(home)
    assert in_send(gateway) == [f"{one.stem}.tmp"]


@pytest.mark.parametrize(("shown", "becomes"), [("done", "accepted"), ("tmp", "uploading")])
def test_an_unconfirmed_rename_is_settled_from_the_gateway(home, gateway, later, shown, becomes):
    one = broken_off(home, intended=HOUR)
    show(gateway, f"{one.stem}.{shown}")
    later(2 * A_DAY)

    if becomes == "uploading":
        with pytest.raises(HousekeepingUnfinished, match="may or may not have been delivered"):
            clear(home)
    else:
        clear(home)
        home.now += SETTINGS.verdict_timeout
        clear(home)

    assert state(home, one) == becomes


# After it is gone


def test_a_later_cleared_collection_reads_the_archive(home, gateway, reported, monkeypatch):
    before = home.tables()
    assert clear(home).reports == (name("ACK", reported),)

    assert home.collect(reported.stem).rows == 3
    assert home.tables() == before

    monkeypatch.setattr(wiring, "ledger", lambda: home.ledger)
    sensor = ReportSensor(task_id="await_report", stem=reported.stem)
    assert sensor.execute(SimpleNamespace()) == name("ACK", reported)


def test_a_late_stop_in_a_restarted_file_counts(home, gateway, later, reported, reply):
    later(QUIET)
    clear(home)
    gateway.put_report(name("STOP", reported), reply(2))
    later(QUIET + timedelta(minutes=1))

    assert clear(home).reports == (name("STOP", reported),)
    assert home.stop_list() == [33639980000, 33639980002]


def test_housekeeping_names_files_and_no_recipient(home, gateway, reported, caplog):
    caplog.set_level("INFO")
    clear(home)

    assert name("ACK", reported) in caplog.text
    assert "3363998" not in caplog.text


# The tasks


@pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # Airflow's own, as it loads plugins
def test_the_tasks_run_housekeeping_and_return_counts(
    home, gateway, later, reported, tmp_path, monkeypatch
):
    chosen = tmp_path / "settings.yaml"
    chosen.write_text(f"archive_folder: {home.archive}\nruns_folder: {tmp_path / 'runs'}\n")
    monkeypatch.setenv("SMS_SETTINGS", str(chosen))
    monkeypatch.setattr(wiring, "ledger", lambda **how: home.ledger)
    ti = SimpleNamespace(dag_id="housekeeping", run_id="r", task_id="t", try_number=1)
    later(QUIET)

    with set_current_context({"ti": ti}):
        assert housekeeping_tasks.clean_gateway.function() == {
            "reports": 3,
            "sent": 1,
            "closed": 1,
            "strange": 0,
        }
        with home.ledger.engine.begin() as db:
            folder = tmp_path / "runs" / "send__spring" / "one"
            folder.mkdir(parents=True)
            db.exec_driver_sql("UPDATE sms.campaign_run SET folder = %s", (f"file://{folder}",))
        later(4 * timedelta(days=365))
        assert housekeeping_tasks.expire_runs.function() == {
            "folders": 1,
            "called_off": 0,
            "unknown": 0,
        }
        assert housekeeping_tasks.expire_archive.function() == {"reports": 3}
        assert housekeeping_tasks.expire_personal_data.function() == {
            "months": 1,
            "messages": 0,
            "strangers": 0,
            "replies": 2,
            "texts": 1,
            "unreadable": 0,
        }
    assert not folder.exists()

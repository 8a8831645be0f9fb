"""Every report is collected once, archived before it is read, and counted (R29-R35)."""

import pickle
import random
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from sms.delivery.gateway import RemoteFile
from sms.errors import (
    ReportOverdue,
    ReportsFailed,
    ReportUnfinished,
    ReportUnreadable,
)
from sms.ledger.records import Reconciliation
from sms.ledger.states import State
from sms.reports.archive import Archived
from sms.reports.collection import CLOCK_STEP, REPORT_SETTLES, TAIL_WAITS, find_report
from sms.wire import reports
from tests.reports.names import SMSMO, STOP

FIRST = 33_639_980_000
STEM = "SEND-12345-20260715-1200-spring1"
ACK = "ACK-12345-20260715-1200-spring1.csv"


def listed(*names: str) -> list[RemoteFile]:
    return [RemoteFile(name, 1, datetime(2026, 7, 16, tzinfo=UTC)) for name in names]


# Finding it


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param([ACK], ACK, id="the exact name"),
        pytest.param([ACK.lower()], ACK.lower(), id="another case"),
        pytest.param(
            ["ACK-12345-20260716-0800-spring1.csv"],
            "ACK-12345-20260716-0800-spring1.csv",
            id="another hour",
        ),
        pytest.param(["ACK-12345-20260716-0800-spring1.csv", ACK], ACK, id="the exact one first"),
        pytest.param(
            ["ACK-12345-20260717-0800-spring1.csv", "ACK-12345-20260716-0800-spring1.csv"],
            "ACK-12345-20260717-0800-spring1.csv",
            id="the latest of several hours",
        ),
        pytest.param([STOP, SMSMO], None, id="other kinds"),
        pytest.param(["ACK-12345-20260715-1200-spring11.csv"], None, id="another campaign"),
        pytest.param(["ACK-54321-20260715-1200-spring1.csv"], None, id="another account"),
        pytest.param([ACK + ".tmp", "readme.txt"], None, id="no report"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_a_report_is_found_by_name_or_campaign(names, found):
    report = find_report(listed(*names), STEM)

    assert (report.name if report else None) == found


# One delivery report


def test_a_delivery_report_is_collected_and_adds_up(home, ack):
    one = home.accepted(3)
    home.gateway.shows(ACK, ack(2) + b"broken\r\n")

    collected = home.collect(one.stem)

    assert (collected.rows, collected.unreadable) == (2, 1)
    assert collected.reconciliation == Reconciliation(
        sent=3,
        delivered=2,
        refused=0,
        not_delivered=0,
        pending=0,
        unknown=0,
        missing=1,
        rows=2,
        strangers=0,
        duplicates=0,
    )
    assert home.ledger.submissions.get(one.stem).state is State.REPORTED
    unreadable, missing = collected.notes
    assert unreadable == (
        "1 row can't be read (line 3 has 1 of 7 fields): see the ledger's view sms.quarantine"
    )
    assert missing.startswith(f"the delivery report of {one.stem} covers 2 of its 3 messages")


def test_a_complete_report_has_no_notes(home, ack):
    one = home.accepted(3)
    home.gateway.shows(ACK, ack(3))

    assert home.collect(one.stem).notes == ()


def test_oddities_are_noted_as_counts(home, ack):
    one = home.accepted(4)
    content = ack(1, "2;sent") + ack(4, "77;eh") + ack(2, "3;delivered") + ack(5)[-60:]
    home.gateway.shows(ACK, content + b"idX;+33639989999;S;B;3;d;t\r\n")

    collected = home.collect(one.stem)

    told = " / ".join(collected.notes)
    assert "rows have an IDSTATUS 77" in told
    assert "have an unknown status" in told
    assert "never held" in told
    assert "again on a message" in told
    assert "3363998" not in told


def test_collecting_again_changes_nothing(home, ack):
    one = home.accepted(3)
    home.gateway.shows(ACK, ack(2) + b"idX;+33639989999;S;B;3;d;t\r\n")
    first = home.collect(one.stem)
    tables, events = home.tables(), home.table("SELECT * FROM sms.event")

    home.now += timedelta(hours=5)
    again = home.collect(one.stem)

    assert again == first
    assert home.tables() == tables
    assert home.table("SELECT * FROM sms.event") == events


def test_a_report_with_another_hour_is_matched(home, ack):
    one = home.accepted(2)
    home.gateway.shows("ACK-12345-20260716-0800-spring1.csv", ack(2))

    assert home.collect(one.stem).reconciliation.delivered == 2


def test_a_report_of_another_submission_is_not_taken(home, ack):
    home.accepted(2, campaign_id="spring1", date="20260714")
    one = home.accepted(2, campaign_id="spring1")
    home.gateway.shows("ACK-12345-20260714-1200-spring1.csv", ack(2))

    with pytest.raises(ReportOverdue):
        home.collect(one.stem)


def test_a_missing_report_is_overdue(home):
    one = home.accepted(2)

    with pytest.raises(ReportOverdue, match=one.stem):
        home.collect(one.stem)


@pytest.mark.parametrize("seen", [State.UPLOADING, State.UNKNOWN, State.SUBMITTED])
def test_a_report_proves_a_missed_verdict(home, ack, seen):
    one = home.submitted(2)
    with home.ledger.engine.begin() as db:
        db.execute(text("UPDATE sms.submission SET state = :seen"), {"seen": seen})
    home.gateway.shows(ACK, ack(2))

    home.collect(one.stem)

    now = home.ledger.submissions.get(one.stem)
    assert now.state is State.REPORTED
    moves = home.table("SELECT to_state FROM sms.event WHERE detail ? 'proven_by' ORDER BY id")
    expected = ["submitted", "accepted", "reported"]
    assert [move for (move,) in moves] == expected[seen is State.SUBMITTED :]


def test_a_rejected_files_report_is_loaded_and_noted(home, ack):
    one = home.submitted(2)
    home.ledger.submissions.move(one.stem, to=State.REJECTED)
    home.gateway.shows(ACK, ack(2))

    collected = home.collect(one.stem)

    assert home.ledger.submissions.get(one.stem).state is State.REJECTED
    assert "rejected in the ledger, but" in collected.notes[0]


def test_a_growing_report_is_left_until_complete(home, ack):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2)[:-20], at=home.now - timedelta(minutes=1))

    with pytest.raises(ReportUnfinished) as unfinished:
        home.collect(one.stem)
    assert unfinished.value.retryable
    assert home.ledger.submissions.get(one.stem).state is State.ACCEPTED

    home.gateway.shows(ACK, ack(2), at=home.now)
    assert home.collect(one.stem).reconciliation.delivered == 2


def test_an_unended_last_line_counts_after_a_wait(home, ack):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2)[:-2])
    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)

    home.now += REPORT_SETTLES
    assert home.collect(one.stem).reconciliation.delivered == 2


def test_a_file_that_is_no_report_is_archived_only(home):
    one = home.accepted(2)
    home.gateway.shows(ACK, bytes(100) + b"\n")

    with pytest.raises(ReportUnreadable, match=f"{ACK} is not a readable report"):
        home.collect(one.stem)

    assert home.ledger.submissions.get(one.stem).state is State.ACCEPTED
    assert home.ledger.reports.get(ACK) is None
    assert [path.read_bytes() for path in home.archive.rglob("*.csv")] == [bytes(100) + b"\n"]


# The archive


def test_the_exact_bytes_are_archived(home, ack):
    one = home.accepted(2)
    content = ack(2) + b"secret text\r\n"
    home.gateway.shows(ACK, content)

    collected = home.collect(one.stem)

    kept = home.archive / collected.archived
    assert kept.read_bytes() == content
    assert kept.relative_to(home.archive).parts[:2] == ("ACK", ACK.removesuffix(".csv"))
    file = home.ledger.reports.get(ACK)
    assert (file.archive, file.rows, file.unreadable) == (collected.archived, 2, 1)
    assert (file.size_bytes, file.submission_id) == (len(content), one.id)


def test_every_state_of_a_growing_file_is_archived(home, reply):
    home.accepted(2)
    for count in (1, 2, 2):
        home.gateway.shows(STOP, b"".join(reply(n) for n in range(count)))
        home.collect_replies()

    kept = sorted(home.archive.rglob("*.csv"), key=lambda path: path.stat().st_size)
    assert [path.read_bytes() for path in kept] == [reply(0), reply(0) + reply(1)]


def test_a_truncated_archive_is_repaired(home, ack):
    one = home.accepted(2)
    home.gateway.shows(ACK, ack(2))
    place = home.archive / home.collect(one.stem).archived
    place.write_bytes(ack(2)[:10])

    home.collect(one.stem)

    assert place.read_bytes() == ack(2)


def test_an_archived_report_passes_between_tasks():
    archived = Archived(ACK, "ACK/x.csv", "0" * 64, 7, datetime(2026, 7, 16, tzinfo=UTC), True)

    assert Archived.from_json(archived.as_json()) == archived


# STOPs and replies


def test_stops_and_replies_are_collected(home, reply):
    one = home.accepted(9)
    home.gateway.shows(STOP, reply(1) + reply(2, "laissez-moi"))
    home.gateway.shows(SMSMO, reply(3, "Oui") + reply(4, "Arrêt. Merci") + reply(3, "Oui"))

    stops, replies = home.collect_replies()

    assert home.stop_list() == [FIRST + 1, FIRST + 2, FIRST + 4]
    assert (stops.name, stops.stem, stops.opt_outs, stops.replies) == (STOP, one.stem, 2, 2)
    assert (replies.opt_outs, replies.replies, replies.notes) == (1, 3, ())
    assert home.table("SELECT msisdn, source, stem FROM sms.opt_out ORDER BY 1") == [
        (FIRST + 1, "stop_report", one.stem),
        (FIRST + 2, "stop_report", one.stem),
        (FIRST + 4, "reply", one.stem),
    ]
    assert home.table("SELECT count(*), max(occurrence) FROM sms.reply") == [(5, 2)]


def test_possible_opt_outs_are_reported_once_and_halt_nothing(home, reply, caplog):
    home.accepted(9)
    unsure = reply(3, "Non merci") + reply(4, "fin") + reply(5, "Oui")
    home.gateway.shows(SMSMO, unsure)

    [collected] = home.collect_replies()
    home.collect_replies()

    assert (home.stop_list(), collected.opt_outs, collected.replies) == ([], 0, 3)
    told = [line for line in caplog.messages if "has 2 replies that may ask to stop" in line]
    assert len(told) == 1
    assert SMSMO in told[0]
    assert "sms replies unsure" in told[0]


@pytest.mark.parametrize(
    "spelled",
    [
        *("+33639980001", "0033639980001", "33639980001", "0639980001", "639980001"),
        *("06.39.98.00.01", "06-39-98-00-01", "06 39 98 00 01", "+33 (0)6 39 98 00 01"),
        *("'+33639980001", "33639980001.0", '"+33639980001"'),
        *("+330639980001", "00330639980001", "+33 0 6 39 98 00 01"),
    ],
)
def test_a_stop_counts_in_every_number_spelling(home, spelled):
    home.accepted(3)
    home.gateway.shows(STOP, f"{spelled};20260715;1205;STOP;id00001\r\n".encode())

    home.collect_replies()

    assert home.stop_list() == [FIRST + 1]


@pytest.mark.parametrize(
    "message",
    [
        *("Arrêtez".encode("mac-roman"), "Désabonnement".encode("cp850"), "Arrêt".encode("cp1252")),
        *("DĂ©sabonner".encode(), "ArrÃªtez".encode(), b"D?sabonnement", b"arr&ecirc;tez"),
    ],
)
def test_a_stop_reply_with_damaged_accents_opts_out(home, message):
    home.accepted(3)
    home.gateway.shows(SMSMO, b"+33639980001;20260715;1205;" + message + b";A1\r\n")

    [brought] = home.collect_replies()

    assert (brought.opt_outs, brought.unreadable) == (1, 0)


def test_an_endless_date_neither_loses_nor_blocks_a_stop(home, reply):
    home.accepted(3)
    date = "".join(f"{n:x}" for n in range(3_000))
    home.gateway.shows(STOP, f"+{FIRST};{date};{date};STOP;x\r\n".encode() + reply(1))
    home.gateway.shows(STOP.replace("spring1", "summer"), reply(2))

    home.collect_replies()

    assert home.stop_list() == [FIRST, FIRST + 1, FIRST + 2]


def test_an_unreadable_stop_raises_an_alarm_without_hiding_others(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + b"who?;20260715;1205;STOP;id00002\r\n" + reply(2))

    with pytest.raises(ReportsFailed) as failed:
        home.collect_replies()

    assert home.stop_list() == [FIRST + 1, FIRST + 2]
    told = str(failed.value)
    assert told.startswith(f"1 row of {STOP} can't be read and may be a STOP")
    assert told.endswith(f"then mark them as seen: sms quarantine seen {STOP} --reason ...")
    assert "who?" not in told
    assert not failed.value.retryable
    assert str(pickle.loads(pickle.dumps(failed.value))) == told


def test_an_unreadable_stop_fails_every_collection_until_seen(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + b"who?;20260715;1205;STOP;id00002\r\n")
    for _ in range(3):
        with pytest.raises(ReportsFailed, match=f"1 row of {STOP}"):
            home.collect_replies()

    assert home.ledger.reports.mark_seen(STOP, reason="entered by hand") == [2]

    assert home.collect_replies() == []
    home.gateway.shows(STOP, reply(1) + b"who?;20260715;1205;STOP;id00002\r\n" + b"and who?\r\n")
    with pytest.raises(ReportsFailed, match=f"1 row of {STOP}"):
        home.collect_replies()


def test_an_unreadable_stop_is_remembered_while_others_are_retried(home, reply):
    home.accepted(3)
    other = "STOP-12345-20260701-0900-bbb.csv"
    home.gateway.shows(STOP, b"who?;20260715;1205;STOP;id00002\r\n" + reply(1))
    home.gateway.shows(other, reply(0))
    home.gateway.unreachable.add(other)
    with pytest.raises(ReportsFailed, match=f"1 row of {STOP}.*1 report could not") as first:
        home.collect_replies()
    assert first.value.retryable

    home.gateway.unreachable.clear()
    with pytest.raises(ReportsFailed, match=f"1 row of {STOP}") as second:
        home.collect_replies()

    assert (second.value.failures, second.value.retryable) == ((), False)
    assert home.stop_list() == [FIRST, FIRST + 1]


def test_an_unreadable_stop_corrected_later_needs_no_operator(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + b"who?;20260715;1205;STOP;id00002\r\n")
    with pytest.raises(ReportsFailed):
        home.collect_replies()

    home.gateway.shows(STOP, reply(1) + reply(2))

    [collected] = home.collect_replies()
    assert collected.opt_outs == 1


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(b"who?;20260715;1205;Stop. Merci;A1", id="in the text"),
        pytest.param("who?;20260715;1205;je dis ARRÊT;A1".encode(), id="anywhere in it"),
        pytest.param("who?;20260715;1205;désabo;A1".encode("cp1252"), id="in another encoding"),
        pytest.param(b"who?;20260715;1205;S.T.O.P;A1", id="with stops"),
        pytest.param("who?;20260715;1205;stop;A1".encode("utf-16"), id="with zero bytes"),
        pytest.param(
            b"+33639980001;20260715;1205;oui;A1\r+33639980002;20260715;1205;STOP;A2",
            id="behind a CR",
        ),
        pytest.param(b"who?;20260715;1205;" + b"z" * (1 << 17), id="in what is too long to keep"),
    ],
)
def test_an_unreadable_possible_stop_reply_raises_an_alarm(home, reply, row):
    home.accepted(3)
    home.gateway.shows(
        SMSMO, reply(0, "oui") + b"who?;20260715;1205;bonjour;A1\r\n" + row + b"\r\n"
    )

    for _ in range(2):
        with pytest.raises(ReportsFailed, match=f"1 row of {SMSMO} can't be read"):
            home.collect_replies()

    assert home.ledger.reports.mark_seen(SMSMO, [3], reason="entered") == [3]
    assert home.collect_replies() == []


def test_a_collection_without_news_costs_one_listing(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1))
    home.gateway.shows(SMSMO, reply(2, "Oui"))
    for _ in range(2):
        home.collect_replies()
        home.now += CLOCK_STEP
    home.gateway.asked.clear()

    assert home.collect_replies() == []
    assert home.gateway.asked == ["listing"]

    home.gateway.shows(STOP, reply(1) + reply(0))
    home.collect_replies()
    assert home.gateway.asked == ["listing", "listing", STOP]


def test_a_file_that_was_only_touched_changes_nothing(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1))
    home.collect_replies()
    home.gateway.shows(STOP, reply(1), at=home.now)

    for _ in range(2):
        assert home.collect_replies() == []
        home.now += CLOCK_STEP
    home.gateway.asked.clear()
    assert home.collect_replies() == []
    assert home.gateway.asked == ["listing"]


def test_a_row_that_vanishes_cancels_no_opt_out(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(2))
    home.collect_replies()
    for content in (reply(2), b""):
        home.gateway.shows(STOP, content)
        home.collect_replies()

    assert home.stop_list() == [FIRST + 1, FIRST + 2]
    assert home.table("SELECT count(*) FROM sms.reply") == [(2,)]


def test_an_incomplete_line_waits_for_its_rest(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(2)[:-9])

    [first] = home.collect_replies()
    assert (first.rows, home.stop_list()) == (1, [FIRST + 1, FIRST + 2])  # the number is whole
    home.now += TAIL_WAITS / 2
    assert home.collect_replies() == []

    home.gateway.shows(STOP, reply(1) + reply(2))
    [second] = home.collect_replies()
    assert (second.opt_outs, second.replies) == (0, 1)
    assert home.table("SELECT message FROM sms.reply ORDER BY msisdn") == [("STOP",), ("STOP",)]


def test_a_stop_in_an_unended_last_line_is_kept(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(2)[:-2])
    home.collect_replies()

    home.now += TAIL_WAITS
    [collected] = home.collect_replies()

    assert (collected.opt_outs, collected.replies) == (0, 1)
    assert home.stop_list() == [FIRST + 1, FIRST + 2]
    home.gateway.asked.clear()
    assert home.collect_replies() == []
    assert home.gateway.asked == ["listing"]


def test_a_broken_file_is_reported_and_stops_no_other(home, reply):
    home.accepted(3)
    home.gateway.shows("STOP-12345-20260701-0900-aaa.csv", b"<html>\n")
    home.gateway.shows("STOP-12345-20260701-0900-bbb.csv", reply(0))
    home.gateway.unreachable.add("STOP-12345-20260701-0900-bbb.csv")
    home.gateway.shows(STOP, reply(1))
    home.gateway.shows(SMSMO, reply(2))

    with pytest.raises(ReportsFailed) as failed:
        home.collect_replies()

    assert home.stop_list() == [FIRST + 1, FIRST + 2]
    assert [name for name, _ in failed.value.failures] == [
        "STOP-12345-20260701-0900-aaa.csv",
        "STOP-12345-20260701-0900-bbb.csv",
    ]
    assert [each.name for each in failed.value.collected] == [STOP, SMSMO]
    assert failed.value.retryable
    assert "<html>" not in str(failed.value)
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)


def test_a_row_refused_by_the_ledger_stops_no_other(home, reply, monkeypatch):
    monkeypatch.setattr(reports, "LONGEST_MOMENT", 10_000)
    home.accepted(3)
    endless = "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=6000))
    home.gateway.shows(
        "STOP-12345-20260701-0900-aaa.csv", f"+{FIRST};{endless};1205;STOP;x\r\n".encode()
    )
    home.gateway.shows(STOP, reply(1))

    with pytest.raises(ReportsFailed, match=r"refused: ProgramLimitExceeded \(54000\)") as failed:
        home.collect_replies()

    assert home.stop_list() == [FIRST, FIRST + 1]
    assert not failed.value.retryable
    assert endless[:20] not in str(failed.value)


def test_an_unexpected_failure_stops_no_other_and_quotes_nothing(home, reply, monkeypatch):
    home.accepted(3)
    home.gateway.shows("STOP-12345-20260701-0900-aaa.csv", reply(0))
    home.gateway.shows(STOP, reply(1))
    load = home.ledger.reports.load_replies

    def failing(report, rows):
        if report.campaign_id == "aaa":
            raise ValueError("+33639980000 said STOP")
        return load(report, rows)

    monkeypatch.setattr(home.ledger.reports, "load_replies", failing)
    with pytest.raises(ReportsFailed) as failed:
        home.collect_replies()

    assert home.stop_list() == [FIRST, FIRST + 1]  # an opt-out comes before anything can fail
    assert "an unexpected ValueError at " in str(failed.value)
    assert "33639980000" not in str(failed.value)
    assert failed.value.__cause__ is None


def test_a_report_on_an_unknown_submission_is_loaded(home, reply):
    home.gateway.shows("STOP-12345-20260101-0900-stranger.csv", reply(7))

    [collected] = home.collect_replies()

    assert collected.stem is None
    assert "the ledger does not have" in collected.notes[-1]
    assert home.stop_list() == [FIRST + 7]
    assert home.table("SELECT submission_id FROM sms.reply") == [(None,)]
    assert home.table("SELECT stem FROM sms.opt_out") == [("SEND-12345-20260101-0900-stranger",)]
    assert home.ledger.reports.get(collected.name).submission_id is None


def test_an_undated_stop_counts_from_now(home):
    home.gateway.shows(STOP, b"+33639980001;soon;;STOP;\r\n")

    home.collect_replies()

    assert home.table("SELECT opted_out_at FROM sms.opt_out") == [(home.now,)]


def test_a_load_interrupted_before_its_record_is_repeated(home, reply, monkeypatch):
    home.accepted(3)
    home.gateway.shows(STOP, reply(1) + reply(1))

    def dies(*args, **how):
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(home.ledger.reports, "record_reading", dies)
        with pytest.raises(ReportsFailed):
            home.collect_replies()
    [collected] = home.collect_replies()

    assert (collected.opt_outs, collected.replies) == (0, 0)
    assert home.table("SELECT count(*) FROM sms.reply") == [(2,)]
    assert replace(collected, rows=2) == collected

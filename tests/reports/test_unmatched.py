"""Reports on unknown files are kept, shown, and matched once their file is known."""

import pickle

import pytest

from sms.errors import ReportOverdue, ReportUnfinished, ReportUnreadable
from sms.ledger.states import State
from sms.reports.collection import CLOCK_STEP, REPORT_SETTLES

STRANGE_ACK = "ACK-12345-20260715-1200-spring1.csv"  # of the submission that `home` makes first
STOP = "STOP-12345-20260715-1200-spring1.csv"
SHIFTED_STOP = "STOP-12345-20260716-0800-spring1.csv"


def unmatched(home) -> list[tuple[object, ...]]:
    return home.table("SELECT name, kind, rows, unreadable FROM sms.unmatched_report ORDER BY 1")


def test_a_delivery_report_on_an_unknown_file_is_archived(home, ack):
    content = ack(2) + b"broken\r\n"
    home.gateway.shows(STRANGE_ACK, content)

    [kept] = home.collect_replies()

    assert (kept.name, kept.stem, kept.rows, kept.unreadable) == (STRANGE_ACK, None, 2, 1)
    assert "a file that the ledger does not have" in kept.notes[0]
    assert (home.archive / kept.archived).read_bytes() == content
    assert unmatched(home) == [(STRANGE_ACK, "ACK", 2, 1)]
    for _ in range(3):
        home.now += CLOCK_STEP
        assert home.collect_replies() == []
    assert home.gateway.asked.count(STRANGE_ACK) == 2


def test_a_delivery_report_that_changed_is_archived_again(home, ack):
    home.gateway.shows(STRANGE_ACK, ack(1))
    home.collect_replies()
    home.gateway.shows(STRANGE_ACK, ack(2))

    [kept] = home.collect_replies()

    assert kept.rows == 2
    assert len(list(home.archive.rglob("*.csv"))) == 2


def test_a_known_files_delivery_report_waits_for_its_collection(home, ack):
    one = home.accepted(2)
    home.gateway.shows(STRANGE_ACK, ack(2))

    assert home.collect_replies() == []
    assert unmatched(home) == []
    home.collect(one.stem)
    assert home.collect_replies() == []


def test_junk_under_an_unknown_name_stops_no_send(home, reply, caplog):
    home.accepted(2, campaign_id="other")
    home.gateway.shows(STRANGE_ACK, bytes(100) + b"\n")
    home.gateway.shows(STOP.replace("spring1", "other"), reply(1))

    [stop] = home.collect_replies()

    assert stop.opt_outs == 1
    assert f"{STRANGE_ACK} reports on a file that the ledger does not have" in caplog.text


def test_a_purged_delivery_report_is_matched_from_the_archive(home, ack):
    home.gateway.shows(STRANGE_ACK, ack(2))
    home.collect_replies()
    (home.gateway.folder / STRANGE_ACK).unlink()

    one = home.accepted(3)
    home.collect_replies()

    assert unmatched(home) == []
    assert home.ledger.submissions.get(one.stem).state is State.REPORTED
    counts = home.ledger.submissions.reconcile(one.stem)
    assert (counts.delivered, counts.missing, counts.balanced) == (2, 1, True)
    assert home.ledger.reports.get(STRANGE_ACK).stem == one.stem


def test_an_unmatched_report_without_its_archive_stops_no_send(home, ack, reply):
    home.gateway.shows(STRANGE_ACK, ack(2))
    [kept] = home.collect_replies()
    (home.gateway.folder / STRANGE_ACK).unlink()
    (home.archive / kept.archived).unlink()
    one = home.accepted(3)
    home.gateway.shows(STOP, reply(1))

    [stop] = home.collect_replies()

    assert stop.opt_outs == 1
    assert home.ledger.submissions.get(one.stem).state is State.ACCEPTED
    assert [row[0] for row in unmatched(home)] == [STRANGE_ACK]


def test_an_unmatched_report_with_a_damaged_archive_stays_unmatched(home, ack, caplog):
    home.gateway.shows(STRANGE_ACK, ack(2))
    [kept] = home.collect_replies()
    (home.gateway.folder / STRANGE_ACK).unlink()
    (home.archive / kept.archived).write_bytes(b"spoilt\r\n")
    one = home.accepted(3)

    assert home.collect_replies() == []

    assert f"{STRANGE_ACK} is not matched to {one.stem}" in caplog.text
    assert [row[0] for row in unmatched(home)] == [STRANGE_ACK]


def test_an_already_read_report_is_not_overwritten(home, ack):
    home.gateway.shows(STRANGE_ACK.replace("1200", "1300"), ack(3, "2;sent"))
    home.collect_replies()
    one = home.accepted(3)
    home.gateway.shows(STRANGE_ACK, ack(3))
    home.collect(one.stem)

    home.collect_replies()

    assert home.ledger.submissions.reconcile(one.stem).delivered == 3
    assert unmatched(home) == []


@pytest.mark.parametrize("name", [STOP, SHIFTED_STOP])
def test_early_replies_and_opt_outs_are_matched_later(home, reply, name):
    home.gateway.shows(name, reply(0) + reply(1))
    home.collect_replies()
    assert unmatched(home) == [(name, "STOP", 2, 0)]
    assert home.table("SELECT DISTINCT campaign FROM sms.stop_list") == [(None,)]

    one = home.accepted(3)
    assert home.collect_replies() == []

    assert unmatched(home) == []
    assert home.table("SELECT DISTINCT submission_id FROM sms.reply") == [(one.id,)]
    stops = home.table("SELECT DISTINCT stem, campaign FROM sms.stop_list")
    assert stops == [(one.stem, "spring")]
    assert home.ledger.runs.summary(one.run_key).stops == 2
    counted = "SELECT stop_rows, reply_rows, people FROM sms.answer_count"
    assert home.table(counted) == [(2, 0, 2)]
    assert home.collect_replies() == []
    assert home.table(counted) == [(2, 0, 2)]


# Reports that shrink


def test_a_shortened_delivery_report_retracts_nothing(home, ack):
    one = home.accepted(3)
    home.gateway.shows(STRANGE_ACK, ack(3))
    home.collect(one.stem)
    receipts = home.tables()["receipt"]
    home.gateway.shows(STRANGE_ACK, ack(1))

    collected = home.collect(one.stem)

    [told] = collected.notes
    assert told.startswith(f"2 messages of {one.stem} are in an earlier delivery report and not in")
    assert (home.archive / collected.archived).read_bytes() == ack(1)
    assert home.tables()["receipt"] == receipts
    assert collected.reconciliation.balanced
    assert home.collect(one.stem).notes == (told,)


def test_an_empty_delivery_report_retracts_nothing(home, ack):
    one = home.accepted(3)
    home.gateway.shows(STRANGE_ACK, ack(3))
    home.collect(one.stem)
    home.gateway.shows(STRANGE_ACK, b"")
    with pytest.raises(ReportUnfinished):
        home.collect(one.stem)
    home.now += REPORT_SETTLES

    counts = home.collect(one.stem).reconciliation
    assert (counts.delivered, counts.kept, counts.rows) == (3, 3, 0)


def test_a_delivery_report_of_equal_length_replaces_the_old(home, ack):
    one = home.accepted(3)
    home.gateway.shows(STRANGE_ACK, ack(3, "2;delivered"))
    home.collect(one.stem)
    home.gateway.shows(STRANGE_ACK, ack(3, "3;delivered"))

    collected = home.collect(one.stem)

    assert collected.reconciliation.delivered == 3
    assert collected.notes == ()


def test_a_delivery_report_replaced_by_junk_retracts_nothing(home, ack):
    one = home.accepted(3)
    home.gateway.shows(STRANGE_ACK, ack(3))
    home.collect(one.stem)
    home.gateway.shows(STRANGE_ACK, b"<html>\r\n" * 3)

    with pytest.raises(ReportUnreadable):
        home.collect(one.stem)
    assert home.ledger.submissions.reconcile(one.stem).delivered == 3


def test_a_shrinking_stop_file_is_noted_and_cancels_nothing(home, reply):
    home.accepted(3)
    home.gateway.shows(STOP, reply(0) + reply(1))
    home.collect_replies()
    home.gateway.shows(STOP, reply(1))

    [brought] = home.collect_replies()

    assert brought.notes == ("it had 2 rows, and has fewer now: the rows read before stay",)
    assert len(home.stop_list()) == 2


# The sums of each file


def test_a_partial_send_is_recognised_and_shown(home, ack):
    home.accepted(3, campaign_id="later")
    one = home.accepted(5, campaign_id="spring1")
    partial = "SELECT stem, sent, missing, partial FROM sms.reconciliation ORDER BY stem DESC"
    assert home.table(partial)[0] == (one.stem, 5, 5, False)
    home.gateway.shows(STRANGE_ACK, ack(3))

    [told] = home.collect(one.stem).notes

    assert "covers 3 of its 5 messages: 2 are missing" in told
    assert "balance" in told
    assert home.table(partial)[0] == (one.stem, 5, 2, True)
    assert home.table(partial)[1][3] is False


def test_an_overdue_report_names_its_messages_and_due_time(home):
    one = home.accepted(40)
    due = home.now.replace(hour=9)
    with home.ledger.engine.begin() as db:
        db.exec_driver_sql("UPDATE sms.submission SET due_at = %s", (due,))

    told = f"of {one.stem} on 40 messages is overdue: it was due 2026-07-20 09:00 UTC"
    with pytest.raises(ReportOverdue, match=told) as overdue:
        home.collect(one.stem)
    assert str(pickle.loads(pickle.dumps(overdue.value))) == str(overdue.value)


def test_a_files_counts_survive_the_erasure_of_recipients(home, ack):
    one = home.accepted(5)
    home.gateway.shows(STRANGE_ACK, ack(3) + ack(1, "77;?") + b"idX;+33639989999;S;B;3;d;t\r\n")
    home.collect(one.stem)
    home.ledger.submissions.move(one.stem, to=State.CLOSED)
    sums = (
        "SELECT sent, delivered, unknown, missing, partial, report_rows, duplicates, strangers "
        "FROM sms.reconciliation"
    )
    before = home.table(sums)
    assert before == [(5, 2, 1, 2, True, 5, 1, 1)]

    while any(home.ledger.people.expire(one.stem, most=2).values()):
        pass

    assert home.table("SELECT count(*) FROM sms.message") == [(0,)]
    assert home.table(sums) == before

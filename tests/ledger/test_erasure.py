"""Erased personal data stays erased when a report is loaded again, and counts stay true."""

from datetime import timedelta

import pyarrow as pa
import pytest

from sms.errors import LedgerError
from sms.ledger.records import Submission
from sms.ledger.states import State
from sms.wire.names import ReportName

FIRST = 33_639_980_000
REPORTED = (10, 11, 12, 99)  # the last one is nobody of the file
COUNTED = (
    "sent, segments, delivered, refused, not_delivered, pending, unknown, missing, stops, replies, "
    "late_stops"
)


def report(office, stem: str) -> None:
    """Three of five messages are told of, and a stranger."""
    office.ledger.reports.load_delivery_report(
        stem,
        pa.table(
            {
                "line": pa.array(range(1, 5)),
                "idremote": [f"{n:032x}" for n in REPORTED],
                "msisdn": pa.array([FIRST + n for n in REPORTED]),
                "idstatus": pa.array([3, 3, 6, 3], pa.int16()),
                "ackoperator": ["a", "b", "c", "d"],
                "raw_status": ["3", "3", "6", "3"],
            }
        ),
    )


def replies(office, stem: str, kind: str, *people: int) -> None:
    office.ledger.reports.load_replies(
        ReportName.parse(f"{stem.replace('SEND', kind)}.csv"),
        pa.table(
            {
                "msisdn": pa.array([FIRST + n for n in people]),
                "raw_date": ["20260715"] * len(people),
                "raw_hour": ["1210"] * len(people),
                "replied_at": pa.array([None] * len(people), pa.timestamp("us", tz="UTC")),
                "message": [f"no thanks, says {n}" for n in people],
                "idremote": [None] * len(people),
                "occurrence": pa.array([1] * len(people), pa.int32()),
            }
        ),
    )


def opt_out(office, person: int) -> None:
    office.ledger.stop_list.add(
        pa.table(
            {
                "msisdn": pa.array([FIRST + person]),
                "opted_out_at": pa.array([office.hand()], pa.timestamp("us", tz="UTC")),
                "message": ["STOP, says somebody"],
            }
        ),
        source="stop_report",
    )


@pytest.fixture
def one(office, make_messages) -> Submission:
    """A file of five whose report is home; two said STOP, one of them before its hour."""
    rows = make_messages(5, start=10)
    variants = pa.array(["a", "b", "a", "b", "a"], pa.large_string())
    made = office.submitted(rows.append_column("variant", variants))
    office.hand.advance(timedelta(minutes=1))
    opt_out(office, 10)
    office.ledger.submissions.move(made.stem, to=State.ACCEPTED)
    report(office, made.stem)
    replies(office, made.stem, "STOP", 10, 14)
    replies(office, made.stem, "SMSMO", 11)
    office.ledger.submissions.move(made.stem, to=State.REPORTED)
    return made


def closed(office, one: Submission) -> Submission:
    assert office.ledger.submissions.move(one.stem, to=State.CLOSED)
    return one


def told(office) -> tuple[object, ...]:
    [row] = office.table(f"SELECT {COUNTED} FROM sms.campaign_summary")
    return row


def compared(office) -> list[tuple[object, ...]]:
    return office.table("SELECT * FROM sms.variant_summary ORDER BY variant")


def people(office) -> dict[str, int]:
    tables = ("message", "receipt", "stranger", "reply")
    return {name: len(office.table(f"SELECT submission_id FROM sms.{name}")) for name in tables}


def receipts_of(office, person: int) -> list[tuple[object, ...]]:
    return office.table(f"SELECT line FROM sms.receipt WHERE idremote = '{person:032x}'")


@pytest.mark.parametrize("portion", [1, 2, 100])
def test_a_runs_counts_stay_true_while_rows_expire(office, one, portion):
    closed(office, one)
    counts, view, late = (
        office.ledger.submissions.reconcile(one.stem),
        told(office),
        office.ledger.submissions.late_stops(one.stem),
    )
    assert (counts.delivered, counts.missing, counts.strangers, late) == (2, 2, 1, 1)
    variants = compared(office)
    assert [row[2] for row in variants] == ["a", "b"]

    while any(office.ledger.people.expire(one.stem, most=portion).values()):
        assert office.ledger.submissions.reconcile(one.stem) == counts
        assert told(office) == view
        assert compared(office) == variants
        assert office.ledger.submissions.late_stops(one.stem) == late

    assert set(people(office).values()) == {0}
    summary = office.ledger.runs.summary(one.run_key)
    assert summary.outcomes.balanced
    assert (summary.stops, summary.replies) == (2, 1)
    assert office.ledger.people.expired(office.hand() + timedelta(days=1)) == []


def test_nothing_of_an_open_file_expires(office, one):
    far = office.hand() + timedelta(days=9999)

    assert office.ledger.people.expired(far) == []
    with pytest.raises(LedgerError, match="reported: its rows are still needed"):
        office.ledger.people.expire(one.stem, most=10)

    closed(office, one)
    assert office.ledger.people.expired(far) == [one.stem]
    assert office.ledger.people.expired(one.send_at) == []


def test_reloading_a_report_does_not_restore_expired_rows(office, one):
    closed(office, one)
    counts, view = office.ledger.submissions.reconcile(one.stem), told(office)
    while any(office.ledger.people.expire(one.stem, most=100).values()):
        pass

    report(office, one.stem)

    assert set(people(office).values()) == {0}
    assert office.ledger.submissions.reconcile(one.stem) == counts
    assert told(office) == view


def test_a_forgotten_recipients_opt_out_stays(office, one):
    closed(office, one)
    counts, view = office.ledger.submissions.reconcile(one.stem), told(office)
    variants = compared(office)

    forgotten = office.ledger.people.forget(FIRST + 10)

    assert (forgotten.messages, forgotten.strangers, forgotten.replies) == (1, 0, 1)
    assert forgotten.opted_out
    assert [each.stem for each in forgotten.files] == [one.stem]
    assert people(office) == {"message": 4, "receipt": 2, "stranger": 1, "reply": 2}
    for name in ("message", "stranger", "reply"):
        assert (FIRST + 10,) not in office.table(f"SELECT msisdn FROM sms.{name}")
    assert receipts_of(office, 10) == []
    assert office.ledger.stop_list.opted_out(pa.array([FIRST + 10])).tolist() == [FIRST + 10]
    assert office.table("SELECT message FROM sms.opt_out") == [(None,)]
    assert office.ledger.submissions.reconcile(one.stem) == counts
    assert told(office) == view
    assert compared(office) == variants


def test_a_forgotten_number_leaves_an_event_without_it(office, one):
    closed(office, one)
    office.ledger.people.forget(FIRST + 10)

    [(submission_id, detail)] = office.table(
        "SELECT submission_id, detail FROM sms.event WHERE detail ? 'forgotten'"
    )
    assert (submission_id, detail) == (None, {"forgotten": 1, "messages": 1, "replies": 1})

    again = office.ledger.people.forget(FIRST + 10)
    assert (again.rows, again.files) == (0, ())
    assert len(office.table("SELECT FROM sms.event WHERE detail ? 'forgotten'")) == 1


def test_reloading_a_report_does_not_restore_forgotten_recipients(office, one):
    closed(office, one)
    counts = office.ledger.submissions.reconcile(one.stem)
    office.ledger.people.forget(FIRST + 10)
    office.ledger.people.forget(FIRST + 99)  # a stranger in the report

    report(office, one.stem)

    assert people(office)["stranger"] == 0
    assert receipts_of(office, 10) == []
    assert office.ledger.submissions.reconcile(one.stem) == counts


ANSWERS = "SELECT sum(stop_rows), sum(reply_rows), sum(people) FROM sms.answer_count"


def test_reloading_replies_neither_restores_nor_recounts_anyone(office, one):
    closed(office, one)
    view, counted = told(office), office.table(ANSWERS)
    office.ledger.people.forget(FIRST + 10)

    replies(office, one.stem, "STOP", 10, 14)
    replies(office, one.stem, "SMSMO", 10, 11)

    assert (FIRST + 10,) not in office.table("SELECT msisdn FROM sms.reply")
    assert (told(office), office.table(ANSWERS)) == (view, counted)


def test_another_recipients_new_reply_in_the_file_is_kept(office, one):
    closed(office, one)
    office.ledger.people.forget(FIRST + 10)

    replies(office, one.stem, "STOP", 10, 14, 12)

    assert (FIRST + 12,) in office.table("SELECT msisdn FROM sms.reply")
    assert office.table(ANSWERS) == [(3, 1, 3)]


def test_reloading_does_not_restore_expired_replies(office, one):
    closed(office, one)
    view, counted = told(office), office.table(ANSWERS)
    while any(office.ledger.people.expire(one.stem, most=1).values()):
        pass

    replies(office, one.stem, "STOP", 10, 14)

    assert people(office)["reply"] == 0
    assert (told(office), office.table(ANSWERS)) == (view, counted)


def test_a_first_report_after_a_forgetting_counts_all_others(office, make_messages):
    made = office.submitted(make_messages(5, start=10))
    office.ledger.submissions.move(made.stem, to=State.ACCEPTED)
    office.ledger.submissions.move(made.stem, to=State.CLOSED)
    office.ledger.people.forget(FIRST + 10)

    report(office, made.stem)

    counts = office.ledger.submissions.reconcile(made.stem)
    assert (counts.delivered, counts.not_delivered, counts.missing) == (1, 1, 3)
    assert counts.balanced
    assert receipts_of(office, 10) == []


@pytest.mark.parametrize("person", [10, 99], ids=["a recipient", "a stranger in its report"])
def test_no_recipient_is_forgotten_while_reports_are_expected(office, one, person):
    before = people(office)

    with pytest.raises(LedgerError, match="nothing was erased") as refused:
        office.ledger.people.forget(FIRST + person)

    assert one.stem in str(refused.value)
    assert str(FIRST + person) not in str(refused.value)
    assert people(office) == before


def test_a_reply_to_an_unknown_file_expires(office):
    replies(office, "SEND-12345-20260701-1000-unknown", "SMSMO", 20, 21)

    assert office.ledger.people.forget(FIRST + 20).replies == 1
    assert office.ledger.people.expire_stray_replies(office.hand(), most=10) == 0
    assert (
        office.ledger.people.expire_stray_replies(office.hand() + timedelta(days=1), most=10) == 1
    )
    assert people(office)["reply"] == 0


def test_the_stop_lists_texts_expire_and_its_numbers_stay(office):
    for person in range(3):
        opt_out(office, person)
    later = office.hand() + timedelta(days=1)

    assert [office.ledger.stop_list.expire_texts(later, most=2) for _ in range(3)] == [2, 1, 0]

    assert office.ledger.stop_list.require_safe() == 3
    assert office.table("SELECT DISTINCT message FROM sms.opt_out") == [(None,)]


def test_a_removals_text_expires_and_its_record_stays(office):
    for person in range(3):
        opt_out(office, person)
        office.ledger.stop_list.remove(FIRST + person, reason="asked by post")
    trace = "SELECT msisdn, removed_at, actor, reason, source, heard FROM sms.removal ORDER BY 1"
    words = "SELECT message FROM sms.removal ORDER BY msisdn"
    kept = office.table(trace)

    assert not office.ledger.people.forget(FIRST).opted_out
    assert [row[0] is None for row in office.table(words)] == [True, False, False]

    later = office.hand() + timedelta(days=1)
    assert [office.ledger.stop_list.expire_texts(later, most=1) for _ in range(3)] == [1, 1, 0]
    assert office.table(words) == [(None,)] * 3
    assert office.table(trace) == kept

"""The states of a submission: one claim, one intent, each move once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier

import pyarrow as pa
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from sms.errors import LedgerError, SubmissionTaken
from sms.ledger import submissions
from sms.ledger.ledger import Ledger
from sms.ledger.states import NEXT, State

LEASE = timedelta(minutes=10)
WORKERS = 6


def race(another_ledger, act):
    """What `act(ledger, number)` gave each of several workers that start together."""
    start = Barrier(WORKERS)

    def run(number: int):
        ledger = another_ledger(f"worker {number}")
        start.wait()
        try:
            return act(ledger, number)
        except SubmissionTaken as error:
            return error

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(run, range(WORKERS)))


def test_of_concurrent_claims_only_one_succeeds(office, another_ledger):
    one = office.prepared()

    outcomes = race(
        another_ledger, lambda ledger, n: ledger.submissions.claim(one.stem, f"t{n}", lease=LEASE)
    )

    [winner] = [got for got in outcomes if not isinstance(got, SubmissionTaken)]
    assert sum(isinstance(got, SubmissionTaken) for got in outcomes) == WORKERS - 1
    assert office.ledger.submissions.holds(one.stem, winner.claim)
    assert office.events(one.stem)[-1] == ("prepared", "uploading")
    assert len(office.events(one.stem)) == 3


def test_of_concurrent_takeovers_only_one_succeeds(office, another_ledger, hand):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "dead", lease=LEASE)
    hand.advance(LEASE + timedelta(seconds=1))

    outcomes = race(
        another_ledger, lambda ledger, n: ledger.submissions.claim(one.stem, f"t{n}", lease=LEASE)
    )

    assert sum(isinstance(got, SubmissionTaken) for got in outcomes) == WORKERS - 1
    assert not office.ledger.submissions.holds(one.stem, "dead")
    assert office.events(one.stem)[3:] == [("uploading", "uploading")]


def test_only_the_claims_own_try_can_release_it(office, hand):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "dead", lease=LEASE)
    hand.advance(LEASE + timedelta(seconds=1))
    office.ledger.submissions.claim(one.stem, "alive", lease=LEASE)

    office.ledger.submissions.release(one.stem, "dead")

    assert office.ledger.submissions.holds(one.stem, "alive")
    with pytest.raises(SubmissionTaken):
        office.ledger.submissions.claim(one.stem, "another", lease=LEASE)


@pytest.mark.parametrize("to", [State.SUBMITTED, State.UNKNOWN])
def test_of_concurrent_moves_only_one_succeeds(office, another_ledger, to):
    one = office.intended()

    outcomes = race(another_ledger, lambda ledger, _: ledger.submissions.move(one.stem, to=to))

    assert sorted(outcomes) == [False] * (WORKERS - 1) + [True]
    assert office.events(one.stem).count(("uploading", to)) == 1


def test_concurrent_cancelling_and_claiming_agree(office, another_ledger):
    for _ in range(5):
        one = office.prepared()

        def act(ledger, number, stem=one.stem):
            if number % 2:
                return ledger.submissions.move(stem, to=State.CANCELLED)
            try:
                ledger.submissions.claim(stem, "same", lease=LEASE)
                ledger.submissions.record_upload(stem, "same", messages=[], sha256="", size_bytes=0)
                ledger.submissions.intend_rename(stem, "same")
                return "intended"
            except LedgerError:
                return "stood aside"

        outcomes = race(another_ledger, act)

        assert (True in outcomes) != ("intended" in outcomes)


def test_a_claim_lasts_one_lease_and_is_renewable(office, hand):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
    hand.advance(LEASE)
    renewed = office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
    hand.advance(LEASE)

    with pytest.raises(SubmissionTaken, match="held by another try since 2026-07-15 08:10:00 UTC"):
        office.ledger.submissions.claim(one.stem, "try-2", lease=LEASE)

    assert renewed.claimed_at == hand.at - LEASE
    assert office.ledger.submissions.holds(one.stem, "try-1")


@pytest.mark.parametrize("back", [LEASE + timedelta(seconds=1), timedelta(days=3)])
def test_a_clock_set_back_extends_no_lease(office, hand, back):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "dead", lease=LEASE)

    hand.advance(-back)

    assert office.ledger.submissions.claim(one.stem, "alive", lease=LEASE).claim == "alive"


def test_a_file_past_uploading_is_returned_unclaimed(office):
    one = office.submitted()

    assert office.ledger.submissions.claim(one.stem, "try-2", lease=LEASE) == one
    assert one.claim == "try-1"
    assert not office.ledger.submissions.holds(one.stem, "try-1")


def test_an_unprepared_file_cannot_be_claimed(office):
    one = office.planned()

    with pytest.raises(LedgerError, match="planned but not prepared"):
        office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)


def test_an_upload_and_its_messages_are_written_together(office, make_messages):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)

    def torn():
        yield make_messages(2)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        office.ledger.submissions.record_upload(
            one.stem, "try-1", messages=torn(), sha256="a", size_bytes=1
        )
    assert office.ledger.submissions.get(one.stem).uploaded_at is None
    assert office.table("SELECT count(*) FROM sms.message") == [(0,)]

    uploaded = office.ledger.submissions.record_upload(
        one.stem,
        "try-1",
        messages=[make_messages(2), make_messages(2, start=2)],
        sha256="b",
        size_bytes=2,
        late_out={"opted_out": 1},
    )
    assert (uploaded.messages, uploaded.segments) == (4, 6)
    assert (uploaded.sha256, uploaded.size_bytes) == ("b", 2)
    assert uploaded.state is State.UPLOADING
    assert uploaded.uploaded_at is not None
    assert uploaded.rename_intended_at is None
    assert office.table("SELECT count(*), min(key), sum(segments) FROM sms.message") == [
        (4, "customer 0", 6)
    ]


def test_a_rename_can_be_intended_only_after_the_upload(office):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)

    with pytest.raises(LedgerError, match="was not uploaded: it must not be renamed"):
        office.ledger.submissions.intend_rename(one.stem, "try-1")

    office.ledger.submissions.record_upload(one.stem, "try-1", messages=[], sha256="", size_bytes=0)
    assert office.ledger.submissions.intend_rename(one.stem, "try-1").rename_intended_at is not None


def test_an_uploaded_file_can_be_cancelled_before_the_intent(office):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
    office.ledger.submissions.record_upload(one.stem, "try-1", messages=[], sha256="", size_bytes=0)

    assert office.ledger.submissions.move(one.stem, to=State.CANCELLED)
    with pytest.raises(LedgerError, match="is cancelled, not uploading"):
        office.ledger.submissions.intend_rename(one.stem, "try-1")


def test_the_pace_is_the_slowest_recent_measurable_upload(office):
    assert office.ledger.submissions.upload_pace() is None
    for size, seconds in [(10**6, 1.0), (99, 5.0), (40 * 2**20, 4.0), (2**21, 0.0), (2**21, 0.5)]:
        one = office.prepared()
        office.ledger.submissions.claim(one.stem, "t", lease=LEASE)
        office.ledger.submissions.record_upload(
            one.stem, "t", messages=[], sha256="", size_bytes=size, seconds=seconds
        )

    assert office.ledger.submissions.upload_pace() == 2**22  # of 10 and of 4 MiB a second


def test_a_file_built_again_replaces_its_messages(office, make_messages):
    one = office.intended(make_messages(3))

    again = office.ledger.submissions.record_upload(
        one.stem, "try-1", messages=[make_messages(1, start=7)], sha256="c", size_bytes=3
    )

    assert again.messages == 1
    assert office.table("SELECT key FROM sms.message") == [("customer 7",)]


def test_a_zombie_without_its_claim_cannot_intend_or_move(office, hand, make_messages):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "zombie", lease=LEASE)
    hand.advance(LEASE * 2)
    office.ledger.submissions.claim(one.stem, "heir", lease=LEASE)

    with pytest.raises(SubmissionTaken, match=r"taken .* over"):
        office.ledger.submissions.record_upload(
            one.stem, "zombie", messages=[make_messages(1)], sha256="", size_bytes=0
        )
    with pytest.raises(SubmissionTaken, match=r"taken .* over"):
        office.ledger.submissions.intend_rename(one.stem, "zombie")
    assert not office.ledger.submissions.move(one.stem, to=State.SUBMITTED, token="zombie")
    assert office.ledger.submissions.holds(one.stem, "heir")
    assert office.table("SELECT count(*) FROM sms.message") == [(0,)]


def test_a_cancelled_file_is_never_renamed(office, make_messages):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
    assert office.ledger.submissions.move(one.stem, to=State.CANCELLED)

    with pytest.raises(LedgerError, match="is cancelled, not uploading"):
        office.ledger.submissions.record_upload(
            one.stem, "try-1", messages=[make_messages(1)], sha256="", size_bytes=0
        )


def test_a_file_cannot_be_cancelled_after_the_intent(office):
    one = office.intended()

    assert not office.ledger.submissions.move(one.stem, to=State.CANCELLED)
    assert office.ledger.submissions.get(one.stem).state is State.UPLOADING


def test_a_duplicate_message_is_refused_without_naming_it(office, make_messages):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)

    with pytest.raises(LedgerError, match="message_2026_07_pkey") as error:
        office.ledger.submissions.record_upload(
            one.stem, "try-1", messages=[make_messages(1)] * 2, sha256="", size_bytes=0
        )

    assert "3363998" not in str(error.value)
    assert error.value.__suppress_context__


def test_only_the_moves_in_the_table_are_allowed(office):
    allowed = {(old, new) for old, following in NEXT.items() for new in following}
    for old in State:
        for new in State:
            if State.UPLOADING in (old, new) and new is not State.SUBMITTED:
                continue  # a claim's business, tested above
            one = office.prepared()
            office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
            with office.ledger.engine.begin() as db:
                db.execute(text("SET LOCAL session_replication_role = replica"))  # no triggers
                db.execute(
                    text("UPDATE sms.submission SET state = :old WHERE id = :id"),
                    {"old": old, "id": one.id},
                )
            assert office.ledger.submissions.move(one.stem, to=new) == ((old, new) in allowed), (
                old,
                new,
            )


def test_the_database_refuses_to_unclaim_a_file(office):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
    office.ledger.submissions.release(one.stem, "try-1")

    for refused in (
        "UPDATE sms.submission SET state = 'prepared' WHERE id = :id",
        "DELETE FROM sms.submission WHERE id = :id",
    ):
        with (
            pytest.raises(IntegrityError, match="may be at the gateway"),
            office.ledger.engine.begin() as db,
        ):
            db.execute(text(refused), {"id": one.id})


def test_each_state_records_its_time(office, hand):
    one = office.intended()
    due = hand.at + timedelta(days=1)
    for to, moments in (
        (State.UNKNOWN, {}),
        (State.SUBMITTED, {}),
        (State.ACCEPTED, {"due_at": due}),
        (State.REPORTED, {}),
    ):
        hand.advance(timedelta(minutes=1))
        assert office.ledger.submissions.move(one.stem, to=to, detail={"seen": to}, **moments)

    stored = office.ledger.submissions.get(one.stem)
    assert (stored.submitted_at, stored.verdict_at, stored.reported_at, stored.due_at) == (
        hand.at - timedelta(minutes=2),
        hand.at - timedelta(minutes=1),
        hand.at,
        due,
    )
    assert office.table("SELECT actor, detail FROM sms.event ORDER BY id DESC LIMIT 1") == [
        ("worker", {"seen": "reported"})
    ]


def test_a_move_sets_only_times(office):
    one = office.intended()

    with pytest.raises(TypeError, match="claim"):
        office.ledger.submissions.move(one.stem, to=State.SUBMITTED, claim="mine")


@pytest.mark.parametrize(
    "change",
    [
        "SET stem = 'SEND-12345-20260715-1200-other'",
        "SET rename_intended_at = NULL",
        "SET state = 'sent'",
        "SET claim = NULL",
    ],
)
def test_the_database_enforces_the_uniqueness_of_a_file(office, change):
    one = office.intended()

    with office.ledger.engine.connect() as db, pytest.raises(IntegrityError):
        db.execute(text(f"UPDATE sms.submission {change} WHERE id = {one.id}"))
    with office.ledger.engine.connect() as db, pytest.raises(IntegrityError):
        db.execute(text(f"DELETE FROM sms.submission WHERE id = {one.id}"))


def test_texts_keep_their_quotes_breaks_and_semicolons(office):
    rows = pa.RecordBatch.from_pydict(
        {
            "idremote": [f"{n:032x}" for n in range(3)],
            "msisdn": pa.array([33639980001, 33639980002, 33639980003], pa.int64()),
            "segments": pa.array([1, 1, 1], pa.int16()),
            "key": ['say "hé";\r\n, \\N', "", "nul \x00 byte"],
        }
    )
    office.intended(rows)

    assert office.table("SELECT key FROM sms.message ORDER BY idremote") == [
        ('say "hé";\r\n, \\N',),
        ("",),
        ("nul \ufffd byte",),
    ]


def test_a_message_without_key_or_column_is_refused(office, make_messages):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
    bare = make_messages(1).drop_columns(["key"])
    empty = bare.append_column("key", pa.array([None], pa.large_string()))

    for rows, problem in ((bare, "columns are missing: key"), (empty, "key has 1 nulls")):
        with pytest.raises(ValueError, match=problem):
            office.ledger.submissions.record_upload(
                one.stem, "try-1", messages=[rows], sha256="", size_bytes=0
            )


def events_of(office, one) -> list[tuple[object, ...]]:
    """A file's events: from, to, and detail."""
    return office.table(
        f"SELECT from_state, to_state, detail FROM sms.event WHERE submission_id = {one.id} "
        f"AND run_key = '{one.run_key}' ORDER BY id"
    )


def test_each_step_of_an_upload_leaves_its_event(office, hand, make_messages):
    one, ledger = office.prepared(), office.ledger.submissions
    ledger.claim(one.stem, "dead", lease=LEASE)
    hand.advance(LEASE + timedelta(seconds=1))
    ledger.claim(one.stem, "try-1", lease=LEASE)
    ledger.record_upload(
        one.stem,
        "try-1",
        messages=[make_messages(3)],
        sha256="a" * 64,
        size_bytes=7,
        late_out={"opted_out": 2},
        seconds=1.23456,
    )
    ledger.intend_rename(one.stem, "try-1")
    ledger.withdraw_rename(one.stem, "try-1", "it was refused")
    ledger.release(one.stem, "try-1")

    again = ("uploading", "uploading")
    assert events_of(office, one) == [
        (None, "planned", {"stem": one.stem}),
        ("planned", "prepared", {"messages": 3}),
        ("prepared", "uploading", {"claim": "dead"}),
        (*again, {"claim": "try-1", "taken_over_from": "dead"}),
        (*again, {"uploaded": "a" * 64, "messages": 3, "bytes": 7, "seconds": 1.235}),
        (*again, {"rename_intended": "a" * 64, "messages": 3}),
        (*again, {"rename_withdrawn": "it was refused"}),
        (*again, {"released": "try-1"}),
    ]
    assert office.table("SELECT late_out FROM sms.submission") == [({"opted_out": 2},)]


def test_a_released_claim_needs_no_lease(office):
    one, ledger = office.prepared(), office.ledger.submissions
    ledger.claim(one.stem, "try-1", lease=LEASE)

    ledger.release(one.stem, "try-1")

    released = ledger.get(one.stem)
    assert (released.claim, released.claimed_at) == ("released by try-1", None)
    assert not ledger.holds(one.stem, "try-1")
    assert ledger.claim(one.stem, "try-2", lease=LEASE).claim == "try-2"


def test_only_the_holder_releases_or_withdraws(office):
    one, ledger = office.intended(), office.ledger.submissions
    before = ledger.get(one.stem), events_of(office, one)

    ledger.release(one.stem, "another")
    ledger.withdraw_rename(one.stem, "another", "why")
    assert not ledger.forget_upload(one.stem, "another")
    assert not ledger.holds(one.stem, "another")
    assert not ledger.holds("SEND-none", "try-1")

    assert (ledger.get(one.stem), events_of(office, one)) == before


def test_a_submitted_file_keeps_its_claim_and_intent(office):
    one, ledger = office.submitted(), office.ledger.submissions
    before = events_of(office, one)

    ledger.release(one.stem, "try-1")
    ledger.withdraw_rename(one.stem, "try-1", "why")
    assert not ledger.forget_upload(one.stem, "try-1")

    assert (ledger.get(one.stem), events_of(office, one)) == (one, before)


def test_an_intent_is_withdrawn_once_and_may_come_again(office, hand):
    one, ledger = office.intended(), office.ledger.submissions
    hand.advance(timedelta(minutes=1))
    ledger.withdraw_rename(one.stem, "try-1", "why")
    withdrawn = ledger.get(one.stem)
    hand.advance(timedelta(minutes=1))
    ledger.withdraw_rename(one.stem, "try-1", "again")

    assert ledger.get(one.stem) == withdrawn
    assert withdrawn.rename_withdrawn_at == hand.at - timedelta(minutes=1)
    intended = ledger.intend_rename(one.stem, "try-1")
    assert (intended.rename_intended_at, intended.rename_withdrawn_at) == (hand.at, None)


def test_a_forgotten_upload_can_not_be_renamed(office):
    one, ledger = office.uploaded(), office.ledger.submissions

    assert ledger.forget_upload(one.stem, "try-1")

    assert ledger.get(one.stem).uploaded_at is None
    with pytest.raises(LedgerError) as caught:
        ledger.intend_rename(one.stem, "try-1")
    assert str(caught.value) == f"{one.stem} was not uploaded: it must not be renamed"


def test_a_file_without_recipients_ends_and_is_counted(office):
    one, ledger = office.intended(), office.ledger.submissions
    office.ledger.runs.record_rendering(
        one.run_key, excluded={"too_long": 1, "opted_out": 1}, replaced={}
    )

    ended = ledger.end_empty(one.stem, "try-1", left_out={"opted_out": 2, "frequency_cap": 1})

    assert (ended.state, ended.messages, ended.segments) == (State.CANCELLED, 0, 0)
    assert ended.is_empty
    assert office.table("SELECT late_out FROM sms.submission") == [(None,)]
    assert office.table("SELECT rendered_out FROM sms.campaign_run") == [
        ({"too_long": 1, "opted_out": 3, "frequency_cap": 1},)
    ]
    for table in ("message", "outcome_count"):
        assert office.table(f"SELECT count(*) FROM sms.{table}") == [(0,)]
    left_out = {"all_excluded": {"opted_out": 2, "frequency_cap": 1}}
    assert events_of(office, one)[-1] == ("uploading", "cancelled", left_out)


def test_one_files_end_leaves_other_files_as_they_are(office):
    other, one = office.submitted(), office.uploaded()
    before = office.table(f"SELECT * FROM sms.submission WHERE id = {other.id}")

    office.ledger.submissions.end_empty(one.stem, "try-1", left_out={"opted_out": 3})
    office.ledger.submissions.claim(office.prepared().stem, "try-9", lease=LEASE)

    assert office.table(f"SELECT * FROM sms.submission WHERE id = {other.id}") == before
    assert office.table("SELECT submission_id, count(*) FROM sms.message GROUP BY 1") == [
        (other.id, 3)
    ]
    counted = "SELECT submission_id, sum(messages) FROM sms.outcome_count GROUP BY 1"
    assert office.table(counted) == [(other.id, 3)]
    runs = "SELECT rendered_out FROM sms.campaign_run WHERE run_key = "
    assert office.table(f"{runs}'{other.run_key}'") == [(None,)]
    assert office.table(f"{runs}'{one.run_key}'") == [({"opted_out": 3},)]


def test_messages_are_counted_by_country_variant_and_size(office, make_messages):
    one, ledger = office.prepared(), office.ledger.submissions
    ledger.claim(one.stem, "try-1", lease=LEASE)
    named = make_messages(2, start=3)
    for column, values in (("variant", ["warm", "warm"]), ("country", ["RE", "RE"])):
        named = named.append_column(column, pa.array(values, pa.large_string()))

    ledger.record_upload(
        one.stem, "try-1", messages=[make_messages(3), named], sha256="", size_bytes=0
    )

    counts = "SELECT country, variant, segments, outcome, messages FROM sms.outcome_count"
    assert set(office.table(f"{counts} WHERE submission_id = {one.id}")) == {
        ("FR", None, 1, "missing", 2),
        ("FR", None, 2, "missing", 1),
        ("RE", "warm", 1, "missing", 1),
        ("RE", "warm", 2, "missing", 1),
    }
    assert office.table(
        "SELECT DISTINCT submission_id, country, variant, sent_on FROM sms.message ORDER BY 2"
    ) == [(one.id, "FR", None, date(2026, 7, 15)), (one.id, "RE", "warm", date(2026, 7, 15))]


def test_an_idremote_of_another_form_is_refused(office, make_messages):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "try-1", lease=LEASE)
    foreign = pa.array(["torn", f"{1:032x}"], pa.large_string())
    rows = make_messages(2).drop_columns(["idremote"]).append_column("idremote", foreign)

    with pytest.raises(ValueError, match="1 IDREMOTEs are not 32 hexadecimal digits") as caught:
        office.ledger.submissions.record_upload(
            one.stem, "try-1", messages=[rows], sha256="", size_bytes=0
        )

    assert str(caught.value) == "1 IDREMOTEs are not 32 hexadecimal digits (R16)"


def test_the_pace_is_that_of_the_latest_five(office):
    mebi = 2**20
    for size, seconds in [(mebi, 9.0), *[(mebi * n, 1.0) for n in (5, 4, 3, 2)], (mebi, 0.01)]:
        one = office.prepared()
        office.ledger.submissions.claim(one.stem, "t", lease=LEASE)
        office.ledger.submissions.record_upload(
            one.stem, "t", messages=[], sha256="", size_bytes=size, seconds=seconds
        )

    assert office.ledger.submissions.upload_pace() == 2 * mebi


def test_a_file_of_exactly_a_mebibyte_tells_the_pace(office):
    one = office.prepared()
    office.ledger.submissions.claim(one.stem, "t", lease=LEASE)
    office.ledger.submissions.record_upload(
        one.stem, "t", messages=[], sha256="", size_bytes=2**20, seconds=0.5
    )

    assert office.ledger.submissions.upload_pace() == 2**21


def test_files_are_found_by_name_state_and_run(office):
    ledger = office.ledger.submissions
    run = office.a_run()
    _, first = office.ledger.runs.plan(run, office.stem())
    later = office.a_run(send_at=run.send_at - timedelta(minutes=30))
    _, second = office.ledger.runs.plan(later, office.stem())

    assert [each.stem for each in ledger.in_state(State.PLANNED)] == [second.stem, first.stem]
    assert ledger.in_state(State.PREPARED) == []
    assert ledger.named([first.stem.upper(), "SEND-none"]) == {first.stem.lower(): first}
    assert ledger.move(first.stem, to=State.CANCELLED)
    assert [each.state for each in ledger.of_run(run.run_key)] == [State.CANCELLED]
    assert ledger.of_run("none") == []


@pytest.mark.parametrize("call", ["get", "claim"])
def test_a_file_that_the_ledger_lacks_is_named(office, call):
    more = {"claim": {"token": "t", "lease": LEASE}}.get(call, {})

    with pytest.raises(LedgerError) as caught:
        getattr(office.ledger.submissions, call)("SEND-none", **more)

    assert str(caught.value) == "the ledger has no file SEND-none: plan it first"


def test_refusals_say_what_to_do(office):
    ledger = office.ledger.submissions
    planned, cancelled = office.planned(), office.prepared()
    assert ledger.move(cancelled.stem, to=State.CANCELLED)
    held = office.prepared()
    ledger.claim(held.stem, "try-1", lease=LEASE)

    def told(kind: type[Exception], stem: str, token: str, act: str, **more: object) -> str:
        with pytest.raises(kind) as caught:
            getattr(ledger, act)(stem, token, **more)
        return str(caught.value)

    lease = {"lease": LEASE}
    assert told(LedgerError, planned.stem, "t", "claim", **lease) == (
        f"{planned.stem} is planned but not prepared: render and review it first"
    )
    assert told(SubmissionTaken, held.stem, "t", "claim", **lease) == (
        f"{held.stem} is held by another try since 2026-07-15 08:00:00 UTC: this one stops"
    )
    assert told(LedgerError, cancelled.stem, "t", "intend_rename") == (
        f"{cancelled.stem} is cancelled, not uploading: it must not be renamed"
    )
    assert told(SubmissionTaken, held.stem, "t", "intend_rename") == (
        f"another try has taken {held.stem} over: this one stops"
    )
    with pytest.raises(TypeError) as caught:
        ledger.move(held.stem, to=State.SUBMITTED, claim="mine")
    assert str(caught.value) == (
        "a move sets only ['due_at', 'reported_at', 'submitted_at', 'verdict_at'], not ['claim']"
    )


def test_a_move_from_a_past_state_changes_nothing(office):
    stale = office.submitted()
    assert office.ledger.submissions.move(stale.stem, to=State.ACCEPTED)
    before = events_of(office, stale)

    with office.ledger.submissions._database.transaction() as tx:
        assert not submissions.move(tx, stale, State.REJECTED)

    assert office.ledger.submissions.get(stale.stem).state is State.ACCEPTED
    assert events_of(office, stale) == before


def test_a_moment_that_is_given_is_kept(office, hand):
    one = office.intended()
    then = hand.at - timedelta(minutes=3)

    assert office.ledger.submissions.move(one.stem, to=State.SUBMITTED, submitted_at=then)

    assert office.ledger.submissions.get(one.stem).submitted_at == then


def test_a_move_is_announced_once(office):
    one, moves = office.intended(), []
    told = Ledger(office.ledger.engine, on_move=lambda _, *move: moves.append(move))

    assert not told.submissions.move(one.stem, to=State.SUBMITTED, token="another")
    assert told.submissions.move(one.stem, to=State.SUBMITTED, token="try-1")
    assert not told.submissions.move(one.stem, to=State.SUBMITTED)

    assert moves == [(one.stem, State.SUBMITTED)]

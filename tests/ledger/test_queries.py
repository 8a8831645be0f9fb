"""The counts of a run: every recipient is accounted for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from sms.ledger.records import UnfinishedRun
from sms.ledger.states import State
from sms.wire.names import ReportName

FIRST = 33_639_980_000


def a_story(office, make_part, make_messages) -> str:
    """A run of two parts, from its candidates to its reports; the run's key."""
    ledger = office.ledger
    run, one = ledger.runs.plan(office.a_run(), office.stem())
    for malformed in (9, 4):  # the second screening replaces the first
        ledger.runs.record_screening(
            run.run_key,
            candidates=20,
            audience=20 - malformed - 2,
            excluded={"malformed_msisdn": malformed, "opted_out": 2},
            stop_list_size=1000,
        )
    for _ in range(2):
        ledger.runs.record_rendering(
            run.run_key, excluded={"text_too_long": 3}, replaced={"U+00E7": 5}
        )
    parts = [make_part(f"{one.stem}p0{n}", n, 2, messages=(6, 5)[n - 1]) for n in (1, 2)]
    for part, late in zip(parts, (0, 1), strict=True):
        if part.part == 1:
            ledger.runs.prepare(run.run_key, parts)
        ledger.submissions.claim(part.stem, "t", lease=run.send_at - run.planned_at)
        ledger.submissions.record_upload(
            part.stem,
            "t",
            messages=[make_messages(part.messages - late, start=10 * part.part)],
            sha256="",
            size_bytes=1,
            late_out={"opted_out": late} if late else None,
        )
        ledger.submissions.intend_rename(part.stem, "t")
        ledger.submissions.move(part.stem, to=State.SUBMITTED, token="t")
    return run.run_key


def report_one(office, stem: str) -> None:
    office.ledger.reports.load_delivery_report(
        stem,
        pa.table(
            {
                "line": pa.array([1, 2, 3]),
                "idremote": [f"{n:032x}" for n in (10, 11, 99)],
                "msisdn": pa.array([FIRST + 10, FIRST + 11, FIRST + 99]),
                "idstatus": pa.array([3, 6, 3], pa.int16()),
                "ackoperator": ["a", "b", "c"],
                "raw_status": ["3", "6", "3"],
            }
        ),
    )
    for kind, count in (("STOP", 1), ("SMSMO", 2)):
        report = ReportName.parse(f"{stem.replace('SEND', kind)}.csv")
        texts = [f"text {n}" for n in range(count)]
        office.ledger.reports.load_replies(
            report,
            pa.table(
                {
                    "msisdn": pa.array([FIRST + 10] * count),
                    "raw_date": ["20260715"] * count,
                    "raw_hour": ["1210"] * count,
                    "replied_at": pa.array([None] * count, pa.timestamp("us", tz="UTC")),
                    "message": texts,
                    "idremote": [None] * count,
                    "occurrence": pa.array([1] * count, pa.int32()),
                }
            ),
        )


def test_a_summary_accounts_for_every_recipient(office, make_part, make_messages):
    run_key = a_story(office, make_part, make_messages)
    first, second = office.ledger.submissions.of_run(run_key)
    office.ledger.submissions.move(first.stem, to=State.ACCEPTED)
    report_one(office, first.stem)

    found = office.ledger.runs.summary(run_key)

    assert found.run == office.ledger.runs.get(run_key)
    assert (found.candidates, found.audience) == (20, 10)
    assert found.excluded == {"malformed_msisdn": 4, "opted_out": 3, "text_too_long": 3}
    assert found.replaced == {"U+00E7": 5}
    assert (found.sent, found.segments) == (10, first.segments + second.segments)
    assert found.submissions == {State.ACCEPTED: 1, State.SUBMITTED: 1}
    assert (found.outcomes.delivered, found.outcomes.not_delivered) == (1, 1)
    assert (found.outcomes.missing, found.outcomes.strangers) == (8, 1)
    assert (found.stops, found.replies, found.stop_list_size) == (1, 2, 1000)
    assert found.balanced
    assert not replace(found, candidates=21).balanced


def test_the_analysts_view_has_the_same_counts(office, make_part, make_messages):
    run_key = a_story(office, make_part, make_messages)
    report_one(office, office.ledger.submissions.of_run(run_key)[0].stem)
    office.planned()  # another run, that sent nothing yet

    told = office.table(
        "SELECT candidates, screened_out, rendered_out, late_out, submissions, sent, segments, "
        "delivered, not_delivered, missing, stops, replies FROM sms.campaign_summary ORDER BY sent"
    )

    assert told[0] == (None, {}, {}, 0, {"planned": 1}, 0, 0, 0, 0, 0, 0, 0)
    assert told[1] == (
        20,
        {"malformed_msisdn": 4, "opted_out": 2},
        {"text_too_long": 3},
        1,
        {"submitted": 2},
        10,
        office.ledger.runs.summary(run_key).segments,
        1,
        1,
        8,
        1,
        2,
    )
    assert office.table("SELECT outcome, count(*) FROM sms.delivery GROUP BY 1 ORDER BY 1") == [
        ("delivered", 1),
        ("missing", 8),
        ("not_delivered", 1),
    ]


def test_a_run_that_is_only_planned_has_a_summary(office):
    one = office.planned()

    found = office.ledger.runs.summary(one.run_key)

    assert (found.candidates, found.audience, found.sent) == (0, 0, 0)
    assert found.submissions == {State.PLANNED: 1}
    assert found.balanced


def test_late_stops_are_those_between_rename_and_hour(office, hand, make_messages):
    one = office.submitted(make_messages(5))
    stops = {  # the third and the fourth said it too early and too late to be late
        0: one.submitted_at + timedelta(minutes=1),
        1: one.submitted_at - timedelta(minutes=1),  # and we heard of it after the rename
        3: one.send_at + timedelta(minutes=1),
    }

    def said(*people: int) -> pa.Table:
        return pa.table(
            {
                "msisdn": pa.array([33639980000 + person for person in people], pa.int64()),
                "opted_out_at": [stops.get(person, one.submitted_at) for person in people],
                "message": pa.array(["STOP"] * len(people), pa.large_string()),
            }
        )

    assert office.ledger.submissions.late_stops(one.stem) == 0
    hand.advance(timedelta(minutes=5))
    office.ledger.stop_list.add(said(0, 1, 3), source="stop_report")

    assert office.ledger.submissions.late_stops(one.stem) == 2
    with office.ledger.engine.connect() as db:
        shown = db.exec_driver_sql("SELECT late_stops FROM sms.campaign_summary").scalars().all()
    assert shown == [2]


AHEAD = datetime(2100, 3, 1, 9, tzinfo=UTC)  # of the database's own clock, for as long as this runs
SUMMARY = "SELECT run_key, status, failed_task, failed_why FROM sms.campaign_summary ORDER BY 1"


def statuses(office) -> dict[str, str]:
    return dict(office.table("SELECT run_key, status FROM sms.campaign_summary"))


def test_a_proof_counts_as_neither_run_nor_message(office, make_part, make_messages):
    run_key = a_story(office, make_part, make_messages)
    proof = office.a_run(run_key=f"{run_key}/proof-1a2b3c4d-warm", row_limit=3)
    stem = "SEND-12345-20260715-1200-springproof"
    office.ledger.runs.plan(proof, stem)
    office.ledger.runs.prepare(proof.run_key, [make_part(stem)])
    assert office.ledger.runs.unfinished("spring", but="another", within=timedelta(days=9)) == [
        *office.ledger.runs.unfinished("spring", but=run_key, within=timedelta(days=9)),
        UnfinishedRun(run_key, office.ledger.runs.get(run_key).send_at, 10, ("submitted",)),
    ]
    office.ledger.submissions.claim(stem, "t", lease=timedelta(hours=1))
    office.ledger.submissions.record_upload(
        stem, "t", messages=[make_messages(3, start=50)], sha256="", size_bytes=1
    )
    office.ledger.submissions.intend_rename(stem, "t")
    office.ledger.submissions.move(stem, to=State.SUBMITTED, token="t")
    office.ledger.submissions.move(stem, to=State.ACCEPTED)
    report_one(office, stem)

    for view in ("campaign_summary", "delivery_summary", "stop_rate", "delivery"):
        assert {row[0] for row in office.table(f"SELECT run_key FROM sms.{view}")} == {run_key}
    assert office.table("SELECT DISTINCT run_key, key FROM sms.answer") == [(proof.run_key, None)]
    assert office.ledger.submissions.reconcile(stem).sent == 3


def test_a_failed_run_is_failed_until_its_next_attempt(office, make_part, hand):
    run, one = office.ledger.runs.plan(office.a_run(send_at=AHEAD), office.stem())
    assert statuses(office) == {run.run_key: "planned"}
    hand.advance(timedelta(minutes=1))

    office.ledger.runs.record_failure(run.run_key, task="extract", why="no such table: people")

    assert office.table(SUMMARY) == [(run.run_key, "failed", "extract", "no such table: people")]
    assert office.ledger.runs.unfinished("spring", but="another", within=timedelta(days=9)) == []
    hand.advance(timedelta(minutes=1))
    office.ledger.runs.prepare(run.run_key, [make_part(one.stem)])
    assert office.table(SUMMARY) == [(run.run_key, "prepared", None, None)]

    office.ledger.runs.record_failure(run.run_key, task="submit", why="halted")
    assert statuses(office) == {run.run_key: "failed"}
    hand.advance(timedelta(minutes=1))
    office.ledger.submissions.claim(one.stem, "t", lease=timedelta(hours=1))
    assert statuses(office) == {run.run_key: "uploading"}
    [still] = office.ledger.runs.unfinished("spring", but="another", within=timedelta(days=9))
    assert still.states == ("uploading",)


def test_a_failure_before_the_plan_is_not_recorded(office):
    office.ledger.runs.record_failure("send__spring/manual__0", task="plan", why="closed")

    assert statuses(office) == {}


def test_an_unsent_run_is_closed_after_its_hour(office):
    one = office.planned()  # of July 2026

    assert statuses(office) == {one.run_key: "failed"}


def test_a_status_shows_the_progress_of_a_run(office, make_part):
    dry = office.a_run(dry_run=True, send_at=AHEAD)
    office.ledger.runs.plan(dry, office.stem())
    ended = office.submitted()
    seen = []
    for to in (State.ACCEPTED, State.REPORTED):
        seen.append(statuses(office)[ended.run_key])
        office.ledger.submissions.move(ended.stem, to=to)
    seen.append(statuses(office)[ended.run_key])
    rejected = office.submitted()
    office.ledger.submissions.move(rejected.stem, to=State.REJECTED)
    unknown = office.intended()
    office.ledger.submissions.move(unknown.stem, to=State.UNKNOWN)
    gone = office.planned()
    office.ledger.submissions.move(gone.stem, to=State.CANCELLED)
    silent = office.submitted()
    for state in (State.ACCEPTED, State.CLOSED):
        office.ledger.submissions.move(silent.stem, to=state)
    half, _ = office.ledger.runs.plan(office.a_run(send_at=AHEAD), office.stem())
    parts = [make_part(f"{office.stem()}p0{n}", n, 2) for n in (1, 2)]
    first, _ = office.ledger.runs.prepare(half.run_key, parts)
    office.ledger.submissions.claim(first.stem, "t", lease=timedelta(hours=1))
    office.ledger.submissions.record_upload(first.stem, "t", messages=[], sha256="", size_bytes=1)
    office.ledger.submissions.intend_rename(first.stem, "t")
    office.ledger.submissions.move(first.stem, to=State.SUBMITTED, token="t")

    assert seen == ["submitted", "sent", "reported"]
    assert statuses(office) == {
        dry.run_key: "dry run",
        ended.run_key: "reported",
        rejected.run_key: "rejected",
        unknown.run_key: "unknown",
        gone.run_key: "cancelled",
        silent.run_key: "closed",
        half.run_key: "sending",
    }

"""Reports are loaded once and whole, and their counts add up."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from threading import Barrier

import pyarrow as pa
import pytest
from sqlalchemy import Engine, event, text

from sms.ledger import quarantine
from sms.ledger.records import Reconciliation, ReportFile
from sms.ledger.states import State
from sms.wire.names import ReportName
from sms.wire.reports import OUTCOMES, Outcome
from tests.ledger.codes import CODES

FIRST = 33_639_980_000
NOON = datetime(2026, 7, 15, 10, 5, tzinfo=UTC)


def ack(*rows: tuple[str, int | None, str]) -> pa.Table:
    """A delivery report's rows: (idremote, offset of the number or None, outcome)."""
    return pa.table(
        {
            "line": pa.array(range(1, len(rows) + 1), pa.int64()),
            "idremote": pa.array([row[0] for row in rows], pa.large_string()),
            "msisdn": pa.array(
                [row[1] if row[1] is None else FIRST + row[1] for row in rows], pa.int64()
            ),
            "idstatus": pa.array([CODES[row[2]] for row in rows], pa.int16()),
            "ackoperator": pa.array(["op"] * len(rows), pa.large_string()),
            "raw_status": pa.array(
                [f"{CODES[row[2]]};{row[2]}" for row in rows], pa.large_string()
            ),
        }
    )


def of(number: int, outcome: str) -> tuple[str, int, str]:
    return f"{number:032x}", number, outcome


def replies(*rows: tuple[int, str, int]) -> pa.Table:
    """Rows of a STOP or SMSMO file: (offset of the number, message, occurrence)."""
    return pa.table(
        {
            "msisdn": pa.array([FIRST + row[0] for row in rows], pa.int64()),
            "raw_date": pa.array(["20260715"] * len(rows), pa.large_string()),
            "raw_hour": pa.array(["1205"] * len(rows), pa.large_string()),
            "replied_at": pa.array([NOON] * len(rows), pa.timestamp("us", tz="UTC")),
            "message": pa.array([row[1] for row in rows], pa.large_string()),
            "idremote": pa.array([None] * len(rows), pa.large_string()),
            "occurrence": pa.array([row[2] for row in rows], pa.int32()),
        }
    )


def report_of(kind: str, stem: str) -> ReportName:
    report = ReportName.parse(f"{stem.replace('SEND', kind)}.csv")
    assert report is not None
    return report


def outcomes(office) -> list[tuple[object, ...]]:
    return office.table(
        "SELECT msisdn - 33639980000, outcome, idstatus FROM sms.delivery ORDER BY 1"
    )


def test_sent_messages_are_those_reported_or_missing(office, make_messages):
    one = office.submitted(make_messages(7))

    assert office.ledger.submissions.reconcile(one.stem) == Reconciliation(
        7, 0, 0, 0, 0, 0, 7, 0, 0, 0
    )

    office.ledger.reports.load_delivery_report(
        one.stem,
        ack(
            of(0, "delivered"),
            of(1, "delivered"),
            of(2, "refused"),
            of(3, "not_delivered"),
            of(4, "pending"),
            of(5, "unknown"),
            ("never sent", 999, "delivered"),
            of(0, "delivered"),
        ),
    )

    found = office.ledger.submissions.reconcile(one.stem)
    assert found == Reconciliation(
        sent=7,
        delivered=2,
        refused=1,
        not_delivered=1,
        pending=1,
        unknown=1,
        missing=1,
        rows=8,
        strangers=1,
        duplicates=1,
    )
    assert found.balanced
    assert not replace(found, missing=0).balanced
    assert not replace(found, strangers=0).balanced
    unknown = "sms.outcome_of(idstatus) = 'unknown'"
    assert office.table(f"SELECT raw_status FROM sms.receipt WHERE {unknown}") == [("77;unknown",)]
    assert office.table("SELECT line, idremote FROM sms.stranger") == [(7, "never sent")]


def test_a_repeated_report_changes_nothing_and_a_newer_wins(office, hand, make_messages):
    one = office.submitted(make_messages(3))
    early = ack(of(0, "pending"), of(1, "delivered"), ("stranger", 50, "delivered"))
    late = ack(of(0, "delivered"), of(1, "delivered"), of(2, "refused"))

    office.ledger.reports.load_delivery_report(one.stem, early)
    once = office.table("SELECT * FROM sms.receipt ORDER BY idremote")
    hand.at = NOON
    office.ledger.reports.load_delivery_report(one.stem, early)
    assert office.table("SELECT * FROM sms.receipt ORDER BY idremote") == once

    office.ledger.reports.load_delivery_report(one.stem, late)
    assert outcomes(office) == [(0, "delivered", 3), (1, "delivered", 3), (2, "refused", 4)]
    assert office.table("SELECT * FROM sms.stranger") == []

    office.ledger.reports.load_delivery_report(one.stem, ack(of(1, "refused")))
    assert outcomes(office) == [(0, "delivered", 3), (1, "refused", 4), (2, "refused", 4)]
    counts = office.ledger.submissions.reconcile(one.stem)
    assert (counts.delivered, counts.refused, counts.rows, counts.kept) == (1, 2, 1, 2)
    assert counts.balanced


def test_an_older_report_adds_only_missing_outcomes(office, make_messages):
    one = office.submitted(make_messages(4))
    latest = ack(of(0, "delivered"), of(1, "refused"))
    office.ledger.reports.load_delivery_report(one.stem, latest)

    office.ledger.reports.load_delivery_report(
        one.stem, ack(of(0, "pending"), of(1, "pending"), of(2, "delivered")), latest=False
    )

    assert [(n, outcome) for n, outcome, _ in outcomes(office)] == [
        (0, "delivered"),
        (1, "refused"),
        (2, "delivered"),
        (3, "missing"),
    ]
    counts = office.ledger.submissions.reconcile(one.stem)
    assert (counts.delivered, counts.refused, counts.missing, counts.kept) == (2, 1, 1, 2)
    assert (counts.rows, counts.duplicates) == (3, 2)
    assert counts.balanced


@pytest.mark.parametrize("seed", range(4))
def test_reports_merge_as_a_dictionary_would(office, make_messages, seed):
    some = Random(seed)
    one = office.submitted(make_messages(6))
    known: dict[int, str] = {}
    for _ in range(12):
        latest = some.random() < 0.7
        kinds = ("pending", "delivered", "refused", "unknown")
        stated = [(some.randrange(6), some.choice(kinds)) for _ in range(some.randint(1, 7))]
        report = ack(*(of(n, outcome) for n, outcome in stated), ("stranger", 50, "delivered"))

        office.ledger.reports.load_delivery_report(one.stem, report, latest=latest)

        known = {**known, **dict(stated)} if latest else {**dict(stated), **known}
        counts = office.ledger.submissions.reconcile(one.stem)
        assert counts.balanced
        assert (counts.missing, counts.rows) == (6 - len(known), len(stated) + 1)
        assert {n: found for n, found, _ in outcomes(office) if found != "missing"} == known


def test_the_last_row_about_a_message_counts(office, make_messages):
    one = office.submitted(make_messages(1))

    office.ledger.reports.load_delivery_report(
        one.stem, ack(of(0, "pending"), of(0, "refused"), of(0, "delivered"))
    )

    assert outcomes(office) == [(0, "delivered", 3)]
    assert office.ledger.submissions.reconcile(one.stem).duplicates == 2


@pytest.mark.parametrize(
    ("row", "matched"),
    [
        pytest.param(of(0, "delivered"), True, id="idremote and number"),
        pytest.param(("torn idremote", 0, "delivered"), True, id="number alone"),
        pytest.param((f"{0:032x}", None, "delivered"), True, id="idremote, number unreadable"),
        pytest.param((f"{0:032x}", 777, "delivered"), False, id="our idremote, another's number"),
        pytest.param(("nobody", 777, "delivered"), False, id="neither"),
        pytest.param(("nobody", None, "delivered"), False, id="nothing readable"),
    ],
)
def test_rows_match_by_idremote_and_number_then_number(office, make_messages, row, matched):
    one = office.submitted(make_messages(1))
    office.submitted(make_messages(1))  # the same person in another file

    office.ledger.reports.load_delivery_report(one.stem, ack(row))

    found = office.ledger.submissions.reconcile(one.stem)
    assert (found.delivered, found.strangers) == ((1, 0) if matched else (0, 1))
    assert found.balanced
    assert office.table("SELECT count(*) FROM sms.receipt") == [(1 if matched else 0,)]


def test_a_number_used_twice_in_a_file_never_matches(office, make_messages):
    rows = make_messages(2)
    same = rows.set_column(1, "msisdn", pa.array([FIRST, FIRST], pa.int64()))
    one = office.submitted(same)

    office.ledger.reports.load_delivery_report(one.stem, ack(("torn", 0, "delivered")))

    assert office.ledger.submissions.reconcile(one.stem).strangers == 1


def test_a_report_may_be_loaded_in_batches(office, make_messages):
    one = office.submitted(make_messages(4))
    rows = ack(*(of(n, "delivered") for n in range(4)))

    office.ledger.reports.load_delivery_report(one.stem, iter(rows.to_batches(max_chunksize=3)))

    assert office.ledger.submissions.reconcile(one.stem).delivered == 4


def test_a_rejected_file_sent_nothing(office, make_messages):
    one = office.submitted(make_messages(3))
    office.ledger.submissions.move(one.stem, to=State.REJECTED)

    assert office.ledger.submissions.reconcile(one.stem).sent == 0
    assert office.ledger.submissions.reconcile(one.stem).balanced
    assert office.table("SELECT * FROM sms.delivery") == []


def test_a_reply_is_stored_once_however_its_file_grows(office, make_messages):
    one = office.submitted(make_messages(3))
    report = report_of("SMSMO", one.stem)
    grown = [replies((0, "oui", 1)), replies((0, "oui", 1), (0, "oui", 2), (1, "non;\n«merci»", 1))]

    assert [office.ledger.reports.load_replies(report, rows) for rows in [*grown, *grown]] == [
        1,
        2,
        0,
        0,
    ]

    assert office.table(
        "SELECT kind, report, submission_id, message, occurrence, replied_at FROM sms.reply "
        "ORDER BY id"
    ) == [
        ("SMSMO", str(report), one.id, "oui", 1, NOON),
        ("SMSMO", str(report), one.id, "oui", 2, NOON),
        ("SMSMO", str(report), one.id, "non;\n«merci»", 1, NOON),
    ]


def test_a_reply_longer_than_an_index_entry_is_stored(office, make_messages):
    one = office.submitted(make_messages(1))
    long = "".join(chr(33 + n * 7919 % 20_000) for n in range(9_000))

    assert (
        office.ledger.reports.load_replies(report_of("SMSMO", one.stem), replies((0, long, 1))) == 1
    )


def test_a_stop_and_an_identical_reply_are_two_rows(office, make_messages):
    one = office.submitted(make_messages(1))
    rows = replies((0, "STOP", 1))

    assert office.ledger.reports.load_replies(report_of("STOP", one.stem), rows) == 1
    assert office.ledger.reports.load_replies(report_of("SMSMO", one.stem), rows) == 1


def test_concurrent_loads_store_each_reply_once(office, another_ledger):
    one = office.submitted()
    rows = [(n, "STOP", 1) for n in range(300)]
    start = Barrier(4)

    def load(number: int) -> int:
        ledger = another_ledger(f"collector {number}")
        mine = replies(*(rows if number % 2 else reversed(rows)))
        start.wait()
        return ledger.reports.load_replies(report_of("STOP", one.stem), mine)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(load, range(4))) == 300


def test_a_report_on_an_unknown_file_is_kept(office):
    report = report_of("STOP", "SEND-12345-20200101-0800-ghost")

    assert office.ledger.reports.find_submission(report) is None
    assert office.ledger.reports.load_replies(report, replies((0, "STOP", 1))) == 1
    assert office.table("SELECT submission_id, campaign_id FROM sms.reply") == [(None, "ghost")]


COUNTED = "SELECT sum(stop_rows), sum(reply_rows), sum(people) FROM sms.answer_count"


def test_early_replies_are_counted_when_read_again(office, make_messages):
    office.runs = 1
    early = report_of("STOP", office.stem())
    said = replies((0, "STOP", 1), (1, "STOP", 1))
    office.ledger.reports.load_replies(early, said)
    office.runs = 0
    one = office.submitted(make_messages(3))

    assert office.ledger.reports.load_replies(early, said) == 0
    assert office.table(COUNTED) == [(2, 0, 2)]
    assert office.ledger.reports.load_replies(early, said) == 0
    assert office.table(COUNTED) == [(2, 0, 2)]
    assert office.table("SELECT DISTINCT submission_id FROM sms.reply") == [(one.id,)]


def test_one_recipients_early_and_late_stops_count_once(office, make_messages):
    office.runs = 1
    early, late = (report_of(kind, office.stem()) for kind in ("STOP", "SMSMO"))
    office.ledger.reports.load_replies(early, replies((0, "STOP", 1), (1, "STOP", 1)))
    office.runs = 0
    office.submitted(make_messages(3))
    office.ledger.reports.load_replies(late, replies((0, "Stop", 1)))

    office.ledger.reports.load_replies(early, replies((2, "STOP", 1), (2, "STOP", 2)))

    assert office.table(COUNTED) == [(4, 1, 3)]


def test_a_report_with_another_hour_is_still_matched(office):
    one = office.submitted()

    shifted = report_of("ACK", "SEND-12345-20260716-0800-SPRING1")
    foreign = report_of("ACK", "SEND-99999-20260716-0800-spring1")

    assert office.ledger.reports.find_submission(report_of("ACK", one.stem)) == one
    assert office.ledger.reports.find_submission(shifted) == one
    assert office.ledger.reports.find_submission(foreign) is None


def test_a_report_matching_two_files_is_not_assigned(office, make_part, make_messages):
    for hour in ("1200", "1300"):
        run, one = office.ledger.runs.plan(office.a_run(), f"SEND-12345-20260715-{hour}-same")
        office.ledger.runs.prepare(run.run_key, [make_part(one.stem)])
        office.ledger.submissions.claim(one.stem, "try-1", lease=timedelta(minutes=1))

    assert (
        office.ledger.reports.find_submission(report_of("ACK", "SEND-12345-20260715-1400-same"))
        is None
    )


def test_the_last_reading_of_a_report_is_stored(office, hand):
    file = ReportFile(
        name="STOP-12345-20260715-1200-spring1.csv",
        kind="STOP",
        stem="SEND-12345-20260715-1200-spring1",
        submission_id=office.submitted().id,
        size_bytes=120,
        modified_at=NOON,
        sha256="a" * 64,
        rows=3,
        unreadable=1,
        archive="archive/2026/07/STOP.csv",
    )
    assert office.ledger.reports.get(file.name) is None
    shorter = replace(file, size_bytes=60)
    assert office.ledger.reports.record_reading(None, shorter, [])
    assert office.ledger.reports.record_reading(shorter, file, [])

    assert office.ledger.reports.get(file.name) == replace(file, loaded_at=hand.at)


def test_a_reading_by_another_collector_is_kept(office):
    name = "STOP-12345-20260715-1200-spring1.csv"
    first = ReportFile(name, "STOP", None, None, 9, NOON, "a" * 64, 1, 0, "place")
    later = replace(first, size_bytes=12, sha256="b" * 64)
    row = {"line": [2], "reason": ["is odd"], "raw": [b"who?"], "may_be_stop": [True]}
    unreadable = pa.RecordBatch.from_pydict(row, quarantine.UNREADABLE)
    assert office.ledger.reports.record_reading(None, first, [])
    assert office.ledger.reports.record_reading(first, later, [unreadable])

    assert not office.ledger.reports.record_reading(None, first, [])
    assert not office.ledger.reports.record_reading(first, replace(first, rows=2), [])
    office.ledger.reports.record_modified_at(first, NOON + timedelta(hours=1))

    assert replace(office.ledger.reports.get(name), loaded_at=None) == later
    assert office.ledger.reports.unseen_stops() == {name: 1}


def test_database_and_reader_agree_on_every_status(office):
    told = office.table(
        "SELECT idstatus, sms.outcome_of(CAST(idstatus AS smallint)) "
        "FROM generate_series(0, 9999) AS idstatus"
    )

    assert dict(told) == {code: OUTCOMES.get(code, Outcome.UNKNOWN) for code in range(10_000)}
    assert office.table("SELECT sms.outcome_of(NULL)") == [(Outcome.UNKNOWN,)]


def test_an_uppercase_idremote_matches_and_an_invalid_is_kept(office, make_messages):
    one = office.submitted(make_messages(16))
    stranger = "Pas une des nôtres"

    office.ledger.reports.load_delivery_report(
        one.stem,
        ack(
            (f"{15:032X}", None, "delivered"),
            (stranger, 900, "delivered"),
            (f"{0xABC:032X}", 901, "refused"),
            (f"{98:031x}g", 902, "refused"),
        ),
    )

    assert office.ledger.submissions.reconcile(one.stem).delivered == 1
    assert office.table("SELECT idremote FROM sms.stranger ORDER BY line") == [
        (stranger,),
        (f"{0xABC:032x}",),
        (f"{98:031x}g",),
    ]


def test_the_last_of_two_rows_matched_by_number_counts(office, make_messages):
    one = office.submitted(make_messages(3))

    office.ledger.reports.load_delivery_report(
        one.stem, ack(("torn", 1, "pending"), ("torn too", 1, "delivered"), of(2, "delivered"))
    )

    found = office.ledger.submissions.reconcile(one.stem)
    assert (found.delivered, found.pending, found.duplicates, found.strangers) == (2, 0, 1, 0)


STALE = {
    "from before": "UPDATE pg_class SET reltuples = 0, relpages = greatest(relpages, 1)",
    "of a larger table": "UPDATE pg_class SET reltuples = 1e9, relpages = 10000000",
}
READ = """
SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
WHERE relname ~ '^(message_2026_07|receipt_2026_07|reply)$'
"""


@dataclass
class Misled:
    """A ledger whose planner believes something else, and how many rows its transactions read."""

    engine: Engine
    belief: str
    read: list[int] = field(default_factory=list)

    def begin(self) -> None:
        whose = "WHERE relname ~ '^(message_2026_07|receipt_2026_07|reply)$'"
        with self.engine.begin() as db:
            db.execute(text(f"{self.belief} {whose}"))
        event.listen(self.engine, "commit", lambda db: self.read.append(db.scalar(text(READ)) or 0))


@pytest.fixture(params=STALE)
def misled(request, office) -> Misled:
    return Misled(office.ledger.engine, STALE[request.param])


def test_bad_statistics_do_not_slow_the_loading_of_reports(office, make_messages, misled):
    count, twice = 3_000, 600
    one = office.submitted(make_messages(count))
    rows = [of(n, "delivered") for n in range(count)]
    rows += [of(n, "refused") for n in range(twice)]
    rows += [("torn", n, "refused") for n in range(twice, 2 * twice)]
    rows += [(f"stranger {n}", 5_000 + n, "refused") for n in range(twice)]
    misled.begin()

    office.ledger.reports.load_delivery_report(one.stem, ack(*rows))

    assert office.ledger.submissions.reconcile(one.stem).duplicates == 2 * twice
    assert 0 < max(misled.read) < 20 * (count + 3 * twice)


def test_loading_a_report_reads_no_other_file(office, make_messages):
    count = 2_000
    one = office.submitted(make_messages(count))
    with office.ledger.engine.begin() as db:
        db.execute(text("ALTER TABLE sms.message_2026_07 SET (autovacuum_enabled = off)"))
        db.execute(text("ANALYZE sms.message_2026_07"))  # one file is all that it knows of
        db.execute(text(OTHER_FILES), {"count": count})
    read: list[int] = []
    event.listen(office.ledger.engine, "commit", lambda db: read.append(db.scalar(text(READ)) or 0))

    office.ledger.reports.load_delivery_report(
        one.stem, ack(*(of(n, "delivered") for n in range(count)))
    )

    # Even none: where autovacuum was here before, the index alone tells all that is asked.
    assert read
    assert max(read) < 20 * count


OTHER_FILES = """
INSERT INTO sms.message (submission_id, msisdn, sent_on, segments, country, idremote, key)
SELECT 1000 + k, n, '2026-07-15', 1, 'FR', CAST(md5(k || '-' || n) AS uuid), ''
FROM generate_series(1, 40) AS k, generate_series(1, :count) AS n
"""


def test_bad_statistics_do_not_slow_the_counting_of_replies(office, make_messages, misled):
    count = 3_000
    one = office.submitted(make_messages(count))
    answers = [(n, "STOP", 1) for n in range(0, count, 3)]
    misled.begin()

    office.ledger.reports.load_replies(report_of("STOP", one.stem), replies(*answers))
    office.ledger.reports.load_replies(report_of("SMSMO", one.stem), replies(*answers))

    assert office.table("SELECT sum(stop_rows), sum(people) FROM sms.answer_count") == [
        (len(answers), len(answers))
    ]
    assert 0 < max(misled.read) < 20 * count

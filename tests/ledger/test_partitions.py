"""Messages and receipts are partitioned by month, and counts outlive a dropped month."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import pyarrow as pa
import pytest
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from sms.errors import LedgerError, LedgerUnreachable
from sms.ledger.database import _alembic
from sms.ledger.ledger import Ledger
from sms.ledger.states import State
from sms.wire.names import ReportName
from tests.ledger.codes import CODES

FIRST = 33_639_980_000
OUTCOMES = tuple(CODES)
NEW_YEAR = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)  # half past midnight in Paris


def sent(office, rows: pa.RecordBatch, send_at: datetime | None = None, **run: object):
    """A file at the gateway whose hour is the run's."""
    hour = {"send_at": send_at} if send_at else {}
    planned, one = office.ledger.runs.plan(office.a_run(**hour, **run), f"{office.stem()}x")
    from tests.factories import part

    office.ledger.runs.prepare(planned.run_key, [part(one.stem, messages=rows.num_rows)])
    office.ledger.submissions.claim(one.stem, "try-1", lease=timedelta(minutes=10))
    office.ledger.submissions.record_upload(
        one.stem, "try-1", messages=[rows], sha256="", size_bytes=1
    )
    office.ledger.submissions.intend_rename(one.stem, "try-1")
    office.ledger.submissions.move(one.stem, to=State.SUBMITTED, token="try-1")
    return office.ledger.submissions.get(one.stem)


def report(rows: list[tuple[str, int | None, str]]) -> pa.Table:
    return pa.table(
        {
            "line": pa.array(range(1, len(rows) + 1), pa.int64()),
            "idremote": pa.array([row[0] for row in rows], pa.large_string()),
            "msisdn": pa.array([row[1] for row in rows], pa.int64()),
            "idstatus": pa.array([CODES[row[2]] for row in rows], pa.int16()),
            "ackoperator": pa.array(["a"] * len(rows), pa.large_string()),
            "raw_status": pa.array(["3"] * len(rows), pa.large_string()),
        }
    )


def delivered(people: range) -> pa.Table:
    return report([(f"{n:032x}", FIRST + n, "delivered") for n in people])


def stops(office, stem: str, people: list[int], kind: str = "STOP", said: str = "STOP") -> None:
    office.ledger.reports.load_replies(
        ReportName.parse(f"{stem.replace('SEND', kind)}.csv"),
        pa.table(
            {
                "msisdn": pa.array([FIRST + n for n in people], pa.int64()),
                "raw_date": ["20260715"] * len(people),
                "raw_hour": [f"12{n:02}" for n in range(len(people))],
                "replied_at": pa.array([None] * len(people), pa.timestamp("us", tz="UTC")),
                "message": [said] * len(people),
                "idremote": pa.array([None] * len(people), pa.large_string()),
                "occurrence": pa.array([1] * len(people), pa.int32()),
            }
        ),
    )


def months(office) -> list[str]:
    return [
        str(name)
        for (name,) in office.table(
            "SELECT inhrelid::regclass::text FROM pg_inherits JOIN pg_class c ON c.oid = inhparent "
            "WHERE c.relkind = 'p' ORDER BY 1"
        )
    ]


def test_a_file_belongs_to_the_month_in_paris(office, make_messages):
    one = sent(office, make_messages(3), NEW_YEAR)
    office.ledger.reports.load_delivery_report(one.stem, delivered(range(2)))

    assert months(office) == ["sms.message_2027_01", "sms.receipt_2027_01"]
    assert office.table("SELECT DISTINCT day FROM sms.delivery") == [(date(2027, 1, 1),)]
    assert office.table("SELECT count(*) FROM sms.receipt_2027_01") == [(2,)]


def test_a_month_is_opened_before_its_first_upload(office, make_part):
    run, one = office.ledger.runs.plan(office.a_run(send_at=NEW_YEAR), office.stem())
    office.ledger.runs.prepare(run.run_key, [make_part(one.stem)])

    assert months(office) == ["sms.message_2027_01", "sms.receipt_2027_01"]


def test_concurrent_openings_create_a_month_once(office, another_ledger):
    start = Barrier(4)

    def open_it(number: int) -> None:
        engine = another_ledger(f"worker {number}").engine
        with engine.begin() as db:
            start.wait()
            db.execute(text("SELECT sms.open_month('2026-08-15')"))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(open_it, range(4)))

    assert months(office) == ["sms.message_2026_08", "sms.receipt_2026_08"]


def test_opening_a_month_does_not_wait_for_readers(office, make_messages):
    sent(office, make_messages(1))
    with office.ledger.engine.begin() as reader, office.ledger.engine.begin() as opener:
        reader.execute(text("SELECT count(*) FROM sms.message"))
        opener.execute(text("SET LOCAL lock_timeout = '1s'"))
        opener.execute(text("SELECT sms.open_month('2030-01-01')"))


def test_a_restricted_role_opens_months_but_drops_none(office):
    with office.ledger.engine.begin() as db:
        db.execute(text("DROP ROLE IF EXISTS filler"))
        db.execute(text("CREATE ROLE filler"))
        db.execute(text("GRANT USAGE ON SCHEMA sms TO filler"))
    try:
        with office.ledger.engine.begin() as db:
            db.execute(text("SET LOCAL ROLE filler"))
            db.execute(text("SELECT sms.open_month('2026-09-01')"))
        assert "sms.message_2026_09" in months(office)
        with office.ledger.engine.begin() as db:
            db.execute(text("SET LOCAL ROLE filler"))
            with pytest.raises(Exception, match="permission denied for function drop_months"):
                db.execute(text("SELECT sms.drop_months('2027-01-01', now())"))
    finally:
        with office.ledger.engine.begin() as db:
            db.execute(text("DROP OWNED BY filler"))
            db.execute(text("DROP ROLE filler"))


def test_a_dropped_month_keeps_its_counts(office, make_messages):
    one = sent(office, make_messages(5))
    office.ledger.submissions.move(one.stem, to=State.ACCEPTED)
    office.ledger.reports.load_delivery_report(one.stem, delivered(range(3)))
    office.ledger.submissions.move(one.stem, to=State.REPORTED)
    stops(office, one.stem, [1, 2])
    told = "run_key, sent, delivered, missing, stops, replies"
    before = (
        office.ledger.runs.summary(one.run_key),
        office.table(f"SELECT {told} FROM sms.campaign_summary"),
        office.table("SELECT * FROM sms.stop_rate ORDER BY segments"),
        office.table("SELECT * FROM sms.delivery_summary ORDER BY segments"),
    )

    assert office.ledger.people.drop_months(date(2026, 7, 31)) == []
    assert office.ledger.people.drop_months(date(2026, 8, 1)) == [date(2026, 7, 1)]

    assert months(office) == []
    assert before == (
        office.ledger.runs.summary(one.run_key),
        office.table(f"SELECT {told} FROM sms.campaign_summary"),
        office.table("SELECT * FROM sms.stop_rate ORDER BY segments"),
        office.table("SELECT * FROM sms.delivery_summary ORDER BY segments"),
    )
    assert before[0].balanced
    assert office.table("SELECT late_stops FROM sms.campaign_summary") == [(None,)]
    assert office.table("SELECT detail FROM sms.event ORDER BY id DESC LIMIT 1") == [
        ({"dropped_month": "2026-07"},)
    ]
    assert office.ledger.people.drop_months(date(2026, 8, 1)) == []


def test_a_late_report_on_a_dropped_month_changes_nothing(office, make_messages):
    one = sent(office, make_messages(2))
    office.ledger.submissions.move(one.stem, to=State.ACCEPTED)
    office.ledger.reports.load_delivery_report(one.stem, delivered(range(2)))
    office.ledger.submissions.move(one.stem, to=State.REPORTED)
    stops(office, one.stem, [1])
    office.ledger.people.drop_months(date(2026, 8, 1))
    counts = office.table("SELECT * FROM sms.stop_rate ORDER BY segments")

    with pytest.raises(LedgerError, match=f"the messages of {one.stem} were dropped"):
        office.ledger.reports.load_delivery_report(one.stem, delivered(range(1)))
    stops(office, one.stem, [1, 0])

    assert office.table("SELECT * FROM sms.stop_rate ORDER BY segments") == counts
    assert office.ledger.submissions.reconcile(one.stem).delivered == 2


@pytest.mark.parametrize("state", [State.SUBMITTED, State.ACCEPTED])
def test_a_month_with_an_expected_report_is_kept(office, make_messages, state):
    sent(office, make_messages(1), NEW_YEAR - timedelta(days=40))
    one = sent(office, make_messages(2))
    office.ledger.submissions.move(one.stem, to=state)

    assert office.ledger.people.drop_months(date(2026, 10, 1)) == []
    assert office.table("SELECT count(*) FROM sms.message") == [(3,)]


def test_dropping_a_month_gives_up_behind_a_long_reader(office, make_messages):
    one = sent(office, make_messages(1))
    office.ledger.submissions.move(one.stem, to=State.REJECTED)
    with office.ledger.engine.begin() as db:
        db.execute(text("ALTER FUNCTION sms.drop_months SET lock_timeout = '100ms'"))
    with office.ledger.engine.begin() as reader:
        reader.execute(text("SELECT count(*) FROM sms.message"))
        with pytest.raises(LedgerUnreachable) as error:
            office.ledger.people.drop_months(date(2027, 1, 1))
    assert error.value.retryable
    assert office.ledger.people.drop_months(date(2027, 1, 1)) == [date(2026, 7, 1)]


def test_a_claimed_file_keeps_its_day(office, make_messages):
    one = sent(office, make_messages(1))
    with (
        office.ledger.engine.begin() as db,
        pytest.raises(IntegrityError, match="a claimed file keeps its day"),
    ):
        db.execute(
            text("UPDATE sms.submission SET send_at = send_at + interval '1 day' WHERE id = :id"),
            {"id": one.id},
        )


def test_a_query_of_one_day_reads_one_month(office, make_messages):
    for month in (2, 3, 4):
        sent(office, make_messages(1), datetime(2027, month, 10, 9, tzinfo=UTC))
    with office.ledger.engine.connect() as db:
        plan = "\n".join(
            db.scalars(text("EXPLAIN SELECT * FROM sms.delivery WHERE day = '2027-03-10'"))
        )

    assert "message_2027_03" in plan
    assert "receipt_2027_03" in plan
    assert "2027_02" not in plan
    assert "2027_04" not in plan


# What analysts read is what the rows say ---------------------------------------------------------

NUMBERS = {"FR": 33_639_980_000, "RE": 262_692_000_000, "BE": 32_470_000_000}
MESSAGE = st.tuples(
    st.sampled_from(list(NUMBERS)), st.integers(1, 3), st.sampled_from([None, "long", "short"])
)
# A row about the n-th message: as it is, by the number alone, with an unreadable number, of
# nobody, with somebody else's number.
REPORTED = st.tuples(
    st.integers(0, 9),
    st.sampled_from(["whole", "whole", "whole", "number", "idremote", "nobody", "other"]),
    st.sampled_from(OUTCOMES),
)


def kept(people: list[tuple[str, int, str | None]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "idremote": pa.array([f"{n:032x}" for n in range(len(people))], pa.large_string()),
            "msisdn": pa.array([NUMBERS[p[0]] + n for n, p in enumerate(people)], pa.int64()),
            "segments": pa.array([p[1] for p in people], pa.int16()),
            "key": pa.array([f"customer {n}" for n in range(len(people))], pa.large_string()),
            "variant": pa.array([p[2] for p in people], pa.large_string()),
        }
    )


def row_about(people, place: int, way: str, outcome: str) -> tuple[str, int | None, str]:
    place %= len(people)
    idremote, number = f"{place:032x}", NUMBERS[people[place][0]] + place
    return {
        "whole": (idremote, number, outcome),
        "number": ("torn", number, outcome),
        "idremote": (idremote, None, outcome),
        "nobody": ("nobody", NUMBERS["FR"] + 999, outcome),
        "other": (idremote, NUMBERS["FR"] + 998, outcome),
    }[way]


COUNTED = """
SELECT country, variant, segments, outcome, count(*) FROM sms.delivery
WHERE stem = :stem GROUP BY 1, 2, 3, 4
"""
SHOWN = """
SELECT c.country, c.variant, c.segments, c.outcome, c.messages::bigint
FROM sms.outcome_count c JOIN sms.submission s ON s.id = c.submission_id WHERE s.stem = :stem
"""
STOPPED = """
SELECT m.country, m.variant, m.segments, count(DISTINCT a.msisdn)
FROM sms.reply a JOIN sms.message m USING (submission_id, msisdn)
JOIN sms.submission s ON s.id = m.submission_id
WHERE s.stem = :stem AND a.asks_to_stop GROUP BY 1, 2, 3
"""
RATED = """
SELECT country, variant, segments, stops::bigint FROM sms.stop_rate
WHERE run_key = :run_key AND stops > 0
"""


@settings(
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    people=st.lists(MESSAGE, min_size=1, max_size=8),
    states=st.lists(st.lists(REPORTED, max_size=10), min_size=1, max_size=3),
    said=st.lists(st.integers(0, 9), max_size=4),
)
def test_the_counts_match_the_rows(office, people, states, said):
    one = sent(office, kept(people))
    for rows in states:
        office.ledger.reports.load_delivery_report(
            one.stem, report([row_about(people, *each) for each in rows])
        )
    stops(office, one.stem, said)
    stops(office, one.stem, said[:1], "SMSMO", "Stop.")

    def ask(query: str) -> list[tuple[object, ...]]:
        with office.ledger.engine.connect() as db:
            given = {"stem": one.stem, "run_key": one.run_key}
            return sorted(map(tuple, db.execute(text(query), given)), key=repr)

    found = office.ledger.submissions.reconcile(one.stem)
    summary = ask(
        "SELECT sent, delivered, refused, not_delivered, pending, unknown, missing "
        "FROM sms.campaign_summary WHERE run_key = :run_key"
    )
    assert ask(SHOWN) == ask(COUNTED)
    assert ask(RATED) == ask(STOPPED)
    assert found.balanced
    assert office.ledger.runs.summary(one.run_key).outcomes == found
    assert summary == [
        (found.sent, *(getattr(found, outcome) for outcome in OUTCOMES), found.missing)
    ]
    variants = ask(
        "SELECT coalesce(sum(sent), 0), coalesce(sum(delivered), 0) FROM sms.variant_summary "
        "WHERE run_key = :run_key"
    )
    named = ask(
        "SELECT count(*), count(*) FILTER (WHERE outcome = 'delivered') FROM sms.delivery "
        "WHERE stem = :stem AND variant IS NOT NULL"
    )
    assert variants == named


# From the version before -------------------------------------------------------------------------


def _ledger_of(url: str, version: str) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as db:
        db.execute(text("CREATE SCHEMA sms"))
    _upgrade(engine, version)
    return engine


def _upgrade(engine: Engine, version: str) -> None:
    with engine.begin() as db:
        config = _alembic()
        config.attributes["connection"] = db
        command.upgrade(config, version)


def test_old_unreadable_rows_that_may_be_stops_need_review(
    empty_database_url,
):
    engine = _ledger_of(empty_database_url, "0011")
    rows = [
        ("STOP-12345-20260715-1200-spring.csv", "?"),
        ("stop-12345-20260715-1200-spring.csv", "?"),
        ("SMSMO-12345-20260715-1200-spring.csv", "06;arr\u00eat !"),
        ("SMSMO-12345-20260715-1200-summer.csv", "06;S.T.O.P"),
        ("SMSMO-12345-20260715-1200-autumn.csv", "06;merci"),
        ("ACK-12345-20260715-1200-spring.csv", "STOP"),
    ]
    with engine.begin() as db:
        for report, raw in rows:
            db.execute(
                text(
                    "INSERT INTO sms.unreadable_row (report, line, raw, reason, recorded_at) "
                    "VALUES (:report, 1, :raw, 'is odd', now())"
                ),
                {"report": report, "raw": raw.encode()},
            )

    ledger = Ledger.connect(empty_database_url)
    ledger.upgrade()

    assert set(ledger.reports.unseen_stops()) == {report for report, _ in rows[:4]}


def test_rows_of_the_previous_version_are_migrated(empty_database_url):
    engine = _ledger_of(empty_database_url, "0006")
    with engine.begin() as db:
        db.execute(text("DROP ROLE IF EXISTS reader"))
        db.execute(text("CREATE ROLE reader"))
        db.execute(text("GRANT USAGE ON SCHEMA sms TO reader"))
        db.execute(text("GRANT SELECT ON sms.message, sms.delivery TO reader"))
        for statement in BEFORE:
            db.execute(text(statement))
        old = db.execute(text(OLD)).all()
        variants = db.execute(text("SELECT * FROM sms.variant_summary ORDER BY variant")).all()

    ledger = Ledger.connect(empty_database_url)
    ledger.upgrade()

    with engine.begin() as db:
        assert db.execute(text(OLD)).all() == old
        again = db.execute(text("SELECT * FROM sms.variant_summary ORDER BY variant")).all()
        assert again == variants
        countries = db.scalars(text("SELECT country FROM sms.message ORDER BY msisdn")).all()
        assert countries == ["BE", "FR", "FR", "YT", "RE"]
        counts = db.execute(text("SELECT country, outcome, messages FROM sms.outcome_count")).all()
        assert ("RE", "missing", 1) in counts
        assert sum(count for _, _, count in counts) == 5
        receipts = db.scalars(text(RECEIPT_MONTHS)).all()
        assert len(receipts) == 2
        for month in receipts:
            indexes = db.scalars(text(UNIQUE), {"month": month}).all()
            assert indexes == ["submission_id, idremote"], month
        db.execute(text("SET LOCAL ROLE reader"))
        db.execute(text("SELECT count(*) FROM sms.message"))
    with engine.begin() as db:
        db.execute(text("DROP OWNED BY reader"))
        db.execute(text("DROP ROLE reader"))
    assert ledger.submissions.reconcile("SEND-12345-20260715-1200-spring").delivered == 1


RECEIPT_MONTHS = """
SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'sms.receipt'::regclass
"""
UNIQUE = """
SELECT substring(pg_get_indexdef(indexrelid) FROM '\\((.*)\\)') FROM pg_index
WHERE indrelid = CAST(:month AS regclass) AND indisunique
"""


def test_notes_of_erased_rows_are_migrated_without_variants(
    empty_database_url,
):
    engine = _ledger_of(empty_database_url, "0006")
    with engine.begin() as db:
        for statement in BEFORE:
            db.execute(text(statement))
    _upgrade(engine, "0014")
    with engine.begin() as db:
        db.execute(text(NOTED))
        db.execute(text("INSERT INTO sms.stranger VALUES (1, 9, 'x', 1, 6, 'not_delivered')"))
        found = {view: db.execute(text(f"SELECT * FROM sms.{view}")) for view in SUMS}
        asked = [f"SELECT {', '.join(rows.keys())} FROM sms.{view}" for view, rows in found.items()]
        before = [sorted(db.execute(text(each)).all(), key=repr) for each in asked]

    ledger = Ledger.connect(empty_database_url)
    ledger.upgrade()

    with engine.begin() as db:
        assert [sorted(db.execute(text(each)).all(), key=repr) for each in asked] == before
        noted = db.execute(text("SELECT what, number FROM sms.erased ORDER BY what")).all()
        assert noted == [("delivered", 5), ("stranger", 4)]
        assert db.scalars(text("SELECT outcome FROM sms.stranger")).all() == ["not_delivered"]
    assert ledger.submissions.reconcile("SEND-12345-20260715-1200-spring").strangers == 5


NOTED = """
INSERT INTO sms.erased (submission_id, what, variant, number) VALUES
    (1, 'delivered', 'a', 2), (1, 'delivered', 'b', 3), (1, 'segments', 'a', 2),
    (1, 'stopped', 'a', 1), (1, 'stranger', '', 4)
"""
SUMS = ("campaign_summary", "variant_summary", "reconciliation", "delivery", "delivery_summary")
OLD = "SELECT key, msisdn, idremote, outcome, variant, stem FROM sms.delivery ORDER BY msisdn"
BEFORE = (
    "INSERT INTO sms.campaign_run (run_key, campaign, kind, service_id, send_at, slot_reason, "
    "dry_run, planned_at, folder) VALUES ('r', 'spring', 'marketing', '12345', "
    "'2026-07-15 10:00Z', '', false, '2026-07-15 08:00Z', 'runs')",
    "INSERT INTO sms.submission (run_key, stem, part, parts, state, send_at, messages, segments, "
    "submitted_at, report_rows, report_duplicates) VALUES "
    "('r', 'SEND-12345-20260715-1200-spring', 1, 2, 'reported', "
    "'2026-07-15 10:00Z', 4, 4, '2026-07-15 09:00Z', 2, 0), "
    "('r', 'SEND-12345-20261231-2359-spring', 2, 2, 'accepted', "
    "'2026-12-31 23:30Z', 1, 1, '2026-12-31 09:00Z', NULL, NULL)",
    "INSERT INTO sms.message SELECT id, lpad('a' || n, 32, '0'), number, 'key' || n, 1, variant "
    "FROM sms.submission, (VALUES (1, 1, 33639980001, 'a'), (1, 2, 33639980002, 'b'), "
    "(1, 3, 262639000001, NULL), (1, 4, 32470000001, 'b'), (2, 5, 262692000001, 'b')) "
    "AS m (file, n, number, variant) WHERE file = part",
    "INSERT INTO sms.receipt SELECT id, n, lpad('a' || n, 32, '0'), NULL, code, outcome, 't', '3' "
    "FROM sms.submission, (VALUES (1, 3, 'delivered'), (2, 4, 'refused')) AS a (n, code, outcome) "
    "WHERE part = 1",
    "INSERT INTO sms.reply (kind, service_id, campaign_id, report, submission_id, msisdn, "
    "raw_date, raw_hour, message, message_digest, occurrence, recorded_at) "
    "SELECT kind, '12345', 'spring', kind, id, number, '', '', said, '', 1, now() "
    "FROM sms.submission, (VALUES ('STOP', 33639980001, 'STOP'), ('SMSMO', 33639980002, 'Stop !'), "
    "('SMSMO', 32470000001, 'oui')) AS a (kind, number, said) WHERE part = 1",
    "INSERT INTO sms.opt_out VALUES (33639980002, now(), 'reply', "
    "'SEND-12345-20260715-1200-spring', 'Stop !', now())",
)

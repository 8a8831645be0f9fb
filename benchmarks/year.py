"""A year of campaigns in a ledger, and how long analysts wait: `python -m benchmarks.year`.

Every day has three files, as a year of a million messages a day would have, only that each file
holds fewer messages: what the views read of a year (a file's counts) is as much as in a real one.
Prints each question of docs/analysts.md with its time; `--plans` adds PostgreSQL's plans.
"""

import argparse
import time

import psycopg

from benchmarks import people
from demo.postgres import PostgreSQL
from sms.ledger.ledger import Ledger

DAYS, FILES = 365, 3
CAMPAIGNS = ("spring", "sales", "loyalty")

FILL = f"""
INSERT INTO sms.campaign_run (run_key, campaign, kind, service_id, send_at, slot_reason,
    dry_run, planned_at, folder, candidates, audience)
SELECT 'send__' || campaign || '/' || day, campaign, 'marketing', '12345',
    (day::date + time '10:00') AT TIME ZONE 'Europe/Paris', 'as asked', false,
    day, 'runs', %(each)s, %(each)s
FROM generate_series('2026-01-01'::date, '2026-12-31'::date, '1 day') AS day,
    unnest(ARRAY{list(CAMPAIGNS)}) AS campaign
ORDER BY day;

INSERT INTO sms.submission (run_key, stem, part, parts, state, send_at, messages, segments,
    uploaded_at, submitted_at, report_rows, report_duplicates, report_loaded_at)
SELECT run_key, 'SEND-12345-' || to_char(send_at, 'YYYYMMDD') || '-1000-' || campaign, 1, 1,
    'closed', send_at, %(each)s, %(each)s * 3 / 2, send_at, send_at, %(each)s, 0, send_at
FROM sms.campaign_run ORDER BY send_at;
SELECT sms.open_month(day::date)
FROM generate_series('2026-01-01'::date, '2026-12-01', '1 month') AS day;
"""

# One file after another, as uploads and reports come.
FILL_FILE = f"""
INSERT INTO sms.message (submission_id, msisdn, sent_on, segments, country, idremote, key, variant)
SELECT s.id, {people.numbers_sql("(s.id * 7919 + n)").replace("%", "%%")}, s.sent_on, 1 + n %% 2,
    (ARRAY['FR', 'FR', 'FR', 'FR', 'FR', 'FR', 'FR', 'RE', 'BE', 'GP'])[1 + n %% 10],
    CAST(lpad(to_hex(s.id), 16, '0') || lpad(to_hex(n), 16, '0') AS uuid), 'customer-' || n,
    CASE WHEN s.stem LIKE '%%sales' THEN (ARRAY['long', 'short'])[1 + n / 10 %% 2] END
FROM sms.submission s, generate_series(1, %(each)s) AS n
WHERE s.sent_on >= %(day)s AND s.sent_on < %(day)s::date + 7;
INSERT INTO sms.receipt (submission_id, line, sent_on, idstatus, idremote, ackoperator, raw_status)
SELECT m.submission_id, 1, m.sent_on,
    CASE hashint8(m.msisdn) %% 40 WHEN 1 THEN 6 WHEN 2 THEN 4 WHEN 3 THEN 2 ELSE 3 END, m.idremote,
    CAST(m.idremote AS text), '3;delivered'
FROM sms.message m
WHERE m.sent_on >= %(day)s AND m.sent_on < %(day)s::date + 7 AND hashint8(m.msisdn) %% 500 <> 7;
INSERT INTO sms.outcome_count (submission_id, country, variant, segments, outcome, messages)
SELECT m.submission_id, m.country, m.variant, m.segments,
    CASE WHEN a.line IS NULL THEN 'missing' ELSE sms.outcome_of(a.idstatus) END, count(*)
FROM sms.message m LEFT JOIN sms.receipt a
    ON a.submission_id = m.submission_id AND a.idremote = m.idremote AND a.sent_on = m.sent_on
WHERE m.sent_on >= %(day)s AND m.sent_on < %(day)s::date + 7
GROUP BY 1, 2, 3, 4, 5;
INSERT INTO sms.reply (kind, service_id, campaign_id, report, submission_id, msisdn, raw_date,
    raw_hour, message, message_digest, occurrence, recorded_at, asks_to_stop)
SELECT 'STOP', '12345', s.campaign_id, 'STOP', s.id, m.msisdn, '', '', 'STOP', '', 1, s.send_at,
    true
FROM sms.submission s JOIN sms.message m ON m.submission_id = s.id AND m.sent_on = s.sent_on
WHERE s.sent_on >= %(day)s AND s.sent_on < %(day)s::date + 7 AND hashint8(m.msisdn) %% 250 = 3
ON CONFLICT DO NOTHING;
INSERT INTO sms.answer_count
    (submission_id, country, variant, segments, stop_rows, reply_rows, people)
SELECT m.submission_id, m.country, m.variant, m.segments, count(*), 0, count(DISTINCT m.msisdn)
FROM sms.submission s JOIN sms.reply a ON a.submission_id = s.id
JOIN sms.message m ON m.submission_id = s.id AND m.sent_on = s.sent_on AND m.msisdn = a.msisdn
WHERE s.sent_on >= %(day)s AND s.sent_on < %(day)s::date + 7
GROUP BY 1, 2, 3, 4;
"""

QUESTIONS = {
    "a year by campaign and month": """
        SELECT campaign, date_trunc('month', day)::date AS month, sum(sent) AS sent,
            round(sum(delivered) / sum(sent), 4) AS delivery_rate
        FROM sms.delivery_summary
        WHERE day BETWEEN '2026-01-01' AND '2026-12-31'
        GROUP BY 1, 2 ORDER BY 1, 2""",
    "a year by country and length of text": """
        SELECT country, segments, sum(sent) AS sent, sum(delivered) AS delivered, sum(sms) AS sms
        FROM sms.delivery_summary
        WHERE day BETWEEN '2026-01-01' AND '2026-12-31'
        GROUP BY 1, 2 ORDER BY 1, 2""",
    "a year of STOPs, by campaign, variant and length of text": """
        SELECT campaign, variant, segments, round(sum(stops) / sum(sent), 5) AS stop_rate
        FROM sms.stop_rate
        WHERE day BETWEEN '2026-01-01' AND '2026-12-31'
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    "the runs of a campaign": """
        SELECT day, sent, delivered, missing, stops FROM sms.campaign_summary
        WHERE campaign = 'spring' ORDER BY day""",
    "the variants of a campaign": """
        SELECT variant, sum(delivered) / sum(sent) AS rate, sum(stops) AS stops
        FROM sms.variant_summary WHERE campaign = 'sales' GROUP BY 1""",
    "a day's messages that did not arrive": """
        SELECT key, outcome FROM sms.delivery
        WHERE day = '2026-06-15' AND campaign = 'spring' AND outcome = 'not_delivered'""",
    "everything that one person was sent in a year": f"""
        SELECT day, campaign, outcome FROM sms.delivery
        WHERE msisdn = (SELECT {people.numbers_sql("(7919 * 500 + 10)")}) ORDER BY day""",
    "a week's answers": """
        SELECT campaign, country, message, count(*) FROM sms.answer
        WHERE day BETWEEN '2026-06-15' AND '2026-06-21' GROUP BY 1, 2, 3""",
}


def main() -> None:
    """Fill a ledger, ask, and drop a month."""
    asking = argparse.ArgumentParser(prog="python -m benchmarks.year", description=__doc__)
    asking.add_argument("--messages", type=int, default=10_000_000, help="in the whole year")
    asking.add_argument("--plans", action="store_true", help="show the plans, too")
    wished = asking.parse_args()
    with PostgreSQL() as server:
        server.create_database("ledger")
        Ledger.connect(server.url("ledger")).upgrade()
        with server.connect("ledger") as database:
            each = max(1, wished.messages // (DAYS * FILES))
            print(f"{_fill(database, each):.0f} s to fill it; {_sizes(database)}", flush=True)
            for name, question in QUESTIONS.items():
                _ask(database, name, question, wished.plans)
            begun = time.perf_counter()
            database.execute("SELECT sms.drop_months('2026-02-01', now())")
            print(f"{1000 * (time.perf_counter() - begun):.0f} ms  dropping a month")


def _fill(database: psycopg.Connection, each: int) -> float:
    begun = time.perf_counter()
    _all(database, FILL, {"each": each})
    weeks = "SELECT generate_series('2026-01-01'::date, '2026-12-31'::date, '7 days')::date"
    for (day,) in database.execute(weeks).fetchall():
        _all(database, FILL_FILE, {"each": each, "day": day})
    database.execute("VACUUM ANALYZE")
    return time.perf_counter() - begun


def _all(database: psycopg.Connection, script: str, values: dict[str, object]) -> None:
    for statement in script.split(";\n"):
        if statement.strip():
            database.execute(statement, values)


def _sizes(database: psycopg.Connection) -> str:
    rows, size = database.execute(
        "SELECT (SELECT count(*) FROM sms.message), "
        "pg_size_pretty(pg_database_size(current_database()))"
    ).fetchall()[0]
    counts = database.execute("SELECT count(*) FROM sms.outcome_count").fetchall()[0][0]
    return f"{rows} messages, {counts} counts, {size}"


def _ask(database: psycopg.Connection, name: str, question: str, plans: bool) -> None:
    plan = database.execute(f"EXPLAIN (ANALYZE, BUFFERS, SUMMARY) {question}").fetchall()
    begun = time.perf_counter()
    found = database.execute(question).fetchall()
    print(f"{1000 * (time.perf_counter() - begun):.0f} ms  {name}: {len(found)} rows", flush=True)
    if plans:
        print("\n".join(f"    {line}" for (line,) in plan))


if __name__ == "__main__":
    main()

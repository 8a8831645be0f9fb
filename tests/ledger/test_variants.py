"""The outcomes of each variant of a run, as analysts query them."""

from decimal import Decimal

import pyarrow as pa

from sms.wire.names import ReportName
from tests.ledger.codes import CODES

FIRST = 33_639_980_000
WHOSE = ["warm", "warm", "warm", "warm", "short", "short", "short"]
COLUMNS = (
    "variant, sent, segments, delivered, refused, not_delivered, pending, unknown, missing, stops, "
    "delivery_rate, stop_rate"
)


def a_run(office, make_messages):
    """Seven messages at the gateway, four of one variant and three of another; their file."""
    rows = make_messages(len(WHOSE))
    variants = pa.array(WHOSE, pa.large_string())
    return office.submitted(rows.append_column("variant", variants))


def summary(office) -> list[tuple[object, ...]]:
    return office.table(f"SELECT {COLUMNS} FROM sms.variant_summary ORDER BY variant DESC")


def report(office, stem: str, outcomes: dict[int, str]) -> None:
    office.ledger.reports.load_delivery_report(
        stem,
        pa.table(
            {
                "line": pa.array(range(len(outcomes))),
                "idremote": [f"{n:032x}" for n in outcomes],
                "msisdn": pa.array([FIRST + n for n in outcomes]),
                "idstatus": pa.array([CODES[outcome] for outcome in outcomes.values()], pa.int16()),
                "ackoperator": ["a"] * len(outcomes),
                "raw_status": ["3"] * len(outcomes),
            }
        ),
    )


def answered(
    office, kind: str, stem: str, people: list[int], texts: list[str] | None = None
) -> None:
    office.ledger.reports.load_replies(
        ReportName.parse(f"{stem.replace('SEND', kind)}.csv"),
        pa.table(
            {
                "msisdn": pa.array([FIRST + n for n in people], pa.int64()),
                "raw_date": ["20260715"] * len(people),
                "raw_hour": [f"12{n:02}" for n in range(len(people))],
                "replied_at": pa.array([None] * len(people), pa.timestamp("us", tz="UTC")),
                "message": texts or ["STOP"] * len(people),
                "idremote": [None] * len(people),
                "occurrence": pa.array([1] * len(people), pa.int32()),
            }
        ),
    )


def opted_out(office, people: list[int], source: str, stem: str | None) -> None:
    rows = {
        "msisdn": pa.array([FIRST + n for n in people], pa.int64()),
        "opted_out_at": pa.array([None] * len(people), pa.timestamp("us", tz="UTC")),
        "message": ["stop"] * len(people),
    }
    office.ledger.stop_list.add(pa.table(rows), source=source, stem=stem)


def test_a_variants_outcomes_and_stops_are_counted(office, make_messages):
    one = a_run(office, make_messages)
    assert summary(office) == [
        ("warm", 4, 6, 0, 0, 0, 0, 0, 4, 0, None, 0),
        ("short", 3, 4, 0, 0, 0, 0, 0, 3, 0, None, 0),
    ]

    outcomes = ["delivered", "delivered", "refused", "unknown", "not_delivered", "pending"]
    report(office, one.stem, dict(enumerate(outcomes)))
    answered(office, "STOP", one.stem, [0, 0, 4])  # twice by one person

    assert summary(office) == [
        ("warm", 4, 6, 2, 1, 0, 0, 1, 0, 1, Decimal("0.500000"), Decimal("0.250000")),
        ("short", 3, 4, 0, 0, 1, 1, 0, 1, 1, Decimal("0.000000"), Decimal("0.333333")),
    ]
    [(campaign, run_key, send_at)] = office.table(
        "SELECT DISTINCT campaign, run_key, send_at FROM sms.variant_summary"
    )
    assert (campaign, run_key, send_at) == ("spring", one.run_key, one.send_at)


def test_a_stop_counts_only_for_the_answered_run(office, make_messages):
    one = a_run(office, make_messages)
    answered(office, "STOP", one.stem, [0])
    opted_out(office, [0], "stop_report", one.stem)
    opted_out(office, [1], "reply", one.stem)
    answered(office, "SMSMO", one.stem, [0, 1, 2], ["Stop.", "Arrêter !", "Merci"])
    opted_out(office, [4], "import", None)
    opted_out(office, [5], "reply", "SEND-12345-20260715-1200-another")

    assert [row[9] for row in summary(office)] == [2, 0]


def test_the_row_of_each_message_names_its_variant(office, make_messages):
    a_run(office, make_messages)

    rows = office.table("SELECT key, variant FROM sms.delivery ORDER BY key")

    assert rows == [(f"customer {n}", variant) for n, variant in enumerate(WHOSE)]


def test_unsent_files_and_runs_without_variants_count_nowhere(office, make_messages):
    office.submitted(make_messages(2))
    office.intended(make_messages(3).append_column("variant", pa.array(["a", "b", "b"])))

    assert summary(office) == []
    assert office.table("SELECT DISTINCT variant FROM sms.delivery") == [(None,)]
    known = office.table("SELECT variant, count(*) FROM sms.message GROUP BY 1 ORDER BY 1")
    assert known == [("a", 1), ("b", 2), (None, 2)]


def test_runs_of_a_campaign_are_counted_separately(office, make_messages):
    first, second = (a_run(office, make_messages) for _ in range(2))
    report(office, second.stem, {0: "delivered"})
    answered(office, "STOP", second.stem, [5])

    rows = office.table(
        "SELECT run_key, variant, delivered, stops FROM sms.variant_summary ORDER BY 1, 2"
    )

    assert rows == [
        (first.run_key, "short", 0, 0),
        (first.run_key, "warm", 0, 0),
        (second.run_key, "short", 0, 1),
        (second.run_key, "warm", 1, 0),
    ]

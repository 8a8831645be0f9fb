"""The sample campaigns are valid, and the sample warehouse answers their queries."""

from collections import Counter
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from jinja2 import Template

from demo import warehouse
from sms.campaign.definition import Kind, load, load_all
from sms.telecom.msisdn import normalise

CAMPAIGNS = Path(__file__).parents[2] / "include" / "campaigns"


@pytest.fixture
def database(empty_database_url):
    with psycopg.connect(empty_database_url.replace("+psycopg", ""), autocommit=True) as opened:
        yield opened


def answer(database, name):
    """The rows that a sample campaign's query returns."""
    cursor = database.execute(load(CAMPAIGNS / name).sql)
    columns = [column.name for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


def fingerprint(database):
    tables = ("store", "customer", "sms_opt_out", "orders", "parcel")
    rows = "SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM shop.{} AS t"
    return [database.execute(rows.format(table)).fetchone() for table in tables]


def test_the_samples_are_daily_marketing_and_manual_transactional():
    campaigns, broken = load_all(CAMPAIGNS)

    assert broken == []
    kinds = {campaign.name: (campaign.kind, campaign.schedule) for campaign in campaigns}
    assert kinds["parcel_ready"] == (Kind.TRANSACTIONAL, None)
    assert kinds["spring_sale"] == (Kind.MARKETING, "30 8 * * 1-6")


def test_only_another_seed_changes_the_sample_data(database):
    filled = warehouse.fill(database, customers=500)
    once = fingerprint(database)

    assert warehouse.fill(database, customers=500) == filled
    assert fingerprint(database) == once
    warehouse.fill(database, customers=500, seed=1)
    assert fingerprint(database) != once


def test_the_reported_counts_match_the_tables(database):
    filled = warehouse.fill(database, customers=1000)

    for table, rows in filled.rows.items():
        assert database.execute(f"SELECT count(*) FROM shop.{table}").fetchone() == (rows,)
    assert sum(filled.customers.values()) == filled.rows["customer"] == 1000
    assert "1,000 customer" in str(filled)


def test_every_good_number_is_from_the_fictional_block(database):
    warehouse.fill(database)
    phones = [row[0] for row in database.execute("SELECT phone FROM shop.customer")]

    numbers = normalise(pa.array(phones, pa.large_string()))

    french = [
        int(n)
        for n, country in zip(numbers.msisdn, numbers.country, strict=True)
        if n and str(country) == "FR"
    ]
    assert len(french) > 4000
    assert all(33_639_980_000 <= number <= 33_639_989_999 for number in french)


def test_the_spring_sale_has_recipients_and_every_oddity(database):
    filled = warehouse.fill(database)
    rows = answer(database, "spring_sale")

    numbers = normalise(pa.array([row["msisdn"] for row in rows], pa.large_string()))
    seen, audience = set(), 0
    for row, number, country in zip(rows, numbers.msisdn, numbers.country, strict=True):
        good = number and str(country) == "FR" and number not in seen and not row["opted_out"]
        audience += bool(good and None not in row.values())
        seen.add(number)
    assert len(rows) == 5000
    assert 0.70 <= audience / len(rows) <= 0.85
    assert set(filled.customers) == {"ordinary", *warehouse.SHARES}
    reasons = Counter(str(reason) for reason in numbers.reason)
    assert {"missing_msisdn", "malformed_msisdn", "float_msisdn", "landline"} <= set(reasons)
    assert sum(row["opted_out"] for row in rows) == filled.customers["opted out"]


@pytest.mark.parametrize(
    ("name", "mention"), [("spring_sale", " STOP 36180"), ("parcel_ready", "")]
)
def test_nearly_every_sample_text_fits_one_sms(database, name, mention):
    warehouse.fill(database)
    rows = answer(database, name)
    template = Template(load(CAMPAIGNS / name).text)

    texts = [template.render(row) + mention for row in rows if None not in row.values()]

    assert len(texts) > 300
    too_long = sum(len(text) > 160 for text in texts)
    assert 0 < too_long < len(texts) / 100


def test_each_customer_gets_one_parcel_message(database):
    warehouse.fill(database)
    campaign = load(CAMPAIGNS / "parcel_ready")

    rows = answer(database, "parcel_ready")

    assert len({row[campaign.key] for row in rows}) == len(rows)
    assert campaign.msisdn in rows[0]


def test_an_existing_foreign_shop_schema_is_left_alone(database):
    database.execute("CREATE SCHEMA shop; CREATE TABLE shop.mine (id int)")

    with pytest.raises(RuntimeError, match="choose another database"):
        warehouse.fill(database)

    assert database.execute("SELECT count(*) FROM shop.mine").fetchone() == (0,)


def test_more_customers_than_the_block_has_numbers_are_refused(database):
    with pytest.raises(ValueError, match="10000"):
        warehouse.fill(database, customers=10_001)


def test_the_command_fills_a_database_by_its_url(empty_database_url, capsys):
    assert warehouse.main([empty_database_url]) == 0
    assert "5,000 customer" in capsys.readouterr().out
    assert warehouse.main([]) == 2

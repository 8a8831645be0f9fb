"""The schema: what the migrations create, and what the database refuses."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from sms.errors import ConfigurationError, LedgerBusy, LedgerError, LedgerUnreachable
from sms.ledger.ledger import Ledger
from sms.ledger.tables import metadata

VIEWS = {
    *("answer", "campaign_summary", "delivery", "delivery_summary", "quarantine"),
    *("reconciliation", "stop_list", "stop_rate", "unmatched_report", "variant_summary"),
}


@pytest.fixture
def db(ledger: Ledger) -> Iterator[Connection]:
    with ledger.engine.connect() as connection:
        yield connection


def test_the_migrations_create_exactly_the_tables_in_code(db):
    context = MigrationContext.configure(
        db,
        opts={
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == "sms",
            "version_table_schema": "sms",
            "compare_type": True,
        },
    )

    assert compare_metadata(context, metadata) == []


def test_every_constraint_in_the_code_is_in_the_database(db):
    inspector = inspect(db)
    for table in metadata.sorted_tables:
        present = {check["name"] for check in inspector.get_check_constraints(table.name, "sms")}
        wanted = {
            one.name
            for one in table.constraints
            if one.__visit_name__ in ("check_constraint", "table_or_column_check_constraint")
        }
        assert present == wanted, table.name


def test_only_the_schema_sms_is_changed(empty_database_url):
    engine = create_engine(empty_database_url, poolclass=NullPool)
    with engine.begin() as db:  # as Airflow's own metadata would have it
        db.execute(text("CREATE TABLE public.alembic_version (version_num text)"))
        db.execute(text("INSERT INTO public.alembic_version VALUES ('airflow')"))

    Ledger.connect(empty_database_url).upgrade()

    with engine.connect() as db:
        assert db.scalar(text("SELECT version_num FROM public.alembic_version")) == "airflow"
        assert inspect(db).get_table_names("public") == ["alembic_version"]
        assert "alembic_version" in inspect(db).get_table_names("sms")


def test_concurrent_upgrades_create_one_schema(empty_database_url):
    ledgers = [Ledger.connect(empty_database_url) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Ledger.upgrade, ledgers))

    ledgers[0].require_current()


def test_an_upgrade_works_from_anywhere(empty_database_url, tmp_path, monkeypatch):
    elsewhere = tmp_path / "a folder with a space and 100%"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    Ledger.connect(empty_database_url).upgrade()

    Ledger.connect(empty_database_url).require_current()
    assert os.listdir(elsewhere) == []


def test_an_upgrade_works_without_the_right_to_create_schemas(postgres, empty_database_url):
    engine = create_engine(empty_database_url, poolclass=NullPool)
    with engine.begin() as db:
        db.execute(text("CREATE ROLE keeper LOGIN"))
        db.execute(text("CREATE SCHEMA sms AUTHORIZATION keeper"))

    Ledger.connect(empty_database_url.replace("postgres@", "keeper@")).upgrade()

    Ledger.connect(empty_database_url.replace("postgres@", "keeper@")).require_current()


def test_a_ledger_without_schema_is_reported_with_advice(empty_database_url):
    ledger = Ledger.connect(empty_database_url)

    with pytest.raises(LedgerError, match=r"schema version none.*upgrade the ledger"):
        ledger.require_current()
    with pytest.raises(LedgerError, match="lacks the tables of this version: upgrade it"):
        ledger.stop_list.size()


@pytest.mark.parametrize(
    ("sqlstate", "kind", "retryable"),
    [
        pytest.param("08006", LedgerUnreachable, True, id="the connection failed"),
        pytest.param("57P01", LedgerUnreachable, True, id="the server is stopped"),
        pytest.param("25P03", LedgerUnreachable, True, id="a connection that idled for too long"),
        pytest.param("53300", LedgerUnreachable, True, id="too many connections"),
        pytest.param("40P01", LedgerUnreachable, True, id="a deadlock"),
        pytest.param("55P03", LedgerUnreachable, True, id="a lock that is not to be had"),
        pytest.param("53100", LedgerBusy, True, id="the disk is full"),
        pytest.param("57014", LedgerBusy, True, id="it took too long"),
        pytest.param("54000", LedgerError, False, id="a value that is too long"),
    ],
)
def test_only_connection_errors_mean_an_unreachable_ledger(ledger, sqlstate, kind, retryable):
    raised = f"DO $$ BEGIN RAISE 'of +33639980001' USING ERRCODE = '{sqlstate}'; END $$"

    with pytest.raises(LedgerError) as error, ledger._database.transaction() as tx:
        tx.db.execute(text(raised))

    assert (type(error.value), error.value.retryable) == (kind, retryable)
    if kind is not LedgerUnreachable:
        assert f"({sqlstate})" in str(error.value)
        assert "33639980001" not in str(error.value)


def test_an_unreachable_ledger_may_be_retried():
    ledger = Ledger.connect("postgresql://nobody@127.0.0.1:1/ledger")

    for call in (ledger.stop_list.size, ledger.require_current, ledger.upgrade):
        with pytest.raises(
            LedgerUnreachable, match=r"the ledger 'ledger' at 127\.0\.0\.1"
        ) as error:
            call()
        assert error.value.retryable


@pytest.mark.parametrize("url", ["sqlite:///ledger.db", "mysql://a@b/c", "no url at all"])
def test_only_postgresql_is_a_ledger(url):
    with pytest.raises(ConfigurationError, match=r"postgresql|PostgreSQL"):
        Ledger.connect(url)


def test_the_urls_of_airflow_are_understood(ledger_url):
    for driver in ("postgresql", "postgresql+psycopg2"):
        url = ledger_url.replace("postgresql+psycopg", driver)
        Ledger.connect(url).require_current()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sms.opt_out",
        "TRUNCATE sms.opt_out",
        "UPDATE sms.opt_out SET msisdn = 1",
        "DELETE FROM sms.event",
        "UPDATE sms.event SET actor = 'nobody'",
        "TRUNCATE sms.event",
    ],
)
def test_opt_outs_and_events_cannot_be_changed_or_deleted(db, statement):
    db.execute(
        text("INSERT INTO sms.opt_out VALUES (33639980000, now(), 'import', null, null, now())")
    )
    db.execute(text("INSERT INTO sms.event (at, actor) VALUES (now(), 'test')"))

    with pytest.raises(IntegrityError, match="is refused"):
        db.execute(text(statement))


def test_every_view_and_each_of_its_columns_is_explained(db):
    unexplained = db.execute(
        text(
            """
            SELECT c.relname, a.attname FROM pg_class c
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 OR a.attnum IS NULL
            WHERE c.relnamespace = 'sms'::regnamespace AND c.relkind = 'v'
                AND (col_description(c.oid, a.attnum) IS NULL
                    OR obj_description(c.oid, 'pg_class') IS NULL)
            """
        )
    ).all()

    assert unexplained == []
    assert set(inspect(db).get_view_names("sms")) == VIEWS


def test_the_migrations_travel_with_the_package():
    import sms.ledger.migrations as migrations

    folder = Path(migrations.__file__).parent
    assert (folder / "env.py").exists()
    assert list((folder / "versions").glob("r0001_*.sql"))

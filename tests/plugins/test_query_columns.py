"""The columns of a query, from a warehouse that does not run it."""

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from airflow.models.connection import Connection as InDatabase
from airflow.sdk import BaseHook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.warehouse import fill
from sms.campaign.definition import load_all
from sms.columnar import kinds
from sms.columnar.values import ValueKind
from sms.errors import BadCampaign, ConfigurationError, WarehouseUnreachable
from sms.run import query_checks
from sms.run.query_columns import QueryColumn
from sms_airflow import query_columns, sql_text, wiring
from tests.airflow_home import ROOT
from tests.plugins.conftest import WHERE, Connect, Warehouse
from tests.plugins.databases import Connection, Sqlite, of


def columns(sql: str) -> list[QueryColumn]:
    return wiring.columns("warehouse", sql, WHERE)


def fault(sql: str) -> tuple[int | None, str]:
    """What is said of a query, and the line."""
    with pytest.raises(BadCampaign) as raised:
        columns(sql)
    assert raised.value.path == WHERE
    return raised.value.line, raised.value.problem


@pytest.fixture
def people(warehouse: Warehouse) -> Warehouse:
    """A warehouse of one person, who is 1."""
    warehouse.execute(
        "CREATE TABLE people AS SELECT 1 AS id, 'Zoé' AS first_name, true AS vip",
        "CREATE SEQUENCE numbers",
    )
    return warehouse


# --- What is returned ---------------------------------------------------------------------------


def test_columns_come_with_the_warehouses_types_and_our_kinds(people: Warehouse) -> None:
    people.execute(
        "CREATE TYPE mood AS ENUM ('glad')", "CREATE DOMAIN points AS numeric CHECK (VALUE >= 0)"
    )
    sql = """\
    SELECT id, first_name, vip, 1::bigint AS b, 1.5 AS n, 1::float4 AS f, now() AS t,
           current_date AS d, 'glad'::mood AS m, 3::points AS p, array[1] AS a, NULL AS nothing,
           'x'::char(3) AS c, '{}'::jsonb AS j
    FROM people; -- all of them"""

    assert columns(sql) == [
        QueryColumn("id", "integer", ValueKind.INTEGER),
        QueryColumn("first_name", "text", ValueKind.TEXT),
        QueryColumn("vip", "boolean", ValueKind.BOOLEAN),
        QueryColumn("b", "bigint", ValueKind.INTEGER),
        QueryColumn("n", "numeric", ValueKind.DECIMAL),
        QueryColumn("f", "real", ValueKind.FLOAT),
        QueryColumn("t", "timestamp with time zone", ValueKind.TIMESTAMP),
        QueryColumn("d", "date", ValueKind.DATE),
        QueryColumn("m", "mood", ValueKind.TEXT),
        QueryColumn("p", "numeric", ValueKind.DECIMAL),
        QueryColumn("a", "integer[]", ValueKind.OTHER),
        QueryColumn("nothing", "text", ValueKind.TEXT),
        QueryColumn("c", "character", ValueKind.TEXT),
        QueryColumn("j", "jsonb", ValueKind.TEXT),
    ]
    people.require_released()


def test_kinds_match_those_of_the_rows(people: Warehouse) -> None:
    sql = "SELECT *, 1.5 AS n, 1::float8 AS f, now() AS t, array[1] AS a FROM people"

    read = list(people.batches(sql))[-1].schema

    assert {each.name: each.kind for each in columns(sql)} == kinds.of_schema(read)


def test_names_are_folded_as_those_of_rows_are(people: Warehouse) -> None:
    assert [each.name for each in columns('SELECT 1 AS "KEY", 2 AS "N1"')] == ["key", "n1"]


def test_a_connection_with_dictionary_rows_is_supported(
    people: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])
    where["extra"] = {"cursor": "dictcursor"}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(where))

    assert columns("SELECT id FROM people") == [QueryColumn("id", "integer", ValueKind.INTEGER)]


def test_a_connection_of_airflows_database_works_like_a_variable(
    people: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    with people.connect() as known:
        host = known.info.host
    kept = {
        "warehouse": {"conn_type": "postgres", "host": host, "login": "postgres"},
        "elsewhere": {"conn_type": "snowflake", "host": "x"},
    }

    def get_connection(conn_id: str) -> InDatabase:
        return InDatabase(conn_id=conn_id, schema=people.name, **kept[conn_id])

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(get_connection))

    assert columns("SELECT id FROM people") == [QueryColumn("id", "integer", ValueKind.INTEGER)]
    with pytest.raises(ConfigurationError, match="install apache-airflow-providers-snowflake"):
        wiring.columns("elsewhere", "SELECT 1", WHERE)


QUERIES = {
    "a sleep in the list": "SELECT pg_sleep(1000)::text AS id FROM people",
    "a sleep in FROM": "SELECT id FROM people, pg_sleep(1000)",
    "a sleep in WHERE": "SELECT id FROM people WHERE pg_sleep(1000) IS NULL",
    "a sleep in a CTE": "WITH s AS MATERIALIZED (SELECT pg_sleep(1000)) SELECT 1 AS id FROM s",
    "a sorted endless one": "SELECT n AS id FROM generate_series(1, 1e15::bigint) n ORDER BY -n",
    "a fault of a row": "SELECT 1 / (id - 1) AS id FROM people",
    "a sequence": "SELECT nextval('numbers') AS id",
    "brackets": "(SELECT 1 AS id)",
    "a percent sign": "SELECT '%s %(x)s' AS id WHERE 'a' LIKE '%'",
    "VALUES": "VALUES (1)",
}


@pytest.mark.parametrize("sql", QUERIES.values(), ids=QUERIES.keys())
def test_a_query_is_not_run(people: Warehouse, sql: str) -> None:
    assert len(columns(sql)) == 1

    assert people.rows("SELECT is_called AS c FROM numbers") == [{"c": "false"}]
    people.require_released()


# --- What is wrong ------------------------------------------------------------------------------


def test_a_wrong_name_is_reported_with_line_and_suggestion(people: Warehouse) -> None:
    assert fault("SELECT id,\n       firstname\nFROM people") == (
        2,
        'the warehouse warehouse says: column "firstname" does not exist (Perhaps you meant to '
        'reference the column "people.first_name".)',
    )
    assert fault("SELECT id\nFROM nothing_like_this") == (
        2,
        'the warehouse warehouse says: relation "nothing_like_this" does not exist',
    )
    people.require_released()


def test_a_syntax_error_is_reported_with_its_line(people: Warehouse) -> None:
    said = "the warehouse warehouse says: syntax error at or near"

    assert fault("SELECT id\n-- Zoé 😀\nFORM people") == (3, f'{said} "people"')
    assert fault("SELECT id,\nFROM people") == (2, f'{said} "FROM"')
    assert fault("SELECT id FROM people WHERE id = '1")[1].startswith(
        "the warehouse warehouse says: unterminated quoted string"
    )


def test_jinja_in_a_query_is_reported_as_sent_unchanged(people: Warehouse) -> None:
    line, said = fault("SELECT id\nFROM people\nWHERE id = {{ params.id }}")

    assert line == 3
    assert said == (
        'the warehouse warehouse says: syntax error at or near "{" (the query is sent '
        "unchanged, without Jinja: use SQL instead, such as current_date)"
    )


FILLERS = st.sampled_from(["-- é", "/* 😀 */", "'it''s; é' AS a,", "1 AS b,", "$$\n;$$ AS c,", ""])


@given(st.lists(FILLERS, max_size=6), st.lists(FILLERS, max_size=3))
@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_line_number_is_right_after_any_prefix(
    people: Warehouse, before: list[str], after: list[str]
) -> None:
    sql = "\n".join(["SELECT", *before, "nobodys_column,", *after, "2 AS z"])

    line, said = fault(sql)

    assert sql.split("\n")[(line or 0) - 1] == "nobodys_column,"
    assert said.endswith('column "nobodys_column" does not exist')


def test_a_missing_privilege_is_reported(people: Warehouse, connect: Connect) -> None:
    role = f"poor_{people.name}"
    people.execute(f"CREATE ROLE {role} LOGIN")
    with people.connect() as known:
        connect("postgres", host=known.info.host, login=role, schema=people.name)

    assert fault("SELECT id FROM people") == (
        None,
        "the warehouse warehouse says: permission denied for table people",
    )


def test_a_value_in_the_query_is_not_repeated(people: Warehouse) -> None:
    line, said = fault("SELECT\n'0639980001x'::integer AS n")

    assert line == 2
    assert said == "the warehouse warehouse says: invalid input syntax for type integer: …"


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        (
            "WITH gone AS (DELETE FROM people RETURNING id) SELECT id FROM gone",
            "must be one SELECT, or a WITH that ends in one, and it would write (DELETE)",
        ),
        ("INSERT INTO people VALUES (2) RETURNING id", 'syntax error at or near "INSERT"'),
        ("SELECT id INTO others FROM people", "SELECT ... INTO is not allowed here"),
        ("SELECT 1 AS n; DROP TABLE people", "has more than one statement"),
        ("SELECT 1 AS n; COMMIT; DROP TABLE people", "has more than one statement"),
        ("SELECT 1 AS id, 2 AS x, 3 AS id", "more than one column named id: name each once"),
        ("SELECT", "returned no rows at all: it must be a SELECT"),
        (";", "syntax error at end of input"),
    ],
)
def test_other_statements_than_select_are_refused_without_writing(
    people: Warehouse, sql: str, said: str
) -> None:
    assert said in fault(sql)[1]

    assert people.rows("SELECT id FROM people") == [{"id": "1"}]
    people.require_released()


def test_the_server_itself_takes_one_statement_alone(
    people: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_text, "statement", lambda sql, where: sql)

    assert "cannot insert multiple commands" in fault("SELECT 1 AS n; COMMIT; DROP TABLE people")[1]

    assert people.rows("SELECT id FROM people") == [{"id": "1"}]


def test_a_function_cannot_write_while_a_query_is_planned(people: Warehouse) -> None:
    people.execute(
        "CREATE FUNCTION one() RETURNS integer IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN DELETE FROM people; RETURN 1; END $$"
    )

    assert fault("SELECT one() AS id")[1].startswith("the warehouse warehouse says: ")

    assert people.rows("SELECT id FROM people") == [{"id": "1"}]


def test_a_locked_table_ends_in_a_timeout(
    people: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_columns, "SECONDS", 0.2)
    with people.connect() as other, other.transaction():
        other.execute("LOCK TABLE people")

        line, said = fault("SELECT id FROM people")

    assert line is None
    assert said.startswith("the warehouse warehouse did not return the query's columns within 0.2")


def test_an_unreachable_warehouse_is_reported(connect: Connect) -> None:
    connect("postgres", host="/nowhere/at/all", login="postgres", schema="none")

    with pytest.raises(WarehouseUnreachable, match="the warehouse warehouse can't be reached"):
        columns("SELECT 1 AS n")


def test_an_unknown_driver_option_is_the_connections_fault(connect: Connect) -> None:
    connect("postgres", host="/nowhere", login="postgres", extra={"no_such_option": "x"})

    with pytest.raises(WarehouseUnreachable, match="no_such_option"):
        columns("SELECT 1 AS n")


# --- Other drivers ------------------------------------------------------------------------------


def asked(hook: Any, sql: str) -> list[QueryColumn]:
    return query_columns.of(hook, sql, conn_id="warehouse", where=WHERE)


def test_psycopg2_is_asked_by_the_same_statements(people: Warehouse) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    with people.connect() as known:
        dsn = {"host": known.info.host, "user": "postgres", "dbname": known.info.dbname}

    class Hook:
        def get_conn(self) -> Any:
            return psycopg2.connect(**dsn)

    assert asked(Hook(), "SELECT id, pg_sleep(1000) AS s FROM people;") == [
        QueryColumn("id", "integer", ValueKind.INTEGER),
        QueryColumn("s", "void", ValueKind.TEXT),
    ]
    with pytest.raises(BadCampaign, match=r"recipients\.sql, line 2: .* \"nobodys\" does not"):
        asked(Hook(), "SELECT id,\nnobodys FROM people")
    with pytest.raises(BadCampaign, match="has more than one statement"):
        asked(Hook(), "SELECT 1 AS n; COMMIT; DROP TABLE people")
    assert people.rows("SELECT id FROM people") == [{"id": "1"}]
    people.require_released()


@pytest.fixture
def file(tmp_path: Path) -> Sqlite:
    """A SQLite file with a table."""
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (key TEXT, points)")
    database.close()
    return Sqlite(path)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


def test_sqlite_gives_names_without_types(file: Sqlite) -> None:
    assert asked(file, "SELECT key, points FROM people; -- all") == [
        QueryColumn("key"),
        QueryColumn("points"),
    ]
    assert asked(file, ENDLESS) == [QueryColumn("i")]
    with pytest.raises(BadCampaign, match="says: no such column: nobodys"):
        asked(file, "SELECT nobodys FROM people")
    with pytest.raises(BadCampaign, match="must be one SELECT"):
        asked(file, "DELETE FROM people")
    with pytest.raises(WarehouseUnreachable, match="unable to open"):
        asked(Sqlite(file.path.parent / "nowhere" / "people.db"), "SELECT 1 AS key")


def test_an_unknown_driver_gets_a_query_without_rows() -> None:
    connection = of("snowflake.connector", Connection)()

    assert asked(connection, "SELECT ';' AS key,\n 1 AS name; -- one\n;") == [
        QueryColumn("key"),
        QueryColumn("name"),
    ]

    [cursor] = connection.cursors
    assert cursor.executed == [
        "SELECT * FROM (SELECT ';' AS key,\n 1 AS name -- one\n\n) sms_check WHERE 1 = 0"
    ]
    assert connection.closed


@pytest.mark.parametrize("sql", ["DROP TABLE people", "SELECT 1; SELECT 2", "SELECT 1 INTO people"])
def test_an_unknown_driver_gets_only_selects(sql: str) -> None:
    connection = of("snowflake.connector", Connection)()

    with pytest.raises(BadCampaign, match="one SELECT, or a WITH"):
        asked(connection, sql)

    assert connection.cursors == []
    assert connection.closed


def test_mysql_and_sqlite_are_asked_read_only() -> None:
    connection = of("MySQLdb.connections", Connection)()

    asked(connection, "SELECT 1")

    assert connection.cursors[0].executed == ["SET SESSION TRANSACTION READ ONLY"]


def test_an_unknown_drivers_error_shows_the_query_sent() -> None:
    error = of("snowflake.errors", type("ProgrammingError", (_DatabaseError,), {}))
    connection = of("snowflake.connector", Connection)(error("syntax error line 3 at FORM"))

    with pytest.raises(BadCampaign) as raised:
        asked(connection, "SELECT 1")

    assert raised.value.problem == (
        "the warehouse warehouse says: syntax error line 3 at FORM (sent as SELECT * FROM (...) "
        "sms_check WHERE 1 = 0)"
    )
    assert connection.closed


class _DatabaseError(Exception):
    pass


_DatabaseError.__name__ = "DatabaseError"


# --- The product's own campaigns ----------------------------------------------------------------


def test_the_sample_campaigns_fit_the_sample_warehouse(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        fill(connection, customers=10)
    found, broken = load_all(ROOT / "include" / "campaigns")
    assert found
    assert not broken

    for each in found:
        known = wiring.columns("warehouse", each.sql, str(each.sql_path))

        assert [*query_checks.faults(each, known), *query_checks.notes(each, known)] == []
        assert all(column.kind for column in known)

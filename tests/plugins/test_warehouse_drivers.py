"""Every other warehouse: real SQLite, and small doubles of drivers that need a server."""

import importlib
import sqlite3
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from sms.errors import SourceError, WarehouseUnreachable
from sms_airflow import sql_text, warehouse, wiring
from tests.plugins.conftest import WHERE
from tests.plugins.databases import Connection, Cursor, Sqlite, of

# --- SQLite -------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A SQLite file with a few people."""
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE people (key TEXT, points, born)")
        database.executemany(
            "INSERT INTO people VALUES (?, ?, ?)",
            [("a", 3, "2026-07-15"), ("b", 2.5, None), ("", None, b"Zo\xc3\xa9")],
        )
    database.close()
    return path


def read(hook: Any, sql: str) -> list[dict[str, str | None]]:
    batches = warehouse.rows(hook, sql, conn_id="warehouse", where=WHERE)
    return [row for batch in batches for row in batch.to_pylist()]


def test_sqlite_gives_its_rows_as_text(file: Path) -> None:
    assert read(Sqlite(file), "SELECT key, points, born FROM people; -- all") == [
        {"key": "a", "points": "3", "born": "2026-07-15"},
        {"key": "b", "points": "2.5", "born": None},
        {"key": "", "points": None, "born": "Zoé"},
    ]


def test_sqlite_streams(file: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    stream = warehouse.rows(Sqlite(file), endless, conn_id="warehouse", where=WHERE)

    assert next(stream).num_rows == next(stream).num_rows == warehouse.ROWS_AT_A_TIME
    stream.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("sql", ["DELETE FROM people", "DROP TABLE people", "-- nothing"])
def test_sqlite_is_never_written_to(file: Path, sql: str) -> None:
    with pytest.raises(SourceError, match=r"^spring_sale/recipients\.sql"):
        read(Sqlite(file), sql)

    assert len(read(Sqlite(file), "SELECT key FROM people")) == 3


def test_only_a_missing_sqlite_file_is_retried(file: Path) -> None:
    with pytest.raises(SourceError, match="says: no such table: others") as raised:
        read(Sqlite(file), "SELECT * FROM others")
    assert not raised.value.retryable

    with pytest.raises(WarehouseUnreachable, match="unable to open"):
        read(Sqlite(file.parent / "nowhere" / "people.db"), "SELECT 1 AS key")


def test_row_numbers_continue_over_batches(file: Path) -> None:
    sql = """\
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 30000)
    SELECT CASE i WHEN 25000 THEN x'e9' ELSE i END AS key FROM n"""

    with pytest.raises(SourceError, match="first in row 25000:"):
        read(Sqlite(file), sql)


# --- Drivers whose server we have not got -------------------------------------------------------


class SSCursor(Cursor):
    """What MySQLdb and pymysql call their streaming cursor."""


@pytest.mark.parametrize(
    ("module", "streams"),
    [
        ("MySQLdb.connections", lambda cursor: isinstance(cursor, SSCursor)),
        ("pymysql.connections", lambda cursor: isinstance(cursor, SSCursor)),
        ("mysql.connector.connection_cext", lambda cursor: cursor.options["buffered"] is False),
        ("oracledb.connection", lambda cursor: cursor.arraysize == warehouse.ROWS_AT_A_TIME),
        ("snowflake.connector", lambda cursor: cursor.arraysize == warehouse.ROWS_AT_A_TIME),
    ],
)
def test_each_driver_uses_its_streaming_cursor(
    module: str, streams: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cursors = types.SimpleNamespace(SSCursor=SSCursor)
    for package in ("MySQLdb", "pymysql"):
        monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
        monkeypatch.setitem(sys.modules, f"{package}.cursors", cursors)
    connection = of(module, Connection)()

    assert read(connection, "SELECT %") == [
        {"key": "a", "name": "Zoé"},
        {"key": "b", "name": None},
    ]
    assert streams(connection.cursors[-1])
    assert connection.cursors[-1].executed == ["SELECT %"]
    assert connection.closed


@pytest.mark.parametrize("module", ["MySQLdb.connections", "mysql.connector.connection"])
def test_mysql_transactions_are_read_only(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MySQLdb", types.ModuleType("MySQLdb"))
    monkeypatch.setitem(
        sys.modules,
        "MySQLdb.cursors",
        types.SimpleNamespace(SSCursor=SSCursor),  # type: ignore[arg-type]
    )
    connection = of(module, Connection)()

    read(connection, "SELECT 1")

    assert connection.cursors[0].executed == ["SET SESSION TRANSACTION READ ONLY"]


def test_snowflakes_names_come_in_lower_case() -> None:
    class Upper(Connection):
        names = ("KEY", "FIRST_NAME")

    assert read(Upper(), "SELECT 1")[0] == {"key": "a", "first_name": "Zoé"}


def test_an_answer_without_columns_is_no_select() -> None:
    class Silent(Connection):
        names = ()

    connection = Silent()
    with pytest.raises(SourceError, match="returned no rows at all: it must be a SELECT"):
        read(connection, "SELECT something()")
    assert connection.closed


class DatabaseError(Exception):
    """PEP 249's."""

    def __init__(self, *args: Any, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


class OperationalError(DatabaseError):
    """PEP 249's."""


class ProgrammingError(DatabaseError):
    """PEP 249's."""


class InterfaceError(DatabaseError):
    """PEP 249's."""


SAID = {
    "a wrong name": (ProgrammingError("no column 'nmae'"), "says: no column 'nmae'"),
    "a cast of Snowflake's": (
        ProgrammingError("Numeric value 'Zo'é' is not recognized", sqlstate="22018"),
        "says: Numeric value … is not recognized",
    ),
    "a cast of Oracle's": (
        DatabaseError("ORA-01722: unable to convert 'Zoé'\n to a number"),
        "says: ORA-01722: unable to convert … to a number",
    ),
    "a cast of BigQuery's": (DatabaseError("Bad int64 value: Zoé"), "says: Bad int64 value: …"),
    "a number": (ProgrammingError("06 39 98 00 01 is no column"), "says: … is no column"),
}


@pytest.mark.parametrize(("fault", "told"), SAID.values(), ids=SAID.keys())
def test_a_query_error_is_reported_without_row_values(fault: Exception, told: str) -> None:
    connection = Connection(fault)
    with pytest.raises(SourceError) as raised:
        read(connection, "SELECT 1")

    assert str(raised.value).startswith(f"{WHERE}: the warehouse warehouse ")
    assert str(raised.value).endswith(told)
    assert not raised.value.retryable
    assert connection.closed


MYSQL = {
    "server gone": (2006, True),
    "too many connections": (1040, True),
    "deadlock": (1213, True),
    "unknown column": (1054, False),
    "wrong value": (1292, False),
    "access denied": (1045, False),
}


@pytest.mark.parametrize(("code", "away"), MYSQL.values(), ids=MYSQL.keys())
def test_permanent_mysql_operational_errors_are_not_retried(code: int, away: bool) -> None:
    fault = of("MySQLdb._exceptions", OperationalError)(code, "it was 'Zoé'")
    with pytest.raises(SourceError) as raised:
        read(Connection(fault), "SELECT 1")

    assert raised.value.retryable is away


@pytest.mark.parametrize("kind", [OperationalError, InterfaceError])
def test_an_unknown_drivers_connection_error_means_unreachable(kind: type[Exception]) -> None:
    with pytest.raises(WarehouseUnreachable, match="can't be reached: gone"):
        read(Connection(kind("gone")), "SELECT 1")


def test_a_non_database_error_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        read(Connection(ZeroDivisionError()), "SELECT 1")


def test_the_drivers_table_uses_real_module_names() -> None:
    for package in warehouse.DRIVERS:
        if package in ("psycopg", "psycopg2", "sqlite3"):
            assert hasattr(importlib.import_module(package), "connect")


def test_a_missing_connection_error_says_how_to_create_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_WAREHOUSE", raising=False)
    with pytest.raises(Exception, match="there is no connection warehouse: create it"):
        list(wiring.rows("warehouse", "SELECT 1", WHERE))


# --- What is no query ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  -- all\nselect 1; ",
        "/* ; */ WITH a AS (SELECT 1) SELECT * FROM a;;",
        "(SELECT 1) UNION (SELECT 2)",
        "VALUES (1), (2)",
        "SELECT replace(name, 'a', 'b'), upper(replace(name, ';', 'drop table x')) FROM people",
        "SELECT insert(name, 1, 1, 'x'), (replace (a, b, c)) FROM people",
        'SELECT "update", `delete`, [drop], created, updated_at FROM "into"',
        "SELECT '; DROP TABLE people; --' AS key",
        "SELECT CASE WHEN a THEN b ELSE c END AS key, date_trunc('day', d) FROM t WHERE x IN (1)",
        "SELECT key FROM t WHERE EXISTS (SELECT 1 FROM u) FOR UPDATE",
        "FROM people SELECT key",
        "SELECT truncate(price, 2), t.update FROM t OPTION (MERGE JOIN)",
    ],
)
def test_one_query_is_read_with_any_contents(sql: str) -> None:
    sql_text.require_query(sql)


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("drop table people", "does not"),
        ("DELETE FROM people", "does not"),
        ("CALL cleanup()", "does not"),
        ("EXPLAIN SELECT 1", "does not"),
        ("SET x = 1; SELECT 1", "more than one statement"),
        ("SELECT 1; DROP TABLE people", "more than one statement"),
        ("SELECT 1 /* ; */ ; -- ;\n TRUNCATE people", "more than one statement"),
        ("WITH gone AS (DELETE FROM people RETURNING *) SELECT * FROM gone", r"write \(DELETE\)"),
        ("WITH a AS (SELECT 1) DELETE FROM people", r"write \(DELETE\)"),
        ("WITH a AS (SELECT 1) INSERT INTO people SELECT * FROM a", r"write \(INSERT\)"),
        ("SELECT * INTO copies FROM people", r"write \(INTO\)"),
        ("SELECT key FROM people INTO OUTFILE '/tmp/x'", r"write \(INTO\)"),
        ("SELECT 1 AS key DELETE FROM t", r"write \(DELETE\)"),
        ("SELECT 1 DROP TABLE t", r"write \(DROP\)"),
        ("SELECT 1 EXEC sp_x", r"write \(EXEC\)"),
        ("SELECT 1\nGO\nDROP TABLE t", r"write \(GO\)"),
        ("SELECT 1 /*! INTO OUTFILE 'x' */", r"write \(INTO\)"),
        ("FROM a INSERT OVERWRITE TABLE t SELECT *", r"write \(INSERT\)"),
        ("WITH a AS (SELECT 1) TRUNCATE TABLE t", r"write \(TRUNCATE\)"),
        ("WITH a AS (SELECT 1) CALL p()", r"write \(CALL\)"),
        ("", "is empty"),
        (" -- nothing\n;", "is empty"),
    ],
)
def test_an_invalid_query_reaches_no_driver(sql: str, problem: str) -> None:
    class Untouched:
        def get_conn(self) -> Any:
            return self

        def cursor(self) -> Any:
            raise AssertionError("the driver was asked")

        def close(self) -> None:
            pass

    with pytest.raises(SourceError, match=problem) as refused:
        read(Untouched(), sql)

    assert str(refused.value).startswith(f"{WHERE} must be one SELECT")
    assert not refused.value.retryable

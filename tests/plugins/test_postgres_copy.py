"""Rows from PostgreSQL by COPY: the same texts as by a cursor, streamed."""

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sms.columnar import kinds, parquet
from sms.columnar.values import ValueKind
from sms.errors import SourceError, WarehouseUnreachable
from sms_airflow import postgres_copy, sql_text, wiring
from sms_airflow import warehouse as module
from tests.plugins.conftest import WHERE, Connect, Warehouse

ENDLESS = "SELECT 'k' || generate_series(1, 1000000000000) AS key"


def by_cursor(warehouse: Warehouse, sql: str) -> list[dict[str, str | None]]:
    """The rows as a plain cursor's Python values become text."""
    with warehouse.connect() as connection:
        cursor = connection.execute(sql)  # type: ignore[call-overload]
        names = [column.name for column in cursor.description]
        return parquet.from_rows(names, cursor.fetchall()).to_pylist()


TYPES = {
    "smallint": ["0", "-32768", "32767"],
    "integer": ["0", "-2147483648"],
    "bigint": ["9223372036854775807", "-9223372036854775808"],
    "numeric": ["3.10", "1000", "1e-30", "12345678901234567890.0123456789", "-0.0", "NaN"],
    "numeric(12,2)": ["3.1", "-7"],
    "real": ["0.1", "3", "1e20", "NaN", "Infinity"],
    "double precision": ["0.1", "3", "1e15", "1e16", "1e-5", "0.30000000000000004", "-0", "NaN"],
    "boolean": ["true", "false"],
    "text": ["", " ", "NULL", "null", "\\N", "\\.", "Zoé 😀", '"', "a,b", "\n", "\r\n", "\t"],
    "varchar(9)": ["x", ""],
    "char(4)": ["x", "xxxx"],
    "name": ["x"],
    '"char"': ["x", ""],
    "date": ["2026-07-15", "0001-01-01", "9999-12-31"],
    "time": ["08:30", "08:30:00.5", "23:59:59.999999"],
    "timetz": ["08:30+02", "08:30:00.25-03:30"],
    "timestamp": ["2026-07-15 10:00", "2026-07-15 10:00:00.5", "0999-01-01 00:00:00.000001"],
    "timestamptz": ["2026-07-15 10:00+02", "2026-01-15 10:00:00.123450+05:30", "1890-01-01 00:00Z"],
    "interval": ["1 day 02:03:04.5", "-3 months"],
    "uuid": ["5E1F4E60-4F0C-4D6B-9C43-2F4D0C6F1E00"],
    "json": ['{"é": [1, null, 1.10]}', '"x"', "null", "3"],
    "jsonb": ['{"b": 1, "a": 2}', "[]", "true"],
    "integer[]": ["{1,NULL,3}", "{}"],
    "text[]": ['{a,"b,c","\\"",NULL}', "{{a},{b}}"],
    "timestamptz[]": ['{"2026-07-15 10:00:00.5+02"}'],
    "bytea": ["Zoé", "\\x41"],
    "inet": ["10.0.0.1", "10.0.0.0/8", "::1"],
    "int4range": ["[1,5)", "empty"],
    "oid": ["4294967295"],
    "money": ["3.10"],
    "point": ["(1,2)"],
    "mood": ["glad"],
    "plain_number": ["7"],
    "pair": ["(1,x)"],
    "mood[]": ["{glad,sad}"],
}


@pytest.mark.parametrize("zone", ["Europe/Paris", "UTC", "Asia/Kolkata"])
def test_every_type_has_the_text_of_a_cursor(warehouse: Warehouse, zone: str) -> None:
    database = warehouse.name
    warehouse.execute(
        f"ALTER DATABASE {database} SET timezone = '{zone}'",
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE DOMAIN plain_number AS integer",
        "CREATE TYPE pair AS (a integer, b text)",
    )
    for kind, literals in TYPES.items():
        quoted = [f"('{each.replace(chr(39), chr(39) * 2)}'::{kind})" for each in literals]
        sql = f"SELECT * FROM (VALUES {', '.join(quoted)}, (NULL)) AS t (c)"

        assert warehouse.rows(sql) == by_cursor(warehouse, sql), kind


KINDS = {
    **dict.fromkeys(("smallint", "integer", "bigint", "oid"), ValueKind.INTEGER),
    **dict.fromkeys(("numeric", "numeric(12,2)"), ValueKind.DECIMAL),
    **dict.fromkeys(("real", "double precision"), ValueKind.FLOAT),
    **{"boolean": ValueKind.BOOLEAN, "date": ValueKind.DATE},
    **dict.fromkeys(("timestamp", "timestamptz"), ValueKind.TIMESTAMP),
    **dict.fromkeys(("text", "varchar(9)", "json", "uuid", "time", "bytea"), ValueKind.TEXT),
    **dict.fromkeys(("interval", "int4range", "integer[]"), ValueKind.OTHER),
}


def test_every_column_has_the_kind_of_its_values(warehouse: Warehouse, tmp_path: Path) -> None:
    for name, kind in KINDS.items():
        literals = [f"('{each}'::{name})" for each in TYPES[name] if "'" not in each]
        sql = f"SELECT * FROM (VALUES {', '.join(literals)}, (NULL)) AS t (c)"

        parquet.write(tmp_path / "rows.parquet", warehouse.batches(sql))

        [batch] = parquet.batches(tmp_path / "rows.parquet")
        assert kinds.of_field(batch.schema.field("c")) is kind, name


def test_values_have_the_documented_spellings(warehouse: Warehouse) -> None:
    sql = """\
    SELECT 3 AS a, 3::float8 AS b, 3.10 AS c, true AS d, date '2026-07-15' AS e,
           timestamp '2026-07-15 10:00:00.5' AS f, 'NaN'::numeric AS g, NULL AS h, '' AS i"""

    assert warehouse.rows(sql) == [
        {
            **{"a": "3", "b": "3.0", "c": "3.10", "d": "true", "e": "2026-07-15"},
            **{"f": "2026-07-15T10:00:00.500000", "g": None, "h": None, "i": ""},
        }
    ]


BEYOND_PYTHON = ["'infinity'::date", "'12026-01-01'::date", "'-infinity'::timestamp"]


@pytest.mark.parametrize("value", [*BEYOND_PYTHON, "array['infinity'::date]"])
def test_a_value_that_python_lacks_keeps_the_databases_spelling(
    warehouse: Warehouse, value: str
) -> None:
    told = warehouse.rows(f"SELECT ({value})::text AS c")

    assert warehouse.rows(f"SELECT {value} AS c") == told


def test_a_roles_settings_change_no_text(warehouse: Warehouse) -> None:
    sql = "SELECT date '2026-07-15' AS d, timestamp '2026-07-15 10:00' AS t, 0.1::float8 + 0.2 AS f"
    plain = warehouse.rows(sql)
    database = warehouse.name
    warehouse.execute(
        f"ALTER DATABASE {database} SET datestyle = 'German, DMY'",
        f"ALTER DATABASE {database} SET extra_float_digits = -10",
        f"ALTER DATABASE {database} SET bytea_output = 'escape'",
    )

    assert warehouse.rows(sql) == plain
    assert plain[0]["f"] == "0.30000000000000004"


SNIPPETS = st.sampled_from(
    ["", "\\N", "\\.", '"', '""', ",", "\n", "\r", "\r\n", "\\", "\t", "'", "\ufeff", "NULL", "é😀"]
)
TEXTS = st.none() | st.lists(
    SNIPPETS | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    max_size=4,
).map("".join)
MESS = st.lists(st.tuples(TEXTS, st.none() | st.integers(-(2**63), 2**63 - 1), TEXTS), max_size=30)


@given(MESS)
@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_rows_match_those_of_a_cursor(
    warehouse: Warehouse, mess: list[tuple[Any, ...]]
) -> None:
    warehouse.execute("DROP TABLE IF EXISTS mess", "CREATE TABLE mess (a text, n bigint, b text)")
    with warehouse.connect() as connection:
        connection.cursor().executemany("INSERT INTO mess VALUES (%s, %s, %s)", mess)

    for sql in ("SELECT a, n, b FROM mess", "SELECT a FROM mess"):
        assert warehouse.rows(sql) == by_cursor(warehouse, sql)


def test_blocks_of_every_size_hold_the_same_rows(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT nullif(n % 7, 0) AS n, chr(65279) || repeat(E'\\n\"', n % 5) AS t " + (
        "FROM generate_series(1, 300) AS n"
    )
    whole = by_cursor(warehouse, sql)

    for size in (1, 50, 1000):
        monkeypatch.setattr(postgres_copy, "BLOCK", size)

        assert warehouse.rows(sql) == whole


QUERIES = {
    "a semicolon": "SELECT 1 AS n;",
    "semicolons and comments": "SELECT 1 AS n; -- the end; really\n ; /* a /* nested; */ one */\n",
    "a comment without a newline": "SELECT 1 AS n -- one",
    "a semicolon in a string": "SELECT length(';') AS n -- it''s",
    "a semicolon in an escaped string": "SELECT length(E'\\';') - 1 AS n;",
    "a semicolon in a name": 'SELECT n FROM (SELECT 1 AS n) AS ";";',
    "a semicolon in dollars": "SELECT length($a$;$a$) AS n;",
    "a semicolon in a comment": "SELECT 1 /* ; */ AS n",
    "a percent sign": "SELECT 101 % 100 AS n WHERE 'a%s' LIKE '%s' AND '%(x)s' LIKE '%'",
    "a CTE": "WITH one AS (SELECT 1 AS n) SELECT n FROM one",
    "VALUES": "SELECT * FROM (VALUES (1)) AS t (n)",
    "brackets": "(SELECT 1 AS n)",
}


@pytest.mark.parametrize("sql", QUERIES.values(), ids=QUERIES.keys())
def test_a_query_may_be_written_in_any_way(warehouse: Warehouse, sql: str) -> None:
    assert warehouse.rows(sql) == [{"n": "1"}]


def test_rows_come_in_the_querys_own_order(warehouse: Warehouse) -> None:
    sql = "SELECT n FROM generate_series(1, 100000) AS n ORDER BY n % 1000, -n"

    found = [int(row["n"] or 0) for row in warehouse.rows(sql)]

    assert found == sorted(range(1, 100001), key=lambda n: (n % 1000, -n))


def test_a_query_without_rows_still_has_its_columns(warehouse: Warehouse) -> None:
    (batch,) = warehouse.batches("SELECT 1 AS key, 'x' AS msisdn WHERE false")

    assert (batch.num_rows, batch.schema.names) == (0, ["key", "msisdn"])


def test_only_names_entirely_in_upper_case_are_folded(warehouse: Warehouse) -> None:
    assert warehouse.rows('SELECT 1 AS "KEY", 2 AS "N1"') == [{"key": "1", "n1": "2"}]
    assert warehouse.rows('SELECT 1 AS "KEY", 2 AS "Name"') == [{"KEY": "1", "Name": "2"}]


def test_a_duplicate_column_name_is_refused_in_one_sentence(warehouse: Warehouse) -> None:
    with pytest.raises(SourceError) as raised:
        warehouse.rows("SELECT 1 AS id, 2 AS x, 3 AS id")

    assert str(raised.value) == ("the query returns more than one column named id: name each once")


# --- A stream -----------------------------------------------------------------------------------


def test_the_first_rows_arrive_before_the_query_ends(warehouse: Warehouse) -> None:
    with contextlib.closing(warehouse.batches(ENDLESS)) as stream:  # type: ignore[type-var]
        rows = (row for batch in stream for row in batch["key"].to_pylist())

        assert list(itertools.islice(rows, 3)) == ["k1", "k2", "k3"]
        assert warehouse.sessions() == 1
    warehouse.require_released()


def test_closing_the_stream_does_not_wait_for_the_server(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_copy, "BLOCK", 50_000)
    many = "SELECT repeat('x', 99) AS key FROM generate_series(1, 2000)"
    sql = f"{many} UNION ALL SELECT '' FROM pg_sleep(250)"
    with contextlib.closing(warehouse.batches(sql)) as stream:  # type: ignore[type-var]
        for _ in range(4):  # the columns, and three blocks; the fourth waits for the sleeper
            next(stream)

    warehouse.require_released()


def test_the_rows_are_one_snapshot(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_copy, "BLOCK", 1000)
    warehouse.execute("CREATE TABLE people AS SELECT n FROM generate_series(1, 50000) AS n")
    stream = warehouse.batches("SELECT n FROM people")
    seen = next(stream).num_rows + next(stream).num_rows
    warehouse.execute("INSERT INTO people VALUES (0)", "DELETE FROM people WHERE n > 100")

    assert seen + sum(batch.num_rows for batch in stream) == 50000


# --- What it refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        *("INSERT INTO people VALUES (2)", "INSERT INTO people VALUES (2) RETURNING n"),
        "WITH gone AS (DELETE FROM people RETURNING n) SELECT n FROM gone",
        *("SELECT n INTO others FROM people", "SELECT nextval('numbers') AS n FROM people"),
        *("DROP TABLE people", "SELECT 1 AS n; DROP TABLE people", "SELECT 1; COMMIT; SELECT 2"),
        *("", ";", "-- nothing", "SHOW timezone", "SELECT"),
    ],
)
def test_only_a_select_runs_and_writes_nothing(warehouse: Warehouse, sql: str) -> None:
    warehouse.execute("CREATE TABLE people AS SELECT 1 AS n", "CREATE SEQUENCE numbers")

    with pytest.raises(SourceError, match=r"^spring_sale/recipients\.sql"):
        warehouse.rows(sql)

    assert warehouse.rows("SELECT n FROM people") == [{"n": "1"}]
    assert warehouse.rows("SELECT is_called AS c FROM numbers") == [{"c": "false"}]
    warehouse.require_released()


LATE = {
    "an integer": ("text", "'Zoé \"Zaza\" Dupont'", "v::integer"),
    "a date": ("text", "'it''s \"0639980001\"'", "v::date"),
    "a number too large": ("text", "'99999999999999'", "v::integer"),
    "a JSON": ("text", "'{\"Zaza Dupont'", "v::json::text"),
    "an enum": ("text", "'Zaza'", "v::mood"),
}


@pytest.mark.parametrize(("kind", "bad", "cast"), LATE.values(), ids=LATE.keys())
def test_a_late_failure_names_file_and_connection_without_values(
    warehouse: Warehouse, kind: str, bad: str, cast: str
) -> None:
    good = {"v::date": "'2026-01-01'", "v::mood": "'glad'"}.get(cast, "'1'")
    warehouse.execute(
        "CREATE TYPE mood AS ENUM ('glad')",
        f"CREATE TABLE people AS SELECT CASE n WHEN 70000 THEN {bad} ELSE {good} END::{kind} AS v "
        "FROM generate_series(1, 80000) AS n",
    )

    with pytest.raises(SourceError) as raised:
        warehouse.rows(f"SELECT {cast} AS c FROM people")

    said = str(raised.value)
    assert said.startswith(f"{WHERE}: the warehouse warehouse says: ")
    for secret in ("Zo", "Zaza", "Dupont", "06399", "9999"):
        assert secret not in said
    warehouse.require_released()


def test_a_wrong_query_is_reported_with_its_names(warehouse: Warehouse) -> None:
    with pytest.raises(SourceError) as raised:
        warehouse.rows("SELECT * FROM nothing_like_this")

    assert str(raised.value) == (
        f'{WHERE}: the warehouse warehouse says: relation "nothing_like_this" does not exist'
    )
    assert not raised.value.retryable


def test_an_unreachable_warehouse_is_retried(connect: Connect) -> None:
    connect("postgres", host="/nowhere/at/all", login="postgres", schema="none")

    with pytest.raises(WarehouseUnreachable, match="the warehouse warehouse can't be reached"):
        list(wiring.rows("warehouse", "SELECT 1 AS n", WHERE))


def test_a_connection_lost_midway_is_retried(warehouse: Warehouse) -> None:
    stream = warehouse.batches(ENDLESS)
    next(stream)
    next(stream)
    warehouse.execute(
        "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    with pytest.raises(WarehouseUnreachable):
        for _ in stream:
            pass


def test_invalid_utf8_is_reported_by_column_and_row(postgres: Any, connect: Connect) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS sql_ascii")
        connection.execute(
            "CREATE DATABASE sql_ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        )
    connect("postgres", host=postgres.socket_folder, login="postgres", schema="sql_ascii")
    sql = "SELECT n, CASE n WHEN %d THEN '\\xe9'::bytea END AS b, 'Zo' || chr(%d) AS name " + (
        "FROM generate_series(1, 100) AS n"
    )

    assert list(wiring.rows("warehouse", sql % (0, 101), WHERE))[1]["name"][0].as_py() == "Zoe"
    for query, column, row in ((sql % (70, 101), "b", 70), (sql % (0, 233), "name", 1)):
        with pytest.raises(SourceError) as raised:
            list(wiring.rows("warehouse", query, WHERE))
        assert str(raised.value).startswith(
            f"column {column} holds bytes that are not UTF-8, first in row {row}: "
        )


def test_a_latin_1_database_gives_its_texts_whole(postgres: Any, connect: Connect) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS latin")
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    connect("postgres", host=postgres.socket_folder, login="postgres", schema="latin")

    _, batch = wiring.rows("warehouse", "SELECT 'Zoé' AS name, array['é'] AS all", WHERE)

    assert batch.to_pylist() == [{"name": "Zoé", "all": '["é"]'}]


# --- Servers that speak PostgreSQL without its COPY ---------------------------------------------


def test_a_server_without_copy_is_read_by_a_cursor(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_copy, "SETTINGS", "SELECT set_config('no_such_setting', '', true)")
    sql = "SELECT n, n::text AS t FROM generate_series(1, 45000) AS n"

    found = warehouse.rows(sql)

    assert (len(found), found[-1]) == (45000, {"n": "45000", "t": "45000"})


def test_psycopg2_streams_by_a_named_cursor(warehouse: Warehouse) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    with warehouse.connect() as known:
        dsn = {"host": known.info.host, "user": "postgres", "dbname": known.info.dbname}

    class Hook:
        def get_conn(self) -> Any:
            return psycopg2.connect(**dsn)

    def stream(sql: str) -> Any:
        return module.rows(Hook(), sql, conn_id="warehouse", where=WHERE)

    with contextlib.closing(stream(ENDLESS)) as endless:
        assert next(endless)["key"][0].as_py() == "k1"
    with pytest.raises(SourceError):
        list(stream("CREATE TABLE others (n integer)"))
    assert [batch.num_rows for batch in stream("SELECT 1 AS n;")] == [1, 0]


def test_an_unclosed_quote_is_reported_by_the_server() -> None:
    for sql in ("SELECT ';", 'SELECT ";', "SELECT $a$;", "SELECT /* ;", "SELECT E'\\';"):
        with contextlib.suppress(SourceError):
            assert sql_text.statement(sql) in (sql, sql[:-1])

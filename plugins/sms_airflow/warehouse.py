"""The rows of a campaign's query from any warehouse, streamed as text.

What belongs here: how each driver streams, read-only mode, and which part of a warehouse's errors
may be shown. `postgres_copy` reads PostgreSQL by COPY.
"""

import contextlib
import importlib
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg.rows
import pyarrow as pa

from sms.columnar import parquet
from sms.errors import SourceError, WarehouseUnreachable
from sms_airflow import postgres_copy, sql_text

ROWS_AT_A_TIME = 20_000
QUOTED = re.compile(r"[\"'`].*[\"'`]|(?<=value: ).*|\b0x.*")
NUMBER = re.compile(r"(?:\d[ .-]?){6,}\d")


def rows(hook: Any, sql: str, *, conn_id: str, where: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query as all-text batches, in its order; at least one batch, even if empty.

    One read-only statement is one snapshot. The connection is closed with the stream. If all names
    are in upper case, as in Snowflake and Oracle, they become lower case. Raises SourceError for a
    statement that is no SELECT, for a name given twice and for the warehouse's own errors,
    WarehouseUnreachable if it does not answer; neither quotes a value.
    """
    with _errors_translated(conn_id, where), contextlib.closing(hook.get_conn()) as database:
        driver = driver_of(database)
        if not driver.reads_alone:
            sql_text.require_query(sql, where)
        driver.forbid_writing(database)
        yield from driver.read(database, sql, where)


# --- Drivers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Driver:
    """The properties of a driver: how its rows are streamed, and the meaning of its errors.

    `read` takes a connection, the query and its file. `forbid_writing` makes the connection read
    only, if the server supports it. `away` is true for an OperationalError that means an
    unreachable warehouse. An error of a class in `speaks_of_sql` quotes the query; any other may
    quote a row. With `reads_alone` the server refuses all but one SELECT; for other drivers we
    check the query.
    """

    read: Callable[[Any, str, str], Iterator[pa.RecordBatch]]
    forbid_writing: Callable[[Any], object] = lambda database: None
    away: Callable[[Exception], bool] = lambda error: True
    speaks_of_sql: frozenset[str] = frozenset({"ProgrammingError"})
    reads_alone: bool = False


def _by_copy(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """psycopg: a cursor is declared for the names and types, without running the query."""
    postgres_copy.speak_utf8(database)
    query = sql_text.statement(sql, where)
    with _named_cursor(database, row_factory=psycopg.rows.tuple_row) as cursor:
        cursor.execute(query)
        names = names_of(cursor.description, where)
        types = [column.type_code for column in cursor.description]
    yield parquet.from_rows(names, [])
    try:
        yield from postgres_copy.rows(database, query, names, types)
    except postgres_copy.Refused:
        database.rollback()
        with _named_cursor(database, row_factory=psycopg.rows.tuple_row) as cursor:
            yield from _fetched(cursor, query, where)


def _by_psycopg2(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    cursor = _named_cursor(database, cursor_factory=plain_cursor_of_psycopg2())
    return _fetched(cursor, sql_text.statement(sql, where), where)


def _by_sscursor(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """MySQLdb and pymysql: SSCursor streams, the default cursor fetches all rows at once."""
    cursors = importlib.import_module(f"{root(type(database))}.cursors")
    return _fetched(database.cursor(cursors.SSCursor), sql, where)


def _by_unbuffered(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """mysql.connector: an unbuffered cursor streams, whatever the connection's options."""
    return _fetched(database.cursor(buffered=False, dictionary=False), sql, where)


def _by_default(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """Most drivers fetch `arraysize` rows at a time; its default in PEP 249 is 1."""
    cursor = database.cursor()
    with contextlib.suppress(AttributeError):
        cursor.arraysize = ROWS_AT_A_TIME
    return _fetched(cursor, sql, where)


def plain_cursor_of_psycopg2() -> Any:
    """The cursor class whose rows are tuples, independent of the connection's extras."""
    return importlib.import_module("psycopg2.extensions").cursor


def _named_cursor(database: Any, **options: Any) -> Any:
    """A named cursor, which streams; PostgreSQL's plain cursor fetches all rows at once."""
    return database.cursor(name=f"sms_{uuid.uuid4().hex[:8]}", **options)


def _fetched(cursor: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    cursor.execute(sql)
    if not getattr(cursor, "name", None):  # psycopg2 describes a named cursor only after a fetch
        names_of(cursor.description, where)
    first = 1
    while True:
        found = cursor.fetchmany(ROWS_AT_A_TIME)
        yield parquet.from_rows(names_of(cursor.description, where), found, first)
        if not found:
            return
        first += len(found)


def names_of(description: Sequence[Sequence[Any]] | None, where: str) -> list[str]:
    """The names of an answer's columns; in lower case if all are in upper case."""
    if not description:
        raise SourceError(f"{where} returned no rows at all: it must be a SELECT")
    names = [str(column[0]) for column in description]
    return [name.lower() for name in names] if "".join(names).isupper() else names


def _read_only(database: Any) -> None:
    database.read_only = True


def _read_only_by_psycopg2(database: Any) -> None:
    database.set_session(readonly=True, autocommit=False)


def _read_only_in_mysql(database: Any) -> None:
    database.cursor().execute("SET SESSION TRANSACTION READ ONLY")


def _read_only_in_sqlite(database: Any) -> None:
    database.execute("PRAGMA query_only = ON")


def _sqlite_away(error: Exception) -> bool:
    """Whether a file is locked or can't be opened; OperationalError also means a missing table."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_AWAY


def _mysql_away(error: Exception) -> bool:
    """Whether the client lost the server, or the server is overloaded or shutting down."""
    code = getattr(error, "errno", None) or next(iter(error.args), None)
    return not isinstance(code, int) or 2000 <= code < 3000 or code in MYSQL_AWAY


SQLITE_AWAY = {5, 6, 10, 14}  # SQLITE_BUSY, _LOCKED, _IOERR, _CANTOPEN
# Too many connections, shutdown, a broken connection, a lock timeout, a deadlock.
MYSQL_AWAY = {1040, 1053, 1129, *range(1158, 1162), 1203, 1205, 1213}

# By the package of a connection's or an error's class.
DRIVERS = {
    "psycopg": Driver(_by_copy, _read_only, reads_alone=True),
    "psycopg2": Driver(_by_psycopg2, _read_only_by_psycopg2, reads_alone=True),
    "MySQLdb": Driver(_by_sscursor, _read_only_in_mysql, _mysql_away),
    "pymysql": Driver(_by_sscursor, _read_only_in_mysql, _mysql_away),
    "mysql": Driver(_by_unbuffered, _read_only_in_mysql, _mysql_away),
    "sqlite3": Driver(
        _by_default, _read_only_in_sqlite, _sqlite_away, frozenset({"OperationalError"})
    ),
}
ANY = Driver(_by_default)


def driver_of(thing: object) -> Driver:
    """The driver of a connection or an error."""
    roots = (root(kind) for kind in type(thing).__mro__)
    return next((DRIVERS[root] for root in roots if root in DRIVERS), ANY)


def root(kind: type) -> str:
    """The top package of a class."""
    return kind.__module__.split(".")[0]


# --- Errors of a warehouse ----------------------------------------------------------------------


@contextlib.contextmanager
def _errors_translated(conn_id: str, where: str) -> Iterator[None]:
    """Turn a database's error into SourceError, with the query's file, or WarehouseUnreachable."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        if (away := absence(error, conn_id)) is not None:
            raise WarehouseUnreachable(away) from error
        if (message := complaint(error, conn_id)) is not None:
            raise SourceError(f"{where}: {message}") from error
        raise


def absence(error: Exception, conn_id: str) -> str | None:
    """The message for an unreachable warehouse; None if the error has another meaning."""
    names = {kind.__name__ for kind in type(error).__mro__}
    away = "OperationalError" in names and driver_of(error).away(error)
    if away or "InterfaceError" in names:
        return f"the warehouse {conn_id} can't be reached: {_masked_message(error, quoting=True)}"
    return None


def complaint(error: Exception, conn_id: str) -> str | None:
    """The message for a warehouse's error on a query; None if it is not a database's error."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if not {"DatabaseError", "Error"} & names:
        return None
    message = _masked_message(error, quoting=bool(driver_of(error).speaks_of_sql & names))
    return f"the warehouse {conn_id} says: {message}"


def _masked_message(error: Exception, *, quoting: bool) -> str:
    """A database's message without the value that caused it, which may be personal data.

    Everything between the first and the last quote is removed, as a value may contain quotes.
    """
    diagnosis = getattr(error, "diag", None)  # psycopg: without the line of the query
    message = " ".join(str(getattr(diagnosis, "message_primary", None) or error).split())
    state = str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")
    if not quoting or state.startswith("22"):  # SQL's class of data exceptions
        message = QUOTED.sub("…", message)
    return NUMBER.sub("…", message)

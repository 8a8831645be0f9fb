"""The rows of a campaign's query out of whatever warehouse there is, as text, never all at once.

What belongs here: which drivers stream and how they are asked to, that nothing is written, and
what of a warehouse's complaints may be told. PostgreSQL's COPY has a room of its own.
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
    """The rows of a query as all-text batches in its order, at least one, be it empty.

    One statement, read only, is one snapshot; the connection ends with the stream, however that
    ends. Names that are all in upper case, as Snowflake and Oracle fold them, come in lower case.
    Raises SourceError for what is no SELECT, for a name given twice and for what the warehouse
    says, WarehouseUnreachable where it does not answer; neither quotes a value.
    """
    with _told(conn_id, where), contextlib.closing(hook.get_conn()) as database:
        driver = driver_of(database)
        if not driver.reads_alone:
            sql_text.require_query(sql, where)
        driver.forbid_writing(database)
        yield from driver.read(database, sql, where)


# --- Drivers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Driver:
    """What is peculiar about a driver: how its rows are streamed, and what its errors mean.

    `read` is given a connection, the query and the file it is from. `forbid_writing` makes that
    connection read only, where the server can be told to. `away` tells whether an
    OperationalError is the warehouse's absence. An error of a class in `speaks_of_sql` quotes the
    query; any other may quote a row. Where the server itself `reads_alone`, it judges the query;
    elsewhere we do.
    """

    read: Callable[[Any, str, str], Iterator[pa.RecordBatch]]
    forbid_writing: Callable[[Any], object] = lambda database: None
    away: Callable[[Exception], bool] = lambda error: True
    speaks_of_sql: frozenset[str] = frozenset({"ProgrammingError"})
    reads_alone: bool = False


def _by_copy(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """psycopg: the cursor is only declared, which runs nothing, to learn names and types."""
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
    """MySQLdb and pymysql: their plain cursor fetches everything at once."""
    cursors = importlib.import_module(f"{root(type(database))}.cursors")
    return _fetched(database.cursor(cursors.SSCursor), sql, where)


def _by_unbuffered(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """mysql.connector: unbuffered unless the connection's options say otherwise."""
    return _fetched(database.cursor(buffered=False, dictionary=False), sql, where)


def _by_default(database: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """Most drivers fetch as many rows at a time as `arraysize` says; PEP 249 has it be 1."""
    cursor = database.cursor()
    with contextlib.suppress(AttributeError):
        cursor.arraysize = ROWS_AT_A_TIME
    return _fetched(cursor, sql, where)


def plain_cursor_of_psycopg2() -> Any:
    """The class of cursors whose rows are tuples, whatever the connection's extras say."""
    return importlib.import_module("psycopg2.extensions").cursor


def _named_cursor(database: Any, **options: Any) -> Any:
    """PostgreSQL's plain cursor fetches everything at once; a named one does not."""
    return database.cursor(name=f"sms_{uuid.uuid4().hex[:8]}", **options)


def _fetched(cursor: Any, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    cursor.execute(sql)
    if not getattr(cursor, "name", None):  # psycopg2 describes a named cursor's rows with the first
        names_of(cursor.description, where)
    first = 1
    while True:
        found = cursor.fetchmany(ROWS_AT_A_TIME)
        yield parquet.from_rows(names_of(cursor.description, where), found, first)
        if not found:
            return
        first += len(found)


def names_of(description: Sequence[Sequence[Any]] | None, where: str) -> list[str]:
    """The names of an answer's columns, in lower case where all of them are in upper case."""
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
    """Whether a file is locked or can't be opened; a missing table is operational there, too."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in SQLITE_AWAY


def _mysql_away(error: Exception) -> bool:
    """Whether the client lost the server, or the server has no room or time for us."""
    code = getattr(error, "errno", None) or next(iter(error.args), None)
    return not isinstance(code, int) or 2000 <= code < 3000 or code in MYSQL_AWAY


SQLITE_AWAY = {5, 6, 10, 14}  # SQLITE_BUSY, _LOCKED, _IOERR, _CANTOPEN
# Too many connections, shutting down, a broken line, a lock not had in time, a deadlock.
MYSQL_AWAY = {1040, 1053, 1129, *range(1158, 1162), 1203, 1205, 1213}

# By the package that a connection or an error is from.
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
    """What is known of the driver that made a connection, or an error."""
    roots = (root(kind) for kind in type(thing).__mro__)
    return next((DRIVERS[root] for root in roots if root in DRIVERS), ANY)


def root(kind: type) -> str:
    """The package that a class is from."""
    return kind.__module__.split(".")[0]


# --- What a warehouse says ----------------------------------------------------------------------


@contextlib.contextmanager
def _told(conn_id: str, where: str) -> Iterator[None]:
    """A SQL error with the file it comes from; a warehouse that is away is tried again."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        if (away := absence(error, conn_id)) is not None:
            raise WarehouseUnreachable(away) from error
        if (said := complaint(error, conn_id)) is not None:
            raise SourceError(f"{where}: {said}") from error
        raise


def absence(error: Exception, conn_id: str) -> str | None:
    """What to say of a warehouse that does not answer; None where the error means another thing."""
    names = {kind.__name__ for kind in type(error).__mro__}
    away = "OperationalError" in names and driver_of(error).away(error)
    if away or "InterfaceError" in names:
        return f"the warehouse {conn_id} can't be reached: {_said(error, quoting=True)}"
    return None


def complaint(error: Exception, conn_id: str) -> str | None:
    """What a warehouse says of a query; None for an error that is no database's."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if not {"DatabaseError", "Error"} & names:
        return None
    said = _said(error, quoting=bool(driver_of(error).speaks_of_sql & names))
    return f"the warehouse {conn_id} says: {said}"


def _said(error: Exception, *, quoting: bool) -> str:
    """What a database says, without the value that it stumbled on: it may be a person's.

    Whatever stands between the first and the last quote goes: a value may hold quotes itself.
    """
    diagnosis = getattr(error, "diag", None)  # psycopg: without the line of the query
    said = " ".join(str(getattr(diagnosis, "message_primary", None) or error).split())
    state = str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")
    if not quoting or state.startswith("22"):  # SQL's class of data exceptions
        said = QUOTED.sub("…", said)
    return NUMBER.sub("…", said)

"""The names and types of a query's columns, without running the query.

What belongs here: the request for each driver. In PostgreSQL a cursor is opened and no row is
fetched, as at the start of the task `extract`. Other warehouses get the query with WHERE 1 = 0,
which their planners answer without reading a row. `warehouse` reads rows.
"""

import contextlib
import re
from collections.abc import Callable
from typing import Any

import psycopg.rows

from sms.columnar import parquet
from sms.errors import BadCampaign, SourceError, WarehouseUnreachable
from sms.run.query_columns import QueryColumn
from sms_airflow import postgres_copy, sql_text, warehouse

SECONDS = 30.0  # for a server to plan a query, or to wait for a lock
CURSOR = "sms_check"
DECLARE = f"DECLARE {CURSOR} NO SCROLL CURSOR FOR "
NOTHING = "SELECT * FROM (%s\n) sms_check WHERE 1 = 0"  # the query's lines keep their numbers
CANCELLED = "57014"  # query_canceled, the effect of the timeout
SYNTAX = "42601"
JINJA = re.compile(r"\{\{|\{%")
SENT_AS_IT_STANDS = (
    "the query is sent unchanged, without Jinja: use SQL instead, such as current_date"
)


def of(hook: Any, sql: str, *, conn_id: str, where: str) -> list[QueryColumn]:
    """The columns of a query, without producing a row.

    The connection is read only, and closed at the end. Raises BadCampaign, with the line if it is
    known, for the warehouse's errors on the query, for a statement that is no SELECT, and for a
    name given twice; WarehouseUnreachable if the warehouse does not answer. Neither quotes a value.
    """
    with contextlib.closing(_connected(hook, conn_id)) as database:
        try:
            warehouse.driver_of(database).forbid_writing(database)
            found = _DESCRIBED_BY.get(_root_of(database), _by_no_row)(database, sql, where)
            parquet.from_rows([each.name for each in found], [])  # refuses a name given twice
        except SourceError as error:
            raise BadCampaign(where, None, _without(where, error)) from error
        except Exception as error:
            _raise_understood(error, sql, conn_id, where)
            raise
    return found


def _connected(hook: Any, conn_id: str) -> Any:
    try:
        return hook.get_conn()
    except Exception as error:
        away = warehouse.absence(error, conn_id) or warehouse.complaint(error, conn_id)
        if away is None:
            raise
        raise WarehouseUnreachable(away) from error


def _root_of(database: Any) -> str:
    roots = [warehouse.root(kind) for kind in type(database).__mro__]
    return next((root for root in roots if root in _DESCRIBED_BY), "")


# --- Drivers ------------------------------------------------------------------------------------


def _by_psycopg(database: Any, sql: str, where: str) -> list[QueryColumn]:
    """`binary` uses the extended protocol, in which a server accepts only one statement."""
    postgres_copy.speak_utf8(database)
    cursor = database.cursor(binary=True, row_factory=psycopg.rows.tuple_row)
    return _by_declaring(cursor, sql_text.statement(sql, where), where)


def _by_psycopg2(database: Any, sql: str, where: str) -> list[QueryColumn]:
    sql_text.require_query(sql, where)
    plain = warehouse.plain_cursor_of_psycopg2()
    cursor = database.cursor(cursor_factory=plain)
    return _by_declaring(cursor, sql_text.statement(sql, where), where)


def _by_declaring(cursor: Any, query: str, where: str) -> list[QueryColumn]:
    cursor.execute(f"SET statement_timeout TO {int(SECONDS * 1000)}")
    cursor.execute(DECLARE + query)
    cursor.execute(f"FETCH 0 FROM {CURSOR}")
    names = warehouse.names_of(cursor.description, where)
    oids = [int(column[1]) for column in cursor.description]
    cursor.execute(f"SELECT {', '.join(f'format_type({oid}, NULL)' for oid in oids)}")
    types = [str(each) for each in cursor.fetchone()]
    kinds = map(postgres_copy.kind_of, oids)
    return [QueryColumn(*each) for each in zip(names, types, kinds, strict=True)]


def _by_no_row(database: Any, sql: str, where: str) -> list[QueryColumn]:
    sql_text.require_query(sql, where)
    cursor = database.cursor()
    cursor.execute(NOTHING % sql_text.without_end(sql))
    return [QueryColumn(name) for name in warehouse.names_of(cursor.description, where)]


_DESCRIBED_BY: dict[str, Callable[[Any, str, str], list[QueryColumn]]] = {
    "psycopg": _by_psycopg,
    "psycopg2": _by_psycopg2,
}


# --- Errors of a warehouse ----------------------------------------------------------------------


def _raise_understood(error: Exception, sql: str, conn_id: str, where: str) -> None:
    """Raise our error for a database's error; return for any other."""
    if _state_of(error) == CANCELLED:
        raise BadCampaign(
            where,
            None,
            f"the warehouse {conn_id} did not return the query's columns within {SECONDS:g} "
            "seconds: if its tables are locked, try again later; otherwise the query may be too "
            "large to be planned",
        ) from error
    if (away := warehouse.absence(error, conn_id)) is not None:
        raise WarehouseUnreachable(away) from error
    if (message := warehouse.complaint(error, conn_id)) is None:
        return
    if "DECLARE CURSOR" in message:  # our words, not the query's
        _require_query(error, sql, where)
    hint = getattr(getattr(error, "diag", None), "message_hint", None)
    if hint and _state_of(error).startswith("42"):  # of a query's names
        message += f" ({' '.join(hint.split())})"
    if _state_of(error) == SYNTAX and JINJA.search(sql):
        message += f" ({SENT_AS_IT_STANDS})"
    if not _root_of(error):
        message += f" (sent as {NOTHING % '...'})".replace("\n", "")
    raise BadCampaign(where, _line(error, sql), message) from error


def _require_query(error: Exception, sql: str, where: str) -> None:
    try:
        sql_text.require_query(sql, where)
    except SourceError as fault:
        raise BadCampaign(where, None, _without(where, fault)) from error


def _state_of(error: Exception) -> str:
    return str(getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or "")


def _line(error: Exception, sql: str) -> int | None:
    """The line of the query that PostgreSQL's error points at (its position counts from 1)."""
    position = getattr(getattr(error, "diag", None), "statement_position", None)
    at = int(position or 0) - len(DECLARE) - 1
    return sql.count("\n", 0, at) + 1 if at >= 0 else None


def _without(where: str, error: SourceError) -> str:
    return str(error).removeprefix(where).lstrip(": ")

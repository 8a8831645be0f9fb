"""Create the roles and databases of the stack's own PostgreSQL, each role limited to its database.

A campaign's SQL runs as `warehouse`, which must not read the ledger or Airflow's passwords.
"""

import os
from collections.abc import Iterable

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url


def provide(server: URL, databases: Iterable[URL]) -> None:
    """Create the role, password and database of every URL on `server`."""
    with psycopg.connect(conninfo(server), autocommit=True) as connection:
        for url in databases:
            if _place(url) == _place(server):  # databases on other servers are not ours to create
                _provide_one(connection, url)


def _provide_one(connection: psycopg.Connection, url: URL) -> None:
    role = sql.Identifier(url.username or "")
    database = sql.Identifier(url.database or "")
    if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", url.username):
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    password = sql.Literal(url.password)
    connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, password))
    if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s", url.database):
        create = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'")
        connection.execute(create.format(database, role))
    connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(database))


def _exists(connection: psycopg.Connection, query: str, name: str | None) -> bool:
    return connection.execute(query.encode(), (name,)).fetchone() is not None


def _place(url: URL) -> tuple[str | None, int, object]:
    return url.host, url.port or 5432, url.query.get("host")


def conninfo(url: URL) -> str:
    """The URL in the form that libpq accepts."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


if __name__ == "__main__":
    wanted = ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "SMS_LEDGER_URL"]
    if "sandbox" in os.environ.get("COMPOSE_PROFILES", "").split(","):
        wanted.append("SMS_SAMPLE_WAREHOUSE_URL")
    provide(make_url(os.environ["POSTGRES_URL"]), [make_url(os.environ[name]) for name in wanted])

"""A warehouse in a real PostgreSQL, behind a real Airflow connection."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from demo.processes import wait_until
from sms_airflow import wiring

PATIENCE = 60  # seconds, for a machine that is busy
WHERE = "spring_sale/recipients.sql"


@dataclass
class Warehouse:
    """A database, and what a campaign of the connection `warehouse` reads from it."""

    url: str

    @property
    def name(self) -> str:
        """What the database is called."""
        return str(make_url(self.url).database)

    def connect(self) -> "psycopg.Connection[Any]":
        """A connection beside the campaign's own, that commits by itself."""
        where = make_url(self.url)
        return psycopg.connect(
            host=where.query["host"], user="postgres", dbname=where.database, autocommit=True
        )

    def execute(self, *statements: str) -> None:
        """What a warehouse's people do."""
        with self.connect() as connection:
            for each in statements:
                connection.execute(each)  # type: ignore[call-overload]

    def rows(self, sql: str) -> list[dict[str, str | None]]:
        """All rows that a campaign gets."""
        return [row for batch in self.batches(sql) for row in batch.to_pylist()]

    def batches(self, sql: str) -> Iterator[Any]:
        """The stream of them."""
        return wiring.rows("warehouse", sql, WHERE)

    def sessions(self) -> int:
        """How many others are connected."""
        with self.connect() as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
        assert found
        return int(found[0])

    def require_released(self) -> None:
        """TimeoutError where somebody stays connected; a server's process ends after the line."""
        wait_until(lambda: not self.sessions(), "the end of the session", timeout=PATIENCE)


Connect = Callable[..., None]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Make `warehouse` a connection of this type."""

    def made(conn_type: str, **fields: Any) -> None:
        text = json.dumps({"conn_type": conn_type, **fields})
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", text)

    return made


@pytest.fixture
def warehouse(empty_database_url: str, connect: Connect) -> Warehouse:
    """An empty PostgreSQL database as `warehouse`."""
    where = make_url(empty_database_url)
    connect("postgres", host=where.query["host"], login="postgres", schema=where.database)
    return Warehouse(empty_database_url)

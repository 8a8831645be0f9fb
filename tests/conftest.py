"""What all tests share: a real PostgreSQL and a real OpenSSH for the whole session, found empty."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

import tests.airflow_home  # noqa: F401  (before anything imports airflow)
from demo.postgres import PostgreSQL
from sms.ledger.ledger import Ledger
from tests import quick
from tests.openssh import OpenSsh, lacking

_numbers = itertools.count(1)


# Folders whose tests take longest; with several processes they begin first, so that none is left
# over at the end.
LONGEST_FIRST = ("chaos", "journeys", "compose", "faults", "benchmarks")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of our own."""
    parser.addoption("--quick", action="store_true", help="only what needs no server, no Airflow")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest comes first."""
    if config.getoption("--quick"):
        items[:], others = quick.choose(items)
        config.hook.pytest_deselected(items=others)
    rank = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(_folder(item.nodeid), len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _no_servers_where_all_is_quick(pytestconfig: pytest.Config) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if pytestconfig.getoption("--quick"):
            quick.forbid_servers(patch)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests had to tell, and how long they took: by folder, and the slowest."""
    write = terminalreporter.write_line
    seconds: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid] += report.duration
                for name, sentence in report.user_properties:
                    if name == TOLD and report.when == "call":
                        write(sentence)
    if not seconds:
        return
    by_folder: Counter[str] = Counter()
    for nodeid, taken in seconds.items():
        by_folder[_folder(nodeid)] += taken
    tests = Counter(map(_folder, seconds))
    terminalreporter.section("seconds and tests by folder")
    for folder, taken in by_folder.most_common():
        write(f"{taken:7.1f} s {tests[folder]:5} {folder}")
    terminalreporter.section("the slowest")
    for nodeid, taken in seconds.most_common(SLOWEST):
        write(f"{taken:7.1f} s {nodeid}")


SLOWEST = 10
TOLD = "told"


def _folder(nodeid: str) -> str:
    """The folder of `tests` that a test is in."""
    return nodeid.split("/")[1]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something at the end of all tests."""
    return lambda sentence: record_property(TOLD, sentence)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A real server, one for all tests."""
    with PostgreSQL() as server:
        with server.connect() as connection:  # what a test writes need not survive a power cut
            connection.execute("ALTER SYSTEM SET fsync TO off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def ledger_template(postgres: PostgreSQL) -> str:
    """The name of a database with the ledger's schema, to be copied and never used."""
    postgres.create_database("ledger_template")
    Ledger.connect(postgres.url("ledger_template")).upgrade()
    return "ledger_template"


@pytest.fixture
def ledger_url(postgres: PostgreSQL, ledger_template: str) -> Iterator[str]:
    """A fresh, migrated ledger."""
    with fresh(postgres, ledger_template) as url:
        yield url


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    """The ledger in a fresh database, by the real clock."""
    return Ledger.connect(ledger_url, actor="test")


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
    name = f"test_{next(_numbers)}"
    server.create_database(name, template)
    yield server.url(name)
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

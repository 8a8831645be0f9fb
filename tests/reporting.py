"""In which order tests run, and what the end of a run tells of them."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests import airflow_home, quick

TOLD = "told"  # the property of a test that has a sentence to tell
SLOWEST = 10
# Folders and groups whose tests take longest; with several processes they begin first, so that none
# is left over at the end. Those that start an Airflow begin after each other: it takes a minute of
# both cores to be up.
LONGEST_FIRST = ("chaos", "world", "faults", "compose", "journeys", "benchmarks")


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
    items.sort(key=lambda item: rank.get(_kind(item), len(rank)))


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something at the end of all tests."""
    return lambda sentence: record_property(TOLD, sentence)


@pytest.fixture(scope="session", autouse=True)
def _no_servers_where_all_is_quick(pytestconfig: pytest.Config) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if pytestconfig.getoption("--quick"):
            quick.forbid_servers(patch)
        yield


def pytest_unconfigure() -> None:
    """Remove what a process of pytest-xdist leaves: it ends without Python's `atexit`."""
    shutil.rmtree(airflow_home.HOME, ignore_errors=True)


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


def _kind(item: pytest.Item) -> str:
    """The group whose tests one process plays, or the folder."""
    group = item.get_closest_marker("xdist_group")
    return str(group.args[0]) if group else _folder(item.nodeid)


def _folder(nodeid: str) -> str:
    """The folder of `tests` that a test is in."""
    return nodeid.partition("tests/")[2].partition("/")[0]

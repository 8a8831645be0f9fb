"""A plugin of `make mutants`: the fastest tests run first, as the first failure ends a run."""

import json
from pathlib import Path

import pytest

DURATIONS = Path("mutmut-stats.json")  # by mutmut, once it has run all tests
CHOSEN = pytest.StashKey[frozenset[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Collect whole files: pytest finds hundreds of single tests one by one."""
    config.stash[CHOSEN] = frozenset(each for each in config.args if "::" in each)
    config.args[:] = dict.fromkeys(each.partition("::")[0] for each in config.args)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the chosen tests, by the time that each took on the original code."""
    if chosen := config.stash[CHOSEN]:
        items[:] = [item for item in items if item.nodeid in chosen]
    if DURATIONS.is_file():
        seconds = json.loads(DURATIONS.read_text())["duration_by_test"]
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))

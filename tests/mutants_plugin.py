"""A pytest plugin of `make mutants`: the fastest tests first, as the first failure ends a run."""

import json
from pathlib import Path

import hypothesis
import pytest
from hypothesis import Phase

DURATIONS = Path("mutmut-stats.json")  # by mutmut, once it has run all tests
PROFILE = "mutants"
CHOSEN = pytest.StashKey[frozenset[str]]()

# The same examples for each mutant, and no search for the smallest that fails.
hypothesis.settings.register_profile(
    PROFILE,
    phases=(Phase.explicit, Phase.generate),
    derandomize=True,
    deadline=None,
    database=None,
)


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

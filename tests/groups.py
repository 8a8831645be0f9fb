"""Tests that are marked `xdist_group("name")` run in one process.

pytest-xdist adds "@name" to a field of each test that pytest no longer reads since 9.2, so that
every test would go its own way, in silence (pytest-dev/pytest-xdist#1386). Once that is mended,
this module says so and can go.
"""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """After xdist: give each test the name that xdist meant it to have."""
    if not getattr(config.option, "loadgroup", False):
        return
    for item in items:
        if item.get_closest_marker("xdist_group"):
            meant = getattr(item, "_nodeid", item.nodeid)
            assert meant != item.nodeid, "pytest-xdist groups tests again: remove tests/groups.py"
            item._id = type(item._id).parse(meant)

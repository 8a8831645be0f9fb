"""The outputs in the docs' notebook are current."""

from pathlib import Path

import pytest

from tests.docs_notebook import executed, kept

pytestmark = pytest.mark.server  # a kernel


def test_the_docs_notebook_has_current_outputs(tmp_path: Path) -> None:
    now = executed(tmp_path)

    for cell, shown in zip(now.cells, kept().cells, strict=True):
        assert cell == shown, "run `make notebook`, and look at what changed"

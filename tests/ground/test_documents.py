"""Documents name tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_named_tests_exist(document: Path) -> None:
    text = document.read_text()
    files = set(re.findall(r"(?:\w+/)+test_\w+\.py", text))
    names = set(re.findall(r"::(test_\w+)", text))

    sources = {path: path.read_text() for path in (ROOT / "tests").glob("*/test_*.py")}

    assert {
        name for name in files if not list((ROOT / "tests").glob(name.removeprefix("tests/")))
    } == set()
    assert {
        name for name in names if not any(f"def {name}(" in t for t in sources.values())
    } == set()

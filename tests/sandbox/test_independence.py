"""The sandbox is independent of the product: shared code would share its mistakes."""

import ast
from pathlib import Path

import sms_sandbox

SOURCES = sorted(Path(sms_sandbox.__file__).parent.rglob("*.py"))


def imported(source: Path) -> set[str]:
    """The top-level packages that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else (node.module or "").split(".")[0])
    return found


def test_the_sandbox_imports_neither_the_product_nor_airflow():
    forbidden = {"sms", "sms_airflow", "airflow", "."}

    assert len(SOURCES) > 10
    assert {path.name: imported(path) & forbidden for path in SOURCES} == {
        path.name: set() for path in SOURCES
    }

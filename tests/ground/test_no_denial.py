"""Only sentences that have just asked the ledger say that nothing was sent."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DENIES = re.compile(r"(?i)\bnothing (?:of its run )?(?:was|has been) sent")
ASK = {"upload.py", "runs.py", "settlement.py"}


def test_only_modules_asking_the_ledger_deny_a_send() -> None:
    """Any task may be cleared after a file, or a proof, has left."""
    denying = {
        path.name
        for folder in ("include/sms", "plugins/sms_airflow")
        for path in (ROOT / folder).rglob("*.py")
        if any(map(DENIES.search, sentences(path)))
    }

    assert denying == ASK


def sentences(path: Path) -> Iterator[str]:
    """What the code of a module may say: its texts, but for docstrings."""
    code = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(code) if isinstance(node, ast.Expr)}
    for node in ast.walk(code):
        if isinstance(node, ast.JoinedStr):
            parts = (part for part in node.values if isinstance(part, ast.Constant))
            yield "".join(str(part.value) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield "" if id(node) in docstrings else node.value

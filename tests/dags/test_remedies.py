"""Every DAG and task named in an error's advice exists, and only one module names them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

from sms import remedies
from sms.campaign.definition import load
from sms.remedies import Dag, Housekeeping, Task
from sms.settings import Settings
from sms_airflow import campaign_dag
from tests.campaign_folder import write_campaign

SMS = Path(remedies.__file__).parent
PROVEN = 'kind: transactional\nsender: SHOP\nproof_to: ["+33639980001"]\n'
# A DAG by its name, or a task of some run: `the task plan`, `its task submit`.
NAMED = re.compile(rf"\b(tasks? ({'|'.join(Task)})|{'|'.join(set(Dag) - {Dag.HOUSEKEEPING})})\b")
# Which task's success the ledger keeps, and what a document calls a collected report: no sentences.
NOT_SAID = {("ledger/records.py", Dag.COLLECT_REPLIES)}


def test_every_dag_of_a_remedy_exists(dagbag: DagBag) -> None:
    assert {*map(str, Dag)} <= {*dagbag.dags}


def test_every_task_of_a_remedy_exists(dagbag: DagBag, tmp_path: Path) -> None:
    folder = write_campaign(tmp_path / "proven", PROVEN, "SELECT 1 AS key, '' AS msisdn", "Hello")
    sending = campaign_dag.build(load(folder), Settings())

    assert {*map(str, Task)} <= {*sending.task_ids}
    assert {*map(str, Housekeeping)} <= {*dagbag.dags[Dag.HOUSEKEEPING].task_ids}


def sentences(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The strings of a module that are no docstrings, with their lines."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    skipped = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
        ):
            yield node.lineno, node.value


def test_no_other_module_names_a_dag_or_task() -> None:
    found = [
        (name, line, text)
        for module in SMS.rglob("*.py")
        if (name := str(module.relative_to(SMS))) != "remedies.py"
        for line, text in sentences(ast.parse(module.read_text(encoding="utf-8")))
        if NAMED.search(text) and (name, text) not in NOT_SAID
    ]

    assert found == []

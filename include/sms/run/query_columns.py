"""The columns of campaigns' queries, read from their warehouses before any run.

Warehouses are Airflow connections, and this package does not import Airflow. So it runs a program
of `sms_airflow`: queries go in as JSON, columns or faults come back. This module defines that
format. A separate process also keeps Airflow's logging out of our output, and limits the time that
a driver may take.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sms.columnar.values import ValueKind
from sms.errors import BadCampaign, ConfigurationError

PROGRAM = "sms_airflow.describing"
PATIENCE = 60  # seconds for a query, with its connection
STARTING = 180  # seconds for the import of Airflow on a busy machine
NEEDED = ("airflow", "sms_airflow")
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w+)(?::|$)")


@dataclass(frozen=True, slots=True)
class Query:
    """A campaign's query, its connection, and its file."""

    connection: str
    sql: str
    path: str


@dataclass(frozen=True, slots=True)
class QueryColumn:
    """A column of a query: its name, the warehouse's name of its type, and our kind of it.

    If the driver gives no type that we know, `kind` is None and `type` is "".
    """

    name: str
    type: str = ""
    kind: ValueKind | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.type}".strip()


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns of a query, or the fault of the query or its warehouse."""

    columns: tuple[QueryColumn, ...] = ()
    fault: BadCampaign | None = None

    def as_json(self) -> dict[str, object]:
        """The answer as `of_json` reads it."""
        fault = self.fault and [self.fault.path, self.fault.line, self.fault.problem]
        return {"columns": [asdict(each) for each in self.columns], "fault": fault}

    @classmethod
    def of_json(cls, payload: dict[str, list[dict[str, str]]]) -> "Answer":
        """An answer that `as_json` wrote."""
        columns = tuple(
            QueryColumn(
                each["name"], each["type"], ValueKind(each["kind"]) if each["kind"] else None
            )
            for each in payload["columns"]
        )
        fault = payload["fault"]
        return cls(columns, BadCampaign(*fault) if fault else None)  # type: ignore[arg-type]


def ask(queries: Sequence[Query]) -> list[Answer]:
    """The answer to each query; no query is run.

    Raises ConfigurationError without Airflow, or if the program fails.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(
                "no warehouse can be asked: warehouses are Airflow connections, and "
                f"{name} is not installed here. Run `sms check --warehouse` where Airflow's tasks "
                "run, or leave --warehouse out"
            )
    if not queries:
        return []
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", PROGRAM],
            input=json.dumps([asdict(each) for each in queries]).encode(),
            capture_output=True,
            check=False,
            timeout=STARTING + 2 * PATIENCE * len(queries),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    except subprocess.TimeoutExpired:
        raise ConfigurationError(
            "no warehouse answered in time: the machine may be too busy, try again"
        ) from None  # the cause quotes the queries
    try:
        return [Answer.of_json(each) for each in json.loads(done.stdout)]
    except ValueError:
        raise ConfigurationError(_failed(done)) from None


def _failed(done: "subprocess.CompletedProcess[bytes]") -> str:
    """The message for a failed program: its last error's type alone, as its text may quote rows."""
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raised = _RAISED.match(last)
    return (
        f"no warehouse could be asked, as {PROGRAM} ended with status {done.returncode}"
        f"{f' and {raised[1]}' if raised else ''}: see whether `airflow connections list` works "
        "here"
    )

"""What campaigns' queries return, asked of their warehouses before any run.

Warehouses are Airflow's connections, and this package knows no Airflow. So a program of
`sms_airflow` is called, and what both say is here: queries go in as JSON, and columns or faults
come back. That also keeps Airflow's logging off our streams, and bounds the time whatever a driver
waits for.
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
PATIENCE = 60  # seconds for a query, the way to its warehouse included
STARTING = 180  # seconds until Airflow is imported, on a machine that is busy
NEEDED = ("airflow", "sms_airflow")
_RAISED = re.compile(r"^(?:[\w.]+\.)?(\w+)(?::|$)")


@dataclass(frozen=True, slots=True)
class Query:
    """A campaign's query, the connection that it goes to, and the file that it is from."""

    connection: str
    sql: str
    path: str


@dataclass(frozen=True, slots=True)
class QueryColumn:
    """A column that a query returns: the warehouse's own word for its type, and what we make of it.

    The kind is None where the driver tells no type that we know, and the type then "".
    """

    name: str
    type: str = ""
    kind: ValueKind | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.type}".strip()


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns of a query, or what is wrong with it or its warehouse."""

    columns: tuple[QueryColumn, ...] = ()
    fault: BadCampaign | None = None

    def as_json(self) -> dict[str, object]:
        """What `of_json` reads."""
        fault = self.fault and [self.fault.path, self.fault.line, self.fault.problem]
        return {"columns": [asdict(each) for each in self.columns], "fault": fault}

    @classmethod
    def of_json(cls, told: dict[str, list[dict[str, str]]]) -> "Answer":
        columns = tuple(
            QueryColumn(
                each["name"], each["type"], ValueKind(each["kind"]) if each["kind"] else None
            )
            for each in told["columns"]
        )
        return cls(columns, BadCampaign(*told["fault"]) if told["fault"] else None)  # type: ignore[arg-type]


def ask(queries: Sequence[Query]) -> list[Answer]:
    """The answer to each query; none of them is run.

    Raises ConfigurationError where nothing can be asked: without Airflow, or if the program fails.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise ConfigurationError(
                "no warehouse can be asked, as warehouses are connections of Airflow, and "
                f"{name} is not installed here: run `sms check --warehouse` where Airflow's tasks "
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
            "no warehouse could be asked in time: the machine may be too busy, ask again"
        ) from None  # it holds the queries
    try:
        return [Answer.of_json(each) for each in json.loads(done.stdout)]
    except ValueError:
        raise ConfigurationError(_failed(done)) from None


def _failed(done: "subprocess.CompletedProcess[bytes]") -> str:
    """What to say of a program that failed: the kind of its last error, as the words may quote."""
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raised = _RAISED.match(last)
    return (
        f"no warehouse could be asked, as {PROGRAM} ended with status {done.returncode}"
        f"{f' and {raised[1]}' if raised else ''}: see whether `airflow connections list` works "
        "here"
    )

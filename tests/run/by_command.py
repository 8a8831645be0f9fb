"""`sms prepare` of the same recipients that a world's run has."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sms.clock import PARIS
from tests.world import World

RUN = "send__tests/manual__1"
HOUR = datetime(2027, 3, 2, 10, 30, tzinfo=PARIS)


def prepared(
    world: World, numbers: Sequence[str], folder: Path, row_group_size: int | None = None
) -> dict[str, Any]:
    """The summary of the command's run `RUN` at `HOUR`; its files are in `folder / "out"`."""
    people = {
        "key": [f"k{n}" for n in range(len(numbers))],
        "msisdn": [*numbers],
        "name": [f"Léa {n}" for n in range(len(numbers))],
    }
    pq.write_table(pa.table(people), folder / "people.parquet", row_group_size=row_group_size)
    (folder / "stop.csv").write_text("msisdn\n")
    arguments = {
        "--recipients": folder / "people.parquet",
        "--stop-list": folder / "stop.csv",
        "--at": HOUR.isoformat(),
        "--out": folder / "out",
        "--run-id": "manual__1",
        "--service-id": "12345",
    }
    told = [str(word) for pair in arguments.items() for word in pair]
    campaign = world.folder / "campaigns" / "tests"
    subprocess.run([Path(sys.executable).with_name("sms"), "prepare", campaign, *told], check=True)
    return dict(json.loads((folder / "out" / "summary.json").read_text()))

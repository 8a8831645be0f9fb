"""Do the books balance after all that? The ledger, the archive and the gateway's own journal."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from demo import reckoning
from demo.stack import Stack
from tests.chaos.troubles import late

Journal = Sequence[Mapping[str, Any]]


def faults(
    stack: Stack,
    runs: Sequence[str],
    beside: Sequence[str],
    said_stop: Mapping[int, datetime],
) -> list[str]:
    """A sentence for each promise that was broken; `runs` are those that were to send.

    `beside` are the stems that left of runs which could not go on.
    """
    assert stack.gateway
    journal = stack.gateway.journal()
    known = {
        number: moment
        for number, moment in reckoning.stop_list(stack.ledger).items()
        if number not in said_stop
    }
    found: list[str] = []
    stems = {*beside}
    for run in runs:
        files = stack.ledger.submissions.of_run(run)
        stems |= {each.stem for each in files}
        of_run = reckoning.faults(stack.ledger.runs.summary(run), files, journal, known)
        found += [f"{run}: {fault}" for fault in of_run]
    return [
        *found,
        *_nothing_else(journal, stems),
        *_nobody_who_said_stop(journal, said_stop),
        *_nothing_left(stack, stems),
        *_reports_once(stack, journal),
    ]


def _nothing_else(journal: Journal, stems: set[str]) -> Iterator[str]:
    """No file but those of the runs was ever renamed, and nothing but a `.tmp` removed."""
    for line in journal:
        if line["what"] == "rename" and line["to"].endswith(".csv"):
            if PurePosixPath(line["to"]).stem not in stems:
                yield f"nobody knows of {line['to']}"
        elif line["what"] == "remove" and not line["name"].endswith(".tmp"):
            yield f"{line['name']} was removed"


def _nobody_who_said_stop(journal: Journal, said_stop: Mapping[int, datetime]) -> Iterator[str]:
    renamed = {
        PurePosixPath(line["to"]).stem: datetime.fromisoformat(line["at"])
        for line in journal
        if line["what"] == "rename" and line["to"].endswith(".csv")
    }
    for line in journal:
        if line["what"] == "sent":
            said_at = said_stop.get(int(line["msisdn"].removeprefix("+")))
            if said_at and not late(said_at, renamed[line["stem"]]):
                yield f"somebody in {line['stem']} had said STOP at {said_at}"


def _nothing_left(stack: Stack, stems: set[str]) -> Iterator[str]:
    """What lies in `Send` is what was sent; whoever was killed there was cleaned up after."""
    assert stack.gateway
    there = {path.name for path in (stack.gateway.root / "home" / "Send").iterdir()}
    if there != (wanted := {f"{stem}.done" for stem in stems}):
        yield f"Send shows {sorted(there ^ wanted)} too much or too little"


def _reports_once(stack: Stack, journal: Journal) -> Iterator[str]:
    """Each report is loaded and archived as it is at the gateway, and each row of it once."""
    assert stack.gateway
    folder = stack.gateway.root / "home" / "Report"
    with stack.ledger.engine.connect() as db:
        loaded = db.exec_driver_sql("SELECT name, sha256 FROM sms.report_file").fetchall()
        replies = db.exec_driver_sql("SELECT kind, count(*) FROM sms.reply GROUP BY 1").fetchall()
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    if dict(map(tuple, loaded)) != there:
        yield f"the ledger knows {len(loaded)} reports, or not as they are: {len(there)}"
    grown: Counter[str] = Counter()
    for line in journal:
        if line["what"] == "grown":
            grown[line["name"].partition("-")[0]] += line["rows"]
    if (known := Counter(dict(map(tuple, replies)))) != grown:
        yield f"the gateway wrote {dict(grown)} answers, the ledger has {dict(known)}"
    for line in journal:
        if line["what"] == "report":
            counts, truth = (
                stack.ledger.submissions.reconcile(line["stem"]),
                Counter(line["outcomes"]),
            )
            if (counts.delivered, counts.refused) != (truth["delivered"], truth["refused"]):
                yield f"{line['name']} says {dict(truth)}, the ledger {counts}"

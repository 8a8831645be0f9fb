"""A scene of reports to collect, and what is kept of it."""

from typing import Any

from tests.faults.conftest import Scene, Target
from tests.world import numbers

TABLES = {
    "opt_out": "msisdn, opted_out_at, source, stem, message",
    "reply": "kind, report, msisdn, raw_date, raw_hour, message, idremote, occurrence",
    "receipt": "line, idremote, idstatus, ackoperator, raw_status",
    "stranger": "line, idremote, msisdn, outcome",
    "report_file": "name, kind, stem, size_bytes, sha256, rows, unreadable, archive",
    "submission": "stem, state, report_rows, report_duplicates, report_kept",
}


def prepare(target: Target) -> None:
    """A file that was accepted, and what the provider has to say of it."""
    # Its reports are the test's own.
    target.sandbox.turn(stop=0.0, reply=0.0, ack_late_hours=1e6)
    with target.here():
        [part] = target.world.prepare(numbers(4))
        target.stems = [stem] = [part.stem]
        target.world.submit(stem)
        target.world.accepted(stem)
    target.sandbox.settle()
    sent = (target.sandbox.home / "Send" / f"{stem}.done").read_bytes().split(b"\r\n")[:-1]
    ids = [line.split(b";")[0].decode() for line in sent]
    ack = [*(line + b";3;delivered;op" for line in sent[:3]), b"x1;+33639980099;TESTS;y;3;sent;op"]
    said = [(0, "STOP"), (1, "Stop; merci"), (2, "oui")]
    rows = [f"+3363998000{n};20270302;0941;{text};{ids[n]}\r\n" for n, text in said]
    reports = {
        "ACK": b"".join(line + b"\r\n" for line in ack),
        "STOP": rows[0].encode(),
        "SMSMO": "".join(rows[1:]).encode(),
    }
    for kind, content in reports.items():
        target.sandbox.put_report(f"{kind}{stem.removeprefix('SEND')}.csv", content)


def kept(target: Target) -> dict[str, list[tuple[Any, ...]]]:
    """All that a collector may change, but for when that was."""
    with target.world.ledger.engine.connect() as db:
        return {
            table: sorted(
                (tuple(row) for row in db.exec_driver_sql(f"SELECT {columns} FROM sms.{table}")),
                key=str,
            )
            for table, columns in TABLES.items()
        }


def require_archived(target: Target) -> None:
    """What was loaded lies in the archive, byte for byte, and still at the gateway."""
    with target.world.ledger.engine.connect() as db:
        files = db.exec_driver_sql("SELECT name, archive FROM sms.report_file").all()
    assert files
    for name, place in files:
        there = (target.sandbox.home / "Report" / name).read_bytes()
        assert (target.world.folder / "archive" / place).read_bytes() == there


SCENE = Scene(prepare)


def append(target: Target, kind: str, row: bytes) -> bool:
    """Let the provider add a row to a report of the first file; False if that is gone."""
    name = f"{kind}{target.stems[0].removeprefix('SEND')}.csv"
    path = target.sandbox.home / "Report" / name
    if not path.exists():
        return False
    target.sandbox.put_report(name, path.read_bytes() + row)
    return True

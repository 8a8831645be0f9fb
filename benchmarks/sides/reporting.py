"""A delivery report into a database: `reporting load|copy PLAIN URL ARCHIVE FACTS STEM`.

Timed inside. `load` is what the task does once the file is archived; `copy` puts the bytes into a
bare table. Both find their tables empty.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

COLUMNS = ("idremote", "msisdn", "oadc", "msg", "idstatus", "status", "ackoperator")
EMPTY = """
SET session_replication_role = replica;
TRUNCATE sms.receipt, sms.stranger;
DELETE FROM sms.report_file;
UPDATE sms.submission SET state = 'accepted', reported_at = NULL, report_loaded_at = NULL,
    report_rows = NULL, report_duplicates = NULL;
CHECKPOINT
"""


def by_load(url: str, archive: Path, facts: dict[str, Any], stem: str) -> Callable[[], object]:
    """The product's way, ready to begin."""
    from sms.ledger.ledger import Ledger
    from sms.reports.archive import Archived
    from sms.reports.collection import load_delivery_report

    ledger = Ledger.connect(url)
    ledger.require_current()
    archived = Archived.from_json(facts)
    return lambda: load_delivery_report(stem, archived, ledger, archive)


def by_copy(plain: str, file: Path) -> Callable[[], object]:
    """PostgreSQL's own way, ready to begin."""

    def copy() -> None:
        with psycopg.connect(plain) as connection, connection.cursor() as cursor:
            statement = f"COPY bare ({', '.join(COLUMNS)}) FROM STDIN (FORMAT csv, DELIMITER ';')"
            with cursor.copy(statement) as into, file.open("rb") as source:
                while block := source.read(1 << 20):
                    into.write(block)

    return copy


def main(way: str, plain: str, url: str, archive: str, told: str, stem: str) -> None:
    """Print the seconds from the first byte read to the commit."""
    with psycopg.connect(plain, autocommit=True) as connection:
        if way == "load":
            for statement in EMPTY.split(";"):
                connection.execute(statement)
        else:
            columns = ", ".join(f"{name} text" for name in COLUMNS)
            connection.execute("DROP TABLE IF EXISTS bare")
            connection.execute(f"CREATE TABLE bare ({columns})")
            connection.execute("CHECKPOINT")
    folder, facts = Path(archive), json.loads(told)
    if way == "load":
        work = by_load(url, folder, facts, stem)
    else:
        work = by_copy(plain, folder / facts["place"])
    begun = time.perf_counter()
    work()
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(*sys.argv[1:])

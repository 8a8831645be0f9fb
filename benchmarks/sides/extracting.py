"""A query's rows into a file: `extracting airflow|copy URL OUT`, timed without the imports.

`airflow` is what the task `extract` does; it finds the connection `warehouse` in its environment.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

QUERY = "SELECT key, msisdn, first_name, points, store FROM recipient"


def by_airflow(out: Path) -> Callable[[], object]:
    """The product's way, ready to begin."""
    from sms.run import stages
    from sms.run.folder import RunFolder
    from sms_airflow import wiring

    out.mkdir()
    return lambda: stages.extract(wiring.rows("warehouse", QUERY, "recipients.sql"), RunFolder(out))


def by_copy(url: str, out: Path) -> Callable[[], object]:
    """PostgreSQL's own way, ready to begin."""
    import psycopg

    def copy() -> None:
        statement = f"COPY ({QUERY}) TO STDOUT (FORMAT csv, HEADER)"
        with (
            psycopg.connect(url) as connection,
            connection.cursor() as cursor,
            cursor.copy(statement) as answer,
            out.open("wb") as sink,
        ):
            for block in answer:
                sink.write(block)

    return copy


def main(way: str, url: str, out: str) -> None:
    """Print the seconds from the first question to the last byte."""
    extract = by_airflow(Path(out)) if way == "airflow" else by_copy(url, Path(out))
    begun = time.perf_counter()
    extract()
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    main(*sys.argv[1:])

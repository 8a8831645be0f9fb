"""Recipients out of PostgreSQL: the task's own stream into Parquet, and the server's COPY."""

import io
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks import people
from benchmarks.agreement import require_same_tables
from benchmarks.contest import Contest, Place, Side, benchmark, module
from demo.environment import postgres_connection
from sms.run.folder import RunFolder

TEXT = pa.large_string()
TOLD = "COPY (query) TO STDOUT into a file by psycopg, which holds {peak:.0f} MiB (timed inside)"


@benchmark("extract_5m", rows=5_000_000, rounds=3)
@benchmark("extract_1m", rows=1_000_000)
def extract(place: Place) -> Contest:
    """What `extract` does between its imports and its file."""
    place.postgres.create_database("warehouse")
    with place.postgres.connect("warehouse") as warehouse:
        _fill(warehouse, people.recipients(place.rows, place.data))
    url = f"host={place.postgres.socket_folder} user=postgres dbname=warehouse"
    folder, file = place.folder / "extracted", place.folder / "copied.csv"
    connection = postgres_connection(place.postgres.socket_folder, "warehouse")
    airflow = Side(
        module("extracting", "airflow", url, folder),
        makes=folder,
        check=lambda said: require_same_tables(
            pq.read_table(RunFolder(folder).candidates), _csv(file)
        ),
        timed_inside=True,
        variables=place.airflow | {"AIRFLOW_CONN_WAREHOUSE": connection},
    )
    copy = Side(module("extracting", "copy", url, file), makes=file, timed_inside=True)
    return Contest(airflow, copy, TOLD)


def _fill(warehouse: psycopg.Connection, recipients: Path) -> None:
    columns = pq.read_schema(recipients).names
    warehouse.execute(f"CREATE TABLE recipient ({', '.join(f'{name} text' for name in columns)})")
    with warehouse.cursor() as cursor, cursor.copy("COPY recipient FROM STDIN (FORMAT csv)") as to:
        for batch in pq.ParquetFile(recipients).iter_batches():
            block = io.BytesIO()
            pa.csv.write_csv(batch, block, pa.csv.WriteOptions(include_header=False))
            to.write(block.getvalue())
    warehouse.execute("VACUUM ANALYZE recipient")
    # Without these, two readings may come in another order of rows and could not be compared.
    for setting in ("synchronize_seqscans = off", "max_parallel_workers_per_gather = 0"):
        warehouse.execute(f"ALTER DATABASE warehouse SET {setting}")


def _csv(path: Path) -> pa.Table:
    """A CSV of PostgreSQL, where an empty cell is null unless it is quoted."""
    with path.open("rb") as source:
        names = source.readline().decode().strip().split(",")
    return pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, TEXT),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        ),
    )

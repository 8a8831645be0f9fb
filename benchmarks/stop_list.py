"""What it costs to ask a stop list of ten million numbers about a million."""

import numpy as np
import psycopg

from benchmarks import people
from benchmarks.contest import Contest, Mismatch, Place, Side, benchmark, module
from sms.ledger.ledger import Ledger

TIMES = 10  # as many in the stop list as are asked about
TOLD = "the same process without the question, which holds {peak:.0f} MiB"


@benchmark("stop_list_10m", rows=1_000_000)
def ask(place: Place) -> Contest:
    """The whole process, its numbers loaded and its ledger there, that asks or doesn't."""
    place.postgres.create_database("ledger")
    url = place.postgres.url("ledger")
    Ledger.connect(url).upgrade()
    with place.postgres.connect("ledger") as ledger:
        _fill(ledger, place.rows * TIMES)
    # Every fiftieth of those asked about said STOP; the list's other numbers are nobody's here.
    asked = np.arange(place.rows) + place.rows * TIMES
    asked[:: people.STOPPED] -= place.rows * TIMES
    numbers = people.numbers(asked)
    source = place.folder / "numbers.npy"
    np.save(source, numbers)
    stopped = np.sort(numbers[:: people.STOPPED])

    def side(way: str) -> Side:
        out = place.folder / f"{way}.npy"

        def check(said: str) -> None:
            found = np.load(out)
            if not np.array_equal(found, stopped if way == "asks" else stopped[:0]):
                raise Mismatch(f"{len(found)} numbers were found in the stop list")

        return Side(module("asking", way, url, source, out), makes=out, check=check)

    return Contest(side("asks"), side("silent"), TOLD)


def _fill(ledger: psycopg.Connection, size: int) -> None:
    """Enter so many numbers, inside the server."""
    ledger.execute(
        "INSERT INTO sms.opt_out (msisdn, opted_out_at, source, recorded_at) "
        f"SELECT {people.numbers_sql('place')}, now(), 'import', now() "
        f"FROM generate_series(0, {size - 1}) AS place"
    )
    ledger.execute("VACUUM ANALYZE sms.opt_out")

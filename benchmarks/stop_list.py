"""What it costs to ask a stop list of ten million numbers about a million, plain and hashed."""

import numpy as np
import psycopg

from benchmarks import people
from benchmarks.contest import Contest, Mismatch, Place, Side, benchmark, module
from benchmarks.sides.asking import KEY
from sms.ledger.ledger import Ledger

TIMES = 10  # as many in the stop list as are asked about
TOLD = "the same process without the question, which holds {peak:.0f} MiB"
PLAIN = "the same question of the same list while it is plain numbers"


@benchmark("stop_list_10m", rows=1_000_000)
def ask(place: Place) -> Contest:
    """The whole process, its numbers loaded and its ledger there, that asks or doesn't."""
    question = _Question(place)
    url = question.ledger("plain")
    return Contest(question.side("asks", url), question.side("silent", url), TOLD)


@benchmark("stop_list_hashed_10m", rows=1_000_000)
def ask_hashed(place: Place) -> Contest:
    """The same process, and a list whose every number is a keyed hash."""
    question = _Question(place)
    hashed, plain = question.ledger("hashed", hashed=True), question.ledger("plain")
    return Contest(question.side("asks", hashed), question.side("asks", plain), PLAIN)


class _Question:
    """A million numbers, every fiftieth of whom said STOP; the list's others are nobody's here."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._size = place.rows * TIMES
        asked = np.arange(place.rows) + self._size
        asked[:: people.STOPPED] -= self._size
        numbers = people.numbers(asked)
        self._source = place.folder / "numbers.npy"
        np.save(self._source, numbers)
        self._stopped = np.sort(numbers[:: people.STOPPED])

    def ledger(self, name: str, *, hashed: bool = False) -> str:
        """The URL of a ledger of its own, its list filled."""
        self._place.postgres.create_database(name)
        url = self._place.postgres.url(name)
        Ledger.connect(url).upgrade()
        with self._place.postgres.connect(name) as ledger:
            _fill(ledger, self._size)
            if hashed:
                _hash(ledger, self._size)
            ledger.execute("VACUUM ANALYZE sms.opt_out")
        return url

    def side(self, way: str, url: str) -> Side:
        """A process that asks, or doesn't, and what it must have found."""
        out = self._place.folder / f"{way}-{url.partition('@/')[2].partition('?')[0]}.npy"

        def check(said: str) -> None:
            found = np.load(out)
            if not np.array_equal(found, self._stopped if way == "asks" else self._stopped[:0]):
                raise Mismatch(f"{len(found)} numbers were found in the stop list")

        return Side(module("asking", way, url, self._source, out), makes=out, check=check)


def _fill(ledger: psycopg.Connection, size: int) -> None:
    """Enter so many numbers, inside the server."""
    ledger.execute(
        "INSERT INTO sms.opt_out (msisdn, opted_out_at, source, recorded_at) "
        f"SELECT {people.numbers_sql('place')}, now(), 'import', now() "
        f"FROM generate_series(0, {size - 1}) AS place"
    )


def _hash(ledger: psycopg.Connection, size: int) -> None:
    """What years of housekeeping make of them."""
    numbers = people.numbers(np.arange(size))
    pairs = np.column_stack((numbers, KEY.pseudonyms(numbers)))
    ledger.execute("CREATE TEMP TABLE named (msisdn bigint, pseudonym bigint)")
    with ledger.cursor() as cursor, cursor.copy("COPY named FROM STDIN") as copy:
        for first in range(0, size, people.BATCH):
            lines = (f"{a}\t{b}\n" for a, b in pairs[first : first + people.BATCH].tolist())
            copy.write("".join(lines))
    ledger.execute(
        "UPDATE sms.opt_out o SET msisdn = n.pseudonym FROM named n WHERE o.msisdn = n.msisdn"
    )
    ledger.execute("VACUUM FULL sms.opt_out")  # housekeeping's portions leave no such gaps
    ledger.execute("INSERT INTO sms.stop_list_key VALUES (%s, now())", (KEY.fingerprint,))

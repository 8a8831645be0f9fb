"""Cleaning personalised messages and counting their parts: whole columns against row by row."""

from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import people
from benchmarks.agreement import require_same_tables
from benchmarks.contest import Contest, Place, Side, benchmark, module

TOLD = "a text at a time: str.translate by the same table, NFC, parts (timed inside, one round)"


@benchmark("gsm_1m", rows=1_000_000)
def ordinary(place: Place) -> Contest:
    """Messages as they are; one in three holds something that GSM lacks."""
    return _contest(place, foreign=False)


@benchmark("gsm_1m_foreign", rows=1_000_000)
def foreign(place: Place) -> Contest:
    """Every message holds something that GSM lacks."""
    return _contest(place, foreign=True)


def _contest(place: Place, *, foreign: bool) -> Contest:
    texts = people.texts(place.rows, foreign, place.data)
    ours, theirs = (place.folder / f"{way}.parquet" for way in ("columns", "rows"))

    def side(out: Path, **more: object) -> Side:
        command = module("cleaning", out.stem, texts, out)
        return Side(command, makes=out, timed_inside=True, **more)

    return Contest(
        side(
            ours, check=lambda said: require_same_tables(pq.read_table(ours), pq.read_table(theirs))
        ),
        side(theirs, most_rounds=1),
        TOLD,
    )

"""Cleaning personalised messages and counting their parts: whole columns against row by row."""

from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import people
from benchmarks.agreement import require_same_tables
from benchmarks.contest import Contest, Mismatch, Place, Side, benchmark, module

TOLD = {
    "characters": "a text and in it a character at a time, from a dictionary (inside, one round)",
    "translate": "a text at a time by str.translate and sets (timed inside, one round)",
}


@benchmark("gsm_1m", rows=1_000_000)
def ordinary(place: Place) -> Contest:
    """Messages as they are; one in three holds something that GSM lacks."""
    return _contest(place, "characters", foreign=False)


@benchmark("gsm_1m_foreign", rows=1_000_000)
def foreign(place: Place) -> Contest:
    """Every message holds something that GSM lacks."""
    return _contest(place, "characters", foreign=True)


@benchmark("gsm_1m_vs_translate", rows=1_000_000)
def quicker(place: Place) -> Contest:
    """The ordinary messages, against the quickest way that plain Python has."""
    return _contest(place, "translate", foreign=False)


def _contest(place: Place, other: str, *, foreign: bool) -> Contest:
    texts = people.texts(place.rows, foreign, place.data)
    ours, theirs = (place.folder / f"{way}.parquet" for way in ("columns", other))

    def side(out: Path, **more: object) -> Side:
        command = module("cleaning", out.stem, texts, out)
        return Side(command, makes=out, timed_inside=True, **more)

    def check(said: str) -> None:
        made, expected = pq.read_table(ours), pq.read_table(theirs)
        require_same_tables(made, expected)
        if made.schema.metadata[b"replaced"] != expected.schema.metadata[b"replaced"]:
            raise Mismatch("other characters are counted as replaced, or other numbers of them")

    return Contest(side(ours, check=check), side(theirs, most_rounds=1), TOLD[other])

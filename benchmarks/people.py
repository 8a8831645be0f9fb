"""Recipients and stop lists, generated for load: numbers of the plan, names of nobody.

Made in whole columns by a seed, so that every machine measures the same rows. Nothing is sent to
any of them. Whatever lies in the folder `.data` is whole: it is made elsewhere and moved there.
"""

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

HERE = Path(__file__).parent
DATA = HERE / ".data"
SEED = 20261201
BATCH = 1 << 17  # rows of a row group
PARAMETERS, TABLE = "parameters.json", "table.parquet"
TEXT = pa.large_string()

Ints = npt.NDArray[np.int64]

# Blocks of ten million that are whole in the metropolitan plan.
BLOCKS = np.array([61, 62, 66, 67, 68, 76, 77, 78], np.int64)
BLOCK = 10_000_000
PLAN = len(BLOCKS) * BLOCK
STEP = 48_271_009  # shares no factor with PLAN: places become numbers that repeat only after it

STOPPED = 50  # one recipient in fifty is in the stop list
REPEATED = 0.03  # of the rows have an earlier row's number

CITIES = (
    *("Lyon", "Paris", "Marseille", "Toulouse", "Nice", "Nantes", "Montpellier", "Strasbourg"),
    *("Bordeaux", "Lille", "Rennes", "Reims", "Toulon", "Saint-Étienne", "Le Havre", "Grenoble"),
    *("Dijon", "Angers", "Nîmes", "Villeurbanne", "Clermont-Fd", "Aix", "Le Mans", "Brest"),
    *("Tours", "Amiens", "Besançon", "Metz", "Perpignan", "Orléans", "Nice ; Gare", 'Lyon "P2"'),
)
LONG_CITIES = (
    "Saint-Rémy-en-Bouzemont-Saint-Genest-et-Isson, zone commerciale de la Grande Vallée",
    "Beaujeu-Saint-Vallier-Pierrejux-et-Quitteur, à côté de la mairie et de l'église romane",
)
NAMES = (
    *("Marie", "Jean", "Léa", "Zoé", "Noël", "François", "Jérôme", "Maëlle", "Agnès", "Hélène"),
    *("Louis", "Emma", "Hugo", "Jade", "Adam", "Chloé", "Inès", "Raphaël", "Gaël", "Lucie"),
    *("Benoît", "Céline", "Aurélie", "Loïc", "Anaïs", "Théo", "Mathéo", "Clément", "Eloïse"),
    *("Paul", "Anne", "Luc", "Yann", "Nadia", "Karim", "Sofia", "Fatou", "Mehdi", "Ines"),
    *("Günter", "Ñuria", "Øyvind", "Łukasz", "Cœur", "Zoe\u0301", "Éva", "Timothée", "Rémi"),
    *("D’Arcy", "Joëlle"),
)
SYLLABLES = (
    *("ba", "be", "bo", "ca", "cé", "co", "da", "dè", "do", "fa", "fe", "ga", "ha", "ia", "jo"),
    *("ka", "la", "lé", "lo", "ma", "mê", "na", "no", "pa", "ra", "ri", "sa", "ta", "va", "ya"),
)
EMOJI = ("🌸", "🎉", "😀", "☀️")

# Mobiles of other countries as a calling code and a block, and how many digits follow.
FOREIGN = (("+4478", 8), ("+49151", 8), ("+3247", 7), ("+3461", 7), ("+4179", 7), ("+39347", 7))
FOREIGN_NOT_ENABLED = (("+35191", 7), ("+48601", 6))
INVALID = ("", "01 23 45 67 89", "0612", "inconnu", "0899 70 12 34", "612345678.0", "06123456789")


def recipients(rows: int, data: Path = DATA) -> Path:
    """A Parquet file of recipients: key, msisdn, first_name, points, store."""
    return _kept(data, "recipients", {"rows": rows}, partial(_recipients, rows))


def stop_list(rows: int, size: int, data: Path = DATA) -> Path:
    """A Parquet file of opt-outs, with every fiftieth of `rows` recipients among them."""
    return _kept(data, "stop_list", {"rows": rows, "size": size}, partial(_stop_list, rows, size))


def texts(rows: int, foreign: bool, data: Path = DATA) -> Path:
    """A Parquet file of one column, `text`: personalised messages as a template gives them.

    With `foreign`, each holds a character that is neither ASCII nor in GSM 03.38.
    """
    parameters = {"rows": rows, "foreign": foreign}
    return _kept(data, "texts", parameters, partial(_texts, rows, foreign))


def numbers(places: Ints) -> Ints:
    """The number in each place: a mobile of the metropolitan plan, another one everywhere."""
    mixed = places * STEP % PLAN
    found: Ints = 33_000_000_000 + BLOCKS[mixed // BLOCK] * BLOCK + mixed % BLOCK
    return found


def numbers_sql(place: str) -> str:
    """The same as an expression of SQL."""
    mixed = f"({place}::bigint * {STEP} % {PLAN})"
    blocks = ",".join(map(str, BLOCKS.tolist()))
    return (
        f"33000000000 + (ARRAY[{blocks}]::bigint[])[1 + {mixed} / {BLOCK}] * {BLOCK} "
        f"+ {mixed} % {BLOCK}"
    )


def _recipients(rows: int) -> Iterator[pa.Table]:
    for first in range(0, rows, BATCH):
        yield _some_recipients(first, min(BATCH, rows - first))


def _some_recipients(first: int, rows: int) -> pa.Table:
    chance = np.random.default_rng([SEED, first])
    place = np.arange(first, first + rows)
    again = (chance.random(rows) < REPEATED) & (place > 0)
    place[again] = (chance.random(int(again.sum())) * place[again]).astype(np.int64)
    store = _of(CITIES, chance.integers(0, len(CITIES), rows))
    store = _where(chance.random(rows) < 0.04, _of(LONG_CITIES, chance.integers(0, 2, rows)), store)
    keys = pa.array(np.arange(first, first + rows) + 10**9).cast(TEXT)
    return pa.table(
        {
            "key": _joined("C", keys),
            "msisdn": _spelled(numbers(place), chance),
            "first_name": _first_names(rows, chance),
            "points": pa.array(chance.integers(0, 5000, rows)).cast(TEXT),
            "store": store,
        }
    )


def _spelled(number: Ints, chance: np.random.Generator) -> pa.Array:
    """60 % +33, 20 % 06, 10 % 06 12, 5 % 0033, 3 % foreign, 2 % odd or no number at all."""
    rows = len(number)
    whole = pa.array(number).cast(TEXT)
    nine = pc.utf8_slice_codeunits(whole, 2)
    pairs = [pc.utf8_slice_codeunits(nine, start, start + 2) for start in (1, 3, 5, 7)]
    first = pc.utf8_slice_codeunits(nine, 0, 1)
    digits = pa.array(chance.integers(10**7, 10**8, rows)).cast(TEXT)
    foreign = [
        _joined(code, pc.utf8_slice_codeunits(digits, 0, size))
        for code, size in (*FOREIGN, *FOREIGN_NOT_ENABLED)
    ]
    odd = [
        _joined("+33 (0)", first, " ", *_spaced(pairs)),
        _joined("0", first, ".", *_spaced(pairs, ".")),
        _joined("Tél. 0", nine),
        whole,
        nine,
        *(pa.repeat(pa.scalar(text, TEXT), rows) for text in INVALID),
        pa.nulls(rows, TEXT),
    ]
    spellings = [
        (0.60, [_joined("+", whole)]),
        (0.20, [_joined("0", nine)]),
        (0.10, [_joined("0", first, " ", *_spaced(pairs))]),
        (0.05, [_joined("00", whole)]),
        (0.03, foreign),
        (0.02, odd),
    ]
    shares = [share / len(ways) for share, ways in spellings for _ in ways]
    way = np.minimum(np.searchsorted(np.cumsum(shares), chance.random(rows)), len(shares) - 1)
    return pc.choose(pa.array(way), *(spelling for _, ways in spellings for spelling in ways))


def _spaced(pairs: list[pa.Array], by: str = " ") -> list[pa.Array | str]:
    spaced: list[pa.Array | str] = []
    for pair in pairs:
        spaced += [by, pair]
    return spaced[1:]


def _first_names(rows: int, chance: np.random.Generator) -> pa.Array:
    """Nine in ten are frequent; others are nearly everybody's own, 1 % with an emoji, few lack."""
    name = _of(NAMES, chance.integers(0, len(NAMES), rows))
    pieces = [_of(SYLLABLES, chance.integers(0, len(SYLLABLES), rows)) for _ in range(4)]
    own = pc.utf8_capitalize(_joined(*pieces))
    kind = chance.random(rows)
    name = _where(kind < 0.09, own, name)
    bloom = _joined(name, " ", _of(EMOJI, chance.integers(0, len(EMOJI), rows)))
    name = _where((kind >= 0.09) & (kind < 0.10), bloom, name)
    lacking = pc.choose(pa.array(np.arange(rows) % 2), pa.nulls(rows, TEXT), _repeat(" ", rows))
    return _where(kind >= 0.999, lacking, name)


def _stop_list(rows: int, size: int) -> Iterator[pa.Table]:
    """Sorted as nobody's stop list is: in the order in which people were written to."""
    theirs = np.arange(0, rows, STOPPED)[:size]
    others = np.arange(rows, rows + size - len(theirs))
    msisdn = pa.array(numbers(np.concatenate([theirs, others]))).cast(TEXT)
    yield pa.table({"msisdn": _joined("+", msisdn)})


def _texts(rows: int, foreign: bool) -> Iterator[pa.Table]:
    for people in _recipients(rows):
        name, store, points = (
            pc.fill_null(people[column].combine_chunks(), "Camille")
            for column in ("first_name", "store", "points")
        )
        middle = " jusqu'à samedi : vos "
        end = " points sont à vous. À très bientôt !" if foreign else " points sont à vous. Merci !"
        parts = ("Bonjour ", name, ", -20% chez Lumière ", store, middle, points, end)
        yield pa.table({"text": _joined(*parts)})


def _of(words: tuple[str, ...], which: Ints) -> pa.Array:
    return pa.array(words, TEXT).take(pa.array(which))


def _where(chosen: npt.NDArray[np.bool_], these: pa.Array, those: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(chosen), these, those)


def _repeat(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, TEXT), rows)


def _joined(*parts: pa.Array | str) -> pa.Array:
    columns = [pa.scalar(part, TEXT) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*columns, pa.scalar("", TEXT))


@dataclass(frozen=True, slots=True)
class Kept:
    """A folder of generated files, and what they were generated from."""

    folder: Path
    parameters: dict[str, Any]

    def is_whole(self) -> bool:
        """Whether it holds just what these parameters make, every file at its size."""
        try:
            told = json.loads((self.folder / PARAMETERS).read_text(encoding="utf-8"))
            sizes = {name: (self.folder / name).stat().st_size for name in told["sizes"]}
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return bool(told == {"parameters": self.parameters, "sizes": sizes})

    def make(self, fill: Callable[[Path], None]) -> None:
        """Fill a new folder and put it in the place of whatever is there."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.folder.parent))
        try:
            fill(made)
            sizes = {path.name: path.stat().st_size for path in made.iterdir()}
            told = json.dumps({"parameters": self.parameters, "sizes": sizes})
            (made / PARAMETERS).write_text(told, encoding="utf-8")
            shutil.rmtree(self.folder, ignore_errors=True)
            os.rename(made, self.folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _kept(
    data: Path, name: str, parameters: dict[str, Any], tables: Callable[[], Iterator[pa.Table]]
) -> Path:
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    spelled = "-".join([name, *(str(value) for value in parameters.values())])
    kept = Kept(data / spelled, {**parameters, "source": source, "pyarrow": pa.__version__})
    if not kept.is_whole():
        kept.make(lambda folder: _write(tables(), folder / TABLE))
    return kept.folder / TABLE


def _write(tables: Iterator[pa.Table], path: Path) -> None:
    head = next(tables)
    with pq.ParquetWriter(path, head.schema) as out:
        for table in itertools.chain([head], tables):
            out.write_table(table, row_group_size=BATCH)

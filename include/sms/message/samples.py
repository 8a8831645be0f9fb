"""Which messages people are shown of a run: the first few, and one for each way through a text.

A text with conditions says different things to different people. Whoever approves it shall see all
of them, and learn which condition nobody meets: it may compare with what no row has.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.campaign.bounded_jinja import Condition
from sms.message.rendering import VARIANT, WAY

MANY = 100  # messages, among which it is no chance that all are alike


class FirstOfEach:
    """The first few messages, of each variant where there are some; fed batch after batch."""

    def __init__(self, most: int, variants: Iterable[str]) -> None:
        self._room = dict.fromkeys(variants or [""], most)
        self._found: dict[str, list[pa.RecordBatch]] = {name: [] for name in self._room}

    def look_at(self, messages: pa.RecordBatch) -> None:
        """Take what is still wanted of some messages."""
        for name, room in self._room.items():
            if room:
                ours = messages.filter(pc.equal(messages["variant"], name)) if name else messages
                some = ours.slice(0, room)
                self._room[name] -= some.num_rows
                self._found[name].append(some)

    @property
    def complete(self) -> bool:
        """Whether nothing more is wanted."""
        return not any(self._room.values())

    @property
    def found(self) -> list[pa.RecordBatch]:
        """The messages, variant after variant."""
        return [batch for batches in self._found.values() for batch in batches]


class EachWay:
    """The ways that conditions went in the messages so far, by variant; fed batch after batch."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}
        self._rows = 0

    def fresh(self, messages: pa.RecordBatch) -> list[int]:
        """The rows of a batch that show a way not seen before, as few as show all that it has."""
        if WAY.name not in messages.schema.names:
            return []
        self._rows += messages.num_rows
        which, ways = pd.factorize(messages[WAY.name].to_pandas())
        variants = pd.Index([""])
        if VARIANT.name in messages.schema.names:
            variant, variants = pd.factorize(messages[VARIANT.name].to_pandas())
            which = which * len(variants) + variant
        rows = []
        for row in np.flatnonzero(~pd.Series(which).duplicated().to_numpy(np.bool_)).tolist():
            way, of = divmod(int(which[row]), len(variants))
            taken = set(ways[way].split())
            seen = self._seen.setdefault(variants[of], set())
            if taken - seen:
                rows.append(row)
                seen |= taken
        return rows

    def unmet(self, conditions: Mapping[int, Condition], variant: str = "") -> Iterator[str]:
        """What is to be said of conditions that went one way for everybody.

        That all have a name is no surprise; that all differ from "Gold" may be one, among many.
        """
        seen = self._seen.get(variant, set())
        for number, condition in conditions.items():
            went = {way[-1] for way in seen if way[:-1] == str(number)}
            if went == {"-"}:
                yield f"line {condition.line}: its condition is true for nobody"
            elif not went:
                yield f"line {condition.line}: its condition is reached by nobody"
            elif went == {"+"} and condition.compares and self._rows >= MANY:
                yield f"line {condition.line}: its condition is true for everybody"


def rows_at(batches: Iterable[pa.RecordBatch], places: Iterable[int]) -> Iterator[pa.RecordBatch]:
    """The rows at these places, from 0, of a stream; it is read no further than the last."""
    wanted = np.array(sorted(places), np.int64)
    before = 0
    for batch in batches:
        if not wanted.size:
            return
        here = wanted[wanted < before + batch.num_rows]
        if here.size:
            yield batch.take(pa.array(here - before))
            wanted = wanted[here.size :]
        before += batch.num_rows

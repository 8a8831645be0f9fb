"""Sample messages of a run: the first few, and one for each branch of a text's conditions.

A text with conditions has several forms. The approver must see all of them, and learn which
condition no row meets: it may compare with a value that does not occur.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.campaign.bounded_jinja import Condition
from sms.message.rendering import VARIANT, WAY

MANY = 100  # messages; if all of so many are alike, it is no coincidence


class FirstOfEach:
    """The first few messages, of each variant if there are any; fed batch by batch."""

    def __init__(self, most: int, variants: Iterable[str]) -> None:
        self._room = dict.fromkeys(variants or [""], most)
        self._found: dict[str, list[pa.RecordBatch]] = {name: [] for name in self._room}

    def look_at(self, messages: pa.RecordBatch) -> None:
        """Take the messages that are still needed."""
        for name, room in self._room.items():
            if room:
                of_variant = (
                    messages.filter(pc.equal(messages["variant"], name)) if name else messages
                )
                some = of_variant.slice(0, room)
                self._room[name] -= some.num_rows
                self._found[name].append(some)

    @property
    def complete(self) -> bool:
        """Whether no more messages are needed."""
        return not any(self._room.values())

    @property
    def found(self) -> list[pa.RecordBatch]:
        """The messages, grouped by variant."""
        return [batch for batches in self._found.values() for batch in batches]


class EachWay:
    """The branches taken by conditions so far, by variant; fed batch by batch."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}
        self._rows = 0

    def fresh(self, messages: pa.RecordBatch) -> list[int]:
        """The rows of a batch that show branches not seen before, as few as possible."""
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
        """Yield notes on conditions that took the same branch in every message.

        That all rows have a name is normal; that all differ from "Gold" may be a mistake, if there
        are many.
        """
        seen = self._seen.get(variant, set())
        for number, condition in conditions.items():
            went = {way[-1] for way in seen if way[:-1] == str(number)}
            if went == {"-"}:
                yield f"line {condition.line}: its condition is true in no message"
            elif not went:
                yield f"line {condition.line}: its condition is reached in no message"
            elif went == {"+"} and condition.compares and self._rows >= MANY:
                yield f"line {condition.line}: its condition is true in every message"


def rows_at(batches: Iterable[pa.RecordBatch], places: Iterable[int]) -> Iterator[pa.RecordBatch]:
    """Yield the rows at these places (from 0) of a stream; reading stops at the last one."""
    wanted = np.array(sorted(places), np.int64)
    before = 0
    for batch in batches:
        if not wanted.size:
            return
        in_batch = wanted[wanted < before + batch.num_rows]
        if in_batch.size:
            yield batch.take(pa.array(in_batch - before))
            wanted = wanted[in_batch.size :]
        before += batch.num_rows

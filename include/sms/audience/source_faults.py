"""Faults of the source (query or tables), counted from excluded rows, with their first rows.

The rows themselves are excluded one by one, each with its Reason. This module collects those that
the owner of the query can correct.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sms.audience.screening import Reason

# Reasons that can be corrected in the query or its tables, unlike facts about recipients.
OF_THE_SOURCE = (
    *(Reason.MISSING_KEY, Reason.FLOAT_KEY, Reason.OVERSIZED_KEY, Reason.FLOAT_MSISDN),
    *(Reason.NATIONAL_MSISDN, Reason.FILLER_MSISDN),
    *(Reason.UNREADABLE_POSTCODE, Reason.MISSING_VALUE, Reason.EMPTY_VALUE),
    Reason.OVERSIZED_VALUE,
)
FIRST_ROWS = 3


class Suspects(TypedDict):
    """The number of messages that look broken in one way, and their first rows."""

    count: int
    rows: list[int]


@dataclass(frozen=True, slots=True)
class SourceFault:
    """One fault of the source: code, column, count and first rows."""

    code: str
    column: str  # "" if it belongs to no single column
    sentence: str
    count: int
    rows: tuple[int, ...]  # of the query's result, from 1

    def __str__(self) -> str:
        where = f"{self.column}: " if self.column else ""
        more = ", ..." if self.count > len(self.rows) else ""
        rows = ", ".join(f"{row:,}" for row in self.rows)
        row = "row" if self.count == 1 else "rows"
        return f"{where}{self.sentence} ({self.count:,} {row}, first {rows}{more})"


@dataclass(slots=True)
class SourceFaults:
    """Collects faults of the source from excluded rows, batch by batch."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, excluded: pa.RecordBatch) -> None:
        """Count excluded rows by `reason` and `detail`; batches come in the order of `row`."""
        correctable = excluded.filter(pc.is_in(excluded["reason"], value_set=_CORRECTABLE))
        if not correctable.num_rows:
            return
        reasons, details = (correctable[name].dictionary_encode() for name in ("reason", "detail"))
        kinds = reasons.indices.to_numpy() * np.int64(len(details.dictionary))
        kinds += details.indices.to_numpy()
        rows = correctable["row"].to_numpy()
        for kind in np.unique(kinds).tolist():
            reason, detail = divmod(kind, len(details.dictionary))
            fault = str(reasons.dictionary[reason]), str(details.dictionary[detail])
            matching = rows[kinds == kind]
            self.counts[fault] += len(matching)
            first = [*self.rows.get(fault, []), *matching[:FIRST_ROWS].tolist()]
            self.rows[fault] = sorted(first)[:FIRST_ROWS]

    def add_suspects(self, suspects: Mapping[str, Suspects]) -> None:
        """Add the messages that look broken, by the code of their fault."""
        for code, some in suspects.items():
            if some["count"]:
                self.counts[code, ""] += some["count"]
                self.rows[code, ""] = [*some["rows"]]

    def add_found(self, faults: Iterable[SourceFault]) -> None:
        """Add faults that another instance has counted."""
        for fault in faults:
            kind = fault.code, fault.column
            self.counts[kind] += fault.count
            self.rows[kind] = sorted([*self.rows.get(kind, []), *fault.rows])[:FIRST_ROWS]

    def found(self) -> list[SourceFault]:
        """The faults, most frequent first."""
        return [
            SourceFault(
                code, column, _FAULTS[code], count, tuple(self.rows[code, column][:FIRST_ROWS])
            )
            for (code, column), count in self.counts.most_common()
        ]


_CORRECTABLE = pa.array([str(reason) for reason in OF_THE_SOURCE], pa.large_string())
_FAULTS = {
    **{str(reason): reason.sentence for reason in OF_THE_SOURCE},
    "mojibake": "the text looks as if a program had read it in another encoding, and was not "
    "excluded for it: correct the source, or name its encoding",
    "html_entity": "the text holds an HTML entity such as &#039; or &eacute;, which phones show as "
    "it is, and was not excluded for it: decode the column in the query",
    "placeholder": "the text holds a placeholder of another tool, such as {{ first_name }} or "
    "[Prénom], which phones show as it is, and was not excluded for it: correct the source",
    "stopgap": "the text holds a value that means none, such as -, Inconnu, Ne pas contacter "
    "or 9999-12-31, and was not excluded for it: let the query return a null, or leave out the row",
}

"""What is wrong with a source, rather than with the people in it: shown with its first rows.

The rows themselves are excluded one by one, each with its Reason; here they are gathered, for
whoever can mend the query or the table behind it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sms.audience.screening import Reason

# What a person can mend in the query or its tables, rather than what people are.
OF_THE_SOURCE = (
    *(Reason.MISSING_KEY, Reason.OVERSIZED_KEY, Reason.FLOAT_MSISDN),
    *(Reason.NATIONAL_MSISDN, Reason.FILLER_MSISDN),
    *(Reason.UNREADABLE_POSTCODE, Reason.MISSING_VALUE, Reason.EMPTY_VALUE),
    Reason.OVERSIZED_VALUE,
)
FIRST_ROWS = 3


class Suspects(TypedDict):
    """How many messages look broken in one way, and the first rows of them."""

    count: int
    rows: list[int]


@dataclass(frozen=True, slots=True)
class SourceFault:
    """One fault of the source: what, in which column, how often, and in which rows first."""

    code: str
    column: str  # "" where it is not one column's
    sentence: str
    count: int
    rows: tuple[int, ...]  # of the query's answer, from 1

    def __str__(self) -> str:
        where = f"{self.column}: " if self.column else ""
        more = ", ..." if self.count > len(self.rows) else ""
        rows = ", ".join(f"{row:,}" for row in self.rows)
        row = "row" if self.count == 1 else "rows"
        return f"{where}{self.sentence} ({self.count:,} {row}, first {rows}{more})"


@dataclass(slots=True)
class SourceFaults:
    """Gathers the faults of the source from the excluded rows, batch after batch."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    rows: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, excluded: pa.RecordBatch) -> None:
        """Take in excluded rows: their `row`, `reason` and `detail`, in the order of the rows."""
        ours = excluded.filter(pc.is_in(excluded["reason"], value_set=_OURS))
        if not ours.num_rows:
            return
        reasons, details = (ours[name].dictionary_encode() for name in ("reason", "detail"))
        kinds = reasons.indices.to_numpy() * np.int64(len(details.dictionary))
        kinds += details.indices.to_numpy()
        rows = ours["row"].to_numpy()
        for kind in np.unique(kinds).tolist():
            reason, detail = divmod(kind, len(details.dictionary))
            fault = str(reasons.dictionary[reason]), str(details.dictionary[detail])
            found = rows[kinds == kind]
            self.counts[fault] += len(found)
            first = [*self.rows.get(fault, []), *found[:FIRST_ROWS].tolist()]
            self.rows[fault] = sorted(first)[:FIRST_ROWS]

    def add_suspects(self, suspects: Mapping[str, Suspects]) -> None:
        """Take in the messages that look broken, by the code of how."""
        for code, found in suspects.items():
            if found["count"]:
                self.counts[code, ""] += found["count"]
                self.rows[code, ""] = [*found["rows"]]

    def add_found(self, faults: Iterable[SourceFault]) -> None:
        """Take in faults that were gathered before."""
        for fault in faults:
            known = fault.code, fault.column
            self.counts[known] += fault.count
            self.rows[known] = sorted([*self.rows.get(known, []), *fault.rows])[:FIRST_ROWS]

    def found(self) -> list[SourceFault]:
        """The faults, the most frequent first."""
        return [
            SourceFault(
                code, column, _FAULTS[code], count, tuple(self.rows[code, column][:FIRST_ROWS])
            )
            for (code, column), count in self.counts.most_common()
        ]


_OURS = pa.array([str(reason) for reason in OF_THE_SOURCE], pa.large_string())
_FAULTS = {
    **{str(reason): reason.sentence for reason in OF_THE_SOURCE},
    "mojibake": "the text looks as if a program had read UTF-8 as something else, and was not "
    "excluded for it",
    "html_entity": "the text holds an HTML entity such as &#039; or &eacute;, which phones show as "
    "it stands, and was not excluded for it: decode the column in the query",
    "placeholder": "the text holds a place that some tool was to fill, such as {{ first_name }} or "
    "[Prénom], which phones show as it stands, and was not excluded for it: correct the source",
    "stopgap": "the text holds a value that stands for none, such as -, Inconnu, Ne pas contacter "
    "or 9999-12-31, and was not excluded for it: let the query return a null, or leave out the row",
}

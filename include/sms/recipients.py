"""Who is written to, who isn't, and why: the screening of candidates.

What belongs here: the reasons, their order, and the memory of whom we write to already. What
doesn't: how a number is read (`sms.msisdn`), what the text needs of a value (`sms.message`).

Each row is judged in this order, and the first reason is the one it keeps:

1. its key is missing;
2. its number has a fault (`sms.msisdn.Fault`);
3. its number's country is not enabled for the campaign;
4. the warehouse says that it opted out (a column `opted_out`), on this row or on any other row
   of the same number;
5. its number is in the stop list;
6. a value is missing that the text needs;
7. its number is written to already, or else its key is.

Of rows with the same number or key, the first in the query's order that passes 1 to 6 is written
to: a row that is excluded, for whatever reason, takes no number and no key from another.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.coded import Coded
from sms.errors import SourceError
from sms.frames import as_text
from sms.msisdn import Bools, Fault, Int64s, Numbers, normalise

OPTED_OUT = "opted_out"  # the query's optional column
OWN_COLUMNS = ("key", "msisdn", "country")  # of the audience, before the text's

EXCLUDED_SCHEMA = pa.schema(
    [(name, pa.large_string()) for name in ("key", "msisdn", "reason", "detail")]
)

# Opt-outs count unless the column plainly says no: an unknown word, or the date of an opt-out,
# is one.
NOT_OPTED_OUT = frozenset(
    {"", "0", "0.0", "false", "f", "no", "n", "non", "off", "faux", "nan", "none", "null"}
)


class Reason(Coded):
    """Why a candidate isn't written to: a code for machines, a sentence for people."""

    MISSING_KEY = "missing_key", "the row has no key, so nothing could be joined back to it"
    MISSING_MSISDN = Fault.MISSING.value, Fault.MISSING.sentence
    MALFORMED_MSISDN = Fault.MALFORMED.value, Fault.MALFORMED.sentence
    FLOAT_MSISDN = Fault.FLOAT.value, Fault.FLOAT.sentence
    TOO_SHORT_MSISDN = Fault.TOO_SHORT.value, Fault.TOO_SHORT.sentence
    TOO_LONG_MSISDN = Fault.TOO_LONG.value, Fault.TOO_LONG.sentence
    LANDLINE = Fault.LANDLINE.value, Fault.LANDLINE.sentence
    PREMIUM = Fault.PREMIUM.value, Fault.PREMIUM.sentence
    NOT_A_MOBILE = Fault.NOT_A_MOBILE.value, Fault.NOT_A_MOBILE.sentence
    OVERSEAS_AS_METROPOLITAN = (
        Fault.OVERSEAS_AS_METROPOLITAN.value,
        Fault.OVERSEAS_AS_METROPOLITAN.sentence,
    )
    COUNTRY_NOT_ENABLED = (
        "country_not_enabled",
        "the campaign isn't sent to the number's country: see allowed_countries in campaign.yaml",
    )
    OPTED_OUT_IN_WAREHOUSE = "opted_out_in_warehouse", "the warehouse says that they opted out"
    OPTED_OUT = "opted_out", "the number is in the stop list"
    MISSING_VALUE = "missing_value", "a value that the text needs is null"
    DUPLICATE_MSISDN = "duplicate_msisdn", "an earlier row has the same number"
    DUPLICATE_KEY = "duplicate_key", "an earlier row has the same key"
    # Given by the rendering (`sms.message`).
    EMPTY_TEXT = "empty_text", "the text comes out empty"
    TEXT_TOO_LONG = "text_too_long", "the text is longer than an SMS of this account may be"
    UNSUPPORTED_CHARACTERS = (
        "unsupported_characters",
        "the text holds characters that GSM 03.38 lacks",
    )
    DELIMITER_IN_TEXT = (
        "delimiter_in_text",
        "the text holds a character that this gateway's files may not carry",
    )


@dataclass(frozen=True, slots=True)
class Screening:
    """One batch, split: every row in is in one of the two.

    `audience`: `key` text, `msisdn` int64, `country` text, then the text's columns.
    `excluded`: `key`, `msisdn` as given, `reason`, `detail` (the column that is null, the country
    that isn't enabled, else ""), all text.
    """

    audience: pa.RecordBatch
    excluded: pa.RecordBatch

    @property
    def reasons(self) -> Counter[str]:
        """How many rows are excluded, by code of the reason."""
        counts = pc.value_counts(self.excluded["reason"])
        return Counter({str(count["values"]): count["counts"] for count in counts.to_pylist()})


@dataclass(slots=True)
class Screener:
    """Splits a campaign's candidates batch by batch, remembering whom it has written to.

    `columns` are those that the text uses and the audience carries; a null in one of `needed`
    (by default all of them) excludes. `opted_out` takes sorted, distinct int64 numbers and
    returns those in the stop list. `query` and `text` name the campaign's files in errors.
    It keeps 8 bytes a number and at most 16 a key.
    """

    columns: Sequence[str]
    opted_out: Callable[[Int64s], Int64s]
    allowed_countries: Sequence[str] = ("FR",)
    key: str = "key"
    msisdn: str = "msisdn"
    needed: Sequence[str] | None = None
    query: str = "recipients.sql"
    text: str = "message.txt"
    _numbers: "_Seen" = field(default_factory=lambda: _Seen(), init=False, repr=False)
    _keys: "_SeenKeys" = field(default_factory=lambda: _SeenKeys(), init=False, repr=False)
    _warehouse: "_Seen" = field(default_factory=lambda: _Seen(), init=False, repr=False)

    def __post_init__(self) -> None:
        self.columns = tuple(dict.fromkeys(self.columns))
        self.needed = self.columns if self.needed is None else tuple(self.needed)
        for column in self.columns:
            if column in OWN_COLUMNS and not column == self.key == "key":
                raise SourceError(
                    f"{self.text} uses {{{{ {column} }}}}, a name that the audience keeps for "
                    f"the screened {column}: give the column another name in {self.query} and "
                    "in the text"
                )

    @property
    def audience_schema(self) -> pa.Schema:
        """The columns of every batch of the audience."""
        carried = [(name, pa.large_string()) for name in self._carried]
        own = [("key", pa.large_string()), ("msisdn", pa.int64()), ("country", pa.large_string())]
        return pa.schema([*own, *carried])

    def survey(self, batch: pa.RecordBatch) -> None:
        """Learn the warehouse's opt-outs of a batch, without judging it.

        With a column `opted_out`, pass every batch here before the first is screened: else a
        number that opts out on a later row is written to on an earlier one.
        """
        if OPTED_OUT not in batch.schema.names:
            return
        self._require(batch, [self.msisdn])
        given = as_text(batch.select([self.msisdn, OPTED_OUT]))
        chosen = given.filter(pa.array(_says_opted_out(given[OPTED_OUT])))
        numbers = normalise(chosen[self.msisdn]).msisdn
        self._warehouse.add(np.unique(numbers[numbers != 0]))

    def screen(self, batch: pa.RecordBatch) -> Screening:
        """Split a batch into those we write to and those we don't, with the reason."""
        self._require(batch, [self.key, self.msisdn, *self.columns, *(self.needed or ())])
        names = dict.fromkeys([self.key, self.msisdn, *self.columns, *(self.needed or ())])
        if OPTED_OUT in batch.schema.names:
            names[OPTED_OUT] = None
        given = as_text(batch.select(list(names)))
        numbers = normalise(given[self.msisdn])
        verdict = _Verdict(given.num_rows)
        self._judge_alone(given, numbers, verdict)
        self._judge_opt_outs(given, numbers, verdict)
        for column in self.needed or ():
            missing = given[column].is_null().to_numpy(zero_copy_only=False)
            verdict.give(missing, Reason.MISSING_VALUE, detail=column)
        self._judge_duplicates(given[self.key], numbers.msisdn, verdict)
        return self._split(given, numbers, verdict)

    @property
    def _carried(self) -> list[str]:
        return [name for name in self.columns if name not in OWN_COLUMNS]

    def _require(self, batch: pa.RecordBatch, columns: Sequence[str]) -> None:
        present = batch.schema.names
        missing = next((name for name in columns if name not in present), None)
        if missing is None:
            return
        if missing in (self.key, self.msisdn):
            field_name = "key" if missing == self.key else "msisdn"
            asks = f"campaign.yaml names {missing!r} as its {field_name}"
        else:
            asks = f"{self.text} uses {{{{ {missing} }}}}"
        raise SourceError(
            f"{asks}, but the query of {self.query} returns only {', '.join(present)}: add the "
            "column to the query, or correct its name"
        )

    def _judge_alone(self, given: pa.RecordBatch, numbers: Numbers, verdict: "_Verdict") -> None:
        blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(given[self.key]), ""), True)
        verdict.give(blank.to_numpy(zero_copy_only=False), Reason.MISSING_KEY)
        verdict.give_faults(numbers.reason)
        allowed = np.isin(numbers.country.dictionary.to_pylist(), list(self.allowed_countries))
        enabled = allowed[numbers.country.indices.to_numpy()]
        verdict.give(~enabled, Reason.COUNTRY_NOT_ENABLED)

    def _judge_opt_outs(self, given: pa.RecordBatch, numbers: Numbers, verdict: "_Verdict") -> None:
        if OPTED_OUT in given.schema.names:
            says_so = _says_opted_out(given[OPTED_OUT])
            said = numbers.msisdn[says_so]
            self._warehouse.add(np.unique(said[said != 0]))
            verdict.give(says_so, Reason.OPTED_OUT_IN_WAREHOUSE)
        verdict.give(self._warehouse.holds(numbers.msisdn), Reason.OPTED_OUT_IN_WAREHOUSE)
        standing = np.unique(numbers.msisdn[verdict.standing])
        stopped = np.asarray(self.opted_out(standing), dtype=np.int64)
        verdict.give(_among(numbers.msisdn, np.unique(stopped)), Reason.OPTED_OUT)

    def _judge_duplicates(
        self, keys: pa.LargeStringArray, numbers: Int64s, verdict: "_Verdict"
    ) -> None:
        verdict.give(self._numbers.holds(numbers), Reason.DUPLICATE_MSISDN)
        digests = self._keys.digest(keys)
        verdict.give(self._keys.holds(digests), Reason.DUPLICATE_KEY)

        rows = np.flatnonzero(verdict.standing)
        rival = _repeated(numbers[rows]) | _repeated(digests.first[rows])
        self._settle(rows[rival], keys, numbers, verdict)

        written_to = np.flatnonzero(verdict.standing)
        self._numbers.add(np.sort(numbers[written_to]))
        self._keys.add(digests.take(written_to))

    def _settle(
        self, rows: Int64s, keys: pa.LargeStringArray, numbers: Int64s, verdict: "_Verdict"
    ) -> None:
        """Choose among rows of this batch that share a number or a key, in the query's order.

        One by one, since a row that loses its key must not keep its number from a later one.
        """
        taken_numbers: set[int] = set()
        taken_keys: set[str] = set()
        names = keys.take(pa.array(rows)).to_pylist()
        for row, key, number in zip(rows.tolist(), names, numbers[rows].tolist(), strict=True):
            if number in taken_numbers:
                verdict.give_one(row, Reason.DUPLICATE_MSISDN)
            elif key in taken_keys:
                verdict.give_one(row, Reason.DUPLICATE_KEY)
            else:
                taken_numbers.add(number)
                taken_keys.add(key)

    def _split(self, given: pa.RecordBatch, numbers: Numbers, verdict: "_Verdict") -> Screening:
        kept = pa.array(np.flatnonzero(verdict.standing))
        out = pa.array(np.flatnonzero(~verdict.standing))
        countries = numbers.country.take(kept).dictionary_decode()
        audience = [
            given[self.key].take(kept),
            pa.array(numbers.msisdn).take(kept),
            countries,
            *(given[name].take(kept) for name in self._carried),
        ]
        excluded = [
            given[self.key].take(out),
            given[self.msisdn].take(out),
            verdict.reasons(out),
            verdict.details(out, numbers.country),
        ]
        return Screening(
            pa.RecordBatch.from_arrays(audience, schema=self.audience_schema),
            pa.RecordBatch.from_arrays(excluded, schema=EXCLUDED_SCHEMA),
        )


def _says_opted_out(column: pa.LargeStringArray) -> Bools:
    """Which rows the warehouse's own column takes off the list; null is no opt-out."""
    encoded = column.dictionary_encode()
    words = [word.strip().casefold() for word in encoded.dictionary.to_pylist()]
    says_so = np.array([word not in NOT_OPTED_OUT for word in words] + [False], dtype=np.bool_)
    index: Int64s = encoded.indices.fill_null(len(words)).to_numpy()
    return says_so[index]


def _repeated(values: Int64s) -> Bools:
    return pd.Series(values).duplicated(keep=False).to_numpy(dtype=np.bool_)


def _among(values: Int64s, known: Int64s) -> Bools:
    """Which of `values` are in the sorted array `known`."""
    if not known.size:
        return np.zeros(len(values), dtype=np.bool_)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    found: Bools = known[place] == values
    return found


_REASONS = tuple(Reason)
_CODE: dict[str, int] = {reason: code for code, reason in enumerate(_REASONS, start=1)}


class _Verdict:
    """The first reason given to each row of a batch; 0 while it stands."""

    def __init__(self, rows: int) -> None:
        self.code = np.zeros(rows, dtype=np.int8)
        self.column = np.zeros(rows, dtype=np.int16)
        self.columns = [""]

    @property
    def standing(self) -> Bools:
        standing: Bools = self.code == 0
        return standing

    def give(self, rows: Bools, reason: Reason, detail: str = "") -> None:
        """Give a reason to those of `rows` that still stand."""
        chosen = rows & (self.code == 0)
        self.code[chosen] = _CODE[reason]
        if detail:
            self.columns.append(detail)
            self.column[chosen] = len(self.columns) - 1

    def give_one(self, row: int, reason: Reason) -> None:
        self.code[row] = _CODE[reason]

    def give_faults(self, faults: pa.DictionaryArray) -> None:
        words = faults.dictionary.to_pylist()
        codes = np.array([_CODE.get(word, 0) for word in words], dtype=np.int8)
        self.code = np.where(self.code == 0, codes[faults.indices.to_numpy()], self.code)

    def reasons(self, rows: pa.Array) -> pa.Array:
        words = pa.array(["", *(str(reason) for reason in _REASONS)], pa.large_string())
        return words.take(pa.array(self.code).take(rows))

    def details(self, rows: pa.Array, country: pa.DictionaryArray) -> pa.Array:
        columns = pa.array(self.columns, pa.large_string())
        detail = columns.take(pa.array(self.column).take(rows))
        abroad = pa.array(self.code == _CODE[Reason.COUNTRY_NOT_ENABLED]).take(rows)
        return pc.if_else(abroad, country.take(rows).dictionary_decode(), detail)


class _Seen:
    """A growing set of int64, as few sorted runs: 8 bytes a number.

    A run is merged with its neighbour once it has grown as long, so n numbers are merged about
    log2(n / batch) times and looked up in as many runs.
    """

    def __init__(self) -> None:
        self._runs: list[Int64s] = []

    def add(self, values: Int64s) -> None:
        """Take in sorted values."""
        if not values.size:
            return
        while self._runs and self._runs[-1].size <= 2 * values.size:
            values = np.concatenate([self._runs.pop(), values])
            values.sort(kind="stable")
        self._runs.append(values)

    def holds(self, values: Int64s) -> Bools:
        found = np.zeros(len(values), dtype=np.bool_)
        if self._runs:
            order = np.argsort(values)
            ordered = values[order]  # sorted probes walk a run instead of jumping about in it
            for run in self._runs:
                found[order] |= _among(ordered, run)
        return found


@dataclass(frozen=True, slots=True)
class _Digests:
    """A column of keys as numbers that stand for them: 128 bits in two int64."""

    first: Int64s
    second: Int64s

    def take(self, rows: Int64s) -> "_Digests":
        return _Digests(self.first[rows], self.second[rows])

    def holds(self, others: "_Digests") -> Bools:
        """Which of `others` are among these, which are sorted by their first half."""
        place = np.minimum(np.searchsorted(self.first, others.first), len(self.first) - 1)
        found: Bools = (self.first[place] == others.first) & (self.second[place] == others.second)
        return found


class _SeenKeys:
    """The keys that were written to, as 128-bit digests: two keys never meet by chance."""

    def __init__(self) -> None:
        self._runs: list[_Digests] = []

    @staticmethod
    def digest(keys: pa.LargeStringArray) -> _Digests:
        texts = keys.fill_null("").to_numpy(zero_copy_only=False)
        first, second = (
            pd.util.hash_array(texts, hash_key=salt, categorize=False).view(np.int64)
            for salt in ("recipient key, 1", "recipient key, 2")
        )
        return _Digests(first, second)

    def add(self, digests: _Digests) -> None:
        if not digests.first.size:
            return
        while self._runs and self._runs[-1].first.size <= 2 * digests.first.size:
            run = self._runs.pop()
            digests = _Digests(
                np.concatenate([run.first, digests.first]),
                np.concatenate([run.second, digests.second]),
            )
        self._runs.append(digests.take(np.argsort(digests.first, kind="stable")))

    def holds(self, digests: _Digests) -> Bools:
        found = np.zeros(len(digests.first), dtype=np.bool_)
        if self._runs:
            order = np.argsort(digests.first)
            ordered = digests.take(order)
            for run in self._runs:
                found[order] |= run.holds(ordered)
        return found

"""Screening of candidates into audience and excluded, each excluded row with its Reason.

This module has the reasons, their order, and the rule for rows with the same number or key. Numbers
are read in `sms.telecom.msisdn`, texts are rendered in `sms.message.rendering`.

The candidates are read twice. The survey reads numbers, keys and gaps, and decides every row; it
keeps some 30 bytes a row, however wide the rows are. The split then reads the same rows again and
separates them. The checks of a row run in this order, and the first failed one is its reason:

1. its key is missing, rounded by a spreadsheet, or too long;
2. its number has a fault (`sms.telecom.msisdn.NumberFault`);
3. its number's country is not enabled for the campaign, or its zone is overseas and the campaign
   excludes overseas, or its postcode is filled and can't be read;
4. the warehouse has it as opted out (a column `opted_out`), in this row or in any other row of
   the same number or key;
5. its number is in the stop list;
6. by the ledger, it got too many messages, or the latest ones failed (if the campaign asks);
7. a value that the text needs is null, blank or longer than any text;
8. an earlier row has its number, or else its key;
9. it is in the campaign's control group: a share of the remaining rows gets no message.

Of several rows with the same number or key, the first in the query's order that passes 1 to 7 gets
the message: a row that fails one of these does not block a later row. The chosen row may still be
excluded by its text (`sms.message.rendering`: too long, a character that can't be sent). Then no
row of that number gets a message, because texts are rendered after duplicates are removed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.audience.column_names import (
    OPTED_OUT,
    alike,
    means_country,
    means_dialling_code,
    means_opted_out,
    means_postcode,
    resembles_opted_out,
)
from sms.audience.residence import ONE_ZONE, UNREADABLE, Geography
from sms.calendar.zones import FRANCE
from sms.columnar import kinds
from sms.columnar.digests import digest
from sms.columnar.kinds import WordCounts
from sms.columnar.nulls import SPELLINGS, are_nulls
from sms.columnar.parquet import as_text, placed
from sms.columnar.text import Flags, Ints, Uint64s, bytes_of, distinct, flags_of, nulls_of
from sms.columnar.threads import ordered
from sms.columnar.values import ValueKind
from sms.errors import SourceError
from sms.telecom import gsm
from sms.telecom.coded import Coded
from sms.telecom.msisdn import FRENCH, REGIONS, NumberFault, normalise
from sms.telecom.national import is_ambiguous, meanings

# Columns of the audience before the text's own; `of_file` is the index of the run's file.
OWN_COLUMNS = ("row", "key", "msisdn", "country", "of_file")

EXCLUDED_SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        *((name, pa.large_string()) for name in ("key", "msisdn", "reason", "detail")),
    ]
)

# An opted_out value counts unless it plainly means no: an unknown word, or a date, is an opt-out.
NOT_OPTED_OUT = frozenset(
    {"", "0", "0.0", "false", "f", "no", "n", "non", "off", "faux", "nan", "none", "null"}
)

LONGEST_VALUE = 765  # characters: the size of the longest SMS
LONGEST_KEY = 255  # characters
FEWEST_DIGITS = 9  # of a French number without its zero
MANY_ROWS = 20  # rows with one number: more than a household or a shop has


class Reason(Coded):
    """Why a candidate gets no message: a code for programs, a sentence for people."""

    MISSING_KEY = "missing_key", "the row has no key, so nothing could be joined back to it"
    FLOAT_KEY = (
        "float_key",
        "the key is written in scientific notation and may have lost digits, so nothing could be "
        "joined back to it: cast the column to text in the query",
    )
    OVERSIZED_KEY = "oversized_key", f"the key is longer than {LONGEST_KEY} characters"
    MISSING_MSISDN = NumberFault.MISSING.value, NumberFault.MISSING.sentence
    MALFORMED_MSISDN = NumberFault.MALFORMED.value, NumberFault.MALFORMED.sentence
    FLOAT_MSISDN = NumberFault.FLOAT.value, NumberFault.FLOAT.sentence
    TOO_SHORT_MSISDN = NumberFault.TOO_SHORT.value, NumberFault.TOO_SHORT.sentence
    TOO_LONG_MSISDN = NumberFault.TOO_LONG.value, NumberFault.TOO_LONG.sentence
    LANDLINE = NumberFault.LANDLINE.value, NumberFault.LANDLINE.sentence
    PREMIUM = NumberFault.PREMIUM.value, NumberFault.PREMIUM.sentence
    NOT_A_MOBILE = NumberFault.NOT_A_MOBILE.value, NumberFault.NOT_A_MOBILE.sentence
    OVERSEAS_AS_METROPOLITAN = (
        NumberFault.OVERSEAS_AS_METROPOLITAN.value,
        NumberFault.OVERSEAS_AS_METROPOLITAN.sentence,
    )
    NATIONAL_MSISDN = NumberFault.NATIONAL.value, NumberFault.NATIONAL.sentence
    COUNTRY_NOT_ENABLED = (
        "country_not_enabled",
        "the campaign isn't sent to the number's country: see allowed_countries in campaign.yaml",
    )
    OVERSEAS = (
        "overseas",
        "they live overseas, and the campaign leaves those out: see overseas in campaign.yaml",
    )
    UNREADABLE_POSTCODE = (
        "unreadable_postcode",
        "the postcode can't be read, so the open hours there are not known: write a French "
        "postcode or department, or null where there is none",
    )
    OPTED_OUT_IN_WAREHOUSE = "opted_out_in_warehouse", "the warehouse says that they opted out"
    OPTED_OUT = "opted_out", "the number is in the stop list"
    FREQUENCY_CAP = (
        "frequency_cap",
        "they were written to as often as frequency_cap in campaign.yaml allows",
    )
    FAILING_NUMBER = (
        "failing_number",
        "the latest messages to the number failed: see suppress_after_failures in campaign.yaml",
    )
    MISSING_VALUE = "missing_value", "a value that the text needs is null"
    EMPTY_VALUE = "empty_value", "a value that the text needs is blank"
    OVERSIZED_VALUE = (
        "oversized_value",
        f"a value that the text needs is longer than {LONGEST_VALUE} characters",
    )
    DUPLICATE_MSISDN = "duplicate_msisdn", "an earlier row has the same number"
    FILLER_MSISDN = (
        "filler_msisdn",
        f"the number is in {MANY_ROWS} rows or more, as if it filled a gap, and only the first of "
        "them is written to: let the query return null where there is no number",
    )
    DUPLICATE_KEY = "duplicate_key", "an earlier row has the same key"
    CONTROL_GROUP = (
        "control_group",
        "they are kept to compare with: see control_group in campaign.yaml",
    )
    # Set by the rendering (`sms.message.rendering`).
    EMPTY_TEXT = "empty_text", "the text comes out empty"
    TEXT_TOO_LONG = "text_too_long", "the text is longer than an SMS of this account may be"
    UNSUPPORTED_CHARACTERS = (
        "unsupported_characters",
        "the text holds characters that GSM 03.38 or the gateway's encoding lacks",
    )
    DELIMITER_IN_TEXT = (
        "delimiter_in_text",
        "the text holds a character that this gateway's files may not carry",
    )


SENTENCES = {str(reason): reason.sentence for reason in Reason}

_REASONS = tuple(Reason)
_CODE: dict[str, int] = {reason: code for code, reason in enumerate(_REASONS, start=1)}
_WORDS = pa.array(["", *(str(reason) for reason in _REASONS)], pa.large_string())
_COUNTRIES = pa.array(REGIONS, pa.large_string())

# Gaps of a value, in the order of the checks; 0 is none.
_GAPS = (Reason.MISSING_VALUE, Reason.EMPTY_VALUE, Reason.OVERSIZED_VALUE)
_GAP_CODES = np.array([0, *(_CODE[gap] for gap in _GAPS)], np.int8)

Codes = npt.NDArray[np.int8]
Small = npt.NDArray[np.int16]

Asked = Callable[[Ints], Ints]  # sorted, distinct numbers -> those that are listed
Drawn = Callable[[Ints], Flags]  # numbers -> a flag for each
Word = TypeVar("Word", Ints, Uint64s)
Found: TypeAlias = (
    ValueKind | kinds.Agreement
)  # the kind of a column, or the kinds that its texts fit


@dataclass(frozen=True, slots=True)
class Screening:
    """One batch, split: every row is in exactly one of the two.

    `audience`: `row` int64 (its place in the query's result, from 1), `key` text, `msisdn` int64,
    `country` text, `of_file` int16, then the text's columns. `excluded`: `row` int64, `key`,
    `msisdn` as the source has it, `reason`, `detail` (the column with a gap, the country that
    isn't enabled, else "").
    """

    audience: pa.RecordBatch
    excluded: pa.RecordBatch

    @property
    def reasons(self) -> Counter[str]:
        """The number of excluded rows by reason code."""
        counts = pc.value_counts(self.excluded["reason"])
        return Counter({str(count["values"]): count["counts"] for count in counts.to_pylist()})


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive rows of the query's result, and their place in it."""

    rows: pa.RecordBatch
    first: int  # number of rows before them


@dataclass(frozen=True, slots=True)
class Screener:
    """A campaign's requirements on its candidates.

    `columns` are the text's columns, which the audience contains. A gap in one of `needed`
    (default: all) excludes the row. The text computes with the `computed` ones, so these have a
    kind (`sms.columnar.kinds`); in an `untyped` source all their values must fit it.
    `national_numbers` is the country of numbers without a code; by default France, unless another
    allowed country writes numbers the same way. `postcode` is the column of recipients' places, if
    there is one; `lacks_postcode`: there is none, and one would count. `control_group` draws the
    rows that get no message. `unicode`: phones show every character, not only GSM's. `query` and
    `text` are the campaign's files, for errors.
    """

    columns: Sequence[str]
    computed: Sequence[str] = ()
    untyped: bool = False
    allowed_countries: Sequence[str] = ("FR",)
    national_numbers: str | None = None
    key: str = "key"
    msisdn: str = "msisdn"
    needed: Sequence[str] | None = None
    postcode: str | None = None
    lacks_postcode: bool = False
    geography: Geography = ONE_ZONE
    control_group: Drawn | None = None
    unicode: bool = False
    query: str = "recipients.sql"
    text: str = "message.txt"

    def __post_init__(self) -> None:
        for column in self.columns:
            if column in OWN_COLUMNS and not column == self.key == "key":
                raise SourceError(
                    f"{self.text} uses {{{{ {column} }}}}, a name that the audience keeps for "
                    f"the screened {column}: give the column another name in {self.query} and "
                    "in the text"
                )

    @property
    def carried(self) -> tuple[str, ...]:
        """The text's own columns in the audience, distinct."""
        return tuple(dict.fromkeys(name for name in self.columns if name not in OWN_COLUMNS))

    @property
    def encodable(self) -> tuple[str, ...]:
        """Columns that may stay dictionary encoded: only the text uses them."""
        own = (self.key, self.msisdn, self.postcode)
        return tuple(name for name in self.carried if name not in own and not means_opted_out(name))

    @property
    def required(self) -> tuple[str, ...]:
        """The columns where a gap excludes a row, distinct."""
        return tuple(dict.fromkeys(self.columns if self.needed is None else self.needed))

    def audience_schema(self, known: Mapping[str, ValueKind] = MappingProxyType({})) -> pa.Schema:
        """The schema of the audience; the text's own columns have their kinds."""
        carried = [kinds.field(name, known.get(name)) for name in self.carried]
        own = [("key", pa.large_string()), ("msisdn", pa.int64()), ("country", pa.large_string())]
        return pa.schema([("row", pa.int64()), *own, ("of_file", pa.int16()), *carried])

    def survey(
        self,
        batches: Iterable[pa.RecordBatch],
        opted_out: Asked,
        limit: int | None = None,
        spared: Mapping[Reason, Asked] = MappingProxyType({}),
    ) -> "Survey":
        """Decide the first `limit` rows (default: all).

        Opt-outs in later rows count too. `opted_out` is called once: it takes sorted, distinct
        numbers and returns those in the stop list. So is each function in `spared`, which returns
        the numbers to exclude for another reason.
        """
        pages = _Pages()
        for page in ordered(lambda each: self._read(*each), placed(batches)):
            pages.add(page)
        lists = {Reason.OPTED_OUT: opted_out, **spared}
        return replace(_settled(self, pages.whole(), lists, limit), kinds=pages.kinds)

    def _read(self, before: int, batch: pa.RecordBatch) -> "_Page":
        """Check one batch by itself; `before` is the number of rows before it."""
        given = self.texts(batch.select(self.among(batch.schema.names)), before)
        numbers = normalise(given[self.msisdn], national=self._reads_national)
        keys = given[self.key]
        code = np.zeros(batch.num_rows, np.int8)
        _give(code, are_blank(keys) | _spell_nulls(keys), Reason.MISSING_KEY)
        _give(code, _are_rounded(keys), Reason.FLOAT_KEY)
        _give(code, _longer(keys, LONGEST_KEY), Reason.OVERSIZED_KEY)
        _give_faults(code, numbers.reason)
        self._give_national_abroad(code, given)
        region = numbers.country.indices.to_numpy()
        _give(code, ~np.isin(REGIONS, list(self.allowed_countries))[region], _NOT_ENABLED)
        lives = self.geography.places(region, given[self.postcode] if self.postcode else None)
        unreadable = lives == UNREADABLE
        _give(code, unreadable, Reason.UNREADABLE_POSTCODE)
        lives[unreadable] = 0
        if self.geography.excludes_overseas:
            _give(code, self.geography.overseas[lives], Reason.OVERSEAS)
        gap = np.zeros(batch.num_rows, np.int16)
        blank = are_blank if self.unicode else nothing_on_a_phone
        for place, name in enumerate(self.required):
            _note_gaps(gap, given[name], place, blank)
        opted_out = np.zeros(0, np.int64)
        says_so = np.zeros(batch.num_rows, np.bool_)
        for name in filter(means_opted_out, given):
            says_so |= _says_opted_out(given[name])
        if says_so.any():
            _give(code, says_so, Reason.OPTED_OUT_IN_WAREHOUSE)
            unsure = says_so & np.isin(code, _UNSURE)
            meant = meanings(given[self.msisdn].filter(pa.array(unsure)), self.allowed_countries)
            opted_out = distinct(np.concatenate([numbers.msisdn[says_so], meant]))
        first, second = digest(keys).T.copy()
        opted_out = opted_out[opted_out != 0]
        keyed = says_so & ~are_blank(keys)
        opted_out_keys = np.column_stack([first[keyed], second[keyed]])
        kinds_by_name = self._kinds(batch.schema, given)
        texts = [name for name, kind in kinds_by_name.items() if not isinstance(kind, ValueKind)]
        word_counts = {
            name: kinds.word_counts(given[name]) for name in texts if name in self.computed
        }
        return _Page(
            numbers.msisdn,
            region,
            lives,
            code,
            gap,
            first,
            second,
            opted_out,
            opted_out_keys,
            kinds_by_name,
            word_counts,
        )

    def _give_national_abroad(self, code: Codes, given: Mapping[str, pa.Array]) -> None:
        """Exclude numbers without a country code in rows of other countries.

        They are not read as French, unless the campaign sets `national_numbers`.
        """
        elsewhere = np.zeros(len(code), np.bool_)
        for name in filter(means_country, given if self.national_numbers is None else ()):
            elsewhere |= ~_says_france(given[name])
        rows = np.flatnonzero(elsewhere)
        if rows.size:
            texts = given[self.msisdn].take(pa.array(rows))
            national = normalise(texts, national=False).reason.cast(pa.string())
            elsewhere[rows] = flags_of(pc.equal(national, Reason.NATIONAL_MSISDN.value))
            _give(code, elsewhere, Reason.NATIONAL_MSISDN)

    def _kinds(self, schema: pa.Schema, given: Mapping[str, pa.Array]) -> dict[str, Found]:
        """For each column the kind from its source, or the kinds that its texts fit."""
        by_name: dict[str, Found] = {}
        for name in self.carried:
            kind = kinds.of_field(schema.field(name))
            if kind is not ValueKind.TEXT or name not in self.computed:
                by_name[name] = kind
            else:
                among = kinds.OF_NO_TYPE if self.untyped else kinds.OF_TEXT
                by_name[name] = kinds.agreeing(given[name], among)
        return by_name

    @property
    def _reads_national(self) -> bool:
        """Whether a number without a country code can only be French."""
        return self.national_numbers == FRANCE or not is_ambiguous(self.allowed_countries)

    def texts(self, batch: pa.RecordBatch, before: int = 0) -> dict[str, pa.Array]:
        """A batch's columns as text; `encodable` ones stay dictionary encoded if they are.

        `before` is the number of rows before the batch, for errors.
        """
        encoded = [
            name
            for name in batch.schema.names
            if name in self.encodable and _is_encoded(batch.schema.field(name).type)
        ]
        others = [name for name in batch.schema.names if name not in encoded]
        plain = as_text(batch.select(others), before + 1)
        texts: dict[str, pa.Array] = dict(zip(others, plain.columns, strict=True))
        for name in encoded:
            column = batch[name]
            try:
                words = as_text(pa.RecordBatch.from_arrays([column.dictionary], [name]))[0]
            except SourceError:
                as_text(batch.select([name]), before + 1)  # raises with the row's number
                raise
            texts[name] = pa.DictionaryArray.from_arrays(column.indices, words)
        return texts

    def among(self, present: Sequence[str]) -> list[str]:
        """The columns to read, of those that the query returns.

        Raises SourceError for the first column that the campaign needs and the query lacks, and for
        a name that resembles an opt-out or a place and is not used as one.
        """
        for fault in self.column_faults(present):
            raise SourceError(fault.sentence)
        asked = self._asked()
        return [
            name
            for name in present
            if name in asked or means_opted_out(name) or means_country(name)
        ]

    def column_faults(self, present: Sequence[str]) -> Iterator["ColumnFault"]:
        """Yield faults: needed columns that the query lacks, and misleading names."""
        asked = self._asked()
        for name, by in asked.items():
            if name not in present:
                if any(map(_may_be_a_number, present)):  # a row, which no sentence may show
                    yield ColumnFault(
                        name,
                        by,
                        f"{self._why(name, by)}, but {self.query} begins with what looks like a "
                        "row: write the names of the columns into a first line",
                    )
                    return
                meant = alike(name, present)
                hint = f", did you mean {meant}?" if meant else ""
                yield ColumnFault(
                    name,
                    by,
                    f"{self._why(name, by)}, but the query of {self.query} returns only "
                    f"{', '.join(present)}{hint or ':'} {'A' if hint else 'a'}dd the column to the "
                    "query, or correct its name",
                )
        for name in present:
            if name not in asked and resembles_opted_out(name):
                yield ColumnFault(
                    name,
                    None,
                    f"the query of {self.query} returns a column {name!r}, did you mean "
                    f"{OPTED_OUT}? A column of that name excludes recipients who opted out. Name "
                    "it so if it is one, such as `opted_out_at IS NOT NULL AS opted_out` or `NOT "
                    "opt_in AS opted_out`; if it is none, give it another name, or take it out of "
                    "the query",
                )
            if name not in asked and means_dialling_code(name):
                yield ColumnFault(
                    name,
                    None,
                    f"the query of {self.query} returns a column {name!r}, which is not read: if "
                    f"it is the country's code of {self.msisdn}, a number without it may belong to "
                    f"another subscriber: join them, such as `'+' || {name} || {self.msisdn} AS "
                    f"{self.msisdn}`; if not, give it another name, or take it out of the query",
                )
            if self.lacks_postcode and name not in asked and means_postcode(name):
                yield ColumnFault(
                    name,
                    None,
                    f"the query of {self.query} returns a column {name!r}, and campaign.yaml names "
                    "no postcode, so messages would go out in the open hours of the number "
                    f"alone, did you mean `postcode: {name}`? If it is the recipients' place, "
                    "write that in campaign.yaml; if not, give it another name, or take it out of "
                    "the query",
                )

    def _asked(self) -> dict[str, str]:
        """Each column that the campaign needs, and its key in campaign.yaml, or "text"."""
        own = {self.key: "key", self.msisdn: "msisdn"}
        if self.postcode:
            own.setdefault(self.postcode, "postcode")
        named = (*self.columns, *self.required)
        return own | {name: "text" for name in named if name != self.key}

    def _why(self, name: str, by: str) -> str:
        if by == "text":
            return f"{self.text} uses {{{{ {name} }}}}"
        return f"campaign.yaml names {name!r} as its {by}"


@dataclass(frozen=True, slots=True)
class ColumnFault:
    """A fault of one name among a query's columns.

    `asked_by` is the key of campaign.yaml that needs it, "text", or None if nothing does.
    """

    column: str
    asked_by: str | None
    sentence: str


@dataclass(frozen=True, slots=True)
class _Page:
    """The stored facts of rows, 31 bytes a row."""

    msisdn: Ints
    region: Small  # index in REGIONS
    place: Small  # index of the zone in the geography's
    code: Codes  # index of the reason, 0 for none yet
    gap: Small  # 0, or 3 * index of the needed column + index in _GAPS + 1
    first: Uint64s  # one half of the key's digest
    second: Uint64s  # the other half
    opted_out: Ints  # not by row: numbers that are opted out in the warehouse,
    opted_out_keys: Uint64s  # and the digests of their keys, two words each
    kinds: Mapping[str, Found]  # of the text's columns, by name
    word_counts: Mapping[str, WordCounts]  # of the computed text columns, by name


class _Pages:
    """All pages so far, in arrays with spare room, so that no row is in memory twice."""

    def __init__(self) -> None:
        self._rows = 0
        self._columns = {name: np.empty(ROOM, kind) for name, kind in _KINDS.items()}
        self._opted_out: list[Ints] = []
        self._opted_out_keys: list[Uint64s] = []
        self._kinds: dict[str, Found] = {}
        self._word_counts: dict[str, WordCounts] = {}

    def add(self, page: _Page) -> None:
        end = self._rows + len(page.code)
        for name, column in self._columns.items():
            if end > len(column):
                column = np.empty(max(end, 2 * len(column)), column.dtype)
                column[: self._rows] = self._columns[name][: self._rows]
                self._columns[name] = column
            column[self._rows : end] = getattr(page, name)
        self._rows = end
        self._opted_out.append(page.opted_out)
        self._opted_out_keys.append(page.opted_out_keys)
        for name, found in page.kinds.items():
            self._kinds[name] = _both(self._kinds.get(name), found)
        for name, counts in page.word_counts.items():
            self._word_counts[name] = self._word_counts.get(name, np.zeros_like(counts)) + counts

    def whole(self) -> _Page:
        columns = {name: column[: self._rows] for name, column in self._columns.items()}
        opted_out = distinct(np.concatenate([np.zeros(0, np.int64), *self._opted_out]))
        keys = np.concatenate([np.zeros((0, 2), np.uint64), *self._opted_out_keys])
        return _Page(
            **columns,
            opted_out=opted_out,
            opted_out_keys=keys,
            kinds=self._kinds,
            word_counts=self._word_counts,
        )

    @property
    def kinds(self) -> dict[str, ValueKind]:
        """The kind of each column, if known."""
        known = {
            name: found if isinstance(found, ValueKind) else next(iter(found), ValueKind.TEXT)
            for name, found in self._kinds.items()
            if found is not None
        }
        return (
            {"key": ValueKind.TEXT}
            | known
            | {
                name: kinds.refined(known[name], counts)
                for name, counts in self._word_counts.items()
                if name in known
            }
        )


def _both(one: Found, other: Found) -> Found:
    if isinstance(one, tuple) or isinstance(other, tuple):
        can_be = [each if isinstance(each, tuple) else None for each in (one, other)]
        return kinds.agreed(*can_be)
    return kinds.merged(one, other)


ROOM = 1 << 23  # rows; memory that is never written is free
_KINDS: dict[str, npt.DTypeLike] = {
    **{"msisdn": np.int64, "region": np.int16, "place": np.int16},
    **{"code": np.int8, "gap": np.int16},
    **{"first": np.uint64, "second": np.uint64},
}


def _settled(
    screener: Screener, page: _Page, lists: Mapping[Reason, Asked], limit: int | None
) -> "Survey":
    rows = len(page.code) if limit is None else min(limit, len(page.code))
    msisdn, code, gap = page.msisdn[:rows], page.code[:rows], page.gap[:rows]
    first, second = page.first[:rows], page.second[:rows]
    _give(code, _among(msisdn, page.opted_out), Reason.OPTED_OUT_IN_WAREHOUSE)
    _give_opted_out_keys(code, first, second, page.opted_out_keys)
    standing = code == 0
    with ThreadPoolExecutor(1, thread_name_prefix="sms-keys") as beside:
        sorting = beside.submit(lambda: _numbers(first[standing])[1])
        numbers, shared = _numbers(msisdn[standing])
        for reason, asked in lists.items():
            _give(code, _among(msisdn, asked(numbers)), reason)
        del numbers
        shared_keys = sorting.result()
    gaps = np.flatnonzero((gap > 0) & (code == 0))
    code[gaps] = _GAP_CODES[(gap[gaps] - 1) % len(_GAPS) + 1]
    _give_duplicates(code, msisdn, shared, first, second, shared_keys)
    _give_fillers(code, msisdn, shared)
    if screener.control_group is not None:
        standing = np.flatnonzero(code == 0)
        code[standing[screener.control_group(msisdn[standing])]] = _CODE[Reason.CONTROL_GROUP]
    region, place = page.region[:rows], page.place[:rows]
    return Survey(screener, msisdn, region, place, code, gap, rows == len(page.code))


def _give_opted_out_keys(code: Codes, first: Uint64s, second: Uint64s, opted_out: Uint64s) -> None:
    """Exclude the other numbers of a key that opted out."""
    standing = np.flatnonzero(code == 0)
    likely = standing[_among(first[standing], opted_out[:, 0])]
    if likely.size:
        known = set(map(tuple, opted_out[_among(opted_out[:, 0], first[likely])].tolist()))
        keys = zip(first[likely].tolist(), second[likely].tolist(), strict=True)
        same = np.array([key in known for key in keys], np.bool_)
        code[likely[same]] = _CODE[Reason.OPTED_OUT_IN_WAREHOUSE]


def _numbers(values: Word) -> tuple[Word, Word]:
    """The values sorted and distinct, and the sorted repeats.

    Sorting takes a third of a hash table's time and memory.
    """
    values.sort()
    again = values[1:] == values[:-1]
    shared = values[1:][again]
    return (np.delete(values, np.flatnonzero(again)) if shared.size else values), shared


def _give_fillers(code: Codes, msisdn: Ints, shared: Ints) -> None:
    """Give FILLER_MSISDN to duplicates of a number that is in very many rows."""
    fillers = _repeated(shared, MANY_ROWS - 1)
    if fillers.size:
        duplicates = np.flatnonzero(code == _CODE[Reason.DUPLICATE_MSISDN])
        code[duplicates[_among(msisdn[duplicates], fillers)]] = _CODE[Reason.FILLER_MSISDN]


def _repeated(shared: Ints, times: int) -> Ints:
    """The distinct values that occur at least `times` times in a sorted array."""
    begins = shared[: max(len(shared) - times + 1, 0)]
    return distinct(begins[begins == shared[times - 1 :]])


def _give_duplicates(
    code: Codes,
    msisdn: Ints,
    shared: Ints,
    first: Uint64s,
    second: Uint64s,
    shared_keys: Uint64s,
) -> None:
    """Keep one row for each number and each key: the first row where both are free.

    `shared` and `shared_keys` are numbers, and first halves of keys, that several rows have; some
    of those rows may be excluded already.
    """
    standing = code == 0
    same_number = standing & _among(msisdn, shared)
    if not shared_keys.size:
        rows = np.flatnonzero(same_number)
        taken = pd.Series(msisdn[rows]).duplicated().to_numpy(np.bool_)
        code[rows[taken]] = _CODE[Reason.DUPLICATE_MSISDN]
        return
    # Row by row: a row that is excluded by its key must not block its number for a later row.
    rivals = np.flatnonzero(same_number | (standing & _among(first, shared_keys)))
    taken_numbers: set[int] = set()
    taken_keys: set[tuple[int, int]] = set()
    for row, number, *key in zip(
        rivals.tolist(),
        msisdn[rivals].tolist(),
        first[rivals].tolist(),
        second[rivals].tolist(),
        strict=True,
    ):
        if number in taken_numbers:
            code[row] = _CODE[Reason.DUPLICATE_MSISDN]
        elif (key[0], key[1]) in taken_keys:
            code[row] = _CODE[Reason.DUPLICATE_KEY]
        else:
            taken_numbers.add(number)
            taken_keys.add((key[0], key[1]))


@dataclass(frozen=True, slots=True)
class Survey:
    """The decision on every candidate, in the order of rows."""

    screener: Screener
    _msisdn: Ints
    _region: Small
    _place: Small
    _code: Codes
    _gap: Small
    _whole: bool  # no row was cut off by a limit
    kinds: Mapping[str, ValueKind] = field(default_factory=dict)  # of the text's columns, if known
    _files: Small | None = None  # the file of each row in the audience; None: all in one

    @property
    def candidates(self) -> int:
        """The number of checked rows."""
        return len(self._code)

    @property
    def audience(self) -> int:
        """The number of rows in the audience."""
        return int(np.count_nonzero(self._code == 0))

    @property
    def read_as(self) -> dict[str, str]:
        """The assumed kind of each computed column without a type."""
        guessed = self.screener.computed if self.screener.untyped else ()
        return {
            name: kind.noun
            for name, kind in self.kinds.items()
            if kind is ValueKind.YES_NO or (name in guessed and kind is not ValueKind.TEXT)
        }

    @property
    def people(self) -> dict[str, int]:
        """The size of the audience in each zone, by code, in the geography's order."""
        zones = self.screener.geography.zones
        counts = np.bincount(self._place[self._code == 0], minlength=len(zones)).tolist()
        return {each.code: count for each, count in zip(zones, counts, strict=True) if count}

    def dealt(self, files: Sequence[tuple[str, int]]) -> "Survey":
        """The survey with the audience assigned to files, each a (zone, size) pair.

        Within a zone, rows fill its files in order. Raises ValueError if the sizes don't match the
        audience.
        """
        files_of: dict[str, list[int]] = {}
        for number, (code, _) in enumerate(files):
            files_of.setdefault(code, []).append(number)
        if len(files) == 1 and [(code, size) for code, size in self.people.items()] == [*files]:
            return self
        dealt = np.zeros(len(self._code), np.int16)
        for code, size in self.people.items():
            numbers = np.array(files_of.get(code, []), np.int16)
            sizes = [files[number][1] for number in numbers]
            if sum(sizes) != size:
                raise ValueError(f"{size} people of {code} were dealt to files for {sum(sizes)}")
            place = [each.code for each in self.screener.geography.zones].index(code)
            rows = np.flatnonzero((self._code == 0) & (self._place == place))
            dealt[rows] = np.repeat(numbers, sizes)
        return replace(self, _files=dealt)

    @property
    def reasons(self) -> Counter[str]:
        """The number of excluded rows by reason code."""
        counts = np.bincount(self._code, minlength=len(_REASONS) + 1)[1:].tolist()
        pairs = zip(_REASONS, counts, strict=True)
        return Counter({str(reason): count for reason, count in pairs if count})

    def split(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Screening]:
        """Yield the surveyed rows, batch by batch, split into audience and excluded.

        Raises SourceError if the rows are fewer or more than the survey read.
        """
        yield from ordered(self.part, self.stretches(batches))

    def stretches(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Stretch]:
        """Yield the surveyed rows with their places. Raises as `split` does."""
        first = 0
        for batch in batches:
            if batch.num_rows and first >= self.candidates:
                if not self._whole:
                    return
                raise self._changed(f"more than {first}")
            some = batch.slice(0, self.candidates - first)
            if self._whole and some.num_rows < batch.num_rows:
                raise self._changed(f"more than {self.candidates}")
            yield Stretch(some, first)
            first += some.num_rows
        if first < self.candidates:
            raise self._changed(str(first))

    def _changed(self, rows: str) -> SourceError:
        return SourceError(
            f"{self.screener.query} gave {self.candidates} rows, and {rows} when they were read "
            "again: run the extraction anew"
        )

    def part(self, stretch: Stretch) -> Screening:
        """Split one stretch; the stretches of a survey may be split in any order."""
        first, batch = stretch.first, stretch.rows
        span = slice(first, first + batch.num_rows)
        code = self._code[span]
        asked = self.screener
        kept, out = np.flatnonzero(code == 0), np.flatnonzero(code)
        people = asked.texts(_taken(batch, [asked.key, *asked.carried], kept))
        others = asked.texts(_taken(batch, [asked.key, asked.msisdn], out))
        audience = [
            pa.array(kept + first + 1),
            people[asked.key],
            pa.array(self._msisdn[span][kept]),
            _COUNTRIES.take(pa.array(self._region[span][kept])),
            pa.array(self._files_of(span, kept)),
            *(people[name] for name in asked.carried),
        ]
        excluded = [
            pa.array(out + first + 1),
            others[asked.key],
            others[asked.msisdn],
            _WORDS.take(pa.array(code[out])),
            self._details(span, out),
        ]
        return Screening(
            pa.RecordBatch.from_arrays(audience, schema=asked.audience_schema(self.kinds)),
            pa.RecordBatch.from_arrays(excluded, schema=EXCLUDED_SCHEMA),
        )

    def _files_of(self, span: slice, rows: Ints) -> Small:
        """The file index of each of these rows."""
        return np.zeros(len(rows), np.int16) if self._files is None else self._files[span][rows]

    def _details(self, span: slice, rows: Ints) -> pa.Array:
        """The country that isn't enabled, or the column with the gap."""
        code, gap = self._code[span][rows], self._gap[span][rows]
        columns = pa.array(["", *self.screener.required], pa.large_string())
        lacking = np.isin(code, _GAP_CODES[1:])
        column = columns.take(pa.array(np.where(lacking, (gap - 1) // len(_GAPS) + 1, 0)))
        home = pa.scalar(self.screener.postcode or "", pa.large_string())
        column = pc.if_else(pa.array(code == _CODE[Reason.UNREADABLE_POSTCODE]), home, column)
        country = _COUNTRIES.take(pa.array(self._region[span][rows]))
        return pc.if_else(pa.array(code == _CODE[_NOT_ENABLED]), country, column)


_NOT_ENABLED = Reason.COUNTRY_NOT_ENABLED
# The number may be another one than written: the opt-out counts for each possible number.
_UNSURE = [_CODE[Reason.NATIONAL_MSISDN], _CODE[Reason.OVERSEAS_AS_METROPOLITAN]]


def _taken(batch: pa.RecordBatch, columns: Sequence[str], rows: Ints) -> pa.RecordBatch:
    """Some rows of some columns, without repeated columns."""
    return batch.select([*dict.fromkeys(columns)]).take(pa.array(rows))


def _is_encoded(kind: pa.DataType) -> bool:
    if not pa.types.is_dictionary(kind):
        return False
    return bool(pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type))


def _says_france(column: pa.Array) -> Flags:
    """Which rows of a column of countries are blank, France, or a part of France."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    words = encoded.dictionary
    letters = pc.replace_substring_regex(
        pc.utf8_lower(pc.utf8_normalize(words.cast(pa.string()), "NFKD")), r"[^a-z0-9]", ""
    )
    french = flags_of(pc.is_in(letters, value_set=_FRENCH)) | are_nulls(words)
    french |= flags_of(pc.equal(letters, ""))
    rows: Flags = np.append(french, True)[encoded.indices.fill_null(len(words)).to_numpy()]
    return rows


# Names and codes of France and its parts, which write numbers the same way.
_FRENCH = pa.array(
    [
        *("fr", "fra", "fx", "france", "francemetropolitaine", "metropole", "french", "frankreich"),
        *("francia", "frankrijk", "republiquefrancaise", "33", "0033", "250"),
        *(code.lower() for code in (*FRENCH, "BL", "MF", "NC", "PF", "WF")),
        *("guadeloupe", "martinique", "guyane", "guyanefrancaise", "frenchguiana", "reunion"),
        *("lareunion", "mayotte", "saintbarthelemy", "saintmartin", "saintpierreetmiquelon"),
        *("corse", "corsica", "nouvellecaledonie", "newcaledonia", "polynesiefrancaise"),
        *("frenchpolynesia", "wallisetfutuna", "wallisandfutuna"),
        *("glp", "mtq", "guf", "reu", "myt", "blm", "maf", "spm", "ncl", "pyf", "wlf"),
    ],
    pa.string(),
)


def _give(code: Codes, rows: Flags, reason: Reason) -> None:
    """Set the reason on those of `rows` that have none yet."""
    code[rows & (code == 0)] = _CODE[reason]


def _give_faults(code: Codes, faults: pa.DictionaryArray) -> None:
    words = faults.dictionary.to_pylist()
    codes = np.array([_CODE.get(word, 0) for word in words], np.int8)
    np.copyto(code, codes[faults.indices.to_numpy()], where=code == 0)


def _note_gaps(
    gap: Small, column: pa.Array, place: int, blank: Callable[[pa.Array], Flags]
) -> None:
    """Note the column's gaps in rows that have no earlier gap."""
    base = place * len(_GAPS) + 1
    words = column.dictionary if pa.types.is_dictionary(column.type) else column
    null = nulls_of(words)
    if len(words):
        null = null | are_nulls(words)
    for kind, lacking in enumerate((null, blank(words), _longer(words, LONGEST_VALUE))):
        rows = lacking
        if words is not column:
            rows = nulls_of(column) if kind == 0 else np.zeros(len(column), np.bool_)
            if lacking.any():
                at = column.indices.fill_null(0).to_numpy()
                rows = np.where(nulls_of(column), rows, lacking[at])
        if rows.any():
            gap[rows & (gap == 0)] = base + kind


def are_blank(column: pa.LargeStringArray) -> Flags:
    """Which values are null or invisible: empty, spaces, characters without shape."""
    data, offsets = bytes_of(column)
    blank: Flags = nulls_of(column) | (offsets[1:] == offsets[:-1])
    filled = np.flatnonzero(~blank)
    # Found by the first byte: an ASCII one, or one of the lead bytes of invisible characters.
    first = data[offsets[filled]]
    suspect = filled[(first <= 0x20) | np.isin(first, _SPACE_LEADS)]
    if suspect.size:
        shown = pc.replace_substring_regex(column.take(pa.array(suspect)), _UNSEEN, "")
        blank[suspect] = pc.equal(shown, "").to_numpy(zero_copy_only=False)
    return blank


def _spell_nulls(keys: pa.LargeStringArray) -> Flags:
    """Which keys spell a missing value, as programs do."""
    data, offsets = bytes_of(keys)
    found = np.zeros(len(keys), np.bool_)
    sizes = np.diff(offsets)
    short = np.flatnonzero((sizes > 0) & (sizes <= LONGEST_SPELLING))
    suspect = short[_NULL_LEADS[data[offsets[short]]]]
    if suspect.size:
        found[suspect] = are_nulls(keys.take(pa.array(suspect)))
    return found


LONGEST_SPELLING = 32  # bytes, with spaces around
_NULL_LEADS = np.zeros(256, np.bool_)
_NULL_LEADS[[ord(" "), *{text.encode()[0] for text in SPELLINGS}]] = True


def _are_rounded(keys: pa.LargeStringArray) -> Flags:
    """Which keys a spreadsheet or a float rounded, such as 1.23E+11."""
    data, offsets = bytes_of(keys)
    found = np.zeros(len(keys), np.bool_)
    long = np.flatnonzero(np.diff(offsets) >= SHORTEST_ROUNDED)
    ends = offsets[long + 1]
    suspect = long[(data[ends - 3] == ord("+")) | (data[ends - 4] == ord("+"))]
    if suspect.size:
        rounded = pc.match_substring_regex(keys.take(pa.array(suspect)), _ROUNDED)
        found[suspect] = flags_of(pc.fill_null(rounded, False))
    return found


SHORTEST_ROUNDED = 5  # bytes: 1E+11
_ROUNDED = r"^\s*[+-]?\d(?:[.,]\d+)?[eE]\+\d{2,3}$"


def nothing_on_a_phone(column: pa.LargeStringArray) -> Flags:
    """Which values are blank, or become blank when GSM drops characters, such as emoji."""
    blank = are_blank(column)
    data, offsets = bytes_of(column)
    rest = np.flatnonzero(~blank)
    # Dropped characters begin with a space, a control character, or a byte outside ASCII except
    # 0xC3, the lead byte of French letters.
    first = data[offsets[rest]]
    suspect = rest[(first <= 0x20) | ((first >= 0x7F) & (first != 0xC3))]
    if suspect.size:
        # Under this policy a character without a transliteration stays: `?` is visible.
        blank[suspect] = are_blank(gsm.clean(column.take(pa.array(suspect)), "exclude").texts)
    return blank


_SPACE_LEADS = np.array([0x7F, 0xC2, 0xCD, 0xD8, 0xDC, 0xE1, 0xE2, 0xE3, 0xEF, 0xF3], np.uint8)
# Spaces, controls, formats, and letters without shape (Braille blank, fillers).
_UNSEEN = r"[\s\p{Z}\p{C}\x{034F}\x{115F}\x{1160}\x{2800}\x{3164}\x{FFA0}]+"


def _longer(column: pa.LargeStringArray, most: int) -> Flags:
    """Which values have more than `most` characters."""
    _, offsets = bytes_of(column)
    longer: Flags = np.diff(offsets) > most
    suspect = np.flatnonzero(longer)
    if suspect.size:
        sizes = pc.fill_null(pc.utf8_length(column.take(pa.array(suspect))), 0)
        longer[suspect] = sizes.to_numpy(zero_copy_only=False) > most
    return longer


def _may_be_a_number(name: str) -> bool:
    """Whether a column's name has as many digits as a phone number: no table is named so."""
    return sum(sign.isdigit() for sign in name) >= FEWEST_DIGITS


def _says_opted_out(column: pa.LargeStringArray) -> Flags:
    """Which rows are opted out by the warehouse's column; null means no opt-out."""
    encoded = column.dictionary_encode()
    words = [word.strip().casefold() for word in encoded.dictionary.to_pylist()]
    says_so = np.array([word not in NOT_OPTED_OUT for word in words] + [False], dtype=np.bool_)
    index: Ints = encoded.indices.fill_null(len(words)).to_numpy()
    return says_so[index]


def _among(values: Word, known: Word) -> Flags:
    """Which of `values` are in `known`; `known` should be the smaller one.

    A table of the low bits, which fits a core's cache, excludes most values first.
    """
    flags = np.zeros(len(values), np.bool_)
    if not known.size:
        return flags
    bits = values.dtype.type(_TABLE - 1)
    table = np.zeros(_TABLE, np.bool_)
    table[known & bits] = True
    for start in range(0, len(values), ROWS_AT_ONCE):
        some = values[start : start + ROWS_AT_ONCE]
        flags[start : start + ROWS_AT_ONCE] = table[some & bits]
    likely = np.flatnonzero(flags)
    flags[likely] = pd.Series(values[likely]).isin(known).to_numpy(np.bool_)
    return flags


_TABLE = 1 << 21
ROWS_AT_ONCE = 1 << 16

"""The type of a column's values at their source, stored beside their text.

Rows are stored as text (`sms.columnar.parquet`): text is exact, and fast for whole columns. A
template needs values, though: `vip` is yes or no, `points` is a number. So the metadata of a
column's field has its kind, and texts become values where a template uses them, once for each
distinct text.

A CSV has no types: a column of a CSV has a kind only if every filled cell fits it.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal
from functools import reduce
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.nulls import are_nulls
from sms.columnar.text import TEXT, flags_of
from sms.columnar.values import NO, NUMBERS, YES, ValueKind, parsed, values, written

_METADATA = b"sms.kind"

# --- Of columns ---------------------------------------------------------------------------------


def field(name: str, kind: ValueKind | None) -> pa.Field:
    """A text field with its kind in the metadata; None if all values are null."""
    return pa.field(name, TEXT, metadata={_METADATA: str(kind or "")})


def of_field(column: pa.Field) -> ValueKind | None:
    """The kind in a field's metadata, else the kind of its Arrow type; None for all nulls."""
    stored = (column.metadata or {}).get(_METADATA)
    if stored is None:
        return of_arrow(column.type)
    return ValueKind(stored.decode()) if stored else None


def of_schema(schema: pa.Schema) -> dict[str, ValueKind]:
    """The kinds of all columns that have one, by name."""
    return {each.name: kind for each in schema if (kind := of_field(each))}


def of_arrow(kind: pa.DataType) -> ValueKind | None:
    """The kind of an Arrow type; None for the type of nulls."""
    if pa.types.is_dictionary(kind):
        return of_arrow(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType):
        return _OF_EXTENSIONS.get(kind.extension_name) or of_arrow(kind.storage_type)
    known = (found for is_it, found in _OF_ARROW if is_it(kind))
    return next(known, ValueKind.OTHER)


_OF_EXTENSIONS = {"arrow.json": ValueKind.OTHER, "arrow.bool8": ValueKind.BOOLEAN}
_OF_ARROW: tuple[tuple[Callable[[pa.DataType], bool], ValueKind | None], ...] = (
    (pa.types.is_null, None),
    (pa.types.is_boolean, ValueKind.BOOLEAN),
    (pa.types.is_integer, ValueKind.INTEGER),
    (pa.types.is_decimal, ValueKind.DECIMAL),
    (pa.types.is_floating, ValueKind.FLOAT),
    (pa.types.is_date, ValueKind.DATE),
    (pa.types.is_timestamp, ValueKind.TIMESTAMP),
    *(
        (is_it, ValueKind.TEXT)
        for is_it in (
            *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
            *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
            *(pa.types.is_fixed_size_binary, pa.types.is_time),
        )
    ),
)


def of_values(values: Iterable[Any]) -> ValueKind | None:
    """The common kind of Python values; None if all are nulls."""
    seen = [*values]
    types = set(map(type, seen))
    if bytes in types and {each for each in seen if isinstance(each, bytes)} <= BITS.keys():
        types = types - {bytes} | {bool}
    return reduce(merged, map(_of_type, types), None)


def _of_type(kind: type) -> ValueKind | None:
    if kind.__name__ in ("NoneType", "NaTType", "NAType"):
        return None
    return next((found for known, found in _OF_TYPES if issubclass(kind, known)), ValueKind.OTHER)


_OF_TYPES: tuple[tuple[type | tuple[type, ...], ValueKind], ...] = (
    ((bool, np.bool_), ValueKind.BOOLEAN),
    ((int, np.integer), ValueKind.INTEGER),
    (Decimal, ValueKind.DECIMAL),
    ((float, np.floating), ValueKind.FLOAT),
    (datetime, ValueKind.TIMESTAMP),
    (date, ValueKind.DATE),
    ((str, bytes, bytearray, memoryview, time, UUID), ValueKind.TEXT),
)
BITS = {b"\x00": "false", b"\x01": "true"}  # MySQL's BIT(1), as its drivers return it


def merged(one: ValueKind | None, other: ValueKind | None) -> ValueKind | None:
    """The common kind of two kinds; with None it is the other one."""
    if one is None or other is None or one == other:
        return one or other
    if one in NUMBERS and other in NUMBERS:
        return max(one, other, key=NUMBERS.index)
    return ValueKind.OTHER if ValueKind.OTHER in (one, other) else ValueKind.TEXT


# --- Of columns without types -------------------------------------------------------------------

_INTEGER = r"-?(?:0|[1-9][0-9]{0,17})"  # no leading zero: that is a code or a phone number
_DECIMAL = rf"{_INTEGER}(?:\.[0-9]{{1,18}}|,[0-9]{{1,2}})?"  # 1,234 may be a thousand or a decimal
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{2}/[0-9]{2}/[0-9]{4}"
_TIMESTAMP = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
_YES_NO = f"(?i)(?:{'|'.join(sorted(YES | NO))})"
# In order of preference: without types, 0 and 1 are numbers.
_SPELLINGS = {
    ValueKind.INTEGER: _INTEGER,
    ValueKind.DECIMAL: _DECIMAL,
    ValueKind.DATE: _DATE,
    ValueKind.TIMESTAMP: _TIMESTAMP,
    ValueKind.YES_NO: _YES_NO,
}
OF_NO_TYPE = tuple(_SPELLINGS)  # the possible kinds of an untyped column,
OF_TEXT = (ValueKind.YES_NO,)  # and of a column that its source calls text
SAMPLE = 64  # values, enough to exclude most kinds early


Agreement: TypeAlias = (
    tuple[ValueKind, ...] | None
)  # kinds that fit all filled texts; None: no text


def agreeing(texts: pa.Array, among: Iterable[ValueKind]) -> Agreement:
    """The kinds that fit every filled text, of those in `among`."""
    words = texts.dictionary if pa.types.is_dictionary(texts.type) else texts
    kinds, seen = tuple(among), False
    for some in (words.slice(0, SAMPLE), words):
        trimmed = pc.utf8_trim_whitespace(some.cast(TEXT)).drop_null()
        filled = trimmed.filter(pa.array(~flags_of(pc.equal(trimmed, "")) & ~are_nulls(trimmed)))
        kinds = tuple(kind for kind in kinds if _all_are(kind, filled))
        if not kinds:
            return ()
        seen = seen or bool(len(filled))
    return kinds if seen else None


def agreed(one: Agreement, other: Agreement) -> Agreement:
    """The kinds that fit the texts of both."""
    if one is None or other is None:
        return other if one is None else one
    return tuple(kind for kind in one if kind in other)


WordCounts: TypeAlias = npt.NDArray[np.int64]  # as `word_counts` returns them

# Words that say yes or no, and are not read as such.
_ALIKE = (
    *("ja", "nein", "nee", "si", "sí", "sim", "não", "nao", "ok", "ko", "nok", "nope", "yep"),
    *("avec", "sans", "pas", "aucune?", "jamais", "néant", "enabled", "disabled", "(?:in)?valide?"),
    *(
        "(?:in)?acti(?:f|ve)s?",
        "(?:d[eé]s)?activ[eé]e?s?",
        "(?:pas|not|non|no|oui|yes)[ ,(].{1,20}",
    ),
)
_CHECKED_ALIKE = f"^(?:{_YES_NO}|{'|'.join(_ALIKE)})$"
_UNIT = r"(?:\s?(?:%|€|eur|euros?|\$|pts?|points?))?"
_SPELT = f"^(?:{_YES_NO}|{_DECIMAL}{_UNIT})$"
FEWEST_ALIKE = 2  # rows: one alone may be a name


def word_counts(texts: pa.Array) -> WordCounts:
    """How many texts of a column are yes, no or a number, and how many only look so."""
    column = texts if pa.types.is_dictionary(texts.type) else texts.dictionary_encode()
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column.dictionary.cast(TEXT)))
    spelt = pc.fill_null(pc.match_substring_regex(words, _SPELT), False)
    filled = flags_of(pc.fill_null(pc.not_equal(words, ""), False)) & ~are_nulls(words)
    yes, no = (
        flags_of(pc.is_in(words, value_set=pa.array(sorted(known), TEXT))) for known in (YES, NO)
    )
    letter = flags_of(pc.fill_null(pc.equal(pc.utf8_length(words), 1), False)) & (yes | no)
    bare = _bare(words)
    alike = flags_of(pc.fill_null(pc.match_substring_regex(bare, _CHECKED_ALIKE), False))
    alike &= filled & ~flags_of(pc.fill_null(pc.equal(pc.utf8_length(bare), 1), False))
    flags = np.array([filled, flags_of(spelt) & filled, yes, no, letter, alike], np.int64)
    times = np.bincount(column.indices.drop_null().to_numpy(), minlength=len(words))
    return np.asarray(flags @ times.astype(np.int64), np.int64)


def _bare(words: pa.Array) -> pa.Array:
    """Words in plain letters, without signs around them and characters that no phone shows."""
    plain = pc.utf8_normalize(words, form="NFKC")
    return pc.replace_substring_regex(plain, r"^[\s'\"=]+|[\s'\".!]+$|\p{Cf}", "")


def refined(kind: ValueKind, counts: WordCounts) -> ValueKind:
    """The kind of a column: MIXED for text with many words for yes and no, or many numbers.

    Half of the values are many; for words, also a tenth: a name that is one of them is rarer.
    """
    filled, spelt, yes, no, letters, alike = counts.tolist()
    many = 2 * spelt > filled or (alike >= FEWEST_ALIKE and 10 * alike >= filled)
    if kind is ValueKind.TEXT and many:
        return ValueKind.MIXED
    if kind is ValueKind.YES_NO and letters == filled and not (yes and no):
        return ValueKind.MIXED  # F alone may mean female
    return kind


def _all_are(kind: ValueKind, texts: pa.LargeStringArray) -> bool:
    if not pc.all(
        pc.match_substring_regex(texts, f"^(?:{_SPELLINGS[kind]})$"), min_count=0
    ).as_py():
        return False
    if kind not in (ValueKind.DATE, ValueKind.TIMESTAMP):
        return True
    return all(parsed(kind, each) is not None for each in pc.unique(texts).to_pylist())


# --- What a phone shows -------------------------------------------------------------------------


def shown(texts: pa.LargeStringArray, kind: ValueKind | None) -> pa.LargeStringArray:
    """The texts as a phone shows them; null for a text without a value, such as infinity.

    Floats lose a trailing .0, and timestamps are Paris time.
    """
    if kind is ValueKind.FLOAT:
        odd = r"[^0-9.-]|^-0\.0$"
        rare = flags_of(pc.fill_null(pc.match_substring_regex(texts, odd), False))
        if not rare.any():
            return pc.replace_substring_regex(texts, r"\.0$", "")
    elif kind is not ValueKind.TIMESTAMP:
        return texts
    spellings = [
        None if each is None else str(written(each)) for each in values(texts.to_pylist(), kind)
    ]
    if kind is ValueKind.FLOAT:
        spellings = [text and text.removesuffix(".0") for text in spellings]
    return pa.array(spellings, TEXT)

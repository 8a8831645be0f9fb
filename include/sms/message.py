"""From a recipient's values to the message that is sent: template, text, IDREMOTE.

A text is put together from pieces, and each piece is cleaned and measured once for each of its
distinct values, not once a row. What a template may say is `template`'s to know, what a character
costs is `gsm`'s, who is written to at all is `recipients`'.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms import gsm
from sms.columns import TEXT, Flags, Ints, bytes_of, flags_of, holding, nulls_of
from sms.digests import digest
from sms.errors import BadCampaign, SourceError
from sms.gsm import Cleaned, Unsupported
from sms.recipients import EXCLUDED_SCHEMA, NULLS_AS_TEXT, Reason
from sms.template import Column, Logic, Piece, Template, Words

DelimiterInText: TypeAlias = Literal["quote", "replace", "refuse"]
Lengths: TypeAlias = npt.NDArray[np.int32]

# What stands for what when a gateway can't be trusted with quotes (R23).
DELIMITERS = {";": ",", '"': "'", "\r": " ", "\n": " ", "\t": " "}
DELIMITER = re.compile('[;"\r\n]')  # what makes RFC 4180 ask for quotes

MESSAGES_SCHEMA = pa.schema(
    [
        ("idremote", TEXT),
        ("msisdn", pa.int64()),
        ("oadc", TEXT),
        ("msg", TEXT),
        ("segments", pa.int16()),
        ("key", TEXT),
    ]
)


@dataclass(frozen=True, slots=True)
class Rendering:
    """What became of a batch of the audience."""

    messages: pa.RecordBatch  # MESSAGES_SCHEMA
    excluded: pa.RecordBatch  # EXCLUDED_SCHEMA
    replaced: Counter[str]  # in the messages, by the character's code ("U+00E7")
    mojibake: Ints  # rows whose message looks like UTF-8 read as something else: not refused

    @property
    def reasons(self) -> Counter[str]:
        """How many rows were excluded for each Reason."""
        return Counter(self.excluded.column("reason").to_pylist())


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """Turns an audience into messages, or into exclusions with their Reason."""

    template: Template
    sender: str
    campaign_id: str  # of this run: IDREMOTEs are unique to it
    stop_mention: str | None = None
    long_sms: bool = False
    unicode: bool = False
    unsupported: Unsupported = "replace"
    delimiter_in_text: DelimiterInText = "quote"

    def __post_init__(self) -> None:
        for words in self.template.words:
            self._judge(words)

    def render(self, audience: pa.RecordBatch) -> Rendering:
        """The messages of a batch with `key`, `msisdn` (int64) and the template's columns."""
        size = audience.num_rows
        verdicts = _Verdicts(size)
        pieces = _pieces(self.template, audience)
        for piece in pieces:
            verdicts.exclude(*piece.gaps(size))
        draft = self._trimmed(self._draft(pieces, size))
        self._exclude_unfit(draft, verdicts)
        draft = self._with_stop_mention(draft)
        segments = gsm.segments_of(draft.texts, draft.lengths, unicode=self.unicode)
        self._exclude_long(draft, segments, verdicts)
        return Rendering(
            self._messages(audience, draft.texts, segments, verdicts.kept),
            verdicts.excluded(audience),
            sum((part.replaced(verdicts.kept) for part in draft.parts), Counter[str]()),
            _rows_of(audience, draft.any_part("mojibake") & verdicts.kept),
        )

    def _judge(self, words: Words) -> None:
        """What the template's own words lack would exclude everybody: say so at once."""
        if self.unsupported != "replace" and not self.unicode:
            for number, text in enumerate(words.text.split("\n"), words.line):
                unknown = gsm.unknown_in(unicodedata.normalize("NFC", text))
                if unknown:
                    problem = f"GSM 03.38 has nothing for {', '.join(unknown)}: write it otherwise"
                    raise BadCampaign(self.template.path, number, problem)
        delimiter = DELIMITER.search(words.text)
        if self.delimiter_in_text == "refuse" and delimiter:
            line = words.line + words.text.count("\n", 0, delimiter.start())
            problem = "the gateway takes no semicolon, double quote or line break in a text"
            raise BadCampaign(self.template.path, line, problem)

    def _draft(self, pieces: list["_Encoded"], size: int) -> "_Draft":
        """Clean and measure what there is least of: the pieces' distinct texts."""
        if any(gsm.leans_back(piece.texts) for piece in pieces[1:]):
            # A value may melt into the words before it: here pieces can't be cleaned alone.
            pieces = [
                _Encoded(_joined([piece.column() for piece in pieces], size), np.arange(size))
            ]
        parts = [self._part(piece) for piece in pieces]
        lengths = np.zeros(size, np.int32)
        for part in parts:
            lengths += part.by_row(part.lengths)
        return _Draft(parts, _joined([part.column() for part in parts], size), lengths)

    def _part(self, piece: "_Encoded") -> "_Part":
        if piece.which is None:
            return self._constant(*piece.texts.to_pylist())
        return self._cleaned(piece.texts, piece.which)

    @cached_property
    def _constant(self) -> Callable[..., "_Part"]:
        """The part that is the same in every row, or absent: cleaned once, not once a batch."""
        return cache(lambda *words: self._cleaned(pa.array(words, TEXT), None))

    def _cleaned(self, texts: pa.Array, which: Ints | None) -> "_Part":
        cleaned = gsm.clean(texts, self.unsupported, unicode=self.unicode)
        if self.delimiter_in_text == "replace":
            cleaned = gsm.swapped(cleaned, DELIMITERS)
        return _Part(cleaned, self._lengths(cleaned.texts), which)

    def _lengths(self, texts: pa.Array) -> Lengths:
        return gsm.utf16_units(texts) if self.unicode else gsm.septets(texts)

    def _trimmed(self, draft: "_Draft") -> "_Draft":
        """R24. Only what loses white space is measured again."""
        texts = pc.utf8_trim_whitespace(draft.texts)
        lost = np.flatnonzero(np.diff(bytes_of(texts)[1]) != np.diff(bytes_of(draft.texts)[1]))
        lengths = draft.lengths.copy()
        lengths[lost] = self._lengths(texts.take(pa.array(lost)))
        return replace(draft, texts=texts, lengths=lengths)

    def _with_stop_mention(self, draft: "_Draft") -> "_Draft":
        """Append the stop mention, after a space, to each text that hasn't got it already."""
        if not self.stop_mention:
            return draft
        mention = self._constant("", f" {self.stop_mention}")
        there = holding(draft.texts, mention.cleaned.texts[1].as_py().strip())
        part = replace(mention, which=(~there).astype(np.int64))
        return _Draft(
            [*draft.parts, part],
            _joined([draft.texts, part.column()], len(draft.texts)),
            draft.lengths + part.by_row(part.lengths),
        )

    def _exclude_unfit(self, draft: "_Draft", verdicts: "_Verdicts") -> None:
        verdicts.exclude(
            draft.lengths == 0, Reason.EMPTY_TEXT, lambda rows: ["no text is left"] * len(rows)
        )
        unknown = draft.any_part("unsupported")
        if self.unsupported == "refuse" and (unknown & verdicts.kept).any():
            raise SourceError(self._refusal(draft.texts.filter(pa.array(unknown & verdicts.kept))))
        if self.unsupported == "exclude":
            verdicts.exclude(unknown, Reason.UNSUPPORTED_CHARACTERS, _codes_in(draft.texts))
        if self.delimiter_in_text == "refuse":
            verdicts.exclude(
                flags_of(pc.match_substring_regex(draft.texts, DELIMITER.pattern)),
                Reason.DELIMITER_IN_TEXT,
                lambda rows: ["a delimiter, which the gateway refuses"] * len(rows),
            )

    def _refusal(self, texts: pa.Array) -> str:
        unknown = sorted({code for text in texts.to_pylist() for code in gsm.unknown_in(text)})
        return (
            f"{len(texts)} texts of {self.template.path} hold characters that GSM 03.38 has "
            f"nothing for ({', '.join(unknown[:10])}): correct the source, or let the campaign "
            "say `unsupported: replace` or `unsupported: exclude`"
        )

    def _exclude_long(self, draft: "_Draft", segments: Lengths, verdicts: "_Verdicts") -> None:
        most = gsm.MOST_PARTS if self.long_sms else 1
        unit = "UTF-16 units" if self.unicode else "septets"
        verdicts.exclude(
            segments > most,
            Reason.TEXT_TOO_LONG,
            lambda rows: [
                f"{length} {unit} in {parts} segments, {most} allowed"
                for length, parts in zip(draft.lengths[rows], segments[rows], strict=True)
            ],
        )

    def _messages(
        self, audience: pa.RecordBatch, texts: pa.Array, segments: Lengths, kept: Flags
    ) -> pa.RecordBatch:
        keys = audience.column("key").cast(TEXT)
        columns = [keys, audience.column("msisdn"), texts, pa.array(segments, pa.int16())]
        if not kept.all():
            columns = [column.filter(pa.array(kept)) for column in columns]
        keys, msisdn, texts, parts = columns
        oadc = pa.repeat(pa.scalar(self.sender, TEXT), len(keys))
        rows = [idremote(self.campaign_id, keys), msisdn, oadc, texts, parts, keys]
        return pa.RecordBatch.from_arrays(rows, schema=MESSAGES_SCHEMA)


# --- Columns, each by its distinct texts --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A column as its distinct texts, and which of them each row has."""

    texts: pa.Array  # TEXT; null where a row lacks something
    which: Ints | None  # None: every row has the first
    lacks: pa.Array | None = None  # TEXT, for each null of `texts` the name of what is lacking

    def indices(self, size: int) -> Ints:
        """For each of `size` rows, the place of its text."""
        return np.zeros(size, np.int64) if self.which is None else self.which

    def column(self) -> pa.Array | pa.Scalar:
        """The column itself; what is lacking is empty."""
        if self.which is None:
            return pc.fill_null(self.texts, "")[0]
        return pc.fill_null(self.texts, "").take(pa.array(self.which))

    def gaps(self, size: int) -> tuple[Flags, Reason, "Explain"]:
        """The rows that lack something, as a verdict."""
        null = nulls_of(self.texts)
        rows = null[self.indices(size)] if null.any() else np.zeros(size, np.bool_)
        return rows, Reason.MISSING_VALUE, self._lacking

    def _lacking(self, rows: Ints) -> list[str]:
        assert self.lacks is not None  # or there would be no such rows
        which = self.indices(int(rows.max()) + 1)[rows]
        names: list[str] = self.lacks.take(pa.array(which)).to_pylist()
        return names


def _pieces(template: Template, batch: pa.RecordBatch) -> list[_Encoded]:
    """The pieces of every row's text. A value is never read as a template itself."""
    template.require(batch.schema.names)
    computed = {
        name for piece in template.pieces if isinstance(piece, Logic) for name in piece.columns
    }
    values = {
        name: _encoded(batch.column(name), name, once=name in computed) for name in template.columns
    }
    return [_piece(piece, values, batch.num_rows) for piece in template.pieces]


def _piece(piece: Piece, values: Mapping[str, _Encoded], size: int) -> _Encoded:
    if isinstance(piece, Words):
        return _Encoded(pa.array([piece.text], TEXT), None)
    if isinstance(piece, Column):
        return values[piece.name]
    asked = [values[name] for name in piece.columns]
    which, firsts = _combinations(asked, size)
    known = [each.texts.take(pa.array(each.indices(size)[firsts])).to_pylist() for each in asked]
    rows = zip(*known, strict=True) if known else [()] * len(firsts)
    made = [piece.of(dict(zip(piece.columns, row, strict=True))) for row in rows]
    texts = pa.array([each.text for each in made], TEXT)
    return _Encoded(texts, which, pa.array([each.lacks for each in made], TEXT))


def _combinations(columns: list[_Encoded], size: int) -> tuple[Ints, Ints]:
    """Which distinct combination of values each row has, and a row where each is met first."""
    which = np.zeros(size, np.int64)
    for column in columns:
        codes, _ = pd.factorize(which * len(column.texts) + column.indices(size))
        which = codes.astype(np.int64)
    return which, np.flatnonzero(~pd.Series(which).duplicated().to_numpy(np.bool_))


def _encoded(column: pa.Array, name: str, *, once: bool) -> _Encoded:
    """A column of values without outer white space; what only spells a null is null.

    With `once` no value is there twice, so that logic runs as seldom as can be.
    """
    if once or not pa.types.is_dictionary(column.type):
        column = _dictionary(column.cast(TEXT), once=once)
    elif len(column.dictionary) > len(column) // 2:
        column = _compacted(column)
    texts = pc.utf8_trim_whitespace(column.dictionary.cast(TEXT))
    absent = pc.is_in(texts, pa.array(NULLS_AS_TEXT, TEXT))
    if pc.any(absent).as_py():
        texts = pc.if_else(absent, pa.scalar(None, TEXT), texts)
    which = column.indices.cast(pa.int64())  # as small as they come, one more may not fit
    if which.null_count:
        which = which.fill_null(len(texts))
        texts = pa.concat_arrays([texts, pa.nulls(1, TEXT)])
    lacks = pa.repeat(pa.scalar(name, TEXT), len(texts)) if texts.null_count else None
    return _Encoded(texts, which.to_numpy(), lacks)


def _dictionary(column: pa.Array, *, once: bool) -> pa.DictionaryArray:
    """Dictionary encoded; where most values are met once, each may stay its own."""
    sample = column.slice(0, SAMPLE)
    if once or len(pc.unique(sample)) <= len(sample) // 2:
        return column.dictionary_encode()
    return pa.DictionaryArray.from_arrays(pa.array(np.arange(len(column))), column)


def _compacted(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The same without the words that no row has: a file's dictionary is that of many batches."""
    which, used = pd.factorize(column.indices.to_numpy(zero_copy_only=False), use_na_sentinel=True)
    indices = pa.array(which, mask=which < 0)
    words = column.dictionary.take(pa.array(used.astype(np.int64)))
    return pa.DictionaryArray.from_arrays(indices, words)


SAMPLE = 2048  # rows of a batch that tell whether it pays to look for repeated values


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of all texts: its distinct words, cleaned, and which of them each row has."""

    cleaned: Cleaned
    lengths: Lengths
    which: Ints | None  # None: every row has the first

    def column(self) -> pa.Array | pa.Scalar:
        return _Encoded(self.cleaned.texts, self.which).column()

    def by_row(self, known: npt.NDArray[Any]) -> Any:
        """What is known of the words, for each row."""
        return known[0] if self.which is None else known[self.which]

    def replaced(self, kept: Flags) -> Counter[str]:
        """The characters replaced in the kept rows."""
        if not self.cleaned.rows.size:
            return Counter()
        if self.which is None:
            return self.cleaned.counted(np.array([kept.sum()], np.int64))
        times = np.bincount(self.which[kept], minlength=len(self.cleaned.texts))
        return self.cleaned.counted(times.astype(np.int64))


@dataclass(frozen=True, slots=True)
class _Draft:
    """The texts of a batch, and what is known of them."""

    parts: list[_Part]
    texts: pa.Array
    lengths: Lengths

    def any_part(self, flag: Literal["unsupported", "mojibake"]) -> Flags:
        flags = np.zeros(len(self.texts), np.bool_)
        for part in self.parts:
            if getattr(part.cleaned, flag).any():
                flags |= part.by_row(getattr(part.cleaned, flag))
        return flags


def _joined(parts: list[pa.Array | pa.Scalar], size: int) -> pa.Array:
    if all(isinstance(part, pa.Scalar) for part in parts):
        return pa.repeat(pa.scalar("".join(map(str, parts)), TEXT), size)
    return pc.binary_join_element_wise(*parts, pa.scalar("", TEXT))


# --- Verdicts -----------------------------------------------------------------------------------

Explain: TypeAlias = Callable[[Ints], list[str]]


class _Verdicts:
    """Why each row of a batch is excluded; the first reason given stays."""

    def __init__(self, size: int) -> None:
        self.reason = np.full(size, None, np.object_)
        self.detail = np.full(size, None, np.object_)
        self.kept = np.ones(size, np.bool_)

    def exclude(self, rows: Flags, reason: Reason, explain: Explain) -> None:
        fresh = np.flatnonzero(rows & self.kept)
        if fresh.size:
            self.reason[fresh] = str(reason)
            self.detail[fresh] = explain(fresh)
            self.kept[fresh] = False

    def excluded(self, audience: pa.RecordBatch) -> pa.RecordBatch:
        """The excluded rows as EXCLUDED_SCHEMA."""
        out = ~self.kept
        rows = audience.filter(pa.array(out))
        numbers = rows.column("msisdn").cast(TEXT)
        columns = [
            rows.column("row"),
            rows.column("key").cast(TEXT),
            pc.binary_join_element_wise(pa.scalar("+", TEXT), numbers, pa.scalar("", TEXT)),
            pa.array(self.reason[out], TEXT),
            pa.array(self.detail[out], TEXT),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=EXCLUDED_SCHEMA)


def _rows_of(audience: pa.RecordBatch, chosen: Flags) -> Ints:
    rows: Ints = audience.column("row").to_numpy()[chosen]
    return rows


def _codes_in(texts: pa.Array) -> Explain:
    return lambda rows: [
        " ".join(gsm.unknown_in(text)) for text in texts.take(pa.array(rows)).to_pylist()
    ]


# --- IDREMOTE -----------------------------------------------------------------------------------

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_PAIRS = np.arange(1 << 16)
# Two bytes as four hexadecimal digits, as they lie in memory.
_HEX = _DIGITS[np.column_stack([_PAIRS >> bits & 15 for bits in (4, 0, 12, 8)])].view(np.uint32)[
    :, 0
]
IDREMOTE_SIZE = 32


def idremote(campaign_id: str, keys: pa.Array) -> pa.Array:
    """32 hexadecimal digits for each key: the same for the same run and key, for ever (R16).

    They are a digest of 128 bits: a million keys collide with a chance of 1 in 10^27.
    """
    words = digest(keys, seed=campaign_id)
    digits = _HEX[words.astype(">u8").view(np.uint16)]
    offsets = np.arange(len(keys) + 1, dtype=np.int64) * IDREMOTE_SIZE
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(digits)]
    return pa.Array.from_buffers(TEXT, len(keys), buffers)

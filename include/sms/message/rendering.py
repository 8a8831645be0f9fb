"""Rendering of an audience into messages: template, text, IDREMOTE.

A text consists of pieces, and each piece is cleaned and measured once for each distinct value, not
once a row. Templates are read in `sms.campaign.template`, `gsm` has the cost of characters,
`screening` decides who is in the audience.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sms.audience.screening import EXCLUDED_SCHEMA, Reason, are_blank, nothing_on_a_phone
from sms.campaign.template import Piece, Placeholder, Template, Words
from sms.columnar import kinds
from sms.columnar.digests import digest
from sms.columnar.nulls import are_nulls
from sms.columnar.text import (
    TEXT,
    Encoded,
    Flags,
    Ints,
    Pieced,
    bytes_of,
    distinct,
    flags_of,
    holding,
    joined,
    nulls_of,
)
from sms.columnar.values import BLANK, ValueKind, values
from sms.errors import BadCampaign, SourceError
from sms.telecom import gsm
from sms.telecom.gsm import Cleaned, Unsupported
from sms.wire import send_file
from sms.wire.send_file import DelimiterInText
from sms.words import count, have

Lengths: TypeAlias = npt.NDArray[np.int32]
Group: TypeAlias = tuple[str, str, int]  # country, variant or "", SMS of each message

# Signs of a broken text; the cause must be found by the owner of the source.
PLACEHOLDER = (
    r"(?i)\{\{[^{}]*\}\}|\$\{[\w .]+\}|\{%[^{}]*%\}|\*\|[\w:]+\|\*|%%\w+%%|\[\[[\w .]+\]\]"
    r"|<<[\w .]+>>|\{(?:first|last|full)?_?name\}|\[(?:pr[ée])?nom\]|\[(?:first |last )?name\]"
)
PLACE_SIGNS = np.frombuffer(b"{[|%<", np.uint8)  # each placeholder has one of these
SUSPECTS = ("mojibake", "html_entity", "placeholder", "stopgap")
HTML_ENTITY = r"&(?:#[0-9]{2,6}|#[xX][0-9A-Fa-f]{2,6}|[A-Za-z][A-Za-z0-9]{1,30});"

# What people and programs write instead of a missing value.
STOPGAP = (
    r"(?i)^(?:[-_.?/*~]+|[(<\[]?(?:vide|empty|blank|unknown|inconnue?|non renseign[ée]e?|n\.?c\.?"
    r"|n\.r\.|sans nom|aucune?|d[ée]c[ée]d[ée]e?|deceased|npai|test|xx+"
    r"|ne (?:pas|plus) (?:contacter|appeler|relancer|d[ée]ranger|solliciter|utiliser))[)>\]]?"
    r"|(?:9999|1900)-(?:12-31|01-01).*|(?:31/12/9999|01/01/1900).*)$"
)
LONGEST_STOPGAP = 28  # bytes

# Replacements for gateways without reliable quotes (R23).
DELIMITERS = {";": ",", '"': "'", "\r": " ", "\n": " ", "\t": " "}
DELIMITER = re.compile('[;"\r\n]')  # needs quotes by RFC 4180

MESSAGES_SCHEMA = pa.schema(
    [
        ("idremote", TEXT),
        ("msisdn", pa.int64()),
        ("oadc", TEXT),
        ("msg", TEXT),
        ("segments", pa.int16()),
        ("key", TEXT),
        ("country", TEXT),  # ISO 3166, from the screening
    ]
)
VARIANT = pa.field("variant", TEXT)  # of a campaign with variants
# The branches of a message's conditions, if the campaign's text has any: "1+ 2-" means that the
# first was true and the second was not.
WAY = pa.field("way", TEXT)


@dataclass(frozen=True)
class Rendering:
    """The result of a batch: messages as columns, and excluded rows."""

    keys: pa.LargeStringArray
    country: pa.LargeStringArray
    idremote: pa.LargeStringArray
    msisdn: pa.Int64Array
    sender: str
    msg: Pieced
    segments: Lengths
    excluded: pa.RecordBatch  # EXCLUDED_SCHEMA
    replaced: Counter[str]  # characters in the messages, by code ("U+00E7")
    suspects: Mapping[
        str, Ints
    ]  # by code of SUSPECTS, rows whose message looks broken; they are sent
    variant: pa.LargeStringArray | None = None  # of each message, in a campaign with variants
    way: pa.LargeStringArray | None = None  # of each message, if the text has conditions

    @cached_property
    def messages(self) -> pa.RecordBatch:
        """The joined messages: MESSAGES_SCHEMA, with VARIANT and WAY if they have some."""
        oadc = pa.repeat(pa.scalar(self.sender, TEXT), len(self.keys))
        segments = pa.array(self.segments, pa.int16())
        columns = [self.idremote, self.msisdn, oadc, self.msg.joined(), segments]
        columns += [self.keys, self.country]
        schema = MESSAGES_SCHEMA
        for field, column in ((VARIANT, self.variant), (WAY, self.way)):
            if column is not None:
                columns, schema = [*columns, column], schema.append(field)
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    @cached_property
    def groups(self) -> Counter[Group]:
        """The number of messages by country, variant and SMS of each."""
        country = self.country.dictionary_encode()
        names, which = country.dictionary.to_pylist(), country.indices.to_numpy()
        variants = [""]
        if self.variant is not None:
            variant = self.variant.dictionary_encode()
            variants = variant.dictionary.to_pylist()
            which = which * len(variants) + variant.indices.to_numpy()
        sizes = int(self.segments.max(initial=0)) + 1
        counts = np.bincount(which * sizes + self.segments)
        messages: Counter[Group] = Counter()
        for code in np.flatnonzero(counts).tolist():
            group, size = divmod(code, sizes)
            place, of = divmod(group, len(variants))
            messages[names[place], variants[of], size] = int(counts[code])
        return messages

    @property
    def ways(self) -> pa.RecordBatch:
        """WAY and VARIANT of each message, if they have some."""
        known = [(VARIANT, self.variant), (WAY, self.way)]
        some = [(field, column) for field, column in known if column is not None]
        return pa.RecordBatch.from_arrays(
            [column for _, column in some], schema=pa.schema([field for field, _ in some])
        )

    def block(self, dialect: send_file.Dialect) -> send_file.Block:
        """The messages as lines of the file, without joining the texts first."""
        return send_file.block_of(
            self.idremote, self.msisdn, self.sender, self.msg, self.segments, dialect
        )

    @property
    def reasons(self) -> Counter[str]:
        """The number of excluded rows by Reason."""
        counts = pc.value_counts(self.excluded.column("reason"))
        return Counter({each["values"]: each["counts"] for each in counts.to_pylist()})


@dataclass(frozen=True, kw_only=True)
class Renderer:
    """Renders an audience into messages, and exclusions with their Reason."""

    template: Template
    sender: str
    campaign_id: str  # of this run; its IDREMOTEs are unique
    stop_mention: str | None = None
    long_sms: bool = False
    unicode: bool = False
    unsupported: Unsupported = "replace"
    delimiter_in_text: DelimiterInText = "quote"
    encoding: str = "utf-8"  # of the gateway's files

    def __post_init__(self) -> None:
        for words in self.template.words:
            self._judge(words)
        self._require_encodable(self.stop_mention or "", None, "the stop mention")

    def render(self, audience: pa.RecordBatch) -> Rendering:
        """Render a batch with `key`, `msisdn`, `country` and the template's columns."""
        size = audience.num_rows
        verdicts = _Verdicts(size)
        values = _pieces(self.template, audience, are_blank if self.unicode else nothing_on_a_phone)
        for value in values:
            for gap in value.gaps(size):
                verdicts.exclude(*gap)
        draft = self._trimmed(self._draft(values, size))
        self._exclude_unfit(draft, verdicts)
        draft = self._with_stop_mention(draft)
        segments = gsm.segments_of(
            draft.lengths, lambda rows: draft.text.of(rows).joined(), unicode=self.unicode
        )
        self._exclude_long(draft, segments, verdicts)
        kept = np.flatnonzero(verdicts.kept)
        columns = [audience.column("key").cast(TEXT), audience.column("country")]
        columns.append(audience.column("msisdn"))
        if len(kept) < size:
            columns = [column.take(pa.array(kept)) for column in columns]
        keys, country, msisdn = columns
        return Rendering(
            keys,
            country,
            idremote(self.campaign_id, keys),
            msisdn,
            self.sender,
            draft.text.of(kept) if len(kept) < size else draft.text,
            segments[kept],
            verdicts.excluded(audience),
            sum((part.replaced(verdicts.kept) for part in draft.parts), Counter[str]()),
            {code: _rows_of(audience, draft.any_part(code) & verdicts.kept) for code in SUSPECTS},
            way=_ways(values, size).take(pa.array(kept)) if self.template.conditions else None,
        )

    def _judge(self, words: Words) -> None:
        """Raise BadCampaign for literal words that would exclude every row."""
        if self.unsupported != "replace" and not self.unicode:
            for number, text in enumerate(words.text.split("\n"), words.line):
                unknown = gsm.unknown_in(unicodedata.normalize("NFC", text))
                if unknown:
                    problem = f"GSM 03.38 has nothing for {', '.join(unknown)}: write it otherwise"
                    raise BadCampaign(self.template.path, number, problem)
        for number, text in enumerate(words.text.split("\n"), words.line):
            self._require_encodable(text, number, "the text")
        delimiter = DELIMITER.search(words.text)
        if self.delimiter_in_text == "refuse" and delimiter:
            line = words.line + words.text.count("\n", 0, delimiter.start())
            problem = "the gateway takes no semicolon, double quote or line break in a text"
            raise BadCampaign(self.template.path, line, problem)

    def _require_encodable(self, text: str, line: int | None, what: str) -> None:
        [cleaned] = gsm.clean(pa.array([text], TEXT), unicode=self.unicode).texts.to_pylist()
        if codes := send_file.lacking(cleaned, self.encoding):
            problem = (
                f"{what} holds {', '.join(codes)}, which the gateway's encoding {self.encoding} "
                "lacks: write it otherwise, or ask the provider to take UTF-8"
            )
            raise BadCampaign(self.template.path, line, problem)

    def _draft(self, values: list["_Values"], size: int) -> "_Draft":
        """Clean and measure the distinct texts of each piece."""
        pieces = [value.encoded for value in values]
        texts = [piece.texts for piece in pieces]
        if any(map(gsm.leans_back, texts[1:])) or any(
            gsm.leans_on(text, texts[place:]) for place, text in enumerate(texts[:-1], start=1)
        ):
            # A value may combine with the words before it: then whole texts must be cleaned.
            pieces = [Encoded(Pieced(pieces, size).joined(), np.arange(size))]
        parts = [self._part(piece) for piece in pieces]
        lengths = np.zeros(size, np.int32)
        for part in parts:
            lengths += part.encoded.by_row(part.lengths)
        return _Draft(parts, Pieced([part.encoded for part in parts], size), lengths)

    def _part(self, piece: Encoded) -> "_Part":
        if piece.which is None:
            return self._constant(*piece.texts.to_pylist())
        return self._cleaned(piece.texts, piece.which)

    @cached_property
    def _constant(self) -> Callable[..., "_Part"]:
        """The part of a constant piece, cleaned once and not once a batch."""
        return cache(lambda *words: self._cleaned(pa.array(words, TEXT), None))

    def _cleaned(self, texts: pa.Array, which: Ints | None) -> "_Part":
        cleaned = gsm.clean(texts, self.unsupported, unicode=self.unicode)
        if self.delimiter_in_text == "replace":
            cleaned = gsm.swapped(cleaned, DELIMITERS)
        return _Part(
            cleaned,
            self._lengths(cleaned.texts),
            which,
            _with_html(cleaned.texts),
            _with_placeholder(cleaned.texts),
            _are_stopgaps(cleaned.texts) if which is not None else _none_of(cleaned.texts),
        )

    def _lengths(self, texts: pa.Array) -> Lengths:
        return gsm.utf16_units(texts) if self.unicode else gsm.septets(texts)

    def _trimmed(self, draft: "_Draft") -> "_Draft":
        """Trim white space (R24). Only texts that lose some are joined and measured again."""
        rows = draft.with_outer_space()
        if not rows.size:
            return draft
        texts = pc.utf8_trim_whitespace(draft.text.of(rows).joined())
        lengths = draft.lengths.copy()
        lengths[rows] = self._lengths(texts)
        return replace(draft, text=_overwritten(draft.text, rows, texts), lengths=lengths)

    def _with_stop_mention(self, draft: "_Draft") -> "_Draft":
        """Append the stop mention, after a space, to each text that does not have it."""
        if not self.stop_mention:
            return draft
        mention = self._constant("", f" {self.stop_mention}")
        present = _with_mention(draft.text, mention.cleaned.texts[1].as_py().strip())
        part = self._constant(f" {self.stop_mention}")
        if present.any():
            part = replace(mention, which=(~present).astype(np.int64))
        return _Draft(
            [*draft.parts, part],
            Pieced([*draft.text.pieces, part.encoded], draft.text.size),
            draft.lengths + part.encoded.by_row(part.lengths),
        )

    def _exclude_unfit(self, draft: "_Draft", verdicts: "_Verdicts") -> None:
        verdicts.exclude(draft.lengths == 0, Reason.EMPTY_TEXT, _always("no text is left"))
        unknown = draft.any_part("unsupported")
        if self.unsupported == "refuse" and (unknown & verdicts.kept).any():
            rows = np.flatnonzero(unknown & verdicts.kept)
            raise SourceError(self._refusal(draft.text.of(rows).joined()))
        if self.unsupported == "exclude":
            verdicts.exclude(unknown, Reason.UNSUPPORTED_CHARACTERS, _codes_in(draft.text))
        if pattern := send_file.beyond(self.encoding):
            self._exclude_unencodable(draft, draft.matching(pattern), verdicts)
        if self.delimiter_in_text == "refuse":
            verdicts.exclude(
                draft.matching(DELIMITER.pattern),
                Reason.DELIMITER_IN_TEXT,
                _always("a delimiter, which the gateway refuses"),
            )

    def _exclude_unencodable(self, draft: "_Draft", rows: Flags, verdicts: "_Verdicts") -> None:
        """Exclude the rows whose text the encoding lacks."""

        def codes_of(rows: Ints) -> list[list[str]]:
            texts = draft.text.of(rows).joined().to_pylist()
            return [send_file.lacking(text, self.encoding) for text in texts]

        unsent = np.flatnonzero(rows & verdicts.kept)
        if self.unsupported == "refuse" and unsent.size:
            codes = sorted({code for each in codes_of(unsent) for code in each})
            texts = f"{count(len(unsent), 'text')} of {self.template.path} {have(len(unsent))}"
            raise SourceError(
                f"{texts} characters that the gateway's encoding {self.encoding} lacks "
                f"({', '.join(codes[:10])}): correct the source, or let the campaign say "
                "`unsupported_characters: exclude`"
            )
        verdicts.exclude(
            rows,
            Reason.UNSUPPORTED_CHARACTERS,
            lambda some: pa.array([" ".join(codes) for codes in codes_of(some)], TEXT),
        )

    def _refusal(self, texts: pa.Array) -> str:
        unknown = sorted({code for text in texts.to_pylist() for code in gsm.unknown_in(text)})
        found = f"{count(len(texts), 'text')} of {self.template.path} {have(len(texts))}"
        return (
            f"{found} characters that GSM 03.38 has nothing for ({', '.join(unknown[:10])}): "
            "correct the source, or let the campaign say `unsupported_characters: replace` or "
            "`unsupported_characters: exclude`"
        )

    def _exclude_long(self, draft: "_Draft", segments: Lengths, verdicts: "_Verdicts") -> None:
        most = gsm.MOST_PARTS if self.long_sms else 1
        unit = "UTF-16 units" if self.unicode else "septets"

        def explain(rows: Ints) -> pa.Array:
            length, parts = (known[rows].astype(np.int64) for known in (draft.lengths, segments))
            kinds = distinct(length << 32 | parts)
            sentences = [
                f"{kind >> 32} {unit} in {kind & 0xFFFFFFFF} segments, {most} allowed"
                for kind in kinds.tolist()
            ]
            which = np.searchsorted(kinds, length << 32 | parts)
            return pa.array(sentences, TEXT).take(pa.array(which))

        verdicts.exclude(segments > most, Reason.TEXT_TOO_LONG, explain)


# --- Columns, each by its distinct texts --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Values:
    """A column of values, or results of logic: null if a row lacks something."""

    encoded: Encoded
    lacks: pa.Array | None = None  # TEXT, for each null the name of the missing value
    blank: Flags | None = None  # nulls that have a value without visible characters
    kind: ValueKind | None = None  # of the values
    taken: Sequence[frozenset[str]] = ()  # for each text, the branches of its conditions

    @property
    def texts(self) -> pa.LargeStringArray:
        return self.encoded.texts

    def indices(self, size: int) -> Ints:
        """For each of `size` rows, the index of its text."""
        which = self.encoded.which
        return np.zeros(size, np.int64) if which is None else which

    def values(self) -> list[Any]:
        """The values of the texts, for logic."""
        logic_values = values(self.texts.to_pylist(), self.kind)
        for place in np.flatnonzero(self.blank) if self.blank is not None else ():
            logic_values[place] = BLANK
        return logic_values

    def gaps(self, size: int) -> Iterator[tuple[Flags, Reason, "Explain"]]:
        """Yield the rows with gaps, their Reason and its detail."""
        null = nulls_of(self.texts)
        if not null.any():
            return
        which = self.indices(size)
        if self.blank is not None:
            yield self.blank[which], Reason.EMPTY_VALUE, self._lacking
        yield null[which], Reason.MISSING_VALUE, self._lacking

    def _lacking(self, rows: Ints) -> pa.Array:
        assert self.lacks is not None  # a gap implies it
        return self.lacks.take(pa.array(self.indices(int(rows.max()) + 1)[rows]))


Blank: TypeAlias = Callable[[pa.LargeStringArray], Flags]  # which texts are invisible on a phone


def _pieces(template: Template, batch: pa.RecordBatch, blank: Blank) -> list[_Values]:
    """The pieces of every row's text. A value is never read as a template."""
    template.require(batch.schema.names)
    known = kinds.of_schema(batch.schema)
    columns = {
        name: _encoded(
            batch.column(name),
            name,
            known.get(name),
            blank if name in template.computed else None,
        )
        for name in template.columns
    }
    return [_piece(piece, columns, batch.num_rows) for piece in template.pieces]


def _piece(piece: Piece, columns: Mapping[str, _Values], size: int) -> _Values:
    if isinstance(piece, Words):
        return _Values(Encoded(pa.array([piece.text], TEXT), None))
    if isinstance(piece, Placeholder):
        return columns[piece.name]
    asked = [columns[name] for name in piece.columns]
    which, firsts = _combinations(asked, size)
    known = [[*map(each.values().__getitem__, each.indices(size)[firsts])] for each in asked]
    rows = zip(*known, strict=True) if known else [()] * len(firsts)
    written = [piece.of(dict(zip(piece.columns, row, strict=True))) for row in rows]
    return _Values(
        Encoded(pa.array([each.text for each in written], TEXT), which),
        pa.array([each.lacks for each in written], TEXT),
        np.array([each.blank for each in written], np.bool_),
        taken=[each.taken for each in written],
    )


def _ways(values: Sequence[_Values], size: int) -> pa.LargeStringArray:
    """The branches of the conditions in each row's text."""
    known, which = [frozenset[str]()], np.zeros(size, np.int64)
    for value in values:
        if any(value.taken):
            places = {taken: place for place, taken in enumerate(dict.fromkeys(value.taken))}
            sets, codes = [*places], np.array([places[taken] for taken in value.taken], np.int64)
            pairs, which = np.unique(
                which * len(sets) + codes[value.indices(size)], return_inverse=True
            )
            known = [known[pair // len(sets)] | sets[pair % len(sets)] for pair in pairs.tolist()]
    words = [" ".join(sorted(each, key=lambda way: (int(way[:-1]), way))) for each in known]
    return pa.array(words, TEXT).take(pa.array(which))


def _combinations(columns: list[_Values], size: int) -> tuple[Ints, Ints]:
    """The index of each row's combination of values, and the first row of each combination."""
    which = np.zeros(size, np.int64)
    for column in columns:
        codes, _ = pd.factorize(which * len(column.texts) + column.indices(size))
        which = codes.astype(np.int64)
    return which, np.flatnonzero(~pd.Series(which).duplicated().to_numpy(np.bool_))


def _encoded(column: pa.Array, name: str, kind: ValueKind | None, blanks: Blank | None) -> _Values:
    """A column of values without outer white space; a spelling of null is null.

    `blanks` is given for a column that a text computes with. Then the values are distinct, so that
    logic runs as rarely as possible, and a blank is null, as it is where the text writes it.
    """
    if blanks or not pa.types.is_dictionary(column.type):
        column = _dictionary(column.cast(TEXT), once=bool(blanks))
    elif len(column.dictionary) > len(column) // 2:
        column = _compacted(column)
    texts = pc.utf8_trim_whitespace(column.dictionary.cast(TEXT))
    absent = are_nulls(texts)
    if absent.any():
        texts = pc.if_else(pa.array(absent), pa.scalar(None, TEXT), texts)
    texts = kinds.shown(texts, kind)
    blank = blanks(texts) & ~nulls_of(texts) if blanks else np.zeros(0, np.bool_)
    if blank.any():
        texts = pc.if_else(pa.array(blank), pa.scalar(None, TEXT), texts)
    which = column.indices.cast(pa.int64())  # the smallest type may have no room for one more
    if which.null_count:
        which = which.fill_null(len(texts))
        texts = pa.concat_arrays([texts, pa.nulls(1, TEXT)])
        blank = np.append(blank, False)
    lacks = pa.repeat(pa.scalar(name, TEXT), len(texts)) if texts.null_count else None
    return _Values(Encoded(texts, which.to_numpy()), lacks, blank if blank.any() else None, kind)


def _dictionary(column: pa.Array, *, once: bool) -> pa.DictionaryArray:
    """The column dictionary encoded; mostly distinct values may stay as they are."""
    sample = column.slice(0, SAMPLE)
    if once or len(pc.unique(sample)) <= len(sample) // 2:
        return column.dictionary_encode()
    return pa.DictionaryArray.from_arrays(pa.array(np.arange(len(column))), column)


def _compacted(column: pa.DictionaryArray) -> pa.DictionaryArray:
    """The column without unused words: a file's dictionary is that of many batches."""
    which, used = pd.factorize(column.indices.to_numpy(zero_copy_only=False), use_na_sentinel=True)
    indices = pa.array(which, mask=which < 0)
    words = column.dictionary.take(pa.array(used.astype(np.int64)))
    return pa.DictionaryArray.from_arrays(indices, words)


SAMPLE = 2048  # rows of a batch that show whether values repeat


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of all texts: its distinct words, cleaned, and the index of each row's word."""

    cleaned: Cleaned
    lengths: Lengths
    which: Ints | None  # None: every row has the first word
    html_entity: Flags
    placeholder: Flags
    stopgap: Flags

    @property
    def encoded(self) -> Encoded:
        return Encoded(self.cleaned.texts, self.which)

    @property
    def mojibake(self) -> Flags:
        return self.cleaned.mojibake

    @property
    def unsupported(self) -> Flags:
        return self.cleaned.unsupported

    def replaced(self, kept: Flags) -> Counter[str]:
        """The replaced characters in the kept rows."""
        if not self.cleaned.rows.size:
            return Counter()
        if self.which is None:
            return self.cleaned.counted(np.array([kept.sum()], np.int64))
        times = np.bincount(self.which[kept], minlength=len(self.cleaned.texts))
        return self.cleaned.counted(times.astype(np.int64))


@dataclass(frozen=True, slots=True)
class _Draft:
    """The texts of a batch, not yet joined, with their lengths."""

    parts: list[_Part]
    text: Pieced
    lengths: Lengths

    def any_part(self, flag: str) -> Flags:
        """Which texts have a part with this flag."""
        flags = np.zeros(self.text.size, np.bool_)
        for part in self.parts:
            if getattr(part, flag).any():
                flags |= part.encoded.by_row(getattr(part, flag))
        return flags

    def matching(self, pattern: str) -> Flags:
        """Which texts match a pattern of one character, which is always inside one piece."""
        flags = np.zeros(self.text.size, np.bool_)
        for piece in self.text.pieces:
            hits = pc.match_substring_regex(piece.texts, pattern)
            flags |= piece.by_row(flags_of(pc.fill_null(hits, False)))
        return flags

    def with_outer_space(self) -> Ints:
        """The rows whose text begins or ends with white space."""
        first = _met_first(self.text.pieces, self.text.size, pc.utf8_ltrim_whitespace)
        last = _met_first(self.text.pieces[::-1], self.text.size, pc.utf8_rtrim_whitespace)
        return np.flatnonzero(first | last)


def _none_of(texts: pa.Array) -> Flags:
    """No flag of a column."""
    return np.zeros(len(texts), np.bool_)


def _are_stopgaps(texts: pa.LargeStringArray) -> Flags:
    """Which values mean that there is none: "-", "Inconnu", "Ne pas contacter"."""
    flags = _none_of(texts)
    short = np.flatnonzero(np.diff(bytes_of(texts)[1]) <= LONGEST_STOPGAP)
    some = texts.take(pa.array(short))
    flags[short] = flags_of(pc.fill_null(pc.match_substring_regex(some, STOPGAP), False))
    return flags


def _with_html(texts: pa.LargeStringArray) -> Flags:
    """Which texts contain an HTML entity, such as O&#039;Neil."""
    if not (bytes_of(texts)[0] == ord("&")).any():
        return _none_of(texts)
    return flags_of(pc.fill_null(pc.match_substring_regex(texts, HTML_ENTITY), False))


def _with_placeholder(texts: pa.LargeStringArray) -> Flags:
    """Which texts contain a placeholder of another tool, such as {{ first_name }}."""
    if not np.isin(bytes_of(texts)[0], PLACE_SIGNS).any():
        return _none_of(texts)
    return flags_of(pc.fill_null(pc.match_substring_regex(texts, PLACEHOLDER), False))


def _met_first(pieces: Sequence[Encoded], size: int, trim: Callable[[pa.Array], pa.Array]) -> Flags:
    """Which rows have a first non-empty piece that `trim` changes."""
    changed = np.zeros(size, np.bool_)
    undecided = np.ones(size, np.bool_)
    for piece in pieces:
        sizes = np.diff(bytes_of(piece.texts)[1])
        shorter = np.diff(bytes_of(trim(piece.texts))[1]) < sizes
        if shorter.any():
            changed |= undecided & piece.by_row(shorter)
        empty = sizes == 0
        if not empty.any():
            break
        undecided &= piece.by_row(empty)
        if not undecided.any():
            break
    return changed


def _overwritten(text: Pieced, rows: Ints, texts: pa.LargeStringArray) -> Pieced:
    """The texts with those in `rows` replaced."""
    which = np.zeros(text.size, np.int64)
    which[rows] = np.arange(1, len(rows) + 1)
    pieces = [Encoded(pa.concat_arrays([pa.array([""], TEXT), texts]), which)]
    for piece in text.pieces:
        left = np.zeros(text.size, np.int64) if piece.which is None else piece.which.copy()
        left[rows] = len(piece.texts)
        pieces.append(Encoded(pa.concat_arrays([piece.texts, pa.array([""], TEXT)]), left))
    return Pieced(pieces, text.size)


def _with_mention(text: Pieced, mention: str) -> Flags:
    """Which texts contain the stop mention by itself: not `STOP 36105` in `NON-STOP 361052`.

    It is inside a piece, or begins at the end of a piece. Only few texts are joined to check.
    """
    present = np.zeros(text.size, np.bool_)
    maybe = np.zeros(text.size, np.bool_)
    for place, piece in enumerate(text.pieces):
        held = holding(piece.texts, mention)
        if held.any():
            first, last = place == 0, place == len(text.pieces) - 1
            alone = held & _alone(piece.texts, mention, begins=first, ends=last)
            present |= piece.by_row(alone)
            maybe |= piece.by_row(held & ~alone)
        ending = _ending_with_some_of(piece.texts, mention)
        if ending.any():
            maybe |= piece.by_row(ending)
    rows = np.flatnonzero(maybe & ~present)
    if rows.size:
        present[rows] = _alone(text.of(rows).joined(), mention, begins=True, ends=True)
    return present


def _alone(texts: pa.LargeStringArray, mention: str, *, begins: bool, ends: bool) -> Flags:
    """Which texts contain a mention that is not part of a longer word.

    `begins` and `ends`: the text's own beginning and end count as borders.
    """
    page = "://" in mention  # goes on to the next space
    behind = r"[.,;:!?)\]\"']*\s" if page else r"[^\p{L}\p{N}_]"
    end = r"[.,;:!?)\]\"']*$" if page else "$"
    before = r"[^\p{L}\p{N}_-]" if not begins else r"(?:^|[^\p{L}\p{N}_-])"
    after = behind if not ends else f"(?:{behind}|{end})"
    words = re.escape(mention)
    contained = pc.match_substring_regex(texts, f"(?s){before}{words}{after}")
    denied = pc.match_substring_regex(texts, rf"(?s)(?i:\bnon)\s+{words}")
    return flags_of(pc.fill_null(pc.and_not(contained, denied), False))


def _ending_with_some_of(texts: pa.LargeStringArray, word: str) -> Flags:
    """Which texts end with a beginning of the word, but not with the whole word."""
    data, offsets = bytes_of(texts)
    word_bytes, ends = word.encode(), offsets[1:]
    begun = np.zeros(len(texts), np.bool_)
    filled = np.flatnonzero(np.diff(offsets))
    begun[filled] = data[ends[filled] - 1] == word_bytes[0]
    # All but the shortest beginning end with two neighbouring letters of the word: few texts do.
    neighbours = np.zeros((256, 256), np.bool_)
    neighbours[[*word_bytes[:-2]], [*word_bytes[1:-1]]] = True
    longer = np.flatnonzero(np.diff(offsets) > 1)
    rows = longer[neighbours[data[ends[longer] - 2], data[ends[longer] - 1]]]
    if rows.size:
        some = texts.take(pa.array(rows))
        for size in range(1, len(word)):
            begun[rows[flags_of(pc.fill_null(pc.ends_with(some, word[:size]), False))]] = True
    return begun


# --- Verdicts -----------------------------------------------------------------------------------

Explain: TypeAlias = Callable[[Ints], pa.Array]  # for each of some rows, a text


class _Verdicts:
    """Why each row of a batch is excluded; the first reason is kept."""

    def __init__(self, size: int) -> None:
        self.kept = np.ones(size, np.bool_)
        self._given: list[tuple[Ints, Reason, pa.Array]] = []

    def exclude(self, rows: Flags, reason: Reason, explain: Explain) -> None:
        fresh = np.flatnonzero(rows & self.kept)
        if fresh.size:
            self._given.append((fresh, reason, explain(fresh)))
            self.kept[fresh] = False

    def excluded(self, audience: pa.RecordBatch) -> pa.RecordBatch:
        """The excluded rows as EXCLUDED_SCHEMA."""
        if not self._given:
            return pa.RecordBatch.from_pylist([], EXCLUDED_SCHEMA)
        rows = np.concatenate([rows for rows, _, _ in self._given])
        order = pa.array(np.argsort(rows))
        people = audience.select(["row", "key", "msisdn"]).take(pa.array(np.sort(rows)))
        reasons = [pa.repeat(pa.scalar(str(why), TEXT), len(rows)) for rows, why, _ in self._given]
        columns = [
            people["row"],
            people["key"].cast(TEXT),
            joined([pa.scalar("+", TEXT), people["msisdn"].cast(TEXT)], len(rows)),
            pa.concat_arrays(reasons).take(order),
            pa.concat_arrays([details for _, _, details in self._given]).take(order),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=EXCLUDED_SCHEMA)


def _always(words: str) -> Explain:
    return lambda rows: pa.repeat(pa.scalar(words, TEXT), len(rows))


def _rows_of(audience: pa.RecordBatch, chosen: Flags) -> Ints:
    rows: Ints = audience.column("row").to_numpy()[chosen]
    return rows


def _codes_in(texts: Pieced) -> Explain:
    def explain(rows: Ints) -> pa.Array:
        some = texts.of(rows).joined().to_pylist()
        return pa.array([" ".join(gsm.unknown_in(text)) for text in some], TEXT)

    return explain


# --- IDREMOTE -----------------------------------------------------------------------------------

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_PAIRS = np.arange(1 << 16)
# Two bytes as four hexadecimal digits, in memory order.
_HEX = _DIGITS[np.column_stack([_PAIRS >> bits & 15 for bits in (4, 0, 12, 8)])].view(np.uint32)[
    :, 0
]
IDREMOTE_SIZE = 32


def idremote(campaign_id: str, keys: pa.Array) -> pa.Array:
    """32 hexadecimal digits for each key, always the same for the same run and key (R16).

    They are a 128-bit digest: a million keys collide with a chance of 1 in 10^27.
    """
    words = digest(keys, seed=campaign_id)
    digits = _HEX[words.astype(">u8").view(np.uint16)]
    offsets = np.arange(len(keys) + 1, dtype=np.int64) * IDREMOTE_SIZE
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(digits)]
    return pa.Array.from_buffers(TEXT, len(keys), buffers)

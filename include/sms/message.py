"""From a recipient's values to the message that is sent: template, text, IDREMOTE.

What a character costs is `gsm`'s to say, who is written to at all is `recipients`'.
"""

import hashlib
import re
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import jinja2
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pandas.util import hash_array

from sms import gsm
from sms.errors import BadCampaign, SourceError
from sms.gsm import Cleaned, Flags, Ints, Unsupported
from sms.recipients import EXCLUDED_SCHEMA, Reason

DelimiterInText: TypeAlias = Literal["quote", "replace", "refuse"]
Values: TypeAlias = Mapping[str, pa.Array]
Lengths: TypeAlias = npt.NDArray[np.int32]

TEXT = pa.large_string()

# What stands for what when a gateway can't be trusted with quotes (R23).
DELIMITERS = {";": ",", '"': "'", "\r": " ", "\n": " ", "\t": " "}
DELIMITER = re.compile('[;"\r\n]')  # what makes RFC 4180 ask for quotes
# A null that some program wrote as text: nobody is called that, in just this spelling.
NULLS_AS_TEXT = ("nan", "NaN", "None", "NaT", "<NA>")

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
_ELSEWHERE = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)  # need other files


class _ValueMissing(jinja2.UndefinedError):
    """A null met where the text needs a value; its message is the column's name."""


class _Null(jinja2.StrictUndefined):
    """A null in a rich template: it may be asked about (`if`, `or`, `default`), never written."""

    __slots__ = ()

    # What StrictUndefined forbids, Undefined allows: that is what it is declared to return.
    __bool__ = jinja2.Undefined.__bool__  # type: ignore[assignment]
    __eq__ = jinja2.Undefined.__eq__  # type: ignore[assignment]
    __ne__ = jinja2.Undefined.__ne__  # type: ignore[assignment]
    __hash__ = jinja2.Undefined.__hash__  # type: ignore[assignment]


def _never_null(value: Any) -> Any:
    """Refuse what an expression must not write into a text: None, or a float's nan."""
    if value is None or value != value:
        raise _ValueMissing("a value that the text computes")
    return value


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, finalize=_never_null, autoescape=False
    )
    # Every other name is a column. `random` would write a different text on each try.
    environment.globals = {"range": environment.globals["range"]}
    del environment.filters["random"]
    return environment


_JINJA = _environment()


class Template:
    """A campaign's text, compiled once. A value is never read as a template itself."""

    def __init__(self, text: str, path: str = "message.txt") -> None:
        self.path = path
        tree = _parsed(text, path)
        self.lines = _column_lines(tree)
        self.columns = tuple(self.lines)
        self.pieces, self.slow_because = _pieces(tree)
        self._compiled = _JINJA.from_string(tree)

    def require(self, available: Iterable[str]) -> None:
        """Raise BadCampaign for the first column that the text names and the query lacks."""
        known = sorted(available)
        for column, line in self.lines.items():
            if column not in known:
                problem = (
                    f"the text names {column}, which the query does not return: add it to the "
                    f"query, or name one of {', '.join(known)}"
                )
                raise BadCampaign(self.path, line, problem)

    def words(self) -> list["Words"]:
        """What the text itself says beside columns and logic, without the outer white space."""
        found = [piece for piece in self.pieces if isinstance(piece, Words)]
        if self.pieces and found and found[-1] is self.pieces[-1]:
            found[-1] = replace(found[-1], text=found[-1].text.rstrip())
        if self.pieces and found and isinstance(self.pieces[0], Words):
            lead = found[0].text
            skipped = lead[: len(lead) - len(lead.lstrip())].count("\n")
            found[0] = Words(lead.lstrip(), found[0].line + skipped)
        return found

    @property
    def plain(self) -> bool:
        """Whether the text is words and columns alone, and so is rendered by column."""
        return self.slow_because is None

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that no row may lack; a rich text is asked row by row instead."""
        return self.columns if self.plain else ()

    def values(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """The columns that the text names, as text; what only spells a null is null."""
        self.require(batch.schema.names)
        return {name: _as_text(batch, name) for name in self.columns}

    def render(self, batch: pa.RecordBatch) -> pa.Array:
        """The text of each row as the template gives it; null where a value is missing."""
        return self.texts(self.values(batch), batch.num_rows)[0]

    def texts(self, values: Values, size: int) -> tuple[pa.Array, pa.Array]:
        """`size` texts, and the name of the column that each lacks (null: none)."""
        if not self.plain:
            return self._rich_texts(values, size)
        missing = first_missing(values, size)
        parts = [_text_of(piece, values) for piece in self.pieces]
        return _concatenated(parts, size), missing

    def _rich_texts(self, values: Values, size: int) -> tuple[pa.Array, pa.Array]:
        """Row by row, but each distinct combination of values once."""
        if not values:
            distinct, which = [dict[str, Any]()], np.zeros(size, np.int64)
        else:
            table = pa.table(dict(values))
            frame = table.to_pandas(types_mapper=pd.ArrowDtype)
            groups = frame.groupby(list(frame.columns), dropna=False, sort=False).ngroup()
            distinct = table.filter(pa.array(~groups.duplicated().to_numpy())).to_pylist()
            which = groups.to_numpy(np.int64)
        written = [self._text(row) for row in distinct]
        texts = pa.array([text for text, _ in written], TEXT)
        missing = pa.array([column for _, column in written], TEXT)
        return texts.take(pa.array(which)), missing.take(pa.array(which))

    def _text(self, row: Mapping[str, str | None]) -> tuple[str | None, str | None]:
        """One text, or the name of what it lacks."""
        known = {name: _or_null(name, value) for name, value in row.items()}
        try:
            return self._compiled.render(known), None
        except jinja2.UndefinedError as error:
            return None, str(error)
        except Exception as error:
            # The cause is not kept: its message may quote a value.
            raise BadCampaign(self.path, _line_of(error), _problem(error)) from None


@dataclass(frozen=True, slots=True)
class Words:
    """What the template itself says."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Column:
    """A place that a column's value fills."""

    name: str


def _parsed(text: str, path: str) -> nodes.Template:
    try:
        tree = _JINJA.parse(text)
        _JINJA.compile(tree)
    except jinja2.TemplateSyntaxError as error:
        raise BadCampaign(path, error.lineno, error.message or "not a template") from error
    for elsewhere in tree.find_all(_ELSEWHERE):
        raise BadCampaign(path, elsewhere.lineno, "a text can't include or import another file")
    for kind, known in ((nodes.Filter, _JINJA.filters), (nodes.Test, _JINJA.tests)):
        for used in tree.find_all(kind):
            if used.name not in known:
                what = kind.__name__.lower()
                raise BadCampaign(path, used.lineno, f"there is no {what} named {used.name}")
    if not text.strip():
        raise BadCampaign(path, 1, "the text is empty: write what the message shall say")
    return tree


def _column_lines(tree: nodes.Template) -> dict[str, int]:
    """Each column that the text names, in order, with the line where it does so first."""
    columns = meta.find_undeclared_variables(tree) - set(_JINJA.globals)
    lines: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in columns:
            lines.setdefault(name.name, name.lineno)
    return lines


def _pieces(tree: nodes.Template) -> tuple[tuple[Words | Column, ...], str | None]:
    """The text as words and columns in turn, and what in it, if anything, is more than that."""
    pieces: list[Words | Column] = []
    richer: str | None = None
    for node in tree.body:
        for part in node.nodes if isinstance(node, nodes.Output) else [node]:
            if isinstance(part, nodes.TemplateData):
                pieces.append(Words(part.data, part.lineno))
            elif isinstance(part, nodes.Const) and isinstance(part.value, str):
                pieces.append(Words(part.value, part.lineno))
            elif isinstance(part, nodes.Name) and part.name not in _JINJA.globals:
                pieces.append(Column(part.name))
            else:
                what = type(part).__name__.lower()
                richer = richer or f"line {part.lineno}: `{what}` is rendered row by row"
    return tuple(pieces), richer


def _line_of(error: Exception) -> int | None:
    """The template's line in an error's traceback, which Jinja rewrites for that."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "<template>"
    ]
    return frames[-1].lineno if frames else None


def _problem(error: Exception) -> str:
    if isinstance(error, SecurityError):
        return "the text asks for something that a text may not do"
    return f"the text can't be rendered for a row of the audience ({type(error).__name__})"


def _or_null(name: str, value: str | None) -> Any:
    return _Null(hint=name, name=name, exc=_ValueMissing) if value is None else value


def _as_text(batch: pa.RecordBatch, name: str) -> pa.Array:
    text = batch.column(name).cast(TEXT)
    absent = pc.is_in(text, pa.array(NULLS_AS_TEXT, TEXT))
    if not pc.any(absent).as_py():
        return text
    return pc.if_else(absent, pa.scalar(None, TEXT), text)


def first_missing(values: Values, size: int) -> pa.Array:
    """For each row the name of the first column that is null there; null if none is."""
    missing = pa.nulls(size, TEXT)
    for name, column in reversed(list(values.items())):
        if column.null_count:
            missing = pc.if_else(column.is_null(), pa.scalar(name, TEXT), missing)
    return missing


def _text_of(piece: Words | Column, values: Values) -> pa.Array | pa.Scalar:
    if isinstance(piece, Column):
        return values[piece.name]
    return pa.scalar(piece.text, TEXT)


def _joined(parts: list[pa.Array | pa.Scalar]) -> pa.Array:
    return pc.binary_join_element_wise(*parts, pa.scalar("", TEXT))


def _concatenated(parts: list[pa.Array | pa.Scalar], size: int) -> pa.Array:
    if all(isinstance(part, pa.Scalar) for part in parts):
        return pa.repeat(pa.scalar("".join(map(str, parts)), TEXT), size)
    return _joined(parts)


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


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of all texts: its distinct words, cleaned, and which of them each row has."""

    cleaned: Cleaned
    lengths: Lengths
    which: Ints | None  # None: the one word, in every row

    def column(self) -> pa.Array | pa.Scalar:
        words = self.cleaned.texts
        return words[0] if self.which is None else words.take(pa.array(self.which))

    def by_row(self, known: npt.NDArray[Any]) -> Any:
        """What is known of the words, for each row."""
        return known[0] if self.which is None else known[self.which]

    def replaced(self, kept: Flags) -> Counter[str]:
        """The characters replaced in the kept rows."""
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
            flags |= part.by_row(getattr(part.cleaned, flag))
        return flags


class _Verdicts:
    """Why each row of a batch is excluded; the first reason given stays."""

    def __init__(self, size: int) -> None:
        self.reason = np.full(size, None, np.object_)
        self.detail = np.full(size, None, np.object_)
        self.kept = np.ones(size, np.bool_)

    def exclude(self, rows: Flags, reason: Reason, explain: Callable[[Ints], list[str]]) -> None:
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
            _joined([pa.scalar("+", TEXT), numbers]),
            pa.array(self.reason[out], TEXT),
            pa.array(self.detail[out], TEXT),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=EXCLUDED_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
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
        for words in self.template.words():
            self._judge(words)

    def render(self, audience: pa.RecordBatch) -> Rendering:
        """The messages of a batch with `key`, `msisdn` (int64) and the template's columns."""
        size = audience.num_rows
        values = self.template.values(audience)
        texts, missing = self._texts(values, size)
        verdicts = _Verdicts(size)
        verdicts.exclude(
            _flags(missing.is_valid()),
            Reason.MISSING_VALUE,
            lambda rows: missing.take(pa.array(rows)).to_pylist(),
        )
        stripped = self._stripped(self._draft(values, texts, size))
        self._exclude_unfit(stripped, verdicts)
        draft = self._with_stop_mention(stripped)
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

    def _texts(self, values: Values, size: int) -> tuple[pa.Array | None, pa.Array]:
        """The texts where they can't be put together from cleaned pieces, and what each lacks."""
        if not self.template.plain or self.unicode or self._leans_back(values):
            return self.template.texts(values, size)
        return None, first_missing(values, size)

    def _draft(self, values: Values, texts: pa.Array | None, size: int) -> _Draft:
        """Clean what there is least of: the template's words and the distinct values."""
        if texts is None:
            parts = [self._part(piece, values) for piece in self.template.pieces]
        else:
            parts = [self._cleaned(pc.fill_null(texts, ""), np.arange(size))]
        lengths = np.zeros(size, np.int32)
        for part in parts:
            lengths += part.by_row(part.lengths)
        return _Draft(parts, _concatenated([part.column() for part in parts], size), lengths)

    def _part(self, piece: Words | Column, values: Values) -> _Part:
        if isinstance(piece, Words):
            return self._cleaned(pa.array([piece.text], TEXT), None)
        encoded = pc.fill_null(values[piece.name], "").dictionary_encode()
        return self._cleaned(encoded.dictionary, encoded.indices.to_numpy())

    def _cleaned(self, texts: pa.Array, which: Ints | None) -> _Part:
        cleaned = gsm.clean(texts, self.unsupported, unicode=self.unicode)
        if self.delimiter_in_text == "replace":
            cleaned = gsm.swapped(cleaned, DELIMITERS)
        return _Part(cleaned, self._lengths(cleaned.texts), which)

    def _lengths(self, texts: pa.Array) -> Lengths:
        return gsm.utf16_units(texts) if self.unicode else gsm.septets(texts)

    def _stripped(self, draft: _Draft) -> _Draft:
        """R24. What is stripped is a septet or a unit each, whatever it is."""
        texts = pc.utf8_trim_whitespace(draft.texts)
        lost = pc.subtract(pc.utf8_length(draft.texts), pc.utf8_length(texts))
        return replace(draft, texts=texts, lengths=draft.lengths - lost.to_numpy())

    def _with_stop_mention(self, draft: _Draft) -> _Draft:
        """Append the stop mention, after a space, to each text that hasn't got it already."""
        if not self.stop_mention:
            return draft
        mention = self._cleaned(pa.array(["", f" {self.stop_mention}"], TEXT), None)
        words = mention.cleaned.texts
        there = _flags(pc.match_substring(draft.texts, words[1].as_py().strip()))
        part = replace(mention, which=(~there).astype(np.int64))
        return _Draft(
            [*draft.parts, part],
            _concatenated([draft.texts, part.column()], len(draft.texts)),
            draft.lengths + part.by_row(part.lengths),
        )

    def _exclude_unfit(self, draft: _Draft, verdicts: _Verdicts) -> None:
        empty = _flags(pc.equal(draft.texts, ""))
        verdicts.exclude(empty, Reason.EMPTY_TEXT, lambda rows: ["no text is left"] * len(rows))
        unknown = draft.any_part("unsupported")
        if self.unsupported == "refuse" and (unknown & verdicts.kept).any():
            raise SourceError(self._refusal(draft.texts.filter(pa.array(unknown & verdicts.kept))))
        if self.unsupported == "exclude":
            verdicts.exclude(unknown, Reason.UNSUPPORTED_CHARACTERS, _codes_in(draft.texts))
        if self.delimiter_in_text == "refuse":
            verdicts.exclude(
                _flags(pc.match_substring_regex(draft.texts, DELIMITER.pattern)),
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

    def _exclude_long(self, draft: _Draft, segments: Lengths, verdicts: _Verdicts) -> None:
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

    @staticmethod
    def _leans_back(values: Values) -> bool:
        """Whether a value may melt into the words before it, and pieces can't be cleaned alone."""
        return any(gsm.leans_back(column) for column in values.values())


def _rows_of(audience: pa.RecordBatch, chosen: Flags) -> Ints:
    rows: Ints = audience.column("row").to_numpy()[chosen]
    return rows


def _codes_in(texts: pa.Array) -> Callable[[Ints], list[str]]:
    return lambda rows: [
        " ".join(gsm.unknown_in(text)) for text in texts.take(pa.array(rows)).to_pylist()
    ]


def _flags(column: pa.Array) -> Flags:
    flags: Flags = column.to_numpy(zero_copy_only=False)
    return flags


_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), "S2")


def idremote(campaign_id: str, keys: pa.Array) -> pa.Array:
    """32 hexadecimal digits for each key: the same for the same run and key, for ever (R16).

    Two keyed 64-bit SipHashes: a million keys collide with a chance of 1 in 10^27.
    """
    seed = hashlib.sha256(campaign_id.encode()).hexdigest()
    texts = keys.to_numpy(zero_copy_only=False).astype(np.object_)
    words = np.empty((len(texts), 2), ">u8")
    for half, hash_key in enumerate((seed[:16], seed[16:32])):
        words[:, half] = hash_array(texts, hash_key=hash_key, categorize=False)
    digits = _HEX[words.view(np.uint8)].tobytes()
    offsets = np.arange(len(texts) + 1, dtype=np.int64) * 32
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(digits)]
    return pa.Array.from_buffers(TEXT, len(texts), buffers)

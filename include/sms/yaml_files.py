"""Strict reading of YAML that people write by hand: every fault with its line.

The pydantic model says which keys and values a document may have; this module only reads it. A
fault is data: a file may have several, and all are reported.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError

Model = TypeVar("Model", bound=BaseModel)

EMPTY = re.compile(r":\s*(?:#.*)?$")  # a key without a value
GROUPING = re.compile("[ .,'’_\u00a0\u202f]")  # separators between thousands
GROUPED = re.compile(rf"[1-9]\d{{0,2}}(?:{GROUPING.pattern}\d{{3}})+")
DECIMAL_COMMA = re.compile(rf"(\d+|[1-9]\d{{0,2}}(?:{GROUPING.pattern}\d{{3}})+),(\d{{1,4}})")

# More than a hand-written file needs. Without limits a small file could take seconds, and nested
# aliases would never end.
MOST_DEPTH, MOST_VALUES, MOST_CHARACTERS, MOST_DIGITS = 10, 2_000, 4_096, 18
MOST_FAULTS = 20
LONGEST_PROBLEM = 1_000
# PostgreSQL can't store NUL or half a surrogate pair, and Airflow stores all DAGs in one statement.
UNSTORABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
INTEGER, TEXT, TIMESTAMP = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "str", "timestamp"))


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """One fault of a document, and its line (from 1) if it has one."""

    line: int | None
    problem: str


@dataclass(frozen=True, slots=True)
class Document(Generic[Model]):
    """The value of a document, or its faults."""

    value: Model | None
    faults: tuple[DocumentFault, ...] = ()


def read(text: str, model: type[Model]) -> Document[Model]:
    """Read and check a YAML document; in an empty document every key has its default."""
    try:
        written = _load(text)
        reading = _validated(written, model)
        if reading.value is not None and (empty := tuple(_left_empty(written, text))):
            return Document(None, empty)
        return reading
    except MarkedYAMLError as error:
        return Document(None, (_unparsable(error),))
    except YAMLError as error:
        return Document(None, (DocumentFault(None, f"is not YAML ({_one_line(error)})"),))
    except Exception as error:
        # The message is left out: it may contain a phone number of the document.
        problem = f"can't be read ({type(error).__name__}): write plain `key: value` lines"
        return Document(None, (DocumentFault(None, problem),))


def line_of(key: str, text: str) -> int | None:
    """The line of a top-level key in a valid document, None if the key is absent."""
    return _line(_load(text), (key,))


class _Refused(MarkedYAMLError):
    """Valid YAML that this module refuses."""


class _Bounded(Composer):
    """A composer that refuses machine-written YAML as soon as the parser meets it."""

    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose the next value, or refuse it."""
        event = self.parser.peek_event()
        self.values += 1
        if getattr(event, "anchor", None) is not None:
            raise _refused("anchors (`&`) and aliases (`*`) are not read: write the value", event)
        if getattr(event, "ctag", None) is not None:
            raise _refused("tags (`!`) are not read: write the value without its tag", event)
        if self.depth >= MOST_DEPTH:
            raise _refused(f"is nested more than {MOST_DEPTH} deep: write it flat", event)
        if self.values > MOST_VALUES:
            raise _refused(f"holds more than {MOST_VALUES:,} values: shorten it", event)
        return super().compose_node(parent, index)

    def compose_scalar_node(self, anchor: Any) -> Any:
        """Compose the next scalar; a date becomes text."""
        node = super().compose_scalar_node(anchor)
        if len(node.value) > MOST_CHARACTERS:
            raise _refused(f"a value is longer than {MOST_CHARACTERS:,} characters", node)
        if match := UNSTORABLE.search(node.value):
            raise _refused(f"a value holds {match[0]!r}: take that character away", node)
        if node.tag == TIMESTAMP:
            node.tag = TEXT
        if node.tag == INTEGER and sum(map(str.isalnum, node.value)) > MOST_DIGITS:
            raise _refused(f"a number has more than {MOST_DIGITS} digits", node)
        return node


def _refused(problem: str, at: Any) -> _Refused:
    return _Refused(problem=problem, problem_mark=at.start_mark)


def _load(text: str) -> Any:
    yaml = YAML(typ="rt")
    yaml.Composer = _Bounded
    return yaml.load(text)


def _validated(written: Any, model: type[Model]) -> Document[Model]:
    if written is None:
        written = {}
    if not isinstance(written, Mapping):
        return Document(None, (DocumentFault(1, "must be a list of `key: value` lines"),))
    try:
        return Document(model.model_validate(_plain(written)))
    except ValidationError as invalid:
        return Document(None, _faults(invalid, written, model))


def _left_empty(written: Any, text: str) -> Iterator[DocumentFault]:
    """Yield top-level keys without a value; an explicit null is a value.

    A limit whose number was deleted would otherwise be no limit.
    """
    lines = text.splitlines()
    for key, value in (written or {}).items():
        line = _line(written, (key,)) if value is None else None
        if line and EMPTY.search(lines[line - 1]):
            yield DocumentFault(line, f"{key}: is empty: write a value, or leave the key out")


def _faults(
    invalid: ValidationError, written: Any, model: type[BaseModel]
) -> tuple[DocumentFault, ...]:
    """The first faults in order of lines; the sentences of thousands would take minutes."""
    details = invalid.errors(include_url=False)
    details.sort(key=lambda detail: _line(written, detail["loc"]) or 0)
    faults = [_fault(detail, written, model) for detail in details[:MOST_FAULTS]]
    if (more := len(details) - MOST_FAULTS) > 0:
        faults.append(DocumentFault(None, f"has {more} more faults: correct these first"))
    return tuple(faults)


def _unparsable(error: MarkedYAMLError) -> DocumentFault:
    mark = error.problem_mark or error.context_mark
    problem = shortened(_one_line(error.problem or error))
    if "alias" in problem or "alias" in str(error.context):
        problem += "; a value that begins with `*` needs quotes around it"
    if not isinstance(error, _Refused):
        problem = f"is not YAML: {problem}"
    return DocumentFault(None if mark is None else mark.line + 1, problem)


def shortened(problem: str) -> str:
    """Cut the middle of a long sentence: its end says what to do."""
    if len(problem) <= LONGEST_PROBLEM:
        return problem
    return f"{problem[:200]} … {problem[203 - LONGEST_PROBLEM :]}"


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


def _plain(written: Any) -> Any:
    """The same values as plain Python types, without ruamel's own."""
    if isinstance(written, Mapping):
        return {str(key): _plain(value) for key, value in written.items()}
    if isinstance(written, str):
        return str(written)
    if isinstance(written, Sequence):
        return [_plain(value) for value in written]
    for kind in (bool, int, float):
        if isinstance(written, kind):
            return kind(written)
    return written


def _fault(detail: ErrorDetails, written: Any, model: type[BaseModel]) -> DocumentFault:
    where = detail["loc"]
    named = [part for part in where if isinstance(part, str) and part != "[key]"]
    key = ".".join(named) or "the document"
    problem = f"{key}: {_sentence(detail, _model_at(where, model))}"
    return DocumentFault(_line(written, where), shortened(problem))


def _model_at(where: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel]:
    """The model that has, or lacks, the last key of `where`."""
    for part in where[:-1]:
        field = model.model_fields.get(str(part))
        for kind in get_args(field.annotation) if field else ():
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                model = kind
    return model


def _line(written: Any, where: tuple[int | str, ...]) -> int | None:
    """The line of the innermost part of `where` that the document contains."""
    line = None
    for part in where:
        try:
            position = written.lc.key(part) if isinstance(part, str) else written.lc.item(part)
            written = written[part]
        except (AttributeError, KeyError, IndexError, TypeError):
            break
        line = position[0] + 1
    return line


def _sentence(detail: ErrorDetails, model: type[BaseModel]) -> str:
    written = detail["input"]
    match detail["type"]:
        case "missing":
            description = _description(detail, model)
            return f"is missing: {description}" if description else "is missing"
        case "extra_forbidden":
            return _unknown(str(detail["loc"][-1]), model)
        case "value_error":
            return str(detail["ctx"]["error"])
        case "enum" | "literal_error":
            return f"{written!r} is none of {detail['ctx']['expected']}"
        case _ if written is None:
            return "is empty: write a value, or leave the key out"
        case "float_parsing" | "float_type":
            return f"{written!r} is no number: {_as_number(str(written))}"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"{written!r} is no whole number: {_as_whole_number(str(written))}"
        case "tuple_type" | "list_type":
            return f"{written!r} is no list: {_as_list(written)}"
        case "dict_type":
            return f"{written!r} holds no pairs: write them as {{KEY: value, OTHER: value}}"
        case "bool_parsing" | "bool_type":
            return f"{written!r} is neither true nor false: write one of them"
        case "string_too_short":
            return f"{written!r} is too short: write something, or leave the key out"
        case "string_pattern_mismatch" if description := _description(detail, model):
            return f"{written!r} can't be: write {description}"
        case _:
            wish = detail["msg"].removeprefix("Input ").replace("valid string", "text")
            hint = ", put quotes around it" if detail["type"] == "string_type" else ""
            return f"{written!r} {wish}{hint}"


def _description(detail: ErrorDetails, model: type[BaseModel]) -> str | None:
    field = model.model_fields.get(str(detail["loc"][-1]))
    return field.description if field else None


def _as_number(written: str) -> str:
    """How to write a number that has separators or a decimal comma."""
    whole = GROUPING.sub("", written)
    if decimal := DECIMAL_COMMA.fullmatch(written):
        pointed = f"{GROUPING.sub('', decimal[1])}.{decimal[2]}"
        if GROUPED.fullmatch(written):  # 1,200
            return f"write {whole}, or {pointed} if the comma begins its decimals"
        return f"write a point instead of the comma, {pointed}"
    if GROUPED.fullmatch(written):
        return f"write it without marks between the digits, {whole}"
    return "write digits alone, with a point before decimals, such as 12.50"


def _as_whole_number(written: str) -> str:
    if written.isdigit():
        return f"write {written} without quotes"
    if GROUPED.fullmatch(written):
        return f"write it without marks between the digits, {GROUPING.sub('', written)}"
    return "write digits alone, such as 10000"


def _as_list(written: object) -> str:
    """How to write a list that was written as one value."""
    if isinstance(written, str | int | float):
        return f"write it in brackets, [{written}]"
    return "write its values in brackets, such as [one, other]"


def _unknown(key: str, model: type[BaseModel]) -> str:
    near = difflib.get_close_matches(key, model.model_fields, n=1)
    if near:
        return f"is no known key, did you mean {near[0]}?"
    return f"is no known key; known are {', '.join(model.model_fields)}"

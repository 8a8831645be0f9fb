"""A campaign's text: its Jinja, its faults, and its pieces.

A text is split into words, columns and logic: words and columns are rendered as whole columns, and
only logic needs Python for each distinct row. This module reads no data and imports nothing heavy,
as Airflow imports it at each parse of a DAG.
"""

import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, DivisionByZero, InvalidOperation
from functools import wraps
from math import isinf
from typing import Any, NamedTuple, TypeAlias

import jinja2
from jinja2 import meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.utils import missing

from sms.campaign import expressions, formats
from sms.campaign.bounded_jinja import LOOKED_UP, BoundedEnvironment, TooMuch, number_conditions
from sms.columnar.values import BLANK, ValueKind, YesNo, written
from sms.errors import BadCampaign
from sms.yaml_files import DocumentFault, shortened

_OTHER_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_OF_PAGES = (nodes.EvalContextModifier, nodes.ScopedEvalContextModifier)  # compiling computes them
# More than a text of ten SMS needs. Without limits, Python's compiler may fail or take minutes.
_MOST_TOKENS, _MOST_DEPTH = 2_000, 50
_LARGEST = 1_000_000_000  # of a number that may be a width or a count
_LARGEST_OF_ORDERS = 10**15  # of a number that is only compared, added or subtracted
_WEIGHED = (nodes.Operand, nodes.Compare, nodes.Add, nodes.Sub, nodes.Mod, nodes.FloorDiv)
_NO_CHARACTER = re.compile(r"[\x00-\x08\x0e-\x1f\ud800-\udfff]")
# {first_name}, ${name}, [name], %NAME%, *|NAME|*, <<name>>, <name>, #name#
_OF_OTHER_TOOLS = re.compile(
    r"\$?\{\s*[^\W\d][\w .-]{0,40}\}|\[\s*[^\W\d][\w .-]{0,40}\]|%[^\W\d]\w{0,40}%"
    r"|\*\|[\w:]{1,40}\|\*|<<?[^\W\d][\w .-]{0,40}>>?|#[^\W\d]\w{0,40}#|&(?:#\w+|[A-Za-z]+);"
    # of Python, C, ASP and mailing tools
    r"|\{\d{1,2}\}|%[sd](?![\w%])|%\(\w{1,40}\)[sd]|<%=?[^<>%]{1,60}%>|\[%[^\[\]%]{1,60}%\]"
    r"|@@?[^\W\d]\w{0,40}@@?|__[^\W\d]\w{0,40}__|\{![\w.:]{1,60}\}"
    r"|[$@#]\([\w.]{1,40}\)|(?<![\w|])\|[^\W\d]\w{0,40}\|(?![\w|])|~[^\W\d]\w{0,40}~"
    # $name, and the end of a placeholder without its begin
    r"|\$(?!US\b|CA\b)[^\W\d]\w{0,40}|[}%#]\}"
)
# A column's name as a word, outside links and addresses.
_NAME = re.compile(
    r"(?<![\w/.=&?#-])[«@]?[a-zà-ÿ]{1,40}(?:_[a-zà-ÿ0-9]{1,40}){1,9}»?(?![\w/@=&-]|\.\w)"
)
# With one of these, a piece may depend on an earlier one, or appear elsewhere.
_INSEPARABLE = (nodes.Assign, nodes.AssignBlock, nodes.Macro, nodes.CallBlock, nodes.Block)


class _ValueMissing(jinja2.UndefinedError):
    """A null where the text needs a value; the message is the column's name."""


class _ValueBlank(_ValueMissing):
    """A value without visible characters where the text needs one."""


class _NoSuchPart(jinja2.UndefinedError):
    """The text asks for an attribute that values of the type don't have."""


class _Absent(jinja2.StrictUndefined):
    """A missing attribute or item: the part after the point, or a method of another type."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | int | None = None,
        exc: type[Exception] = jinja2.UndefinedError,
    ) -> None:
        if obj is not missing and isinstance(name, str) and exc is jinja2.UndefinedError:
            exc = _NoSuchPart
        super().__init__(hint, obj, name, exc)  # type: ignore[arg-type]


class _Null(jinja2.StrictUndefined):
    """A null or blank in logic: `if`, `or` and `default` may test it, but it can't be written."""

    __slots__ = ()

    # StrictUndefined declares these as NoReturn; the types of Undefined don't match.
    __bool__ = jinja2.Undefined.__bool__  # type: ignore[assignment]
    __hash__ = jinja2.Undefined.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return other is None or other == "" or isinstance(other, _Null)

    def __ne__(self, other: object) -> bool:  # type: ignore[override]
        return not self == other


@pass_context  # without it Jinja would compute constants at compile time
def _as_written(context: Any, value: Any) -> Any:
    """The value of an expression to write into a text; never None, nan or infinity."""
    if value is None or value != value or (isinstance(value, float) and isinf(value)):
        raise _ValueMissing("a value that the text computes")
    if not isinstance(value, _WRITABLE):
        raise formats.Unfit(
            f"the text writes a {type(value).__name__}, which is no text or number: name the part "
            "of it that is meant, or call it with ( )"
        )
    return written(value)


_WRITABLE = (str, int, float, Decimal, date, jinja2.Undefined)


def _for_values(write: Callable[..., str]) -> Callable[..., str]:
    """A filter that reports a missing value's name, as Jinja's own do."""

    @wraps(write)
    def filtered(value: Any, *args: Any, **kwargs: Any) -> str:
        return write(str(value) if isinstance(value, jinja2.Undefined) else value, *args, **kwargs)

    return filtered


def _environment() -> BoundedEnvironment:
    # Not optimized: else each parse of a DAG would build the text of `{{ 'a' * 4000000000 }}`.
    environment = BoundedEnvironment(
        undefined=_Absent, finalize=_as_written, autoescape=False, optimized=False
    )
    # `random` writes another text on each try, and `attr` reads an attribute named by a value.
    del environment.filters["random"], environment.filters["attr"]
    environment.filters |= {name: _for_values(each) for name, each in formats.FILTERS.items()}
    environment.tests |= {
        "none": lambda value: value is None or isinstance(value, _Null),
        "true": lambda value: value is True or (isinstance(value, YesNo) and bool(value)),
        "false": lambda value: value is False or (isinstance(value, YesNo) and not value),
    }
    return environment


_JINJA = _environment()


class WrittenValue(NamedTuple):
    """One rendered text, or the name of the missing value."""

    text: str | None
    lacks: str | None = None
    blank: bool = False  # the missing value is present, without visible characters
    taken: frozenset[str] = frozenset()  # the branches of its conditions


@dataclass(frozen=True, slots=True)
class Words:
    """A literal piece of the text."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A place for a column's value."""

    name: str


@dataclass(frozen=True, slots=True)
class Logic:
    """A piece that needs Python: a filter, a condition or a loop over some columns."""

    columns: tuple[str, ...]
    path: str
    compiled: jinja2.Template

    def of(self, values: Mapping[str, Any]) -> WrittenValue:
        """Render one combination of values; values are never templates themselves.

        A null is None, and a value without visible characters is BLANK. Raises BadCampaign,
        without the values, if the logic fails on them.
        """
        try:
            _JINJA.begin()
            known = {name: _or_null(name, value) for name, value in values.items()}
            return WrittenValue(self.compiled.render(known), taken=_JINJA.taken())
        except _NoSuchPart as error:
            raise BadCampaign(self.path, _line_of(error), self._problem(error)) from None
        except _ValueMissing as error:
            return WrittenValue(None, str(error), isinstance(error, _ValueBlank))
        except jinja2.UndefinedError:
            return WrittenValue(None, LOOKED_UP)
        except (ZeroDivisionError, DivisionByZero, InvalidOperation):
            return WrittenValue(None, "a number that the text divides by")
        except formats.NoNumber:
            return WrittenValue(None, "a number that the text reads")
        except Exception as error:
            lacking = [name for name, value in values.items() if value is None or value is BLANK]
            if isinstance(error, TypeError) and lacking:
                return WrittenValue(None, lacking[0], values[lacking[0]] is BLANK)
            # Without a cause: its message may contain a value.
            raise BadCampaign(self.path, _line_of(error), self._problem(error)) from None

    def _problem(self, error: Exception) -> str:
        """The sentence for failed logic; it may name types, never values."""
        if isinstance(error, TooMuch):
            return "the text repeats, pads or counts more than an SMS needs: write it more simply"
        if isinstance(error, SecurityError):
            return "the text asks for something that a text may not do"
        why = type(error).__name__
        if isinstance(error, _NoSuchPart | formats.Unfit) or _OF_TYPES.fullmatch(str(error)):
            why = str(error)
        columns = " and ".join(self.columns)
        return (
            f"the text can't be worked out for a row of the audience ({why}): check what "
            f"{columns or 'it'} holds, or cast it in the query"
        )


Piece: TypeAlias = Words | Placeholder | Logic


class Template:
    """A campaign's text, compiled once. Raises BadCampaign for the first fault of a text."""

    def __init__(self, text: str, path: str = "message.txt") -> None:
        self.path = path
        for fault in faults(text):
            raise BadCampaign(path, fault.line, fault.problem)
        tree = self._tree = _JINJA.parse(text)
        self.conditions = number_conditions(tree)
        self.lines = _column_lines(tree)
        self.columns = tuple(self.lines)
        self.slow_because: str | None = None
        self.pieces = self._taken_apart(tree)

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must be filled in every row; logic is checked row by row."""
        names = [piece.name for piece in self.pieces if isinstance(piece, Placeholder)]
        return tuple(dict.fromkeys(names))

    @property
    def words(self) -> tuple[Words, ...]:
        """The literal pieces of the text."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Words))

    @property
    def computed(self) -> tuple[str, ...]:
        """The columns in logic, whose values are computed with and not only written."""
        names = [
            name for piece in self.pieces if isinstance(piece, Logic) for name in piece.columns
        ]
        return tuple(dict.fromkeys(names))

    @property
    def notes(self) -> tuple[DocumentFault, ...]:
        """Warnings: placeholders of other tools, which are probably a mistake."""
        signs: list[tuple[int, str]] = []
        for words in self._tree.find_all(nodes.TemplateData):
            by_tools = [*_OF_OTHER_TOOLS.finditer(words.data)]
            names = [
                name
                for name in _NAME.finditer(words.data)
                if not any(each.start() <= name.start() < each.end() for each in by_tools)
            ]
            for sign in (*by_tools, *names):
                signs.append((words.lineno + words.data.count("\n", 0, sign.start()), sign[0]))
        signs += [
            (written.lineno, written.value)
            for output in self._tree.find_all(nodes.Output)
            for written in _written_by(output.nodes)
            if isinstance(written.value, str) and _NAME.fullmatch(written.value)
        ]
        return tuple(
            DocumentFault(
                line, f"{sign} is sent as it is: a column's value is written {{{{ name }}}}"
            )
            for line, sign in signs
        )

    def broken_by(self, kinds: Mapping[str, ValueKind]) -> list[BadCampaign]:
        """The errors of expressions that fail on values of these kinds, or are never true."""
        return [
            BadCampaign(self.path, fault.line, fault.problem)
            for fault in expressions.faults(self._tree, kinds)
        ]

    def require(self, available: Iterable[str]) -> None:
        """Raise BadCampaign for the first column of the text that the query lacks."""
        known = sorted(available)
        for column, line in self.lines.items():
            if column not in known:
                problem = (
                    f"the text names {column}, which the query does not return: add it to the "
                    f"query, or name one of {', '.join(known)}"
                )
                raise BadCampaign(self.path, line, problem)

    def _taken_apart(self, tree: nodes.Template) -> tuple[Piece, ...]:
        whole = next(tree.find_all(_INSEPARABLE), None)
        if whole is not None:
            self.slow_because = (
                f"line {whole.lineno}: with `{_name_of(whole)}` Python renders the whole text, "
                f"once for each combination of {' and '.join(self.columns) or 'no column'}"
            )
            return (self._logic(tree.body),)
        return _trimmed(_merged(self._pieces(tree)))

    def _pieces(self, tree: nodes.Template) -> Iterator[Piece]:
        for node in tree.body:
            for part in node.nodes if isinstance(node, nodes.Output) else [node]:
                if isinstance(part, nodes.TemplateData):
                    yield Words(part.data, part.lineno)
                elif isinstance(part, nodes.Const) and isinstance(part.value, str):
                    yield Words(part.value, part.lineno)
                elif isinstance(part, nodes.Name) and part.name not in _JINJA.globals:
                    yield Placeholder(part.name)
                else:
                    yield self._one_logic(part)

    def _one_logic(self, part: nodes.Node) -> Logic:
        output = isinstance(part, nodes.Expr)
        piece = self._logic([nodes.Output([part], lineno=part.lineno) if output else part])
        if piece.columns and self.slow_because is None:
            self.slow_because = (
                f"line {part.lineno}: `{_name_of(part)}` is worked out by Python, once for each "
                f"combination of {' and '.join(piece.columns)}"
            )
        return piece

    def _logic(self, body: list[nodes.Node]) -> Logic:
        alone = nodes.Template(body, lineno=1)
        alone.set_environment(_JINJA)
        columns = _columns(alone)
        asked = tuple(name for name in self.columns if name in columns)
        return Logic(asked, self.path, _JINJA.from_string(alone))


def _written_by(written: Iterable[nodes.Node | None]) -> Iterator[nodes.Const]:
    """Yield the constants that these expressions may write."""
    for each in written:
        if isinstance(each, nodes.Const):
            yield each
        elif isinstance(each, nodes.CondExpr):
            yield from _written_by([each.expr1, each.expr2])


def faults(text: str) -> tuple[DocumentFault, ...]:
    """All faults of a text that can be found without data.

    No expression is computed, not even `2 + 2`.
    """
    try:
        return tuple(_faults(text))
    except jinja2.TemplateSyntaxError as error:
        return (DocumentFault(error.lineno, shortened(f"is no template: {error.message}")),)
    except SyntaxError as error:  # in the Python code that Jinja generates
        return (DocumentFault(None, shortened(f"is no template: {error.msg}")),)
    except Exception as error:
        problem = f"is no template that can be read ({type(error).__name__}): write it more simply"
        return (DocumentFault(None, problem),)


def _faults(text: str) -> Iterator[DocumentFault]:
    if not text.strip():
        yield DocumentFault(1, "is empty: write the message")
        return
    if too_much := _too_much(text):
        yield too_much
        return
    tree = _JINJA.parse(text)
    if deepest := _below(tree, _MOST_DEPTH):
        yield DocumentFault(
            deepest.lineno, f"is nested more than {_MOST_DEPTH} deep: write it more simply"
        )
        return
    if page := next(tree.find_all(_OF_PAGES), None):
        yield DocumentFault(page.lineno, "uses autoescape, which is for web pages: take it away")
        return
    _JINJA.compile(tree)
    for node in tree.find_all(_OTHER_FILES):
        yield DocumentFault(
            node.lineno, "includes another file: a campaign's text can't use other files"
        )
    for known, kind in ((_JINJA.filters, nodes.Filter), (_JINJA.tests, nodes.Test)):
        for used in tree.find_all(kind):  # the compiler doesn't check those inside an `if`
            if used.name not in known:
                problem = shortened(f"uses {used.name!r}, which is not known here")
                yield DocumentFault(used.lineno, problem)
    for asked in tree.find_all(nodes.Filter):
        if asked.name == "date" and (wrong := _of_pattern(asked)):
            yield DocumentFault(asked.lineno, wrong)
    weighed = {id(side) for each in tree.find_all(_WEIGHED) for side in each.iter_child_nodes()}
    for const in tree.find_all(nodes.Const):
        if isinstance(const.value, str) and (found := _NO_CHARACTER.search(const.value)):
            yield DocumentFault(
                const.lineno, f"writes {found[0]!r}, which no phone shows: delete it"
            )
        most = _LARGEST_OF_ORDERS if id(const) in weighed else _LARGEST
        if isinstance(const.value, int) and const.value > most:
            yield DocumentFault(const.lineno, f"holds a number above {most:,}: write a smaller one")


def _of_pattern(date: nodes.Filter) -> str | None:
    """The fault of a constant date pattern; None if it is good."""
    given = [*date.args[:1], *(each.value for each in date.kwargs if each.key == "pattern")]
    for each in given:
        if isinstance(each, nodes.Const):
            return formats.problem_of_pattern(each.value)
    return None


def _too_much(text: str) -> DocumentFault | None:
    """The fault of a text with too many Jinja tokens; None if it has few enough."""
    for number, (line, _, _) in enumerate(_JINJA.lex(text), start=1):
        if number > _MOST_TOKENS:
            return DocumentFault(
                line, f"has more than {_MOST_TOKENS:,} words of logic: write it shorter"
            )
    return None


def _below(tree: nodes.Node, depth: int) -> nodes.Node | None:
    """The first node at this depth; without recursion, whose depth Python limits."""
    level: list[nodes.Node] = [tree]
    for _ in range(depth):
        level = [child for node in level for child in _parts(node)]
    return level[0] if level else None


def _parts(node: nodes.Node) -> Iterator[nodes.Node]:
    """A node's children; the links of a chain such as `a + b + c` count as one level."""
    for each in node.iter_child_nodes():
        child = each
        while type(child) is type(node) and isinstance(child, nodes.BinExpr) and _chains(child):
            yield child.right
            child = child.left
        yield child


def _chains(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Add | nodes.And | nodes.Or)


def _columns(tree: nodes.Template) -> set[str]:
    """The names that a text uses and doesn't set. Jinja's own function would compute constants."""
    generator = meta.TrackingCodeGenerator(_JINJA)
    generator.optimizer = None
    generator.visit(tree)
    return generator.undeclared_identifiers | (set(_JINJA.globals) & _as_columns(tree))


def _as_columns(tree: nodes.Template) -> set[str]:
    """The names that a text uses without calling them: a column may be called `range`."""
    called = {id(call.node) for call in tree.find_all(nodes.Call)}
    return {name.name for name in tree.find_all(nodes.Name) if id(name) not in called}


def _column_lines(tree: nodes.Template) -> dict[str, int]:
    """Each column of the text, in order, with the first line that names it."""
    columns = _columns(tree)
    lines: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in columns:
            lines.setdefault(name.name, name.lineno)
    return lines


def _merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces, with neighbouring words joined."""
    merged: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, Words) and merged and isinstance(merged[-1], Words):
            merged[-1] = Words(merged[-1].text + piece.text, merged[-1].line)
        else:
            merged.append(piece)
    return merged


def _trimmed(pieces: list[Piece]) -> tuple[Piece, ...]:
    """The pieces without white space around the whole text, which isn't sent."""
    if pieces and isinstance(pieces[-1], Words):
        pieces[-1] = Words(pieces[-1].text.rstrip(), pieces[-1].line)
    if pieces and isinstance(pieces[0], Words):
        lead = pieces[0].text
        skipped = lead[: len(lead) - len(lead.lstrip())].count("\n")
        pieces[0] = Words(lead.lstrip(), pieces[0].line + skipped)
    return tuple(piece for piece in pieces if piece != Words("", getattr(piece, "line", 0)))


def _name_of(node: nodes.Node) -> str:
    """The author's name for a node: a filter's name, a tag's word."""
    if isinstance(node, nodes.Filter):
        return node.name
    words: dict[type[nodes.Node], str] = {
        **{nodes.Assign: "set", nodes.AssignBlock: "set", nodes.CallBlock: "call"},
        **{nodes.CondExpr: "if", nodes.Getattr: ".", nodes.Getitem: "[ ]"},
    }
    return words.get(type(node), type(node).__name__.lower())


def _line_of(error: Exception) -> int | None:
    """The template's line in an error's traceback, which Jinja rewrites."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == "<template>"
    ]
    return frames[-1].lineno if frames else None


# Python's messages about operands, which contain only names of types.
_OF_TYPES = re.compile(
    r"unsupported operand type\(s\) for \S+: '[\w.]+' and '[\w.]+'"
    r"|'\S+' not supported between instances of '[\w.]+' and '[\w.]+'"
    r"|can only concatenate str \(not \"[\w.]+\"\) to str"
    r"|object of type '[\w.]+' has no len\(\)|'[\w.]+' object is not (?:iterable|callable)"
)


def _or_null(name: str, value: Any) -> Any:
    if value is None or value is BLANK:
        return _Null(hint=name, name=name, exc=_ValueMissing if value is None else _ValueBlank)
    return value

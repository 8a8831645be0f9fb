"""Jinja for campaign texts: sandboxed, with limits on time and memory of a rendering.

`{{ 'a' * 4000000000 }}`, or a macro that calls itself twice, would take the memory or the time of a
worker that other campaigns need. Faults of a text are found in `sms.campaign.template`.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from decimal import ROUND_FLOOR, Decimal
from functools import wraps
from types import BuiltinFunctionType
from typing import Any, NamedTuple, TypeVar

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sms.campaign.formats import Unfit
from sms.columnar.values import written

LARGEST = 10_000  # of a repetition, a width or a count; ten SMS have 1,530 characters
LONGEST = 1_000_000  # characters or items of a result: a column may hold more than an SMS
MOST_BITS = 256
MOST_DIGITS = 64
LOOKED_UP = "a value that the text looks up"
STEPS = 100_000  # rounds of loops and calls in one rendering
SEEN_IN_A_STEP = 20  # items
LONG = 1_000  # characters
# A width or precision of five digits in a format, or one given by a value.
WIDE_PERCENT = re.compile(r"%(?:\([^)]*\))?[-+ #0]*(?:\d*\.)?(?:\d{5}|\*)")  # as of "%6.2f"
WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*(?:\d{5}|\{)")  # as of "{:>6}"
WIDE_STRFTIME = re.compile(r"[0-9]{3}")
NAMES_OF_STRFTIME = re.compile(r"%[-_^#0]*[aAbBcpPxXhr]")
WIDENING = ("center", "expandtabs", "ljust", "rjust", "to_bytes", "zfill")  # Python's methods
# Filters that convert their input to text.
OF_TEXT = (
    *("replace", "upper", "lower", "title", "capitalize", "trim", "string", "truncate", "format"),
    *("center", "wordwrap"),
)
COUNTING = ("batch", "center", "indent", "round", "slice", "tojson")  # filters

_left: ContextVar[int] = ContextVar("_left", default=STEPS)
_taken: ContextVar[set[str] | None] = ContextVar("_taken", default=None)
CONDITIONS = (nodes.If, nodes.CondExpr)


def bounded_range(*args: int) -> range:
    """Python's range with at most LARGEST items."""
    numbers = range(*args)
    _require(len(numbers) <= LARGEST)
    return numbers


class TooMuch(SecurityError):
    """A text computes more than the limits allow."""


class Condition(NamedTuple):
    """A condition's line, and whether it compares values or only tests presence."""

    line: int
    compares: bool


def number_conditions(tree: nodes.Template) -> dict[int, Condition]:
    """Number the conditions of a text; `taken` names them by number."""
    found = {}
    for number, node in enumerate(tree.find_all(CONDITIONS), start=1):
        node.condition = number  # type: ignore[attr-defined]
        asked = [*node.iter_child_nodes(only=("test",))]
        compares = any(
            isinstance(each, nodes.Compare) or each.find(nodes.Compare) for each in asked
        )
        found[number] = Condition(node.lineno, compares)
    return found


class _Generator(CodeGenerator):
    """Jinja's code generator, with counters for loop rounds and characters.

    Numbered conditions record which branch they took.
    """

    def visit_If(self, node: nodes.If, frame: Frame) -> None:
        watched = _watched(node)
        watched.elif_ = [_watched(each) for each in node.elif_]
        super().visit_If(watched, frame)

    def visit_CondExpr(self, node: nodes.CondExpr, frame: Frame) -> None:
        super().visit_CondExpr(_watched(node), frame)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        counted = copy.copy(node)
        counter = nodes.EnvironmentAttribute("rounds", lineno=node.lineno)
        counted.iter = nodes.Call(counter, [node.iter], [], None, None, lineno=node.lineno)
        super().visit_For(counted, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concat(map(environment.as_text, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write(")))")

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        if isinstance(node.value, float):
            self.write(f"environment.exact({node.value!r})")
        else:
            super().visit_Const(node, frame)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self.write("environment.weighed(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self.write("environment.weighed(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx != "load":  # the names of a loop, for example
            super().visit_Tuple(node, frame)
            return
        self.write("environment.weighed(")
        super().visit_Tuple(node, frame)
        self.write(")")


_Condition = TypeVar("_Condition", nodes.If, nodes.CondExpr)


def _watched(node: _Condition) -> _Condition:
    number = getattr(node, "condition", None)
    if number is None:
        return node
    watched = copy.copy(node)
    went = nodes.EnvironmentAttribute("went", lineno=node.lineno)
    arguments = [node.test, nodes.Const(number, lineno=node.lineno)]
    watched.test = nodes.Call(went, arguments, [], None, None, lineno=node.lineno)
    return watched


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """A sandbox with limits on the size of each result and on the number of steps."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.filters = {name: _bounded(name, each) for name, each in self.filters.items()}
        self.globals = {"range": bounded_range}

    @staticmethod
    def begin() -> None:
        """Reset the counters at the start of a rendering."""
        _left.set(STEPS)
        _taken.set(set())

    @staticmethod
    def taken() -> frozenset[str]:
        """The branches taken since `begin`: "1+" means that condition 1 was true."""
        return frozenset(_taken.get() or ())

    @staticmethod
    def went(value: Any, condition: int) -> Any:
        """Record a condition's result and return its value."""
        if (taken := _taken.get()) is not None:
            taken.add(f"{condition}{'+' if value else '-'}")
        return value

    @staticmethod
    def rounds(items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items of a loop, and count its rounds."""
        for item in items:
            _step()
            yield item

    @staticmethod
    def weighed(value: Any) -> Any:
        """Return a list, tuple or dict, or raise TooMuch if it is too large.

        Two of `[a, a]` have four items, and sixty such lines more than any machine can hold: to
        write, join or compare them visits all.
        """
        return _weighed(value)

    @staticmethod
    def as_text(value: Any) -> str:
        """A value as a message shows it."""
        return str(written(value))

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join the parts to one text."""
        held, length = [], 0
        for part in parts:
            held.append(part)
            length += len(part)
            _require(length <= LONGEST)
        return "".join(held)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator's result, if it is within the limits; numbers are exact."""
        left, right = self.exact(left), self.exact(right)
        _require(_is_small(operator, left, right))
        if isinstance(left, int | Decimal) and isinstance(right, int | Decimal):
            if operator == "/":
                return Decimal(left) / Decimal(right)
            if operator in ("//", "%") and not (isinstance(left, int) and isinstance(right, int)):
                whole = (Decimal(left) / Decimal(right)).to_integral_value(ROUND_FLOOR)
                return whole if operator == "//" else left - right * whole
        return _weighed(super().call_binop(context, operator, left, right))

    @staticmethod
    def exact(value: Any) -> Any:
        """A float as the decimal that the text writes: 9.99 is exactly 9.99."""
        return Decimal(repr(value)) if isinstance(value, float) else value

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item of a value; for a missing one the error does not contain the key."""
        found = super().getitem(obj, argument)
        absent = isinstance(found, Undefined) and found._undefined_obj is obj
        if absent and not issubclass(found._undefined_exception, SecurityError):
            return self.undefined(hint=LOOKED_UP)
        return found

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A call's result; arguments of Python's own methods are checked as widths and counts."""
        _step()
        if isinstance(__obj, BuiltinFunctionType):
            if __obj.__name__ in WIDENING:
                _require_small_numbers(args, kwargs)
            if __obj.__name__ == "strftime":
                _require_plain_format(*args)
            if __obj.__name__ == "replace" and isinstance(__obj.__self__, str):
                _require(_grows_little(__obj.__self__, *args))
            if __obj.__name__ == "translate":
                _require(_weight([*args]) * len(str(__obj.__self__)) <= LONGEST)
        return _weighed(super().call(__context, __obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """`str.format` of a format without wide fields."""
        formatted = super().wrap_str_format(value)
        if formatted is not None:
            _require(not WIDE_BRACES.search(value.__self__))
        return formatted


def _bounded(name: str, of_jinja: Callable[..., Any]) -> Callable[..., Any]:
    """A filter with limits on widths and counts."""
    passed = 1 if hasattr(of_jinja, "jinja_pass_arg") else 0

    @wraps(of_jinja)  # also keeps Jinja's marks of passed arguments
    def bounded(*args: Any, **kwargs: Any) -> Any:
        value, others = args[passed], args[passed + 1 :]
        if name in OF_TEXT and not isinstance(value, Undefined):
            args = (*args[:passed], written(value), *map(written, others))
            value, others = args[passed], args[passed + 1 :]
        if isinstance(value, list | tuple | range):
            _step(len(value) // SEEN_IN_A_STEP)
        if name in COUNTING:
            _require_small_numbers(others, kwargs)
        if name == "format":
            _require(not _is_wide(str(value)))
        if name == "replace":
            _require(_grows_little(value, *others, **kwargs))
        return _weighed(of_jinja(*args, **kwargs))

    return bounded


def _is_wide(text: str) -> bool:
    """Whether a `%` format has a wide field; `%%` is a percent sign."""
    return WIDE_PERCENT.search(text.replace("%%", "")) is not None


def _step(steps: int = 1) -> None:
    _left.set(_left.get() - steps)
    _require(_left.get() >= 0)


def _require(bounded: bool) -> None:
    if not bounded:
        raise TooMuch("more than a text may work out")


def _weighed(result: Any) -> Any:
    if isinstance(result, str):
        _require(len(result) <= LONGEST)
        _step(len(result) // LONG)  # many long texts may make one list
    elif isinstance(result, list | tuple | dict | set):
        _require(_weight(result) <= LONGEST)
    return result


def _weight(value: Any) -> int:
    """The number of characters and items in a value, at all depths.

    An item that occurs twice counts twice. Counting stops at the limit, and costs steps.
    """
    weight, seen, left = 0, 0, [value]
    while left and weight <= LONGEST:
        seen += 1
        one = left.pop()
        weight += len(one) if isinstance(one, str) else 1
        if isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set):
            left += one
    _step(seen // SEEN_IN_A_STEP)
    return weight


def _require_plain_format(pattern: object) -> None:
    """Refuse a wide format, or names of days and months: they are English in every text."""
    _require(not WIDE_STRFTIME.search(str(pattern)))
    if NAMES_OF_STRFTIME.search(str(pattern)):
        raise Unfit('the names of `strftime` are English: write `| date("EEEE d MMMM")` instead')


def _require_small_numbers(args: Iterable[Any], kwargs: dict[str, Any]) -> None:
    for each in (*args, *kwargs.values()):
        _require(not isinstance(each, int) or abs(each) <= LARGEST)


def _is_small(operator: str, left: Any, right: Any) -> bool:
    if operator == "%":
        return not (isinstance(left, str) and _is_wide(left))
    sizes = [len(each) for each in (left, right) if isinstance(each, str | list | tuple)]
    if operator == "+":
        return sum(sizes) <= LONGEST
    if operator == "**" and (isinstance(left, Decimal) or isinstance(right, Decimal)):
        return bool(abs(right) <= MOST_DIGITS and abs(left) <= LARGEST)
    numbers = [each for each in (left, right) if isinstance(each, int)]
    if sizes and numbers:
        return operator != "*" or sizes[0] * numbers[0] <= LARGEST
    if len(numbers) < 2 or operator not in ("*", "**"):
        return True
    bits = left.bit_length()
    return bool((bits * right if operator == "**" else bits + right.bit_length()) <= MOST_BITS)


def _grows_little(value: Any, old: Any = "", new: Any = "", *_: Any, **__: Any) -> bool:
    text = str(value)
    return len(text) + text.count(str(old)) * len(str(new)) <= LONGEST

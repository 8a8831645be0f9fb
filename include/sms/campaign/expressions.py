"""Checks of a text's expressions against the kinds of columns: impossible and never-true ones.

In Python a number never equals a text, and no error is raised. So expressions are checked before
any value is read, as soon as the kinds of the columns are known.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

from jinja2 import nodes

from sms.clock import PARIS
from sms.columnar.values import NUMBERS, ValueKind
from sms.yaml_files import DocumentFault

_OF_TEXT = (
    *("upper", "lower", "title", "capitalize", "trim", "replace", "string", "truncate", "format"),
    *("center", "join", "wordwrap", "number", "money", "euro", "date", "e", "escape"),
)
_OF_NUMBERS = ("length", "count", "wordcount", "int", "float", "abs", "round", "sum")
_NEED_NUMBERS = ("number", "money", "euro", "abs", "round")
_ORDERS = ("lt", "lteq", "gt", "gteq")
_SIGNS = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Pow: "**",
    nodes.Mod: "%",
}
_COMPARING = {
    **dict.fromkeys(("eq", "==", "equalto"), "eq"),
    **dict.fromkeys(("ne", "!="), "ne"),
    **dict.fromkeys(("lt", "<", "lessthan"), "lt"),
    **dict.fromkeys(("gt", ">", "greaterthan"), "gt"),
    **{"le": "lteq", "<=": "lteq", "ge": "gteq", ">=": "gteq", "in": "in"},
}
_MOST_STEPS = 20  # rounds over names that are set from each other
_EXAMPLES: dict[ValueKind, object] = {
    ValueKind.TEXT: "a",
    ValueKind.YES_NO: "a",
    ValueKind.MIXED: "a",
    ValueKind.BOOLEAN: True,
    ValueKind.INTEGER: 1,
    ValueKind.DECIMAL: Decimal(1),
    ValueKind.FLOAT: 1.0,
    ValueKind.DATE: date.min,
    ValueKind.TIMESTAMP: datetime(2027, 3, 2, 10, 0, tzinfo=PARIS),
}
_TEXTS = (ValueKind.TEXT, ValueKind.YES_NO, ValueKind.MIXED)


def faults(tree: nodes.Node, kinds: Mapping[str, ValueKind]) -> Iterator[DocumentFault]:
    """Yield each expression that fails on values of these kinds or can never be true."""
    others = {name for name, kind in kinds.items() if kind is ValueKind.OTHER}
    lines = {each.name: each.lineno for each in reversed([*tree.find_all(nodes.Name)])}
    for name in sorted(others & lines.keys(), key=lines.__getitem__):
        yield DocumentFault(
            lines[name],
            f"{name} is {ValueKind.OTHER.noun}, which a text can't show: let the query return the "
            "one value that is meant",
        )
    kinds = {name: kind for name, kind in kinds.items() if name not in others}
    known = _Kinds(_with_own_names(tree, kinds))
    for node in tree.find_all(nodes.Expr):
        for problem in known.problems(node):
            yield DocumentFault(node.lineno, problem)
    asked = {id(part) for each in _conditions(tree) for part in _parts_of(each)}
    for condition in _conditions(tree):
        for problem in known.misread(condition):
            yield DocumentFault(condition.lineno, problem)
    for node in tree.find_all((nodes.Or, nodes.And, nodes.Filter)):
        if id(node) not in asked:
            for problem in known.chosen(node):
                yield DocumentFault(node.lineno, problem)


def _with_own_names(
    tree: nodes.Node, kinds: Mapping[str, ValueKind]
) -> Mapping[str, ValueKind | None]:
    """The kinds, with those of names that the text sets, if they are known.

    A name that is set twice, or is also a column, has a kind only if all of its values share it.
    """
    current: dict[str, ValueKind | None] = {**kinds}
    for _ in range(_MOST_STEPS):
        known = _Kinds(current)
        set_to: dict[str, list[ValueKind | None]] = {}
        for name, kind in _set_by(tree, known):
            set_to.setdefault(name, [kinds[name]] if name in kinds else []).append(kind)
        merged = {**kinds, **{name: _shared(each) for name, each in set_to.items()}}
        if merged == current:
            return current
        current = merged
    return {**kinds, **dict.fromkeys(set_to)}


def _set_by(tree: nodes.Node, known: "_Kinds") -> Iterator[tuple[str, ValueKind | None]]:
    """Yield each name that a text sets, and the kind of its value."""
    for block in tree.find_all(nodes.AssignBlock):
        yield from _named(block.target, ValueKind.TEXT)
    for setting in tree.find_all(nodes.Assign):
        yield from _named(setting.target, known.of(setting.node))
    for loop in tree.find_all(nodes.For):
        items = loop.iter.items if isinstance(loop.iter, nodes.Tuple | nodes.List) else []
        yield from _named(loop.target, _shared([known.of(item) for item in items]))
    for macro in tree.find_all(nodes.Macro):
        yield from ((argument.name, None) for argument in macro.args)


def _named(target: nodes.Node, kind: ValueKind | None) -> Iterator[tuple[str, ValueKind | None]]:
    """Yield the names in an assignment's target; parts of a tuple have no known kind."""
    if isinstance(target, nodes.Name):
        yield target.name, kind
    for name in target.find_all(nodes.Name):
        yield name.name, None


def _conditions(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Yield the conditions of a text."""
    for branch in tree.find_all(nodes.If):
        yield branch.test
    for choice in tree.find_all(nodes.CondExpr):
        yield choice.test
    for loop in tree.find_all(nodes.For):
        if loop.test is not None:
            yield loop.test


def _parts_of(condition: nodes.Node) -> Iterator[nodes.Node]:
    """Yield a condition and its parts, through `and`, `or` and `not`."""
    yield condition
    if isinstance(condition, nodes.And | nodes.Or):
        yield from _parts_of(condition.left)
        yield from _parts_of(condition.right)
    elif isinstance(condition, nodes.Not):
        yield from _parts_of(condition.node)


class _Kinds:
    """The kinds of expressions; an expression of unknown kind is not checked."""

    def __init__(self, kinds: Mapping[str, ValueKind | None]) -> None:
        self._of = kinds

    def of(self, node: nodes.Node) -> ValueKind | None:
        """The kind of an expression's value, None if unknown."""
        if isinstance(node, nodes.Name):
            return self._of.get(node.name)
        if isinstance(node, nodes.Const):
            known = (kind for kind, each in _EXAMPLES.items() if type(node.value) is type(each))
            return next(known, None)
        if isinstance(node, nodes.Filter):
            return self._of_filter(node)
        if isinstance(node, nodes.Compare | nodes.Test | nodes.Not):
            return ValueKind.BOOLEAN
        if isinstance(node, nodes.Concat):
            return ValueKind.TEXT
        if isinstance(node, nodes.Neg | nodes.Pos):
            return self.of(node.node)
        if isinstance(node, nodes.CondExpr) and node.expr2 is not None:
            return self._same(node.expr1, node.expr2)
        if isinstance(node, nodes.And | nodes.Or):
            return self._same(node.left, node.right)
        if isinstance(node, nodes.BinExpr) and type(node) in _SIGNS:
            return self._of_operation(node)
        return None

    def _of_filter(self, node: nodes.Filter) -> ValueKind | None:
        if node.name in _OF_TEXT:
            return ValueKind.TEXT
        if node.name in _OF_NUMBERS:
            return ValueKind.FLOAT
        if node.name in ("default", "d") and node.node is not None and node.args:
            return self._same(node.node, node.args[0])
        return None

    def _same(self, *sides: nodes.Node) -> ValueKind | None:
        return _shared([self.of(side) for side in sides])

    def _of_operation(self, node: nodes.BinExpr) -> ValueKind | None:
        sides = [self.of(node.left), self.of(node.right)]
        if all(kind in NUMBERS for kind in sides):
            return ValueKind.FLOAT
        texts = sides[0] in _TEXTS
        if texts and (isinstance(node, nodes.Mod) or sides[1] in _TEXTS):
            return ValueKind.TEXT
        return None

    def problems(self, node: nodes.Expr) -> Iterator[str]:
        """Yield the problems of one expression, without its parts."""
        if isinstance(node, nodes.Compare):
            yield from self._compared(node)
        elif isinstance(node, nodes.BinExpr) and type(node) in _SIGNS:
            yield from self._operated(node)
        elif isinstance(node, nodes.Filter):
            yield from self._filtered(node)
        elif isinstance(node, nodes.Concat):
            for part in node.nodes:
                if self.of(part) is ValueKind.BOOLEAN:
                    yield f"`~` joins {self._noun(part)}: write what it means, as in {_CHOICE}"
        elif isinstance(node, nodes.Getattr):
            yield from self._attribute(node)
        elif isinstance(node, nodes.Getitem):
            kind = self.of(node.node)
            if kind and kind not in _TEXTS:
                yield f"{self._noun(node.node)} has no parts: let the query return what is meant"
            if isinstance(node.node, nodes.Dict):
                yield from self._looked_up(node.node, node.arg)
        elif isinstance(node, nodes.Call):
            match node.node:
                case nodes.Getattr(node=nodes.Dict() as table, attr="get") if node.args:
                    yield from self._looked_up(table, node.args[0])
        elif isinstance(node, nodes.Test):
            yield from self._tested(node)

    def _tested(self, node: nodes.Test) -> Iterator[str]:
        if node.name in ("true", "false", "boolean"):
            kind = self.of(node.node)
            if kind and kind not in (ValueKind.BOOLEAN, ValueKind.YES_NO):
                yield (
                    f"`is {node.name}` tests {self._noun(node.node)}, and only a boolean is "
                    "one: compare it with what is meant"
                )
        elif node.name in _COMPARING and node.args:
            operand = nodes.Operand(_COMPARING[node.name], node.args[0])
            yield from self._compared(nodes.Compare(node.node, [operand]))

    def _looked_up(self, table: nodes.Dict, wanted: nodes.Node) -> Iterator[str]:
        for pair in table.items:
            yield from self._unlike(wanted, pair.key, orders=False)

    def misread(self, condition: nodes.Node) -> Iterator[str]:
        """Yield conditions on text whose truth is not its meaning."""
        for part in _parts_of(condition):
            if isinstance(part, nodes.Name) and self.of(part) is ValueKind.MIXED:
                yield (
                    f"`if {part.name}` asks whether it is filled, and it is "
                    f"{ValueKind.MIXED.noun}: compare it, as in `{part.name} == 'oui'`, or let "
                    "the query return a boolean"
                )
            elif isinstance(part, nodes.Const) and not isinstance(part.value, bool):
                yield (
                    f"`{part.value}` in a condition is always the same: compare on both sides of "
                    "`or`, as in `n == 1 or n == 2`"
                )
            elif isinstance(part, nodes.Filter | nodes.Call | nodes.Concat | nodes.Getitem):
                for name in part.find_all(nodes.Name):
                    if self.of(name) in (ValueKind.YES_NO, ValueKind.MIXED) and not self._counts(
                        part
                    ):
                        yield (
                            f"a condition asks for the truth of text that is made of {name.name}, "
                            f"where 'non' is true as any other: write `if {name.name}`"
                        )

    def _counts(self, part: nodes.Node) -> bool:
        return isinstance(part, nodes.Filter) and part.name in _OF_NUMBERS

    def chosen(self, node: nodes.Node) -> Iterator[str]:
        """Yield choices between values that would skip a 'non'."""
        if isinstance(node, nodes.Filter):
            always = len(node.args) > 1 or any(each.key == "boolean" for each in node.kwargs)
            value = node.node if node.name in ("default", "d") and always else None
        else:
            value = node.left if isinstance(node, nodes.And | nodes.Or) else None
        if isinstance(value, nodes.Name) and self.of(value) in (ValueKind.YES_NO, ValueKind.MIXED):
            yield (
                f"{value.name} says yes or no, and its 'non' would be skipped as if it were "
                f"missing: write `{value.name} | default(...)`, which takes a blank as missing, too"
            )

    def _compared(self, node: nodes.Compare) -> Iterator[str]:
        left = node.expr
        for operand in node.ops:
            right = operand.expr
            if operand.op in ("in", "notin"):
                if isinstance(right, nodes.Tuple | nodes.List):
                    for item in right.items:
                        yield from self._unlike(left, item, orders=False)
                elif isinstance(right, nodes.Dict):
                    yield from self._looked_up(right, left)
                elif self.of(right) in _TEXTS:
                    yield from self._unlike(left, right, orders=True)
            else:
                yield from self._unlike(left, right, orders=operand.op in _ORDERS)
                if operand.op in _ORDERS:
                    yield from self._spelt(left, right)
            left = right

    def _unlike(self, left: nodes.Node, right: nodes.Node, *, orders: bool) -> Iterator[str]:
        one, other = self.of(left), self.of(right)
        if one is None or other is None or _are_alike(one, other, orders=orders):
            return
        what = "can't be worked out" if orders else "is never true"
        yield (
            f"{self._noun(left)} is compared with {self._noun(right)}, which {what}: "
            f"{self._cure(left, right, orders=orders)}"
        )

    def _spelt(self, left: nodes.Node, right: nodes.Node) -> Iterator[str]:
        """Yield a comparison by order of numbers that are texts: "90" is more than "100"."""
        sides = (left, right)
        if all(self.of(side) in _TEXTS for side in sides) and any(map(self._is_mixed, sides)):
            yield (
                f"{self._noun(left)} is compared with {self._noun(right)} letter by letter, so "
                "that 90 is more than 100: let the query return numbers, or write `| float` behind "
                "each"
            )

    def _is_mixed(self, node: nodes.Node) -> bool:
        return isinstance(node, nodes.Name) and self.of(node) is ValueKind.MIXED

    def _joined(self, node: nodes.BinExpr) -> Iterator[str]:
        """Yield a `+` or `*` that joins or repeats numbers that are texts."""
        left, right = node.left, node.right
        if isinstance(node, nodes.Add):
            both = all(
                isinstance(side, nodes.Name) or _spells_number(side) for side in (left, right)
            )
            wrong = both and any(map(self._may_count, (left, right)))
            does = f"puts {self._noun(left)} and {self._noun(right)} together, as 90 and 10 to 9010"
        else:
            wrong = isinstance(node, nodes.Mul) and self._may_count(left)
            does = f"repeats {self._noun(left)}, as 90 to 9090"
        if wrong:
            join = ", or join them with `~`" if isinstance(node, nodes.Add) else ""
            yield (
                f"`{_SIGNS[type(node)]}` {does}: let the query return numbers, or write `| float` "
                f"behind each{join}"
            )

    def _may_count(self, node: nodes.Node) -> bool:
        return isinstance(node, nodes.Name) and self.of(node) in (ValueKind.YES_NO, ValueKind.MIXED)

    def _cure(self, left: nodes.Node, right: nodes.Node, *, orders: bool) -> str:
        for column, constant in ((left, right), (right, left)):
            if not isinstance(constant, nodes.Const):
                continue
            kind, value = self.of(column), constant.value
            if kind in NUMBERS and isinstance(value, str) and _is_number(value):
                return f"write {value} without quotes"
            if kind is ValueKind.BOOLEAN:
                name = column.name if isinstance(column, nodes.Name) else "it"
                return f"write `if {name}` or `if not {name}`"
            if kind in _TEXTS and orders and not isinstance(value, str):
                return "let the query return a number, or write `| float` behind the column"
            if kind in _TEXTS and not isinstance(value, str):
                return "let the query return a number, or compare with a text in quotes"
            if kind in (ValueKind.DATE, ValueKind.TIMESTAMP):
                return "compare them in the query, and let it return a boolean"
        return "let the query return both as the same type"

    def _operated(self, node: nodes.BinExpr) -> Iterator[str]:
        one, other = self.of(node.left), self.of(node.right)
        if one is None or other is None or (one in NUMBERS and other in NUMBERS):
            return
        sign = _SIGNS[type(node)]
        if one in _TEXTS and (
            sign == "%"
            or (sign == "+" and other in _TEXTS)
            or (sign == "*" and other is ValueKind.INTEGER)
        ):
            yield from self._joined(node)
            return
        if one in (ValueKind.DATE, ValueKind.TIMESTAMP) and other is one and sign == "-":
            return
        cure = (
            "join them with `~`"
            if sign == "+" and (one in _TEXTS or other in _TEXTS)
            else "let the query return numbers"
        )
        yield (
            f"`{sign}` of {self._noun(node.left)} and {self._noun(node.right)} can't be worked "
            f"out: {cure}"
        )

    def _filtered(self, node: nodes.Filter) -> Iterator[str]:
        if node.node is None:
            return
        kind = self.of(node.node)
        if not kind:
            return
        if node.name in _NEED_NUMBERS and kind not in NUMBERS:
            yield (
                f"`{node.name}` needs a number, and {self._noun(node.node)} is none: let the query "
                "return one"
            )
        if node.name == "date" and kind not in (ValueKind.DATE, ValueKind.TIMESTAMP):
            yield (
                f"`date` needs a date, and {self._noun(node.node)} is none: let the query return "
                "one"
            )

    def _attribute(self, node: nodes.Getattr) -> Iterator[str]:
        kind = self.of(node.node)
        if kind and not hasattr(_EXAMPLES[kind], node.attr):
            yield (
                f"{self._noun(node.node)} has no `{node.attr}`: use a filter, or let the query "
                "return what is meant"
            )

    def _noun(self, node: nodes.Node) -> str:
        kind = self.of(node)
        noun = kind.noun if kind else "a value"
        if isinstance(node, nodes.Name):
            return f"{node.name} ({noun})"
        if isinstance(node, nodes.Const):
            return f"the text {node.value!r}" if isinstance(node.value, str) else str(node.value)
        return noun


_CHOICE = "`'oui' if vip else 'non'`"


def _shared(kinds: Sequence[ValueKind | None]) -> ValueKind | None:
    """The common kind; for several kinds of numbers it is float."""
    if kinds and all(kind in NUMBERS for kind in kinds):
        return kinds[0] if len({*kinds}) == 1 else ValueKind.FLOAT
    return kinds[0] if len({*kinds}) == 1 else None


def _are_alike(one: ValueKind, other: ValueKind, *, orders: bool) -> bool:
    numbers = (*NUMBERS, ValueKind.BOOLEAN) if not orders else NUMBERS
    if one in numbers and other in numbers:
        return True
    if one in _TEXTS and other in _TEXTS:
        return True
    if {one, other} == {ValueKind.YES_NO, ValueKind.BOOLEAN}:
        return not orders
    return one is other


def _spells_number(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Const) and isinstance(node.value, str) and _is_number(node.value)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdecimal()

"""Which small mistakes a node of the syntax tree can have: pure functions from node to nodes.

Each alternative is (operator, node to put in its place). A mistake that every run notices at once
(a name that does not exist, a type that cannot be added) teaches nothing and is not made.
"""

from __future__ import annotations

import ast
import copy
import enum
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

type Alternatives = Iterator[tuple[str, ast.AST]]

UNITS = ("US", "MS", "SECOND", "MINUTE", "HOUR", "DAY")
NUMBERS = ("ZERO", "ONE", "HUNDRED")
SPEAKING = (
    "decide", "alert", "record", "_decide", "_alert", "_record", "tell", "log",
)  # fmt: skip
"""Functions whose arguments are words for people and for the journal."""
_SMALL = 10

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
_SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
_NUMERIC = {
    "int", "Decimal", "Price", "Qty", "Usd", "TsNs", "MonoNs",
}  # fmt: skip


class Known:
    """What the names of a module and of the kernel mean.

    Args:
        names: The module's own.
        defaults: Of each function or class of the kernel, the arguments that may be left out.
    """

    def __init__(self, names: Mapping[str, Any], defaults: Mapping[str, frozenset[str]]) -> None:
        self._names = names
        self._defaults = defaults

    def members(self, name: str) -> list[str]:
        """The members of an enumeration, in order; nothing for other names."""
        found = self._names.get(name)
        if isinstance(found, type) and issubclass(found, enum.Enum):
            return [member.name for member in found]
        return []

    def may_be_left_out(self, function: str, keyword: str) -> bool:
        """Whether a call works without this keyword argument."""
        return keyword in self._defaults.get(function, ())


def alternatives(node: ast.AST, known: Known) -> Alternatives:
    """Every small mistake in this very node; those of its parts are theirs."""
    for kind, operator in _OPERATORS.items():
        if isinstance(node, kind):
            yield from operator(node, known)


def called(node: ast.AST) -> str:
    """The last name of what a call calls; "": no call, or no name."""
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name
        case _:
            return ""


def removed(node: ast.stmt) -> ast.stmt:
    """The statement, never run; it stays there, so that names mean the same in its function."""
    return ast.If(test=ast.Constant(value=False), body=[node], orelse=[])


def forced(test: ast.expr) -> Alternatives:
    """A condition that always or never holds."""
    if not isinstance(test, ast.Constant):
        yield "condition", ast.Constant(value=True)
        yield "condition", ast.Constant(value=False)


def returned(node: ast.Return, annotation: ast.expr | None) -> Alternatives:
    """Another value of the same type."""
    value = node.value
    if value is None or annotation is None:
        return
    kind = ast.unparse(annotation)
    optional = kind.endswith("| None")
    name = kind.removesuffix(" | None").split("[")[0]
    other: ast.expr | None = None
    if optional and not _is_none(value):
        other = ast.Constant(value=None)
    elif name == "bool" and not isinstance(value, ast.Compare | ast.Constant | ast.UnaryOp):
        other = ast.UnaryOp(op=ast.Not(), operand=value)
    elif name in _NUMERIC and not isinstance(value, ast.Constant):
        other = ast.UnaryOp(op=ast.USub(), operand=value)
    elif name in ("tuple", "list") and not _is_empty(value):
        other = ast.Subscript(
            value=value, slice=ast.Slice(upper=ast.Constant(value=0)), ctx=ast.Load()
        )
    elif name == "str" and not isinstance(value, ast.Constant):
        other = ast.Constant(value="")
    if other is not None:
        yield "returned", ast.Return(value=other)


# ---------------------------------------------------------------- one function for each node


def _compare(node: ast.Compare, _: Known) -> Alternatives:
    for place, operator in enumerate(node.ops):
        for other in _COMPARED[type(operator)]:
            made = copy.copy(node)
            made.ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
            yield "comparison", made


def _bool_op(node: ast.BoolOp, _: Known) -> Alternatives:
    swapped: ast.boolop = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "boolean", ast.BoolOp(op=swapped, values=node.values)
    for place in range(len(node.values)):
        rest = [*node.values[:place], *node.values[place + 1 :]]
        yield "boolean", rest[0] if len(rest) == 1 else ast.BoolOp(op=node.op, values=rest)


def _unary(node: ast.UnaryOp, _: Known) -> Alternatives:
    if isinstance(node.op, ast.Not):
        yield "boolean", node.operand
    elif isinstance(node.op, ast.USub):
        yield "arithmetic", node.operand


def _arithmetic(node: ast.BinOp, _: Known) -> Alternatives:
    other = _COUNTED.get(type(node.op))
    if other is not None and not (_is_text(node.left) or _is_text(node.right)):
        if isinstance(node.op, ast.Mult) and _has_unit(node):
            return  # a duration: its number is changed instead
        yield "arithmetic", ast.BinOp(left=node.left, op=other(), right=node.right)


def _constant(node: ast.Constant, _: Known) -> Alternatives:
    value = node.value
    if isinstance(value, bool):
        yield "constant", ast.Constant(value=not value)
    elif isinstance(value, int):
        for other in _other_numbers(value):
            yield "constant", ast.Constant(value=other)


def _other_numbers(value: int) -> tuple[int, ...]:
    if value < 2:
        return (1,) if value == 0 else (0, 2)
    if value < _SMALL:
        return (value - 1, value + 1)
    return (value // 2, value * 2)


def _name(node: ast.Name, _: Known) -> Alternatives:
    if not isinstance(node.ctx, ast.Load):
        return
    if node.id in UNITS:
        yield "constant", ast.BinOp(left=node, op=ast.Mult(), right=ast.Constant(value=2))
    elif node.id in NUMBERS:
        yield "constant", ast.BinOp(left=node, op=ast.Add(), right=ast.Constant(value=1))


def _attribute(node: ast.Attribute, known: Known) -> Alternatives:
    if isinstance(node.value, ast.Name):
        members = known.members(node.value.id)
        if node.attr in members and len(members) > 1:
            other = members[(members.index(node.attr) + 1) % len(members)]
            yield "member", ast.Attribute(value=node.value, attr=other, ctx=node.ctx)


def _call(node: ast.Call, known: Known) -> Alternatives:
    name = called(node)
    if isinstance(node.func, ast.Name) and name in _SWAPPED:
        other = ast.Name(id=_SWAPPED[name], ctx=ast.Load())
        yield "function", ast.Call(func=other, args=node.args, keywords=node.keywords)
    if name == "Decimal" and (number := _decimal(node)) is not None:
        changed = ast.Constant(value=str(number * 2 if number else Decimal(1)))
        yield "constant", ast.Call(func=node.func, args=[changed], keywords=[])
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None and known.may_be_left_out(name, keyword.arg):
            rest = [*node.keywords[:place], *node.keywords[place + 1 :]]
            yield "keyword", ast.Call(func=node.func, args=node.args, keywords=rest)


def _slice(node: ast.Slice, _: Known) -> Alternatives:
    if node.lower is not None:
        yield "slice", ast.Slice(upper=node.upper, step=node.step)
    if node.upper is not None:
        yield "slice", ast.Slice(lower=node.lower, step=node.step)


def _augmented(node: ast.AugAssign, _: Known) -> Alternatives:
    other = _COUNTED.get(type(node.op))
    if other is not None and not _is_text(node.value):
        yield "arithmetic", ast.AugAssign(target=node.target, op=other(), value=node.value)
    yield "removed", removed(node)


def _assigned(node: ast.Assign | ast.AnnAssign, _: Known) -> Alternatives:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    if node.value is not None and any(
        isinstance(target, ast.Attribute | ast.Subscript) for target in targets
    ):
        yield "removed", removed(node)


def _expression(node: ast.Expr, _: Known) -> Alternatives:
    if isinstance(node.value, ast.Call | ast.Await):
        yield "removed", removed(node)


def _statement(node: ast.stmt, _: Known) -> Alternatives:
    yield "removed", removed(node)


def _choice(node: ast.If | ast.IfExp, _: Known) -> Alternatives:
    for operator, test in forced(node.test):
        made = copy.copy(node)
        made.test = test  # type: ignore[assignment]
        yield operator, made


def _loop(node: ast.While, _: Known) -> Alternatives:
    if not isinstance(node.test, ast.Constant):
        made = copy.copy(node)
        made.test = ast.Constant(value=False)
        yield "condition", made


def _comprehension(node: ast.comprehension, _: Known) -> Alternatives:
    for place, test in enumerate(node.ifs):
        for operator, other in forced(test):
            made = copy.copy(node)
            made.ifs = [*node.ifs[:place], other, *node.ifs[place + 1 :]]  # type: ignore[list-item]
            yield operator, made


def _case(node: ast.match_case, _: Known) -> Alternatives:
    if node.guard is not None:
        for operator, test in forced(node.guard):
            made = copy.copy(node)
            made.guard = test  # type: ignore[assignment]
            yield operator, made


_OPERATORS: dict[type[ast.AST], Callable[[Any, Known], Alternatives]] = {
    ast.Compare: _compare,
    ast.BoolOp: _bool_op,
    ast.UnaryOp: _unary,
    ast.BinOp: _arithmetic,
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Slice: _slice,
    ast.AugAssign: _augmented,
    ast.Assign: _assigned,
    ast.AnnAssign: _assigned,
    ast.Expr: _expression,
    ast.Return: _statement,
    ast.Raise: _statement,
    ast.Break: _statement,
    ast.Continue: _statement,
    ast.Delete: _statement,
    ast.If: _choice,
    ast.IfExp: _choice,
    ast.While: _loop,
    ast.comprehension: _comprehension,
    ast.match_case: _case,
}


# ---------------------------------------------------------------- what a node is


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple | ast.List) and not node.elts


def _is_text(node: ast.expr) -> bool:
    """Something that can be added and not subtracted."""
    if isinstance(node, ast.JoinedStr | ast.Tuple | ast.List | ast.ListComp):
        return True
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _has_unit(node: ast.BinOp) -> bool:
    return any(isinstance(side, ast.Name) and side.id in UNITS for side in (node.left, node.right))


def _decimal(node: ast.Call) -> Decimal | None:
    match node.args:
        case [ast.Constant(value=str(text) | int(text))]:
            try:
                return Decimal(text)
            except InvalidOperation:
                return None
        case _:
            return None

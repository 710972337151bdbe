"""Orders that differ between two processes: sets, folder listings, addresses and hashes.

A set of strings is iterated in an order that PYTHONHASHSEED decides; a set of objects, in the
order of their addresses. So the pure part has no sets, except for membership, on lines marked
`# det-ok: reason`; and not even those are ever iterated.
"""

import ast
from collections.abc import Iterator

from tests.conventions.tree import Module

_SET_NAMES = ("set", "frozenset", "Set", "FrozenSet", "MutableSet", "AbstractSet")
_SET_METHODS = ("union", "intersection", "difference", "symmetric_difference")
_VIEWS = ("keys", "items")
_LISTINGS = ("iterdir", "glob", "rglob", "listdir", "scandir")
_ORDER_KEEPING_CALLS = (
    "list", "tuple", "iter", "enumerate", "zip", "map", "filter", "reversed", "fromkeys", "join",
    "deque",
)  # fmt: skip
_SetOperators = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)


def sets(module: Module) -> list[str]:
    """Set literals, comprehensions, constructors, annotations and set-valued operations."""
    return [
        module.at(node, f"{what}: use a dict or a sorted list, or mark '# det-ok: reason'")
        for node in ast.walk(module.tree)
        if (what := _makes_set(node)) and not module.excused(node)
    ]


def _makes_set(node: ast.AST) -> str:
    match node:
        case ast.Set():
            return "set literal"
        case ast.SetComp():
            return "set comprehension"
        case ast.Name(id=name, ctx=ast.Load()) if name in _SET_NAMES:
            return f"'{name}'"
        case ast.alias(name=name) if name in _SET_NAMES:
            return f"import of '{name}'"
        case ast.Call(func=ast.Attribute(attr=name)) if name in _SET_METHODS:
            return f".{name}() makes a set"
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _SetOperators):
            if _is_view(left) or _is_view(right):
                return "an operation on dict views makes a set"
    return ""


def _is_view(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr=name), args=[]) if name in _VIEWS:
            return True
    return False


def set_iteration(module: Module) -> list[str]:
    """Uses of an excused membership set in which its order shows. No marker excuses these."""
    members = _membership_sets(module)
    return [
        module.at(node, f"the order of set '{_name(used)}' shows: iterate sorted(...) instead")
        for node in ast.walk(module.tree)
        for used in _ordered_uses(node)
        if _name(used) in members or isinstance(used, ast.Set | ast.SetComp)
    ]


def _membership_sets(module: Module) -> dict[str, None]:
    names: dict[str, None] = {}
    for node in ast.walk(module.tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                parts = [value]
            case ast.AnnAssign(target=target, annotation=annotation, value=value):
                targets, parts = [target], [annotation, *([value] if value else [])]
            case ast.arg(arg=name, annotation=ast.expr() as annotation):
                targets, parts = [ast.Name(name)], [annotation]
            case _:
                continue
        if any(_makes_set(inner) for part in parts for inner in _outermost(part)):
            names.update(dict.fromkeys(_name(target) for target in targets))
    return names


def _outermost(node: ast.expr) -> Iterator[ast.AST]:
    """The node and what names its type: not what is nested in it, such as a dict of sets."""
    yield node
    match node:
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            yield inner


def _ordered_uses(node: ast.AST) -> Iterator[ast.expr]:
    match node:
        case ast.For(iter=used) | ast.AsyncFor(iter=used) | ast.comprehension(iter=used):
            yield used
        case ast.Starred(value=used) | ast.YieldFrom(value=used):
            yield used
        case ast.Call(func=ast.Attribute(attr="pop", value=used), args=[]):
            yield used
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=args):
            if name in _ORDER_KEEPING_CALLS:
                yield from args


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return type(node).__name__


def folder_order(module: Module) -> list[str]:
    """Folder listings that are not sorted at once: their order is the file system's."""
    sorted_at_once = [
        id(argument)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in ("sorted", "any", "all", "len", "sum")
        for call in node.args
        for argument in _listing_calls(call)
    ]
    return [
        module.at(node, "a folder is listed in no order: wrap the listing in sorted(...)")
        for node in _listing_calls(module.tree)
        if id(node) not in sorted_at_once and not module.excused(node)
    ]


def _listing_calls(tree: ast.AST) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _LISTINGS
    ]


def addresses(module: Module) -> list[str]:
    """Calls of hash() and id(): the first follows PYTHONHASHSEED, the second the allocator."""
    return [
        module.at(node, f"{node.func.id}() differs between two processes")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("hash", "id")
        and not module.excused(node)
    ]

"""What the pure part must not contain, beyond what ruff and import-linter refuse by name."""

import ast

from tests.conventions.tree import Module

FOREIGN = (
    "asyncio", "concurrent", "contextvars", "multiprocessing", "random", "secrets", "selectors",
    "socket", "ssl", "subprocess", "threading", "time", "uuid", "weakref", "_thread", "signal",
)  # fmt: skip
"""Modules whose mere import in the pure part is a mistake."""

_CONTAINERS = (
    "list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict", "count",
    "cycle", "ChainMap", "array",
)  # fmt: skip
_MUTATORS = (
    "append", "extend", "insert", "remove", "pop", "popitem", "clear", "update", "setdefault",
    "appendleft", "popleft", "add", "discard", "sort", "reverse",
)  # fmt: skip
_CACHES = ("cache", "lru_cache", "cached")


def foreign_imports(module: Module) -> list[str]:
    """Imports of clocks, chance, threads, tasks and sockets, wherever they stand."""
    found = []
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                imported = [alias.name for alias in names]
            case ast.ImportFrom(module=str(name)):
                imported = [name]
            case _:
                continue
        found += [
            module.at(node, f"'{name}' in the pure part: what it gives must arrive as an input")
            for name in imported
            if name.partition(".")[0] in FOREIGN
        ]
    return found


def hidden_order(module: Module) -> list[str]:
    """Async generators and `__del__`: both are finished when the garbage collector pleases."""
    found = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef) and _yields(node):
            found.append(module.at(node, f"'{node.name}' is an async generator: use a channel"))
        if isinstance(node, ast.FunctionDef) and node.name == "__del__":
            found.append(module.at(node, "__del__ runs when the collector does: close explicitly"))
        if isinstance(node, ast.GeneratorExp) and any(part.is_async for part in node.generators):
            found.append(module.at(node, "async generator expression: use a loop"))
    return found


def _yields(function: ast.AST) -> bool:
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.Yield | ast.YieldFrom):
            return True
        nested = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not nested and _yields(child):
            return True
    return False


def shared_state(module: Module) -> list[str]:
    """Mutable state at module level: two kernels in one process would share it."""
    found = []
    constants: list[str] = []
    for statement in module.tree.body:
        for name, value in _bindings(statement):
            if not _is_container(value) or module.excused(statement):
                continue
            if name.isupper() and not _is_stateful_call(value):
                constants.append(name)
            elif not (name.startswith("__") and name.endswith("__")):
                found.append(module.at(statement, f"'{name}' is module state: give it an owner"))
    for node in ast.walk(module.tree):
        found += [
            module.at(node, f"constant '{name}' is changed: give it an owner")
            for name in _mutated(node)
            if name in constants
        ]
        if isinstance(node, ast.Global):
            found.append(module.at(node, "'global': give the value an owner"))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += [
                module.at(decorator, "a cache lives as long as the process: keep it in an object")
                for decorator in node.decorator_list
                if _callee(decorator) in _CACHES and not module.excused(decorator)
            ]
    return found


def _bindings(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    match statement:
        case ast.Assign(targets=targets, value=value):
            return [(target.id, value) for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            return [(name, value)]
    return []


def _is_container(value: ast.expr) -> bool:
    literals = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    return isinstance(value, literals) or _callee(value) in _CONTAINERS


def _is_stateful_call(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _callee(value) not in ("dict", "list", "set", "array")


def _callee(node: ast.expr) -> str:
    match node:
        case ast.Call(func=function):
            return _callee(function) if isinstance(function, ast.Name | ast.Attribute) else ""
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _mutated(node: ast.AST) -> list[str]:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)):
            return [name] if method in _MUTATORS else []
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return [name]
        case ast.AugAssign(target=ast.Name(id=name)):
            return [name]
    return []

"""Sizes: what a reader can hold in mind."""

import ast

from tests.conventions.tree import Module, position

MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

Function = ast.FunctionDef | ast.AsyncFunctionDef


def long_module(module: Module) -> list[str]:
    """A module over the limit."""
    count = len(module.lines)
    if count <= MODULE_LINES_MAX:
        return []
    return [f"{module.path}:1: {count} lines, at most {MODULE_LINES_MAX}: split it by subject"]


def long_functions(module: Module) -> list[str]:
    """Functions over the limit, decorators and docstring not counted."""
    return [
        module.at(node, f"'{node.name}' has {count} lines, at most {FUNCTION_LINES_MAX}")
        for node in ast.walk(module.tree)
        if isinstance(node, Function) and (count := _length(node)) > FUNCTION_LINES_MAX
    ]


def _length(function: Function) -> int:
    first, last = position(function)
    docstring = 0
    if ast.get_docstring(function, clean=False) is not None:
        start, end = position(function.body[0])
        docstring = end - start + 1
    return last - first + 1 - docstring


def code_in_init(module: Module) -> list[str]:
    """Anything in an `__init__.py` but a docstring and the names of the package's own modules."""
    if not module.path.endswith("__init__.py"):
        return []
    if ast.get_docstring(module.tree) is None:
        return [f"{module.path}:1: say in a docstring what the package is for"]
    package = module.path.removesuffix("/__init__.py").replace("/", ".")
    return [
        module.at(node, "code in __init__.py: give it a module")
        for node in module.tree.body[1:]
        if not _names_own_modules(node, package)
    ]


def _names_own_modules(node: ast.stmt, package: str) -> bool:
    """Whether *node* only re-exports: an import from inside the package, or `__all__`."""
    match node:
        case ast.ImportFrom(module=str(name)):
            return name.startswith(f"{package}.")
        case ast.Assign(targets=[ast.Name(id="__all__")], value=ast.List()):
            return True
    return False

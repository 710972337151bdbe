"""Puts a mutant into the running process: functions stay the same objects, their code changes.

Whoever holds the function, a bound method or a class sees the mutant at once; nothing is imported
again. This is for a forked process only: there is no way back.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutation.mutants import Mutant, Source


class CannotPlant(Exception):
    """The place of a mutant was not found in the process."""


def plant(source: Source, mutant: Mutant) -> None:
    """Exchange the code of a function, its defaults, or the value of a constant.

    Raises:
        CannotPlant: The function is not where its name says.
    """
    module = sys.modules[source.module]
    _replace(source.tree, mutant.target, mutant.made)
    if mutant.kind == "constant":
        _exchange_constant(module, source.tree, mutant.where)
        return
    chain, node = _find(source.tree, mutant.where)
    function = _function(module, mutant.where, _first_line(node))
    if mutant.kind == "default":
        _exchange_defaults(function, node, module)
    else:
        function.__code__ = _compiled(source, chain, node, function.__code__)


def _replace(tree: ast.AST, target: ast.AST, made: ast.AST) -> None:
    """Put one node where another is; where it contains the other one, that stays as it is."""
    ast.copy_location(made, target)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is target:
                setattr(parent, name, made)
            elif isinstance(value, list) and any(one is target for one in value):
                setattr(parent, name, [made if one is target else one for one in value])
            else:
                continue
            ast.fix_missing_locations(parent)
            return
    raise CannotPlant("the node is not in its tree")


def _find(
    tree: ast.Module, where: str
) -> tuple[list[ast.ClassDef], ast.FunctionDef | ast.AsyncFunctionDef]:
    """The classes around a function, and the function as it is now."""
    chain: list[ast.ClassDef] = []
    body: list[ast.stmt] = tree.body
    *outer, last = where.split(".")
    for name in outer:
        (found,) = [one for one in body if isinstance(one, ast.ClassDef) and one.name == name]
        chain.append(found)
        body = found.body
    for one in body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name == last:
            return chain, one
    raise CannotPlant(f"{where}: no such function")


def _first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([node.lineno, *(one.lineno for one in node.decorator_list)])


def _function(module: ModuleType, where: str, first_line: int) -> FunctionType:
    holder: Any = module
    *outer, last = where.split(".")
    for name in outer:
        holder = vars(holder)[name]
    for function in _behind(vars(holder)[last]):
        if function.__code__.co_firstlineno == first_line:
            return function
    raise CannotPlant(f"{where}: no function that begins in line {first_line}")


def _behind(found: Any) -> Iterator[FunctionType]:
    """The functions behind decorators of the standard library."""
    match found:
        case FunctionType():
            yield found
            if hasattr(found, "__wrapped__"):
                yield from _behind(found.__wrapped__)
        case property():
            for part in (found.fget, found.fset, found.fdel):
                if part is not None:
                    yield from _behind(part)
        case staticmethod() | classmethod():
            yield from _behind(found.__func__)
        case functools.cached_property():
            yield from _behind(found.func)
        case _ if hasattr(found, "__wrapped__"):
            yield from _behind(found.__wrapped__)


def _compiled(
    source: Source,
    chain: list[ast.ClassDef],
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    old: CodeType,
) -> CodeType:
    """The function's code from the changed tree, compiled inside its classes and nothing else."""
    inner: ast.stmt = node
    for around in reversed(chain):
        around.body = [inner]
        around.decorator_list, around.bases, around.keywords = [], [], []
        inner = around
    future = [one for one in source.tree.body if _is_future(one)]
    whole = ast.Module(body=[*future, inner], type_ignores=[])
    code = compile(whole, old.co_filename, "exec", dont_inherit=True)
    for found in _codes(code):
        if found.co_name == old.co_name and found.co_firstlineno == old.co_firstlineno:
            if found.co_freevars != old.co_freevars:
                raise CannotPlant("the function has other free variables")
            return found
    raise CannotPlant("the function was not compiled")


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _codes(code: CodeType) -> Iterator[CodeType]:
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield one
            yield from _codes(one)


def _exchange_defaults(
    function: FunctionType, node: ast.FunctionDef | ast.AsyncFunctionDef, module: ModuleType
) -> None:
    node.decorator_list, node.returns = [], None
    for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
        arg.annotation = None
    made: dict[str, Any] = {}
    whole = ast.Module(body=[node], type_ignores=[])
    exec(compile(whole, "<defaults>", "exec"), dict(vars(module)), made)
    fresh = made[node.name]
    function.__defaults__ = fresh.__defaults__
    function.__kwdefaults__ = fresh.__kwdefaults__


def _exchange_constant(module: ModuleType, tree: ast.Module, name: str) -> None:
    """The new value for the module and for every module that imported the old one."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(one, ast.Name) and one.id == name for one in targets):
            value = node.value  # type: ignore[attr-defined]
            break
    else:
        raise CannotPlant(f"{name}: no such constant")
    old = vars(module)[name]
    code = compile(ast.Expression(body=value), "<constant>", "eval")
    made = eval(code, dict(vars(module)))
    for other in list(sys.modules.values()):
        if getattr(other, "__name__", "").startswith("kernel") and vars(other).get(name) is old:
            setattr(other, name, made)

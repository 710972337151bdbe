"""A test that asserts nothing passes whatever the code does."""

import ast

from tests.conventions.tree import Module

_ASSERTING_PREFIXES = ("assert", "check", "expect", "verify", "require", "run_state_machine")
_ASSERTING_CALLS = ("raises", "warns", "fail", "deprecated_call")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def silent_tests(module: Module) -> list[str]:
    """Test functions that neither assert nor call a function of their module that does."""
    functions = [node for node in ast.walk(module.tree) if isinstance(node, Function)]
    asserting: dict[str, None] = {}
    grew = True
    while grew:  # a helper of a helper asserts too: until nothing is added
        before = len(asserting)
        asserting.update(
            dict.fromkeys(node.name for node in functions if _asserts(node, asserting))
        )
        grew = len(asserting) > before
    return [
        module.at(node, f"'{node.name}' asserts nothing")
        for node in functions
        if node.name.startswith("test_") and node.name not in asserting
    ] + [
        module.at(node, "asserts a constant")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assert) and _is_vacuous(node.test)
    ]


def _asserts(function: Function, asserting: dict[str, None]) -> bool:
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and _is_asserting_name(_callee(node), asserting))
        for node in ast.walk(function)
    )


def _is_asserting_name(name: str, asserting: dict[str, None]) -> bool:
    return (
        name in asserting
        or name in _ASSERTING_CALLS
        or name.lstrip("_").startswith(_ASSERTING_PREFIXES)
    )


def _callee(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_vacuous(test: ast.expr) -> bool:
    """A constant, or a non-empty tuple, which is always true."""
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Tuple(elts=[_, *_]):
            return True
    return False

"""The mutants of a module: every small mistake in its functions, with a name that lasts.

The name is made of the file, the function and what changes into what, so it stays the same while
other code is edited, and is gone when its own code is.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutation.operators import SPEAKING, UNITS, Known, alternatives, called, returned

ROOT = Path(__file__).resolve().parents[2]
_SHOWN = 72
type Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(kw_only=True, eq=False)
class Mutant:
    """One small mistake.

    Attributes:
        name: Lasts as long as the code that it changes.
        file: Of the module, from the root of the repository.
        where: The function or method that is exchanged; of a constant: its name.
        operator: The kind of mistake.
        target: The node of `tree` that is replaced.
        made: What comes in its place.
        lines: Of the node, first and last.
        around: Of the innermost statement's own part.
        kind: "code", "default" (of an argument) or "constant" (of the module).
    """

    name: str = ""
    file: str
    where: str
    operator: str
    target: ast.AST
    made: ast.AST
    lines: tuple[int, int]
    around: tuple[int, int]
    kind: str = "code"
    before: str = ""
    after: str = ""


@dataclass
class Source:
    """One module: its text, its tree, its mutants."""

    file: str
    text: str
    tree: ast.Module
    mutants: list[Mutant] = field(default_factory=list)
    skipped: int = 0
    """Lines of classes and modules that can have mistakes which are not made."""

    @property
    def module(self) -> str:
        """The module's name."""
        return self.file.removesuffix(".py").replace("/", ".")


def read_source(file: str, defaults: dict[str, frozenset[str]]) -> Source:
    """A module with all of its mutants. It must have been imported."""
    text = (ROOT / file).read_text(encoding="utf-8")
    source = Source(file, text, ast.parse(text))
    known = Known(vars(sys.modules[source.module]), defaults)
    source.mutants = list(_Walk(source, known).module())
    _name(source.mutants)
    return source


def left_out(files: list[str]) -> dict[str, frozenset[str]]:
    """Of each function and class of these files: the arguments that a call may leave out."""
    found: dict[str, set[str]] = {
        "sorted": {"key", "reverse"},
        "min": {"key"},
        "max": {"key"},
    }
    for file in files:
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, set()).update(_with_default(node.args))
            elif isinstance(node, ast.ClassDef):
                names = found.setdefault(node.name, set())
                for part in node.body:
                    if isinstance(part, ast.AnnAssign) and part.value is not None:
                        names.add(ast.unparse(part.target))
                    elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
                        names.update(_with_default(part.args))
    return {name: frozenset(names) for name, names in found.items()}


def _with_default(args: ast.arguments) -> list[str]:
    named = [*args.posonlyargs, *args.args]
    optional = named[len(named) - len(args.defaults) :]
    pairs = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    return [arg.arg for arg in optional] + [arg.arg for arg, given in pairs if given is not None]


def _name(mutants: list[Mutant]) -> None:
    seen: dict[str, int] = {}
    for mutant in mutants:
        name = (
            f"{mutant.file}::{mutant.where}::{mutant.operator}:"
            f" {_short(mutant.before)} -> {_short(mutant.after)}"
        )
        seen[name] = seen.get(name, 0) + 1
        mutant.name = name if seen[name] == 1 else f"{name} #{seen[name]}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class _Walk:
    """Walks one module; a place where no mistake teaches anything is not entered."""

    def __init__(self, source: Source, known: Known) -> None:
        self._source = source
        self._known = known
        self._where = ""
        self._function: Function | None = None
        self._statement = (0, 0)
        self._in_init = False

    def module(self) -> Iterator[Mutant]:
        """Every mutant, in the order of the text."""
        for node in self._source.tree.body:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    yield from self._outer(node, node.name)
                case ast.ClassDef():
                    yield from self._class(node, node.name)
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.expr() as value):
                    yield from self._module_constant(node, name, value)
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    yield from self._module_constant(node, name, value)

    def _class(self, node: ast.ClassDef, where: str) -> Iterator[Mutant]:
        for part in node.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from self._outer(part, f"{where}.{part.name}")
            elif isinstance(part, ast.ClassDef):
                yield from self._class(part, f"{where}.{part.name}")
            elif isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
                self._source.skipped += _can_be_wrong(part.value, self._known)

    def _outer(self, node: Function, where: str) -> Iterator[Mutant]:
        self._where, self._in_init = where, node.name == "__init__"
        inner = (node.body[0].lineno, node.body[-1].end_lineno or node.lineno)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self._statement = inner
                for mutant in self._visit(default):
                    mutant.kind, mutant.lines = "default", inner
                    yield mutant
        yield from self._body(node)

    def _module_constant(self, node: ast.stmt, name: str, value: ast.expr) -> Iterator[Mutant]:
        self._where, self._statement, self._in_init = name, _own_lines(node), False
        if name == "__all__":
            return
        if _feeds_another(self._source.tree, node, name):
            self._source.skipped += _can_be_wrong(value, self._known)
            return
        for mutant in self._visit(value):
            mutant.kind = "constant"
            yield mutant

    def _body(self, node: Function) -> Iterator[Mutant]:
        outer, self._function = self._function, node
        for place, statement in enumerate(node.body):
            if place or not _is_docstring(statement):
                yield from self._visit(statement, last=statement is node.body[-1])
        self._function = outer

    def _visit(self, node: ast.AST, *, last: bool = False) -> Iterator[Mutant]:
        outer = self._statement
        if isinstance(node, ast.stmt):
            self._statement = _own_lines(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from self._body(node)  # a function in a function
        elif not _silent(node):
            yield from self._here(node, last=last)
            for child in _children(node):
                yield from self._visit(child)
        self._statement = outer

    def _here(self, node: ast.AST, *, last: bool) -> Iterator[Mutant]:
        for operator, made in alternatives(node, self._known):
            if operator == "removed":
                if last and isinstance(node, ast.Return):
                    continue
                if self._in_init and isinstance(node, ast.Assign | ast.AnnAssign):
                    continue  # every run would miss the attribute
                yield self._mutant(operator, node, made, after="nothing")
            else:
                yield self._mutant(operator, node, made)
        if isinstance(node, ast.Return) and self._function is not None:
            for operator, made in returned(node, self._function.returns):
                yield self._mutant(operator, node, made)

    def _mutant(
        self, operator: str, node: ast.AST, made: ast.AST, *, after: str = ""
    ) -> Mutant:
        shown, other = _own_part(node), _own_part(made)
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            lines = _span(node.test)
        elif isinstance(node, ast.comprehension):
            lines = (_span(node.target)[0], _span(node.ifs[-1] if node.ifs else node.iter)[1])
        elif isinstance(node, ast.match_case):
            lines = _span(node.pattern)
        else:
            lines = _span(node)
        return Mutant(
            file=self._source.file,
            where=self._where,
            operator=operator,
            target=node,
            made=made,
            lines=lines,
            around=self._statement,
            before=shown,
            after=after or other,
        )


def _children(node: ast.AST) -> Iterator[ast.AST]:
    if called(node) == "Decimal":
        return  # its number is changed as a whole
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params", "exc", "pattern"):
            continue
        if isinstance(node, ast.ExceptHandler) and name == "type":
            continue
        if _is_unit_product(node) and isinstance(value, ast.Name) and value.id in UNITS:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child


def _is_unit_product(node: ast.AST) -> bool:
    """`5 * SECOND`, whose number is changed, not its unit."""
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mult)
        and any(isinstance(side, ast.Constant) for side in (node.left, node.right))
    )


def _silent(node: ast.AST) -> bool:
    """Words, our own assertions and what only the type checker reads."""
    match node:
        case ast.Assert() | ast.JoinedStr() | ast.Global() | ast.Nonlocal() | ast.ClassDef():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call():
            return called(node) in SPEAKING
        case _:
            return False


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _span(node: ast.AST) -> tuple[int, int]:
    first = getattr(node, "lineno", 0)
    return first, getattr(node, "end_lineno", first) or first


def _own_lines(node: ast.stmt) -> tuple[int, int]:
    """The lines of a statement without those of the statements in it."""
    first, last = _span(node)
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        last = max(first, _span(body[0])[0] - 1)
    return first, last


def _own_part(node: ast.AST) -> str:
    """The text of a node without the statements in it."""
    match node:
        case ast.If():
            return f"if {ast.unparse(node.test)}"
        case ast.While():
            return f"while {ast.unparse(node.test)}"
        case ast.match_case():
            return f"case {ast.unparse(node.pattern)} if {ast.unparse(node.guard or node.pattern)}"
        case _:
            return ast.unparse(node).strip()


def _can_be_wrong(value: ast.expr, known: Known) -> int:
    return sum(1 for node in ast.walk(value) for _ in alternatives(node, known))


def _feeds_another(tree: ast.Module, node: ast.stmt, name: str) -> bool:
    """Whether something else outside of functions is made from it, and would keep the old value."""

    def used(part: ast.AST) -> bool:
        return any(isinstance(one, ast.Name) and one.id == name for one in ast.walk(part))

    def outside(part: ast.AST) -> Iterator[ast.AST]:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from part.decorator_list
            yield part.args
        elif isinstance(part, ast.ClassDef):
            for one in part.body:
                yield from outside(one)
        else:
            yield part

    return any(
        used(one) for part in tree.body if part is not node for one in outside(part)
    )

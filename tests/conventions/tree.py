"""The repository as the convention tests see it: its files, its modules, and what is pure."""

import ast
import fnmatch
import functools
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

PURE_ROOTS = ("kernel/", "venues/", "replay/", "scenarios/")
"""Where a run must be a function of its inputs, except for the shells of `impure()`."""

_UNTRACKED = (".git", ".venv", "out", "build", "__pycache__")


@dataclass(frozen=True)
class Module:
    """One Python file, parsed once."""

    path: str
    source: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @functools.cached_property
    def lines(self) -> list[str]:
        return self.source.splitlines()

    def excused(self, node: ast.AST) -> bool:
        """Whether the first or the last line of *node* carries `# det-ok:` and a reason."""
        first, last = position(node)
        return any(_has_reason(self.lines[number - 1]) for number in (first, last))

    def at(self, node: ast.AST, message: str) -> str:
        """The one form in which all checks report: path, line, what is wrong, what to do."""
        return f"{self.path}:{position(node)[0]}: {message}"


def position(node: ast.AST) -> tuple[int, int]:
    """First and last line of *node*, counted from 1."""
    first = getattr(node, "lineno", 1)
    return first, getattr(node, "end_lineno", None) or first


def _has_reason(line: str) -> bool:
    _, marker, reason = line.partition("# det-ok:")
    return bool(marker) and bool(reason.strip())


@functools.cache
def tracked_files() -> tuple[str, ...]:
    """Paths of the files under version control, sorted; of all files where there is no git."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        listed = [
            path.relative_to(ROOT).as_posix()
            for path in ROOT.rglob("*")
            if not any(part in _UNTRACKED for part in path.relative_to(ROOT).parts)
        ]
    return tuple(sorted(name for name in listed if name and (ROOT / name).is_file()))


@functools.cache
def module(path: str) -> Module:
    """The tracked Python file at *path*."""
    return Module(path, (ROOT / path).read_text(encoding="utf-8"))


def modules(*prefixes: str) -> list[Module]:
    """The tracked Python files under any of *prefixes*; all of them where none is given."""
    return [
        module(path)
        for path in tracked_files()
        if path.endswith(".py") and (not prefixes or path.startswith(prefixes))
    ]


@functools.cache
def project_settings() -> dict[str, object]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@functools.cache
def impure() -> dict[str, str]:
    """The shells around the outside world: path pattern → why it may touch it."""
    tool = project_settings()["tool"]
    assert isinstance(tool, dict)
    table: dict[str, str] = tool["wave-kernel"]["impure"]
    return table


def is_pure(path: str) -> bool:
    """Whether the rules of the pure part hold for the module at *path*."""
    return path.startswith(PURE_ROOTS) and not any(
        fnmatch.fnmatchcase(path, pattern) for pattern in impure()
    )


def pure_modules() -> list[Module]:
    """Every module that must be a function of its inputs."""
    return [module for module in modules(*PURE_ROOTS) if is_pure(module.path)]

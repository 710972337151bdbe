"""The rules table: docs/rules.md read as rows, and the mutants that belong to them.

A row is `| id | rule | scenarios | mutants |`. Scenario and mutant names are separated by
spaces. A mutant `name` is the file `tests/mutants/name.toml`:

    file = "kernel/trade/stop_levels.py"
    old = '''exact text that stands there once'''
    new = '''what the mutant has instead'''

A mistake that a second line of defence would catch is planted in all of them: further
`[[also]]` tables, each with file, old and new.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "docs" / "rules.md"
FOLDER = ROOT / "tests" / "mutants"
_ROW = re.compile(
    r"^\|\s*(?P<id>[0-9][0-9a-z.]*)\s*\|(?P<rule>[^|]*)\|(?P<scn>[^|]*)\|(?P<mut>[^|]*)\|$"
)


@dataclass(frozen=True)
class Rule:
    """One row."""

    rule_id: str
    rule: str
    scenarios: tuple[str, ...]
    mutants: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One replacement in one file."""

    file: str
    old: str
    new: str

    def problem(self) -> str:
        """Why it cannot be applied to this tree; "": it can."""
        path = ROOT / self.file
        if not path.is_file():
            return f"{self.file} does not exist"
        count = path.read_text(encoding="utf-8").count(self.old)
        return "" if count == 1 else f"its text stands {count} times in {self.file}, must be once"


@dataclass(frozen=True)
class Mutant:
    """One planted mistake."""

    name: str
    changes: tuple[Change, ...]

    def problem(self) -> str:
        """Why it cannot be applied to this tree; "": it can."""
        problems = [problem for change in self.changes if (problem := change.problem())]
        return f"{self.name}: {'; '.join(problems)}" if problems else ""

    def planted(self, file: str) -> str | None:
        """The text of a file with the mistake in it; None where the file is not touched."""
        changes = [change for change in self.changes if change.file == file]
        if not changes:
            return None
        source = (ROOT / file).read_text(encoding="utf-8")
        for change in changes:
            source = source.replace(change.old, change.new)
        return source


def rules() -> list[Rule]:
    """The rows of docs/rules.md, in order."""
    rows = []
    for line in RULES.read_text(encoding="utf-8").splitlines():
        match = _ROW.match(line.strip())
        if match:
            rows.append(
                Rule(
                    match["id"],
                    match["rule"].strip(),
                    tuple(match["scn"].replace("`", "").split()),
                    tuple(match["mut"].replace("`", "").split()),
                )
            )
    return rows


def mutant(name: str) -> Mutant:
    """Load one mutant."""
    data = tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    parts = [data, *data.get("also", ())]
    return Mutant(
        name,
        tuple(Change(one["file"], one["old"].strip("\n"), one["new"].strip("\n")) for one in parts),
    )


def mutant_names() -> list[str]:
    """Every mutant file."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))

"""The specification read sentence by sentence, and docs/sentences.toml, which answers each.

The specification itself is not part of the repository. An entry names a sentence by the first
characters of its digest and by its first words, so the page can be read and checked without it.
Where the specification is at hand (`SPEC_FILE`, or `../shared/SPEC.md` beside the checkout), each
of its sentences must have an entry and each entry a sentence.

    [[sentence]]
    section = 4
    digest = "0123456789ab"
    begins = "A triggered stop is never moved"
    rows = ["4.6c"]             # of docs/rules.md
    tests = ["tests/…::test_…"] # where no scenario can see it
    because = "…"               # why there is neither: a heading, a definition, another part
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = ROOT / "docs" / "sentences.toml"
SECTIONS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12)
"""Of the specification: what the kernel itself has to hold."""
_HEADING = re.compile(r"## (\d+)\. ")
_BULLET = re.compile(r"^\s*(?:-|\d\.)\s+")
_RULER = re.compile(r"\|\s*-")
_BETWEEN = re.compile(r"(?<=[.:])\s+(?=[A-Z`*(])")


@dataclass(frozen=True)
class Sentence:
    """One sentence, or one row of a table."""

    section: int
    text: str

    @property
    def digest(self) -> str:
        """Twelve characters that stand for the words, whatever the spaces between them."""
        words = " ".join(self.text.split())
        return blake2b(words.encode(), digest_size=6).hexdigest()

    @property
    def begins(self) -> str:
        """The first words, without marks of emphasis."""
        return " ".join(re.sub(r"[*`|]", "", self.text).split()[:8])


@dataclass(frozen=True)
class Answer:
    """What holds a sentence."""

    section: int
    digest: str
    begins: str
    rows: tuple[str, ...]
    tests: tuple[str, ...]
    because: str


def sentences(text: str) -> list[Sentence]:
    """Those of `SECTIONS`, in their order."""
    found: list[Sentence] = []
    section = 0
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading is not None:
            section = int(heading[1])
        elif section in SECTIONS and line.strip() and not _RULER.match(line):
            whole = [line] if line.startswith("|") else _BETWEEN.split(_BULLET.sub("", line))
            found += [Sentence(section, part.strip()) for part in whole]
    return found


def answers() -> list[Answer]:
    """docs/sentences.toml."""
    known = tomllib.loads(ANSWERS.read_text("utf-8"))["sentence"]
    return [
        Answer(
            section=entry["section"],
            digest=entry["digest"],
            begins=entry["begins"],
            rows=tuple(entry.get("rows", ())),
            tests=tuple(entry.get("tests", ())),
            because=entry.get("because", ""),
        )
        for entry in known
    ]


def specification() -> Path | None:
    """The file of the specification, where there is one on this machine."""
    named = os.environ.get("SPEC_FILE")
    path = Path(named) if named else ROOT.parent / "shared" / "SPEC.md"
    return path if path.is_file() else None

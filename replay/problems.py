"""What is wrong with market data or a file of waves, and how the caller wants it treated.

A `Problem` names place, value, allowed range and fix; a `Report` holds all of them at once.
Each kind of damage has one field in `Treatment`; whatever is not treated is refused.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kernel.errors import SettingsError

KEPT_PER_KIND = 1_000
"""Problems of one kind that are listed one by one; the rest is one line with a count."""


def visible(text: str) -> str:
    """The text with control characters written out: a file must not steer a terminal."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


class Problem(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that is wrong.

    `rows` counts the rows that this line stands for; `line` 0 means the whole file.
    """

    code: str
    file: str
    line: int
    value: str
    allowed: str
    fix: str
    rows: int = 1

    @property
    def place(self) -> str:
        """`file:line`, or the file alone."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def sentence(self) -> str:
        """The whole problem in one line."""
        many = f" ({self.rows} rows)" if self.rows > 1 else ""
        return visible(
            f"{self.place}: {self.code}: {self.value}{many}; allowed: {self.allowed}; "
            f"fix: {self.fix}"
        )


class Treatment(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with damage. Every default refuses: nothing is repaired unasked."""

    gaps: Literal["refuse", "feed-gap"] = "refuse"
    """`feed-gap`: no price arrives between the row before and the row after."""
    duplicates: Literal["refuse", "drop", "first", "last"] = "refuse"
    """`drop`: only rows that are equal; `first`, `last`: also where they contradict each other."""
    unordered: Literal["refuse", "sort"] = "refuse"
    impossible: Literal["refuse", "drop"] = "refuse"
    """Candles that contradict themselves, prices or quantities that are not positive."""
    off_grid: Literal["refuse", "drop"] = "refuse"
    """Candles whose open time is not a multiple of the interval."""
    malformed: Literal["refuse", "drop"] = "refuse"
    """Rows that cannot be read at all."""
    noise: Literal["refuse", "round"] = "refuse"
    """Prices such as 1.0735999999999999, left by binary floating point."""


class Report(msgspec.Struct, kw_only=True):
    """Everything that was found while reading: problems refuse the data, notes do not."""

    problems: list[Problem] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    files: int = 0
    rows: int = 0

    @property
    def ok(self) -> bool:
        """Whether the data may be used."""
        return not self.problems

    def add(self, problems: list[Problem]) -> None:
        """Append problems; beyond `KEPT_PER_KIND` only their number."""
        kept = problems[:KEPT_PER_KIND]
        rest = problems[KEPT_PER_KIND:]
        self.problems.extend(kept)
        if rest:
            more = sum(problem.rows for problem in rest)
            self.problems.append(
                msgspec.structs.replace(rest[0], value=f"{rest[0].value} and later", rows=more)
            )

    def absorb(self, other: Report) -> None:
        """Append another report."""
        self.problems.extend(other.problems)
        self.notes.extend(other.notes)
        self.files += other.files
        self.rows += other.rows

    def refuse(self) -> None:
        """Raise when anything is wrong.

        Raises:
            DataError: With every problem.
        """
        if self.problems:
            raise DataError(self)


class DataError(SettingsError):
    """Data is refused. `report` holds every problem, the message one sentence each."""

    def __init__(self, report: Report) -> None:
        super().__init__([problem.sentence() for problem in report.problems])
        self.report = report


class LayoutError(Exception):
    """A file as a whole cannot be read; becomes one `Problem` of that file."""

    def __init__(self, code: str, value: str, allowed: str, fix: str) -> None:
        super().__init__(value)
        self.code, self.value, self.allowed, self.fix = code, value, allowed, fix

    def problem(self, file: str) -> Problem:
        """The same as a problem of the whole file."""
        return Problem(
            code=self.code,
            file=file,
            line=0,
            value=self.value,
            allowed=self.allowed,
            fix=self.fix,
        )

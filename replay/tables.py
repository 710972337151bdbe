"""Raw tables: the readable rows of data files, each with the file and the line it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from replay.columns import Bools, Decimals, Ints
from replay.layouts import Kind
from replay.problems import Problem


@dataclass(slots=True, eq=False)
class Table:
    """Readable rows of one or more files of one kind, in file order.

    `numbers` holds exact decimals by role, `floats` volumes, `marks` small codes (taker side),
    `ids` trade ids (`ids_count`: they count up by one, so that holes are losses), `units` the
    numbers as whole multiples of one step, once `replay.checks` has found it.
    """

    kind: Kind
    layout: str
    files: list[str]
    file: Ints
    line: Ints
    time_ns: Ints
    numbers: dict[str, Decimals]
    floats: dict[str, NDArray[np.float64]]
    marks: dict[str, NDArray[np.int8]]
    ids: Ints | None
    ids_count: bool
    problems: list[Problem] = field(default_factory=list)
    units: dict[str, Ints] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.line)

    def take(self, rows: Ints | Bools) -> Table:
        """The same table with some rows, in the order given."""
        return Table(
            kind=self.kind,
            layout=self.layout,
            files=self.files,
            file=self.file[rows],
            line=self.line[rows],
            time_ns=self.time_ns[rows],
            numbers={role: column.take(rows) for role, column in self.numbers.items()},
            floats={role: column[rows] for role, column in self.floats.items()},
            marks={role: column[rows] for role, column in self.marks.items()},
            ids=None if self.ids is None else self.ids[rows],
            ids_count=self.ids_count,
            problems=self.problems,
            units={role: column[rows] for role, column in self.units.items()},
        )

    def place(self, row: int) -> tuple[str, int]:
        """(file, line) of a row."""
        return self.files[int(self.file[row])], int(self.line[row])


def join(tables: list[Table]) -> Table:
    """Tables of one kind under each other, in the order given."""
    first = tables[0]
    if len(tables) == 1:
        return first
    files: list[str] = []
    numbered: list[Ints] = []
    for table in tables:
        files.extend(name for name in table.files if name not in files)
        places = np.array([files.index(name) for name in table.files], dtype=np.int64)
        numbered.append(places[table.file])
    every_id = [table.ids for table in tables if table.ids is not None]
    return Table(
        kind=first.kind,
        layout=first.layout,
        files=files,
        file=np.concatenate(numbered),
        line=np.concatenate([table.line for table in tables]),
        time_ns=np.concatenate([table.time_ns for table in tables]),
        numbers={role: _join(tables, role) for role in first.numbers},
        floats={r: np.concatenate([table.floats[r] for table in tables]) for r in first.floats},
        marks={r: np.concatenate([table.marks[r] for table in tables]) for r in first.marks},
        ids=np.concatenate(every_id) if len(every_id) == len(tables) else None,
        ids_count=all(table.ids_count for table in tables),
        problems=[problem for table in tables for problem in table.problems],
    )


def _join(tables: list[Table], role: str) -> Decimals:
    parts = [table.numbers[role] for table in tables]
    return Decimals(
        np.concatenate([part.mantissa for part in parts]),
        np.concatenate([part.decimals for part in parts]),
        np.concatenate([part.bad for part in parts]),
    )

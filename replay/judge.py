"""The judge of one raw table: collects its problems and drops rows as the treatment says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kernel.model.units import SECOND
from replay.columns import Bools, Ints
from replay.problems import LayoutError, Problem, Report, Treatment
from replay.series import Gap
from replay.tables import Table


def time_text(ts_ns: int) -> str:
    """UTC to the second, for people."""
    return f"{np.datetime64(int(ts_ns) // SECOND, 's')}Z"


class Judge:
    """Looks at one thing after another; `table` holds the rows that are still good.

    What the treatment does not cover becomes a problem in the report, what it covers a note;
    the rows go in both cases, so that one damage is not reported twice.
    """

    def __init__(self, table: Table, treatment: Treatment, report: Report) -> None:
        self.table = table
        self.treatment = treatment
        self.report = report
        report.rows += len(table)
        unread = table.problems
        if treatment.malformed == "drop":
            dropped = [problem for problem in unread if problem.code == "malformed row"]
            unread = [problem for problem in unread if problem.code != "malformed row"]
            self.note("malformed rows dropped", len(dropped))
        report.add(unread)

    def note(self, what: str, count: int) -> None:
        """Say in the report what was done to how many rows."""
        if count:
            self.report.notes.append(f"{self.table.files[0]}: {count} {what}")

    def rows(
        self, code: str, rows: Ints, describe: Callable[[int], str], *, allowed: str, fix: str
    ) -> None:
        """One problem for each of these rows."""
        problems = []
        for row in map(int, rows):
            file, line = self.table.place(row)
            problems.append(
                Problem(
                    code=code,
                    file=file,
                    line=line,
                    value=describe(row),
                    allowed=allowed,
                    fix=fix,
                )
            )
        self.report.add(problems)

    def whole(self, error: LayoutError) -> None:
        """One problem of the whole file."""
        self.report.add([error.problem(self.table.files[0])])

    def drop(
        self,
        code: str,
        wrong: Bools,
        describe: Callable[[int], str],
        *,
        treated: bool,
        allowed: str,
        fix: str,
    ) -> None:
        """Go on without these rows, each a problem unless the treatment drops them."""
        if not wrong.any():
            return
        if treated:
            self.note(f"{code}s dropped", int(wrong.sum()))
        else:
            self.rows(code, np.flatnonzero(wrong), describe, allowed=allowed, fix=fix)
        self.table = self.table.take(~wrong)

    def order(self) -> None:
        """Report rows that go back in time or id; leave the table sorted by (time, id, place)."""
        table = self.table
        back = _goes_back(table.time_ns)
        ids = table.ids if table.ids is not None and table.ids_count else None
        if ids is not None:
            back |= _goes_back(ids)
        if not back.any():
            return
        if self.treatment.unordered == "sort":
            self.note("rows out of order, sorted", int(back.sum()))
        else:
            self.rows(
                "unordered row",
                np.flatnonzero(back),
                lambda row: f"time {time_text(int(table.time_ns[row]))} after a later row",
                allowed="times and ids that do not go back",
                fix="--unordered sort",
            )
        if ids is None:
            self.table = table.take(np.argsort(table.time_ns, kind="stable"))
        else:
            self.table = table.take(np.lexsort((ids, table.time_ns)))

    def repeats(self, keys: Ints, describe: Callable[[int], str]) -> None:
        """Report rows with the key of an earlier row; keep one row for each key.

        `drop` keeps the first row and treats only rows equal to it; rows that contradict it are
        refused until `first` or `last` says which one is right.
        """
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        original = first[which]
        repeated = original != np.arange(len(keys))
        if not repeated.any():
            return
        how = self.treatment.duplicates
        refused = repeated.copy()
        if how == "drop":
            refused &= ~self._equal(original)
        elif how != "refuse":
            refused[:] = False
        self.rows(
            "duplicate row",
            np.flatnonzero(refused),
            describe,
            allowed="one row for each time or id",
            fix="--duplicates drop (equal rows), first or last (contradicting rows)",
        )
        self.note("duplicate rows dropped", int((repeated & ~refused).sum()))
        kept = ~repeated
        if how == "last":
            last = np.zeros(len(first), dtype=np.int64)
            last[which] = np.arange(len(keys))
            kept = last[which] == np.arange(len(keys))
        self.table = self.table.take(kept)

    def _equal(self, original: Ints) -> Bools:
        table = self.table
        same: Bools = table.time_ns == table.time_ns[original]
        for whole in table.units.values():
            same &= whole == whole[original]
        for volume in table.floats.values():
            same &= volume == volume[original]
        for mark in table.marks.values():
            same &= mark == mark[original]
        return same

    def holes(self, gaps: tuple[Gap, ...], rows: Ints, unit: str) -> None:
        """Report missing rows; `rows` are the rows after each gap."""
        if not gaps:
            return
        if self.treatment.gaps == "feed-gap":
            missing = sum(gap.missing for gap in gaps)
            self.note(f"gaps ({missing} {unit}) taken as feed gaps", len(gaps))
            return
        told = dict(zip(map(int, rows), gaps, strict=True))
        self.rows(
            "gap",
            rows,
            lambda row: (
                f"{told[row].missing} {unit} missing, "
                f"{time_text(told[row].from_ns)} to {time_text(told[row].to_ns)}"
            ),
            allowed=f"no missing {unit}",
            fix="fetch the missing rows, or --gaps feed-gap",
        )


def _goes_back(values: Ints) -> Bools:
    back = np.zeros(len(values), dtype=np.bool_)
    if len(values):
        back[1:] = values[1:] < np.maximum.accumulate(values)[:-1]
    return back

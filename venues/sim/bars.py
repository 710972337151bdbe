"""Bars: one symbol's prices as open, high, low, close, and the one path that each bar becomes.

The path knows nothing of positions. Rules:

1. close >= open: open, low, high, close; else open, high, low, close. `path="low-first"` or
   `"high-first"` turns the convention for all bars alike.
2. The corners lie at the bar's open time, at one third, at two thirds, and in its last nanosecond.
3. Between two corners the price goes through every whole tick on its way, so a level that is
   crossed is hit exactly there; the time is interpolated and rounded up to whole nanoseconds.
4. A corner is a point of the path also when the price did not change.
5. From one bar's close to the next bar's open the price jumps.
6. Where bars are missing there are no prices: a hole, which the kernel is told of as a feed gap.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import numpy as np

from kernel.errors import SettingsError
from venues.sim.grid import Grid
from venues.sim.tape import Column, IntColumn, column, price_problems

if TYPE_CHECKING:
    from venues.sim.index import Pyramid

type Path = Literal["close-rule", "low-first", "high-first"]

PATHS = ("close-rule", "low-first", "high-first")
SHORTEST_NS = 4
"""A bar needs four different instants for its corners."""


class BarTape:
    """Bars of one symbol and one price source.

    Args:
        open_ns: Open times, wall nanoseconds, ascending, at least a bar apart.
        open_px: Opening prices in ticks, 1 or more; likewise the three others.
        high_px: Highest prices: not below open and close.
        low_px: Lowest prices: not above open and close.
        close_px: Closing prices.
        bar_ns: Length of a bar, nanoseconds.
        tick_size: Quote currency per tick.
        path: Which extreme comes first.
        checked: True where the columns are known to be good: not looked at again.

    Raises:
        SettingsError: Every problem of the columns, each with its first place.
    """

    def __init__(
        self,
        open_ns: IntColumn,
        open_px: IntColumn,
        high_px: IntColumn,
        low_px: IntColumn,
        close_px: IntColumn,
        *,
        bar_ns: int,
        tick_size: Decimal,
        path: Path = "close-rule",
        checked: bool = False,
    ) -> None:
        self.grid = Grid(tick_size)
        self.bar_ns = bar_ns
        self.path = path
        self.columns: tuple[Column, ...] = (
            column(open_ns, np.int64),
            *(column(px, np.int32) for px in (open_px, high_px, low_px, close_px)),
        )
        if not checked:
            self._check()
        self.open_ns, self.open, self.high, self.low, self.close = (
            memoryview(values) for values in self.columns
        )
        self.holes = self._find_holes()
        self.index: Pyramid | None = None
        """Built at first use by `venues.sim.index`, or read with the columns."""

    @property
    def tick_size(self) -> Decimal:
        """Quote currency per tick."""
        return self.grid.tick_size

    def __len__(self) -> int:
        return len(self.open_ns)

    @property
    def nbytes(self) -> int:
        """Bytes held or mapped, the index included."""
        own = sum(values.nbytes for values in self.columns)
        return own + (self.index.nbytes if self.index is not None else 0)

    def corner_times(self, bar: int) -> tuple[int, int, int, int]:
        """Times of the four corners of a bar's path."""
        start, length = self.open_ns[bar], self.bar_ns
        return start, start + length // 3, start + 2 * length // 3, start + length - 1

    def corners(self, bar: int) -> tuple[int, int, int, int]:
        """Prices of the four corners of a bar's path, in ticks."""
        first, last = self.open[bar], self.close[bar]
        low_first = last >= first if self.path == "close-rule" else self.path == "low-first"
        if low_first:
            return first, self.low[bar], self.high[bar], last
        return first, self.high[bar], self.low[bar], last

    def _find_holes(self) -> tuple[tuple[int, int], ...]:
        times = self.columns[0]
        missing = np.flatnonzero(times[1:] - times[:-1] > self.bar_ns)
        return tuple(
            (int(times[i]) + self.bar_ns, int(times[i + 1])) for i in missing.tolist()
        )

    def _check(self) -> None:
        times, first, high, low, last = self.columns
        problems = []
        if self.path not in PATHS:
            problems.append(f"path {self.path!r}: must be one of {', '.join(PATHS)}")
        if self.bar_ns < SHORTEST_NS:
            problems.append(f"bar_ns {self.bar_ns}: must be at least {SHORTEST_NS}")
        sizes = [len(values) for values in self.columns]
        if min(sizes) != max(sizes) or not sizes[0]:
            problems.append(f"rows of open_ns, open, high, low, close: {sizes}:"
                            " they must be equal and not 0")
            raise SettingsError(problems)
        close_by = np.flatnonzero(times[1:] - times[:-1] < self.bar_ns)
        if close_by.size:
            i = int(close_by[0]) + 1
            problems.append(f"open_ns[{i}] = {int(times[i])} is less than a bar ({self.bar_ns} ns)"
                            f" after open_ns[{i - 1}] = {int(times[i - 1])}")
        impossible = np.flatnonzero(
            (low > np.minimum(first, last)) | (high < np.maximum(first, last))
        )
        if impossible.size:
            i = int(impossible[0])
            prices = ", ".join(
                f"{name} {int(values[i])}"
                for name, values in zip(("open", "high", "low", "close"), self.columns[1:],
                                        strict=True)
            )
            problems.append(f"bar {i}: {prices}: low <= open, close <= high must hold"
                            f" ({impossible.size} wrong rows)")
        problems += price_problems("low", low) + price_problems("high", high)
        if problems:
            raise SettingsError(problems)

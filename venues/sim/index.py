"""The index: a pyramid of minima and maxima that finds crossings and extremes in O(log n).

Level 0 is the price column itself (for bars: lows and highs). Each item of level k + 1 holds the
minimum and the maximum of 8 neighbours of level k. Building is one pass of numpy; looking up is
plain Python over memoryviews, which measured faster than numpy slices (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from venues.sim.bars import BarTape
from venues.sim.tape import Column, Tape

FANOUT = 8
_SHIFT = 3


def reduce_levels(column: Column, lowest: bool) -> list[Column]:  # noqa: FBT001 - two cases, one body
    """The levels above a column, the smallest last: minima or maxima of 8 neighbours."""
    ufunc: Any = np.minimum if lowest else np.maximum
    levels = []
    current = column
    while len(current) > FANOUT:
        whole = len(current) // FANOUT * FANOUT
        folded = current[:whole]
        width = FANOUT
        while width > 1:
            folded = ufunc(folded[0::2], folded[1::2])
            width //= 2
        if whole < len(current):
            folded = np.append(folded, ufunc.reduce(current[whole:]))
        current = np.ascontiguousarray(folded, dtype=column.dtype)
        levels.append(current)
    return levels


class Pyramid:
    """Minima and maxima over two columns of equal length (the same one twice for ticks).

    Args:
        low: The column in which lows are looked for.
        high: The column in which highs are looked for.
        levels: The upper levels (minima, maxima) where they were saved; built when missing.
    """

    __slots__ = ("_columns", "_high", "_low", "size")

    def __init__(
        self, low: Column, high: Column, levels: tuple[list[Column], list[Column]] | None = None
    ) -> None:
        minima, maxima = levels or (reduce_levels(low, True), reduce_levels(high, False))
        self.size = len(low)
        self._columns = (minima, maxima)
        self._low = [memoryview(low), *(memoryview(level) for level in minima)]
        self._high = [memoryview(high), *(memoryview(level) for level in maxima)]

    @property
    def levels(self) -> tuple[list[Column], list[Column]]:
        """The upper levels (minima, maxima), for saving."""
        return self._columns

    @property
    def nbytes(self) -> int:
        """Bytes of the upper levels."""
        return sum(level.nbytes for half in self._columns for level in half)

    def first_cross(self, start: int, lo: int, hi: int) -> int:
        """First i >= start with low[i] <= lo or high[i] >= hi; `size` when there is none."""
        lows, highs = self._low, self._high
        top = len(lows) - 1
        level, i = 0, start
        # Up: look through the rest of the group, then go on with the next group one level higher.
        while True:
            low, high = lows[level], highs[level]
            size = len(low)
            stop = size if level == top else min(((i >> _SHIFT) + 1) << _SHIFT, size)
            while i < stop and low[i] > lo and high[i] < hi:
                i += 1
            if i < stop:
                break
            if i >= size:
                return self.size
            i >>= _SHIFT
            level += 1
        # Down: the item is known to hold a crossing, so each group has one.
        while level:
            level -= 1
            i <<= _SHIFT
            low, high = lows[level], highs[level]
            while low[i] > lo and high[i] < hi:
                i += 1
        return i

    def range_min(self, start: int, end: int) -> int:
        """Smallest low of [start, end), which is not empty."""
        return _fold(self._low, min, start, end)

    def range_max(self, start: int, end: int) -> int:
        """Largest high of [start, end), which is not empty."""
        return _fold(self._high, max, start, end)


def _fold(levels: list[memoryview], pick: Callable[..., int], start: int, end: int) -> int:
    # Loose items at both ends of each level, whole groups one level higher.
    found: list[int] = []
    level, top = 0, len(levels) - 1
    while start < end:
        column = levels[level]
        inner_start = (start + FANOUT - 1) >> _SHIFT
        inner_end = end >> _SHIFT
        if level == top or inner_start >= inner_end:
            found.append(pick(column[start:end]))
            break
        if start < inner_start << _SHIFT:
            found.append(pick(column[start : inner_start << _SHIFT]))
        if inner_end << _SHIFT < end:
            found.append(pick(column[inner_end << _SHIFT : end]))
        start, end, level = inner_start, inner_end, level + 1
    return pick(found)


def lows_and_highs(tape: Tape | BarTape) -> tuple[Column, Column]:
    """The two columns that the index of a tape is over; of ticks the same one twice."""
    if isinstance(tape, Tape):
        return tape.px_column, tape.px_column
    return tape.columns[3], tape.columns[2]


def index_of(tape: Tape | BarTape) -> Pyramid:
    """The index of a tape: built at first use and kept on the tape, for all runs over it."""
    if tape.index is None:
        tape.index = Pyramid(*lows_and_highs(tape))
    return tape.index

"""The tape: one symbol's prices as they were made, tick by tick.

Two columns, `ts` (wall nanoseconds, ascending, ties allowed) and `px` (whole ticks), 12 bytes a
tick with 32-bit prices. The columns may be mapped from files; nothing here copies them.
This module knows nothing of the index: the tick-by-tick price service reads the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernel.errors import SettingsError
from venues.sim.grid import Grid

if TYPE_CHECKING:
    from venues.sim.index import Pyramid

MAX_PX = (1 << 37) - 1
"""Largest price in ticks; it leaves room for a cursor to count the ticks of a bar's path."""

type Column = NDArray[np.signedinteger]
type IntColumn = Column | Sequence[int]


def column(values: IntColumn, dtype: type[np.int64 | np.int32]) -> Column:
    """The values as a contiguous column of 32 or 64 bits.

    An integer array of either width is taken as it is, without a copy; anything else becomes
    `dtype`, or 64 bits where that is too narrow.

    Raises:
        SettingsError: The values are not whole numbers, or not in one dimension.
    """
    array = np.asarray(values)
    if not array.size:
        array = array.astype(dtype)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        form = f"{array.dtype} in {array.ndim} dimensions"
        raise SettingsError([f"a column must hold whole numbers in one dimension, not {form}"])
    if isinstance(values, np.ndarray) and array.dtype in (np.int64, np.int32):
        return np.ascontiguousarray(array)
    fits = not array.size or int(np.abs(array).max()) <= np.iinfo(dtype).max
    return np.ascontiguousarray(array, dtype=dtype if fits else np.int64)


def price_problems(name: str, px: Column) -> list[str]:
    """What is wrong with a column of prices, with the first place of each kind."""
    problems = []
    low = np.flatnonzero(px < 1)
    if low.size:
        i = int(low[0])
        problems.append(f"{name}[{i}] = {int(px[i])}: prices are at least 1 tick"
                        f" ({low.size} wrong rows)")
    high = np.flatnonzero(px > MAX_PX)
    if high.size:
        i = int(high[0])
        problems.append(f"{name}[{i}] = {int(px[i])}: prices are at most {MAX_PX} ticks;"
                        " use a larger tick_size")
    return problems


class Tape:
    """Ticks of one symbol and one price source.

    Args:
        ts: Times, wall nanoseconds, ascending; equal times keep their order.
        px: Prices in ticks, 1 or more.
        tick_size: Quote currency per tick.
        checked: True where the columns are known to be good (a saved tape): not looked at again.

    Raises:
        SettingsError: Every problem of the columns, each with its first place.
    """

    def __init__(
        self, ts: IntColumn, px: IntColumn, tick_size: Decimal, *, checked: bool = False
    ) -> None:
        self.grid = Grid(tick_size)
        self.ts_column = column(ts, np.int64)
        self.px_column = column(px, np.int32)
        if not checked:
            self._check()
        self.ts = memoryview(self.ts_column)
        self.px = memoryview(self.px_column)
        self.index: Pyramid | None = None
        """Built at first use by `venues.sim.index`, or read with the columns."""

    @property
    def tick_size(self) -> Decimal:
        """Quote currency per tick."""
        return self.grid.tick_size

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def nbytes(self) -> int:
        """Bytes held or mapped, the index included."""
        own = self.ts_column.nbytes + self.px_column.nbytes
        return own + (self.index.nbytes if self.index is not None else 0)

    def _check(self) -> None:
        ts, px = self.ts_column, self.px_column
        problems = []
        if len(ts) != len(px):
            problems.append(f"ts has {len(ts)} rows and px {len(px)}: they must be equal")
        if not len(ts):
            problems.append("the tape is empty: it needs at least one tick")
        back = np.flatnonzero(ts[1:] < ts[:-1])
        if back.size:
            i = int(back[0]) + 1
            problems.append(f"ts[{i}] = {int(ts[i])} is before ts[{i - 1}] = {int(ts[i - 1])}:"
                            " sort the ticks by time")
        problems += price_problems("px", px)
        if problems:
            raise SettingsError(problems)

"""What the price service asks of a recorded price series, whatever it is made of.

A series is a list of *points* in one fixed order. A **cursor** names a point; cursors are whole
numbers that grow with the order and mean nothing else outside the series. `NO_CURSOR` lies before
the first point. Ranges are (after, through]: without their first cursor, with their last.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from venues.sim.grid import Grid

NO_CURSOR = -1


class Point(msgspec.Struct, frozen=True, gc=False):
    """One price of a series."""

    cursor: int
    ts_ns: int
    """When the price was made, wall nanoseconds."""
    px: int
    """The price in ticks of the series."""


class Series(Protocol):
    """Exact look-ups over one price series; each costs O(log n)."""

    @property
    def grid(self) -> Grid:
        """The grid that `px` counts on."""

    @property
    def first_ns(self) -> int:
        """Time of the first point."""

    @property
    def holes(self) -> tuple[tuple[int, int], ...]:
        """Spans [from, to) in which the record itself has no prices, ascending."""

    def at(self, cursor: int) -> Point:
        """The point that a cursor names."""

    def cursor_at(self, ts_ns: int) -> int:
        """The last point made at or before `ts_ns`; NO_CURSOR: none was."""

    def last(self, ts_ns: int) -> Point | None:
        """The price at the end of the instant `ts_ns`."""

    def first_at_or_after(self, ts_ns: int) -> Point | None:
        """The first point made at `ts_ns` or later."""

    def next_recorded(self, after: int) -> Point | None:
        """The next point that was recorded: the next tick, or the next corner of a bar's path."""

    def first_cross(self, after: int, lo: int, hi: int) -> Point | None:
        """The first point after `after` with px <= lo or px >= hi."""

    def range_extremes(self, after: int, through: int) -> tuple[int, int] | None:
        """Lowest and highest px of the points in (after, through]; None: there are none."""

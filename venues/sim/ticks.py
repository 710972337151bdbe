"""A tape as a series: a cursor is the number of the tick."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from venues.sim.grid import Grid
from venues.sim.index import index_of
from venues.sim.series import Point
from venues.sim.tape import Tape


class TickSeries:
    """`venues.sim.series.Series` over a tape."""

    __slots__ = ("_index", "_px", "_size", "_ts", "grid", "holes", "tape")

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.grid: Grid = tape.grid
        self.holes: tuple[tuple[int, int], ...] = ()
        self._index = index_of(tape)
        self._ts = tape.ts
        self._px = tape.px
        self._size = len(tape)

    @property
    def first_ns(self) -> int:
        return self._ts[0]

    def at(self, cursor: int) -> Point:
        return Point(cursor, self._ts[cursor], self._px[cursor])

    def cursor_at(self, ts_ns: int) -> int:
        return bisect_right(self._ts, ts_ns) - 1

    def last(self, ts_ns: int) -> Point | None:
        cursor = bisect_right(self._ts, ts_ns) - 1
        return Point(cursor, self._ts[cursor], self._px[cursor]) if cursor >= 0 else None

    def first_at_or_after(self, ts_ns: int) -> Point | None:
        cursor = bisect_left(self._ts, ts_ns)
        return self.at(cursor) if cursor < self._size else None

    def next_recorded(self, after: int) -> Point | None:
        return self.at(after + 1) if after + 1 < self._size else None

    def first_cross(self, after: int, lo: int, hi: int) -> Point | None:
        cursor = self._index.first_cross(after + 1, lo, hi)
        return self.at(cursor) if cursor < self._size else None

    def range_extremes(self, after: int, through: int) -> tuple[int, int] | None:
        if through <= after:
            return None
        start, end = after + 1, through + 1
        return self._index.range_min(start, end), self._index.range_max(start, end)

"""Bars as a series: the points are every whole tick of the path (`venues.sim.bars`, rules 1-6).

The points are not stored. A cursor is the bar and the number of the step on its path; a segment
from `a` to `b` has max(|b - a|, 1) steps, so prices, times and steps follow from each other by
whole-number arithmetic, and a crossing inside a bar is found without visiting its points.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import msgspec

from venues.sim.bars import BarTape
from venues.sim.grid import Grid
from venues.sim.index import index_of
from venues.sim.series import Point

_STEP_BITS = 40
_STEP_MASK = (1 << _STEP_BITS) - 1


class _Segment(msgspec.Struct, frozen=True, gc=False):
    base: int  # step of its first corner
    steps: int
    start: int
    end: int
    start_ns: int
    span_ns: int

    def px(self, j: int) -> int:
        if self.end > self.start:
            return self.start + j
        return self.start - j if self.end < self.start else self.start

    def ts(self, j: int) -> int:
        return self.start_ns - (-j * self.span_ns // self.steps)


type _Path = tuple[_Segment, _Segment, _Segment]

PATHS_KEPT = 16


class BarSeries:
    """`venues.sim.series.Series` over bars."""

    __slots__ = ("_bar_ns", "_index", "_open_ns", "_paths", "_size", "grid", "holes", "tape")

    def __init__(self, tape: BarTape) -> None:
        self.tape = tape
        self.grid: Grid = tape.grid
        self.holes = tape.holes
        self._index = index_of(tape)
        self._open_ns = tape.open_ns
        self._size = len(tape)
        self._bar_ns = tape.bar_ns if not tape.holes else 0  # 0: bars are not where they would be
        self._paths: dict[int, _Path] = {}

    @property
    def first_ns(self) -> int:
        return self._open_ns[0]

    def at(self, cursor: int) -> Point:
        bar, step = cursor >> _STEP_BITS, cursor & _STEP_MASK
        for segment in self._segments(bar):
            j = step - segment.base
            if j <= segment.steps:
                return Point(cursor, segment.ts(j), segment.px(j))
        raise IndexError(f"no point {step} in bar {bar}")

    def cursor_at(self, ts_ns: int) -> int:
        bar = self._bar_at(ts_ns)
        if bar < 0:
            return -1
        segment, j = self._place(bar, ts_ns)
        return bar << _STEP_BITS | (segment.base + j)

    def last(self, ts_ns: int) -> Point | None:
        bar = self._bar_at(ts_ns)
        if bar < 0:
            return None
        segment, j = self._place(bar, ts_ns)
        return Point(bar << _STEP_BITS | (segment.base + j), segment.ts(j), segment.px(j))

    def first_at_or_after(self, ts_ns: int) -> Point | None:
        bar = bisect_left(self._open_ns, ts_ns)
        # The bar that opened before may still be on its way.
        if bar > 0:
            for segment in self._segments(bar - 1):
                since = ts_ns - segment.start_ns
                if since <= segment.span_ns:
                    j = (since - 1) * segment.steps // segment.span_ns + 1
                    return Point(
                        (bar - 1) << _STEP_BITS | (segment.base + j), segment.ts(j), segment.px(j)
                    )
        return self.at(bar << _STEP_BITS) if bar < self._size else None

    def next_recorded(self, after: int) -> Point | None:
        bar, step = after >> _STEP_BITS, after & _STEP_MASK
        if after >= 0:
            for segment in self._segments(bar):
                corner = segment.base + segment.steps
                if corner > step:
                    return self.at(bar << _STEP_BITS | corner)
        return self.at((bar + 1) << _STEP_BITS) if bar + 1 < self._size else None

    def first_cross(self, after: int, lo: int, hi: int) -> Point | None:
        bar = after >> _STEP_BITS
        if after >= 0:
            point = self._cross_in_bar(bar, (after & _STEP_MASK) + 1, lo, hi)
            if point is not None:
                return point
        bar = self._index.first_cross(bar + 1, lo, hi)
        return self._cross_in_bar(bar, 0, lo, hi) if bar < self._size else None

    def range_extremes(self, after: int, through: int) -> tuple[int, int] | None:
        if through <= after:
            return None
        bar, step = after >> _STEP_BITS, (after & _STEP_MASK) + 1
        if after < 0:
            bar, step = 0, 0
        last_bar, last_step = through >> _STEP_BITS, through & _STEP_MASK
        found: list[int] = []
        if bar == last_bar:
            self._collect(found, bar, step, last_step)
        else:
            self._collect(found, bar, step, _STEP_MASK)
            if bar + 1 < last_bar:
                found.append(self._index.range_min(bar + 1, last_bar))
                found.append(self._index.range_max(bar + 1, last_bar))
            self._collect(found, last_bar, 0, last_step)
        return min(found), max(found)

    def _bar_at(self, ts_ns: int) -> int:
        # The last bar that opened by then; below 0: none did.
        if self._bar_ns:
            return min((ts_ns - self._open_ns[0]) // self._bar_ns, self._size - 1)
        return bisect_right(self._open_ns, ts_ns) - 1

    def _place(self, bar: int, ts_ns: int) -> tuple[_Segment, int]:
        # Where the path of a bar stands at a time behind its opening.
        first, second, third = self._segments(bar)
        segment = first
        if ts_ns >= second.start_ns:
            segment = third if ts_ns >= third.start_ns else second
        j = (ts_ns - segment.start_ns) * segment.steps // segment.span_ns
        return segment, min(j, segment.steps)

    def _segments(self, bar: int) -> _Path:
        # One look-up asks for the same bars several times, and the next one for those beside them.
        path = self._paths.get(bar)
        if path is None:
            if len(self._paths) == PATHS_KEPT:
                self._paths.clear()
            path = self._paths[bar] = self._make_segments(bar)
        return path

    def _make_segments(self, bar: int) -> _Path:
        p0, p1, p2, p3 = self.tape.corners(bar)
        t0, t1, t2, t3 = self.tape.corner_times(bar)
        n0, n1, n2 = abs(p1 - p0) or 1, abs(p2 - p1) or 1, abs(p3 - p2) or 1
        return (
            _Segment(0, n0, p0, p1, t0, t1 - t0),
            _Segment(n0, n1, p1, p2, t1, t2 - t1),
            _Segment(n0 + n1, n2, p2, p3, t2, t3 - t2),
        )

    def _cross_in_bar(self, bar: int, step: int, lo: int, hi: int) -> Point | None:
        # Inside a segment the price moves by one tick a step in one direction: either the first
        # step is through a level already (the level was set behind the price), or the level that
        # the segment moves towards is hit exactly.
        for segment in self._segments(bar):
            j = max(step - segment.base, 0)
            if j > segment.steps:
                continue
            px = segment.px(j)
            if lo < px < hi:
                if segment.end >= hi:
                    j = hi - segment.start
                elif segment.end <= lo:
                    j = segment.start - lo
                else:
                    continue
            return Point(bar << _STEP_BITS | (segment.base + j), segment.ts(j), segment.px(j))
        return None

    def _collect(self, found: list[int], bar: int, step: int, last_step: int) -> None:
        for segment in self._segments(bar):
            first = max(step - segment.base, 0)
            last = min(last_step - segment.base, segment.steps)
            if first <= last:
                found += (segment.px(first), segment.px(last))

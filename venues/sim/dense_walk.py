"""The walk of one price series: every price in its turn, bars segment by segment.

The unit of the walk is a *stretch*: one tick, or the ticks of one segment of a bar's path, which
all go one way. Nothing here knows the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from venues.sim.bars import BarTape
from venues.sim.tape import Tape


class Tick:
    """One price on its way to a lane. `place` orders the ticks of a lane."""

    __slots__ = ("place", "px", "recorded", "ts_ns")

    def __init__(self, place: int, ts_ns: int, px: int, *, recorded: bool) -> None:
        self.place = place
        self.ts_ns = ts_ns
        self.px = px
        self.recorded = recorded  # a corner or a tick, not one of the ticks between corners


class Stretch:
    """Ticks 1..count that go from one corner (not part of it) to the next (its last tick)."""

    __slots__ = ("_end_px", "_place", "_px", "_span_ns", "_start_ns", "count")

    def __init__(self, place: int, start: tuple[int, int], end: tuple[int, int]) -> None:
        (self._start_ns, self._px), (end_ns, self._end_px) = start, end
        self._place = place  # of the corner it starts from
        self._span_ns = end_ns - self._start_ns
        self.count = max(abs(self._end_px - self._px), 1)

    def tick(self, j: int) -> Tick:
        whole, rest = divmod(j * self._span_ns, self.count)
        way = (self._end_px > self._px) - (self._end_px < self._px)
        return Tick(
            self._place + j,
            self._start_ns + whole + (rest > 0),
            self._px + way * j,
            recorded=j == self.count,
        )


def stretches(tape: Tape | BarTape, first: int = 0) -> Iterator[Stretch]:
    """The whole way of a tape from tick or bar `first` on."""
    for i in range(first, len(tape)):
        place = i << 64
        if isinstance(tape, Tape):
            here = (tape.ts[i], tape.px[i])
            yield Stretch(place, here, here)
            continue
        corners = list(zip(tape.corner_times(i), tape.corners(i), strict=True))
        yield Stretch(place, corners[0], corners[0])
        place += 1
        for start, end in pairwise(corners):
            stretch = Stretch(place, start, end)
            yield stretch
            place += stretch.count


def holes(tape: Tape | BarTape, bars: int) -> Iterator[tuple[int, int]]:
    """Where bars are missing behind the first `bars` ones, ascending."""
    if isinstance(tape, BarTape):
        for bar in range(min(bars, len(tape) - 1)):
            end = tape.open_ns[bar] + tape.bar_ns
            if end < tape.open_ns[bar + 1]:
                yield end, tape.open_ns[bar + 1]

"""A bar is nothing but the ticks of its path: every look-up agrees with a tape of those ticks."""

import random
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.venues.sim.worlds import bar_tape
from venues.sim.bar_series import BarSeries
from venues.sim.series import NO_CURSOR
from venues.sim.tape import Tape
from venues.sim.ticks import TickSeries


def expanded(tape):
    """The ticks of the path, written out by the six rules of the module, and the corners."""
    ts: list[int] = []
    px: list[int] = []
    corners = []
    for bar in range(len(tape)):
        start, length = tape.open_ns[bar], tape.bar_ns
        times = (start, start + length // 3, start + 2 * length // 3, start + length - 1)
        prices = tape.corners(bar)
        corners.append(len(ts))
        ts.append(times[0])
        px.append(prices[0])
        for i in range(3):
            a, b = prices[i], prices[i + 1]
            way = (b > a) - (b < a)
            for j in range(1, abs(b - a) + 1):
                exact = times[i] * abs(b - a) + j * (times[i + 1] - times[i])
                ts.append(-(-exact // abs(b - a)))
                px.append(a + way * j)
            if a == b:
                ts.append(times[i + 1])
                px.append(b)
            corners.append(len(ts) - 1)
    return Tape(ts, px, Decimal(1)), corners


def both(seed):
    r = random.Random(seed)
    tape = bar_tape(r, 1_000, r.choice((200, 5_000, 10**12)))
    ticks, corners = expanded(tape)
    return r, BarSeries(tape), TickSeries(ticks), corners


def told(point):
    return point and (point.ts_ns, point.px)


def same(a, b):
    return told(a) == told(b)


seeds = st.integers(0, 10**9)


def moments(r, ticks):
    times = ticks.tape.ts
    return [r.choice(times) + r.randint(-2, 2) for _ in range(20)] + [times[0] - 1, times[-1] + 9]


@given(seeds)
def test_prices_at_a_time_are_those_of_the_path(seed):
    r, bars, ticks, _ = both(seed)
    for ts in moments(r, ticks):
        last = bars.last(ts)
        assert same(last, ticks.last(ts))
        assert bars.cursor_at(ts) == (last.cursor if last else NO_CURSOR)
        assert same(bars.first_at_or_after(ts), ticks.first_at_or_after(ts))


@given(seeds)
def test_crossings_are_those_of_the_path(seed):
    r, bars, ticks, _ = both(seed)
    for ts in moments(r, ticks):
        lo, hi = sorted((r.randint(-1, 330), r.randint(0, 340)))
        a = bars.first_cross(bars.cursor_at(ts), lo, hi)
        b = ticks.first_cross(ticks.cursor_at(ts), lo, hi)
        assert same(a, b)
        if a is not None:  # and again from the hit on, in the middle of a segment
            assert same(bars.first_cross(a.cursor, lo, hi), ticks.first_cross(b.cursor, lo, hi))
            assert same(bars.at(a.cursor), b)


@given(seeds)
def test_extremes_are_those_of_the_path(seed):
    r, bars, ticks, _ = both(seed)
    times = moments(r, ticks)
    for since, until in pairwise(times):
        a = bars.range_extremes(bars.cursor_at(since), bars.cursor_at(until))
        b = ticks.range_extremes(ticks.cursor_at(since), ticks.cursor_at(until))
        assert a == b


@given(seeds)
def test_recorded_points_are_the_corners(seed):
    _, bars, ticks, corners = both(seed)
    seen, cursor = [], NO_CURSOR
    while (point := bars.next_recorded(cursor)) is not None:
        seen.append(told(point))
        cursor = point.cursor
    assert seen == [told(ticks.at(i)) for i in corners]

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import SettingsError
from venues.sim.bars import BarTape
from venues.sim.mark import smoothed_mark
from venues.sim.tape import Tape

ticks = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 500)), min_size=1, max_size=60)


@given(ticks, st.integers(1, 40), st.integers(1, 90))
def test_the_mark_is_the_mean_of_the_window_as_stated(steps, period, window):
    now, rows = 3, []
    for wait, px in steps:
        now += wait
        rows.append((now, px))
    tape = Tape([ts for ts, _ in rows], [px for _, px in rows], Decimal(1))
    mark = smoothed_mark(tape, period_ns=period, window_ns=window)
    for ts, px in zip(mark.ts, mark.px, strict=True):
        assert ts % period == 0
        made = [p for t, p in rows if t <= ts]
        inside = [p for t, p in rows if ts - window < t <= ts] or made[-1:]
        mean = Decimal(sum(inside)) / len(inside)
        assert px == int((mean + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR"))
    assert mark.ts[0] - period < rows[0][0] <= mark.ts[0]
    assert rows[-1][0] <= mark.ts[-1]


def test_a_spike_of_the_last_price_moves_the_mark_little():
    last = Tape([0, 10, 20, 30, 40], [100, 100, 20, 100, 100], Decimal("0.5"))
    mark = smoothed_mark(last, period_ns=10, window_ns=50)
    assert list(mark.px) == [100, 100, 73, 80, 84]
    assert mark.tick_size == Decimal("0.5")


def test_of_bars_the_corners_are_the_prices():
    bars = BarTape([0], [100], [130], [70], [110], bar_ns=300, tick_size=Decimal(1))
    mark = smoothed_mark(bars, period_ns=100, window_ns=100)
    assert list(zip(mark.ts, mark.px, strict=True)) == [(0, 100), (100, 70), (200, 130), (300, 110)]


def test_a_period_of_nothing_is_refused():
    with pytest.raises(SettingsError, match="period_ns 0"):
        smoothed_mark(Tape([1], [1], Decimal(1)), period_ns=0)

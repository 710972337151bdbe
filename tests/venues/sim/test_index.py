import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from venues.sim.index import Pyramid

columns = st.lists(st.integers(1, 60), min_size=1, max_size=700)


@given(columns, st.integers(0, 720), st.integers(-1, 61), st.integers(0, 70))
def test_first_cross_is_the_first_row_that_a_scan_finds(values, start, lo, hi):
    pyramid = Pyramid(np.array(values, np.int32), np.array(values, np.int32))
    scan = (i for i in range(start, len(values)) if values[i] <= lo or values[i] >= hi)
    assert pyramid.first_cross(start, lo, hi) == next(scan, len(values))


@given(columns, st.data())
def test_range_extremes_are_those_of_a_slice(values, data):
    low = np.array(values, np.int64)
    high = low + np.arange(len(values)) % 5
    pyramid = Pyramid(low, high)
    start = data.draw(st.integers(0, len(values) - 1))
    end = data.draw(st.integers(start + 1, len(values)))
    assert pyramid.range_min(start, end) == low[start:end].min()
    assert pyramid.range_max(start, end) == high[start:end].max()


def test_a_crossing_far_away_is_found_through_every_level():
    values = np.full(100_000, 50, np.int32)
    values[77_777] = 10
    pyramid = Pyramid(values, values)
    assert pyramid.first_cross(0, 10, 1 << 62) == 77_777
    assert pyramid.first_cross(77_778, 10, 1 << 62) == 100_000
    assert pyramid.range_min(0, 100_000) == 10
    assert pyramid.range_min(77_778, 100_000) == 50


def test_the_index_of_a_tick_tape_stays_below_two_bytes_a_tick():
    values = np.arange(1, 100_001, dtype=np.int32)
    assert Pyramid(values, values).nbytes < 2 * len(values)

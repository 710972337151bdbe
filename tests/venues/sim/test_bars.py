from decimal import Decimal
from typing import Any

import pytest

from kernel.errors import SettingsError
from venues.sim.bar_series import BarSeries
from venues.sim.bars import BarTape

MINUTE = 60_000_000_000


def bars(*rows, bar_ns=MINUTE, path="close-rule", times=None):
    times = times or [i * bar_ns for i in range(len(rows))]
    return BarTape(times, *zip(*rows, strict=True), bar_ns=bar_ns, tick_size=Decimal(1), path=path)


def hit(point):
    return point and (point.px, point.ts_ns)


def test_a_rising_bar_visits_its_low_first_and_a_falling_bar_its_high():
    tape = bars((10, 15, 8, 12), (12, 20, 5, 9), (9, 11, 7, 9))
    assert [tape.corners(i) for i in range(3)] == [(10, 8, 15, 12), (12, 20, 5, 9), (9, 7, 11, 9)]


@pytest.mark.parametrize(
    ("path", "first"), [("low-first", (10, 8, 15, 12)), ("high-first", (10, 15, 8, 12))]
)
def test_the_convention_can_be_turned_for_all_bars(path, first):
    tape = bars((10, 15, 8, 12), (12, 20, 5, 9), path=path)
    assert tape.corners(0) == first
    assert tape.corners(1)[1] == (5 if path == "low-first" else 20)


def test_corners_lie_at_the_open_the_thirds_and_the_last_nanosecond():
    tape = bars((10, 15, 8, 12), (12, 20, 5, 9))
    assert tape.corner_times(1) == (MINUTE, 80 * 10**9, 100 * 10**9, 2 * MINUTE - 1)


def test_a_level_inside_a_bar_is_hit_at_that_level_at_the_interpolated_time():
    series = BarSeries(bars((100, 120, 90, 110)))
    assert hit(series.first_cross(-1, 95, 1000)) == (95, 10 * 10**9)
    assert hit(series.first_cross(-1, 0, 111)) == (111, 34 * 10**9)


def test_a_level_between_close_and_next_open_is_hit_at_the_open():
    """A gap pays the price after the gap, not the stop's own level."""
    series = BarSeries(bars((100, 101, 99, 100), (80, 85, 79, 84)))
    assert hit(series.first_cross(-1, 95, 1000)) == (80, MINUTE)


def test_a_bar_without_movement_has_a_price_at_each_corner():
    series = BarSeries(bars((7, 7, 7, 7)))
    seen = [hit(series.last(t)) for t in (0, 25 * 10**9, 45 * 10**9, MINUTE)]
    assert seen == [(7, 0), (7, 20 * 10**9), (7, 40 * 10**9), (7, MINUTE - 1)]


def test_missing_bars_are_holes():
    tape = bars((7, 7, 7, 7), (8, 8, 8, 8), (9, 9, 9, 9), times=[0, 3 * MINUTE, 4 * MINUTE])
    assert tape.holes == ((MINUTE, 3 * MINUTE),)


def test_every_problem_of_the_columns_is_named_at_once():
    path: Any = "sideways"
    with pytest.raises(SettingsError) as caught:
        BarTape(
            [0, 5], [10, 10], [9, 12], [9, 0], [10, 11],
            bar_ns=10, tick_size=Decimal(1), path=path,
        )
    said = str(caught.value)
    assert "sideways" in said
    assert "open_ns[1] = 5" in said
    assert "bar 0: open 10, high 9, low 9, close 10" in said
    assert "low[1] = 0" in said
    assert len(caught.value.problems) == 4


def test_columns_of_different_length_are_refused():
    with pytest.raises(SettingsError, match="must be equal"):
        BarTape([0], [1, 2], [2], [1], [1], bar_ns=10, tick_size=Decimal(1))
    with pytest.raises(SettingsError, match="must be equal"):
        BarTape([], [], [], [], [], bar_ns=10, tick_size=Decimal(1))

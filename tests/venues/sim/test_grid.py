from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import SettingsError
from kernel.model.units import text
from venues.sim.grid import NEVER_ABOVE, NEVER_BELOW, Grid

tick_sizes = st.sampled_from([Decimal(x) for x in ("0.1", "0.05", "1", "20", "0.00000025", "3E-7")])
levels = st.decimals(-10, 10**7, allow_nan=False, allow_infinity=False, places=9)


@given(tick_sizes, levels)
def test_levels_in_ticks_decide_exactly_as_the_decimals_do(tick_size, level):
    """A rounded level would fire one tick early or late, which no test of profit would notice."""
    grid = Grid(tick_size)
    for px in range(max(1, grid.floor(level) - 2), max(1, grid.floor(level) - 2) + 5):
        assert (px >= grid.ceil(level)) == (px * tick_size >= level)
        assert (px <= grid.floor(level)) == (px * tick_size <= level)


def test_a_level_between_two_ticks_is_rounded_away_from_the_price():
    grid = Grid(Decimal("0.1"))
    assert grid.bounds(Decimal("100.05"), Decimal("99.95")) == (999, 1001)
    assert grid.bounds(Decimal("100.1"), None) == (NEVER_BELOW, 1001)
    assert grid.bounds(None, Decimal(100)) == (1000, NEVER_ABOVE)


def test_prices_are_canonical_text():
    assert text(Grid(Decimal("0.10")).price(420_000)) == "42000"
    assert str(Grid(Decimal("0.10")).price(420_001)) == "42000.1"
    assert str(Grid(Decimal("1E+1")).price(3)) == "30"


@pytest.mark.parametrize("tick_size", ["0", "-0.1", "NaN", "Infinity"])
def test_a_tick_size_must_be_a_positive_number(tick_size):
    with pytest.raises(SettingsError, match="tick_size"):
        Grid(Decimal(tick_size))

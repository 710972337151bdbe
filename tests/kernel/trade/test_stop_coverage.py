"""What is known of the protection of a position."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import (
    PositionSide,
    Side,
)
from kernel.model.positions import PositionState
from kernel.model.units import SECOND
from tests.kernel.trade.owning import Owning, shown
from tests.kernel.trade.parts import fill

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


def test_a_position_is_covered_at_its_level_for_what_is_known(bench):
    position = bench.filled()
    assert not bench.coverage.covered(position), "without a level"
    assert bench.coverage.due(position)
    assert not bench.coverage.stands(position)
    position = bench.unkept() if position is None else position
    assert bench.protect(position, 2) is True
    assert bench.coverage.covered(position)
    assert bench.coverage.stands(position)
    assert not bench.coverage.due(position)
    position.apply_fill(fill("more", Side.BUY, "0.001", "42000"))
    assert not bench.coverage.covered(position)
    assert bench.coverage.due(position)


def test_a_flat_position_is_covered(bench):
    position = bench.unkept()
    position.stops.open()[0].missing = True
    assert not bench.coverage.covered(position)
    position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    assert bench.coverage.covered(position)


@pytest.mark.parametrize(
    ("qty", "late", "side", "wanted"),
    [
        ("0.008", 200, LONG, "0.008"),
        ("0.008", 50, LONG, "0.005"),
        ("0.003", 200, LONG, "0.005"),
        ("0.008", 200, SHORT, "0.005"),
    ],
)
def test_what_the_venue_newly_shows_beyond_the_executions_is_protected(
    bench, qty, late, side, wanted
):
    position = bench.filled()
    position.report = msgspec.structs.replace(shown(position, qty, late * SECOND), side=side)
    assert bench.coverage.wanted_qty(position) == D(wanted)


def test_live_stops_that_close_more_than_there_is_are_oversized(bench):
    position = bench.unkept()
    assert not bench.coverage.oversized(position)
    position.apply_fill(fill("x", Side.SELL, "0.002", "42000"))
    assert bench.coverage.oversized(position)
    (stop,) = position.stops.open()
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=True)
    assert not bench.coverage.oversized(position), "it closes what there is"
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=False)
    position.apply_fill(fill("y", Side.SELL, "0.003", "42000"))
    assert not bench.coverage.oversized(position), "flat: nothing is resized"

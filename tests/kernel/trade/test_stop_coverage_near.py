"""A stop near its level that cannot be moved to it: what is known of it, and what is done."""

from decimal import Decimal

import pytest

from kernel.model.orders import PositionSide
from kernel.model.positions import Origin, PositionState
from kernel.model.units import SECOND
from tests.kernel.trade.owning import Owning, shown

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE = PositionState.ACTIVE


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


def test_only_a_position_of_ours_without_any_stop_may_not_wait(bench):
    position = bench.unkept()
    assert not bench.coverage.may_wait(position)
    bench.coverage.stands_near(position, near=True)
    assert bench.coverage.may_wait(position)
    bench.coverage.stands_near(position, near=False)
    assert not bench.coverage.may_wait(position)
    position.stops.open()[0].missing = True
    assert bench.coverage.may_wait(position)


def test_a_persons_position_may_wait(bench):
    assert bench.coverage.may_wait(bench.filled(origin=Origin.FOREIGN))


@pytest.mark.parametrize("near", [True, False])
def test_beside_a_stop_near_its_level_nothing_is_exposed(bench, near):
    position = bench.unkept()
    position.stops.expose(bench.runtime.now())
    bench.coverage.stands_near(position, near=near)
    assert (position.stops.exposed_since_ns is None) is near


def test_a_move_in_vain_is_repeated_after_fifteen_seconds_while_the_stop_stands(bench):
    position = bench.unkept()
    assert not bench.coverage.rests(position)
    bench.coverage.stands_near(position, near=True)
    since = bench.runtime.now()
    assert bench.coverage.rests(position)
    bench.run(since + 15 * SECOND - 1)
    assert bench.coverage.rests(position)
    position.stops.open()[0].missing = True
    assert not bench.coverage.rests(position), "it is not seen any more"
    position.stops.open()[0].missing = False
    bench.run(since + 15 * SECOND)
    assert not bench.coverage.rests(position)


@pytest.mark.parametrize("how", ["forgotten", "confirmed"])
def test_what_was_near_is_so_until_it_ends_or_a_stop_is_confirmed(bench, how):
    position = bench.unkept()
    bench.coverage.stands_near(position, near=True)
    if how == "forgotten":
        bench.coverage.forget(position)
    else:
        assert bench.tighten(position) is True
    assert not bench.coverage.may_wait(position)


def test_an_attached_stop_is_shown_by_the_row_of_its_position():
    bench = Owning(venue_names=("bybit",))
    position = bench.filled(venue="bybit")
    position.report = None
    assert not bench.coverage.shows_any(position)
    position.report = shown(position)
    assert not bench.coverage.shows_any(position)
    position.report = shown(position, stop_price=D(41000))
    assert bench.coverage.shows_any(position)


def test_a_stop_that_is_an_order_is_shown_by_its_report(bench):
    position = bench.filled()
    assert not bench.coverage.shows_any(position)
    bench.doubt(position)
    assert not bench.coverage.shows_any(position)
    position.stops.open()[0].wanted = False
    assert bench.protect(position, 2) is True
    assert bench.coverage.shows_any(position)

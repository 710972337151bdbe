"""The stop owner where a stop stands near its level and no move is taken."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import PriceSource
from kernel.model.positions import PositionState
from kernel.model.units import SECOND
from kernel.model.venue import PlaceStop
from tests.kernel.trade.owning import Owning

D = Decimal
ACTIVE = PositionState.ACTIVE


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


def loose(bench, level="41000"):
    """A position at 41160 with a live stop of ours elsewhere, and no other is taken."""
    position = bench.filled(level=D(41160), state=ACTIVE)
    bench.venue.apply(
        PlaceStop(
            symbol="BTCUSDT",
            side=position.side.exit_side,
            qty=D("0.005"),
            trigger_price=D(level),
            trigger_by=PriceSource.MARK,
            client_order_id=bench.services.orders.new_id(position, Leg.STOP),
        )
    )
    bench.fails()
    return position


def test_a_stop_near_its_level_is_kept_told_and_tried_on_after_a_while(bench):
    kept: list[object] = []
    bench.stops.keep = kept.append
    position = loose(bench)
    bench.ensure(position, 12)
    assert position.state is ACTIVE
    assert bench.times("submit") == []
    assert kept == [position]
    (alert,) = bench.alerts("stop.loose")
    assert (alert.severity, alert.venue, alert.symbol) == ("ERROR", "binance", "BTCUSDT")
    tried = len(bench.times("place_stop"))
    assert tried == 4
    bench.ensure(position, 1)
    assert bench.times("place_stop") == [], "it was just tried"
    bench.run(bench.runtime.now() + 15 * SECOND)
    bench.ensure(position, 1)
    assert bench.times("place_stop") != []
    bench.run(bench.runtime.now() + 60 * SECOND)
    assert bench.alerts("position.unprotected") == []


def test_a_stop_far_from_its_level_does_not_hold_up_the_close(bench):
    position = loose(bench, "30000")
    bench.ensure(position, 20)
    assert position.state is not ACTIVE
    assert len(bench.times("submit")) == 1
    assert bench.alerts("stop.loose") == []


def test_where_it_cannot_be_read_what_stands_it_is_closed(bench):
    position = loose(bench)
    bench.at(
        bench.runtime.now() + 5 * SECOND,
        lambda: bench.fails(errors.OutcomeUnknown, "open_orders"),
    )
    bench.ensure(position, 20)
    assert len(bench.times("submit")) >= 1
    assert bench.alerts("stop.loose") == []


def test_a_row_that_is_missing_keeps_its_position_under_its_keeper(bench):
    position, _ = bench.missing()
    kept: list[object] = []
    bench.stops.keep = kept.append
    bench.ensure(position)
    assert kept == [position]


def test_after_a_stop_near_its_level_the_next_exposure_is_told_anew(bench):
    bench.stops.keep = lambda position: None
    position = loose(bench)
    alarms = bench.stops._alarms
    bench.ensure(position, 12)
    bench.coverage.stands_near(position, near=False)
    alarms.expose(position, bench.runtime.now() - 60 * SECOND)
    bench.run(bench.runtime.now() + SECOND)
    assert len(bench.alerts("position.unprotected")) == 1
    bench.ensure(position, 12)
    assert bench.coverage.rests(position), "it was found near again"
    alarms.expose(position, bench.runtime.now())
    bench.run(bench.runtime.now() + 31 * SECOND)
    assert len(bench.alerts("position.unprotected")) == 2


def test_where_no_stop_is_shown_none_is_looked_for_before_the_close(bench):
    position = bench.lost()
    bench.ensure(position)
    (sent,) = bench.times("submit")
    assert all(at > sent for at in bench.times("open_orders"))

"""The effort for a confirmed stop: what an earlier process may have placed."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import PositionSide, PriceSource
from kernel.model.positions import Origin, PositionState
from kernel.model.units import SECOND
from kernel.model.venue import PlaceStop
from tests.kernel.trade.owning import Owning

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE = PositionState.ACTIVE


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


def stored(bench, **given):
    """A position that an earlier process opened."""
    position = bench.filled(**given)
    position.stored = True
    return position


def standing(bench, position, level):
    """A live stop of it that no row tells of."""
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


def test_a_tighter_stop_that_stands_already_is_the_first_one_and_is_asked_for_once(bench):
    position = stored(bench)
    standing(bench, position, "41300")
    assert bench.protect(position, 1) is True
    assert position.row.protected_level == 41300
    assert bench.times("place_stop") == []
    assert len(bench.times("open_orders")) == 1
    bench.stops.keep = lambda position: None
    bench.ensure(position, 1)
    assert bench.times("open_orders") == [], "it is known"


def test_what_was_found_holds_although_it_is_gone_by_the_next_attempt(bench):
    position = stored(bench)
    bench.coverage.judged(position, D(41300))
    assert bench.protect(position, 1) is True
    assert [stop.trigger_price for stop in bench.venue.stops()] == [41300]


@pytest.mark.parametrize(("side", "level"), [(LONG, "41160"), (SHORT, "42840")])
@pytest.mark.parametrize("hangs", [True, False])
def test_a_first_stop_waits_a_second_for_what_stands_and_then_goes_out(bench, side, level, hangs):
    position = stored(bench, side=side)
    delay_ns = 3600 * SECOND if hangs else 0
    bench.fails(errors.OutcomeUnknown, "open_orders", delay_ns=delay_ns)
    assert bench.protect(position, 5) is True
    assert bench.times("place_stop") == [1000 if hangs else 20]
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(level)]
    assert bench.coverage.may_have_stops(position), "the next look judges it"


@pytest.mark.parametrize(
    ("given", "is_stored"),
    [
        ({"level": D(41300), "state": ACTIVE}, True),
        ({"level": D(41300), "state": ACTIVE}, False),
        ({"origin": Origin.FOREIGN}, False),
    ],
    ids=["a later stop", "a later stop that was found", "a person's first stop"],
)
def test_any_other_stop_waits_until_it_is_known_what_stands(bench, given, is_stored):
    position = bench.filled(**given)
    position.stored = is_stored
    bench.fails(errors.OutcomeUnknown, "open_orders")
    bench.ensure(position, 25)
    assert bench.times("place_stop") == []
    assert len(bench.times("open_orders")) >= 4

"""The stop owner: when it moves, repairs, closes or lets alone, and how long it waits."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import (
    OrderStatus,
    PositionSide,
    Side,
)
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.units import MS, SECOND
from kernel.trade.protective_set import StopOrder
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


# ---------------------------------------------------------------- moving


@pytest.mark.parametrize("why", ["not active", "flat", "fired", "uncovered", "looser", "the same"])
def test_what_may_not_be_moved_is_not_asked_for(bench, why):
    position = bench.unkept()
    level = {"looser": "41159", "the same": "41160"}.get(why, "41500")
    if why == "not active":
        position.transition(CLOSING, "test")
    elif why == "flat":
        position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    elif why == "fired":
        (position.stops.fired,) = position.stops.open()
    elif why == "uncovered":
        position.stops.open()[0].missing = True
    assert bench.tighten(position, level) is False
    assert bench.times("place_stop") == []


# ---------------------------------------------------------------- ensuring


@pytest.mark.parametrize("why", ["closing", "fired", "entering"])
def test_what_is_in_other_hands_is_not_ensured(bench, why):
    position = bench.unkept()
    bench.venue.end(position.stops.open()[0].client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + SECOND)
    if why == "closing":
        position.transition(CLOSING, "test")
    elif why == "fired":
        position.stops.fired = StopOrder(
            bench.services.orders.of_position(position.id)[-1], bench.runtime.now()
        )
    else:
        position.row = msgspec.structs.replace(position.row, state=PositionState.ENTRY_PLACED)
    bench.ensure(position, 2)
    assert bench.times("place_stop") == []


@pytest.mark.parametrize("state", [PositionState.PENDING_SL, ACTIVE])
def test_a_stop_that_is_gone_is_placed_again_at_its_level(bench, state):
    position = bench.filled(level=D(41300), state=state)
    bench.ensure(position, 2)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [41300]
    assert position.id in [one.id for one in bench.stops.watched("binance")]
    assert bench.stops.watched("bybit") == []


def test_what_cannot_be_protected_is_closed_after_four_attempts(bench):
    position = bench.lost()
    bench.ensure(position)
    assert len(bench.times("place_stop")) == 4
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.UNPROTECTED
    (sent,) = bench.times("submit")
    assert sent < 7_200, "no absence is to be proven"


def test_a_pending_position_that_cannot_be_protected_is_its_sagas(bench):
    position = bench.filled(level=D(41300))
    bench.fails()
    bench.ensure(position)
    assert bench.times("submit") == []


def test_a_foreign_position_is_protected_and_never_closed(bench):
    position = bench.lost(origin=Origin.FOREIGN)
    bench.ensure(position)
    assert len(bench.times("place_stop")) == 4
    assert position.state is ACTIVE
    assert bench.times("submit") == []


def test_what_the_venue_does_not_show_is_not_closed(bench):
    position = bench.lost()
    bench.venue.held.clear()
    bench.ensure(position)
    assert bench.times("submit") == []
    assert position.state is ACTIVE


def test_a_position_that_cannot_be_read_is_closed(bench):
    position = bench.lost()
    bench.fails(errors.OutcomeUnknown, "positions", times=1)
    bench.ensure(position, 30)
    assert len(bench.times("submit")) >= 1


@pytest.mark.parametrize("meanwhile", ["flat", "covered", "fired", "closing"])
def test_what_came_right_meanwhile_is_not_closed(bench, meanwhile):
    position = bench.lost()
    (order,) = [
        one for one in bench.services.orders.of_position(position.id) if one.row.reduce_only
    ]

    def change():
        if meanwhile == "flat":
            position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
        elif meanwhile == "covered":
            bench.stops.covered = lambda position: True
        elif meanwhile == "fired":
            position.stops.fired = StopOrder(order, bench.runtime.now())
        else:
            position.transition(CLOSING, "test")

    bench.at(bench.runtime.now() + 6900 * MS, change)
    bench.ensure(position)
    assert bench.times("submit") == []


def test_a_row_that_is_missing_closes_nothing_and_is_told(bench):
    position, _ = bench.missing()
    bench.ensure(position)
    assert position.state is ACTIVE
    assert bench.times("submit") == []
    (alert,) = bench.alerts("stop.not_seen")
    assert (alert.severity, alert.symbol) == ("CRITICAL", "BTCUSDT")


def test_a_row_that_is_proven_missing_closes(bench):
    position, _ = bench.missing()
    bench.venue.orders.clear()
    bench.ensure(position, 80)
    assert position.state is PositionState.CLOSED
    assert bench.alerts("stop.not_seen") == []


# ---------------------------------------------------------------- the effort


def test_what_ended_before_it_had_a_level_is_not_closed_again(bench):
    position = bench.filled(state=ACTIVE)
    bench.fails()
    closing = fill("x", Side.SELL, "0.005", "42000")
    bench.at(bench.runtime.now() + 6900 * MS, lambda: position.apply_fill(closing))
    bench.ensure(position, 40)
    assert bench.times("positions") == []
    assert position.state is ACTIVE, "its keeper or a sync ends it"


def test_where_another_stop_covers_at_the_deadline_no_absence_is_proven(bench):
    position, stop = bench.missing()
    bench.venue.rules.clear()
    bench.fails(errors.OutcomeUnknown, delay_ns=3600 * SECOND)
    bench.fails(errors.OutcomeUnknown, "query_order", delay_ns=3600 * SECOND)

    def cover():
        another = bench.doubt(position, "41160")
        another.order.report = stop.order.report

    bench.at(bench.runtime.now() + 28_990 * MS, cover)
    bench.ensure(position, 40)
    assert len(bench.kinds("stop.deadline")) == 1
    assert bench.times("open_orders") == []
    assert bench.alerts("stop.not_seen") == []
    assert position.state is ACTIVE


def test_the_owner_answers_what_is_known(bench):
    position = bench.filled()
    assert bench.stops.due(position)
    assert not bench.stops.stands(position)
    assert bench.protect(position, 2) is True
    assert bench.stops.stands(position)
    assert not bench.stops.due(position)
    assert not bench.stops.oversized(position)
    position.apply_fill(fill("x", Side.SELL, "0.002", "42000"))
    assert bench.stops.oversized(position)


@pytest.mark.parametrize("meanwhile", ["covered", "closing"])
def test_what_came_right_while_its_absence_was_proven_is_not_closed(bench, meanwhile):
    position, stop = bench.missing()
    bench.venue.orders.clear()
    closed: list[object] = []

    async def close(*given):
        closed.append(given)

    def change():
        bench.exits.close = close
        if meanwhile == "covered":
            stop.missing = False
        else:
            bench.exits.in_progress = lambda position: True

    bench.at(bench.runtime.now() + 20 * SECOND, change)
    bench.ensure(position, 80)
    assert closed == []
    assert bench.alerts("stop.not_seen") == []


def test_whether_it_is_being_closed_is_what_the_exits_say(bench):
    position = bench.unkept()
    assert not bench.stops.closing(position)
    bench.fails(kind="submit", delay_ns=3600 * SECOND)
    bench.result(bench.exits.close(position, CloseReason.OPERATOR, "test"), 1)
    assert bench.stops.closing(position)


# ---------------------------------------------------------------- reports


@pytest.fixture
def attached():
    made = Owning(venue_names=("bybit",))
    yield made
    assert made.crashes == []


def test_the_order_of_an_attached_stop_is_known_from_its_report(attached):
    position = attached.unkept(venue="bybit")
    (stop,) = position.stops.open()
    assert stop.attached
    assert stop.order.row.venue_order_id == attached.venue.held["BTCUSDT"].stop_id


@pytest.mark.parametrize("asked", ["on_position", "settle"])
def test_a_row_without_the_attached_stop_exposes_its_position(attached, asked):
    position = attached.unkept(venue="bybit")
    position.report = shown(position, at=200 * SECOND)
    getattr(attached.stops, asked)(position)
    assert position.stops.exposed_since_ns == attached.runtime.now()
    assert not attached.stops.covered(position)


@pytest.mark.parametrize("asked", ["on_position", "settle"])
def test_a_row_says_nothing_of_stops_that_are_orders_of_their_own(bench, asked):
    position = bench.unkept()
    position.report = shown(position, at=200 * SECOND)
    getattr(bench.stops, asked)(position)
    assert position.stops.exposed_since_ns is None
    assert bench.stops.covered(position)


@pytest.mark.parametrize("wanted", [True, False])
def test_the_end_of_an_attached_stop_exposes_where_it_was_wanted(attached, wanted):
    position = attached.unkept(venue="bybit")
    (stop,) = position.stops.open()
    stop.wanted = wanted
    attached.services.orders.conclude(stop.order, OrderStatus.CANCELED, "test")
    attached.stops.settle(position)
    assert (position.stops.exposed_since_ns is not None) is wanted


def test_the_end_of_one_stop_of_two_that_each_cover_exposes_nothing(bench):
    position = bench.unkept()
    (stop,) = position.stops.open()
    another = bench.doubt(position, "41160")
    another.order.report = stop.order.report
    bench.services.orders.conclude(stop.order, OrderStatus.CANCELED, "test")
    bench.stops.settle(position)
    assert position.stops.open() == [another]
    assert position.stops.exposed_since_ns is None


def test_before_its_first_stop_a_report_exposes_nothing(bench):
    """The effort for it does, from the fill on."""
    position = bench.filled()
    bench.stops.settle(position)
    assert position.stops.exposed_since_ns is None

"""The stop owner: its levels, what it knows of a position, and what it tells."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import (
    OrderStatus,
    PositionSide,
    Side,
)
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from tests.kernel.trade.owning import Owning
from tests.kernel.trade.parts import fill

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- levels


# ---------------------------------------------------------------- predicates


# ---------------------------------------------------------------- keeping and telling


def test_who_is_kept_and_who_is_released_is_told(bench):
    told = []
    bench.stops.on_kept = lambda position: told.append(("kept", position.id))
    bench.stops.on_released = lambda position: told.append(("released", position.id))
    position = bench.filled()
    assert bench.protect(position, 2) is True
    assert bench.stops.kept.is_set
    bench.stops.keep(position)
    assert told == [("kept", position.id)], "once"
    bench.stops.adopted(position)
    assert told[1:] == [("kept", position.id)]
    position.transition(ACTIVE, "test")
    bench.result(bench.exits.close(position, CloseReason.OPERATOR, "test"), 20)
    assert told[-1] == ("released", position.id)
    assert bench.stops.watched("binance") == []


def test_a_surplus_stop_is_put_aside_once(bench):
    position = bench.unkept()
    client = bench.services.orders.new_id(position, Leg.STOP)
    (stop,) = bench.venue.stops()
    report = msgspec.structs.replace(stop, client_order_id=client, venue_order_id="999")
    position.changed.clear()
    bench.stops.put_aside(position, stop)
    assert position.stops.to_cancel() == []
    assert not position.changed.is_set
    bench.stops.put_aside(position, report)
    assert [one.client_order_id for one in position.stops.to_cancel()] == [client]
    assert position.changed.is_set
    assert bench.stops.covered(position)


def test_a_stop_that_was_known_and_is_put_aside_wakes_its_keeper(bench):
    position = bench.unkept()
    stop = bench.doubt(position)
    position.stops.forget(stop)
    (live,) = bench.venue.stops()
    report = msgspec.structs.replace(live, client_order_id=stop.client_order_id)
    position.changed.clear()
    bench.stops.put_aside(position, report)
    assert position.changed.is_set
    assert not position.stops.to_cancel()[0].wanted


def test_of_a_position_that_ended_nothing_is_kept_and_no_alarm_is_told(bench):
    position = bench.filled()
    assert bench.protect(position, 2) is True
    assert bench.coverage.first.known(position)
    bench.stops._alarms.expose(position, bench.runtime.now())
    position.transition(PositionState.ROLLBACK, "test")
    position.transition(PositionState.ROLLED_BACK, "test")
    bench.run(bench.runtime.now() + 3600 * SECOND)
    assert bench.stops.watched("binance") == []
    assert not bench.coverage.first.known(position)
    assert bench.coverage.may_have_stops(position), "what is known of its stops is forgotten"
    assert bench.alerts("position.unprotected") == []


def test_the_end_of_each_stop_is_said(bench):
    position = bench.unkept()
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + SECOND)
    (said,) = bench.kinds("stop.ended")
    assert (said.cause, said.client_order_id) == ("expired", stop.client_order_id)
    assert said.values["wanted"] == "True"
    assert position.stops.exposed_since_ns is not None


@pytest.mark.parametrize(
    ("missing", "status", "lied"),
    [
        (True, OrderStatus.CANCELED, True),
        (True, OrderStatus.EXPIRED, False),
        (False, OrderStatus.CANCELED, False),
    ],
)
def test_a_cancel_that_finds_a_missing_stop_alive_proves_that_the_list_lied(
    bench, missing, status, lied
):
    position = bench.unkept()
    (stop,) = position.stops.open()
    stop.missing = missing
    bench.venue.end(stop.client_order_id, status)
    bench.run(bench.runtime.now() + SECOND)
    assert (position.stops.list_lied_ns is not None) is lied


# ---------------------------------------------------------------- tidying


def settling(bench):
    """Whoever is settled stays in doubt."""

    async def settle(order):
        bench.settled.append(order)

    bench.settle = settle


def test_what_was_never_seen_is_settled_after_fifteen_seconds_once(bench):
    position = bench.unkept()
    settling(bench)
    stop = bench.doubt(position, venue_order_id="")
    bench.run(stop.sent_ns + 14_900 * MS)
    bench.result(bench.stops.tidy(position), 0.05)
    assert bench.settled == []
    bench.run(stop.sent_ns + 15 * SECOND)
    bench.result(bench.stops.tidy(position), 1)
    bench.result(bench.stops.tidy(position), 1)
    assert bench.settled == [stop.order]


@pytest.mark.parametrize("seen", ["report", "execution"])
def test_what_was_seen_is_not_settled(bench, seen):
    position = bench.unkept()
    settling(bench)
    stop = bench.doubt(position)
    if seen == "report":
        stop.missing = True
        (live,) = bench.venue.stops()
        stop.order.report = live
    else:
        stop.order.fills["x"] = fill("x", Side.SELL, "0.001", "42000")
    bench.run(bench.runtime.now() + 20 * SECOND)
    bench.result(bench.stops.tidy(position), 1)
    assert bench.settled == []


def test_tidying_looks_up_the_doubtful_and_cancels_the_unwanted(bench):
    position = bench.unkept()
    bench.result(bench.stops.tidy(position), 1)
    assert bench.times("query_order") == []
    stop = bench.doubt(position)
    (live, _) = position.stops.open()
    live.wanted = False
    bench.result(bench.stops.tidy(position), 1)
    assert len(bench.times("query_order")) == 1
    assert len(bench.times("cancel")) == 1
    assert position.stops.open() == [stop]


def test_a_look_without_value_puts_the_cancels_off(bench):
    position = bench.unkept()
    bench.doubt(position)
    position.stops.open()[0].wanted = False
    bench.fails(errors.OutcomeUnknown, "query_order")
    bench.result(bench.stops.tidy(position), 6)
    assert bench.times("cancel") == []


def test_where_nothing_is_doubtful_a_position_is_not_read():
    bench = Owning(venue_names=("bybit",))
    position = bench.unkept(venue="bybit")
    bench.result(bench.stops.tidy(position), 1)
    assert bench.times("positions") == []


def test_a_stop_is_settled_from_the_fifteenth_second_on(bench):
    position = bench.unkept()
    settling(bench)
    stop = bench.doubt(position, venue_order_id="")
    bench.venue.latency_ns = 0
    bench.run(stop.sent_ns + 15 * SECOND - 1)
    bench.result(bench.stops.tidy(position), 0)
    assert bench.settled == []
    bench.run(stop.sent_ns + 15 * SECOND)
    bench.result(bench.stops.tidy(position), 0)
    assert bench.settled == [stop.order]

"""The stop owner: its levels, what it knows of a position, and what it tells."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import (
    OrderClass,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    Side,
)
from kernel.model.positions import CloseReason, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND, TsNs
from kernel.trade.protective_set import StopOrder
from tests.kernel.fakes import WALL
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


def shown(position, qty="0.005", at=0, **changes):
    return PositionReport(
        symbol="BTCUSDT", side=position.side, qty=D(qty), updated_ns=TsNs(WALL + at), **changes
    )


# ---------------------------------------------------------------- levels


def test_a_level_beyond_the_liquidation_price_is_moved_inside(bench):
    position = bench.filled()
    position.hear(shown(position, liquidation_price=D(41500)))
    assert bench.protect(position) is True
    (said,) = bench.kinds("stop.liquidation")
    assert said.values["level"] == "41160"
    (stop,) = bench.venue.stops()
    assert stop.trigger_price > 41500
    assert str(stop.trigger_price) == said.values["inside"]
    assert bench.stops.stands(position)


def test_the_liquidation_price_of_the_other_side_bounds_nothing(bench):
    position = bench.filled()
    position.report = msgspec.structs.replace(
        shown(position, liquidation_price=D(41500)), side=SHORT
    )
    assert bench.protect(position) is True
    assert bench.kinds("stop.liquidation") == []


def test_a_market_between_the_level_and_liquidation_means_close(bench):
    position = bench.filled()
    position.hear(shown(position, liquidation_price=D(41900)))
    bench.price("41910")
    assert bench.protect(position) is False
    assert position.row.close_reason == CloseReason.ALREADY_THROUGH
    assert bench.times("place_stop") == []


def doubt(bench, position, level="41400", **changes):
    """A stop that the venue took and nobody saw."""
    fields = {
        "venue": "binance",
        "client_order_id": bench.services.orders.new_id(position, Leg.STOP),
        "symbol": "BTCUSDT", "position_id": position.id, "order_class": OrderClass.CONDITIONAL,
        "order_type": OrderType.STOP_MARKET, "side": Side.SELL, "qty": D("0.005"),
        "reduce_only": True, "trigger_price": D(level), "venue_order_id": "taken",
    }  # fmt: skip
    order = bench.services.orders.register(OrderRow(**(fields | changes)))
    return position.stops.add(StopOrder(order, bench.runtime.now()))


@pytest.mark.parametrize(
    ("changes", "wanted", "level"),
    [
        ({}, True, "41400"),
        ({}, False, "41160"),
        ({"venue_order_id": ""}, True, "41160"),
        ({"trigger_price": D(42100)}, True, "41160"),
        ({"trigger_price": D(41000)}, True, "41160"),
    ],
    ids=["taken", "unwanted", "never taken", "through", "looser"],
)
def test_nothing_is_placed_behind_a_tighter_stop_that_the_venue_took(bench, changes, wanted, level):
    position = bench.filled()
    doubt(bench, position, **changes).wanted = wanted
    bench.result(bench.stops.protect(position), 10)
    placed = [str(request.trigger_price) for _, request in bench.venue.requests("place_stop")]
    assert placed[0] == level


# ---------------------------------------------------------------- predicates


def test_a_position_is_covered_at_its_level_for_what_is_known(bench):
    position = bench.filled()
    assert not bench.stops.covered(position), "without a level"
    assert bench.stops.due(position)
    assert not bench.stops.stands(position)
    position = bench.unkept() if position is None else position
    assert bench.protect(position, 2) is True
    assert bench.stops.covered(position)
    assert bench.stops.stands(position)
    assert not bench.stops.due(position)
    position.apply_fill(fill("more", Side.BUY, "0.001", "42000"))
    assert not bench.stops.covered(position)
    assert bench.stops.due(position)


def test_a_flat_position_is_covered(bench):
    position = bench.unkept()
    position.stops.open()[0].missing = True
    assert not bench.stops.covered(position)
    position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    assert bench.stops.covered(position)


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
    assert bench.stops.wanted_qty(position) == D(wanted)


def test_live_stops_that_close_more_than_there_is_are_oversized(bench):
    position = bench.unkept()
    assert not bench.stops.oversized(position)
    position.apply_fill(fill("x", Side.SELL, "0.002", "42000"))
    assert bench.stops.oversized(position)
    (stop,) = position.stops.open()
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=True)
    assert not bench.stops.oversized(position), "it closes what there is"
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=False)
    position.apply_fill(fill("y", Side.SELL, "0.003", "42000"))
    assert not bench.stops.oversized(position), "flat: nothing is resized"


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


def test_a_gap_that_is_longer_than_allowed_is_told(bench):
    position = bench.unkept()
    (stop,) = bench.venue.stops()
    limit = bench.settings.trailing_alert_if_unprotected_window_ms
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + 10 * MS)
    lost_ns = position.stops.exposed_since_ns
    bench.run(lost_ns + (limit - 40) * MS)
    bench.ensure(position, 1)
    assert bench.alerts("stop.gap") == []
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.run(bench.runtime.now() + 10 * MS)
    bench.run(position.stops.exposed_since_ns + (limit - 39) * MS)
    bench.ensure(position, 1)
    (alert,) = bench.alerts("stop.gap")
    assert alert.severity == "WARNING"
    assert str(limit + 1) in alert.text


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
    stop = doubt(bench, position, venue_order_id="")
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
    stop = doubt(bench, position)
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
    stop = doubt(bench, position)
    (live, _) = position.stops.open()
    live.wanted = False
    bench.result(bench.stops.tidy(position), 1)
    assert len(bench.times("query_order")) == 1
    assert len(bench.times("cancel")) == 1
    assert position.stops.open() == [stop]


def test_a_look_without_value_puts_the_cancels_off(bench):
    position = bench.unkept()
    doubt(bench, position)
    position.stops.open()[0].wanted = False
    bench.fails(errors.OutcomeUnknown, "query_order")
    bench.result(bench.stops.tidy(position), 6)
    assert bench.times("cancel") == []

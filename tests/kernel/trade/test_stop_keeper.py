"""The keeper: what it does at once, what it waits for, and how long."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType, PositionSide, Side
from kernel.model.positions import CloseReason, Origin, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND
from kernel.trade.protective_set import StopOrder
from tests.kernel.fakes import Bench, Rule
from tests.kernel.trade.parts import fill

D = Decimal
ACTIVE, CLOSED = PositionState.ACTIVE, PositionState.CLOSED


class Keeping(Bench):
    """A bench with one kept position, and what was asked since a moment."""

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.position = self.protected()
        self.mark()

    def mark(self):
        self.began = self.runtime.now()

    def after(self, seconds):
        """Until so long after the mark."""
        self.run(self.began + int(seconds * SECOND))

    def times(self, kind):
        return [(at - self.began) // MS for at, _ in self.venue.requests(kind) if at >= self.began]

    def fails(self, kind, error=errors.Rejected, **how):
        self.venue.rules.append(Rule(kind, error, "-1", **how))

    def trigger(self, fills=True):
        """The stop triggers; its child fills, or not."""
        self.venue.trigger_fills = fills
        (stop,) = self.venue.stops()
        self.venue.trigger(stop.client_order_id)
        return stop.client_order_id

    def order_of_stop(self):
        (stop,) = [
            one for one in self.services.orders.of_position(self.position.id)
            if one.row.order_class is OrderClass.CONDITIONAL
        ]  # fmt: skip
        return stop


@pytest.fixture
def bench():
    made = Keeping()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- who is kept


def test_a_position_is_kept_once_until_it_ends(bench):
    told: list[Any] = []
    bench.stops.on_kept = told.append
    bench.stops.keep(bench.position)
    assert told == []
    assert bench.stops.watched("binance") == [bench.position]
    assert bench.stops.watched("bybit") == []
    bench.trigger()
    bench.after(5)
    assert bench.stops.watched("binance") == []
    assert bench.watches == []


def test_two_positions_are_kept_each_by_its_own_keeper():
    bench = Keeping(venue_names=("binance", "bybit"))
    other = bench.protected(venue="bybit")
    assert bench.stops.watched("binance") == [bench.position]
    assert bench.stops.watched("bybit") == [other]


# ---------------------------------------------------------------- flat by executions


@pytest.mark.parametrize(
    ("by_stop", "reason"), [(True, CloseReason.STOP_LOSS), (False, CloseReason.EXTERNAL)]
)
def test_what_executions_closed_is_ended_at_once_with_its_reason(bench, by_stop, reason):
    if by_stop:
        bench.trigger()
    else:
        held = bench.venue.held.pop("BTCUSDT")
        by_hand = fill("x", Side.SELL, str(held.qty), "42000", venue_order_id="hand")
        bench.venue.fills.append(by_hand)
        bench.services.orders.on_fill("binance", by_hand)
    bench.after(2)
    assert bench.position.state is CLOSED
    assert bench.position.row.close_reason == reason
    assert bench.times("submit") == []


# ---------------------------------------------------------------- triggered


def test_a_trigger_is_said_and_its_executions_are_read_twice_a_second(bench):
    client = bench.trigger(fills=False)
    bench.after(2.9)
    (said,) = bench.kinds("stop.triggered")
    assert (said.client_order_id, said.cause) == (client, "triggered")
    reads = bench.times("executions")
    assert reads[0] == 510
    assert {later - earlier for earlier, later in pairwise(reads)} == {540}  # det-ok: a test


def test_a_trigger_that_is_seen_by_a_read_alone_ends_the_position(bench):
    bench.venue.silent = True
    bench.trigger()
    order = bench.order_of_stop()
    placed = bench.venue.orders[order.client_order_id]
    bench.services.orders.on_report("binance", placed.report)
    bench.after(3)
    assert bench.position.state is CLOSED
    assert bench.times("submit") == []


@pytest.mark.parametrize(("price", "closed"), [("41100", True), ("42000", False)])
def test_what_a_trigger_left_is_closed_where_the_market_is_through_else_protected(
    bench, price, closed
):
    client = bench.trigger(fills=False)
    bench.venue.orders[client].live = False
    bench.prices.push("BTCUSDT", price)
    bench.after(30)
    limit = bench.settings.stop_fill_timeout_seconds * 1000
    if closed:
        assert bench.position.state is CLOSED
        assert limit <= bench.times("submit")[0] <= limit + 100
        assert bench.position.row.close_reason == CloseReason.STOP_LOSS
    else:
        assert bench.position.state is ACTIVE
        assert limit <= bench.times("place_stop")[0] <= limit + 100
        assert bench.times("submit") == []


def test_without_a_price_what_a_trigger_left_is_closed(bench):
    bench.trigger(fills=False)
    bench.prices.ticks.clear()
    bench.fails("positions", errors.OutcomeUnknown, times=1)
    bench.after(5)
    assert len(bench.times("submit")) == 1


@pytest.mark.parametrize(
    "status", [OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.CANCELED]
)
@pytest.mark.parametrize("whose", ["stop", "child"])
def test_a_trigger_that_can_fill_no_further_is_not_waited_for(bench, status, whose):
    client = bench.trigger(fills=False)
    placed = bench.venue.orders[client]
    if whose == "stop":
        bench.at(bench.began + 100 * MS, lambda: bench.venue.end(client, status))
    else:
        child = placed.report
        ended = msgspec.structs.replace(
            child, order_class=OrderClass.PLAIN, venue_order_id=child.child_order_id,
            child_order_id="", client_order_id="x", status=status,
        )  # fmt: skip
        bench.at(bench.began + 100 * MS, lambda: bench.venue._say(ended))
    bench.after(2)
    assert len(bench.times("place_stop")) == 1
    assert bench.times("place_stop")[0] < 300


def test_a_read_without_value_is_no_end_of_a_short_trigger(bench):
    client = bench.trigger(fills=False)
    bench.fails("executions", errors.OutcomeUnknown)
    bench.venue.end(client, OrderStatus.CANCELED)
    bench.after(2.9)
    assert bench.times("place_stop") == []
    bench.after(3.5)
    assert len(bench.times("place_stop")) == 1


def rested(bench):
    bench.venue.rests = (OrderType.LIMIT,)
    bench.spawn(bench.exits.resting.place(bench.position, D(43000), "test"))
    bench.run(bench.runtime.now() + SECOND)
    bench.mark()
    return bench.exits.resting.of(bench.position)


def test_a_resting_exit_is_withdrawn_beside_a_trigger(bench):
    order = rested(bench)
    bench.trigger(fills=False)
    bench.after(0.2)
    assert order.terminal
    assert [one.cause for one in bench.kinds("exit.withdrawn")] == ["the stop was triggered"]


def test_where_stop_and_resting_exit_refused_each_other_it_is_read_and_closed(bench):
    rested(bench)
    client = bench.trigger(fills=False)
    bench.at(bench.began + 50 * MS, lambda: bench.venue.end(client, OrderStatus.REJECTED))
    bench.after(3)
    assert bench.position.state is CLOSED
    assert bench.times("open_orders")[0] < bench.times("submit")[0] < 500


def test_an_exit_that_rests_beside_a_stop_that_merely_does_not_fill_refused_nothing(bench):
    rested(bench)
    client = bench.trigger(fills=False)
    bench.venue.orders[client].live = False
    bench.after(4)
    assert bench.position.state is ACTIVE
    assert len(bench.times("place_stop")) == 1


# ---------------------------------------------------------------- protected again


def test_a_stop_that_is_lost_is_placed_again_at_once(bench):
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.after(1)
    assert bench.times("place_stop") == [10]


def test_an_effort_that_could_neither_protect_nor_close_is_repeated_after_five_seconds():
    bench = Keeping()
    foreign = bench.position
    foreign.update(origin=Origin.FOREIGN)
    bench.fails("place_stop")
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.after(40)
    times = bench.times("place_stop")
    assert [round((b - a) / 1000) for a, b in pairwise(times)][:7] == [1, 2, 4, 5, 1, 2, 4]
    assert bench.times("submit") == []


def test_live_stops_that_close_too_much_are_resized_once(bench):
    bench.services.orders.on_fill(
        "binance", fill("x", Side.SELL, "0.002", "42000", venue_order_id="hand")
    )
    bench.venue.held["BTCUSDT"].qty = D("0.003")
    bench.after(5)
    assert [str(one.qty) for one in bench.venue.stops()] == ["0.003"]
    assert bench.times("place_stop") == [0]


def test_a_resize_that_fails_is_not_tried_for_ever(bench):
    bench.fails("place_stop")
    bench.services.orders.on_fill(
        "binance", fill("x", Side.SELL, "0.002", "42000", venue_order_id="hand")
    )
    bench.venue.held["BTCUSDT"].qty = D("0.003")
    bench.after(60)
    assert len(bench.times("place_stop")) == 4
    assert bench.position.state is ACTIVE, "the larger stop covers it"


def test_while_it_is_being_closed_the_keeper_keeps_out(bench):
    bench.fails("submit")
    bench.spawn(bench.exits.close(bench.position, CloseReason.OPERATOR, "test"))
    bench.after(0.5)
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.after(5)
    assert bench.times("place_stop") == []


# ---------------------------------------------------------------- passed over


def through(bench, price="41160"):
    """The feed and the venue are at the level and the stop does not trigger."""
    bench.venue.price = lambda symbol, price: None
    bench.price(price)


def test_a_stop_that_is_passed_over_is_noticed_after_its_time(bench):
    through(bench)
    limit = bench.settings.stop_fill_timeout_seconds
    bench.after(limit - 0.01)
    assert bench.times("positions") == []
    bench.after(limit + 1)
    assert bench.times("submit")[0] == limit * 1000 + 80, "after two reads"
    assert bench.position.state is CLOSED
    assert bench.position.row.close_reason == CloseReason.STOP_LOSS


def test_a_market_that_comes_back_leaves_it_alone(bench):
    through(bench)
    bench.price("41200")
    bench.after(10)
    assert bench.times("submit") == []
    assert len(bench.times("positions")) == 1
    assert bench.position.state is ACTIVE


# ---------------------------------------------------------------- doubts


def doubt(bench):
    position = bench.position
    row = OrderRow(
        venue="binance", client_order_id=bench.services.orders.new_id(position, Leg.STOP),
        symbol="BTCUSDT", position_id=position.id, order_class=OrderClass.CONDITIONAL,
        order_type=OrderType.STOP_MARKET, side=position.side.exit_side, qty=D("0.005"),
        reduce_only=True, trigger_price=D(41000), venue_order_id="taken",
    )  # fmt: skip
    stop = position.stops.add(StopOrder(bench.services.orders.register(row), bench.runtime.now()))
    position.changed.set()
    return stop


def test_what_is_doubtful_is_probed_with_growing_pauses_whatever_wakes_the_keeper(bench):
    async def settle(order):
        bench.settled.append(order)

    bench.settle = settle
    doubt(bench)
    for second in range(1, 150):
        bench.at(bench.began + second * SECOND - 500 * MS, bench.position.changed.set)
    bench.after(200)
    looks = [round(at / 1000) for at in bench.times("query_order")]
    apart = [later - earlier for earlier, later in pairwise([0, *looks])]
    assert apart == [1, 2, 5, 15, 60, 60]


def test_a_doubt_that_is_settled_begins_with_the_first_pause_again(bench):
    stop = doubt(bench)
    bench.after(4)
    assert len(bench.times("query_order")) == 2
    bench.services.orders.conclude(stop.order, OrderStatus.CANCELED, "test")
    bench.position.changed.set()
    bench.after(5)
    bench.mark()
    doubt(bench)
    bench.after(1.5)
    assert bench.times("query_order") == [1000]


def test_a_short_is_kept_like_a_long():
    other = Bench().protection()
    position = other.protected(side=PositionSide.SHORT)
    (stop,) = other.venue.stops()
    other.venue.trigger(stop.client_order_id)
    other.run(other.runtime.now() + 5 * SECOND)
    assert position.state is CLOSED
    assert position.row.close_reason == CloseReason.STOP_LOSS

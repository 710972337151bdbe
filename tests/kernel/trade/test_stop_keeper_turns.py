"""The keeper: whose turn it is, and which of two moments comes first."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, Side
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from tests.kernel.fakes import Rule
from tests.kernel.trade.owning import Owning
from tests.kernel.trade.parts import fill, order_row

D = Decimal
ACTIVE = PositionState.ACTIVE


class Turns(Owning):
    """A bench that keeps a position from a moment on."""

    def begin(self, position):
        """Its real keeper starts now."""
        self.stops.__dict__.pop("keep", None)
        self.began = self.runtime.now()
        self.stops.keep(position)

    def after(self, seconds):
        self.run(self.began + int(seconds * SECOND))

    def unproven(self):
        """Whoever is settled stays in doubt."""

        async def settle(order):
            self.settled.append(order)

        self.settle = settle  # type: ignore[method-assign]
        self.fails(kind="query_order")


@pytest.fixture
def bench():
    made = Turns()
    yield made
    assert made.crashes == []


def test_what_is_doubtful_from_the_start_is_looked_up_after_a_second(bench):
    position = bench.unkept()
    bench.unproven()
    bench.doubt(position)
    bench.begin(position)
    bench.after(2.9)
    assert bench.times("query_order") == [1000]


def test_a_position_that_its_saga_has_in_hand_is_not_acted_on(bench):
    position = bench.filled()
    assert bench.protect(position, 2) is True
    assert position.state is PositionState.PENDING_SL
    bench.began = bench.runtime.now()
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.after(10)
    assert bench.times("place_stop") == []
    position.transition(ACTIVE, "test")
    bench.after(11)
    assert len(bench.times("place_stop")) == 1


def test_a_position_whose_end_is_being_proven_is_not_acted_on(bench):
    position = bench.unkept()
    bench.begin(position)
    bench.exits.in_progress = lambda position: True
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.EXPIRED)
    bench.after(10)
    assert bench.times("place_stop") == []


def test_a_look_at_the_level_that_is_due_while_it_is_closed_is_not_taken(bench):
    position = bench.unkept()
    bench.begin(position)
    bench.run(bench.began + 10 * MS)
    bench.venue.price = lambda symbol, price: None
    bench.price("41160")
    bench.venue.rules.append(Rule("submit", delay_ns=20 * SECOND, times=1))
    bench.spawn(bench.exits.close(position, CloseReason.OPERATOR, "test"))
    bench.after(15)
    assert bench.exits.in_progress(position)
    bench.after(60)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.OPERATOR


def at_the_level(bench):
    bench.venue.price = lambda symbol, price: None
    bench.price("41160")


def test_a_doubt_that_is_due_before_the_level_is_looked_up_first(bench):
    position = bench.unkept()
    bench.unproven()
    bench.doubt(position)
    bench.begin(position)
    bench.run(bench.began + 10 * MS)
    at_the_level(bench)
    bench.after(3.5)
    assert bench.times("query_order")[0] == 1000
    assert bench.times("positions")[0] >= 3000


def test_a_doubt_that_is_due_after_the_level_waits_for_its_time(bench):
    position = bench.unkept()
    bench.unproven()
    bench.begin(position)
    bench.run(bench.began + 10 * MS)
    at_the_level(bench)
    bench.after(2.5)
    bench.price("42000")
    bench.doubt(position)
    position.changed.set()
    bench.after(4)
    assert bench.times("positions") != []
    assert bench.times("query_order") == [3500]


def test_what_an_order_of_ours_closed_outside_of_a_close_ended_by_other_hands(bench):
    position = bench.unkept()
    bench.begin(position)
    order = bench.services.orders.register(
        order_row(
            bench.services.orders.new_id(position, Leg.EXIT),
            position.id,
            side=Side.SELL,
            reduce_only=True,
            order_class=OrderClass.PLAIN,
        )
    )
    del bench.venue.held["BTCUSDT"]
    bench.services.orders.on_fill(
        "binance",
        fill("x", Side.SELL, "0.005", "42000", client_order_id=order.client_order_id),
    )
    bench.services.orders.conclude(order, OrderStatus.FILLED, "filled")
    bench.after(20)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.EXTERNAL


# ---------------------------------------------------------------- after a trigger


@pytest.fixture
def attached():
    made = Turns(venue_names=("bybit",))
    yield made
    assert made.crashes == []


def test_an_attached_stop_that_triggered_without_effect_is_set_again(attached):
    """The row that still shows it is from before."""
    position = attached.unkept(venue="bybit")
    attached.begin(position)
    attached.venue._say_attached("BTCUSDT", OrderStatus.TRIGGERED)
    attached.after(5)
    limit = attached.settings.stop_fill_timeout_seconds * 1000
    (again,) = attached.times("position_stop")
    assert limit <= again <= limit + 100
    causes = [one.cause for one in attached.kinds("stop.confirmed")]
    assert causes[-1] == "a triggered stop left quantity"


def test_a_trigger_beside_a_stop_that_covers_all_exposes_nothing(bench):
    position = bench.unkept()
    (stop,) = position.stops.open()
    another = bench.doubt(position, "41160")
    another.order.report = msgspec.structs.replace(
        stop.order.report, client_order_id=another.client_order_id, close_position=True
    )
    confirmed_ns = position.stops.confirmed_ns
    bench.begin(position)
    bench.venue.trigger_fills = False
    bench.venue.trigger(stop.client_order_id)
    bench.after(5)
    assert position.stops.live() == [another]
    assert position.stops.confirmed_ns == confirmed_ns
    assert bench.times("place_stop") == bench.times("submit") == []

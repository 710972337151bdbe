"""After flat not one order of ours stays on the symbol."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, Side
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND
from kernel.trade.leftovers import Leftovers
from kernel.trade.protective_set import StopOrder
from tests.kernel.fake_venue import Placed
from tests.kernel.fakes import Bench, Rule

D = Decimal
PLAIN, CONDITIONAL, ATTACHED = OrderClass.PLAIN, OrderClass.CONDITIONAL, OrderClass.ATTACHED


@pytest.fixture
def bench():
    made = Bench().protection()
    made.venue.silent = True
    made.run(100 * SECOND)
    made.leftovers = Leftovers(made.services)
    yield made
    assert made.crashes == []


def order(bench, position, order_class=CONDITIONAL, *, seen=True, client="", **changes):
    orders = bench.services.orders
    client = client or orders.new_id(position, Leg.STOP)
    fields = {
        "venue": "binance", "client_order_id": client, "symbol": "BTCUSDT",
        "position_id": position.id, "order_class": order_class,
        "order_type": OrderType.STOP_MARKET, "side": Side.SELL, "qty": D(1), "reduce_only": True,
    }  # fmt: skip
    made = orders.register(OrderRow(**(fields | changes)))
    if seen:
        report = OrderReport(
            symbol="BTCUSDT", venue_order_id=f"a{bench.venue.number}", client_order_id=client,
            order_class=order_class, order_type=OrderType.STOP_MARKET, side=Side.SELL,
            status=OrderStatus.NEW, qty=D(1), reduce_only=True,
        )  # fmt: skip
        bench.venue.number += 1
        bench.venue.orders[client] = Placed(report)
        orders.on_report("binance", report)
    return made


def clear(bench, position, seconds=30):
    began = bench.runtime.now()
    task = bench.spawn(bench.leftovers.clear(position))
    bench.run(began + int(seconds * SECOND))
    assert task.done or seconds < 1
    return [at - began for at, _ in bench.venue.requests("cancel")]


def test_everything_that_closes_is_cancelled_in_one_round(bench):
    position = bench.filled()
    orders = [order(bench, position), order(bench, position)]
    cancels = clear(bench, position, 5)
    assert len(cancels) == 2
    assert all(one.terminal for one in orders)
    assert bench.alerts() == []


def test_nothing_left_costs_nothing(bench):
    position = bench.filled()
    stop = StopOrder(order(bench, position), bench.runtime.now())
    position.stops.add(stop)
    bench.services.orders.conclude(stop.order, OrderStatus.CANCELED, "test")
    assert clear(bench, position, 1) == []
    assert not stop.wanted


def test_what_is_not_proven_is_tried_five_times_then_left_to_the_ledger_and_told(bench):
    position = bench.filled()
    left = order(bench, position)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111", times=5))
    cancels = clear(bench, position, 9)
    step = 60 * MS
    assert cancels[:5] == [
        pause + number * step
        for number, pause in enumerate((0, 500 * MS, 1500 * MS, 3500 * MS, 7500 * MS))
    ]
    (alert,) = bench.alerts("leftovers")
    assert (alert.severity, alert.symbol, alert.dedupe) == ("WARNING", "BTCUSDT", position.id)
    assert left.client_order_id in alert.text
    bench.run(bench.runtime.now() + 30 * SECOND)
    assert left.terminal


def test_what_the_last_try_proves_is_not_told(bench):
    position = bench.filled()
    left = order(bench, position)
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111", times=4))
    assert len(clear(bench, position, 9)) == 5
    assert left.terminal
    assert bench.alerts("leftovers") == []


@pytest.mark.parametrize(("order_class", "seen"), [(CONDITIONAL, False), (PLAIN, True)])
def test_a_stop_that_was_never_shown_and_a_plain_order_that_was_are_cancelled(
    bench, order_class, seen
):
    position = bench.filled()
    order(bench, position, order_class, seen=seen)
    assert clear(bench, position, 0.5)[0] == 0


def test_an_attached_stop_fell_with_its_position(bench):
    position = bench.filled()
    left = order(bench, position, ATTACHED, seen=False)
    assert clear(bench, position, 1) == []
    assert left.row.status is OrderStatus.CANCELED


def test_a_plain_order_that_was_never_shown_is_looked_up_and_not_cancelled(bench):
    position = bench.filled()
    order(bench, position, PLAIN, seen=False)
    assert clear(bench, position, 9) == []
    assert len(bench.venue.requests("query_order")) >= 5


@pytest.mark.parametrize(
    "what",
    [
        {"reduce_only": False},
        {"intent_open": False},
        {"client": "hand"},
        {"seen": False, "status": OrderStatus.CANCELED},
    ],
    ids=["a child of the entry", "settled", "a person's", "ended"],
)
def test_what_is_not_ours_to_end_stays(bench, what):
    position = bench.filled()
    order(bench, position, **what)
    assert clear(bench, position, 1) == []
    assert bench.alerts() == []


def test_a_sweep_goes_on_in_the_background(bench):
    position = bench.filled()
    left = order(bench, position)
    attached = order(bench, position, ATTACHED, seen=False)
    bench.leftovers.sweep(position.id)
    assert attached.row.status is OrderStatus.CANCELED
    assert bench.services.cancels.holds("binance", left.client_order_id)
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert left.terminal

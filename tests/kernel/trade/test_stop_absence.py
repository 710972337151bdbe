"""Two complete reads and a look-up of each stop prove that nothing protects a position."""

from decimal import Decimal
from typing import Any

import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, Side
from kernel.model.rows import OrderRow
from kernel.model.units import SECOND
from kernel.model.venue import OrderPage
from kernel.trade.protective_set import StopOrder
from kernel.trade.stop_absence import has_no_stop
from tests.kernel.fakes import Bench, Rule
from tests.kernel.trade.parts import fill

D = Decimal
LAG, DEADLINE = 5 * SECOND, 30 * SECOND


@pytest.fixture
def bench():
    made = Bench()
    made.run(100 * SECOND)
    return made


def ask(bench, position, since_ns, seconds=60):
    task = bench.spawn(has_no_stop(bench.services, position, since_ns))
    bench.run(bench.runtime.now() + seconds * SECOND)
    return task.result()


def reads(bench):
    """When the stops were read, in seconds."""
    return [at // SECOND for at, _ in bench.venue.requests("open_orders")]


def listed(bench, *, first=0, **changes):
    """The list shows an order from its so-manieth read on."""
    given: dict[str, Any] = {
        "symbol": "BTCUSDT", "venue_order_id": "a1", "client_order_id": "hand",
        "order_class": OrderClass.CONDITIONAL, "order_type": OrderType.STOP_MARKET,
        "side": Side.SELL, "status": OrderStatus.NEW, "qty": D(1), "reduce_only": True,
    }  # fmt: skip
    shown = OrderReport(**(given | changes))

    def page(request):
        return OrderPage(orders=(shown,) if len(reads(bench)) > first else ())

    bench.venue._open = page


def test_two_empty_reads_the_second_five_seconds_before_the_deadline_prove_it(bench):
    position = bench.filled()
    assert ask(bench, position, bench.runtime.now()) is True
    assert reads(bench) == [100, 100 + 25]
    assert {request.order_class for _, request in bench.venue.requests("open_orders")} == {
        OrderClass.CONDITIONAL
    }


def test_late_in_the_time_the_reads_are_the_visibility_lag_apart(bench):
    position = bench.filled()
    assert ask(bench, position, 74 * SECOND) is True
    assert reads(bench) == [100, 105]


@pytest.mark.parametrize("first", [0, 1])
def test_a_stop_that_either_read_shows_is_one(bench, first):
    position = bench.filled()
    listed(bench, first=first)
    assert ask(bench, position, bench.runtime.now()) is False
    assert len(reads(bench)) == first + 1


@pytest.mark.parametrize(
    "changes", [{"side": Side.BUY}, {"status": OrderStatus.CANCELED}], ids=["opens", "ended"]
)
def test_what_does_not_close_it_is_no_stop(bench, changes):
    position = bench.filled()
    listed(bench, **changes)
    assert ask(bench, position, bench.runtime.now()) is True


@pytest.mark.parametrize("times", [0, 1])
def test_a_read_that_failed_proves_nothing(bench, times):
    position = bench.filled()
    rule = Rule("open_orders", errors.OutcomeUnknown, times=0)
    bench.venue.rules.append(rule)
    bench.at(bench.runtime.now() + times * SECOND, lambda: setattr(rule, "times", 1))
    assert ask(bench, position, bench.runtime.now()) is False


def kept(bench, position):
    """A stop of the position, known here."""
    row = OrderRow(
        venue="binance",
        client_order_id=bench.services.orders.new_id(position, Leg.STOP),
        symbol="BTCUSDT", position_id=position.id, order_class=OrderClass.CONDITIONAL,
        order_type=OrderType.STOP_MARKET, side=Side.SELL, qty=D(1), reduce_only=True,
    )  # fmt: skip
    order = bench.services.orders.register(row)
    return position.stops.add(StopOrder(order, bench.runtime.now()))


@pytest.mark.parametrize(
    ("status", "proven"),
    [(None, True), (OrderStatus.NEW, False), (OrderStatus.CANCELED, True)],
)
def test_each_stop_is_looked_up_under_its_id(bench, status, proven):
    position = bench.filled()
    stop = kept(bench, position)

    def query(request):
        if status is None:
            raise errors.UnknownOrder("binance", "query_order", "-2013")
        row = stop.order.row
        return OrderReport(
            symbol=row.symbol, venue_order_id="a1", client_order_id=row.client_order_id,
            order_class=row.order_class, order_type=row.order_type, side=row.side, status=status,
            qty=row.qty,
        )  # fmt: skip

    bench.venue._query = query
    assert ask(bench, position, bench.runtime.now()) is proven
    assert len(bench.venue.requests("query_order")) == 1


def test_an_execution_meanwhile_proves_that_the_reads_are_old(bench):
    position = bench.filled()
    closing = fill("t9", Side.SELL, "0.001", "42000")
    bench.at(bench.runtime.now() + 5 * SECOND, lambda: position.apply_fill(closing))
    assert ask(bench, position, bench.runtime.now()) is False


def test_a_flat_position_needs_no_stop(bench):
    position = bench.filled()
    position.apply_fill(fill("t9", Side.SELL, "0.005", "42000"))
    assert ask(bench, position, bench.runtime.now()) is False

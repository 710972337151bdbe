"""At the cap on stops our orphans go, and nothing else does."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.orders import (
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.rows import OrderRow
from kernel.model.units import SECOND, TsNs
from kernel.trade.protective_set import StopOrder
from kernel.trade.stop_sweep import sweep
from tests.kernel.fake_venue import Placed
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal
OURS = "wk5-1b-abcdef-S0-{}"


@pytest.fixture
def bench():
    made = Bench().protection()
    made.run(100 * SECOND)
    yield made
    assert made.crashes == []


def left(bench, client, symbol="BTCUSDT"):
    report = OrderReport(
        symbol=symbol, venue_order_id=f"a{len(bench.venue.orders)}", client_order_id=client,
        order_class=OrderClass.CONDITIONAL, order_type=OrderType.STOP_MARKET, side=Side.SELL,
        status=OrderStatus.NEW, qty=D(3), trigger_price=D(95), trigger_by=PriceSource.LAST,
        reduce_only=True, updated_ns=TsNs(WALL),
    )  # fmt: skip
    bench.venue.orders[client] = Placed(report)
    return report


def swept(bench, seconds=2):
    task = bench.spawn(sweep(bench.services, "binance"))
    bench.run(bench.runtime.now() + seconds * SECOND)
    task.result()
    said = [one.client_order_id for one in bench.kinds("stop.swept")]
    asked = [request.client_order_id for _, request in bench.venue.requests("cancel")]
    assert asked == said
    return said


def test_our_stops_of_no_position_are_cancelled_and_nobody_elses(bench):
    for client in (OURS.format(1), "hand", OURS.format(2)):
        left(bench, client)
    assert swept(bench) == [OURS.format(1), OURS.format(2)]
    assert [one.client_order_id for one in bench.venue.stops()] == ["hand"]


def test_a_list_that_cannot_be_read_cancels_nothing(bench):
    left(bench, OURS.format(1))
    bench.venue.rules.append(Rule("open_orders", errors.OutcomeUnknown))
    failed = []

    async def one():
        try:
            await sweep(bench.services, "binance")
        except errors.VenueError as error:
            failed.append(error)

    bench.spawn(one())
    bench.run(bench.runtime.now() + SECOND)
    assert len(failed) == 1
    assert bench.venue.requests("cancel") == []


def test_what_is_not_cancelled_at_once_goes_to_the_ledger(bench):
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111", times=1))
    left(bench, OURS.format(1))
    swept(bench)
    assert bench.services.cancels.holds("binance", OURS.format(1))
    bench.run(bench.runtime.now() + 30 * SECOND)
    assert bench.venue.stops() == []


def test_a_stop_on_the_symbol_of_a_position_that_is_on_the_venue_alone_stays(bench):
    left(bench, OURS.format(1))
    bench.services.desks["binance"].hear_position(
        PositionReport(symbol="BTCUSDT", side=PositionSide.LONG, qty=D(1), updated_ns=TsNs(WALL))
    )
    assert swept(bench) == []


@pytest.mark.parametrize("wanted", [True, False])
def test_a_stop_of_a_living_position_is_its_owners_word(bench, wanted):
    position = bench.protected()
    (stop,) = position.stops.open()
    stop.wanted = wanted
    assert swept(bench) == ([] if wanted else [stop.client_order_id])


def test_what_the_stop_owner_cancels_already_is_not_cancelled_twice(bench):
    position = bench.protected()
    (stop,) = position.stops.open()
    stop.wanted = False
    bench.venue.rules.append(Rule("cancel", errors.Rejected, "-1111"))
    swept(bench, 1)
    assert not bench.services.cancels.holds("binance", stop.client_order_id)


@pytest.mark.parametrize("verified", [True, False])
def test_another_stop_of_ours_stays_until_the_position_has_one_that_is_proven(bench, verified):
    position = bench.protected() if verified else bench.filled()
    left(bench, OURS.format(1))
    assert swept(bench) == ([OURS.format(1)] if verified else [])
    assert position.qty > 0


@pytest.mark.parametrize("own", [True, False])
def test_a_stop_of_an_earlier_position_of_the_symbol_is_an_orphan(bench, own):
    position = bench.filled()
    client = bench.services.orders.new_id(position, Leg.STOP)
    report = left(bench, client)
    bench.services.orders.register(
        OrderRow(
            venue="binance", client_order_id=client, symbol="BTCUSDT",
            position_id=position.id if own else "earlier", order_class=report.order_class,
            order_type=report.order_type, side=report.side, qty=report.qty, reduce_only=True,
        )
    )  # fmt: skip
    assert swept(bench) == ([] if own else [client])


def test_a_stop_that_the_position_wants_and_nobody_confirmed_stays(bench):
    position = bench.filled()
    client = bench.services.orders.new_id(position, Leg.STOP)
    report = left(bench, client)
    order = bench.services.orders.register(
        OrderRow(
            venue="binance", client_order_id=client, symbol="BTCUSDT", position_id=position.id,
            order_class=report.order_class, order_type=report.order_type, side=report.side,
            qty=report.qty, reduce_only=True,
        )
    )  # fmt: skip
    position.stops.add(StopOrder(order, bench.runtime.now()))
    assert swept(bench) == []

"""The to-cancel ledger: what is recorded, and what one attempt does."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, Side
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND, TsNs
from kernel.model.venue import Acked
from tests.kernel.fakes import WALL, Bench
from tests.kernel.trade.ledger import OURS, Ledger, refuse

D = Decimal
NEW = OrderStatus.NEW
CONDITIONAL = OrderClass.CONDITIONAL


@pytest.fixture
def bench():
    made = Ledger()
    yield made
    assert made.crashes == []


def test_an_order_is_durable_before_it_is_taken(bench):
    bench.store.delay_ns = 50 * MS
    made = []

    async def one():
        made.append(await bench.cancels.record("binance", bench.left(1)))

    bench.spawn(one())
    bench.run(100 * SECOND + 49 * MS)
    assert made == []
    bench.run(100 * SECOND + 100 * MS)
    assert made[0].row in bench.store.rows


def test_a_limit_is_recorded_with_its_price(bench):
    report = msgspec.structs.replace(bench.left(1), order_type=OrderType.LIMIT, price=D(94))
    assert bench.known(report).row.price == 94


def test_an_order_that_is_known_and_open_is_not_opened_again(bench):
    report = bench.left(1)
    order = bench.known(report)
    before = order.row
    bench.run(101 * SECOND)
    assert bench.known(report) is order
    assert order.row is before


# ---------------------------------------------------------------- one attempt


def attempted(bench, order):
    outcome = []

    async def one():
        outcome.append(await bench.cancels.attempt(order))

    bench.spawn(one())
    bench.run(bench.runtime.now() + 5 * SECOND)
    return outcome[0]


def without_effect(bench):
    """The venue takes cancels and does nothing."""
    bench.venue._cancel = lambda request: Acked(client_order_id=request.client_order_id)


def test_an_attempt_says_whether_the_order_ended(bench):
    order = bench.known(bench.left())
    assert attempted(bench, order) is True
    without_effect(bench)
    order = bench.known(bench.left(2))
    assert attempted(bench, order) is False
    assert not order.terminal


@pytest.mark.parametrize("refused", [True, False])
def test_an_attempt_that_ends_nothing_looks_once(bench, refused):
    if refused:
        refuse(bench)
    else:
        without_effect(bench)
    attempted(bench, bench.known(bench.left()))
    assert len(bench.times("query_order")) == 1


def test_a_cancel_without_effect_is_asked_again_and_ends_nothing(bench):
    without_effect(bench)
    (order,) = bench.take(bench.left())
    bench.run(109 * SECOND)
    assert len(bench.times("cancel")) == 1
    assert bench.ended == []
    assert bench.cancels.holds("binance", order.client_order_id)
    bench.run(112 * SECOND)
    assert len(bench.times("cancel")) == 2


def test_nothing_holds_up_an_attempt_at_the_first_instant():
    bench = Bench()
    bench.protection()
    row = OrderRow(
        venue="binance", client_order_id=OURS.format(1), symbol="BTCUSDT", position_id="",
        order_class=CONDITIONAL, order_type=OrderType.STOP_MARKET, side=Side.SELL, qty=D(1),
        reduce_only=True,
    )  # fmt: skip
    order = bench.services.orders.register(row)
    bench.services.orders.on_report("binance", shown_live(row))
    bench.services.cancels.take(order)
    bench.run(SECOND)
    assert [at for at, _ in bench.venue.requests("cancel")] == [0]
    assert bench.crashes == []


def shown_live(row):
    return OrderReport(
        symbol=row.symbol, venue_order_id="a1", client_order_id=row.client_order_id,
        order_class=row.order_class, order_type=row.order_type, side=row.side, status=NEW,
        qty=row.qty, reduce_only=True, updated_ns=TsNs(WALL),
    )  # fmt: skip

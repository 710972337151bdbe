"""The to-cancel ledger: what is asked, when it is asked again, and what proves an end."""

from decimal import Decimal
from itertools import pairwise

import pytest

from kernel import errors
from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, PriceSource, Side
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND
from kernel.model.venue import CancelOrder
from tests.kernel.fakes import WALL, Rule
from tests.kernel.trade.ledger import GONE, OURS, Ledger, refuse

D = Decimal
NEW, CANCELED = OrderStatus.NEW, OrderStatus.CANCELED
PLAIN, CONDITIONAL, ATTACHED = OrderClass.PLAIN, OrderClass.CONDITIONAL, OrderClass.ATTACHED


@pytest.fixture
def bench():
    made = Ledger()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- one order


def test_an_order_is_cancelled_once_and_its_end_is_told(bench):
    (order,) = bench.take(bench.left())
    assert bench.cancels.holds("binance", order.client_order_id)
    assert not bench.cancels.holds("bybit", order.client_order_id)
    bench.cancels.take(order)
    bench.run(101 * SECOND)
    assert bench.times("cancel") == [0]
    assert order.row.status is CANCELED
    assert bench.ended == [order.client_order_id]
    assert not bench.cancels.holds("binance", order.client_order_id)
    (said,) = bench.kinds("cancel.settled")
    assert said.client_order_id == order.client_order_id


def test_an_order_that_is_over_is_told_at_once_and_not_cancelled(bench):
    order = bench.known(bench.left())
    bench.orders.conclude(order, CANCELED, "test")
    bench.cancels.take(order, bench.ended.append)
    bench.cancels.take(order)
    assert bench.ended == [order]
    bench.run(101 * SECOND)
    assert bench.times("cancel") == []


def test_a_cancel_waits_half_a_second_for_its_event_and_then_looks(bench):
    bench.take(bench.left())
    bench.run(101 * SECOND)
    assert bench.times("query_order") == [40 + 500]


def test_an_event_makes_the_look_unnecessary(bench):
    bench.venue.silent = False
    (order,) = bench.take(bench.left())
    bench.run(101 * SECOND)
    assert order.terminal
    assert bench.times("query_order") == []


def test_news_that_are_no_end_do_not_end_the_wait(bench):
    (order,) = bench.take(bench.left())
    bench.at(100 * SECOND + 200 * MS, order.changed.set)
    bench.run(101 * SECOND)
    assert bench.times("query_order") == [40 + 500]


def test_a_refused_cancel_is_a_question_and_is_looked_up_at_once(bench):
    bench.venue.rules.append(Rule("cancel", GONE, "-2011", times=1, applied=True))
    (order,) = bench.take(bench.left())
    bench.run(101 * SECOND)
    assert bench.times("query_order") == [40 - 20]
    assert order.terminal


def test_attempts_for_one_order_come_with_growing_pauses_for_ever(bench):
    refuse(bench)
    bench.take(bench.left())
    bench.run(400 * SECOND)
    cancels = bench.times("cancel")
    pauses = [10, 20, 40, 60, 60, 60]
    rounded = [(later - earlier) // 1000 for earlier, later in pairwise(cancels)]
    assert rounded == pauses[: len(rounded)]
    assert len(rounded) >= 5


def test_a_read_without_value_ends_nothing(bench):
    refuse(bench, 1)
    bench.venue.rules.append(Rule("query_order", errors.OutcomeUnknown, times=1))
    (order,) = bench.take(bench.left())
    bench.run(105 * SECOND)
    assert not order.terminal
    bench.run(115 * SECOND)
    assert order.terminal


def test_the_end_by_an_event_ends_the_pause(bench):
    refuse(bench, 1)
    (order,) = bench.take(bench.left())
    bench.run(102 * SECOND)
    order.changed.set()
    bench.run(103 * SECOND)
    assert bench.ended == []
    bench.orders.conclude(order, CANCELED, "an event")
    bench.run(103 * SECOND)
    assert bench.ended == [order.client_order_id]
    assert len(bench.times("cancel")) == 1


def test_an_order_that_the_venue_never_showed_is_settled_before_it_is_cancelled(bench):
    row = OrderRow(
        venue="binance", client_order_id=OURS.format(7), symbol="BTCUSDT", position_id="",
        order_class=CONDITIONAL, order_type=OrderType.STOP_MARKET, side=Side.SELL, qty=D(1),
        reduce_only=True,
    )  # fmt: skip
    order = bench.orders.register(row)
    bench.cancels.take(order)
    bench.run(101 * SECOND)
    assert bench.settled == [order]
    assert bench.times("cancel") == []
    assert order.terminal


# ---------------------------------------------------------------- many on one symbol


def test_attempts_that_fail_on_one_symbol_are_three_seconds_apart(bench):
    refuse(bench)
    bench.take(*(bench.left(number) for number in range(3)))
    bench.run(109 * SECOND)
    assert bench.times("cancel") == [0, 3000, 6000]


def test_attempts_that_work_follow_at_once(bench):
    bench.take(*(bench.left(number) for number in range(3)))
    bench.run(109 * SECOND)
    assert max(bench.times("cancel")) < 3500
    assert len(bench.ended) == 3


def test_symbols_do_not_wait_for_each_other(bench):
    refuse(bench)
    bench.take(bench.left(1), bench.left(2, symbol="ETHUSDT"))
    bench.run(102 * SECOND)
    assert bench.times("cancel") == [0, 0]


def test_an_order_that_ends_while_it_waits_for_its_turn_is_not_asked_for(bench):
    refuse(bench)
    first, second = bench.take(bench.left(1), bench.left(2))
    bench.run(101 * SECOND)
    bench.orders.conclude(second, CANCELED, "an event")
    bench.run(105 * SECOND)
    assert bench.times("cancel") == [0]
    assert bench.ended == [second.client_order_id]
    assert not first.terminal


def test_outcomes_on_one_symbol_are_settled_one_after_another(bench):
    under_way = []

    async def settle(order):
        under_way.append(order)
        assert len(under_way) == 1
        await bench.runtime.sleep(SECOND)
        under_way.remove(order)
        bench.orders.conclude(order, OrderStatus.REJECTED, "never placed")

    bench.settle = settle
    for number in range(2):
        row = OrderRow(
            venue="binance", client_order_id=OURS.format(number), symbol="BTCUSDT",
            position_id="", order_class=CONDITIONAL, order_type=OrderType.STOP_MARKET,
            side=Side.SELL, qty=D(1), reduce_only=True,
        )  # fmt: skip
        bench.cancels.take(bench.orders.register(row))
    bench.run(103 * SECOND)
    assert len(bench.kinds("cancel.settled")) == 2


# ---------------------------------------------------------------- what is recorded and asked


def cancelled(bench) -> CancelOrder:
    ((_, request),) = bench.venue.requests("cancel")
    return request


@pytest.mark.parametrize(
    ("client", "order_class", "by_client"),
    [
        (OURS.format(1), CONDITIONAL, True),
        (OURS.format(1), PLAIN, True),
        (OURS.format(1), ATTACHED, False),
        ("hand", CONDITIONAL, False),
    ],
)
def test_an_order_is_named_by_our_id_where_the_venue_knows_it(
    bench, client, order_class, by_client
):
    bench.take(bench.left(1, client=client, order_class=order_class))
    bench.run(100 * SECOND + 30 * MS)
    request = cancelled(bench)
    assert request.client_order_id == (client if by_client else "")
    assert request.venue_order_id == "a1"
    assert request.order_class is order_class


def test_an_order_is_recorded_as_the_venue_shows_it_before_anything_is_asked(bench):
    report = bench.left(1, client="hand")
    order = bench.known(report)
    row = order.row
    assert row.client_order_id == f"{CONDITIONAL.value}/a1"
    assert (row.position_id, row.symbol, row.side, row.qty) == ("", "BTCUSDT", Side.SELL, 3)
    assert (row.trigger_price, row.trigger_by, row.reduce_only) == (95, PriceSource.LAST, True)
    assert row.venue_order_id == "a1"
    assert row.created_ns == row.updated_ns == WALL + 100 * SECOND
    assert row.intent_open
    assert order.seen
    assert row in bench.store.rows
    assert bench.known(report) is order, "known by the venue's id"


@pytest.mark.parametrize("closes_all", [False, True])
def test_what_closes_all_only_reduces(bench, closes_all):
    report = bench.left(1)
    report = OrderReport(**{
        **{name: getattr(report, name) for name in report.__struct_fields__},
        "reduce_only": False, "close_position": closes_all,
    })  # fmt: skip
    assert bench.known(report).row.reduce_only is closes_all


def test_an_order_of_ours_that_is_known_by_our_id_alone_is_that_order(bench):
    row = OrderRow(
        venue="binance", client_order_id=OURS.format(1), symbol="BTCUSDT", position_id="",
        order_class=CONDITIONAL, order_type=OrderType.STOP_MARKET, side=Side.SELL, qty=D(1),
        reduce_only=True,
    )  # fmt: skip
    order = bench.orders.register(row)
    assert bench.known(bench.left(1)) is order


def test_an_order_that_ended_and_is_shown_live_is_open_again(bench):
    report = bench.left(1)
    order = bench.known(report)
    bench.orders.conclude(order, CANCELED, "proven absent")
    assert bench.known(report) is order
    assert not order.terminal
    assert bench.orders.open_orders() == [order]

"""Exits: the ends of an order that rests at the touch, and what a part or an end without an order
leaves alone."""

from decimal import Decimal
from typing import Any

import pytest

from kernel import errors
from kernel.model.messages import QuoteRead
from kernel.model.orders import Fill, OrderStatus, OrderType
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import SECOND, ZERO, TsNs
from tests.kernel.trade.closing import OPERATOR, Closing

D = Decimal


@pytest.fixture
def bench():
    made = Closing()
    made.venue.rests = (OrderType.LIMIT,)
    prices: Any = made.prices
    prices.quote = lambda venue, symbol: QuoteRead(
        D(41990), D(42010), D(1), D(1), made.runtime.ts()
    )
    yield made
    assert made.crashes == []


def unkept(bench, **given):
    """An ACTIVE position that no keeper looks after."""
    position = bench.filled(**given)
    position.transition(PositionState.ACTIVE, "test")
    return position


def fires(bench):
    (stop,) = bench.venue.stops()
    bench.venue.trigger(stop.client_order_id)


def closed_by_hand(bench, position):
    """Somebody else closes it; its execution arrives."""
    bench.venue.held.clear()
    fill = Fill(
        symbol="BTCUSDT",
        trade_id="by-hand",
        venue_order_id="77",
        client_order_id="",
        side=position.side.exit_side,
        qty=position.qty,
        price=D(42000),
        ts_ns=bench.runtime.ts(),
    )
    bench.venue.fills.append(fill)
    bench.services.orders.on_fill("binance", fill)


def resting(bench):
    return next(
        one for one in bench.venue.orders.values() if one.report.order_type is OrderType.LIMIT
    )


# ---------------------------------------------------------------- at the touch


def test_without_a_price_nothing_is_sent_before_the_read(bench):
    position = bench.protected()
    bench.prices.quote = lambda venue, symbol: QuoteRead(D(41990), ZERO, D(1), D(1), TsNs(1))
    bench.close(position, 5, at_touch=True)
    assert bench.words()[0] == "0 open_orders"


def test_nothing_rests_for_what_is_flat_already(bench):
    position = unkept(bench)
    closed_by_hand(bench, position)
    assert position.qty == 0
    assert bench.close(position, at_touch=True).result() is True
    assert bench.sent() == []


def test_an_order_at_the_touch_that_the_venue_ended_is_followed_by_the_market_at_once(bench):
    position = bench.protected()
    bench.at(
        bench.runtime.now() + 2 * SECOND,
        lambda: bench.venue.end(resting(bench).report.client_order_id, OrderStatus.CANCELED),
    )
    assert bench.close(position, at_touch=True).result() is True
    assert 2000 <= bench.sent()[1][0] <= 2300


def test_a_stop_that_triggers_ends_the_rest_at_the_touch_at_once(bench):
    position = bench.protected()
    bench.at(bench.runtime.now() + 2 * SECOND, lambda: fires(bench))
    assert bench.close(position, at_touch=True).result() is True
    assert len(bench.sent()) == 1
    assert position.row.close_reason == CloseReason.STOP_LOSS
    assert bench.times("cancel")[0] <= 2300


def test_a_position_that_somebody_closed_rests_at_the_touch_no_longer(bench):
    position = unkept(bench)
    bench.at(bench.runtime.now() + 2 * SECOND, lambda: closed_by_hand(bench, position))
    bench.close(position, at_touch=True)
    assert bench.times("cancel")[0] <= 2300
    assert position.state is PositionState.CLOSED


def test_what_rests_at_the_touch_goes_on_after_news_that_end_nothing(bench):
    """No keeper looks after it: nobody else clears its event."""
    position = unkept(bench)
    bench.at(bench.runtime.now() + 2 * SECOND, position.changed.set)
    bench.close(position, 20, at_touch=True)
    assert bench.sent()[0] == (0, "0.005")
    assert 10_000 <= bench.sent()[1][0] <= 10_300


def test_a_close_that_crashed_rests_no_second_time(bench):
    position = bench.protected()
    quote, calls = bench.prices.quote, []

    def crash_once(venue, symbol):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("a bug")
        return quote(venue, symbol)

    bench.prices.quote = crash_once
    assert bench.close(position, at_touch=True).result() is True
    (order,) = [one for _, kind, one in bench.asked() if kind == "submit"]
    assert order.order_type is OrderType.MARKET
    assert len(bench.crashes) == 1
    bench.crashes.clear()


def test_the_order_at_the_touch_is_the_first_child(bench):
    position = bench.protected()
    bench.close(position, 1, at_touch=True)
    assert resting(bench).report.client_order_id.split("-")[3] == "X0"


# ---------------------------------------------------------------- a part


def reduce(bench, position, qty, seconds=5.0):
    bench.began = bench.runtime.now()
    task = bench.spawn(bench.exits.reduce(position, D(qty), "test"))
    bench.run(bench.began + int(seconds * SECOND))
    return task.result()


def test_a_part_above_the_market_maximum_is_closed_by_orders_one_after_the_other(bench):
    position = bench.protected(qty="250")
    assert reduce(bench, position, "150") is True
    assert [qty for _, qty in bench.sent()] == ["75", "75"]
    legs = [one.client_order_id.split("-")[3] for _, kind, one in bench.asked() if kind == "submit"]
    assert legs == ["X0", "X1"]


def test_no_part_is_closed_while_an_end_is_looked_for(bench):
    position = bench.protected()
    bench.spawn(bench.exits.conclude(position, CloseReason.EXTERNAL, unexplained=False))
    bench.run(bench.runtime.now())
    assert position.state is PositionState.ACTIVE
    assert reduce(bench, position, "0.002") is False
    assert bench.sent() == []


def test_a_part_that_is_reported_filled_is_closed_once_its_execution_is_read(bench):
    position = bench.protected()
    say = bench.venue._say
    bench.venue._say = lambda event: None if isinstance(event, Fill) else say(event)
    assert reduce(bench, position, "0.002") is True
    assert position.qty == D("0.003")


def test_a_part_is_looked_for_with_pauses_where_nobody_else_looks(bench):
    position = unkept(bench)
    bench.venue.silent = True
    assert reduce(bench, position, "0.002") is True
    assert bench.times("query_order") == [140]


def test_the_last_look_for_a_part_may_be_the_one_that_shows_it(bench):
    position = unkept(bench)
    bench.venue.silent = True
    bench.refuse("query_order", errors.OutcomeUnknown, times=9)
    assert reduce(bench, position, "0.002", 12) is True
    assert len(bench.times("query_order")) == 10


# ---------------------------------------------------------------- without an order


def conclude(bench, position, *, unexplained, seconds=5):
    bench.began = bench.runtime.now()
    task = bench.spawn(
        bench.exits.conclude(position, CloseReason.EXTERNAL, unexplained=unexplained)
    )
    bench.run(bench.began + seconds * SECOND)
    return task.result()


def test_an_end_that_executions_tell_is_not_called_unexplained(bench):
    position = bench.protected()
    bench.venue.silent = True
    fires(bench)
    assert conclude(bench, position, unexplained=True) is True
    assert bench.alerts("exit.unexplained") == []


def test_what_does_not_end_is_not_called_unexplained(bench):
    position = bench.protected()
    assert conclude(bench, position, unexplained=True) is False
    assert bench.alerts("exit.unexplained") == []


def test_a_conclusion_keeps_the_reason_for_which_it_was_being_closed(bench):
    position = bench.protected()
    position.update(close_reason=OPERATOR.value)
    bench.venue.held.clear()
    assert conclude(bench, position, unexplained=True) is True
    assert position.row.close_reason == OPERATOR


def test_what_waited_for_its_first_stop_may_be_concluded(bench):
    position = bench.filled()
    bench.venue.held.clear()
    assert conclude(bench, position, unexplained=True) is True
    assert position.state is PositionState.CLOSED

"""Exits: a part, an end without an order, and an order that rests at the touch first."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.messages import QuoteRead
from kernel.model.orders import OrderType, PositionSide, Side
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND
from kernel.model.venue import OrderSurface
from tests.kernel.trade.closing import OPERATOR, Closing

D = Decimal


@pytest.fixture
def bench():
    made = Closing()
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- a part


def test_a_part_is_closed_by_one_order_and_the_position_stays(bench):
    position = bench.protected()
    bench.began = bench.runtime.now()
    task = bench.spawn(bench.exits.reduce(position, D("0.002"), "test"))
    bench.run(bench.began + 5 * SECOND)
    assert task.result() is True
    assert bench.sent() == [(0, "0.002")]
    assert position.state is PositionState.ACTIVE
    assert position.qty == D("0.003")


def test_a_part_that_was_refused_was_not_closed(bench):
    position = bench.protected()
    bench.refuse()
    task = bench.spawn(bench.exits.reduce(position, D("0.002"), "test"))
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert task.result() is False


def test_a_part_of_which_less_filled_was_not_closed(bench):
    position = bench.protected()
    bench.venue.held["BTCUSDT"].qty = D("0.001")
    task = bench.spawn(bench.exits.reduce(position, D("0.002"), "test"))
    bench.run(bench.runtime.now() + 5 * SECOND)
    assert task.result() is False


def test_no_part_is_closed_of_what_is_not_active_or_closes_as_a_whole(bench):
    pending = bench.filled()
    task = bench.spawn(bench.exits.reduce(pending, D("0.002"), "test"))
    bench.run(bench.runtime.now() + SECOND)
    assert task.result() is False
    assert bench.sent() == []
    pending.transition(PositionState.ACTIVE, "test")
    bench.refuse()
    bench.close(pending, 1)
    sent = len(bench.sent())
    other = bench.spawn(bench.exits.reduce(pending, D("0.002"), "test"))
    bench.run(bench.runtime.now())
    assert other.result() is False
    assert len(bench.sent()) == sent


def test_a_part_without_events_is_looked_up_with_growing_pauses(bench):
    position = bench.protected()
    bench.venue.silent = True
    bench.refuse("query_order", errors.OutcomeUnknown, times=3)
    bench.began = bench.runtime.now()
    task = bench.spawn(bench.exits.reduce(position, D("0.002"), "test"))
    bench.run(bench.began + 8 * SECOND)
    assert task.result() is True
    looks = [
        at for at, kind, one in bench.asked()
        if kind == "query_order" and one.surface is OrderSurface.PLAIN
    ]  # fmt: skip
    assert looks == [140, 360, 780, 1600]


def test_a_part_whose_end_is_not_seen_was_not_closed(bench):
    position = bench.protected()
    bench.venue.silent = True
    bench.refuse("query_order", errors.OutcomeUnknown)
    task = bench.spawn(bench.exits.reduce(position, D("0.002"), "test"))
    bench.run(bench.runtime.now() + 8 * SECOND)
    assert task.result() is False


# ---------------------------------------------------------------- without an order


def conclude(bench, position, unexplained, seconds=5):
    bench.began = bench.runtime.now()
    task = bench.spawn(
        bench.exits.conclude(position, CloseReason.EXTERNAL, unexplained=unexplained)
    )
    bench.run(bench.began + seconds * SECOND)
    return task.result()


def test_what_executions_tell_ends_without_an_order(bench):
    position = bench.protected()
    bench.venue.silent = True
    (stop,) = bench.venue.stops()
    bench.venue.trigger(stop.client_order_id)
    assert conclude(bench, position, unexplained=False) is True
    assert bench.sent() == []
    assert position.row.close_reason == CloseReason.STOP_LOSS
    assert bench.alerts("exit.unexplained") == []
    assert conclude(bench, position, unexplained=False) is True
    assert bench.asked() == []


@pytest.mark.parametrize("unexplained", [True, False])
def test_what_nothing_tells_ends_only_where_enough_reads_agreed(bench, unexplained):
    position = bench.protected()
    bench.venue.held.clear()
    assert conclude(bench, position, unexplained) is unexplained
    assert len(bench.alerts("exit.unexplained")) == unexplained
    assert position.state is (PositionState.CLOSED if unexplained else PositionState.ACTIVE)
    assert position.row.close_reason == (CloseReason.EXTERNAL if unexplained else "")
    assert not bench.exits.in_progress(position)


def test_what_the_venue_still_shows_does_not_end(bench):
    position = bench.protected()
    assert conclude(bench, position, unexplained=True) is False
    assert position.state is PositionState.ACTIVE
    bench.refuse("positions", errors.OutcomeUnknown)
    assert conclude(bench, position, unexplained=True) is False


def test_what_is_being_closed_is_not_concluded(bench):
    position = bench.protected()
    bench.refuse()
    bench.close(position, 1)
    bench.began = bench.runtime.now()
    task = bench.spawn(bench.exits.conclude(position, CloseReason.EXTERNAL, unexplained=True))
    bench.run(bench.runtime.now())
    assert task.result() is False


def test_a_close_waits_for_a_conclusion_and_then_does_its_work(bench):
    position = bench.protected()
    bench.spawn(bench.exits.conclude(position, CloseReason.EXTERNAL, unexplained=False))
    bench.run(bench.runtime.now())
    assert bench.exits.in_progress(position)
    assert bench.close(position).result() is True
    assert [qty for _, qty in bench.sent()] == ["0.005"]
    assert position.row.close_reason == OPERATOR


# ---------------------------------------------------------------- at the touch


def quoted(bench, bid="41990", ask="42010"):
    bench.prices.quote = lambda venue, symbol: QuoteRead(
        D(bid), D(ask), D(1), D(1), bench.runtime.ts()
    )


def limits(bench):
    return [
        (at, one.side, str(one.price)) for at, kind, one in bench.asked()
        if kind == "submit" and one.order_type is OrderType.LIMIT
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("side", "at"),
    [(PositionSide.LONG, (0, Side.SELL, "42010")), (PositionSide.SHORT, (0, Side.BUY, "41990"))],
)
def test_at_the_touch_one_order_rests_on_our_own_side_for_ten_seconds(bench, side, at):
    position = bench.protected(side=side)
    bench.venue.rests = (OrderType.LIMIT,)
    quoted(bench)
    assert bench.close(position, 20, at_touch=True).result() is True
    assert limits(bench) == [at]
    (_, market) = [one for _, kind, one in bench.asked() if kind == "submit"]
    assert market.order_type is OrderType.MARKET
    first_cancel = bench.times("cancel")[0]
    assert 10_000 <= first_cancel <= 10_100, "it is cancelled before anything else is sent"
    assert bench.venue.held == {}
    assert not [one for one in bench.venue.orders.values() if one.live]


def test_what_fills_at_the_touch_needs_no_market_order(bench):
    position = bench.protected()
    quoted(bench)
    assert bench.close(position, 20, at_touch=True).result() is True
    assert len(bench.sent()) == 1
    assert bench.times("open_orders") == [40]


def test_somebody_in_a_hurry_ends_the_rest_at_the_touch(bench):
    position = bench.protected()
    bench.venue.rests = (OrderType.LIMIT,)
    quoted(bench)
    first = bench.close(position, 2, at_touch=True)
    waiting = bench.spawn(bench.exits.close(position, OPERATOR, "no hurry", at_touch=True))
    bench.run(bench.began + 3 * SECOND)
    assert len(bench.sent()) == 1
    bench.spawn(bench.exits.close(position, OPERATOR, "hurry"))
    bench.run(bench.began + 5 * SECOND)
    assert first.result() is True
    assert waiting.result() is True
    assert 3000 <= bench.sent()[1][0] <= 3300


def test_without_a_stop_nothing_rests_at_the_touch(bench):
    position = bench.protected()
    bench.venue.rests = (OrderType.LIMIT,)
    quoted(bench)
    bench.close(position, 2, at_touch=True)
    position.stops.expose(bench.runtime.now())
    position.changed.set()
    bench.run(bench.began + 3 * SECOND)
    assert len(bench.sent()) == 2
    assert position.state is PositionState.CLOSED


@pytest.mark.parametrize("missing", ["quote", "instrument"])
def test_without_a_price_or_an_instrument_it_is_closed_at_market(bench, missing):
    position = bench.protected()
    bench.venue.rests = (OrderType.LIMIT,)
    quoted(bench)
    if missing == "quote":
        quoted(bench, ask="0")
    else:
        bench.services.desks["binance"].instruments.clear()
    assert bench.close(position, 5, at_touch=True).result() is True
    assert limits(bench) == []


def test_a_refused_order_at_the_touch_is_followed_by_the_market_at_once(bench):
    position = bench.protected()
    bench.refuse(times=1)
    quoted(bench)
    assert bench.close(position, 5, at_touch=True).result() is True
    assert [at for at, _ in bench.sent()] == [0, 140]


# ---------------------------------------------------------------- what rests already


def rests(bench, position):
    bench.venue.rests = (OrderType.LIMIT,)
    bench.spawn(bench.exits.resting.place(position, D(43000), "aged"))
    bench.run(bench.runtime.now() + SECOND)
    return bench.exits.resting.of(position)


def test_a_resting_exit_is_withdrawn_beside_the_first_market_order(bench):
    position = bench.protected()
    order = rests(bench, position)
    assert bench.close(position).result() is True
    assert order.terminal
    assert bench.times("submit") == bench.times("cancel")[:1] == [0]
    assert [one.cause for one in bench.kinds("exit.withdrawn")] == ["test"]


def test_a_resting_exit_is_withdrawn_before_another_order_rests_at_the_touch(bench):
    position = bench.protected()
    rests(bench, position)
    quoted(bench)
    bench.close(position, 5, at_touch=True)
    assert bench.times("cancel")[0] == 0
    assert limits(bench)[0][0] > 0


def test_the_state_is_durable_before_what_rests_is_touched(bench):
    position = bench.protected()
    rests(bench, position)
    bench.store.delay_ns = 200 * MS
    bench.close(position, 5)
    assert bench.times("cancel")[0] == bench.settings.store_wait_ms


def test_the_parts_of_a_close_are_children_of_their_own(bench):
    position = bench.protected(qty="250")
    bench.close(position)
    legs = [one.client_order_id.split("-")[3] for _, kind, one in bench.asked() if kind == "submit"]
    assert legs == ["X0", "X1", "X2"]


def test_a_close_whose_outcome_is_unknown_does_not_hide_that_the_position_is_gone(bench):
    position = bench.protected()
    bench.refuse(error=errors.OutcomeUnknown)
    bench.venue.held.clear()
    bench.close(position, 120)
    assert position.state is PositionState.CLOSED
    assert len(bench.alerts("exit.unexplained")) == 1
    assert len(bench.sent()) == 1


def test_the_end_covers_what_was_exposed(bench):
    position = bench.protected()
    bench.refuse("place_stop")
    (stop,) = bench.venue.stops()
    bench.spawn(bench.exits.close(position, OPERATOR, "test"))
    bench.at(bench.runtime.now() + 5 * MS, lambda: position.stops.expose(bench.runtime.now()))
    bench.run(bench.runtime.now() + 10 * SECOND)
    assert stop is not None
    assert position.state is PositionState.CLOSED
    assert position.stops.exposed_since_ns is None

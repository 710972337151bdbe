"""Bybit as venue-bybit.md §3 to §10 describes it."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.model.orders import (
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    PositionReport,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.units import DAY, MS, SECOND
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    Failure,
    OrderSurface,
    QueryExecutions,
    QueryOpenOrders,
    QueryPositions,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
)
from tests.venues.sim.desk import BTC, Desk, limit_order, market_order, stop_order
from venues.sim.account import AccountRules
from venues.sim.fault_kinds import AttachedLost, Cue, FillPlan, FillStep, RestLag, Target, VenueAct
from venues.sim.legs import Legs
from venues.sim.truth import OrderChanged, StopGone, StopLive, Traded

FLAT = [(0, "60000"), (60_000, "60000")]
FALLING = [(0, "60000"), (1000, "59000"), (2000, "58700"), (3000, "58000")]


def code(reply: object) -> tuple[str, str]:
    assert isinstance(reply, Failure), reply
    return reply.code, reply.kind


def bybit(path: Any = None, **more: Any) -> Desk:
    return Desk("bybit", path or FLAT, **more)


def trading_stop(trigger: str, by: PriceSource = PriceSource.MARK) -> SetPositionStop:
    return SetPositionStop(symbol=BTC, trigger_price=Decimal(trigger), trigger_by=by)


def attached(desk: Desk) -> list[OrderReport]:
    return [o for o in desk.open_orders(OrderClass.CONDITIONAL) if o.order_class == "ATTACHED"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (market_order("0.01", symbol="NOPEUSDT"), ("10001", "Rejected")),
        (market_order("0.0105"), ("10001", "FilterViolation")),
        (market_order("121"), ("10001", "FilterViolation")),
        (limit_order("0.01", "59999.95"), ("10001", "FilterViolation")),
        (limit_order("0.001", "4000"), ("110094", "FilterViolation")),
        (market_order("10"), ("110007", "InsufficientMargin")),
        (market_order("0.01", reduce_only=True), ("110017", "ReduceOnlyRefused")),
        (market_order("0.01", stop_loss=Decimal(60000)), ("10001", "WouldTriggerNow")),
        (market_order("0.01", Side.SELL, stop_loss=Decimal(59000)), ("10001", "WouldTriggerNow")),
        (market_order("0.01", position_side="LONG"), ("10001", "Rejected")),
        (market_order("0.01", cid="has.dot"), ("10001", "Rejected")),
        (stop_order("0.01", "60000"), ("110093", "WouldTriggerNow")),
        (stop_order("0.01", "60000", Side.BUY), ("110092", "WouldTriggerNow")),
        (trading_stop("59000"), ("10001", "NoPositionYet")),
        (SetMarginMode(symbol=BTC, isolated=True), ("3400045", "Rejected")),
        (SetLeverage(symbol=BTC, leverage=Decimal(101)), ("110013", "Rejected")),
    ],
)
def test_what_is_refused_is_refused_with_its_code(request_, expected) -> None:
    desk = bybit()
    assert code(desk.do(request_)) == expected
    assert desk.of(OrderChanged) == []


def test_the_attached_stop_is_live_at_the_instant_of_the_fill() -> None:
    desk = bybit()
    desk.market("0.01", stop_loss=Decimal(58800))
    (traded,), (live,) = desk.of(Traded), desk.of(StopLive)
    assert live.ts_ns == traded.ts_ns
    assert (live.stop.qty, live.stop.side) == (Decimal("0.01"), Side.SELL)
    (row,) = desk.do(QueryPositions(symbol=BTC)).positions
    assert (row.stop_price, row.stop_trigger_by) == (Decimal(58800), PriceSource.MARK)
    (child,) = attached(desk)
    assert child.client_order_id == ""
    assert child.close_position


def test_the_attached_stop_follows_the_size_and_goes_with_the_position() -> None:
    desk = bybit()
    desk.market("0.01", stop_loss=Decimal(58800))
    desk.market("0.02", cid="e-2")
    assert desk.of(StopLive)[-1].stop.qty == Decimal("0.03")
    desk.market("0.01", Side.SELL, "x-1", reduce_only=True)
    assert desk.of(StopLive)[-1].stop.qty == Decimal("0.02")
    desk.market("0.02", Side.SELL, "x-2", reduce_only=True)
    (gone,) = desk.of(StopGone)
    assert gone.reason == "CancelByTpSlTsClear"
    assert attached(desk) == []
    ended = [e.order for e in desk.of(OrderChanged) if e.order.order_class == "ATTACHED"][-1]
    assert ended.status is OrderStatus.CANCELED


def test_trading_stop_sets_moves_and_clears_one_order() -> None:
    desk = bybit()
    desk.market("0.01")
    assert desk.do(trading_stop("58800")) == Done()
    (first,) = attached(desk)
    assert desk.do(trading_stop("58900")) == Done()
    (moved,) = attached(desk)
    assert (moved.venue_order_id, moved.trigger_price) == (first.venue_order_id, Decimal(58900))
    assert desk.do(trading_stop("58900")) == Done(already=True)
    assert desk.do(trading_stop("58900", PriceSource.LAST)) == Done()
    assert desk.do(trading_stop("0")) == Done()
    assert desk.do(trading_stop("0")) == Done(already=True)
    assert attached(desk) == []
    assert code(desk.do(trading_stop("60000"))) == ("10001", "WouldTriggerNow")


def test_an_attached_stop_fires_under_its_own_id_and_ends_filled() -> None:
    desk = bybit(FALLING)
    desk.market("0.01", stop_loss=Decimal(58800))
    (child,) = attached(desk)
    desk.run_to(2000)
    told = [e.order.status for e in desk.of(OrderChanged)
            if e.order.venue_order_id == child.venue_order_id]
    assert told == [OrderStatus.NEW, OrderStatus.TRIGGERED, OrderStatus.FILLED]
    assert desk.of(Traded)[-1].fill.price == Decimal(58700)
    assert desk.qty() == 0


def test_a_market_order_may_part_fill_and_end_canceled() -> None:
    plan = FillPlan(steps=(FillStep(portion=Decimal("0.5")),))
    desk = bybit(faults=(plan,))
    desk.market("0.01", stop_loss=Decimal(58800))
    order = desk.look_up("e-1")
    assert (order.status, order.filled_qty) == (OrderStatus.CANCELED, Decimal("0.005"))
    assert desk.of(StopLive)[-1].stop.qty == Decimal("0.005")


def test_a_closing_order_is_cut_down_to_the_position() -> None:
    desk = bybit()
    desk.market("0.01")
    desk.market("0.03", Side.SELL, "x-1", reduce_only=True)
    order = desk.look_up("x-1")
    assert (order.status, order.qty) == (OrderStatus.FILLED, Decimal("0.01"))
    assert desk.qty() == 0


def test_a_client_id_is_never_taken_twice() -> None:
    desk = bybit()
    desk.market("0.01")
    assert code(desk.market("0.01")) == ("110072", "DuplicateClientOrderId")
    assert code(desk.stop("0.01", "58800", cid="e-1")) == ("110072", "DuplicateClientOrderId")


def test_ten_conditionals_a_symbol_and_the_attached_stop_is_not_one_of_them() -> None:
    desk = bybit(symbols=(BTC, "ETHUSDT"), budgets=())
    desk.market("0.01", stop_loss=Decimal(58000))
    for n in range(10):
        assert isinstance(desk.stop("0.01", "58800", cid=f"s-{n}"), Acked)
    assert code(desk.stop("0.01", "58800", cid="s-x")) == ("110009", "TooManyOpenOrders")
    assert isinstance(desk.stop("0.01", "58800", cid="s-y", symbol="ETHUSDT"), Acked)
    assert len(desk.open_orders(OrderClass.CONDITIONAL, symbol=BTC)) == 11


def test_a_conditional_outlives_the_position_and_then_ends_without_a_fill() -> None:
    desk = bybit(FALLING)
    desk.market("0.01")
    desk.stop("0.01", "58800")
    desk.market("0.01", Side.SELL, "x-1", reduce_only=True)
    assert len(desk.open_orders(OrderClass.CONDITIONAL)) == 1
    desk.run_to(5000)
    order = desk.look_up("s-1", OrderSurface.CONDITIONAL)
    assert (order.status, order.reason) == (OrderStatus.CANCELED, "CancelByReduceOnly")


def test_realtime_keeps_the_last_closed_orders_only() -> None:
    desk = bybit(recent_closed=2, budgets=())
    for n in range(3):
        desk.market("0.01", cid=f"e-{n}")
    assert code(desk.look_up("e-0")) == ("none", "UnknownOrder")
    assert desk.look_up("e-1").status is OrderStatus.FILLED
    assert desk.look_up("e-1", OrderSurface.CONDITIONAL).status is OrderStatus.FILLED


def test_a_restart_empties_realtime_before_history_knows() -> None:
    restart = VenueAct(act="restart", cue=Cue(at_ns=100 * MS))
    desk = bybit(faults=(restart,))
    desk.market("0.01")
    desk.do(limit_order("0.01", "59000"))
    desk.run_to(100)
    assert code(desk.look_up("e-1")) == ("none", "UnknownOrder")
    assert code(desk.look_up("e-1", OrderSurface.HISTORY)) == ("none", "UnknownOrder")
    assert desk.look_up("l-1").status is OrderStatus.NEW, "open orders are not forgotten"
    desk.run_to(1000)
    assert desk.look_up("e-1", OrderSurface.HISTORY).status is OrderStatus.FILLED


def test_history_shows_an_unfilled_order_for_a_day() -> None:
    desk = bybit(recent_closed=0)
    desk.do(limit_order("0.01", "59000"))
    desk.cancel("l-1", OrderClass.PLAIN)
    desk.run_to(DAY // MS)
    assert desk.look_up("l-1", OrderSurface.HISTORY).status is OrderStatus.CANCELED
    desk.run_to(DAY // MS + 1)
    assert code(desk.look_up("l-1", OrderSurface.HISTORY)) == ("none", "UnknownOrder")


def test_lists_of_orders_come_in_pages_newest_first() -> None:
    desk = bybit(budgets=())
    for n in range(60):
        desk.do(limit_order("0.01", "59000", cid=f"l-{n}"))
    first = desk.do(QueryOpenOrders(order_class=OrderClass.PLAIN))
    assert [order.client_order_id for order in first.orders][:2] == ["l-59", "l-58"]
    assert len(first.orders) == 50
    rest = desk.do(QueryOpenOrders(order_class=OrderClass.PLAIN, cursor=first.next_cursor))
    assert [order.client_order_id for order in rest.orders][-1] == "l-0"
    assert (len(rest.orders), rest.next_cursor) == (10, "")


def test_a_flat_symbol_has_a_row_when_asked_for_by_name() -> None:
    desk = bybit()
    assert desk.do(QueryPositions()).positions == ()
    (row,) = desk.do(QueryPositions(symbol=BTC)).positions
    assert (row.side, row.qty, row.leverage) == (PositionSide.FLAT, 0, 5)


def test_the_stop_service_may_not_see_the_position_yet() -> None:
    desk = bybit([(0, "60000")], legs=Legs(lag_trading_stop=500 * MS))
    desk.market("0.01")
    assert code(desk.do(trading_stop("58800"))) == ("10001", "NoPositionYet")
    desk.run_to(499)
    assert code(desk.do(trading_stop("58800"))) == ("10001", "NoPositionYet")
    desk.run_to(500)
    assert desk.do(trading_stop("58800")) == Done()


def test_a_lag_of_the_stop_service_can_be_a_fault() -> None:
    lag = RestLag(target=Target(surface="trading_stop"), lag_ns=SECOND)
    desk = bybit(faults=(lag,))
    desk.market("0.01")
    assert code(desk.do(trading_stop("58800"))) == ("10001", "NoPositionYet")
    assert len(desk.do(QueryPositions()).positions) == 1


def test_the_stop_that_rode_along_may_be_lost() -> None:
    desk = bybit(faults=(AttachedLost(),))
    desk.market("0.01", stop_loss=Decimal(58800))
    assert desk.qty() == Decimal("0.01")
    assert attached(desk) == []
    assert desk.venue.faults.fired == {"attached_lost": 1}


def test_a_stop_that_the_price_has_passed_before_the_fill_fires_at_once() -> None:
    plan = FillPlan(
        target=Target(kinds=("submit",)),
        steps=(FillStep(dt_ns=2500 * MS, portion=Decimal(1)),),
    )
    desk = bybit(FALLING, faults=(plan,))
    desk.market("0.01", stop_loss=Decimal(59500))
    desk.run_to(2500)
    assert [t.position_qty for t in desk.of(Traded)] == [Decimal("0.01"), 0]
    assert [g.reason for g in desk.of(StopGone)] == ["triggered"]


def test_an_opposite_order_turns_the_position_and_clears_its_stop() -> None:
    desk = bybit()
    desk.market("0.01", stop_loss=Decimal(58800))
    desk.market("0.03", Side.SELL, "e-2", stop_loss=Decimal(61000))
    assert desk.qty() == Decimal("-0.02")
    (stop,) = attached(desk)
    assert (stop.side, stop.trigger_price) == (Side.BUY, Decimal(61000))
    assert stop.qty == Decimal("0.02")
    assert len(desk.of(StopGone)) == 1


def test_funding_is_an_execution_that_changes_no_quantity() -> None:
    funding = VenueAct(act="funding", rate=Decimal("0.0001"), cue=Cue(at_ns=SECOND))
    desk = bybit(faults=(funding,))
    desk.connect().run_to(100)
    desk.market("0.01")
    desk.run_to(1100)
    page = desk.do(QueryExecutions(symbol=BTC))
    row = page.fills[-1]
    assert (row.kind, row.qty, row.fee) == (FillKind.FUNDING, Decimal("0.01"), Decimal("0.06"))
    assert desk.qty() == Decimal("0.01")
    assert desk.venue.account.cash["FUNDING"] == Decimal("-0.06")
    assert [fill.kind for _, fill in desk.said(Fill)][-1] is FillKind.FUNDING


def test_a_market_order_is_first_told_when_it_is_done() -> None:
    desk = bybit().connect().run_to(100)
    desk.call(market_order("0.01", stop_loss=Decimal(58800)))
    desk.run_to(200)
    told = [(r.order_class, r.status) for _, r in desk.said(OrderReport)]
    assert told == [
        (OrderClass.ATTACHED, OrderStatus.NEW), (OrderClass.PLAIN, OrderStatus.FILLED),
    ]  # fmt: skip


def test_every_cancel_comes_with_a_position_though_nothing_changed() -> None:
    desk = bybit()
    desk.do(limit_order("0.01", "59000"))
    desk.connect().run_to(100)
    desk.cancel("l-1", OrderClass.PLAIN)
    desk.run_to(200)
    ((_, row),) = desk.said(PositionReport)
    assert (row.side, row.qty) == (PositionSide.FLAT, 0)


def test_cancel_takes_the_attached_stop_by_its_id() -> None:
    desk = bybit()
    desk.market("0.01", stop_loss=Decimal(58800))
    (stop,) = attached(desk)
    cancel = CancelOrder(symbol=BTC, order_class=OrderClass.ATTACHED,
                         venue_order_id=stop.venue_order_id)
    assert isinstance(desk.do(cancel), Acked)
    (row,) = desk.do(QueryPositions(symbol=BTC)).positions
    assert row.stop_price == 0
    assert code(desk.do(cancel)) == ("110001", "UnknownOrder")


def test_the_position_index_must_match_the_mode() -> None:
    desk = bybit(account=AccountRules(hedge_mode=True))
    assert code(desk.market("0.01")) == ("10001", "Rejected")
    desk.market("0.01", position_side="LONG", stop_loss=Decimal(58800))
    assert code(desk.do(trading_stop("58900"))) == ("10001", "Rejected")
    stop = SetPositionStop(symbol=BTC, trigger_price=Decimal(58900),
                           trigger_by=PriceSource.MARK, position_side="LONG")
    assert desk.do(stop) == Done()


def test_a_limit_price_beyond_the_band_is_kept_where_no_band_is_known() -> None:
    desk = bybit()
    desk.do(limit_order("0.01", "70000"))
    (traded,) = desk.of(Traded)
    assert traded.fill.price == Decimal("60000.1")
    assert not traded.fill.is_maker

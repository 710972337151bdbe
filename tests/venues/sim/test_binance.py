"""Binance as venue-binance.md §2 to §6 describes it."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import (
    BalanceReport,
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionSide,
    PriceSource,
    Side,
    TimeInForce,
)
from kernel.model.units import DAY, MS, SECOND, TsNs
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    Failure,
    OrderSurface,
    QueryExecutions,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
)
from tests.venues.sim.desk import BTC, T0, Desk, limit_order, market_order, stop_order
from venues.sim.account import AccountRules, unrealized
from venues.sim.truth import OrderChanged, StopGone, StopLive, Traded

FLAT = [(0, "60000"), (60_000, "60000")]
FALLING = [(0, "60000"), (1000, "59000"), (2000, "58700"), (3000, "58000")]


def code(reply: object) -> tuple[str, str]:
    assert isinstance(reply, Failure), reply
    return reply.code, reply.kind


def test_a_market_order_executes_at_the_far_side_of_the_book() -> None:
    desk = Desk(path=FLAT)
    reply = desk.market("0.01")
    assert isinstance(reply, Acked)
    (traded,) = desk.of(Traded)
    assert traded.fill.price == Decimal("60000.1")
    assert traded.fill.fee == Decimal("0.3000005")
    assert traded.position_qty == Decimal("0.01")
    assert desk.look_up("e-1").status is OrderStatus.FILLED


@pytest.mark.parametrize("dense", [False, True])
def test_a_market_order_may_wait_for_the_next_price(dense: bool) -> None:
    desk = Desk(path=FALLING, dense=dense, market_fill="next").run_to(500)
    assert isinstance(desk.market("0.01"), Acked)
    assert desk.look_up("e-1").status is OrderStatus.NEW
    desk.run_to(1000)
    (traded,) = desk.of(Traded)
    assert (traded.ts_ns, traded.fill.price) == (T0 + 1000 * MS, Decimal("59000.1"))


@pytest.mark.parametrize("dense", [False, True])
def test_a_market_order_that_waits_can_be_canceled(dense: bool) -> None:
    desk = Desk(path=FALLING, dense=dense, market_fill="next").run_to(500)
    desk.market("0.01")
    assert isinstance(desk.cancel("e-1", OrderClass.PLAIN), Acked)
    desk.run_to(3000)
    assert not desk.of(Traded)


def test_behind_the_last_price_a_market_order_does_not_wait() -> None:
    desk = Desk(path=FALLING, market_fill="next").run_to(3500)
    desk.market("0.01")
    (traded,) = desk.of(Traded)
    assert traded.fill.price == Decimal("58000.1")


def test_a_stop_executes_on_the_price_that_fires_it_though_market_orders_wait() -> None:
    desk = Desk(path=FALLING, market_fill="next").run_to(0)
    desk.market("0.01")
    desk.run_to(1000)
    desk.stop("0.01", "58800")
    desk.run_to(3000)
    assert [t.ts_ns - T0 for t in desk.of(Traded)] == [1000 * MS, 2000 * MS]


def test_slippage_makes_the_price_worse_by_whole_ticks() -> None:
    desk = Desk(path=FLAT, slippage_bps=Decimal(10))
    desk.market("0.01")
    desk.market("0.01", Side.SELL, "x-1", reduce_only=True)
    bought, sold = (traded.fill.price for traded in desk.of(Traded))
    assert (bought, sold) == (Decimal("60060.2"), Decimal(59940))


def test_nothing_fills_beyond_the_bound_around_the_mark() -> None:
    desk = Desk(path=[(0, "64000")], mark=[(0, "60000")])
    desk.market("0.01")
    order = desk.look_up("e-1")
    assert (order.status, order.filled_qty, order.reason) == (OrderStatus.EXPIRED, 0, "9")
    assert desk.qty() == 0


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (market_order("0.01", symbol="NOPEUSDT"), ("-1121", "EntriesForbidden")),
        (market_order("0.0105"), ("-1111", "FilterViolation")),
        (market_order("0"), ("-4003", "FilterViolation")),
        (market_order("121"), ("-4005", "FilterViolation")),
        (market_order("0.0005"), ("-1111", "FilterViolation")),
        (limit_order("0.01", "59999.95"), ("-4014", "FilterViolation")),
        (limit_order("0.01", "70000"), ("-4016", "FilterViolation")),
        (limit_order("0.01", "50000", Side.SELL), ("-4024", "FilterViolation")),
        (limit_order("0.01", "60100", time_in_force=TimeInForce.GTX), ("-5022", "Rejected")),
        (market_order("10"), ("-2019", "InsufficientMargin")),
        (market_order("0.01", reduce_only=True), ("-2022", "ReduceOnlyRefused")),
        (market_order("0.01", order_type=OrderType.STOP_MARKET), ("-4120", "Rejected")),
        (market_order("0.01", cid="has space"), ("-4015", "Rejected")),
        (market_order("0.01", position_side="LONG"), ("-4061", "Rejected")),
        (market_order("0.01", stop_loss=Decimal(59000)), ("-1106", "Rejected")),
        (stop_order("0.01", "60000"), ("-2021", "WouldTriggerNow")),
        (stop_order("0.01", "58800.05"), ("-4014", "FilterViolation")),
        (stop_order("121", "58800"), ("-4005", "FilterViolation")),
        (
            SetPositionStop(
                symbol=BTC, trigger_price=Decimal(59000), trigger_by=PriceSource.MARK
            ),
            ("http-404", "Rejected"),
        ),
    ],
)
def test_what_is_refused_is_refused_with_its_code(request_, expected) -> None:
    desk = Desk(path=FLAT)
    assert code(desk.do(request_)) == expected
    assert desk.of(OrderChanged) == []


def test_the_minimum_notional_does_not_bind_closing_orders() -> None:
    desk = Desk(path=[(0, "60000"), (1000, "49000")])
    desk.market("0.001")
    assert desk.qty() == Decimal("0.001")
    desk.run_to(1000)
    assert code(desk.market("0.001", cid="e-2")) == ("-4164", "FilterViolation")
    assert isinstance(desk.market("0.001", Side.SELL, "x-1", reduce_only=True), Acked)


def test_a_client_id_is_unique_among_open_orders_only() -> None:
    desk = Desk(path=FLAT)
    desk.do(limit_order("0.01", "59000"))
    assert code(desk.do(limit_order("0.01", "59000"))) == ("-4116", "DuplicateClientOrderId")
    desk.market("0.01")
    desk.market("0.01")
    assert desk.qty() == Decimal("0.02"), "a filled id can execute again"


def test_the_two_id_spaces_know_nothing_of_each_other() -> None:
    desk = Desk(path=FLAT)
    desk.market("0.01")
    algo = desk.stop("0.01", "58800")
    assert code(desk.look_up("s-1")) == ("-2013", "UnknownOrder")
    assert code(desk.cancel("s-1", OrderClass.PLAIN)) == ("-2011", "UnknownOrder")
    assert desk.open_orders(OrderClass.PLAIN) == ()
    (listed,) = desk.open_orders(OrderClass.CONDITIONAL)
    assert listed.venue_order_id == algo.venue_order_id
    assert desk.look_up("s-1", OrderSurface.CONDITIONAL).status is OrderStatus.NEW


def test_a_stop_becomes_a_child_order_and_finishes_when_it_is_filled() -> None:
    desk = Desk(path=FALLING)
    desk.market("0.01")
    desk.stop("0.01", "58800")
    desk.run_to(5000)
    algo = desk.look_up("s-1", OrderSurface.CONDITIONAL)
    child = desk.look_up("s-1")
    assert algo.status is OrderStatus.FINISHED
    assert algo.child_order_id == child.venue_order_id != algo.venue_order_id
    assert (child.status, child.avg_price) == (OrderStatus.FILLED, Decimal(58700))
    told = [e.order.status for e in desk.of(OrderChanged) if e.order.order_class != "PLAIN"]
    assert told == [
        OrderStatus.NEW, OrderStatus.TRIGGERING, OrderStatus.TRIGGERED, OrderStatus.FINISHED,
    ]  # fmt: skip
    assert desk.qty() == 0


def test_a_mark_stop_looks_at_the_mark_and_executes_at_the_last_price() -> None:
    desk = Desk(path=[(0, "60000"), (1000, "58000"), (1500, "59900")],
                mark=[(0, "60000"), (2000, "58800")])
    desk.market("0.01")
    desk.stop("0.01", "58800")
    desk.run_to(1999)
    assert desk.qty() == Decimal("0.01"), "the wick of the last price does not fire it"
    desk.run_to(2000)
    assert desk.of(Traded)[-1].fill.price == Decimal(59900)


def test_a_reduce_only_stop_stays_when_the_position_is_gone() -> None:
    desk = Desk(path=FALLING)
    desk.market("0.01")
    desk.stop("0.01", "58800")
    desk.market("0.01", Side.SELL, "x-1", reduce_only=True)
    (zombie,) = desk.open_orders(OrderClass.CONDITIONAL)
    assert zombie.client_order_id == "s-1"
    desk.run_to(5000)
    algo = desk.look_up("s-1", OrderSurface.CONDITIONAL)
    assert (algo.status, algo.reason) == (OrderStatus.REJECTED, "Reduce Only reject")
    assert desk.qty() == 0


def test_a_reduce_only_order_larger_than_the_position_closes_it_and_expires() -> None:
    desk = Desk(path=FLAT)
    desk.market("0.01")
    desk.market("0.03", Side.SELL, "x-1", reduce_only=True)
    order = desk.look_up("x-1")
    assert (order.status, order.filled_qty) == (OrderStatus.EXPIRED, Decimal("0.01"))
    assert order.reason == "4"
    assert desk.qty() == 0


def test_resting_reduce_only_orders_expire_when_the_position_is_gone() -> None:
    desk = Desk(path=FLAT)
    desk.market("0.01")
    desk.do(limit_order("0.01", "61000", Side.SELL, reduce_only=True))
    desk.market("0.01", Side.SELL, "x-1", reduce_only=True)
    order = desk.look_up("l-1")
    assert (order.status, order.reason) == (OrderStatus.EXPIRED, "4")


def test_a_limit_order_rests_and_fills_as_maker_at_its_price() -> None:
    desk = Desk(path=FALLING)
    desk.do(limit_order("0.01", "59000"))
    assert desk.venue.account.order_margin > 0
    desk.run_to(1000)
    (traded,) = desk.of(Traded)
    assert (traded.fill.price, traded.fill.is_maker) == (Decimal(59000), True)
    assert traded.fill.fee == Decimal("0.118")
    assert traded.ts_ns == T0 + SECOND
    assert desk.venue.account.order_margin == 0


def test_the_algo_cap_counts_over_the_account() -> None:
    desk = Desk(path=FLAT, symbols=(BTC, "ETHUSDT"), budgets=())
    for n in range(200):
        symbol = BTC if n % 2 else "ETHUSDT"
        assert isinstance(desk.stop("0.01", "58800", cid=f"s-{n}", symbol=symbol), Acked)
    assert code(desk.stop("0.01", "58800", cid="s-x")) == ("-4045", "TooManyOpenOrders")
    desk.cancel("s-1")
    assert isinstance(desk.stop("0.01", "58800", cid="s-x"), Acked)


def test_a_cancel_says_nothing_of_what_it_missed() -> None:
    desk = Desk(path=FLAT)
    desk.market("0.01")
    desk.stop("0.01", "58800")
    assert isinstance(desk.cancel("s-1"), Acked)
    assert code(desk.cancel("s-1")) == ("-2011", "UnknownOrder")
    assert desk.of(StopGone)[-1].stop == desk.of(StopLive)[-1].stop


def test_unfilled_closed_orders_are_shown_for_three_days() -> None:
    desk = Desk(path=FLAT)
    desk.market("0.01")
    desk.stop("0.01", "58800")
    desk.cancel("s-1")
    desk.run_to(3 * DAY // MS)
    assert desk.look_up("s-1", OrderSurface.CONDITIONAL).status is OrderStatus.CANCELED
    desk.run_to(3 * DAY // MS + 1)
    assert code(desk.look_up("s-1", OrderSurface.CONDITIONAL)) == ("-2013", "UnknownOrder")
    assert desk.look_up("e-1").status is OrderStatus.FILLED


def test_executions_carry_the_order_id_but_no_client_id() -> None:
    desk = Desk(path=FLAT)
    acked = desk.market("0.01")
    desk.market("0.02", cid="e-2")
    page = desk.do(QueryExecutions(symbol=BTC, venue_order_id=acked.venue_order_id))
    (fill,) = page.fills
    assert (fill.client_order_id, fill.qty) == ("", Decimal("0.01"))
    assert len(desk.do(QueryExecutions(symbol=BTC)).fills) == 2
    assert desk.do(QueryExecutions(symbol=BTC, since_ns=TsNs(T0 + 1))).fills == ()


def test_executions_of_long_ago_need_a_time_or_an_order() -> None:
    desk = Desk(path=FLAT)
    acked = desk.market("0.01")
    desk.run_to(8 * DAY // MS)
    assert desk.do(QueryExecutions(symbol=BTC)).fills == ()
    assert len(desk.do(QueryExecutions(symbol=BTC, since_ns=TsNs(T0))).fills) == 1
    by_order = QueryExecutions(symbol=BTC, venue_order_id=acked.venue_order_id)
    assert len(desk.do(by_order).fills) == 1


def test_positions_show_what_the_list_tells_and_nothing_more() -> None:
    desk = Desk(path=[(0, "60000")], mark=[(0, "60010")])
    assert desk.do(QueryPositions()).positions == ()
    desk.market("0.01", Side.SELL)
    (row,) = desk.do(QueryPositions(symbol=BTC)).positions
    assert (row.side, row.qty) == (PositionSide.SHORT, Decimal("0.01"))
    assert row.mark_price == Decimal(60010)
    assert unrealized(row) == Decimal("-0.1")
    assert row.liquidation_price > row.mark_price
    assert (row.leverage, row.seq, row.opened_ns) == (0, 0, 0)


def test_settings_that_are_so_already_are_success() -> None:
    desk = Desk(path=FLAT)
    assert desk.do(SetLeverage(symbol=BTC, leverage=Decimal(5))) == Done(already=True)
    assert desk.do(SetLeverage(symbol=BTC, leverage=Decimal(10))) == Done()
    assert desk.do(SetMarginMode(symbol=BTC, isolated=True)) == Done(already=True)
    assert code(desk.do(SetLeverage(symbol=BTC, leverage=Decimal(126)))) == ("-4028", "Rejected")
    desk.market("0.01")
    assert code(desk.do(SetLeverage(symbol=BTC, leverage=Decimal(3)))) == ("-4161", "Rejected")
    assert code(desk.do(SetMarginMode(symbol=BTC, isolated=False))) == ("-4048", "Rejected")


def test_isolated_liquidation_costs_the_margin_and_closes_everything() -> None:
    desk = Desk(path=[(0, "60000"), (1000, "48000")])
    desk.market("0.01")
    desk.stop("0.01", "47000")
    desk.run_to(1000)
    last = desk.of(Traded)[-1].fill
    assert last.kind is FillKind.LIQUIDATION
    assert last.client_order_id.startswith("autoclose-")
    assert last.realized_pnl == Decimal("-120.001"), "20 % of 600.001, rounded to the tick"
    assert desk.qty() == 0
    assert len(desk.open_orders(OrderClass.CONDITIONAL)) == 1, "the algo stop is a zombie now"


def test_hedge_legs_are_separate_books() -> None:
    desk = Desk(path=FLAT, account=AccountRules(hedge_mode=True))
    assert code(desk.market("0.01")) == ("-4061", "Rejected")
    assert isinstance(desk.market("0.01", position_side="LONG"), Acked)
    assert isinstance(desk.market("0.02", Side.SELL, "e-2", position_side="SHORT"), Acked)
    refused = desk.market("0.01", Side.SELL, "x-0", position_side="LONG", reduce_only=True)
    assert code(refused) == ("-4062", "Rejected")
    desk.market("0.05", Side.SELL, "x-1", position_side="LONG")
    rows = desk.do(QueryPositions()).positions
    assert [(row.hedge_leg, row.qty) for row in rows] == [("SHORT", Decimal("0.02"))]


def test_the_stream_tells_every_step_in_order_and_late() -> None:
    desk = Desk(path=FALLING).connect().run_to(100)
    desk.call(market_order("0.01"))
    desk.run_to(200)
    assert desk.answers() == [(110, Acked(client_order_id="e-1", venue_order_id="10000000001"))]
    reports = desk.said(OrderReport)
    assert [(at, report.status) for at, report in reports] == [
        (111, OrderStatus.NEW), (111, OrderStatus.FILLED),
    ]  # fmt: skip
    (fill,) = desk.said(Fill)
    assert (fill[0], fill[1].client_order_id) == (111, "e-1")
    (balance,) = desk.said(BalanceReport)
    assert (balance[0], balance[1].change) == (114, Decimal("-0.3000005"))


def test_lists_are_whole_and_oldest_first() -> None:
    desk = Desk(path=FLAT, budgets=())
    for n in range(60):
        desk.do(limit_order("0.01", "59000", cid=f"l-{n}"))
    page = desk.do(QueryOpenOrders(order_class=OrderClass.PLAIN))
    assert [order.client_order_id for order in page.orders] == [f"l-{n}" for n in range(60)]
    assert page.next_cursor == ""


def test_a_cancel_needs_the_right_symbol_and_takes_either_id() -> None:
    desk = Desk(path=FLAT)
    placed = desk.do(limit_order("0.01", "59000"))
    wrong = CancelOrder(symbol="ETHUSDT", order_class=OrderClass.PLAIN,
                        venue_order_id=placed.venue_order_id)
    assert code(desk.do(wrong)) == ("-2011", "UnknownOrder")
    assert isinstance(desk.do(msgspec.structs.replace(wrong, symbol=BTC)), Acked)
    by_id = QueryOrder(symbol=BTC, surface=OrderSurface.PLAIN,
                       venue_order_id=placed.venue_order_id)
    assert desk.do(by_id).status is OrderStatus.CANCELED

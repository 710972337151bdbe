"""What answers mean: successes row by row, failures by their codes."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.orders import (
    FillKind,
    OrderClass,
    OrderStatus,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.units import MINUTE, MS, SECOND, TsNs
from kernel.model.venue import (
    CancelOrder,
    Done,
    OrderSurface,
    QueryAccountConfig,
    QueryBalance,
    QueryExecutions,
    QueryFunding,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySymbolConfig,
    RateLimit,
    SetLeverage,
    SetMarginMode,
    VenueNotice,
)
from tests.venues.live.binance.test_binance_requests import ENTRY, STOP
from tests.venues.live.world import START_TS, World, payload
from venues.live.binance import requests
from venues.live.binance.adapter import make_venue
from venues.live.binance.errors import CODES, STATUSES
from venues.live.failures import UNCHANGED

POSITION = {"symbol": "BTCUSDT", "positionAmt": "-0.010", "entryPrice": "60000.0"}
ALGO = {
    "algoId": 3000001775501555,
    "clientAlgoId": "s-1",
    "orderType": "STOP_MARKET",
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.010",
    "algoStatus": "NEW",
    "triggerPrice": "59000.00",
    "workingType": "MARK_PRICE",
    "reduceOnly": True,
    "createTime": 1760000000000,
    "updateTime": 1760000000001,
}


@pytest.fixture
def world():
    return World(make_venue)


def asked(world, request, body, **more):
    made = world.ask(request)
    world.answer(body, **more)
    return made


def test_an_entry_is_acknowledged_with_both_ids(world):
    made = asked(world, ENTRY, {"orderId": 283194212, "clientOrderId": "e-1", "status": "NEW"})
    assert (made.reply.client_order_id, made.reply.venue_order_id) == ("e-1", "283194212")


def test_a_stop_is_acknowledged_in_its_own_number_space(world):
    made = asked(world, STOP, ALGO)
    assert made.reply.venue_order_id == "3000001775501555"


def test_cancelling_an_algo_order_answers_its_code_as_a_string(world):
    cancel = CancelOrder(symbol="A", order_class=OrderClass.CONDITIONAL, client_order_id="x")
    made = asked(world, cancel, {"algoId": 1, "clientAlgoId": "x", "code": "200", "msg": "success"})
    assert made.reply.venue_order_id == "1"


def test_a_triggered_stop_names_its_child(world):
    query = QueryOrder(symbol="A", surface=OrderSurface.CONDITIONAL, client_order_id="s-1")
    row = {**ALGO, "algoStatus": "TRIGGERED", "actualOrderId": "88937381063", "actualQty": "0.010"}
    report = asked(world, query, row).reply
    assert report.status is OrderStatus.TRIGGERED
    assert report.child_order_id == "88937381063"
    assert report.filled_qty == 0
    assert report.trigger_by is PriceSource.MARK
    assert report.reduce_only


def test_an_order_that_vanished_is_a_question_not_an_answer(world):
    query = QueryOrder(symbol="A", surface=OrderSurface.PLAIN, client_order_id="e-1")
    made = asked(world, query, {"code": -2013, "msg": "Order does not exist."}, status=400)
    assert isinstance(made.error, errors.UnknownOrder)


def test_amounts_are_signed_and_sides_are_not(world):
    report = asked(world, QueryPositions(), [POSITION]).reply.positions[0]
    assert (report.side, report.qty) == (PositionSide.SHORT, Decimal("0.01"))


def test_a_row_without_quantity_is_flat(world):
    report = asked(world, QueryPositions(), [{**POSITION, "positionAmt": "0.000"}]).reply
    assert report.positions[0].side is PositionSide.FLAT


def test_a_bad_row_of_a_symbol_we_trade_makes_the_list_worthless(world):
    world.venue.symbols = {"BTCUSDT": None}
    made = asked(world, QueryPositions(), [POSITION, {**POSITION, "positionAmt": "many"}])
    assert isinstance(made.error, errors.OutcomeUnknown)
    assert [event.kind for event in world.heard()] == ["malformed"]


def test_a_bad_row_of_another_symbol_costs_nobody_else(world):
    world.venue.symbols = {"BTCUSDT": None}
    bad = {"symbol": "ODD_261225", "positionAmt": None}
    made = asked(world, QueryPositions(), [bad, POSITION])
    assert [report.symbol for report in made.reply.positions] == ["BTCUSDT"]
    notice = world.heard()[0]
    assert isinstance(notice, VenueNotice)
    assert notice.symbol == "ODD_261225"


def test_the_same_bad_row_is_told_once(world):
    world.venue.symbols = {"BTCUSDT": None}
    for _ in range(3):
        asked(world, QueryPositions(), [{"symbol": "ODD_261225"}])
    assert len(world.heard()) == 1


def test_an_unknown_status_is_no_status(world):
    world.venue.symbols = {"BTCUSDT": None}
    query = QueryOpenOrders(order_class=OrderClass.CONDITIONAL)
    made = asked(world, query, [{**ALGO, "algoStatus": "PARKED"}])
    assert made.error.code == "malformed-row"


def trade(number, **more):
    row = {"symbol": "BTCUSDT", "id": number, "orderId": 5, "side": "BUY", "qty": "1", "price": "2"}
    return {**row, "commission": "0.5", "realizedPnl": "-0.25", "time": 1_760_000_000_000, **more}


def test_a_full_page_of_executions_goes_on_behind_its_last_id(world):
    query = QueryExecutions(symbol="BTCUSDT", since_ns=TsNs(START_TS - SECOND))
    page = asked(world, query, [trade(n) for n in range(1, 1001)]).reply
    assert page.next_cursor == "id:1001"
    last = QueryExecutions(symbol="BTCUSDT", since_ns=query.since_ns, cursor=page.next_cursor)
    assert asked(world, last, [trade(1001)]).reply.next_cursor == ""


def test_executions_longer_ago_than_a_window_are_read_window_by_window(world):
    since = TsNs(START_TS - 10 * 86_400 * SECOND)
    first = asked(world, QueryExecutions(symbol="BTCUSDT", since_ns=since), [trade(1)]).reply
    start_ms = since // MS + requests.TRADES_WINDOW_MS + 1
    assert first.next_cursor == f"at:{start_ms}"
    query = QueryExecutions(symbol="BTCUSDT", since_ns=since, cursor=first.next_cursor)
    second = asked(world, query, []).reply
    assert ("startTime", str(start_ms)) in world.request().params
    assert second.next_cursor == ""


def test_executions_are_oldest_first(world):
    rows = [trade(3, time=9), trade(2, time=7), trade(1, time=7)]
    page = asked(world, QueryExecutions(symbol="BTCUSDT"), rows).reply
    assert [fill.trade_id for fill in page.fills] == ["1", "2", "3"]
    assert (page.fills[0].fee, page.fills[0].realized_pnl) == (Decimal("0.5"), Decimal("-0.25"))


def payment(number, **changes):
    """A row of the income ledger."""
    row = {
        "symbol": "BTCUSDT",
        "incomeType": "FUNDING_FEE",
        "income": "-0.375",
        "asset": "USDT",
        "info": "FUNDING_FEE",
        "time": START_TS // MS - 5_000 + number,
        "tranId": 9689322392 + number,
        "tradeId": "",
    }
    return row | changes


def test_what_the_ledger_took_was_paid_and_other_types_are_left_out(world):
    rows = [payment(2, income="0.5"), payment(1), payment(3, incomeType="COMMISSION")]
    page = asked(world, QueryFunding(since_ns=TsNs(START_TS - SECOND)), rows).reply
    assert [fill.fee for fill in page.fills] == [Decimal("0.375"), Decimal("-0.5")]
    first = page.fills[0]
    assert (first.kind, first.qty, first.trade_id) == (FillKind.FUNDING, 0, "9689322393")
    assert (first.symbol, first.ts_ns) == ("BTCUSDT", START_TS // MS * MS - 4_999 * MS)


def test_a_full_page_of_the_ledger_goes_on_at_its_last_time(world):
    query = QueryFunding(since_ns=TsNs(START_TS - 10 * SECOND))
    page = asked(world, query, [payment(n) for n in range(1000)]).reply
    assert page.next_cursor == f"at:{START_TS // MS - 5_000 + 999}"
    last = QueryFunding(since_ns=query.since_ns, cursor=page.next_cursor)
    assert asked(world, last, [payment(999)]).reply.next_cursor == ""


def test_a_page_of_the_ledger_at_one_time_ends_all_the_same(world):
    query = QueryFunding(since_ns=TsNs(START_TS // MS * MS - 5_000 * MS))
    page = asked(world, query, [payment(0) for _ in range(1000)]).reply
    assert page.next_cursor == f"at:{START_TS // MS - 4_999}"


def test_the_ledger_is_read_window_by_window(world):
    since = TsNs(START_TS - 10 * 86_400 * SECOND)
    first = asked(world, QueryFunding(since_ns=since), []).reply
    start_ms = since // MS + requests.TRADES_WINDOW_MS + 1
    assert first.next_cursor == f"at:{start_ms}"
    second = asked(world, QueryFunding(since_ns=since, cursor=first.next_cursor), []).reply
    assert second.next_cursor == ""


def test_the_balance_is_that_of_the_quote_currency(world):
    rows = [
        {"asset": "BNB", "balance": "3", "availableBalance": "3", "updateTime": 1},
        {"asset": "USDT", "balance": "100.50", "availableBalance": "90", "updateTime": 5},
    ]
    report = asked(world, QueryBalance(), rows).reply
    assert (report.asset, report.wallet, report.available) == ("USDT", Decimal("100.5"), 90)


def test_leverage_and_margin_mode_are_read_back(world):
    rows = [{"symbol": "BTCUSDT", "marginType": "ISOLATED", "leverage": 21}]
    config = asked(world, QuerySymbolConfig(symbol="BTCUSDT"), rows).reply
    assert (config.leverage, config.isolated) == (21, True)


def test_the_accounts_right_to_withdraw_is_not_the_keys(world):
    body = {"dualSidePosition": False, "canTrade": True, "canWithdraw": True}
    config = asked(world, QueryAccountConfig(), body).reply
    assert (config.hedge_mode, config.can_trade, config.can_withdraw) == (False, True, None)


def test_a_mode_that_was_so_already_is_success(world):
    body = {"code": -4046, "msg": "No need to change margin type."}
    made = asked(world, SetMarginMode(symbol="A", isolated=True), body, status=400)
    assert made.reply == Done(already=True)


def test_a_leverage_that_was_so_already_is_success(world):
    body = {"code": -4028, "msg": "Leverage 10 already exist"}
    made = asked(world, SetLeverage(symbol="A", leverage=Decimal(10)), body, status=400)
    assert made.reply == Done(already=True)


def test_the_clock_is_read_in_nanoseconds(world):
    assert asked(world, QueryServerTime(), {"serverTime": 7}).reply.ts_ns == 7 * MS


# ---------------------------------------------------------------- rate limits


def info(*limits):
    names = ("rateLimitType", "interval", "intervalNum", "limit")
    return {"symbols": [], "rateLimits": [dict(zip(names, row, strict=True)) for row in limits]}


def test_stated_limits_are_told_once(world):
    body = info(
        ("REQUEST_WEIGHT", "MINUTE", 1, 2400),
        ("ORDERS", "MINUTE", 1, 1200),
        ("ORDERS", "SECOND", 10, 300),
    )
    for _ in range(2):
        asked(world, QueryInstruments(), body)
    assert world.heard() == [
        RateLimit(bucket="queries", capacity=2400, window_ns=MINUTE),
        RateLimit(bucket="orders", capacity=200, window_ns=10 * SECOND),
    ]


def test_a_limit_that_was_assumed_already_is_no_news(world):
    asked(world, QueryInstruments(), info(("REQUEST_WEIGHT", "MINUTE", 1, 1200)))
    assert world.heard() == []


def test_counters_are_told_when_they_come_near_the_limit(world):
    for used in ("100", "900"):
        asked(world, QueryPositions(), [], headers=(("x-mbx-used-weight-1m", used),))
    asked(world, ENTRY, {"code": -1015}, status=429, headers=(("X-MBX-ORDER-COUNT-10S", "50"),))
    assert world.heard() == [
        RateLimit(bucket="queries", used=900),
        RateLimit(bucket="orders", used=50),
    ]


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_listed_code_means_what_its_row_says(world, code):
    made = asked(world, ENTRY, {"code": code, "msg": "words"}, status=400)
    kind = CODES[code].kind
    expected = "Unchanged" if kind == UNCHANGED else kind
    assert type(made.error).__name__ == expected
    assert made.error.code == str(code)
    assert made.error.listed


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_a_status_without_a_code_means_what_its_row_says(world, status):
    made = asked(world, ENTRY, b"<html>no</html>", status=status)
    assert type(made.error).__name__ == STATUSES[status].kind
    assert made.error.code == f"http-{status}"


def test_an_unlisted_code_leaves_the_outcome_unknown_and_says_so(world):
    made = asked(world, ENTRY, {"code": -9999, "msg": "news"}, status=400)
    assert isinstance(made.error, errors.OutcomeUnknown)
    assert not made.error.listed


def test_a_success_that_cannot_be_read_leaves_the_outcome_unknown(world):
    assert isinstance(asked(world, ENTRY, b"").error, errors.OutcomeUnknown)


@pytest.mark.parametrize(("sent", "kind"), [(True, errors.OutcomeUnknown), (False, errors.NotSent)])
def test_no_answer_is_unknown_only_if_something_was_sent(world, sent, kind):
    made = world.ask(ENTRY)
    world.fail(sent=sent)
    assert isinstance(made.error, kind)


def test_a_ban_ends_at_the_time_in_its_text(world):
    text = "Way too many requests; IP(1.2.3.4) banned until 1760000123456."
    error = asked(world, QueryPositions(), {"code": -1003, "msg": text}, status=418).error
    assert isinstance(error, errors.Throttled)
    assert error.banned
    assert error.retry_at_ns == 1_760_000_123_456 * MS


def test_a_throttle_waits_as_long_as_the_header_says(world):
    headers = (("Retry-After", "7"),)
    body = {"code": -1015, "msg": "Too many new orders"}
    error = asked(world, ENTRY, body, status=429, headers=headers).error
    assert (error.code, error.banned, error.retry_at_ns) == ("-1015", False, START_TS + 7 * SECOND)


# ---------------------------------------------------------------- recorded payloads


def test_recorded_instruments_are_read(world):
    made = asked(world, QueryInstruments(), payload("binance/rest/n_market_exchange_info.json"))
    btc = next(found for found in made.reply.instruments if found.symbol == "BTCUSDT")
    assert (btc.tick_size, btc.qty_step) == (Decimal("0.1"), Decimal("0.001"))
    assert (btc.max_market_qty, btc.min_notional) == (1000, 10)
    assert (btc.trading, btc.delist_ns) == (True, 0)
    assert (btc.price_band_up, btc.price_band_down) == (Decimal("1.1"), Decimal("0.5454"))


def test_recorded_algo_orders_are_read(world):
    query = QueryOpenOrders(order_class=OrderClass.CONDITIONAL)
    made = asked(world, query, payload("binance/rest/s_current_all_algo_open_orders.json"))
    order = made.reply.orders[0]
    assert (order.venue_order_id, order.side, order.qty) == ("2148627", Side.SELL, Decimal("0.01"))


def test_recorded_orders_positions_and_trades_are_read(world):
    orders = asked(
        world,
        QueryOpenOrders(order_class=OrderClass.PLAIN),
        payload("binance/rest/s_current_all_open_orders.json"),
    ).reply.orders
    positions = asked(
        world, QueryPositions(), payload("binance/rest/s_position_information_v3.json")
    ).reply.positions
    fills = asked(
        world,
        QueryExecutions(symbol="BTCUSDT"),
        payload("binance/rest/s_account_trade_list.json"),
    ).reply.fills
    assert orders[0].trigger_price == 9300
    assert (positions[0].side, positions[0].qty) == (PositionSide.LONG, 30)
    assert (fills[0].trade_id, fills[0].side) == ("698759", Side.SELL)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("i_e1008_overloaded_but_placed", errors.OutcomeUnknown),
        ("i_e1021_recv_window", errors.NotSent),
        ("i_e2019_margin", errors.InsufficientMargin),
        ("i_e2021_would_trigger", errors.WouldTriggerNow),
        ("i_e4120_algo_endpoint", errors.Rejected),
    ],
)
def test_recorded_refusals_are_classified(world, name, kind):
    found = payload(f"binance/error/{name}.json")
    made = asked(world, ENTRY, found["body"], status=found["http_status"])
    assert type(made.error) is kind

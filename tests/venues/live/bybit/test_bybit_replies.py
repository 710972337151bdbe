"""What answers mean: successes row by row, failures by their codes and words."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.orders import (
    FillKind,
    OrderClass,
    OrderStatus,
    OrderType,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.units import MINUTE, MS, SECOND, TsNs
from kernel.model.venue import (
    Done,
    OrderSurface,
    QueryAccountConfig,
    QueryBalance,
    QueryExecutions,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySymbolConfig,
    RateLimit,
    SetLeverage,
)
from tests.venues.live.bybit.test_bybit_requests import ENTRY, STOP
from tests.venues.live.world import START_TS, World, payload
from venues.live.bybit import requests
from venues.live.bybit.adapter import make_venue
from venues.live.bybit.errors import CODES, STATUSES, WORDS
from venues.live.failures import UNCHANGED

ORDER = {
    "orderId": "fd43",
    "orderLinkId": "e-1",
    "symbol": "BTCUSDT",
    "price": "63000",
    "qty": "0.010",
    "side": "Buy",
    "positionIdx": 0,
    "orderStatus": "Cancelled",
    "cancelType": "UNKNOWN",
    "rejectReason": "EC_NoImmediateQtyToFill",
    "avgPrice": "60000",
    "cumExecQty": "0.004",
    "orderType": "Market",
    "stopOrderType": "",
    "triggerPrice": "",
    "triggerBy": "",
    "reduceOnly": False,
    "createdTime": "1760000000000",
    "updatedTime": "1760000000002",
}
ATTACHED = {
    **ORDER,
    "orderId": "sl",
    "orderLinkId": "",
    "side": "Sell",
    "orderStatus": "Untriggered",
    "stopOrderType": "StopLoss",
    "triggerPrice": "58000",
    "triggerBy": "MarkPrice",
    "cumExecQty": "0",
    "reduceOnly": True,
    "rejectReason": "EC_NoError",
}
POSITION = {
    "positionIdx": 0,
    "symbol": "BTCUSDT",
    "side": "Buy",
    "size": "0.010",
    "avgPrice": "60000",
    "leverage": "10",
    "markPrice": "60005.1",
    "liqPrice": "",
    "stopLoss": "58000",
    "createdTime": "1676538056258",
    "updatedTime": "1760000000010",
    "openTime": 1760000000000,
    "seq": 9364011907,
}
FLAT = {**POSITION, "side": "", "size": "0", "avgPrice": "0", "stopLoss": "", "openTime": 0}


def envelope(result, code=0, words="OK"):
    return {
        "retCode": code,
        "retMsg": words,
        "result": result,
        "retExtInfo": {},
        "time": START_TS // MS,
    }


def rows(*items, cursor=""):
    return envelope({"category": "linear", "list": list(items), "nextPageCursor": cursor})


@pytest.fixture
def world():
    return World(make_venue)


def asked(world, request, body, **more):
    made = world.ask(request)
    world.answer(body, **more)
    return made


def account(world, *, mode="ISOLATED_MARGIN", index=0, key=None):
    made = world.ask(QueryAccountConfig())
    world.answer(envelope({"marginMode": mode}))
    world.answer(rows({**FLAT, "positionIdx": index}))
    world.answer(key or envelope({"readOnly": 0, "permissions": {"ContractTrade": ["Order"]}}))
    return made


def test_an_entry_is_acknowledged_with_both_ids(world):
    made = asked(world, ENTRY, envelope({"orderId": "uuid", "orderLinkId": "e-1"}))
    assert (made.reply.client_order_id, made.reply.venue_order_id) == ("e-1", "uuid")


def test_a_success_without_an_id_leaves_the_outcome_unknown(world):
    assert isinstance(asked(world, ENTRY, envelope({})).error, errors.OutcomeUnknown)


def test_a_cancelled_order_may_carry_fills(world):
    query = QueryOrder(symbol="BTCUSDT", surface=OrderSurface.PLAIN, client_order_id="e-1")
    report = asked(world, query, rows(ORDER)).reply
    assert (report.status, report.filled_qty) == (OrderStatus.CANCELED, Decimal("0.004"))
    assert report.reason == "EC_NoImmediateQtyToFill"


def test_an_empty_list_is_a_question_not_an_answer(world):
    query = QueryOrder(symbol="BTCUSDT", surface=OrderSurface.PLAIN, client_order_id="e-1")
    assert isinstance(asked(world, query, rows()).error, errors.UnknownOrder)


@pytest.mark.parametrize(
    ("kind", "status", "order_class", "neutral"),
    [
        ("", "New", OrderClass.PLAIN, OrderStatus.NEW),
        ("UNKNOWN", "PartiallyFilled", OrderClass.PLAIN, OrderStatus.PARTIALLY_FILLED),
        ("Stop", "Untriggered", OrderClass.CONDITIONAL, OrderStatus.NEW),
        ("Stop", "Triggered", OrderClass.CONDITIONAL, OrderStatus.TRIGGERED),
        ("Stop", "New", OrderClass.CONDITIONAL, OrderStatus.TRIGGERED),
        ("StopLoss", "Filled", OrderClass.ATTACHED, OrderStatus.FILLED),
        ("PartialStopLoss", "Deactivated", OrderClass.ATTACHED, OrderStatus.CANCELED),
        ("TrailingStop", "Rejected", OrderClass.ATTACHED, OrderStatus.REJECTED),
    ],
)
def test_an_order_stays_of_its_class_whatever_its_state(world, kind, status, order_class, neutral):
    row = {**ORDER, "stopOrderType": kind, "orderStatus": status}
    query = QueryOrder(symbol="BTCUSDT", surface=OrderSurface.PLAIN, venue_order_id="fd43")
    report = asked(world, query, rows(row)).reply
    assert (report.order_class, report.status) == (order_class, neutral)


def test_the_list_of_conditionals_shows_attached_stops_too(world):
    query = QueryOpenOrders(order_class=OrderClass.CONDITIONAL)
    page = asked(world, query, rows(ATTACHED, {**ORDER, "orderStatus": "New"})).reply
    assert [order.venue_order_id for order in page.orders] == ["sl"]
    assert page.orders[0].order_type is OrderType.STOP_MARKET


def test_pages_follow_the_venues_cursor_as_it_came(world):
    query = QueryOpenOrders(order_class=OrderClass.PLAIN)
    page = asked(world, query, rows(cursor="fd43%3A17%2Cfd43%3A17")).reply
    next_query = QueryOpenOrders(order_class=OrderClass.PLAIN, cursor=page.next_cursor)
    world.ask(next_query)
    assert dict(world.request().params)["cursor"] == "fd43%3A17%2Cfd43%3A17"
    world.answer(rows(cursor=None))


def test_coins_are_read_one_after_the_other(world):
    usdc = {**instrument("BTCPERP"), "quoteCoin": "USDC", "settleCoin": "USDC"}
    asked(world, QueryInstruments(), rows(instrument("BTCUSDT"), usdc))
    first = asked(world, QueryPositions(), rows(POSITION)).reply
    assert first.next_cursor
    second = asked(world, QueryPositions(cursor=first.next_cursor), rows()).reply
    assert dict(world.request().params)["settleCoin"] == "USDC"
    assert second.next_cursor == ""


# ---------------------------------------------------------------- positions and their stops


def test_a_position_does_not_say_its_series_but_what_was_asked_for_does(world):
    asked(world, STOP, envelope({}))
    report = asked(world, QueryPositions(), rows(POSITION)).reply.positions[0]
    assert (report.stop_price, report.stop_trigger_by) == (58000, PriceSource.MARK)


def test_a_stop_of_unknown_make_triggers_by_the_venues_default(world):
    report = asked(world, QueryPositions(), rows(POSITION)).reply.positions[0]
    assert report.stop_trigger_by is PriceSource.LAST


def test_the_stops_own_order_says_its_series(world):
    asked(world, QueryOpenOrders(order_class=OrderClass.CONDITIONAL), rows(ATTACHED))
    report = asked(world, QueryPositions(), rows(POSITION)).reply.positions[0]
    assert report.stop_trigger_by is PriceSource.MARK


def test_the_age_of_a_position_is_its_own_not_the_symbols(world):
    report = asked(world, QueryPositions(), rows(POSITION)).reply.positions[0]
    assert report.opened_ns == 1_760_000_000_000 * MS
    assert (report.side, report.leverage, report.seq) == (PositionSide.LONG, 10, 9364011907)


@pytest.mark.parametrize("unset", ["", "0", "0.00", None])
def test_every_spelling_of_no_stop_is_none(world, unset):
    row = {**POSITION, "stopLoss": unset}
    assert asked(world, QueryPositions(), rows(row)).reply.positions[0].stop_price == 0


def test_a_flat_row_is_flat(world):
    report = asked(world, QueryPositions(symbol="BTCUSDT"), rows(FLAT)).reply.positions[0]
    assert (report.side, report.qty, report.opened_ns) == (PositionSide.FLAT, 0, 0)


# ---------------------------------------------------------------- executions


def execution(number, **more):
    row = {
        "symbol": "BTCUSDT",
        "orderId": "fd43",
        "orderLinkId": "e-1",
        "side": "Buy",
        "execId": f"x{number}",
        "execPrice": "60000",
        "execQty": "0.010",
        "execFee": "0.33",
        "execType": "Trade",
        "execTime": str(1_760_000_000_000 + number),
    }
    return {**row, **more}


def test_executions_are_oldest_first(world):
    page = asked(world, QueryExecutions(symbol="BTCUSDT"), rows(execution(2), execution(1))).reply
    assert [fill.trade_id for fill in page.fills] == ["x1", "x2"]
    assert page.fills[0].client_order_id == "e-1"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("Trade", FillKind.TRADE),
        ("AdlTrade", FillKind.ADL),
        ("BustTrade", FillKind.LIQUIDATION),
        ("Settle", FillKind.SETTLEMENT),
        ("Delivery", FillKind.SETTLEMENT),
        ("Funding", FillKind.FUNDING),
        ("CorporateAction", FillKind.UNKNOWN),
    ],
)
def test_only_some_executions_change_quantity(world, word, kind):
    page = asked(world, QueryExecutions(symbol="A"), rows(execution(1, execType=word))).reply
    assert page.fills[0].kind is kind


def test_executions_longer_ago_than_a_window_are_read_window_by_window(world):
    since = TsNs(START_TS - 10 * 86_400 * SECOND)
    query = QueryExecutions(symbol="A", since_ns=since)
    first = asked(world, query, rows(execution(1), cursor="c%3D1")).reply
    same = QueryExecutions(symbol="A", since_ns=since, cursor=first.next_cursor)
    second = asked(world, same, rows(execution(2))).reply
    start_ms = since // MS
    assert first.next_cursor == f"{start_ms}|c%3D1"
    assert second.next_cursor == f"{start_ms + requests.WINDOW_MS + 1}|"
    last = QueryExecutions(symbol="A", since_ns=since, cursor=second.next_cursor)
    assert asked(world, last, rows()).reply.next_cursor == ""


# ---------------------------------------------------------------- account


def test_the_account_is_read_from_three_answers(world):
    config = account(world).reply
    assert (config.hedge_mode, config.isolated) == (False, True)
    assert (config.can_trade, config.can_withdraw) == (True, False)
    assert [request.path for request in world.requests()] == [
        "/v5/account/info",
        "/v5/position/list",
        "/v5/user/query-api",
    ]


def test_two_legs_on_a_symbol_are_hedge_mode(world):
    assert account(world, index=2).reply.hedge_mode


@pytest.mark.parametrize(
    ("info", "trade", "withdraw"),
    [
        ({"readOnly": 1, "permissions": {"ContractTrade": ["Order"]}}, False, False),
        ({"readOnly": 0, "permissions": {"ContractTrade": []}}, False, False),
        ({"readOnly": 0, "permissions": {"Wallet": ["Withdraw"]}}, False, True),
    ],
)
def test_the_keys_rights_are_its_own(world, info, trade, withdraw):
    config = account(world, key=envelope(info)).reply
    assert (config.can_trade, config.can_withdraw) == (trade, withdraw)


def test_an_environment_that_does_not_tell_rights_leaves_them_unknown(world):
    config = account(world, key=envelope({}, 10017, "Route not found")).reply
    assert (config.can_trade, config.can_withdraw) == (True, None)


def test_margin_mode_of_a_symbol_is_that_of_the_account(world):
    early = world.ask(QuerySymbolConfig(symbol="BTCUSDT"))
    assert isinstance(early.error, errors.NotSent)
    account(world)
    config = asked(world, QuerySymbolConfig(symbol="BTCUSDT"), rows(FLAT)).reply
    assert (config.leverage, config.isolated) == (10, True)


WALLET = {
    "accountType": "UNIFIED",
    "totalAvailableBalance": "9939",
    "coin": [
        {
            "coin": "USDT",
            "walletBalance": "10000",
            "totalPositionIM": "60",
            "totalOrderIM": "1",
            "locked": "2",
            "bonus": "3",
        }
    ],
}


@pytest.mark.parametrize(("mode", "free"), [("REGULAR_MARGIN", 9939), ("ISOLATED_MARGIN", 9934)])
def test_free_margin_depends_on_the_margin_mode(world, mode, free):
    account(world, mode=mode)
    report = asked(world, QueryBalance(), envelope({"list": [WALLET]})).reply
    assert (report.wallet, report.available) == (10000, free)


def test_the_clock_is_read_in_nanoseconds(world):
    body = envelope({"timeSecond": "1", "timeNano": "1688639403423213947"})
    assert asked(world, QueryServerTime(), body).reply.ts_ns == 1688639403423213947


# ---------------------------------------------------------------- instruments


def instrument(symbol, **more):
    row = {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": symbol.removesuffix("USDT"),
        "quoteCoin": "USDT",
        "deliveryTime": "0",
        "fundingInterval": 240,
        "priceFilter": {"minPrice": "0.10", "maxPrice": "1999999.80", "tickSize": "0.10"},
        "lotSizeFilter": {
            "maxOrderQty": "1190.000",
            "minOrderQty": "0.001",
            "qtyStep": "0.001",
            "maxMktOrderQty": "500.000",
            "minNotionalValue": "5",
        },
        "leverageFilter": {"maxLeverage": "100.00"},
        "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
        "symbolType": "",
        "isPreListing": False,
    }
    return {**row, **more}


def test_an_instrument_is_read(world):
    made = asked(world, QueryInstruments(), rows(instrument("BTCUSDT"), cursor=None)).reply
    found = made.instruments[0]
    assert (found.tick_size, found.qty_step, found.max_market_qty) == (
        Decimal("0.1"),
        Decimal("0.001"),
        500,
    )
    assert (found.price_band_up, found.price_band_down) == (Decimal("1.01"), Decimal("0.99"))
    assert (found.trading, found.delist_ns, found.funding_interval_h) == (True, 0, 4)


def test_what_only_closes_any_more_is_listed_after_what_trades(world):
    first = asked(world, QueryInstruments(), rows(instrument("AUSDT"), cursor="p%3D2")).reply
    second = asked(world, QueryInstruments(cursor=first.next_cursor), rows()).reply
    row = instrument("BUSDT", status="Delivering", deliveryTime="1760000000000")
    third = asked(world, QueryInstruments(cursor=second.next_cursor), rows(row)).reply
    assert dict(world.request().params)["status"] == "Delivering"
    assert (third.instruments[0].trading, third.next_cursor) == (False, "")
    assert list(world.venue.symbols) == ["AUSDT", "BUSDT"]


def test_a_list_that_is_not_served_is_empty_but_the_one_in_trading_is_not(world):
    later = QueryInstruments(cursor="Delivering|")
    refused = envelope({}, 10001, "params error: status")
    assert asked(world, later, refused).reply.instruments == ()
    assert isinstance(asked(world, QueryInstruments(), refused).error, errors.Rejected)


@pytest.mark.parametrize(
    "more",
    [
        {"contractType": "LinearFutures"},
        {"quoteCoin": "EUR"},
        {"symbolType": "stock"},
        {"isPreListing": True},
    ],
)
def test_other_contracts_are_not_in_the_universe(world, more):
    made = asked(world, QueryInstruments(), rows(instrument("AUSDT", **more))).reply
    assert made.instruments == ()
    assert world.heard() == []


def test_an_instrument_that_cannot_be_read_costs_nobody_else(world):
    bad = instrument("ODDUSDT", priceFilter={})
    made = asked(world, QueryInstruments(), rows(bad, instrument("AUSDT"))).reply
    assert [found.symbol for found in made.instruments] == ["AUSDT"]
    assert [event.symbol for event in world.heard()] == ["ODDUSDT"]


# ---------------------------------------------------------------- rate limits


def test_the_accounts_own_limit_of_an_endpoint_is_told_once(world):
    for request, limit in ((ENTRY, "20"), (ENTRY, "20"), (STOP, "10"), (QueryPositions(), "50")):
        ids = {"orderId": "uuid", "orderLinkId": "e-1", "list": []}
        asked(world, request, envelope(ids), headers=(("X-Bapi-Limit", limit),))
    assert world.heard() == [RateLimit(bucket="create", capacity=20, window_ns=SECOND)]


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_listed_code_means_what_its_row_says(world, code):
    made = asked(world, QueryPositions(), envelope({}, code, "words"))
    assert type(made.error).__name__ == CODES[code].kind
    assert made.error.code == str(code)
    assert made.error.listed


@pytest.mark.parametrize("words", [words for words, _ in WORDS])
def test_a_parameter_error_is_told_by_its_words(world, words):
    kind = dict(WORDS)[words].kind
    made = asked(world, ENTRY, envelope({}, 10001, f"StopLoss:1 {words} x"))
    expected = "Unchanged" if kind == UNCHANGED else kind
    assert type(made.error).__name__ == expected


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("can not set tp/sl/ts for zero position", errors.NoPositionYet),
        (
            "StopLoss:324000000 set for Buy position should lower than base_price:1??LastPrice",
            errors.WouldTriggerNow,
        ),
        (
            "sl:257970000 set for Sell position should greater base_price:3??MarkPrice",
            errors.WouldTriggerNow,
        ),
        (
            "StopLoss:1 set for Buy position should be between liq_price:1 and base_price:2",
            errors.Rejected,
        ),
        (
            "TakeProfit:1 set for Sell position should be lower than base_price:1",
            errors.Rejected,
        ),
        ("position idx not match position mode", errors.Rejected),
        ("params error: symbol invalid", errors.Rejected),
    ],
)
def test_the_words_of_a_refused_stop_decide(world, words, kind):
    assert type(asked(world, STOP, envelope({}, 10001, words)).error) is kind


def test_a_stop_that_was_so_already_is_success(world):
    assert asked(world, STOP, envelope({}, 34040, "not modified")).reply == Done(already=True)


def test_a_leverage_that_was_so_already_is_success(world):
    setting = SetLeverage(symbol="A", leverage=Decimal(1))
    body = envelope({}, 110043, "Set leverage not modified")
    assert asked(world, setting, body).reply == Done(already=True)


@pytest.mark.parametrize("status", sorted(STATUSES))
def test_a_status_without_a_code_means_what_its_row_says(world, status):
    made = asked(world, QueryPositions(), b"<html>no</html>", status=status)
    assert type(made.error).__name__ == STATUSES[status].kind
    assert made.error.code == f"http-{status}"


@pytest.mark.parametrize("body", [b"", b"<html>"])
def test_a_success_that_cannot_be_read_leaves_the_outcome_unknown(world, body):
    assert isinstance(asked(world, ENTRY, body).error, errors.OutcomeUnknown)


def test_an_unlisted_code_leaves_the_outcome_unknown_and_says_so(world):
    error = asked(world, ENTRY, envelope({}, 999999, "news")).error
    assert isinstance(error, errors.OutcomeUnknown)
    assert not error.listed


def test_a_throttle_that_does_not_say_so_may_have_executed(world):
    body = envelope({}, 429, "system-level frequency protection")
    assert isinstance(asked(world, ENTRY, body, status=429).error, errors.OutcomeUnknown)
    assert isinstance(asked(world, QueryPositions(), body, status=429).error, errors.Throttled)


def test_an_exhausted_endpoint_says_when_to_come_back(world):
    headers = (("X-Bapi-Limit-Reset-Timestamp", "1760000000750"),)
    error = asked(world, ENTRY, envelope({}, 10006, "Too many visits"), headers=headers).error
    assert isinstance(error, errors.Throttled)
    assert (error.retry_at_ns, error.banned) == (1_760_000_000_750 * MS, False)


def test_too_frequent_access_is_a_ban_of_ten_minutes(world):
    error = asked(world, ENTRY, b"403, access too frequent", status=403).error
    assert isinstance(error, errors.Throttled)
    assert (error.banned, error.retry_at_ns) == (True, START_TS + 10 * MINUTE)


def test_another_403_is_no_ban(world):
    assert isinstance(asked(world, ENTRY, b"Forbidden", status=403).error, errors.Unauthorized)


# ---------------------------------------------------------------- recorded payloads


def test_recorded_instruments_are_read(world):
    made = asked(world, QueryInstruments(), payload("bybit/rest/n_instruments_linear.json")).reply
    assert [found.symbol for found in made.instruments] == ["BTCUSDT", "ETHUSDT"]
    assert made.instruments[1].tick_size == Decimal("0.05")
    assert made.next_cursor == "Delivering|"


def test_recorded_orders_are_read(world):
    query = QueryOpenOrders(order_class=OrderClass.PLAIN)
    orders = asked(world, query, payload("bybit/rest/n_orders_realtime.json")).reply.orders
    assert [(order.side, order.status) for order in orders] == [
        (Side.BUY, OrderStatus.NEW),
        (Side.SELL, OrderStatus.NEW),
    ]


def test_recorded_executions_are_read(world):
    page = asked(
        world, QueryExecutions(symbol="BTCUSDT"), payload("bybit/rest/n_executions.json")
    ).reply
    assert [fill.client_order_id for fill in page.fills] == ["test-order-001", "test-order-002"]
    assert page.next_cursor == "0|132766%3A2%2C132766%3A2"


def test_recorded_positions_are_read(world):
    report = asked(
        world, QueryPositions(), payload("bybit/rest/d_position_position.json")
    ).reply.positions[0]
    assert (report.side, report.qty, report.stop_price) == (PositionSide.SHORT, 300, 0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("i_e10000_server_timeout", errors.OutcomeUnknown),
        ("i_e10002_recv_window", errors.NotSent),
        ("i_e10006_rate_limit", errors.Throttled),
        ("i_e110017_reduce_only", errors.ReduceOnlyRefused),
    ],
)
def test_recorded_refusals_are_classified(world, name, kind):
    found = payload(f"bybit/error/{name}.json")
    made = asked(world, ENTRY, found["body"], status=found["http_status"])
    assert type(made.error) is kind

"""Golden requests: what goes on the wire for each question, to the letter of the documents."""

from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import OrderClass, OrderType, PriceSource, Side, TimeInForce
from kernel.model.units import DAY, SECOND, TsNs
from kernel.model.venue import (
    CancelOrder,
    OrderSurface,
    PlaceStop,
    QueryBalance,
    QueryExecutions,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySymbolConfig,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SubmitOrder,
)
from venues.live.bybit import requests

NOW = TsNs(1_760_000_000 * SECOND)
ENTRY = SubmitOrder(
    symbol="BTCUSDT",
    side=Side.BUY,
    qty=Decimal("0.0100"),
    order_type=OrderType.MARKET,
    client_order_id="e-1",
    stop_loss=Decimal("58000.0"),
)
STOP = SetPositionStop(
    symbol="BTCUSDT", trigger_price=Decimal("58000.0"), trigger_by=PriceSource.MARK
)
BY_CLIENT_ID = {"symbol": "BTCUSDT", "client_order_id": "a"}
BY_VENUE_ID = {"symbol": "BTCUSDT", "client_order_id": "a", "venue_order_id": "uuid"}

POSTS = [
    (
        ENTRY,
        "/v5/order/create",
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Market",
            "qty": "0.01",
            "positionIdx": 0,
            "orderLinkId": "e-1",
            "stopLoss": "58000",
            "slTriggerBy": "MarkPrice",
            "tpslMode": "Full",
            "slOrderType": "Market",
        },
    ),
    (
        SubmitOrder(
            symbol="XUSDT",
            side=Side.SELL,
            qty=Decimal(100000),
            order_type=OrderType.LIMIT,
            price=Decimal("0.00001230"),
            time_in_force=TimeInForce.GTX,
            reduce_only=True,
            position_side="LONG",
            client_order_id="x-1",
        ),
        "/v5/order/create",
        {
            "category": "linear",
            "symbol": "XUSDT",
            "side": "Sell",
            "orderType": "Limit",
            "qty": "100000",
            "price": "0.0000123",
            "timeInForce": "PostOnly",
            "positionIdx": 1,
            "orderLinkId": "x-1",
            "reduceOnly": True,
        },
    ),
    (
        PlaceStop(
            symbol="BTCUSDT",
            side=Side.BUY,
            qty=Decimal("0.01"),
            trigger_price=Decimal(62000),
            trigger_by=PriceSource.LAST,
            client_order_id="s-1",
        ),
        "/v5/order/create",
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "orderType": "Market",
            "qty": "0.01",
            "triggerPrice": "62000",
            "triggerDirection": 1,
            "triggerBy": "LastPrice",
            "positionIdx": 0,
            "orderLinkId": "s-1",
            "reduceOnly": True,
            "closeOnTrigger": True,
        },
    ),
    (
        STOP,
        "/v5/position/trading-stop",
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "tpslMode": "Full",
            "positionIdx": 0,
            "stopLoss": "58000",
            "slTriggerBy": "MarkPrice",
            "slOrderType": "Market",
        },
    ),
    (
        CancelOrder(order_class=OrderClass.PLAIN, **BY_CLIENT_ID),
        "/v5/order/cancel",
        {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "a"},
    ),
    (
        CancelOrder(order_class=OrderClass.ATTACHED, **BY_VENUE_ID),
        "/v5/order/cancel",
        {"category": "linear", "symbol": "BTCUSDT", "orderId": "uuid"},
    ),
    (
        SetLeverage(symbol="BTCUSDT", leverage=Decimal("10.0")),
        "/v5/position/set-leverage",
        {"category": "linear", "symbol": "BTCUSDT", "buyLeverage": "10", "sellLeverage": "10"},
    ),
]

GETS = [
    (
        QueryOrder(surface=OrderSurface.PLAIN, **BY_CLIENT_ID),
        "/v5/order/realtime?category=linear&symbol=BTCUSDT&orderLinkId=a",
    ),
    (
        QueryOrder(surface=OrderSurface.CONDITIONAL, **BY_VENUE_ID),
        "/v5/order/realtime?category=linear&symbol=BTCUSDT&orderId=uuid",
    ),
    (
        QueryOrder(surface=OrderSurface.HISTORY, **BY_CLIENT_ID),
        "/v5/order/history?category=linear&symbol=BTCUSDT&orderLinkId=a",
    ),
    (
        QueryOpenOrders(order_class=OrderClass.PLAIN),
        "/v5/order/realtime?category=linear&settleCoin=USDT&openOnly=0&orderFilter=Order&limit=50",
    ),
    (
        QueryOpenOrders(order_class=OrderClass.CONDITIONAL, symbol="A", cursor="|x%3A1%2C2"),
        (
            "/v5/order/realtime?category=linear&symbol=A&openOnly=0&orderFilter=StopOrder&limit=50"
            "&cursor=x%3A1%2C2"
        ),
    ),
    (QueryPositions(), "/v5/position/list?category=linear&settleCoin=USDT&limit=200"),
    (
        QueryPositions(cursor="USDC|p%3D2"),
        "/v5/position/list?category=linear&settleCoin=USDC&limit=200&cursor=p%3D2",
    ),
    (QueryPositions(symbol="A"), "/v5/position/list?category=linear&symbol=A&limit=200"),
    (QuerySymbolConfig(symbol="A"), "/v5/position/list?category=linear&symbol=A&limit=200"),
    (QueryBalance(), "/v5/account/wallet-balance?accountType=UNIFIED&coin=USDT"),
    (QueryInstruments(), "/v5/market/instruments-info?category=linear&limit=1000"),
    (
        QueryInstruments(cursor="|first%3D1"),
        "/v5/market/instruments-info?category=linear&limit=1000&cursor=first%3D1",
    ),
    (
        QueryInstruments(cursor="Delivering|"),
        "/v5/market/instruments-info?category=linear&status=Delivering&limit=1000",
    ),
    (QueryServerTime(), "/v5/market/time?"),
    (QueryExecutions(symbol="A"), "/v5/execution/list?category=linear&symbol=A&limit=100"),
    (
        QueryExecutions(symbol="A", since_ns=TsNs(1_759_900_000 * SECOND)),
        (
            "/v5/execution/list?category=linear&symbol=A&startTime=1759900000000"
            "&endTime=1760504799999&limit=100"
        ),
    ),
    (
        QueryExecutions(symbol="A", since_ns=TsNs(1), cursor="1759900000000|c%3D1"),
        (
            "/v5/execution/list?category=linear&symbol=A&startTime=1759900000000"
            "&endTime=1760504799999&limit=100&cursor=c%3D1"
        ),
    ),
    (
        QueryExecutions(symbol="A", since_ns=TsNs(1), client_order_id="a"),
        "/v5/execution/list?category=linear&symbol=A&orderLinkId=a&limit=100",
    ),
]


@pytest.mark.parametrize(("request_", "path", "body"), POSTS)
def test_what_changes_something_is_posted_as_documented(request_, path, body):
    made = requests.encode(request_, NOW)
    assert (made.method, made.path, made.params) == ("POST", path, ())
    assert list(msgspec.json.decode(made.body).items()) == list(body.items())
    assert made.expires_ns == NOW + 5 * SECOND


@pytest.mark.parametrize(("request_", "target"), GETS)
def test_a_question_is_on_the_wire_as_documented(request_, target):
    made = requests.encode(request_, NOW)
    query = "&".join(f"{name}={value}" for name, value in made.params)
    assert made.method == "GET"
    assert f"{made.path}?{query}" == target


@pytest.mark.parametrize("request_", [QueryInstruments(), QueryServerTime()])
def test_public_questions_are_not_signed(request_):
    assert requests.encode(request_, NOW).signed == "none"


def test_a_stop_is_removed_with_a_zero():
    stop = SetPositionStop(
        symbol="A", trigger_price=Decimal(0), trigger_by=PriceSource.MARK, position_side="SHORT"
    )
    body = msgspec.json.decode(requests.encode(stop, NOW).body)
    assert (body["stopLoss"], body["positionIdx"]) == ("0", 2)


def test_the_falling_stop_of_a_long_has_the_falling_direction():
    stop = PlaceStop(
        symbol="A",
        side=Side.SELL,
        qty=Decimal(1),
        trigger_price=Decimal(1),
        trigger_by=PriceSource.MARK,
        client_order_id="s",
    )
    assert msgspec.json.decode(requests.encode(stop, NOW).body)["triggerDirection"] == 2


def test_executions_older_than_the_venue_keeps_are_not_asked_for():
    made = requests.encode(QueryExecutions(symbol="A", since_ns=TsNs(NOW - 900 * DAY)), NOW)
    assert int(dict(made.params)["startTime"]) == (NOW - requests.REACH_NS) // 1_000_000


def test_the_margin_mode_of_one_symbol_is_refused():
    with pytest.raises(errors.Rejected):
        requests.encode(SetMarginMode(symbol="A", isolated=True), NOW)


@pytest.mark.parametrize(
    "request_",
    [
        CancelOrder(order_class=OrderClass.ATTACHED, **BY_CLIENT_ID),
        CancelOrder(symbol="A", order_class=OrderClass.PLAIN),
        msgspec.structs.replace(ENTRY, reduce_only=True),
        msgspec.structs.replace(ENTRY, order_type=OrderType.STOP_MARKET),
    ],
)
def test_what_no_venue_has_is_a_bug_of_ours(request_):
    with pytest.raises(errors.InvariantViolation):
        requests.encode(request_, NOW)

"""Golden requests: what goes on the wire for each question, to the letter of the documents."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.orders import OrderClass, OrderType, PriceSource, Side, TimeInForce
from kernel.model.units import DAY, SECOND, TsNs
from kernel.model.venue import (
    CancelOrder,
    OrderSurface,
    PlaceStop,
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
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SubmitOrder,
)
from venues.live.binance import requests

NOW = TsNs(1_760_000_000 * SECOND)
ENTRY = SubmitOrder(
    symbol="BTCUSDT",
    side=Side.BUY,
    qty=Decimal("0.0100"),
    order_type=OrderType.MARKET,
    client_order_id="e-1",
)
STOP = PlaceStop(
    symbol="BTCUSDT",
    side=Side.SELL,
    qty=Decimal("0.010"),
    trigger_price=Decimal("59000.0"),
    trigger_by=PriceSource.MARK,
    client_order_id="s-1",
)
BY_CLIENT_ID = {"symbol": "BTCUSDT", "client_order_id": "a"}
BY_VENUE_ID = {"symbol": "BTCUSDT", "client_order_id": "a", "venue_order_id": "7"}

GOLDEN = [
    (
        ENTRY,
        (
            "POST /fapi/v1/order symbol=BTCUSDT side=BUY type=MARKET quantity=0.01"
            " newClientOrderId=e-1 newOrderRespType=ACK"
        ),
    ),
    (
        SubmitOrder(
            symbol="币安人生USDT",
            side=Side.SELL,
            qty=Decimal(100000),
            order_type=OrderType.LIMIT,
            price=Decimal("0.00001230"),
            reduce_only=True,
            time_in_force=TimeInForce.IOC,
            client_order_id="x-1",
        ),
        (
            "POST /fapi/v1/order symbol=币安人生USDT side=SELL type=LIMIT timeInForce=IOC"
            " quantity=100000 price=0.0000123 reduceOnly=true newClientOrderId=x-1"
            " newOrderRespType=ACK"
        ),
    ),
    (
        SubmitOrder(
            symbol="BTCUSDT",
            side=Side.SELL,
            qty=Decimal(1),
            order_type=OrderType.MARKET,
            reduce_only=True,
            position_side="LONG",
            client_order_id="x-2",
        ),
        (
            "POST /fapi/v1/order symbol=BTCUSDT side=SELL type=MARKET positionSide=LONG quantity=1"
            " newClientOrderId=x-2 newOrderRespType=ACK"
        ),
    ),
    (
        STOP,
        (
            "POST /fapi/v1/algoOrder algoType=CONDITIONAL symbol=BTCUSDT side=SELL type=STOP_MARKET"
            " quantity=0.01 triggerPrice=59000 workingType=MARK_PRICE reduceOnly=true"
            " clientAlgoId=s-1 newOrderRespType=ACK"
        ),
    ),
    (
        CancelOrder(order_class=OrderClass.PLAIN, **BY_CLIENT_ID),
        "DELETE /fapi/v1/order symbol=BTCUSDT origClientOrderId=a",
    ),
    (
        CancelOrder(order_class=OrderClass.PLAIN, **BY_VENUE_ID),
        "DELETE /fapi/v1/order symbol=BTCUSDT orderId=7",
    ),
    (
        CancelOrder(order_class=OrderClass.CONDITIONAL, **BY_CLIENT_ID),
        "DELETE /fapi/v1/algoOrder clientAlgoId=a",
    ),
    (
        CancelOrder(order_class=OrderClass.CONDITIONAL, **BY_VENUE_ID),
        "DELETE /fapi/v1/algoOrder algoId=7",
    ),
    (
        QueryOrder(surface=OrderSurface.PLAIN, **BY_CLIENT_ID),
        "GET /fapi/v1/order symbol=BTCUSDT origClientOrderId=a",
    ),
    (
        QueryOrder(surface=OrderSurface.CONDITIONAL, **BY_CLIENT_ID),
        "GET /fapi/v1/algoOrder clientAlgoId=a",
    ),
    (QueryOpenOrders(order_class=OrderClass.PLAIN), "GET /fapi/v1/openOrders"),
    (
        QueryOpenOrders(order_class=OrderClass.CONDITIONAL, symbol="BTCUSDT"),
        "GET /fapi/v1/openAlgoOrders symbol=BTCUSDT",
    ),
    (QueryPositions(), "GET /fapi/v3/positionRisk"),
    (QueryPositions(symbol="BTCUSDT"), "GET /fapi/v3/positionRisk symbol=BTCUSDT"),
    (QueryBalance(), "GET /fapi/v3/balance"),
    (QueryInstruments(), "GET /fapi/v1/exchangeInfo"),
    (QuerySymbolConfig(symbol="BTCUSDT"), "GET /fapi/v1/symbolConfig symbol=BTCUSDT"),
    (QueryAccountConfig(), "GET /fapi/v1/accountConfig"),
    (QueryServerTime(), "GET /fapi/v1/time"),
    (
        SetLeverage(symbol="BTCUSDT", leverage=Decimal(10)),
        "POST /fapi/v1/leverage symbol=BTCUSDT leverage=10",
    ),
    (
        SetMarginMode(symbol="BTCUSDT", isolated=True),
        "POST /fapi/v1/marginType symbol=BTCUSDT marginType=ISOLATED",
    ),
    (
        SetMarginMode(symbol="BTCUSDT", isolated=False),
        "POST /fapi/v1/marginType symbol=BTCUSDT marginType=CROSSED",
    ),
    (QueryExecutions(symbol="BTCUSDT"), "GET /fapi/v1/userTrades symbol=BTCUSDT limit=1000"),
    (
        QueryExecutions(symbol="BTCUSDT", since_ns=TsNs(1_759_900_000 * SECOND)),
        (
            "GET /fapi/v1/userTrades symbol=BTCUSDT startTime=1759900000000 endTime=1760504799999"
            " limit=1000"
        ),
    ),
    (
        QueryExecutions(symbol="BTCUSDT", since_ns=TsNs(1), venue_order_id="7", cursor="id:55"),
        "GET /fapi/v1/userTrades symbol=BTCUSDT orderId=7 fromId=55 limit=1000",
    ),
    (
        QueryFunding(since_ns=TsNs(1_759_900_000 * SECOND)),
        (
            "GET /fapi/v1/income incomeType=FUNDING_FEE startTime=1759900000000"
            " endTime=1760504799999 limit=1000"
        ),
    ),
    (
        QueryFunding(since_ns=TsNs(1), cursor="at:1759999999999"),
        (
            "GET /fapi/v1/income incomeType=FUNDING_FEE startTime=1759999999999"
            " endTime=1760604799998 limit=1000"
        ),
    ),
]


def line(request):
    made = requests.encode(request, NOW)
    return " ".join([made.method, made.path, *(f"{name}={value}" for name, value in made.params)])


@pytest.mark.parametrize(("request_", "wire"), GOLDEN)
def test_a_request_is_on_the_wire_as_documented(request_, wire):
    assert line(request_) == wire


@pytest.mark.parametrize("request_", [QueryInstruments(), QueryServerTime()])
def test_public_questions_are_not_signed(request_):
    assert requests.encode(request_, NOW).signed == "none"


@pytest.mark.parametrize("request_", [ENTRY, STOP, QueryPositions()])
def test_private_questions_are_signed(request_):
    assert requests.encode(request_, NOW).signed == "full"


@pytest.mark.parametrize("request_", [ENTRY, STOP])
def test_what_changes_something_expires_with_the_receive_window(request_):
    made = requests.encode(request_, NOW)
    assert made.recv_window_ms == 5000
    assert made.expires_ns == NOW + 5 * SECOND


def test_a_listen_key_is_asked_for_with_the_header_alone():
    made = requests.listen_key("PUT")
    assert (made.method, made.path, made.params, made.signed) == (
        "PUT",
        "/fapi/v1/listenKey",
        (),
        "key",
    )


def test_executions_older_than_the_venue_keeps_are_not_asked_for():
    request = QueryExecutions(symbol="BTCUSDT", since_ns=TsNs(NOW - 400 * DAY))
    start = dict(requests.encode(request, NOW).params)["startTime"]
    assert int(start) == (NOW - requests.TRADES_REACH_NS) // 1_000_000


def test_a_history_by_id_does_not_exist():
    with pytest.raises(errors.UnknownOrder):
        line(QueryOrder(symbol="BTCUSDT", surface=OrderSurface.HISTORY, client_order_id="a"))


@pytest.mark.parametrize(
    "request_",
    [
        SetPositionStop(symbol="A", trigger_price=Decimal(1), trigger_by=PriceSource.MARK),
        CancelOrder(symbol="A", order_class=OrderClass.ATTACHED, venue_order_id="1"),
        CancelOrder(symbol="A", order_class=OrderClass.PLAIN),
        SubmitOrder(
            symbol="A",
            side=Side.BUY,
            qty=Decimal(1),
            order_type=OrderType.MARKET,
            client_order_id="e",
            stop_loss=Decimal(1),
        ),
    ],
)
def test_what_the_venue_does_not_have_is_a_bug_of_ours(request_):
    with pytest.raises(errors.InvariantViolation):
        line(request_)

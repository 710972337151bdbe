"""Properties of both adapters: what is sent can be read back, and no bytes at all break them."""

import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import errors
from kernel.model.messages import HttpReply
from kernel.model.orders import (
    OrderClass,
    OrderStatus,
    OrderType,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.units import SECOND, TsNs, text
from kernel.model.venue import (
    OrderSurface,
    PlaceStop,
    QueryBalance,
    QueryExecutions,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    SubmitOrder,
    VenueNotice,
)
from tests.venues.live.world import World
from venues.live.binance import adapter as binance
from venues.live.binance import requests as binance_requests
from venues.live.binance.rows import ALGO_STATUSES, ORDER_STATUSES
from venues.live.bybit import adapter as bybit
from venues.live.bybit import requests as bybit_requests

MAKERS = [
    pytest.param(binance.make_venue, id="binance"),
    pytest.param(bybit.make_venue, id="bybit"),
]
NOW = TsNs(1_760_000_000 * SECOND)
numbers = st.decimals(
    min_value="0.00000001", max_value="100000000", places=8, allow_nan=False, allow_infinity=False
)
sides = st.sampled_from(Side)
questions = st.sampled_from(
    [
        QueryBalance(),
        QueryExecutions(symbol="A"),
        QueryInstruments(),
        QueryOpenOrders(order_class=OrderClass.PLAIN),
        QueryOpenOrders(order_class=OrderClass.CONDITIONAL),
        QueryOrder(symbol="A", surface=OrderSurface.PLAIN, client_order_id="a"),
        QueryPositions(),
        SubmitOrder(
            symbol="A",
            side=Side.BUY,
            qty=Decimal(1),
            order_type=OrderType.MARKET,
            client_order_id="a",
        ),
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("1.5"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["symbol", "list", "result", "retCode", "code", "data", "o", "e", "topic"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
bodies = st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode())
statuses = st.sampled_from([200, 200, 200, 400, 403, 418, 429, 500, 503])


def stop_of(side, qty, price, source):
    return PlaceStop(
        symbol="BTCUSDT",
        side=side,
        qty=qty,
        trigger_price=price,
        trigger_by=source,
        client_order_id="s-1",
    )


@given(side=sides, qty=numbers, price=numbers, source=st.sampled_from(PriceSource))
def test_a_stop_that_binance_echoes_is_the_stop_that_was_asked_for(side, qty, price, source):
    sent = dict(binance_requests.encode(stop_of(side, qty, price, source), NOW).params)
    row = {
        **{name: sent[name] for name in ("symbol", "side", "quantity", "triggerPrice")},
        "workingType": sent["workingType"],
        "clientAlgoId": sent["clientAlgoId"],
        "orderType": sent["type"],
        "reduceOnly": sent["reduceOnly"] == "true",
        "algoId": 4000000230627731,
        "algoStatus": "NEW",
        "updateTime": 1,
    }
    world = World(binance.make_venue)
    made = world.ask(QueryOpenOrders(order_class=OrderClass.CONDITIONAL))
    world.answer([row])
    shown = made.reply.orders[0]
    assert (shown.side, shown.qty, shown.trigger_price) == (side, qty, price)
    assert (shown.trigger_by, shown.client_order_id) == (source, "s-1")
    assert shown.order_type is OrderType.STOP_MARKET
    assert shown.reduce_only


@given(side=sides, qty=numbers, price=numbers, source=st.sampled_from(PriceSource))
def test_a_stop_that_bybit_echoes_is_the_stop_that_was_asked_for(side, qty, price, source):
    http = bybit_requests.encode(stop_of(side, qty, price, source), NOW)
    sent = msgspec.json.decode(http.body)
    row = {
        **{name: value for name, value in sent.items() if name != "triggerDirection"},
        "orderId": "uuid",
        "orderStatus": "Untriggered",
        "stopOrderType": "Stop",
    }
    world = World(bybit.make_venue)
    made = world.ask(QueryOpenOrders(order_class=OrderClass.CONDITIONAL))
    world.answer({"retCode": 0, "result": {"list": [row]}})
    shown = made.reply.orders[0]
    assert (shown.side, shown.qty, shown.trigger_price) == (side, qty, price)
    assert (shown.trigger_by, shown.client_order_id) == (source, "s-1")
    assert (shown.order_class, shown.status) == (OrderClass.CONDITIONAL, OrderStatus.NEW)


@given(amount=st.decimals(min_value=-1000, max_value=1000, places=3, allow_nan=False))
def test_a_signed_amount_and_a_side_with_a_size_say_the_same(amount):
    one, other = World(binance.make_venue), World(bybit.make_venue)
    asked = [world.ask(QueryPositions()) for world in (one, other)]
    one.answer([{"symbol": "A", "positionAmt": str(amount)}])
    side = "" if not amount else "Buy" if amount > 0 else "Sell"
    row = {"symbol": "A", "side": side, "size": str(abs(amount))}
    other.answer({"retCode": 0, "result": {"list": [row]}})
    first, second = (made.reply.positions[0] for made in asked)
    assert (first.side, first.qty) == (second.side, second.qty)
    assert (first.side is PositionSide.FLAT) is (not first.qty)


@given(qty=numbers, price=numbers)
def test_numbers_go_out_in_plain_text(qty, price):
    order = SubmitOrder(
        symbol="A",
        side=Side.SELL,
        qty=qty,
        price=price,
        order_type=OrderType.LIMIT,
        client_order_id="a",
    )
    sent = dict(binance_requests.encode(order, NOW).params)
    posted = msgspec.json.decode(bybit_requests.encode(order, NOW).body)
    assert sent["quantity"] == posted["qty"] == text(qty)
    assert "e" not in sent["price"].lower()
    assert Decimal(posted["price"]) == price


@pytest.mark.parametrize("make", MAKERS)
@given(question=questions, body=bodies, status=statuses)
def test_an_answer_is_a_reply_or_a_venue_error_whatever_its_bytes(make, question, body, status):
    world = World(make)
    made = world.ask(question)
    world.answer(body, status=status)
    outcome = made.outcome
    if isinstance(outcome, Exception):
        assert isinstance(outcome, errors.VenueError)
        assert outcome.venue == world.name
    else:
        assert isinstance(outcome, msgspec.Struct)
        assert not isinstance(outcome, HttpReply)


@pytest.mark.parametrize("make", MAKERS)
@given(body=bodies)
def test_a_frame_becomes_events_or_a_notice_whatever_its_bytes(make, body):
    world = World(make)
    world.venue.start()
    world.settle()
    if world.requests():
        world.answer({"listenKey": "k"})
    world.opened(1)
    world.heard()
    world.frame(body)
    for event in world.heard():
        if isinstance(event, VenueNotice):
            assert event.kind in ("malformed", "unknown_event", "margin_call", "config_change")


@pytest.mark.parametrize("table", [ORDER_STATUSES, ALGO_STATUSES], ids=["plain", "algo"])
def test_what_triggered_is_never_called_filled(table):
    for word in ("TRIGGERED", "FINISHED", "TRIGGERING"):
        assert table.get(word) is not OrderStatus.FILLED

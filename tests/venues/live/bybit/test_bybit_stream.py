"""The private stream: auth, topics one by one, pings, and what its frames say."""

from decimal import Decimal

import pytest

from kernel.model.orders import (
    BalanceReport,
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    PositionReport,
    PositionSide,
    PriceSource,
)
from kernel.model.venue import StreamDown, StreamUp, VenueNotice
from tests.venues.live.bybit.test_bybit_replies import (
    ATTACHED,
    ORDER,
    POSITION,
    WALLET,
    execution,
)
from tests.venues.live.world import World, payload
from venues.live.bybit.adapter import make_venue

AUTH_OK = {"success": True, "ret_msg": "", "op": "auth", "conn_id": "c"}
TOPICS = ["order", "execution", "position", "wallet"]


def ack(topic):
    return {"success": True, "ret_msg": "", "conn_id": "c", "req_id": topic, "op": "subscribe"}


def data(topic, *rows):
    return {"id": "1", "topic": topic, "creationTime": 1760000000011, "data": list(rows)}


@pytest.fixture
def world():
    world = World(make_venue)
    world.venue.start()
    world.settle()
    return world


@pytest.fixture
def up(world):
    world.opened(1)
    rise(world, 1)
    assert world.heard() == [StreamUp(connection=1)]
    return world


def rise(world, connection):
    world.frame(AUTH_OK, connection)
    for topic in TOPICS:
        world.frame(ack(topic), connection)


def test_nothing_is_subscribed_before_auth_is_answered(world):
    assert world.opens()[0].path == "/v5/private"
    world.opened(1)
    assert world.sent() == [{"req_id": "auth", "op": "auth", "args": ["{auth}"]}]
    world.frame(AUTH_OK)
    assert world.sent()[-1] == {"req_id": "order", "op": "subscribe", "args": ["order"]}


def test_topics_are_subscribed_one_by_one_and_all_must_be_confirmed(world):
    world.opened(1)
    world.frame(AUTH_OK)
    for topic in TOPICS:
        assert world.sent()[-1]["args"] == [topic]
        assert world.heard() == []
        world.frame(ack(topic))
    assert world.heard() == [StreamUp(connection=1)]


def test_acks_without_a_request_id_count_in_order(world):
    world.opened(1)
    world.frame(AUTH_OK)
    for _ in TOPICS:
        world.frame({"success": True, "ret_msg": "", "op": "subscribe"})
    assert world.heard() == [StreamUp(connection=1)]


def test_a_doubled_ack_confirms_no_other_topic(world):
    world.opened(1)
    world.frame(AUTH_OK)
    for _ in TOPICS:
        world.frame(ack("order"))
    assert world.heard() == []


@pytest.mark.parametrize(
    "refusal",
    [
        {"op": "auth", "success": False, "retCode": 10003, "retMsg": "Invalid apikey"},
        {"op": "auth", "retCode": 10004, "retMsg": "error sign"},
    ],
)
def test_a_refused_auth_ends_the_connection_and_is_told(world, refusal):
    world.opened(1)
    world.frame(refusal)
    down = world.heard()[0]
    assert isinstance(down, StreamDown)
    assert str(refusal["retCode"]) in down.reason
    assert world.closes()[0].connection == 1
    world.advance(3)
    assert world.opens()[-1].connection == 2


def test_a_refused_topic_ends_the_connection(world):
    world.opened(1)
    world.frame(AUTH_OK)
    world.frame({"success": False, "ret_msg": "error:handler not found", "op": "subscribe"})
    assert "handler not found" in world.heard()[0].reason


def test_a_stream_that_is_not_confirmed_in_time_is_opened_anew(world):
    world.opened(1)
    world.frame(AUTH_OK)
    world.advance(13)
    assert world.opens()[-1].connection == 2
    world.opened(2)
    rise(world, 2)
    assert world.heard()[-1] == StreamUp(connection=2)


def test_a_ping_leaves_every_twenty_seconds(up):
    for n in range(1, 4):
        up.advance(20)
        assert up.sent()[-1] == {"req_id": f"ping-{n}", "op": "ping"}
        up.frame({"req_id": f"ping-{n}", "op": "pong", "args": ["1"], "conn_id": "c"})
    assert up.heard() == []


def test_a_missing_pong_opens_the_stream_anew_at_once(up):
    up.advance(29)
    assert up.heard() == []
    up.advance(1)
    assert up.heard() == [StreamDown(reason="no pong in time")]
    assert up.opens()[-1].connection == 2


def test_data_does_not_stand_in_for_a_pong(up):
    up.advance(25)
    up.frame(data("order", ORDER))
    up.advance(5)
    assert isinstance(up.heard()[-1], StreamDown)


# ---------------------------------------------------------------- frames


def test_several_rows_of_a_frame_come_in_their_order(up):
    up.frame(data("order", {**ATTACHED, "orderStatus": "Deactivated"}, ORDER))
    stop, closing = up.heard()
    assert isinstance(stop, OrderReport)
    assert (stop.order_class, stop.status) == (OrderClass.ATTACHED, OrderStatus.CANCELED)
    assert closing.order_class is OrderClass.PLAIN


def test_a_bad_row_costs_nobody_else(up):
    up.frame(data("execution", {"symbol": "AUSDT"}, execution(1)))
    notice, fill = up.heard()
    assert isinstance(notice, VenueNotice)
    assert (notice.kind, notice.symbol) == ("malformed", "AUSDT")
    assert isinstance(fill, Fill)


def test_funding_is_an_execution_that_moves_no_quantity(up):
    up.frame(data("execution", execution(1, execType="Funding", orderLinkId="", execFee="-0.02")))
    fill = up.heard()[0]
    assert (fill.kind, fill.fee) == (FillKind.FUNDING, Decimal("-0.02"))


def test_an_execution_of_an_unknown_kind_is_told_and_moves_nothing(up):
    up.frame(data("execution", execution(1, execType="CorporateAction")))
    fill, notice = up.heard()
    assert fill.kind is FillKind.UNKNOWN
    assert notice.kind == "unknown_event"


def test_a_position_event_knows_its_stops_series_from_the_order_event(up):
    up.frame(data("order", ATTACHED))
    up.frame(data("position", {**POSITION, "avgPrice": None, "entryPrice": "60000"}))
    position = up.heard()[-1]
    assert isinstance(position, PositionReport)
    assert (position.side, position.entry_price) == (PositionSide.LONG, Decimal(60000))
    assert (position.stop_price, position.stop_trigger_by) == (Decimal(58000), PriceSource.MARK)


def test_other_categories_are_not_ours(up):
    up.frame(data("order", {**ORDER, "category": "option"}))
    up.frame(data("execution", execution(1, category="spot")))
    up.frame(data("position", {**POSITION, "category": "inverse"}))
    assert up.heard() == []


def test_the_wallet_is_that_of_the_quote_currency(up):
    up.frame(data("wallet", WALLET))
    balance = up.heard()[0]
    assert isinstance(balance, BalanceReport)
    assert (balance.asset, balance.wallet) == ("USDT", Decimal(10000))


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (data("brand.new", {}), "unknown_event"),
        ({"op": "brand-new"}, "unknown_event"),
        (b"\xff\xfe", "malformed"),
        ({"topic": "order", "data": 5}, "malformed"),
        (data("order", {**ORDER, "orderStatus": "Dreaming"}), "malformed"),
        (data("order", {**ORDER, "side": "Up"}), "malformed"),
        (data("position", {**POSITION, "positionIdx": 7}), "malformed"),
    ],
)
def test_what_we_cannot_read_is_told(up, frame, kind):
    up.frame(frame)
    assert [event.kind for event in up.heard()] == [kind]


# ---------------------------------------------------------------- recorded payloads


@pytest.mark.parametrize("name", ["d_wss_authentication_2", "n_auth_success"])
def test_recorded_auth_answers_are_accepted(world, name):
    world.opened(1)
    world.frame(payload(f"bybit/ws_control/{name}.json"))
    assert world.sent()[-1]["op"] == "subscribe"


def test_a_recorded_auth_refusal_is_a_refusal(world):
    world.opened(1)
    world.frame(payload("bybit/ws_control/n_auth_failure.json"))
    assert "Invalid apikey" in world.heard()[0].reason


@pytest.mark.parametrize("topic", TOPICS)
def test_recorded_subscriptions_look_like_ours(world, topic):
    recorded = payload(f"bybit/ws_request/d_private_{topic}.json")
    world.opened(1)
    rise(world, 1)
    ours = [frame for frame in world.sent() if frame.get("args") == [topic]]
    assert {name: ours[0][name] for name in recorded} == recorded


def test_recorded_frames_of_every_topic_are_read(up):
    for name in ("n_order_stop_loss", "n_execution", "n_position", "n_wallet"):
        up.frame(payload(f"bybit/ws_user/{name}.json"))
    order, fill, position, balance = up.heard()
    assert (order.order_class, order.trigger_price) == (OrderClass.ATTACHED, 48000)
    assert (fill.qty, fill.client_order_id) == (Decimal("0.5"), "test-order-link-001")
    assert (position.side, position.qty) == (PositionSide.SHORT, Decimal("0.01"))
    assert balance.wallet == Decimal("9647.75537647")


def test_a_recorded_option_order_is_not_ours(up):
    up.frame(payload("bybit/ws_user/d_private_order_2.json"))
    assert up.heard() == []

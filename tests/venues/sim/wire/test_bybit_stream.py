import pytest

from kernel.model.orders import Side
from tests.venues.sim.desk import BTC, T0
from tests.venues.sim.wire.wire_desk import WireDesk
from venues.sim.fault_kinds import Cue, HalfOpen, StreamDup, StreamGarbage, Target, VenueAct

ORDER = {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Market",
         "qty": "0.010", "orderLinkId": "e-1"}  # fmt: skip
TOPICS = ["order", "execution", "position", "wallet"]


def streaming(topics=TOPICS, **setup) -> WireDesk:
    desk = WireDesk("bybit", **setup).open("/v5/private")
    desk.tell(b'{"req_id":"auth","op":"auth","args":["{auth}"]}')
    desk.tell({"op": "subscribe", "req_id": "1", "args": topics})
    desk.inputs.clear()
    return desk


def rows(desk, topic):
    return [row for frame in desk.frames() if frame.get("topic") == topic
            for row in frame["data"]]  # fmt: skip


def test_auth_subscribe_and_ping_are_answered_in_their_own_shapes():
    desk = WireDesk("bybit").open("/v5/private?max_active_time=60s")
    desk.tell({"op": "auth", "args": ["k", 1, "s"]})
    desk.tell({"op": "subscribe", "req_id": "7", "args": ["order"]})
    desk.tell({"op": "ping", "req_id": "8"})
    auth, subscribe, pong = desk.frames()
    assert auth == {"success": True, "ret_msg": "", "op": "auth", "conn_id": "conn-1"}
    assert (subscribe["success"], subscribe["req_id"], subscribe["op"]) == (True, "7", "subscribe")
    assert (pong["op"], pong["req_id"]) == ("pong", "8")
    assert pong["args"][0].startswith(str(T0 // 1_000_000_000))


@pytest.mark.parametrize("path", ["/v5/private", "/v5/public/linear"])
def test_nothing_is_told_before_auth_and_a_subscription(path):
    desk = WireDesk("bybit").open(path)
    desk.tell({"op": "subscribe", "args": ["order"]})
    desk.market("0.010")
    desk.wait(100)
    (refused,) = desk.frames()
    assert refused["success"] is False


def test_one_unknown_topic_drops_the_whole_batch():
    desk = streaming(["order", "nonsense", "execution"])
    desk.market("0.010")
    desk.wait(100)
    assert desk.frames() == []


def test_a_topic_comes_under_the_name_it_was_subscribed_with_until_it_is_unsubscribed():
    desk = streaming(["order.linear"])
    desk.market("0.010")
    desk.wait(100)
    assert [frame["topic"] for frame in desk.frames()] == ["order.linear"]
    desk.tell({"op": "unsubscribe", "args": ["order.linear"]})
    desk.market("0.010", cid="e-2")
    desk.wait(100)
    assert [frame.get("op", "order") for frame in desk.frames()] == ["order", "unsubscribe"]


def test_a_market_order_is_first_told_when_it_is_filled():
    desk = streaming()
    desk.market("0.010", cid="e-1")
    desk.wait(100)
    assert [row["orderStatus"] for row in rows(desk, "order")] == ["Filled"]
    (execution,) = rows(desk, "execution")
    assert (execution["execQty"], execution["execPrice"], execution["leavesQty"]) == (
        "0.010", "60000.1", "0",
    )  # fmt: skip
    assert (execution["execType"], execution["execFee"], execution["feeCurrency"]) == (
        "Trade", "0.3000005", "USDT",
    )  # fmt: skip
    assert rows(desk, "position")[-1]["entryPrice"] == "60000.1"
    assert "avgPrice" not in rows(desk, "position")[-1]
    assert rows(desk, "wallet")[-1]["coin"][0]["walletBalance"] == "99999.6999995"


def test_the_sequence_joins_an_execution_to_its_position():
    desk = streaming()
    desk.market("0.010")
    desk.wait(100)
    assert rows(desk, "execution")[0]["seq"] == rows(desk, "position")[-1]["seq"]


def test_a_position_is_pushed_with_an_order_although_it_did_not_change():
    desk = streaming()
    desk.post("/v5/order/create", **{**ORDER, "orderType": "Limit", "price": "50000"})
    assert [row["orderStatus"] for row in rows(desk, "order")] == ["New"]
    assert [row["size"] for row in rows(desk, "position")] == ["0"]


def test_the_stop_of_a_closed_position_comes_in_one_message_with_the_closing_order():
    desk = streaming()
    desk.post("/v5/order/create", **ORDER, stopLoss="59000")
    desk.market("0.010", Side.SELL, cid="x-1", reduce_only=True)
    desk.wait(100)
    told = [(row["stopOrderType"], row["orderStatus"]) for row in rows(desk, "order")]
    sizes = [len(frame["data"]) for frame in desk.frames() if frame.get("topic") == "order"]
    assert sizes == [1, 1, 2]
    assert told == [("StopLoss", "Untriggered"), ("", "Filled"), ("StopLoss", "Deactivated"),
                    ("", "Filled")]  # fmt: skip
    assert rows(desk, "position")[-1]["side"] == ""


def test_a_fired_stop_keeps_its_id_and_its_kind():
    desk = streaming(path=[(0, "60000"), (5000, "58900")])
    desk.post("/v5/order/create", **ORDER, stopLoss="59000")
    desk.run_to(6000)
    stop = [row for row in rows(desk, "order") if row["stopOrderType"] == "StopLoss"]
    assert [row["orderStatus"] for row in stop] == ["Untriggered", "Triggered", "Filled"]
    assert len({row["orderId"] for row in stop}) == 1
    assert rows(desk, "execution")[-1]["stopOrderType"] == "StopLoss"


def test_funding_is_an_execution_of_its_own_type():
    cue = Cue(at_ns=1_000_000_000)
    desk = streaming(faults=(VenueAct(act="funding", symbol=BTC, cue=cue),))
    desk.market("0.010")
    desk.run_to(1100)
    assert rows(desk, "execution")[-1]["execType"] == "Funding"


def test_garbage_comes_as_it_is_and_doubles_come_twice():
    only_orders = Target(topic="order")
    desk = streaming(faults=(StreamGarbage(raw='{"a":1}', target=only_orders),
                             StreamDup(dt_ns=1, target=only_orders)))  # fmt: skip
    desk.market("0.010")
    desk.wait(100)
    assert {"a": 1} in desk.frames()
    assert [row["orderStatus"] for row in rows(desk, "order")] == ["Filled", "Filled"]


def test_a_half_open_connection_does_not_even_pong():
    desk = streaming(faults=(HalfOpen(),))
    desk.market("0.010")
    desk.tell({"op": "ping"})
    assert desk.frames() == []
    assert desk.closed() == []


def test_a_restart_of_the_venue_closes_the_connection():
    cue = Cue(at_ns=1_000_000_000)
    desk = streaming(faults=(VenueAct(act="restart", cue=cue),))
    desk.run_to(1100)
    assert desk.closed() == ["the venue restarts"]


def test_a_kernel_that_is_gone_hears_nothing_more():
    desk = streaming()
    desk.send("GET", "/v5/market/time")
    desk.wire.cut()
    desk.market("0.010")
    desk.wait(100)
    assert desk.inputs == []


def test_a_new_connection_has_to_authenticate_and_subscribe_again():
    desk = streaming().open("/v5/private", connection=2)
    desk.market("0.010")
    desk.wait(100)
    assert desk.frames() == []


@pytest.mark.parametrize(("query", "seconds"), [("", 600), ("?max_active_time=30s", 30)])
def test_a_connection_that_says_nothing_is_cut_and_one_that_pings_is_not(query, seconds):
    desk = WireDesk("bybit").open(f"/v5/private{query}")
    for _ in range(3):
        desk.wait(seconds * 900)
        desk.tell({"op": "ping"})
    assert desk.closed() == []
    desk.wait(seconds * 1000)
    assert desk.closed() == ["idle for too long"]

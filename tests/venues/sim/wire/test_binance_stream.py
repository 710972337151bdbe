from decimal import Decimal
from typing import Any

import pytest

from kernel.model.messages import StreamOpen
from kernel.model.units import MINUTE, MS, SECOND
from tests.venues.sim.desk import BTC
from tests.venues.sim.wire.wire_desk import WireDesk
from venues.sim.fault_kinds import Cue, ModeSet, VenueAct
from venues.sim.wire.link import WireLink

STOP = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET",
        "quantity": "0.010", "triggerPrice": "59000", "reduceOnly": "true",
        "clientAlgoId": "s-1"}  # fmt: skip
LATER = Cue(at_ns=SECOND)
HOUR_MS = 60 * MINUTE // MS


def streaming(*args, **setup) -> WireDesk:
    desk = WireDesk("binance", *args, **setup)
    desk.ask("POST", "/fapi/v1/listenKey")
    return desk.open("/private/ws?listenKey={listenKey}")


def test_a_market_order_is_new_and_then_traded_with_its_fee():
    desk = streaming()
    desk.market("0.010", cid="e-1")
    desk.wait(50)
    new, trade, account = desk.frames()
    assert [frame["e"] for frame in (new, trade, account)] == [
        "ORDER_TRADE_UPDATE", "ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE",
    ]  # fmt: skip
    assert (new["o"]["x"], new["o"]["X"], new["o"]["t"]) == ("NEW", "NEW", 0)
    assert "n" not in new["o"]
    order = trade["o"]
    assert (order["x"], order["X"], order["c"], order["l"], order["z"], order["L"]) == (
        "TRADE", "FILLED", "e-1", "0.010", "0.010", "60000.1",
    )  # fmt: skip
    assert (order["n"], order["N"], order["t"], order["rp"]) == ("0.3000005", "USDT", 1, "0")


def test_balance_and_position_of_a_trade_come_together():
    desk = streaming()
    desk.market("0.010")
    desk.wait(50)
    told = desk.frames()[-1]["a"]
    assert told["m"] == "ORDER"
    assert [(one["s"], one["pa"], one["ep"], one["ps"]) for one in told["P"]] == [
        (BTC, "0.010", "60000.1", "BOTH"),
    ]  # fmt: skip
    (money,) = told["B"]
    assert (money["a"], money["wb"], money["bc"]) == ("USDT", "99999.6999995", "0")


def test_funding_tells_the_balance_and_no_position():
    funding = VenueAct(act="funding", symbol=BTC, rate=Decimal("0.0001"), cue=LATER)
    desk = streaming(faults=(funding,))
    desk.market("0.010")
    desk.run_to(1100)
    told = desk.frames()[-1]["a"]
    assert (told["m"], told["S"], told["P"]) == ("FUNDING_FEE", BTC, [])
    assert told["B"][0]["bc"] == "-0.06"


def test_the_life_of_a_stop_is_told_as_algo_updates_and_its_child_as_an_order():
    desk = streaming([(0, "60000"), (5000, "58900")])
    desk.market("0.010")
    desk.ask("POST", "/fapi/v1/algoOrder", **STOP)
    desk.run_to(6000)
    algo = [frame["o"] for frame in desk.frames() if frame["e"] == "ALGO_UPDATE"]
    assert [one["X"] for one in algo] == ["NEW", "TRIGGERING", "TRIGGERED", "FINISHED"]
    assert [bool(one["ai"]) for one in algo] == [False, False, True, True]
    plain = [frame["o"] for frame in desk.frames() if frame["e"] == "ORDER_TRADE_UPDATE"]
    child = [one for one in plain if one["ot"] == "STOP_MARKET"]
    assert [one["X"] for one in child] == ["NEW", "FILLED"]
    assert {one["i"] for one in child} == {int(algo[-1]["ai"])}
    assert child[-1]["o"] == "MARKET"


def test_a_liquidation_is_calculated_under_the_venues_own_id():
    desk = streaming([(0, "60000"), (5000, "47000")])
    desk.market("0.010")
    desk.run_to(6000)
    trade = [frame["o"] for frame in desk.frames() if frame.get("o", {}).get("x") == "CALCULATED"]
    assert [one["o"] for one in trade] == ["LIQUIDATION"]
    assert trade[0]["c"].startswith("autoclose-")


def test_a_leverage_set_by_somebody_else_is_told():
    desk = streaming(faults=(ModeSet(symbol=BTC, leverage=Decimal(20), cue=LATER),))
    desk.run_to(1100)
    assert desk.frames()[-1]["ac"] == {"s": BTC, "l": 20}


def test_one_listen_key_an_account_the_same_while_it_lives():
    desk = WireDesk()
    first = desk.ask("POST", "/fapi/v1/listenKey")["listenKey"]
    assert len(first) == 64
    assert desk.ask("POST", "/fapi/v1/listenKey")["listenKey"] == first
    assert desk.ask("PUT", "/fapi/v1/listenKey")["listenKey"] == first
    desk.ask("DELETE", "/fapi/v1/listenKey")
    assert desk.ask("PUT", "/fapi/v1/listenKey")["code"] == -1125
    assert desk.ask("POST", "/fapi/v1/listenKey")["listenKey"] != first


def test_a_listen_key_that_ends_is_announced_and_then_nothing_comes():
    desk = streaming()
    desk.wait(HOUR_MS)
    assert desk.frames()[-1]["e"] == "listenKeyExpired"
    told = len(desk.frames())
    desk.market("0.010")
    desk.wait(100)
    assert len(desk.frames()) == told
    assert desk.closed() == []


def test_a_listen_key_that_is_kept_alive_does_not_end():
    desk = streaming()
    for _ in range(4):
        desk.wait(HOUR_MS // 2)
        desk.ask("PUT", "/fapi/v1/listenKey")
    desk.market("0.010")
    desk.wait(100)
    assert {frame["e"] for frame in desk.frames()} == {"ORDER_TRADE_UPDATE", "ACCOUNT_UPDATE"}


@pytest.mark.parametrize("path", ["/ws?listenKey={}", "/private/ws?listenKey=wrong{}", "/ws/{}"])
def test_a_legacy_path_and_a_wrong_key_connect_and_stay_silent(path):
    desk = WireDesk()
    key = desk.ask("POST", "/fapi/v1/listenKey")["listenKey"]
    desk.open(path.format(key))
    desk.market("0.010")
    desk.wait(100)
    assert desk.frames() == []
    assert desk.closed() == []


def test_a_path_may_name_events_and_may_ask_for_envelopes():
    desk = WireDesk()
    key = desk.ask("POST", "/fapi/v1/listenKey")["listenKey"]
    desk.open(f"/private/stream?listenKey={key}&events=ACCOUNT_UPDATE")
    desk.market("0.010")
    desk.wait(100)
    (frame,) = desk.frames()
    assert frame["stream"] == key
    assert frame["data"]["e"] == "ACCOUNT_UPDATE"


def test_a_subscription_on_the_private_path_is_answered():
    desk = streaming().tell({"method": "SUBSCRIBE", "params": ["x"], "id": 7})
    assert desk.frames()[-1] == {"result": None, "id": 7}


def test_a_connection_lives_no_longer_than_a_day():
    desk = streaming()
    desk.wait(24 * HOUR_MS - 1000)
    assert desk.closed() == []
    desk.wait(2000)
    assert desk.closed() == ["the longest life of a connection is over"]


def test_the_end_of_a_listen_key_is_told_to_every_kernel_that_is_connected():
    desk = streaming()
    heard: list[Any] = []
    other = WireLink(desk.core, desk.agenda, lambda _key, body: heard.append(body))
    key = desk.ask("POST", "/fapi/v1/listenKey")["listenKey"]
    path = f"/private/ws?listenKey={key}"
    other.accept("o", StreamOpen(venue="binance", stream="private", connection=1, path=path))
    desk.wait(HOUR_MS)
    assert b"listenKeyExpired" in heard[-1].body
    other.cut()
    told = len(heard)
    desk.ask("POST", "/fapi/v1/listenKey")
    desk.wait(HOUR_MS)
    assert len(heard) == told
    assert [one["e"] for one in desk.frames()].count("listenKeyExpired") == 2

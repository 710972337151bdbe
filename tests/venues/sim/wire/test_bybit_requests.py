from decimal import Decimal

import msgspec
import pytest

from kernel.model.messages import HttpFailed
from kernel.model.orders import Side
from kernel.model.units import SECOND
from tests.venues.sim.desk import BTC
from tests.venues.sim.wire.wire_desk import WireDesk, headers_of
from venues.sim.account import AccountRules
from venues.sim.fault_kinds import PageLimit, Target, Throttle, UnknownCode

ORDER = {"category": "linear", "symbol": BTC, "side": "Buy", "orderType": "Market",
         "qty": "0.010", "orderLinkId": "e-1"}  # fmt: skip
LINEAR = {"category": "linear"}


def desk_of(*args, **setup) -> WireDesk:
    return WireDesk("bybit", *args, **setup)


def listed(desk, path, **params):
    told = desk.ask("GET", path, category="linear", **params)
    assert told["retCode"] == 0, told
    return told["result"]


def limit_orders(desk, count):
    for n in range(count):
        desk.post("/v5/order/create", **{
            **ORDER, "orderType": "Limit", "price": "50000", "qty": "0.001",
            "orderLinkId": f"l-{n}",
        })
        desk.wait(200)


def test_every_answer_has_the_envelope_and_business_errors_have_status_200():
    desk = desk_of()
    reply = desk.raw("POST", "/v5/order/create", msgspec.json.encode({**ORDER, "qty": "0.0001"}))
    told = msgspec.json.decode(reply.body)
    assert reply.status == 200
    assert list(told) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert (told["retCode"], told["retMsg"], told["result"]) == (10001, "Qty invalid", {})


def test_create_answers_with_ids_and_nothing_else():
    desk = desk_of()
    told = desk.post("/v5/order/create", **ORDER)
    assert set(told["result"]) == {"orderId", "orderLinkId"}
    (row,) = listed(desk, "/v5/order/realtime", orderLinkId="e-1")["list"]
    assert (row["orderStatus"], row["avgPrice"], row["leavesQty"], row["timeInForce"]) == (
        "Filled", "60000.1", "0.000", "IOC",
    )  # fmt: skip
    assert row["orderId"] == told["result"]["orderId"]


def test_the_price_of_a_market_order_is_its_bound_and_not_its_fill():
    desk = desk_of()
    desk.post("/v5/order/create", **ORDER)
    (row,) = listed(desk, "/v5/order/realtime", orderLinkId="e-1")["list"]
    assert row["price"] == "63000.0"


def test_an_order_that_is_not_known_is_an_empty_list():
    desk = desk_of()
    for path in ("/v5/order/realtime", "/v5/order/history"):
        assert listed(desk, path, orderLinkId="nobody", symbol=BTC)["list"] == []


def test_a_link_id_is_used_once_for_ever():
    desk = desk_of()
    desk.post("/v5/order/create", **ORDER)
    assert desk.post("/v5/order/create", **ORDER)["retCode"] == 110072


def test_a_stop_that_rides_with_the_entry_waits_as_an_order_and_shows_in_the_position():
    desk = desk_of()
    desk.post("/v5/order/create", **ORDER, stopLoss="59000", slTriggerBy="MarkPrice")
    (stop,) = listed(desk, "/v5/order/realtime", settleCoin="USDT", orderFilter="StopOrder")["list"]
    assert (stop["orderStatus"], stop["stopOrderType"], stop["createType"], stop["triggerBy"]) == (
        "Untriggered", "StopLoss", "CreateByStopLoss", "MarkPrice",
    )  # fmt: skip
    assert (stop["orderLinkId"], stop["price"], stop["side"], stop["triggerDirection"]) == (
        "", "0.0", "Sell", 2,
    )  # fmt: skip
    assert (stop["reduceOnly"], stop["closeOnTrigger"], stop["tpslMode"]) == (True, True, "Full")
    (held,) = listed(desk, "/v5/position/list", settleCoin="USDT")["list"]
    assert (held["stopLoss"], held["side"], held["size"]) == ("59000.0", "Buy", "0.010")
    assert "slTriggerBy" not in held


def test_trading_stop_says_not_modified_for_the_same_again_and_for_what_is_missing():
    desk = desk_of()
    stop = {**LINEAR, "symbol": BTC, "tpslMode": "Full", "positionIdx": 0, "stopLoss": "59000",
            "slTriggerBy": "MarkPrice"}  # fmt: skip
    gone = desk.post("/v5/position/trading-stop", **stop)
    assert gone["retCode"] == 10001
    assert "zero position" in gone["retMsg"]
    desk.market("0.010")
    assert desk.post("/v5/position/trading-stop", **stop)["retCode"] == 0
    assert desk.post("/v5/position/trading-stop", **stop)["retCode"] == 34040
    del stop["positionIdx"]
    assert desk.post("/v5/position/trading-stop", **{**stop, "stopLoss": "59500"})["retCode"] == (
        34040
    )
    (held,) = listed(desk, "/v5/position/list", symbol=BTC)["list"]
    assert held["stopLoss"] == "59000.0"


def test_the_stop_of_a_closed_position_is_deactivated():
    desk = desk_of()
    desk.post("/v5/order/create", **ORDER, stopLoss="59000")
    (stop,) = listed(desk, "/v5/order/realtime", symbol=BTC, orderFilter="StopOrder")["list"]
    desk.market("0.010", Side.SELL, cid="x-1", reduce_only=True)
    (row,) = listed(desk, "/v5/order/realtime", orderId=stop["orderId"])["list"]
    assert (row["orderStatus"], row["cancelType"]) == ("Deactivated", "CancelByTpSlTsClear")


@pytest.mark.parametrize(
    "changed",
    [
        {"triggerDirection": 1},
        {"reduceOnly": False},
        {"triggerPrice": "nothing"},
        {"orderType": "Limit", "price": "58000"},
        {"category": "spot"},
    ],
)
def test_a_conditional_that_is_no_stop_is_refused(changed):
    desk = desk_of()
    desk.market("0.010")
    stop = {**ORDER, "side": "Sell", "triggerPrice": "59000", "triggerDirection": 2,
            "reduceOnly": True, "orderLinkId": "s-1"}  # fmt: skip
    assert desk.post("/v5/order/create", **{**stop, **changed})["retCode"] == 10001
    assert desk.post("/v5/order/create", **stop)["retCode"] == 0


def test_a_list_has_twenty_rows_unless_asked_and_goes_on_with_its_cursor_as_it_came():
    desk = desk_of()
    limit_orders(desk, 25)
    first = listed(desk, "/v5/order/realtime", symbol=BTC, orderFilter="Order")
    assert [row["orderLinkId"] for row in first["list"]] == [f"l-{n}" for n in range(24, 4, -1)]
    assert "%" in first["nextPageCursor"]
    rest = listed(desk, "/v5/order/realtime", symbol=BTC, orderFilter="Order",
                  cursor=first["nextPageCursor"])  # fmt: skip
    assert [row["orderLinkId"] for row in rest["list"]] == [f"l-{n}" for n in range(4, -1, -1)]
    assert rest["nextPageCursor"] == ""


def test_without_a_filter_the_pages_show_orders_and_stops_newest_first():
    desk = desk_of()
    limit_orders(desk, 3)
    desk.post("/v5/order/create", **{**ORDER, "orderLinkId": "e-9"}, stopLoss="59000")
    seen, cursor = [], ""
    while True:
        page = listed(desk, "/v5/order/realtime", settleCoin="USDT", limit=2, cursor=cursor)
        seen += [row["stopOrderType"] or row["orderLinkId"] for row in page["list"]]
        cursor = page["nextPageCursor"]
        if not cursor:
            break
    assert seen == ["StopLoss", "l-2", "l-1", "l-0"]


def test_a_cursor_of_somebody_else_is_refused():
    told = desk_of().ask("GET", "/v5/order/realtime", **LINEAR, symbol=BTC, cursor="abc")
    assert told["retCode"] == 10001


def test_a_page_that_the_venue_cuts_short_still_leads_on():
    desk = desk_of(faults=(PageLimit(rows=1, target=Target(kinds=("open_orders",))),))
    limit_orders(desk, 2)
    first = listed(desk, "/v5/order/realtime", symbol=BTC, orderFilter="Order", limit=50)
    assert len(first["list"]) == 1
    assert first["nextPageCursor"]


def test_a_list_needs_a_symbol_or_a_coin():
    told = desk_of().ask("GET", "/v5/order/realtime", **LINEAR)
    assert told["retCode"] == 10001


def test_executions_come_newest_first_and_by_cursor():
    desk = desk_of()
    for n in range(5):
        desk.market("0.001", cid=f"e-{n}")
    first = listed(desk, "/v5/execution/list", symbol=BTC, limit=2)
    second = listed(desk, "/v5/execution/list", symbol=BTC, limit=2,
                    cursor=first["nextPageCursor"])  # fmt: skip
    last = listed(desk, "/v5/execution/list", symbol=BTC, limit=2,
                  cursor=second["nextPageCursor"])  # fmt: skip
    seen = [row["orderLinkId"] for page in (first, second, last) for row in page["list"]]
    assert seen == ["e-4", "e-3", "e-2", "e-1", "e-0"]
    assert last["nextPageCursor"] == ""
    assert "execPnl" not in first["list"][0]


def test_a_flat_symbol_has_a_row_and_a_coin_shows_only_what_is_open():
    desk = desk_of()
    (row,) = listed(desk, "/v5/position/list", symbol=BTC)["list"]
    assert (row["side"], row["size"], row["seq"], row["openTime"], row["stopLoss"]) == (
        "", "0", -1, 0, "",
    )  # fmt: skip
    assert listed(desk, "/v5/position/list", settleCoin="USDT")["list"] == []


def test_in_hedge_mode_a_symbol_has_a_row_for_each_leg():
    desk = desk_of(account=AccountRules(hedge_mode=True))
    desk.market("0.010", position_side="LONG")
    rows = listed(desk, "/v5/position/list", symbol=BTC)["list"]
    assert [(row["positionIdx"], row["size"]) for row in rows] == [(1, "0.010"), (2, "0")]


def test_only_what_trades_is_listed_unless_its_status_is_asked_for():
    desk = desk_of(symbols=(BTC, "ETHUSDT"))
    held = desk.venue.instruments["ETHUSDT"]
    desk.venue.instruments["ETHUSDT"] = msgspec.structs.replace(held, trading=False)
    assert [row["symbol"] for row in listed(desk, "/v5/market/instruments-info")["list"]] == [BTC]
    closed = listed(desk, "/v5/market/instruments-info", status="Closed")["list"]
    assert [(row["symbol"], row["status"]) for row in closed] == [("ETHUSDT", "Closed")]
    one = listed(desk, "/v5/market/instruments-info", symbol="ETHUSDT")["list"]
    assert len(one) == 1


def test_numbers_are_strings_but_for_the_few_that_are_not():
    desk = desk_of()
    desk.post("/v5/order/create", **ORDER)
    (row,) = listed(desk, "/v5/order/realtime", orderLinkId="e-1")["list"]
    whole = {name for name, value in row.items() if isinstance(value, int)}
    assert whole == {"positionIdx", "triggerDirection", "reduceOnly", "closeOnTrigger", "smpGroup"}
    (held,) = listed(desk, "/v5/position/list", symbol=BTC)["list"]
    assert isinstance(held["leverage"], str)
    assert isinstance(held["openTime"], int)


def test_what_is_so_already_says_so():
    desk = desk_of()
    same = {**LINEAR, "symbol": BTC, "buyLeverage": "5", "sellLeverage": "5"}
    assert desk.post("/v5/position/set-leverage", **same)["retCode"] == 110043
    other = {**same, "buyLeverage": "7", "sellLeverage": "7"}
    assert desk.post("/v5/position/set-leverage", **other)["retCode"] == 0
    uneven = {**same, "buyLeverage": "8"}
    assert desk.post("/v5/position/set-leverage", **uneven)["retCode"] == 10001


def test_with_isolated_margin_the_account_wide_sums_are_empty_and_the_coin_tells():
    desk = desk_of()
    desk.market("0.010")
    account = desk.ask("GET", "/v5/account/wallet-balance", accountType="UNIFIED")
    (told,) = account["result"]["list"]
    (coin,) = told["coin"]
    assert told["totalAvailableBalance"] == ""
    free = Decimal(coin["walletBalance"]) - Decimal(coin["totalPositionIM"])
    assert free == desk.venue.account.available
    assert desk.ask("GET", "/v5/account/info")["result"]["marginMode"] == "ISOLATED_MARGIN"


def test_the_budget_of_an_endpoint_is_told_and_its_end_when_it_is_used_up():
    desk = desk_of(faults=(Throttle(retry_ns=SECOND, target=Target(kinds=("submit",))),))
    left = [headers_of(desk.raw("GET", "/v5/position/list", category="linear", symbol=BTC))
            ["x-bapi-limit-status"] for _ in range(3)]  # fmt: skip
    assert left == ["49", "48", "47"]
    refused = desk.raw("POST", "/v5/order/create", msgspec.json.encode(ORDER))
    assert b'"retCode":10006' in refused.body
    told = [value for name, value in refused.headers if name == "x-bapi-limit-reset-timestamp"]
    assert int(told[0]) == (desk.inputs[-1][0] + 1_700_000_000 * SECOND) // 1_000_000 + 995


@pytest.mark.parametrize(
    ("code", "status", "body"),
    [
        ("empty", 200, b""),
        ("http-403", 403, b"access too frequent"),
        ("http-504", 504, b"<html><head><title>504</title></head><body>504</body></html>"),
    ],
)
def test_gateways_answer_without_json(code, status, body):
    desk = desk_of(faults=(UnknownCode(code=code, applied=True),))
    reply = desk.raw("POST", "/v5/order/create", msgspec.json.encode(ORDER))
    assert (reply.status, reply.body) == (status, body)
    assert desk.qty() == Decimal("0.010")


def test_a_time_out_of_the_gateway_is_no_answer():
    desk = desk_of(faults=(UnknownCode(code="timeout", applied=True),))
    key = desk.send("POST", "/v5/order/create", msgspec.json.encode(ORDER))
    desk.wait(100)
    assert isinstance(desk.answer_to(key), HttpFailed)


def test_an_unknown_route_is_404_with_a_code_and_a_broken_body_is_named():
    desk = desk_of()
    reply = desk.raw("GET", "/v5/nothing")
    assert reply.status == 404
    assert b'"retCode":10017' in reply.body
    broken = desk.raw("POST", "/v5/order/create", b"{")
    assert b"params error: body invalid" in broken.body

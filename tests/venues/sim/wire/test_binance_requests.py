from decimal import Decimal
from typing import Any

import pytest

from kernel.model.messages import HttpFailed
from kernel.model.orders import Side
from kernel.model.units import MINUTE, SECOND
from tests.venues.sim.desk import BTC
from tests.venues.sim.wire.wire_desk import WireDesk, headers_of
from venues.sim.fault_kinds import AckDrop, Cue, Reject, Target, Throttle, UnknownCode, VenueAct
from venues.sim.wire.binance import BinanceCore
from venues.sim.wire.link import WireLink

ORDER: dict[str, Any] = {"symbol": BTC, "side": "BUY", "type": "MARKET", "quantity": "0.010",
         "newClientOrderId": "e-1"}  # fmt: skip
STOP = {"algoType": "CONDITIONAL", "symbol": BTC, "side": "SELL", "type": "STOP_MARKET",
        "quantity": "0.010", "triggerPrice": "59000", "workingType": "MARK_PRICE",
        "reduceOnly": "true", "clientAlgoId": "s-1"}  # fmt: skip


def test_an_ack_says_new_and_nothing_of_the_fill_although_the_order_is_filled():
    desk = WireDesk()
    row = desk.ask("POST", "/fapi/v1/order", **ORDER)
    assert (row["status"], row["executedQty"]) == ("NEW", "0.000")
    assert not {"avgPrice", "cumQuote"} & set(row)
    assert desk.qty() == Decimal("0.010")
    full = desk.ask("GET", "/fapi/v1/order", symbol=BTC, origClientOrderId="e-1")
    assert (full["status"], full["avgPrice"], full["cumQuote"]) == ("FILLED", "60000.1", "600.001")
    assert full["orderId"] == row["orderId"]


def test_result_says_what_a_market_order_came_to():
    row = WireDesk().ask("POST", "/fapi/v1/order", **ORDER, newOrderRespType="RESULT")
    assert (row["status"], row["executedQty"]) == ("FILLED", "0.010")


def test_prices_are_strings_and_ids_and_times_are_numbers():
    row = WireDesk().ask("POST", "/fapi/v1/order", **ORDER)
    assert isinstance(row["origQty"], str)
    assert isinstance(row["price"], str)
    assert isinstance(row["orderId"], int)
    assert isinstance(row["updateTime"], int)
    assert row["reduceOnly"] is False


@pytest.mark.parametrize("kind", ["STOP_MARKET", "STOP", "TRAILING_STOP_MARKET"])
def test_a_conditional_at_the_order_endpoint_is_refused_with_4120(kind):
    reply = WireDesk().raw("POST", "/fapi/v1/order", **{**ORDER, "type": kind})
    assert reply.status == 400
    assert b'"code":-4120' in reply.body


def test_algo_orders_live_in_a_list_and_an_id_space_of_their_own():
    desk = WireDesk()
    desk.market("0.010")
    row = desk.ask("POST", "/fapi/v1/algoOrder", **STOP)
    assert (row["algoStatus"], row["orderType"], row["triggerPrice"]) == (
        "NEW", "STOP_MARKET", "59000.0",
    )  # fmt: skip
    assert desk.ask("GET", "/fapi/v1/openOrders") == []
    (listed,) = desk.ask("GET", "/fapi/v1/openAlgoOrders")
    assert (listed["algoId"], listed["actualOrderId"]) == (row["algoId"], "")
    wrong = desk.ask("GET", "/fapi/v1/order", symbol=BTC, orderId=row["algoId"])
    assert wrong["code"] == -2013


def test_a_canceled_algo_order_answers_with_a_code_that_is_a_string():
    desk = WireDesk()
    desk.market("0.010")
    placed = desk.ask("POST", "/fapi/v1/algoOrder", **STOP)
    done = desk.ask("DELETE", "/fapi/v1/algoOrder", algoId=placed["algoId"])
    assert done == {"algoId": placed["algoId"], "clientAlgoId": "s-1", "code": "200",
                    "msg": "success"}  # fmt: skip
    again = desk.ask("DELETE", "/fapi/v1/algoOrder", clientAlgoId="s-1")
    assert again["code"] == -2011


def test_a_fired_stop_shows_the_order_that_it_became():
    desk = WireDesk(path=[(0, "60000"), (5000, "58900")])
    desk.market("0.010")
    placed = desk.ask("POST", "/fapi/v1/algoOrder", **STOP)
    desk.run_to(6000)
    row = desk.ask("GET", "/fapi/v1/algoOrder", algoId=placed["algoId"])
    assert (row["algoStatus"], row["actualQty"]) == ("FINISHED", "0.010")
    child = desk.ask("GET", "/fapi/v1/order", symbol=BTC, orderId=row["actualOrderId"])
    assert (child["status"], child["type"], child["origType"], child["clientOrderId"]) == (
        "FILLED", "MARKET", "STOP_MARKET", "s-1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"reduceOnly": "false"}, -1128),
        ({"closePosition": "true"}, -1128),
        ({"type": "TAKE_PROFIT_MARKET"}, -1116),
        ({"triggerPrice": ""}, -1102),
        ({"triggerPrice": "many"}, -1100),
        ({"triggerPrice": "61000"}, -2021),
        ({"positionSide": "LONG"}, -4062),
    ],
)
def test_a_stop_that_is_not_one_is_refused(changed, code):
    desk = WireDesk()
    desk.market("0.010")
    assert desk.ask("POST", "/fapi/v1/algoOrder", **{**STOP, **changed})["code"] == code
    assert desk.venue.snapshot_truth().stops == ()


def test_a_missing_parameter_is_named():
    answer = WireDesk().ask("GET", "/fapi/v1/order", orderId="1")
    assert answer["code"] == -1102
    assert "'symbol'" in answer["msg"]


def test_an_unknown_path_is_no_json():
    reply = WireDesk().raw("GET", "/fapi/v9/nothing")
    assert reply.status == 404
    assert reply.body.startswith(b"<html>")


@pytest.mark.parametrize(
    ("code", "status", "part"),
    [
        ("-1007", 408, b'"code":-1007'),
        ("-1008", 503, b'"code":-1008'),
        ("http-503", 503, b"Unknown error, please check your request"),
        ("http-503-unavailable", 503, b"Service Unavailable."),
        ("http-502", 502, b"<html>"),
        ("-2019", 400, b'"code":-2019'),
        ("-2015", 401, b'"code":-2015'),
        ("-1234567", 400, b'"code":-1234567'),
    ],
)
def test_codes_come_with_the_status_that_goes_with_them(code, status, part):
    fault = UnknownCode(code=code, applied=False, target=Target(kinds=("submit",)))
    reply = WireDesk(faults=(fault,)).raw("POST", "/fapi/v1/order", **ORDER)
    assert reply.status == status
    assert part in reply.body


def test_a_reset_connection_is_no_answer_and_the_order_may_exist():
    fault = UnknownCode(code="reset", applied=True)
    desk = WireDesk(faults=(fault,))
    key = desk.send("POST", "/fapi/v1/order", **ORDER)
    desk.wait(100)
    answer = desk.answer_to(key)
    assert isinstance(answer, HttpFailed)
    assert answer.sent
    assert desk.qty() == Decimal("0.010")


def test_a_lost_answer_never_comes_although_the_venue_acted():
    desk = WireDesk(faults=(AckDrop(),))
    key = desk.send("POST", "/fapi/v1/order", **ORDER)
    desk.wait(60_000)
    assert desk.answer_to(key) is None
    assert desk.qty() == Decimal("0.010")


def test_a_used_up_budget_is_429_and_a_ban_418_with_its_end_in_the_text():
    busy = WireDesk(faults=(Throttle(retry_ns=3 * SECOND),))
    reply = busy.raw("POST", "/fapi/v1/order", **ORDER)
    assert (reply.status, headers_of(reply)["retry-after"]) == (429, "3")
    banned = WireDesk(faults=(Throttle(retry_ns=2 * MINUTE, banned=True),))
    reply = banned.raw("POST", "/fapi/v1/order", **ORDER)
    assert reply.status == 418
    assert b"IP banned until 1700000120005." in reply.body


def test_used_weight_is_told_with_every_answer_and_starts_anew_each_minute():
    desk = WireDesk()
    seen = [headers_of(desk.raw("GET", path))["x-mbx-used-weight-1m"]
            for path in ("/fapi/v1/time", "/fapi/v1/openOrders", "/fapi/v3/balance")]  # fmt: skip
    assert seen == ["1", "41", "46"]
    desk.wait(60_000)
    assert headers_of(desk.raw("GET", "/fapi/v1/time"))["x-mbx-used-weight-1m"] == "1"


def test_order_counts_come_with_accepted_orders_only():
    desk = WireDesk()
    told = headers_of(desk.raw("POST", "/fapi/v1/order", **ORDER))
    assert (told["x-mbx-order-count-10s"], told["x-mbx-order-count-1m"]) == ("1", "1")
    refused = desk.raw("POST", "/fapi/v1/order", **{**ORDER, "quantity": "0"})
    assert refused.status == 400
    assert "x-mbx-order-count-10s" not in headers_of(refused)


def test_exchange_info_lists_every_symbol_with_its_filters():
    desk = WireDesk(symbols=(BTC, "ETHUSDT"))
    told = desk.ask("GET", "/fapi/v1/exchangeInfo")
    assert [one["symbol"] for one in told["symbols"]] == [BTC, "ETHUSDT"]
    filters = {one["filterType"]: one for one in told["symbols"][0]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.1"
    assert filters["MARKET_LOT_SIZE"]["maxQty"] == "120"
    assert filters["MIN_NOTIONAL"]["notional"] == "50"
    assert filters["PERCENT_PRICE"]["multiplierUp"] == "1.0500"
    assert {"interval": "SECOND", "intervalNum": 10, "limit": 300, "rateLimitType": "ORDERS"} in (
        told["rateLimits"]
    )


def test_position_risk_is_signed_and_tells_neither_leverage_nor_margin_type():
    desk = WireDesk()
    desk.market("0.010", Side.SELL)
    (row,) = desk.ask("GET", "/fapi/v3/positionRisk")
    assert (row["positionAmt"], row["entryPrice"], row["positionSide"]) == (
        "-0.010", "60000", "BOTH",
    )  # fmt: skip
    assert not {"leverage", "marginType"} & set(row)


def test_user_trades_are_paged_by_trade_id():
    desk = WireDesk()
    for n in range(5):
        desk.market("0.001", cid=f"e-{n}")
    first = desk.ask("GET", "/fapi/v1/userTrades", symbol=BTC, limit=2)
    assert [row["id"] for row in first] == [1, 2]
    rest = desk.ask("GET", "/fapi/v1/userTrades", symbol=BTC, fromId=3, limit=1000)
    assert [row["id"] for row in rest] == [3, 4, 5]
    assert "clientOrderId" not in rest[0]
    one = desk.ask("GET", "/fapi/v1/userTrades", symbol=BTC, orderId=rest[0]["orderId"])
    assert [row["id"] for row in one] == [3]


def test_income_is_funding_with_what_came_in_positive():
    funding = VenueAct(act="funding", symbol=BTC, rate=Decimal("0.0001"), cue=Cue(at_ns=SECOND))
    desk = WireDesk(faults=(funding,))
    desk.market("0.010")
    desk.wait(2000)
    (row,) = desk.ask("GET", "/fapi/v1/income", incomeType="FUNDING_FEE", limit=1000)
    assert (row["symbol"], row["incomeType"], row["income"]) == (BTC, "FUNDING_FEE", "-0.06")
    before = row["time"] - 1
    for wanted, more in (
        (1, {"symbol": BTC, "startTime": row["time"]}),
        (0, {"symbol": "ETHUSDT"}),
        (0, {"startTime": row["time"] + 1}),
        (0, {"startTime": before, "endTime": before}),
        (0, {"incomeType": "COMMISSION"}),
    ):
        assert len(desk.ask("GET", "/fapi/v1/income", **more)) == wanted, more


def test_what_is_so_already_is_an_error_code_for_margin_and_none_for_leverage():
    desk = WireDesk()
    reply = desk.raw("POST", "/fapi/v1/marginType", symbol=BTC, marginType="ISOLATED")
    assert reply.status == 400
    assert b'"code":-4046' in reply.body
    for _ in range(2):
        row = desk.ask("POST", "/fapi/v1/leverage", symbol=BTC, leverage=7)
        assert row["leverage"] == 7
    (config,) = desk.ask("GET", "/fapi/v1/symbolConfig", symbol=BTC)
    assert (config["leverage"], config["marginType"]) == (7, "ISOLATED")


def test_a_refusal_by_script_reaches_the_wire_with_its_own_words():
    fault = Reject(code="-4131", text="The counterparty's best price does not meet the filter.")
    answer = WireDesk(faults=(fault,)).ask("POST", "/fapi/v1/order", **ORDER)
    assert answer == {"code": -4131,
                      "msg": "The counterparty's best price does not meet the filter."}  # fmt: skip


def test_parameters_may_stand_in_the_body_and_the_query_wins():
    desk = WireDesk()
    row = desk.raw("POST", "/fapi/v1/order",
                   b"symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.010&newClientOrderId=x",
                   side="BUY")  # fmt: skip
    assert row.status == 200
    assert desk.qty() == Decimal("0.010")


def test_the_child_of_a_stop_may_have_an_id_of_the_venues_own():
    desk = WireDesk(path=[(0, "60000"), (5000, "58900")])
    desk.core = BinanceCore(desk.venue, own_child_ids=True)
    desk.wire.cut()
    desk.wire = WireLink(desk.core, desk.agenda, desk._emit)
    desk.market("0.010")
    placed = desk.ask("POST", "/fapi/v1/algoOrder", **STOP)
    desk.run_to(6000)
    row = desk.ask("GET", "/fapi/v1/algoOrder", algoId=placed["algoId"])
    child = desk.ask("GET", "/fapi/v1/order", symbol=BTC, orderId=row["actualOrderId"])
    assert child["clientOrderId"] == f"algo-{row['actualOrderId']}"
    lost = desk.ask("GET", "/fapi/v1/order", symbol=BTC, origClientOrderId="s-1")
    assert lost["code"] == -2013

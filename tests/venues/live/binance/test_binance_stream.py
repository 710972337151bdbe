"""The private stream: its key, its life, and what its frames say."""

from decimal import Decimal

import pytest

from kernel.errors import InvariantViolation
from kernel.model.messages import VenueSaid
from kernel.model.orders import (
    BalanceReport,
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    PositionReport,
    PositionSide,
)
from kernel.model.units import MS
from kernel.model.venue import QueryBalance, SetLeverage, StreamDown, StreamUp, VenueNotice
from tests.venues.live.world import START_TS, World, payload
from venues.live.binance.adapter import make_venue

ORDER = {
    "s": "BTCUSDT", "c": "e-1", "S": "BUY", "o": "MARKET", "f": "GTC", "q": "0.010", "p": "0",
    "ap": "60000.00", "sp": "0", "x": "TRADE", "X": "FILLED", "i": 8886774, "l": "0.010",
    "z": "0.010", "L": "60000.00", "n": "0.30", "N": "USDT", "T": 1760000000000, "t": 109100866,
    "m": False, "R": False, "wt": "CONTRACT_PRICE", "ot": "MARKET", "ps": "BOTH", "cp": False,
    "rp": "0", "er": "0",
}  # fmt: skip


def order_update(**changes):
    stamp = 1760000000005
    return {"e": "ORDER_TRADE_UPDATE", "E": stamp, "T": stamp, "o": {**ORDER, **changes}}


@pytest.fixture
def world():
    return World(make_venue)


@pytest.fixture
def up(world):
    world.venue.start()
    world.settle()
    world.answer({"listenKey": "secret"})
    world.opened(1)
    assert world.heard() == [StreamUp(connection=1)]
    return world


def test_a_key_comes_before_the_socket_and_stays_outside(world):
    world.venue.start()
    world.settle()
    assert (world.request().method, world.request().path) == ("POST", "/fapi/v1/listenKey")
    assert world.opens() == []
    world.answer({"listenKey": "secret"})
    assert world.opens()[0].path == "/private/ws?listenKey={listenKey}"
    assert world.heard() == []


def test_the_key_is_extended_every_25_minutes(up):
    for _ in range(3):
        up.advance(25 * 60)
        assert up.request().method == "PUT"
        up.answer({"listenKey": "secret"})
    assert [request.method for request in up.requests()] == ["POST", "PUT", "PUT", "PUT"]
    assert up.heard() == []


def test_a_key_that_is_gone_is_replaced_at_once(up):
    up.advance(25 * 60)
    up.answer({"code": -1125, "msg": "This listenKey does not exist."}, status=400)
    assert isinstance(up.heard()[0], StreamDown)
    assert up.request().method == "POST"
    up.answer({"listenKey": "other"})
    up.opened(2)
    assert up.heard() == [StreamUp(connection=2)]


def test_a_probe_leaves_every_30_seconds_and_must_be_answered_once_one_was(up):
    for number in range(1, 4):
        up.advance(30)
        assert up.sent()[-1] == {"method": "LIST_SUBSCRIPTIONS", "id": number}
        up.frame({"result": [], "id": number})
    assert up.heard() == []
    up.advance(39)
    assert up.heard() == []
    up.advance(1)
    assert up.heard() == [StreamDown(reason="no answer to our probe")]
    assert up.request().method == "POST"


def test_a_connection_that_never_answers_probes_is_not_judged_by_them(up):
    up.advance(300)
    assert len(up.sent()) == 10
    assert up.heard() == []


def test_an_event_is_no_answer_to_a_probe(up):
    up.advance(30)
    up.frame({"result": [], "id": 1})
    up.advance(30)
    up.frame(order_update())
    up.advance(10)
    assert up.heard()[-1] == StreamDown(reason="no answer to our probe")


def test_an_expired_key_is_replaced_at_once(up):
    up.frame({"e": "listenKeyExpired", "E": 1, "listenKey": "secret"})
    assert isinstance(up.heard()[0], StreamDown)
    assert up.closes()[0].connection == 1
    assert up.request().method == "POST"


def test_an_extension_that_fails_is_tried_again_until_the_key_must_be_dead(up):
    up.advance(25 * 60)
    tries = 0
    while not up.heard():
        up.answer(b"", status=503)
        tries += 1
        up.advance(61)
    assert 25 <= tries <= 32


def test_a_connection_is_renewed_before_the_venue_cuts_it(up):
    for _ in range(60):
        up.advance(25 * 60)
        if up.opens()[-1].connection == 1 and up.request().method == "PUT":
            up.answer({})
        else:
            break
    assert up.request().method == "POST"
    assert 23 * 3600 < up.runtime.now() // 10**9 < 24 * 3600 + 1500


def test_pauses_between_attempts_grow_to_a_minute(world):
    world.venue.start()
    world.settle()
    pauses = []
    for _ in range(9):
        before = world.runtime.now()
        count = len(world.requests())
        world.fail(sent=False)
        while len(world.requests()) == count:
            world.advance(1)
        pauses.append((world.runtime.now() - before) // 10**9)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 3
    assert 60 <= pauses[-1] <= 62


def test_every_attempt_that_fails_is_told(up):
    up.closed(1, "reset")
    up.advance(4)
    up.fail(sent=False, reason="refused")
    down = [event.reason for event in up.heard()]
    assert down[0] == "reset"
    assert "refused" in down[1]


def test_the_stream_asks_for_nothing_during_a_ban(world):
    made = world.ask(QueryBalance())
    until_ms = START_TS // MS + 300_000
    text = f"Way too many requests; IP(1.2.3.4) banned until {until_ms}."
    world.answer({"code": -1003, "msg": text}, status=418)
    assert made.error.banned
    world.venue.start()
    world.advance(299)
    assert [request.path for request in world.requests()] == ["/fapi/v3/balance"]
    world.advance(62)
    assert world.request().path == "/fapi/v1/listenKey"


def test_a_socket_that_never_opens_is_given_up(world):
    world.venue.start()
    world.settle()
    world.answer({"listenKey": "k"})
    world.advance(20)
    assert world.closes()[0].connection == 1
    assert world.request().method == "POST"


def test_frames_of_an_older_connection_are_dropped(up):
    up.closed(1)
    up.advance(5)
    up.answer({"listenKey": "k"})
    up.opened(2)
    up.heard()
    up.frame(order_update(), connection=1)
    assert up.heard() == []


def test_a_reconnect_that_we_ask_for_is_immediate(up):
    up.venue.reconnect("suspect: a fill was missed")
    up.settle()
    assert up.heard() == [StreamDown(reason="suspect: a fill was missed")]
    assert up.request().method == "POST"


def test_events_of_the_other_level_are_refused(up):
    with pytest.raises(InvariantViolation):
        up.venue.take(VenueSaid(venue="binance", event=StreamUp(connection=1)))


# ---------------------------------------------------------------- frames


def test_a_fill_is_heard_before_its_order(up):
    up.frame(order_update())
    fill, report = up.heard()
    assert isinstance(fill, Fill)
    assert (fill.trade_id, fill.qty, fill.price) == ("109100866", Decimal("0.01"), Decimal(60000))
    assert (fill.fee, fill.client_order_id, fill.ts_ns) == (
        Decimal("0.3"),
        "e-1",
        1760000000000 * MS,
    )
    assert isinstance(report, OrderReport)
    assert (report.status, report.filled_qty) == (OrderStatus.FILLED, Decimal("0.01"))


def test_a_report_without_an_execution_is_no_fill(up):
    up.frame(order_update(x="NEW", X="NEW", l="0", z="0", t=0))
    assert [type(event) for event in up.heard()] == [OrderReport]


@pytest.mark.parametrize(
    ("client_id", "kind"),
    [
        ("autoclose-17", FillKind.LIQUIDATION),
        ("adl_autoclose", FillKind.ADL),
        ("settlement_autoclose-3", FillKind.SETTLEMENT),
        ("e-1", FillKind.TRADE),
    ],
)
def test_the_venues_own_orders_say_why_they_fill(up, client_id, kind):
    up.frame(order_update(c=client_id))
    assert up.heard()[0].kind is kind


def test_an_execution_without_an_id_is_told_not_booked(up):
    up.frame(order_update(x="CALCULATED", t=0))
    notice, report = up.heard()
    assert notice.kind == "execution_without_id"
    assert report.filled_qty == Decimal("0.01")


def test_positions_of_an_account_update_are_signed(up):
    account = {
        "m": "ORDER",
        "B": [{"a": "USDT", "wb": "100.5", "cw": "90", "bc": "0"}, {"a": "BNB", "wb": "1"}],
        "P": [{"s": "BTCUSDT", "pa": "-0.5", "ep": "60000", "up": "1", "ps": "BOTH"}],
    }
    up.frame({"e": "ACCOUNT_UPDATE", "E": 2, "T": 1, "a": account})
    position, balance = up.heard()
    assert isinstance(position, PositionReport)
    assert (position.side, position.qty) == (PositionSide.SHORT, Decimal("0.5"))
    assert isinstance(balance, BalanceReport)
    assert (balance.wallet, balance.reason) == (Decimal("100.5"), "ORDER")


def test_a_bad_row_of_an_event_costs_nobody_else(up):
    rows = [{"s": "AUSDT", "pa": "x"}, {"s": "BUSDT", "pa": "1"}]
    up.frame({"e": "ACCOUNT_UPDATE", "E": 2, "T": 1, "a": {"m": "ORDER", "B": [], "P": rows}})
    position, notice = up.heard()
    assert position.symbol == "BUSDT"
    assert isinstance(notice, VenueNotice)


def test_a_leverage_that_we_set_is_no_news(up):
    made = up.ask(SetLeverage(symbol="BTCUSDT", leverage=Decimal(5)))
    up.answer({"symbol": "BTCUSDT", "leverage": 5})
    assert made.reply.already is False
    change = {"e": "ACCOUNT_CONFIG_UPDATE", "E": 1, "T": 1}
    up.frame({**change, "ac": {"s": "BTCUSDT", "l": 5}})
    assert up.heard() == []
    up.frame({**change, "ac": {"s": "BTCUSDT", "l": 20}})
    assert [event.kind for event in up.heard()] == ["config_change"]


@pytest.mark.parametrize("name", ["TRADE_LITE", "STRATEGY_UPDATE", "GRID_UPDATE"])
def test_what_repeats_or_is_not_ours_is_ignored(up, name):
    up.frame({"e": name, "E": 1, "s": "BTCUSDT"})
    assert up.heard() == []


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ({"e": "BRAND_NEW", "E": 1, "s": "BTCUSDT"}, "unknown_event"),
        ({"e": "MARGIN_CALL", "E": 1, "p": []}, "margin_call"),
        (b"not json", "malformed"),
        ({"e": "ORDER_TRADE_UPDATE", "E": 1, "T": 1, "o": {"s": "BTCUSDT"}}, "malformed"),
        (order_update(X="BRAND_NEW"), "malformed"),
        ([1, 2], "malformed"),
    ],
)
def test_what_we_cannot_read_is_told(up, frame, kind):
    up.frame(frame)
    assert [event.kind for event in up.heard() if isinstance(event, VenueNotice)] == [kind]


def test_events_of_coin_margined_contracts_are_not_ours(up):
    up.frame({**order_update(), "st": 2})
    assert up.heard() == []


# ---------------------------------------------------------------- recorded payloads


def test_a_recorded_stop_goes_from_triggering_to_finished_with_its_child(up):
    for step in ("triggering", "triggered", "finished"):
        up.frame(payload(f"binance/ws_user/n_algo_update_{step}.json"))
    reports = up.heard()
    assert [report.status for report in reports] == [
        OrderStatus.TRIGGERING,
        OrderStatus.TRIGGERED,
        OrderStatus.FINISHED,
    ]
    assert [report.child_order_id for report in reports] == ["", "88937381063", "88937381063"]
    assert {report.order_class for report in reports} == {OrderClass.CONDITIONAL}
    assert (reports[2].filled_qty, reports[2].avg_price) == (38, Decimal("0.13856"))
    assert [report.updated_ns for report in reports] == sorted(r.updated_ns for r in reports)


def test_a_recorded_cancel_of_a_stop_names_no_reason_of_its_example(up):
    up.frame(payload("binance/ws_user/algo_update_canceled.json"))
    report = up.heard()[0]
    assert (report.status, report.reason) == (OrderStatus.CANCELED, "")


def test_a_recorded_liquidation_is_a_fill_of_nobodys_order(up):
    up.frame(payload("binance/ws_user/order_update_calculated.json"))
    fill = up.heard()[0]
    assert (fill.kind, fill.realized_pnl) == (FillKind.LIQUIDATION, Decimal("-5.67"))


def test_a_recorded_account_in_hedge_mode_shows_its_legs(up):
    up.frame(payload("binance/ws_user/account_update.json"))
    events = up.heard()
    legs = [(event.hedge_leg, event.qty) for event in events if isinstance(event, PositionReport)]
    assert legs == [("BOTH", Decimal(0)), ("LONG", Decimal(20)), ("SHORT", Decimal(10))]

"""Faults meet exactly the messages that they aim at, and are counted when they do."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel.errors import SettingsError
from kernel.model.orders import FillKind, OrderClass, OrderReport, OrderStatus, PriceSource, Side
from kernel.model.units import MINUTE, MS, SECOND
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    Failure,
    OrderSurface,
    QueryAccountConfig,
    QueryOpenOrders,
    QueryPositions,
    QuerySymbolConfig,
    SetLeverage,
    SetPositionStop,
    StreamDown,
    VenueNotice,
)
from tests.venues.sim.desk import BTC, Desk, limit_order, market_order, stop_order
from venues.sim.fault_kinds import (
    AckDelay,
    AckDrop,
    Amnesia,
    Cap,
    Cue,
    FillPlan,
    FillStep,
    FilterChange,
    ModeSet,
    OmitClass,
    Overload,
    PageLimit,
    Reject,
    RequestDelay,
    RequestDrop,
    RestLag,
    SecondActor,
    Target,
    Throttle,
    TriggerPlan,
    UnknownCode,
    VenueAct,
    VenueCancel,
    When,
)
from venues.sim.faults import FaultBook, Message, decode_fault, message_of
from venues.sim.truth import OrderChanged, PositionChanged, StopGone, StopLive, Traded

FLAT = [(0, "60000"), (60_000, "60000")]
FALLING = [(0, "60000"), (1000, "59000"), (2000, "58700"), (3000, "58000"), (4000, "57900")]
HALF = Decimal("0.5")
ONLY_STOPS = Target(kinds=("place_stop",))


def code(reply: object) -> str:
    assert isinstance(reply, Failure), reply
    return reply.code


def desk(*faults: Any, venue: str = "binance", path: Any = None, **more: Any) -> Desk:
    return Desk(venue, path or FLAT, faults=faults, **more).connect().run_to(100)


# ---------------------------------------------------------------- matching


def test_the_nth_match_is_the_only_one() -> None:
    book = FaultBook((RequestDrop(when=When(nth=2)),))
    hits = [book.first(RequestDrop, Message("submit", f"c{n}"), 0) for n in range(4)]
    assert [hit is not None for hit in hits] == [False, True, False, False]
    assert book.fired == {"request_drop": 1}


def test_a_window_is_measured_from_the_origin() -> None:
    book = FaultBook((RequestDrop(when=When(from_ns=10, to_ns=20)),), origin_ns=1000)
    hits = [book.first(RequestDrop, Message("submit", "c"), at) for at in (1009, 1010, 1019, 1020)]
    assert [hit is not None for hit in hits] == [False, True, True, False]


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target(legs="S"), True),
        (Target(legs="EX"), False),
        (Target(client_order_id="wk1-*"), True),
        (Target(client_order_id="wk2-*"), False),
        (Target(symbol=BTC, kinds=("submit", "place_stop")), True),
        (Target(symbol="ETHUSDT"), False),
        (Target(reduce_only=True), True),
        (Target(reduce_only=False), False),
        (Target(surface="PLAIN"), False),
    ],
)
def test_a_target_covers_what_all_its_fields_cover(target, met) -> None:
    message = message_of(stop_order("1", "58800", cid="wk1-abc-aaaaaa-S0-1"))
    book = FaultBook((RequestDrop(target=target),))
    assert (book.first(RequestDrop, message, 0) is not None) is met


def test_a_chance_depends_on_the_message_and_on_nothing_before_it() -> None:
    fault = RequestDrop(when=When(chance_ppm=500_000))
    messages = [Message("submit", f"c{n}") for n in range(64)]
    alone = [FaultBook((fault,), seed=7).first(RequestDrop, m, 0) is not None for m in messages]
    book = FaultBook((fault,), seed=7)
    together = [book.first(RequestDrop, m, 0) is not None for m in messages]
    assert alone == together
    assert 16 < sum(alone) < 48


def test_faults_come_from_plain_data_and_bad_data_is_named() -> None:
    fault = decode_fault({"fault": "ack_drop", "applied": False, "target": {"legs": "E"}})
    assert fault == AckDrop(applied=False, target=Target(legs="E"))
    with pytest.raises(msgspec.ValidationError, match="applied"):
        decode_fault({"fault": "ack_drop", "applied": "no"})
    with pytest.raises(msgspec.ValidationError, match="aplied"):
        decode_fault({"fault": "ack_drop", "aplied": True})
    with pytest.raises(msgspec.ValidationError, match="symbl"):
        decode_fault({"fault": "ack_drop", "target": {"symbl": "BTCUSDT"}})


# ---------------------------------------------------------------- requests


def test_a_lost_request_changes_nothing_and_is_never_answered() -> None:
    one = desk(RequestDrop(target=Target(kinds=("submit",))))
    one.call(market_order("0.01"))
    one.run_to(30_000)
    assert one.answers() == []
    assert one.qty() == 0


@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_says_nothing_of_what_the_venue_did(applied) -> None:
    one = desk(AckDrop(applied=applied))
    one.call(market_order("0.01"))
    one.run_to(30_000)
    assert one.answers() == []
    assert one.qty() == (Decimal("0.01") if applied else 0)


@pytest.mark.parametrize("applied", [True, False])
def test_an_unknown_code_hides_the_outcome(applied) -> None:
    one = desk(UnknownCode(code="-1007", applied=applied))
    one.call(market_order("0.01"))
    one.run_to(200)
    ((_, reply),) = one.answers()
    assert (reply.kind, reply.code, reply.listed) == ("OutcomeUnknown", "-1007", True)
    assert bool(one.qty()) is applied


def test_an_unlisted_code_is_unknown_and_says_so() -> None:
    one = desk(Reject(code="-9999"))
    one.call(market_order("0.01"))
    one.run_to(200)
    ((_, reply),) = one.answers()
    assert (reply.kind, reply.listed) == ("OutcomeUnknown", False)


def test_a_code_that_means_so_already_is_success() -> None:
    one = desk(Reject(code="34040", text="not modified"), venue="bybit")
    one.call(SetPositionStop(symbol=BTC, trigger_price=Decimal(1), trigger_by=PriceSource.MARK))
    one.run_to(200)
    assert one.answers() == [(110, Done(already=True))]


def test_delays_hold_the_request_or_only_its_answer() -> None:
    one = desk(
        RequestDelay(dt_ns=100 * MS, target=Target(client_order_id="e-1")),
        AckDelay(dt_ns=200 * MS, target=Target(client_order_id="e-2")),
    )
    one.call(market_order("0.01", cid="e-1"), "k1")
    one.call(market_order("0.01", cid="e-2"), "k2")
    one.run_to(1000)
    assert [at for at, _ in one.answers()] == [210, 310]
    assert [t.fill.client_order_id for t in one.of(Traded)] == ["e-2", "e-1"]


def test_an_asynchronous_no_is_a_receipt_first() -> None:
    one = desk(Reject(code="-2010", text="account dead", after_ns=80 * MS, target=ONLY_STOPS))
    one.market("0.01")
    one.call(stop_order("0.01", "58800"))
    one.run_to(1000)
    assert isinstance(one.answers()[0][1], Acked)
    told = [(at, r.status, r.reason) for at, r in one.said(OrderReport) if r.trigger_price]
    assert told == [(111, OrderStatus.NEW, ""), (191, OrderStatus.REJECTED, "account dead")]
    assert one.of(StopLive) == [], "it never protected anything"


def test_overload_refuses_entries_and_spares_closing_orders() -> None:
    one = desk(Overload(code="-1008", refuse_ppm=1_000_000))
    one.call(market_order("0.01"))
    one.run_to(200)
    assert [(r.kind, r.code) for _, r in one.answers()] == [("OutcomeUnknown", "-1008")]
    one.market("0.01", cid="e-2")
    one.call(stop_order("0.01", "58800"))
    one.run_to(400)
    assert isinstance(one.answers()[-1][1], Acked)


def test_a_throttle_names_the_time_and_a_ban_says_that_it_is_one() -> None:
    one = desk(Throttle(retry_ns=5 * SECOND, banned=True), venue="bybit")
    one.call(QueryPositions())
    one.run_to(200)
    ((_, reply),) = one.answers()
    assert (reply.kind, reply.code, reply.banned) == ("Throttled", "10006", True)
    assert reply.retry_at_ns - one.agenda.now_ns == 5 * SECOND - 95 * MS


def test_a_cap_can_be_lower_than_the_venue_says() -> None:
    one = desk(Cap(order_class="CONDITIONAL", limit=1))
    one.market("0.01")
    assert isinstance(one.stop("0.01", "58800"), Acked)
    assert code(one.stop("0.01", "58900", cid="s-2")) == "-4045"


# ---------------------------------------------------------------- executions


def test_fills_follow_a_plan_in_exact_time() -> None:
    steps = (
        FillStep(dt_ns=10 * MS, portion=Decimal("0.4")),
        FillStep(dt_ns=20 * MS, portion=HALF, price=Decimal(60100)),
    )
    one = desk(FillPlan(steps=steps))
    one.market("0.01")
    start = one.agenda.now_ns
    one.run_to(1000)
    fills = [((t.ts_ns - start) // MS, t.fill.qty, t.fill.price) for t in one.of(Traded)]
    assert fills == [
        (10, Decimal("0.004"), Decimal("60000.1")), (30, Decimal("0.005"), Decimal(60100)),
    ]  # fmt: skip
    assert one.look_up("e-1").status is OrderStatus.EXPIRED


def test_an_empty_plan_fills_nothing() -> None:
    one = desk(FillPlan())
    one.market("0.01")
    assert (one.look_up("e-1").status, one.qty()) == (OrderStatus.EXPIRED, Decimal(0))


def test_a_canceled_order_takes_no_further_fills() -> None:
    plan = FillPlan(rests=True, steps=(
        FillStep(portion=HALF), FillStep(dt_ns=500 * MS, portion=HALF)))
    one = desk(plan)
    one.do(limit_order("0.01", "59000"))
    one.cancel("l-1", OrderClass.PLAIN)
    one.run_to(2000)
    assert one.qty() == Decimal("0.005")


@pytest.mark.parametrize(
    ("venue", "outcome", "ended", "left"),
    [
        ("binance", "fill", OrderStatus.FINISHED, "0"),
        ("binance", "expired", OrderStatus.FINISHED, "0.01"),
        ("binance", "rejected", OrderStatus.REJECTED, "0.01"),
        ("bybit", "fill", OrderStatus.FILLED, "0"),
        ("bybit", "expired", OrderStatus.CANCELED, "0.01"),
        ("bybit", "rejected", OrderStatus.CANCELED, "0.01"),
    ],
)
def test_a_stop_that_fired_is_not_a_position_that_is_flat(venue, outcome, ended, left) -> None:
    one = desk(TriggerPlan(outcome=outcome, dt_ns=50 * MS), venue=venue, path=FALLING)
    one.market("0.01")
    one.stop("0.01", "58800")
    one.run_to(2049)
    assert one.of(StopGone)[-1].reason == "triggered"
    assert one.qty() == Decimal("0.01")
    one.run_to(2050)
    order = one.look_up("s-1", OrderSurface.CONDITIONAL)
    assert (order.status, one.qty()) == (ended, Decimal(left))


def test_a_stop_may_fill_in_part() -> None:
    one = desk(TriggerPlan(steps=(FillStep(portion=HALF),)), path=FALLING)
    one.market("0.01")
    one.stop("0.01", "58800")
    one.run_to(5000)
    algo = one.look_up("s-1", OrderSurface.CONDITIONAL)
    assert (algo.status, algo.filled_qty) == (OrderStatus.FINISHED, Decimal("0.005"))
    assert one.qty() == Decimal("0.005")


def test_a_withheld_trigger_waits_for_the_next_price() -> None:
    one = desk(TriggerPlan(outcome="withheld", when=When(times=1)), path=FALLING)
    one.market("0.01")
    one.stop("0.01", "58800")
    one.run_to(2500)
    assert one.qty() == Decimal("0.01")
    assert isinstance(one.events[-1], StopLive)
    one.run_to(3000)
    assert one.qty() == 0


def test_a_triggering_stop_cannot_be_canceled() -> None:
    one = desk(TriggerPlan(dt_ns=SECOND), path=FALLING)
    one.market("0.01")
    one.stop("0.01", "58800")
    one.run_to(2500)
    assert code(one.cancel("s-1")) == "-4117"


# ---------------------------------------------------------------- surfaces


def test_a_lag_shows_the_past_and_then_catches_up() -> None:
    lag = RestLag(target=Target(surface="positions"), lag_ns=2 * SECOND,
                  when=When(to_ns=3 * SECOND))
    one = desk(lag)
    one.market("0.01")
    assert one.do(QueryPositions()).positions == ()
    one.run_to(2100)
    assert len(one.do(QueryPositions()).positions) == 1
    one.market("0.01", Side.SELL, "x-1", reduce_only=True)
    assert len(one.do(QueryPositions()).positions) == 1, "still open, says the surface"
    one.run_to(3000)
    assert one.do(QueryPositions()).positions == ()


def test_amnesia_denies_a_live_stop_for_a_while() -> None:
    forget = Amnesia(target=Target(client_order_id="s-*"),
                     when=When(from_ns=SECOND, to_ns=MINUTE))
    one = desk(forget)
    one.market("0.01")
    one.stop("0.01", "58800")
    one.run_to(1000)
    assert code(one.look_up("s-1", OrderSurface.CONDITIONAL)) == "-2013"
    assert code(one.cancel("s-1")) == "-2011"
    assert one.open_orders(OrderClass.CONDITIONAL) == ()
    assert len(one.venue.snapshot_truth().stops) == 1
    one.run_to(60_000)
    assert one.look_up("s-1", OrderSurface.CONDITIONAL).status is OrderStatus.NEW


def test_short_pages_have_a_cursor_or_hide_the_rest() -> None:
    for cursor in (True, False):
        one = desk(PageLimit(rows=2, cursor=cursor), budgets=())
        for n in range(3):
            one.do(limit_order("0.01", "59000", cid=f"l-{n}"))
        first = one.do(QueryOpenOrders(order_class=OrderClass.PLAIN))
        assert len(first.orders) == 2
        assert bool(first.next_cursor) is cursor
        if cursor:
            rest = one.do(
                QueryOpenOrders(order_class=OrderClass.PLAIN, cursor=first.next_cursor)
            )
            assert [order.client_order_id for order in rest.orders] == ["l-2"]


def test_a_class_can_be_left_out_of_a_list() -> None:
    one = desk(OmitClass(order_class="ATTACHED"), venue="bybit")
    one.market("0.01", stop_loss=Decimal(58800))
    one.stop("0.01", "58700")
    (order,) = one.open_orders(OrderClass.CONDITIONAL)
    assert order.order_class is OrderClass.CONDITIONAL


# ---------------------------------------------------------------- acts


def test_an_act_happens_at_its_time_or_after_its_event() -> None:
    timed = VenueCancel(cue=Cue(at_ns=SECOND), target=Target(client_order_id="s-1"))
    cued = SecondActor(
        cue=Cue(event="stop", nth=2, after_ns=100 * MS),
        request=CancelOrder(symbol=BTC, order_class=OrderClass.CONDITIONAL, client_order_id="s-2"),
    )
    one = desk(timed, cued)
    one.market("0.01")
    one.stop("0.01", "58800", cid="s-1")
    one.stop("0.01", "58700", cid="s-2")
    one.run_to(300)
    assert [g.stop.client_order_id for g in one.of(StopGone)] == ["s-2"]
    one.run_to(1000)
    assert [g.stop.client_order_id for g in one.of(StopGone)] == ["s-2", "s-1"]
    assert one.venue.faults.fired == {"second_actor": 1, "venue_cancel": 1}


def test_a_silent_cancel_is_told_by_no_event() -> None:
    one = desk(VenueCancel(cue=Cue(at_ns=SECOND), target=Target(client_order_id="s-*"),
                           silent=True))
    one.market("0.01")
    one.stop("0.01", "58800")
    one.run_to(2000)
    assert [r.status for _, r in one.said(OrderReport) if r.trigger_price] == [OrderStatus.NEW]
    assert one.open_orders(OrderClass.CONDITIONAL) == ()


@pytest.mark.parametrize("venue", ["binance", "bybit"])
@pytest.mark.parametrize(
    ("act", "kind", "left"),
    [
        ("liquidation", FillKind.LIQUIDATION, "0"),
        ("adl", FillKind.ADL, "0.005"),
        ("settle", FillKind.SETTLEMENT, "0.005"),
        ("delist", FillKind.SETTLEMENT, "0"),
    ],
)
def test_the_venue_takes_positions(venue, act, kind, left) -> None:
    one = desk(VenueAct(act=act, symbol=BTC, portion=HALF, cue=Cue(at_ns=SECOND)), venue=venue)
    one.market("0.01")
    one.stop("0.01", "58800")
    one.run_to(1000)
    assert one.of(Traded)[-1].fill.kind is kind
    assert one.qty() == Decimal(left)
    if act == "delist":
        assert one.open_orders(OrderClass.CONDITIONAL) == ()
        refused = one.market("0.01", cid="e-2")
        assert refused.kind == "EntriesForbidden"


def test_filters_change_under_way() -> None:
    one = desk(FilterChange(symbol=BTC, tick_size=Decimal("0.5"), qty_step=Decimal("0.01"),
                            cue=Cue(at_ns=SECOND)))
    one.run_to(1000)
    assert code(one.market("0.015")) == "-1111"
    assert isinstance(one.market("0.01"), Acked)
    assert code(one.stop("0.01", "58800.1")) == "-4014"


def test_modes_are_set_by_somebody_else() -> None:
    one = desk(ModeSet(symbol=BTC, leverage=Decimal(20), isolated=False, cue=Cue(at_ns=SECOND)),
               ModeSet(hedge_mode=True, can_trade=False, cue=Cue(at_ns=SECOND)))
    one.run_to(1000)
    config = one.do(QuerySymbolConfig(symbol=BTC))
    assert (config.leverage, config.isolated) == (Decimal(20), False)
    account = one.do(QueryAccountConfig())
    assert (account.hedge_mode, account.can_trade) == (True, False)
    assert code(one.market("0.01", position_side="LONG")) == "-4087"


def test_funding_comes_round_while_a_position_is_open() -> None:
    one = Desk("binance", [(0, "60000")], funding_rate=Decimal("0.0001"))
    one.market("0.01")
    one.run_to(24 * 3_600_000)
    assert one.venue.account.cash["FUNDING"] == Decimal("-0.18"), "three times in a day"
    one.market("0.01", Side.SELL, "x-1", reduce_only=True)
    one.run_to(48 * 3_600_000)
    assert one.venue.account.cash["FUNDING"] == Decimal("-0.18")


def test_an_act_that_is_not_known_is_refused_at_once() -> None:
    with pytest.raises(SettingsError, match="venue_event 'explode'"):
        desk(VenueAct(act="explode"))


def test_orders_taken_and_ended_are_told_exactly_once() -> None:
    one = desk(path=FALLING)
    one.market("0.01")
    one.stop("0.01", "58800")
    one.do(limit_order("0.01", "58000"))
    one.run_to(10_000)
    events = one.of(OrderChanged)
    ids = [event.order.venue_order_id for event in events]
    for order_id in ids:
        mine = [event for event in events if event.order.venue_order_id == order_id]
        assert [event.first for event in mine] == [True] + [False] * (len(mine) - 1)
        assert [event.order.status.terminal for event in mine].count(True) == 1


def test_a_delisting_that_was_announced_comes_about() -> None:
    one = desk(FilterChange(symbol=BTC, delist_ns=60 * MINUTE, cue=Cue(at_ns=SECOND)))
    one.market("0.01")
    one.do(limit_order("0.01", "59000"))
    one.run_to(30 * 60_000)
    assert one.market("0.01", cid="e-2").kind == "EntriesForbidden"
    assert isinstance(one.market("0.004", Side.SELL, "x-1", reduce_only=True), Acked)
    one.run_to(60 * 60_000 + 10)
    assert one.of(Traded)[-1].fill.kind is FillKind.SETTLEMENT
    assert (one.qty(), one.venue.snapshot_truth().open_orders) == (Decimal(0), ())
    assert one.said(VenueNotice) == []  # contractInfo is told on a stream of the market


def test_filters_change_without_a_word() -> None:
    one = desk(FilterChange(symbol=BTC, tick_size=Decimal("0.5"), cue=Cue(at_ns=SECOND)))
    assert one.run_to(2000).said(VenueNotice) == []


@pytest.mark.parametrize("venue", ["binance", "bybit"])
def test_another_leverage_is_another_liquidation_price(venue) -> None:
    one = desk(venue=venue)
    one.market("0.01")
    before = one.of(PositionChanged)[-1].position.liquidation_price
    one.do(SetLeverage(symbol=BTC, leverage=Decimal(20)))
    after = one.of(PositionChanged)[-1].position.liquidation_price
    assert before < after < Decimal(60000)


def test_a_restart_of_the_venue_ends_the_stream() -> None:
    one = desk(VenueAct(act="restart", cue=Cue(at_ns=SECOND)))
    one.run_to(2000)
    assert one.said(StreamDown) == [(1000, StreamDown(reason="the venue restarts"))]

"""What a venue says goes to the owner of the fact; what cannot be handled is told and made good."""

from decimal import Decimal
from typing import Any

import pytest

from kernel.model.orders import (
    BalanceReport,
    FillKind,
    OrderClass,
    OrderStatus,
    PositionReport,
    PositionSide,
    Side,
)
from kernel.model.positions import PositionState
from kernel.model.units import MINUTE, SECOND, TsNs
from kernel.model.venue import RateLimit, StreamDown, StreamUp, VenueNotice
from kernel.trade.router import Router, describe
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import START_TS, SYMBOL, fill, order_row, position_row, report

D = Decimal
UP, DOWN = StreamUp(connection=3), StreamDown(reason="closed")


class Routed(DeskBench):
    """A router with what it told its listeners."""

    def __init__(self, name="binance", **settings):
        super().__init__(name, **settings)
        self.stop_reports: list[Any] = []
        self.moved: list[str] = []
        self.resyncs: list[tuple[str, str]] = []
        self.router = Router(
            self.services,
            self.desk,
            stops=self,
            resync=lambda venue, reason: self.resyncs.append((venue, reason)),
        )

    def on_report(self, position, report):
        self.stop_reports.append((position.id, report.client_order_id))

    def on_position(self, position):
        self.moved.append(position.id)

    def say(self, *events):
        for event in events:
            self.router.route(event)
        return self


def protective(name="s1", **changes):
    return order_row(name, order_class=OrderClass.CONDITIONAL, side=Side.SELL, **changes)


def shown(name, order_class=OrderClass.CONDITIONAL, **changes):
    return report(name, name, OrderStatus.NEW, START_TS, order_class=order_class, **changes)


# ------------------------------------------------------------------------ orders, positions, fills


def test_a_report_of_a_stop_of_ours_goes_to_the_stop_owner_and_that_of_an_exit_does_not():
    made = Routed()
    made.bench.position()
    made.services.orders.register(protective())
    made.services.orders.register(order_row("e1"))
    made.say(shown("s1"), shown("e1", OrderClass.PLAIN))
    assert made.stop_reports == [("p1", "s1")]


def test_a_report_of_nobodys_stop_goes_to_the_position_on_its_symbol_and_leg():
    made = Routed()
    made.bench.position()
    made.say(shown("x1"), shown("x2", OrderClass.PLAIN), shown("x3", symbol="ETHUSDT"))
    made.say(shown("x4", OrderClass.ATTACHED), shown("x5", position_side="SHORT"))
    assert [name for _, name in made.stop_reports] == ["x1", "x4"]


def test_a_report_of_a_stop_goes_to_the_position_that_it_was_placed_for():
    made = Routed()
    made.bench.position().transition(PositionState.ROLLED_BACK, "test")
    made.bench.position(name="p2")
    made.services.orders.register(protective())
    made.say(shown("s1"))
    assert made.stop_reports == [("p1", "s1")]


def test_what_is_older_than_what_the_desk_knows_is_no_news_of_a_new_position():
    made = Routed()
    newer = PositionReport(symbol=SYMBOL, side=PositionSide.LONG, qty=D(2), updated_ns=TsNs(5))
    made.say(newer)
    position = made.bench.position()
    made.say(PositionReport(symbol=SYMBOL, side=PositionSide.LONG, qty=D(3), updated_ns=TsNs(4)))
    assert position.report is None


def test_what_comes_by_the_stream_is_no_news_that_the_stream_did_not_tell():
    made, unheard = Routed(), []
    made.services.orders.on_unheard = lambda *told: unheard.append(told)
    position = made.bench.position()
    made.services.orders.register(order_row("e1"))
    made.bench.at(10 * SECOND)
    made.say(
        shown("e1", OrderClass.PLAIN),
        fill("t1", Side.BUY, "2", "100", client_order_id="e1"),
        balance(),
    )
    assert (position.qty, position.row.funding) == (2, D("-0.3"))
    assert unheard == []
    made.router.on_order(
        report("e1", "e1", OrderStatus.FILLED, START_TS + 1, order_class=OrderClass.PLAIN)
    )
    assert unheard == [("binance", START_TS + 1)], "a read is"


def test_a_position_report_is_kept_and_told_to_the_stop_owner_unless_it_is_old():
    made = Routed()
    position = made.bench.position()

    def held(qty, at, **changes):
        return PositionReport(
            symbol=SYMBOL, side=PositionSide.LONG, qty=D(qty), updated_ns=TsNs(at), **changes
        )

    made.say(held(2, 5))
    assert made.desk.reported[(SYMBOL, "BOTH")].qty == 2
    made.say(held(3, 4))
    made.say(held(3, 9, hedge_leg="SHORT"))
    assert made.moved == ["p1"]
    assert position.report is not None
    assert position.report.qty == 2


def test_a_report_of_no_position_of_ours_is_kept_all_the_same():
    made = Routed().say(PositionReport(symbol=SYMBOL, side=PositionSide.LONG, qty=D(2)))
    assert made.desk.shown(SYMBOL) is not None
    assert made.moved == []


# ------------------------------------------------------------------------ balances and funding


def balance(**changes):
    fields: dict[str, Any] = {
        "asset": "USDT",
        "wallet": D(9),
        "available": D(8),
        "reason": "FUNDING_FEE",
        "symbol": SYMBOL,
        "change": D("-0.3"),
        "updated_ns": TsNs(START_TS + 1_500_000),
    }
    return BalanceReport(**(fields | changes))


def test_funding_belongs_to_the_position_that_paid_it():
    made = Routed()
    position = made.bench.position()
    position.apply_fill(fill("t1", Side.BUY, "2", "100"))
    made.say(balance(), balance())
    assert position.row.funding == D("-0.3"), "the same report twice is one payment"
    assert (position.qty, position.row.fees) == (2, 0)
    assert made.desk.balance == balance()
    (booked,) = [one for one in position.fills.values() if one.kind is FillKind.FUNDING]
    assert booked.trade_id == f"funding-{(START_TS + 1_500_000) // 1_000_000}"
    assert booked.ts_ns == START_TS + 1_500_000


@pytest.mark.parametrize(
    ("venue", "changes"),
    [("bybit", {}), ("binance", {"reason": "ORDER"}), ("binance", {"symbol": ""})],
)
def test_a_balance_that_tells_of_no_funding_or_tells_it_twice_is_only_kept(venue, changes):
    made = Routed(venue)
    row = position_row()
    position = made.services.book.create(type(row)(
        **{name: getattr(row, name) for name in row.__struct_fields__} | {"venue": venue}
    ))  # fmt: skip
    made.say(balance(**changes))
    assert position.fills == {}
    assert made.desk.balance == balance(**changes)
    assert made.bench.outbox.decisions == []


# ------------------------------------------------------------------------ the stream itself


def test_a_stream_that_comes_back_blocks_entries_until_a_resync():
    made = Routed()
    made.desk.block_entries("stream")
    made.bench.at(7)
    made.say(UP)
    assert made.desk.block_reasons == ("resync",)
    assert made.resyncs == [("binance", "stream up")]
    assert (made.desk.stream_up, made.desk.stream_up_ts_ns) == (True, START_TS + 7)
    assert made.desk.stream_generation == 1
    assert [one.values["connection"] for one in made.decided("stream.up")] == ["3"]


def test_a_stream_that_breaks_blocks_entries_and_asks_for_nothing():
    made = Routed().say(UP, DOWN)
    assert made.desk.block_reasons == ("resync", "stream")
    assert not made.desk.stream_up
    assert made.desk.stream_generation == 2
    assert made.resyncs == [("binance", "stream up")]
    assert [one.cause for one in made.decided("stream.down")] == ["closed"]
    made.say(StreamDown(reason=""))
    assert made.decided("stream.down")[-1].cause == "no reason"


def test_the_third_break_in_ten_minutes_is_told_and_the_venue_watched_closely():
    made = Routed()
    for _ in range(2):
        made.say(UP, DOWN)
    made.say(DOWN)
    assert made.decided("stream.unreliable") == [], "it was down already"
    made.say(UP, DOWN)
    assert len(made.decided("stream.unreliable")) == 1
    assert made.desk.closely_until_ns == 10 * MINUTE


def test_a_stream_that_stays_down_alerts_once_after_the_minutes_of_the_setting():
    made = Routed(stream_down_alert_minutes=3).say(DOWN)
    made.bench.at(MINUTE)
    made.say(DOWN)
    made.bench.at(3 * MINUTE - 1)
    assert made.alerts() == []
    made.bench.at(3 * MINUTE)
    made.bench.at(10 * MINUTE)
    (alert,) = made.bodies()
    assert (alert.severity, alert.kind, alert.venue) == ("ERROR", "stream.down", "binance")
    assert alert.text == "no private events for 3 minutes"


def test_a_stream_that_comes_back_in_time_does_not_alert_and_may_break_again():
    made = Routed(stream_down_alert_minutes=3).say(DOWN)
    made.bench.at(3 * MINUTE - 1)
    made.say(UP)
    made.bench.at(10 * MINUTE)
    assert made.alerts() == []
    made.say(DOWN)
    made.bench.at(13 * MINUTE)
    assert made.alerts() == ["stream.down"]
    made.say(DOWN)
    made.bench.at(16 * MINUTE)
    assert made.alerts() == ["stream.down"] * 2, "it is told again while it is down"


# ------------------------------------------------------------------------ notices and limits


@pytest.mark.parametrize(
    ("kind", "severity"),
    [("margin_call", "CRITICAL"), ("unknown_event", "WARNING"), ("config_change", "")],
)
def test_a_notice_is_counted_told_and_followed_by_a_resync(kind, severity):
    made = Routed().say(VenueNotice(kind=kind, symbol=SYMBOL, raw="x" * 300))
    assert made.desk.notices == {kind: 1}
    assert made.desk.block_reasons == ("resync",)
    assert made.resyncs == [("binance", f"notice: {kind}")]
    (told,) = made.decided("venue.notice")
    assert (told.cause, told.symbol, told.values["raw"]) == (kind, SYMBOL, "x" * 200)
    alerts = [(one.severity, one.kind, one.text, one.symbol) for one in made.bodies()]
    assert alerts == ([(severity, f"venue.{kind}", "x" * 200, SYMBOL)] if severity else [])


def test_a_notice_without_words_is_told_by_its_kind():
    assert Routed().say(VenueNotice(kind="malformed")).bodies()[0].text == "malformed"


def test_the_venues_own_figures_correct_ours():
    made = Routed()
    buckets = made.desk.gateway.limiter.buckets
    made.say(RateLimit(bucket="orders", used=7))
    assert (buckets["orders"].used, buckets["orders"].capacity) == (7, 50)
    assert made.decided("venue.limit") == []
    made.say(RateLimit(bucket="orders", capacity=20, window_ns=3 * SECOND))
    assert buckets["orders"].used == 7, "nothing was said of what is used"
    assert (buckets["orders"].capacity, buckets["orders"].window_ns) == (20, 3 * SECOND)
    (told,) = made.decided("venue.limit")
    assert told.values == {"bucket": "orders", "capacity": "20", "window_ns": str(3 * SECOND)}
    made.say(RateLimit(bucket="unheard", capacity=20))
    assert "unheard" not in buckets
    made.say(RateLimit(bucket="queries", used=0))
    assert buckets["queries"].used == 0


# ------------------------------------------------------------------------ what cannot be handled


def test_an_event_that_cannot_be_handled_is_told_and_the_next_one_is_handled():
    made = Routed()
    made.bench.position()
    made.services.supervise("events", made.router.run)
    wrong = PositionReport(symbol=SYMBOL, side=PositionSide.LONG, qty=D(2), updated_ns=TsNs(5))

    def refuses(position):
        made.moved.append(position.id)
        if len(made.moved) == 1:
            raise ValueError("no such leg")

    made.on_position = refuses  # type: ignore[method-assign]
    made.venue.events.put_nowait(wrong)
    made.venue.events.put_nowait(
        PositionReport(symbol=SYMBOL, side=PositionSide.LONG, qty=D(3), updated_ns=TsNs(6))
    )
    made.bench.at(1)
    assert made.moved == ["p1", "p1"]
    (told,) = made.decided("event.refused")
    assert (told.cause, told.symbol) == ("ValueError: no such leg", SYMBOL)
    assert told.values["event"] == "PositionReport"
    (alert,) = made.bodies()
    assert (alert.severity, alert.kind, alert.symbol) == ("ERROR", "event.refused", SYMBOL)
    assert alert.text == "PositionReport could not be handled: ValueError: no such leg"
    assert made.desk.block_reasons == ("resync",)
    assert made.resyncs == [("binance", "PositionReport could not be handled")]


@pytest.mark.parametrize(
    ("error", "said"), [(KeyError("x"), "KeyError: 'x'"), (ValueError(), "ValueError")]
)
def test_an_error_is_described_by_its_kind_and_its_words(error, said):
    assert describe(error) == said

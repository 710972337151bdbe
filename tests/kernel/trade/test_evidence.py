"""Reading what a venue holds of one symbol: what is asked, and what may be concluded."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.ids import Leg
from kernel.model.messages import PriceRead
from kernel.model.orders import (
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    Side,
)
from kernel.model.units import MINUTE, MS, SECOND, ZERO, TsNs
from kernel.model.venue import (
    EffectClass,
    OrderPage,
    OrderSurface,
    PositionPage,
    QueryExecutions,
    QueryOrder,
)
from kernel.trade import evidence
from tests.kernel.fakes import WALL, Bench, Rule
from tests.kernel.trade.parts import order_row, report

D = Decimal
PLAIN, CONDITIONAL, ATTACHED = OrderClass.PLAIN, OrderClass.CONDITIONAL, OrderClass.ATTACHED


class Reading(Bench):
    """A bench that notes the class of each request, and runs one coroutine to its end."""

    def __post_init__(self):
        super().__post_init__()
        self.asked = []
        for venue in self.venues.values():
            venue.ask = self.noting(venue, venue.ask)  # type: ignore[method-assign]
        self.orders = self.services.orders
        self.orders.persist = lambda rows: None

    def noting(self, venue, ask):
        async def noted(request, cls, entity):
            self.asked.append((request, cls))
            return await ask(request, cls, entity)

        return noted

    def result(self, coro, seconds=60):
        outcome = []

        async def one():
            try:
                outcome.append(await coro)
            except errors.VenueError as error:
                outcome.append(error)
            self.ended_ns = self.runtime.now()

        self.began_ns = self.runtime.now()
        self.spawn(one())
        self.run(self.runtime.now() + seconds * SECOND)
        return outcome[0]

    @property
    def took_ns(self):
        return self.ended_ns - self.began_ns


@pytest.fixture
def bench():
    made = Reading(venue_names=("binance", "bybit"))
    made.run(3600 * SECOND)
    return made


def shown(symbol="BTCUSDT", side=PositionSide.LONG, qty="0.005", **changes):
    return PositionReport(symbol=symbol, side=side, qty=D(qty), updated_ns=TsNs(WALL), **changes)


def patience_ns(bench):
    return bench.settings.protection_call_timeout_seconds * SECOND


# ---------------------------------------------------------------- the position


@pytest.mark.parametrize(
    ("reports", "qty"),
    [
        ((), "0"),
        ((shown(),), "0.005"),
        ((shown(qty="0"),), "0"),
        ((shown(side=PositionSide.SHORT),), "0"),
        ((shown(symbol="ETHUSDT"),), "0"),
        ((shown(hedge_leg="LONG"),), "0"),
        ((shown(), shown(qty="0")), "0.005"),
        ((shown(symbol="ETHUSDT", qty="9"), shown(), shown(side=PositionSide.SHORT)), "0.005"),
    ],
)
def test_a_position_is_what_the_venue_shows_of_its_symbol_side_and_leg(bench, reports, qty):
    position = bench.filled()
    bench.venue._positions = lambda request: PositionPage(positions=reports)
    at, wall = bench.runtime.now(), bench.runtime.ts()
    found = bench.result(evidence.read_position(bench.services, position))
    assert found.qty == D(qty)
    assert (found.report is None) is (qty == "0")
    assert (found.asked_ns, found.asked_ts_ns) == (at, wall), "the time of the question"
    assert bench.asked[-1][1] is EffectClass.PROTECT
    assert (position.report is not None) is (qty != "0"), "what is shown is heard"


@pytest.mark.parametrize(
    "read",
    [
        evidence.read_position,
        evidence.read_executions,
        lambda services, position: evidence.read_open_orders(
            services, position.venue, position.symbol, PLAIN
        ),
    ],
    ids=["position", "executions", "open orders"],
)
def test_a_protective_read_without_an_answer_fails_after_its_time_out(bench, read):
    position = bench.filled()
    for kind in ("positions", "executions", "open_orders"):
        bench.venue.rules.append(Rule(kind, delay_ns=3600 * SECOND))
    failed = bench.result(read(bench.services, position))
    assert isinstance(failed, errors.VenueError)
    assert bench.took_ns == patience_ns(bench)


# ---------------------------------------------------------------- executions


def executed(trade, side=Side.SELL, **changes):
    given = {
        "symbol": "BTCUSDT", "trade_id": trade, "venue_order_id": "77", "client_order_id": "",
        "side": side, "qty": D("0.001"), "price": D(42000), "ts_ns": TsNs(WALL + 3600 * SECOND),
    }  # fmt: skip
    return Fill(**(given | changes))


def test_executions_are_asked_for_from_a_minute_before_the_opening(bench):
    position = bench.filled()
    bench.venue.fills += [executed("a"), executed("b")]
    assert bench.result(evidence.read_executions(bench.services, position)) == 2
    assert bench.result(evidence.read_executions(bench.services, position)) == 0
    (first, cls), *_ = [one for one in bench.asked if isinstance(one[0], QueryExecutions)]
    assert first.since_ns == position.row.opened_ns - MINUTE
    assert (first.symbol, cls) == ("BTCUSDT", EffectClass.PROTECT)
    position.update(opened_ns=TsNs(5))
    bench.result(evidence.read_executions(bench.services, position))
    assert bench.asked[-1][0].since_ns == 0


def autoclose(bench, name="autoclose-1", venue="binance"):
    """The venue answers for order 77 with this client id."""
    bench.venues[venue]._query = lambda request: report(
        name, request.venue_order_id, OrderStatus.FILLED, 1
    )


def test_a_close_of_nobody_is_asked_for_whether_the_venue_forced_it(bench):
    position = bench.filled()
    autoclose(bench)
    bench.venue.fills.append(executed("a"))
    bench.result(evidence.read_executions(bench.services, position))
    assert position.fills["a"].kind is FillKind.LIQUIDATION
    asked, cls = bench.asked[-1]
    assert asked == QueryOrder(symbol="BTCUSDT", surface=OrderSurface.PLAIN, venue_order_id="77")
    assert cls is EffectClass.PROTECT


def test_a_close_of_nobody_that_the_venue_did_not_force_is_an_ordinary_one(bench):
    position = bench.filled()
    autoclose(bench, "web-1")
    bench.venue.fills.append(executed("a"))
    bench.result(evidence.read_executions(bench.services, position))
    assert position.fills["a"].kind is FillKind.TRADE


@pytest.mark.parametrize("error", [errors.UnknownOrder, errors.OutcomeUnknown])
def test_a_close_whose_order_cannot_be_read_is_an_ordinary_one(bench, error):
    position = bench.filled()
    autoclose(bench)
    bench.venue.rules.append(Rule("query_order", error))
    bench.venue.fills.append(executed("a"))
    assert bench.result(evidence.read_executions(bench.services, position)) == 1
    assert position.fills["a"].kind is FillKind.TRADE


def test_an_order_that_is_never_told_holds_a_close_up_for_one_time_out(bench):
    position = bench.filled()
    bench.venue.rules.append(Rule("query_order", delay_ns=3600 * SECOND))
    bench.venue.fills.append(executed("a"))
    assert bench.result(evidence.read_executions(bench.services, position)) == 1
    assert bench.took_ns == patience_ns(bench) + 2 * bench.venue.latency_ns


def queries(bench):
    return [request for request, _ in bench.asked if isinstance(request, QueryOrder)]


@pytest.mark.parametrize(
    "fill",
    [
        executed("a", side=Side.BUY),
        executed("a", kind=FillKind.ADL),
        executed("a", client_order_id="hand"),
        executed("a", ts_ns=TsNs(WALL + 3600 * SECOND - 1)),
    ],
    ids=["opens", "told already", "somebody's", "older than the position"],
)
def test_what_cannot_be_forced_or_is_told_costs_no_question(bench, fill):
    position = bench.filled()
    autoclose(bench)
    bench.venue.fills.append(fill)
    bench.result(evidence.read_executions(bench.services, position))
    assert queries(bench) == []


def test_a_known_execution_and_one_of_a_known_order_cost_no_question(bench):
    position = bench.filled()
    bench.orders.register(order_row("c1", position_id="", venue_order_id="77"))
    bench.venue.fills.append(executed("a"))
    bench.result(evidence.read_executions(bench.services, position))
    bench.orders.on_fill("binance", executed("b", venue_order_id="78"))
    bench.venue.fills.append(executed("b", venue_order_id="78"))
    bench.result(evidence.read_executions(bench.services, position))
    assert queries(bench) == []


def test_a_venue_whose_executions_tell_it_themselves_is_not_asked(bench):
    position = bench.filled(venue="bybit")
    autoclose(bench, venue="bybit")
    bench.venues["bybit"].fills.append(executed("a"))
    assert bench.result(evidence.read_executions(bench.services, position)) == 1
    assert queries(bench) == []


# ---------------------------------------------------------------- orders


def tracked(bench, venue="binance", order_class=PLAIN, client="", venue_id=""):
    client = client or bench.orders.new_id(bench.filled(venue=venue), Leg.EXIT)
    row = order_row(
        client, venue=venue, position_id="", order_class=order_class, venue_order_id=venue_id
    )
    return bench.orders.register(row)


def answers(bench, found, venue="binance"):
    """Which surfaces know the order."""

    def query(request):
        if request.surface not in found:
            raise errors.UnknownOrder(venue, "query_order", "-2013")
        return report(request.client_order_id, "v1", OrderStatus.CANCELED, WALL)

    bench.venues[venue]._query = query


P, C, H = OrderSurface.PLAIN, OrderSurface.CONDITIONAL, OrderSurface.HISTORY


@pytest.mark.parametrize(
    ("venue", "order_class", "found", "asked"),
    [
        ("binance", PLAIN, [P], [P]),
        ("binance", PLAIN, [], [P]),
        ("binance", CONDITIONAL, [], [C]),
        ("bybit", PLAIN, [P, H], [P]),
        ("bybit", PLAIN, [H], [P, H]),
        ("bybit", CONDITIONAL, [], [C, H]),
    ],
)
def test_an_order_is_asked_for_where_it_can_be(bench, venue, order_class, found, asked):
    order = tracked(bench, venue, order_class)
    answers(bench, found, venue)
    assert bench.result(evidence.look_up(bench.services, order)) is bool(found)
    assert [one.surface for one in queries(bench)] == asked
    assert {cls for request, cls in bench.asked if isinstance(request, QueryOrder)} == {
        EffectClass.PROTECT
    }
    assert order.seen is (bool(found) and order_class is PLAIN)


@pytest.mark.parametrize(
    ("client", "venue_id", "order_class", "name"),
    [
        ("wk5-1b-abcdef-X0-0", "v1", PLAIN, "wk5-1b-abcdef-X0-0"),
        ("wk5-1b-abcdef-X0-0", "", PLAIN, "wk5-1b-abcdef-X0-0"),
        ("wk5-1b-abcdef-X0-0", "v1", ATTACHED, ""),
        ("hand", "v1", PLAIN, ""),
        ("hand", "", PLAIN, "hand"),
    ],
)
def test_an_order_is_named_by_our_id_where_the_venue_knows_it(
    bench, client, venue_id, order_class, name
):
    order = tracked(bench, order_class=order_class, client=client, venue_id=venue_id)
    bench.result(evidence.look_up(bench.services, order))
    (asked,) = queries(bench)
    assert (asked.client_order_id, asked.venue_order_id) == (name, venue_id)


def test_an_attached_stop_that_the_venue_never_named_cannot_be_asked_for(bench):
    order = tracked(bench, order_class=ATTACHED, client="wk5-1b-abcdef-S0-0")
    assert bench.result(evidence.look_up(bench.services, order)) is False
    assert queries(bench) == []


@pytest.mark.parametrize("given", [None, 300 * MS])
def test_a_look_up_without_an_answer_fails_after_its_time_out(bench, given):
    order = tracked(bench)
    bench.venue.rules.append(Rule("query_order", delay_ns=3600 * SECOND))
    failed = bench.result(evidence.look_up(bench.services, order, timeout_ns=given))
    assert isinstance(failed, errors.VenueError)
    assert bench.took_ns == (given or patience_ns(bench))
    assert bench.asked[-1][1] is EffectClass.PROTECT


def test_open_orders_of_a_class_are_heard_and_given(bench):
    order = tracked(bench)
    placed = OrderReport(
        symbol="BTCUSDT", venue_order_id="5", client_order_id=order.client_order_id,
        order_class=PLAIN, order_type=OrderType.LIMIT, side=Side.SELL, status=OrderStatus.NEW,
        qty=D(1),
    )  # fmt: skip
    bench.venue._open = lambda request: OrderPage(orders=(placed,))
    read = evidence.read_open_orders(bench.services, "binance", "BTCUSDT", PLAIN)
    assert bench.result(read) == (placed,)
    assert order.row.venue_order_id == "5"
    asked, cls = bench.asked[-1]
    assert (asked.symbol, asked.order_class, cls) == ("BTCUSDT", PLAIN, EffectClass.PROTECT)


# ---------------------------------------------------------------- prices and waiting


@pytest.mark.parametrize(("age", "fresh"), [(10 * SECOND, True), (10 * SECOND + 1, False)])
def test_a_price_of_the_feed_counts_for_ten_seconds_then_the_venues(bench, age, fresh):
    position = bench.filled()
    bench.prices.push("BTCUSDT", "43000")
    at = TsNs(bench.runtime.ts() - age)
    bench.prices.last = lambda venue, symbol, source: PriceRead(D(41000), at)
    price = bench.result(evidence.fresh_price(bench.services, position))
    assert price == (41000 if fresh else 43000)
    assert bool(bench.asked) is not fresh


def test_without_any_price_nothing_is_concluded(bench):
    position = bench.filled()
    bench.prices.last = lambda venue, symbol, source: PriceRead(ZERO, bench.runtime.ts())
    bench.venue.held.clear()
    assert bench.result(evidence.fresh_price(bench.services, position)) == 0
    bench.venue.rules.append(Rule("positions", errors.OutcomeUnknown))
    assert bench.result(evidence.fresh_price(bench.services, position)) == 0


def test_a_wait_that_is_over_already_looks_at_the_event_alone(bench):
    event = bench.runtime.event()
    now = bench.runtime.now()
    wait = evidence.wait_until
    assert bench.result(wait(bench.runtime, event, now)) is False
    assert bench.took_ns == 0
    event.set()
    assert bench.result(wait(bench.runtime, event, now)) is True
    assert bench.result(wait(bench.runtime, event, bench.runtime.now() + SECOND)) is True
    event.clear()
    assert bench.result(wait(bench.runtime, event, bench.runtime.now() + SECOND)) is False
    assert bench.took_ns == SECOND


def test_one_protective_call_may_take_what_is_set(bench):
    seconds = bench.settings.protection_call_timeout_seconds
    assert evidence.call_timeout_ns(bench.services) == seconds * SECOND > 0


def test_a_position_that_is_not_shown_any_more_keeps_its_last_row(bench):
    position = bench.filled()
    position.hear(shown())
    row = position.report
    bench.venue._positions = lambda request: PositionPage(positions=())
    assert bench.result(evidence.read_position(bench.services, position)).qty == 0
    assert position.report is row


def test_a_feed_that_knows_no_price_is_not_fresh(bench):
    position = bench.filled()
    bench.prices.push("BTCUSDT", "43000")
    bench.prices.last = lambda venue, symbol, source: PriceRead(ZERO, bench.runtime.ts())
    assert bench.result(evidence.fresh_price(bench.services, position)) == 43000

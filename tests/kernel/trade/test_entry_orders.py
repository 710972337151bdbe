"""The orders of an entry: sent once under one id, settled once, ended by proof."""

from decimal import Decimal

import pytest

from kernel import errors
from kernel.model.ids import Leg, leg_of
from kernel.model.messages import PriceRead
from kernel.model.orders import OrderClass, OrderStatus, OrderType, PriceSource, Side, TimeInForce
from kernel.model.positions import PositionState
from kernel.model.units import SECOND, TsNs
from kernel.model.venue import EffectClass
from tests.kernel.trade.opening import Sending, plan

D = Decimal
NEW, PARTLY, FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
CANCELED, REJECTED = OrderStatus.CANCELED, OrderStatus.REJECTED


@pytest.fixture
def bench():
    return Sending()


# ---------------------------------------------------------------- intents


def test_each_child_of_a_plan_is_an_intent_with_an_id_of_its_own(bench):
    position, _ = bench.entry()
    orders = bench.orders.register(position, plan("0.002", "0.003"))
    rows = [order.row for order in orders]
    assert [row.qty for row in rows] == [D("0.002"), D("0.003")]
    legs = [row.client_order_id.split("-")[3] for row in rows]
    assert legs == ["E0", "E1"]
    row = rows[1]
    assert leg_of(row.client_order_id) is Leg.ENTRY
    assert (row.venue, row.symbol, row.position_id) == ("binance", "BTCUSDT", position.id)
    assert (row.order_class, row.order_type) == (OrderClass.PLAIN, OrderType.MARKET)
    assert (row.side, row.reduce_only, row.status) == (Side.BUY, False, NEW)
    assert row.created_ns == bench.runtime.ts()
    assert bench.services.orders.of_position(position.id) == orders


# ---------------------------------------------------------------- sending


def test_a_child_is_sent_as_a_market_order_under_its_id(bench):
    position, children = bench.entry("0.005")
    assert bench.send(position, children) == []
    ((_, request),) = bench.venue.requests("submit")
    row = children[0].row
    assert (request.client_order_id, request.symbol) == (row.client_order_id, "BTCUSDT")
    assert (request.side, request.qty, request.order_type) == (
        Side.BUY,
        D("0.005"),
        OrderType.MARKET,
    )
    assert (request.reduce_only, request.time_in_force) == (False, TimeInForce.GTC)
    assert (request.stop_loss, request.position_side) == (0, "BOTH")
    assert row.venue_order_id == "1001"
    assert bench.venue.classes == [EffectClass.ENTRY]
    (told,) = bench.kinds("order.submitted")
    assert (told.cause, told.client_order_id) == ("entry", row.client_order_id)
    assert (told.values["qty"], told.values["stop_loss"]) == ("0.005", "0")


@pytest.mark.parametrize(("source", "by"), [("mark", PriceSource.MARK), ("last", PriceSource.LAST)])
def test_where_the_venue_takes_it_the_stop_rides_with_the_entry(source, by):
    bench = Sending("bybit", STOP_LOSS_PERCENT="2", STOP_TRIGGER_PRICE=source)
    asked = []

    def last(venue, symbol, one):
        asked.append((venue, symbol, one))
        return PriceRead(D(43000), TsNs(1))

    bench.prices.last = last  # type: ignore[method-assign]
    position, children = bench.entry("0.005")
    bench.send(position, children)
    ((_, request),) = bench.venue.requests("submit")
    assert (request.stop_loss, request.stop_trigger_by) == (42140, by)
    assert asked == [("bybit", "BTCUSDT", by)]


def test_without_a_price_no_stop_rides_with_the_entry():
    bench = Sending("bybit")
    bench.prices.ticks.clear()
    position, children = bench.entry("0.005")
    bench.send(position, children)
    ((_, request),) = bench.venue.requests("submit")
    assert request.stop_loss == 0


def test_children_are_sent_one_after_the_other(bench):
    position, children = bench.entry("0.001", "0.002", "0.003")
    assert bench.send(position, children) == []
    assert bench.submits() == [0, 40, 80]


@pytest.mark.parametrize(
    ("error", "unknown", "words"),
    [
        (errors.Rejected, False, "Rejected -1"),
        (errors.NotSent, False, "NotSent -1"),
        (errors.Unauthorized, False, "Unauthorized -1"),
        (errors.DuplicateClientOrderId, True, ""),
        (errors.OutcomeUnknown, True, ""),
    ],
)
def test_only_a_definite_refusal_ends_a_child(bench, error, unknown, words):
    position, children = bench.entry("0.002", "0.003")
    bench.refuse(error, "-1", times=1)
    assert bench.send(position, children) == (children[:1] if unknown else [])
    assert children[0].row.status is (NEW if unknown else REJECTED)
    assert [one.cause for one in bench.kinds("order.concluded")][:1] == ([words] if words else [])
    assert len(bench.submits()) == 1 + (error is not errors.Unauthorized)


def test_a_refused_child_that_the_venue_showed_is_not_called_refused(bench):
    position, children = bench.entry("0.005")
    bench.refuse(errors.Rejected, "-1")
    bench.later(10, lambda: bench.reports(children[0], NEW))
    assert bench.send(position, children) == []
    assert children[0].row.status is NEW


def test_all_whose_outcome_is_unknown_are_named(bench):
    position, children = bench.entry("0.001", "0.002", "0.003")
    bench.refuse(errors.OutcomeUnknown, when=lambda one: one.qty != D("0.002"))
    assert bench.send(position, children) == [children[0], children[2]]


def test_what_may_not_go_out_any_more_is_not_sent_but_the_first_is(bench):
    """Whoever sends has asked for the first already."""
    position, children = bench.entry("0.002", "0.003")
    position.transition(PositionState.ROLLBACK, "test")
    assert bench.send(position, children) == []
    assert bench.submits() == [0]
    assert children[1].row.status is REJECTED
    (told,) = bench.kinds("order.concluded")
    assert (told.cause, told.client_order_id) == ("not sent", children[1].client_order_id)


def test_an_entry_is_too_late_once_it_is_over_expired_or_forbidden(bench):
    position, _ = bench.entry("0.005")

    def late(lasts=60):
        return bench.orders.too_late(bench.desk, position, plan("0.005", lasts=lasts))

    assert late() == ""
    assert late(lasts=0) == "", "at the last instant it may go"
    bench.after(0.000000001)
    assert late(lasts=0) == "signal expired before the entry was sent"
    bench.desk.block_entries("one")
    bench.desk.block_entries("two")
    assert late() == "entries blocked: one, two"
    position.transition(PositionState.ROLLBACK, "test")
    assert late() == "closed"


# ---------------------------------------------------------------- queued


@pytest.mark.parametrize(
    ("error", "code"), [(errors.Throttled, "-1003"), (errors.NotSent, "no-budget")]
)
def test_what_found_no_budget_is_sent_again_under_its_id(bench, error, code):
    position, children = bench.entry("0.005")
    bench.refuse(error, code, times=2)
    assert bench.send(position, children, 200, lasts=600) == []
    requests = [request for _, request in bench.venue.requests("submit")]
    assert [one.client_order_id for one in requests] == 3 * [children[0].client_order_id]
    assert children[0].row.venue_order_id
    told = bench.queued()
    assert told[0].cause == code
    assert (told[0].symbol, told[0].position_id) == ("BTCUSDT", position.id)
    assert len(bench.kinds("order.submitted")) == 1


def test_what_waited_is_sent_with_the_stop_of_then():
    bench = Sending("bybit", STOP_LOSS_PERCENT="2")
    position, children = bench.entry("0.005")
    bench.refuse(errors.NotSent, "no-budget", times=1)
    bench.later(10, lambda: bench.prices.push("BTCUSDT", "43000"))
    bench.send(position, children)
    first, second = [request for _, request in bench.venue.requests("submit")]
    assert (first.stop_loss, second.stop_loss) == (41160, 42140)


@pytest.mark.parametrize("why", ["shown", "late", "over", "forbidden"])
def test_what_found_no_budget_is_not_sent_again_where_it_may_not(bench, why):
    position, children = bench.entry("0.005")
    bench.refuse(errors.NotSent, "no-budget")
    acts = {
        "shown": lambda: bench.reports(children[0], NEW),
        "late": lambda: None,
        "over": lambda: position.transition(PositionState.ROLLBACK, "test"),
        "forbidden": lambda: bench.desk.block_entries("test"),
    }
    bench.later(10, acts[why])
    assert bench.send(position, children, 5, lasts=0 if why == "late" else 60) == []
    assert len(bench.submits()) == 1
    assert bench.queued() == []
    assert children[0].row.status is (NEW if why == "shown" else REJECTED)


@pytest.mark.parametrize(
    ("error", "code"), [(errors.NotSent, "entries-blocked"), (errors.Rejected, "no-budget")]
)
def test_what_was_refused_for_another_reason_does_not_wait(bench, error, code):
    position, children = bench.entry("0.005")
    bench.refuse(error, code)
    assert bench.send(position, children, 5) == []
    assert len(bench.submits()) == 1
    assert children[0].row.status is REJECTED


def test_what_a_ban_refuses_does_not_wait(bench):
    position, children = bench.entry("0.005")
    bench.desk.gateway.banned_until_ns = bench.runtime.now() + 5 * SECOND
    assert bench.send(position, children, 1) == []
    assert bench.submits() == []
    assert children[0].row.status is REJECTED
    assert bench.queued() == []


@pytest.mark.parametrize("closed", [True, False])
def test_a_child_that_waits_for_a_budget_is_not_sent_once_the_entry_is_over(bench, closed):
    position, children = bench.entry("0.005")
    bucket = next(iter(bench.desk.gateway.limiter.buckets))
    for bucket in bench.desk.gateway.limiter.buckets:
        bench.desk.gateway.limiter.exhaust(bucket, bench.runtime.now() + 2 * SECOND)
    if closed:
        bench.later(500, lambda: position.transition(PositionState.ROLLBACK, "test"))
    assert bench.send(position, children, 5) == []
    assert bench.submits() == ([] if closed else [2000])
    assert children[0].row.status is (REJECTED if closed else NEW)

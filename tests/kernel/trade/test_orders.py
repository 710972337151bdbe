"""The registry: what belongs together finds each other, whatever the order of arrival."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvariantViolation
from kernel.model.ids import Leg, parse_client_order_id
from kernel.model.orders import FillKind, OrderClass, OrderStatus, Side
from kernel.model.units import MINUTE, SECOND, TsNs
from tests.kernel.trade.parts import START_TS, SYMBOL, VENUE, Bench, fill, order_row, report

NEW, PART, FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
CANCELED = OrderStatus.CANCELED


def test_a_generation_is_used_once_and_counted_in_the_row():
    bench = Bench()
    position = bench.position()
    ids = [bench.orders.new_id(position, Leg.ENTRY, child) for child in (0, 0, 1)]
    parts = [part for one in ids if (part := parse_client_order_id(one))]
    assert [part.generation for part in parts] == [0, 1, 2]
    assert {part.epoch for part in parts} == {7}
    assert {part.wave_minute for part in parts} == {START_TS // MINUTE}
    assert position.row.generation == 3


def test_an_id_is_registered_once():
    bench = Bench()
    bench.orders.register(order_row("wk1"))
    with pytest.raises(InvariantViolation, match="used before"):
        bench.orders.register(order_row("wk1"))


@given(st.permutations(range(4)))
def test_reports_in_any_order_end_in_the_same_state(order):
    bench = Bench()
    tracked = bench.orders.register(order_row("c1"))
    reports = [
        report("c1", "v1", NEW, 1),
        report("c1", "v1", PART, 2, filled_qty=Decimal("0.4")),
        report("c1", "v1", FILLED, 3, filled_qty=Decimal(1), avg_price=Decimal(100)),
        report("c1", "v1", PART, 2, filled_qty=Decimal("0.4")),
    ]
    for index in order:
        assert bench.orders.on_report(VENUE, reports[index]) is tracked
    assert tracked.row.status is FILLED
    assert tracked.row.filled_qty == Decimal(1)
    assert tracked.terminal
    assert not tracked.row.intent_open


def test_a_terminal_order_never_opens_again():
    bench = Bench()
    tracked = bench.orders.register(order_row("c1"))
    bench.orders.on_report(VENUE, report("c1", "v1", CANCELED, 5))
    bench.orders.on_report(VENUE, report("c1", "v1", NEW, 9))
    assert tracked.row.status is CANCELED
    assert bench.orders.open_orders() == []


def test_what_comes_before_its_order_is_known_is_parked_and_matched():
    """Stream events may precede everything (hazards W08)."""
    bench = Bench()
    position = bench.position()
    client_id = bench.orders.new_id(position, Leg.ENTRY)
    bench.orders.on_report(VENUE, report(client_id, "v1", FILLED, 3, filled_qty=Decimal(1)))
    early = fill("t1", Side.BUY, "1", "100", client_order_id=client_id)
    assert not bench.orders.on_fill(VENUE, early)
    tracked = bench.orders.register(order_row(client_id))
    assert tracked.terminal
    assert tracked.filled_qty == Decimal(1)
    assert position.qty == Decimal(1)


def test_an_execution_from_stream_and_from_a_read_is_booked_once():
    bench = Bench()
    position = bench.position()
    bench.orders.register(order_row("c1"))
    one = fill("t1", Side.BUY, "1", "100", client_order_id="c1")
    assert bench.orders.on_fill(VENUE, one)
    assert not bench.orders.on_fill(VENUE, one)
    assert position.qty == Decimal(1)
    assert [row for row in bench.stored if getattr(row, "trade_id", "") == "t1"]


def test_a_triggered_conditional_is_over_only_with_its_child():
    bench = Bench()
    position = bench.position()
    position.apply_fill(fill("e", Side.BUY, "1", "100"))
    stop = bench.orders.register(
        order_row("s1", order_class=OrderClass.CONDITIONAL, side=Side.SELL, reduce_only=True)
    )
    conditional = {"order_class": OrderClass.CONDITIONAL, "side": Side.SELL}
    bench.orders.on_report(VENUE, report("s1", "a1", NEW, 1, **conditional))
    bench.orders.on_report(
        VENUE, report("s1", "a1", OrderStatus.FINISHED, 2, child_order_id="p9", **conditional)
    )
    child = report("x-random", "p9", NEW, 2, side=Side.SELL)
    assert bench.orders.on_report(VENUE, child) is stop
    assert stop.row.status is OrderStatus.FINISHED
    assert not stop.terminal
    bought = fill("t1", Side.SELL, "1", "98", venue_order_id="p9", client_order_id="x-random")
    assert bench.orders.on_fill(VENUE, bought)
    bench.orders.on_report(
        VENUE, report("x-random", "p9", FILLED, 3, side=Side.SELL, filled_qty=Decimal(1))
    )
    assert stop.terminal
    assert stop.filled_qty == Decimal(1)
    assert position.qty == 0


def test_an_execution_under_no_id_of_ours_belongs_to_the_position_of_the_symbol():
    """Attached stops, liquidations and hands come without an id of ours."""
    bench = Bench()
    position = bench.position()
    position.apply_fill(fill("e", Side.BUY, "1", "100"))
    hand = fill("t9", Side.SELL, "1", "90", kind=FillKind.LIQUIDATION, venue_order_id="zz")
    assert bench.orders.on_fill(VENUE, hand)
    assert position.qty == 0


def test_an_execution_older_than_the_position_is_not_booked_into_it():
    bench = Bench()
    told: list[Any] = []
    bench.orders.on_stray = lambda venue, one: told.append(one.trade_id)
    position = bench.position()
    old = fill("t0", Side.SELL, "1", "90", ts_ns=TsNs(START_TS - 1))
    assert not bench.orders.on_fill(VENUE, old)
    assert not bench.orders.on_fill(VENUE, old)
    assert position.qty == 0
    assert told == ["t0"]


def test_an_order_that_was_declared_never_placed_and_appears_is_told():
    bench = Bench()
    told: list[Any] = []
    bench.orders.on_reappeared = told.append
    order = bench.orders.register(order_row("c1"))
    bench.orders.conclude(order, OrderStatus.REJECTED, "empty look-ups")
    assert bench.orders.open_orders() == []
    bench.orders.on_report(VENUE, report("c1", "v1", NEW, 9))
    assert told == [order]
    assert bench.orders.open_orders(VENUE, SYMBOL) == [order]


def test_missing_executions_are_seen_by_the_reports():
    bench = Bench()
    order = bench.orders.register(order_row("c1"))
    bench.orders.on_report(VENUE, report("c1", "v1", FILLED, 3, filled_qty=Decimal(1)))
    assert order.executions_missing
    bench.position()
    bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "100", client_order_id="c1"))
    assert not order.executions_missing


def test_old_news_of_a_read_tells_that_the_stream_kept_silent():
    bench = Bench()
    unheard: list[Any] = []
    bench.orders.on_unheard = lambda venue, at: unheard.append(at)
    bench.orders.register(order_row("c1"))
    bench.at(20 * SECOND)
    happened = START_TS + 10 * SECOND
    bench.orders.on_report(VENUE, report("c1", "v1", NEW, happened), streamed=True)
    assert unheard == [], "what the stream says late, it says"
    bench.orders.on_report(VENUE, report("c1", "v1", PART, happened + 1, filled_qty=Decimal("0.1")))
    bench.orders.on_report(VENUE, report("c1", "v1", PART, happened + 1, filled_qty=Decimal("0.1")))
    assert unheard == [happened + 1], "known news are none"
    fresh = START_TS + 20 * SECOND - 1
    bench.orders.on_report(VENUE, report("c1", "v1", FILLED, fresh, filled_qty=Decimal(1)))
    assert len(unheard) == 1

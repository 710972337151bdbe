"""One order: what its reports and executions prove, and which report may change it."""

from decimal import Decimal

import pytest

from kernel.model.orders import OrderClass, OrderStatus, Side
from kernel.trade.tracked_order import TrackedOrder, is_another, is_news
from tests.kernel.trade.parts import Bench, fill, order_row, report

D = Decimal
NEW, PART, FILLED = OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED
TRIGGERING, TRIGGERED = OrderStatus.TRIGGERING, OrderStatus.TRIGGERED
CANCELED, FINISHED = OrderStatus.CANCELED, OrderStatus.FINISHED


def order(**changes):
    return TrackedOrder(order_row("c1", **changes), Bench().runtime)


def told(status=NEW, at=5, qty="0", **changes):
    return report("c1", "v1", status, at, filled_qty=D(qty), **changes)


@pytest.mark.parametrize(
    ("own", "child", "over"),
    [
        (NEW, None, False),
        (NEW, FILLED, False),
        (TRIGGERED, FILLED, False),
        (CANCELED, None, True),
        (FINISHED, NEW, False),
        (FINISHED, PART, False),
        (FINISHED, CANCELED, True),
    ],
)
def test_an_order_is_over_with_its_child(own, child, over):
    one = order(status=own)
    one.child = None if child is None else told(child)
    assert one.terminal is over


def test_an_order_is_seen_by_a_report_or_an_execution():
    one = order()
    assert not one.seen
    one.report = told()
    assert one.seen
    other = order()
    other.fills["t1"] = fill("t1", Side.BUY, "1", "9")
    assert other.seen


def test_quantity_and_price_are_those_of_the_distinct_executions():
    one = order()
    assert (one.filled_qty, one.avg_price) == (0, 0)
    one.fills["t1"] = fill("t1", Side.BUY, "1", "100")
    one.fills["t2"] = fill("t2", Side.BUY, "3", "104")
    assert (one.filled_qty, one.avg_price) == (4, 103)
    assert one.client_order_id == "c1"


@pytest.mark.parametrize(
    ("own", "child", "reported"), [("2", None, "2"), ("2", "3", "3"), ("2", "1", "2")]
)
def test_what_reports_tell_is_the_most_of_its_own_and_its_childs(own, child, reported):
    one = order(filled_qty=D(own))
    one.child = None if child is None else told(PART, qty=child)
    assert one.reported_qty == D(reported)


@pytest.mark.parametrize(("booked", "missing"), [("1", True), ("2", False), ("3", False)])
def test_executions_are_missing_where_reports_tell_of_more(booked, missing):
    one = order(filled_qty=D(2))
    one.fills["t1"] = fill("t1", Side.BUY, booked, "9")
    assert one.executions_missing is missing


@pytest.mark.parametrize(
    ("known", "shown", "same_class", "another"),
    [
        ("", "v1", True, False),
        ("v1", "v1", True, False),
        ("v1", "v2", True, True),
        ("v1", "v2", False, False),
    ],
)
def test_an_id_of_ours_is_unique_among_open_orders_of_a_class(known, shown, same_class, another):
    row = order_row("c1", venue_order_id=known)
    shown_class = OrderClass.PLAIN if same_class else OrderClass.CONDITIONAL
    assert is_another(row, report("c1", shown, NEW, 1, order_class=shown_class)) is another


@pytest.mark.parametrize(
    ("known", "other", "news"),
    [
        # a terminal order never opens again, and is amended by what is later or more
        (told(CANCELED), told(NEW, at=9, qty="1"), False),
        (told(CANCELED), told(CANCELED), False),
        (told(CANCELED), told(CANCELED, at=9), False),
        (told(CANCELED, qty="1"), told(CANCELED, at=4, qty="2"), True),
        (told(CANCELED, qty="2"), told(FILLED, at=4, qty="1"), False),
        (told(CANCELED, qty="2"), told(FILLED, at=4, qty="2"), False),
        (told(CANCELED), told(FILLED, at=5), True),
        (told(CANCELED), told(FILLED, at=6), True),
        # the end is always news
        (told(PART, at=9, qty="1"), told(CANCELED, at=4), True),
        # the later one of two that are no ends
        (told(NEW), told(NEW, at=6), True),
        (told(PART, qty="1"), told(NEW, at=6), True),
        (told(NEW), told(PART, at=4, qty="1"), False),
        # at equal times: more is filled, or the state is further along, or a fact changed
        (told(PART, qty="1"), told(PART, qty="2"), True),
        (told(PART, qty="2"), told(TRIGGERED, qty="1"), False),
        (told(PART, qty="1"), told(NEW, qty="2"), True),
        (told(NEW), told(PART), True),
        (told(PART), told(NEW), False),
        (told(PART), told(TRIGGERING), True),
        (told(TRIGGERING), told(PART), False),
        (told(TRIGGERING), told(TRIGGERED), True),
        (told(TRIGGERED), told(TRIGGERING), False),
        (told(NEW), told(NEW), False),
        (told(NEW), told(NEW, avg_price=D(7)), False),
        (told(NEW), told(NEW, qty="0", trigger_price=D(7)), True),
        (told(TRIGGERED), told(TRIGGERED, child_order_id="p9"), True),
    ],
)
def test_a_report_overwrites_an_older_one_of_the_same_order(known, other, news):
    assert is_news(known, other) is news


def test_a_change_of_the_quantity_alone_is_news():
    assert is_news(
        report("c1", "v1", NEW, 5, qty=D(1)),
        report("c1", "v1", NEW, 5, qty=D(2)),
    )

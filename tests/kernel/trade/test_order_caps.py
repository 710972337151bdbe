"""Caps on open orders: an entry must leave room for its stop, and a tenth beside."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import OrderClass, OrderStatus, PositionSide
from kernel.trade.order_caps import OrderCaps, room
from tests.kernel.trade.desk_bench import DeskBench
from tests.kernel.trade.parts import START_TS, SYMBOL, order_row, report

PLAIN, CONDITIONAL = OrderClass.PLAIN, OrderClass.CONDITIONAL
OTHER = "ETHUSDT"


class Orders:
    """Orders that are open on a venue: by its list, by our books."""

    def __init__(self, venue="binance", **caps):
        self.bench = DeskBench(venue)
        self.desk = self.bench.desk
        self.desk.traits = msgspec.structs.replace(self.desk.traits, **caps)
        self.name = venue

    def listed(self, order_class, *symbols):
        self.desk.listed[order_class] = tuple(
            report(f"x{number}", f"v{number}", OrderStatus.NEW, START_TS,
                   symbol=symbol, order_class=order_class)
            for number, symbol in enumerate(symbols)
        )  # fmt: skip

    def ours(self, name, order_class, symbol=SYMBOL):
        row = order_row(name, order_class=order_class, symbol=symbol, venue=self.name)
        return self.bench.services.orders.register(row)

    def refusal(self, orders=1):
        return OrderCaps(self.bench.services).refusal(self.desk, SYMBOL, orders)


@pytest.mark.parametrize(("cap", "left"), [(200, 180), (10, 9), (1, 0), (500, 450), (0, 0)])
def test_a_tenth_of_a_cap_is_kept_free_of_entries(cap, left):
    assert room(cap) == left


def test_a_cap_on_the_account_counts_every_symbol():
    full = Orders(conditional_cap=5)
    full.listed(CONDITIONAL, SYMBOL, OTHER, OTHER)
    assert full.refusal(1) == ""
    assert full.refusal(2) == "5 conditional orders of 5"


def test_a_cap_on_each_symbol_counts_its_own():
    full = Orders("bybit", conditional_cap=5)
    full.listed(CONDITIONAL, SYMBOL, OTHER, SYMBOL, OTHER)
    assert full.refusal(2) == ""
    assert full.refusal(3) == "5 conditional orders of 5"


def test_an_order_that_is_listed_and_ours_counts_once():
    full = Orders(conditional_cap=5)
    full.listed(CONDITIONAL, SYMBOL, SYMBOL)
    full.ours("x0", CONDITIONAL)
    full.ours("new", CONDITIONAL)
    assert full.refusal(1) == ""
    assert full.refusal(2) == "5 conditional orders of 5"


def test_a_list_is_of_its_class_and_so_are_our_orders():
    full = Orders(conditional_cap=5, plain_cap=5)
    full.listed(PLAIN, SYMBOL, SYMBOL)
    full.ours("c", CONDITIONAL)
    full.ours("p", PLAIN)
    assert full.refusal(1) == ""
    assert full.refusal(2) == "5 orders of 5"
    full.ours("c2", CONDITIONAL)
    full.ours("c3", CONDITIONAL)
    assert full.refusal(2) == "5 conditional orders of 5"


def test_plain_orders_of_other_symbols_do_not_count():
    full = Orders(plain_cap=2)
    full.listed(PLAIN, OTHER, OTHER)
    full.ours("p", PLAIN, OTHER)
    assert full.refusal(1) == ""
    full.ours("q", PLAIN)
    assert full.refusal(1) == "2 orders of 2"


@pytest.mark.parametrize(("venue", "counts"), [("binance", True), ("bybit", False)])
def test_entries_under_way_on_the_account_need_their_stops_too(venue, counts):
    full = Orders(venue, conditional_cap=5)
    risk = full.bench.services.risk
    risk.note_available(venue, Decimal(100_000), Decimal(100_000))
    for symbol in ("AUSDT", "BUSDT", "CUSDT"):
        risk.reserve(venue, symbol, PositionSide.LONG, Decimal(100))
    assert risk.under_way(venue) == 3
    assert full.refusal(1) == ""
    assert (full.refusal(2) != "") is counts

"""Quantities are exact multiples, inside every limit, and the children are the position."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import Settings
from kernel.model.messages import QuoteRead
from kernel.model.orders import Side
from kernel.trade.sizing import (
    CHILDREN_MAX,
    Sized,
    SizeLimits,
    SizeRefusal,
    size,
    split,
    spread_percent,
)
from tests.kernel.trade.wave_bench import instrument

D = Decimal
LIMITS = SizeLimits.of(Settings())


def quote(bid="99.99", ask="100.01"):
    return QuoteRead(D(bid), D(ask))


def sized(side=Side.BUY, limits=LIMITS, book=None, **filters):
    return size(instrument("BTCUSDT", **filters), side, book or quote(), limits)


def test_a_buy_is_sized_at_the_ask_and_a_sell_at_the_bid():
    book = quote("100", "160")
    assert sized(Side.BUY, book=book).qty == D("1.25")
    assert sized(Side.SELL, book=book).qty == D(2)
    assert sized(Side.BUY, book=book).reference_price == D(160)


def test_the_quantity_is_floored_to_the_step():
    result = sized(qty_step=D("0.1"), book=quote("29.9", "30"))
    assert result == Sized(
        reference_price=D(30), qty=D("6.6"), children=(D("6.6"),), notional=D(198)
    )


@pytest.mark.parametrize(
    ("filters", "book", "reason"),
    [
        ({}, quote("0", "0"), SizeRefusal.NO_QUOTE),
        ({"qty_step": D(0)}, quote(), SizeRefusal.NO_FILTERS),
        ({"tick_size": D(0)}, quote(), SizeRefusal.NO_FILTERS),
        ({"min_qty": D(3)}, quote(), SizeRefusal.MIN_QTY),
        ({"qty_step": D(10)}, quote(), SizeRefusal.MIN_QTY),
        ({"min_notional": D(250)}, quote(), SizeRefusal.MIN_NOTIONAL),
        ({"qty_step": D("0.1")}, quote("1999", "1999.9"), SizeRefusal.MIN_NOTIONAL),
        ({"max_market_qty": D("0.05")}, quote(), SizeRefusal.CHILDREN),
        ({"max_market_qty": D("0.0001")}, quote(), SizeRefusal.CHILDREN),
        ({"max_market_qty": D("0.5"), "min_notional": D(60)}, quote(), SizeRefusal.MIN_NOTIONAL),
    ],
)
def test_what_no_order_can_be_made_of_is_refused(filters, book, reason):
    minimum = {"min_notional": D(201)} if book.ask > 1999 else {}
    assert sized(book=book, **(minimum | filters)) is reason


def test_the_owners_limits_of_a_position_hold():
    small = SizeLimits(notional=D(9), least=D(10), most=D(5000))
    assert sized(limits=small) is SizeRefusal.TOO_SMALL
    large = SizeLimits(notional=D(5001), least=D(10), most=D(5000))
    assert sized(limits=large) is SizeRefusal.TOO_LARGE
    floored = SizeLimits(notional=D(12), least=D(10), most=D(5000))
    assert sized(limits=floored, qty_step=D("0.1"), book=quote("90", "91")) is SizeRefusal.TOO_SMALL


def test_btcusdt_on_binance_needs_50_usd():
    """200 USD at 120 000 is one step of 0.001: 120 USD, enough; 40 USD never is."""
    btc = {"qty_step": D("0.001"), "min_notional": D(50), "tick_size": D("0.1")}
    assert sized(book=quote("120000", "120000"), **btc).qty == D("0.001")
    forty = SizeLimits(notional=D(40), least=D(10), most=D(5000))
    assert sized(limits=forty, book=quote("20000", "20000"), **btc) is SizeRefusal.MIN_NOTIONAL


QUANTITIES = st.integers(1, 10**6).map(lambda steps: D(steps) * D("0.001"))


@given(qty=QUANTITIES, most=QUANTITIES)
def test_children_add_up_and_differ_by_one_step_at_most(qty, most):
    children = split(instrument("X", max_market_qty=most), qty)
    if qty > CHILDREN_MAX * most:
        assert children == ()
        return
    assert sum(children) == qty
    assert max(children) <= most
    assert max(children) - min(children) <= D("0.001")
    assert list(children) == sorted(children, reverse=True)


@given(
    price=st.decimals("0.0001", "100000", places=4),
    step=st.sampled_from(["0.001", "0.1", "1", "10"]),
    most=st.integers(1, 10**6),
)
def test_whatever_is_sized_keeps_every_limit(price, step, most):
    filters = {"qty_step": D(step), "min_qty": D(step), "max_market_qty": D(step) * most}
    result = sized(book=QuoteRead(price, price), **filters)
    if isinstance(result, Sized):
        assert sum(result.children) == result.qty
        assert D(10) <= result.notional <= D(200)
        assert all(not child % D(step) and child <= D(step) * most for child in result.children)
        assert all(child * price >= 5 for child in result.children)


def test_the_spread_is_in_percent_of_the_middle():
    assert spread_percent(quote("99", "101")) == 2
    assert spread_percent(quote("100", "100")) == 0
    assert spread_percent(quote("0", "100")) is None
    assert spread_percent(quote("101", "100")) is None


def test_limits_are_allowed_to_the_last_cent():
    exact = SizeLimits(notional=D(200), least=D(200), most=D(200))
    assert isinstance(sized(limits=exact, book=quote("100", "100")), Sized)
    assert isinstance(sized(min_notional=D(200), book=quote("100", "100")), Sized)
    assert isinstance(sized(min_qty=D(2), book=quote("100", "100")), Sized)


def test_the_smallest_child_decides_on_the_minimums():
    """3 steps in 2 children: 2 and 1 of them."""
    book = quote("100", "100")
    three = SizeLimits(notional=D(300), least=D(10), most=D(5000))
    steps = {"qty_step": D(1), "max_market_qty": D(2)}
    assert sized(limits=three, book=book, min_qty=D(1), **steps).children == (D(2), D(1))
    assert sized(limits=three, book=book, min_qty=D(2), **steps) is SizeRefusal.MIN_QTY
    assert (
        sized(limits=three, book=book, min_qty=D(1), min_notional=D(150), **steps)
        is SizeRefusal.MIN_NOTIONAL
    )


def test_nothing_is_no_quantity_where_the_venue_names_no_minimum():
    assert sized(min_qty=D(0), qty_step=D(10)) is SizeRefusal.MIN_QTY


def test_as_many_children_as_an_id_can_tell_apart_and_no_more():
    assert len(split(instrument("X", max_market_qty=D(1)), D(CHILDREN_MAX))) == 36
    assert split(instrument("X", max_market_qty=D(1)), D(CHILDREN_MAX + 1)) == ()


def test_without_a_market_maximum_the_maximum_of_any_order_counts():
    filters = {"max_market_qty": D(0), "max_qty": D(3), "qty_step": D(1)}
    assert split(instrument("X", **filters), D(6)) == (D(3), D(3))
    assert split(instrument("X", **(filters | {"max_qty": D(0)})), D(6)) == (D(6),)


def test_a_fraction_of_a_coin_is_a_quantity_and_a_price_below_one_a_price():
    assert sized(book=quote("999", "1000")).qty == D("0.2")
    assert sized(book=quote("0.4", "0.5")).qty == D(400)
    assert spread_percent(quote("0.5", "0.5")) == 0


def test_the_minimum_of_the_venue_is_told_before_the_owners():
    nine = SizeLimits(notional=D(9), least=D(10), most=D(5000))
    assert sized(limits=nine, min_qty=D(3)) is SizeRefusal.MIN_QTY

"""Totals: what is known before its executions is replaced by them, never added to."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import Side
from kernel.model.units import TsNs
from kernel.trade.totals import Total
from tests.kernel.trade.parts import START_TS, Bench, fill

NOW = START_TS + 100


@given(st.permutations(range(3)), st.integers(0, 3))
def test_whatever_was_inferred_the_executions_are_the_truth_in_the_end(order, inferred_after):
    fills = [
        fill("1", Side.BUY, "2", "100"),
        fill("2", Side.BUY, "3", "110"),
        fill("3", Side.BUY, "5", "120"),
    ]
    total = Total(Decimal(0), Decimal(0), TsNs(0))
    for number, index in enumerate(order):
        if number == inferred_after:
            total.at_least(Decimal(7), Decimal(105), TsNs(NOW))
        total.add(fills[index])
    assert (total.qty, total.price, total.base_qty) == (Decimal(10), Decimal(113), Decimal(0))


def test_a_later_execution_adds_to_what_was_found():
    total = Total(Decimal(4), Decimal(100), TsNs(NOW))
    total.add(fill("1", Side.BUY, "1", "110", ts_ns=TsNs(NOW + 1)))
    assert (total.qty, total.price) == (Decimal(5), Decimal(102))
    assert total.base_qty == Decimal(4)


def test_an_inferred_entry_is_a_position_until_its_executions_come():
    bench = Bench()
    position = bench.position()
    assert position.infer(Decimal(2), Decimal(100), "reported filled")
    assert not position.infer(Decimal(2), Decimal(100), "again")
    assert position.inferred
    assert (position.qty, position.row.entry_price) == (Decimal(2), Decimal(100))
    bench.at(10)
    position.apply_fill(fill("1", Side.BUY, "2", "101", ts_ns=TsNs(START_TS)))
    assert not position.inferred
    assert (position.qty, position.row.entry_price) == (Decimal(2), Decimal(101))


def test_a_size_that_the_venue_shows_wins_in_both_directions():
    position = Bench().position()
    position.apply_fill(fill("1", Side.BUY, "4", "100"))
    position.resize(Decimal(6), Decimal(103))
    assert (position.qty, position.row.entry_price) == (Decimal(6), Decimal(101))
    position.resize(Decimal(3), Decimal(103))
    assert (position.qty, position.row.entry_price) == (Decimal(3), Decimal(101))


def test_what_went_without_executions_is_not_closed_twice_when_they_come():
    bench = Bench()
    position = bench.position()
    position.apply_fill(fill("1", Side.BUY, "4", "100"))
    bench.at(10)
    position.resize(Decimal(1), Decimal(100))
    position.apply_fill(fill("2", Side.SELL, "3", "101", ts_ns=TsNs(START_TS)))
    assert (position.qty, position.row.realized_pnl) == (Decimal(1), Decimal(3))
    assert not position.inferred


def test_a_stored_row_gives_what_its_executions_do_not_explain_the_price_that_is_missing():
    known = fill("1", Side.BUY, "1", "90", ts_ns=TsNs(NOW - 2))
    total = Total(Decimal(4), Decimal("97.5"), TsNs(NOW), [known])
    assert (total.qty, total.price, total.base_qty) == (Decimal(4), Decimal("97.5"), Decimal(3))
    total.add(fill("2", Side.BUY, "1", "120", ts_ns=TsNs(NOW)))
    assert (total.qty, total.base_qty) == (Decimal(4), Decimal(2))
    assert total.notional == Decimal(90) + Decimal(120) + 2 * Decimal(100)


def test_the_least_quantity_is_proven_and_nothing_has_no_price():
    total = Total(Decimal("0.5"), Decimal(100), TsNs(NOW))
    assert (total.qty, total.price) == (Decimal("0.5"), Decimal(100))
    assert total.at_least(Decimal("0.6"), Decimal(100), TsNs(NOW))
    assert total.qty == Decimal("0.6")
    assert not total.at_least(Decimal("0.6"), Decimal(100), TsNs(NOW))
    assert Total(Decimal(0), Decimal(0), TsNs(NOW)).price == 0

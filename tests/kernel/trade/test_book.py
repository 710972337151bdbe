"""Positions: transitions by the table, executions booked once, a level that never loosens."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import InvariantViolation
from kernel.model.orders import FillKind, PositionReport, PositionSide, PriceSource, Side
from kernel.model.positions import POSITION_TABLE, PositionState
from kernel.model.units import TsNs
from kernel.trade.book import RECENT_POSITIONS, is_older, is_same
from tests.kernel.trade.parts import SYMBOL, VENUE, Bench, fill, position_row


def test_every_transition_outside_the_table_is_refused():
    for before, after in POSITION_TABLE.items():
        for state in PositionState:
            position = Bench().position()
            position.update(state=before)
            if state in after:
                position.transition(state, "test")
                assert position.state is state
            else:
                with pytest.raises(InvariantViolation, match="may not become"):
                    position.transition(state, "test")
                assert position.state is before


def test_an_execution_is_booked_once():
    position = Bench().position()
    first = fill("t1", Side.BUY, "2", "100", fee=Decimal("0.1"))
    assert position.apply_fill(first)
    assert not position.apply_fill(first)
    assert (position.qty, position.row.entry_price) == (Decimal(2), Decimal(100))
    assert position.row.fees == Decimal("0.1")


def test_funding_changes_money_and_never_quantity():
    position = Bench().position()
    position.apply_fill(fill("t1", Side.BUY, "2", "100"))
    paid = fill("f1", Side.BUY, "2", "100", kind=FillKind.FUNDING, fee=Decimal("0.3"))
    assert position.apply_fill(paid)
    assert position.qty == Decimal(2)
    assert position.row.funding == Decimal("-0.3")
    assert position.row.fees == Decimal(0)


@given(st.permutations(range(5)), st.sampled_from([PositionSide.LONG, PositionSide.SHORT]))
def test_the_order_of_arrival_of_executions_makes_no_difference(order, side):
    fills = [
        fill("e1", side.entry_side, "1", "100"),
        fill("e2", side.entry_side, "3", "104"),
        fill("x1", side.exit_side, "2", "110"),
        fill("x2", side.exit_side, "1", "90"),
        fill("x3", side.exit_side, "1", "95"),
    ]
    straight, mixed = Bench().position(side), Bench().position(side)
    for one in fills:
        straight.apply_fill(one)
    for index in order:
        mixed.apply_fill(fills[index])
    assert mixed.row == straight.row
    assert mixed.qty == 0
    assert mixed.row.realized_pnl == side.sign * (Decimal(405) - Decimal(412))


def test_the_protected_level_is_never_loosened():
    for side, tighter, looser in ((PositionSide.LONG, 99, 97), (PositionSide.SHORT, 101, 103)):
        position = Bench().position(side)
        start = Decimal(98) if side is PositionSide.LONG else Decimal(102)
        position.update(protected_level=start)
        with pytest.raises(InvariantViolation, match="protected level"):
            position.update(protected_level=Decimal(looser))
        position.update(protected_level=Decimal(tighter))
        assert position.row.protected_level == Decimal(tighter)


def test_a_second_position_on_a_symbol_is_refused_until_the_first_ended():
    bench = Bench()
    first = bench.position(name="p1")
    with pytest.raises(InvariantViolation, match="second position"):
        bench.position(name="p2")
    first.transition(PositionState.ROLLED_BACK, "test")
    second = bench.position(name="p2")
    assert bench.book.by_symbol(VENUE, SYMBOL) is second
    assert bench.book.by_id("p1") is first
    assert bench.book.slots_used() == 1


def test_an_older_position_report_never_overwrites_a_newer_one():
    position = Bench().position()
    new = PositionReport(
        symbol=SYMBOL, side=PositionSide.LONG, qty=Decimal(2), seq=9, updated_ns=TsNs(5)
    )
    old = PositionReport(
        symbol=SYMBOL, side=PositionSide.FLAT, qty=Decimal(0), seq=8, updated_ns=TsNs(9)
    )
    assert position.hear(new)
    assert not position.hear(old)
    assert position.report is new


def test_ended_positions_are_kept_for_late_events_and_then_given_up():
    bench = Bench()
    for number in range(RECENT_POSITIONS + 3):
        bench.position(name=f"p{number}").transition(PositionState.ROLLED_BACK, "test")
    gone = bench.book.forgotten()
    assert [position.id for position in gone] == ["p0", "p1", "p2"]
    assert bench.book.by_id("p0") is None
    assert bench.book.by_id("p3") is not None


def test_stored_executions_are_not_booked_again_after_a_start():
    bench = Bench()
    before = bench.position()
    fills = [fill("e1", Side.BUY, "1", "100"), fill("x1", Side.SELL, "0.5", "110")]
    for one in fills:
        before.apply_fill(one)
    after = Bench().book.create(before.row, fills)
    assert not any(after.apply_fill(one) for one in fills)
    assert after.apply_fill(fill("x2", Side.SELL, "0.5", "120"))
    assert after.qty == 0
    assert after.row.realized_pnl == Decimal(15)
    assert position_row().position_id == "p1"


def shown(**changes):
    plain = PositionReport(symbol="BTCUSDT", side=PositionSide.LONG, qty=Decimal(1))
    return msgspec.structs.replace(plain, **changes)


@pytest.mark.parametrize(
    ("report", "known", "older"),
    [
        ({"seq": 4}, {"seq": 5}, True),
        ({"seq": 5}, {"seq": 5}, False),
        ({"seq": 4, "updated_ns": 9}, {"seq": 5, "updated_ns": 8}, True),
        ({"seq": 6, "updated_ns": 8}, {"seq": 5, "updated_ns": 9}, False),
        ({"updated_ns": 8}, {"updated_ns": 9}, True),
        ({"updated_ns": 9}, {"updated_ns": 9}, False),
        ({"seq": 4, "updated_ns": 9}, {"updated_ns": 8}, False),
        ({"updated_ns": 9}, {"seq": 4, "updated_ns": 8}, False),
        ({"updated_ns": 8}, {"seq": 4, "updated_ns": 9}, True),
        ({"seq": 4, "updated_ns": 8}, {"updated_ns": 9}, True),
    ],
)
def test_a_report_is_older_by_sequence_where_both_have_one_else_by_time(report, known, older):
    assert is_older(shown(**report), shown(**known)) is older


@pytest.mark.parametrize(
    "changed",
    [
        {"qty": Decimal(2)},
        {"side": PositionSide.SHORT},
        {"stop_price": Decimal(5)},
        {"stop_trigger_by": PriceSource.MARK},
        {"liquidation_price": Decimal(5)},
        {"entry_price": Decimal(5)},
    ],
    ids=lambda one: next(iter(one)),
)
def test_two_reports_are_the_same_unless_more_than_the_mark_differs(changed):
    assert is_same(shown(), shown(mark_price=Decimal(7), updated_ns=TsNs(9)))
    assert not is_same(shown(), shown(**changed))
    assert not is_same(shown(**changed), shown())

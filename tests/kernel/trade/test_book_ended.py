"""Positions that ended: which results are untold, and how many are kept."""

import msgspec
import pytest

from kernel.model.orders import Side
from kernel.model.positions import PositionState
from kernel.model.units import TsNs
from kernel.trade.book import RECENT_POSITIONS, Position
from tests.kernel.trade.parts import START_TS, SYMBOL, VENUE, Bench, fill, position_row


def named(name, symbol=SYMBOL, **changes):
    return msgspec.structs.replace(position_row(), position_id=name, symbol=symbol, **changes)


def test_a_new_position_is_of_this_process():
    assert Bench().position().stored is False


def test_one_that_ended_comes_back_beside_one_that_lives_on_its_symbol():
    bench = Bench()
    living = bench.position(name="p1")
    ended = bench.book.create(named("p0", state=PositionState.CLOSED))
    assert bench.book.by_id("p0") is ended
    assert bench.book.by_symbol(VENUE, SYMBOL) is living
    assert bench.book.open() == [living]


def test_of_those_that_ended_before_a_start_only_the_untold_come_back_without_result():
    bench = Bench()
    untold = bench.book.create(named("p0", state=PositionState.CLOSED))
    told = named("p1", state=PositionState.CLOSED, result_ns=TsNs(START_TS))
    known = bench.book.create(told)
    assert bench.book.by_id("p1") is known
    assert bench.book.unexplained(VENUE) == [untold]
    assert bench.book.without_result() == [untold]


def test_a_result_waits_for_funding_and_has_the_time_at_which_it_was_told():
    bench = Bench()
    told: list[Position] = []
    bench.book.on_result.append(told.append)
    bench.book.awaits_funding = lambda position: not position.row.funding
    position = bench.position()
    position.apply_fill(fill("e1", Side.BUY, "1", "100"))
    position.apply_fill(fill("x1", Side.SELL, "1", "110"))
    position.transition(PositionState.ROLLED_BACK, "test")
    assert (told, position.row.result_ns) == ([], 0)
    assert bench.book.unexplained(VENUE) == [position]
    position.update(funding=position.row.funding + 1)
    bench.at(7)
    bench.book.explain(position)
    assert told == [position]
    assert position.row.result_ns == START_TS + 7


@pytest.mark.parametrize(("beyond", "gone"), [(-1, []), (0, []), (1, ["p0"])])
def test_so_many_that_ended_are_kept_and_none_more(beyond, gone):
    bench = Bench()
    for number in range(RECENT_POSITIONS + beyond):
        bench.book.create(named(f"p{number}", state=PositionState.CLOSED, result_ns=TsNs(1)))
    assert [position.id for position in bench.book.forgotten()] == gone

"""What a position's row says after each execution, inference, report; what the book keeps."""

from decimal import Decimal

import msgspec
import pytest

from kernel.errors import InvariantViolation
from kernel.model.orders import FillKind, PositionReport, PositionSide, Side
from kernel.model.positions import Origin, PositionState
from kernel.model.units import TsNs
from kernel.trade.book import RECENT_POSITIONS, Position
from tests.kernel.trade.parts import START_TS, SYMBOL, VENUE, Bench, fill, position_row

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
MOVES = (FillKind.TRADE, FillKind.LIQUIDATION, FillKind.ADL, FillKind.SETTLEMENT)


def entry(trade="e1", qty="2", price="100", at=1, **changes):
    return fill(trade, Side.BUY, qty, price, ts_ns=TsNs(START_TS + at), **changes)


def exit_(trade="x1", qty="2", price="110", at=2, **changes):
    return fill(trade, Side.SELL, qty, price, ts_ns=TsNs(START_TS + at), **changes)


def made(*fills, **row):
    """A bench at nanosecond 10 and its position, with what was booked."""
    bench = Bench()
    position = bench.book.create(msgspec.structs.replace(position_row(), **row))
    for one in fills:
        position.apply_fill(one)
    bench.at(10)
    position.changed.clear()
    return bench, position


def stored(row, *fills):
    """The position that a start makes of a row and these executions, at nanosecond 10."""
    bench = Bench()
    bench.at(10)
    return bench.book.create(msgspec.structs.replace(row), fills)


# ------------------------------------------------------------------------ executions


@pytest.mark.parametrize("kind", FillKind)
def test_an_execution_of_each_kind_moves_quantity_or_not(kind):
    _, position = made(entry(), exit_(qty="1", kind=kind))
    assert position.qty == (1 if kind in MOVES else 2)


@pytest.mark.parametrize("kind", FillKind)
def test_a_stored_execution_explains_what_its_kind_moves(kind):
    _, before = made(entry(), exit_(qty="1"))
    after = stored(before.row, entry(), exit_(qty="1", kind=kind))
    assert after.qty == 1
    assert after.inferred is (kind not in MOVES)


@pytest.mark.parametrize("missing", ["e1", "e2", "x1", "x2"])
def test_an_execution_that_was_not_stored_is_inferred_from_the_row_until_it_comes(missing):
    fills = [entry("e1", "3"), entry("e2", "1", "104"), exit_("x1", "1"), exit_("x2", "0.5", "90")]
    bench, before = made(*fills)
    before.update()
    kept = [one for one in fills if one.trade_id != missing]
    after = stored(before.row, *kept)
    assert after.inferred
    assert (after.qty, after.row.realized_pnl) == (D("2.5"), before.row.realized_pnl)
    (late,) = [one for one in fills if one.trade_id == missing]
    assert after.apply_fill(late)
    assert not after.inferred
    assert after.row == before.row
    whole = stored(before.row, *fills)
    assert not whole.inferred
    assert not any(whole.apply_fill(one) for one in fills)
    assert bench.runtime.now() == 10


def test_what_is_not_explained_is_inferred_however_little_it_is():
    _, position = made(entry(qty="0.5"))
    assert not position.inferred
    position.infer(D("0.6"), D(100), "test")
    assert position.inferred
    _, position = made(entry(qty="0.5"))
    position.resize(D("0.4"), D(100))
    assert position.inferred


def test_when_a_position_was_first_filled_is_known_from_its_first_entry_execution():
    bench = Bench()
    position = bench.position()
    assert position.filled_mono_ns is None
    bench.at(5)
    position.apply_fill(exit_())
    assert position.filled_mono_ns is None, "nothing was entered"
    bench.at(6)
    position.apply_fill(entry())
    assert position.filled_mono_ns == 6
    bench.at(7)
    position.apply_fill(entry("e2"))
    assert position.filled_mono_ns == 6
    assert stored(position.row).filled_mono_ns == 10
    assert stored(position_row()).filled_mono_ns is None


def test_the_first_entry_execution_is_the_oldest_in_whatever_order_they_come():
    _, position = made(exit_(at=1), entry("e1", at=7))
    assert position.row.first_fill_ns == START_TS + 7
    position.apply_fill(entry("e2", at=5))
    assert position.row.first_fill_ns == START_TS + 5
    position.apply_fill(entry("e3", at=6))
    position.apply_fill(exit_("x2", at=1))
    assert position.row.first_fill_ns == START_TS + 5


def test_nothing_is_realized_before_there_is_an_entry_and_an_exit():
    _, entered = made(entry())
    assert (entered.row.realized_pnl, entered.row.exit_price) == (0, 0)
    _, left = made(exit_())
    assert (left.row.realized_pnl, left.row.entry_price) == (0, 0)
    assert left.qty == -2


@pytest.mark.parametrize(("closed", "realized"), [("1", "10"), ("2", "20"), ("3", "20")])
def test_what_turned_a_position_round_realized_no_more_than_there_was(closed, realized):
    _, position = made(entry(), exit_(qty=closed))
    assert position.row.realized_pnl == D(realized)


# ------------------------------------------------------------------------ inference


@pytest.mark.parametrize("act", ["infer", "resize"])
@pytest.mark.parametrize(("known", "first"), [((), 10), ((entry(at=3),), 3)])
def test_what_is_inferred_was_first_filled_now_unless_an_execution_tells(act, known, first):
    bench, position = made(*known)
    if act == "infer":
        assert position.infer(D(3), D(100), "reported filled")
    else:
        position.resize(D(3), D(100))
    assert position.row.first_fill_ns == START_TS + first
    assert position.changed.is_set
    assert position.qty == 3
    told = [one for one in bench.outbox.decisions if one.kind == "fill.inferred"]
    if act == "infer":
        assert [(one.cause, one.values) for one in told] == [
            ("reported filled", {"qty": "3", "price": "100"})
        ]
    else:
        assert told == []


def test_a_size_that_is_known_already_changes_no_quantity():
    _, position = made(entry(), exit_(qty="1"))
    position.resize(D(1), D(55))
    assert (position.row.filled_qty, position.row.closed_qty) == (2, 1)
    assert not position.inferred


# ---------------------------------------------------------------------- who is woken, what is told


def test_a_transition_is_told_with_its_quantity_and_wakes_who_waits():
    bench, position = made(entry())
    position.transition(PositionState.ENTRY_PLACED, "sent")
    assert position.changed.is_set
    (told,) = [one for one in bench.outbox.decisions if one.kind == "position.state"]
    assert (told.cause, told.venue, told.symbol, told.position_id) == (
        "sent", VENUE, SYMBOL, "p1",
    )  # fmt: skip
    assert told.values == {"before": "PENDING_ENTRY", "after": "ENTRY_PLACED", "qty": "2"}
    assert position.row.updated_ns == START_TS + 10


def test_a_position_of_no_book_may_end():
    bench = Bench()
    position = Position(position_row(), bench.runtime, bench.outbox)
    position.transition(PositionState.ROLLED_BACK, "test")
    assert position.state is PositionState.ROLLED_BACK


@pytest.mark.parametrize("kind", FillKind)
def test_every_new_execution_wakes_who_waits_and_a_known_one_does_not(kind):
    _, position = made()
    position.apply_fill(entry(kind=kind))
    assert position.changed.is_set
    position.changed.clear()
    position.apply_fill(entry(kind=kind))
    assert not position.changed.is_set


def test_a_report_wakes_who_waits_only_where_it_says_something_new():
    _, position = made()
    first = PositionReport(symbol=SYMBOL, side=LONG, qty=D(2), updated_ns=TsNs(5))
    for given, woken in (
        (first, True),
        (msgspec.structs.replace(first, mark_price=D(7), updated_ns=TsNs(6)), False),
        (msgspec.structs.replace(first, qty=D(3), updated_ns=TsNs(7)), True),
        (msgspec.structs.replace(first, qty=D(4), updated_ns=TsNs(6)), False),
    ):
        position.hear(given)
        assert position.changed.is_set is woken
        position.changed.clear()
    assert position.report.qty == 3


@pytest.mark.parametrize(("side", "sign"), [(LONG, 1), (SHORT, -1)])
def test_a_level_may_stay_or_tighten_by_any_amount_and_loosen_by_none(side, sign):
    position = Bench().position(side)
    position.update(protected_level=D(100))
    position.update(protected_level=D(100))
    with pytest.raises(InvariantViolation):
        position.update(protected_level=D(100) - sign * D("0.5"))
    position.update(protected_level=D(100) + sign * D("0.5"))
    assert position.row.protected_level == D(100) + sign * D("0.5")


# ------------------------------------------------------------------------ the book


def named(name, symbol=SYMBOL, **changes):
    return msgspec.structs.replace(position_row(), position_id=name, symbol=symbol, **changes)


def test_an_id_is_used_once_by_what_lives_and_by_what_ended():
    bench = Bench()
    first = bench.book.create(named("p1"))
    with pytest.raises(InvariantViolation, match="p1 exists already"):
        bench.book.create(named("p1", "ETHUSDT"))
    first.transition(PositionState.ROLLED_BACK, "test")
    with pytest.raises(InvariantViolation, match="p1 exists already"):
        bench.book.create(named("p1"))


def test_what_had_ended_is_known_by_its_id_and_takes_no_slot():
    bench = Bench()
    ended = bench.book.create(named("p1", state=PositionState.CLOSED))
    assert bench.book.by_id("p1") is ended
    assert bench.book.open() == []
    assert bench.book.slots_used() == 0
    assert bench.book.by_symbol(VENUE, SYMBOL) is None
    assert bench.book.create(named("p2")).state is PositionState.PENDING_ENTRY


def test_the_end_of_a_position_is_counted_and_told_once():
    bench = Bench()
    told: list[Position] = []
    bench.book.on_ended.append(told.append)
    assert bench.book.ended == 0
    first, second = bench.book.create(named("p1")), bench.book.create(named("p2", "ETHUSDT"))
    first.transition(PositionState.ROLLED_BACK, "test")
    second.transition(PositionState.ROLLED_BACK, "test")
    bench.book.retire(first)
    assert bench.book.ended == 2
    assert told == [first, second]


def test_positions_are_found_by_venue_and_by_leg():
    bench = Bench()
    long = bench.book.create(named("p1", hedge_leg="LONG"))
    short = bench.book.create(named("p2", hedge_leg="SHORT"))
    other = bench.book.create(named("p3", venue="bybit"))
    assert bench.book.on_venue(VENUE) == [long, short]
    assert bench.book.on_venue("bybit") == [other]
    assert bench.book.on_venue("kraken") == []
    assert bench.book.by_symbol(VENUE, SYMBOL) is long
    assert bench.book.by_symbol(VENUE, SYMBOL, "SHORT") is short
    assert bench.book.by_symbol(VENUE, SYMBOL, "BOTH") is None
    assert bench.book.by_symbol("bybit", SYMBOL) is other
    long.transition(PositionState.ROLLED_BACK, "test")
    assert bench.book.by_symbol(VENUE, SYMBOL) is short


def ended(bench, name, *fills, symbol=SYMBOL, venue=VENUE):
    """A position that ended with these executions."""
    position = bench.book.create(named(name, symbol, venue=venue))
    for one in fills:
        position.apply_fill(one)
    position.transition(PositionState.ROLLED_BACK, "test")
    return position


def test_the_result_of_what_ended_is_told_once_its_executions_tell_all_of_it():
    bench = Bench()
    told: list[Position] = []
    bench.book.on_result.append(told.append)
    living = bench.book.create(named("p0", "ETHUSDT"))
    whole = ended(bench, "p1", entry("e1"), exit_("x1"))
    part = ended(bench, "p2", entry("e2"), exit_("x2", "1"))
    other = ended(bench, "p3", symbol="BNBUSDT")
    assert told == [whole, other]
    assert bench.book.unexplained(VENUE) == [part]
    assert bench.book.unexplained(VENUE, SYMBOL) == [part]
    assert bench.book.unexplained(VENUE, "ETHUSDT") == []
    assert bench.book.unexplained("bybit") == []
    assert bench.book.without_result() == [living, part]
    bench.book.explain(part)
    assert told == [whole, other], "a part of it is still unknown"
    bench.book.explain(part, final=True)
    bench.book.explain(part, final=True)
    bench.book.explain(whole)
    assert told == [whole, other, part]
    assert bench.book.without_result() == [living]


def test_what_no_execution_explains_is_not_given_up():
    bench = Bench()
    ended(bench, "p0", entry("e0"))
    for number in range(1, RECENT_POSITIONS + 2):
        ended(bench, f"p{number}")
    assert [position.id for position in bench.book.forgotten()] == ["p1", "p2"]
    assert bench.book.forgotten() == []
    assert bench.book.by_id("p0") is not None


def test_what_lives_is_open_and_found_by_its_id():
    bench = Bench()
    first, second = bench.book.create(named("p1")), bench.book.create(named("p2", "ETHUSDT"))
    first.transition(PositionState.ENTRY_PLACED, "test")
    assert bench.book.open() == [first, second]
    assert bench.book.by_id("p1") is first
    assert bench.book.by_id("p9") is None


@pytest.mark.parametrize("origin", Origin)
def test_a_position_of_ours_came_from_a_signal_of_ours(origin):
    position = Bench().book.create(msgspec.structs.replace(position_row(), origin=origin))
    assert position.ours is (origin is Origin.OURS)


def test_what_is_known_is_not_inferred_again():
    bench, position = made(entry())
    assert position.infer(D(2), D(100), "again") is False
    assert position.infer(D(1), D(100), "less") is False
    assert not position.changed.is_set
    assert bench.outbox.decisions == []


def test_a_row_changes_in_other_fields_while_it_has_a_level():
    _, position = made(entry(), protected_level=D(98))
    position.update(best_price=D(120))
    assert (position.row.best_price, position.row.protected_level) == (120, 98)


@pytest.mark.parametrize(("side", "realized"), [(LONG, "0.5"), (SHORT, "-0.5")])
def test_what_is_realized_has_all_its_digits(side, realized):
    position = Bench().position(side)
    position.apply_fill(fill("e", side.entry_side, "1", "100"))
    position.apply_fill(fill("x", side.exit_side, "1", "100.5"))
    assert position.row.realized_pnl == D(realized)

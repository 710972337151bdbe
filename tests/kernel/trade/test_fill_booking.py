"""Executions into positions, each once; what belongs to none is told."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.orders import FillKind, OrderClass, OrderStatus, PositionSide, Side
from kernel.model.positions import PositionState
from kernel.model.rows import FillRow
from kernel.model.units import TsNs
from kernel.trade import fill_booking
from kernel.trade.funding import PAID_WITHIN_NS
from tests.kernel.trade.parts import START_TS, VENUE, fill, order_row, position_row
from tests.kernel.trade.test_orders_registry import Told, stop

D = Decimal
NEW, FILLED, CANCELED = OrderStatus.NEW, OrderStatus.FILLED, OrderStatus.CANCELED
CONDITIONAL = OrderClass.CONDITIONAL


@pytest.fixture
def bench():
    return Told()


# ---------------------------------------------------------------- booking


def test_an_execution_is_stored_with_its_position_and_wakes_its_order(bench):
    position = bench.position()
    order = bench.orders.register(order_row("c1", qty=Decimal(2)))
    order.changed.clear()
    one = fill("t1", Side.BUY, "1", "100", client_order_id="c1", fee=Decimal("0.1"))
    assert bench.orders.on_fill(VENUE, one)
    row, of_position = bench.stored
    assert (row.trade_id, row.client_order_id, row.position_id) == ("t1", "c1", "p1")
    assert of_position == position.row
    assert order.changed.is_set
    (said,) = bench.outbox.decisions
    assert (said.kind, said.client_order_id) == ("fill.booked", "c1")
    assert order.row.status is NEW, "half of it"


def test_executions_that_make_up_the_whole_end_the_order(bench):
    bench.position()
    order = bench.orders.register(order_row("c1", qty=Decimal(2)))
    for trade, price in (("t1", "100"), ("t2", "102")):
        bench.orders.on_fill(VENUE, fill(trade, Side.BUY, "1", price, client_order_id="c1"))
    row = order.row
    assert (row.status, row.filled_qty, row.avg_price) == (FILLED, Decimal(2), Decimal(101))
    assert not row.intent_open
    assert bench.orders.open_orders() == []
    assert row in bench.stored


@pytest.mark.parametrize(
    "changes",
    [
        {"order_class": CONDITIONAL},
        {"qty": Decimal(0)},
        {"status": CANCELED},
    ],
    ids=["a conditional", "close-all", "ended"],
)
def test_executions_do_not_end(bench, changes):
    bench.position()
    order = bench.orders.register(order_row("c1", **changes))
    before = order.row.status
    bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "100", client_order_id="c1"))
    assert order.row.status is before
    assert order.row.filled_qty == 0


def test_an_execution_of_an_order_of_the_ledger_alone_is_the_symbols(bench):
    position = bench.position()
    bench.orders.register(order_row("c1", position_id=""))
    assert bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "100", client_order_id="c1"))
    assert position.qty == Decimal(1)
    (said,) = [one for one in bench.outbox.decisions if one.kind == "fill.booked"]
    assert said.client_order_id == "c1"


def test_an_execution_after_the_end_of_its_position_is_booked_and_told(bench):
    position = bench.position()
    bench.orders.register(order_row("c1", qty=Decimal(9)))
    position.transition(PositionState.ROLLBACK, "test")
    position.transition(PositionState.ROLLED_BACK, "test")
    late = fill("t1", Side.BUY, "1", "100", client_order_id="c1")
    assert bench.orders.on_fill(VENUE, late)
    assert bench.told == [("stray", VENUE, "t1")]
    funding = fill("t2", Side.BUY, "1", "100", client_order_id="c1", kind=FillKind.FUNDING)
    assert bench.orders.on_fill(VENUE, funding)
    assert len(bench.told) == 1


def test_an_execution_of_a_forgotten_position_changes_nothing(bench):
    bench.orders.register(order_row("c1", position_id="gone"))
    assert not bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "100", client_order_id="c1"))
    assert "fill.booked" not in bench.kinds()


def test_an_execution_at_the_opening_of_a_position_is_its_own(bench):
    position = bench.position()
    at = fill("t1", Side.BUY, "1", "100", ts_ns=TsNs(START_TS))
    assert bench.orders.on_fill(VENUE, at)
    assert not bench.orders.on_fill(VENUE, at)
    assert position.qty == Decimal(1)
    row = bench.stored[0]
    assert (row.client_order_id, row.position_id) == ("", "p1")
    assert bench.kinds() == ["fill.booked"]


def test_an_execution_older_than_the_position_of_its_symbol_is_none_of_its(bench):
    position = bench.position()
    before = fill("t1", Side.BUY, "1", "100", ts_ns=TsNs(START_TS - 1))
    assert not bench.orders.on_fill(VENUE, before)
    assert position.qty == 0
    assert bench.told == [("stray", VENUE, "t1")]


def test_what_the_venue_forces_is_booked_where_there_are_no_legs(bench):
    position = bench.position()
    forced = fill("t1", Side.SELL, "1", "100", kind=FillKind.LIQUIDATION)
    assert bench.orders.on_fill(VENUE, forced)
    assert "t1" in position.fills


def test_an_execution_that_is_known_wakes_nobody(bench):
    bench.position()
    order = bench.orders.register(order_row("c1", qty=Decimal(2)))
    one = fill("t1", Side.BUY, "1", "100", client_order_id="c1")
    bench.orders.on_fill(VENUE, one)
    order.changed.clear()
    stored = len(bench.stored)
    assert not bench.orders.on_fill(VENUE, one)
    assert not order.changed.is_set
    assert len(bench.stored) == stored


@pytest.mark.parametrize(
    ("side", "leg"), [(Side.SELL, "LONG"), (Side.BUY, "SHORT")], ids=["long", "short"]
)
def test_of_a_leg_only_a_forced_execution_is_booked_without_its_order(bench, side, leg):
    """In hedge mode an execution does not tell its leg; a forced one closes the one it can."""
    legs = {}
    for name in ("LONG", "SHORT"):
        row = position_row(PositionSide(name), name)
        legs[name] = bench.book.create(msgspec.structs.replace(row, hedge_leg=name))
    by_hand = fill("t1", side, "1", "100", venue_order_id="zz")
    assert not bench.orders.on_fill(VENUE, by_hand)
    assert bench.told == [("stray", VENUE, "t1")]
    forced = fill("t2", side, "1", "100", venue_order_id="zz", kind=FillKind.ADL)
    assert bench.orders.on_fill(VENUE, forced)
    assert [name for name, one in legs.items() if "t2" in one.fills] == [leg]


def test_a_stray_is_told_once_while_it_is_remembered(bench, monkeypatch):
    monkeypatch.setattr(fill_booking, "STRAYS_REMEMBERED", 2)
    strays = [fill(f"t{number}", Side.BUY, "1", "100") for number in range(3)]
    for one in (strays[0], strays[1], strays[0], strays[1], strays[2], strays[2], strays[0]):
        bench.orders.on_fill(VENUE, one)
    told = [name for _, _, name in bench.told]
    assert told == ["t0", "t1", "t2", "t0"], "the oldest is forgotten first"
    assert bench.kinds() == 4 * ["fill.stray"]


@pytest.mark.parametrize(("kind", "told"), [(FillKind.FUNDING, 0), (FillKind.UNKNOWN, 1)])
def test_funding_without_a_position_is_no_stray(bench, kind, told):
    bench.orders.on_fill(VENUE, fill("t1", Side.BUY, "1", "100", kind=kind))
    assert len(bench.told) == told


def test_an_execution_is_stored_under_the_id_of_its_order(bench):
    """A child's execution carries an id of the venue's."""
    bench.position()
    stop(bench)
    bench.orders.on_fill(
        VENUE, fill("t1", Side.SELL, "1", "9", venue_order_id="p9", client_order_id="x-1")
    )
    (row,) = [one for one in bench.stored if isinstance(one, FillRow)]
    assert row.client_order_id == "s1"


# ---------------------------------------------------------------- what an ended position lacks

OPENED, CLOSED_AT = START_TS, START_TS + 100


def ended(bench, *, filled="2", closed="0", explained=False):
    """A position that ended between two times; what its executions do not tell is awaited."""
    position = bench.position()
    if D(filled):
        position.apply_fill(fill("e", Side.BUY, filled, "100"))
    if D(closed):
        position.apply_fill(fill("c", Side.SELL, closed, "100"))
    if explained:
        position.apply_fill(fill("x", Side.SELL, filled, "100"))
    position.transition(PositionState.ROLLBACK, "test")
    position.update(closed_ns=TsNs(CLOSED_AT))
    position.transition(PositionState.ROLLED_BACK, "test")
    bench.outbox.drain()
    return position


@pytest.mark.parametrize(
    ("changes", "booked"),
    [
        ({}, True),
        ({"qty": D(1)}, True),
        ({"qty": D("2.1")}, False),
        ({"side": Side.BUY}, False),
        ({"ts_ns": TsNs(OPENED)}, True),
        ({"ts_ns": TsNs(OPENED - 1)}, False),
        ({"ts_ns": TsNs(CLOSED_AT)}, True),
        ({"ts_ns": TsNs(CLOSED_AT + 1)}, False),
        ({"symbol": "ETHUSDT"}, False),
        ({"kind": FillKind.FUNDING}, True),
        ({"kind": FillKind.FUNDING, "ts_ns": TsNs(OPENED - 1)}, False),
        ({"kind": FillKind.FUNDING, "ts_ns": TsNs(CLOSED_AT + PAID_WITHIN_NS)}, True),
        ({"kind": FillKind.FUNDING, "ts_ns": TsNs(CLOSED_AT + PAID_WITHIN_NS + 1)}, False),
        ({"hedge_leg": "SHORT"}, True),
        ({"kind": FillKind.LIQUIDATION}, True),
    ],
    ids=str,
)
def test_a_late_execution_of_nobody_belongs_to_the_ended_position_that_lacks_it(
    bench, changes, booked
):
    position = ended(bench)
    late = msgspec.structs.replace(fill("late", Side.SELL, "2", "90", ts_ns=TsNs(OPENED + 9)))
    late = msgspec.structs.replace(late, **changes)
    assert not bench.orders.on_fill(VENUE, late), "no living position changed"
    assert ("late" in position.fills) is booked
    rows = [one for one in bench.stored if isinstance(one, FillRow)]
    assert len(rows) == booked
    told = not booked and late.kind is not FillKind.FUNDING
    assert bench.told == told * [("stray", VENUE, "late")]


def test_a_position_that_closed_more_than_it_had_lacks_some_of_its_entry(bench):
    position = ended(bench, filled="1", closed="2")
    for name, side, qty in (("a", Side.SELL, "1"), ("b", Side.BUY, "1.1"), ("c2", Side.BUY, "1")):
        bench.orders.on_fill(VENUE, fill(name, side, qty, "90", ts_ns=TsNs(OPENED + 9)))
    assert "c2" in position.fills
    assert [name for _, _, name in bench.told] == ["a", "b"]


@pytest.mark.parametrize(("leg", "booked"), [("BOTH", True), ("LONG", True), ("SHORT", False)])
def test_a_leg_that_ended_lacks_no_execution_of_the_other(bench, leg, booked):
    row = msgspec.structs.replace(position_row(), hedge_leg="LONG")
    position = bench.book.create(row)
    position.apply_fill(fill("e", Side.BUY, "2", "100"))
    position.transition(PositionState.ROLLBACK, "test")
    position.update(closed_ns=TsNs(CLOSED_AT))
    position.transition(PositionState.ROLLED_BACK, "test")
    late = fill("late", Side.SELL, "2", "90", ts_ns=TsNs(OPENED + 9), hedge_leg=leg)
    bench.orders.on_fill(VENUE, late)
    assert ("late" in position.fills) is booked


def test_funding_from_the_opening_on_is_the_positions(bench):
    position = ended(bench)
    for name, at in (("before", OPENED - 1), ("at", OPENED)):
        paid = fill(name, Side.BUY, "0", "0", kind=FillKind.FUNDING, ts_ns=TsNs(at), fee=D(1))
        bench.orders.on_fill(VENUE, paid)
    assert position.row.funding == -1
    assert "at" in position.fills


def test_what_is_lacking_may_be_less_than_one(bench):
    position = ended(bench, filled="0.5")
    bench.orders.on_fill(VENUE, fill("late", Side.SELL, "0.5", "90", ts_ns=TsNs(OPENED + 9)))
    assert "late" in position.fills


def test_what_was_given_up_is_awaited_no_more(bench):
    order = bench.orders.register(order_row("c1", qty=D(9), side=Side.SELL))
    position = ended(bench)
    bench.book.explain(position, final=True)
    late = fill("late", Side.SELL, "2", "90", client_order_id="c1", ts_ns=TsNs(OPENED + 9))
    assert bench.orders.on_fill(VENUE, late)
    assert order.fills == {"late": late}
    assert bench.told == [("stray", VENUE, "late")]


def test_what_tells_the_last_of_it_tells_the_result_and_no_more_is_awaited(bench):
    told = []
    bench.book.on_result.append(lambda position: told.append(position.id))
    position = ended(bench)
    for name in ("one", "two", "three"):
        bench.orders.on_fill(VENUE, fill(name, Side.SELL, "1", "90", ts_ns=TsNs(OPENED + 9)))
    assert position.qty == 0
    assert told == ["p1"]
    assert [name for _, _, name in bench.told] == ["three"]


def test_an_execution_that_is_known_is_booked_once_and_is_no_stray(bench):
    position = ended(bench)
    one = fill("one", Side.SELL, "1", "90", ts_ns=TsNs(OPENED + 9))
    for _ in range(2):
        bench.orders.on_fill(VENUE, one)
    assert position.qty == D(1)
    assert bench.told == []
    assert len([row for row in bench.stored if isinstance(row, FillRow)]) == 1


def test_a_position_whose_executions_tell_all_of_it_awaits_none(bench):
    position = ended(bench, explained=True)
    bench.orders.on_fill(VENUE, fill("late", Side.SELL, "1", "90", ts_ns=TsNs(OPENED + 9)))
    assert "late" not in position.fills
    assert bench.told == [("stray", VENUE, "late")]


@pytest.mark.parametrize(("qty", "stray"), [("2", False), ("3", True)])
def test_a_late_execution_of_an_order_is_a_stray_where_it_was_not_lacking(bench, qty, stray):
    order = bench.orders.register(order_row("c1", qty=D(9), side=Side.SELL))
    position = ended(bench)
    late = fill("late", Side.SELL, qty, "90", client_order_id="c1", ts_ns=TsNs(OPENED + 9))
    assert bench.orders.on_fill(VENUE, late)
    assert order.fills == {"late": late}
    assert "late" in position.fills
    assert bool(bench.told) is stray


def test_an_execution_that_its_position_knows_already_changes_nothing(bench):
    """Two orders of ours cannot have it; one of them was found under another id."""
    position = bench.position()
    one = fill("t1", Side.BUY, "1", "100", client_order_id="c1")
    position.apply_fill(one)
    bench.orders.register(order_row("c1"))
    assert not bench.orders.on_fill(VENUE, one)
    assert [row for row in bench.stored if isinstance(row, FillRow)] == []

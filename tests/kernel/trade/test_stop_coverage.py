"""What is known of the protection of a position."""

from decimal import Decimal

import msgspec
import pytest

from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, PositionSide, Side
from kernel.model.positions import Origin, PositionState
from kernel.model.units import SECOND, ZERO, TsNs
from tests.kernel.fakes import WALL
from tests.kernel.trade.owning import Owning, shown
from tests.kernel.trade.parts import fill, order_row, position_row

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
ACTIVE, CLOSING = PositionState.ACTIVE, PositionState.CLOSING


@pytest.fixture
def bench():
    made = Owning()
    yield made
    assert made.crashes == []


def test_a_position_is_covered_at_its_level_for_what_is_known(bench):
    position = bench.filled()
    assert not bench.coverage.covered(position), "without a level"
    assert bench.coverage.due(position)
    assert not bench.coverage.stands(position)
    position = bench.unkept() if position is None else position
    assert bench.protect(position, 2) is True
    assert bench.coverage.covered(position)
    assert bench.coverage.stands(position)
    assert not bench.coverage.due(position)
    position.apply_fill(fill("more", Side.BUY, "0.001", "42000"))
    assert not bench.coverage.covered(position)
    assert bench.coverage.due(position)


def test_a_flat_position_is_covered(bench):
    position = bench.unkept()
    position.stops.open()[0].missing = True
    assert not bench.coverage.covered(position)
    position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    assert bench.coverage.covered(position)


@pytest.mark.parametrize(
    ("qty", "late", "side", "wanted"),
    [
        ("0.008", 200, LONG, "0.008"),
        ("0.008", 50, LONG, "0.005"),
        ("0.008", 100, LONG, "0.005"),
        ("0.003", 200, LONG, "0.005"),
        ("0.008", 200, SHORT, "0.005"),
    ],
)
def test_what_the_venue_newly_shows_beyond_the_executions_is_protected(
    bench, qty, late, side, wanted
):
    position = bench.filled()
    position.report = msgspec.structs.replace(shown(position, qty, late * SECOND), side=side)
    assert bench.coverage.wanted_qty(position) == D(wanted)


def test_a_row_from_between_two_executions_shows_nothing_new(bench):
    position = bench.filled()
    later = fill("y", Side.BUY, "0.001", "42000", ts_ns=TsNs(WALL + 200 * SECOND))
    position.apply_fill(later)
    position.report = shown(position, "0.008", 150 * SECOND)
    assert bench.coverage.wanted_qty(position) == D("0.006")


def test_live_stops_that_close_more_than_there_is_are_oversized(bench):
    position = bench.unkept()
    assert not bench.coverage.oversized(position)
    position.apply_fill(fill("x", Side.SELL, "0.002", "42000"))
    assert bench.coverage.oversized(position)
    (stop,) = position.stops.open()
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=True)
    assert not bench.coverage.oversized(position), "it closes what there is"
    stop.order.report = msgspec.structs.replace(stop.order.report, close_position=False)
    position.apply_fill(fill("y", Side.SELL, "0.003", "42000"))
    assert not bench.coverage.oversized(position), "flat: nothing is resized"


@pytest.fixture
def attached():
    made = Owning(venue_names=("bybit",))
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- levels


@pytest.mark.parametrize(
    ("protected", "state", "known", "level"),
    [
        ("0", PositionState.PENDING_SL, False, "41160"),
        ("41000", PositionState.PENDING_SL, True, "41160"),
        ("41300", PositionState.PENDING_SL, True, "41300"),
        ("41000", PositionState.PENDING_SL, False, "41000"),
        ("41000", ACTIVE, True, "41000"),
        ("41000", ACTIVE, False, "41000"),
    ],
)
def test_while_it_enters_a_tighter_first_stop_is_the_level(bench, protected, state, known, level):
    position = bench.filled(level=D(protected), state=state)
    if known:
        bench.coverage.first.level(position)
    assert bench.coverage.level(position) == D(level)


def test_a_first_stop_that_moved_with_the_average_is_due_and_does_not_stand(attached):
    position = attached.filled(venue="bybit")
    assert attached.protect(position, 2) is True
    assert attached.coverage.stands(position)
    assert not attached.coverage.due(position)
    position.apply_fill(fill("more", Side.BUY, "0.005", "43000"))
    assert attached.coverage.covered(position), "the venue resizes it"
    assert attached.coverage.due(position)
    assert not attached.coverage.stands(position)


def test_a_liquidation_price_beyond_the_level_means_that_no_stop_stands(bench):
    position = bench.unkept()
    assert bench.coverage.stands(position)
    position.hear(shown(position, liquidation_price=D(41500)))
    assert not bench.coverage.stands(position)


def test_a_row_of_the_other_side_bounds_no_level(bench):
    position = bench.filled()
    position.report = shown(position, liquidation_price=D(41500))
    assert bench.coverage.inside(position, D(41160)) > 41500
    position.report = msgspec.structs.replace(position.report, side=SHORT)
    assert bench.coverage.inside(position, D(41160)) == 41160


def test_what_ended_is_forgotten(bench):
    position = bench.filled(level=D(41300))
    bench.coverage.first.level(position)
    bench.coverage.judged(position, ZERO)
    bench.coverage.forget(position)
    assert not bench.coverage.first.known(position)
    assert bench.coverage.may_have_stops(position)


@pytest.mark.parametrize(
    ("wanted", "missing", "seen", "only"),
    [
        (True, True, True, True),
        (False, True, True, False),
        (True, False, True, False),
        (True, True, False, False),
    ],
)
def test_a_wanted_stop_that_was_shown_and_is_not_any_more_is_merely_missing(
    bench, wanted, missing, seen, only
):
    position = bench.unkept()
    assert not bench.coverage.only_missing(position)
    (stop,) = position.stops.open()
    stop.wanted, stop.missing = wanted, missing
    if not seen:
        stop.order.report = None
    assert bench.coverage.only_missing(position) is only
    bench.doubt(position)
    assert bench.coverage.only_missing(position) is only, "whatever else was sent"


def test_what_was_never_judged_does_not_stand(bench):
    position = bench.unkept()
    bench.coverage.forget(position)
    assert bench.coverage.covered(position)
    assert not bench.coverage.stands(position)
    bench.coverage.judged(position, ZERO)
    assert bench.coverage.stands(position)


def test_without_a_level_nothing_stands_and_no_first_stop_is_computed(bench):
    position = bench.unkept()
    position.row = msgspec.structs.replace(position.row, protected_level=D(0))
    bench.coverage.first.forget(position)
    bench.run(bench.runtime.now())
    said = len(bench.kinds("stop.first"))
    assert not bench.coverage.stands(position)
    assert not bench.coverage.covered(position), "a live stop protects no level"
    bench.run(bench.runtime.now())
    assert len(bench.kinds("stop.first")) == said


def test_what_is_flat_is_covered_by_no_stop(attached):
    position = attached.unkept(venue="bybit")
    position.stops.expose(attached.runtime.now())
    assert not attached.coverage.covered(position)
    position.apply_fill(fill("x", Side.SELL, "0.005", "42000"))
    assert attached.coverage.covered(position)


def test_an_attached_stop_is_never_oversized(attached):
    position = attached.unkept(venue="bybit")
    position.apply_fill(fill("x", Side.SELL, "0.002", "42000"))
    assert len(position.stops.live()) == 1
    assert not attached.coverage.oversized(position)


# ---------------------------------------------------------------- what may stand unknown


def known_order(bench, position, leg, order_class, *, closes=True):
    return bench.services.orders.register(
        order_row(
            bench.services.orders.new_id(position, leg),
            position.id,
            order_class=order_class,
            reduce_only=closes,
        )
    )


CONDITIONAL, PLAIN = OrderClass.CONDITIONAL, OrderClass.PLAIN


@pytest.mark.parametrize(
    ("given", "orders", "may"),
    [
        ({}, [], False),
        ({"level": D(41160)}, [], True),
        ({"origin": Origin.FOREIGN}, [], True),
        ({}, [(Leg.STOP, CONDITIONAL)], True),
        ({}, [(Leg.EXIT, PLAIN)], False),
    ],
    ids=["our entry", "a level", "a person's", "a stop of it", "an exit of it"],
)
def test_stops_may_stand_unknown_where_anything_tells_of_an_earlier_life(bench, given, orders, may):
    position = bench.filled(**given)
    for leg, order_class in orders:
        known_order(bench, position, leg, order_class)
    assert bench.coverage.may_have_stops(position) is may
    bench.coverage.judged(position, ZERO)
    assert not bench.coverage.may_have_stops(position)


@pytest.mark.parametrize("exits", [0, 1])
def test_a_position_without_an_entry_of_ours_may_have_stops(bench, exits):
    position = bench.services.book.create(position_row(name="found"))
    for _ in range(exits):
        known_order(bench, position, Leg.EXIT, PLAIN)
    assert bench.coverage.may_have_stops(position)


def test_stops_of_a_stored_entry_may_stand_unknown_and_the_tightest_found_is_kept(bench):
    position = bench.filled()
    position.stored = True
    assert bench.coverage.may_have_stops(position)
    bench.coverage.judged(position, D(41160))
    assert not bench.coverage.may_have_stops(position)
    assert bench.coverage.found(position) == 41160
    bench.coverage.forget(position)
    assert bench.coverage.found(position) == 0

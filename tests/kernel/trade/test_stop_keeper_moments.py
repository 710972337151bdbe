"""The keeper of a position: who wakes it, after what it is begun again, what it leaves alone."""

import itertools
from decimal import Decimal

import msgspec
import pytest

from kernel import errors
from kernel.model.orders import (
    Fill,
    FillKind,
    OrderClass,
    OrderStatus,
)
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MINUTE, MS, SECOND, TsNs
from kernel.trade.book import Position
from tests.kernel.fakes import Bench, Rule

D = Decimal


@pytest.fixture
def bench():
    made = Bench().protection()
    yield made
    assert made.crashes == []


def seconds(bench, kind, since=0):
    """When requests of a kind were sent, in tenths of a second since an instant."""
    return [(at - since) // (100 * MS) / 10 for at, _ in bench.venue.requests(kind) if at >= since]


def gaps(bench, kind, since=0):
    """Whole seconds between requests of a kind."""
    times = [at for at, _ in bench.venue.requests(kind) if at >= since]
    return [round((b - a) / SECOND) for a, b in itertools.pairwise(times)]


def executed(bench, position, qty, *, kind=FillKind.TRADE, price="41900", told=True):
    """An execution that closes a part, by nobody known; told, or only in the list."""
    venue = bench.venue
    venue.number += 1
    fill = Fill(
        symbol=position.symbol,
        trade_id=str(venue.number),
        venue_order_id=f"x{venue.number}",
        client_order_id="",
        side=position.side.exit_side,
        qty=D(qty),
        price=D(price),
        kind=kind,
        ts_ns=TsNs(bench.runtime.ts()),
    )
    venue.fills.append(fill)
    held = venue.held[position.symbol]
    held.qty -= fill.qty
    held.updated_ns = bench.runtime.ts()
    if not held.qty:
        del venue.held[position.symbol]
    if told:
        venue._say(fill)
        venue._say_position(position.symbol)
    return fill


# ------------------------------------------------------------------------ who is kept


def test_that_a_position_is_kept_is_told_once_and_its_end_too():
    bench = Bench().protection()
    kept: list[Position] = []
    released: list[Position] = []
    bench.stops.on_kept, bench.stops.on_released = kept.append, released.append
    position = bench.protected()
    bench.stops.keep(position)
    assert kept == [position]
    assert bench.stops.kept.is_set
    executed(bench, position, "0.005")
    bench.run(bench.runtime.now() + 20 * SECOND)
    assert (kept, released) == ([position], [position])


def test_a_crash_of_a_keeper_is_told_with_its_position():
    bench = Bench().protection()
    told = []
    bench.services.on_crash = lambda name, error, failures, position: told.append(position)
    position = bench.protected()

    def broken(venue, symbol, source):
        raise RuntimeError("a bug")

    bench.prices.last = broken
    bench.venue.trigger_fills = False
    bench.price("41160")
    bench.run(bench.runtime.now() + 4 * SECOND)
    assert told[:1] == [position]


def test_a_position_whose_keeper_crashed_for_good_can_be_kept_again():
    bench = Bench().protection()
    crashed = []
    bench.services.on_crash = lambda *given: crashed.append(given[2])
    position = bench.protected()
    last = bench.prices.last

    def broken(venue, symbol, source):
        raise RuntimeError("a bug")

    bench.prices.last = broken
    bench.venue.trigger_fills = False
    bench.price("41160")
    bench.run(bench.runtime.now() + 20 * MINUTE)
    assert crashed == [1, 2, 3, 4]
    assert position.state is PositionState.ACTIVE
    bench.prices.last = last
    bench.stops.keep(position)
    bench.run(bench.runtime.now() + 20 * SECOND)
    assert position.state is PositionState.CLOSED


def test_a_position_that_is_being_closed_is_left_to_its_close(bench):
    position = bench.protected()
    (stop,) = bench.venue.stops()
    since = bench.runtime.now()
    bench.venue.trigger = lambda client_order_id: None
    bench.venue.rules.append(Rule("submit", errors.OutcomeUnknown, delay_ns=4 * SECOND, times=1))
    bench.price("41100")
    bench.run(since + 4 * SECOND)
    assert bench.exits.in_progress(position)
    placed = len(bench.venue.requests("place_stop"))
    bench.venue.end(stop.client_order_id, OrderStatus.CANCELED)
    bench.run(since + 5 * SECOND)
    assert len(bench.venue.requests("place_stop")) == placed
    bench.run(since + 60 * SECOND)
    assert position.state is PositionState.CLOSED


# ------------------------------------------------------------------------ flat by executions


@pytest.mark.parametrize(
    ("kind", "price", "reason"),
    [
        (FillKind.TRADE, "41900", CloseReason.EXTERNAL),
        (FillKind.TRADE, "41150", CloseReason.STOP_LOSS),
        (FillKind.LIQUIDATION, "41900", CloseReason.LIQUIDATION),
        (FillKind.ADL, "41900", CloseReason.ADL),
    ],
)
def test_a_position_that_executions_closed_ends_with_the_reason_they_tell(
    bench, kind, price, reason
):
    position = bench.protected()
    executed(bench, position, "0.005", kind=kind, price=price)
    bench.run(bench.runtime.now() + 20 * SECOND)
    assert bench.watches == []
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == reason
    assert bench.venue.stops() == []
    assert bench.venue.requests("submit") == []


# ------------------------------------------------------------------------ looks that repeat


def test_a_cancel_that_is_not_proven_is_asked_again_with_growing_pauses(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout"))
    since = bench.runtime.now()
    bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    bench.run(since + 210 * SECOND)
    assert gaps(bench, "cancel", since)[:6] == [1, 2, 5, 15, 60, 60]
    bench.venue.rules.clear()
    bench.run(since + 300 * SECOND)
    assert [stop.trigger_price for stop in bench.venue.stops()] == [D(41500)]
    since = bench.runtime.now()
    bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout"))
    bench.spawn(bench.stops.tighten(position, D(41600), "test"))
    bench.run(since + 5 * SECOND)
    assert gaps(bench, "cancel", since) == [1, 2], "another one begins anew"


def test_what_happens_meanwhile_does_not_put_off_the_look_at_a_cancel(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("cancel", errors.OutcomeUnknown, "timeout"))
    since = bench.runtime.now()
    bench.spawn(bench.stops.tighten(position, D(41500), "test"))
    for number in range(40):
        bench.at(since + number * 300 * MS, position.changed.set)
    bench.run(since + 10 * SECOND)
    assert len(gaps(bench, "cancel", since)) >= 2


def test_a_stop_that_was_placed_again_is_kept_at_once(bench):
    position = bench.protected()
    (stop,) = bench.venue.stops()
    bench.venue.end(stop.client_order_id, OrderStatus.CANCELED)
    since = bench.runtime.now()
    bench.run(since + SECOND)
    (again,) = bench.venue.stops()
    bench.venue.trigger_fills = False
    bench.price("41160")
    bench.run(since + SECOND + 100 * MS)
    (told,) = bench.kinds("stop.triggered")
    assert told.client_order_id == again.client_order_id
    assert position.state is PositionState.ACTIVE


def test_a_position_that_was_closed_for_want_of_a_stop_is_released_at_once(bench):
    released = []
    position = bench.protected()
    bench.stops.on_released = lambda _: released.append(bench.runtime.now())
    (stop,) = bench.venue.stops()
    bench.venue.rules.append(Rule("place_stop", errors.FilterViolation, "-1111"))
    bench.venue.end(stop.client_order_id, OrderStatus.CANCELED)
    bench.run(bench.runtime.now() + 60 * SECOND)
    assert position.row.close_reason == CloseReason.UNPROTECTED
    (flat,) = bench.kinds("exit.flat")
    assert flat.position_id == position.id
    (sent,) = [at for at, _ in bench.venue.requests("submit")]
    assert released[0] - sent < 4 * SECOND


# ------------------------------------------------------------------------ a stop that triggered


def triggered(bench, **given):
    """A position whose stop triggers at 41160 and does not fill."""
    position = bench.protected(**given)
    bench.venue.trigger_fills = False
    bench.price("41160")
    return position


def test_what_an_execution_that_no_event_told_closed_is_found_by_the_next_read(bench):
    position = triggered(bench)
    since = bench.runtime.now()
    bench.run(since + 100 * MS)
    executed(bench, position, "0.005", price="41160", told=False)
    bench.run(since + 2900 * MS)
    assert position.state is PositionState.CLOSED
    assert bench.venue.requests("submit") == []


def test_a_triggered_stop_whose_child_is_live_has_its_three_seconds(bench):
    position = triggered(bench)
    (stop,) = bench.venue.stops()
    since = bench.runtime.now()
    bench.run(since + 100 * MS)
    child = bench.venue.orders[stop.client_order_id].report
    bench.venue._say(
        msgspec.structs.replace(
            child,
            order_class=OrderClass.PLAIN,
            venue_order_id=child.child_order_id,
            child_order_id="",
            status=OrderStatus.NEW,
            updated_ns=TsNs(bench.runtime.ts()),
        )
    )
    bench.run(since + 2900 * MS)
    assert bench.venue.requests("submit") == []
    assert position.state is PositionState.ACTIVE

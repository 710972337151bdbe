"""Trailing: activation, ratchet, timing, against a scripted venue."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import PositionSide
from kernel.model.positions import CloseReason, Origin, PositionState, TrailingState
from kernel.model.rows import TrailingRow
from kernel.model.units import MINUTE, MS, SECOND, TsNs
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal


@pytest.fixture
def bench():
    made = Bench().protection()
    yield made
    assert made.crashes == []


def wait(bench, seconds):
    bench.run(bench.runtime.now() + int(seconds * SECOND))


def stop_of(bench):
    (stop,) = bench.venue.stops()
    return stop.trigger_price


def moves(bench):
    return [decision.values["level"] for decision in bench.kinds("trailing.moved")]


def test_owners_example_activates_at_42630_moves_the_stop_to_42417_and_triggers_there(bench):
    position = bench.protected()
    bench.price("42629")
    wait(bench, 1)
    assert position.row.trailing is TrailingState.WAITING
    bench.price("42630")
    wait(bench, 1)
    assert position.row.trailing is TrailingState.ACTIVE
    assert stop_of(bench) == D(42417)
    bench.price("42417")
    wait(bench, 5)
    assert position.state is PositionState.CLOSED
    assert position.row.realized_pnl == D("2.085")
    assert position.row.close_reason == CloseReason.TRAILING_STOP
    assert position.row.trailing is TrailingState.TRIGGERED


def test_it_waits_only_once_the_stop_is_confirmed_and_the_position_active(bench):
    position = bench.filled()
    assert position.row.trailing is TrailingState.INACTIVE
    bench.spawn(bench.stops.protect(position))
    wait(bench, 2)
    assert position.row.trailing is TrailingState.INACTIVE
    position.transition(PositionState.ACTIVE, "stop confirmed")
    wait(bench, 1)
    assert position.row.trailing is TrailingState.WAITING
    assert bench.watches == [D(41160), D(42630)]


def test_an_improvement_inside_the_interval_is_sent_by_the_timer_with_the_best_price(bench):
    bench.protected()
    bench.price("42630")
    wait(bench, 1)
    confirmed = bench.runtime.now()
    bench.price("42800")
    wait(bench, 5)
    bench.price("42700")
    wait(bench, 10)
    assert stop_of(bench) == D(42417)
    wait(bench, 60)
    assert stop_of(bench) == D(42586)
    placed = bench.venue.requests("place_stop")[-1][0]
    assert 59 * SECOND <= placed - confirmed <= 61 * SECOND


def test_an_emergency_improvement_goes_at_once(bench):
    bench.protected()
    bench.price("42630")
    wait(bench, 1)
    bench.price("43100")
    wait(bench, 1)
    assert stop_of(bench) == D(42885)


def test_a_too_small_improvement_is_not_sent(bench):
    bench.protected()
    bench.price("42630")
    wait(bench, 70)
    bench.price("42650")
    wait(bench, 300)
    assert stop_of(bench) == D(42417)


def test_after_the_interval_the_smallest_improvement_goes_at_once(bench):
    bench.protected()
    bench.price("42630")
    wait(bench, 70)
    bound = max(bench.watches)
    bench.price(str(bound - 1))
    wait(bench, 1)
    assert stop_of(bench) == D(42417)
    bench.price(str(bound))
    wait(bench, 1)
    assert stop_of(bench) == D(42460)
    assert (stop_of(bench) - D(42417)) / D(42417) >= D("0.001")


def test_a_level_that_the_market_passed_closes_by_default(bench):
    position = bench.protected()
    bench.price("42630")
    wait(bench, 1)
    bench.price("42900")
    wait(bench, 1)
    bench.price("42500")
    wait(bench, 61)
    assert position.state is PositionState.CLOSED
    assert position.row.close_reason == CloseReason.TRAILING_STOP
    assert position.row.exit_price == D(42500)


def test_a_level_that_the_market_passed_is_held_where_the_owner_wants_that():
    bench = Bench(settings=Settings.load({"TRAILING_ON_PASSED": "hold"})).protection()
    position = bench.protected()
    bench.price("42630")
    wait(bench, 1)
    bench.price("42900")
    wait(bench, 1)
    bench.price("42500")
    wait(bench, 61)
    assert position.state is PositionState.ACTIVE
    assert stop_of(bench) == D(42417)
    bench.price("42800")
    wait(bench, 120)
    assert stop_of(bench) == D(42686)


def test_a_failed_update_keeps_the_old_stop_and_is_tried_again(bench):
    bench.protected()
    bench.venue.rules.append(Rule("place_stop", errors.FilterViolation, "-1111", times=2))
    bench.price("42630")
    wait(bench, 2)
    assert stop_of(bench) == D(41160)
    wait(bench, 30)
    assert stop_of(bench) == D(42417)


def test_an_update_that_is_due_for_five_minutes_is_told_and_the_level_holds(bench):
    position = bench.protected()
    bench.venue.rules.append(Rule("place_stop", errors.FilterViolation, "-1111"))
    bench.price("42630")
    for _ in range(12):
        wait(bench, 30)
        bench.price("42631")
    assert bench.alerts("trailing.stuck")
    assert stop_of(bench) == D(41160)
    assert position.stops.verified


def test_failed_updates_are_no_storm(bench):
    bench.protected()
    before = len(bench.venue.requests("place_stop"))
    bench.venue.rules.append(Rule("place_stop", errors.FilterViolation, "-1111"))
    bench.price("42630")
    wait(bench, 600)
    assert len(bench.venue.requests("place_stop")) - before <= 16


def test_the_breakeven_move_comes_from_waiting():
    bench = Bench(settings=Settings.load({"TRAILING_BREAKEVEN_PERCENT": "1.0"})).protection()
    position = bench.protected()
    bench.price("42419")
    wait(bench, 1)
    assert stop_of(bench) == D(41160)
    bench.price("42420")
    wait(bench, 1)
    assert stop_of(bench) == D(42000)
    assert position.row.trailing is TrailingState.WAITING
    bench.price("42630")
    wait(bench, 1)
    assert stop_of(bench) == D(42417)


def test_state_is_stored_at_every_change(bench):
    bench.protected()
    bench.price("42630")
    wait(bench, 1)
    rows = [row for row in bench.store.rows if isinstance(row, TrailingRow)]
    assert rows[0].state is TrailingState.WAITING
    assert rows[-1].state is TrailingState.ACTIVE
    assert (rows[-1].best_price, rows[-1].confirmed_stop) == (D(42630), D(42417))


def test_a_restart_goes_on_with_the_best_price_of_whole_candles_since_the_last_stored_time(bench):
    bench.price("42630")
    bench.run(90 * SECOND)
    bench.price("42900")
    bench.run(230 * SECOND)
    bench.price("42800")
    bench.run(300 * SECOND)
    position = bench.filled(state=PositionState.ACTIVE, level=D(42417))
    position.update(trailing=TrailingState.ACTIVE, best_price=D(42630))
    stored = TrailingRow(
        position_id=position.id,
        state=TrailingState.ACTIVE,
        activation_price=D(42630),
        best_price=D(42630),
        confirmed_stop=D(42417),
        last_update_ns=TsNs(WALL),
        updated_ns=TsNs(WALL),
    )
    bench.trailing.restore([stored])
    bench.spawn(bench.stops.ensure(position, "start"))
    wait(bench, 70)
    assert stop_of(bench) == D(42686)


def test_a_foreign_position_is_never_trailed(bench):

    position = bench.filled(origin=Origin.FOREIGN)
    bench.spawn(bench.stops.protect(position))
    wait(bench, 2)
    position.transition(PositionState.ACTIVE, "stop confirmed")
    bench.price("42630")
    wait(bench, 2)
    assert stop_of(bench) == D(41160)
    assert bench.watches == [D(41160)]


def test_one_watch_each_for_level_and_next_act_stands_and_none_after_the_end(bench):
    position = bench.protected()
    assert len(bench.watches) == 2
    bench.price("42630")
    wait(bench, 1)
    assert len(bench.watches) == 2
    bench.price("42417")
    wait(bench, 5)
    assert position.state is PositionState.CLOSED
    assert bench.watches == []


def test_a_short_trails_downwards(bench):
    position = bench.protected(side=PositionSide.SHORT)
    bench.price("41370")
    wait(bench, 1)
    assert position.row.trailing is TrailingState.ACTIVE
    assert stop_of(bench) == D(41576)


@settings(max_examples=60)
@given(
    st.sampled_from([PositionSide.LONG, PositionSide.SHORT]),
    st.lists(
        st.tuples(st.integers(-60, 60), st.integers(1, 90)),
        min_size=1,
        max_size=25,
    ),
)
def test_whatever_the_prices_the_stop_only_tightens_and_one_is_always_live(side, walk):
    bench = Bench().protection()
    position = bench.protected(side=side)
    price, levels = 42000, []
    for step, seconds in walk:
        price += step * 10
        bench.price(str(price))
        bench.run(bench.runtime.now() + 200 * MS)
        for _ in range(2):
            wait(bench, seconds / 2)
        if position.state.terminal:
            break
        assert position.stops.verified
        levels.append(stop_of(bench))
        assert levels[-1] == position.row.protected_level
    tightened = [(b - a) * side.sign >= 0 for a, b in itertools.pairwise(levels)]
    assert all(tightened)
    assert bench.crashes == []
    placed = [at for at, _ in bench.venue.requests("place_stop")]
    assert len(placed) <= 2 + 2 * (bench.runtime.now() // MINUTE + len(walk))
    if position.state.terminal:
        assert bench.venue.held == {}
        assert bench.venue.stops() == []

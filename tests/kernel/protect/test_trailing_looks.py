"""Trailing: what it looks at and when, what it begins with, and what a crash leaves."""

from decimal import Decimal

import msgspec
import pytest

from kernel.config import Settings
from kernel.model.candle import Candle
from kernel.model.messages import ExtremesRead, PriceRead
from kernel.model.orders import PositionSide
from kernel.model.positions import CloseReason, Origin, PositionState, TrailingState
from kernel.model.units import HOUR, MINUTE, SECOND, ZERO, TsNs
from tests.kernel.fakes import Bench, Rule
from tests.kernel.protect.test_trailing_moments import (
    Short,
    breakeven,
    failing,
    keep,
    make,
    restored,
)

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
WAITING, ACTIVE, TRIGGERED = TrailingState.WAITING, TrailingState.ACTIVE, TrailingState.TRIGGERED


@pytest.fixture
def bench():
    made = make()
    yield made
    assert made.crashes == []


def later(bench, seconds=1.0):
    bench.run(bench.runtime.now() + int(seconds * SECOND))


def trailing_watches(bench):
    """The bounds of the watches for the next act: (at or above, at or below)."""
    return [
        (one.at_or_above, one.at_or_below)
        for one in bench._watches.values()
        if ":trailing" in one.watch_id
    ]


# ---------------------------------------------------------------- its beginning and its end


def test_a_position_that_is_kept_twice_is_trailed_once(bench):
    bench.stops.adopted(bench.position)
    later(bench)
    assert trailing_watches(bench) == [(42630, None)]
    bench.to("42630")
    assert len(bench.kinds("trailing.activated")) == 1


def test_a_short_has_one_bound_below():
    assert trailing_watches(Short()) == [(None, 41370)]


def test_the_end_of_a_position_that_was_never_trailed_says_nothing_of_trailing():
    bench = Bench().protection()
    position = bench.protected(origin=Origin.FOREIGN)
    bench.price("41160")
    later(bench, 10)
    assert position.state.terminal
    assert bench.kinds("trailing.state") == []
    assert bench.crashes == []


def noting(bench):
    """Supervised tasks by the first word of their names, and for whom they work."""
    tasks, owners = {}, {}
    supervise = bench.services.supervise

    def noted(name, factory, *, position=None):
        word = name.partition(" ")[0]
        owners[word] = position
        tasks[word] = supervise(name, factory, position=position)
        return tasks[word]

    bench.services.supervise = noted
    return tasks, owners


def test_its_task_is_the_positions_and_ends_with_one_that_never_became_active():
    bench = Bench().protection()
    tasks, owners = noting(bench)
    position = bench.filled()
    bench.spawn(bench.stops.protect(position))
    later(bench, 2)
    assert owners["trail"] is position
    assert not tasks["trail"].done
    bench.spawn(bench.exits.close(position, CloseReason.ROLLBACK, "test"))
    later(bench, 10)
    position.transition(PositionState.ROLLED_BACK, "test")
    later(bench)
    assert tasks["trail"].done


def test_what_woke_it_before_the_position_is_active_wakes_it_once():
    bench = Bench().protection()
    position = bench.filled()
    position.changed.set()
    bench.trailing.start(position)
    later(bench)
    assert position.row.trailing is TrailingState.INACTIVE
    assert not position.changed.is_set


def test_prices_before_it_began_do_not_activate_it():
    bench = Bench().protection()
    bench.prices.push("BTCUSDT", "43000")
    later(bench)
    bench.prices.push("BTCUSDT", "42000")
    later(bench)
    position = bench.protected()
    later(bench)
    assert position.row.trailing is WAITING


def test_without_a_price_a_short_is_not_activated_nor_moved_to_breakeven():
    bench = Bench(Settings.load({"TRAILING_BREAKEVEN_PERCENT": "0.5"})).protection()
    position = bench.filled(side=SHORT)
    task = bench.spawn(bench.stops.protect(position))
    later(bench, 2)
    assert task.result() is True
    bench.prices.last = lambda *given: PriceRead(ZERO, TsNs(0))
    bench.prices.extremes = lambda *given: ExtremesRead()
    position.transition(PositionState.ACTIVE, "stop confirmed")
    later(bench, 5)
    assert position.row.trailing is WAITING
    assert len(bench.venue.requests("place_stop")) == 1
    assert trailing_watches(bench) == [(None, 41790)], "it waits for the breakeven price"


# ---------------------------------------------------------------- breakeven


def test_after_the_breakeven_move_it_waits_for_the_activation_alone():
    bench = breakeven()
    bench.to("42210")
    bench.to("42205", 120)
    assert trailing_watches(bench) == [(42630, None)]


def test_a_price_that_came_while_the_breakeven_stop_was_placed_activates():
    bench = breakeven()
    bench.venue.rules.append(Rule("place_stop", delay_ns=SECOND, times=1))
    bench.price("42210")
    later(bench, 0.5)
    bench.price("42630")
    later(bench, 5)
    assert bench.position.row.trailing is ACTIVE


def test_the_best_price_is_none_until_it_is_activated():
    bench = breakeven()
    bench.to("42210")
    bench.to("42000", 5)
    assert bench.position.state.terminal
    assert (bench.rows()[-1].state, bench.rows()[-1].best_price) == (TRIGGERED, 0)


def test_failed_breakeven_moves_do_not_lengthen_the_pauses_after_it():
    bench = breakeven()
    failing(bench)
    bench.to("42210", 100)
    bench.mark()
    bench.price("42630")
    bench.after(18)
    assert [at for at, level in bench.placed() if level == "42417"] == [0, 5, 15]


# ---------------------------------------------------------------- looks


def test_a_small_improvement_is_not_sent_because_a_look_finds_it(bench):
    """The timer of the interval looks too; what is below the least improvement waits on."""
    bench.to("42630", 5)
    bench.mark()
    bench.to("42650", 200)
    assert bench.placed() == []


def test_each_look_asks_for_what_came_since_the_one_before(bench):
    asked = []
    extremes = bench.prices.extremes

    def noted(venue, symbol, source, since_ns):
        found = extremes(venue, symbol, source, since_ns)
        asked.append((since_ns, found.ts_ns))
        return found

    bench.prices.extremes = noted
    for price in ("42630", "43100", "43600"):
        bench.to(price, 5)
    assert len(asked) > 2
    newest = 0
    for since_ns, ts_ns in asked:
        assert since_ns >= newest
        newest = max(since_ns, ts_ns)


def test_a_look_that_finds_nothing_new_does_not_begin_at_the_beginning():
    bench = Bench().protection()
    bench.prices.push("BTCUSDT", "44000")
    later(bench)
    bench.prices.push("BTCUSDT", "42000")
    later(bench)
    position = bench.protected()
    for price in ("42630", "42800"):
        bench.price(price)
        later(bench, 200)
    assert position.row.best_price == 42800
    assert position.state is PositionState.ACTIVE


def test_of_a_short_the_lowest_price_between_two_looks_counts():
    bench = Short()
    bench.prices.push("BTCUSDT", "41100")
    bench.prices.push("BTCUSDT", "41390")
    later(bench, 0)
    bench.to("41360")
    assert bench.rows()[-1].best_price == 41100


def test_a_price_in_the_very_moment_of_a_look_counts(bench):
    """The look at the end of the interval comes first; the price of that moment wakes it again."""
    bench.to("42630")
    bench.run(bench.position.stops.confirmed_ns + 60 * SECOND)
    bench.mark()
    bench.price("43100")
    bench.after(0.01)
    assert [level for _, level in bench.placed()] == ["42885"]


def test_nothing_is_polled(bench):
    bench.to("42630", 100)
    looks = []
    level = bench.trailing._rule.level

    def noted(view):
        looks.append(view.best)
        return level(view)

    bench.trailing._rule.level = noted
    later(bench, 4 * 3600)
    assert looks == []


def test_where_no_price_can_make_an_act_due_none_is_waited_for(bench):
    bench.trailing._rule.best_for = lambda view, level: ZERO
    bench.to("42630")
    assert bench.position.row.trailing is ACTIVE
    assert trailing_watches(bench) == []


def test_a_stop_whose_confirmation_has_no_time_may_move_at_once(bench):
    bench.to("42630")
    bench.position.stops.confirmed_ns = None
    bench.mark()
    bench.to("43100")
    assert [level for _, level in bench.placed()] == ["42885"]


# ---------------------------------------------------------------- stuck


def test_an_update_that_was_due_before_another_moved_the_stop_is_due_anew(bench):
    """Its first attempts fail for 200 s; then somebody else moves the stop beyond its level."""
    rule = failing(bench)
    bench.price("42630")
    bench.after(200)
    rule.times = 0
    task = bench.spawn(bench.stops.tighten(bench.position, D(42500), "somebody else"))
    later(bench, 100)
    assert task.result() is True
    rule.times = 1_000
    bench.mark()
    bench.price("43100")
    bench.after(290)
    assert bench.alerts("trailing.stuck") == []
    bench.after(400)
    assert len(bench.alerts("trailing.stuck")) == 1


def test_an_update_is_due_anew_after_one_that_worked(bench):
    """The price ran on while the one was sent, so that the next is due in the same moment."""
    rule = failing(bench, times=5)
    bench.price("42630")
    bench.after(100)
    assert rule.times == 0
    bench.venue.rules.insert(0, Rule("place_stop", delay_ns=2 * SECOND, times=1))
    bench.after(136)
    bench.price("43100")
    bench.after(137)
    assert bench.kinds("trailing.moved") == []
    rule.times = 1_000
    bench.mark()
    bench.after(290)
    assert len(bench.kinds("trailing.moved")) == 1
    assert bench.alerts("trailing.stuck") == []
    bench.after(400)
    assert len(bench.alerts("trailing.stuck")) == 1


# ---------------------------------------------------------------- average ranges


def ranged(height):
    """Whole hours that are so high."""

    def candles(venue, symbol, source, interval_ns, count):
        return tuple(
            Candle(TsNs(n * HOUR), D(42000), D(42000 + height), D(42000), D(42000), True)
            for n in range(count)
        )

    return candles


def test_the_stop_follows_at_the_distance_of_the_ranges_and_by_the_timer():
    bench = make(TRAILING_STRATEGY="atr", TRAILING_ATR_PERIOD="2")
    bench.prices.candles = ranged(100)
    bench.to("42700")
    assert [level for _, level in bench.placed()] == ["42500"]
    bench.began = bench.position.stops.confirmed_ns
    bench.to("42800", 5)
    assert bench.placed() == []
    bench.after(61)
    assert [level for _, level in bench.placed()] == ["42600"], "not with the hour"


# ---------------------------------------------------------------- after a start


def test_what_is_stored_of_the_position_alone_is_enough_to_go_on():
    bench, position = restored()
    bench.trailing._stored.clear()
    bench.prices.push("BTCUSDT", "42700")
    keep(bench, position)
    later(bench, 60)
    assert position.row.protected_level == 42686
    assert bench.crashes == []


def test_after_a_start_too_an_update_needs_its_least_improvement():
    bench, position = restored()
    position.row = msgspec.structs.replace(position.row, protected_level=D(42660))
    bench.prices.push("BTCUSDT", "42700")
    keep(bench, position)
    later(bench, 300)
    assert position.row.protected_level == 42660


def test_a_price_that_was_on_its_way_at_the_start_counts():
    """The newest one known was three seconds old; one that was made after it comes later."""
    bench, position = restored()
    bench.prices.push("BTCUSDT", "42700")
    old = TsNs(bench.runtime.ts() + 2 * SECOND)
    later(bench, 5)
    bench.prices.last = lambda *given: PriceRead(D(42700), old)
    keep(bench, position)
    bench.prices.ticks["BTCUSDT"].append((old + SECOND, D(43200)))
    bench.prices.push("BTCUSDT", "43190")
    bench.price("43190")
    later(bench)
    assert position.row.best_price == 43200


def test_without_a_price_at_the_start_none_of_before_counts():
    bench, position = restored()
    bench.prices.ticks["BTCUSDT"] = [(bench.runtime.ts() - 90 * MINUTE, D(44000))]
    bench.prices.last = lambda *given: PriceRead(ZERO, TsNs(0))
    bench.prices.candles = lambda *given: ()
    keep(bench, position)
    later(bench, 200)
    assert position.row.protected_level == 42686
    assert position.row.best_price == 42900


def test_what_a_waiting_position_missed_is_no_best_price():
    bench, position = restored(best="0")
    position.update(trailing=WAITING)
    bench.prices.ticks["BTCUSDT"] = [
        (bench.runtime.ts() - 300 * SECOND, D(42600)),
        (bench.runtime.ts() - 200 * SECOND, D(42550)),
    ]
    keep(bench, position)
    assert position.row.trailing is WAITING
    bench.price("42500")
    later(bench, 5)
    assert position.state.terminal
    assert position.row.best_price == 0


def test_the_best_price_outlives_a_crash_of_the_task():
    bench = make()
    bench.to("42630")
    tighten = bench.stops.tighten
    calls = []

    async def broken(*given):
        calls.append(given)
        if len(calls) == 1:
            raise ValueError("a bug")
        return await tighten(*given)

    bench.stops.tighten = broken
    bench.price("43100")
    bench.prices.push("BTCUSDT", "42950")
    later(bench, 120)
    assert [str(error) for _, error in bench.crashes] == ["a bug"]
    assert bench.position.row.protected_level == 42885

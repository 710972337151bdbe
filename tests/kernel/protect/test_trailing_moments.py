"""Trailing: what is stored and said at each change, and when a failed update is tried again."""

from decimal import Decimal
from itertools import pairwise

import pytest

from kernel import errors
from kernel.config import Settings
from kernel.model.orders import PositionSide
from kernel.model.positions import CloseReason, Origin, PositionState, TrailingState
from kernel.model.rows import TrailingRow
from kernel.model.units import HOUR, SECOND
from tests.kernel.fakes import WALL, Bench, Rule

D = Decimal
WAITING, ACTIVE, TRIGGERED = TrailingState.WAITING, TrailingState.ACTIVE, TrailingState.TRIGGERED


class Trailed(Bench):
    """A bench with a protected position at 42000: it activates at 42630, 0.5 % behind."""

    side = PositionSide.LONG

    def __post_init__(self):
        super().__post_init__()
        self.protection()
        self.run(10 * SECOND)
        self.position = self.protected(side=self.side)
        self.mark()

    def mark(self):
        self.began = self.runtime.now()

    def after(self, seconds):
        self.run(self.began + int(seconds * SECOND))

    def to(self, price, seconds=1):
        """The price, and so much time."""
        self.price(price)
        self.run(self.runtime.now() + int(seconds * SECOND))

    def placed(self):
        """When stops were sent since the mark, in whole seconds, and their levels."""
        return [
            (round((at - self.began) / SECOND), str(request.trigger_price))
            for at, request in self.venue.requests("place_stop")
            if at >= self.began
        ]

    def rows(self):
        return [row for row in self.store.rows if isinstance(row, TrailingRow)]

    def states(self):
        return [
            (one.values["before"], one.values["after"], one.cause)
            for one in self.kinds("trailing.state")
        ]


def make(**settings):
    return Trailed(Settings.load(settings))


@pytest.fixture
def bench():
    made = make()
    yield made
    assert made.crashes == []


class Short(Trailed):
    side = PositionSide.SHORT


# ---------------------------------------------------------------- what is stored and said


def test_each_change_of_state_is_stored_and_said(bench):
    position = bench.position
    assert bench.rows()[-1] == TrailingRow(
        position_id=position.id, state=WAITING, activation_price=D(42630), best_price=D(0),
        confirmed_stop=D(41160), last_update_ns=bench.rows()[-1].last_update_ns,
        updated_ns=bench.rows()[-1].updated_ns,
    )  # fmt: skip
    at = bench.runtime.ts()
    bench.to("42700")
    activated, moved = bench.rows()[-2:]
    assert (activated.state, activated.best_price, activated.confirmed_stop) == (
        ACTIVE, 42700, 41160,
    )  # fmt: skip
    assert activated.updated_ns == activated.last_update_ns == at
    assert (moved.state, moved.confirmed_stop, moved.best_price) == (ACTIVE, 42487, 42700)
    (said,) = bench.kinds("trailing.activated")
    assert (said.values["price"], said.values["entry"]) == ("42700", "42000")
    (said,) = bench.kinds("trailing.moved")
    assert (said.values["best"], said.values["level"]) == ("42700", "42487")
    bench.to("42487", 5)
    assert bench.rows()[-1].state is TRIGGERED
    assert position.row.best_price == 42700
    assert bench.states() == [
        ("INACTIVE", "WAITING", "the stop is confirmed"),
        ("WAITING", "ACTIVE", "activation price reached"),
        ("ACTIVE", "TRIGGERED", CloseReason.TRAILING_STOP),
    ]


def test_a_position_that_ends_before_it_was_active_never_waited():
    bench = Bench().protection()
    position = bench.filled()
    bench.spawn(bench.stops.protect(position))
    bench.run(2 * SECOND)
    bench.spawn(bench.exits.close(position, CloseReason.ROLLBACK, "test"))
    bench.run(10 * SECOND)
    position.transition(PositionState.ROLLED_BACK, "test")
    bench.run(12 * SECOND)
    assert bench.kinds("trailing.state") == []
    assert position.row.trailing is TrailingState.INACTIVE


def test_a_foreign_position_becomes_trailed_when_it_turns_out_to_be_ours():
    bench = Bench().protection()
    position = bench.protected(origin=Origin.FOREIGN)
    bench.run(bench.runtime.now() + SECOND)
    assert position.row.trailing is TrailingState.INACTIVE
    position.update(origin=Origin.OURS)
    bench.stops.adopted(position)
    bench.stops.adopted(position)
    bench.run(bench.runtime.now() + SECOND)
    assert position.row.trailing is WAITING
    assert len(bench.kinds("trailing.state")) == 1


def test_a_short_activates_below_and_trails_above():
    bench = Short()
    bench.to("41371")
    assert bench.position.row.trailing is WAITING
    bench.to("41370")
    assert bench.position.row.trailing is ACTIVE
    assert bench.placed() == [(1, "41576")]
    bench.mark()
    bench.to("41200", 70)
    assert [level for _, level in bench.placed()] == ["41406"]
    bench.to("41406", 5)
    assert bench.position.row.close_reason == CloseReason.TRAILING_STOP


def test_the_best_price_between_two_looks_counts(bench):
    """The watch fires at 42630; what was higher a moment later is the best already."""
    bench.prices.push("BTCUSDT", "42620")
    bench.runtime.set_time(bench.runtime.now() + 1, WALL + bench.runtime.now() + 1)
    bench.prices.push("BTCUSDT", "42900")
    bench.prices.push("BTCUSDT", "42631")
    bench.to("42640")
    assert bench.rows()[-1].best_price == 42900


# ---------------------------------------------------------------- failed updates


def failing(bench, **how):
    rule = Rule("place_stop", errors.Rejected, "-1", **how)
    bench.venue.rules.append(rule)
    return rule


def test_a_failed_update_is_tried_again_with_growing_pauses_and_told_after_five_minutes(bench):
    failing(bench)
    bench.price("42630")
    bench.after(700)
    times = [at for at, level in bench.placed() if level == "42417"]
    assert [later - earlier for earlier, later in pairwise(times)][:9] == [
        5, 10, 20, 40, 60, 60, 60, 60, 60,
    ]  # fmt: skip
    alerts = bench.alerts("trailing.stuck")
    assert [(one.severity, one.symbol) for one in alerts] == 2 * [("WARNING", "BTCUSDT")]
    assert bench.kinds("trailing.moved") == []
    assert bench.position.stops.verified, "the protected level holds"


def test_the_first_alert_comes_when_an_update_was_due_for_five_minutes(bench):
    failing(bench)
    bench.price("42630")
    bench.after(314)
    assert bench.alerts("trailing.stuck") == []
    bench.after(316)
    assert len(bench.alerts("trailing.stuck")) == 1, "with the try at 315 s"


def test_pauses_begin_anew_after_an_update_that_worked(bench):
    rule = failing(bench, times=3)
    bench.price("42630")
    bench.after(36)
    assert [at for at, _ in bench.placed()] == [0, 5, 15, 35]
    assert len(bench.kinds("trailing.moved")) == 1
    bench.run(bench.runtime.now() + 70 * SECOND)
    bench.mark()
    rule.times = 1
    bench.to("42900", 10)
    assert [at for at, _ in bench.placed()] == [0, 5]


def test_an_update_that_is_due_no_more_is_not_stuck(bench):
    rule = failing(bench, times=4)
    bench.price("42630")
    bench.after(500)
    assert rule.times == 0
    assert bench.alerts("trailing.stuck") == []


@pytest.mark.parametrize("policy", ["close", "hold"])
def test_a_level_that_the_market_passed_is_said_and_the_policy_done(policy):
    bench = make(TRAILING_ON_PASSED=policy)
    failing(bench, times=1)
    bench.to("42630")
    bench.prices.push("BTCUSDT", "42400")
    bench.after(8)
    (said,) = bench.kinds("trailing.passed")
    assert (said.cause, said.values["level"], said.values["price"]) == (policy, "42417", "42400")
    if policy == "close":
        assert bench.position.state is PositionState.CLOSED
        assert bench.position.row.close_reason == CloseReason.TRAILING_STOP
    else:
        assert bench.position.state is PositionState.ACTIVE
        bench.after(64)
        assert len(bench.kinds("trailing.passed")) == 1
        bench.after(66)
        assert len(bench.kinds("trailing.passed")) == 2, "looked at each minute"


# ---------------------------------------------------------------- intervals


def test_a_smaller_improvement_waits_for_the_interval_and_a_larger_one_does_not(bench):
    bench.to("42630")
    confirmed = bench.position.stops.confirmed_ns
    bench.began = confirmed
    bench.to("42800", 2)
    assert bench.placed() == []
    bench.after(59.9)
    assert bench.placed() == []
    bench.after(60.1)
    assert [level for _, level in bench.placed()] == ["42586"]


def test_an_interval_of_zero_sends_each_improvement_at_once():
    bench = make(TRAILING_MIN_UPDATE_INTERVAL_SECONDS="0")
    bench.to("42630")
    bench.mark()
    bench.to("42800", 2)
    assert bench.placed() == [(0, "42586")]


# ---------------------------------------------------------------- breakeven


def breakeven(**settings):
    return make(TRAILING_BREAKEVEN_PERCENT="0.5", **settings)


def test_the_breakeven_move_puts_the_stop_at_the_entry_once():
    bench = breakeven()
    assert D(42210) in bench.watches
    bench.to("42209")
    assert bench.placed() == []
    bench.to("42210")
    assert [level for _, level in bench.placed()] == ["42000"]
    assert bench.position.row.trailing is WAITING
    bench.to("42205", 120)
    bench.to("42300", 120)
    assert len(bench.placed()) == 1
    assert bench.watches.count(D(42630)) == 1


def test_a_breakeven_move_that_fails_is_tried_again_with_growing_pauses():
    bench = breakeven()
    failing(bench, times=2)
    bench.price("42210")
    bench.after(30)
    assert bench.placed() == [(0, "42000"), (5, "42000"), (15, "42000")]


def test_a_breakeven_move_that_still_fails_does_not_keep_it_from_activation():
    bench = breakeven()
    failing(bench)
    bench.to("42210", 20)
    bench.to("42630")
    assert bench.position.row.trailing is ACTIVE


# ---------------------------------------------------------------- after a start


def restored(best="42900", ago=600 * SECOND, side=PositionSide.LONG):
    """A position that was trailed by a process before."""
    bench = Bench().protection()
    bench.run(2 * HOUR)
    position = bench.filled(side=side, level=D(42500) if side is PositionSide.LONG else D(41400))
    position.update(trailing=ACTIVE, best_price=D(best))
    bench.trailing.restore(
        [
            TrailingRow(
                position_id=position.id, state=ACTIVE, activation_price=D(42630),
                best_price=D(best), confirmed_stop=position.row.protected_level,
                last_update_ns=bench.runtime.ts() - ago, updated_ns=bench.runtime.ts() - ago,
            )
        ]
    )  # fmt: skip
    return bench, position


def keep(bench, position):
    position.transition(PositionState.ACTIVE, "test")
    bench.spawn(bench.stops.ensure(position, "start"))
    bench.run(bench.runtime.now() + 2 * SECOND)


def test_it_goes_on_from_the_stored_best_price():
    bench, position = restored()
    bench.prices.push("BTCUSDT", "42700")
    keep(bench, position)
    bench.run(bench.runtime.now() + 60 * SECOND)
    assert position.row.protected_level == 42686
    assert [one.values["best"] for one in bench.kinds("trailing.moved")] == ["42900"]


@pytest.mark.parametrize("when", ["candle", "now"])
def test_a_better_price_that_was_missed_counts(when):
    bench, position = restored()
    if when == "candle":
        bench.prices.ticks["BTCUSDT"] = [
            (bench.runtime.ts() - 300 * SECOND, D(43200)),
            (bench.runtime.ts() - 200 * SECOND, D(43100)),
        ]
    else:
        bench.prices.push("BTCUSDT", "43200")
    keep(bench, position)
    assert [one.values["best"] for one in bench.kinds("trailing.moved")] == ["43200"]


# ---------------------------------------------------------------- a distance that follows


def test_the_range_is_read_with_the_first_look_of_each_hour():
    bench = make(TRAILING_STRATEGY="atr", TRAILING_ATR_PERIOD="2")
    asked = []
    candles = bench.prices.candles

    def noted(venue, symbol, source, interval_ns, count):
        if interval_ns == HOUR:
            asked.append((bench.runtime.now() // SECOND, count))
        return candles(venue, symbol, source, interval_ns, count)

    bench.prices.candles = noted
    bench.to("42700")
    first = bench.runtime.now() // SECOND
    bench.to("42701", 60)
    bench.to("42702", 60)
    assert len(asked) == 1, "once an hour, however often it is looked"
    bench.run(bench.runtime.now() + 3 * HOUR)
    times = [at for at, _ in asked]
    assert times[0] <= first
    assert len(times) == 4
    assert [later - earlier for earlier, later in pairwise(times[1:])] == 2 * [3600]
    assert (WALL // SECOND + times[1]) % 3600 == 1, "a second after the hour"
    assert {count for _, count in asked} == {3}  # det-ok: a test
    assert len(bench.kinds("trailing.atr")) == 4


def test_a_rule_without_a_range_reads_none(bench):
    asked = []

    def noted(*given):
        asked.append(given)
        return ()

    bench.prices.candles = noted
    bench.to("42700")
    bench.run(bench.runtime.now() + 2 * HOUR)
    assert asked == []


def test_an_update_is_due_since_it_was_not_before_and_stuck_counts_from_there(bench):
    """The first was due for two minutes and worked; the next fails from then on."""
    rule = failing(bench, times=5)
    bench.price("42630")
    bench.run(bench.runtime.now() + 200 * SECOND)
    assert rule.times == 0
    bench.mark()
    rule.times = 1_000
    bench.price("43100")
    bench.after(290)
    assert bench.alerts("trailing.stuck") == []
    bench.after(400)
    assert len(bench.alerts("trailing.stuck")) == 1


def test_a_stuck_update_has_the_protected_level_verified(bench):
    ensured = []
    ensure = bench.stops.ensure

    async def noted(position, cause):
        ensured.append(cause)
        await ensure(position, cause)

    bench.stops.ensure = noted
    failing(bench)
    bench.price("42630")
    bench.after(320)
    assert ensured == ["trailing is stuck"]

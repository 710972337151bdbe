"""The guard: what a verdict is made of, and what is remembered of positions and markets."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from kernel.model.orders import PositionSide
from kernel.model.positions import CloseReason
from kernel.model.units import HOUR, MINUTE, SECOND, TsNs
from kernel.protect.volatility import DAY_RETURNS, INTERVAL_NS
from tests.kernel.protect.test_guard_acts import ACTED, Guarded, at_level

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
PLACE = ("binance", "BTCUSDT")


def values(bench):
    """The parts of the health at the newest change of its level."""
    return bench.kinds("guard.level")[-1].values


def later(bench, ns):
    bench.run(bench.runtime.now() + ns)


def to_a_close(bench, and_ns=0):
    """To the next moment at which a candle closes, and so much more."""
    later(bench, INTERVAL_NS - bench.runtime.ts() % INTERVAL_NS + and_ns)


def candles(bench, change):
    """The feed's candles, each changed so; None: it is missing."""
    flat = bench.candles

    def told(*given):
        return tuple(one for one in map(change, flat(*given)) if one is not None)

    bench.prices.candles = told


# ---------------------------------------------------------------- what it is made of


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_the_fall_is_from_the_entry_until_a_price_was_better(side):
    bench: Any = Guarded("none", side)
    assert bench.look(2, low=True) == [("guard.level", "medium")]
    assert values(bench)["drawdown"] == "52.4", "1.9 % of twice the stop's 2 %"


@pytest.mark.parametrize(
    ("side", "after_ns", "drawdown"),
    [(LONG, 0, "23.5"), (LONG, 1, "52.4"), (SHORT, 0, "21.7"), (SHORT, 1, "52.4")],
)
def test_the_best_price_is_that_of_the_candles_that_opened_since_the_fill(side, after_ns, drawdown):
    bench: Any = Guarded("none", side)
    at = (bench.runtime.ts() // INTERVAL_NS - 10) * INTERVAL_NS
    candles(
        bench,
        lambda one: (
            msgspec.structs.replace(one, high=D(42500), low=D(41500)) if one.open_ns == at else one
        ),
    )
    bench.position.update(first_fill_ns=TsNs(at + after_ns))
    bench.look(2, low=True)
    assert values(bench)["drawdown"] == drawdown


def test_half_of_the_age_and_the_grace_period_is_half_of_the_time(bench):
    half_ns = 11 * HOUR // 2
    bench.position.update(first_fill_ns=TsNs(bench.runtime.ts() + 30 * SECOND - half_ns))
    bench.look(2, low=True)
    assert values(bench)["time"] == "50"


@pytest.mark.parametrize("side", [LONG, SHORT])
def test_the_depth_is_that_of_the_side_that_a_close_would_meet(side):
    bench: Any = Guarded("none", side)
    at_level(bench, "critical")
    assert values(bench)["liquidity"] == "1", "a fiftieth of it there, and too wide a spread"


def test_a_price_below_one_is_a_price(bench):
    bench.position.update(entry_price=D("0.5"))
    assert bench.look(2) == []


@pytest.mark.parametrize(
    ("more_ns", "said"), [(0, []), (1, [("guard.blind", "the newest candle is too old")])]
)
def test_the_newest_candle_may_be_one_and_two_minutes_late(bench, more_ns, said):
    to_a_close(bench, 2 * MINUTE + more_ns)
    missing_ns = bench.runtime.ts() // INTERVAL_NS * INTERVAL_NS - INTERVAL_NS
    candles(bench, lambda one: None if one.open_ns == missing_ns else one)
    assert bench.look(1) == said


@pytest.fixture
def bench():
    made: Any = Guarded("none")
    yield made
    assert made.crashes == []


# ---------------------------------------------------------------- what is read


def test_a_candle_is_read_as_soon_as_it_has_closed(bench):
    to_a_close(bench)
    bench.look(1)
    assert bench.asked["candles"] == [DAY_RETURNS + 1]
    to_a_close(bench, -1)
    bench.look(0)
    bench.guard._round([bench.position])
    assert len(bench.asked["candles"]) == 1
    later(bench, 1)
    bench.guard._round([bench.position])
    assert bench.asked["candles"] == [DAY_RETURNS + 1, 1]


def test_of_a_position_of_long_ago_too_only_what_is_new_is_read(bench):
    bench.old()
    bench.look(22)
    first, *more = bench.asked["candles"]
    assert first == DAY_RETURNS + 1
    assert max(more) == 1


def test_a_day_without_whole_candles_is_read_again_when_another_one_closed(bench):
    candles(bench, lambda one: msgspec.structs.replace(one, complete=False))
    to_a_close(bench)
    bench.look(10)
    assert bench.asked["candles"] == [DAY_RETURNS + 1]
    bench.look(1)
    assert bench.asked["candles"] == 2 * [DAY_RETURNS + 1]


def test_candles_that_stay_away_for_days_are_told_of_once(bench):
    bench.look(1)
    candles(bench, lambda one: None)
    later(bench, 10 * MINUTE)
    assert bench.look(1) == [("guard.blind", "the newest candle is too old")]
    later(bench, 30 * HOUR)
    assert bench.look(2) == []


# ---------------------------------------------------------------- what is remembered


def both(**given):
    """Two old positions."""
    bench: Any = Guarded("none", venues=("binance", "bybit"), **given)
    other = bench.protected(venue="bybit")
    for position in (bench.position, other):
        position.update(first_fill_ns=TsNs(bench.runtime.ts() - 100 * HOUR))
    return bench, bench.position, other


def test_a_position_that_was_not_watched_meanwhile_begins_anew():
    bench, one, other = both()
    assert bench.look(1, watched=[one]) == []
    assert bench.look(1, watched=[other]) == []
    assert list(bench.guard._guarded) == [other.id]
    assert bench.look(1, watched=[one]) == []
    assert bench.look(1, watched=[one]) == [("guard.level", "medium")]


def test_a_position_that_stays_is_not_forgotten_when_another_one_comes():
    bench, one, other = both()
    bench.look(1, watched=[one])
    assert bench.look(1, watched=[one, other]) == [("guard.level", "medium")]


@pytest.mark.parametrize(
    ("hours", "kept", "read"),
    [(0, True, []), (2, True, [24]), (23, True, [276]), (25, False, [DAY_RETURNS + 1])],
)
def test_a_market_is_remembered_for_the_next_position_on_it_for_a_day(bench, hours, kept, read):
    to_a_close(bench)
    bench.look(1)
    known = bench.guard._markets[PLACE]
    bench.spawn(bench.exits.close(bench.position, CloseReason.OPERATOR, "test"))
    later(bench, 10 * SECOND)
    bench.look(0)
    bench.guard._round([])
    later(bench, hours * HOUR)
    position = bench.protected()
    bench.asked["candles"].clear()
    bench.look(1, watched=[position])
    assert bench.asked["candles"] == read
    assert (bench.guard._markets[PLACE] is known) is kept


# ---------------------------------------------------------------- one act at a time


def test_the_next_act_waits_for_the_one_before():
    bench: Any = Guarded("medium,high")
    tighten = bench.stops.tighten

    async def slow(*given):
        await bench.runtime.sleep(100 * SECOND)
        return await tighten(*given)

    bench.stops.tighten = slow
    assert at_level(bench, "medium")[-1] == (ACTED, "medium")
    assert at_level(bench, "high") == [("guard.level", "high")]
    assert bench.position.row.protected_level == 41160, "still on its way"
    assert bench.look(3) == [(ACTED, "high")]
    assert bench.position.row.protected_level == 41580
    assert bench.crashes == []


def test_an_act_at_medium_that_has_nothing_to_move_is_recorded_too():
    bench: Any = Guarded("medium")
    bench.spawn(bench.stops.tighten(bench.position, D(41900), "test"))
    later(bench, 2 * SECOND)
    bench.position.update(entry_price=D(41800))
    placed = len(bench.venue.requests("place_stop"))
    assert (ACTED, "medium") in at_level(bench, "medium")
    assert len(bench.venue.requests("place_stop")) == placed, "halfway would be looser"
    assert any(getattr(one, "guard_acted", "") == "MEDIUM" for one in bench.store.rows)

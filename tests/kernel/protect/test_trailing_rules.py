"""The strategies of the trailing stop: their levels, their inverses, the true range."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import Settings
from kernel.model.candle import Candle
from kernel.model.orders import PositionSide
from kernel.model.units import HOUR, ZERO, TsNs
from kernel.protect.trailing_rules import (
    TrailingRule,
    TrailView,
    average_true_range,
    first_best,
    rule_of,
)
from kernel.trade import stop_levels
from venues.sim.instruments import make_instrument

D = Decimal
LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
INSTRUMENT = make_instrument(
    "binance", "BTCUSDT", tick_size=D("0.5"), qty_step=D("0.001"), max_qty=D(100)
)


CHEAP = make_instrument(
    "binance", "PENNYUSDT", tick_size=D("0.0001"), qty_step=D(1), max_qty=D(10**6)
)


def rule(strategy: str, **settings: str) -> TrailingRule:
    given_ = {"trailing_strategy": strategy, "trailing_breakeven_percent": "0.5"}
    return rule_of(Settings.load(given_ | settings))


def view(side: PositionSide, best: Decimal, atr: Decimal = ZERO) -> TrailView:
    return TrailView(instrument=INSTRUMENT, side=side, entry=D(42000), best=best, atr=atr)


def penny(side: PositionSide, best: str, atr: Decimal = ZERO) -> TrailView:
    return TrailView(instrument=CHEAP, side=side, entry=D("0.5"), best=D(best), atr=atr)


@pytest.mark.parametrize(
    ("strategy", "side", "best", "level"),
    [
        ("percent", LONG, "42630", "42417"),
        ("percent", SHORT, "41370", "41576.5"),
        ("atr", LONG, "42630", "42430"),  # two ranges of 100
        ("atr", SHORT, "41370", "41570"),
        ("step", LONG, "42419.5", "0"),
        ("step", LONG, "42420", "42210"),
        ("step", LONG, "42839.5", "42210"),
        ("step", LONG, "42840", "42420"),
        ("step", SHORT, "41160", "41580"),
        ("breakeven", LONG, "42000", "0"),
        ("breakeven", LONG, "42210", "42000"),
        ("breakeven", LONG, "42629.5", "42000"),
        ("breakeven", LONG, "42630", "42417"),
        ("breakeven", SHORT, "41790", "42000"),
    ],
)
def test_the_level_of_each_strategy(
    strategy: str, side: PositionSide, best: str, level: str
) -> None:
    assert rule(strategy).level(view(side, D(best), D(100))) == D(level)


@pytest.mark.parametrize(
    ("strategy", "price"),
    [("percent", "42630"), ("atr", "42630"), ("step", "42630"), ("breakeven", "42210")],
)
def test_where_each_strategy_begins(strategy: str, price: str) -> None:
    assert rule(strategy).activation(LONG, D(42000)) == D(price)


def test_a_range_that_is_not_known_leaves_the_callback() -> None:
    assert rule("atr").level(view(LONG, D(42630))) == rule("percent").level(view(LONG, D(42630)))


def test_a_range_as_large_as_the_price_wants_no_stop() -> None:
    assert rule("atr").level(view(LONG, D(42000), D(30000))) == ZERO


def test_a_gain_as_large_as_the_step_stays_behind_the_price() -> None:
    wide = rule("step", trailing_step_gain_percent="1")
    assert wide.level(view(LONG, D(42840))) == D(42420)


def test_a_gain_is_counted_in_whole_steps() -> None:
    assert rule("step", trailing_step_percent="2").level(view(LONG, D(44100))) == D(42420)


@pytest.mark.parametrize(
    ("strategy", "side", "best", "level"),
    [
        ("percent", LONG, "0.51", "0.5075"),
        ("atr", LONG, "0.51", "0.49"),
        ("atr", SHORT, "0.49", "0.51"),
        ("step", LONG, "0.511", "0.505"),
        ("step", SHORT, "0.489", "0.495"),
        ("breakeven", SHORT, "0.497", "0.5"),
    ],
)
def test_a_price_below_one_is_trailed_as_any_other(
    strategy: str, side: PositionSide, best: str, level: str
) -> None:
    assert rule(strategy).level(penny(side, best, D("0.01"))) == D(level)


names = st.sampled_from(("percent", "atr", "step", "breakeven"))
sides = st.sampled_from((LONG, SHORT))
prices = st.integers(60_000, 110_000).map(lambda ticks: D(ticks) / 2)
ranges = st.sampled_from((ZERO, D(80), D("333.3")))


@given(names, sides, prices, prices, ranges)
def test_a_better_price_never_wants_a_looser_level(
    name: str, side: PositionSide, one: Decimal, other: Decimal, atr: Decimal
) -> None:
    worse, better = sorted((one, other), key=lambda price: price * side.sign)
    before = rule(name).level(view(side, worse, atr))
    after = rule(name).level(view(side, better, atr))
    assert not stop_levels.is_tighter(side, before, after) or before == after


@given(names, sides, prices, prices, ranges)
def test_the_first_price_that_is_enough_is_enough_and_the_one_before_it_is_not(
    name: str, side: PositionSide, best: Decimal, level: Decimal, atr: Decimal
) -> None:
    tried, seen = rule(name), view(side, best, atr)
    standing = tried.level(seen)
    if standing and not stop_levels.is_tighter(side, level, standing):
        return  # it is due already, so nobody asks
    price = tried.best_for(seen, level)
    step = side.sign * INSTRUMENT.tick_size

    def wanted(at: Decimal) -> bool:
        found = tried.level(msgspec.structs.replace(seen, best=at))
        return bool(found) and not stop_levels.is_tighter(side, level, found)

    if not price:
        assert side is SHORT, "a price may rise as far as it likes"
        assert not wanted(INSTRUMENT.tick_size)
        return
    assert wanted(price)
    assert not wanted(price - step)


@given(sides, prices, prices)
def test_halving_finds_what_the_percent_rule_computes(
    side: PositionSide, best: Decimal, level: Decimal
) -> None:
    percent = rule("percent")
    if not stop_levels.is_tighter(side, level, percent.level(view(side, best))):
        return
    seen = view(side, best)
    assert first_best(percent, seen, level) == percent.best_for(seen, level)


LARGE = make_instrument(
    "binance", "BTCUSDT", tick_size=D("0.01"), qty_step=D("0.001"), max_qty=D(100)
)


@pytest.mark.parametrize(
    ("name", "settings", "seen", "level", "price"),
    [
        # a short of which the price must fall by more than half
        ("step", {"trailing_step_percent": "34"}, view(SHORT, D(27720)), "41580", "13440"),
        ("atr", {}, view(SHORT, D(42000), D(100)), "201", "1"),
        ("atr", {}, view(SHORT, D(42000), D(100)), "200.5", "0.5"),
        ("atr", {}, view(SHORT, D(42000), D(100)), "200", "0"),
        ("atr", {}, view(SHORT, D(42000), D(100)), "199.5", "0"),
        ("atr", {}, view(SHORT, D("0.5"), D(100)), "200", "0"),
        ("step", {}, penny(SHORT, "0.49"), "0.49", "0.48"),
        ("atr", {}, penny(SHORT, "0.49", D("0.01")), "0.4", "0.38"),
        # a long of which it must rise to more than twice itself, or by more than a million ticks
        ("atr", {}, view(LONG, D(42000), D(100)), "99800", "100000"),
        (
            "atr",
            {},
            msgspec.structs.replace(view(LONG, D(42000), D(100)), instrument=LARGE),
            "99800",
            "100000",
        ),
    ],
)
def test_the_first_price_is_found_however_far_it_is(
    name: str, settings: dict[str, str], seen: TrailView, level: str, price: str
) -> None:
    assert first_best(rule(name, **settings), seen, D(level)) == D(price)


class Fixed:
    """A rule whose level no price moves."""

    needs_atr = False

    def activation(self, side: PositionSide, entry: Decimal) -> Decimal:
        return entry

    def level(self, view: TrailView) -> Decimal:
        return D(41000)

    def best_for(self, view: TrailView, level: Decimal) -> Decimal:
        return first_best(self, view, level)


@pytest.mark.parametrize(("side", "level"), [(LONG, "41001"), (SHORT, "40999")])
def test_where_no_price_is_enough_there_is_none(side: PositionSide, level: str) -> None:
    assert Fixed().best_for(view(side, D(42000)), D(level)) == ZERO


def hours(*rows: tuple[int, int, int], complete: bool = True) -> list[Candle]:
    return [
        Candle(TsNs(n * HOUR), D(close), D(high), D(low), D(close), complete)
        for n, (high, low, close) in enumerate(rows)
    ]


def test_the_true_range_reaches_to_the_close_before() -> None:
    candles = hours((105, 95, 100), (110, 100, 104), (103, 99, 100), (120, 110, 115))
    assert average_true_range(candles, 1) == D(20)
    assert average_true_range(candles, 3) == D(10 + 5 + 20) / 3


def test_no_range_is_told_of_too_few_or_of_broken_candles() -> None:
    candles = hours((105, 95, 100), (110, 100, 104))
    assert average_true_range(candles, 2) == ZERO
    assert average_true_range(hours((105, 95, 100), (110, 100, 104), complete=False), 1) == ZERO
    assert average_true_range(candles, 1) == D(10)
    broken = hours((110, 100, 104), complete=False)
    assert average_true_range([*candles, *broken], 2) == ZERO

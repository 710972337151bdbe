"""Volatility is kept up candle by candle and equals what the whole day gives."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from statistics import pstdev

from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.model.candle import Candle
from kernel.model.units import TsNs
from kernel.protect.volatility import (
    DAY_RETURNS,
    HOUR_RETURNS,
    INTERVAL_NS,
    LEAST_RETURNS,
    Volatility,
)


def candles(closes: list[int], first: int = 0, *, complete: bool = True) -> list[Candle]:
    return [
        Candle(TsNs((first + place) * INTERVAL_NS), price, price, price, price, complete)
        for place, price in enumerate(map(Decimal, closes))
    ]


@settings(max_examples=50)
@given(st.lists(st.integers(900, 1100), min_size=LEAST_RETURNS + 1, max_size=DAY_RETURNS + 100))
def test_the_ratio_is_that_of_the_two_deviations(closes: list[int]) -> None:
    volatility = Volatility()
    for candle in candles(closes):
        volatility.take([candle])
    returns = [(new - old) / old for old, new in pairwise(closes)]
    day, hour = pstdev(returns[-DAY_RETURNS:]), pstdev(returns[-HOUR_RETURNS:])
    ratio = volatility.ratio()
    assert ratio is not None
    assert abs(float(ratio) - (hour / day if day else 0.0)) < 1e-6


@given(
    st.lists(st.integers(900, 1100), min_size=DAY_RETURNS + 1, max_size=2 * DAY_RETURNS),
    st.integers(1, DAY_RETURNS),
)
def test_going_on_gives_what_reading_the_day_anew_gives(closes: list[int], later: int) -> None:
    """The guard keeps a market over the time between two positions on it."""
    kept, fresh = Volatility(), Volatility()
    kept.take(candles(closes[:-later])[-DAY_RETURNS - 1 :])
    missed = kept.wanted(TsNs(len(closes) * INTERVAL_NS))
    assert missed == later
    kept.take(candles(closes)[-missed:])
    fresh.take(candles(closes)[-DAY_RETURNS - 1 :])
    assert kept.ratio() == fresh.ratio()


def test_less_than_six_hours_say_nothing() -> None:
    volatility = Volatility()
    volatility.take(candles([1000, 1001] * (LEAST_RETURNS // 2)))
    assert volatility.ratio() is None
    volatility.take(candles([1000], LEAST_RETURNS))
    assert volatility.ratio() is not None


def test_only_what_is_new_is_asked_for() -> None:
    volatility = Volatility()
    assert volatility.wanted(TsNs(50 * INTERVAL_NS)) == DAY_RETURNS + 1
    volatility.take(candles([1000] * 50))
    assert volatility.wanted(TsNs(50 * INTERVAL_NS + 7)) == 0
    assert volatility.wanted(TsNs(52 * INTERVAL_NS)) == 2


def test_what_is_known_is_passed_over() -> None:
    volatility = Volatility()
    volatility.take(candles([1000, 1010] * LEAST_RETURNS))
    before = volatility.ratio()
    volatility.take(candles([7] * 5))
    assert volatility.ratio() == before


def test_a_hole_makes_what_was_before_it_worthless() -> None:
    for broken in (candles([1000], 2 * LEAST_RETURNS + 1), candles([1000], 2 * LEAST_RETURNS,
                                                                  complete=False)):  # fmt: skip
        volatility = Volatility()
        volatility.take(candles([1000, 1010] * LEAST_RETURNS))
        assert volatility.ratio() is not None
        volatility.take(broken)
        assert volatility.ratio() is None


def test_a_market_that_stands_still_is_calm() -> None:
    volatility = Volatility()
    volatility.take(candles([1000] * DAY_RETURNS))
    assert volatility.ratio() == 0

"""Volatility is kept up candle by candle and equals what the whole day gives."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from math import fsum, sqrt
from statistics import pstdev

import pytest
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
    candles_since,
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


def deviation(values: list[float]) -> float:
    mean = fsum(values) / len(values)
    return sqrt(fsum((one - mean) ** 2 for one in values) / len(values))


def test_the_ratio_goes_with_each_candle_over_more_than_a_day() -> None:
    """The same of one series, at every candle and as near as 1e-12 of a return allows."""
    closes = [1000 + 7 * n * n % 101 for n in range(DAY_RETURNS + 50)]
    returns = [(new - old) / old for old, new in pairwise(closes)]
    volatility = Volatility()
    for number, candle in enumerate(candles(closes)):
        volatility.take([candle])
        ratio = volatility.ratio()
        if number in {LEAST_RETURNS, DAY_RETURNS, DAY_RETURNS + 49}:  # det-ok: membership only
            known = returns[:number]
            day, hour = deviation(known[-DAY_RETURNS:]), deviation(known[-HOUR_RETURNS:])
            assert ratio is not None
            assert abs(float(ratio) * day - hour) < 1e-10
    assert number == DAY_RETURNS + 49


def test_a_move_below_a_billionth_of_a_thousandth_is_none() -> None:
    volatility = Volatility()
    volatility.take(candles([10**14, 10**14 + 1] * LEAST_RETURNS))
    assert volatility.ratio() == 0


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


def test_the_six_hours_begin_with_the_first_whole_candle() -> None:
    volatility = Volatility()
    volatility.take(candles([1000], complete=False))
    volatility.take(candles([1000, 1001] * (LEAST_RETURNS // 2), 1))
    assert volatility.ratio() is None
    volatility.take(candles([1000], LEAST_RETURNS + 1))
    assert volatility.ratio() is not None


def test_only_what_is_new_is_asked_for() -> None:
    volatility = Volatility()
    assert volatility.wanted(TsNs(50 * INTERVAL_NS)) == DAY_RETURNS + 1
    volatility.take(candles([1000] * 50))
    assert volatility.wanted(TsNs(51 * INTERVAL_NS - 1)) == 0
    assert volatility.wanted(TsNs(52 * INTERVAL_NS)) == 2


@pytest.mark.parametrize(("since", "now", "wanted"), [(0, 9999, DAY_RETURNS + 1), (5, 3, 0)])
def test_no_more_is_asked_for_than_a_day_has(since: int, now: int, wanted: int) -> None:
    assert candles_since(since * INTERVAL_NS, now * INTERVAL_NS) == wanted


@pytest.mark.parametrize("known", [candles([7] * 5), candles([7], 2 * LEAST_RETURNS - 1)])
def test_what_is_known_is_passed_over(known: list[Candle]) -> None:
    volatility = Volatility()
    volatility.take(candles([1000, 1010] * LEAST_RETURNS))
    before = volatility.ratio()
    volatility.take(known)
    assert before is not None
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

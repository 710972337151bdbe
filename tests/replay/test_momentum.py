"""Generated waves: the documented score, from closed candles, and nothing else."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.draws import draw
from kernel.model.orders import Side
from kernel.model.units import DAY, MINUTE
from replay.momentum import Recipe, generate
from replay.problems import LayoutError
from replay.series import CandleSet
from replay.waves import CANDLE_NS

START = 1_746_316_800_000_000_000
"""2025-05-04 00:00:00 UTC."""


def candle_set(
    closes, *, symbol="BTCUSDT", interval=CANDLE_NS, price="last", missing=()
) -> CandleSet:
    rows = np.array([row for row in range(len(closes)) if row not in missing], dtype=np.int64)
    values = np.array(closes, dtype=np.int32)[rows]
    return CandleSet(
        venue="binance",
        symbol=symbol,
        price=price,
        interval_ns=interval,
        tick_size=Decimal(1),
        gaps=(),
        open_time_ns=START + rows * interval,
        open=values,
        high=values,
        low=values,
        close=values,
        volume=np.ones(len(rows)),
    )


def walk(seed: int, count: int) -> list[int]:
    price, prices = 50_000, []
    for step in range(count):
        price = max(1_000, price + draw(seed, "walk", step, 401) - 200)
        prices.append(price)
    return prices


ZIGZAG = [1000 + row % 2 for row in range(20)]
"""Moves of one tick up and down."""


def test_a_move_beyond_all_of_the_last_day_makes_a_signal():
    (row,) = generate(0, [candle_set([*ZIGZAG, 1100])], Recipe(quantile=100))
    assert row.candle_ns == START + 20 * CANDLE_NS
    assert (row.symbol, row.exchange, row.side) == ("BTCUSDT", "binance", Side.BUY)
    # The 20 changes since the first candle before it are all smaller than +10 %.
    assert row.score_week == 100
    assert row.score_month is None


def test_a_fall_makes_a_sell_and_is_scored_downwards():
    (row,) = generate(0, [candle_set([*ZIGZAG, 900])], Recipe(quantile=100))
    assert (row.side, row.score_week) == (Side.SELL, Decimal(100))


def test_the_week_score_counts_ties_half():
    # Changes before: ten times 0, ten times +0.1 %; now +0.1 % after a move of one tick up.
    rows = generate(0, [candle_set([*ZIGZAG, 1000, 1001])], Recipe(quantile=0))
    last = rows[-1]
    assert last.candle_ns == START + 21 * CANDLE_NS
    assert last.side is Side.BUY
    # 21 values before: 11 zeros below, 10 equal: (11 + 5) / 21.
    assert last.score_week == Decimal("76.19")


def test_the_month_score_needs_a_day():
    rows = generate(0, [candle_set(walk(1, 400))], Recipe(quantile=0))
    day = DAY // CANDLE_NS
    for row in rows:
        before = (row.candle_ns - START) // CANDLE_NS
        assert (row.score_month is None) == (before < day)


@given(st.integers(0, 10**6), st.integers(20, 150))
def test_a_signal_depends_on_closed_candles_only(seed, cut):
    """What comes after a candle's close must not change its signals: no look into the future."""
    prices = walk(seed, 160)
    changed = prices[: cut + 1] + [price * 2 for price in prices[cut + 1 :]]
    last = START + cut * CANDLE_NS

    def upto(closes):
        return [row for row in generate(seed, [candle_set(closes)]) if row.candle_ns <= last]

    assert upto(prices) == upto(changed) == upto(prices[: cut + 1])


@given(st.integers(0, 10**6))
def test_a_signal_arrives_five_to_eight_minutes_after_the_close(seed):
    for row in generate(seed, [candle_set(walk(seed, 120))], Recipe(quantile=0)):
        late = row.arrival_ns - row.candle_ns - CANDLE_NS
        assert 5 * MINUTE <= late <= 8 * MINUTE
        assert row.candle_ns % CANDLE_NS == 0


def test_the_seed_moves_arrivals_and_nothing_else():
    one = generate(1, [candle_set(walk(1, 200))])
    other = generate(2, [candle_set(walk(1, 200))])
    assert one != other
    scores = [[(row.candle_ns, row.side, row.score_week) for row in rows] for rows in (one, other)]
    assert scores[0] == scores[1]


def test_the_order_of_the_candle_sets_does_not_matter():
    sets = [candle_set(walk(number, 200), symbol=f"S{number}USDT") for number in range(4)]
    assert generate(5, sets) == generate(5, sets[::-1])


def test_one_minute_candles_say_the_same_as_their_quarter_hours():
    minutes = walk(3, 15 * 150)
    quarters = minutes[14::15]
    fine = generate(3, [candle_set(minutes, interval=MINUTE)])
    assert fine == generate(3, [candle_set(quarters)])
    assert fine


def test_a_symbol_is_silent_where_its_candle_is_missing():
    prices = walk(4, 100)
    missing = (50, 51, 52)
    rows = generate(4, [candle_set(prices, missing=missing)], Recipe(quantile=0))
    silent = [START + row * CANDLE_NS for row in (*missing, 53)]
    candles = [row.candle_ns for row in rows]
    assert not [candle for candle in silent if candle in candles]
    assert START + 54 * CANDLE_NS in candles


def test_a_wave_holds_at_most_the_best_signals():
    sets = [candle_set(walk(number, 200), symbol=f"S{number}USDT") for number in range(9)]
    every = generate(5, sets, Recipe(quantile=0))
    few = generate(5, sets, Recipe(quantile=0, max_signals=3))
    waves = sorted({row.candle_ns for row in every})
    assert waves
    for wave in waves:
        scores = sorted((row.score_week for row in every if row.candle_ns == wave), reverse=True)
        kept = sorted((row.score_week for row in few if row.candle_ns == wave), reverse=True)
        assert kept == scores[:3]


def test_too_little_history_makes_no_signal():
    assert generate(0, [candle_set(walk(0, 16))], Recipe(quantile=0)) == []
    assert generate(0, [candle_set([])]) == []


def test_large_prices_do_not_overflow():
    prices = [2_000_000_000 + 1_000_000 * (row % 5) for row in range(60)]
    for row in generate(0, [candle_set(prices)], Recipe(quantile=0)):
        assert 0 <= row.score_week <= 100


@pytest.mark.parametrize(
    "wrong", [{"price": "mark"}, {"interval": 60 * MINUTE}], ids=["mark", "hours"]
)
def test_other_candles_are_refused(wrong):
    with pytest.raises(LayoutError):
        generate(0, [candle_set([1, 2, 3], **wrong)])


def test_no_generator_state_is_shared_between_runs():
    rows = generate(9, [candle_set(walk(9, 300))])
    assert rows == generate(9, [replace(candle_set(walk(9, 300)))])

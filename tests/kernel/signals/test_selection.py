"""Filter, sort and slices are pure, and nobody is dropped without a reason."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.config import Settings
from kernel.model.orders import Side
from kernel.model.signal import Signal
from kernel.model.units import TsNs
from kernel.signals.selection import (
    FilterRules,
    first_slice,
    further_slice,
    rank,
    select,
    target_of,
)

RULES = FilterRules.of(Settings(stoplist_symbols=("DOGEUSDT",)))


def signal(symbol="BTCUSDT", side=Side.BUY, week="10", month: str | None = "60", venue="binance"):
    return Signal(
        source="feed",
        venue=venue,
        symbol=symbol,
        side=side,
        candle_ns=TsNs(0),
        score_week=Decimal(week),
        score_month=None if month is None else Decimal(month),
    )


def reasons(*signals):
    return [(dropped.signal.symbol, dropped.reason) for dropped in select(signals, RULES).dropped]


SCORES = st.integers(-20, 120).map(str)
SIGNALS = st.builds(
    signal,
    symbol=st.sampled_from(
        ["BTCUSDT", "ETHUSDT", "DOGEUSDT", "SOLUSDT", "XRPUSDT", "币安人生USDT"]
    ),
    side=st.sampled_from(list(Side)),
    week=SCORES,
    month=st.none() | SCORES,
    venue=st.sampled_from(["binance", "bybit"]),
)
WAVES = st.lists(SIGNALS, max_size=30)
WITHOUT_COPIES = st.lists(SIGNALS, max_size=30, unique_by=lambda one: one.once_key)


def test_the_filter_asks_in_the_order_of_the_specification():
    assert reasons(signal("DOGEUSDT", week="-1")) == [("DOGEUSDT", "stoplist")]
    assert reasons(signal(week="-1"), signal(side=Side.SELL)) == [
        ("BTCUSDT", "conflicting_sides"),
        ("BTCUSDT", "conflicting_sides"),
    ]
    assert reasons(signal(week="-1"), signal()) == [
        ("BTCUSDT", "score_week"),
        ("BTCUSDT", "duplicate"),
    ]
    assert reasons(signal(week="-1", month="0")) == [("BTCUSDT", "score_week")]
    assert reasons(signal(month="49.99")) == [("BTCUSDT", "score_month")]


def test_the_bounds_themselves_pass():
    assert reasons(signal(week="0", month="50")) == []


def test_an_absent_month_score_is_not_checked_and_is_counted():
    selection = select([signal(month=None), signal("ETHUSDT")], RULES)
    assert len(selection.candidates) == 2
    assert selection.without_month_score == 1


def test_both_sides_conflict_on_different_venues_too():
    """Long here and short there is no opinion."""
    pair = (signal(), signal(side=Side.SELL, venue="bybit"))
    assert reasons(*pair) == [("BTCUSDT", "conflicting_sides")] * 2


def test_one_symbol_on_two_venues_is_no_duplicate():
    assert reasons(signal(), signal(venue="bybit")) == []


def test_the_order_is_week_then_month_then_symbol():
    wave = [
        signal("C", week="5", month=None),
        signal("B", week="5", month="70"),
        signal("D", week="5", month="80"),
        signal("A", week="5", month="70"),
        signal("E", week="6", month="50"),
    ]
    assert [one.symbol for one in select(wave, RULES).candidates] == ["E", "D", "A", "B", "C"]


@given(WITHOUT_COPIES, st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(wave, random):
    shuffled = list(wave)
    random.shuffle(shuffled)
    assert select(shuffled, RULES).candidates == select(wave, RULES).candidates


@given(WAVES)
def test_every_signal_is_a_candidate_or_dropped_with_a_reason(wave):
    selection = select(wave, RULES)
    assert len(selection.candidates) + len(selection.dropped) == len(wave)
    assert all(dropped.reason for dropped in selection.dropped)


@given(WAVES)
def test_no_symbol_is_a_candidate_on_both_sides_and_no_key_twice(wave):
    candidates = select(wave, RULES).candidates
    keys = [one.once_key for one in candidates]
    assert len(dict.fromkeys(keys)) == len(keys)
    sides: dict[str, list[Side]] = {}
    for one in wave:
        sides.setdefault(one.symbol, []).append(one.side)
    assert [
        one
        for one in candidates
        if Side.BUY in sides[one.symbol] and Side.SELL in sides[one.symbol]
    ] == []


@given(WAVES)
def test_candidates_are_ranked_and_above_the_bounds(wave):
    candidates = select(wave, RULES).candidates
    assert list(candidates) == sorted(candidates, key=rank)
    assert all(one.score_week >= 0 for one in candidates)
    assert all(one.score_month is None or one.score_month >= 50 for one in candidates)


def test_the_owners_slices():
    assert first_slice(10, 33) == 13
    assert further_slice(2, 33) == 3


@given(st.integers(0, 200), st.integers(0, 1000))
def test_slices_are_exact(count, percent):
    exact = Decimal(count) * (100 + percent) / 100
    assert first_slice(count, percent) <= exact < first_slice(count, percent) + 1
    assert further_slice(count, percent) - 1 < exact <= further_slice(count, percent)


@pytest.mark.parametrize(
    ("slots", "cap", "target"), [(20, 0, 10), (3, 0, 3), (0, 0, 0), (-2, 0, 0), (20, 4, 4)]
)
def test_the_target_is_the_smallest_limit(slots, cap, target):
    assert target_of(Settings(max_positions_per_wave=cap), slots) == target


def test_a_month_score_of_zero_ranks_below_a_higher_one_and_above_none():
    half, zero, none = (signal(f"{m}", month=m) for m in ("0.5", "0", None))
    rules = FilterRules(min_score_month=Decimal(0))
    assert select([none, zero, half], rules).candidates == (half, zero, none)


def test_candidates_without_a_month_score_are_counted():
    wave = [signal("A", month=None), signal("B", month=None), signal("C")]
    assert select(wave, RULES).without_month_score == 2

"""The health of a position is arithmetic: bounded, monotone, and with the owner's weights."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.model.orders import PositionSide
from kernel.model.units import HOUR
from kernel.protect.health_score import (
    BOUNDS,
    RETURN_POINTS,
    WEIGHTS,
    Concern,
    ConcernLevel,
    Health,
    HealthInputs,
    HealthRules,
    concern_at,
    evaluate,
)

RULES = HealthRules(
    stop_percent=Decimal(2),
    activation_percent=Decimal("1.5"),
    max_spread_percent=Decimal(2),
    lifetime_ns=11 * HOUR,
)
NEW = HealthInputs(
    side=PositionSide.LONG,
    entry=Decimal(1000),
    price=Decimal(1000),
    best=Decimal(1000),
    age_ns=0,
    volatility_ratio=Decimal(1),
    spread_percent=Decimal(0),
    top_qty=Decimal(5),
    qty=Decimal(5),
)
PARTS = ("pnl", "drawdown", "volatility", "time", "liquidity")

prices = st.decimals(min_value=1, max_value=5000, places=2)
inputs = st.builds(
    HealthInputs,
    side=st.sampled_from(list(PositionSide)),
    entry=prices,
    price=prices,
    best=prices,
    age_ns=st.integers(0, 100 * HOUR),
    volatility_ratio=st.decimals(min_value=0, max_value=9, places=4),
    spread_percent=st.decimals(min_value=0, max_value=9, places=4),
    top_qty=st.decimals(min_value=0, max_value=100, places=3),
    qty=st.decimals(min_value="0.001", max_value=100, places=3),
)


def with_(**changes: object) -> Health:
    return evaluate(msgspec.structs.replace(NEW, **changes), RULES)


def test_a_new_position_is_healthy_but_for_its_profit() -> None:
    health = with_()
    assert [getattr(health, part) for part in PARTS[1:]] == [100, 100, 100, 100]
    assert round(health.pnl, 2) == Decimal("57.14")


@pytest.mark.parametrize(
    ("changes", "part", "worth"),
    [
        ({"price": Decimal(980)}, "pnl", 0),
        ({"price": Decimal(1015)}, "pnl", 100),
        ({"price": Decimal("997.5")}, "pnl", 50),
        ({"price": Decimal("1002.5"), "side": PositionSide.SHORT}, "pnl", 50),
        ({"price": Decimal(960)}, "drawdown", 0),
        ({"price": Decimal(980)}, "drawdown", 50),
        ({"volatility_ratio": Decimal(2)}, "volatility", 0),
        ({"volatility_ratio": Decimal("1.25")}, "volatility", 75),
        ({"volatility_ratio": Decimal("0.995")}, "volatility", 100),
        ({"volatility_ratio": Decimal("1.995")}, "volatility", Decimal("0.5")),
        ({"age_ns": 11 * HOUR}, "time", 0),
        ({"age_ns": 11 * HOUR // 4}, "time", 75),
        ({"spread_percent": Decimal(1)}, "liquidity", 75),
        ({"spread_percent": Decimal(3)}, "liquidity", 50),
        ({"top_qty": Decimal("2.5")}, "liquidity", 75),
        ({"top_qty": Decimal(0), "spread_percent": Decimal(2)}, "liquidity", 0),
    ],
)
def test_each_part_is_what_the_specification_says(
    changes: dict[str, object], part: str, worth: int | Decimal
) -> None:
    assert getattr(with_(**changes), part) == worth


@given(inputs)
def test_score_and_parts_lie_between_0_and_100(given_inputs: HealthInputs) -> None:
    health = evaluate(given_inputs, RULES)
    for part in ("score", *PARTS):
        assert 0 <= getattr(health, part) <= 100
    weighed = sum(WEIGHTS[part] * getattr(health, part) for part in PARTS)
    assert abs(health.score - weighed) < Decimal("1e-18")


@given(inputs, prices)
def test_a_better_price_is_never_less_healthy(one: HealthInputs, other: Decimal) -> None:
    here, there = evaluate(one, RULES), evaluate(msgspec.structs.replace(one, price=other), RULES)
    better = (other - one.price) * one.side.sign >= 0
    assert there.score >= here.score if better else there.score <= here.score


def test_the_bounds_of_the_levels() -> None:
    told = [concern_at(Decimal(score)).name for score in (100, 80, 79, 60, 59, 40, 39, 20, 19, 0)]
    assert told == [
        "LOW", "LOW", "MEDIUM", "MEDIUM", "HIGH", "HIGH", "CRITICAL", "CRITICAL", "EMERGENCY",
        "EMERGENCY",
    ]  # fmt: skip


@given(st.lists(st.decimals(min_value=0, max_value=100, places=1), max_size=30))
def test_a_level_is_never_worse_than_the_better_of_the_last_two_scores_allows(
    scores: list[Decimal],
) -> None:
    level, before = ConcernLevel(), Decimal(100)
    for number, score in enumerate(scores):
        held = level.level
        level.see(score)
        if number:
            allowed = concern_at(max(before, score))
            assert level.level <= max(held, allowed)
            left = level.level < held
            assert not left or min(before, score) >= _least(level.level) + RETURN_POINTS
        else:
            assert level.level is held
        before = score


def _least(level: Concern) -> Decimal:
    return next((least for least, known in BOUNDS if known is level), Decimal(0))


def test_after_a_look_without_a_verdict_two_are_needed_anew() -> None:
    level = ConcernLevel()
    level.see(Decimal(10))
    level.blind()
    assert not level.see(Decimal(10))
    assert level.see(Decimal(10))
    assert level.level is Concern.EMERGENCY


@pytest.mark.parametrize("what", ["entry", "price", "best", "qty"])
def test_a_price_or_a_quantity_that_is_none_is_refused(what: str) -> None:
    with pytest.raises(ValueError, match="above 0"):
        with_(**{what: Decimal(0)})


@pytest.mark.parametrize(
    ("scores", "levels"),
    [
        ("79 79 79", "LOW MEDIUM MEDIUM"),
        ("79 80 79 79", "LOW LOW LOW MEDIUM"),
        ("70 70 84 84 84", "LOW MEDIUM MEDIUM MEDIUM MEDIUM"),
        ("70 70 85 85", "LOW MEDIUM MEDIUM LOW"),
        ("70 70 85 84 85 85", "LOW MEDIUM MEDIUM MEDIUM MEDIUM LOW"),
        ("30 30 44 44 45 45", "LOW CRITICAL CRITICAL CRITICAL CRITICAL HIGH"),
        ("10 10 90 90", "LOW EMERGENCY EMERGENCY LOW"),
        ("10 10 90 50 50", "LOW EMERGENCY EMERGENCY HIGH HIGH"),
        ("70 10 10 70 10", "LOW MEDIUM EMERGENCY EMERGENCY EMERGENCY"),
    ],
)
def test_a_level_is_taken_and_left_when_two_scores_agree(scores: str, levels: str) -> None:
    level, seen, changes = ConcernLevel(), [Concern.LOW], []
    for score in scores.split():
        changes.append(level.see(Decimal(score)))
        seen.append(level.level)
    assert [one.name for one in seen[1:]] == levels.split()
    assert changes == [one is not before for before, one in pairwise(seen)]

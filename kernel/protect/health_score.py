"""The health of a position: five parts, a weighted sum, and the levels of concern (SPEC §8).

All of it is exact arithmetic on what is given; 100 is healthy and 0 is not. A level is taken when
two evaluations in a row agree that things are worse, and left when two in a row find them better by
`RETURN_POINTS` than the level's own bound.
"""

from __future__ import annotations

from decimal import Decimal
from enum import IntEnum

import msgspec

from kernel.model.orders import PositionSide
from kernel.model.units import HUNDRED, ONE, ZERO, Price, Qty

WEIGHTS = {
    "pnl": Decimal("0.30"),
    "drawdown": Decimal("0.20"),
    "volatility": Decimal("0.20"),
    "time": Decimal("0.15"),
    "liquidity": Decimal("0.15"),
}
"""Owner's."""
RETURN_POINTS = Decimal(5)
"""A level is left when the score is better than its bound by so much."""
_FIFTY = Decimal(50)
_TWO = Decimal(2)


class Concern(IntEnum):
    """How worried to be; a larger number is worse."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3
    EMERGENCY = 4


BOUNDS = (
    (Decimal(80), Concern.LOW),
    (Decimal(60), Concern.MEDIUM),
    (Decimal(40), Concern.HIGH),
    (Decimal(20), Concern.CRITICAL),
)
"""The least score of each level; below the last one it is EMERGENCY."""


class HealthRules(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the parts are measured against. Percents are percents."""

    stop_percent: Decimal
    activation_percent: Decimal
    max_spread_percent: Decimal
    lifetime_ns: int
    """Maximal age and grace period together."""


class HealthInputs(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a position at one instant."""

    side: PositionSide
    entry: Price
    price: Price
    """Newest of the series that triggers stops."""
    best: Price
    """The best price since the entry."""
    age_ns: int
    volatility_ratio: Decimal
    """Deviation of the last hour's returns over that of the last day's."""
    spread_percent: Decimal
    top_qty: Qty
    """At the side of the book that a close would take."""
    qty: Qty


class Health(msgspec.Struct, frozen=True, gc=False):
    """The score and its parts, each 0 to 100."""

    score: Decimal
    pnl: Decimal
    drawdown: Decimal
    volatility: Decimal
    time: Decimal
    liquidity: Decimal


def evaluate(inputs: HealthInputs, rules: HealthRules) -> Health:
    """The health of a position.

    Raises:
        ValueError: A price or the quantity is not positive.
    """
    entry, price, best, qty = inputs.entry, inputs.price, inputs.best, inputs.qty
    if entry <= 0 or price <= 0 or best <= 0 or qty <= 0:
        raise ValueError("entry, price, best and quantity of a position are above 0")
    hundred, stop = HUNDRED * inputs.side.sign, rules.stop_percent
    gain = (price - entry) * hundred / entry
    fall = max(ZERO, (best - price) * hundred / best)
    pnl = _clamp(HUNDRED * (gain + stop) / (rules.activation_percent + stop))
    drawdown = _clamp(HUNDRED * (ONE - fall / (_TWO * stop)))
    volatility = _clamp(HUNDRED * (_TWO - inputs.volatility_ratio))
    time = _clamp(HUNDRED * (ONE - Decimal(inputs.age_ns) / rules.lifetime_ns))
    tight = _share(ONE - inputs.spread_percent / rules.max_spread_percent)
    deep = _share(inputs.top_qty / qty)
    liquidity = _FIFTY * tight + _FIFTY * deep
    of = WEIGHTS
    score = (
        of["pnl"] * pnl
        + of["drawdown"] * drawdown
        + of["volatility"] * volatility
        + of["time"] * time
        + of["liquidity"] * liquidity
    )
    return Health(score, pnl, drawdown, volatility, time, liquidity)


def concern_at(score: Decimal) -> Concern:
    """The level of a score by itself."""
    for least, level in BOUNDS:
        if score >= least:
            return level
    return Concern.EMERGENCY


class ConcernLevel:
    """The level of one position over time.

    Attributes:
        level: What holds now.
    """

    __slots__ = ("_before", "level")

    def __init__(self, level: Concern = Concern.LOW) -> None:
        self.level = level
        self._before: Decimal | None = None

    def see(self, score: Decimal) -> bool:
        """Take an evaluation; True: the level changed."""
        before, self._before = self._before, score
        if before is None or self._holds(score):
            return False
        worse = min(concern_at(before), concern_at(score))
        better = max(concern_at(before - RETURN_POINTS), concern_at(score - RETURN_POINTS))
        changed = worse if worse > self.level else min(self.level, better)
        if changed is self.level:
            return False
        self.level = changed
        return True

    def _holds(self, score: Decimal) -> bool:
        """Whether one score alone speaks for what holds now: then no two agree on a change."""
        here = concern_at(score)
        return here is self.level or (
            here < self.level and concern_at(score - RETURN_POINTS) >= self.level
        )

    def blind(self) -> None:
        """An evaluation was not possible: two in a row begin anew."""
        self._before = None


def _clamp(value: Decimal) -> Decimal:
    if value >= HUNDRED:
        return HUNDRED
    if value <= ZERO:
        return ZERO
    return value


def _share(value: Decimal) -> Decimal:
    if value >= ONE:
        return ONE
    if value <= ZERO:
        return ZERO
    return value

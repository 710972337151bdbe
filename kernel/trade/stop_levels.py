"""Where a stop belongs: pure arithmetic on prices (SPEC §4, §5).

Percents are percents (2 means 2 %), exact decimals. Every level is a multiple of the tick,
rounded to the tighter side: a long's stop up, a short's stop down. ZERO stands for "no level".
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import PositionSide
from kernel.model.units import HUNDRED, ZERO, Price, canonical


class FirstStop(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The first stop of a position and how it was found."""

    level: Price
    base: Price
    drifted: bool
    """The base is the market, not the entry: it had moved further than the percentage."""
    adverse: bool
    """Drifted against the position: the risk is larger than the percentage."""
    risk_percent: Decimal
    """Distance from the average entry to the level, percent of the entry; negative: in profit."""


def tighter_side(instrument: Instrument, side: PositionSide, price: Decimal) -> Price:
    """`price` on the tick grid, rounded towards the market."""
    if side is PositionSide.LONG:
        return instrument.price_up(price)
    return instrument.price_down(price)


def first_stop(
    instrument: Instrument, side: PositionSide, *, entry: Price, market: Price, percent: Decimal
) -> FirstStop:
    """The first stop: `percent` from the base.

    The base is the average entry, or the market where |market - entry| / entry > `percent`
    (the owner's drift rule). `market` is the series that triggers the stop; ZERO: unknown, and
    then the entry is the base.

    Raises:
        ValueError: `entry` or `percent` is not positive, or `percent` is 100 or more.
    """
    if entry <= 0 or not ZERO < percent < HUNDRED:
        raise ValueError(f"entry {entry} must be above 0 and percent {percent} inside (0, 100)")
    drifted = market > 0 and abs(market - entry) * HUNDRED > percent * entry
    base = market if drifted else entry
    sign = side.sign
    level = tighter_side(instrument, side, base * (HUNDRED - sign * percent) / HUNDRED)
    return FirstStop(
        level=level,
        base=base,
        drifted=drifted,
        adverse=drifted and (market - entry) * sign < 0,
        risk_percent=(entry - level) * sign * HUNDRED / entry,
    )


def is_tighter(side: PositionSide, level: Price, than: Price) -> bool:
    """Whether `level` protects more than `than`; any level is tighter than none."""
    if not than:
        return bool(level)
    return bool(level) and (level - than) * side.sign > 0


def tighter_of(side: PositionSide, one: Price, other: Price) -> Price:
    """The tighter of two levels."""
    return one if is_tighter(side, one, other) else other


def is_through(side: PositionSide, level: Price, price: Price) -> bool:
    """Whether a stop at `level` would trigger at `price`."""
    return price > 0 and (price - level) * side.sign <= 0


def improvement_percent(side: PositionSide, *, old: Price, new: Price) -> Decimal:
    """By how much `new` is tighter than `old`, percent of `old`; negative where it is looser."""
    return (new - old) * side.sign * HUNDRED / old


def within_tolerance(*, level: Price, found: Price, percent: Decimal) -> bool:
    """Whether an existing stop is near enough to the level to be this position's."""
    return abs(found - level) * HUNDRED <= percent * level


def inside_liquidation(
    instrument: Instrument,
    side: PositionSide,
    *,
    level: Price,
    liquidation: Price,
    buffer_percent: Decimal,
) -> Price:
    """`level`, or the nearest tighter one that lies inside the liquidation price by the buffer.

    `liquidation` ZERO: none is known, and the level stays.
    """
    if liquidation <= 0:
        return level
    bound = liquidation * (HUNDRED + side.sign * buffer_percent) / HUNDRED
    return tighter_of(side, tighter_side(instrument, side, bound), level)


def profit_price(side: PositionSide, *, entry: Price, percent: Decimal) -> Decimal:
    """The price at which the gross profit is `percent` of the entry; not on the tick grid."""
    return entry * (HUNDRED + side.sign * percent) / HUNDRED


def is_better(side: PositionSide, price: Price, than: Price) -> bool:
    """Whether `price` is more profitable than `than`; any price is better than none."""
    if not than or not price:
        return bool(price)
    if side is PositionSide.LONG:
        return price > than
    return side is PositionSide.SHORT and price < than


def reaches(side: PositionSide, price: Price, target: Decimal) -> bool:
    """Whether `price` is at `target` or more profitable."""
    return (price - target) * side.sign >= 0


def trailing_level(
    instrument: Instrument, side: PositionSide, *, best: Price, callback_percent: Decimal
) -> Price:
    """The stop that trails the best price."""
    return tighter_side(instrument, side, best * (HUNDRED - side.sign * callback_percent) / HUNDRED)


def improved_level(
    instrument: Instrument, side: PositionSide, *, old: Price, percent: Decimal
) -> Price:
    """The loosest level on the grid that improves `old` by at least `percent` and a tick."""
    wanted = tighter_side(instrument, side, old * (HUNDRED + side.sign * percent) / HUNDRED)
    if wanted <= 0:
        return instrument.tick_size  # a short's stop cannot improve by all of its price
    if is_tighter(side, wanted, old):
        return wanted
    return tighter_side(instrument, side, old + side.sign * instrument.tick_size)


def best_for_level(
    instrument: Instrument, side: PositionSide, *, level: Price, callback_percent: Decimal
) -> Price:
    """The first price on the grid whose trailing level is at `level` or tighter.

    The exact inverse of `trailing_level`: one tick before it, the trailing level is looser.
    """
    step = side.sign * instrument.tick_size
    # The trailing level is rounded towards the market, so it reaches `level` as soon as it is
    # beyond the level before it: the first price after `edge` suffices.
    edge = (level - step) * HUNDRED / (HUNDRED - side.sign * callback_percent)
    if side is PositionSide.LONG:
        return canonical(instrument.price_down(edge) + step)
    return canonical(instrument.price_up(edge) + step)


def ratchet(side: PositionSide, level: Price, protected: Price) -> Price:
    """`level` as the new protected level: never looser than the one that holds.

    Raises:
        AssertionError: The caller would loosen the protection (our bug).
    """
    assert not is_tighter(side, protected, level), f"{side}: {level} loosens {protected}"
    return level

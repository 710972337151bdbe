"""Where a trailing stop belongs: one rule a strategy, pure (SPEC §5).

A rule says from which price on it trails, and for each best price which level it wants. The level
never falls as the best price gets better. That the stop only tightens, how often and by how much
it moves, and what happens where the market is through it, is `kernel.protect.trailing`'s business
and the same for all.

| `TRAILING_STRATEGY` | the level |
| --- | --- |
| percent | the callback from the best price |
| atr | so many average true ranges from the best price; the callback while there is no range |
| step | for every whole step of profit that the best price has seen, a gain from the entry |
| breakeven | the entry, from the breakeven profit on; the callback too, from the activation on |
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import PositionSide
from kernel.model.units import HUNDRED, ZERO, Price
from kernel.trade import stop_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.config import Settings
    from kernel.model.candle import Candle

_FARTHEST = 1 << 40
"""Ticks from the best price beyond which no level is looked for."""


class TrailView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a rule looks at."""

    instrument: Instrument
    side: PositionSide
    entry: Price
    best: Price
    atr: Decimal = ZERO
    """Average true range of the last hours; ZERO: not known, or not asked for."""


class TrailingRule(Protocol):
    """One strategy."""

    needs_atr: bool

    def activation(self, side: PositionSide, entry: Price) -> Decimal:
        """The price from which on it trails; not on the tick grid."""
        ...

    def level(self, view: TrailView) -> Price:
        """The stop that it wants; ZERO: none."""
        ...

    def best_for(self, view: TrailView, level: Price) -> Price:
        """The first better price at which it wants `level` or a tighter one; ZERO: there is none.

        `view.best` is not enough.
        """
        ...


class _Rule:
    """What the rules share."""

    needs_atr = False

    def __init__(self, settings: Settings) -> None:
        self._activation_percent = settings.trailing_activation_percent
        self._callback_percent = settings.trailing_callback_percent

    def activation(self, side: PositionSide, entry: Price) -> Decimal:
        return stop_levels.profit_price(side, entry=entry, percent=self._activation_percent)

    def level(self, view: TrailView) -> Price:
        return stop_levels.trailing_level(
            view.instrument, view.side, best=view.best, callback_percent=self._callback_percent
        )

    def best_for(self, view: TrailView, level: Price) -> Price:
        return first_best(self, view, level)


class PercentRule(_Rule):
    """The callback from the best price."""

    def best_for(self, view: TrailView, level: Price) -> Price:
        """See `TrailingRule.best_for`; here it can be computed."""
        return stop_levels.best_for_level(
            view.instrument, view.side, level=level, callback_percent=self._callback_percent
        )


class AtrRule(_Rule):
    """A distance that follows how much the market moves."""

    needs_atr = True

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._multiplier = settings.trailing_atr_multiplier

    def level(self, view: TrailView) -> Price:
        """See `TrailingRule.level`."""
        if not view.atr:
            return super().level(view)
        wanted = view.best - view.side.sign * self._multiplier * view.atr
        if wanted <= 0:
            return ZERO
        return stop_levels.tighter_side(view.instrument, view.side, wanted)


class StepRule(_Rule):
    """The stop stands still between steps."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._step_percent = settings.trailing_step_percent
        self._gain_percent = settings.trailing_step_gain_percent

    def level(self, view: TrailView) -> Price:
        """See `TrailingRule.level`. It stays behind the best price, whatever the gain."""
        profit = (view.best - view.entry) * view.side.sign * HUNDRED / view.entry
        steps = int(profit // self._step_percent)
        while steps > 0:
            percent = steps * self._gain_percent
            wanted = stop_levels.profit_price(view.side, entry=view.entry, percent=percent)
            level = stop_levels.tighter_side(view.instrument, view.side, wanted)
            if stop_levels.is_tighter(view.side, view.best, level):
                return level
            steps -= 1
        return ZERO


class BreakevenRule(_Rule):
    """The entry first, then the callback."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._breakeven_percent = settings.trailing_breakeven_percent or self._activation_percent

    def activation(self, side: PositionSide, entry: Price) -> Decimal:
        """See `TrailingRule.activation`: the breakeven move is its beginning."""
        return stop_levels.profit_price(side, entry=entry, percent=self._breakeven_percent)

    def level(self, view: TrailView) -> Price:
        """See `TrailingRule.level`."""
        entry = stop_levels.tighter_side(view.instrument, view.side, view.entry)
        if not stop_levels.reaches(view.side, view.best, super().activation(view.side, view.entry)):
            return entry if stop_levels.is_tighter(view.side, view.best, entry) else ZERO
        return stop_levels.tighter_of(view.side, super().level(view), entry)


def rule_of(settings: Settings) -> TrailingRule:
    """The rule that the settings ask for."""
    match settings.trailing_strategy:
        case "atr":
            return AtrRule(settings)
        case "step":
            return StepRule(settings)
        case "breakeven":
            return BreakevenRule(settings)
        case _:
            return PercentRule(settings)


def first_best(rule: TrailingRule, view: TrailView, level: Price) -> Price:
    """`TrailingRule.best_for` of any rule: by halving, since levels never fall."""
    tick = view.instrument.tick_size
    step = view.side.sign * tick
    most = _FARTHEST if step > 0 else int(view.best / tick) - 1  # no price is below a tick
    short, far = 0, min(1, most)
    while not _enough(rule, view, far * step, level):
        if far >= most:
            return ZERO
        short, far = far, min(2 * far, most)
    while far - short > 1:
        middle = (short + far) // 2
        if _enough(rule, view, middle * step, level):
            far = middle
        else:
            short = middle
    return view.best + far * step


def _enough(rule: TrailingRule, view: TrailView, further: Decimal, level: Price) -> bool:
    wanted = rule.level(msgspec.structs.replace(view, best=view.best + further))
    return not stop_levels.is_tighter(view.side, level, wanted)


def average_true_range(candles: Sequence[Candle], period: int) -> Decimal:
    """The mean of the true ranges of the newest `period` candles; ZERO: too few whole ones.

    The true range of a candle reaches from its extremes to the close before it.
    """
    newest = candles[-period - 1 :]
    if len(newest) <= period or not all(candle.complete for candle in newest):
        return ZERO
    total = ZERO
    for before, candle in pairwise(newest):
        total += max(candle.high, before.close) - min(candle.low, before.close)
    return total / period

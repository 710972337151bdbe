"""Prices as whole ticks, and the exact way between ticks and decimals.

Inside the price service a price is a whole number of ticks of its series. A level that a watch
or an order names is turned into ticks once, with an exact inverse: "at or above 100.05" on a
grid of 0.1 is "at or above tick 1001", "at or below" is tick 1000. No comparison is ever made
with a rounded level.
"""

from __future__ import annotations

from decimal import Decimal

from kernel.errors import SettingsError
from kernel.model.units import canonical

NEVER_BELOW = -1
"""The level, in ticks, that no price is at or below: a tape has positive prices only."""
NEVER_ABOVE = 1 << 62
"""The level, in ticks, that no price is at or above."""

PRICES_KEPT = 512
"""The same prices are asked for again and again: by a look, by the quote around them, as a mark."""


class Grid:
    """The grid of one series.

    Args:
        tick_size: Quote currency per tick, positive and finite.

    Raises:
        SettingsError: `tick_size` is not a positive number.
    """

    __slots__ = ("_den", "_num", "_prices", "tick_size")

    def __init__(self, tick_size: Decimal) -> None:
        if not tick_size.is_finite() or tick_size <= 0:
            raise SettingsError([f"tick_size {tick_size}: must be a positive number"])
        self.tick_size = canonical(tick_size)
        self._num, self._den = self.tick_size.as_integer_ratio()
        self._prices: dict[int, Decimal] = {}

    def price(self, px: int) -> Decimal:
        """The price of `px` ticks, canonical."""
        price = self._prices.get(px)
        if price is None:
            if len(self._prices) == PRICES_KEPT:
                self._prices.clear()
            price = self.tick_size * px
            whole_tens = px * self._num % (10 * self._den) == 0  # the one case with an exponent
            price = self._prices[px] = canonical(price) if whole_tens else price.normalize()
        return price

    def ceil(self, price: Decimal) -> int:
        """Smallest number of ticks whose price is at or above `price`."""
        num, den = price.as_integer_ratio()
        return -(-num * self._den // (den * self._num))

    def floor(self, price: Decimal) -> int:
        """Largest number of ticks whose price is at or below `price`."""
        num, den = price.as_integer_ratio()
        return num * self._den // (den * self._num)

    def bounds(self, above: Decimal | None, below: Decimal | None) -> tuple[int, int]:
        """Levels (lo, hi) in ticks: crossed when px <= lo or px >= hi; None: never."""
        lo = NEVER_BELOW if below is None else self.floor(below)
        hi = NEVER_ABOVE if above is None else self.ceil(above)
        return lo, hi

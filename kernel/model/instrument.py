"""The instrument: a venue's contract, and the only place that rounds prices and quantities."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

import msgspec

from kernel.model.units import ZERO, Price, Qty, TsNs, canonical


class Instrument(
    msgspec.Struct, frozen=True, kw_only=True, tag="instrument", array_like=True, gc=False
):
    """One tradable contract as the venue describes it now.

    Every limit is the venue's own; ZERO means that the venue states none. `symbol` is the
    venue's string and the key; `base`/`quote` come from the venue, never from cutting strings.
    """

    venue: str
    symbol: str
    base: str
    quote: str
    tick_size: Price
    qty_step: Qty
    min_qty: Qty
    max_qty: Qty
    """Largest limit order."""
    max_market_qty: Qty
    """Largest market order, often ten times smaller."""
    min_notional: Decimal = ZERO
    """Of an increasing order; closing orders are exempt."""
    min_price: Price = ZERO
    max_price: Price = ZERO
    trading: bool = True
    delist_ns: TsNs = TsNs(0)
    """Announced end of trading; 0: none."""
    price_band_up: Decimal = ZERO
    """Limit BUY at most mark × this."""
    price_band_down: Decimal = ZERO
    max_leverage: Decimal = ZERO
    funding_interval_h: int = 8

    @property
    def unified(self) -> str:
        """The spelling that other programs use: `BLAST/USDT:USDT`, from what the venue states."""
        return f"{self.base}/{self.quote}:{self.quote}"

    def price_down(self, price: Decimal) -> Price:
        """Largest multiple of the tick that is not above `price`."""
        return self._round(price, self.tick_size, ROUND_FLOOR)

    def price_up(self, price: Decimal) -> Price:
        """Smallest multiple of the tick that is not below `price`."""
        return self._round(price, self.tick_size, ROUND_CEILING)

    def price_nearest(self, price: Decimal) -> Price:
        """The multiple of the tick that is nearest, ties to even."""
        return self._round(price, self.tick_size, ROUND_HALF_EVEN)

    def qty_down(self, qty: Decimal) -> Qty:
        """Largest multiple of the step that is not above `qty`."""
        return self._round(qty, self.qty_step, ROUND_FLOOR)

    def qty_up(self, qty: Decimal) -> Qty:
        """Smallest multiple of the step that is not below `qty`."""
        return self._round(qty, self.qty_step, ROUND_CEILING)

    def is_price(self, price: Decimal) -> bool:
        """Whether `price` is a positive multiple of the tick inside the venue's bounds."""
        if price <= 0 or price % self.tick_size:
            return False
        if self.min_price and price < self.min_price:
            return False
        return not (self.max_price and price > self.max_price)

    def is_qty(self, qty: Decimal) -> bool:
        """Whether `qty` is a positive multiple of the step."""
        return qty > 0 and not qty % self.qty_step

    @staticmethod
    def _round(value: Decimal, step: Decimal, rounding: str) -> Decimal:
        return canonical((value / step).to_integral_value(rounding=rounding) * step)

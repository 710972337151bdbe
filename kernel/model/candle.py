"""Closed candles: what a price series did between two marks of the clock."""

from __future__ import annotations

import msgspec

from kernel.model.units import Price, TsNs


class Candle(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One closed candle of a price series.

    Attributes:
        open_ns: When it opened, wall nanoseconds, a whole multiple of the interval. It holds what
            was made from then on, up to the instant before the next one opens.
        open: Its first price; without one in it, like the three others, the price before it.
        complete: Nothing of it is missing: the record began before it and has no hole in it.
    """

    open_ns: TsNs
    open: Price
    high: Price
    low: Price
    close: Price
    complete: bool = True

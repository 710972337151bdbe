"""Prices as the kernel sees them: watched and looked up, never streamed through it (DESIGN §3).

`PriceReader` is given by the driver: simulated tape, live cache, or a journal. Every answer is
journaled. A watch is one-shot, sees only prices after it was set, and fires as an input.
"""

from __future__ import annotations

from typing import Protocol

from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs


class PriceReader(Protocol):
    """Synchronous look-ups at the present instant of the feed."""

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        """Newest price of the series; zeros where none is known."""
        ...

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        """Top of the book; zeros where none is known."""
        ...

    def extremes(
        self, venue: str, symbol: str, source: PriceSource, since_ns: TsNs
    ) -> ExtremesRead:
        """Lowest and highest price since `since_ns` (exclusive), to the price being processed."""
        ...

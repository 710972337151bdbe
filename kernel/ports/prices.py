"""Prices as the kernel sees them: watched and looked up, never streamed through it (DESIGN §3).

`PriceReader` is given by the driver: simulated tape, live cache, or a journal. Every answer is
journaled. A watch is one-shot, sees only prices after it was set, and fires as an input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.model.candle import Candle
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead, Read
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs, text

if TYPE_CHECKING:
    from kernel.ports.outbox import Outbox


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

    def candles(
        self, venue: str, symbol: str, source: PriceSource, interval_ns: int, count: int
    ) -> tuple[Candle, ...]:
        """The newest closed candles, at most `count`, oldest first, without one left out.

        They come from the venue's own history, so what the feed lost in a gap is in them; the
        newest one is closed by what the feed has reached. None from before the first price.
        """
        ...


CANDLE_FIELDS = 6
"""Texts that a journaled candle takes."""


class JournaledPrices:
    """`PriceReader` whose every answer becomes a `Read` of the present step."""

    def __init__(self, reader: PriceReader, outbox: Outbox) -> None:
        self._reader = reader
        self._outbox = outbox

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        """See `PriceReader.last`."""
        answer = self._reader.last(venue, symbol, source)
        self._outbox.reads.append(
            Read(
                ("last", venue, symbol, source),
                (text(answer.price), str(answer.ts_ns)),
            )
        )
        return answer

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        """See `PriceReader.quote`."""
        answer = self._reader.quote(venue, symbol)
        self._outbox.reads.append(
            Read(
                ("quote", venue, symbol),
                (
                    text(answer.bid),
                    text(answer.ask),
                    text(answer.bid_qty),
                    text(answer.ask_qty),
                    str(answer.ts_ns),
                ),
            )
        )
        return answer

    def extremes(
        self, venue: str, symbol: str, source: PriceSource, since_ns: TsNs
    ) -> ExtremesRead:
        """See `PriceReader.extremes`."""
        answer = self._reader.extremes(venue, symbol, source, since_ns)
        self._outbox.reads.append(
            Read(
                ("extremes", venue, symbol, source, str(since_ns)),
                (
                    text(answer.low),
                    text(answer.high),
                    str(answer.covered_from_ns),
                    str(int(answer.has_gap)),
                    str(answer.ts_ns),
                ),
            )
        )
        return answer

    def candles(
        self, venue: str, symbol: str, source: PriceSource, interval_ns: int, count: int
    ) -> tuple[Candle, ...]:
        """See `PriceReader.candles`."""
        answer = self._reader.candles(venue, symbol, source, interval_ns, count)
        texts: list[str] = []
        for candle in answer:
            prices = (candle.open, candle.high, candle.low, candle.close)
            texts += (str(candle.open_ns), *map(text, prices), str(int(candle.complete)))
        args = ("candles", venue, symbol, source.value, str(interval_ns), str(count))
        self._outbox.reads.append(Read(args, tuple(texts)))
        return answer

"""Series as the tapes of the simulated venue."""

from __future__ import annotations

from replay.problems import LayoutError
from replay.series import CandleSet, Gap, QuoteSet, TradeSet
from venues.sim.bars import BarTape, Path
from venues.sim.feed import Span
from venues.sim.quotes import QuoteTape
from venues.sim.tape import Tape


def bar_tape(candles: CandleSet, path: Path = "close-rule") -> BarTape:
    """Candles as bars; where candles are missing the tape has a hole."""
    if not len(candles):
        raise _empty(f"{candles.venue} {candles.symbol} candles")
    return BarTape(
        candles.open_time_ns,
        candles.open,
        candles.high,
        candles.low,
        candles.close,
        bar_ns=candles.interval_ns,
        tick_size=candles.tick_size,
        path=path,
    )


def tick_tape(trades: TradeSet) -> Tape:
    """Trades as ticks. `feed_gaps` of the same trades says where some are missing."""
    if not len(trades):
        raise _empty(f"{trades.venue} {trades.symbol} trades")
    return Tape(trades.ts_ns, trades.px, trades.tick_size)


def quote_tape(quotes: QuoteSet) -> QuoteTape:
    """Quotes as the recorded top of the book."""
    if not len(quotes):
        raise _empty(f"{quotes.venue} {quotes.symbol} quotes")
    step = quotes.qty_step
    return QuoteTape(
        quotes.ts_ns,
        quotes.bid,
        quotes.ask,
        bid_qty=tuple(units * step for units in quotes.bid_qty.tolist()),
        ask_qty=tuple(units * step for units in quotes.ask_qty.tolist()),
        tick_size=quotes.tick_size,
    )


def feed_gaps(gaps: tuple[Gap, ...]) -> tuple[Span, ...]:
    """Gaps as the spans of a `FeedModel`: no price made inside arrives."""
    return tuple((gap.from_ns, gap.to_ns) for gap in gaps if gap.to_ns > gap.from_ns)


def _empty(what: str) -> LayoutError:
    return LayoutError("no rows", what, "at least one row", "another period")

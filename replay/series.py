"""Market data in memory: whole-number arrays of one venue and symbol.

Prices are integers in units of `tick_size`, times int64 nanoseconds (wall), quantities integers
in units of `qty_step`. Arrays may be memory-mapped and are never written to.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

import msgspec
import numpy as np
from numpy.typing import NDArray

from replay.columns import Ints
from replay.layouts import Kind

type Ticks = NDArray[np.int32] | NDArray[np.int64]
"""Prices in ticks: int32 where they fit."""


class Gap(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Rows are missing: nothing is known in [from_ns, to_ns)."""

    from_ns: int
    to_ns: int
    missing: int
    """Candles, trades or settlements."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CandleSet:
    """Candles of one interval, strictly growing in time; `gaps` lists the missing ones."""

    venue: str
    symbol: str
    price: str
    """`last` or `mark`: which price the candles are of."""
    interval_ns: int
    tick_size: Decimal
    gaps: tuple[Gap, ...]
    open_time_ns: Ints
    open: Ticks
    high: Ticks
    low: Ticks
    close: Ticks
    volume: NDArray[np.float64]
    """Base units (what the source calls volume); no decision reads it."""

    kind = Kind.CANDLES

    def __len__(self) -> int:
        return len(self.open_time_ns)

    @property
    def first_ns(self) -> int:
        """Open time of the first candle."""
        return int(self.open_time_ns[0])

    @property
    def end_ns(self) -> int:
        """Close time of the last candle."""
        return int(self.open_time_ns[-1]) + self.interval_ns

    def between(self, from_ns: int, to_ns: int) -> CandleSet:
        """Candles that lie wholly in [from_ns, to_ns); may be empty."""
        start, stop = np.searchsorted(self.open_time_ns, (from_ns, to_ns - self.interval_ns + 1))
        rows = slice(int(start), max(int(start), int(stop)))
        return replace(
            self,
            gaps=_clip(self.gaps, from_ns, to_ns),
            open_time_ns=self.open_time_ns[rows],
            open=self.open[rows],
            high=self.high[rows],
            low=self.low[rows],
            close=self.close[rows],
            volume=self.volume[rows],
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TradeSet:
    """Trades, never going back in time; several may share one time, in the venue's order."""

    venue: str
    symbol: str
    tick_size: Decimal
    qty_step: Decimal
    gaps: tuple[Gap, ...]
    """Holes in ids that count up by one; empty where the source has no such ids."""
    ts_ns: Ints
    px: Ticks
    qty: Ints
    taker: NDArray[np.int8]
    """+1: the taker bought, -1: sold, 0: not stated."""

    kind = Kind.TRADES

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def first_ns(self) -> int:
        """Time of the first trade."""
        return int(self.ts_ns[0])

    @property
    def end_ns(self) -> int:
        """First nanosecond after the last trade."""
        return int(self.ts_ns[-1]) + 1

    def between(self, from_ns: int, to_ns: int) -> TradeSet:
        """Trades in [from_ns, to_ns); may be none."""
        start, stop = np.searchsorted(self.ts_ns, (from_ns, to_ns))
        rows = slice(int(start), max(int(start), int(stop)))
        return replace(
            self,
            gaps=_clip(self.gaps, from_ns, to_ns),
            ts_ns=self.ts_ns[rows],
            px=self.px[rows],
            qty=self.qty[rows],
            taker=self.taker[rows],
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuoteSet:
    """Best bid and ask with their quantities, never going back in time; ask above bid."""

    venue: str
    symbol: str
    tick_size: Decimal
    qty_step: Decimal
    ts_ns: Ints
    bid: Ticks
    ask: Ticks
    bid_qty: Ints
    ask_qty: Ints
    gaps: tuple[Gap, ...] = ()
    """Quotes do not say whether some are missing."""

    kind = Kind.QUOTES

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def first_ns(self) -> int:
        """Time of the first quote."""
        return int(self.ts_ns[0])

    @property
    def end_ns(self) -> int:
        """First nanosecond after the last quote."""
        return int(self.ts_ns[-1]) + 1

    def between(self, from_ns: int, to_ns: int) -> QuoteSet:
        """Quotes in [from_ns, to_ns); may be none."""
        start, stop = np.searchsorted(self.ts_ns, (from_ns, to_ns))
        rows = slice(int(start), max(int(start), int(stop)))
        return replace(
            self,
            ts_ns=self.ts_ns[rows],
            bid=self.bid[rows],
            ask=self.ask[rows],
            bid_qty=self.bid_qty[rows],
            ask_qty=self.ask_qty[rows],
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FundingSet:
    """Funding settlements: `rate` is exact, in units of `rate_step`."""

    venue: str
    symbol: str
    rate_step: Decimal
    gaps: tuple[Gap, ...]
    ts_ns: Ints
    rate: Ints

    kind = Kind.FUNDING

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def first_ns(self) -> int:
        """Time of the first settlement."""
        return int(self.ts_ns[0])

    @property
    def end_ns(self) -> int:
        """First nanosecond after the last settlement."""
        return int(self.ts_ns[-1]) + 1

    def rates(self) -> list[tuple[int, Decimal]]:
        """(time in ns, rate) of every settlement; a positive rate is paid by longs."""
        return [
            (int(ts), int(rate) * self.rate_step)
            for ts, rate in zip(self.ts_ns, self.rate, strict=True)
        ]

    def between(self, from_ns: int, to_ns: int) -> FundingSet:
        """Settlements in [from_ns, to_ns); may be none."""
        start, stop = np.searchsorted(self.ts_ns, (from_ns, to_ns))
        rows = slice(int(start), max(int(start), int(stop)))
        return replace(
            self,
            gaps=_clip(self.gaps, from_ns, to_ns),
            ts_ns=self.ts_ns[rows],
            rate=self.rate[rows],
        )


type Series = CandleSet | TradeSet | QuoteSet | FundingSet


def _clip(gaps: tuple[Gap, ...], from_ns: int, to_ns: int) -> tuple[Gap, ...]:
    return tuple(gap for gap in gaps if gap.to_ns > from_ns and gap.from_ns < to_ns)


def narrow(values: Ints) -> Ticks:
    """The same whole numbers as int32 where they fit: a price costs four bytes."""
    if len(values) and int(np.abs(values).max()) > np.iinfo(np.int32).max:
        return values
    return values.astype(np.int32)

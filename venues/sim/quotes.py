"""Top of the book: recorded, or made from the last price by a stated spread.

A spread of `s` bps around a last price of `p` ticks: half = p·s/20000 ticks, bid = floor(p - half),
ask = ceil(p + half). Rounding goes outward, so a modeled spread is never narrower than stated;
where both sides fall on one tick the ask is one tick higher.
"""

from __future__ import annotations

from bisect import bisect_right
from decimal import Decimal

import numpy as np

from kernel.errors import SettingsError
from kernel.model.messages import QuoteRead
from kernel.model.units import ONE, TsNs
from venues.sim.grid import Grid
from venues.sim.tape import IntColumn, column, price_problems


class Spread:
    """A spread model for data that has no quotes.

    Args:
        bps: Full spread, 1 bps = 0.01 % of the last price; 0 gives one tick.
        top_qty: Base units at the bid and at the ask.

    Raises:
        SettingsError: A value is out of range.
    """

    __slots__ = ("_den", "_num", "bps", "top_qty")

    def __init__(self, bps: Decimal = ONE, top_qty: Decimal = ONE) -> None:
        problems = []
        if not bps.is_finite() or not 0 <= bps < 20_000:
            problems.append(f"spread bps {bps}: must be in [0, 20000)")
        if not top_qty.is_finite() or top_qty <= 0:
            problems.append(f"spread top_qty {top_qty}: must be positive")
        if problems:
            raise SettingsError(problems)
        self.bps = bps
        self.top_qty = top_qty
        num, den = bps.as_integer_ratio()
        self._num, self._den = num, den * 20_000

    def around(self, px: int) -> tuple[int, int]:
        """Bid and ask in ticks around a last price in ticks; the bid is at least one tick."""
        half_num = px * self._num
        bid = max(1, (px * self._den - half_num) // self._den)
        ask = -(-(px * self._den + half_num) // self._den)
        return bid, max(ask, bid + 1)

    def read(self, grid: Grid, px: int, ts_ns: int) -> QuoteRead:
        """The book around a last price as an answer."""
        bid, ask = self.around(px)
        qty = self.top_qty
        return QuoteRead(grid.price(bid), grid.price(ask), qty, qty, TsNs(ts_ns))


class QuoteTape:
    """Recorded quotes. A quote of an instant is known before the prices of that instant.

    Args:
        ts: Times, wall nanoseconds, ascending; of equal times the last one counts.
        bid: Best bids in ticks.
        ask: Best asks in ticks, above the bids.
        bid_qty: Base units at the best bid, one for each row or one for all.
        ask_qty: The same for the best ask.
        tick_size: Quote currency per tick.

    Raises:
        SettingsError: Every problem of the columns, each with its first place.
    """

    def __init__(
        self,
        ts: IntColumn,
        bid: IntColumn,
        ask: IntColumn,
        *,
        bid_qty: tuple[Decimal, ...],
        ask_qty: tuple[Decimal, ...],
        tick_size: Decimal,
    ) -> None:
        self.grid = Grid(tick_size)
        times, bids, asks = column(ts, np.int64), column(bid, np.int32), column(ask, np.int32)
        rows = len(times)
        problems = []
        if not rows or len(bids) != rows or len(asks) != rows:
            problems.append(f"quotes: ts, bid, ask have {rows}, {len(bids)}, {len(asks)} rows:"
                            " they must be equal and not 0")
        else:
            crossed = np.flatnonzero(asks <= bids)
            if crossed.size:
                i = int(crossed[0])
                problems.append(f"quotes[{i}]: ask {int(asks[i])} is not above bid {int(bids[i])}")
        problems += [
            f"quotes: {name} has {len(qty)} values: 1 or {rows} are needed"
            for name, qty in (("bid_qty", bid_qty), ("ask_qty", ask_qty))
            if len(qty) not in (1, rows)
        ]
        if (times[1:] < times[:-1]).any():
            problems.append("quotes: ts must be ascending")
        problems += price_problems("bid", bids)
        if problems:
            raise SettingsError(problems)
        self.ts = memoryview(times)
        self.bid = memoryview(bids)
        self.ask = memoryview(asks)
        self.bid_qty = bid_qty
        self.ask_qty = ask_qty

    def row_at(self, ts_ns: int) -> int:
        """The quote in force at `ts_ns`; -1: none yet."""
        return bisect_right(self.ts, ts_ns) - 1

    def read(self, row: int) -> QuoteRead:
        """A quote as an answer."""
        return QuoteRead(
            self.grid.price(self.bid[row]),
            self.grid.price(self.ask[row]),
            self.bid_qty[row if len(self.bid_qty) > 1 else 0],
            self.ask_qty[row if len(self.ask_qty) > 1 else 0],
            TsNs(self.ts[row]),
        )

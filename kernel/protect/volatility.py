"""How much a market moves in this hour, compared with the last day.

The deviation is that of simple returns between closes of five-minute candles, of the population:
sqrt(mean(r²) - mean(r)²). Returns are whole numbers of 1e-12, so the running sums are exact and
the same in every run. A new candle costs one return; the day is not summed up again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from decimal import Decimal

from kernel.model.candle import Candle
from kernel.model.units import HOUR, MINUTE, ZERO, Price, TsNs

INTERVAL_NS = 5 * MINUTE
HOUR_RETURNS = HOUR // INTERVAL_NS
DAY_RETURNS = 24 * HOUR_RETURNS
LEAST_RETURNS = 6 * HOUR_RETURNS
"""Six hours; with less nothing is said (SPEC §8)."""
_SCALE = 10**12


class _Sums:
    """Sums of the newest returns, at most so many."""

    __slots__ = ("_most", "_returns", "squares", "total")

    def __init__(self, most: int) -> None:
        self._most = most
        self._returns: deque[int] = deque()
        self.total = 0
        self.squares = 0

    def __len__(self) -> int:
        return len(self._returns)

    def add(self, value: int) -> None:
        self._returns.append(value)
        self.total += value
        self.squares += value * value
        if len(self._returns) > self._most:
            old = self._returns.popleft()
            self.total -= old
            self.squares -= old * old

    def spread(self) -> int:
        """n² times the variance: whole."""
        return len(self._returns) * self.squares - self.total * self.total


def candles_since(since_ns: int, now_ns: int) -> int:
    """How many candles opened at `since_ns` or later and closed by now, at most those of a day."""
    closed = (now_ns - now_ns % INTERVAL_NS - since_ns) // INTERVAL_NS
    return max(0, min(DAY_RETURNS + 1, closed))


class Volatility:
    """The volatility of one market, kept up with closed candles.

    Attributes:
        closed_ns: Wall time at which the newest candle closed; 0: there is none.
    """

    __slots__ = ("_close", "_day", "_hour", "_ratio", "closed_ns")

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._hour, self._day = _Sums(HOUR_RETURNS), _Sums(DAY_RETURNS)
        self._close: Price = ZERO
        self._ratio: Decimal | None = None
        self.closed_ns = TsNs(0)

    def wanted(self, now_ns: TsNs) -> int:
        """How many candles are to be read now to be up to date; 0: none."""
        return candles_since(self.closed_ns, now_ns) if self.closed_ns else DAY_RETURNS + 1

    def take(self, candles: Iterable[Candle]) -> None:
        """Add closed candles, oldest first; those that are known are passed over.

        A candle that is missing or incomplete makes what was before it worthless.
        """
        for candle in candles:
            end_ns = candle.open_ns + INTERVAL_NS
            if end_ns <= self.closed_ns:
                continue
            if candle.open_ns != self.closed_ns:
                self._forget()
            if not candle.complete:
                self._forget()
                continue
            if self._close:
                change = int((candle.close - self._close) * _SCALE / self._close)
                self._hour.add(change)
                self._day.add(change)
                self._ratio = None
            self._close, self.closed_ns = candle.close, TsNs(end_ns)

    def ratio(self) -> Decimal | None:
        """Deviation of the last hour over that of the last day; None: less than six hours.

        Where nothing moved in a whole day it is 0: calm.
        """
        if self._ratio is None:
            if len(self._day) < LEAST_RETURNS:
                return None
            hour, day = self._hour.spread(), self._day.spread()
            share = ZERO
            if day:
                scale = Decimal(len(self._day)) / len(self._hour)
                share = (Decimal(hour) / Decimal(day)).sqrt() * scale
            self._ratio = share
        return self._ratio

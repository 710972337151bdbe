"""Candles of a series that is played: built as its prices go by, each price taken once.

A read plays on from where the one before it ended, so that it costs what is new. Of a stretch
inside one candle only both ends are taken, since all of its prices lie between them.
"""

from __future__ import annotations

from array import array
from decimal import Decimal

from kernel.model.candle import Candle
from kernel.model.units import Price, TsNs, canonical
from venues.sim.bars import BarTape
from venues.sim.dense_walk import Tick, holes, stretches
from venues.sim.tape import Tape


class PlayedCandles:
    """The candles of one interval, in ticks, from the one of the first price on."""

    def __init__(self, tape: Tape | BarTape, interval_ns: int) -> None:
        self._tape = tape
        self._interval_ns = interval_ns
        self._ahead = stretches(tape)
        self._stretch = next(self._ahead, None)
        self._taken = 0  # how many of its ticks have been
        self._holes = holes(tape, len(tape))
        self._hole = next(self._holes, None)
        self._begun_ns = self._stretch.tick(1).ts_ns if self._stretch is not None else 0
        self._first_ns = self._open_ns = self._begun_ns // interval_ns * interval_ns
        self._prices: list[int] = []  # what counts of the candle that is being built
        self._open, self._high, self._low, self._close = (array("q") for _ in range(4))
        self._complete = bytearray()

    def read(self, end_ns: int, count: int) -> tuple[Candle, ...]:
        """The newest candles that end at `end_ns`, a multiple of the interval, or before it."""
        self._play(end_ns)
        end = max((end_ns - self._first_ns) // self._interval_ns, 0)
        return tuple(self._candle(i) for i in range(max(end - count, 0), end))

    def _candle(self, i: int) -> Candle:
        return Candle(
            TsNs(self._first_ns + i * self._interval_ns),
            self._price(self._open[i]),
            self._price(self._high[i]),
            self._price(self._low[i]),
            self._price(self._close[i]),
            bool(self._complete[i]),
        )

    def _price(self, px: int) -> Price:
        return canonical(Decimal(px) * self._tape.tick_size)

    def _play(self, end_ns: int) -> None:
        # Take what was made before `end_ns` and close every candle up to there.
        while self._stretch is not None:
            stretch, start = self._stretch, self._taken + 1
            first, last = stretch.tick(start), stretch.tick(stretch.count)
            if last.ts_ns < min(end_ns, self._end_of_candle(first)):
                self._take(first)
                self._take(last)
            else:
                for j in range(start, stretch.count + 1):
                    tick = stretch.tick(j)
                    if tick.ts_ns >= end_ns:
                        self._close_until(end_ns)
                        return
                    self._take(tick)
                    self._taken = j
            self._stretch, self._taken = next(self._ahead, None), 0
        self._close_until(end_ns)

    def _end_of_candle(self, tick: Tick) -> int:
        return (tick.ts_ns // self._interval_ns + 1) * self._interval_ns

    def _take(self, tick: Tick) -> None:
        self._close_until(tick.ts_ns)
        self._prices.append(tick.px)

    def _close_until(self, ts_ns: int) -> None:
        # Close each candle that ends at `ts_ns` or before; one without a price stands still.
        while self._open_ns + self._interval_ns <= ts_ns:
            prices = self._prices or [self._close[-1]]
            self._open.append(prices[0])
            self._high.append(max(prices))
            self._low.append(min(prices))
            self._close.append(prices[-1])
            self._complete.append(self._open_ns >= self._begun_ns and not self._holed())
            self._prices = []
            self._open_ns += self._interval_ns

    def _holed(self) -> bool:
        # Whether a hole of the record touches the candle that is being built.
        while self._hole is not None and self._hole[1] <= self._open_ns:
            self._hole = next(self._holes, None)
        return self._hole is not None and self._hole[0] < self._open_ns + self._interval_ns

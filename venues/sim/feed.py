"""The feed: what the kernel sees of a tape, later and with holes.

A price made at `ts` arrives at `ts` plus the delay that is in force at `ts`. Nothing overtakes:
a price never arrives before one that was made earlier, so behind a drop of the delay prices
arrive together when the slow ones are through. What was made inside a gap never arrives.

With `candle_ns` the feed is one of closed candles: what was made in a candle is on its way from the
candle's end on, all of it together, and the kernel sees it as one event.
"""

from __future__ import annotations

from bisect import bisect_right

from kernel.errors import SettingsError

type Span = tuple[int, int]
"""Wall nanoseconds [from, to)."""


def merged(spans: list[Span]) -> tuple[Span, ...]:
    """The same instants as ascending spans that neither touch nor overlap."""
    out: list[Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], end))
        else:
            out.append((start, end))
    return tuple(out)


class FeedModel:
    """Delay and gaps of the feed of one market.

    Args:
        delays: (from_ns, delay_ns), ascending: from `from_ns` on this delay is in force; before
            the first one there is none.
        gaps: [from_ns, to_ns), times at which a price that is made never arrives.
        candle_ns: Length of the candles, which begin at its multiples; 0: every price by itself.

    Raises:
        SettingsError: Every delay, gap or length that is out of range.
    """

    def __init__(
        self,
        delays: tuple[tuple[int, int], ...] = (),
        gaps: tuple[Span, ...] = (),
        candle_ns: int = 0,
    ) -> None:
        self._refuse_bad(delays, gaps, candle_ns)
        self.candle_ns = candle_ns
        self.delays = delays
        self.gaps = merged(list(gaps))
        self._from = [start for start, _ in delays]
        self._gap_from = [start for start, _ in self.gaps]
        self._gap_to = [end for _, end in self.gaps]
        # held[k]: when the slowest price of all earlier delays is through.
        self._held: list[int] = []
        delay = 0
        for k, (start, following) in enumerate(delays):
            slowest = start - 1 + delay
            self._held.append(slowest if k == 0 else max(self._held[-1], slowest))
            delay = following
        self._first_arrival = [self._delayed(start) for start in self._from]

    def arrival(self, ts_ns: int) -> int:
        """When a price made at `ts_ns` arrives, unless it is lost in a gap."""
        return self._delayed(self.closing(ts_ns) if self.candle_ns else ts_ns)

    def closing(self, ts_ns: int) -> int:
        """The end of the candle of `ts_ns`, the first instant that is not in it."""
        return ts_ns - ts_ns % self.candle_ns + self.candle_ns

    def _delayed(self, ts_ns: int) -> int:
        k = bisect_right(self._from, ts_ns) - 1
        if k < 0:
            return ts_ns
        return max(ts_ns + self.delays[k][1], self._held[k])

    def reached(self, now_ns: int) -> int:
        """The last instant whose prices have all arrived by the end of `now_ns`."""
        sent_ns = self._sent(now_ns)
        return sent_ns - sent_ns % self.candle_ns - 1 if self.candle_ns else sent_ns

    def _sent(self, now_ns: int) -> int:
        # The last instant of which everything that was sent has arrived by the end of `now_ns`.
        if not self._from:
            return now_ns
        k = bisect_right(self._first_arrival, now_ns) - 1
        delay = self.delays[k][1] if k >= 0 else 0
        reached = now_ns - delay
        if k + 1 < len(self._from):
            reached = min(reached, self._from[k + 1] - 1)
        return reached

    def gap_at(self, ts_ns: int) -> Span | None:
        """The gap that swallows a price made at `ts_ns`."""
        if not self._gap_from:
            return None
        k = bisect_right(self._gap_from, ts_ns) - 1
        if k >= 0 and ts_ns < self.gaps[k][1]:
            return self.gaps[k]
        return None

    def gaps_between(self, after_ns: int, through_ns: int) -> tuple[Span, ...]:
        """The gaps that swallow anything made in (after_ns, through_ns]."""
        first = bisect_right(self._gap_to, after_ns + 1)
        return self.gaps[first : bisect_right(self._gap_from, through_ns)]

    @staticmethod
    def _refuse_bad(
        delays: tuple[tuple[int, int], ...], gaps: tuple[Span, ...], candle_ns: int
    ) -> None:
        problems = [
            f"feed delay {i}: {delay} ns from {start}: a delay is 0 or more"
            for i, (start, delay) in enumerate(delays)
            if delay < 0
        ]
        problems += [
            f"feed delay {i}: from {delays[i][0]} is not after {delays[i - 1][0]}: sort by time"
            for i in range(1, len(delays))
            if delays[i][0] <= delays[i - 1][0]
        ]
        problems += [
            f"feed gap {i}: [{start}, {end}): the end must be after the start"
            for i, (start, end) in enumerate(gaps)
            if end <= start
        ]
        if candle_ns < 0:
            problems.append(f"feed candle {candle_ns} ns: 0 (every price by itself) or more")
        if problems:
            raise SettingsError(problems)

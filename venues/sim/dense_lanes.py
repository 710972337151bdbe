"""Lanes that are played: the walk of one price series, tick by tick, bars segment by segment.

No index, no inverse of a level, no arithmetic of the feed: what `venues.sim.lanes` looks up is
found here by going through the prices in their turn and comparing decimals (`dense_walk`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial

from kernel.model.candle import Candle
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead
from kernel.model.units import Price, TsNs, canonical
from venues.sim.agenda import Agenda, Entry
from venues.sim.bars import BarTape
from venues.sim.dense_candles import PlayedCandles
from venues.sim.dense_walk import Stretch, Tick, holes, stretches
from venues.sim.feed import FeedModel
from venues.sim.quotes import QuoteTape
from venues.sim.tape import Tape


class Wish:
    """Something set on a lane that waits for a price; without bounds any recorded one will do."""

    __slots__ = ("above", "action", "below", "entry", "number")

    def __init__(
        self, number: int, action: Callable[[Tick], None], above: Price | None, below: Price | None
    ) -> None:
        self.number = number
        self.action = action
        self.above = above
        self.below = below
        self.entry: Entry | None = None

    def granted(self, tick: Tick, price: Decimal) -> bool:
        if self.above is None and self.below is None:
            return tick.recorded
        if self.above is not None and price >= self.above:
            return True
        return self.below is not None and price <= self.below


class PlayedLane:
    """One series as one side sees it, and how far it has been played."""

    def __init__(
        self, agenda: Agenda, rank: int, index: int, tape: Tape | BarTape, feed: FeedModel
    ) -> None:
        self._agenda = agenda
        self._rank = rank
        self._index = index
        self._tape = tape
        self._feed = feed
        self._ahead = stretches(tape)
        self._stretch: Stretch | None = next(self._ahead, None)  # being played
        self._played = 0  # how many of its ticks have been
        self._seen: Tick | None = None  # played last
        self.newest: Tick | None = None  # played last and not lost in a gap
        self._wishes: list[Wish] = []
        self._stop: Entry | None = None  # where the walk stops next to look at the wishes
        self._candles: dict[int, PlayedCandles] = {}  # by interval
        self._quotes_played = 0
        self._quote = -1

    def price(self, tick: Tick) -> Decimal:
        return canonical(Decimal(tick.px) * self._tape.tick_size)

    def read(self) -> PriceRead:
        self.play()
        tick = self.newest
        return PriceRead(self.price(tick), TsNs(tick.ts_ns)) if tick else PriceRead()

    def quote(self, quotes: QuoteTape) -> QuoteRead:
        self.play()
        while self._quotes_played < len(quotes.ts):
            ts_ns = quotes.ts[self._quotes_played]
            if not self._made_by_now(ts_ns):
                break
            if not self._lost(ts_ns):
                self._quote = self._quotes_played
            self._quotes_played += 1
        return quotes.read(self._quote) if self._quote >= 0 else QuoteRead()

    def play(self) -> None:
        """Take every tick up to the present position."""
        while self._stretch is not None:
            stretch, start = self._stretch, self._played
            count = stretch.count
            if not self._is_past(stretch.tick(count)):
                count = start + _leading(range(start + 1, count), self._past_in(stretch))
            if count > start:
                self._seen = stretch.tick(count)
                for j in range(count, start, -1):
                    tick = stretch.tick(j)
                    if not self._lost(tick.ts_ns):
                        self.newest = tick
                        break
            self._played = count
            if count < stretch.count:
                return
            self._stretch, self._played = next(self._ahead, None), 0

    def wish(self, wish: Wish) -> None:
        """Wait for a price behind the present position."""
        self._wishes.append(wish)
        if self._stop is not None:
            self._stop.cancel()
        self._plan_stop()

    def drop(self, wish: Wish) -> None:
        """Stop waiting."""
        if wish in self._wishes:
            self._wishes.remove(wish)
        if wish.entry is not None:
            wish.entry.cancel()

    def ever_again(self) -> bool:
        """Whether another recorded price will arrive."""
        self.play()
        place = self._seen.place if self._seen is not None else -1
        for stretch in stretches(self._tape, max(place, 0) >> 64):
            tick = stretch.tick(stretch.count)
            if tick.place > place and not self._lost(tick.ts_ns):
                return True
        return False

    def extremes(self, since_ns: int) -> ExtremesRead:
        self.play()
        covered_ns, has_gap = TsNs(max(since_ns, self._first_ns())), self._has_gap(since_ns)
        low = high = newest = None
        for tick in self._ticks_since(since_ns):
            low = tick if low is None or tick.px < low.px else low
            high = tick if high is None or tick.px > high.px else high
            newest = tick
        if low is None or high is None or newest is None:
            return ExtremesRead(covered_from_ns=covered_ns, has_gap=has_gap)
        newest_ns = TsNs(newest.ts_ns)
        return ExtremesRead(self.price(low), self.price(high), covered_ns, has_gap, newest_ns)

    def candles(self, interval_ns: int, count: int) -> tuple[Candle, ...]:
        self.play()
        end_ns = self._agenda.now_ns // interval_ns * interval_ns
        while end_ns > 0 and not self._made_by_now(end_ns):
            end_ns -= interval_ns
        built = self._candles.get(interval_ns)
        if built is None:
            built = self._candles[interval_ns] = PlayedCandles(self._tape, interval_ns)
        return built.read(end_ns, count)

    def _first_ns(self) -> int:
        return stretches(self._tape).__next__().tick(1).ts_ns

    def _ticks_since(self, since_ns: int) -> Iterator[Tick]:
        # What was seen after `since_ns`; of a stretch that was seen whole only both ends, since
        # all of its prices lie between them.
        if self._seen is None:
            return
        times = self._tape.ts if isinstance(self._tape, Tape) else self._tape.open_ns
        first = self._seen.place >> 64
        while first > 0 and times[first] > since_ns:
            first -= 1
        for stretch in stretches(self._tape, first):
            ends = (stretch.tick(1), stretch.tick(stretch.count))
            if ends[0].place > self._seen.place:
                return
            whole = ends[0].ts_ns > since_ns and ends[1].place <= self._seen.place
            if whole and not self._gap_touches(ends[0].ts_ns, ends[1].ts_ns):
                yield from ends
                continue
            for j in range(1, stretch.count + 1):
                tick = stretch.tick(j)
                if tick.place > self._seen.place:
                    return
                if tick.ts_ns > since_ns and not self._lost(tick.ts_ns):
                    yield tick

    def _arrival(self, ts_ns: int) -> int:
        # When a price made at `ts_ns` is through: no earlier than anything made before it.
        delays = self._feed.delays
        if self._feed.candle_ns:
            ts_ns = self._feed.closing(ts_ns)
        slowest = ts_ns
        for k, (start, delay) in enumerate(delays):
            if start <= ts_ns:
                later = delays[k + 1][0] - 1 if k + 1 < len(delays) else ts_ns
                slowest = max(slowest, min(ts_ns, later) + delay)
        return slowest

    def _lost(self, ts_ns: int) -> bool:
        return any(start <= ts_ns < end for start, end in self._feed.gaps)

    def _gap_touches(self, first_ns: int, last_ns: int) -> bool:
        return any(start <= last_ns and first_ns < end for start, end in self._feed.gaps)

    def _has_gap(self, since_ns: int) -> bool:
        last = self._seen.place >> 64 if self._seen is not None else -1
        spans = [*self._feed.gaps, *holes(self._tape, last + 1)]
        # The first instant of the span that lies after `since_ns`, if any.
        return any(
            max(start, since_ns + 1) < end and self._made_by_now(max(start, since_ns + 1))
            for start, end in spans
        )

    def _made_by_now(self, ts_ns: int) -> bool:
        # Whether what was made at `ts_ns` is through at the present position.
        if self._is_mine():
            return self._seen is not None and ts_ns <= self._seen.ts_ns
        return self._is_through(self._arrival(ts_ns))

    def _is_mine(self) -> bool:
        agenda = self._agenda
        return agenda.rank == self._rank and agenda.order[:1] == (self._index,)

    def _is_through(self, arrived_ns: int) -> bool:
        agenda = self._agenda
        if arrived_ns != agenda.now_ns:
            return arrived_ns < agenda.now_ns
        here = (agenda.rank, *agenda.order[:1])
        return here > (self._rank, self._index)

    def _is_past(self, tick: Tick) -> bool:
        if self._is_mine():
            return tick.place <= int(self._agenda.order[1])
        return self._is_through(self._arrival(tick.ts_ns))

    def _past_in(self, stretch: Stretch) -> Callable[[int], bool]:
        return lambda j: self._is_past(stretch.tick(j))

    def _plan_stop(self) -> None:
        # The next stop: the first tick of the stretch that grants a wish, or its last tick. The
        # ends of a stretch tell whether there can be one between them.
        self._stop = None
        self.play()
        stretch = self._stretch
        if stretch is None or not self._wishes:
            return
        if self._feed.candle_ns:
            self._plan_candle()
            return
        stop = stretch.tick(stretch.count)
        if self._grants(stretch.tick(self._played + 1)) or self._grants(stop):
            j = self._played + 1
            while not self._grants(stop := stretch.tick(j)):
                j += 1
        self._stop = self._agenda.push(
            self._arrival(stop.ts_ns),
            self._rank,
            partial(self._look, stop),
            (self._index, stop.place, 0),
        )

    def _plan_candle(self) -> None:
        # The next stop of a feed of candles: the last tick of the first candle that grants a wish.
        seen = self._seen.place if self._seen is not None else -1
        granting: Tick | None = None
        for tick in self._granting_since(seen):
            granting = tick
            break
        if granting is None:
            return
        last = self._candle_of(granting)[-1]
        self._stop = self._agenda.push(
            self._arrival(last.ts_ns),
            self._rank,
            partial(self._look_at_candle, last),
            (self._index, last.place, 0),
        )

    def _granting_since(self, seen: int) -> Iterator[Tick]:
        # Ticks behind a place that arrive and grant a wish. All prices of a stretch lie between
        # its ends, so it is walked only where one of them grants something.
        for stretch in stretches(self._tape, max(seen, 0) >> 64):
            if not self._grants(stretch.tick(1)) and not self._grants(stretch.tick(stretch.count)):
                continue
            for j in range(1, stretch.count + 1):
                tick = stretch.tick(j)
                if tick.place > seen and not self._lost(tick.ts_ns) and self._grants(tick):
                    yield tick

    def _candle_of(self, one: Tick) -> list[Tick]:
        # All ticks of the candle in which this one was made.
        closing = self._feed.closing
        found: list[Tick] = []
        times = self._tape.ts if isinstance(self._tape, Tape) else self._tape.open_ns
        close_ns, first = closing(one.ts_ns), one.place >> 64
        while first > 0 and closing(times[first]) >= close_ns:
            first -= 1
        for stretch in stretches(self._tape, first):
            for j in range(1, stretch.count + 1):
                tick = stretch.tick(j)
                if closing(tick.ts_ns) > close_ns:
                    return found
                if closing(tick.ts_ns) == close_ns:
                    found.append(tick)
        return found

    def _look_at_candle(self, last: Tick) -> None:
        # One candle: each wish is granted by the first of its ticks that does it, if any; what is
        # granted goes on the agenda in the order of setting, at the end of the candle.
        self.play()
        ticks = [tick for tick in self._candle_of(last) if not self._lost(tick.ts_ns)]
        for wish in list(self._wishes):
            for tick in ticks:
                if wish.granted(tick, self.price(tick)):
                    self._wishes.remove(wish)
                    wish.entry = self._agenda.push(
                        self._agenda.now_ns,
                        self._rank,
                        partial(wish.action, tick),
                        (self._index, last.place, wish.number),
                    )
                    break
        self._plan_stop()

    def _grants(self, tick: Tick) -> bool:
        price = self.price(tick)
        return any(wish.granted(tick, price) for wish in self._wishes)

    def _look(self, tick: Tick) -> None:
        # One tick: everything that it grants goes on the agenda in the order of setting, so that
        # each call is an entry of its own and may still be dropped by the one before it.
        self.play()
        if not self._lost(tick.ts_ns):
            price = self.price(tick)
            for wish in [wish for wish in self._wishes if wish.granted(tick, price)]:
                self._wishes.remove(wish)
                wish.entry = self._agenda.push(
                    self._agenda.now_ns,
                    self._rank,
                    partial(wish.action, tick),
                    (self._index, tick.place, wish.number),
                )
        self._plan_stop()


def _leading(candidates: range, holds: Callable[[int], bool]) -> int:
    # How many of the candidates hold; those that do come first.
    low, high = 0, len(candidates)
    while low < high:
        middle = (low + high) // 2
        if holds(candidates[middle]):
            low = middle + 1
        else:
            high = middle
    return low

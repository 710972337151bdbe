"""Lanes that are played: the walk of one price series, tick by tick, bars segment by segment.

No index, no inverse of a level, no arithmetic of the feed: what `venues.sim.lanes` looks up is
found here by going through every price in its turn and comparing decimals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial

from kernel.model.messages import ExtremesRead, PriceRead
from kernel.model.units import Price, TsNs, canonical
from venues.sim.agenda import Agenda, Entry
from venues.sim.bars import BarTape
from venues.sim.feed import FeedModel
from venues.sim.tape import Tape

type _Place = tuple[int, int]
"""Number of the tick, or of the bar and of the step on its path."""


class Tick:
    """One price on its way to a lane."""

    __slots__ = ("corner", "place", "px", "ts_ns")

    def __init__(self, place: _Place, ts_ns: int, px: int, corner: bool) -> None:  # noqa: FBT001
        self.place = place
        self.ts_ns = ts_ns
        self.px = px
        self.corner = corner  # recorded, not interpolated


def _ticks(tape: Tape | BarTape) -> Iterator[Tick]:
    if isinstance(tape, Tape):
        for i in range(len(tape)):
            yield Tick((i, 0), tape.ts[i], tape.px[i], corner=True)
        return
    for bar in range(len(tape)):
        prices, times = tape.corners(bar), tape.corner_times(bar)
        step = 0
        yield Tick((bar, step), times[0], prices[0], corner=True)
        for segment in range(3):
            px, end_px = prices[segment], prices[segment + 1]
            start_ns, end_ns = times[segment], times[segment + 1]
            steps = max(abs(end_px - px), 1)
            for j in range(1, steps + 1):
                px += (end_px > px) - (end_px < px)
                step += 1
                whole, rest = divmod(j * (end_ns - start_ns), steps)
                yield Tick((bar, step), start_ns + whole + (rest > 0), px, corner=j == steps)


class Wish:
    """Something set on a lane that waits for a price."""

    __slots__ = ("above", "action", "below", "corner", "entry", "number")

    def __init__(
        self, number: int, action: Callable[[Tick], None], above: Price | None, below: Price | None
    ) -> None:
        self.number = number
        self.action = action
        self.above = above
        self.below = below
        self.corner = above is None and below is None  # any recorded price will do
        self.entry: Entry | None = None

    def granted(self, tick: Tick, price: Decimal) -> bool:
        if self.corner:
            return tick.corner
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
        self._ahead = _ticks(tape)
        self._next: Tick | None = next(self._ahead, None)
        self._seen: Tick | None = None  # played last
        self.newest: Tick | None = None  # played last and not lost in a gap
        self._wishes: list[Wish] = []
        self._step: Entry | None = None  # the agenda's entry for the next tick

    def price(self, tick: Tick) -> Decimal:
        return canonical(Decimal(tick.px) * self._tape.tick_size)

    def read(self) -> PriceRead:
        self.play()
        tick = self.newest
        return PriceRead(self.price(tick), TsNs(tick.ts_ns)) if tick else PriceRead()

    def arrival(self, ts_ns: int) -> int:
        """When a price made at `ts_ns` is through: no earlier than anything made before it."""
        delays = self._feed.delays
        slowest = ts_ns
        for k, (start, delay) in enumerate(delays):
            if start <= ts_ns:
                later = delays[k + 1][0] - 1 if k + 1 < len(delays) else ts_ns
                slowest = max(slowest, min(ts_ns, later) + delay)
        return slowest

    def lost(self, ts_ns: int) -> bool:
        return any(start <= ts_ns < end for start, end in self._feed.gaps)

    def play(self) -> None:
        """Take every tick up to the present position."""
        while self._next is not None and self._is_past(self._next):
            self._seen = self._next
            if not self.lost(self._next.ts_ns):
                self.newest = self._next
            self._next = next(self._ahead, None)

    def wish(self, wish: Wish) -> None:
        """Wait for a price behind the present position."""
        self.play()
        self._wishes.append(wish)
        self._plan_step()

    def drop(self, wish: Wish) -> None:
        """Stop waiting."""
        if wish in self._wishes:
            self._wishes.remove(wish)
        if wish.entry is not None:
            wish.entry.cancel()

    def ever_again(self) -> bool:
        """Whether another recorded price will arrive."""
        self.play()
        rest = _ticks(self._tape)
        return any(
            tick.corner
            and (self._seen is None or tick.place > self._seen.place)
            and not self.lost(tick.ts_ns)
            for tick in rest
        )

    def extremes(self, since_ns: int) -> ExtremesRead:
        self.play()
        low = high = None
        newest_ns = 0
        seen = self._seen
        for tick in _ticks(self._tape):
            if seen is None or tick.place > seen.place:
                break
            if tick.ts_ns > since_ns and not self.lost(tick.ts_ns):
                price = self.price(tick)
                low = price if low is None else min(low, price)
                high = price if high is None else max(high, price)
                newest_ns = tick.ts_ns
        first_ns = next(_ticks(self._tape)).ts_ns
        covered_ns, has_gap = TsNs(max(since_ns, first_ns)), self._has_gap(since_ns)
        if low is None or high is None:
            return ExtremesRead(covered_from_ns=covered_ns, has_gap=has_gap)
        return ExtremesRead(low, high, covered_ns, has_gap, TsNs(newest_ns))

    def made_by_now(self, ts_ns: int) -> bool:
        """Whether what was made at `ts_ns` is through at the present position."""
        agenda = self._agenda
        if self._is_mine():
            return self._seen is not None and ts_ns <= self._seen.ts_ns
        arrived_ns = self.arrival(ts_ns)
        return arrived_ns < agenda.now_ns or (
            arrived_ns == agenda.now_ns and self._position() > (self._rank, self._index)
        )

    def _has_gap(self, since_ns: int) -> bool:
        spans = list(self._feed.gaps)
        tape = self._tape
        if isinstance(tape, BarTape):
            ends = [start + tape.bar_ns for start in tape.open_ns]
            follows = zip(ends, tape.open_ns[1:], strict=False)
            spans += [(end, start) for end, start in follows if end < start]
        # The first instant of the span that lies after `since_ns`, if any.
        return any(
            max(start, since_ns + 1) < end and self.made_by_now(max(start, since_ns + 1))
            for start, end in spans
        )

    def _position(self) -> tuple[int, int]:
        agenda = self._agenda
        return agenda.rank, agenda.order[0] if agenda.order else -1

    def _is_mine(self) -> bool:
        return self._position() == (self._rank, self._index)

    def _is_past(self, tick: Tick) -> bool:
        agenda = self._agenda
        if self._is_mine():
            return tick.place <= _place(agenda.order[1], self._tape)
        arrived_ns = self.arrival(tick.ts_ns)
        return arrived_ns < agenda.now_ns or (
            arrived_ns == agenda.now_ns and self._position() > (self._rank, self._index)
        )

    def _plan_step(self) -> None:
        if self._step is not None or not self._wishes or self._next is None:
            return
        tick = self._next
        self._step = self._agenda.push(
            self.arrival(tick.ts_ns),
            self._rank,
            partial(self._take, tick),
            (self._index, _cursor(tick.place, self._tape), 0),
        )

    def _take(self, tick: Tick) -> None:
        # One tick: everything that it grants goes on the agenda in the order of setting, so that
        # each call is an entry of its own and may still be dropped by the one before it.
        self._step = None
        self.play()
        if not self.lost(tick.ts_ns):
            price = self.price(tick)
            for wish in [wish for wish in self._wishes if wish.granted(tick, price)]:
                self._wishes.remove(wish)
                wish.entry = self._agenda.push(
                    self._agenda.now_ns,
                    self._rank,
                    partial(wish.action, tick),
                    (self._index, _cursor(tick.place, self._tape), wish.number),
                )
        self._plan_step()


def _cursor(place: _Place, tape: Tape | BarTape) -> int:
    # Only its order matters, and that an order on the agenda is a tuple of numbers.
    return place[0] if isinstance(tape, Tape) else place[0] << 64 | place[1]


def _place(cursor: int, tape: Tape | BarTape) -> _Place:
    return (cursor, 0) if isinstance(tape, Tape) else (cursor >> 64, cursor & ((1 << 64) - 1))

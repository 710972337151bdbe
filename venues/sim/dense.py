"""The price service played tick by tick: the oracle for the one that looks up.

It gives the same calls as `venues.sim.prices` and shares no search with it: no index, no inverse
of a level, no arithmetic of the feed. Each lane walks its prices one by one, bars segment by
segment through every tick, and compares decimals. It is what a component with a reaction to every
tick would need, and what the property tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import partial

from kernel.errors import InvariantViolation
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead, WatchFired, WatchSet
from kernel.model.orders import PriceSource
from kernel.model.units import Price, TsNs, canonical
from venues.sim.agenda import RANK_VENUE_PRICE, RANK_WATCH, Agenda, Entry
from venues.sim.bars import BarTape
from venues.sim.feed import FeedModel
from venues.sim.market import (
    Market,
    OnFired,
    OnPrice,
    VenuePrices,
    refuse_no_bound,
    refuse_twins,
    refuse_wrong_stamp,
)
from venues.sim.tape import Tape

type _Place = tuple[int, int]
"""Number of the tick, or of the bar and of the step on its path."""


class _Tick:
    """One price on its way to a lane."""

    __slots__ = ("corner", "place", "px", "ts_ns")

    def __init__(self, place: _Place, ts_ns: int, px: int, corner: bool) -> None:  # noqa: FBT001
        self.place = place
        self.ts_ns = ts_ns
        self.px = px
        self.corner = corner  # recorded, not interpolated


def _ticks(tape: Tape | BarTape) -> Iterator[_Tick]:
    if isinstance(tape, Tape):
        for i in range(len(tape)):
            yield _Tick((i, 0), tape.ts[i], tape.px[i], corner=True)
        return
    for bar in range(len(tape)):
        prices, times = tape.corners(bar), tape.corner_times(bar)
        step = 0
        yield _Tick((bar, step), times[0], prices[0], corner=True)
        for segment in range(3):
            px, end_px = prices[segment], prices[segment + 1]
            start_ns, end_ns = times[segment], times[segment + 1]
            steps = max(abs(end_px - px), 1)
            for j in range(1, steps + 1):
                px += (end_px > px) - (end_px < px)
                step += 1
                whole, rest = divmod(j * (end_ns - start_ns), steps)
                yield _Tick((bar, step), start_ns + whole + (rest > 0), px, corner=j == steps)


class _Wish:
    """Something set on a lane that waits for a price."""

    __slots__ = ("above", "action", "below", "corner", "entry", "number")

    def __init__(
        self, number: int, action: Callable[[_Tick], None], above: Price | None, below: Price | None
    ) -> None:
        self.number = number
        self.action = action
        self.above = above
        self.below = below
        self.corner = above is None and below is None  # any recorded price will do
        self.entry: Entry | None = None

    def granted(self, tick: _Tick, price: Decimal) -> bool:
        if self.corner:
            return tick.corner
        if self.above is not None and price >= self.above:
            return True
        return self.below is not None and price <= self.below


class _Lane:
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
        self._next: _Tick | None = next(self._ahead, None)
        self._seen: _Tick | None = None  # played last
        self.newest: _Tick | None = None  # played last and not lost in a gap
        self._wishes: list[_Wish] = []
        self._step: Entry | None = None  # the agenda's entry for the next tick

    def price(self, tick: _Tick) -> Decimal:
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

    def wish(self, wish: _Wish) -> None:
        """Wait for a price behind the present position."""
        self.play()
        self._wishes.append(wish)
        self._plan_step()

    def drop(self, wish: _Wish) -> None:
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
            spans += [span for span in zip(ends, tape.open_ns[1:], strict=False) if span[0] < span[1]]
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

    def _is_past(self, tick: _Tick) -> bool:
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

    def _take(self, tick: _Tick) -> None:
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


class _Side:
    """All lanes of the feed, or all lanes of the tape, and what waits on them."""

    def __init__(self, agenda: Agenda, rank: int, markets: list[Market]) -> None:
        self.waiting: dict[str, tuple[_Lane, _Wish]] = {}
        self._markets = markets
        self._last: list[_Lane] = []
        self._mark: list[_Lane] = []
        for number, market in enumerate(markets):
            feed = market.feed if rank == RANK_WATCH else FeedModel()
            last = _Lane(agenda, rank, 2 * number, market.last, feed)
            mark = last
            if market.mark is not None:
                mark = _Lane(agenda, rank, 2 * number + 1, market.mark, feed)
            self._last.append(last)
            self._mark.append(mark)

    def lane(self, venue: str, symbol: str, source: PriceSource) -> _Lane:
        lanes = self._mark if source is PriceSource.MARK else self._last
        return lanes[self._number(venue, symbol)]

    def wait(self, name: str, lane: _Lane, wish: _Wish) -> None:
        """Let a wish wait under a name, in the place of an earlier one."""
        self.clear(name)
        act = wish.action

        def granted(tick: _Tick) -> None:
            del self.waiting[name]
            act(tick)

        wish.action = granted
        self.waiting[name] = (lane, wish)
        lane.wish(wish)

    def clear(self, name: str) -> None:
        if name in self.waiting:
            lane, wish = self.waiting.pop(name)
            lane.drop(wish)

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        lane = self.lane(venue, symbol, PriceSource.LAST)
        lane.play()
        market = self._markets[self._number(venue, symbol)]
        if market.quotes is None:
            tick = lane.newest
            if tick is None:
                return QuoteRead()
            return market.spread.read(market.last.grid, tick.px, tick.ts_ns)
        answer = QuoteRead()
        for row, ts_ns in enumerate(market.quotes.ts):
            if lane.made_by_now(ts_ns) and not lane.lost(ts_ns):
                answer = market.quotes.read(row)
        return answer

    def _number(self, venue: str, symbol: str) -> int:
        for number, market in enumerate(self._markets):
            if market.venue == venue and market.symbol == symbol:
                return number
        raise InvariantViolation(f"no prices for {venue} {symbol} in this world")


class DensePriceService:
    """The dense price service; see `venues.sim.market.Prices` for what each call promises.

    Args:
        agenda: The world's agenda.
        markets: Every market of the world; their order is their order within a nanosecond.
        on_fired: Called for each watch that fires, while its entry runs.

    Raises:
        SettingsError: Two markets share venue and symbol.
    """

    def __init__(self, agenda: Agenda, markets: list[Market], on_fired: OnFired) -> None:
        refuse_twins(markets)
        self._agenda = agenda
        self._on_fired = on_fired
        self._feed = _Side(agenda, RANK_WATCH, markets)
        self._tape = _Side(agenda, RANK_VENUE_PRICE, markets)
        self._set = 0

    def watch(self, effect: WatchSet, set_at_ns: int) -> None:
        refuse_wrong_stamp(self._agenda, effect.watch_id, set_at_ns)
        refuse_no_bound(effect.watch_id, effect.at_or_above, effect.at_or_below)
        lane = self._feed.lane(effect.venue, effect.symbol, effect.source)

        def fire(tick: _Tick) -> None:
            self._on_fired(
                WatchFired(
                    watch_id=effect.watch_id,
                    price=lane.price(tick),
                    price_ts_ns=TsNs(tick.ts_ns),
                )
            )

        wish = _Wish(self.next_number(), fire, effect.at_or_above, effect.at_or_below)
        self._feed.wait(effect.watch_id, lane, wish)

    def clear(self, watch_id: str) -> None:
        self._feed.clear(watch_id)

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        return self._feed.lane(venue, symbol, source).read()

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        return self._feed.quote(venue, symbol)

    def extremes(
        self, venue: str, symbol: str, source: PriceSource, since_ns: TsNs
    ) -> ExtremesRead:
        return self._feed.lane(venue, symbol, source).extremes(since_ns)

    def at_venue(self, venue: str) -> VenuePrices:
        return _AtVenue(venue, self._tape, self.next_number)

    def next_number(self) -> int:
        """The number of what is set next."""
        self._set += 1
        return self._set


class _AtVenue:
    """`venues.sim.market.VenuePrices` over the lanes of the tape; names are per venue."""

    def __init__(self, venue: str, tape: _Side, next_number: Callable[[], int]) -> None:
        self._venue = venue
        self._tape = tape
        self._next_number = next_number

    def trigger(
        self,
        trigger_id: str,
        symbol: str,
        source: PriceSource,
        *,
        above: Price | None,
        below: Price | None,
        action: OnPrice,
    ) -> None:
        refuse_no_bound(trigger_id, above, below)
        lane = self._tape.lane(self._venue, symbol, source)
        wish = _Wish(
            self._next_number(),
            lambda tick: action(PriceRead(lane.price(tick), TsNs(tick.ts_ns))),
            above,
            below,
        )
        self._tape.wait(f"{self._venue}/{trigger_id}", lane, wish)

    def clear(self, trigger_id: str) -> None:
        self._tape.clear(f"{self._venue}/{trigger_id}")

    def next_tick(self, symbol: str, action: OnPrice) -> bool:
        lane = self._tape.lane(self._venue, symbol, PriceSource.LAST)
        number = self._next_number()
        if not lane.ever_again():
            return False
        lane.wish(
            _Wish(
                number,
                lambda tick: action(PriceRead(lane.price(tick), TsNs(tick.ts_ns))),
                None,
                None,
            )
        )
        return True

    def last(self, symbol: str, source: PriceSource = PriceSource.LAST) -> PriceRead:
        return self._tape.lane(self._venue, symbol, source).read()

    def quote(self, symbol: str) -> QuoteRead:
        return self._tape.quote(self._venue, symbol)

"""The price service played tick by tick: the oracle for the one that looks up.

It gives the same calls as `venues.sim.prices` and shares no search with it: no index, no inverse
of a level, no arithmetic of the feed. Each lane walks its prices one by one, bars segment by
segment through every tick, and compares decimals. It is what a component with a reaction to every
tick would need, and what the property tests compare with.
"""

from __future__ import annotations

from collections.abc import Callable

from kernel.errors import InvariantViolation
from kernel.model.candle import Candle
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead, WatchFired, WatchSet
from kernel.model.orders import PriceSource
from kernel.model.units import Price, TsNs
from venues.sim.agenda import RANK_VENUE_PRICE, RANK_WATCH, Agenda
from venues.sim.dense_lanes import PlayedLane, Wish
from venues.sim.dense_walk import Tick
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


class _Side:
    """All lanes of the feed, or all lanes of the tape, and what waits on them."""

    def __init__(self, agenda: Agenda, rank: int, markets: list[Market]) -> None:
        self.waiting: dict[str, tuple[PlayedLane, Wish]] = {}
        self._markets = markets
        self._last: list[PlayedLane] = []
        self._mark: list[PlayedLane] = []
        for number, market in enumerate(markets):
            feed = market.feed if rank == RANK_WATCH else FeedModel()
            last = PlayedLane(agenda, rank, 2 * number, market.last, feed)
            mark = last
            if market.mark is not None:
                mark = PlayedLane(agenda, rank, 2 * number + 1, market.mark, feed)
            self._last.append(last)
            self._mark.append(mark)

    def lane(self, venue: str, symbol: str, source: PriceSource) -> PlayedLane:
        lanes = self._mark if source is PriceSource.MARK else self._last
        return lanes[self._number(venue, symbol)]

    def wait(self, name: str, lane: PlayedLane, wish: Wish) -> None:
        """Let a wish wait under a name, in the place of an earlier one."""
        self.clear(name)
        act = wish.action

        def granted(tick: Tick) -> None:
            del self.waiting[name]
            act(tick)

        wish.action = granted
        self.waiting[name] = (lane, wish)
        lane.wish(wish)

    def clear(self, name: str) -> None:
        if name in self.waiting:
            lane, wish = self.waiting.pop(name)
            lane.drop(wish)

    def clear_all(self) -> None:
        for name in list(self.waiting):
            self.clear(name)

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        lane = self.lane(venue, symbol, PriceSource.LAST)
        market = self._markets[self._number(venue, symbol)]
        if market.quotes is not None:
            return lane.quote(market.quotes)
        lane.play()
        tick = lane.newest
        if tick is None:
            return QuoteRead()
        return market.spread.read(market.last.grid, tick.px, tick.ts_ns)

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

        def fire(tick: Tick) -> None:
            self._on_fired(
                WatchFired(
                    watch_id=effect.watch_id,
                    price=lane.price(tick),
                    price_ts_ns=TsNs(tick.ts_ns),
                )
            )

        wish = Wish(self.next_number(), fire, effect.at_or_above, effect.at_or_below)
        self._feed.wait(effect.watch_id, lane, wish)

    def clear(self, watch_id: str) -> None:
        self._feed.clear(watch_id)

    def clear_all(self) -> None:
        self._feed.clear_all()

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        return self._feed.lane(venue, symbol, source).read()

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        return self._feed.quote(venue, symbol)

    def extremes(
        self, venue: str, symbol: str, source: PriceSource, since_ns: TsNs
    ) -> ExtremesRead:
        return self._feed.lane(venue, symbol, source).extremes(since_ns)

    def candles(
        self, venue: str, symbol: str, source: PriceSource, interval_ns: int, count: int
    ) -> tuple[Candle, ...]:
        return self._feed.lane(venue, symbol, source).candles(interval_ns, count)

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
        wish = Wish(
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
            Wish(
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

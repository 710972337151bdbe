"""The price service of a simulation: prices are looked up, never played.

Each watch, trigger or awaited tick is one entry on the agenda, found in the index when it is set,
so that years of ticks between two decisions cost nothing. `venues.sim.dense` is the same service
without an index; the rules that make both give the same calls, bit for bit:

1. One total order: (time, rank, lane, cursor, number). A *lane* is one series as one side sees it
   (tape or feed; last or mark); lanes are numbered by market, last before mark; `number` counts
   what was set. Lanes of the tape have RANK_VENUE_PRICE, lanes of the feed RANK_WATCH.
2. "The price now" ends at the present position of that order: with the tick being processed, not
   with the last tick of that nanosecond.
3. What is set sees exactly what comes behind the present position: together with rule 2 no price
   is seen twice and none is missed. It fires once and owns its entry.
4. Clearing takes the entry off the agenda, also when it is due at this very nanosecond.
5. Levels are whole ticks with exact inverses (`venues.sim.grid`).
"""

from __future__ import annotations

from collections.abc import Callable

from kernel.model.candle import Candle
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead, WatchFired, WatchSet
from kernel.model.orders import PriceSource
from kernel.model.units import Price, TsNs
from venues.sim.agenda import RANK_VENUE_PRICE, RANK_WATCH, Agenda
from venues.sim.lanes import Lane, Side
from venues.sim.market import (
    Market,
    OnFired,
    OnPrice,
    VenuePrices,
    refuse_no_bound,
    refuse_twins,
    refuse_wrong_stamp,
)
from venues.sim.series import Point


class PriceService:
    """The sparse price service; see `venues.sim.market.Prices` for what each call promises.

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
        self._feed = Side(agenda, RANK_WATCH, markets)
        self._tape = Side(agenda, RANK_VENUE_PRICE, markets)
        self._set = 0

    def watch(self, effect: WatchSet, set_at_ns: int) -> None:
        refuse_wrong_stamp(self._agenda, effect.watch_id, set_at_ns)
        refuse_no_bound(effect.watch_id, effect.at_or_above, effect.at_or_below)
        lane = self._feed.lane(effect.venue, effect.symbol, effect.source)
        lo, hi = lane.series.grid.bounds(effect.at_or_above, effect.at_or_below)
        name, pending = effect.watch_id, self._feed.pending

        def fire(point: Point) -> None:
            del pending[name]
            price = lane.series.grid.price(point.px)
            self._on_fired(
                WatchFired(watch_id=name, price=price, price_ts_ns=TsNs(point.ts_ns))
            )

        self._feed.clear(name)
        series = lane.series
        self._feed.set(
            name,
            lane.plan(lambda after: series.first_cross(after, lo, hi), self._next_number(), fire),
        )

    def clear(self, watch_id: str) -> None:
        self._feed.clear(watch_id)

    def clear_all(self) -> None:
        self._feed.clear_all()

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        return self._feed.last(venue, symbol, source)

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
        return _AtVenue(venue, self._tape, self._next_number)

    def _next_number(self) -> int:
        self._set += 1
        return self._set


class _AtVenue:
    """`venues.sim.market.VenuePrices` over the lanes of the tape; names are per venue."""

    def __init__(self, venue: str, tape: Side, next_number: Callable[[], int]) -> None:
        self._venue = venue
        self._tape = tape
        self._next_number = next_number
        self._marks: dict[str, Lane] = {}

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
        series = lane.series
        lo, hi = series.grid.bounds(above, below)
        name, pending = f"{self._venue}/{trigger_id}", self._tape.pending

        def fire(point: Point) -> None:
            del pending[name]
            action(lane.read(point))

        self._tape.clear(name)
        entry = lane.plan(lambda after: series.first_cross(after, lo, hi),
                          self._next_number(), fire)
        self._tape.set(name, entry)

    def clear(self, trigger_id: str) -> None:
        self._tape.clear(f"{self._venue}/{trigger_id}")

    def next_tick(self, symbol: str, action: OnPrice) -> bool:
        lane = self._tape.lane(self._venue, symbol, PriceSource.LAST)
        entry = lane.plan(
            lane.series.next_recorded,
            self._next_number(),
            lambda point: action(lane.read(point)),
        )
        return entry is not None

    def last(self, symbol: str, source: PriceSource = PriceSource.LAST) -> PriceRead:
        if source is not PriceSource.MARK:
            return self._tape.last(self._venue, symbol, source)
        lane = self._marks.get(symbol)
        if lane is None:
            lane = self._marks[symbol] = self._tape.lane(self._venue, symbol, source)
        return lane.read(lane.point())

    def quote(self, symbol: str) -> QuoteRead:
        return self._tape.quote(self._venue, symbol)

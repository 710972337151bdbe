"""Lanes: each price series as one side sees it, at the present position of the agenda.

The tape has its lanes, the feed has others over the same series, later and with gaps. The rules
stand in `venues.sim.prices`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from operator import itemgetter

from kernel.errors import InvariantViolation
from kernel.model.candle import Candle
from kernel.model.messages import ExtremesRead, PriceRead, QuoteRead
from kernel.model.orders import PriceSource
from kernel.model.units import TsNs
from venues.sim.agenda import RANK_WATCH, Agenda, Entry
from venues.sim.bar_series import BarSeries
from venues.sim.bars import BarTape
from venues.sim.feed import FeedModel, Span, merged
from venues.sim.market import Market
from venues.sim.series import Point, Series
from venues.sim.tape import Tape
from venues.sim.ticks import TickSeries


def series_of(tape: Tape | BarTape) -> Series:
    """The indexed series of a tape; the index is built at first use and kept on the tape."""
    return TickSeries(tape) if isinstance(tape, Tape) else BarSeries(tape)


class Lane:
    """One series as one side sees it."""

    __slots__ = ("_agenda", "_direct", "_feed", "_gap_ends", "_gaps", "_index", "_rank", "series")

    def __init__(
        self, agenda: Agenda, rank: int, index: int, series: Series, feed: FeedModel
    ) -> None:
        self.series = series
        self._agenda = agenda
        self._rank = rank
        self._index = index
        self._feed = feed
        self._direct = not (feed.delays or feed.gaps or feed.candle_ns)  # as it was made, at once
        self._gaps = merged([*feed.gaps, *series.holes])
        self._gap_ends = [end for _, end in self._gaps]

    def cursor(self) -> int:
        """The last point that has arrived, or would have but for a gap."""
        agenda, series = self._agenda, self.series
        if agenda.rank == self._rank and agenda.order and agenda.order[0] == self._index:
            return int(agenda.order[1])
        return series.cursor_at(self._feed.reached(self._through()))

    def point(self) -> Point | None:
        """The newest price at the present position."""
        agenda, series = self._agenda, self.series
        if agenda.rank == self._rank and agenda.order and agenda.order[0] == self._index:
            point: Point | None = series.at(agenda.order[1])
        elif self._direct:
            return series.last(self._through())
        else:
            point = series.last(self._feed.reached(self._through()))
        while point is not None and (gap := self._feed.gap_at(point.ts_ns)) is not None:
            point = series.last(gap[0] - 1)
        return point

    def plan(
        self, found: Callable[[int], Point | None], number: int, action: Callable[[Point], None]
    ) -> Entry | None:
        """Put the first point that `found(after)` gives and that arrives on the agenda."""
        after = self.cursor()
        while (point := found(after)) is not None:
            gap = self._feed.gap_at(point.ts_ns)
            if gap is None:
                return self._agenda.push(
                    self._feed.arrival(point.ts_ns),
                    self._rank,
                    partial(action, point),
                    (self._index, self._arrives_with(point), number),
                )
            after = self.series.cursor_at(gap[1] - 1)
        return None

    def _arrives_with(self, point: Point) -> int:
        # The last point of the message that brings this one: of a candle, the candle's last one.
        feed = self._feed
        if not feed.candle_ns:
            return point.cursor
        return self.series.cursor_at(feed.closing(point.ts_ns) - 1)

    def reached_ns(self) -> int:
        """How far the record has come at the present position."""
        agenda = self._agenda
        if agenda.rank == self._rank and agenda.order and agenda.order[0] == self._index:
            return self.series.at(agenda.order[1]).ts_ns
        return self._feed.reached(self._through())

    def extremes(self, since_ns: int) -> ExtremesRead:
        """Extremes of what was made after `since_ns` and has arrived."""
        series, grid = self.series, self.series.grid
        reached = self.reached_ns()
        after, through = series.cursor_at(since_ns), self.cursor()
        found: list[int] = []
        for start, end in self._feed.gaps_between(since_ns, reached):
            found += series.range_extremes(after, series.cursor_at(start - 1)) or ()
            after = max(after, series.cursor_at(end - 1))
        found += series.range_extremes(after, through) or ()
        covered_ns = TsNs(max(since_ns, series.first_ns))
        has_gap = self._has_gap(since_ns, reached)
        if not found:
            return ExtremesRead(covered_from_ns=covered_ns, has_gap=has_gap)
        newest = self.point()
        return ExtremesRead(
            low=grid.price(min(found)),
            high=grid.price(max(found)),
            covered_from_ns=covered_ns,
            has_gap=has_gap,
            ts_ns=TsNs(newest.ts_ns if newest else 0),
        )

    def candles(self, interval_ns: int, count: int) -> tuple[Candle, ...]:
        """The newest candles whose end the feed has reached, from the whole record."""
        series, price = self.series, self.series.grid.price
        end_ns = self.reached_ns() // interval_ns * interval_ns
        first_ns = series.first_ns // interval_ns * interval_ns
        start_ns = max(end_ns - count * interval_ns, first_ns)
        before, found = series.cursor_at(start_ns - 1), []
        for open_ns in range(start_ns, end_ns, interval_ns):
            through = series.cursor_at(open_ns + interval_ns - 1)
            opened = closed = series.at(through).px
            low, high = series.range_extremes(before, through) or (opened, opened)
            if through > before and (point := series.first_at_or_after(open_ns)) is not None:
                opened = point.px
            complete = open_ns >= series.first_ns and not self._holed(open_ns, interval_ns)
            prices = (price(opened), price(high), price(low), price(closed))
            found.append(Candle(TsNs(open_ns), *prices, complete))
            before = through
        return tuple(found)

    def _holed(self, open_ns: int, interval_ns: int) -> bool:
        # The holes of a record ascend and do not touch: the first that ends late enough decides.
        holes = self.series.holes
        first = bisect_right(holes, open_ns, key=itemgetter(1))
        return first < len(holes) and holes[first][0] < open_ns + interval_ns

    def lost_in(self, ts_ns: int) -> Span | None:
        """The gap that swallows what is made at `ts_ns`."""
        return self._feed.gap_at(ts_ns)

    def read(self, point: Point | None) -> PriceRead:
        """A point as an answer."""
        if point is None:
            return PriceRead()
        return PriceRead(self.series.grid.price(point.px), TsNs(point.ts_ns))

    def _has_gap(self, since_ns: int, reached_ns: int) -> bool:
        # Whether an instant after `since_ns`, up to `reached_ns`, lies in a gap or a hole. The
        # spans are merged, so their ends ascend and the first that ends late enough decides.
        first = bisect_right(self._gap_ends, since_ns + 1)
        return first < len(self._gaps) and (
            max(self._gaps[first][0], since_ns + 1) <= reached_ns
        )

    def _through(self) -> int:
        # The last instant all of whose points of this lane lie before the present position.
        agenda = self._agenda
        if agenda.rank > self._rank:
            return agenda.now_ns
        if agenda.rank == self._rank and agenda.order and agenda.order[0] > self._index:
            return agenda.now_ns
        return agenda.now_ns - 1


class Side:
    """All lanes of the feed, or all lanes of the tape, and what was set on them."""

    def __init__(self, agenda: Agenda, rank: int, markets: list[Market]) -> None:
        self.pending: dict[str, Entry] = {}
        self._lanes: dict[tuple[str, str, PriceSource], Lane] = {}
        self._markets = {(market.venue, market.symbol): market for market in markets}
        for number, market in enumerate(markets):
            feed = market.feed if rank == RANK_WATCH else FeedModel()
            last = Lane(agenda, rank, 2 * number, series_of(market.last), feed)
            mark = last
            if market.mark is not None:
                mark = Lane(agenda, rank, 2 * number + 1, series_of(market.mark), feed)
            self._lanes[market.venue, market.symbol, PriceSource.LAST] = last
            self._lanes[market.venue, market.symbol, PriceSource.MARK] = mark

    def lane(self, venue: str, symbol: str, source: PriceSource) -> Lane:
        """The lane of a market.

        Raises:
            InvariantViolation: There is no such market.
        """
        lane = self._lanes.get((venue, symbol, source))
        if lane is None:
            raise InvariantViolation(f"no prices for {venue} {symbol} {source} in this world")
        return lane

    def set(self, name: str, entry: Entry | None) -> None:
        """Remember the entry of what was set under a name."""
        if entry is not None:
            self.pending[name] = entry

    def clear(self, name: str) -> None:
        """Forget what was set under a name."""
        entry = self.pending.pop(name, None)
        if entry is not None:
            entry.cancel()

    def clear_all(self) -> None:
        """Forget all that was set."""
        for name in list(self.pending):
            self.clear(name)

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        lane = self.lane(venue, symbol, source)
        return lane.read(lane.point())

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        lane = self.lane(venue, symbol, PriceSource.LAST)
        market = self._markets[venue, symbol]
        if market.quotes is None:
            point = lane.point()
            if point is None:
                return QuoteRead()
            return market.spread.read(lane.series.grid, point.px, point.ts_ns)
        quotes, reached = market.quotes, lane.reached_ns()
        while (row := quotes.row_at(reached)) >= 0:
            gap = lane.lost_in(quotes.ts[row])
            if gap is None:
                return quotes.read(row)
            reached = gap[0] - 1
        return QuoteRead()

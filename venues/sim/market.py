"""A market: the recorded prices of one symbol on one venue, and how the kernel's feed bends them.

Markets are data: they are never changed by a run and may be shared between runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kernel.errors import InvariantViolation, SettingsError
from kernel.model.candle import Candle
from kernel.model.messages import (
    ExtremesRead,
    PriceRead,
    QuoteRead,
    WatchFired,
    WatchSet,
)
from kernel.model.orders import PriceSource
from kernel.model.units import Price, TsNs
from venues.sim.agenda import Agenda
from venues.sim.bars import BarTape
from venues.sim.feed import FeedModel
from venues.sim.quotes import QuoteTape, Spread
from venues.sim.tape import Tape


class Market:
    """Prices of one symbol on one venue.

    Args:
        venue: The venue's name.
        symbol: The venue's symbol.
        last: Trades, as ticks or bars.
        mark: Mark prices, a series of its own (recorded, scripted, or `venues.sim.mark`).
        mark_is_last: Declares that the mark is the last price. Exactly one of the two is given.
        quotes: Recorded quotes; without them `spread` makes a book around the last price.
        spread: The spread model, 1 bps and one base unit on each side unless given.
        feed: Delay and gaps of what the kernel sees; the venue itself sees everything at once.

    Raises:
        SettingsError: Neither or both of `mark` and `mark_is_last`.
    """

    def __init__(
        self,
        venue: str,
        symbol: str,
        last: Tape | BarTape,
        *,
        mark: Tape | BarTape | None = None,
        mark_is_last: bool = False,
        quotes: QuoteTape | None = None,
        spread: Spread | None = None,
        feed: FeedModel | None = None,
    ) -> None:
        if (mark is None) != mark_is_last:
            raise SettingsError(
                [f"{venue} {symbol}: give either a mark series or mark_is_last=True, not "
                 + ("neither" if mark is None else "both")]
            )
        self.venue = venue
        self.symbol = symbol
        self.last = last
        self.mark = mark
        self.quotes = quotes
        self.spread = spread or Spread()
        self.feed = feed or FeedModel()


def refuse_twins(markets: list[Market]) -> None:
    """Raise `SettingsError` where two markets share venue and symbol."""
    seen: dict[tuple[str, str], int] = {}
    problems = []
    for number, market in enumerate(markets):
        first = seen.setdefault((market.venue, market.symbol), number)
        if first != number:
            problems.append(f"markets {first} and {number} are both {market.venue} {market.symbol}:"
                            " give each symbol of a venue once")
    if problems:
        raise SettingsError(problems)


def refuse_wrong_stamp(agenda: Agenda, watch_id: str, set_at_ns: int) -> None:
    """Raise `InvariantViolation` where a watch is not set at the present."""
    if set_at_ns != agenda.now_ns:
        raise InvariantViolation(
            f"watch {watch_id} is set at {set_at_ns} ns while the world is at {agenda.now_ns} ns;"
            " advance the agenda to the step first"
        )


def refuse_no_bound(name: str, above: Price | None, below: Price | None) -> None:
    """Raise `InvariantViolation` where nothing could ever fire."""
    if above is None and below is None:
        raise InvariantViolation(f"{name}: needs a bound: at or above, at or below, or both")


type OnPrice = Callable[[PriceRead], None]
"""Called with the price that did it."""
type OnFired = Callable[[WatchFired], None]
"""Called with the input that the kernel gets."""


class VenuePrices(Protocol):
    """The tape as one simulated venue sees it: at once, complete."""

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
        """Call `action` once, at the first later price that reaches a bound.

        Later is what comes behind the present position, so a price that is through the level
        already does not count: compare `last` first. A trigger under an id in use takes its
        place.
        """

    def clear(self, trigger_id: str) -> None:
        """Forget a trigger; nothing happens when it fired or was cleared before."""

    def next_tick(self, symbol: str, action: OnPrice) -> bool:
        """Call `action` at the next recorded price (of bars: the next corner of the path).

        Returns:
            False where the tape has ended: `action` will never be called.
        """

    def last(self, symbol: str, source: PriceSource = PriceSource.LAST) -> PriceRead:
        """The newest price up to the present position; zeros: none yet."""

    def quote(self, symbol: str) -> QuoteRead:
        """Top of the book at the present position; zeros: none yet."""


class Prices(Protocol):
    """The price service: a `kernel.ports.prices.PriceReader` with watches, and the venues' side.

    The two implementations, `prices.PriceService` and `dense.DensePriceService`, give the same
    calls in the same order with the same values.
    """

    def watch(self, effect: WatchSet, set_at_ns: int) -> None:
        """Fire once at the first later price of the feed that reaches a bound.

        Later is what comes behind the present position. A watch under an id in use takes its
        place. `set_at_ns` is when the step happens in the world, which is the agenda's present
        also where the kernel's own clock is off.
        """

    def clear(self, watch_id: str) -> None:
        """Forget a watch; nothing happens when it fired or was cleared before."""

    def clear_all(self) -> None:
        """Forget every watch: the kernel that set them is gone. Triggers of venues stay."""

    def last(self, venue: str, symbol: str, source: PriceSource) -> PriceRead:
        """See `PriceReader.last`."""

    def quote(self, venue: str, symbol: str) -> QuoteRead:
        """See `PriceReader.quote`."""

    def extremes(
        self, venue: str, symbol: str, source: PriceSource, since_ns: TsNs
    ) -> ExtremesRead:
        """See `PriceReader.extremes`."""

    def candles(
        self, venue: str, symbol: str, source: PriceSource, interval_ns: int, count: int
    ) -> tuple[Candle, ...]:
        """See `PriceReader.candles`."""

    def at_venue(self, venue: str) -> VenuePrices:
        """The tape as this venue sees it."""

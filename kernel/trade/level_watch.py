"""A price watch at the protected level: notices a stop that should have triggered and did not.

The venue may pass a trigger over, and the event of a trigger may be lost (hazards S09, S11, W02).
When the price has been at the level for `STOP_FILL_TIMEOUT_SECONDS` and the position is still
open, the venue is asked. Only if its own mark is through the level too, the position is closed:
one source alone proves nothing (I25).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.units import SECOND, MonoNs, Price
from kernel.trade import evidence, stop_levels

if TYPE_CHECKING:
    from kernel.model.messages import PriceRead
    from kernel.trade.book import Position
    from kernel.trade.services import Services
    from kernel.trade.watches import Watch

AGAIN_NS = 15 * SECOND
"""Before the venue is asked again, while the feed is through the level and the venue is not."""


class LevelWatch:
    """The watch at the level of one position."""

    __slots__ = ("_level", "_position", "_services", "_watch", "due_ns")

    def __init__(self, services: Services, position: Position) -> None:
        self._services = services
        self._position = position
        self._watch: Watch | None = None
        self._level: Price | None = None
        self.due_ns: MonoNs | None = None
        """When the venue is to be asked; None: the price has not been at the level."""

    def follow(self) -> None:
        """See that the watch stands at the present level."""
        level = self._position.row.protected_level
        if level and level != self._level:
            self.clear()
            self._set(level)

    def clear(self) -> None:
        """Take the watch away."""
        if self._watch is not None:
            self._watch.clear()
        self._watch = self._level = self.due_ns = None

    async def is_passed_over(self) -> bool:
        """Ask the venue: is the position open although the market is through its level?"""
        services, position = self._services, self._position
        self.due_ns = MonoNs(services.runtime.now() + AGAIN_NS)
        try:
            await evidence.read_executions(services, position)
            found = await evidence.read_position(services, position)
        except VenueError:
            return False  # a read without value: asked again
        level = position.row.protected_level
        price = services.prices.last(
            position.venue, position.symbol, services.settings.stop_source
        ).price
        if position.qty <= 0 or found.report is None:
            return False
        if not stop_levels.is_through(position.side, level, price):
            self._level = None  # the market came back: watch anew
            self.due_ns = None
            return False
        return stop_levels.is_through(position.side, level, found.report.mark_price)

    def _set(self, level: Price) -> None:
        services, position = self._services, self._position
        long = position.side.sign > 0
        self._level = level
        self._watch = services.watches.set(
            position.venue,
            position.symbol,
            services.settings.stop_source,
            self._reached,
            at_or_above=None if long else level,
            at_or_below=level if long else None,
            purpose="level",
        )

    def _reached(self, _price: PriceRead) -> None:
        limit_ns = self._services.settings.stop_fill_timeout_seconds * SECOND
        self.due_ns = MonoNs(self._services.runtime.now() + limit_ns)
        self._position.changed.set()

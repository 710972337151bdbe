"""How far each position is protected, by what is known: its level, its quantity, its stops.

A position has one *protected level*: the first stop, later every tighter one. Nothing here asks a
venue; `kernel.trade.stop_effort` makes true what is lacking.

Source: SPEC §4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.orders import OrderClass
from kernel.model.positions import ENTERING
from kernel.model.traits import StopStyle
from kernel.model.units import SECOND, ZERO, MonoNs, Price, Qty
from kernel.trade import stop_levels
from kernel.trade.first_stop import FirstStops
from kernel.trade.stop_attached import AttachedStops
from kernel.trade.stop_orders import ConditionalStops

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services

NEAR_AGAIN_NS = 15 * SECOND
"""Between efforts to move a stop that counts to its level."""


class StopCoverage:
    """What is known of the protection of every position."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.first = FirstStops(services)
        self.attached = AttachedStops(services)
        self._conditional = ConditionalStops(services)
        self._judged: dict[str, Price] = {}
        """Positions whose stops on the venue are known, with the tightest that was found there."""
        self._near: dict[str, MonoNs] = {}
        """Positions that a stop near their level protects, and when a move was refused last."""

    def style(self, position: Position) -> ConditionalStops | AttachedStops:
        """Whoever places stops at its venue: as orders of their own, or attached to positions."""
        style = self._services.desks[position.venue].traits.stop_style
        return self.attached if style is StopStyle.ATTACHED else self._conditional

    def level(self, position: Position) -> Price:
        """The protected level; while it enters also the first stop's level, where that is tighter.

        Raises:
            ValueError: No average entry is known.
        """
        protected = position.row.protected_level
        if not protected:
            return self.first.level(position)
        if position.state in ENTERING and self.first.known(position):
            return stop_levels.tighter_of(position.side, self.first.level(position), protected)
        return protected

    def due(self, position: Position) -> bool:
        """Whether what is filled of an entry lacks a confirmed stop of its size and level."""
        return not self.covered(position) or self.level(position) != position.row.protected_level

    def covered(self, position: Position) -> bool:
        """Whether a confirmed stop covers the whole position at its level, by what is known."""
        protected, qty = position.row.protected_level, position.qty
        if not protected:
            return False
        return qty <= 0 or self.style(position).covers(position, protected, qty)

    def stands(self, position: Position) -> bool:
        """Whether exactly the right stop is confirmed: level, size, inside liquidation."""
        protected = position.row.protected_level
        if not protected or position.id not in self._judged:
            return False
        if self.level(position) != protected:
            return False
        if self.inside(position, protected) != protected:
            return False
        return self.style(position).fits(position, protected, self.wanted_qty(position))

    def oversized(self, position: Position) -> bool:
        """Whether live stops close more than there is."""
        live = position.stops.live()
        total = sum((stop.qty for stop in live if not stop.whole), ZERO)
        return total > self.wanted_qty(position) > 0

    def wanted_qty(self, position: Position) -> Qty:
        """What is to be protected: by executions, or more where the venue newly shows more."""
        report, qty = position.report, position.qty
        if report is None or report.side is not position.side or report.qty <= qty:
            return qty
        newest = max((fill.ts_ns for fill in position.fills.values()), default=0)
        return report.qty if report.updated_ns > newest else qty

    def inside(self, position: Position, level: Price) -> Price:
        """The level, or the nearest that lies inside the liquidation price."""
        if position.report is None or position.report.side is not position.side:
            return level
        return stop_levels.inside_liquidation(
            self._services.desks[position.venue].instruments[position.symbol],
            position.side,
            level=level,
            liquidation=position.report.liquidation_price,
            buffer_percent=self._services.settings.liquidation_buffer_percent,
        )

    def only_missing(self, position: Position) -> bool:
        """Whether nothing but rows missing from reads speaks against the stop."""
        return any(
            stop.wanted and stop.missing and stop.order.report is not None
            for stop in position.stops.open()
        )

    def may_wait(self, position: Position) -> bool:
        """Whether no close is due where no stop is confirmed at the level in time."""
        return not position.ours or position.id in self._near or self.only_missing(position)

    def stands_near(self, position: Position, *, near: bool) -> None:
        """Whether a stop was seen to stand near its level, though it could not be moved to it."""
        if near:
            self._near[position.id] = self._services.runtime.now()
            position.stops.exposed_since_ns = None
        else:
            self._near.pop(position.id, None)

    def rests(self, position: Position) -> bool:
        """Whether it was just tried in vain to move a stop that stands near its level."""
        tried_ns = self._near.get(position.id)
        if tried_ns is None or self._services.runtime.now() >= tried_ns + NEAR_AGAIN_NS:
            return False
        return self.shows_any(position)

    def shows_any(self, position: Position) -> bool:
        """Whether any stop of it stands on the venue, by what is known."""
        if self.style(position) is self.attached:
            return position.report is not None and bool(position.report.stop_price)
        return bool(position.stops.live())

    def may_have_stops(self, position: Position) -> bool:
        """Whether stops of it may stand on the venue that this process did not place."""
        if position.id in self._judged:
            return False
        if position.stored or position.row.protected_level or not position.ours:
            return True
        orders = self._services.orders.of_position(position.id)
        if all(order.row.reduce_only for order in orders):
            return True  # no entry of it is known here: it was found on the venue
        return any(order.row.order_class is OrderClass.CONDITIONAL for order in orders)

    def judged(self, position: Position, found: Price) -> None:
        """What stands on the venue is known from now on, and `found` the tightest of it."""
        self._judged[position.id] = found

    def found(self, position: Position) -> Price:
        """The tightest stop that stood on the venue when it was judged; ZERO: none did."""
        return self._judged.setdefault(position.id, ZERO)

    def forget(self, position: Position) -> None:
        """Drop what is kept of a position that ended."""
        self.first.forget(position)
        self._judged.pop(position.id, None)
        self._near.pop(position.id, None)

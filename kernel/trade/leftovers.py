"""After flat: not one order of ours stays on the symbol (hazards I9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.ids import is_ours
from kernel.model.orders import OrderClass, OrderStatus
from kernel.model.units import MS, SECOND

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

ROUNDS_NS = (0, 500 * MS, SECOND, 2 * SECOND, 4 * SECOND)
"""Pauses before the rounds that are waited for; what is left then goes to the to-cancel ledger."""


class Leftovers:
    """Cancels what is left of a flat position, until every order is proven terminal."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def clear(self, position: Position) -> None:
        """Cancel everything; wait a few rounds for proof, then leave the rest to the ledger."""
        position.stops.unwant()
        for pause_ns in ROUNDS_NS:
            if not self._left(position.id):
                return
            if pause_ns:
                await self._services.runtime.sleep(pause_ns)
            await self._round(position.id)
        left = self._left(position.id)
        if not left:
            return
        self._services.alert(
            "WARNING",
            "leftovers",
            "flat, but not proven cancelled: " + ", ".join(order.client_order_id for order in left),
            venue=position.venue,
            symbol=position.symbol,
            dedupe=position.id,
        )
        self.sweep(position.id)

    def sweep(self, position_id: str) -> None:
        """Go on in the background, for a position that this process may not know any more."""
        for order in self._left(position_id):
            if order.row.order_class is OrderClass.ATTACHED:
                self._fell(order)
            else:
                self._services.cancels.take(order)

    def _left(self, position_id: str) -> list[TrackedOrder]:
        """What of ours closes and is not proven terminal.

        A child of the entry is its saga's business; a person's stop is the person's.
        """
        return [
            order
            for order in self._services.orders.of_position(position_id)
            if order.row.reduce_only
            and order.row.intent_open
            and not order.terminal
            and is_ours(order.client_order_id)
        ]

    async def _round(self, position_id: str) -> None:
        for order in self._left(position_id):
            if order.row.order_class is OrderClass.ATTACHED:
                self._fell(order)
            elif order.row.order_class is OrderClass.PLAIN and not order.seen:
                # Should it arrive, there is nothing to reduce.
                await self._services.cancels.look_up(order)
            else:
                await self._services.cancels.attempt(order)

    def _fell(self, order: TrackedOrder) -> None:
        """The venue clears an attached stop with its position; a zombie is found by a sync."""
        self._services.orders.conclude(
            order, OrderStatus.CANCELED, "the position that it hung on is flat"
        )

"""After flat: not one order of ours stays on the symbol (hazards I9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.errors import VenueError
from kernel.model.ids import is_ours
from kernel.model.orders import OrderClass, OrderStatus
from kernel.model.units import MS, SECOND
from kernel.model.venue import CancelOrder
from kernel.trade import evidence

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

ROUNDS_NS = (0, 500 * MS, SECOND, 2 * SECOND, 4 * SECOND)
"""Pauses before the rounds that are waited for; what is left then is swept in the background."""
BACKGROUND_NS = (10 * SECOND, 20 * SECOND, 40 * SECOND, 60 * SECOND)


class Settler(Protocol):
    """Whoever settles unknown outcomes."""

    async def settle(self, order: TrackedOrder) -> object:
        """Return when it is proven that the venue has the order, or that it never had it."""
        ...


class Leftovers:
    """Cancels what is left of a flat position, until every order is proven terminal."""

    def __init__(self, services: Services, settler: Settler) -> None:
        self._services = services
        self._settler = settler
        self._swept: dict[str, None] = {}

    async def clear(self, position: Position) -> None:
        """Cancel everything; wait a few rounds for proof, then go on in the background."""
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
        if position_id not in self._swept:
            self._swept[position_id] = None
            self._services.supervise(f"sweep {position_id}", lambda: self._sweep(position_id))

    async def _sweep(self, position_id: str) -> None:
        """Rounds until all is proven. Whatever appears is reduce-only or watched."""
        pauses = iter(BACKGROUND_NS)
        while self._left(position_id):
            await self._services.runtime.sleep(next(pauses, BACKGROUND_NS[-1]))
            for order in self._left(position_id):
                if not order.seen:
                    await self._settler.settle(order)
            await self._round(position_id)
        self._swept.pop(position_id, None)

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
                self._services.orders.conclude(
                    order, OrderStatus.CANCELED, "the position that it hung on is flat"
                )
            elif order.row.order_class is OrderClass.PLAIN and not order.seen:
                await self._look_up(order)  # should it arrive, there is nothing to reduce
            else:
                await self._cancel(order)

    async def _cancel(self, order: TrackedOrder) -> None:
        services, row = self._services, order.row
        request = CancelOrder(
            symbol=row.symbol,
            order_class=row.order_class,
            client_order_id=row.client_order_id,
            venue_order_id=row.venue_order_id,
        )
        try:
            await services.desks[row.venue].gateway.cancel(request)
        except VenueError:
            await self._look_up(order)  # a cancel error is a question, not an answer
            return
        deadline_ns = services.runtime.now() + 500 * MS
        while not order.terminal:
            order.changed.clear()
            if not await evidence.wait_until(services.runtime, order.changed, deadline_ns):
                await self._look_up(order)
                return

    async def _look_up(self, order: TrackedOrder) -> None:
        try:
            await evidence.look_up(self._services, order)
        except VenueError:
            return  # a read without value: the next round asks again

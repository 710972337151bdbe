"""What became of an entry's children: filled or not, and visible where that is needed.

1. Quantity and average entry come from executions; where an order's report tells of more for a
   while, the report stands in, so that what is filled is protected in time.
2. Events are looked at between the polls; an answer that does not come is no answer.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.positions import ENTERING
from kernel.model.units import MS, SECOND, ZERO, canonical
from kernel.trade import evidence
from kernel.trade.entry_orders import all_terminal, ended, reported

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.entry_orders import EntryOrders
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

POLLS_NS = (100 * MS, 200 * MS, 400 * MS, 800 * MS, *(6 * (SECOND,)))
"""The ten polls after the entry was placed (owner)."""
POLLS_FOR_CHILDREN = 4
"""So many polls may pass before the entry is what filled of it, whatever else is open."""


class FillWatch:
    """Polls entries until what was sent is known."""

    def __init__(self, services: Services, orders: EntryOrders) -> None:
        self._services = services
        self._orders = orders

    async def wait(self, position: Position, children: list[TrackedOrder]) -> bool:
        """Ten polls; True: the position is visible where it must be.

        Ends as soon as every child is terminal with all its executions.
        """
        desk, runtime = self._services.desks[position.venue], self._services.runtime
        for number, wait_ns in enumerate(POLLS_NS):
            due_ns = runtime.now() + wait_ns
            while True:
                position.changed.clear()
                if self._complete(desk, position, children):
                    return True
                if not await evidence.wait_until(runtime, position.changed, due_ns):
                    break
            await self._poll(desk, position, children)
            if number >= POLLS_FOR_CHILDREN and self._usable_now(desk, position):
                return True
        return self._complete(desk, position, children) or not desk.traits.position_needed_for_stop

    def _complete(self, desk: VenueDesk, position: Position, children: list[TrackedOrder]) -> bool:
        if position.state not in ENTERING:
            return True  # it was given up, or closed: there is nothing to wait for
        if not all_terminal(children) or reported(children) > position.row.filled_qty:
            return False
        if position.qty <= 0 or not desk.traits.position_needed_for_stop:
            return True
        return position.report is not None and position.report.qty >= position.qty

    def _usable_now(self, desk: VenueDesk, position: Position) -> bool:
        """Whether what is filled can be protected while the rest is still open."""
        if position.qty <= 0:
            return False
        report = position.report
        visible = report is not None and report.qty >= position.qty
        return visible or not desk.traits.position_needed_for_stop

    def shown(self, position: Position) -> bool:
        """Whether a stop for what is filled may be asked for: it is visible where it must be."""
        if position.qty <= 0:
            return False
        report, desk = position.report, self._services.desks[position.venue]
        visible = report is not None and report.side is position.side and report.qty > 0
        return visible or not desk.traits.position_needed_for_stop

    async def look_for(self, position: Position) -> None:
        """Ask for the position, all pages; no answer changes nothing."""
        with suppress(VenueError):
            await evidence.read_position(self._services, position)

    def infer(self, position: Position, children: list[TrackedOrder]) -> None:
        """Protect what the reports say is filled; its executions come when they come."""
        qty = reported(children)
        if qty <= position.row.filled_qty:
            return
        paid = sum((order.reported_qty * order.row.avg_price for order in children), ZERO)
        known = all(order.row.avg_price for order in children if order.reported_qty)
        market = self._services.prices.last(
            position.venue, position.symbol, self._services.settings.stop_source
        ).price
        price = paid / qty if known else market
        if price:
            position.infer(qty, canonical(price), "reported filled, executions are not shown")

    async def _poll(
        self, desk: VenueDesk, position: Position, children: list[TrackedOrder]
    ) -> None:
        """Look every open question up at once; an answer that does not come is no answer."""
        async with self._services.runtime.group() as group:
            for order in children:
                name = order.client_order_id
                if not order.row.status.terminal:
                    group.spawn(self._orders.look_up(order), f"look up {name}")
                if not ended(order):
                    group.spawn(self._orders.read_executions(order), f"executions of {name}")
            if position.qty > 0 and desk.traits.position_needed_for_stop:
                group.spawn(self.look_for(position), f"position {position.id}")

"""A resting exit: one reduce-only limit that waits for a better price than the market's.

1. At most one a position. The position stays ACTIVE under its stop, which the stop owner resizes
   after each part that fills; what fills whole is ended by the keeper like any other end.
2. Another one is placed only when the one before is proven terminal. It is found again by its
   client id after a restart; one whose outcome is unknown is settled by evidence first.
3. Nothing here closes at market: whoever gave the exit up asks `Exits.close`.

Source: SPEC §6.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING

from kernel.errors import NotSent, ReduceOnlyRefused, Throttled, VenueError
from kernel.model.ids import Leg, leg_of
from kernel.model.orders import OrderClass, OrderType, PriceSource
from kernel.model.positions import PositionState
from kernel.model.units import MS, SECOND, Price, Qty, text
from kernel.trade import evidence, stop_levels

if TYPE_CHECKING:
    from kernel.model.rows import OrderRow
    from kernel.trade.book import Position
    from kernel.trade.cancel_ledger import Settler
    from kernel.trade.exit_orders import ExitOrders
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

ROUNDS_NS = (0, 500 * MS, SECOND, 2 * SECOND)
"""Pauses before the tries to end one; what is not proven then stays the only one."""


class Rested(StrEnum):
    """What became of the wish for a resting exit."""

    RESTS = "rests"
    """It is at the venue, or may be: its outcome is being settled."""
    REFUSED = "refused"
    NOTHING_TO_REDUCE = "nothing to reduce"
    """Refused because it would not reduce: the position or another exit is not what is known."""
    UNSENT = "unsent"
    """No budget for it, or the venue takes no requests: to be tried again soon."""
    NOT_NOW = "not now"
    """The position is in other hands, or an earlier exit is not proven terminal."""


class RestingExits:
    """The resting exits of all positions."""

    def __init__(self, services: Services, orders: ExitOrders, settler: Settler) -> None:
        self._services = services
        self._orders = orders
        self._settler = settler

    def of(self, position: Position) -> TrackedOrder | None:
        """The exit that rests, or may rest, at the venue."""
        for order in self._services.orders.of_position(position.id):
            if _is_resting_exit(order.row) and not order.terminal:
                return order
        return None

    async def place(self, position: Position, price: Price, cause: str) -> Rested:
        """See that one rests at `price`: an earlier one at another price is ended first."""
        limit = self.inside_band(position, price)
        standing = self.of(position)
        if standing is not None:
            if not standing.seen:
                self._settle(standing)
            if standing.row.price == limit:
                return Rested.RESTS
            if not await self.withdraw(position, f"the target is {text(limit)} now"):
                return Rested.NOT_NOW
        if not _may_rest(position):
            return Rested.NOT_NOW
        return await self._send(position, limit, cause)

    async def withdraw(self, position: Position, cause: str) -> bool:
        """End what rests; True: proven that nothing does. What filled meanwhile is booked."""
        services = self._services
        for pause_ns in ROUNDS_NS:
            order = self.of(position)
            if order is None:
                return True
            if pause_ns:
                await services.runtime.sleep(pause_ns)
            else:
                services.decide(
                    "exit.withdrawn",
                    cause,
                    venue=position.venue,
                    symbol=position.symbol,
                    position_id=position.id,
                    client_order_id=order.client_order_id,
                    price=text(order.row.price),
                )
            await services.cancels.attempt(order)
            if order.terminal and order.executions_missing:
                await self._read_executions(position)
        return self.of(position) is None

    def withdraw_soon(self, position: Position, cause: str) -> None:
        """End what rests while something faster closes; nothing where nothing rests."""
        if self.of(position) is not None:
            self._services.supervise(
                f"withdraw {position.id}", lambda: self.withdraw(position, cause)
            )

    def inside_band(self, position: Position, price: Price) -> Price:
        """The price, or the edge of the venue's band where that is the better one.

        The band bounds a sale from below and a purchase from above, so what it moves only gets
        better for us.
        """
        services = self._services
        instrument = services.desks[position.venue].instruments[position.symbol]
        mark = services.prices.last(position.venue, position.symbol, PriceSource.MARK).price
        long = position.side.sign > 0
        factor = instrument.price_band_down if long else instrument.price_band_up
        if mark and factor:
            edge = stop_levels.tighter_side(instrument, position.side, mark * factor)
            price = max(price, edge) if long else min(price, edge)
        return price

    async def _send(self, position: Position, limit: Price, cause: str) -> Rested:
        order, refusal = await self._orders.attempt(
            position, self._qty(position), price=limit, leg=Leg.AGED, cause=cause
        )
        if isinstance(refusal, NotSent | Throttled):
            return Rested.UNSENT
        if isinstance(refusal, ReduceOnlyRefused):
            return Rested.NOTHING_TO_REDUCE
        if refusal is not None:
            return Rested.REFUSED
        if not order.row.venue_order_id and not order.seen:
            self._settle(order)
        return Rested.RESTS

    def _qty(self, position: Position) -> Qty:
        """All of it, or as much as one limit order may have; the rest waits for the next."""
        instrument = self._services.desks[position.venue].instruments[position.symbol]
        return min(position.qty, instrument.max_qty) if instrument.max_qty else position.qty

    def _settle(self, order: TrackedOrder) -> None:
        self._services.supervise(
            f"settle {order.client_order_id}", lambda: self._settler.settle(order)
        )

    async def _read_executions(self, position: Position) -> None:
        with suppress(VenueError):  # a read without value: the stream or the next read tells
            await evidence.read_executions(self._services, position)


def _may_rest(position: Position) -> bool:
    """Whether nothing else has the position in hand."""
    active = position.state is PositionState.ACTIVE and position.qty > 0
    return active and position.stops.fired is None


def _is_resting_exit(row: OrderRow) -> bool:
    plain = row.order_class is OrderClass.PLAIN and row.order_type is OrderType.LIMIT
    return plain and leg_of(row.client_order_id) is Leg.AGED

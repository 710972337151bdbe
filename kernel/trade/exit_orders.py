"""The orders that close: reduce-only, each recorded before it is sent.

At market by default; with a price they rest at it. `kernel.trade.exits` decides when and how much.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kernel.errors import (
    DuplicateClientOrderId,
    FilterViolation,
    OutcomeUnknown,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType
from kernel.model.positions import PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import ZERO, Price, Qty, text
from kernel.model.venue import CancelOrder, EffectClass, SubmitOrder
from kernel.trade.stop_placement import position_leg

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.orders import TrackedOrder
    from kernel.trade.services import Services


class ExitOrders:
    """Sends and cancels the closing orders of positions."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def send(
        self,
        position: Position,
        qty: Qty,
        *,
        cause: str,
        child: int = 0,
        price: Price = ZERO,
        leg: Leg = Leg.EXIT,
    ) -> TrackedOrder | None:
        """Send one reduce-only order: at market, or resting at `price` until it is cancelled.

        Returns:
            The order, whose outcome may be unknown, or REJECTED because it would not reduce;
            None: it was definitely refused.
        """
        order, refusal = await self.attempt(
            position, qty, cause=cause, child=child, price=price, leg=leg
        )
        return order if refusal is None or isinstance(refusal, ReduceOnlyRefused) else None

    async def attempt(
        self,
        position: Position,
        qty: Qty,
        *,
        cause: str,
        child: int = 0,
        price: Price = ZERO,
        leg: Leg = Leg.EXIT,
    ) -> tuple[TrackedOrder, VenueError | None]:
        """The same for whoever asks why it was refused; None: it was sent, or may have been."""
        services = self._services
        order = services.orders.register(self._intent(position, qty, child, price=price, leg=leg))
        row = order.row
        await services.commit_protect((row, position.row))
        services.decide(
            "exit.submitted",
            cause,
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            client_order_id=row.client_order_id,
            qty=text(qty),
            reason=position.row.close_reason,
            **({"price": text(price)} if price else {}),
        )
        request = SubmitOrder(
            symbol=row.symbol,
            side=row.side,
            qty=qty,
            order_type=row.order_type,
            client_order_id=row.client_order_id,
            reduce_only=True,
            price=price,
            position_side=position_leg(position),
        )
        try:
            acked = await services.desks[row.venue].gateway.submit(request, EffectClass.EXIT)
        except (OutcomeUnknown, DuplicateClientOrderId):
            return order, None  # proof is gathered by whoever waits, under the same id
        except (Rejected, VenueError) as error:
            services.orders.conclude(order, OrderStatus.REJECTED, f"refused: {error}")
            if isinstance(error, FilterViolation):
                services.alert(
                    "ERROR", "exit.refused", str(error), venue=row.venue, symbol=row.symbol
                )
            return order, error
        services.orders.acked(order, acked.venue_order_id)
        return order, None

    async def cancel(self, order: TrackedOrder) -> None:
        """Ask for the end of an order; whether it ended is a question for a later read."""
        row = order.row
        request = CancelOrder(
            symbol=row.symbol, order_class=row.order_class, client_order_id=row.client_order_id
        )
        with suppress(VenueError):  # the next read tells
            await self._services.desks[row.venue].gateway.cancel(request)

    def _intent(
        self, position: Position, qty: Qty, child: int, *, price: Price, leg: Leg
    ) -> OrderRow:
        services = self._services
        rolled_back = position.state is PositionState.ROLLBACK
        now = services.runtime.ts()
        return OrderRow(
            venue=position.venue,
            client_order_id=services.orders.new_id(
                position, Leg.ROLLBACK if rolled_back else leg, child
            ),
            symbol=position.symbol,
            position_id=position.id,
            order_class=OrderClass.PLAIN,
            order_type=OrderType.LIMIT if price else OrderType.MARKET,
            side=position.side.exit_side,
            qty=qty,
            reduce_only=True,
            price=price,
            created_ns=now,
            updated_ns=now,
        )

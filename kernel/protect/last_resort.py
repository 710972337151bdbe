"""Protection of last resort: for a position whose own task crashed (DESIGN §1).

It shares nothing with the code that crashed but the gateway: read the position and its stops
afresh; where a stop that closes the whole position is not to be seen, close reduce-only at market.
It goes on until the position is flat or its task has been well again for a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderReport, OrderStatus, OrderType, PositionReport
from kernel.model.rows import OrderRow
from kernel.model.traits import StopStyle
from kernel.model.units import SECOND, ZERO, Qty
from kernel.model.venue import EffectClass, SubmitOrder

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services

FROZEN = "position.last_resort"
PERIOD_NS = 5 * SECOND
GOOD_ROUNDS = 12
"""So many verified rounds in a row hand the position back."""
BLIND_NS = 10 * SECOND
"""Reads that fail for so long count as "no stop"."""


class LastResort:
    """Takes over positions whose task crashed."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._taken: dict[str, None] = {}

    async def take_over(self, position: Position) -> None:
        """Guard a position until it is flat or well again; at once where that is so already."""
        if position.id in self._taken or position.state.terminal:
            return
        self._taken[position.id] = None
        position.frozen = position.frozen or FROZEN
        cause = "the task of this position crashed: verifying its stop, else closing"
        self._services.decide(
            "position.last_resort",
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
        )
        self._services.alert(
            "CRITICAL", FROZEN, cause, venue=position.venue, symbol=position.symbol
        )
        try:
            await self._guard(position)
        finally:
            self._taken.pop(position.id, None)
        if position.frozen == FROZEN:
            position.frozen = ""

    def holds(self, position: Position) -> bool:
        """Whether it guards this position now."""
        return position.id in self._taken

    async def _guard(self, position: Position) -> None:
        good = 0
        seen_ns = self._services.runtime.now()
        while not position.state.terminal and good < GOOD_ROUNDS:
            now = self._services.runtime.now()
            try:
                qty, covered = await self._look(position)
            except VenueError:
                qty, covered = position.qty, now - seen_ns < BLIND_NS
            else:
                seen_ns = now
            if qty <= 0 or covered or not position.ours:  # of somebody else: never closed
                good += 1
            else:
                good = 0
                await self._close(position, qty)
            await self._services.runtime.sleep(PERIOD_NS)

    async def _look(self, position: Position) -> tuple[Qty, bool]:
        """Quantity on the venue, and whether stops that close all of it are seen live."""
        desk = self._services.desks[position.venue]
        held: PositionReport | None = None
        for row in await desk.gateway.positions(position.symbol, cls=EffectClass.PROTECT):
            same = row.symbol == position.symbol and row.hedge_leg == position.leg
            if same and row.side is position.side and row.qty:
                held = row
        if held is None:
            return ZERO, True
        if desk.traits.stop_style is StopStyle.ATTACHED:
            return held.qty, bool(held.stop_price)
        orders = await desk.gateway.open_orders(
            OrderClass.CONDITIONAL, position.symbol, cls=EffectClass.PROTECT
        )
        closing = [order for order in orders if self._closes(position, order)]
        if any(order.close_position for order in closing):
            return held.qty, True
        return held.qty, sum((order.qty for order in closing), ZERO) >= held.qty

    def _closes(self, position: Position, order: OrderReport) -> bool:
        """Whether an order is a live stop of this position."""
        return (
            order.symbol == position.symbol
            and order.position_side == position.leg
            and order.order_type is OrderType.STOP_MARKET
            and order.status is OrderStatus.NEW
            and order.side is position.side.exit_side
            and (order.reduce_only or order.close_position)
        )

    async def _close(self, position: Position, qty: Qty) -> None:
        """Reduce-only at market, in parts of the market maximum."""
        services = self._services
        instrument = services.desks[position.venue].instruments.get(position.symbol)
        most = qty if instrument is None else instrument.max_market_qty or qty
        rest = qty
        while rest > 0:
            part = min(rest, most)
            rest -= part
            await self._send(position, part)

    async def _send(self, position: Position, qty: Qty) -> None:
        services = self._services
        now = services.runtime.ts()
        row = OrderRow(
            venue=position.venue,
            client_order_id=services.orders.new_id(position, Leg.EXIT),
            symbol=position.symbol,
            position_id=position.id,
            order_class=OrderClass.PLAIN,
            order_type=OrderType.MARKET,
            side=position.side.exit_side,
            qty=qty,
            reduce_only=True,
            created_ns=now,
            updated_ns=now,
        )
        order = services.orders.register(row)
        services.persist((row, position.row))
        services.decide(
            "exit.submitted",
            "last resort",
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            client_order_id=row.client_order_id,
            qty=qty,
        )
        request = SubmitOrder(
            symbol=row.symbol,
            side=row.side,
            qty=qty,
            order_type=OrderType.MARKET,
            client_order_id=row.client_order_id,
            reduce_only=True,
            position_side=position.leg,
        )
        try:
            acked = await services.desks[row.venue].gateway.submit(request, EffectClass.EXIT)
        except VenueError as error:
            services.decide(
                "exit.failed",
                f"{type(error).__name__}: {error}",
                venue=row.venue,
                symbol=row.symbol,
                position_id=row.position_id,
                client_order_id=row.client_order_id,
            )
            return
        services.orders.acked(order, acked.venue_order_id)

"""Placing one stop that is an order of its own, and seeing it live.

1. A stop is confirmed when the venue shows it live as it was asked for; its acknowledgement
   confirms nothing.
2. A send with an unknown outcome is looked up and sent again under the same id, never as a second
   intent (hazards T02). A stop that a read misses may be joined by another one (L03).

Source: venue-binance.md §3.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from kernel.errors import (
    DuplicateClientOrderId,
    KernelError,
    NotSent,
    OutcomeUnknown,
    Rejected,
    Throttled,
    Unauthorized,
    VenueError,
)
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType
from kernel.model.rows import OrderRow
from kernel.model.units import MS, Price, Qty, text
from kernel.model.venue import PlaceStop
from kernel.trade import evidence
from kernel.trade.protective_set import StopOrder, StopPhase

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services

CONFIRM_POLLS_NS = (300 * MS, 800 * MS, 1600 * MS)
"""Look-ups after the acknowledgement, where no event came before; then at the time-out."""
UNSEEN_LIMIT = 2
"""So many stops that were taken and are not to be seen; then they are looked up, not joined."""


class StopUnconfirmed(KernelError):
    """The venue did not show the stop as it was asked for; it may exist all the same."""


class StopPlacement:
    """Places stops, one at a time, for any number of positions."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def place(
        self, position: Position, level: Price, qty: Qty, *, child: int, cause: str
    ) -> StopOrder:
        """Send one stop and see it live.

        Raises:
            VenueError: Refused, or not known to be refused.
            StopUnconfirmed: Taken and not shown in time, or not as it was asked for.
        """
        if position.qty <= 0 or position.state.terminal:
            raise StopUnconfirmed(f"{position.id} is flat")
        services = self._services
        unseen = self._unseen(position, level, qty)
        if unseen is not None and len(position.stops.doubtful()) >= UNSEEN_LIMIT:
            await self._confirm(position, unseen)
            return unseen
        stop = self._unanswered(position, level, qty)
        if stop is None:
            stop = self._intend(position, level, qty, child=child)
        row = stop.order.row
        await services.commit_protect((row, position.row))
        services.decide(
            "stop.placed",
            cause,
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            client_order_id=row.client_order_id,
            level=text(level),
            qty=text(qty),
        )
        request = PlaceStop(
            symbol=row.symbol,
            side=row.side,
            qty=qty,
            trigger_price=level,
            trigger_by=row.trigger_by,
            client_order_id=row.client_order_id,
            position_side=position_leg(position),
        )
        try:
            await self._send(stop, request)
        except DuplicateClientOrderId:
            stop.doubt = True
        except OutcomeUnknown as error:
            stop.doubt = True
            services.decide(
                "outcome.unknown",
                error.code or "no answer",
                venue=row.venue,
                symbol=row.symbol,
                position_id=row.position_id,
                client_order_id=row.client_order_id,
            )
        await self._confirm(position, stop)
        return stop

    async def _send(self, stop: StopOrder, request: PlaceStop) -> None:
        services, order = self._services, stop.order
        try:
            acked = await services.desks[order.row.venue].gateway.place_stop(request)
        except DuplicateClientOrderId:
            raise
        except (Rejected, NotSent, Throttled, Unauthorized) as error:
            # Proven not executed, unless an earlier send of this intent is in doubt.
            if not stop.doubt:
                services.orders.conclude(order, OrderStatus.REJECTED, f"refused: {error.code}")
            raise
        services.orders.acked(order, acked.venue_order_id)

    def _unanswered(self, position: Position, level: Price, qty: Qty) -> StopOrder | None:
        """An intent for the same that got no answer: it goes out again under its id."""
        for stop in self._alike(position, level, qty):
            if not stop.order.row.venue_order_id:
                return stop
        return None

    def _unseen(self, position: Position, level: Price, qty: Qty) -> StopOrder | None:
        """The newest that the venue took and does not show.

        It is not sent again: should the venue have ended it, its id would be free, and two
        orders would share it (venue-binance.md §3: an id is unique among open orders only).
        """
        for stop in reversed(self._alike(position, level, qty)):
            if stop.order.row.venue_order_id:
                return stop
        return None

    def _alike(self, position: Position, level: Price, qty: Qty) -> list[StopOrder]:
        return [
            stop
            for stop in position.stops.open()
            if stop.wanted
            and stop.phase is StopPhase.SENT
            and stop.order.row.trigger_price == level
            and stop.order.row.qty == qty
        ]

    def _intend(self, position: Position, level: Price, qty: Qty, *, child: int) -> StopOrder:
        services = self._services
        row = OrderRow(
            venue=position.venue,
            client_order_id=services.orders.new_id(position, Leg.STOP, child),
            symbol=position.symbol,
            position_id=position.id,
            order_class=OrderClass.CONDITIONAL,
            order_type=OrderType.STOP_MARKET,
            side=position.side.exit_side,
            qty=qty,
            reduce_only=True,
            trigger_price=level,
            trigger_by=services.settings.stop_source,
            created_ns=services.runtime.ts(),
            updated_ns=services.runtime.ts(),
        )
        order = services.orders.register(row)
        return position.stops.add(StopOrder(order, services.runtime.now()))

    async def _confirm(self, position: Position, stop: StopOrder) -> None:
        """Wait until the venue shows the stop; look it up where no event comes.

        Raises:
            StopUnconfirmed: Not shown in time, ended at once, or not what was asked for.
        """
        services, order = self._services, stop.order
        sent_ns = services.runtime.now()
        polls = [*CONFIRM_POLLS_NS, evidence.call_timeout_ns(services)]
        while True:
            order.changed.clear()
            if stop.phase is StopPhase.TRIGGERED:
                return
            if stop.phase is StopPhase.GONE:
                raise StopUnconfirmed(f"{stop.client_order_id} ended: {order.row.status}")
            if stop.phase is StopPhase.LIVE:
                self._check(position, stop)
                return
            if not polls:
                stop.doubt = True
                raise StopUnconfirmed(f"{stop.client_order_id} is not to be seen")
            if not await evidence.wait_until(services.runtime, order.changed, sent_ns + polls[0]):
                polls.pop(0)
                await self.look_up(stop)

    def _check(self, position: Position, stop: StopOrder) -> None:
        """Refuse a stop that is not what was asked for; it goes to the ledger."""
        row = stop.order.row
        right = stop.level == row.trigger_price and (stop.whole or stop.qty == row.qty)
        if right and stop.sound(row.trigger_by):
            return
        stop.wanted = False
        self._services.alert(
            "ERROR",
            "stop.unsound",
            f"{stop.client_order_id}: the venue holds another stop than was asked for",
            venue=position.venue,
            symbol=position.symbol,
            dedupe=stop.client_order_id,
        )
        raise StopUnconfirmed(f"{stop.client_order_id} is not as it was asked for")

    async def look_up(self, stop: StopOrder) -> None:
        """Ask for one stop by its id; no answer changes nothing."""
        with suppress(VenueError):  # the next poll, or the next attempt, asks again
            await evidence.look_up(self._services, stop.order)


def position_leg(position: Position) -> str:
    """The leg that an order for this position names: BOTH in one-way mode."""
    return position.leg

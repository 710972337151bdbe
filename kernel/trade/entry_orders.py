"""The orders of an entry: its children from intent to proven end.

1. One intent has one client id for life; what is in doubt is settled under it, by one search.
2. What finds no rate budget waits for it, until the entry is too old or forbidden.
3. A definite refusal ends a child; silence and "used before" leave its outcome unknown.
4. A cancel proves nothing: a child is looked up until it is terminal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from kernel.errors import (
    DuplicateClientOrderId,
    NotSent,
    Rejected,
    Throttled,
    Unauthorized,
    VenueError,
)
from kernel.model.ids import Leg
from kernel.model.orders import OrderClass, OrderStatus, OrderType
from kernel.model.positions import ENTERING
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND, ZERO, Price, Qty
from kernel.model.venue import CancelOrder, EffectClass, SubmitOrder
from kernel.trade import evidence
from kernel.trade.gateway import NO_BUDGET
from kernel.trade.stop_levels import first_stop

if TYPE_CHECKING:
    from kernel.runtime.primitives import Event
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.entry_plan import EntryPlan
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

CANCEL_RETRY_NS = (200 * MS, 400 * MS, 800 * MS, 1600 * MS, 5 * SECOND)


class Settler(Protocol):
    """What the saga needs of whoever settles unknown outcomes."""

    async def settle(self, order: TrackedOrder) -> object:
        """Return when the outcome is proven; the proof is in the order."""
        ...


class EntryOrders:
    """Registers, sends, looks up, settles and ends the children of entries."""

    def __init__(self, services: Services, settler: Settler) -> None:
        self._services = services
        self._settler = settler
        self._settling: dict[str, Event] = {}
        self._poll_ns = services.settings.protection_call_timeout_seconds * SECOND

    def register(self, position: Position, plan: EntryPlan) -> list[TrackedOrder]:
        """Make an intent of each child of the plan, each with its id for life."""
        orders = []
        for child, qty in enumerate(plan.children):
            row = OrderRow(
                venue=plan.venue,
                client_order_id=self._services.orders.new_id(position, Leg.ENTRY, child),
                symbol=plan.symbol,
                position_id=position.id,
                order_class=OrderClass.PLAIN,
                order_type=OrderType.MARKET,
                side=plan.side.entry_side,
                qty=qty,
                reduce_only=False,
                created_ns=self._services.runtime.ts(),
            )
            orders.append(self._services.orders.register(row))
        return orders

    def too_late(self, desk: VenueDesk, position: Position, plan: EntryPlan) -> str:
        """Why what was not sent is not sent any more; "": it is."""
        if position.state not in ENTERING:
            return "closed"
        if self._services.runtime.ts() > plan.expires_ns:
            return "signal expired before the entry was sent"
        if not desk.entries_allowed:
            return f"entries blocked: {', '.join(desk.block_reasons)}"
        return ""

    # ------------------------------------------------------------ sending

    async def send(
        self, desk: VenueDesk, position: Position, children: list[TrackedOrder], plan: EntryPlan
    ) -> list[TrackedOrder]:
        """Send every child; returns those whose outcome is unknown."""
        unknown: list[TrackedOrder] = []
        for order in children:
            if order is not children[0] and self.too_late(desk, position, plan):
                self._services.orders.conclude(order, OrderStatus.REJECTED, "not sent")
                continue
            if not await self._send_one(desk, position, order, plan):
                unknown.append(order)
        return unknown

    async def _send_one(
        self, desk: VenueDesk, position: Position, order: TrackedOrder, plan: EntryPlan
    ) -> bool:
        """Send one child; False: the outcome is unknown.

        What finds no budget is proven unsent. It waits for one, under its id, as long as the entry
        may go out at all.
        """
        request = self._request(desk, position, order)
        self._tell_sent(request, position)
        while True:
            try:
                ack = await desk.gateway.submit(
                    request, EffectClass.ENTRY, wanted=lambda: position.state in ENTERING
                )
            except DuplicateClientOrderId:
                return False  # an earlier send of this intent exists: look it up
            except (Rejected, NotSent, Throttled, Unauthorized) as error:
                if self._is_queued(order, error, position, plan):
                    request = self._request(desk, position, order)
                    continue
                if not order.seen:
                    self._services.orders.conclude(
                        order, OrderStatus.REJECTED, f"{type(error).__name__} {error.code}"
                    )
                return True
            except VenueError:
                return False
            self._services.orders.acked(order, ack.venue_order_id)
            return True

    def _is_queued(
        self, order: TrackedOrder, error: VenueError, position: Position, plan: EntryPlan
    ) -> bool:
        """Whether the same request waits for the budget that it lacked."""
        desk = self._services.desks[position.venue]
        waits = isinstance(error, Throttled) and not error.banned
        lacks = isinstance(error, NotSent) and error.code == NO_BUDGET
        if not (waits or lacks) or order.seen or self.too_late(desk, position, plan):
            return False
        self._services.decide(
            "entry.queued",
            f"{error.code} {error.text}".strip(),
            venue=desk.name,
            symbol=order.row.symbol,
            position_id=order.row.position_id,
            client_order_id=order.client_order_id,
        )
        return True

    def _request(self, desk: VenueDesk, position: Position, order: TrackedOrder) -> SubmitOrder:
        """What is sent for a child now; its stop is that of the price of now."""
        row = order.row
        return SubmitOrder(
            symbol=row.symbol,
            side=row.side,
            qty=row.qty,
            order_type=OrderType.MARKET,
            client_order_id=row.client_order_id,
            stop_loss=self._attached_stop(desk, position),
            stop_trigger_by=self._services.settings.stop_source,
        )

    def _tell_sent(self, request: SubmitOrder, position: Position) -> None:
        self._services.decide(
            "order.submitted",
            "entry",
            venue=position.venue,
            symbol=request.symbol,
            position_id=position.id,
            client_order_id=request.client_order_id,
            side=request.side.value,
            qty=request.qty,
            stop_loss=request.stop_loss,
        )

    def _attached_stop(self, desk: VenueDesk, position: Position) -> Price:
        """Bybit: the stop that rides with the entry, from the series that triggers it."""
        if not desk.traits.attached_entry_stop:
            return ZERO
        settings = self._services.settings
        market = self._services.prices.last(desk.name, position.symbol, settings.stop_source).price
        if not market:
            return ZERO
        return first_stop(
            desk.instruments[position.symbol],
            position.side,
            entry=market,
            market=market,
            percent=settings.stop_loss_percent,
        ).level

    async def settle(self, order: TrackedOrder) -> None:
        """Settle an order once, whoever asks for it."""
        running = self._settling.get(order.client_order_id)
        if running is not None:
            await running.wait()
            return
        if order.terminal:
            return
        done = self._settling[order.client_order_id] = self._services.runtime.event()
        try:
            await self._settler.settle(order)
        finally:
            del self._settling[order.client_order_id]
            done.set()

    # ------------------------------------------------------------ looking up

    async def look_up(self, order: TrackedOrder) -> None:
        """Ask for one child by its id, unless it is being settled; no answer changes nothing."""
        if order.client_order_id in self._settling:
            return  # it is looked up already
        with suppress(VenueError):
            await evidence.look_up(
                self._services, order, cls=EffectClass.EXIT, timeout_ns=self._poll_ns
            )

    async def read_executions(self, order: TrackedOrder) -> None:
        """Book the executions of one child, all pages; no answer changes nothing."""
        row = order.row
        desk = self._services.desks[row.venue]
        try:
            fills = await desk.gateway.executions(
                row.symbol,
                client_order_id=row.client_order_id,
                venue_order_id=row.venue_order_id,
                cls=EffectClass.EXIT,
                timeout_ns=self._poll_ns,
            )
        except VenueError:
            return
        for fill in fills:
            self._services.orders.on_fill(desk.name, fill)

    # ------------------------------------------------------------ ending

    async def give_up(self, children: list[TrackedOrder]) -> None:
        """Cancel what still works and wait for the proof, one child after the other."""
        for order in children:
            await self.end(order)

    async def end(self, order: TrackedOrder) -> None:
        """Cancel one entry child and look until it is terminal: a cancel error is a question."""
        for wait_ns in CANCEL_RETRY_NS:
            if ended(order):
                return
            if not order.row.status.terminal:
                await self._cancel(order)
                await self.look_up(order)
            if order.executions_missing:
                await self.read_executions(order)
            if ended(order):
                return
            await self._services.runtime.sleep(wait_ns)
        await self.settle(order)

    async def _cancel(self, order: TrackedOrder) -> None:
        request = CancelOrder(
            symbol=order.row.symbol,
            order_class=order.row.order_class,
            client_order_id=order.row.client_order_id,
            venue_order_id=order.row.venue_order_id,
        )
        gateway = self._services.desks[order.row.venue].gateway
        with suppress(VenueError):  # the look-up that follows tells
            await gateway.ask(request, EffectClass.PROTECT, entity=order.row.client_order_id)


def ended(order: TrackedOrder) -> bool:
    """Nothing more can happen to it, and every execution that its reports tell of is booked."""
    return (order.terminal or not order.row.intent_open) and not order.executions_missing


def reported(children: list[TrackedOrder]) -> Qty:
    """What the venue's reports say is filled of them, executions or not."""
    return sum((order.reported_qty for order in children), ZERO)


def all_terminal(children: list[TrackedOrder]) -> bool:
    """Whether nothing more can happen to any of them."""
    return all(order.terminal or not order.row.intent_open for order in children)

"""The to-cancel ledger: orders that no living position wants, cancelled until proven terminal.

1. What is in it is durable: the order's row with `intent_open`, written before the first cancel. A
   start takes it up again (`kernel.sync.recovery`).
2. A cancel proves nothing, and an error is a question: each attempt is followed by a look-up, and
   it ends with a terminal report or with proof that the order never was (hazards P02, T04).
3. It is tried with growing pauses, for ever. However many orders wait on one symbol, failures there
   are `APART_NS` apart, and unknown outcomes are settled one after another (hazards I14). What
   worked lets the next one on its symbol go at once.

The orders of a position that was closed come from `kernel.trade.leftovers`, what fills a venue's
cap from `kernel.trade.stop_sweep`, zombies from `kernel.sync.zombie_sweep`. The stops of a living
position are not here: they are the stop owner's, who knows what may stand in their place.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

from kernel.errors import VenueError
from kernel.model.ids import is_ours
from kernel.model.orders import OrderClass
from kernel.model.rows import OrderRow
from kernel.model.units import MS, SECOND
from kernel.model.venue import CancelOrder
from kernel.trade import evidence

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.orders import OrderReport
    from kernel.runtime.primitives import Event, Lock
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

type Ended = Callable[[TrackedOrder], None]
"""Told of the end of an order."""

PAUSES_NS = (10 * SECOND, 20 * SECOND, 40 * SECOND, 60 * SECOND)
"""Between the attempts for one order; the last one repeats."""
APART_NS = 3 * SECOND
"""Between attempts on one symbol, after one that did not end its order."""
EVENT_NS = 500 * MS
"""How long a cancel waits for its event before the order is looked up."""


class Settler(Protocol):
    """Whoever settles unknown outcomes."""

    async def settle(self, order: TrackedOrder) -> object:
        """Return when it is proven that the venue has the order, or that it never had it."""
        ...


class CancelLedger:
    """Cancels orders until each is proven terminal; any number of them concurrently."""

    def __init__(self, services: Services, settler: Settler) -> None:
        self._services = services
        self._settler = settler
        self._kept: dict[tuple[str, str], None] = {}
        self._due_ns: dict[tuple[str, str], int] = {}
        """(venue, symbol) → not before then another attempt there, unless one worked."""
        self._worked: dict[tuple[str, str], Event] = {}
        """(venue, symbol) → set where an attempt there worked."""
        self._turns: dict[tuple[str, str], Lock] = {}

    def holds(self, venue: str, client_order_id: str) -> bool:
        """Whether an order is being cancelled here."""
        return (venue, client_order_id) in self._kept

    def take(self, order: TrackedOrder, ended: Ended | None = None) -> None:
        """Cancel an order in the background until it is proven terminal; `ended` is told then."""
        key = (order.row.venue, order.client_order_id)
        if order.terminal:
            if ended is not None:
                ended(order)
        elif key not in self._kept:
            self._kept[key] = None
            end = partial(self._end, order, ended)
            self._services.supervise(f"cancel {order.client_order_id}", end)

    async def record(self, venue: str, report: OrderReport) -> TrackedOrder:
        """Know an order as a venue showed it, known here or not; durable before its cancel."""
        order = self._known(venue, report) or self._register(venue, report)
        await self._services.commit_protect((order.row,))
        return order

    async def attempt(self, order: TrackedOrder) -> bool:
        """Ask for the end of one order and look what came of it; True: it is terminal."""
        services, row = self._services, order.row
        self._due_ns[(row.venue, row.symbol)] = services.runtime.now() + APART_NS
        attached = row.order_class is OrderClass.ATTACHED
        by_client = is_ours(row.client_order_id) and not attached
        request = CancelOrder(
            symbol=row.symbol,
            order_class=row.order_class,
            client_order_id=row.client_order_id if by_client else "",
            venue_order_id=row.venue_order_id,
        )
        try:
            await services.desks[row.venue].gateway.cancel(request)
        except VenueError:
            await self.look_up(order)
            return self._ended(order)
        return await self.follow(order)

    async def follow(self, order: TrackedOrder) -> bool:
        """After a request that should end it: wait for its event, then look; True: terminal."""
        runtime = self._services.runtime
        deadline_ns = runtime.now() + EVENT_NS
        while not order.terminal:
            order.changed.clear()
            if not await evidence.wait_until(runtime, order.changed, deadline_ns):
                await self.look_up(order)
                break
        return self._ended(order)

    async def look_up(self, order: TrackedOrder) -> None:
        """Ask for an order under its id; what the venue shows goes to the registry."""
        with suppress(VenueError):  # a read without value: the next attempt asks again
            await evidence.look_up(self._services, order)

    # ------------------------------------------------------------ inside

    async def _end(self, order: TrackedOrder, ended: Ended | None) -> None:
        pauses = iter(PAUSES_NS)
        while not order.terminal:
            if not order.seen:
                async with self._turn(order):
                    await self._settler.settle(order)
                continue
            if await self._paced(order):
                break
            await self._pause(order, next(pauses, PAUSES_NS[-1]))
        self._kept.pop((order.row.venue, order.client_order_id), None)
        self._services.decide(
            "cancel.settled",
            f"the venue shows it {order.row.status.value}",
            venue=order.row.venue,
            symbol=order.row.symbol,
            position_id=order.row.position_id,
            client_order_id=order.client_order_id,
        )
        if ended is not None:
            ended(order)

    def _turn(self, order: TrackedOrder) -> Lock:
        """Held while an outcome is settled: a search asks every surface of the symbol."""
        place = (order.row.venue, order.row.symbol)
        if place not in self._turns:
            self._turns[place] = self._services.runtime.lock()
        return self._turns[place]

    async def _paced(self, order: TrackedOrder) -> bool:
        """One attempt, when the symbol's turn has come; True: the order is terminal."""
        runtime, place = self._services.runtime, (order.row.venue, order.row.symbol)
        worked = self._worked.setdefault(place, runtime.event())
        while self._due_ns.get(place, 0) > runtime.now():
            worked.clear()
            await worked.wait_until(self._due_ns[place])
        return order.terminal or await self.attempt(order)

    def _ended(self, order: TrackedOrder) -> bool:
        """After an attempt: what worked lets the next one on its symbol go at once."""
        place = (order.row.venue, order.row.symbol)
        if order.terminal:
            self._due_ns.pop(place, None)
            if place in self._worked:
                self._worked[place].set()
        return order.terminal

    async def _pause(self, order: TrackedOrder, pause_ns: int) -> None:
        """Wait for the next attempt; the end of the order by itself comes as an event."""
        runtime = self._services.runtime
        deadline_ns = runtime.now() + pause_ns
        while not order.terminal:
            order.changed.clear()
            if not await evidence.wait_until(runtime, order.changed, deadline_ns):
                return

    def _known(self, venue: str, report: OrderReport) -> TrackedOrder | None:
        orders = self._services.orders
        order = orders.by_venue_id(venue, report.order_class, report.venue_order_id)
        if order is None and is_ours(report.client_order_id):
            order = orders.by_client_id(venue, report.client_order_id)
        if order is not None and order.terminal:
            orders.reopen(order, report)
        return order

    def _register(self, venue: str, report: OrderReport) -> TrackedOrder:
        """Know an order of no position; another's gets a name that only we know it by."""
        services = self._services
        client = report.client_order_id
        named = f"{report.order_class.value}/{report.venue_order_id}"
        order = services.orders.register(
            OrderRow(
                venue=venue,
                client_order_id=client if is_ours(client) else named,
                symbol=report.symbol,
                position_id="",
                order_class=report.order_class,
                order_type=report.order_type,
                side=report.side,
                qty=report.qty,
                reduce_only=report.reduce_only or report.close_position,
                trigger_price=report.trigger_price,
                trigger_by=report.trigger_by,
                price=report.price,
                venue_order_id=report.venue_order_id,
                created_ns=services.runtime.ts(),
                updated_ns=services.runtime.ts(),
            )
        )
        services.orders.on_report(venue, report)
        return order


"""Unknown outcomes: settled by evidence under the same client id, never by a second intent.

Rules (SPEC §3.1, hazards I3, I5, I6, T01-T05):

1. Positive proof is the order, an event or a fill. It ends the search at once.
2. Negative proof needs at least three *complete* look-ups of every surface that could show the
   order, all empty, over at least the venue's proof time (60 s Binance, 10 s Bybit), the first of
   them asked after the request's lifetime, with a healthy private stream throughout.
3. A look-up in which any surface failed is not a look-up. A stream loss starts the count anew.
4. Look-ups of an entry that a start found interrupted and that fail `MAX_RECOVERY_ATTEMPTS` times
   in a row freeze its position, CRITICAL. From then on each sync of the venue is followed by one
   more, until the outcome is proven.
5. After negative proof the id stays on a watch list for 24 hours; what appears is handed to
   `late`, which adopts or flattens it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import parse_client_order_id
from kernel.model.orders import OrderStatus
from kernel.model.units import DAY, MINUTE, MS, SECOND, TsNs
from kernel.model.venue import (
    REQUEST_LIFETIME_NS,
    EffectClass,
    ExecutionPage,
    OrderPage,
    QueryExecutions,
    QueryOpenOrders,
)
from kernel.trade import evidence

if TYPE_CHECKING:
    from kernel.runtime.primitives import Event
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

LOOKUPS_NEEDED = 3
CLOSELY_NS = 10 * MINUTE
"""After a negative proof of an entry the venue is compared more often for so long."""
FROZEN = "its entry cannot be looked up"
"""Why a position is frozen."""
_FIRST_WAIT_NS = 200 * MS
_LONGEST_WAIT_NS = 5 * SECOND
_EXECUTIONS_MARGIN_NS = 10 * SECOND


class Settled(StrEnum):
    """How an unknown outcome ended."""

    PLACED = "PLACED"
    """The venue has or had the order: follow it to its end."""
    NEVER_PLACED = "NEVER_PLACED"
    """Proven negative; watched for 24 hours."""


class _Count:
    """Complete empty look-ups in a row, and failed ones."""

    def __init__(self) -> None:
        self.empty = 0
        self.failed = 0
        self.first_ns = 0
        self.stream = -1


class OutcomeSettler:
    """Settles the unknown outcome of one order at a time; any number of them concurrently."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._running: dict[str, Event] = {}
        self._postponed: dict[str, TrackedOrder] = {}
        """Looked up after a sync of their venue only."""
        for desk in services.desks.values():
            desk.on_synced.append(partial(self._look_again, desk.name))

    async def settle(self, order: TrackedOrder) -> Settled:
        """Gather evidence until the outcome is proven. Takes as long as it takes.

        One search an order, whoever asks: a second caller waits for the first one's.

        Returns:
            PLACED as soon as anything of the order was seen; NEVER_PLACED after negative proof,
            which is recorded in the order's row (`intent_open` False, `watch_until_ns`).
        """
        while (running := self._running.get(order.client_order_id)) is not None:
            await running.wait()
            if order.seen:
                return Settled.PLACED
            if order.row.watch_until_ns:
                return Settled.NEVER_PLACED
            # The other search was given up without a proof: this one goes on.
        done = self._running[order.client_order_id] = self._services.runtime.event()
        try:
            return await self._search(order)
        finally:
            del self._running[order.client_order_id]
            done.set()

    async def _search(self, order: TrackedOrder) -> Settled:
        services, row = self._services, order.row
        desk = services.desks[row.venue]
        services.decide(
            "outcome.unknown",
            "no proof of what the venue did",
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            client_order_id=row.client_order_id,
        )
        count = _Count()
        lifetime_end = services.runtime.now() + REQUEST_LIFETIME_NS
        wait_ns = _FIRST_WAIT_NS
        while not order.seen:
            if await self._round(desk, order, count, lifetime_end):
                return self._never_placed(order, count)
            if count.failed >= services.settings.max_recovery_attempts and self._is_old(order):
                await self._wait_for_sync(desk, order, count)
            else:
                await self._wait(order, wait_ns)
            wait_ns = min(2 * wait_ns, _LONGEST_WAIT_NS)
        self._thaw(order)
        services.decide(
            "outcome.settled",
            "the venue showed the order",
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            client_order_id=row.client_order_id,
            outcome=str(Settled.PLACED),
        )
        return Settled.PLACED

    async def _round(
        self, desk: VenueDesk, order: TrackedOrder, count: _Count, lifetime_end: int
    ) -> bool:
        """One look-up of every surface; True when negative proof is complete."""
        asked_ns = self._services.runtime.now()
        stream = desk.stream_generation
        complete = await self._look_up(desk, order)
        count.failed = 0 if complete else count.failed + 1
        if not complete or order.seen or asked_ns < lifetime_end:
            return False
        if not desk.stream_up or desk.stream_generation != stream:
            return False
        if count.stream != stream:
            count.empty, count.first_ns, count.stream = 0, asked_ns, stream
        count.empty += 1
        span_ns = asked_ns - count.first_ns
        return count.empty >= LOOKUPS_NEEDED and span_ns >= desk.traits.unknown_proof_ns

    async def _look_up(self, desk: VenueDesk, order: TrackedOrder) -> bool:
        """Ask every surface once; False where any of them failed to answer."""
        surfaces: tuple[Callable[[VenueDesk, TrackedOrder], Awaitable[bool]], ...] = (
            self._by_id,
            self._in_open_list,
            self._in_executions,
        )
        complete = True
        for ask in surfaces:
            if not await ask(desk, order):
                complete = False
            if order.seen:
                break
        return complete

    async def _by_id(self, desk: VenueDesk, order: TrackedOrder) -> bool:
        """The order's own surface and the history, as far as the venue has them."""
        complete = True
        for surface in evidence.surfaces_of(self._services, order):
            try:
                await evidence.ask_surface(self._services, order, surface, cls=EffectClass.EXIT)
            except VenueError:
                complete = False
            if order.seen:
                break
        return complete

    async def _in_open_list(self, desk: VenueDesk, order: TrackedOrder) -> bool:
        row, cursor = order.row, ""
        while True:
            request = QueryOpenOrders(order_class=row.order_class, symbol=row.symbol, cursor=cursor)
            try:
                page = await desk.gateway.ask(request, EffectClass.EXIT, entity=row.symbol)
            except VenueError:
                return False
            assert isinstance(page, OrderPage)
            for report in page.orders:
                if report.client_order_id == row.client_order_id:
                    self._services.orders.on_report(desk.name, report)
            cursor = page.next_cursor
            if not cursor:
                return True

    async def _in_executions(self, desk: VenueDesk, order: TrackedOrder) -> bool:
        row, cursor = order.row, ""
        since = TsNs(max(0, row.created_ns - _EXECUTIONS_MARGIN_NS))
        while True:
            request = QueryExecutions(
                symbol=row.symbol,
                since_ns=since,
                client_order_id=row.client_order_id,
                cursor=cursor,
            )
            try:
                page = await desk.gateway.ask(request, EffectClass.EXIT, entity=row.symbol)
            except VenueError:
                return False
            assert isinstance(page, ExecutionPage)
            for fill in page.fills:
                if fill.client_order_id == row.client_order_id:
                    self._services.orders.on_fill(desk.name, fill)
            cursor = page.next_cursor
            if not cursor:
                return True

    async def _wait(self, order: TrackedOrder, wait_ns: int) -> None:
        """Sleep, but wake at once when an event of the order comes in."""
        runtime = self._services.runtime
        if not order.seen:
            order.changed.clear()
            await evidence.wait_until(runtime, order.changed, runtime.now() + wait_ns)

    def _is_old(self, order: TrackedOrder) -> bool:
        """Whether a process before this one sent it, to enter."""
        parts = parse_client_order_id(order.client_order_id)
        entry = not order.row.reduce_only and bool(order.row.position_id)
        return entry and parts is not None and parts.epoch < self._services.epoch

    async def _wait_for_sync(self, desk: VenueDesk, order: TrackedOrder, count: _Count) -> None:
        """Freeze its position, and sleep until the venue was read whole, or tells of the order."""
        services, row = self._services, order.row
        position = services.book.by_id(row.position_id)
        if position is not None and not position.frozen:
            position.frozen = FROZEN
            services.alert(
                "CRITICAL",
                "recovery.frozen",
                f"{count.failed} look-ups of an interrupted entry failed: tried again at each sync",
                venue=row.venue,
                symbol=row.symbol,
            )
            desk.watch_closely(CLOSELY_NS)
        self._postponed[row.client_order_id] = order
        order.changed.clear()
        await order.changed.wait()
        self._postponed.pop(row.client_order_id, None)

    def _look_again(self, venue: str) -> None:
        for order in self._postponed.values():
            if order.row.venue == venue:
                order.changed.set()

    def _thaw(self, order: TrackedOrder) -> None:
        """The outcome is proven: the story of the position goes on."""
        position = self._services.book.by_id(order.row.position_id)
        if position is not None and position.frozen == FROZEN:
            position.frozen = ""

    def _never_placed(self, order: TrackedOrder, count: _Count) -> Settled:
        services, row = self._services, order.row
        self._thaw(order)
        order.update(watch_until_ns=TsNs(services.runtime.ts() + DAY))
        proof = f"{count.empty} complete look-ups of all surfaces were empty"
        services.orders.conclude(order, OrderStatus.REJECTED, proof)
        services.decide(
            "outcome.settled",
            proof,
            venue=row.venue,
            symbol=row.symbol,
            position_id=row.position_id,
            client_order_id=row.client_order_id,
            outcome=str(Settled.NEVER_PLACED),
        )
        if not row.reduce_only:  # should the proof be wrong, it must be seen soon
            services.desks[row.venue].watch_closely(CLOSELY_NS)
        return Settled.NEVER_PLACED

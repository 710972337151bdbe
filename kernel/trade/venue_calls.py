"""One typed call for each kind of request; lists are read with all their pages.

What is answered is an answer of the kind that was asked for, or an error of `kernel.errors`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from kernel.errors import InvariantViolation, OutcomeUnknown
from kernel.model.orders import Fill, OrderClass, OrderReport, PositionReport
from kernel.model.units import TsNs
from kernel.model.venue import (
    AccountConfig,
    Acked,
    CancelOrder,
    Done,
    EffectClass,
    ExecutionPage,
    InstrumentPage,
    OrderPage,
    OrderSurface,
    PlaceStop,
    PositionPage,
    QueryAccountConfig,
    QueryExecutions,
    QueryFunding,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QuerySnapshot,
    SetPositionStop,
    SnapshotPage,
    SubmitOrder,
    VenueReply,
    VenueRequest,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kernel.model.instrument import Instrument
    from kernel.runtime.scheduler import Runtime

_EVER = TsNs(0)
PAGES_LIMIT = 200
"""More pages than any account has: a cursor that never ends is not an answer."""


def always() -> bool:
    """A request that is wanted whatever happens before it is sent."""
    return True


class VenueCalls(ABC):
    """The requests by name, on top of `ask`.

    Args:
        runtime: Of the kernel.
        name: Of the venue.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime = runtime
        self._name = name

    @abstractmethod
    async def ask(
        self,
        request: VenueRequest,
        cls: EffectClass,
        *,
        entity: str,
        timeout_ns: int | None = None,
        wanted: Callable[[], bool] = always,
    ) -> VenueReply:
        """Send one request and return its reply; whoever holds the gates says how."""

    async def submit(
        self,
        order: SubmitOrder,
        cls: EffectClass,
        *,
        timeout_ns: int | None = None,
        wanted: Callable[[], bool] = always,
    ) -> Acked:
        """Submit an order; see `ask`."""
        entity = order.client_order_id
        reply = await self.ask(order, cls, entity=entity, timeout_ns=timeout_ns, wanted=wanted)
        return _expect(Acked, reply)

    async def place_stop(
        self,
        stop: PlaceStop,
        cls: EffectClass = EffectClass.PROTECT,
        *,
        timeout_ns: int | None = None,
    ) -> Acked:
        """Place a closing stop of its own; see `ask`."""
        return _expect(
            Acked, await self.ask(stop, cls, entity=stop.client_order_id, timeout_ns=timeout_ns)
        )

    async def set_position_stop(
        self,
        stop: SetPositionStop,
        cls: EffectClass = EffectClass.PROTECT,
        *,
        timeout_ns: int | None = None,
    ) -> Done:
        """Set, move or remove the attached stop; see `ask`."""
        return _expect(Done, await self.ask(stop, cls, entity=stop.symbol, timeout_ns=timeout_ns))

    async def cancel(
        self,
        order: CancelOrder,
        cls: EffectClass = EffectClass.PROTECT,
        *,
        timeout_ns: int | None = None,
    ) -> Acked:
        """Ask for a cancellation; the answer is not one. See `ask`."""
        entity = order.client_order_id or order.venue_order_id
        return _expect(Acked, await self.ask(order, cls, entity=entity, timeout_ns=timeout_ns))

    async def order(
        self,
        symbol: str,
        surface: OrderSurface,
        cls: EffectClass = EffectClass.QUERY,
        *,
        client_order_id: str = "",
        venue_order_id: str = "",
        timeout_ns: int | None = None,
    ) -> OrderReport:
        """Look one order up; see `ask`. Not shown → `UnknownOrder`, which proves nothing."""
        query = QueryOrder(
            symbol=symbol,
            surface=surface,
            client_order_id=client_order_id,
            venue_order_id=venue_order_id,
        )
        entity = client_order_id or venue_order_id
        return _expect(
            OrderReport, await self.ask(query, cls, entity=entity, timeout_ns=timeout_ns)
        )

    async def snapshot(self) -> SnapshotPage:
        """Positions and both lists of orders of the whole account, every page of each.

        Any part that fails is the failure of the whole; see `ask`.
        """
        reply = await self.ask(QuerySnapshot(), EffectClass.QUERY, entity="account")
        page = _expect(SnapshotPage, reply)
        positions, plain, conditional = page.positions, page.plain, page.conditional
        if not (positions.next_cursor or plain.next_cursor or conditional.next_cursor):
            return page
        async with self._runtime.group() as group:
            held = group.spawn(self.positions(first=positions), "snapshot positions")
            lists = [
                group.spawn(self.open_orders(kind, first=first), f"snapshot {kind.value}")
                for kind, first in (
                    (OrderClass.PLAIN, plain),
                    (OrderClass.CONDITIONAL, conditional),
                )
            ]
        return SnapshotPage(
            positions=PositionPage(positions=held.result()),
            plain=OrderPage(orders=lists[0].result()),
            conditional=OrderPage(orders=lists[1].result()),
        )

    async def open_orders(
        self,
        order_class: OrderClass,
        symbol: str = "",
        *,
        first: OrderPage | None = None,
        cls: EffectClass = EffectClass.QUERY,
        timeout_ns: int | None = None,
    ) -> tuple[OrderReport, ...]:
        """Every page of one list, from the first or behind the `first`; a failed page fails it.

        `timeout_ns` is for each page.
        """
        entity = f"{order_class.value}:{symbol or 'account'}"

        async def read(cursor: str) -> OrderPage:
            query = QueryOpenOrders(order_class=order_class, symbol=symbol, cursor=cursor)
            reply = await self.ask(query, cls, entity=entity, timeout_ns=timeout_ns)
            return _expect(OrderPage, reply)

        pages = await self._pages("open_orders", read, first)
        return tuple(row for page in pages for row in page.orders)

    async def positions(
        self,
        symbol: str = "",
        *,
        first: PositionPage | None = None,
        cls: EffectClass = EffectClass.QUERY,
        timeout_ns: int | None = None,
    ) -> tuple[PositionReport, ...]:
        """Every page of the positions, from the first or behind the `first`."""
        entity = symbol or "account"

        async def read(cursor: str) -> PositionPage:
            query = QueryPositions(symbol=symbol, cursor=cursor)
            reply = await self.ask(query, cls, entity=entity, timeout_ns=timeout_ns)
            return _expect(PositionPage, reply)

        pages = await self._pages("positions", read, first)
        return tuple(row for page in pages for row in page.positions)

    async def executions(
        self,
        symbol: str,
        since_ns: TsNs = _EVER,
        *,
        client_order_id: str = "",
        venue_order_id: str = "",
        cls: EffectClass = EffectClass.QUERY,
        timeout_ns: int | None = None,
    ) -> tuple[Fill, ...]:
        """Every page of a symbol's executions, oldest first; a failed page fails the read."""

        async def read(cursor: str) -> ExecutionPage:
            query = QueryExecutions(
                symbol=symbol,
                since_ns=since_ns,
                client_order_id=client_order_id,
                venue_order_id=venue_order_id,
                cursor=cursor,
            )
            reply = await self.ask(query, cls, entity=symbol, timeout_ns=timeout_ns)
            return _expect(ExecutionPage, reply)

        pages = await self._pages("executions", read)
        return tuple(row for page in pages for row in page.fills)

    async def funding(self, since_ns: TsNs) -> tuple[Fill, ...]:
        """Every page of the funding of all symbols, oldest first; a failed page fails the read."""

        async def read(cursor: str) -> ExecutionPage:
            query = QueryFunding(since_ns=since_ns, cursor=cursor)
            return _expect(
                ExecutionPage, await self.ask(query, EffectClass.QUERY, entity="account")
            )

        pages = await self._pages("funding", read)
        return tuple(row for page in pages for row in page.fills)

    async def instruments(self) -> tuple[Instrument, ...]:
        """Every page of the venue's instruments."""

        async def read(cursor: str) -> InstrumentPage:
            query = QueryInstruments(cursor=cursor)
            reply = await self.ask(query, EffectClass.QUERY, entity="account")
            return _expect(InstrumentPage, reply)

        pages = await self._pages("instruments", read)
        return tuple(row for page in pages for row in page.instruments)

    async def account(self) -> AccountConfig:
        """Position mode and permissions of the account."""
        reply = await self.ask(QueryAccountConfig(), EffectClass.QUERY, entity="account")
        return _expect(AccountConfig, reply)

    async def _pages[P: (OrderPage, PositionPage, ExecutionPage, InstrumentPage)](
        self, kind: str, read: Callable[[str], Awaitable[P]], first: P | None = None
    ) -> list[P]:
        """Every page, from the first one or behind the `first`; one that fails fails them all."""
        pages = [first or await read("")]
        while pages[-1].next_cursor:
            if len(pages) == PAGES_LIMIT:
                said = f"more than {PAGES_LIMIT} pages"
                raise OutcomeUnknown(self._name, kind, "pages", said)
            pages.append(await read(pages[-1].next_cursor))
        return pages


def _expect[T](kind: type[T], reply: object) -> T:
    if type(reply) is not kind:
        raise InvariantViolation(f"answered by {type(reply).__name__} instead of {kind.__name__}")
    return reply

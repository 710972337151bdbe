"""One bulk reader a venue: positions and every class of orders, all pages, stamped.

1. A snapshot is complete or it does not exist: the failure of any page of any surface raises, and
   is never "nothing there" (hazards L04, L06, L07).
2. It is stamped with the moment before its first request: nothing that happened later may be
   concluded from it.
3. Answers young enough are shared, and so is a read that is in flight; where the one who makes it
   is cancelled, the others read anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.orders import ONE_WAY, OrderClass
from kernel.model.units import SECOND

if TYPE_CHECKING:
    from kernel.model.orders import OrderReport, PositionReport
    from kernel.model.units import MonoNs, TsNs
    from kernel.runtime.primitives import Future
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.services import Services

SHARED_NS = 5 * SECOND
"""Younger answers are shared by everybody whose need is not stricter."""


class VenueSnapshot:
    """What a venue showed in one complete read.

    Attributes:
        requested_ns: Monotonic time before the first request left.
        requested_ts_ns: The same moment on the wall.
        positions: Every row with a quantity.
        plain: Open market and limit orders.
        conditional: Open conditional orders, attached stops included.
    """

    __slots__ = (
        "_by_symbol",
        "_stops",
        "conditional",
        "plain",
        "positions",
        "requested_ns",
        "requested_ts_ns",
        "venue",
    )

    def __init__(
        self,
        venue: str,
        *,
        requested_ns: MonoNs,
        requested_ts_ns: TsNs,
        positions: tuple[PositionReport, ...],
        plain: tuple[OrderReport, ...],
        conditional: tuple[OrderReport, ...],
    ) -> None:
        self.venue = venue
        self.requested_ns = requested_ns
        self.requested_ts_ns = requested_ts_ns
        self.positions = tuple([report for report in positions if report.qty])
        self.plain = plain
        self.conditional = conditional
        self._by_symbol = {(one.symbol, one.hedge_leg): one for one in self.positions}
        self._stops = {one.client_order_id or one.venue_order_id: one for one in conditional}

    def position(self, symbol: str, leg: str = ONE_WAY) -> PositionReport | None:
        """The row of a symbol's leg; None: the complete list had none."""
        return self._by_symbol.get((symbol, leg))

    def stop(self, client_order_id: str, venue_order_id: str = "") -> OrderReport | None:
        """An open conditional order by either id; None: the complete list had none."""
        return self._stops.get(client_order_id) or self._stops.get(venue_order_id)

    def orders(self) -> tuple[OrderReport, ...]:
        """Every open order of every class."""
        return self.plain + self.conditional


class _Flight:
    """A read in flight and those who wait for it, but for the one who makes it."""

    __slots__ = ("_others", "requested_ns")

    def __init__(self, requested_ns: MonoNs) -> None:
        self.requested_ns = requested_ns
        self._others: Future[VenueSnapshot | None] | None = None

    def join(self, runtime: Runtime) -> Future[VenueSnapshot | None]:
        """What the read gives; None: who made it was cancelled, and the read with it."""
        if self._others is None or self._others.abandoned:
            self._others = runtime.future()
        return self._others

    def landed(self, snapshot: VenueSnapshot | None) -> None:
        """The read is over; nothing happens after a failure."""
        if self._others is not None:
            self._others.set_result(snapshot)

    def failed(self, error: Exception) -> None:
        """Some part could not be read."""
        if self._others is not None:
            self._others.set_error(error)


class SnapshotService:
    """Reads venues in bulk."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._newest: dict[str, VenueSnapshot] = {}
        self._flights: dict[str, _Flight] = {}
        self.reads = 0
        """Reads that were made, shared ones not counted."""

    async def read(self, venue: str, max_age_ns: int = SHARED_NS) -> VenueSnapshot:
        """A complete snapshot that was requested at most `max_age_ns` ago.

        Raises:
            VenueError: Some part of it could not be read: nothing may be concluded.
        """
        oldest_ns = self._services.runtime.now() - max_age_ns
        newest = self._newest.get(venue)
        if newest is not None and newest.requested_ns >= oldest_ns:
            return newest
        flight = self._flights.get(venue)
        if flight is None or flight.requested_ns < oldest_ns:
            return await self._fly(venue)
        snapshot = await flight.join(self._services.runtime)
        if snapshot is not None:
            return snapshot
        return await self.read(venue, max_age_ns)

    async def _fly(self, venue: str) -> VenueSnapshot:
        """Read, and share the answer or the failure with whoever asked meanwhile."""
        flight = self._flights[venue] = _Flight(self._services.runtime.now())
        snapshot: VenueSnapshot | None = None
        try:
            snapshot = await self._read(venue)
        except Exception as error:
            flight.failed(error)
            raise
        finally:
            if self._flights.get(venue) is flight:
                del self._flights[venue]
            if snapshot is not None:
                newest = self._newest.get(venue)
                if newest is None or snapshot.requested_ns >= newest.requested_ns:
                    self._newest[venue] = snapshot
                    self._services.desks[venue].listed = {
                        OrderClass.PLAIN: snapshot.plain,
                        OrderClass.CONDITIONAL: snapshot.conditional,
                    }
            flight.landed(snapshot)
        return snapshot

    async def _read(self, venue: str) -> VenueSnapshot:
        runtime, gateway = self._services.runtime, self._services.desks[venue].gateway
        requested_ns, requested_ts_ns = runtime.now(), runtime.ts()
        self.reads += 1
        page = await gateway.snapshot()
        return VenueSnapshot(
            venue,
            requested_ns=requested_ns,
            requested_ts_ns=requested_ts_ns,
            positions=page.positions.positions,
            plain=page.plain.orders,
            conditional=page.conditional.orders,
        )

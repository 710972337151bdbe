"""Funding that no event told of: read from the venue, and booked to who paid it (SPEC §9).

1. It falls due at full hours, so it is asked for once behind each, where a position was open then:
   in the ledger of the account (Binance), or among the executions of each position (Bybit).
2. A payment that was booked from the stream is booked no second time (`kernel.trade.funding`).
3. The result of a position waits until the payments of its time are known, a quarter of an hour at
   most: then it is told without them. Where syncs are switched off it waits for nothing.
4. A read that fails changes nothing; the next sync asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import FillKind
from kernel.model.units import MINUTE, SECOND, TsNs
from kernel.trade import evidence
from kernel.trade.funding import PAID_WITHIN_NS, full_hours, of_ledger, since_hour

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services

SETTLED_NS = 2 * MINUTE
"""So long after a full hour the venue is taken to show its payments."""
EDGE_NS = 15 * SECOND
"""A venue may charge a position that was opened or closed so close to the full hour."""
PATIENCE_NS = 15 * MINUTE
"""A result waits no longer than this for them."""


class FundingLedger:
    """The funding of one venue's positions."""

    def __init__(self, services: Services, desk: VenueDesk) -> None:
        self._services = services
        self._desk = desk
        self._read_ns = TsNs(0)
        """When it was asked for last, wall time."""

    async def catch_up(self) -> None:
        """Book what the venue has and we have not, where a full hour has passed since."""
        asked_ns = self._services.runtime.ts()
        held = self._positions()
        opened = [one.row.opened_ns for one in held]
        known_ns = max(self._read_ns - SETTLED_NS, 0)
        since_ns = max(min(opened, default=asked_ns) - EDGE_NS, known_ns)
        if not full_hours(since_ns, asked_ns - SETTLED_NS):
            return
        try:
            await self._read(since_ns, held)
        except VenueError as error:
            self._services.decide("funding.unread", str(error), venue=self._desk.name)
        else:
            self._read_ns = asked_ns

    async def _read(self, since_ns: int, held: list[Position]) -> None:
        services, desk = self._services, self._desk
        if desk.traits.funding_is_an_execution:
            for position in held:
                await evidence.read_executions(services, position)
            return
        for payment in await desk.gateway.funding(since_hour(since_ns)):
            # Not news that the stream should have told: cross margin pays without a symbol.
            services.orders.on_fill(desk.name, of_ledger(payment), streamed=True)

    def lacks(self, position: Position) -> bool:
        """Whether a position that ended may have paid what is not known yet."""
        if not self._services.settings.sync_interval_seconds:
            return False  # nobody asks for them
        row, now = position.row, self._services.runtime.ts()
        ended_ns = row.closed_ns or now
        if not (position.ours and row.filled_qty) or now >= ended_ns + PATIENCE_NS:
            return False
        since_ns = max(row.opened_ns - EDGE_NS, self._read_ns - SETTLED_NS)
        paid = [fill.ts_ns for fill in position.fills.values() if fill.kind is FillKind.FUNDING]
        return any(
            all(abs(ts_ns - hour) > PAID_WITHIN_NS for ts_ns in paid)
            for hour in full_hours(since_ns, ended_ns + EDGE_NS)
        )

    def _positions(self) -> list[Position]:
        """Those that may have paid."""
        book, venue = self._services.book, self._desk.name
        held = [*book.on_venue(venue), *book.unexplained(venue)]
        return [position for position in held if position.row.filled_qty]

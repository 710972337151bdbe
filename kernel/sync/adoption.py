"""Positions on the venue that nobody here knows: protected, and counted (SPEC §3, §9).

Ours by executions under our prefix → adopted fully. Foreign → `UNTRACKED_POLICY`: `protect`
(default: a stop only; counts for limits; never trailed, aged, guarded or closed), `adopt`,
`alert`, `close`. The quantity and the entry are the venue's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import is_ours
from kernel.model.orders import OrderClass
from kernel.model.positions import CloseReason, Origin, PositionRow, PositionState
from kernel.model.units import DAY, MS, TsNs
from kernel.model.venue import EffectClass

if TYPE_CHECKING:
    from kernel.model.orders import PositionReport
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner

LOOK_BACK_NS = 6 * DAY
"""Venues serve executions in windows of less than seven days."""


class Adoption:
    """Takes a venue position into the book and sees to its stop."""

    def __init__(self, services: Services, stops: StopOwner, exits: Exits) -> None:
        self._services = services
        self._stops = stops
        self._exits = exits

    async def take(self, venue: str, report: PositionReport, cause: str) -> Position | None:
        """Adopt one position by policy; None where it is left alone (`alert`)."""
        services = self._services
        ours = await self._is_ours(venue, report)
        policy = "adopt" if ours else services.settings.untracked_policy
        services.decide(
            "position.untracked",
            cause,
            venue=venue,
            symbol=report.symbol,
            side=report.side.value,
            qty=report.qty,
            ours=ours,
            policy=policy,
        )
        services.alert(
            "WARNING" if ours else "ERROR",
            "position.untracked",
            f"{report.side} {report.qty} {report.symbol} was on the venue and not in our books: "
            f"{policy}",
            venue=venue,
            symbol=report.symbol,
        )
        if policy == "alert" or services.book.by_symbol(venue, report.symbol) is not None:
            return None
        position = services.book.create(self._row(venue, report, policy))
        position.hear(report)
        await services.commit_protect((position.row,))
        await self._protect(position, policy, cause)
        return position

    async def _protect(self, position: Position, policy: str, cause: str) -> None:
        if policy == "close":
            await self._exits.close(position, CloseReason.OPERATOR, f"{cause}: policy close")
        elif await self._stops.protect(position):
            position.transition(PositionState.ACTIVE, "stop confirmed")
            await self._services.commit_protect((position.row,))
            return
        else:
            await self._exits.close(position, CloseReason.UNPROTECTED, cause)
        if position.state is PositionState.ROLLBACK:
            position.transition(PositionState.ROLLED_BACK, "proven flat")
            await self._services.commit_protect((position.row,))

    def _row(self, venue: str, report: PositionReport, policy: str) -> PositionRow:
        services = self._services
        now = services.runtime.ts()
        return PositionRow(
            position_id=f"{venue}:{report.symbol}:{services.epoch}:u{now // MS}",
            venue=venue,
            symbol=report.symbol,
            side=report.side,
            state=PositionState.PENDING_SL,
            origin=Origin.OURS if policy == "adopt" else Origin.FOREIGN,
            intended_qty=report.qty,
            filled_qty=report.qty,
            entry_price=report.entry_price,
            opened_ns=now,
            first_fill_ns=report.opened_ns or now,
            updated_ns=now,
        )

    async def _is_ours(self, venue: str, report: PositionReport) -> bool:
        """Whether executions under our prefix made it; unknown counts as foreign."""
        services = self._services
        since = TsNs(max(0, services.runtime.ts() - LOOK_BACK_NS))
        try:
            fills = await services.desks[venue].gateway.executions(
                report.symbol, since, cls=EffectClass.EXIT
            )
        except VenueError:
            return False
        opening = [fill for fill in fills if fill.side is report.side.entry_side]
        if not opening:
            return False
        last = opening[-1]  # Binance names no client id here: the order's own id tells
        known = services.orders.by_venue_id(venue, OrderClass.PLAIN, last.venue_order_id)
        return is_ours(last.client_order_id) or known is not None

"""Positions on the venue that nobody here knows: protected, and counted (SPEC §3, §9).

Ours by executions under our prefix → adopted fully. Foreign → `UNTRACKED_POLICY`: `protect`
(default: a stop only; counts for limits; never trailed, aged, guarded or closed), `adopt`,
`alert`, `close`. The quantity and the entry are the venue's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import is_ours, parse_client_order_id
from kernel.model.orders import OrderClass
from kernel.model.positions import CloseReason, Origin, PositionRow, PositionState
from kernel.model.units import DAY, MINUTE, MS, SECOND, TsNs
from kernel.model.venue import EffectClass, OrderSurface

if TYPE_CHECKING:
    from kernel.model.orders import Fill, PositionReport
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
        opened_by = await self._opened_by(venue, report)
        ours = bool(opened_by)
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
        position = services.book.create(self._row(venue, report, policy, opened_by))
        position.hear(report)
        await services.commit_protect((position.row,))
        task = services.supervise(
            f"adopt {position.id}",
            lambda: self._protect(position, policy, cause),
            position=position,  # should it crash, this position has an owner all the same
        )
        await task.wait()
        return position

    async def _protect(self, position: Position, policy: str, cause: str) -> None:
        if policy == "close":
            await self._exits.close(position, CloseReason.OPERATOR, f"{cause}: policy close")
        elif await self._stops.protect(position) and position.state is PositionState.PENDING_SL:
            position.transition(PositionState.ACTIVE, "stop confirmed")
            await self._services.commit_protect((position.row,))
            return
        else:
            await self._exits.close(position, CloseReason.UNPROTECTED, cause)
        self._services.supervise(
            f"end {position.id}", lambda: self._end(position, cause), position=position
        )

    async def _end(self, position: Position, cause: str) -> None:
        """It is over when the exit ladder has proven it flat; a sync does not wait for that."""
        while not await self._exits.close(position, CloseReason.UNPROTECTED, cause):
            await self._services.runtime.sleep(SECOND)
        if position.state is PositionState.ROLLBACK:
            position.transition(PositionState.ROLLED_BACK, "proven flat")
            await self._services.commit_protect((position.row,))

    def _row(self, venue: str, report: PositionReport, policy: str, opened_by: str) -> PositionRow:
        services = self._services
        now = services.runtime.ts()
        parts = parse_client_order_id(opened_by)  # its minute tells which stops are its own
        return PositionRow(
            position_id=f"{venue}:{report.symbol}:{services.epoch}:u{now // MS}",
            venue=venue,
            symbol=report.symbol,
            side=report.side,
            state=PositionState.PENDING_SL,
            origin=Origin.OURS if policy == "adopt" else Origin.FOREIGN,
            wave_ns=TsNs(0 if parts is None else parts.wave_minute * MINUTE),
            intended_qty=report.qty,
            filled_qty=report.qty,
            entry_price=report.entry_price,
            opened_ns=now,
            first_fill_ns=report.opened_ns or now,
            updated_ns=now,
        )

    async def _opened_by(self, venue: str, report: PositionReport) -> str:
        """The id of ours under which it was opened last; "": not ours, or nobody can tell."""
        services = self._services
        since = TsNs(max(0, services.runtime.ts() - LOOK_BACK_NS))
        try:
            fills = await services.desks[venue].gateway.executions(
                report.symbol, since, cls=EffectClass.EXIT
            )
            opening = [fill for fill in fills if fill.side is report.side.entry_side]
            made = "" if not opening else await self._order_of(venue, opening[-1])
        except VenueError:
            return ""
        return made if is_ours(made) else ""

    async def _order_of(self, venue: str, fill: Fill) -> str:
        """The client id of an execution; Binance names it in the order only."""
        services = self._services
        known = services.orders.by_venue_id(venue, OrderClass.PLAIN, fill.venue_order_id)
        if fill.client_order_id or known is not None:
            return fill.client_order_id or (known.client_order_id if known is not None else "")
        order = await services.desks[venue].gateway.order(
            fill.symbol,
            OrderSurface.PLAIN,
            EffectClass.EXIT,
            venue_order_id=fill.venue_order_id,
        )
        return order.client_order_id

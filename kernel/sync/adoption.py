"""Positions on the venue that nobody here knows: protected, identified, and counted (SPEC §3, §9).

1. One read is enough to *guard* such a position: it is taken into the book as a foreign one and
   gets a stop. Nothing else may be done to it yet.
2. Once two complete reads agree on it, it is *identified*: ours by executions under our prefix →
   adopted fully. Foreign → `UNTRACKED_POLICY`: `protect` (default: the stop only; it counts for
   limits; never trailed, aged, guarded or closed), `adopt`, `alert` (never guarded either),
   `close`. Where the executions cannot be read it stays as it is, and the next sync asks again.
3. The quantity and the entry are the venue's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import parse_client_order_id
from kernel.model.orders import ONE_WAY
from kernel.model.positions import CloseReason, Origin, PositionRow, PositionState
from kernel.model.units import MINUTE, MS, SECOND, TsNs
from kernel.sync.origin import Opening, book_opening, opening_of

if TYPE_CHECKING:
    from kernel.model.orders import PositionReport
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner

AGAIN_NS = 10 * SECOND
"""After an effort that could not protect a foreign position (hazards I14)."""


class Adoption:
    """Takes a venue position into the book, sees to its stop, and finds out whose it is."""

    def __init__(self, services: Services, stops: StopOwner, exits: Exits) -> None:
        self._services = services
        self._stops = stops
        self._exits = exits
        self._identified: dict[str, None] = {}
        """Foreign positions that were identified by this process."""

    def is_unproven(self, position: Position) -> bool:
        """Whether a position was only protected so far; a start asks again of foreign ones."""
        return not position.ours and position.id not in self._identified

    async def guard(self, venue: str, report: PositionReport, cause: str) -> Position | None:
        """Take a position into the book as a foreign one, and see to its stop.

        Returns:
            None where it is known already, or where policy adds nothing (`alert`; without the
            store what is ours, by the executions, gets its stop all the same).
        """
        services = self._services
        only_told = services.settings.untracked_policy == "alert"
        if only_told and not services.unloaded:
            return None
        try:
            opening = await opening_of(services, venue, report)
        except VenueError:
            opening = Opening()  # protection does not wait for it
        if only_told and not opening.ours:
            return None
        if services.book.by_symbol(venue, report.symbol, report.hedge_leg) is not None:
            return None
        position = self._create(venue, report, opening.client_order_id, cause)
        await services.commit_protect((position.row,))
        task = services.supervise(
            f"adopt {position.id}",
            lambda: self._protect(position, ours=opening.ours),
            position=position,  # should it crash, this position has an owner all the same
        )
        await task.wait()
        return position

    async def take(self, venue: str, report: PositionReport, cause: str) -> Position | None:
        """Take a proven position into the book; None where it is only told of (`alert`).

        Raises:
            VenueError: Nobody could tell whose it is; nothing was done.
        """
        services = self._services
        if services.settings.untracked_policy == "alert":
            opening = await opening_of(services, venue, report)
            if not opening.ours:
                self._tell(venue, report, "alert", cause)
                return None
            known = services.book.by_symbol(venue, report.symbol, report.hedge_leg)
            if known is not None:
                return known
            position = self._create(venue, report, opening.client_order_id, cause)
            await services.commit_protect((position.row,))
            await self._protect(position, ours=True)
        else:
            guarded = await self.guard(venue, report, cause)
            if guarded is None:
                return None
            position = guarded
        if position.state is PositionState.ACTIVE:
            await self.identify(position, cause)
        return position

    async def identify(self, position: Position, cause: str) -> None:
        """Find out whose a proven position is, and act by policy."""
        services, report = self._services, position.report
        if report is None:
            return
        try:
            opening = await opening_of(services, position.venue, report)
        except VenueError as error:
            services.decide(
                "position.unidentified",
                str(error),
                venue=position.venue,
                symbol=position.symbol,
                position_id=position.id,
            )
            return
        policy = "adopt" if opening.ours else services.settings.untracked_policy
        self._tell(position.venue, report, policy, cause, ours=opening.ours)
        self._identified[position.id] = None
        if policy == "adopt":
            position.update(origin=Origin.OURS)
            book_opening(services, position, opening)
            services.persist((position.row,))
            self._stops.adopted(position)
        elif policy == "close":
            await self._exits.close(position, CloseReason.OPERATOR, f"{cause}: policy close")

    def forget(self, position: Position) -> None:
        """It ended."""
        self._identified.pop(position.id, None)

    def _tell(
        self, venue: str, report: PositionReport, policy: str, cause: str, *, ours: bool = False
    ) -> None:
        self._services.decide(
            "position.untracked",
            cause,
            venue=venue,
            symbol=report.symbol,
            side=report.side.value,
            qty=report.qty,
            ours=ours,
            policy=policy,
        )
        self._services.alert(
            "WARNING" if ours else "ERROR",
            "position.untracked",
            f"{report.side} {report.qty} {report.symbol} was on the venue and not in our books: "
            f"{policy}",
            venue=venue,
            symbol=report.symbol,
        )

    # ------------------------------------------------------------ its stop

    async def protect(self, position: Position) -> None:
        """Go on with a position that was found and whose first stop is not confirmed."""
        await self._protect(position, ours=position.ours)

    async def _protect(self, position: Position, *, ours: bool) -> None:
        """See to the first stop.

        One of ours that cannot be protected is closed. A foreign one is never closed for that: it
        is tried until the stop stands or the position is proven gone; the stop owner alerts.
        """
        tried = False
        while _is_pending(position):
            if await self._stops.protect(position) and _is_pending(position):
                position.transition(PositionState.ACTIVE, "stop confirmed")
                await self._services.commit_protect((position.row,))
            if ours or not _is_pending(position):
                break
            await self._stops.tidy(position)  # what was placed in vain does not pile up
            if await self._exits.conclude(position, CloseReason.EXTERNAL, unexplained=tried):
                return
            tried = True
            await self._services.runtime.sleep(AGAIN_NS)
        if position.state is not PositionState.ACTIVE:
            self._services.supervise(
                f"end {position.id}", lambda: self._end(position), position=position
            )

    async def _end(self, position: Position) -> None:
        """It is over when the exit ladder has proven it flat; a sync does not wait for that."""
        cause = "no stop can be placed"
        while not await self._exits.close(position, CloseReason.UNPROTECTED, cause):
            await self._services.runtime.sleep(SECOND)
        if position.state is PositionState.ROLLBACK:
            position.transition(PositionState.ROLLED_BACK, "proven flat")
            await self._services.commit_protect((position.row,))

    # ------------------------------------------------------------ its row

    def _create(
        self, venue: str, report: PositionReport, opened_by: str, cause: str
    ) -> Position:
        services = self._services
        now = services.runtime.ts()
        parts = parse_client_order_id(opened_by)  # its minute tells which stops are its own
        row = PositionRow(
            position_id=f"{venue}:{report.symbol}:{services.epoch}:u{now // MS}{_mark(report)}",
            venue=venue,
            symbol=report.symbol,
            side=report.side,
            state=PositionState.PENDING_SL,
            origin=Origin.FOREIGN,
            wave_ns=TsNs(0 if parts is None else parts.wave_minute * MINUTE),
            intended_qty=report.qty,
            filled_qty=report.qty,
            entry_price=report.entry_price,
            opened_ns=now,
            first_fill_ns=report.opened_ns or now,
            updated_ns=now,
            hedge_leg=report.hedge_leg,
        )
        position = services.book.create(row)
        position.hear(report)
        services.decide(
            "position.found",
            cause,
            venue=venue,
            symbol=report.symbol,
            position_id=position.id,
            side=report.side.value,
            qty=report.qty,
        )
        return position


def _is_pending(position: Position) -> bool:
    return position.state is PositionState.PENDING_SL


def _mark(report: PositionReport) -> str:
    """Two legs that are found at one instant have two ids."""
    return "" if report.hedge_leg == ONE_WAY else f":{report.hedge_leg}"

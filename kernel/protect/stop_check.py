"""The stop watch: a bulk read each 15 s while a position is open, a full verification each 60 s.

1. The bulk watch compares what the venue shows of every class with what the stop owner holds
   confirmed. A row that is missing starts a repair that *adds* protection; it never closes and
   never cancels (SPEC §4).
2. The full verification also compares side, size, trigger, series and liquidation price.
3. A failed read changes nothing. Symbols with an operation in progress are skipped, and so is
   whatever was confirmed less than the visibility lag before the read was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import is_ours
from kernel.model.orders import OrderClass
from kernel.model.positions import PositionState
from kernel.model.traits import StopStyle
from kernel.model.units import SECOND
from kernel.trade import evidence
from kernel.trade.protective_set import StopOrder, StopPhase

if TYPE_CHECKING:
    from typing import Protocol

    from kernel.model.orders import OrderReport, PositionReport
    from kernel.model.units import MonoNs
    from kernel.runtime.ticker import Ticker
    from kernel.trade.book import Position
    from kernel.trade.protective_set import StopOrder
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner

    class Snapshot(Protocol):
        """A complete bulk read."""

        requested_ns: MonoNs
        conditional: tuple[OrderReport, ...]

        def position(self, symbol: str, leg: str = ...) -> PositionReport | None:
            """The row of a symbol's leg."""
            ...

        def stop(self, client_order_id: str, venue_order_id: str = "") -> OrderReport | None:
            """An open conditional by either id."""
            ...

    class Snapshots(Protocol):
        """Whoever reads venues in bulk."""

        async def read(self, venue: str, max_age_ns: int = ...) -> Snapshot:
            """A complete snapshot; raises where any part failed."""
            ...


MAX_AGE_NS = 5 * SECOND
DISTRUST_NS = 600 * SECOND
"""After a list was proven to leave out a live stop, look-ups by id come before additions."""


class StopCheck:
    """Watches the stops of every venue."""

    def __init__(self, services: Services, snapshots: Snapshots, stops: StopOwner) -> None:
        self._services = services
        self._snapshots = snapshots
        self._stops = stops
        self._lag_ns = services.settings.visibility_lag_seconds * SECOND
        self._verified_ns: dict[str, MonoNs] = {}
        self._repairing: dict[str, None] = {}
        self._stood: dict[str, dict[str, _Picture]] = {}
        """By venue and position: what was looked at when it last passed a full verification."""

    async def run(self) -> None:
        """Watch for ever; supervised by the kernel. Returns at once where it is switched off."""
        if not self._services.settings.protection_bulk_seconds:
            return
        async with self._services.runtime.group() as group:
            for venue in self._services.desks:
                group.spawn(self._venue(venue), f"stop check {venue}")

    async def _venue(self, venue: str) -> None:
        """Sleep while no position is open: an idle venue costs nothing."""
        period_ns = self._services.settings.protection_bulk_seconds * SECOND
        while True:
            self._stops.kept.clear()
            if not self._stops.watched(venue):
                await self._stops.kept.wait()
                continue
            self._verified_ns[venue] = self._services.runtime.now()
            await self._watch(venue, self._services.runtime.ticker(period_ns))

    async def _watch(self, venue: str, ticker: Ticker) -> None:
        """Check at each tick, until no position is open."""
        full_ns = self._services.settings.stop_check_interval_seconds * SECOND
        while True:
            await ticker.next()
            positions = self._stops.watched(venue)
            if not positions:
                return
            now = self._services.runtime.now()
            full = bool(full_ns) and now - self._verified_ns[venue] >= full_ns
            if await self.check(venue, positions, full=full) and full:
                self._verified_ns[venue] = now

    async def check(self, venue: str, watched: list[Position], *, full: bool) -> bool:
        """One round; False: the read had no value."""
        try:
            snapshot = await self._snapshots.read(venue, MAX_AGE_NS)
        except VenueError as error:
            self._services.decide(
                "stop.unchecked",
                f"{type(error).__name__}: {error}",
                venue=venue,
                positions=len(watched),
            )
            return False
        if full:
            stood = self._stood.get(venue, {})
            self._stood[venue] = {one.id: stood[one.id] for one in watched if one.id in stood}
        attached = self._services.desks[venue].traits.stop_style is StopStyle.ATTACHED
        for position in watched:
            if self._due(position):
                cause = self._fault(position, snapshot, attached=attached, full=full)
                if cause:
                    self._repair(position, cause)
        if full:
            self._set_aside(venue, watched, snapshot)
        return True

    def _due(self, position: Position) -> bool:
        """Whether this position is ours to look at now."""
        return (
            position.state in (PositionState.PENDING_SL, PositionState.ACTIVE)
            and not position.stops.busy
            and position.stops.fired is None
            and not self._stops.closing(position)
        )

    # ------------------------------------------------------------ comparing

    def _fault(self, position: Position, snapshot: Snapshot, *, attached: bool, full: bool) -> str:
        """What speaks against the protection of a position; "": nothing."""
        stops, row = position.stops, snapshot.position(position.symbol, position.leg)
        if row is not None and row.side is position.side and position.hear(row):
            self._stops.on_position(position)
        confirmed_ns = stops.confirmed_ns
        if confirmed_ns is not None and snapshot.requested_ns - confirmed_ns < self._lag_ns:
            return ""
        if not attached and self._missing(position, snapshot):
            return "missing from a bulk read"
        if not full and stops.verified:
            return ""  # what changed has woken its keeper
        stood = self._stood.setdefault(position.venue, {})
        if stops.verified and stood.get(position.id) == self._picture(position):
            return ""  # all that a verification looks at is as it was when it last passed
        stood.pop(position.id, None)
        self._stops.settle(position)
        if not self._stops.covered(position):
            return "no confirmed stop covers the position"
        if full and not self._stops.stands(position):
            return "level or size of the stop are not what they should be"
        if full:
            stood[position.id] = self._picture(position)
        return ""

    def _picture(self, position: Position) -> _Picture:
        """All that a full verification of a position depends on, but for its mark."""
        report, stops = position.report, position.stops
        return (
            position.row,
            len(position.fills),
            stops.confirmed,
            stops.exposed_since_ns,
            self._services.desks[position.venue].instruments.get(position.symbol),
            None
            if report is None
            else (
                report.updated_ns, report.side, report.qty, report.liquidation_price,
                report.stop_price, report.stop_trigger_by,
            ),
            [
                (stop.order.row, stop.order.report, stop.wanted, stop.missing)
                for stop in stops.open()
            ],
        )

    def _missing(self, position: Position, snapshot: Snapshot) -> bool:
        """Whether a stop that should have been in the list was not; it is a tombstone now."""
        missing = False
        stops = position.stops.open()
        for stop in stops:
            if not _unchanged(stop, snapshot):
                break
        else:
            return False
        crowded = any(
            stop.order.report is not None and not (stop.wanted and stop.phase is StopPhase.LIVE)
            for stop in stops
        )
        for stop in stops:
            order = stop.order
            report = snapshot.stop(order.row.client_order_id, order.row.venue_order_id)
            if report is None:
                if stop.wanted and stop.phase is StopPhase.LIVE:
                    old = snapshot.requested_ns - stop.sent_ns >= self._lag_ns
                    missing = (old and self._unlisted(position, stop, crowded=crowded)) or missing
            else:
                if report is not order.report and report != order.report:
                    self._services.orders.on_report(position.venue, report)
                if stop.missing:
                    stop.missing = False
                    position.changed.set()
        return missing

    def _unlisted(self, position: Position, stop: StopOrder, *, crowded: bool) -> bool:
        """A complete read did not show a live stop; True: it is to be joined by another one.

        A read that misses a second one too is worth less than the stream that showed it. Where
        the list is known to lie, the stop is asked for by its id before one is added.
        """
        self._services.decide(
            "stop.unlisted",
            "a complete read did not show it",
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id=stop.client_order_id,
        )
        if crowded:
            return False
        lied_ns = position.stops.list_lied_ns
        if lied_ns is None or self._services.runtime.now() - lied_ns >= DISTRUST_NS:
            stop.missing = True
            return True
        if position.id not in self._repairing:
            self._repairing[position.id] = None
            self._services.supervise(
                f"question {position.id}", lambda: self._ask(position, stop), position=position
            )
        return False

    async def _ask(self, position: Position, stop: StopOrder) -> None:
        """Look one stop up by its id; what is not shown either is missing."""
        try:
            if not await evidence.look_up(self._services, stop.order):
                stop.missing = True
                await self._stops.ensure(position, "missing from a bulk read and a look-up")
            elif stop.phase is StopPhase.LIVE:
                position.stops.list_lied_ns = self._services.runtime.now()
        except VenueError:
            return  # a read without value changes nothing
        finally:
            self._repairing.pop(position.id, None)

    def _set_aside(self, venue: str, watched: list[Position], snapshot: Snapshot) -> None:
        """Stops of ours on watched symbols that no set knows: surplus."""
        by_leg = {(position.symbol, position.leg): position for position in watched}
        for report in snapshot.conditional:
            position = by_leg.get((report.symbol, report.position_side))
            if position is None or report.order_class is not OrderClass.CONDITIONAL:
                continue
            surplus = is_ours(report.client_order_id) and not report.status.terminal
            order = self._services.orders.by_client_id(venue, report.client_order_id)
            held = self._services.cancels.holds(venue, report.client_order_id)
            if surplus and not held and (order is None or not order.terminal):
                self._stops.put_aside(position, report)

    # ------------------------------------------------------------ repairing

    def _repair(self, position: Position, cause: str) -> None:
        """In a task of its own: one symbol never delays another (hazards I20)."""
        self._services.decide(
            "stop.missing",
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            level=position.row.protected_level,
        )
        if position.id in self._repairing:
            return
        self._repairing[position.id] = None
        self._services.supervise(
            f"repair {position.id}", lambda: self._ensure(position, cause), position=position
        )

    async def _ensure(self, position: Position, cause: str) -> None:
        try:
            await self._stops.ensure(position, cause)
        finally:
            self._repairing.pop(position.id, None)


type _Picture = tuple[object, ...]


def _unchanged(stop: StopOrder, snapshot: Snapshot) -> bool:
    """Whether a read shows a stop as the very report that is known of it, or none where none is."""
    row = stop.order.row
    report = snapshot.stop(row.client_order_id, row.venue_order_id)
    return report is stop.order.report and not stop.missing

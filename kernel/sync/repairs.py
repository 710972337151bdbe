"""Mends what differs between a venue and our books, each difference through its owner (SPEC §9).

`kernel.sync.reconcile` says what is to be done; here it is done:

| repair | who acts |
| --- | --- |
| `Guard`, `Untracked`, `Identify` | `kernel.sync.adoption` |
| `Enlarge` | the stop owner |
| `Resize` | the book, then the stop owner |
| `Phantom`, `Turned` | `Exits.conclude`: ended by the venue's executions, without an order |
| `Forget` | the desk's memory of what was reported |

The repairs of a symbol run in a task of their own, and meanwhile the symbol counts as busy: no
symbol delays another, and none is repaired twice at a time.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import PositionSide
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import SECOND, TsNs, text
from kernel.sync.absence import Comparison, Sightings, stamp_of
from kernel.sync.reconcile import (
    Books,
    Enlarge,
    Forget,
    Guard,
    Held,
    Identify,
    Phantom,
    Remembered,
    Repair,
    Resize,
    Turned,
    Untracked,
    reconcile,
)
from kernel.trade.protective_set import StopPhase

if TYPE_CHECKING:
    from kernel.model.orders import PositionReport
    from kernel.sync.adoption import Adoption
    from kernel.sync.snapshot import VenueSnapshot
    from kernel.trade.book import Position
    from kernel.trade.desk import VenueDesk
    from kernel.trade.exits import Exits
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner

TWO_READS = "two complete reads"
UNEXPLAINED_NS = 60 * SECOND
"""Reads must not have shown a position for so long before it ends without an execution that says
why: its stop stays until then, for the surface may be late (hazards L05, L09)."""


class Repairs:
    """Compares one venue with the books, and mends.

    Attributes:
        waiting: The last read showed something that a second one must prove.
        mending: The last read called for repairs, or for what is in progress already: another one
            sees what came of it.
    """

    def __init__(
        self,
        services: Services,
        desk: VenueDesk,
        *,
        adoption: Adoption,
        stops: StopOwner,
        exits: Exits,
    ) -> None:
        self._services = services
        self._desk = desk
        self._adoption = adoption
        self._stops = stops
        self._exits = exits
        self._sightings: Sightings = {}
        self._mending: dict[str, None] = {}
        """Symbols whose repairs are under way."""
        self._let_alone: dict[tuple[str, str], PositionSide] = {}
        """Positions that are only told of, by policy."""
        self._told: dict[str, None] = {}
        """Phantoms that were told of and have not ended yet."""
        self.waiting = False
        self.mending = False

    def compare(self, snapshot: VenueSnapshot) -> None:
        """Hold a complete read against the books, and begin what it calls for."""
        lag_ns = self._services.settings.visibility_lag_seconds * SECOND
        comparison = Comparison(self._sightings, stamp_of(snapshot), lag_ns)
        repairs = reconcile(self._looked_at(snapshot), self._books(), comparison)
        self._sightings = comparison.sightings
        gone = [one.position_id for one in repairs if isinstance(one, Phantom)]
        self._told = {one: None for one in self._told if one in gone}
        self.waiting = comparison.waiting
        self.mending = bool(repairs) or comparison.skipped
        by_symbol: dict[str, list[Repair]] = {}
        for repair in repairs:
            by_symbol.setdefault(self._symbol(repair), []).append(repair)
        for symbol, its in by_symbol.items():
            self._mending[symbol] = None
            self._services.supervise(
                f"mend {self._desk.name} {symbol}", partial(self._mend, symbol, its)
            )

    def busy_symbols(self) -> list[str]:
        """Symbols with an operation, an unknown outcome or a repair in progress."""
        positions = self._services.book.on_venue(self._desk.name)
        return [*self._mending, *(one.symbol for one in positions if self._busy(one))]

    # ------------------------------------------------------------ what is compared

    def _looked_at(self, snapshot: VenueSnapshot) -> list[PositionReport]:
        """The rows of a read without those that are only told of; they are told of once."""
        alone, self._let_alone = self._let_alone, {}
        rows = []
        for row in snapshot.positions:
            key = (row.symbol, row.hedge_leg)
            if alone.get(key) is row.side and self._position(row) is None:
                self._let_alone[key] = row.side
            else:
                rows.append(row)
        return rows

    def _books(self) -> Books:
        services, venue = self._services, self._desk.name
        held = tuple(self._held(position) for position in services.book.on_venue(venue))
        unsettled = [
            order.row.symbol
            for order in services.orders.open_orders(venue)
            if not order.row.reduce_only and order.row.position_id
        ]
        return Books(
            held=held,
            remembered=tuple(
                Remembered(symbol=symbol, leg=leg, updated_ts_ns=report.updated_ns)
                for (symbol, leg), report in self._desk.reported.items()
                if report.qty and (symbol, leg) not in self._let_alone
            ),
            unsettled=(*unsettled, *self._mending),
            executed=tuple(self._executed().items()),
        )

    def _held(self, position: Position) -> Held:
        return Held(
            position_id=position.id,
            symbol=position.symbol,
            leg=position.leg,
            side=position.side,
            qty=position.qty,
            busy=self._busy(position),
            unproven=self._adoption.is_unproven(position),
        )

    def _executed(self) -> dict[str, TsNs]:
        """The last execution known on each symbol, from before our start too."""
        services, venue = self._services, self._desk.name
        last = dict(services.orders.executed.on_venue(venue))
        for position in services.book.on_venue(venue):
            newest = max((fill.ts_ns for fill in position.fills.values()), default=TsNs(0))
            last[position.symbol] = max(newest, last.get(position.symbol, TsNs(0)))
        return last

    def _busy(self, position: Position) -> bool:
        """An operation, or a stop whose sending has an unknown outcome, is in progress on it."""
        return (
            position.state is not PositionState.ACTIVE
            or position.lock.locked
            or position.stops.busy
            or self._exits.in_progress(position)
            or any(stop.phase is StopPhase.SENT for stop in position.stops.doubtful())
        )

    def _position(self, row: PositionReport) -> Position | None:
        return self._services.book.by_symbol(self._desk.name, row.symbol, row.hedge_leg)

    def _symbol(self, repair: Repair) -> str:
        match repair:
            case Guard() | Untracked():
                return repair.report.symbol
            case Forget():
                return repair.symbol
            case _:
                position = self._services.book.by_id(repair.position_id)
                return "" if position is None else position.symbol

    # ------------------------------------------------------------ what is done

    async def _mend(self, symbol: str, repairs: list[Repair]) -> None:
        self._mending[symbol] = None
        try:
            for repair in repairs:
                await self._do(repair)
        finally:
            self._mending.pop(symbol, None)

    async def _do(self, repair: Repair) -> None:
        if self._services.lease.protect_only and isinstance(repair, Guard | Untracked | Identify):
            return  # whose it is may be another instance's business
        if self._services.unloaded and isinstance(repair, Identify):
            return  # the store may know more of it
        match repair:
            case Guard(report):
                await self._adoption.guard(self._desk.name, report, "one read shows it")
            case Untracked(report):
                await self._untracked(report)
            case Forget(symbol, leg):
                self._forget(symbol, leg)
            case _:
                position = self._services.book.by_id(repair.position_id)
                if position is not None and not self._busy(position):
                    await self._mend_position(position, repair)

    async def _mend_position(
        self, position: Position, repair: Enlarge | Identify | Phantom | Turned | Resize
    ) -> None:
        match repair:
            case Enlarge():
                await self._stops.ensure(position, "a read shows more than we have")
            case Identify():
                await self._adoption.identify(position, f"on the venue in {TWO_READS}")
            case Phantom(_, for_ns):
                if position.id not in self._told:
                    self._told[position.id] = None
                    self._decide(position, "sync.phantom", f"{TWO_READS} show no position")
                await self._exits.conclude(
                    position, CloseReason.EXTERNAL, unexplained=for_ns >= UNEXPLAINED_NS
                )
            case Turned(_, side):
                self._decide(position, "sync.side", f"the venue shows {side}")
                await self._exits.conclude(position, CloseReason.EXTERNAL, unexplained=True)
            case Resize(_, report):
                await self._resize(position, report)

    async def _untracked(self, report: PositionReport) -> None:
        cause = f"on the venue in {TWO_READS}"
        if self._services.unloaded:
            await self._adoption.guard(self._desk.name, report, cause)
            return
        try:
            taken = await self._adoption.take(self._desk.name, report, cause)
        except VenueError:
            return  # nobody could tell whose it is: the next sync asks again
        if taken is None:
            self._let_alone[(report.symbol, report.hedge_leg)] = report.side

    async def _resize(self, position: Position, report: PositionReport) -> None:
        """The venue's size wins; the protected level stays."""
        self._decide(position, "sync.size", f"the venue shows {text(report.qty)}")
        position.resize(report.qty, report.entry_price or position.row.entry_price)
        await self._services.commit_protect((position.row,))
        await self._stops.ensure(position, "size changed on the venue")

    def _forget(self, symbol: str, leg: str) -> None:
        """It would hold a slot and its symbol for ever."""
        report = self._desk.reported.pop((symbol, leg), None)
        if report is not None:
            self._services.decide(
                "sync.gone",
                f"{TWO_READS} show no position",
                venue=self._desk.name,
                symbol=symbol,
                qty=report.qty,
            )

    def _decide(self, position: Position, kind: str, cause: str) -> None:
        self._services.decide(
            kind,
            cause,
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            qty=position.qty,
        )

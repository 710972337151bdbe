"""Clears zombie orders at each sync (SPEC §7): finds them, proves them, hands them to the ledger.

    complete read → zombies → two reads agree → positions once more → to-cancel ledger → terminal

`kernel.sync.zombies` says what is one. Here the books are laid beside the read; the proof is made;
the last look is taken with the symbol held, so that no entry begins meanwhile. Plain orders and
conditionals are cancelled as such. A stop attached to a position that is gone is set to zero on
the symbol; if that is refused it is cancelled under its id. After that an order belongs to
`kernel.trade.cancel_ledger` until it is terminal, over restarts too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import is_ours
from kernel.model.orders import OrderClass
from kernel.model.units import SECOND, ZERO, TsNs, text
from kernel.model.venue import EffectClass, SetPositionStop
from kernel.sync.absence import Comparison, Sightings, stamp_of
from kernel.sync.zombies import Candidate, Ground, Zombie, find_young, find_zombies

if TYPE_CHECKING:
    from kernel.model.orders import OrderReport, PositionReport
    from kernel.model.rows import StoredState
    from kernel.sync.repairs import Repairs
    from kernel.sync.snapshot import VenueSnapshot
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

TOO_MANY = "zombies"


class ZombieSweep:
    """The zombie orders of one venue.

    Attributes:
        waiting: The last read showed something that another one must prove.
        found: How many were proven since the start, by kind.
        cleared: How many of them are proven terminal.
    """

    def __init__(self, services: Services, desk: VenueDesk, repairs: Repairs) -> None:
        self._services = services
        self._desk = desk
        self._repairs = repairs
        self._sightings: Sightings = {}
        self._clearing: dict[str, None] = {}
        """Symbols on which a clean-up is under way."""
        self._reads = 0
        self._since_ns = TsNs(0)
        self._oldest_ns = TsNs(0)
        self._blind = False
        self._many = False
        self.waiting = False
        self.found: dict[str, int] = {}
        self.cleared = 0

    def restore(self, state: StoredState) -> None:
        """The store is loaded: since when it exists says what it can know."""
        self._since_ns = state.since_ns

    def compare(self, snapshot: VenueSnapshot) -> None:
        """Hold a complete read against the books, and begin to clear what is proven."""
        self._reads += 1
        self._oldest_ns = self._oldest(snapshot.positions)
        ground = self._ground(snapshot.positions, snapshot.requested_ts_ns)
        self._tell_blind(ground)
        candidates = [self._candidate(report) for report in snapshot.orders()]
        lag_ns = self._services.settings.visibility_lag_seconds * SECOND
        comparison = Comparison(self._sightings, stamp_of(snapshot), lag_ns)
        zombies = find_zombies(candidates, ground)
        executed = dict(self._services.orders.executed.on_venue(self._desk.name))
        by_symbol: dict[str, list[Zombie]] = {}
        for zombie in zombies:
            symbol = zombie.report.symbol
            if comparison.proven(zombie.key, after_ts_ns=executed.get(symbol, TsNs(0))):
                by_symbol.setdefault(symbol, []).append(zombie)
        self._sightings = comparison.sightings
        self.waiting = comparison.waiting or find_young(candidates, ground)
        self._count(len(zombies))
        if self._services.lease.protect_only or self._services.unloaded:
            return
        for symbol, its in by_symbol.items():
            if symbol not in self._clearing and not self._services.stopping:
                clear = partial(self._clear, symbol, its)
                self._services.supervise(f"zombies of {self._desk.name} {symbol}", clear)

    # ------------------------------------------------------------ what is judged

    def _candidate(self, report: OrderReport) -> Candidate:
        services, venue = self._services, self._desk.name
        order = services.orders.by_venue_id(venue, report.order_class, report.venue_order_id)
        if order is None and is_ours(report.client_order_id):
            order = services.orders.by_client_id(venue, report.client_order_id)
        if order is None:
            return Candidate(report, ours=is_ours(report.client_order_id))
        ended = order.report is not None and order.report.status.terminal  # an old row of a list
        position = services.book.by_id(order.row.position_id)
        works = position is not None and not position.state.terminal
        held = services.cancels.holds(venue, order.client_order_id)
        ours = is_ours(order.client_order_id)
        return Candidate(report, ours=ours, claimed=ended or works or held)

    def _ground(self, rows: tuple[PositionReport, ...], asked_ts_ns: TsNs) -> Ground:
        """Positions of a read, beside the books of now."""
        services, venue = self._services, self._desk.name
        book = services.book.on_venue(venue)
        unsettled = [
            order.row.symbol
            for order in services.orders.open_orders(venue)
            if not order.row.reduce_only and order.row.position_id
        ]
        return Ground(
            positions=rows,
            asked_ts_ns=asked_ts_ns,
            lag_ns=services.settings.visibility_lag_seconds * SECOND,
            hedge_mode=self._desk.hedge_mode,
            everybodys=services.settings.zombie_scope == "all",
            first=self._reads == 1,
            store_since_ns=self._since_ns,
            oldest_ns=self._oldest_ns,
            taken=(
                *(one.symbol for one in book if one.ours),
                *unsettled,
                *services.risk.reserved(venue),
            ),
            held=tuple((one.symbol, one.leg) for one in book),
            busy=(*unsettled, *self._repairs.busy_symbols()),
        )

    def _oldest(self, rows: tuple[PositionReport, ...]) -> TsNs:
        """When the oldest position was opened; not every venue says so, then we may know better."""
        times = [
            min(time for time in self._times(row) if time)
            for row in rows
            if any(self._times(row))
        ]
        return min(times, default=TsNs(0))

    def _times(self, row: PositionReport) -> tuple[TsNs, ...]:
        """What is known of the time of its opening: it was not after any of these."""
        position = self._services.book.by_symbol(self._desk.name, row.symbol, row.hedge_leg)
        known = TsNs(0) if position is None else position.row.first_fill_ns
        return row.opened_ns, row.updated_ns, known

    # ------------------------------------------------------------ what is told

    def _tell_blind(self, ground: Ground) -> None:
        """The store may know nothing of what it would clear: said once."""
        blind = not ground.trusted and not ground.first
        if blind and not self._blind:
            self._services.decide(
                "zombie.blind",
                "the store is newer than the oldest position: nothing is cleared",
                venue=self._desk.name,
                since_ns=ground.store_since_ns,
                oldest_ns=ground.oldest_ns,
            )
        self._blind = blind

    def _count(self, count: int) -> None:
        """More of them than the threshold alert, until there are fewer."""
        threshold = self._services.settings.zombie_threshold
        many = count > threshold
        if many and not self._many:
            self._services.alert(
                "WARNING",
                TOO_MANY,
                f"{count} zombie orders on {self._desk.name}, more than {threshold}",
                venue=self._desk.name,
            )
        if self._many and not many:
            self._services.decide("zombie.few", f"{count} are left", venue=self._desk.name)
        self._many = many

    # ------------------------------------------------------------ what is done

    async def _clear(self, symbol: str, zombies: list[Zombie]) -> None:
        """Look once more at the positions of one symbol, then clear what is a zombie still."""
        services, venue = self._services, self._desk.name
        self._clearing[symbol] = None
        try:
            async with services.risk.hold(venue, symbol) as held:
                if not held:
                    return
                asked_ts_ns = services.runtime.ts()
                try:
                    rows = await self._desk.gateway.positions(symbol, cls=EffectClass.EXIT)
                except VenueError:
                    return  # nothing is concluded: the next sync asks again
                ground = self._ground(rows, asked_ts_ns)
                still = find_zombies((self._candidate(one.report) for one in zombies), ground)
                for zombie in still:
                    await self._end(zombie)
        finally:
            self._clearing.pop(symbol, None)

    async def _end(self, zombie: Zombie) -> None:
        """From now on it is the ledger's, until it is terminal."""
        services, report = self._services, zombie.report
        kind = zombie.kind.value
        self.found[kind] = self.found.get(kind, 0) + 1
        order = await services.cancels.record(self._desk.name, report)
        services.decide(
            "zombie.found",
            f"{kind} in two complete reads",
            venue=self._desk.name,
            symbol=report.symbol,
            client_order_id=order.client_order_id,
            order_class=report.order_class.value,
            side=report.side.value,
            qty=text(report.qty),
            total=sum(self.found.values()),
        )
        if report.order_class is OrderClass.ATTACHED:
            await self._detach(report, order)
        services.cancels.take(order, self._ended)

    async def _detach(self, report: OrderReport, order: TrackedOrder) -> None:
        """A stop that hangs on a position that is gone: zero on its symbol."""
        request = SetPositionStop(
            symbol=report.symbol,
            trigger_price=ZERO,
            trigger_by=report.trigger_by,
            position_side=report.position_side,
        )
        try:
            await self._desk.gateway.set_position_stop(request)
        except VenueError as error:
            self._services.decide(
                "zombie.refused", f"{error}", venue=self._desk.name, symbol=report.symbol
            )
            return
        await self._services.cancels.follow(order)

    def _ended(self, order: TrackedOrder) -> None:
        self.cleared += 1
        self._services.decide(
            "zombie.cleared",
            f"the venue shows it {order.row.status.value}",
            venue=self._desk.name,
            symbol=order.row.symbol,
            client_order_id=order.client_order_id,
            cleared=self.cleared,
            found=sum(self.found.values()),
        )

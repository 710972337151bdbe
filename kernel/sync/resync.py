"""Resynchronisation of one venue: after every doubt about the stream, and at every interval.

Rules (SPEC §9, hazards I6, I11, I12, W02):

1. While a resync is due, there is no entry on the venue. It is done when a *complete* read that
   was asked after the last doubt has been applied.
2. A failed or partial read changes nothing; it is tried again with growing pauses.
3. What the reads show is applied like stream events, so that one code path owns every fact.
4. What differs afterwards is `kernel.sync.repairs`' business, and what orders should not be there
   that of `kernel.sync.zombie_sweep`. While a difference waits for its
   second read, the next read comes as soon as it can prove it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.ids import is_ours
from kernel.model.units import DAY, SECOND, MonoNs
from kernel.trade import evidence
from kernel.trade.router import RESYNC

if TYPE_CHECKING:
    from kernel.sync.funding import FundingLedger
    from kernel.sync.repairs import Repairs
    from kernel.sync.snapshot import SnapshotService, VenueSnapshot
    from kernel.sync.zombie_sweep import ZombieSweep
    from kernel.trade.desk import VenueDesk
    from kernel.trade.router import Router
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

RETRY_NS = (SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND)
CLOSE_NS = 15 * SECOND
"""Between reads while the venue is watched closely."""
MOST_DOUBLINGS = 3
"""Of the visibility lag, between reads that see whether repairs worked."""
UNSEEN_NS = 30 * SECOND
"""An order of ours that was not seen for so long is looked up here as well."""
SHARED_NS = 5 * SECOND
"""A periodic sync takes an answer of the snapshot service that is younger than this."""
UNTOLD_NS = DAY
"""So long the executions that an ended position lacks are asked for; then its result is told."""


class Resync:
    """Keeps one venue's facts equal to the venue's."""

    def __init__(
        self,
        services: Services,
        desk: VenueDesk,
        *,
        router: Router,
        snapshots: SnapshotService,
        repairs: Repairs,
        zombies: ZombieSweep,
        funding: FundingLedger,
    ) -> None:
        self._services = services
        self._desk = desk
        self._router = router
        self._snapshots = snapshots
        self._repairs = repairs
        self._zombies = zombies
        self._funding = funding
        self._doubt_ns = MonoNs(0)
        self._due = False
        self._wake = services.runtime.event()
        desk.on_close_watch = self._wake.set
        self._unmended = 0
        """Reads in a row that found something to be mended."""
        self.completed = 0

    def request(self, reason: str) -> None:
        """A doubt arose: nothing enters until a read asked after this moment was applied."""
        self._doubt_ns = self._services.runtime.now()
        self._due = True
        self._desk.block_entries(RESYNC)
        self._services.decide("resync.due", reason, venue=self._desk.name)
        self._wake.set()

    async def run(self) -> None:
        """For ever; supervised by the kernel."""
        runtime = self._services.runtime
        interval_ns = self._services.settings.sync_interval_seconds * SECOND
        failures = 0
        while True:
            if self._due:
                done = await self.once(max_age_ns=0)
                failures = 0 if done else failures + 1
                if not done:
                    await runtime.sleep(RETRY_NS[min(failures, len(RETRY_NS)) - 1])
                continue
            self._wake.clear()
            if not interval_ns:
                await self._wake.wait()
                continue
            pause_ns = self._recheck_ns() or self._usual_ns(interval_ns)
            if not await evidence.wait_until(runtime, self._wake, runtime.now() + pause_ns):
                await self.once(max_age_ns=SHARED_NS if pause_ns >= CLOSE_NS else 0)

    def _usual_ns(self, interval_ns: int) -> int:
        """Until the next read where nothing differs."""
        closely = self._services.runtime.now() < self._desk.closely_until_ns
        return min(interval_ns, CLOSE_NS) if closely else interval_ns

    def _recheck_ns(self) -> int:
        """A difference is looked at again as soon as a second read can prove it."""
        lag_ns = max(self._services.settings.visibility_lag_seconds, 1) * SECOND
        self._unmended = self._unmended + 1 if self._repairs.mending else 0
        if self._repairs.waiting or self._zombies.waiting:
            return lag_ns
        return lag_ns << min(self._unmended, MOST_DOUBLINGS) if self._unmended else 0

    async def once(self, *, max_age_ns: int) -> bool:
        """One resync; False: a read failed and nothing was changed."""
        services = self._services
        asked_ns = services.runtime.now()
        try:
            snapshot = await self._snapshots.read(self._desk.name, max_age_ns)
        except VenueError as error:
            self._services.decide("resync.failed", str(error), venue=self._desk.name)
            return False
        if self._desk.filters_doubtful and not await self._read_filters():
            return False
        self._apply(snapshot)
        if not await self._explain(snapshot):
            return False
        if services.lease.protect_only:
            services.lease.synced(self._desk.name, self._strangers(snapshot))
        self._repairs.compare(snapshot)
        self._zombies.compare(snapshot)
        await self._funding.catch_up()
        await self._ask_for_ends()
        self.completed += 1
        if self._due and asked_ns >= self._doubt_ns:
            self._due = False
            self._desk.resynced_mono_ns = asked_ns
            self._desk.unblock_entries(RESYNC)
        for tell in self._desk.on_synced:
            tell()
        return True

    async def _read_filters(self) -> bool:
        """Read the instruments anew: orders must meet the filters of now (hazards I18)."""
        desk = self._desk
        desk.filters_doubtful = False
        try:
            found = await desk.gateway.instruments()
        except VenueError as error:
            desk.filters_doubtful = True
            self._services.decide("resync.failed", str(error), venue=desk.name)
            return False
        changed = [one.symbol for one in found if desk.instruments.get(one.symbol) != one]
        desk.instruments = {one.symbol: one for one in found}
        self._services.decide(
            "instruments.read", "filters were in doubt", venue=desk.name, changed=",".join(changed)
        )
        return True

    # ------------------------------------------------------------ facts

    def _strangers(self, snapshot: VenueSnapshot) -> list[str]:
        """Orders under our prefix that stand in no row."""
        services, venue = self._services, self._desk.name
        clients = [report.client_order_id for report in snapshot.orders()]
        return [
            client
            for client in clients
            if is_ours(client) and services.orders.by_client_id(venue, client) is None
        ]

    def _apply(self, snapshot: VenueSnapshot) -> None:
        for report in snapshot.orders():
            self._router.on_order(report)
        for position_report in snapshot.positions:
            self._router.on_position(position_report)

    async def _explain(self, snapshot: VenueSnapshot) -> bool:
        """Fetch what the lists do not say: ended orders and executions that were missed."""
        services, venue = self._services, self._desk.name
        by_id = {(one.order_class, one.venue_order_id): None for one in snapshot.orders()}
        try:
            for order in services.orders.open_orders(venue):
                known = (order.row.order_class, order.row.venue_order_id) in by_id
                if not known and self._is_question(order):
                    await evidence.look_up(services, order)
            for position in services.book.on_venue(venue):
                found = snapshot.position(position.symbol, position.leg)
                qty = found.qty if found is not None else 0
                if qty != position.qty or self._due or (position.inferred and position.ours):
                    await evidence.read_executions(services, position)
        except VenueError as error:
            services.decide("resync.failed", str(error), venue=venue)
            return False
        return True

    async def _ask_for_ends(self) -> None:
        """What positions lack that ended without their executions; no answer changes nothing."""
        services = self._services
        for position in services.book.unexplained(self._desk.name):
            if position.qty:
                try:
                    await evidence.read_executions(services, position)
                except VenueError:
                    continue
            late_ns = services.runtime.ts() - position.row.closed_ns
            services.book.explain(position, final=late_ns >= UNTOLD_NS)
            if position.row.result_ns:
                services.persist((position.row,))

    def _is_question(self, order: TrackedOrder) -> bool:
        """Whether an order that no list shows must be looked up under its id.

        One that was never seen is settled by whoever sent it; after a start that may be nobody.
        """
        age_ns = self._services.runtime.ts() - order.row.created_ns
        return not order.terminal and (order.seen or age_ns > UNSEEN_NS)

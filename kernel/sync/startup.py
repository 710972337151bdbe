"""The order of a start (SPEC §3 "Start", §13): protection before everything else.

    store → on each venue, concurrently: instruments → a stop for each position → what was
    interrupted → stream → resync → entries;  then feed and waves

1. A venue that does not answer holds up no other one, and no attempt is the last.
2. Without the store the kernel only protects, also what appears on a venue meanwhile: no entry is
   possible, and nothing is written, identified or cleared. The load is tried again until it
   comes; then this kernel stops and asks to be started anew, because what was stored and what was
   found meanwhile can only be joined by a start, from the venue.
3. Entries on a venue stay blocked under the reason "starting" until everything before is done.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernel.errors import LeaseHeld, StoreError, VenueError
from kernel.model.units import MINUTE, SECOND, MonoNs
from kernel.runtime.errors import TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.rows import StoredState
    from kernel.sync.recovery import Recovery
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services

STARTING = "starting"
NO_STORE = "store not loaded"
LOAD_TIMEOUT_NS = 5 * SECOND
"""A store that takes longer must not hold up protection."""
LOAD_RETRY_NS = 5 * SECOND
LEASE_RETRY_NS = 5 * SECOND
VENUE_RETRY_NS = (SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND)
INSTRUMENTS_EVERY_NS = 60 * MINUTE
"""Filters change while we run (hazards F03)."""


class Startup:
    """One start of one kernel."""

    def __init__(
        self,
        services: Services,
        *,
        recovery: Recovery,
        ready: Callable[[StoredState], None],
        unloaded: Callable[[], None],
        restart: Callable[[str], None],
    ) -> None:
        """What to begin once the store is loaded, or while it is not; `restart`: a new kernel."""
        self._services = services
        self._recovery = recovery
        self._ready = ready
        self._unloaded = unloaded
        self._restart = restart

    async def run(self) -> None:
        """Start; supervised by the kernel."""
        services = self._services
        for desk in services.desks.values():
            desk.block_entries(STARTING)
            desk.block_entries(NO_STORE)
        services.epoch = services.orders.epoch = services.runtime.ts() // SECOND
        try:
            state = await self._take_lease()
        except StoreError as error:
            services.decide("store.unloaded", str(error))
            services.alert(
                "CRITICAL",
                "store.unloaded",
                f"the store did not load ({error}): protection only, no entries",
            )
            services.supervise("load the store", self._load_later)
            self._open_all()
            self._unloaded()
            return
        self._recovery.load(state)
        for desk in services.desks.values():
            desk.unblock_entries(NO_STORE)
        self._open_all()
        self._ready(state)

    def _open_all(self) -> None:
        for desk in self._services.desks.values():
            self._services.supervise(f"open {desk.name}", partial(self._open, desk))

    # ------------------------------------------------------------ the store

    async def _take_lease(self) -> StoredState:
        """Load, as soon as no other instance has the lease; until then nothing is done at all.

        A store that fails after it has named a holder changes nothing: the holder protects.

        Raises:
            StoreError: It does not answer, and has named nobody.
        """
        services, told = self._services, ""
        while True:
            try:
                return await self._load()
            except LeaseHeld as held:
                if held.holder != told:
                    told = held.holder
                    services.decide("lease.held", str(held))
                    services.alert(
                        "CRITICAL", "lease.held", f"{held}: this one waits until it is free"
                    )
            except StoreError:
                if not told:
                    raise
            await services.runtime.sleep(LEASE_RETRY_NS)

    async def _load(self) -> StoredState:
        services, lease = self._services, self._services.lease
        asked = services.runtime.now()
        terms = lease.terms if lease.instance else None
        try:
            with services.runtime.timeout(LOAD_TIMEOUT_NS):
                state = await services.store.load(terms)
        except TimedOut:
            raise StoreError("no answer from the store") from None
        lease.loaded(asked, state)
        return state

    async def _load_later(self) -> None:
        while True:
            await self._services.runtime.sleep(LOAD_RETRY_NS)
            try:
                await self._load()
            except StoreError:
                continue
            except LeaseHeld as held:
                self._services.lease.lose(held.holder)
                return
            self._restart("the store is back")
            return

    # ------------------------------------------------------------ a venue

    async def _open(self, desk: VenueDesk) -> None:
        """Bring one venue from unknown to open for entries."""
        services = self._services
        await self._read_instruments(desk)
        first = services.supervise(
            f"protect {desk.name}", partial(self._recovery.protect_venue, desk)
        )
        first_act_ns = services.settings.start_protection_seconds * SECOND
        with services.runtime.scope() as patience:
            services.runtime.call_at(
                MonoNs(services.runtime.now() + first_act_ns), patience.cancel
            )
            await first.wait()
        desk.venue.start()
        await self._read_account(desk)
        await first.wait()
        desk.unblock_entries(STARTING)
        services.decide("venue.open", "start", venue=desk.name)
        while services.settings.sync_interval_seconds:
            await services.runtime.sleep(INSTRUMENTS_EVERY_NS)
            await self._read_instruments(desk)

    async def _read_instruments(self, desk: VenueDesk) -> None:
        attempt = 0
        while True:
            try:
                found = await desk.gateway.instruments()
            except VenueError as error:
                attempt = await self._pause(desk, "instruments", error, attempt)
                continue
            desk.instruments = {instrument.symbol: instrument for instrument in found}
            desk.instruments_loaded = True
            return

    async def _read_account(self, desk: VenueDesk) -> None:
        attempt = 0
        while True:
            try:
                account = await desk.gateway.account()
            except VenueError as error:
                attempt = await self._pause(desk, "account", error, attempt)
                continue
            desk.hedge_mode = account.hedge_mode
            if account.hedge_mode:
                desk.block_entries("hedge mode")
                self._refuse(desk, "the account is in hedge mode: protection only")
            if not account.can_trade:
                desk.block_entries("no trading rights")
                self._refuse(desk, "the keys may not trade")
            if account.can_withdraw:
                desk.block_entries("withdrawal rights")
                self._refuse(desk, "the keys may withdraw: use keys with trading rights only")
            return

    def _refuse(self, desk: VenueDesk, text: str) -> None:
        self._services.alert("CRITICAL", "venue.refused", text, venue=desk.name, dedupe=text)

    async def _pause(self, desk: VenueDesk, what: str, error: VenueError, attempt: int) -> int:
        self._services.decide(
            "venue.unread", f"{what}: {error}", venue=desk.name, attempt=attempt + 1
        )
        if attempt == 1:
            self._services.alert(
                "ERROR", "venue.unread", f"{what} can't be read: {error}", venue=desk.name
            )
        await self._services.runtime.sleep(VENUE_RETRY_NS[min(attempt, len(VENUE_RETRY_NS) - 1)])
        return attempt + 1

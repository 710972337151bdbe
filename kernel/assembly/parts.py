"""The parts of a kernel: which there are, what each is given, and which run all the time.

A new part that runs periodically takes two lines: it is built in `Parts.__init__` and named in
`Parts.periodic`. From there on it is supervised: what crashes is told and begun again, and nothing
else ends with it. A part that must know of a commanded stop is told in `Parts.on_stopping`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kernel.assembly.supervision import GuardedEntries
from kernel.ports.prices import JournaledPrices
from kernel.ports.store import EffectStore
from kernel.protect.aged import AgedPositions
from kernel.protect.guard import Guard
from kernel.protect.last_resort import LastResort
from kernel.protect.stop_check import StopCheck
from kernel.protect.trailing import Trailing
from kernel.signals.buffer import SignalBuffer
from kernel.signals.feed import Feed
from kernel.signals.schedule import WaveSchedule
from kernel.sync.adoption import Adoption
from kernel.sync.clock import ClockCheck
from kernel.sync.foreign_epochs import ForeignEpochs
from kernel.sync.funding import FundingLedger
from kernel.sync.outcome import OutcomeSettler
from kernel.sync.recovery import Recovery
from kernel.sync.repairs import Repairs
from kernel.sync.resync import Resync
from kernel.sync.snapshot import SnapshotService
from kernel.sync.zombie_sweep import ZombieSweep
from kernel.trade.book import PositionBook
from kernel.trade.entry import Entries
from kernel.trade.exits import Exits
from kernel.trade.orders import OrderRegistry
from kernel.trade.risk import Risk
from kernel.trade.router import Router
from kernel.trade.services import Services
from kernel.trade.stop_loss import StopOwner
from kernel.trade.symbol_setup import SymbolSetup
from kernel.trade.watches import Watches
from kernel.trade.wave import Waves
from kernel.trade.writer import StoreWriter
from kernel.watch.monitor import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from kernel.config import Settings
    from kernel.model.rows import StoredState
    from kernel.ports.outbox import Outbox
    from kernel.ports.prices import PriceReader
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.desk import VenueDesk

type Periodic = tuple[str, Callable[[], Coroutine[Any, Any, object]]]
"""(name for people, what runs until the kernel ends)."""


def build_services(
    runtime: Runtime, outbox: Outbox, settings: Settings, prices: PriceReader
) -> Services:
    """The services of one kernel, without any desk yet."""
    book = PositionBook(runtime, outbox)
    store = EffectStore(outbox)
    services = Services(
        runtime=runtime,
        outbox=outbox,
        settings=settings,
        store=store,
        prices=JournaledPrices(prices, outbox),
        book=book,
        orders=OrderRegistry(runtime, outbox, book),
        watches=Watches(runtime, outbox),
        writer=StoreWriter(runtime, outbox, settings, store),
    )
    services.orders.persist = services.persist
    services.risk = Risk(services)
    services.orders.executed.on_forced = services.risk.forced
    return services


class Parts:
    """Every part of one kernel, built once, each told of those it works with."""

    def __init__(self, services: Services) -> None:
        """`services` has its desks already."""
        self._services = services
        self.monitor = Monitor(services)
        settler = OutcomeSettler(services)
        self.exits = exits = Exits(services, settler=settler)
        self.stops = stops = StopOwner(services, exits)
        entries = Entries(
            services, stops=stops, exits=exits, settler=settler, setup=SymbolSetup(services)
        )
        adoption = Adoption(services, stops, exits)
        services.book.on_ended.append(adoption.forget)
        snapshots = SnapshotService(services)
        self.routers: dict[str, Router] = {}
        self.resyncs: dict[str, Resync] = {}
        self.zombies: dict[str, ZombieSweep] = {}
        self.funding: dict[str, FundingLedger] = {}
        services.book.awaits_funding = lambda one: self.funding[one.venue].lacks(one)
        for desk in services.desks.values():
            self._build_sync(desk, snapshots, adoption)
        self.trailing = Trailing(services, stops, exits)
        self.aged = AgedPositions(services, stops, exits)
        self.stop_check = StopCheck(services, snapshots, stops)
        self.guard = Guard(services, stops, exits)
        self.last_resort = LastResort(services)
        self.clock = ClockCheck(services)
        self.monitor.status.offsets = self.clock.offsets
        self.foreign_epochs = ForeignEpochs(services)
        self.recovery = Recovery(
            services, entries=entries, stops=stops, exits=exits, adoption=adoption
        )
        schedule = WaveSchedule.of(services.settings)
        buffer = SignalBuffer(services.settings.signal_buffer_size)
        self.waves = Waves(services, GuardedEntries(services, entries), schedule, buffer)
        self.feed = Feed(
            services.runtime,
            services.outbox,
            services.settings,
            schedule,
            buffer=buffer,
            default_venue=next(iter(services.desks), ""),
            on_batch=self.waves.on_batch,
        )

    def _build_sync(self, desk: VenueDesk, snapshots: SnapshotService, adoption: Adoption) -> None:
        """What keeps the books of one venue equal to the venue."""
        services = self._services
        router = Router(services, desk, stops=self.stops, resync=self.request_resync)
        self.routers[desk.name] = router
        repairs = Repairs(services, desk, adoption=adoption, stops=self.stops, exits=self.exits)
        self.zombies[desk.name] = ZombieSweep(services, desk, repairs)
        self.funding[desk.name] = FundingLedger(services, desk)
        self.resyncs[desk.name] = Resync(
            services,
            desk,
            router=router,
            snapshots=snapshots,
            repairs=repairs,
            zombies=self.zombies[desk.name],
            funding=self.funding[desk.name],
        )

    # ------------------------------------------------------------ what runs all the time

    def periodic(self, state: StoredState) -> tuple[Periodic, ...]:
        """What runs from a loaded store to the end, in the order of its start."""
        return (
            ("write to the store", self._services.writer.run),
            *self._protecting(),
            ("guard", self.guard.run),
            ("aged positions", self.aged.run),
            ("clock", self.clock.run),
            ("feed", self.feed.run),
            ("waves", partial(self.waves.run, state)),
        )

    def _protecting(self) -> tuple[Periodic, ...]:
        """What finds positions and stops on the venues, with and without a store."""
        return (
            *((f"resync {name}", resync.run) for name, resync in self.resyncs.items()),
            ("stop check", self.stop_check.run),
        )

    def begin_unloaded(self) -> None:
        """The store is not loaded: what is on the venues is protected, whoever's it is."""
        self._services.unloaded = True
        for name, run in self._protecting():
            self._services.supervise(name, run)

    def begin(self, state: StoredState) -> None:
        """The store is loaded: give each part what was kept for it, and run what is periodic."""
        self._services.risk.restore(state)
        self.foreign_epochs.begin()
        self.trailing.restore(state.trailing)
        for zombies in self.zombies.values():
            zombies.restore(state)
        self.monitor.restore(state)
        for name, run in self.periodic(state):
            self._services.supervise(name, run)

    def on_stopping(self) -> None:
        """A stop was commanded: nothing new begins; what protects goes on to the end."""
        self.waves.on_stopping()

    # ------------------------------------------------------------ doubts

    def request_resync(self, venue: str, reason: str) -> None:
        """Compare the books with one venue soon; entries on it wait."""
        self.resyncs[venue].request(reason)

    def request_resyncs(self, reason: str) -> None:
        """Compare the books with every venue soon; entries wait."""
        for resync in self.resyncs.values():
            resync.request(reason)

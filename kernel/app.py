"""The kernel: a deterministic function of its inputs (DESIGN §1).

It builds the parts, routes inputs to them, and supervises their tasks:

1. Every per-position and periodic task is supervised. What crashes is told, its symbol is locked,
   and protection of last resort takes the position over; nothing else ends.
2. Only an error of the runtime, of the supervision itself or of an input's delivery leaves `step`:
   then the process must end, and a start recovers.
3. `close` is a crash: the runtime is cut off from the world first, so that nothing that is left
   running can have an effect.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from kernel.errors import InvariantViolation, Throttled
from kernel.model.messages import (
    ClockStep,
    FeedDown,
    FeedText,
    FeedUp,
    HttpFailed,
    HttpReply,
    Input,
    Operator,
    Stall,
    Start,
    StepResult,
    Stopped,
    StoreDone,
    StoreFailed,
    StoreLoaded,
    StreamClosed,
    StreamFrame,
    StreamOpened,
    Tick,
    VenueAnswer,
    VenueSaid,
    WatchFired,
)
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import HOUR, MINUTE, MS, SECOND, TsNs, install_decimal_context
from kernel.ports.outbox import Outbox
from kernel.ports.prices import JournaledPrices
from kernel.ports.store import EffectStore
from kernel.protect.last_resort import LastResort
from kernel.protect.stop_check import StopCheck
from kernel.protect.trailing import Trailing
from kernel.runtime.scheduler import Runtime
from kernel.signals.buffer import SignalBuffer
from kernel.signals.feed import Feed
from kernel.signals.schedule import WaveSchedule
from kernel.sync.adoption import Adoption
from kernel.sync.clock import OFFSET, ClockCheck
from kernel.sync.outcome import OutcomeSettler
from kernel.sync.recovery import Recovery
from kernel.sync.resync import Resync
from kernel.sync.snapshot import SnapshotService
from kernel.sync.startup import NO_STORE, STARTING, Startup
from kernel.trade.book import PositionBook
from kernel.trade.desk import VenueDesk
from kernel.trade.entry import Entries
from kernel.trade.exits import Exits
from kernel.trade.orders import OrderRegistry
from kernel.trade.risk import Risk
from kernel.trade.router import RESYNC, Router, describe
from kernel.trade.services import Services
from kernel.trade.stop_loss import StopOwner
from kernel.trade.symbol_setup import SymbolSetup
from kernel.trade.watches import Watches
from kernel.trade.wave import Waves
from kernel.trade.writer import StoreWriter

if TYPE_CHECKING:
    from kernel.config import Settings
    from kernel.model.orders import Fill
    from kernel.model.rows import StoredState
    from kernel.model.signal import Signal
    from kernel.ports.prices import PriceReader
    from kernel.ports.venue import StreamInput, Venue
    from kernel.trade.book import Position
    from kernel.trade.entry_plan import EntryPlan
    from kernel.trade.orders import TrackedOrder

type VenueFactory = Callable[[Runtime, Outbox], Venue]

STOP_PATIENCE_NS = 20 * SECOND
"""How long a stop waits for what is not filled; a filled position may take longer (SPEC §13)."""
STOP_POLL_NS = 100 * MS
DRAIN_NS = 10 * SECOND
CRASH_LOCK_NS = 24 * HOUR
RESTARTS = 3
"""Of a supervised task; `Runtime.supervise` has the same default."""
SOUND_LIFE_NS = 5 * MINUTE
"""A kernel that loses a task sooner than this after its start is not started anew for it."""
LIFTED_BY_TIME = (STARTING, NO_STORE, RESYNC, OFFSET, "stream", "store", "stopping")
"""Blocks that end by themselves; an operator's `resume` lifts the others."""
_UNSETTLED = (
    PositionState.ENTRY_PLACED,
    PositionState.PENDING_SL,
    PositionState.ROLLBACK,
    PositionState.CLOSING,
)


class Kernel:
    """One account on each of some venues, traded by the settings.

    Args:
        settings: Checked settings.
        prices: Synchronous price look-ups of the present instant.
        venue_factories: Venue name → what makes its port.

    Attributes:
        crashes: Tasks that failed unexpectedly: "name: error". Empty in a healthy run.
        stopped: A `Stopped` effect was given; nothing more will happen.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prices: PriceReader,
        venue_factories: dict[str, VenueFactory],
    ) -> None:
        install_decimal_context()
        self.settings = settings
        self.crashes: list[str] = []
        self.stopped = False
        self._started_ns = 0
        self._runtime = runtime = Runtime()
        self._outbox = outbox = Outbox(runtime)
        book = PositionBook(runtime, outbox)
        store = EffectStore(outbox)
        self.services = services = Services(
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
        services.on_crash = self._crashed
        services.orders.persist = services.persist
        services.orders.on_stray = self._stray
        services.orders.on_reappeared = self._reappeared
        services.orders.on_unheard = self._unheard
        book.on_ended.append(self._ended)
        services.writer.on_health = self._store_health
        services.risk = Risk(services)
        for name, factory in venue_factories.items():
            self._add_desk(name, factory(runtime, outbox))
        self._build()
        self._handlers: dict[type, Callable[[str, Any], None]] = self._routes()

    def _add_desk(self, name: str, venue: Venue) -> None:
        desk = VenueDesk(self._runtime, self._outbox, self.settings, venue)
        if desk.name != name:
            raise InvariantViolation(f"the factory of {name} made a port to {desk.name}")
        desk.gateway.on_ban = self._banned
        self.services.desks[name] = desk

    def _build(self) -> None:
        """Make the parts and tell them of each other."""
        services = self.services
        settler = OutcomeSettler(services)
        self._exits = Exits(services, settler=settler)
        self._stops = StopOwner(services, self._exits)
        self._entries = Entries(
            services,
            stops=self._stops,
            exits=self._exits,
            settler=settler,
            setup=SymbolSetup(services),
        )
        adoption = Adoption(services, self._stops, self._exits)
        snapshots = SnapshotService(services)
        self._routers: dict[str, Router] = {}
        self._resyncs: dict[str, Resync] = {}
        for name, desk in services.desks.items():
            router = Router(services, desk, stops=self._stops, resync=self._request_resync)
            self._routers[name] = router
            self._resyncs[name] = Resync(
                services,
                desk,
                router=router,
                snapshots=snapshots,
                adoption=adoption,
                stops=self._stops,
                exits=self._exits,
            )
        self._trailing = Trailing(services, self._stops, self._exits)
        self._stop_check = StopCheck(services, snapshots, self._stops)
        self._last_resort = LastResort(services)
        self._clock = ClockCheck(services)
        self._recovery = Recovery(
            services,
            entries=self._entries,
            stops=self._stops,
            exits=self._exits,
            adoption=adoption,
        )
        schedule = WaveSchedule.of(self.settings)
        buffer = SignalBuffer(self.settings.signal_buffer_size)
        self._waves = Waves(services, _GuardedEntries(self), schedule, buffer)
        self._feed = Feed(
            self._runtime,
            self._outbox,
            self.settings,
            schedule,
            buffer=buffer,
            default_venue=next(iter(services.desks), ""),
            on_batch=self._waves.on_batch,
        )

    # ------------------------------------------------------------ stepping

    def step(self, item: Input) -> StepResult:
        """Apply one input: timers before its stamp, the input, whatever became ready.

        Raises:
            InvariantViolation: A bug that supervision does not cover: the process must end.
        """
        runtime = self._runtime
        body = item.body
        runtime.set_time(item.mono_ns, item.ts_ns)
        runtime.fire_due(item.mono_ns, inclusive=type(body) is Tick)
        self._handlers[type(body)](item.key, body)
        runtime.run_ready()
        return StepResult(*self._outbox.drain())

    def next_deadline(self) -> int | None:
        """Monotonic time of the next timer; None: only an input can change anything."""
        return self._runtime.next_deadline()

    def close(self) -> None:
        """Die as in a crash: cut off from the world first, then thrown away."""
        self.stopped = True
        self._runtime.close()

    def state_digest(self) -> str:
        """Digest of what the kernel holds: positions, open orders, blocks."""
        services = self.services
        state = (
            sorted((position.row for position in services.book.open()), key=_position_id),
            sorted((order.row for order in services.orders.open_orders()), key=_order_id),
            services.book.ended,
            [(desk.name, desk.block_reasons) for desk in services.desks.values()],
        )
        return blake2b(msgspec.msgpack.encode(state), digest_size=16).hexdigest()

    # ------------------------------------------------------------ inputs

    def _routes(self) -> dict[type, Callable[[str, Any], None]]:
        return {
            Start: self._on_start,
            Tick: _nothing,
            VenueAnswer: self._on_answer,
            HttpReply: self._on_answer,
            HttpFailed: self._on_answer,
            StoreDone: self._on_answer,
            StoreLoaded: self._on_answer,
            StoreFailed: self._on_answer,
            VenueSaid: self._on_stream,
            StreamOpened: self._on_stream,
            StreamFrame: self._on_stream,
            StreamClosed: self._on_stream,
            WatchFired: self._on_watch,
            FeedUp: self._on_feed_up,
            FeedText: self._on_feed_text,
            FeedDown: self._on_feed_down,
            Stall: self._on_stall,
            ClockStep: self._on_clock,
            Operator: self._on_operator,
        }

    def _on_start(self, _key: str, body: Start) -> None:
        services = self.services
        self._started_ns = self._runtime.now()
        services.decide("kernel.started", body.reason, settings=self.settings.settings_hash())
        for desk in services.desks.values():
            for reason in (STARTING, NO_STORE, "stream"):
                desk.block_entries(reason)
        for name, router in self._routers.items():
            services.supervise(f"events of {name}", router.run)
        startup = Startup(
            services, recovery=self._recovery, ready=self._on_ready, restart=self._restart
        )
        self._runtime.supervise(
            startup.run, "start", on_failure=self._start_failed, max_restarts=0
        )

    def _start_failed(self, name: str, error: BaseException, failures: int) -> None:
        """Half a start cannot be begun again: what it began goes on, entries never do."""
        self._crashed(name, error, failures, None)
        for desk in self.services.desks.values():
            desk.block_entries("start failed")

    def _on_ready(self, state: StoredState) -> None:
        """The store is loaded: begin what is periodic, and listen for signals."""
        services = self.services
        services.supervise("write to the store", services.writer.run)
        services.risk.restore(state)
        self._trailing.restore(state.trailing)
        for name, resync in self._resyncs.items():
            services.supervise(f"resync {name}", resync.run)
        services.supervise("stop check", self._stop_check.run)
        services.supervise("clock", self._clock.run)
        services.supervise("feed", self._feed.run)
        services.supervise("waves", partial(self._waves.run, state))

    def _on_answer(self, key: str, body: Any) -> None:
        self._outbox.deliver(key, body)

    def _on_stream(self, _key: str, body: StreamInput) -> None:
        self.services.desks[body.venue].venue.take(body)

    def _on_watch(self, _key: str, body: WatchFired) -> None:
        self.services.watches.fired(body)

    def _on_feed_up(self, _key: str, _body: FeedUp) -> None:
        self._feed.on_up()

    def _on_feed_text(self, _key: str, body: FeedText) -> None:
        self._feed.on_text(body.text)

    def _on_feed_down(self, _key: str, body: FeedDown) -> None:
        self._feed.on_down(body.reason)

    def _on_stall(self, _key: str, body: Stall) -> None:
        self._doubt_everything("kernel.stalled", f"{body.late_ns // MS} ms late")

    def _on_clock(self, _key: str, body: ClockStep) -> None:
        self._waves.on_clock_step()
        self._clock.nudge()
        self._doubt_everything("clock.stepped", f"wall time moved by {body.by_ns // MS} ms")
        self._waves.on_clock_step()
        self._clock.nudge()

    def _doubt_everything(self, kind: str, cause: str) -> None:
        """Time was lost or moved: entries wait for a resync of every venue."""
        self.services.decide(kind, cause)
        self.services.alert("WARNING", kind, f"{cause}: entries wait for a resync")
        for resync in self._resyncs.values():
            resync.request(kind)

    # ------------------------------------------------------------ the operator

    def _on_operator(self, _key: str, body: Operator) -> None:
        self.services.decide("operator", body.command, args=" ".join(body.args))
        match body.command:
            case "pause":
                self.services.risk.pause(" ".join(body.args))
            case "resume":
                self._resume()
            case "close":
                self._close_symbol(body.args)
            case "sync":
                for resync in self._resyncs.values():
                    resync.request("operator")
            case "stop":
                self._begin_stop()
            case other:
                self.services.alert("WARNING", "operator.unknown", f"no such command: {other!r}")

    def _resume(self) -> None:
        self.services.risk.resume()
        for desk in self.services.desks.values():
            for reason in desk.block_reasons:
                if reason not in LIFTED_BY_TIME:
                    desk.unblock_entries(reason)

    def _close_symbol(self, args: tuple[str, ...]) -> None:
        """`close SYMBOL [VENUE]`."""
        found = [
            position
            for position in self.services.book.open()
            if args and position.symbol == args[0] and args[1:] in ((), (position.venue,))
        ]
        if not found:
            text = f"no open position for: close {' '.join(args)}"
            self.services.alert("WARNING", "operator.nothing", text)
        for position in found:
            self.services.supervise(
                f"operator closes {position.id}",
                partial(self._exits.close, position, CloseReason.OPERATOR, "operator"),
                position=position,
            )

    # ------------------------------------------------------------ stopping

    def _begin_stop(self) -> None:
        if self.services.stopping:
            return
        self.services.stopping = True
        for desk in self.services.desks.values():
            desk.block_entries("stopping")
        self._waves.on_stopping()
        self.services.supervise("stop", self._stop)

    async def _stop(self) -> None:
        """Positions stay with their stops; a filled entry is brought to its stop or closed."""
        runtime, book = self._runtime, self.services.book
        patience_ns = runtime.now() + STOP_PATIENCE_NS
        while True:
            states = [position.state for position in book.open()]
            pending = PositionState.PENDING_ENTRY in states and runtime.now() < patience_ns
            if not pending and not any(state in _UNSETTLED for state in states):
                break
            await runtime.sleep(STOP_POLL_NS)
        await self.services.writer.drain(DRAIN_NS)
        self._stop_now("operator")

    def _restart(self, reason: str) -> None:
        self._stop_now(reason, restart=True)

    def _stop_now(self, reason: str, *, restart: bool = False) -> None:
        self.stopped = True
        key = self._outbox.next_key("stopped", "kernel", "-")
        self._outbox.send(key, Stopped(reason=reason, restart=restart))

    # ------------------------------------------------------------ what goes wrong

    def _request_resync(self, venue: str, reason: str) -> None:
        self._resyncs[venue].request(reason)

    def _stray(self, venue: str, fill: Fill) -> None:
        self._request_resync(venue, f"execution {fill.trade_id} on {fill.symbol} is not ours")

    def _unheard(self, venue: str, happened_ns: TsNs) -> None:
        self.services.desks[venue].suspect(happened_ns)

    def _ended(self, position: Position) -> None:
        """Keep closed history from growing: what ended long ago is forgotten, orders and all."""
        if position.qty:
            self._request_resync(position.venue, f"{position.id} ended with {position.qty} left")
        self.services.orders.forget(self.services.book.forgotten())

    def _reappeared(self, order: TrackedOrder) -> None:
        row = order.row
        self.services.alert(
            "CRITICAL",
            "order.reappeared",
            f"{row.client_order_id} was declared never placed and is alive",
            venue=row.venue,
            symbol=row.symbol,
        )
        self._request_resync(row.venue, f"{row.client_order_id} reappeared")

    def _store_health(self, failing: bool) -> None:  # noqa: FBT001 - a callback's argument
        for desk in self.services.desks.values():
            if failing:
                desk.block_entries("store")
            else:
                desk.unblock_entries("store")

    def _banned(self, desk: VenueDesk, error: Throttled) -> None:
        naked = [
            position.symbol
            for position in self.services.book.on_venue(desk.name)
            if position.qty and not self._stops.covered(position)
        ]
        self.services.alert(
            "CRITICAL",
            "venue.banned",
            f"nothing can be sent ({error}); stop not verified: {', '.join(naked) or 'none'}",
            venue=desk.name,
        )

    def _crashed(
        self, name: str, error: BaseException, failures: int, position: Position | None
    ) -> None:
        """A task failed unexpectedly: tell, lock the symbol, protect the position."""
        services = self.services
        what = f"{name}: {describe(error)}"
        self.crashes.append(what)
        venue = position.venue if position else ""
        symbol = position.symbol if position else ""
        services.decide(
            "task.crashed",
            what,
            venue=venue,
            symbol=symbol,
            position_id=position.id if position else "",
            failures=failures,
        )
        services.alert(
            "CRITICAL", "task.crashed", what, venue=venue, symbol=symbol, dedupe=f"crash|{name}"
        )
        if position is None:
            if failures > RESTARTS:
                self._lost(name)
            return
        until = TsNs(self._runtime.ts() + CRASH_LOCK_NS)
        services.risk.lock(venue, symbol, reason="a task of the position crashed", until_ns=until)
        if not position.state.terminal and not self._last_resort.holds(position):
            services.runtime.supervise(
                partial(self._take_over, position),
                f"last resort {position.id}",
                on_failure=self._last_resort_failed,
            )

    def _lost(self, name: str) -> None:
        """A task that the kernel needs is gone for good: start anew, but not in a loop."""
        if self._runtime.now() - self._started_ns > SOUND_LIFE_NS:
            self._restart(f"{name} failed too often")
            return
        for desk in self.services.desks.values():
            desk.block_entries(f"lost: {name}")

    async def _take_over(self, position: Position) -> None:
        """Last resort; then on from the stored state with what no task carries on by itself."""
        await self._last_resort.take_over(position)
        if position.state is PositionState.ACTIVE:
            self._stops.keep(position)  # its own task may be gone for good
        elif not position.state.terminal:
            self._recovery.resume(position)

    def _last_resort_failed(self, name: str, error: BaseException, failures: int) -> None:
        self._crashed(name, error, failures, None)

    # ------------------------------------------------------------ entries

    async def guard_entry(self, signal: Signal, plan: EntryPlan) -> Position | None:
        """An entry in a task of its own: neither its crash nor its wave ends the other."""
        task = self._runtime.spawn(
            self._guarded(signal, plan), f"entry {plan.venue} {plan.symbol}"
        )
        await task.wait()
        return task.result()

    async def _guarded(self, signal: Signal, plan: EntryPlan) -> Position | None:
        try:
            return await self._entries.open(signal, plan)
        except Exception as error:  # noqa: BLE001 - the failure domain of one entry
            position = self.services.book.by_symbol(plan.venue, plan.symbol)
            self._crashed(f"entry {plan.venue} {plan.symbol}", error, 1, position)
            return None


class _GuardedEntries:
    """`Entries` for whoever runs many of them."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def open(self, signal: Signal, plan: EntryPlan) -> Position | None:
        """See `kernel.trade.entry.Entries.open`."""
        return await self._kernel.guard_entry(signal, plan)


def _nothing(_key: str, _body: Tick) -> None:
    """Only time passed."""


def _position_id(row: Any) -> str:
    return str(row.position_id)


def _order_id(row: Any) -> tuple[str, str]:
    return (row.venue, row.client_order_id)

"""The kernel: a deterministic function of its inputs (DESIGN §1).

It has the parts built, routes inputs to them, and gives out what they want done:

1. Every per-position and periodic task is supervised (`kernel.assembly.supervision`).
2. Only an error of the runtime, of the supervision itself or of an input's delivery leaves `step`:
   then the process must end, and a start recovers.
3. `close` is a crash: the runtime is cut off from the world first, so that nothing that is left
   running can have an effect.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec

from kernel.assembly.incidents import Incidents
from kernel.assembly.operator import Commands
from kernel.assembly.parts import Parts, build_services
from kernel.assembly.stopping import Stopping
from kernel.assembly.supervision import Supervision
from kernel.errors import InvariantViolation
from kernel.model.messages import (
    ClockStep,
    FeedDown,
    FeedText,
    FeedUp,
    HostReport,
    HttpFailed,
    HttpReply,
    Input,
    LeaseTold,
    Operator,
    Stall,
    Start,
    StepResult,
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
from kernel.model.units import MS, install_decimal_context
from kernel.ports.outbox import Outbox
from kernel.runtime.scheduler import Runtime
from kernel.sync.startup import NO_STORE, STARTING, Startup
from kernel.trade.desk import VenueDesk

if TYPE_CHECKING:
    from kernel.config import Settings
    from kernel.ports.prices import PriceReader
    from kernel.ports.venue import StreamInput, Venue

type VenueFactory = Callable[[Runtime, Outbox], Venue]


class Kernel:
    """One account on each of some venues, traded by the settings.

    Args:
        settings: Checked settings.
        prices: Synchronous price look-ups of the present instant.
        venue_factories: Venue name → what makes its port.

    Attributes:
        services: What its parts are built with.
        parts: What it is made of.
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
        self._runtime = runtime = Runtime()
        self._outbox = outbox = Outbox(runtime)
        self.services = services = build_services(runtime, outbox, settings, prices)
        for name, factory in venue_factories.items():
            self._add_desk(name, factory(runtime, outbox))
        self.parts = parts = Parts(services)
        self._stopping = Stopping(services, parts)
        self._supervision = Supervision(
            services,
            last_resort=parts.last_resort,
            recovery=parts.recovery,
            stops=parts.stops,
            restart=self._stopping.restart,
        )
        self._incidents = Incidents(services, parts)
        services.lease.on_superseded = self._stopping.superseded
        self._commands = Commands(services, parts, self._stopping)
        self._handlers: dict[type, Callable[[str, Any], None]] = self._routes()
        self.next_deadline = runtime.next_deadline
        """Monotonic time of the next timer; None: only an input can change anything."""

    def _add_desk(self, name: str, venue: Venue) -> None:
        desk = VenueDesk(self._runtime, self._outbox, self.settings, venue)
        if desk.name != name:
            raise InvariantViolation(f"the factory of {name} made a port to {desk.name}")
        self.services.desks[name] = desk

    @property
    def crashes(self) -> list[str]:
        """Tasks that failed unexpectedly: "name: error". Empty in a healthy run."""
        return self._supervision.crashes

    @property
    def stopped(self) -> bool:
        """A `Stopped` effect was given, or the kernel died; nothing more will happen."""
        return self._stopping.stopped

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

    def close(self) -> None:
        """Die as in a crash: cut off from the world first, then thrown away."""
        self._stopping.stopped = True
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
            LeaseTold: self._on_answer,
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
            HostReport: self._on_host,
            Operator: self._on_operator,
        }

    def _on_start(self, _key: str, body: Start) -> None:
        services = self.services
        self._supervision.started_ns = self._runtime.now()
        services.lease.begin(body.instance)
        services.decide("kernel.started", body.reason, settings=self.settings.settings_hash())
        for desk in services.desks.values():
            for reason in (STARTING, NO_STORE, "stream"):
                desk.block_entries(reason)
        for name, router in self.parts.routers.items():
            services.supervise(f"events of {name}", router.run)
        startup = Startup(
            services,
            recovery=self.parts.recovery,
            ready=self.parts.begin,
            unloaded=self.parts.begin_unloaded,
            restart=self._stopping.restart,
        )
        self._runtime.supervise(
            startup.run, "start", on_failure=self._supervision.start_failed, max_restarts=0
        )

    def _on_answer(self, key: str, body: Any) -> None:
        self._outbox.deliver(key, body)

    def _on_stream(self, _key: str, body: StreamInput) -> None:
        self.services.desks[body.venue].venue.take(body)

    def _on_watch(self, _key: str, body: WatchFired) -> None:
        self.services.watches.fired(body)

    def _on_feed_up(self, _key: str, _body: FeedUp) -> None:
        self.parts.feed.on_up()

    def _on_feed_text(self, _key: str, body: FeedText) -> None:
        self.parts.feed.on_text(body.text)

    def _on_feed_down(self, _key: str, body: FeedDown) -> None:
        self.parts.feed.on_down(body.reason)

    def _on_stall(self, _key: str, body: Stall) -> None:
        self._incidents.doubt_everything("kernel.stalled", f"{body.late_ns // MS} ms late")

    def _on_clock(self, _key: str, body: ClockStep) -> None:
        self.parts.waves.on_clock_step()
        self.parts.clock.stepped(body.by_ns)
        self._incidents.doubt_everything(
            "clock.stepped", f"wall time moved by {body.by_ns // MS} ms"
        )

    def _on_host(self, _key: str, body: HostReport) -> None:
        self.parts.monitor.on_host(body)

    def _on_operator(self, _key: str, body: Operator) -> None:
        self._commands.on_operator(body)


def _nothing(_key: str, _body: Tick) -> None:
    """Only time passed."""


def _position_id(row: Any) -> str:
    return str(row.position_id)


def _order_id(row: Any) -> tuple[str, str]:
    return (row.venue, row.client_order_id)

"""Level "wire": the adapter of a venue on one side, its emulator on the other.

Imported only where that level is asked for. An emulator lives as long as its simulated venue: a
kernel that starts after a crash meets the same listenKey and the same memory of orders.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from kernel.ports.outbox import Outbox
from kernel.ports.venue import Venue
from kernel.runtime.scheduler import Runtime
from scenarios.composition import Emit, Link, LinkFactory, VenueFactory
from venues.sim.agenda import Agenda
from venues.sim.venue import SimVenue
from venues.sim.wire.binance import BinanceCore
from venues.sim.wire.bybit import BybitCore
from venues.sim.wire.core import WireCore
from venues.sim.wire.link import WireLink

CORES: dict[str, Callable[[SimVenue], WireCore]] = {"binance": BinanceCore, "bybit": BybitCore}


def compose_wire(venue: str) -> tuple[VenueFactory, LinkFactory]:
    """The port of a venue for the kernel, and what connects it to the emulator."""
    return _adapter(venue), _Links(venue)


def _adapter(venue: str) -> VenueFactory:
    module: Any = import_module(f"venues.live.{venue}.adapter")

    def make(runtime: Runtime, outbox: Outbox) -> Venue:
        made: Venue = module.make_venue(runtime, outbox)
        return made

    return make


class _Links:
    """Makes the link of each kernel to the one emulator of a simulated venue."""

    def __init__(self, venue: str) -> None:
        self._make = CORES[venue]
        self._core: WireCore | None = None

    def __call__(self, venue: SimVenue, agenda: Agenda, emit: Emit) -> Link:
        """See `LinkFactory`."""
        if self._core is None or self._core.venue is not venue:
            self._core = self._make(venue)
        return WireLink(self._core, agenda, emit)

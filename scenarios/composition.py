"""Which venue port a kernel gets, and what answers it: level "sim" or level "wire".

Level "sim" joins the kernel to the simulated venue with venue-neutral messages. Level "wire" puts
the venue's adapter (bytes, `venues.live`) on one side and its emulator (`venues.sim.wire`) on the
other; both are found by the venue's name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from kernel.errors import SettingsError
from kernel.model.messages import EffectBody, InputBody
from kernel.model.traits import TRAITS
from kernel.model.venue import VenueRequest
from kernel.ports.direct import DirectVenue
from kernel.ports.outbox import Outbox
from kernel.ports.venue import Venue
from kernel.runtime.scheduler import Runtime
from venues.sim.agenda import Agenda
from venues.sim.link import SimVenueLink
from venues.sim.venue import SimVenue

LEVELS = ("sim", "wire")

type Emit = Callable[[str, InputBody], None]
type VenueFactory = Callable[[Runtime, Outbox], Venue]


class Link(Protocol):
    """Carries the effects of one kernel to one venue, and what the venue says back."""

    on_request: Callable[[str, VenueRequest], None]
    on_untimely: Callable[[str, VenueRequest], None]

    def accept(self, key: str, body: Any) -> None:
        """Take an effect that concerns this venue."""

    def cut(self) -> None:
        """The kernel is gone: nothing reaches it any more."""


type LinkFactory = Callable[[SimVenue, Agenda, Emit], Link]


def compose_venue(level: str, venue: str) -> tuple[VenueFactory, LinkFactory]:
    """The port of a venue for the kernel, and what connects it to the simulated venue.

    Raises:
        SettingsError: The level or the venue is not known.
    """
    if venue not in TRAITS:
        raise SettingsError([f"venue {venue!r}: must be one of {', '.join(TRAITS)}"])
    if level == "sim":
        return _direct(venue), SimVenueLink
    if level == "wire":
        wire = import_module("scenarios.wire_compose")
        made: tuple[VenueFactory, LinkFactory] = wire.compose_wire(venue)
        return made
    raise SettingsError([f"level {level!r}: must be one of {', '.join(LEVELS)}"])


def _direct(venue: str) -> VenueFactory:
    def make(runtime: Runtime, outbox: Outbox) -> Venue:
        return DirectVenue(runtime, outbox, TRAITS[venue])

    return make


def venue_of(body: EffectBody) -> str:
    """The venue that an effect concerns; "" where it concerns none."""
    return str(getattr(body, "venue", ""))

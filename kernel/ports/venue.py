"""What trading logic may ask of a venue, and what it may hear.

Promises, and no more than a venue keeps:

1. An answer to `ask` describes the venue as it was at some moment before the answer arrived;
   each surface (orders, conditionals, positions, history, balance) may lag on its own.
2. `Acked` means that the request was taken. A fill, a live stop, a cancellation are proven only
   by an `OrderReport`, `Fill` or `PositionReport`.
3. A list without a row is evidence only when its last page was read, and never alone (SPEC,
   "proof of absence").
4. Events of one kind and symbol come in the venue's order; between kinds there is none. Events
   may be lost (then a `StreamDown` or nothing at all tells of it), doubled and late.
5. `ask` sends at most one request; what only reads may take several where a venue has no single
   answer (a `QuerySnapshot` asks each of its surfaces). It raises a `VenueError`; it never
   retries, waits for a budget or times out: that is the gateway's work (`kernel.trade.gateway`).
"""

from __future__ import annotations

from typing import Protocol

from kernel.model.messages import StreamClosed, StreamFrame, StreamOpened, VenueSaid
from kernel.model.traits import VenueTraits
from kernel.model.venue import EffectClass, VenueEvent, VenueReply, VenueRequest
from kernel.runtime.channels import Channel

type StreamInput = VenueSaid | StreamOpened | StreamFrame | StreamClosed
"""Level "sim": `VenueSaid`; levels "wire" and "socket": the others."""


class Venue(Protocol):
    """One account on one venue."""

    traits: VenueTraits
    events: Channel[VenueEvent]
    """Stream events in order of arrival."""
    clock_offset_ns: int
    """The venue's clock minus ours, as far as it is proven; requests are signed with it."""

    async def ask(self, request: VenueRequest, cls: EffectClass, entity: str) -> VenueReply:
        """Send one request and return its reply.

        Args:
            request: What to ask.
            cls: How urgent it is, and what it waits for.
            entity: Of its content key: client order id, symbol, or "account".

        Raises:
            VenueError: One of the classes of `kernel.errors`; never a `Failure` returned.
        """
        ...

    def take(self, body: StreamInput) -> None:
        """Take an input of the world that is no answer; what it means comes out of `events`.

        Raises:
            InvariantViolation: The input belongs to the other level.
        """
        ...

    def start(self) -> None:
        """Begin connecting the private stream; `StreamUp` tells when it is up."""
        ...

    def reconnect(self, reason: str) -> None:
        """Drop the private stream and connect anew (staleness, suspicion)."""
        ...

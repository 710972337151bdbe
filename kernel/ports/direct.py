"""Level "sim": a venue asked directly with venue-neutral messages, one effect a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from kernel.errors import VENUE_ERRORS, InvariantViolation, OutcomeUnknown, Throttled
from kernel.model.draws import draw
from kernel.model.messages import StreamOpen, VenueAnswer, VenueCall, VenueSaid
from kernel.model.traits import VenueTraits
from kernel.model.units import MS, SECOND, MonoNs, TsNs
from kernel.model.venue import (
    EffectClass,
    Failure,
    StreamDown,
    StreamUp,
    VenueEvent,
    VenueReply,
    VenueRequest,
)

if TYPE_CHECKING:
    from kernel.ports.outbox import Outbox
    from kernel.ports.venue import StreamInput
    from kernel.runtime.channels import Channel
    from kernel.runtime.scheduler import Runtime


_KINDS: dict[type, str] = {
    kind: str(kind.__struct_config__.tag) for kind in get_args(VenueRequest.__value__)
}

LONGEST_PAUSE_NS = 60 * SECOND
JITTER_MS = 1_000


def request_kind(request: VenueRequest) -> str:
    """The tag of a request, as it stands in content keys."""
    return _KINDS[type(request)]


def raise_failure(venue: str, request: str, failure: Failure) -> None:
    """Raise the error that a `Failure` names.

    Raises:
        VenueError: Always.
    """
    if failure.kind == "Throttled":
        raise Throttled(
            venue,
            request,
            failure.code,
            failure.text,
            retry_at_ns=failure.retry_at_ns,
            banned=failure.banned,
        )
    kind = VENUE_ERRORS.get(failure.kind, OutcomeUnknown)
    error = kind(venue, request, failure.code, failure.text)
    error.listed = failure.listed
    raise error


class DirectVenue:
    """`kernel.ports.venue.Venue` over effects; knows nothing of what answers."""

    def __init__(self, runtime: Runtime, outbox: Outbox, traits: VenueTraits) -> None:
        self.traits = traits
        self.events: Channel[VenueEvent] = runtime.channel()
        self.clock_offset_ns = 0
        self._runtime = runtime
        self._outbox = outbox
        self._connection = 0
        self._attempt = 0

    async def ask(self, request: VenueRequest, cls: EffectClass, entity: str) -> VenueReply:
        """See `kernel.ports.venue.Venue.ask`."""
        kind = request_kind(request)
        name = self.traits.name
        key = self._outbox.next_key(kind, name, entity)
        timestamp_ns = TsNs(self._runtime.ts() + self.clock_offset_ns)
        call = VenueCall(venue=name, request=request, timestamp_ns=timestamp_ns)
        answer = await self._outbox.ask(key, call, cls)
        if type(answer) is not VenueAnswer:
            raise InvariantViolation(f"{key}: answered by {type(answer).__name__}")
        if type(answer.reply) is Failure:
            raise_failure(name, answer.reply.request or kind, answer.reply)
        return answer.reply

    def take(self, body: StreamInput) -> None:
        """See `kernel.ports.venue.Venue.take`: at this level the world says events."""
        if type(body) is not VenueSaid:
            raise InvariantViolation(f"{self.traits.name}: {type(body).__name__} without a socket")
        self.hear(body.event)

    def hear(self, event: VenueEvent) -> None:
        """Take a stream event of the world; a stream that went down is opened anew."""
        self.events.put_nowait(event)
        if type(event) is StreamUp:
            self._attempt = 0
        elif type(event) is StreamDown:
            self._open_later()

    def start(self) -> None:
        """The world connects the stream by itself at this level and says `StreamUp`."""
        self._outbox.send(
            self._outbox.next_key("stream", self.traits.name, "private"),
            self._open(),
        )

    def reconnect(self, reason: str) -> None:
        """Tell consumers that the stream is suspect, and open it anew."""
        self.events.put_nowait(StreamDown(reason=reason))
        self.start()

    def _open_later(self) -> None:
        """After 2^attempt seconds, at most 60, and jitter (SPEC §10)."""
        wait_ns = min(SECOND << min(self._attempt, 6), LONGEST_PAUSE_NS)
        self._attempt += 1
        connection = self._connection
        label = f"reconnect/{self.traits.name}"
        wait_ns += draw(0, label, connection, JITTER_MS) * MS

        def again() -> None:
            if connection == self._connection:
                self.start()

        self._runtime.call_at(MonoNs(self._runtime.now() + wait_ns), again)

    def _open(self) -> StreamOpen:
        self._connection += 1
        return StreamOpen(
            venue=self.traits.name,
            stream="private",
            connection=self._connection,
            path="",
        )

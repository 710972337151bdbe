"""The link of one kernel to one simulated venue at level "sim": effects in, inputs out.

A request travels its request leg, changes the truth, and its reply travels the reply leg. What
left the kernel before it died still reaches the venue; what comes back then meets nobody.

The parts of a `QuerySnapshot` travel side by side, each with its own delays and faults, and come
back as one reply when the last of them is there, or at the first failure.

What the venue states of its budgets comes with the first instruments, as a `RateLimit` each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from kernel.model.messages import (
    InputBody,
    StreamClose,
    StreamOpen,
    VenueAnswer,
    VenueCall,
    VenueSaid,
)
from kernel.model.units import SECOND
from kernel.model.venue import (
    SNAPSHOT_PARTS,
    Failure,
    InstrumentPage,
    OrderPage,
    PositionPage,
    QuerySnapshot,
    SnapshotPage,
    StreamDown,
    StreamUp,
    VenueEvent,
    VenueNotice,
    VenueReply,
    VenueRequest,
)
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.fault_kinds import AckDelay, RequestDelay
from venues.sim.faults import content_of, kind_of, message_of
from venues.sim.gate import Answer
from venues.sim.streams import Stream
from venues.sim.truth import Announced, OrderChanged, Traded, TruthEvent
from venues.sim.venue import SimVenue

RECV_WINDOW_NS = 5 * SECOND
"""A request that was signed longer ago is refused unread (Binance -1021, Bybit 10002)."""

type Emit = Callable[[str, InputBody], None]
"""Takes the content key and the body of an input, at the instant at which it arrives."""


class SimVenueLink:
    """Carries the effects of one kernel to a venue, and what the venue says back.

    Args:
        venue: The venue.
        agenda: The world's agenda.
        emit: Called while the agenda runs an arrival; the driver makes the input of it.
    """

    def __init__(self, venue: SimVenue, agenda: Agenda, emit: Emit) -> None:
        self._venue = venue
        self._agenda = agenda
        self._emit = emit
        self._alive = True
        self.on_request: Callable[[str, VenueRequest], None] = _unheard
        """Told of each request that is looked at: venue, request."""
        self._limits_told = False
        self._late = venue.faults.installed(RequestDelay)
        delays = any(
            venue.faults.concern(kind_of(part), RequestDelay, AckDelay) for part in SNAPSHOT_PARTS
        )
        self._in_step = not (delays or venue.legs.jittered)
        """Whether the parts of a snapshot arrive, and come back, at one instant each."""
        self._stream: Stream[VenueEvent] = Stream(
            agenda,
            venue.faults,
            venue.legs,
            deliver=self._say,
            came_up=lambda connection: self._say(StreamUp(connection=connection)),
            went_down=lambda reason: self._say(StreamDown(reason=reason)),
            garbage=lambda kind, raw: VenueNotice(kind=kind, raw=raw),
        )
        venue.subscribe(self._hear)

    def accept(
        self, key: str, body: VenueCall | StreamOpen | StreamClose, *, signed_ns: int = 0
    ) -> None:
        """Take an effect of the kernel that concerns this venue.

        `signed_ns`: a process that was frozen since then sends what it had signed.
        """
        match body:
            case VenueCall():
                self._request(key, body.request, signed_ns)
            case StreamOpen():
                self._stream.open(body.connection)
            case StreamClose():
                self._stream.close()

    def cut(self) -> None:
        """The kernel is gone: nothing reaches it any more."""
        if self._alive:
            self._alive = False
            self._stream.close()
            self._venue.unsubscribe(self._hear)

    def _request(self, key: str, request: VenueRequest, signed_ns: int) -> None:
        if type(request) is not QuerySnapshot:
            self._ask(request, partial(self._reply, key), signed_ns=signed_ns)
            return
        if signed_ns or not self._in_step:
            parts = _Parts(partial(self._reply, key))
            for place, part in enumerate(SNAPSHOT_PARTS):
                self._ask(part, partial(parts.take, place), signed_ns=signed_ns)
            return
        agenda, legs, answer = self._agenda, self._venue.legs.legs, self._venue.answer

        def arrive() -> None:
            self.on_request(self._venue.name, request)
            reply = joined([answer(part).reply for part in SNAPSHOT_PARTS])
            if reply is not None:
                due = agenda.now_ns + legs.reply.base_ns
                agenda.push(due, RANK_MESSAGE, partial(self._reply, key, reply))

        agenda.push(agenda.now_ns + legs.request.base_ns, RANK_MESSAGE, arrive)

    def _ask(
        self, request: VenueRequest, back: Callable[[VenueReply], None], *, signed_ns: int = 0
    ) -> None:
        """Carry one request there and its reply back."""
        venue, agenda, legs = self._venue, self._agenda, self._venue.legs
        content = content_of(request) if legs.jittered else ""
        delay = legs.delay("request", content)
        if self._late:
            for fault in venue.faults.every(RequestDelay, message_of(request), agenda.now_ns):
                delay += fault.dt_ns

        def arrive() -> None:
            if signed_ns and agenda.now_ns - signed_ns > RECV_WINDOW_NS:
                answer = Answer(venue.stale())
            else:
                self.on_request(venue.name, request)
                answer = venue.answer(request)
            reply, late = answer
            if reply is not None:
                due = agenda.now_ns + legs.delay("reply", content) + late
                agenda.push(due, RANK_MESSAGE, partial(back, reply))

        agenda.push(agenda.now_ns + delay, RANK_MESSAGE, arrive)

    def _reply(self, key: str, reply: VenueReply) -> None:
        if self._alive:
            if type(reply) is InstrumentPage and not self._limits_told:
                self._limits_told = True
                for limit in self._venue.stated_limits():
                    self._say(limit)
            self._emit(key, VenueAnswer(venue=self._venue.name, reply=reply))

    def _hear(self, event: TruthEvent) -> None:
        if not self._stream.up:
            return
        if isinstance(event, Announced) and event.kind == "restart":
            self._stream.drop("the venue restarts")
            return
        client = ""
        if isinstance(event, OrderChanged):
            client = event.order.client_order_id
        elif isinstance(event, Traded):
            client = event.fill.client_order_id
        for topic, symbol, entity, said in self._venue.said(event):
            self._stream.send(topic, symbol, entity, said, client_order_id=client)

    def _say(self, event: VenueEvent) -> None:
        if self._alive:
            tag = event.__struct_config__.tag
            key = f"said/{self._venue.name}/{tag}"
            self._emit(key, VenueSaid(venue=self._venue.name, event=event))


def _unheard(_venue: str, _request: VenueRequest) -> None:
    """Nobody wants to know."""


class _Parts:
    """Waits for the replies to the parts of a snapshot; the first failure is that of the whole."""

    def __init__(self, back: Callable[[VenueReply], None]) -> None:
        self._back = back
        self._replies: list[VenueReply | None] = [None] * len(SNAPSHOT_PARTS)
        self._done = False

    def take(self, place: int, reply: VenueReply) -> None:
        """A part is answered."""
        self._replies[place] = reply
        whole = None if self._done else joined(self._replies)
        if whole is not None:
            self._done = True
            self._back(whole)


def joined(replies: list[VenueReply | None]) -> SnapshotPage | Failure | None:
    """What the replies to `SNAPSHOT_PARTS` make; None: one is missing and none failed."""
    positions, plain, conditional = replies
    if (
        type(positions) is PositionPage
        and type(plain) is OrderPage
        and type(conditional) is OrderPage
    ):
        return SnapshotPage(positions=positions, plain=plain, conditional=conditional)
    for part, reply in zip(SNAPSHOT_PARTS, replies, strict=True):
        if isinstance(reply, Failure):
            return msgspec.structs.replace(reply, request=kind_of(part))
    return None

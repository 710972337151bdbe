"""The link of one kernel to one simulated venue at level "sim": effects in, inputs out.

A request travels its request leg, changes the truth, and its reply travels the reply leg. Where
its timestamp has left the venue's window by then, it is refused unread. What left the kernel before
it died still reaches the venue; what comes back then meets nobody.

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
from kernel.model.venue import (
    SNAPSHOT_PARTS,
    Failure,
    InstrumentPage,
    OrderPage,
    PositionPage,
    QueryInstruments,
    QueryServerTime,
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

PUBLIC = (QueryInstruments, QueryServerTime)
"""What is asked without a signature."""

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
        """Told of each signed request that is looked at: venue, request."""
        self.on_untimely: Callable[[str, VenueRequest], None] = _unheard
        """Told of each that is refused for its timestamp."""
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

    def accept(self, key: str, body: VenueCall | StreamOpen | StreamClose) -> None:
        """Take an effect of the kernel that concerns this venue."""
        if type(body) is VenueCall:
            self._request(key, body)
        elif type(body) is StreamOpen:
            self._stream.open(body.connection)
        else:
            self._stream.close()

    def cut(self) -> None:
        """The kernel is gone: nothing reaches it any more."""
        if self._alive:
            self._alive = False
            self._stream.close()
            self._venue.unsubscribe(self._hear)

    def _request(self, key: str, call: VenueCall) -> None:
        request, signed_ns = call.request, call.timestamp_ns
        if type(request) is not QuerySnapshot:
            self._ask(request, signed_ns, partial(self._reply, key))
            return
        if not self._in_step:
            parts = _Parts(partial(self._reply, key))
            for place, part in enumerate(SNAPSHOT_PARTS):
                self._ask(part, signed_ns, partial(parts.take, place))
            return
        agenda, legs, answer = self._agenda, self._venue.legs.legs, self._venue.answer

        def arrive() -> None:
            refused = self._untimely(request, signed_ns, agenda.now_ns)
            replies = [answer(part).reply for part in SNAPSHOT_PARTS] if refused is None else None
            reply = joined([refused] * len(SNAPSHOT_PARTS) if replies is None else replies)
            if reply is not None:
                due = agenda.now_ns + legs.reply.base_ns
                agenda.push(due, RANK_MESSAGE, partial(self._reply, key, reply))

        agenda.push(agenda.now_ns + legs.request.base_ns, RANK_MESSAGE, arrive)

    def _ask(
        self, request: VenueRequest, signed_ns: int, back: Callable[[VenueReply], None]
    ) -> None:
        """Carry one request there and its reply back."""
        venue, agenda, legs = self._venue, self._agenda, self._venue.legs
        content = content_of(request) if legs.jittered else ""
        delay, inside = legs.delay("request", content), 0
        if self._late:
            for fault in venue.faults.every(RequestDelay, message_of(request), agenda.now_ns):
                delay += fault.dt_ns
                inside += fault.dt_ns if fault.admitted else 0

        def arrive() -> None:
            refused = self._untimely(request, signed_ns, agenda.now_ns - inside)
            answer = venue.answer(request) if refused is None else Answer(refused)
            if answer.reply is not None:
                due = agenda.now_ns + legs.delay("reply", content) + answer.delay_ns
                agenda.push(due, RANK_MESSAGE, partial(back, answer.reply))

        agenda.push(agenda.now_ns + delay, RANK_MESSAGE, arrive)

    def _untimely(
        self, request: VenueRequest, signed_ns: int, at_ns: int
    ) -> VenueReply | None:
        """What a request is told that does not come in time; None: it is looked at."""
        if type(request) in PUBLIC:
            return None
        refused = self._venue.untimely(signed_ns, at_ns=at_ns)
        told = self.on_request if refused is None else self.on_untimely
        told(self._venue.name, request)
        return refused

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
        if type(event) is Announced and event.kind == "restart":
            self._stream.drop("the venue restarts")
            return
        client = ""
        if type(event) is OrderChanged:
            client = event.order.client_order_id
        elif type(event) is Traded:
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

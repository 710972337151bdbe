"""The link of one kernel to one simulated venue at level "sim": effects in, inputs out.

A request travels its request leg, changes the truth, and its reply travels the reply leg. What
left the kernel before it died still reaches the venue; what comes back then meets nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kernel.model.messages import (
    InputBody,
    StreamClose,
    StreamOpen,
    VenueAnswer,
    VenueCall,
    VenueSaid,
)
from kernel.model.venue import StreamDown, StreamUp, VenueEvent, VenueNotice, VenueReply
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.fault_kinds import RequestDelay
from venues.sim.faults import content_of, message_of
from venues.sim.streams import Stream
from venues.sim.truth import Announced, OrderChanged, Traded, TruthEvent
from venues.sim.venue import SimVenue

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
        match body:
            case VenueCall():
                self._request(key, body)
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

    def _request(self, key: str, call: VenueCall) -> None:
        venue, agenda = self._venue, self._agenda
        request, legs = call.request, venue.legs
        content = content_of(request) if legs.jittered else ""
        delay = legs.delay("request", content)
        if venue.faults.installed(RequestDelay):
            for fault in venue.faults.every(RequestDelay, message_of(request), agenda.now_ns):
                delay += fault.dt_ns

        def arrive() -> None:
            reply, late = venue.answer(request)
            if reply is not None:
                back = legs.delay("reply", content) + late
                agenda.push(agenda.now_ns + back, RANK_MESSAGE, partial(self._reply, key, reply))

        agenda.push(agenda.now_ns + delay, RANK_MESSAGE, arrive)

    def _reply(self, key: str, reply: VenueReply) -> None:
        if self._alive:
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

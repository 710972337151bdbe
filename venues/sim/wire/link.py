"""The link of one kernel to an emulator (level "wire"): effects in bytes in, inputs in bytes out.

It is the twin of `venues.sim.link`: the same legs, the same faults, matched on the same messages,
because the emulator says of each request what it means to the simulated venue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from kernel.model.messages import (
    HttpFailed,
    HttpReply,
    HttpRequest,
    InputBody,
    StreamClose,
    StreamClosed,
    StreamFrame,
    StreamOpen,
    StreamOpened,
    StreamSend,
)
from kernel.model.venue import VenueRequest
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.fault_kinds import RequestDelay
from venues.sim.faults import message_of
from venues.sim.streams import Stream
from venues.sim.truth import Announced, TruthEvent
from venues.sim.wire.core import Asked, Broken, Frame, Response, Session, WireCore

type Emit = Callable[[str, InputBody], None]
"""Takes the content key and the body of an input, at the instant at which it arrives."""


class WireLink:
    """Carries the effects of one kernel to an emulator, and what the emulator says back.

    Args:
        core: The emulator.
        agenda: The world's agenda.
        emit: Called while the agenda runs an arrival; the driver makes the input of it.
    """

    def __init__(self, core: WireCore, agenda: Agenda, emit: Emit) -> None:
        self._core = core
        self._agenda = agenda
        self._emit = emit
        self._alive = True
        self.on_request: Callable[[str, VenueRequest], None] = _unheard
        self.on_untimely: Callable[[str, VenueRequest], None] = _unheard
        """As at level "sim"; what has no counterpart at the simulated venue is left out."""
        self._sockets: dict[str, _Socket] = {}
        core.links.append(self._broadcast)
        core.venue.subscribe(self._hear)

    def accept(self, key: str, body: HttpRequest | StreamOpen | StreamSend | StreamClose) -> None:
        """Take an effect of the kernel that concerns this venue."""
        match body:
            case HttpRequest():
                self._request(key, body)
            case StreamOpen():
                self._socket(body.stream).open(body.connection, body.path)
            case StreamSend():
                self._send(body)
            case StreamClose():
                socket = self._socket(body.stream)
                if socket.connection == body.connection:
                    socket.close()

    def cut(self) -> None:
        """The kernel is gone: nothing reaches it any more."""
        if self._alive:
            self._alive = False
            for socket in self._sockets.values():
                socket.close()
            self._core.venue.unsubscribe(self._hear)
            self._core.links.remove(self._broadcast)

    # ------------------------------------------------------------------ requests

    def _request(self, key: str, http: HttpRequest) -> None:
        core, venue = self._core, self._core.venue
        asked, inside = core.route(http), 0
        if isinstance(asked, Asked):
            message = message_of(asked.request)
            content = f"{message.kind}/{message.entity}"
            delay = venue.legs.delay("request", content)
            for fault in venue.faults.every(RequestDelay, message, self._agenda.now_ns):
                delay += fault.dt_ns
                inside += fault.dt_ns if fault.admitted else 0
        else:
            content = f"wire/{asked.entity}"
            delay = venue.legs.delay("request", content)

        def arrive() -> None:
            refused = core.untimely(http, asked, self._agenda.now_ns - inside)
            if isinstance(asked, Asked) and http.signed == "full":
                told = self.on_request if refused is None else self.on_untimely
                told(venue.name, asked.request)
            answer, late = refused or core.serve(http, asked)
            if answer is not None:
                back = venue.legs.delay("reply", content) + late
                self._later(back, lambda: self._answer(key, answer))

        self._later(delay, arrive)

    def _answer(self, key: str, answer: Response | Broken) -> None:
        if not self._alive:
            return
        name = self._core.venue.name
        if isinstance(answer, Broken):
            self._emit(key, HttpFailed(venue=name, reason=answer.reason))
            return
        headers = tuple((field.lower(), value) for field, value in answer.headers)
        self._emit(
            key, HttpReply(venue=name, status=answer.status, headers=headers, body=answer.body)
        )

    # ------------------------------------------------------------------ streams

    def _send(self, body: StreamSend) -> None:
        legs = self._core.venue.legs
        content = f"stream/{body.stream}"

        def arrive() -> None:
            socket = self._sockets.get(body.stream)
            if socket is not None and socket.connection == body.connection:
                for answer in socket.hear(body.body):
                    socket.say(answer, legs.delay("reply", content))

        self._later(legs.delay("request", content), arrive)

    def _hear(self, event: TruthEvent) -> None:
        up = [socket for socket in self._sockets.values() if socket.up]
        if not up:
            return
        if isinstance(event, Announced) and event.kind == "restart":
            for socket in up:
                socket.stream.drop("the venue restarts")
            return
        for frame in self._core.frames(event):
            for socket in up:
                wrapped = socket.wrap(frame)
                if wrapped is not None:
                    socket.stream.send(
                        frame.topic, frame.symbol, frame.entity, wrapped,
                        client_order_id=frame.client_order_id, lane=frame.channel,
                    )  # fmt: skip

    def _broadcast(self, body: bytes) -> None:
        for socket in self._sockets.values():
            socket.say(body, self._core.venue.legs.delay("order", "protocol"))

    def _socket(self, name: str) -> _Socket:
        socket = self._sockets.get(name)
        if socket is None:
            socket = self._sockets[name] = _Socket(name, self._core, self._agenda, self._say)
        return socket

    def _say(self, stream: str, body: StreamOpened | StreamFrame | StreamClosed) -> None:
        if self._alive:
            self._emit(f"said/{self._core.venue.name}/{stream}", body)

    def _later(self, dt_ns: int, action: Callable[[], None]) -> None:
        self._agenda.push(self._agenda.now_ns + dt_ns, RANK_MESSAGE, action)


type Say = Callable[[str, StreamOpened | StreamFrame | StreamClosed], None]


class _Socket:
    """One stream of the kernel, over its connections."""

    def __init__(self, name: str, core: WireCore, agenda: Agenda, say: Say) -> None:
        self.connection = 0
        self._name = name
        self._core = core
        self._say = say
        self._agenda = agenda
        self._heard_ns = 0
        self._session: Session | None = None
        self.stream: Stream[bytes] = Stream(
            agenda,
            core.venue.faults,
            core.venue.legs,
            deliver=self._frame,
            came_up=self._opened,
            went_down=self._closed,
            garbage=core.garbage,
        )

    @property
    def up(self) -> bool:
        """Whether a connection is up."""
        return self.stream.up

    def open(self, connection: int, path: str) -> None:
        """Connect anew; an older connection ends without a word."""
        self.connection = connection
        self._session = self._core.session(path)
        self.stream.open(connection)

    def close(self) -> None:
        """The kernel hangs up."""
        self.stream.close()
        self._session = None

    def hear(self, body: bytes) -> list[bytes]:
        """A frame of the kernel; the answers."""
        self._heard_ns = self._agenda.now_ns
        return self._session.hear(body) if self._session is not None and self.up else []

    def say(self, body: bytes, delay_ns: int) -> None:
        """A frame of the connection's own protocol."""
        self.stream.tell(body, delay_ns)

    def wrap(self, frame: Frame) -> bytes | None:
        """A frame as this connection gets it."""
        return None if self._session is None else self._session.wrap(frame)

    def _opened(self, connection: int) -> None:
        name = self._core.venue.name
        self._heard_ns = now = self._agenda.now_ns
        session = self._session
        if session is not None and session.life_ns:
            end = partial(self._cut, session, "the longest life of a connection is over")
            self._agenda.push(now + session.life_ns, RANK_MESSAGE, end)
        if session is not None and session.idle_ns:
            self._agenda.push(
                now + session.idle_ns, RANK_MESSAGE, partial(self._look, session)
            )
        self._say(
            self._name, StreamOpened(venue=name, stream=self._name, connection=connection)
        )

    def _look(self, session: Session) -> None:
        if session is not self._session:
            return
        due = self._heard_ns + session.idle_ns
        if due <= self._agenda.now_ns:
            self._cut(session, "idle for too long")
        else:
            self._agenda.push(due, RANK_MESSAGE, partial(self._look, session))

    def _cut(self, session: Session, reason: str) -> None:
        if session is self._session:
            self.stream.drop(reason)

    def _frame(self, body: bytes) -> None:
        self._say(
            self._name,
            StreamFrame(
                venue=self._core.venue.name, stream=self._name, connection=self.connection,
                body=body,
            ),
        )  # fmt: skip

    def _closed(self, reason: str) -> None:
        self._session = None
        self._say(
            self._name,
            StreamClosed(
                venue=self._core.venue.name, stream=self._name, connection=self.connection,
                reason=reason,
            ),
        )  # fmt: skip


def _unheard(_venue: str, _request: VenueRequest) -> None:
    """Nobody wants to know."""

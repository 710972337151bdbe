"""Bybit: the private stream, step by step from the socket to the last confirmed topic.

1. The auth frame is answered before anything is subscribed; its secrets are `{auth}`, put in by the
   world outside when the frame leaves.
2. Topics are subscribed one by one: a bad one would take a whole batch with it, silently.
3. A ping leaves every 20 seconds, and its pong must come within 10: the venue may forget a
   connection without closing it.

Source: venue-bybit §6.1, §6.2; SPEC §10 (heartbeat).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.model.units import SECOND, MonoNs
from venues.live.bybit import frames
from venues.live.bybit.requests import VENUE
from venues.live.stream import PrivateStream

if TYPE_CHECKING:
    from kernel.model.venue import VenueEvent
    from kernel.ports.transport import Transport
    from kernel.runtime.channels import Channel
    from kernel.runtime.scheduler import Runtime
    from venues.live.bybit.codec import Codec

PATH = "/v5/private"
AUTH = "{auth}"
"""Stands for the three arguments key, expiry and signature."""
PING_NS = 20 * SECOND
PONG_NS = 10 * SECOND


class BybitStream(PrivateStream):
    """The private stream of one account."""

    def __init__(
        self, runtime: Runtime, transport: Transport, events: Channel[VenueEvent], codec: Codec
    ) -> None:
        super().__init__(runtime, transport, events, VENUE)
        self._codec = codec
        self._authorized = False
        self._confirmed = 0
        self._ping_ns = MonoNs(0)
        self._pong_ns: MonoNs | None = None
        self._pings = 0

    # ------------------------------------------------------------ the life

    async def prepare(self) -> str:
        """See `PrivateStream.prepare`."""
        self._authorized = False
        self._confirmed = 0
        self._pong_ns = None
        return PATH

    def begin(self) -> None:
        """See `PrivateStream.begin`."""
        self._ping_ns = MonoNs(self._runtime.now() + PING_NS)
        self._send({"req_id": "auth", "op": "auth", "args": [AUTH]})

    def next_due(self) -> MonoNs:
        """See `PrivateStream.next_due`."""
        return self._ping_ns if self._pong_ns is None else self._pong_ns

    async def on_due(self) -> str:
        """See `PrivateStream.on_due`."""
        now = self._runtime.now()
        if self._pong_ns is not None:
            return "no pong in time"
        if now < self._ping_ns:
            return ""  # the pong came while its deadline was waited for
        self._pings += 1
        self._ping_ns = MonoNs(now + PING_NS)
        self._pong_ns = MonoNs(now + PONG_NS)
        self._send({"req_id": f"ping-{self._pings}", "op": "ping"})
        return ""

    # ------------------------------------------------------------ frames

    def read(self, body: bytes) -> None:
        """See `PrivateStream.read`."""
        frame = frames.frame_decoder.decode(body)
        if frame.topic:
            for said in frames.read(frame, self._codec):
                self.say(said)
            return
        match frame.op:
            case "auth":
                self._on_auth(frame)
            case "subscribe":
                self._on_subscribed(frame)
            case "ping" | "pong":
                self._pong_ns = None
            case _:
                self.notice("unknown_event", raw=body.decode(errors="replace")[:200])

    def _on_auth(self, frame: frames.Frame) -> None:
        if not frame.accepted:
            self.lose(f"auth refused: {frame.words}")
        elif not self._authorized:
            self._authorized = True
            self._subscribe()

    def _on_subscribed(self, frame: frames.Frame) -> None:
        if self._confirmed == len(frames.TOPICS):
            return
        topic = frames.TOPICS[self._confirmed]
        if not frame.accepted:
            self.lose(f"subscription to {topic} refused: {frame.words}")
            return
        if frame.req_id not in (None, "", topic):
            return  # of another topic, which was confirmed before
        self._confirmed += 1
        if self._confirmed == len(frames.TOPICS):
            self.confirm()
        else:
            self._subscribe()

    def _subscribe(self) -> None:
        topic = frames.TOPICS[self._confirmed]
        self._send({"req_id": topic, "op": "subscribe", "args": [topic]})

    def _send(self, frame: dict[str, str | list[str]]) -> None:
        self.send(msgspec.json.encode(frame))

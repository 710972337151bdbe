"""Level "wire" and "socket": bytes to and from a venue.

One effect is at most one request on the wire. Signing, TLS, sockets and every secret live
outside: the adapter sees status, headers and body, and frames before any JSON. `{handle}` in a
path or frame stands for a secret that the world puts in (listenKey, auth frame).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.errors import InvariantViolation
from kernel.model.messages import (
    HttpFailed,
    HttpReply,
    HttpRequest,
    StreamClose,
    StreamOpen,
    StreamSend,
)
from kernel.model.venue import EffectClass

if TYPE_CHECKING:
    from kernel.ports.outbox import Outbox


class Transport(Protocol):
    """One account's connections to one venue."""

    async def http(
        self, request: HttpRequest, cls: EffectClass, *, kind: str, entity: str
    ) -> HttpReply | HttpFailed:
        """Send one request; the content key is (kind, venue, entity, n)."""
        ...

    def open(self, stream: str, connection: int, path: str) -> None:
        """Open a socket; `StreamOpened` or `StreamClosed` tells what came of it."""
        ...

    def send(self, stream: str, connection: int, body: bytes) -> None:
        """Send one frame."""
        ...

    def close(self, stream: str, connection: int) -> None:
        """Close a socket."""
        ...


class EffectTransport:
    """`Transport` as effects."""

    def __init__(self, outbox: Outbox, venue: str) -> None:
        self._outbox = outbox
        self._venue = venue

    async def http(
        self, request: HttpRequest, cls: EffectClass, *, kind: str, entity: str
    ) -> HttpReply | HttpFailed:
        """See `Transport.http`."""
        key = self._outbox.next_key(kind, self._venue, entity)
        answer = await self._outbox.ask(key, request, cls)
        if not isinstance(answer, HttpReply | HttpFailed):
            raise InvariantViolation(f"{key}: answered by {type(answer).__name__}")
        return answer

    def open(self, stream: str, connection: int, path: str) -> None:
        """See `Transport.open`."""
        body = StreamOpen(venue=self._venue, stream=stream, connection=connection, path=path)
        self._outbox.send(self._outbox.next_key("open", self._venue, stream), body)

    def send(self, stream: str, connection: int, body: bytes) -> None:
        """See `Transport.send`."""
        frame = StreamSend(venue=self._venue, stream=stream, connection=connection, body=body)
        self._outbox.send(self._outbox.next_key("send", self._venue, stream), frame)

    def close(self, stream: str, connection: int) -> None:
        """See `Transport.close`."""
        body = StreamClose(venue=self._venue, stream=stream, connection=connection)
        self._outbox.send(self._outbox.next_key("close", self._venue, stream), body)

"""Binance: the private stream, kept alive by a listenKey.

1. The key is asked for before each connection, extended every 25 minutes, and asked for anew where
   the venue says that it is gone (-1125, `listenKeyExpired`); it lives outside of this process'
   logic as `{listenKey}`.
2. A connection ends by itself ten minutes before the venue would cut it at 24 hours.
3. There is nothing to subscribe to: an open socket is a confirmed one.

A quiet stream is a healthy one on this venue. Pings are answered below us; a probe of our own
leaves every 30 seconds, and a connection that answered one before must answer the next within 10:
one that never answers any is not judged by it. That the key is alive is proven by each extension.

Source: venue-binance §4.1, §4.2; SPEC §10.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from kernel.errors import Throttled, VenueError
from kernel.model.messages import HttpReply, HttpRequest
from kernel.model.units import HOUR, MINUTE, SECOND, MonoNs
from kernel.runtime.errors import TimedOut
from venues.live.binance import frames, requests
from venues.live.stream import PrivateStream

if TYPE_CHECKING:
    from kernel.model.venue import VenueEvent
    from kernel.ports.transport import Transport
    from kernel.runtime.channels import Channel
    from kernel.runtime.scheduler import Runtime

type Exchange = Callable[[HttpRequest], Awaitable[HttpReply]]
"""Sends a request of the stream; raises `VenueError`."""

PATH = "/private/ws?listenKey={listenKey}"
EXTEND_NS = 25 * MINUTE
RETRY_NS = MINUTE
KEY_LIFE_NS = 55 * MINUTE
"""The venue keeps a key for 60 minutes after its last extension."""
CONNECTION_LIFE_NS = 23 * HOUR + 50 * MINUTE
CALL_NS = 10 * SECOND
KEY_GONE = "-1125"
PROBE_NS = 30 * SECOND
ANSWER_NS = 10 * SECOND


class BinanceStream(PrivateStream):
    """The user data stream of one account."""

    def __init__(
        self,
        runtime: Runtime,
        transport: Transport,
        events: Channel[VenueEvent],
        exchange: Exchange,
    ) -> None:
        super().__init__(runtime, transport, events, requests.VENUE)
        self._exchange = exchange
        self._extended_ns = MonoNs(0)
        self._extend_ns = MonoNs(0)
        self._ends_ns = MonoNs(0)
        self._probe_ns = MonoNs(0)
        self._answer_ns: MonoNs | None = None
        """When the answer to the last probe is due at the latest; None: it came."""
        self._answers = False
        """This connection has answered a probe."""
        self._probes = 0
        self._leverages: dict[str, int] = {}

    def expect_leverage(self, symbol: str, leverage: int) -> None:
        """We set it ourselves: the event that follows is no news."""
        self._leverages[symbol] = leverage

    # ------------------------------------------------------------ the life

    async def prepare(self) -> str:
        """See `PrivateStream.prepare`."""
        await self._call("POST")
        return PATH

    def begin(self) -> None:
        """See `PrivateStream.begin`."""
        self._ends_ns = MonoNs(self._runtime.now() + CONNECTION_LIFE_NS)
        self._probe_ns = MonoNs(self._runtime.now() + PROBE_NS)
        self._answer_ns, self._answers = None, False
        self.confirm()

    def next_due(self) -> MonoNs:
        """See `PrivateStream.next_due`."""
        probe_ns = self._probe_ns if self._answer_ns is None else self._answer_ns
        return min(self._extend_ns, self._ends_ns, probe_ns)

    async def on_due(self) -> str:
        """See `PrivateStream.on_due`."""
        now = self._runtime.now()
        if now >= self._ends_ns:
            return "the connection is about to reach the venue's 24 hours"
        if self._answer_ns is not None and now >= self._answer_ns:
            if self._answers:
                return "no answer to our probe"
            self._answer_ns = None
        if self._answer_ns is None and now >= self._probe_ns:
            self._probe()
        if now < self._extend_ns:
            return ""
        try:
            await self._call("PUT")
        except (VenueError, TimedOut) as error:
            return self._not_extended(error)
        return ""

    def _probe(self) -> None:
        now = self._runtime.now()
        self._probes += 1
        self._probe_ns = MonoNs(now + PROBE_NS)
        self._answer_ns = MonoNs(now + ANSWER_NS)
        frame = {"method": "LIST_SUBSCRIPTIONS", "id": self._probes}
        self.send(msgspec.json.encode(frame))

    def _not_extended(self, error: VenueError | TimedOut) -> str:
        now = self._runtime.now()
        if isinstance(error, VenueError) and error.code == KEY_GONE:
            return f"the listenKey is gone: {error}"
        if now - self._extended_ns >= KEY_LIFE_NS:
            return f"the listenKey could not be extended: {error}"
        wait_ns = RETRY_NS
        if isinstance(error, Throttled) and error.retry_at_ns:
            wait_ns = max(wait_ns, error.retry_at_ns - self._runtime.ts())
        self._extend_ns = MonoNs(now + wait_ns)
        return ""

    async def _call(self, method: str) -> None:
        with self._runtime.timeout(CALL_NS):
            await self._exchange(requests.listen_key(method))
        self._extended_ns = self._runtime.now()
        self._extend_ns = MonoNs(self._extended_ns + EXTEND_NS)

    # ------------------------------------------------------------ frames

    def read(self, body: bytes) -> None:
        """See `PrivateStream.read`."""
        kind, event = frames.unwrap(body)
        if not kind:
            self._answer_ns, self._answers = None, True
            return
        if kind == frames.EXPIRED_KEY:
            self.suspect("the listenKey expired")
        elif kind == "ACCOUNT_CONFIG_UPDATE":
            self._read_config(event)
        else:
            for said in frames.read(kind, event):
                self.say(said)

    def _read_config(self, event: bytes) -> None:
        symbol, leverage = frames.config_of(event)
        if symbol and self._leverages.get(symbol) == leverage:
            return
        self.notice("config_change", symbol=symbol, raw=event.decode(errors="replace")[:200])

"""Binance USD-M futures as a `kernel.ports.venue.Venue` over bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import Throttled
from kernel.model.messages import HttpReply, HttpRequest
from kernel.model.traits import TRAITS
from kernel.model.venue import (
    EffectClass,
    Failure,
    InstrumentPage,
    RateLimit,
    SetLeverage,
    VenueRequest,
)
from venues.live.base import Decoded, WireVenue
from venues.live.binance import codec, errors, requests
from venues.live.binance.limits import Limits
from venues.live.binance.streams import BinanceStream

if TYPE_CHECKING:
    from kernel.ports.outbox import Outbox
    from kernel.ports.venue import Venue
    from kernel.runtime.scheduler import Runtime


class BinanceVenue(WireVenue):
    """One account on Binance USD-M futures."""

    stream: BinanceStream

    def __init__(self, runtime: Runtime, outbox: Outbox) -> None:
        super().__init__(runtime, outbox, TRAITS[requests.VENUE])
        self._limits = Limits(self.traits)
        self.stream = BinanceStream(runtime, self._transport, self.events, self._for_stream)

    def encode(self, request: VenueRequest) -> HttpRequest:
        """See `WireVenue.encode`."""
        if isinstance(request, SetLeverage):
            self.stream.expect_leverage(request.symbol, int(request.leverage))
        return requests.encode(request, self._runtime.ts())

    def decode(self, request: VenueRequest, reply: HttpReply) -> Decoded:
        """See `WireVenue.decode`."""
        decoded = codec.decode(request, reply, self._runtime.ts())
        if isinstance(decoded.reply, InstrumentPage):
            self.symbols = {found.symbol: None for found in decoded.reply.instruments}
            for limit in self._limits.stated(reply.body):
                self.events.put_nowait(limit)
        return decoded

    def classify(self, http: HttpRequest, reply: HttpReply) -> Failure | None:
        """See `WireVenue.classify`."""
        return errors.classify(reply, self._runtime.ts())

    def limits(self, http: HttpRequest, reply: HttpReply) -> list[RateLimit]:
        """See `WireVenue.limits`."""
        return self._limits.counted(reply)

    async def _for_stream(self, http: HttpRequest) -> HttpReply:
        if self._runtime.ts() < self.quiet_until_ns:
            raise Throttled(
                self.traits.name,
                "listen_key",
                "quiet",
                "the venue asked for silence",
                retry_at_ns=self.quiet_until_ns,
            )
        return await self.exchange(
            http, EffectClass.QUERY, kind="listen_key", entity=http.method.lower()
        )


def make_venue(runtime: Runtime, outbox: Outbox) -> Venue:
    """The port of a kernel to Binance, as `Kernel(venue_factories=…)` wants it."""
    return BinanceVenue(runtime, outbox)

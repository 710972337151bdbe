"""Bybit V5 (unified account, linear contracts) as a `kernel.ports.venue.Venue` over bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.errors import NotSent, OutcomeUnknown, Rejected
from kernel.model.messages import HttpReply, HttpRequest
from kernel.model.traits import TRAITS
from kernel.model.venue import (
    AccountConfig,
    EffectClass,
    Failure,
    InstrumentPage,
    QueryAccountConfig,
    QueryInstruments,
    QuerySymbolConfig,
    RateLimit,
    VenueReply,
    VenueRequest,
)
from kernel.ports.direct import request_kind
from venues.live.base import Decoded, WireVenue
from venues.live.bybit import errors, requests
from venues.live.bybit.codec import Codec, KeyInfo, next_list
from venues.live.bybit.limits import Limits
from venues.live.bybit.streams import BybitStream
from venues.live.wire import BAD_ROW

if TYPE_CHECKING:
    from kernel.ports.outbox import Outbox
    from kernel.ports.venue import Venue
    from kernel.runtime.scheduler import Runtime

_PROBE = "BTCUSDT"
"""Asked for the position mode where no instrument is known yet."""


class BybitVenue(WireVenue):
    """One account on Bybit.

    One question takes more than one request: the account's configuration, which the venue spreads
    over three answers. All three only read, so nothing can be executed twice.
    """

    stream: BybitStream

    def __init__(self, runtime: Runtime, outbox: Outbox) -> None:
        super().__init__(runtime, outbox, TRAITS[requests.VENUE])
        self._codec = Codec()
        self._limits = Limits(self.traits)
        self.stream = BybitStream(runtime, self._transport, self.events, self._codec)

    async def ask(self, request: VenueRequest, cls: EffectClass, entity: str) -> VenueReply:
        """See `kernel.ports.venue.Venue.ask`."""
        if isinstance(request, QueryAccountConfig):
            try:
                return await self._account(cls, entity)
            except BAD_ROW as error:
                raise OutcomeUnknown(
                    self.traits.name, request_kind(request), "body", f"unreadable: {error}"
                ) from None
        try:
            return await super().ask(request, cls, entity)
        except Rejected:
            if isinstance(request, QueryInstruments) and request.cursor:
                # A list that this environment does not serve; the one in trading was read before.
                return InstrumentPage(
                    instruments=(), next_cursor=next_list(requests.status_of(request.cursor))
                )
            raise

    def encode(self, request: VenueRequest) -> HttpRequest:
        """See `WireVenue.encode`."""
        if isinstance(request, QuerySymbolConfig) and self._codec.isolated is None:
            raise NotSent(
                self.traits.name,
                request_kind(request),
                "account-unread",
                "the margin mode is the account's, whose configuration was not read yet",
            )
        self._codec.sources.asked(request)
        return requests.encode(request, self._runtime.ts())

    def decode(self, request: VenueRequest, reply: HttpReply) -> Decoded:
        """See `WireVenue.decode`."""
        decoded = self._codec.decode(request, reply, self._runtime.ts())
        if isinstance(request, QueryInstruments) and isinstance(decoded.reply, InstrumentPage):
            self._learn(decoded.reply, first=not request.cursor)
        return decoded

    def classify(self, http: HttpRequest, reply: HttpReply) -> Failure | None:
        """See `WireVenue.classify`."""
        return errors.classify(reply, self._runtime.ts(), acts=http.method != "GET")

    def limits(self, http: HttpRequest, reply: HttpReply) -> list[RateLimit]:
        """See `WireVenue.limits`."""
        return self._limits.stated(http, reply)

    def _learn(self, page: InstrumentPage, *, first: bool) -> None:
        if first:
            self.symbols = {}
            self._codec.coins = (requests.FIRST_COIN,)
        for instrument in page.instruments:
            self.symbols[instrument.symbol] = None
            if instrument.quote not in self._codec.coins:
                self._codec.coins += (instrument.quote,)

    async def _account(self, cls: EffectClass, entity: str) -> AccountConfig:
        """Margin mode, position mode, and what the key may do."""
        isolated = self._codec.read_margin_mode(
            await self._read(requests.account_info(), cls, entity)
        )
        probe = next(iter(self.symbols), _PROBE)
        hedge_mode = self._codec.read_hedge_mode(
            await self._read(requests.positions_of(probe), cls, entity)
        )
        key = await self._key(cls, entity)
        return AccountConfig(
            hedge_mode=hedge_mode,
            can_trade=True if key is None else key.can_trade,
            can_withdraw=None if key is None else key.can_withdraw,
            isolated=isolated,
        )

    async def _key(self, cls: EffectClass, entity: str) -> KeyInfo | None:
        """None: this environment does not say (the demo has no such endpoint)."""
        try:
            reply = await self._read(requests.key_info(), cls, entity)
            return self._codec.read_key(reply)
        except (Rejected, msgspec.MsgspecError):
            return None

    async def _read(self, http: HttpRequest, cls: EffectClass, entity: str) -> HttpReply:
        return await self.exchange(http, cls, kind="account_config", entity=entity)


def make_venue(runtime: Runtime, outbox: Outbox) -> Venue:
    """The port of a kernel to Bybit, as `Kernel(venue_factories=…)` wants it."""
    return BybitVenue(runtime, outbox)

"""What the adapters of both venues share: one request out, its reply or its error back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

from kernel.errors import InvariantViolation, NotSent, OutcomeUnknown, VenueError
from kernel.model.messages import HttpFailed, HttpReply, HttpRequest, VenueSaid
from kernel.model.units import SECOND, TsNs
from kernel.model.venue import (
    SNAPSHOT_PARTS,
    Done,
    EffectClass,
    Failure,
    OrderPage,
    PositionPage,
    QueryOpenOrders,
    QueryPositions,
    QuerySnapshot,
    RateLimit,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SnapshotPage,
    VenueEvent,
    VenueReply,
    VenueRequest,
)
from kernel.ports.direct import raise_failure, request_kind
from kernel.ports.transport import EffectTransport
from venues.live.failures import UNCHANGED, Unchanged
from venues.live.wire import BAD_ROW, BadRow

if TYPE_CHECKING:
    from kernel.model.traits import VenueTraits
    from kernel.ports.outbox import Outbox
    from kernel.ports.venue import StreamInput
    from kernel.runtime.channels import Channel
    from kernel.runtime.scheduler import Runtime
    from venues.live.stream import PrivateStream

_TOLD_LIMIT = 256
QUIET_NS = 10 * SECOND
"""How long the stream rests after a throttling that states no time."""


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """A reply and the rows of it that could not be read."""

    reply: VenueReply
    bad: tuple[BadRow, ...] = ()
    is_list: bool = False
    """Its absences are evidence: positions, open orders, executions."""


class WireVenue(ABC):
    """`kernel.ports.venue.Venue` over bytes.

    A row that can't be read is told as a `VenueNotice`, once, and the rest of its list survives;
    except that a list of positions, orders or executions with such a row on a symbol that we trade
    (or on one that can't be read) is refused as `OutcomeUnknown`: a list with a hole in it would
    be taken for proof of absence.

    Attributes:
        symbols: Symbols of the universe, once the instruments were read.
        quiet_until_ns: Wall time before which the stream asks for nothing.
    """

    stream: PrivateStream

    def __init__(self, runtime: Runtime, outbox: Outbox, traits: VenueTraits) -> None:
        self.traits = traits
        self.events: Channel[VenueEvent] = runtime.channel()
        self.symbols: dict[str, None] = {}
        self.clock_offset_ns = 0
        self.quiet_until_ns = TsNs(0)
        self._runtime = runtime
        self._transport = EffectTransport(outbox, traits.name)
        self._told: dict[str, None] = {}

    # ------------------------------------------------------------ what venues differ in

    @abstractmethod
    def encode(self, request: VenueRequest) -> HttpRequest:
        """The one HTTP request that asks for it.

        Raises:
            Rejected: This venue has no such thing.
        """

    @abstractmethod
    def decode(self, request: VenueRequest, reply: HttpReply) -> Decoded:
        """What the bytes of an answer mean.

        Raises:
            MsgspecError, ValueError, ArithmeticError: They can't be read.
        """

    @abstractmethod
    def classify(self, http: HttpRequest, reply: HttpReply) -> Failure | None:
        """The failure that the answer to a request states; None: it states none."""

    @abstractmethod
    def limits(self, http: HttpRequest, reply: HttpReply) -> list[RateLimit]:
        """What an answer, failed or not, says of rate limits."""

    # ------------------------------------------------------------ the port

    async def ask(self, request: VenueRequest, cls: EffectClass, entity: str) -> VenueReply:
        """See `kernel.ports.venue.Venue.ask`."""
        if isinstance(request, QuerySnapshot):
            return await self._snapshot(cls, entity)
        kind = request_kind(request)
        http = self.encode(request)
        try:
            reply = await self.exchange(http, cls, kind=kind, entity=entity)
        except Unchanged:
            if isinstance(request, SetLeverage | SetMarginMode | SetPositionStop):
                return Done(already=True)
            raise
        try:
            decoded = self.decode(request, reply)
        except BAD_ROW as error:
            raise OutcomeUnknown(self.traits.name, kind, "body", f"unreadable: {error}") from None
        self.tell(decoded.bad)
        if decoded.is_list:
            self._refuse_holes(kind, decoded.bad)
        return decoded.reply

    def take(self, body: StreamInput) -> None:
        """See `kernel.ports.venue.Venue.take`."""
        if isinstance(body, VenueSaid):
            raise InvariantViolation(f"{self.traits.name}: an event where frames were expected")
        self.stream.take(body)

    def start(self) -> None:
        """See `kernel.ports.venue.Venue.start`."""
        self.stream.start()

    def reconnect(self, reason: str) -> None:
        """See `kernel.ports.venue.Venue.reconnect`."""
        self.stream.suspect(reason)

    # ------------------------------------------------------------ inside

    async def _snapshot(self, cls: EffectClass, entity: str) -> SnapshotPage:
        """Ask each surface at once; the first failure is that of the whole."""
        async with self._runtime.group() as group:
            parts = [
                group.spawn(self.ask(part, cls, _entity(part, entity)), request_kind(part))
                for part in SNAPSHOT_PARTS
            ]
        positions, plain, conditional = (part.result() for part in parts)
        assert isinstance(positions, PositionPage)
        assert isinstance(plain, OrderPage)
        assert isinstance(conditional, OrderPage)
        return SnapshotPage(positions=positions, plain=plain, conditional=conditional)

    async def exchange(
        self, http: HttpRequest, cls: EffectClass, *, kind: str, entity: str
    ) -> HttpReply:
        """Sign and send one request; return the answer unless it states a failure.

        Raises:
            VenueError: No answer, or a failure.
        """
        if http.signed == "full":
            timestamp_ns = TsNs(self._runtime.ts() + self.clock_offset_ns)
            http = msgspec.structs.replace(http, timestamp_ns=timestamp_ns)
        answer = await self._transport.http(http, cls, kind=kind, entity=entity)
        if isinstance(answer, HttpFailed):
            raise no_answer(self.traits.name, kind, answer)
        for limit in self.limits(http, answer):
            self.events.put_nowait(limit)
        failure = self.classify(http, answer)
        if failure is not None and failure.kind == UNCHANGED:
            raise Unchanged(self.traits.name, kind, failure.code, failure.text)
        if failure is not None and failure.kind == "Throttled":
            self._hush(failure)
        if failure is not None:
            raise_failure(self.traits.name, kind, failure)
        return answer

    def _hush(self, failure: Failure) -> None:
        """The stream's own requests pass no gateway: they rest for as long as is stated."""
        now = self._runtime.ts()
        until = max(failure.retry_at_ns, now + QUIET_NS)
        self.quiet_until_ns = TsNs(max(self.quiet_until_ns, until))

    def tell(self, bad: tuple[BadRow, ...]) -> None:
        """Tell of each bad row once: the resync that follows would meet it again for ever."""
        for row in bad:
            if row.raw not in self._told:
                self._told[row.raw] = None
                self.events.put_nowait(row.notice())
        while len(self._told) > _TOLD_LIMIT:
            del self._told[next(iter(self._told))]

    def _refuse_holes(self, kind: str, bad: tuple[BadRow, ...]) -> None:
        for row in bad:
            if not row.symbol or not self.symbols or row.symbol in self.symbols:
                raise OutcomeUnknown(
                    self.traits.name, kind, "malformed-row", f"a row is unreadable: {row.raw}"
                )


def _entity(part: QueryPositions | QueryOpenOrders, entity: str) -> str:
    """Of the content key of a part: what the part has when it is asked by itself."""
    return entity if isinstance(part, QueryPositions) else f"{part.order_class.value}:{entity}"


def no_answer(venue: str, kind: str, failed: HttpFailed) -> VenueError:
    """The error for a request that got no answer."""
    if failed.sent:
        return OutcomeUnknown(venue, kind, "no-answer", failed.reason)
    return NotSent(venue, kind, "not-sent", failed.reason)

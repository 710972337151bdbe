"""The fault book: which faults are in force, which of them a message meets, which ones fired.

Matching costs nothing where no fault of a kind is installed. Chances are draws on (seed, fault,
content of the message, n-th such message), so that one fault more or less moves no other.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, cast, get_args

import msgspec

from kernel.model.draws import draw
from kernel.model.ids import parse_client_order_id
from kernel.model.venue import (
    CancelOrder,
    PlaceStop,
    QueryOpenOrders,
    QueryOrder,
    SetPositionStop,
    SubmitOrder,
    VenueRequest,
)
from venues.sim.fault_kinds import CERTAIN, Act, AnyFault, Matched, Target, When
from venues.sim.occurrences import Occurrences

_SURFACES: dict[str, str] = {
    "positions": "positions",
    "executions": "executions",
    "funding": "funding",
    "balance": "balance",
    "position_stop": "trading_stop",
}


class Message(msgspec.Struct, frozen=True, gc=False):
    """What a fault is matched on: a request, a stream event, or a step inside the venue."""

    kind: str
    entity: str
    """Client order id, venue id, symbol or "account": with `kind`, the content key."""
    symbol: str = ""
    client_order_id: str = ""
    surface: str = ""
    topic: str = ""
    reduce_only: bool | None = None


TAGS: dict[type, str] = {
    kind: str(kind.__struct_config__.tag) for kind in get_args(VenueRequest.__value__)
}
"""Kind of a request → its tag."""


def kind_of(request: VenueRequest) -> str:
    """The tag of a request."""
    return TAGS[type(request)]


def message_of(request: VenueRequest) -> Message:
    """A request as faults and legs see it."""
    kind = kind_of(request)
    symbol = str(getattr(request, "symbol", ""))
    client = str(getattr(request, "client_order_id", ""))
    entity = client or str(getattr(request, "venue_order_id", "")) or symbol or "account"
    surface = _SURFACES.get(kind, "")
    reduce_only: bool | None = None
    if type(request) is QueryOrder:
        surface = request.surface.value
    elif type(request) is QueryOpenOrders:
        surface = request.order_class.value
    elif type(request) is SubmitOrder:
        reduce_only = request.reduce_only
    elif type(request) is PlaceStop or type(request) is SetPositionStop:
        reduce_only = True
    elif type(request) is CancelOrder:
        surface = request.order_class.value
    return Message(kind, entity, symbol, client, surface, "", reduce_only)


def content_of(request: VenueRequest) -> str:
    """The content key of a request: what its legs draw on."""
    message = message_of(request)
    return f"{message.kind}/{message.entity}"


def hits(target: Target, message: Message) -> bool:
    """Whether a target covers a message."""
    if target.kinds and message.kind not in target.kinds:
        return False
    if target.symbol and message.symbol != target.symbol:
        return False
    if target.surface and message.surface != target.surface:
        return False
    if target.topic and message.topic != target.topic:
        return False
    if target.reduce_only is not None and message.reduce_only is not target.reduce_only:
        return False
    client = message.client_order_id
    if target.client_order_id and not fnmatchcase(client, target.client_order_id):
        return False
    if target.legs:
        parts = parse_client_order_id(client)
        return parts is not None and parts.leg.value in target.legs
    return True


class _Armed:
    """A fault with its counts."""

    __slots__ = ("fault", "fired", "label", "matched", "name", "seen", "target", "when")

    def __init__(self, fault: Matched, name: str, number: int) -> None:
        self.fault = fault
        self.name = name
        self.label = f"fault/{name}/{number}"
        self.target: Target = fault.target
        self.when: When = fault.when
        self.matched = 0
        self.fired = 0
        self.seen = Occurrences()

    def fires(self, message: Message, now_ns: int, seed: int) -> bool:
        """Whether this message meets the fault; counts it."""
        when = self.when
        if not when.from_ns <= now_ns < when.to_ns or not hits(self.target, message):
            return False
        self.matched += 1
        if when.nth and self.matched != when.nth:
            return False
        times = when.times or (1 if self.fault.once else 0)
        if times and self.fired >= times:
            return False
        if when.chance_ppm < CERTAIN:
            key = f"{message.kind}/{message.topic}/{message.entity}"
            n = self.seen.next(key)
            if draw(seed, f"{self.label}/{key}", n, CERTAIN) >= when.chance_ppm:
                return False
        self.fired += 1
        return True


type Heard = Callable[[str, Message, int], None]


class FaultBook:
    """The faults of one venue in one run.

    Args:
        faults: In the order in which they are tried.
        seed: Of the draws.
        origin_ns: Wall time that the faults' times count from.
    """

    def __init__(
        self, faults: tuple[AnyFault, ...] = (), *, seed: int = 0, origin_ns: int = 0
    ) -> None:
        self.seed = seed
        self.origin_ns = origin_ns
        self.acts: list[Act] = []
        self.heard: Heard | None = None
        """Called with (name, message, wall time) each time a fault fires; it only looks."""
        self._armed: dict[type[Matched], list[_Armed]] = {}
        self._acted: dict[str, int] = {}
        for number, fault in enumerate(faults):
            if isinstance(fault, Act):
                self.acts.append(fault)
                self._acted.setdefault(fault.name or str(fault.__struct_config__.tag), 0)
            else:
                self.install(fault, number)

    def install(self, fault: Matched, number: int) -> None:
        """Install a fault; `number` tells faults of one name apart in the labels of draws."""
        name = fault.name or str(fault.__struct_config__.tag)
        self._armed.setdefault(type(fault), []).append(_Armed(fault, name, number))

    def first[F: Matched](self, kind: type[F], message: Message, now_ns: int) -> F | None:
        """The first fault of a kind that this message meets."""
        known = self._armed.get(kind)
        if not known:
            return None
        for armed in known:
            if self._fires(armed, message, now_ns):
                return cast("F", armed.fault)
        return None

    def every[F: Matched](self, kind: type[F], message: Message, now_ns: int) -> list[F]:
        """All faults of a kind that this message meets."""
        known = self._armed.get(kind)
        if not known:
            return []
        return [
            cast("F", armed.fault) for armed in known if self._fires(armed, message, now_ns)
        ]

    def _fires(self, armed: _Armed, message: Message, now_ns: int) -> bool:
        if not armed.fires(message, now_ns - self.origin_ns, self.seed):
            return False
        if self.heard is not None:
            self.heard(armed.name, message, now_ns)
        return True

    def matched[F: Matched](self, kind: type[F]) -> list[F]:
        """Every installed fault of a kind."""
        return [cast("F", armed.fault) for armed in self._armed.get(kind, [])]

    def installed(self, *kinds: type[Matched]) -> bool:
        """Whether any fault of these kinds is installed at all."""
        return any(kind in self._armed for kind in kinds)

    def concern(self, message_kind: str, *kinds: type[Matched]) -> bool:
        """Whether any installed fault of these kinds may ever meet such a message."""
        return any(
            not armed.target.kinds or message_kind in armed.target.kinds
            for kind in kinds
            for armed in self._armed.get(kind, ())
        )

    def acted(self, fault: Act) -> None:
        """Count an act that happened."""
        self._acted[fault.name or str(fault.__struct_config__.tag)] += 1

    def chance(self, label: str, n: int, ppm: int) -> bool:
        """A draw with a chance in a million; 0 is never."""
        return ppm > 0 and draw(self.seed, label, n, CERTAIN) < ppm

    @property
    def fired(self) -> dict[str, int]:
        """How often each installed fault fired, by name: faults at 0 were never met."""
        counts: dict[str, int] = dict(self._acted)
        for known in self._armed.values():
            for armed in known:
                counts[armed.name] = counts.get(armed.name, 0) + armed.fired
        return dict(sorted(counts.items()))


def decode_fault(data: Any) -> AnyFault:
    """A fault from plain data (a scenario file): {"fault": tag, field: value, …}.

    Raises:
        msgspec.ValidationError: It is none; the message names field and expectation.
    """
    fault: AnyFault = msgspec.convert(data, AnyFault)
    return fault

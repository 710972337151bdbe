"""What the emulators of all venues have in common: requests as bytes in, answers as bytes out.

A core has no socket and no clock. It turns an HTTP request into what the simulated venue
understands, lets it pass the venue's gate (budgets, refusals, lost and late answers), and writes
the reply in the venue's own shape. It turns truth events into frames. It outlives the kernels
that talk to it, as a venue does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from kernel.model.messages import HttpRequest
from kernel.model.orders import Fill, OrderReport, PositionReport
from kernel.model.units import MS, text
from kernel.model.venue import (
    ExecutionPage,
    Failure,
    InstrumentPage,
    OrderPage,
    PositionPage,
    QueryServerTime,
    VenueRequest,
)
from venues.sim.truth import OrderChanged, PositionChanged, Traded, TruthEvent
from venues.sim.venue import SimVenue

KEPT_CLOSED = 5_000
"""Closed orders whose details are remembered for frames and rows."""


class Response(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class Broken(NamedTuple):
    """The connection broke before an answer came."""

    reason: str


class Asked(NamedTuple):
    """A request that the simulated venue answers; `show` writes its reply."""

    request: VenueRequest
    show: Callable[[Any], Response]


class Local(NamedTuple):
    """A request that has no counterpart at the simulated venue; `act` answers it on arrival."""

    entity: str
    act: Callable[[], Response]


class Served(NamedTuple):
    """What comes back: nothing (None), or an answer that is `delay_ns` late."""

    answer: Response | Broken | None
    delay_ns: int = 0


class Frame(NamedTuple):
    """One message of the private stream. `topic` names the leg, as at level "sim"."""

    topic: str
    symbol: str
    entity: str
    channel: str
    """The venue's own name of the topic; a session that did not subscribe gets nothing."""
    body: bytes
    client_order_id: str = ""


class Session(ABC):
    """One connection as the venue sees it.

    `idle_ns`: it is cut when the client says nothing for so long; `life_ns`: it is cut then in any
    case. 0: never.
    """

    idle_ns = 0
    life_ns = 0

    @abstractmethod
    def hear(self, body: bytes) -> list[bytes]:
        """Take a frame of the client; the answers, in order."""

    @abstractmethod
    def wrap(self, frame: Frame) -> bytes | None:
        """A frame as this connection gets it; None: it does not get it."""


class OrderNotes:
    """What truth events say of each order: its report, place, fills and time in force."""

    def __init__(self, venue: SimVenue) -> None:
        self._venue = venue
        self.reports: dict[str, OrderReport] = {}
        self.ordinals: dict[str, int] = {}
        self.time_in_force: dict[str, str] = {}
        self.last_fill: dict[str, Fill] = {}
        self.seqs: dict[str, int] = {}
        """Trade id → the position's sequence after it."""
        self.parents: dict[str, OrderReport] = {}
        """Child order id → the conditional that became it."""
        self.positions: dict[str, PositionReport] = {}
        """The latest change of each symbol's position."""
        self._closed: dict[str, None] = {}

    def hear(self, event: TruthEvent) -> None:
        """Take note of a truth event."""
        match event:
            case OrderChanged(order=order):
                self._order(event, order)
            case Traded(fill=fill):
                self.last_fill[fill.venue_order_id] = fill
                held = self._venue.account.position(fill.symbol, event.hedge_leg)
                self.seqs[fill.trade_id] = held.seq
                if len(self.seqs) > KEPT_CLOSED:
                    del self.seqs[next(iter(self.seqs))]
            case PositionChanged(position=position):
                self.positions[position.symbol] = position
            case _:
                pass

    def client_symbol(self, venue_order_id: str, client_order_id: str) -> str:
        """The symbol of an order that is named without it; "" where it is not known."""
        known = self.reports.get(venue_order_id)
        if known is not None:
            return known.symbol
        for report in reversed(self.reports.values()):
            if client_order_id and report.client_order_id == client_order_id:
                return report.symbol
        return ""

    def _order(self, event: OrderChanged, order: OrderReport) -> None:
        key = order.venue_order_id
        self.reports[key] = order
        if event.first:
            self.ordinals[key] = event.ordinal
            live = self._venue.matching.open.by_id.get(key)
            if live is not None:
                self.time_in_force[key] = live.time_in_force.value
        if order.child_order_id:
            self.parents[order.child_order_id] = order
        if order.status.terminal:
            self._closed[key] = None
            if len(self._closed) > KEPT_CLOSED:
                self._forget(next(iter(self._closed)))

    def _forget(self, key: str) -> None:
        for notes in (
            self._closed, self.reports, self.ordinals, self.time_in_force, self.last_fill,
            self.parents,
        ):  # fmt: skip
            notes.pop(key, None)


class WireCore(ABC):
    """The emulator of one account on one venue.

    Args:
        venue: What it speaks for.
    """

    def __init__(self, venue: SimVenue) -> None:
        self.venue = venue
        self.notes = OrderNotes(venue)
        self.links: list[Callable[[bytes], None]] = []
        """What sends a frame of the connection's own protocol to whoever is connected there."""
        venue.subscribe(self.notes.hear)

    def broadcast(self, body: bytes) -> None:
        """Send a frame of the connection's own protocol to everybody who is connected."""
        for send in self.links:
            send(body)

    @property
    def now_ns(self) -> int:
        """The present instant."""
        return self.venue.agenda.now_ns

    @property
    def now_ms(self) -> int:
        """The present instant as the venue writes it."""
        return self.now_ns // MS

    @abstractmethod
    def route(self, http: HttpRequest) -> Asked | Local:
        """What a request asks for; what is wrong with it is answered as the venue would."""

    @abstractmethod
    def failure(self, request: VenueRequest, failure: Failure) -> Response | Broken:
        """A failure of the simulated venue in this venue's shape."""

    @abstractmethod
    def headers(self, http: HttpRequest, *, accepted: bool) -> tuple[tuple[str, str], ...]:
        """The headers that go with an answer; counts the request."""

    @abstractmethod
    def frames(self, event: TruthEvent) -> list[Frame]:
        """The messages of the private stream that tell of an event."""

    @abstractmethod
    def garbage(self, kind: str, raw: str) -> bytes:
        """A message that nobody can read."""

    @abstractmethod
    def session(self, path: str) -> Session:
        """A new connection to this path."""

    def serve(self, http: HttpRequest, asked: Asked | Local) -> Served:
        """Answer a request at the present instant."""
        if isinstance(asked, Local):
            response = asked.act()
            return Served(self._with_headers(http, response))
        answered = self.venue.answer(asked.request)
        reply, late = answered.reply, answered.delay_ns
        if reply is None:
            return Served(None)
        if isinstance(reply, Failure):
            answer = self.failure(asked.request, reply)
            if isinstance(answer, Broken):
                return Served(answer, late)
            return Served(self._with_headers(http, answer), late)
        return Served(self._with_headers(http, asked.show(reply)), late)

    def untimely(self, http: HttpRequest, asked: Asked | Local, at_ns: int) -> Served | None:
        """The answer to a signed request that does not come in time; None: it is looked at."""
        if http.signed != "full":
            return None
        window_ns = http.recv_window_ms * MS
        refused = self.venue.untimely(http.timestamp_ns, at_ns=at_ns, window_ns=window_ns)
        if not isinstance(refused, Failure):
            return None
        request = asked.request if isinstance(asked, Asked) else QueryServerTime()
        answer = self.failure(request, refused)
        return Served(answer if isinstance(answer, Broken) else self._with_headers(http, answer))

    def rest[P: (OrderPage, PositionPage, ExecutionPage, InstrumentPage)](
        self, request: VenueRequest, page: P, *, most: int | None = None
    ) -> list[P]:
        """A page and the pages behind it, past the gate, until there are `most` rows.

        For lists that this venue shows whole, or in pages of its own.
        """
        pages = [page]
        while page.next_cursor and (most is None or sum(map(_rows, pages)) < most):
            more = self.venue.execute(msgspec.structs.replace(request, cursor=page.next_cursor))
            if not isinstance(more, type(page)):
                break
            page = more
            pages.append(page)
        return pages

    def _with_headers(self, http: HttpRequest, answer: Response) -> Response:
        more = self.headers(http, accepted=answer.status == 200)
        return Response(answer.status, answer.body, answer.headers + more)


def json_body(value: object) -> bytes:
    """JSON as both venues write it: no spaces, names as given."""
    return msgspec.json.encode(value)


def _rows(page: OrderPage | PositionPage | ExecutionPage | InstrumentPage) -> int:
    match page:
        case OrderPage():
            return len(page.orders)
        case PositionPage():
            return len(page.positions)
        case ExecutionPage():
            return len(page.fills)
        case InstrumentPage():
            return len(page.instruments)


def shown(value: object) -> Response:
    """An answer with status 200."""
    return Response(200, json_body(value))


def told(entity: str, answer: Response) -> Local:
    """An answer that is known when the request is read."""
    return Local(entity, lambda: answer)


def fixed(value: Decimal, step: Decimal) -> str:
    """A number with as many decimals as a step has, where it fits; its plain text else."""
    exponent = step.as_tuple().exponent
    plain = text(value)
    if not isinstance(exponent, int):
        return plain
    places = max(-exponent, 0)
    _, _, fraction = plain.partition(".")
    if len(fraction) > places or not places:
        return plain
    return f"{plain}{'' if fraction else '.'}{'0' * (places - len(fraction))}"

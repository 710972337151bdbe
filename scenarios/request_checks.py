"""Invariants on what the kernel asks of the venues: I3, I5, I12 to I19, I21. O(1) a request.

Requests are looked at when they leave the kernel (level "sim") or arrive at the venue (level
"wire"); answers when they reach it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from kernel.config import Settings
from kernel.model.ids import Leg, OrderIdParts, is_ours, parse_client_order_id
from kernel.model.orders import Fill, OrderClass, OrderReport, OrderType
from kernel.model.rows import OrderRow
from kernel.model.units import MINUTE, SECOND, text
from kernel.model.venue import (
    CancelOrder,
    ExecutionPage,
    Failure,
    OrderPage,
    PlaceStop,
    PositionPage,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QuerySnapshot,
    QuerySymbolConfig,
    SetPositionStop,
    SnapshotPage,
    SubmitOrder,
    VenueEvent,
    VenueReply,
    VenueRequest,
)
from scenarios.violations import Violations

if TYPE_CHECKING:
    from kernel.model.instrument import Instrument
    from kernel.store.simulated import SimulatedStore
    from scenarios.protection_checks import ProtectionChecks
    from venues.sim.venue import SimVenue

CANDLE_NS = 15 * MINUTE
STORM_NS = 60 * SECOND
STORM = 20
"""Equal orders and cancels that fail within a minute: more is a storm."""
QUERY_STORM = 60
"""The same of queries: evidence of absence is gathered from several surfaces, each many times."""
_QUERIES = (
    "query_order", "open_orders", "positions", "snapshot", "executions", "balance",
    "symbol_config",
)  # fmt: skip
_READS = ("positions", OrderClass.PLAIN.value, OrderClass.CONDITIONAL.value)
"""What a complete read of an account is made of."""
_PROVEN_UNDONE = ("NotSent", "Throttled")


class RequestChecks:
    """Watches the requests of one kernel after another.

    `write_ahead` False where requests are seen only at the venue, when the store may have moved on.
    """

    def __init__(
        self,
        settings: Settings,
        venues: dict[str, SimVenue],
        store: SimulatedStore,
        *,
        protection: ProtectionChecks,
        violations: Violations,
        write_ahead: bool = True,
    ) -> None:
        self._settings = settings
        self._venues = venues
        self._store = store
        self._protection = protection
        self._violations = violations
        self._write_ahead = write_ahead
        self._intents: dict[tuple[str, int, str, int], str] = {}
        self._sent: dict[tuple[str, str], int] = {}
        self._undone: dict[tuple[str, str], None] = {}
        self._unknown: dict[tuple[str, str], str] = {}
        self._proven: dict[tuple[str, str], None] = {}
        self._suspect: dict[str, int] = {}
        self._fresh: dict[tuple[str, str], int] = {}
        self._configured: dict[tuple[str, str], None] = {}
        self._banned_until: dict[str, int] = {}
        self._failures: dict[tuple[str, str, str, str], list[int]] = {}
        self._throttled: dict[tuple[str, str], None] = {}
        """Symbols whose protective request, of a bucket that entries use too, was throttled."""
        self._buried = 0
        """Run epoch of the last kernel that died: what it sent may arrive later."""

    # ------------------------------------------------------------ what it hears

    def born(self, *, buried: int = 0) -> None:
        """A new kernel: it has read nothing back yet, and knows of no suspicion.

        Args:
            buried: Run epoch of the last one before it.
        """
        self._configured.clear()
        self._suspect.clear()
        self._fresh.clear()
        self._throttled.clear()
        self._buried = buried

    def suspect(self, venue: str, now_ns: int) -> None:
        """The stream went down, came up, or said something nobody can read (I12)."""
        self._suspect[venue] = now_ns

    def sent(self, venue: str, request: VenueRequest, now_ns: int) -> None:
        """A request leaves."""
        banned = self._banned_until.get(venue, 0)
        if now_ns < banned:
            self._tell("I13", now_ns, venue, request, "sent during a ban")
        if _protects(request):
            self._throttled.pop((venue, _symbol(request)), None)
            self._protection.protecting_sent(venue, _symbol(request))
        if type(request) is SubmitOrder:
            self._submit(venue, request, now_ns)
        elif type(request) is PlaceStop or type(request) is SetPositionStop:
            self._stop(venue, request, now_ns)
        elif type(request) is CancelOrder:
            for order_id in (request.client_order_id, request.venue_order_id):
                if order_id:
                    self._protection.cancel_sent(venue, order_id)

    def answered(
        self, venue: str, request: VenueRequest, reply: VenueReply, *, sent_ns: int, now_ns: int
    ) -> None:
        """An answer arrives."""
        if type(reply) is Failure:
            if reply.kind == "TooManyOpenOrders" and isinstance(request, PlaceStop):
                self._protection.cap_refused(venue, request.symbol)
            self._failed(venue, request, reply, now_ns)
            return
        self.shown(venue, reply)
        if type(request) is QuerySnapshot:
            for name in _READS:
                self._fresh[(venue, name)] = sent_ns
        elif type(request) is QueryPositions and not request.symbol:
            self._fresh[(venue, "positions")] = sent_ns
        elif type(request) is QueryOpenOrders and not request.symbol:
            self._fresh[(venue, request.order_class.value)] = sent_ns
        elif type(request) is QuerySymbolConfig:
            self._configured[(venue, request.symbol)] = None
        elif type(request) is QueryPositions and type(reply) is PositionPage:
            # Level "wire": Bybit tells the leverage of a symbol with its position.
            if any(row.leverage for row in reply.positions):
                self._configured[(venue, request.symbol)] = None
        elif type(request) is SubmitOrder:
            self._unknown.pop((venue, request.client_order_id), None)

    def unknown(self, venue: str, client_order_id: str, symbol: str) -> None:
        """There is no answer, or one that says nothing."""
        self._protection.outcome_unknown(venue, symbol)
        key = (venue, client_order_id)
        if key in self._sent and key not in self._proven:
            self._unknown[(venue, client_order_id)] = symbol

    def settled(self, venue: str, client_order_id: str) -> None:
        """The kernel says that an outcome is proven: by evidence, an end, or an execution."""
        key = (venue, client_order_id)
        if key in self._sent:
            self._proven[key] = None
            self._unknown.pop(key, None)

    def shown(self, venue: str, evidence: VenueEvent | VenueReply) -> None:
        """The venue showed an order or a fill: that proves what was unknown, or will be."""
        if type(evidence) is OrderReport or type(evidence) is Fill:
            key = (venue, evidence.client_order_id)
            if key in self._sent:
                self._proven[key] = None
                self._unknown.pop(key, None)
            return
        if not self._unknown:
            return
        match evidence:
            case SnapshotPage(plain=plain, conditional=conditional):
                self.shown(venue, plain)
                self.shown(venue, conditional)
            case OrderPage(orders=orders):
                for order in orders:
                    self._unknown.pop((venue, order.client_order_id), None)
            case ExecutionPage(fills=fills):
                for fill in fills:
                    self._unknown.pop((venue, fill.client_order_id), None)
            case _:
                pass

    # ------------------------------------------------------------ orders

    def _submit(self, venue: str, request: SubmitOrder, now_ns: int) -> None:
        parts = parse_client_order_id(request.client_order_id)
        entry = parts is not None and parts.leg is Leg.ENTRY
        self._legal(venue, request, now_ns, entry=entry)
        key = (venue, request.client_order_id)
        if key in self._sent and key not in self._undone:
            self._tell("I3", now_ns, venue, request,
                       f"{request.client_order_id} is sent again")  # fmt: skip
        self._sent[key] = now_ns
        self._undone.pop(key, None)
        if parts is None:
            self._tell("I18", now_ns, venue, request,
                       f"the id {request.client_order_id!r} is not of our grammar")  # fmt: skip
        elif entry:
            self._entry(venue, request, parts, now_ns)
        else:
            self._protection.closing_sent(venue, request.symbol)
            if not request.reduce_only and request.position_side == "BOTH":
                self._tell("I4", now_ns, venue, request, "a closing order is not reduce-only")
            if parts.leg is Leg.AGED:
                self._resting(venue, request, now_ns)

    def _resting(self, venue: str, request: SubmitOrder, now_ns: int) -> None:
        """At most one exit of ours rests for a position that is aged.

        One at the touch, for a few seconds, may stand beside what a process without a store forgot.
        """
        for order in self._venues[venue].matching.open.of_symbol(request.symbol):
            ours = is_ours(order.client_order_id) and order.order_type is OrderType.LIMIT
            if ours and order.closing and order.position_side == request.position_side:
                self._tell("I9", now_ns, venue, request,
                           f"an exit beside {order.client_order_id}, which rests")  # fmt: skip

    def _entry(
        self, venue: str, request: SubmitOrder, parts: OrderIdParts, now_ns: int
    ) -> None:
        client = request.client_order_id
        intent = (venue, parts.wave_minute, parts.symbol_hash, parts.child)
        first = self._intents.setdefault(intent, client)
        if first != client:
            kind = "I15" if parse_epoch(first) != parts.epoch else "I3"
            self._tell(kind, now_ns, venue, request, f"{client} after {first} for one signal")
        if self._protection.qty(venue, request.symbol) and not self._siblings(venue, parts):
            self._tell("I2", now_ns, venue, request, "an entry on an open position")
        for (name, unknown), symbol in self._unknown.items():
            if name == venue and symbol == request.symbol and unknown != client:
                self._tell("I5", now_ns, venue, request,
                           f"{client} while the outcome of {unknown} is unknown")  # fmt: skip
        self._check_age(venue, request, parts, now_ns)
        if parts.epoch > self._buried:
            self._check_readiness(venue, request, now_ns)
        if self._write_ahead and not self._store.has(OrderRow, venue, client):
            self._tell("I21", now_ns, venue, request, f"{client} is sent but not durable")

    def _check_readiness(self, venue: str, request: SubmitOrder, now_ns: int) -> None:
        """What the kernel that sends it must have seen to; the order of a dead one comes late."""
        self._check_stream(venue, request, now_ns)
        for name, symbol in self._throttled:
            if name == venue and self._protection.qty(venue, symbol):
                self._tell("I13", now_ns, venue, request,
                           f"while a throttled request that protects {symbol} waits")  # fmt: skip
        if (venue, request.symbol) not in self._configured:
            self._tell("I19", now_ns, venue, request, "leverage and margin were not read back")

    def _siblings(self, venue: str, parts: OrderIdParts) -> bool:
        """Whether other children of the same entry were sent: then the position is its own."""
        return any(
            (venue, parts.wave_minute, parts.symbol_hash, child) in self._intents
            for child in range(36)
            if child != parts.child
        )

    def _check_stream(self, venue: str, request: SubmitOrder, now_ns: int) -> None:
        since = self._suspect.get(venue)
        if since is None:
            return
        missing = [name for name in _READS if self._fresh.get((venue, name), -1) < since]
        if missing:
            self._tell("I12", now_ns, venue, request,
                       f"no complete read of {', '.join(missing)} since the doubt")  # fmt: skip
        else:
            del self._suspect[venue]

    def _check_age(
        self, venue: str, request: SubmitOrder, parts: OrderIdParts, now_ns: int
    ) -> None:
        closed_ns = parts.wave_minute * MINUTE + CANDLE_NS
        if not 0 <= now_ns - closed_ns <= self._settings.signal_max_age_seconds * SECOND:
            age = Decimal(now_ns - closed_ns) / SECOND
            self._tell("I16", now_ns, venue, request, f"{text(age)} s after the candle's close")

    def _stop(self, venue: str, request: PlaceStop | SetPositionStop, now_ns: int) -> None:
        instrument = self._instrument(venue, request.symbol)
        price = request.trigger_price
        if price and instrument is not None and not instrument.is_price(price):
            self._tell("I18", now_ns, venue, request, f"trigger {text(price)} is off the grid")
        if isinstance(request, PlaceStop):
            self._quantity(venue, request, now_ns)
        elif not price and self._protection.qty(venue, request.symbol):
            self._tell("I8", now_ns, venue, request, "the stop of an open position is removed")

    def _legal(self, venue: str, request: SubmitOrder, now_ns: int, *, entry: bool) -> None:
        self._quantity(venue, request, now_ns)
        instrument = self._instrument(venue, request.symbol)
        if instrument is None:
            return
        if entry and not instrument.trading:
            self._tell("I18", now_ns, venue, request, "an entry while the symbol does not trade")
        if request.price and not instrument.is_price(request.price):
            self._tell("I18", now_ns, venue, request,
                       f"price {text(request.price)} is off the grid")  # fmt: skip

    def _quantity(self, venue: str, request: SubmitOrder | PlaceStop, now_ns: int) -> None:
        instrument = self._instrument(venue, request.symbol)
        if instrument is None:
            return
        if isinstance(request, SubmitOrder) and request.reduce_only and not request.qty:
            return  # the close-all form, for venues that know it
        market = isinstance(request, PlaceStop) or request.order_type is OrderType.MARKET
        most = instrument.max_market_qty if market else instrument.max_qty
        if not instrument.is_qty(request.qty) or (most and request.qty > most):
            self._tell("I18", now_ns, venue, request,
                       f"quantity {text(request.qty)}: step {text(instrument.qty_step)},"
                       f" at most {text(most)}")  # fmt: skip

    # ------------------------------------------------------------ failures

    def _failed(
        self, venue: str, request: VenueRequest, reply: Failure, now_ns: int
    ) -> None:
        shared = not isinstance(request, SetPositionStop)  # that endpoint has a bucket of its own
        rests = isinstance(request, SubmitOrder) and request.order_type is not OrderType.MARKET
        if reply.kind == "Throttled" and shared and not rests and _protects(request):
            self._throttled[(venue, _symbol(request))] = None
        if reply.kind == "Throttled" and shared:
            self._protection.throttled(venue, reply.retry_at_ns or now_ns + MINUTE)
        if reply.banned:
            self._banned_until[venue] = reply.retry_at_ns
        if isinstance(request, SubmitOrder):
            key = (venue, request.client_order_id)
            if reply.kind == "OutcomeUnknown":
                self.unknown(venue, request.client_order_id, request.symbol)
            else:
                self._unknown.pop(key, None)
            if reply.kind in _PROVEN_UNDONE:
                self._undone[key] = None
        kind = str(request.__struct_config__.tag)
        symbol = str(getattr(request, "symbol", ""))
        about = request.client_order_id if isinstance(request, QueryOrder) else symbol
        times = self._failures.setdefault((venue, kind, about, reply.code), [])
        times.append(now_ns)
        while times[0] < now_ns - STORM_NS:
            del times[0]
        most = QUERY_STORM if kind in _QUERIES else STORM
        if len(times) == most + 1:
            self._tell("I14", now_ns, venue, request,
                       f"{len(times)} times {reply.code} within a minute")  # fmt: skip

    def _instrument(self, venue: str, symbol: str) -> Instrument | None:
        return self._venues[venue].instruments.get(symbol)

    def _tell(
        self, invariant: str, now_ns: int, venue: str, request: VenueRequest, words: str
    ) -> None:
        kind = str(request.__struct_config__.tag)
        symbol = str(getattr(request, "symbol", ""))
        self._violations.add(invariant, now_ns, venue, symbol, f"{kind}: {words}")


def _symbol(request: VenueRequest) -> str:
    return str(getattr(request, "symbol", ""))


def _protects(request: VenueRequest) -> bool:
    """Whether a request places a stop or closes."""
    if type(request) is SubmitOrder:
        return request.reduce_only
    return type(request) is PlaceStop or type(request) is SetPositionStop


def parse_epoch(client_order_id: str) -> int:
    """The run epoch in an id of ours; -1 for anybody else's."""
    parts = parse_client_order_id(client_order_id)
    return -1 if parts is None else parts.epoch

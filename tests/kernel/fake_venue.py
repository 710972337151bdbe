"""A scripted venue under the real runtime: one account, one price a symbol, rules that bend.

Truth changes when a request arrives; events leave `event_ns` later. A `Rule` changes what happens
to the requests that it matches: an error instead of, or after, the act; a delay; an empty answer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from kernel import errors
from kernel.model.candle import Candle
from kernel.model.messages import (
    ExtremesRead,
    PriceRead,
    QuoteRead,
)
from kernel.model.orders import (
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.traits import TRAITS
from kernel.model.units import MS, SECOND, ZERO, MonoNs, TsNs
from kernel.model.venue import (
    SNAPSHOT_PARTS,
    AccountConfig,
    Acked,
    CancelOrder,
    Done,
    ExecutionPage,
    InstrumentPage,
    OrderPage,
    OrderSurface,
    PlaceStop,
    PositionPage,
    QueryAccountConfig,
    QueryExecutions,
    QueryFunding,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySnapshot,
    ServerTime,
    SetPositionStop,
    SnapshotPage,
    SubmitOrder,
)
from kernel.ports.direct import request_kind
from kernel.ports.store import Committed

D = Decimal
WALL = 1_700_000_000 * SECOND
FEE = D("0.0005")


@dataclass
class Rule:
    """What to do with matching requests."""

    kind: str
    error: type[errors.VenueError] | None = None
    code: str = ""
    applied: bool = False
    """With an error: whether the act happens all the same."""
    delay_ns: int = 0
    times: int = 1_000_000
    when: Callable[[Any], bool] = lambda request: True
    empty: bool = False
    """Lists answer without rows."""


@dataclass
class Held:
    """A position in the account."""

    side: PositionSide
    qty: Decimal
    entry: Decimal
    stop: Decimal = ZERO
    stop_by: PriceSource = PriceSource.MARK
    stop_id: str = ""
    liquidation: Decimal = ZERO
    updated_ns: int = 0


@dataclass
class Placed:
    """An order in the account."""

    report: OrderReport
    live: bool = True


class FakePrices:
    """One series for everything; keeps what was seen."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.ticks: dict[str, list[tuple[int, Decimal]]] = {}

    def push(self, symbol, price):
        self.ticks.setdefault(symbol, []).append((self.runtime.ts(), D(price)))

    def now(self, symbol):
        ticks = self.ticks.get(symbol)
        return ticks[-1][1] if ticks else ZERO

    def last(self, venue, symbol, source):
        price = self.now(symbol)
        return PriceRead(price, TsNs(self.runtime.ts() if price else 0))

    def quote(self, venue, symbol):
        price = self.now(symbol)
        return QuoteRead(price, price, D(1000), D(1000), self.runtime.ts())

    def extremes(self, venue, symbol, source, since_ns):
        seen = [price for at, price in self.ticks.get(symbol, ()) if at > since_ns]
        if not seen:
            return ExtremesRead()
        return ExtremesRead(min(seen), max(seen), TsNs(since_ns), False, self.runtime.ts())

    def candles(self, venue, symbol, source, interval_ns, count):
        """One flat or moving candle for each interval; the fake feed has no gaps."""
        ticks = self.ticks.get(symbol, ())
        end_ns = self.runtime.ts() // interval_ns * interval_ns
        found = []
        for open_ns in range(end_ns - count * interval_ns, end_ns, interval_ns):
            before = [price for at, price in ticks if at < open_ns]
            seen = [price for at, price in ticks if open_ns <= at < open_ns + interval_ns]
            seen = seen or before[-1:]
            if seen:
                found.append(
                    Candle(TsNs(open_ns), seen[0], max(seen), min(seen), seen[-1], bool(before))
                )
        return tuple(found)


class FakeStore:
    """Commits at once, or after `delay_ns`, or never."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.delay_ns = 0
        self.rows: list[object] = []

    async def commit(self, rows, cls):
        if self.delay_ns:
            await self.runtime.sleep(self.delay_ns)
        self.rows.extend(rows)
        return Committed()

    async def load(self, terms=None):
        raise errors.StoreError("nothing is stored")

    async def lease(self, terms, epoch):
        raise errors.StoreError("no lease is kept")


class FakeVenue:
    """One account on one venue."""

    def take(self, body):
        """No input of the world is for a scripted venue."""
        raise AssertionError(body)

    def __init__(self, runtime, name, prices):
        self.traits = TRAITS[name]
        self.clock_offset_ns = 0
        self.runtime = runtime
        self.events = runtime.channel()
        self.prices = prices
        self.rules: list[Rule] = []
        self.latency_ns = 20 * MS
        self.event_ns = 10 * MS
        self.silent = False
        """Events are lost."""
        self.sent: list[tuple[Any, Any]] = []
        self.classes: list[Any] = []
        """How urgent each of them was."""
        self.held: dict[str, Held] = {}
        self.orders: dict[str, Placed] = {}
        self.fills: list[Fill] = []
        self.payments: list[Fill] = []
        """Rows of the ledger of funding."""
        self.naked_since: dict[str, int] = {}
        self.number = 1000
        self.trigger_fills = True
        """Whether the child of a triggered stop fills."""
        self.clock_ns = 0
        """How far its clock is ahead."""
        self.instruments: tuple[Any, ...] = ()
        self.account = AccountConfig(hedge_mode=False)
        self.started_ns: list[int] = []
        self.rests: tuple[OrderType, ...] = ()
        """Plain orders of these types stay open and do not fill."""

    # the port

    def start(self):
        self.started_ns.append(self.runtime.now())

    def reconnect(self, reason):
        return None

    async def ask(self, request, cls, entity):
        if isinstance(request, QuerySnapshot):
            async with self.runtime.group() as group:
                parts = [group.spawn(self.ask(p, cls, entity), "part") for p in SNAPSHOT_PARTS]
            positions, plain, conditional = (part.result() for part in parts)
            return SnapshotPage(positions=positions, plain=plain, conditional=conditional)
        self.sent.append((self.runtime.now(), request))
        self.classes.append(cls)
        kind = request_kind(request)
        rule = next(
            (r for r in self.rules if r.kind == kind and r.times > 0 and r.when(request)), None
        )
        if rule is not None:
            rule.times -= 1
            await self.runtime.sleep(rule.delay_ns)
        await self.runtime.sleep(self.latency_ns)
        if rule is not None and rule.error is not None and not rule.applied:
            raise rule.error(self.traits.name, kind, rule.code)
        reply = self.apply(request)
        if rule is not None and rule.error is not None:
            raise rule.error(self.traits.name, kind, rule.code)
        if rule is not None and rule.empty:
            return type(reply)(**{msgspec.structs.fields(reply)[0].name: ()})
        await self.runtime.sleep(self.latency_ns)
        return reply

    def apply(self, request):
        handlers = {
            SubmitOrder: self._submit,
            PlaceStop: self._place_stop,
            SetPositionStop: self._set_stop,
            CancelOrder: self._cancel,
            QueryOrder: self._query,
            QueryOpenOrders: self._open,
            QueryPositions: self._positions,
            QueryExecutions: lambda r: ExecutionPage(
                fills=tuple(f for f in self.fills if f.symbol == r.symbol)
            ),
            QueryFunding: lambda r: ExecutionPage(
                fills=tuple(f for f in self.payments if f.ts_ns >= r.since_ns)
            ),
            QueryServerTime: lambda _: ServerTime(ts_ns=TsNs(self.runtime.ts() + self.clock_ns)),
            QueryInstruments: lambda _: InstrumentPage(instruments=self.instruments),
            QueryAccountConfig: lambda _: self.account,
        }
        return handlers[type(request)](request)  # type: ignore[index]

    # acts

    def _submit(self, request):
        held: Any = self.held.get(request.symbol)
        closes = held is not None and request.side is held.side.exit_side
        if request.reduce_only and not closes:
            raise errors.ReduceOnlyRefused(self.traits.name, "submit", "-2022")
        qty = min(request.qty or held.qty, held.qty) if request.reduce_only else request.qty
        report = self._order(request, OrderClass.PLAIN, request.order_type)
        self.orders[request.client_order_id] = Placed(report)
        if request.order_type in self.rests:
            self._say(report)
        else:
            self._fill(request.client_order_id, report, qty)
        return Acked(client_order_id=request.client_order_id, venue_order_id=report.venue_order_id)

    def _place_stop(self, request):
        known = self.orders.get(request.client_order_id)
        if known is not None and known.live:
            raise errors.DuplicateClientOrderId(self.traits.name, "place_stop", "-4116")
        price = self.prices.now(request.symbol)
        down = request.side is Side.SELL
        if price and (price <= request.trigger_price if down else price >= request.trigger_price):
            raise errors.WouldTriggerNow(self.traits.name, "place_stop", "-2021")
        live = [o for o in self.orders.values() if o.live and self._is_stop(o)]
        if len(live) >= self.traits.conditional_cap:
            raise errors.TooManyOpenOrders(self.traits.name, "place_stop", "-4045")
        report = self._order(request, OrderClass.CONDITIONAL, OrderType.STOP_MARKET)
        self.orders[request.client_order_id] = Placed(report)
        self._say(report)
        return Acked(client_order_id=request.client_order_id, venue_order_id=report.venue_order_id)

    def _set_stop(self, request):
        held = self.held.get(request.symbol)
        if held is None:
            raise errors.NoPositionYet(self.traits.name, "position_stop", "10001")
        price = self.prices.now(request.symbol)
        down = held.side is PositionSide.LONG
        if price and (price <= request.trigger_price if down else price >= request.trigger_price):
            raise errors.WouldTriggerNow(self.traits.name, "position_stop", "10001")
        if held.stop == request.trigger_price:
            return Done(already=True)
        held.stop, held.stop_by = request.trigger_price, request.trigger_by
        if not held.stop_id:
            self.number += 1
            held.stop_id = str(self.number)
        self._say_position(request.symbol)
        self._say_attached(request.symbol, OrderStatus.NEW)
        return Done()

    def _cancel(self, request):
        placed = self.orders.get(request.client_order_id)
        if placed is None or not placed.live:
            raise errors.UnknownOrder(self.traits.name, "cancel", "-2011")
        self.end(request.client_order_id, OrderStatus.CANCELED)
        return Acked(client_order_id=request.client_order_id)

    # questions

    def _query(self, request):
        placed = self.orders.get(request.client_order_id) or next(
            (
                one
                for one in self.orders.values()
                if one.report.venue_order_id == request.venue_order_id
            ),
            None,
        )
        surface = OrderSurface(placed.report.order_class.value) if placed else None
        if placed is None or surface is not request.surface:
            raise errors.UnknownOrder(self.traits.name, "query_order", "-2013")
        return placed.report

    def _open(self, request):
        return OrderPage(
            orders=tuple(
                placed.report
                for placed in self.orders.values()
                if placed.live
                and placed.report.order_class is request.order_class
                and request.symbol in ("", placed.report.symbol)
            )
        )

    def _positions(self, request):
        symbols = [s for s in self.held if request.symbol in ("", s)]
        return PositionPage(positions=tuple(self.position_report(symbol) for symbol in symbols))

    # truth

    def open(self, symbol, side, qty, entry):
        """A position of the account, as an entry fill made it."""
        self.held[symbol] = Held(side, D(qty), D(entry), updated_ns=self.runtime.ts())

    def position_report(self, symbol):
        held = self.held.get(symbol)
        if held is None:
            return PositionReport(
                symbol=symbol, side=PositionSide.FLAT, qty=ZERO, updated_ns=self.runtime.ts()
            )
        return PositionReport(
            symbol=symbol,
            side=held.side,
            qty=held.qty,
            entry_price=held.entry,
            mark_price=self.prices.now(symbol),
            liquidation_price=held.liquidation,
            stop_price=held.stop,
            stop_trigger_by=held.stop_by,
            updated_ns=TsNs(held.updated_ns),
        )

    def end(self, client_order_id, status):
        """An order ends."""
        placed = self.orders[client_order_id]
        placed.live = False
        placed.report = msgspec.structs.replace(
            placed.report, status=status, updated_ns=self.runtime.ts()
        )
        self._say(placed.report)

    def trigger(self, client_order_id):
        """A stop order triggers; its child fills where `trigger_fills`."""
        placed = self.orders[client_order_id]
        self.number += 1
        child = str(self.number)
        placed.report = msgspec.structs.replace(
            placed.report,
            status=OrderStatus.TRIGGERED,
            child_order_id=child,
            updated_ns=self.runtime.ts(),
        )
        self._say(placed.report)
        if not self.trigger_fills or placed.report.symbol not in self.held:
            return
        report = msgspec.structs.replace(
            placed.report, order_class=OrderClass.PLAIN, venue_order_id=child, child_order_id=""
        )
        self._fill(client_order_id, report, placed.report.qty, child_of=placed)

    def fire_attached(self, symbol):
        """The attached stop triggers and fills."""
        held = self.held[symbol]
        report = self._attached_report(symbol, OrderStatus.FILLED)
        self._fill("", report, held.qty)

    def price(self, symbol, price):
        """A new price is there; stops that it reaches trigger."""
        for client_id, placed in list(self.orders.items()):
            report = placed.report
            if not placed.live or report.symbol != symbol or not self._is_stop(placed):
                continue
            if report.status is not OrderStatus.NEW:
                continue
            down = report.side is Side.SELL
            if D(price) <= report.trigger_price if down else D(price) >= report.trigger_price:
                self.trigger(client_id)
        held = self.held.get(symbol)
        if held is not None and held.stop:
            down = held.side is PositionSide.LONG
            if D(price) <= held.stop if down else D(price) >= held.stop:
                self.fire_attached(symbol)

    def _fill(self, client_order_id, report, qty, child_of=None):
        held = self.held.get(report.symbol)
        self.number += 1
        price = self.prices.now(report.symbol)
        qty = min(qty, held.qty) if held is not None and held.side.exit_side is report.side else qty
        fill = Fill(
            symbol=report.symbol,
            trade_id=str(self.number),
            venue_order_id=report.venue_order_id,
            client_order_id=client_order_id,
            side=report.side,
            qty=qty,
            price=price,
            fee=qty * price * FEE,
            kind=FillKind.TRADE,
            ts_ns=self.runtime.ts(),
        )
        self.fills.append(fill)
        if held is not None and held.side.exit_side is report.side:
            held.qty -= qty
            held.updated_ns = self.runtime.ts()
            if not held.qty:
                del self.held[report.symbol]
        else:
            side = PositionSide.LONG if report.side is Side.BUY else PositionSide.SHORT
            held = self.held.setdefault(report.symbol, Held(side, ZERO, price))
            held.qty += qty
            held.updated_ns = self.runtime.ts()
        done = msgspec.structs.replace(
            report,
            status=OrderStatus.FILLED if qty == report.qty else OrderStatus.CANCELED,
            filled_qty=qty,
            avg_price=price,
            updated_ns=self.runtime.ts(),
        )
        if child_of is not None:
            child_of.live = False
            child_of.report = msgspec.structs.replace(
                child_of.report, status=OrderStatus.FINISHED, updated_ns=self.runtime.ts()
            )
            self._say(done)
            self._say(child_of.report)
        else:
            if client_order_id in self.orders:
                self.orders[client_order_id].live = False
                self.orders[client_order_id].report = done
            self._say(done)
        self._say(fill)
        self._say_position(report.symbol)

    def _order(self, request, order_class, order_type):
        self.number += 1
        return OrderReport(
            symbol=request.symbol,
            venue_order_id=str(self.number),
            client_order_id=request.client_order_id,
            order_class=order_class,
            order_type=order_type,
            side=request.side,
            status=OrderStatus.NEW,
            qty=request.qty,
            trigger_price=getattr(request, "trigger_price", ZERO),
            trigger_by=getattr(request, "trigger_by", PriceSource.LAST),
            reduce_only=getattr(request, "reduce_only", True),
            created_ns=self.runtime.ts(),
            updated_ns=self.runtime.ts(),
        )

    def _attached_report(self, symbol, status):
        held = self.held[symbol]
        return OrderReport(
            symbol=symbol,
            venue_order_id=held.stop_id,
            client_order_id="",
            order_class=OrderClass.ATTACHED,
            order_type=OrderType.STOP_MARKET,
            side=held.side.exit_side,
            status=status,
            qty=held.qty,
            trigger_price=held.stop,
            trigger_by=held.stop_by,
            reduce_only=True,
            updated_ns=self.runtime.ts(),
        )

    def _say_attached(self, symbol, status):
        self._say(self._attached_report(symbol, status))

    def _say_position(self, symbol):
        held = self.held.get(symbol)
        if held is not None:
            held.updated_ns = self.runtime.ts()
        self._say(self.position_report(symbol))

    def _say(self, event):
        if not self.silent:
            at = MonoNs(self.runtime.now() + self.event_ns)
            self.runtime.call_at(at, lambda: self.events.put_nowait(event))

    def _is_stop(self, placed):
        return placed.report.order_class is OrderClass.CONDITIONAL

    # for assertions

    def stops(self, symbol="BTCUSDT"):
        """Live stop orders of a symbol, oldest first."""
        return [
            placed.report
            for placed in self.orders.values()
            if placed.live and self._is_stop(placed) and placed.report.symbol == symbol
        ]

    def requests(self, kind) -> list[tuple[Any, Any]]:
        """What was asked of one kind: [(when, request)]."""
        return [(at, request) for at, request in self.sent if request_kind(request) == kind]

"""The simulated venue: what both personalities have in common.

Three ways in:

    execute(request)   changes the truth at the present instant and answers; no legs, no faults of
                       requests. What a second actor uses.
    answer(request)    the same through the gate: budgets, refusals, lost and late answers. What a
                       link (level "sim") and an emulator core (level "wire") use.
    subscribe(f)       every truth event, as it happens.

A failed request carries the venue's raw code and text, and the kind that the venue's own table
gives them. Lost and late messages are the business of legs, streams and the gate.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from kernel.errors import SettingsError
from kernel.model.instrument import Instrument
from kernel.model.orders import Fill, FillKind, OrderClass, OrderStatus, OrderType, PriceSource
from kernel.model.units import MS, ZERO, Price, Qty, TsNs
from kernel.model.venue import (
    REQUEST_LIFETIME_NS,
    CancelOrder,
    PlaceStop,
    QueryAccountConfig,
    QueryBalance,
    QueryExecutions,
    QueryFunding,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySymbolConfig,
    RateLimit,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SubmitOrder,
    VenueEvent,
    VenueReply,
    VenueRequest,
)
from venues.sim.account import Account, AccountRules, Booked, SimPosition
from venues.sim.acts import VenueActs
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.codes import CodeTable, Refused
from venues.sim.fault_kinds import AnyFault, Cap, FillPlan, OrdersLeft, Reject, TriggerPlan
from venues.sim.faults import FaultBook, Message, message_of
from venues.sim.gate import Answer, Gate
from venues.sim.legs import LegClock, Legs
from venues.sim.market import VenuePrices
from venues.sim.matching import MarketFill, Matching, MatchRules, for_run
from venues.sim.order import SimOrder
from venues.sim.queries import Queries
from venues.sim.quota import Budget, Quota
from venues.sim.truth import (
    Announced,
    BalanceChanged,
    OrderChanged,
    PositionChanged,
    Traded,
    TruthEvent,
    TruthListener,
    TruthSnapshot,
)

AHEAD_MS = 1_000


class VenueSetup(msgspec.Struct, frozen=True, kw_only=True):
    """What a run says of one venue.

    `funding_rate` is the share of a position's value that longs pay at each funding time.
    `market_fill` says whether a market order executes at the last price or waits for the next one.
    `origin_ns` is the wall time that the faults' times count from.
    """

    account: AccountRules = AccountRules()
    legs: Legs = Legs()
    slippage_bps: Decimal = ZERO
    market_fill: MarketFill = "last"
    funding_rate: Decimal = ZERO
    seed: int = 0
    faults: tuple[AnyFault, ...] = ()
    origin_ns: int = 0
    budgets: tuple[Budget, ...] | None = None
    """None: the venue's own."""
    recent_closed: int = 500
    """Bybit: closed orders that order/realtime still shows."""


type Said = tuple[str, str, str, VenueEvent]
"""(topic, symbol, content key, event): one message of the private stream."""


class SimVenue(ABC):
    """One account on one simulated venue.

    Args:
        agenda: The world's agenda.
        prices: The tape as this venue sees it.
        instruments: Everything that is listed; their order is the order of pages.
        setup: What this run says of the venue.

    Raises:
        SettingsError: An instrument belongs to another venue or comes twice.
    """

    name: ClassVar[str]
    codes: ClassVar[CodeTable]
    rules: ClassVar[MatchRules]
    budgets: ClassVar[tuple[Budget, ...]]
    throttle_code: ClassVar[str]

    def __init__(
        self,
        agenda: Agenda,
        prices: VenuePrices,
        instruments: list[Instrument],
        setup: VenueSetup | None = None,
    ) -> None:
        self.setup = setup or VenueSetup()
        self.agenda = agenda
        self.prices = prices
        self.instruments = self._by_symbol(instruments)
        self._places = {symbol: place for place, symbol in enumerate(self.instruments, start=1)}
        self.account = Account(self.setup.account, agenda.now_ns)
        self.faults = FaultBook(
            self.setup.faults, seed=self.setup.seed, origin_ns=self.setup.origin_ns
        )
        self.legs = LegClock(self.setup.legs, self.setup.seed, self.name)
        self.matching = Matching(
            agenda, prices, self.account,
            instruments=self.instruments,
            rules=for_run(
                self.rules,
                slippage_bps=self.setup.slippage_bps,
                market_fill=self.setup.market_fill,
            ),
            hooks=self,
        )  # fmt: skip
        self.queries = self.make_queries()
        own = self.setup.budgets
        self.enforced: tuple[Budget, ...] = self.budgets if own is None else own
        self.gate = Gate(
            agenda, self.faults, self.codes,
            quota=Quota(self.enforced), throttle_code=self.throttle_code,
            execute=self._execute_late,
        )  # fmt: skip
        self._listeners: list[TruthListener] = []
        self._handlers = self._make_handlers()
        self._counts: dict[str, int] = {}
        self._plans: dict[str, FillPlan] = {}
        self._late: Reject | None = None
        self._ordinal = 0
        self.acts = VenueActs(self)
        self.acts.plan(tuple(self.faults.acts))
        for instrument in instruments:
            self.acts.plan_delisting(instrument.symbol)

    # ------------------------------------------------------------------ the ways in

    def execute(self, request: VenueRequest) -> VenueReply:
        """Do what is asked at the present instant."""
        try:
            reply: VenueReply = self._handlers[type(request)](request)
        except Refused as refused:
            return self.codes.reply(refused.code, refused.text)
        return reply

    def answer(self, request: VenueRequest) -> Answer:
        """Do what is asked, as far as the gate lets it through."""
        return self.gate.answer(request)

    def untimely(
        self, timestamp_ns: int, *, at_ns: int, window_ns: int = REQUEST_LIFETIME_NS
    ) -> VenueReply | None:
        """What is said to a request that is not looked at; None: it comes in time.

        Both venues take what was signed less than a second ahead of their clock and at most
        recvWindow behind it (venue-binance §1, venue-bybit §2).

        Args:
            timestamp_ns: What it is signed with.
            at_ns: When it arrives.
            window_ns: Its recvWindow.
        """
        told, server, window = timestamp_ns // MS, at_ns // MS, window_ns // MS
        if server - window <= told < server + AHEAD_MS:
            return None
        return self.codes.reply(*self.untimely_words(told, server, window))

    def stated_limits(self) -> list[RateLimit]:
        """The budgets that the venue states with its instruments; most state none there."""
        return []

    def subscribe(self, listener: TruthListener) -> None:
        """Hear every truth event; listeners are called in the order of their subscription."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: TruthListener) -> None:
        """Hear no more.

        Raises:
            ValueError: It did not listen.
        """
        self._listeners.remove(listener)

    def snapshot_truth(self) -> TruthSnapshot:
        """The whole truth of this instant."""
        orders = sorted(self.matching.open.by_id.values(), key=_ordinal)
        return TruthSnapshot(
            ts_ns=TsNs(self.agenda.now_ns),
            positions=tuple(
                self.queries.marked(held.report(self.account.liquidation_price(held)))
                for _, held in sorted(self.account.open.items())
            ),
            stops=tuple(o.live_stop() for o in orders if _waits(o)),
            open_orders=tuple(order.report() for order in orders),
            wallet=self.account.wallet,
            available=self.account.available,
            cash=dict(self.account.cash),
        )

    # ------------------------------------------------------------------ of the personality

    @abstractmethod
    def untimely_words(self, told_ms: int, server_ms: int, window_ms: int) -> tuple[str, str]:
        """Code and words of the refusal of a timestamp."""

    @abstractmethod
    def make_queries(self) -> Queries:
        """The query side of this venue."""

    @abstractmethod
    def new_order_id(self, symbol: str, order_class: OrderClass) -> str:
        """A new venue order id."""

    @abstractmethod
    def trade_id(self, order: SimOrder) -> str:
        """A new trade id."""

    @abstractmethod
    def forced_client_id(self, kind: FillKind, symbol: str) -> str:
        """The client order id of an order that the venue makes by itself."""

    @abstractmethod
    def submit(self, request: SubmitOrder) -> VenueReply:
        """A market or limit order."""

    @abstractmethod
    def place_stop(self, request: PlaceStop) -> VenueReply:
        """A conditional of its own."""

    @abstractmethod
    def set_position_stop(self, request: SetPositionStop) -> VenueReply:
        """The stop of the position itself."""

    @abstractmethod
    def cancel(self, request: CancelOrder) -> VenueReply:
        """Cancel by either id."""

    @abstractmethod
    def set_leverage(self, request: SetLeverage) -> VenueReply:
        """Leverage of a symbol."""

    @abstractmethod
    def set_margin_mode(self, request: SetMarginMode) -> VenueReply:
        """Margin mode of a symbol."""

    @abstractmethod
    def run_stop(self, order: SimOrder, plan: TriggerPlan) -> None:
        """Turn a stop that fired into an execution, as the plan says."""

    @abstractmethod
    def canceled_by_venue(self, order: SimOrder, reason: str, *, silent: bool) -> None:
        """End an open order without being asked."""

    @abstractmethod
    def position_traded(self, order: SimOrder, position: SimPosition, booked: Booked) -> None:
        """See `Hooks.position_traded`."""

    @abstractmethod
    def order_ended(self, order: SimOrder) -> None:
        """See `Hooks.order_ended`."""

    def funding_fill(self, position: SimPosition, paid: Decimal, mark: Price) -> Fill | None:
        """How a funding payment is shown among the executions; None: not at all."""
        return None

    def restart(self) -> None:
        """The venue restarts: what it keeps in memory only is gone. This one keeps nothing so."""
        self.emit(
            Announced(ts_ns=TsNs(self.agenda.now_ns), kind="restart", symbol="", text="")
        )

    def said(self, event: TruthEvent) -> list[Said]:
        """The messages of the private stream that tell of an event."""
        if type(event) is OrderChanged:
            order = event.order
            entity = order.client_order_id or order.venue_order_id
            return [] if event.silent else [("order", order.symbol, entity, order)]
        if type(event) is Traded:
            return [("fill", event.fill.symbol, event.fill.trade_id, event.fill)]
        if type(event) is PositionChanged and not event.silent:
            position = event.position
            return [("position", position.symbol, position.symbol, position)]
        if type(event) is BalanceChanged:
            return [("balance", "", "account", event.balance)]
        return []

    # ------------------------------------------------------------------ hooks of the core

    def emit(self, event: TruthEvent) -> None:
        """See `Hooks.emit`: surfaces first, then listeners, then what waits for a cue."""
        self.queries.record(event)
        for listener in tuple(self._listeners):
            listener(event)
        self.acts.heard(event)

    def fill_plan(self, order: SimOrder) -> FillPlan | None:
        """See `Hooks.fill_plan`."""
        plan = self._plans.pop(order.venue_order_id, None)
        if plan is not None:
            return plan
        kind = "child" if order.is_stop or order.parent is not None else "submit"
        return self.faults.first(FillPlan, self.about(order, kind), self.agenda.now_ns)

    def stop_fired(self, order: SimOrder) -> None:
        """See `Hooks.stop_fired`."""
        message = self.about(order, "trigger")
        plan = self.faults.first(TriggerPlan, message, self.agenda.now_ns) or TriggerPlan()
        if plan.outcome == "withheld":
            self.later(plan.dt_ns, lambda: self._arm_again(order))
        else:
            self.run_stop(order, plan)

    def _arm_again(self, order: SimOrder) -> None:
        if not order.status.terminal:
            self.matching.move(order, order.trigger_price, order.trigger_by)

    def liquidate(self, position: SimPosition) -> None:
        """See `Hooks.liquidate`."""
        self.acts.liquidate(position)

    # ------------------------------------------------------------------ for the personalities

    def make_order(
        self, request: SubmitOrder | PlaceStop, order_class: OrderClass, **more: Any
    ) -> SimOrder:
        """The order that a request asks for; it is in no book yet."""
        self._ordinal += 1
        return SimOrder(
            ordinal=self._ordinal,
            venue_order_id=self.new_order_id(request.symbol, order_class),
            client_order_id=request.client_order_id,
            symbol=request.symbol,
            order_class=order_class,
            order_type=_type_of(request),
            side=request.side,
            qty=request.qty,
            now_ns=self.agenda.now_ns,
            position_side=request.position_side,
            **more,
        )

    def make_own_order(
        self, position: SimPosition, qty: Qty, client_order_id: str, **more: Any
    ) -> SimOrder:
        """A closing order of the venue itself, against a position."""
        order_class: OrderClass = more.pop("order_class", OrderClass.PLAIN)
        self._ordinal += 1
        return SimOrder(
            ordinal=self._ordinal,
            venue_order_id=self.new_order_id(position.symbol, order_class),
            client_order_id=client_order_id,
            symbol=position.symbol,
            order_class=order_class,
            order_type=more.pop("order_type", OrderType.MARKET),
            side=position.side.exit_side,
            qty=qty,
            now_ns=self.agenda.now_ns,
            reduce_only=True,
            position_side=position.hedge_leg,
            **more,
        )

    def take_in(self, order: SimOrder) -> None:
        """Take a checked order: execute, rest or arm it — or only hold it until it is refused."""
        late = self._late
        if late is not None:
            self.matching.hold(order)
            reason = late.text or late.code
            self.later(late.after_ns, lambda: self._refuse_held(order, reason))
        elif order.is_stop:
            self.matching.arm(order)
        else:
            self.matching.accept(order)

    def _refuse_held(self, order: SimOrder, reason: str) -> None:
        if not order.status.terminal:
            self.matching.finish(order, OrderStatus.REJECTED, reason)

    def set_plan(self, order: SimOrder, plan: TriggerPlan) -> None:
        """Let the execution of a stop that fired follow the steps of its plan."""
        if plan.steps:
            self._plans[order.venue_order_id] = FillPlan(steps=plan.steps)
        elif plan.outcome == "expired":
            self._plans[order.venue_order_id] = FillPlan()

    def change_margin(
        self, symbol: str, *, leverage: Decimal | None = None, isolated: bool | None = None
    ) -> None:
        """Leverage or margin mode changed: open positions have another liquidation price now."""
        if leverage is not None:
            self.account.set_leverage(symbol, leverage)
        if isolated is not None:
            self.account.set_isolated(symbol, isolated=isolated)
        for _, position in sorted(self.account.open.items()):
            if position.symbol == symbol:
                self.matching.tell_position(position)

    def cap(self, request: VenueRequest, order_class: OrderClass, default: int) -> int:
        """The cap on open orders of a class that holds for this request."""
        fault = self.faults.first(Cap, message_of(request), self.agenda.now_ns)
        if fault is None or fault.order_class != order_class.value:
            return default
        return fault.limit

    def about(self, order: SimOrder, kind: str) -> Message:
        """A step of an order as faults see it."""
        return Message(
            kind=kind,
            entity=order.client_order_id or order.venue_order_id,
            symbol=order.symbol,
            client_order_id=order.client_order_id,
            surface=order.order_class.value,
            reduce_only=order.closing,
        )

    def stays(self, order: SimOrder) -> bool:
        """Whether a fault lets a closing order outlive its position."""
        about = self.about(order, "left")
        return self.faults.first(OrdersLeft, about, self.agenda.now_ns) is not None

    def number(self, stem: str) -> int:
        """1, 2, 3 … for each stem."""
        n = self._counts.get(stem, 0) + 1
        self._counts[stem] = n
        return n

    def place_of(self, symbol: str) -> int:
        """The place of a symbol among the instruments, from 1."""
        return self._places[symbol]

    def later(self, dt_ns: int, action: Callable[[], None]) -> None:
        """Do something `dt_ns` from now; at once where that is not positive."""
        if dt_ns <= 0:
            action()
        else:
            self.agenda.push(self.agenda.now_ns + dt_ns, RANK_MESSAGE, action)

    def price(self, symbol: str, source: PriceSource) -> Price:
        """The newest price; ZERO: none yet."""
        return self.prices.last(symbol, source).price

    # ------------------------------------------------------------------ inside

    def _execute_late(self, request: VenueRequest, late: Reject | None) -> VenueReply:
        if late is None:
            return self.execute(request)
        self._late = late
        try:
            return self.execute(request)
        finally:
            self._late = None

    def _make_handlers(self) -> dict[type, Callable[[Any], VenueReply]]:
        shown = self.queries
        return {
            SubmitOrder: self.submit,
            PlaceStop: self.place_stop,
            SetPositionStop: self.set_position_stop,
            CancelOrder: self.cancel,
            SetLeverage: self.set_leverage,
            SetMarginMode: self.set_margin_mode,
            QueryOrder: shown.order,
            QueryOpenOrders: shown.open_orders,
            QueryPositions: shown.positions,
            QueryExecutions: shown.execution_page,
            QueryFunding: shown.funding_page,
            QueryBalance: shown.balance,
            QueryInstruments: shown.instruments,
            QuerySymbolConfig: shown.symbol_config,
            QueryAccountConfig: shown.account_config,
            QueryServerTime: shown.server_time,
        }

    def _by_symbol(self, instruments: list[Instrument]) -> dict[str, Instrument]:
        found: dict[str, Instrument] = {}
        problems = []
        for instrument in instruments:
            if instrument.venue != self.name:
                problems.append(f"instrument {instrument.symbol}: its venue is {instrument.venue},"
                                f" this one is {self.name}")
            if instrument.symbol in found:
                problems.append(f"instrument {instrument.symbol} of {self.name} comes twice")
            found[instrument.symbol] = instrument
        if problems:
            raise SettingsError(problems)
        return found


def _type_of(request: SubmitOrder | PlaceStop) -> OrderType:
    return request.order_type if isinstance(request, SubmitOrder) else OrderType.STOP_MARKET


def _ordinal(order: SimOrder) -> int:
    return order.ordinal


def _waits(order: SimOrder) -> bool:
    return order.is_stop and order.status is OrderStatus.NEW and not order.held

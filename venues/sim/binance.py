"""Binance USD-M futures as it answers (venue-binance.md §2 to §6).

1. Two id spaces and two lists: orders (orderId) and algo orders (algoId). A stop that fires
becomes a new plain order; the algo order says TRIGGERING, TRIGGERED, then FINISHED, whether
its child filled or not, or REJECTED when the engine refused it.
2. A client id is unique among open orders only: once its order is closed it can execute again.
3. A reduce-only algo stop stays when the position is gone.
4. Algo orders hold no margin and are not checked against the position before they fire.
5. 200 open algo orders an account, 200 open orders a symbol.
"""

from __future__ import annotations

import re
from decimal import Decimal

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import (
    FillKind,
    OrderClass,
    OrderStatus,
    OrderType,
    PriceSource,
    Side,
    TimeInForce,
)
from kernel.model.units import MINUTE, SECOND, ZERO, TsNs
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    PlaceStop,
    RateLimit,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SubmitOrder,
    VenueNotice,
    VenueReply,
)
from venues.sim.account import Booked, SimPosition
from venues.sim.binance_queries import BinanceQueries
from venues.sim.codes import Refused
from venues.sim.codes_binance import BINANCE_CODES
from venues.sim.fault_kinds import TriggerPlan
from venues.sim.faults import message_of
from venues.sim.matching import MatchRules
from venues.sim.order import SimOrder
from venues.sim.queries import Queries
from venues.sim.quota import Budget
from venues.sim.truth import Announced, PositionChanged, TruthEvent
from venues.sim.venue import Said, SimVenue

PLAIN_CAP = 200
"""Open orders a symbol (MAX_NUM_ORDERS)."""
ALGO_CAP = 200
"""Open algo orders of the account."""

_CLIENT_ID = re.compile(r"^[.A-Z:/a-z0-9_-]{1,36}$")
_FORCED = {
    FillKind.LIQUIDATION: "autoclose-",
    FillKind.ADL: "adl_autoclose-",
    FillKind.SETTLEMENT: "settlement_autoclose-",
}
_ORDERS = ("submit", "place_stop")
_BUDGETS = (
    Budget(
        name="ip-weight", limit=2400, window_ns=MINUTE, code="-1003",
        text="Too many requests; current limit of IP is 2400 requests per minute.",
        weights=(
            ("submit", 0), ("place_stop", 0), ("open_orders", 40), ("positions", 5),
            ("executions", 5), ("balance", 5), ("symbol_config", 5), ("account_config", 5),
        ),
        ban_after=100, ban_ns=2 * MINUTE, ban_code="http-418",
    ),
    Budget(
        name="orders-10s", kinds=_ORDERS, limit=300, window_ns=10 * SECOND, code="-1015",
        text="Too many new orders; current limit is 300 orders per TEN_SECONDS.",
    ),
    Budget(
        name="orders-1m", kinds=_ORDERS, limit=1200, window_ns=MINUTE, code="-1015",
        text="Too many new orders; current limit is 1200 orders per MINUTE.",
    ),
)  # fmt: skip
_ORDER_WINDOW_NS = 10 * SECOND


class BinanceVenue(SimVenue):
    """One Binance USD-M account."""

    name = "binance"
    codes = BINANCE_CODES
    rules = MatchRules(
        rest_status=OrderStatus.EXPIRED,
        rest_reason="9",
        post_only_reason="11",
        shrink_reduce_only=False,
        reduce_only_reason="4",
        effects_first=False,
    )
    budgets = _BUDGETS
    throttle_code = "-1003"

    def make_queries(self) -> Queries:
        return BinanceQueries(
            self.agenda, self.prices, self.account,
            instruments=self.instruments, faults=self.faults, legs=self.setup.legs,
        )  # fmt: skip

    # ------------------------------------------------------------------ ids

    def new_order_id(self, symbol: str, order_class: OrderClass) -> str:
        n = self.number(f"{order_class}/{symbol}")
        base = 4_000_000_000_000_000 if order_class is OrderClass.CONDITIONAL else 0
        return str(base + self.place_of(symbol) * 10_000_000_000 + n)

    def trade_id(self, order: SimOrder) -> str:
        return str(self.number(f"trade/{order.symbol}"))

    def said(self, event: TruthEvent) -> list[Said]:
        if type(event) is Announced:
            return self._announced(event)
        if type(event) is not PositionChanged or event.silent:
            return super().said(event)
        # ACCOUNT_UPDATE: amount and entry price, no mark, leverage or liquidation price.
        report = msgspec.structs.replace(
            event.position, leverage=ZERO, liquidation_price=ZERO, opened_ns=TsNs(0), seq=0
        )
        return [("position", report.symbol, report.symbol, report)]

    def stated_limits(self) -> list[RateLimit]:
        # exchangeInfo states both windows for orders: the tighter one binds.
        found = [
            _limit("queries", budget.limit, budget.window_ns)
            for budget in self.enforced
            if budget.weights
        ]
        shares = [
            budget.limit * _ORDER_WINDOW_NS // budget.window_ns
            for budget in self.enforced
            if budget.kinds == _ORDERS
        ]
        if shares:
            found.append(_limit("orders", min(shares), _ORDER_WINDOW_NS))
        return found

    @staticmethod
    def _announced(event: Announced) -> list[Said]:
        # ACCOUNT_CONFIG_UPDATE. Listings and delistings are told by contractInfo, on a stream of
        # the market; filters change without a word.
        if event.kind == "config_change":
            notice = VenueNotice(kind=event.kind, symbol=event.symbol, raw=event.text)
            return [("notice", event.symbol, event.kind, notice)]
        return []

    def forced_client_id(self, kind: FillKind, symbol: str) -> str:
        return f"{_FORCED[kind]}{self.agenda.now_ns // 1_000_000}"

    # ------------------------------------------------------------------ orders

    def submit(self, request: SubmitOrder) -> VenueReply:
        if request.order_type not in (OrderType.MARKET, OrderType.LIMIT):
            raise Refused("-4120", "Order type not supported for this endpoint. Please use the "
                          "Algo Order API endpoints instead.")
        if request.stop_loss:
            raise Refused("-1106", "Parameter 'stopLoss' sent when not required.")
        instrument = self._instrument(request.symbol)
        self._check_identity(request, stop=False)
        closing = self._is_closing(request)
        self._check_status(instrument, closing=closing)
        limit = request.order_type is OrderType.LIMIT
        self._check_qty(instrument, request.qty, market=not limit)
        if limit:
            self._check_limit_price(instrument, request.side, request.price)
        mark = self.price(request.symbol, PriceSource.MARK)
        price = request.price if limit else mark
        if not closing:
            self._check_money(instrument, request, price)
        position = self.account.position(request.symbol, request.position_side)
        if closing and not position.room_to_close(request.side):
            raise Refused("-2022", "ReduceOnly Order is rejected.")
        cap = self.cap(request, OrderClass.PLAIN, PLAIN_CAP)
        if limit and self.matching.open.count(OrderClass.PLAIN, request.symbol) >= cap:
            raise Refused("-2025", "Reach max open order limit.")
        if request.time_in_force is TimeInForce.GTX and limit and self._would_take(request):
            raise Refused("-5022", "Due to the order could not be executed as maker, the Post Only "
                          "order will be rejected.")
        order = self.make_order(
            request, OrderClass.PLAIN,
            price=request.price if limit else ZERO,
            reduce_only=request.reduce_only,
            time_in_force=request.time_in_force,
        )  # fmt: skip
        self.take_in(order)
        return Acked(client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)

    def place_stop(self, request: PlaceStop) -> VenueReply:
        instrument = self._instrument(request.symbol)
        self._check_identity(request, stop=True)
        self._check_status(instrument, closing=True)
        self._check_qty(instrument, request.qty, market=True)
        if not instrument.is_price(request.trigger_price):
            raise Refused("-4014", "Price not increased by tick size.")
        now = self.price(request.symbol, request.trigger_by)
        if now and self.matching.through(request.side, request.trigger_price, now):
            raise Refused("-2021", "Order would immediately trigger.")
        cap = self.cap(request, OrderClass.CONDITIONAL, ALGO_CAP)
        if self.matching.open.count(OrderClass.CONDITIONAL) >= cap:
            raise Refused("-4045", "Reach max stop order limit.")
        order = self.make_order(
            request, OrderClass.CONDITIONAL,
            trigger_price=request.trigger_price,
            trigger_by=request.trigger_by,
            reduce_only=request.position_side == "BOTH",
        )  # fmt: skip
        self.take_in(order)
        return Acked(client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)

    def set_position_stop(self, request: SetPositionStop) -> VenueReply:
        raise Refused("http-404", "this venue has no stop attached to a position")

    def cancel(self, request: CancelOrder) -> VenueReply:
        stop = request.order_class is not OrderClass.PLAIN
        open_orders = self.matching.open
        if request.venue_order_id:
            order = open_orders.by_id.get(request.venue_order_id)
        else:
            order = open_orders.by_client(request.client_order_id, stop=stop)
        if order is None or order.is_stop is not stop:
            raise Refused("-2011", "Unknown order sent.")
        if not stop and order.symbol != request.symbol:
            raise Refused("-2011", "Unknown order sent.")
        if self.queries.forgotten(message_of(request), order.report()):
            raise Refused("-2011", "Unknown order sent.")
        if order.status in (OrderStatus.TRIGGERING, OrderStatus.TRIGGERED):
            raise Refused("-4117", "Stop order is in triggering please try again later.")
        self.matching.finish(order, OrderStatus.CANCELED, "")
        return Acked(client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)

    # ------------------------------------------------------------------ settings

    def set_leverage(self, request: SetLeverage) -> VenueReply:
        instrument = self._instrument(request.symbol)
        leverage, most = request.leverage, instrument.max_leverage or Decimal(125)
        if leverage % 1 or not 1 <= leverage <= most:
            raise Refused("-4028", f"Leverage {leverage} is not valid.")
        held = self.account.leverage(request.symbol)
        if leverage < held and self._holds(request.symbol):
            raise Refused("-4161", "Leverage reduction is not supported in Isolated Margin Mode "
                          "with open positions.")
        self.change_margin(request.symbol, leverage=leverage)
        return Done(already=leverage == held)

    def set_margin_mode(self, request: SetMarginMode) -> VenueReply:
        self._instrument(request.symbol)
        if self.account.isolated(request.symbol) is request.isolated:
            raise Refused("-4046", "No need to change margin type.")
        if self._holds(request.symbol):
            raise Refused("-4048", "Margin type cannot be changed if there exists position.")
        if self.matching.open.of_symbol(request.symbol):
            raise Refused("-4047", "Margin type cannot be changed if there exists open orders.")
        self.change_margin(request.symbol, isolated=request.isolated)
        return Done()

    # ------------------------------------------------------------------ life of a stop

    def run_stop(self, order: SimOrder, plan: TriggerPlan) -> None:
        self.matching.advance(order, OrderStatus.TRIGGERING)
        self.later(plan.dt_ns, lambda: self._become_child(order, plan))

    def _become_child(self, order: SimOrder, plan: TriggerPlan) -> None:
        if order.status.terminal:
            return
        position = self.account.position(order.symbol, order.position_side)
        if plan.outcome == "rejected":
            reason = plan.reason or "Margin is insufficient."
            self.matching.finish(order, OrderStatus.REJECTED, reason)
            return
        if not position.room_to_close(order.side):
            self.matching.finish(order, OrderStatus.REJECTED, "Reduce Only reject")
            return
        child = self.make_own_order(position, order.qty, order.client_order_id)
        child.parent = order
        self.set_plan(child, plan)
        order.child_order_id = child.venue_order_id
        self.matching.advance(order, OrderStatus.TRIGGERED)
        self.matching.accept(child)

    def order_ended(self, order: SimOrder) -> None:
        parent = order.parent
        if parent is not None and not parent.status.terminal:
            parent.filled_qty = order.filled_qty
            parent.filled_value = order.filled_value
            self.matching.finish(parent, OrderStatus.FINISHED, "")

    def position_traded(self, order: SimOrder, position: SimPosition, booked: Booked) -> None:
        if booked.qty_after:
            return
        for other in self.matching.open.of_symbol(position.symbol):
            if (
                other is not order
                and other.order_class is OrderClass.PLAIN
                and other.closing
                and other.position_side == position.hedge_leg
                and not self.stays(other)
            ):
                self.matching.finish(other, OrderStatus.EXPIRED, "4")

    def canceled_by_venue(self, order: SimOrder, reason: str, *, silent: bool) -> None:
        self.matching.finish(order, OrderStatus.EXPIRED, reason, silent=silent)

    # ------------------------------------------------------------------ checks

    def _instrument(self, symbol: str) -> Instrument:
        instrument = self.instruments.get(symbol)
        if instrument is None:
            raise Refused("-1121", "Invalid symbol.")
        return instrument

    def _holds(self, symbol: str) -> bool:
        return any(held_symbol == symbol for held_symbol, _ in self.account.open)

    def _check_identity(self, request: SubmitOrder | PlaceStop, *, stop: bool) -> None:
        client = request.client_order_id
        if not _CLIENT_ID.match(client):
            raise Refused("-4015", "Client order id length should be less than 36 chars.")
        if self.matching.open.by_client(client, stop=stop) is not None:
            raise Refused("-4116", "ClientOrderId is duplicated.")
        hedge = self.account.hedge_mode
        if (request.position_side == "BOTH") is hedge:
            raise Refused("-4061", "Order's position side does not match user's setting.")
        if hedge and isinstance(request, SubmitOrder) and request.reduce_only:
            raise Refused("-4062", "Invalid or improper reduceOnly value.")

    def _is_closing(self, request: SubmitOrder) -> bool:
        if request.position_side == "BOTH":
            return request.reduce_only
        return (request.side is Side.BUY) == (request.position_side == "SHORT")

    def _check_status(self, instrument: Instrument, *, closing: bool) -> None:
        ended = instrument.delist_ns and self.agenda.now_ns >= instrument.delist_ns
        if ended:
            raise Refused("-4141", "Symbol is closed.")
        if not self.account.can_trade and not closing:
            raise Refused("-4087", "User can only place reduce only order.")
        if not instrument.trading and not closing:
            raise Refused("-4140", "Invalid symbol status for opening position.")

    def _check_qty(self, instrument: Instrument, qty: Decimal, *, market: bool) -> None:
        if qty <= 0:
            raise Refused("-4003", "Quantity less than or equal to zero.")
        if not instrument.is_qty(qty):
            raise Refused("-1111", "Precision is over the maximum defined for this asset.")
        if qty < instrument.min_qty:
            raise Refused("-4004", "Quantity less than min quantity.")
        most = instrument.max_market_qty if market else instrument.max_qty
        if most and qty > most:
            raise Refused("-4005", "Quantity greater than max quantity.")

    def _check_limit_price(self, instrument: Instrument, side: Side, price: Decimal) -> None:
        if price <= 0:
            raise Refused("-4001", "Price less than or equal to zero.")
        if price % instrument.tick_size:
            raise Refused("-4014", "Price not increased by tick size.")
        if instrument.min_price and price < instrument.min_price:
            raise Refused("-4013", "Price less than min price.")
        if instrument.max_price and price > instrument.max_price:
            raise Refused("-4002", "Price greater than max price.")
        mark = self.price(instrument.symbol, PriceSource.MARK)
        up, down = instrument.price_band_up, instrument.price_band_down
        if side is Side.BUY and up and price > mark * up:
            raise Refused("-4016", "Limit price can't be higher than the multiplier cap.")
        if side is Side.SELL and down and price < mark * down:
            raise Refused("-4024", "Limit price can't be lower than the multiplier floor.")

    def _check_money(
        self, instrument: Instrument, request: SubmitOrder, price: Decimal
    ) -> None:
        value = price * request.qty
        if instrument.min_notional and value < instrument.min_notional:
            raise Refused("-4164", f"Order's notional must be no smaller than "
                          f"{instrument.min_notional} (unless you choose reduce only).")
        position = self.account.position(request.symbol, request.position_side)
        opening = max(request.qty - position.room_to_close(request.side), ZERO)
        if opening * price / self.account.leverage(request.symbol) > self.account.available:
            raise Refused("-2019", "Margin is insufficient.")

    def untimely_words(self, told_ms: int, server_ms: int, window_ms: int) -> tuple[str, str]:
        """See `SimVenue.untimely_words`."""
        if told_ms > server_ms:
            words = "Timestamp for this request was 1000ms ahead of the server's time."
        else:
            words = "Timestamp for this request is outside of the recvWindow."
        return "-1021", words

    def _would_take(self, request: SubmitOrder) -> bool:
        quote = self.prices.quote(request.symbol)
        if request.side is Side.BUY:
            return bool(quote.ask) and quote.ask <= request.price
        return bool(quote.bid) and quote.bid >= request.price


def _limit(bucket: str, capacity: int, window_ns: int) -> RateLimit:
    return RateLimit(bucket=bucket, capacity=capacity, window_ns=window_ns)

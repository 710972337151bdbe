"""Bybit V5 linear perpetuals in a unified account, as they answer (venue-bybit.md §3 to §10).

1. An answer to create, cancel or trading-stop is a receipt. A market order is an IOC within a
bound: it may end canceled with fills.
2. A stop rides with an entry or is set on the position: one Full stop, always of the
position's size, created at the fill, gone (CancelByTpSlTsClear) when the position is flat.
3. One id space for all orders. Client ids are unique for ever.
4. order/realtime shows open orders and the last 500 closed ones, until a restart; a look-up
of anything else is an empty list. order/history shows closed orders, some time later.
5. A closing order larger than the position is cut down to it.
6. 500 open orders and 10 waiting conditionals a symbol; the attached stop does not count.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b

from kernel.model.orders import (
    Fill,
    FillKind,
    OrderClass,
    OrderStatus,
    OrderType,
    PriceSource,
    Side,
)
from kernel.model.units import MINUTE, SECOND, ZERO, Price, TsNs, canonical
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    PlaceStop,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SubmitOrder,
    VenueReply,
)
from venues.sim.account import Booked, SimPosition
from venues.sim.agenda import RANK_MESSAGE
from venues.sim.bybit_checks import BybitChecks, source_word
from venues.sim.bybit_queries import BybitQueries
from venues.sim.codes import Refused
from venues.sim.codes_bybit import BYBIT_CODES
from venues.sim.fault_kinds import AttachedLost, TriggerPlan
from venues.sim.faults import message_of
from venues.sim.matching import MatchRules
from venues.sim.order import SimOrder
from venues.sim.queries import Queries
from venues.sim.quota import Budget
from venues.sim.truth import OrderChanged, PositionChanged, TruthEvent
from venues.sim.venue import Said, SimVenue

PLAIN_CAP = 500
"""Open orders a symbol."""
CONDITIONAL_CAP = 10
"""Untriggered conditionals a symbol."""

_CLEARED = "CancelByTpSlTsClear"
_TRADE_LIMIT = "Too many visits. Exceeded the API Rate Limit."
_BUDGETS = (
    Budget(
        name="ip", limit=600, window_ns=5 * SECOND, rolling=True, code="http-403",
        text="access too frequent", ban_ns=10 * MINUTE, ban_code="http-403",
    ),
    Budget(
        name="trade", kinds=("submit", "place_stop"), limit=10, window_ns=SECOND,
        rolling=True, code="10006", text=_TRADE_LIMIT,
    ),
    Budget(
        name="trade-each", kinds=("cancel", "position_stop", "set_leverage"), per_kind=True,
        limit=10, window_ns=SECOND, rolling=True, code="10006", text=_TRADE_LIMIT,
    ),
    Budget(
        name="query", per_kind=True, limit=50, window_ns=SECOND, rolling=True, code="10006",
        kinds=("query_order", "open_orders", "positions", "executions", "balance"),
        text=_TRADE_LIMIT,
    ),
)  # fmt: skip


class BybitVenue(SimVenue):
    """One Bybit unified account, linear perpetuals."""

    name = "bybit"
    codes = BYBIT_CODES
    rules = MatchRules(
        rest_status=OrderStatus.CANCELED,
        rest_reason="EC_NoImmediateQtyToFill",
        post_only_reason="EC_PostOnlyWillTakeLiquidity",
        shrink_reduce_only=True,
        reduce_only_reason="CancelByReduceOnly",
        effects_first=True,
    )
    budgets = _BUDGETS
    throttle_code = "10006"

    queries: BybitQueries
    checks: BybitChecks

    def make_queries(self) -> Queries:
        self.checks = BybitChecks(self)
        return BybitQueries(
            self.agenda, self.prices, self.account,
            instruments=self.instruments, faults=self.faults, legs=self.setup.legs,
            recent_closed=self.setup.recent_closed,
        )  # fmt: skip

    # ------------------------------------------------------------------ ids

    def new_order_id(self, symbol: str, order_class: OrderClass) -> str:
        return _uuid(f"order/{symbol}/{self.number(f'order/{symbol}')}")

    def trade_id(self, order: SimOrder) -> str:
        return _uuid(f"trade/{order.symbol}/{self.number(f'trade/{order.symbol}')}")

    def forced_client_id(self, kind: FillKind, symbol: str) -> str:
        return ""

    # ------------------------------------------------------------------ orders

    def submit(self, request: SubmitOrder) -> VenueReply:
        if request.order_type not in (OrderType.MARKET, OrderType.LIMIT):
            raise Refused("10001", "params error: orderType invalid")
        instrument = self.checks.instrument(request.symbol)
        self.checks.identity(request.client_order_id, request.position_side)
        limit = request.order_type is OrderType.LIMIT
        position = self.account.position(request.symbol, request.position_side)
        closing = request.reduce_only or self.checks.closes_leg(request)
        self.checks.qty(instrument, request.qty, market=not limit and not closing)
        if limit and not instrument.is_price(request.price):
            raise Refused("10001", "Price invalid")
        if closing:
            if request.stop_loss:
                raise Refused("10001", "params error: TP/SL are not supported with reduceOnly")
            if not position.room_to_close(request.side):
                raise Refused("110017", "current position is zero, cannot fix reduce-only order "
                              "qty")
        else:
            self.checks.opening(instrument, request, position)
        cap = self.cap(request, OrderClass.PLAIN, PLAIN_CAP)
        if limit and self.matching.open.count(OrderClass.PLAIN, request.symbol) >= cap:
            raise Refused("110020", "Can't have more than 500 active orders.")
        order = self.make_order(
            request, OrderClass.PLAIN,
            price=self.checks.in_band(instrument, request) if limit else ZERO,
            reduce_only=request.reduce_only,
            time_in_force=request.time_in_force,
            stop_loss=request.stop_loss,
            stop_trigger_by=request.stop_trigger_by,
        )  # fmt: skip
        self.checks.used_ids[request.client_order_id] = True
        self.take_in(order)
        return Acked(client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)

    def place_stop(self, request: PlaceStop) -> VenueReply:
        instrument = self.checks.instrument(request.symbol)
        self.checks.identity(request.client_order_id, request.position_side)
        self.checks.qty(instrument, request.qty, market=False)
        if not instrument.is_price(request.trigger_price):
            raise Refused("10001", "TriggerPrice invalid")
        now = self.price(request.symbol, request.trigger_by)
        if now and self.matching.through(request.side, request.trigger_price, now):
            rising = request.side is Side.BUY
            code, word, sign = ("110092", "Rising", "<=") if rising else ("110093", "Falling", ">=")
            raise Refused(code, f"expect {word}, but trigger_price[{request.trigger_price}] {sign} "
                          f"current[{now}]??{source_word(request.trigger_by)}")
        cap = self.cap(request, OrderClass.CONDITIONAL, CONDITIONAL_CAP)
        if self.matching.open.count(OrderClass.CONDITIONAL, request.symbol) >= cap:
            raise Refused("110009", "already had 10 working normal stop orders")
        order = self.make_order(
            request, OrderClass.CONDITIONAL,
            trigger_price=request.trigger_price,
            trigger_by=request.trigger_by,
            reduce_only=True,
        )  # fmt: skip
        self.checks.used_ids[request.client_order_id] = True
        self.take_in(order)
        return Acked(client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)

    def cancel(self, request: CancelOrder) -> VenueReply:
        open_orders = self.matching.open
        client = request.client_order_id
        if request.venue_order_id:
            order = open_orders.by_id.get(request.venue_order_id)
        else:
            order = open_orders.by_client(client, stop=False) or open_orders.by_client(
                client, stop=True
            )
        late = Refused("110001", "order not exists or too late to cancel")
        if order is None or order.symbol != request.symbol:
            raise late
        if order.status is OrderStatus.TRIGGERED:
            raise late
        if self.queries.forgotten(message_of(request), order.report()):
            raise late
        self._end(order, "CancelByUser", silent=False)
        return Acked(client_order_id=order.client_order_id, venue_order_id=order.venue_order_id)

    # ------------------------------------------------------------------ the stop of the position

    def set_position_stop(self, request: SetPositionStop) -> VenueReply:
        instrument = self.checks.instrument(request.symbol)
        self.checks.mode(request.position_side)
        position = self.account.position(request.symbol, request.position_side)
        stop = position.stop
        trigger, source = request.trigger_price, request.trigger_by
        left = stop is not None and not trigger  # one that outlived its position is removed too
        if not left and (not position.qty or not self._knows(position, request)):
            raise Refused("10001", "can not set tp/sl/ts for zero position")
        if not trigger:
            if stop is None:
                raise Refused("34040", "not modified")
            self._end(stop, _CLEARED, silent=False)
            return Done()
        if not instrument.is_price(trigger):
            raise Refused("10001", "StopLoss Price invalid")
        self.checks.stop_side(position.side.entry_side, request.symbol, trigger, source)
        if stop is None:
            self._attach(position, trigger, source)
        elif (stop.trigger_price, stop.trigger_by) == (trigger, source):
            raise Refused("34040", "not modified")
        else:
            self.matching.move(stop, canonical(trigger), source)
        self._touched(position)
        return Done()

    def _attach(self, position: SimPosition, trigger: Price, source: PriceSource) -> None:
        stop = self.make_own_order(
            position, canonical(abs(position.qty)), "",
            order_class=OrderClass.ATTACHED,
            order_type=OrderType.STOP_MARKET,
            trigger_price=canonical(trigger),
            trigger_by=source,
            close_position=True,
        )  # fmt: skip
        position.stop = stop
        self.matching.arm(stop)
        now = self.price(position.symbol, source)
        if now and self.matching.through(stop.side, trigger, now):
            # The price ran through the level between the order and its fill.
            self.agenda.push(self.agenda.now_ns, RANK_MESSAGE, lambda: self._fire_late(stop))

    def _fire_late(self, stop: SimOrder) -> None:
        if stop.status is OrderStatus.NEW:
            self.matching.fire_now(stop)

    def _knows(self, position: SimPosition, request: SetPositionStop) -> bool:
        lag = self.setup.legs.lag_trading_stop
        cut = self.queries.cut(lag, message_of(request))
        key = (position.symbol, position.hedge_leg)
        return self.queries.position_at(*key, cut) is not None

    def _touched(self, position: SimPosition, *, silent: bool = False) -> None:
        position.seq += 1
        position.updated_ns = self.agenda.now_ns
        self.matching.tell_position(position, silent=silent)

    # ------------------------------------------------------------------ settings

    def set_leverage(self, request: SetLeverage) -> VenueReply:
        instrument = self.checks.instrument(request.symbol)
        most = instrument.max_leverage or Decimal(100)
        if not 1 <= request.leverage <= most:
            raise Refused("110013", f"cannot set leverage [{request.leverage}] gt maxLeverage "
                          f"[{most}] by risk limit")
        if request.leverage == self.account.leverage(request.symbol):
            raise Refused("110043", "leverage not modified")
        self.change_margin(request.symbol, leverage=request.leverage)
        return Done()

    def set_margin_mode(self, request: SetMarginMode) -> VenueReply:
        raise Refused("3400045", "Set margin mode failed: it is a setting of the whole account")

    # ------------------------------------------------------------------ life of orders and stops

    def run_stop(self, order: SimOrder, plan: TriggerPlan) -> None:
        position = self.account.position(order.symbol, order.position_side)
        if position.stop is order:
            position.stop = None
            self._touched(position, silent=True)
        self.matching.advance(order, OrderStatus.TRIGGERED)
        self.later(plan.dt_ns, lambda: self._execute_stop(order, plan))

    def _execute_stop(self, order: SimOrder, plan: TriggerPlan) -> None:
        if order.status.terminal:
            return
        position = self.account.position(order.symbol, order.position_side)
        room = position.room_to_close(order.side)
        if plan.outcome == "rejected":
            reason = plan.reason or "EC_Others"
            self.matching.finish(order, OrderStatus.CANCELED, reason)
        elif not room:
            self.matching.finish(order, OrderStatus.CANCELED, "CancelByReduceOnly")
        else:
            if order.close_position:
                order.qty = canonical(room)
            self.set_plan(order, plan)
            self.matching.execute(order)

    def position_traded(self, order: SimOrder, position: SimPosition, booked: Booked) -> None:
        before, after = booked.qty_before, booked.qty_after
        stop = position.stop
        turned = bool(before) and (not after or (before > 0) != (after > 0))
        if turned:
            self._clear_closing_orders(order, position)
            stop = position.stop
        if not after:
            return
        if stop is not None and stop.qty != abs(after):
            self.matching.resize(stop, abs(after))
        if order.stop_loss and (turned or abs(after) > abs(before)):
            self._ride_along(order, position)

    def _ride_along(self, order: SimOrder, position: SimPosition) -> None:
        about = self.about(order, "attach")
        if self.faults.first(AttachedLost, about, self.agenda.now_ns) is not None:
            return
        stop = position.stop
        wanted = (order.stop_loss, order.stop_trigger_by)
        if stop is None:
            self._attach(position, *wanted)
        elif (stop.trigger_price, stop.trigger_by) != wanted:
            self.matching.move(stop, *wanted)

    def _clear_closing_orders(self, order: SimOrder, position: SimPosition) -> None:
        stop = position.stop
        if stop is None or stop is order or stop.status.terminal or not self.stays(stop):
            position.stop = None
            if stop is not None and stop is not order and not stop.status.terminal:
                self.matching.finish(stop, OrderStatus.CANCELED, _CLEARED)
        for other in self.matching.open.of_symbol(position.symbol):
            if (
                other is not order
                and other.order_class is OrderClass.PLAIN
                and other.closing
                and other.position_side == position.hedge_leg
                and not self.stays(other)
            ):
                self.matching.finish(other, OrderStatus.CANCELED, "CancelByReduceOnly")

    def order_ended(self, order: SimOrder) -> None:
        """Nothing follows from the end of an order here."""

    def canceled_by_venue(self, order: SimOrder, reason: str, *, silent: bool) -> None:
        self._end(order, reason, silent=silent)

    def _end(self, order: SimOrder, reason: str, *, silent: bool) -> None:
        position = self.account.position(order.symbol, order.position_side)
        attached = position.stop is order
        if attached:
            position.stop = None
        self.matching.finish(order, OrderStatus.CANCELED, reason, silent=silent)
        if attached:
            self._touched(position, silent=silent)

    def restart(self) -> None:
        self.queries.wipe()
        super().restart()

    # ------------------------------------------------------------------ what is told

    def said(self, event: TruthEvent) -> list[Said]:
        told = super().said(event)
        match event:
            case OrderChanged(order=order, silent=False):
                # A market order is told when it is done; and every order event comes with the
                # position, changed or not.
                if event.first and order.order_type is OrderType.MARKET:
                    return []
                if event.first or order.status is OrderStatus.CANCELED:
                    position = self.account.position(order.symbol, order.position_side)
                    report = position.report(self.account.liquidation_price(position))
                    shown = self.queries.marked(report)
                    told.append(("position", order.symbol, order.symbol, shown))
            case PositionChanged(position=report, silent=False):
                shown = self.queries.marked(report)
                return [("position", report.symbol, report.symbol, shown)]
            case _:
                pass
        return told

    def untimely_words(self, told_ms: int, server_ms: int, window_ms: int) -> tuple[str, str]:
        """See `SimVenue.untimely_words`."""
        return "10002", (
            "invalid request, please check your server timestamp or recv_window param."
            f" req_timestamp[{told_ms}],server_timestamp[{server_ms}],recv_window[{window_ms}]"
        )

    def funding_fill(self, position: SimPosition, paid: Decimal, mark: Price) -> Fill | None:
        symbol = position.symbol
        return Fill(
            symbol=symbol,
            trade_id=_uuid(f"funding/{symbol}/{self.agenda.now_ns}"),
            venue_order_id=_uuid(f"funding-order/{symbol}/{self.agenda.now_ns}"),
            client_order_id="",
            side=position.side.entry_side,
            qty=canonical(abs(position.qty)),
            price=mark,
            fee=canonical(paid),
            fee_asset=self.account.rules.asset,
            kind=FillKind.FUNDING,
            ts_ns=TsNs(self.agenda.now_ns),
        )


def _uuid(content: str) -> str:
    text = blake2b(content.encode(), digest_size=16).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

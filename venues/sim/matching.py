"""The matching core: one for both venues; what differs is asked of the venue (`Hooks`).

1. A market order executes at the instant it is due, or at the next price behind it
(`MatchRules.market_fill`), at the far side of the book plus slippage; a limit order executes at
its price when the last price reaches it; a stop fires when the price series that it names reaches
its trigger. Prices are looked up, never polled.
2. A closing order never opens: it takes at most what is open against it.
3. Every transition is one truth event, emitted after the state has changed.
4. A stop that fired is no longer live, whatever becomes of its execution.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from kernel.errors import InvariantViolation
from kernel.model.instrument import Instrument
from kernel.model.messages import PriceRead
from kernel.model.orders import (
    Fill,
    FillKind,
    OrderStatus,
    OrderType,
    PriceSource,
    Side,
    TimeInForce,
)
from kernel.model.units import ONE, ZERO, Price, Qty, TsNs, canonical
from venues.sim.account import Account, Booked, SimPosition
from venues.sim.agenda import RANK_MESSAGE, Agenda
from venues.sim.fault_kinds import FillPlan
from venues.sim.market import VenuePrices
from venues.sim.open_orders import OpenOrders
from venues.sim.order import SimOrder
from venues.sim.truth import (
    BalanceChanged,
    OrderChanged,
    PositionChanged,
    StopGone,
    StopLive,
    Traded,
    TruthEvent,
)

_BPS = Decimal(10_000)


type MarketFill = Literal["last", "next"]
"""At which price a market order executes: the last one before it arrived, or the next one."""


class MatchRules(msgspec.Struct, frozen=True, kw_only=True):
    """How a venue ends what cannot be filled, and how far a market order may go."""

    rest_status: OrderStatus
    """Of the remainder of a market or IOC order."""
    rest_reason: str
    post_only_reason: str
    shrink_reduce_only: bool
    """True: a closing order is cut down to the position. False: the excess ends as a rest."""
    reduce_only_reason: str
    effects_first: bool
    """Whether what follows from a trade (attached stops, orders that it ends) is told before the
    order that traded. Bybit tells it in one message with the order, which ends it."""
    slippage_bps: Decimal = ZERO
    market_fill: MarketFill = "last"
    take_bound: Decimal = Decimal("0.05")
    """Largest distance from the mark at which a market order may execute, as a fraction."""


class Hooks(Protocol):
    """What the matching core asks of its venue."""

    def emit(self, event: TruthEvent) -> None:
        """Something happened."""

    def fill_plan(self, order: SimOrder) -> FillPlan | None:
        """A scripted course of fills; None: the ordinary one."""

    def trade_id(self, order: SimOrder) -> str:
        """A new trade id."""

    def stop_fired(self, order: SimOrder) -> None:
        """The trigger of an open stop was reached; it is not live any more."""

    def position_traded(self, order: SimOrder, position: SimPosition, booked: Booked) -> None:
        """A trade changed a position; comes where `MatchRules.effects_first` says."""

    def order_ended(self, order: SimOrder) -> None:
        """An order is terminal, and this has been told."""

    def liquidate(self, position: SimPosition) -> None:
        """The mark price has reached the liquidation price."""


class Matching:
    """Orders, triggers and executions of one venue."""

    def __init__(
        self,
        agenda: Agenda,
        prices: VenuePrices,
        account: Account,
        *,
        instruments: dict[str, Instrument],
        rules: MatchRules,
        hooks: Hooks,
    ) -> None:
        self.agenda = agenda
        self.prices = prices
        self.account = account
        self.instruments = instruments
        self.rules = rules
        self.open = OpenOrders()
        self._hooks = hooks
        self._liquidation: dict[tuple[str, str], Price] = {}

    # ------------------------------------------------------------------ orders

    def accept(self, order: SimOrder) -> None:
        """Take a checked market or limit order; it may be terminal when this returns."""
        self.open.add(order)
        self._tell(order, first=True)
        if order.order_type is not OrderType.MARKET:
            self._rest(order)
        elif not self._waits_for_next(order):
            self.execute(order)

    def arm(self, order: SimOrder) -> None:
        """Take a checked stop: it waits for its trigger price from now on."""
        self.open.add(order)
        self._tell(order, first=True)
        self._hooks.emit(StopLive(ts_ns=self._now(), stop=order.live_stop()))
        self._set_trigger(order)

    def hold(self, order: SimOrder) -> None:
        """Take an order that will be refused later: it neither executes nor waits for a price."""
        order.held = True
        self.open.add(order)
        self._tell(order, first=True)

    def move(self, order: SimOrder, trigger_price: Price, trigger_by: PriceSource) -> None:
        """Give a waiting stop another trigger; it is live throughout."""
        order.trigger_price = trigger_price
        order.trigger_by = trigger_by
        self._tell(order)
        self._hooks.emit(StopLive(ts_ns=self._now(), stop=order.live_stop()))
        self._set_trigger(order)

    def resize(self, order: SimOrder, qty: Qty) -> None:
        """Give a waiting stop another quantity."""
        order.qty = canonical(qty)
        self._tell(order)
        self._hooks.emit(StopLive(ts_ns=self._now(), stop=order.live_stop()))

    def execute(self, order: SimOrder) -> None:
        """Execute a market order: at once, or as a scripted plan says."""
        plan = self._hooks.fill_plan(order)
        if plan is None:
            self._take(order, order.leaves_qty, ZERO, maker=False)
            self._end_rest(order)
        else:
            self._step(order, plan, 0)

    def finish(
        self, order: SimOrder, status: OrderStatus, reason: str, *, silent: bool = False
    ) -> None:
        """End an order. `silent`: no stream event tells of it."""
        if order.status.terminal:
            raise InvariantViolation(f"order {order.venue_order_id} ends twice: {status}")
        waiting = order.is_stop and order.status is OrderStatus.NEW and not order.held
        order.status = status
        order.reason = reason
        self.open.remove(order)
        self.prices.clear(order.venue_order_id)
        self.account.order_margin -= order.reserved
        order.reserved = ZERO
        if waiting:
            self._hooks.emit(StopGone(ts_ns=self._now(), stop=order.live_stop(), reason=reason))
        self._tell(order, silent=silent)
        self._hooks.order_ended(order)

    def advance(self, order: SimOrder, status: OrderStatus) -> None:
        """Tell a passing state of an order (TRIGGERING, TRIGGERED)."""
        order.status = status
        self._tell(order)

    def force(self, order: SimOrder, price: Price, kind: FillKind) -> None:
        """Execute an order of the venue's own at a given price (liquidation, ADL, settlement)."""
        self.open.add(order)
        self._tell(order, first=True)
        self._take(order, order.leaves_qty, price, maker=False, kind=kind)
        self._end_rest(order)

    # ------------------------------------------------------------------ prices

    def taker_price(self, symbol: str, side: Side) -> Price:
        """What a market order of this side pays now; ZERO: nothing inside the venue's bound."""
        quote = self.prices.quote(symbol)
        touch = quote.ask if side is Side.BUY else quote.bid
        if not touch:
            return ZERO
        rules = self.rules
        if rules.slippage_bps:
            instrument = self.instruments[symbol]
            slip = touch * rules.slippage_bps / _BPS
            touch = (
                instrument.price_up(touch + slip)
                if side is Side.BUY
                else max(instrument.price_down(touch - slip), instrument.tick_size)
            )
        if rules.take_bound:
            mark = self.prices.last(symbol, PriceSource.MARK).price
            if mark and abs(touch - mark) > mark * rules.take_bound:
                return ZERO
        return touch

    def through(self, side: Side, trigger_price: Price, now: Price) -> bool:
        """Whether a stop of this side with this trigger would fire at the price `now`."""
        return now >= trigger_price if side is Side.BUY else now <= trigger_price

    # ------------------------------------------------------------------ inside

    def _now(self) -> TsNs:
        return TsNs(self.agenda.now_ns)

    def _tell(self, order: SimOrder, *, first: bool = False, silent: bool = False) -> None:
        now = self._now()
        order.updated_ns = now
        self._hooks.emit(
            OrderChanged(
                ts_ns=now, order=order.report(), ordinal=order.ordinal, first=first, silent=silent
            )
        )

    def _set_trigger(self, order: SimOrder) -> None:
        up = order.side is Side.BUY

        def fire(_: PriceRead) -> None:
            self._fire(order)

        self.prices.trigger(
            order.venue_order_id,
            order.symbol,
            order.trigger_by,
            above=order.trigger_price if up else None,
            below=None if up else order.trigger_price,
            action=fire,
        )

    def _fire(self, order: SimOrder) -> None:
        self._hooks.emit(StopGone(ts_ns=self._now(), stop=order.live_stop(), reason="triggered"))
        self._hooks.stop_fired(order)

    def fire_now(self, order: SimOrder) -> None:
        """Fire a waiting stop although no new price reached it."""
        self.prices.clear(order.venue_order_id)
        self._fire(order)

    def _waits_for_next(self, order: SimOrder) -> bool:
        # A stop that fired executes on the price that fired it; behind the last price of a tape
        # there is none to wait for.
        if self.rules.market_fill == "last" or order.parent is not None:
            return False

        def reach(_: PriceRead) -> None:
            if not order.status.terminal:
                self.execute(order)

        return self.prices.next_tick(order.symbol, reach)

    def _rest(self, order: SimOrder) -> None:
        quote = self.prices.quote(order.symbol)
        touch = quote.ask if order.side is Side.BUY else quote.bid
        crosses = bool(touch) and (
            touch <= order.price if order.side is Side.BUY else touch >= order.price
        )
        plan = self._hooks.fill_plan(order)
        if plan is not None:
            self._step(order, plan, 0)
        elif crosses and order.time_in_force is TimeInForce.GTX:
            self.finish(order, self.rules.rest_status, self.rules.post_only_reason)
        elif crosses:
            self._take(order, order.leaves_qty, touch, maker=False)
            if order.leaves_qty and not order.status.terminal:
                self._end_rest(order)
        elif order.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
            self.finish(order, self.rules.rest_status, self.rules.rest_reason)
        else:
            self._wait_for_limit(order)

    def _wait_for_limit(self, order: SimOrder) -> None:
        if not order.closing:
            leverage = self.account.leverage(order.symbol)
            order.reserved = order.leaves_qty * order.price / leverage
            self.account.order_margin += order.reserved
        buy = order.side is Side.BUY

        def reach(_: PriceRead) -> None:
            self._take(order, order.leaves_qty, order.price, maker=True)
            self._end_rest(order)

        self.prices.trigger(
            order.venue_order_id,
            order.symbol,
            PriceSource.LAST,
            above=None if buy else order.price,
            below=order.price if buy else None,
            action=reach,
        )

    def _step(self, order: SimOrder, plan: FillPlan, at: int) -> None:
        # One step of a scripted course of fills, then the wait for the next one.
        if order.status.terminal:
            return
        if at == len(plan.steps):
            if not plan.rests:
                self._end_rest(order)
            elif order.order_type is OrderType.LIMIT:
                self._wait_for_limit(order)
            return
        step = plan.steps[at]

        def run() -> None:
            if order.status.terminal:
                return
            qty = self.instruments[order.symbol].qty_down(order.qty * step.portion)
            limit = order.price if order.order_type is OrderType.LIMIT else ZERO
            self._take(order, min(qty, order.leaves_qty), step.price or limit, maker=bool(limit))
            self._step(order, plan, at + 1)

        self._after(step.dt_ns, run)

    def _after(self, dt_ns: int, action: Callable[[], None]) -> None:
        if dt_ns <= 0:
            action()
        else:
            self.agenda.push(self.agenda.now_ns + dt_ns, RANK_MESSAGE, action)

    def _end_rest(self, order: SimOrder) -> None:
        if order.status.terminal:
            return
        short = order.closing and not self._position(order).room_to_close(order.side)
        reason = self.rules.reduce_only_reason if short else self.rules.rest_reason
        self.finish(order, self.rules.rest_status, reason)

    def _position(self, order: SimOrder) -> SimPosition:
        return self.account.position(order.symbol, order.position_side)

    def _take(
        self,
        order: SimOrder,
        qty: Qty,
        price: Price,
        *,
        maker: bool,
        kind: FillKind = FillKind.TRADE,
    ) -> None:
        position = self._position(order)
        if order.closing:
            room = position.room_to_close(order.side)
            if room < order.leaves_qty and self.rules.shrink_reduce_only and room:
                order.qty = canonical(order.filled_qty + room)
            qty = min(qty, room)
        price = price or self.taker_price(order.symbol, order.side)
        if qty > 0 and price > 0:
            self._trade(order, position, canonical(qty), price, maker=maker, kind=kind)

    def _trade(
        self,
        order: SimOrder,
        position: SimPosition,
        qty: Qty,
        price: Price,
        *,
        maker: bool,
        kind: FillKind,
    ) -> None:
        now = self._now()
        account = self.account
        fee = account.fee(qty * price, maker=maker)
        trade_id = self._hooks.trade_id(order)
        booked = account.trade(
            position, order.side, qty, price, fee=fee, now_ns=now, ref=trade_id
        )
        if order.reserved:
            freed = order.reserved * qty / order.leaves_qty
            order.reserved -= freed
            account.order_margin -= freed
        order.filled_qty = canonical(order.filled_qty + qty)
        order.filled_value += qty * price
        order.status = OrderStatus.PARTIALLY_FILLED
        fill = Fill(
            symbol=order.symbol,
            trade_id=trade_id,
            venue_order_id=order.venue_order_id,
            client_order_id=order.client_order_id,
            side=order.side,
            qty=qty,
            price=canonical(price),
            fee=fee,
            fee_asset=account.rules.asset,
            realized_pnl=canonical(booked.realized),
            is_maker=maker,
            kind=kind,
            ts_ns=now,
            hedge_leg=position.hedge_leg,
        )
        hooks = self._hooks
        hooks.emit(
            Traded(
                ts_ns=now, fill=fill, hedge_leg=position.hedge_leg,
                position_qty=canonical(booked.qty_after), reduce_only=order.closing,
            )
        )  # fmt: skip
        if self.rules.effects_first:
            hooks.position_traded(order, position, booked)
        if order.leaves_qty <= 0:
            self.finish(order, OrderStatus.FILLED, "")
        else:
            self._tell(order)
        if not self.rules.effects_first:
            hooks.position_traded(order, position, booked)
        self.tell_position(position)
        hooks.emit(
            BalanceChanged(
                ts_ns=now,
                balance=account.balance(now, "ORDER", booked.realized - fee, order.symbol),
            )
        )

    # ------------------------------------------------------------------ liquidation

    def tell_position(self, position: SimPosition, *, silent: bool = False) -> None:
        """Tell a position as it is and set its liquidation trigger anew."""
        liquidation = self._set_liquidation(position)
        self._hooks.emit(
            PositionChanged(
                ts_ns=self._now(), position=position.report(liquidation), silent=silent
            )
        )

    def _set_liquidation(self, position: SimPosition) -> Price:
        key = (position.symbol, position.hedge_leg)
        price = self.account.liquidation_price(position)
        if self._liquidation.get(key, ZERO) == price:
            return price
        name = f"liquidation/{position.symbol}/{position.hedge_leg}"
        self._liquidation[key] = price
        if not price:
            self.prices.clear(name)
            return price
        long = position.qty > 0

        def reach(_: PriceRead) -> None:
            self._liquidation[key] = ZERO
            self._hooks.liquidate(position)

        self.prices.trigger(
            name,
            position.symbol,
            PriceSource.MARK,
            above=None if long else price,
            below=price if long else None,
            action=reach,
        )
        return price

    def bankruptcy_price(self, position: SimPosition) -> Price:
        """The price at which a liquidation closes, on the tick that is worse for the account."""
        instrument = self.instruments[position.symbol]
        price = self.account.bankruptcy_price(position)
        if position.qty > 0:
            return max(instrument.price_down(price), instrument.tick_size)
        return instrument.price_up(price)


def for_run(
    rules: MatchRules, *, slippage_bps: Decimal, market_fill: MarketFill
) -> MatchRules:
    """A venue's rules with what one run says of them.

    Raises:
        InvariantViolation: The slippage is negative or 100 % or more.
    """
    if not ZERO <= slippage_bps < _BPS * ONE:
        raise InvariantViolation(f"slippage {slippage_bps} bps: must be in [0, 10000)")
    return msgspec.structs.replace(
        rules, slippage_bps=slippage_bps, market_fill=market_fill
    )

"""Binance: rows of REST answers, as the wire has them and as the kernel reads them.

Prices, quantities and money are strings on the wire, times and ids numbers, with the exceptions
that the structs show. Source: venue-binance §2, §3 (shapes), §1 "Numbers".
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import (
    BalanceReport,
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
from kernel.model.units import ZERO, TsNs
from kernel.model.venue import AccountConfig, SymbolConfig
from venues.live.wire import millis, number

QUOTES = ("USDT", "USDC")
_PERPETUAL = ("PERPETUAL", "PERPETUAL_DELIVERING")
_NO_DELIVERY_MS = 4_133_404_800_000
"""Delivery date of a contract without one (2100-12-25); some rows show a little more."""

ORDER_STATUSES = {
    "NEW": OrderStatus.NEW,
    "PENDING_NEW": OrderStatus.NEW,
    "NEW_INSURANCE": OrderStatus.NEW,
    "NEW_ADL": OrderStatus.NEW,
    "PARTIALLY_FILLED": OrderStatus.PARTIALLY_FILLED,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
}
ALGO_STATUSES = {
    "NEW": OrderStatus.NEW,
    "TRIGGERING": OrderStatus.TRIGGERING,
    "TRIGGERED": OrderStatus.TRIGGERED,
    "FINISHED": OrderStatus.FINISHED,
    "CANCELED": OrderStatus.CANCELED,
    "REJECTED": OrderStatus.REJECTED,
    "EXPIRED": OrderStatus.EXPIRED,
}
_TYPES = {
    "MARKET": OrderType.MARKET,
    "LIMIT": OrderType.LIMIT,
    "STOP_MARKET": OrderType.STOP_MARKET,
    "TAKE_PROFIT_MARKET": OrderType.TAKE_PROFIT_MARKET,
}


def status_of(table: dict[str, OrderStatus], word: str) -> OrderStatus:
    """A status by the venue's word.

    Raises:
        ValueError: No table lists it: better no report than a wrong one.
    """
    found = table.get(word)
    if found is None:
        raise ValueError(f"unknown order status {word!r}")
    return found


def type_of(word: str) -> OrderType:
    """An order type by the venue's word."""
    return _TYPES.get(word, OrderType.OTHER)


def source_of(working_type: str) -> PriceSource:
    """The price series that triggers."""
    return PriceSource.MARK if working_type == "MARK_PRICE" else PriceSource.LAST


def side_of(amount: Decimal, leg: str) -> PositionSide:
    """Direction of a signed amount; in hedge mode of its leg."""
    if not amount:
        return PositionSide.FLAT
    if leg in ("LONG", "SHORT"):
        return PositionSide(leg)
    return PositionSide.LONG if amount > 0 else PositionSide.SHORT


class OrderRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A row of GET /fapi/v1/order and openOrders; POST answers lack avgPrice since 2026-07-15."""

    symbol: str
    order_id: int
    client_order_id: str
    side: str
    status: str
    orig_qty: str
    type: str
    executed_qty: str = "0"
    avg_price: str = ""
    price: str = ""
    stop_price: str = ""
    working_type: str = ""
    reduce_only: bool = False
    close_position: bool = False
    position_side: str = "BOTH"
    time: int = 0
    update_time: int = 0

    def report(self) -> OrderReport:
        """What it says."""
        return OrderReport(
            symbol=self.symbol,
            venue_order_id=str(self.order_id),
            client_order_id=self.client_order_id,
            order_class=OrderClass.PLAIN,
            order_type=type_of(self.type),
            side=Side(self.side),
            status=status_of(ORDER_STATUSES, self.status),
            qty=number(self.orig_qty),
            filled_qty=number(self.executed_qty),
            avg_price=number(self.avg_price),
            price=number(self.price),
            trigger_price=number(self.stop_price),
            trigger_by=source_of(self.working_type),
            reduce_only=self.reduce_only,
            close_position=self.close_position,
            position_side=self.position_side,
            created_ns=millis(self.time or self.update_time),
            updated_ns=millis(self.update_time or self.time),
        )


class AlgoRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An algo order: `orderType`, `algoStatus` and `quantity`; actualOrderId is a string.

    `actualQty` is not read: the venue's own example shows the full quantity on an order that never
    triggered. What filled is told by the child.
    """

    symbol: str
    algo_id: int
    client_algo_id: str
    side: str
    algo_status: str
    order_type: str
    quantity: str = ""
    trigger_price: str = ""
    price: str = ""
    working_type: str = ""
    reduce_only: bool = False
    close_position: bool = False
    position_side: str = "BOTH"
    actual_order_id: str | int | None = ""
    create_time: int = 0
    update_time: int = 0

    def report(self) -> OrderReport:
        """What it says."""
        return OrderReport(
            symbol=self.symbol,
            venue_order_id=str(self.algo_id),
            client_order_id=self.client_algo_id,
            order_class=OrderClass.CONDITIONAL,
            order_type=type_of(self.order_type),
            side=Side(self.side),
            status=status_of(ALGO_STATUSES, self.algo_status),
            qty=number(self.quantity),
            price=number(self.price),
            trigger_price=number(self.trigger_price),
            trigger_by=source_of(self.working_type),
            reduce_only=self.reduce_only,
            close_position=self.close_position,
            position_side=self.position_side,
            child_order_id=child_id(self.actual_order_id),
            created_ns=millis(self.create_time or self.update_time),
            updated_ns=millis(self.update_time or self.create_time),
        )


def child_id(value: str | int | None) -> str:
    """The id of the order that a conditional became; "": it did not yet."""
    made = str(value or "")
    return "" if made in ("0", "None") else made


class PositionRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A row of GET /fapi/v3/positionRisk: symbols with a position or open orders, amounts signed.

    Neither leverage nor margin type (symbolConfig has them).
    """

    symbol: str
    position_amt: str
    position_side: str = "BOTH"
    entry_price: str = ""
    mark_price: str = ""
    liquidation_price: str = ""
    update_time: int = 0

    def report(self) -> PositionReport:
        """What it says."""
        amount = number(self.position_amt)
        return PositionReport(
            symbol=self.symbol,
            side=side_of(amount, self.position_side),
            qty=abs(amount),
            entry_price=number(self.entry_price),
            mark_price=number(self.mark_price),
            liquidation_price=number(self.liquidation_price),
            hedge_leg=self.position_side,
            updated_ns=millis(self.update_time),
        )


class TradeRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A row of GET /fapi/v1/userTrades: no client order id."""

    symbol: str
    id: int
    order_id: int
    side: str
    qty: str
    price: str
    commission: str = ""
    commission_asset: str = "USDT"
    realized_pnl: str = ""
    maker: bool = False
    time: int = 0
    position_side: str = "BOTH"

    def fill(self) -> Fill:
        """What it says."""
        return Fill(
            symbol=self.symbol,
            trade_id=str(self.id),
            venue_order_id=str(self.order_id),
            client_order_id="",
            side=Side(self.side),
            qty=number(self.qty),
            price=number(self.price),
            fee=number(self.commission),
            fee_asset=self.commission_asset,
            realized_pnl=number(self.realized_pnl),
            is_maker=self.maker,
            ts_ns=millis(self.time),
            hedge_leg=self.position_side,
        )


class IncomeRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A row of GET /fapi/v1/income: what came in is positive."""

    income_type: str
    income: str
    time: int
    tran_id: int | str
    symbol: str = ""
    asset: str = "USDT"

    def payment(self) -> Fill:
        """What it says; another type than was asked for is no payment of funding."""
        return Fill(
            symbol=self.symbol,
            trade_id=str(self.tran_id),
            venue_order_id="",
            client_order_id="",
            side=Side.BUY,
            qty=ZERO,
            price=ZERO,
            fee=-number(self.income),
            fee_asset=self.asset,
            kind=FillKind.FUNDING if self.income_type == "FUNDING_FEE" else FillKind.UNKNOWN,
            ts_ns=millis(self.time),
        )


class BalanceRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A row of GET /fapi/v3/balance."""

    asset: str
    balance: str
    available_balance: str = ""
    update_time: int = 0

    def report(self, asked_ns: TsNs) -> BalanceReport:
        """What it says; rows of untouched accounts carry no time."""
        return BalanceReport(
            asset=self.asset,
            wallet=number(self.balance),
            available=number(self.available_balance),
            updated_ns=millis(self.update_time) or asked_ns,
        )


class SymbolConfigRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A row of GET /fapi/v1/symbolConfig; leverage is a number here."""

    symbol: str
    margin_type: str
    leverage: int

    def config(self) -> SymbolConfig:
        """What it says."""
        return SymbolConfig(
            symbol=self.symbol,
            leverage=Decimal(self.leverage),
            isolated=self.margin_type.upper() == "ISOLATED",
        )


class AccountConfigRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """GET /fapi/v1/accountConfig.

    Its `canWithdraw` is about the account, not about the key: it says nothing of the rights that
    SPEC §13 asks about.
    """

    dual_side_position: bool
    can_trade: bool = True

    def config(self) -> AccountConfig:
        """What it says."""
        return AccountConfig(hedge_mode=self.dual_side_position, can_trade=self.can_trade)


class SymbolFilter(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One filter of a symbol; each type has some of these."""

    filter_type: str
    tick_size: str = ""
    min_price: str = ""
    max_price: str = ""
    step_size: str = ""
    min_qty: str = ""
    max_qty: str = ""
    notional: str = ""
    multiplier_up: str = ""
    multiplier_down: str = ""


_NO_FILTER = SymbolFilter("")


class SymbolRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A symbol of GET /fapi/v1/exchangeInfo; its precisions are display digits, never steps."""

    symbol: str
    status: str
    contract_type: str
    base_asset: str
    quote_asset: str
    delivery_date: int = _NO_DELIVERY_MS
    filters: tuple[SymbolFilter, ...] = ()

    @property
    def in_universe(self) -> bool:
        """A USDT or USDC perpetual; TradFi and dated contracts are none."""
        return self.quote_asset in QUOTES and self.contract_type in _PERPETUAL

    def instrument(self) -> Instrument:
        """What it says.

        Raises:
            ValueError: A step, a tick or a maximum is missing.
        """
        found = {item.filter_type: item for item in self.filters}
        price = found.get("PRICE_FILTER", _NO_FILTER)
        lot = found.get("LOT_SIZE", _NO_FILTER)
        market = found.get("MARKET_LOT_SIZE", lot)
        band = found.get("PERCENT_PRICE", _NO_FILTER)
        tick = number(price.tick_size)
        step = max(number(lot.step_size), number(market.step_size))
        if not tick or not step:
            raise ValueError(f"{self.symbol}: no tick or no step")
        delisted = self.delivery_date < _NO_DELIVERY_MS
        return Instrument(
            venue="binance",
            symbol=self.symbol,
            base=self.base_asset,
            quote=self.quote_asset,
            tick_size=tick,
            qty_step=step,
            min_qty=max(number(lot.min_qty), number(market.min_qty)),
            max_qty=number(lot.max_qty),
            max_market_qty=number(market.max_qty),
            min_notional=number(found.get("MIN_NOTIONAL", _NO_FILTER).notional),
            min_price=number(price.min_price),
            max_price=number(price.max_price),
            trading=self.status == "TRADING" and self.contract_type == "PERPETUAL",
            delist_ns=millis(self.delivery_date) if delisted else TsNs(0),
            price_band_up=number(band.multiplier_up),
            price_band_down=number(band.multiplier_down),
        )

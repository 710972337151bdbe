"""Bybit: rows of lists and of stream frames, which share their shapes.

Everything inside is a string, times included; unset is "", "0" or null. Source: venue-bybit §3,
§4, §6.2, appendix A.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import (
    ONE_WAY,
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
from kernel.model.units import ONE, ZERO, TsNs
from venues.live.bybit.sources import StopSources
from venues.live.wire import millis, number

QUOTES = ("USDT", "USDC")
_TRADITIONAL = ("stock", "forex", "commodity")
"""`symbolType` of contracts on things that are traded elsewhere: not in the universe."""
LEGS = {0: "BOTH", 1: "LONG", 2: "SHORT"}
_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_POSITION_SIDES = {
    "Buy": PositionSide.LONG,
    "Sell": PositionSide.SHORT,
    "": PositionSide.FLAT,
    "None": PositionSide.FLAT,
}
STATUSES = {
    "Untriggered": OrderStatus.NEW,
    "Triggered": OrderStatus.TRIGGERED,
    "New": OrderStatus.NEW,
    "PartiallyFilled": OrderStatus.PARTIALLY_FILLED,
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELED,
    "PartiallyFilledCanceled": OrderStatus.CANCELED,
    "Deactivated": OrderStatus.CANCELED,
    "Rejected": OrderStatus.REJECTED,
}
_NO_STOP = ("", "UNKNOWN")
_STANDALONE = "Stop"
_SILENT = ("", "UNKNOWN", "EC_NoError")
EXECUTIONS = {
    "Trade": FillKind.TRADE,
    "AdlTrade": FillKind.ADL,
    "BustTrade": FillKind.LIQUIDATION,
    "Settle": FillKind.SETTLEMENT,
    "Delivery": FillKind.SETTLEMENT,
    "Funding": FillKind.FUNDING,
}
"""Other execution types change nothing that we could book: UNKNOWN, and a notice."""


def source_of(trigger_by: str | None) -> PriceSource:
    """The price series that triggers; the venue's default is the last price."""
    return PriceSource.MARK if trigger_by == "MarkPrice" else PriceSource.LAST


def _leg(index: int) -> str:
    found = LEGS.get(index)
    if found is None:
        raise ValueError(f"unknown positionIdx {index}")
    return found


class OrderRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An order in order/realtime, order/history or the topic `order`."""

    symbol: str
    order_id: str
    side: str
    order_status: str
    qty: str
    order_type: str
    order_link_id: str | None = ""
    category: str = "linear"
    stop_order_type: str | None = ""
    cum_exec_qty: str | None = ""
    avg_price: str | None = ""
    price: str | None = ""
    trigger_price: str | None = ""
    trigger_by: str | None = ""
    reduce_only: bool = False
    position_idx: int = 0
    cancel_type: str | None = ""
    reject_reason: str | None = ""
    created_time: str = ""
    updated_time: str = ""

    @property
    def order_class(self) -> OrderClass:
        """By what made it: it stays what it was when it triggers, under the same id."""
        kind = self.stop_order_type or ""
        if kind in _NO_STOP:
            waits = self.order_status == "Untriggered"
            return OrderClass.CONDITIONAL if waits else OrderClass.PLAIN
        return OrderClass.CONDITIONAL if kind == _STANDALONE else OrderClass.ATTACHED

    def report(self) -> OrderReport:
        """What it says. A cancelled market order may carry fills."""
        order_class = self.order_class
        return OrderReport(
            symbol=self.symbol,
            venue_order_id=self.order_id,
            client_order_id=self.order_link_id or "",
            order_class=order_class,
            order_type=self._type(order_class),
            side=_SIDES[self.side] if self.side in _SIDES else _refuse("side", self.side),
            status=self._status(order_class),
            qty=number(self.qty),
            filled_qty=number(self.cum_exec_qty),
            avg_price=number(self.avg_price),
            price=number(self.price),
            trigger_price=number(self.trigger_price),
            trigger_by=source_of(self.trigger_by),
            reduce_only=self.reduce_only,
            position_side=_leg(self.position_idx),
            reason=self._reason(),
            created_ns=millis(self.created_time),
            updated_ns=millis(self.updated_time),
        )

    def _status(self, order_class: OrderClass) -> OrderStatus:
        found = STATUSES.get(self.order_status)
        if found is None:
            raise ValueError(f"unknown order status {self.order_status!r}")
        if self.order_status == "New" and order_class is not OrderClass.PLAIN:
            return OrderStatus.TRIGGERED
        return found

    def _type(self, order_class: OrderClass) -> OrderType:
        kind = self.stop_order_type or ""
        if order_class is OrderClass.PLAIN:
            words = {"Market": OrderType.MARKET, "Limit": OrderType.LIMIT}
            return words.get(self.order_type, OrderType.OTHER)
        if self.order_type != "Market" or kind.startswith("Trailing"):
            return OrderType.OTHER
        if kind.endswith("TakeProfit"):
            return OrderType.TAKE_PROFIT_MARKET
        return OrderType.STOP_MARKET

    def _reason(self) -> str:
        for word in (self.cancel_type, self.reject_reason):
            if word and word not in _SILENT:
                return word
        return ""


def _refuse(what: str, word: str) -> Side:
    raise ValueError(f"unknown {what} {word!r}")


class PositionRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A position in position/list (`avgPrice`) or the topic `position` (`entryPrice`).

    `createdTime` is the first time ever on the symbol; `openTime` is the position's own. The row
    does not say which series triggers its stop.
    """

    symbol: str
    side: str
    size: str
    position_idx: int = 0
    category: str = "linear"
    avg_price: str | None = ""
    entry_price: str | None = ""
    mark_price: str | None = ""
    liq_price: str | None = ""
    leverage: str | None = ""
    stop_loss: str | None = ""
    open_time: int | str | None = 0
    updated_time: str = ""
    seq: int = 0

    def report(self, sources: StopSources) -> PositionReport:
        """What it says."""
        side = _POSITION_SIDES.get(self.side)
        if side is None:
            raise ValueError(f"unknown side {self.side!r}")
        leg = _leg(self.position_idx)
        qty = number(self.size)
        stop = number(self.stop_loss)
        return PositionReport(
            symbol=self.symbol,
            side=side if qty else PositionSide.FLAT,
            qty=qty,
            entry_price=number(self.avg_price) or number(self.entry_price),
            mark_price=number(self.mark_price),
            liquidation_price=number(self.liq_price),
            leverage=number(self.leverage),
            stop_price=stop,
            stop_trigger_by=sources.of(self.symbol, leg, stop),
            hedge_leg=leg,
            opened_ns=millis(self.open_time) if qty else TsNs(0),
            updated_ns=millis(self.updated_time),
            seq=max(0, self.seq),
        )


class ExecutionRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An execution in execution/list or the topic `execution`; funding payments are among them."""

    symbol: str
    exec_id: str
    order_id: str
    side: str
    exec_qty: str
    exec_price: str
    exec_type: str
    exec_time: str
    order_link_id: str | None = ""
    category: str = "linear"
    exec_fee: str | None = ""
    fee_currency: str | None = ""
    exec_pnl: str | None = ""
    closed_size: str | None = ""
    is_maker: bool = False

    @property
    def known(self) -> bool:
        """Whether we know what such an execution does to a position."""
        return self.exec_type in EXECUTIONS

    def fill(self) -> Fill:
        """What it says."""
        return Fill(
            symbol=self.symbol,
            trade_id=self.exec_id,
            venue_order_id=self.order_id,
            client_order_id=self.order_link_id or "",
            side=_SIDES[self.side] if self.side in _SIDES else _refuse("side", self.side),
            qty=number(self.exec_qty),
            price=number(self.exec_price),
            fee=number(self.exec_fee),
            fee_asset=self.fee_currency or QUOTES[0],
            realized_pnl=number(self.exec_pnl),
            is_maker=self.is_maker,
            kind=EXECUTIONS.get(self.exec_type, FillKind.UNKNOWN),
            ts_ns=millis(self.exec_time),
            hedge_leg=self._leg(),
        )

    def _leg(self) -> str:
        """Executions carry no positionIdx; whether one closes tells its leg, with its side."""
        if not self.closed_size:
            return ONE_WAY
        buys, closes = self.side == "Buy", number(self.closed_size) > 0
        return "SHORT" if buys is closes else "LONG"


class CoinRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One coin of a wallet."""

    coin: str
    wallet_balance: str
    total_position_im: str | None = msgspec.field(name="totalPositionIM", default="")
    total_order_im: str | None = msgspec.field(name="totalOrderIM", default="")
    locked: str | None = ""
    bonus: str | None = ""

    @property
    def free(self) -> Decimal:
        """Free margin in isolated mode, where the account's own figure is not valid."""
        used = number(self.total_position_im) + number(self.total_order_im)
        return number(self.wallet_balance) - used - number(self.locked) - number(self.bonus)


class WalletRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """An account of wallet-balance or of the topic `wallet`."""

    coin: tuple[CoinRow, ...]
    total_available_balance: str | None = ""

    def report(self, asked_ns: TsNs, *, isolated: bool | None) -> BalanceReport | None:
        """The quote currency's money; None: the wallet shows none of it."""
        for row in self.coin:
            if row.coin == QUOTES[0]:
                return BalanceReport(
                    asset=row.coin,
                    wallet=number(row.wallet_balance),
                    available=self._available(row, isolated),
                    updated_ns=asked_ns,
                )
        return None

    def _available(self, row: CoinRow, isolated: bool | None) -> Decimal:  # noqa: FBT001
        if isolated or not self.total_available_balance:
            return row.free
        shared = number(self.total_available_balance)
        return shared if isolated is False else min(shared, row.free)


class _Leverage(msgspec.Struct, frozen=True, rename="camel", gc=False):
    max_leverage: str = ""


class _Prices(msgspec.Struct, frozen=True, rename="camel", gc=False):
    tick_size: str
    min_price: str = ""
    max_price: str = ""


class _Lots(msgspec.Struct, frozen=True, rename="camel", gc=False):
    qty_step: str
    min_order_qty: str
    max_order_qty: str
    max_mkt_order_qty: str = ""
    min_notional_value: str = ""


class _Risk(msgspec.Struct, frozen=True, rename="camel", gc=False):
    price_limit_ratio_x: str = ""


class InstrumentRow(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A contract of instruments-info."""

    symbol: str
    contract_type: str
    status: str
    base_coin: str
    quote_coin: str
    price_filter: _Prices
    lot_size_filter: _Lots
    leverage_filter: _Leverage = _Leverage()
    risk_parameters: _Risk | None = None
    delivery_time: str = "0"
    funding_interval: int = 480
    symbol_type: str = ""
    is_pre_listing: bool = False

    @property
    def in_universe(self) -> bool:
        """A USDT or USDC perpetual on a coin, past its pre-launch."""
        return (
            self.contract_type == "LinearPerpetual"
            and self.quote_coin in QUOTES
            and self.symbol_type not in _TRADITIONAL
            and not self.is_pre_listing
        )

    def instrument(self) -> Instrument:
        """What it says.

        The price band is the part of the venue's that holds whatever index and book say:
        mark × (1 ± X).

        Raises:
            ValueError: No tick or no step.
        """
        prices, lots = self.price_filter, self.lot_size_filter
        tick, step = number(prices.tick_size), number(lots.qty_step)
        if not tick or not step:
            raise ValueError(f"{self.symbol}: no tick or no step")
        ratio = number(self.risk_parameters.price_limit_ratio_x) if self.risk_parameters else ZERO
        return Instrument(
            venue="bybit",
            symbol=self.symbol,
            base=self.base_coin,
            quote=self.quote_coin,
            tick_size=tick,
            qty_step=step,
            min_qty=number(lots.min_order_qty),
            max_qty=number(lots.max_order_qty),
            max_market_qty=number(lots.max_mkt_order_qty) or number(lots.max_order_qty),
            min_notional=number(lots.min_notional_value),
            min_price=number(prices.min_price),
            max_price=number(prices.max_price),
            trading=self.status == "Trading",
            delist_ns=millis(self.delivery_time),
            price_band_up=ONE + ratio if ratio else ZERO,
            price_band_down=ONE - ratio if ratio else ZERO,
            max_leverage=number(self.leverage_filter.max_leverage),
            funding_interval_h=max(1, self.funding_interval // 60),
        )

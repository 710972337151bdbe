"""Orders as a venue reports them, and as the kernel keeps them."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from kernel.model.units import ZERO, Price, Qty, TsNs, Usd


class Side(StrEnum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> Side:
        """The side that closes what this side opened."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1


class PositionSide(StrEnum):
    """Direction of a position."""

    LONG = "LONG"
    SHORT = "SHORT"
    FLAT = "FLAT"

    @property
    def sign(self) -> int:
        """+1 long, -1 short, 0 flat."""
        if self is PositionSide.LONG:
            return 1
        return -1 if self is PositionSide.SHORT else 0

    @property
    def entry_side(self) -> Side:
        """The order side that opens it."""
        return Side.BUY if self is PositionSide.LONG else Side.SELL

    @property
    def exit_side(self) -> Side:
        """The order side that closes it."""
        return Side.SELL if self is PositionSide.LONG else Side.BUY


class PriceSource(StrEnum):
    """Which price series a trigger or a decision looks at."""

    __hash__ = str.__hash__  # they are keys everywhere; that of Enum is several times slower

    LAST = "LAST"
    MARK = "MARK"


class OrderClass(StrEnum):
    """Which list and id space of the venue an order lives in."""

    __hash__ = str.__hash__  # they are keys everywhere; that of Enum is several times slower

    PLAIN = "PLAIN"
    """Market and limit orders; the child of a triggered conditional."""
    CONDITIONAL = "CONDITIONAL"
    """Binance algo orders; Bybit standalone conditionals."""
    ATTACHED = "ATTACHED"
    """Bybit's stop of the position itself."""


class OrderType(StrEnum):
    """What the order does at the venue."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOP_MARKET"
    TAKE_PROFIT_MARKET = "TAKE_PROFIT_MARKET"
    OTHER = "OTHER"


class TimeInForce(StrEnum):
    """How long it may rest."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTX = "GTX"


ONE_WAY = "BOTH"
"""The only leg of a symbol in one-way mode; in hedge mode there are LONG and SHORT."""


class OrderStatus(StrEnum):
    """Venue-neutral order state. TRIGGERED and FINISHED are never "filled"."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    TRIGGERING = "TRIGGERING"
    TRIGGERED = "TRIGGERED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    FINISHED = "FINISHED"
    """A triggered conditional whose child ended: filled *or* cancelled; read the child."""

    @property
    def terminal(self) -> bool:
        """Nothing more can happen to an order in this state."""
        if self is OrderStatus.NEW:  # nearly always: the answer without a search
            return False
        return self in TERMINAL


TERMINAL = (
    OrderStatus.FILLED,
    OrderStatus.CANCELED,
    OrderStatus.REJECTED,
    OrderStatus.EXPIRED,
    OrderStatus.FINISHED,
)


class OrderReport(
    msgspec.Struct, frozen=True, kw_only=True, tag="order", array_like=True, gc=False
):
    """One order as a venue showed it at one moment (a stream event or a row of a list).

    `venue_order_id` is unique within (venue, order_class). `child_order_id` links a triggered
    conditional to the plain order that it became. Prices are ZERO where the venue says nothing.
    """

    symbol: str
    venue_order_id: str
    client_order_id: str
    order_class: OrderClass
    order_type: OrderType
    side: Side
    status: OrderStatus
    qty: Qty
    filled_qty: Qty = ZERO
    avg_price: Price = ZERO
    price: Price = ZERO
    trigger_price: Price = ZERO
    trigger_by: PriceSource = PriceSource.LAST
    reduce_only: bool = False
    close_position: bool = False
    position_side: str = ONE_WAY
    """BOTH in one-way mode; LONG or SHORT in hedge mode."""
    child_order_id: str = ""
    reason: str = ""
    """The venue's own word for a cancel, reject or expiry."""
    created_ns: TsNs = TsNs(0)
    updated_ns: TsNs = TsNs(0)

    @property
    def closes(self) -> bool:
        """Whether it can only close: of a hedge leg its side tells, there is no reduce-only."""
        if self.reduce_only or self.close_position:
            return True
        return self.position_side == ("SHORT" if self.side is Side.BUY else "LONG")

    @property
    def leaves_qty(self) -> Decimal:
        """What may still fill."""
        return ZERO if self.status.terminal else self.qty - self.filled_qty


class FillKind(StrEnum):
    """Why a position changed. FUNDING changes money, never quantity."""

    TRADE = "TRADE"
    LIQUIDATION = "LIQUIDATION"
    ADL = "ADL"
    SETTLEMENT = "SETTLEMENT"
    FUNDING = "FUNDING"
    UNKNOWN = "UNKNOWN"


class Fill(msgspec.Struct, frozen=True, kw_only=True, tag="fill", array_like=True, gc=False):
    """One execution. (venue, symbol, trade_id) is the key against double booking."""

    symbol: str
    trade_id: str
    venue_order_id: str
    client_order_id: str
    side: Side
    qty: Qty
    price: Price
    fee: Usd = ZERO
    """Positive: paid; negative: rebate. Quote currency."""
    fee_asset: str = "USDT"
    realized_pnl: Usd = ZERO
    """As the venue states it, before fees."""
    is_maker: bool = False
    kind: FillKind = FillKind.TRADE
    ts_ns: TsNs = TsNs(0)
    hedge_leg: str = ONE_WAY
    """The leg that it changed, LONG or SHORT; BOTH: there is one leg, or the venue does not say."""


class PositionReport(
    msgspec.Struct, frozen=True, kw_only=True, tag="position", array_like=True, gc=False
):
    """A position as a venue showed it. A row with FLAT or zero quantity may appear or be absent."""

    symbol: str
    side: PositionSide
    qty: Qty
    entry_price: Price = ZERO
    mark_price: Price = ZERO
    liquidation_price: Price = ZERO
    """ZERO: unknown or none."""
    leverage: Decimal = ZERO
    """ZERO: this surface does not say."""
    stop_price: Price = ZERO
    """Bybit's attached Full stop; ZERO: none."""
    stop_trigger_by: PriceSource = PriceSource.LAST
    hedge_leg: str = ONE_WAY
    """BOTH in one-way mode; LONG or SHORT in hedge mode."""
    opened_ns: TsNs = TsNs(0)
    updated_ns: TsNs = TsNs(0)
    seq: int = 0
    """Venue sequence where it has one; 0: none. A lower one never overwrites a higher one."""


class BalanceReport(
    msgspec.Struct, frozen=True, kw_only=True, tag="balance", array_like=True, gc=False
):
    """Quote-currency money of the account."""

    asset: str
    wallet: Usd
    """Cash: deposits + realised PnL - fees + funding."""
    available: Usd
    """Free margin."""
    reason: str = ""
    """Stream events: ORDER, FUNDING_FEE, DEPOSIT, …"""
    change: Usd = ZERO
    symbol: str = ""
    updated_ns: TsNs = TsNs(0)

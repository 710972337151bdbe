"""What the kernel may ask of a venue and what a venue may say: venue-neutral messages.

They promise nothing that a venue does not: an acknowledgement is not a fill, absence proves
nothing, the order between streams is undefined. The same messages serve level "sim" (they are
the effects and inputs) and level "wire" (the adapter builds them from bytes).
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import (
    BalanceReport,
    Fill,
    OrderClass,
    OrderReport,
    OrderType,
    PositionReport,
    PriceSource,
    Side,
    TimeInForce,
)
from kernel.model.units import SECOND, ZERO, Price, Qty, TsNs

REQUEST_LIFETIME_NS = 5 * SECOND
"""So long after the time that it is signed with a venue accepts a request (recvWindow)."""


class EffectClass(StrEnum):
    """What a request may wait for, and how urgent it is (DESIGN §1, SPEC §10)."""

    __hash__ = str.__hash__  # they are keys everywhere; that of Enum is several times slower

    PROTECT = "PROTECT"
    """Stops and cancels of own orders: never queue behind anything else."""
    EXIT = "EXIT"
    """Reduce-only closes."""
    ENTRY = "ENTRY"
    """Waits for the store's commit of its intent."""
    QUERY = "QUERY"


class OrderSurface(StrEnum):
    """Where an order is looked up; each surface has its own lag and retention."""

    PLAIN = "PLAIN"
    """Binance GET /order; Bybit order/realtime."""
    CONDITIONAL = "CONDITIONAL"
    """Binance GET /algoOrder; Bybit order/realtime (same list, filter StopOrder)."""
    HISTORY = "HISTORY"
    """Bybit order/history; Binance has none by id: answers UnknownOrder."""


# ---------------------------------------------------------------- requests


class SubmitOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="submit", array_like=True, gc=False
):
    """A market or limit order.

    `stop_loss` (Bybit only): a Full stop attached by the venue at fill; ZERO: none.
    """

    symbol: str
    side: Side
    qty: Qty
    order_type: OrderType
    client_order_id: str
    reduce_only: bool = False
    price: Price = ZERO
    time_in_force: TimeInForce = TimeInForce.GTC
    position_side: str = "BOTH"
    stop_loss: Price = ZERO
    stop_trigger_by: PriceSource = PriceSource.MARK


class PlaceStop(
    msgspec.Struct, frozen=True, kw_only=True, tag="place_stop", array_like=True, gc=False
):
    """A closing STOP_MARKET conditional of its own (Binance algo order; Bybit conditional).

    Always reduce-only in one-way mode; carries `position_side` in hedge mode.
    """

    symbol: str
    side: Side
    qty: Qty
    trigger_price: Price
    trigger_by: PriceSource
    client_order_id: str
    position_side: str = "BOTH"


class SetPositionStop(
    msgspec.Struct, frozen=True, kw_only=True, tag="position_stop", array_like=True, gc=False
):
    """Set or move the stop attached to the position (Bybit trading-stop, Full mode).

    `trigger_price` ZERO removes it.
    """

    symbol: str
    trigger_price: Price
    trigger_by: PriceSource
    position_side: str = "BOTH"


class CancelOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="cancel", array_like=True, gc=False
):
    """Cancel by either id. The answer acknowledges the request, not the cancellation."""

    symbol: str
    order_class: OrderClass
    client_order_id: str = ""
    venue_order_id: str = ""


class QueryOrder(
    msgspec.Struct, frozen=True, kw_only=True, tag="query_order", array_like=True, gc=False
):
    """Look one order up; not shown → UnknownOrder."""

    symbol: str
    surface: OrderSurface
    client_order_id: str = ""
    venue_order_id: str = ""


class QueryOpenOrders(
    msgspec.Struct, frozen=True, kw_only=True, tag="open_orders", array_like=True, gc=False
):
    """One page of open orders of one class, whole account or one symbol ("": all).

    PLAIN and CONDITIONAL are separate lists on Binance. On Bybit CONDITIONAL answers
    conditionals *and* attached stops.
    """

    order_class: OrderClass
    symbol: str = ""
    cursor: str = ""


class QueryPositions(
    msgspec.Struct, frozen=True, kw_only=True, tag="positions", array_like=True, gc=False
):
    """One page of positions, whole account or one symbol ("": all)."""

    symbol: str = ""
    cursor: str = ""


class QuerySnapshot(msgspec.Struct, frozen=True, tag="snapshot", array_like=True, gc=False):
    """The first pages of positions, plain orders and conditional orders of the whole account.

    No venue has one answer to it: it is asked three questions, and each surface answers (lags,
    fails, is lost) by itself. The reply is whole or a failure.
    """


SNAPSHOT_PARTS: tuple[QueryPositions | QueryOpenOrders, ...] = (
    QueryPositions(),
    QueryOpenOrders(order_class=OrderClass.PLAIN),
    QueryOpenOrders(order_class=OrderClass.CONDITIONAL),
)
"""What a venue is asked for a `QuerySnapshot`, in the order of the fields of its reply."""


class QueryExecutions(
    msgspec.Struct, frozen=True, kw_only=True, tag="executions", array_like=True, gc=False
):
    """One page of executions of one symbol since a time, oldest first; optionally one order."""

    symbol: str
    since_ns: TsNs = TsNs(0)
    client_order_id: str = ""
    venue_order_id: str = ""
    cursor: str = ""


class QueryFunding(
    msgspec.Struct, frozen=True, kw_only=True, tag="funding", array_like=True, gc=False
):
    """One page of the funding of all symbols since a time, oldest first.

    For venues whose executions do not tell it (Binance: the income ledger).
    """

    since_ns: TsNs
    cursor: str = ""


class QueryBalance(msgspec.Struct, frozen=True, tag="balance", array_like=True, gc=False):
    """Quote-currency balance."""


class QueryInstruments(
    msgspec.Struct, frozen=True, kw_only=True, tag="instruments", array_like=True, gc=False
):
    """One page of the venue's instruments."""

    cursor: str = ""


class QuerySymbolConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="symbol_config", array_like=True, gc=False
):
    """Leverage and margin mode of a symbol, read back (hazards I19)."""

    symbol: str


class QueryAccountConfig(
    msgspec.Struct, frozen=True, tag="account_config", array_like=True, gc=False
):
    """Position mode and permissions of the account."""


class SetLeverage(
    msgspec.Struct, frozen=True, kw_only=True, tag="set_leverage", array_like=True, gc=False
):
    """Set the leverage of a symbol. "Not modified" is success."""

    symbol: str
    leverage: Decimal


class SetMarginMode(
    msgspec.Struct, frozen=True, kw_only=True, tag="set_margin", array_like=True, gc=False
):
    """Set the margin mode of a symbol (Binance; account-wide on Bybit, where it is refused)."""

    symbol: str
    isolated: bool


class QueryServerTime(msgspec.Struct, frozen=True, tag="time", array_like=True, gc=False):
    """The venue's clock."""


type VenueRequest = (
    SubmitOrder
    | PlaceStop
    | SetPositionStop
    | CancelOrder
    | QueryOrder
    | QueryOpenOrders
    | QueryPositions
    | QuerySnapshot
    | QueryExecutions
    | QueryFunding
    | QueryBalance
    | QueryInstruments
    | QuerySymbolConfig
    | QueryAccountConfig
    | SetLeverage
    | SetMarginMode
    | QueryServerTime
)


# ---------------------------------------------------------------- replies


class Acked(msgspec.Struct, frozen=True, kw_only=True, tag="acked", array_like=True, gc=False):
    """The venue took the request. Not a fill, not a stop, not a cancellation."""

    client_order_id: str = ""
    venue_order_id: str = ""


class Done(msgspec.Struct, frozen=True, tag="done", array_like=True, gc=False):
    """A setting was accepted or was so already."""

    already: bool = False


class OrderPage(
    msgspec.Struct, frozen=True, kw_only=True, tag="order_page", array_like=True, gc=False
):
    """Evidence of absence only together with all other pages (`next_cursor` "" = the last)."""

    orders: tuple[OrderReport, ...]
    next_cursor: str = ""


class PositionPage(
    msgspec.Struct, frozen=True, kw_only=True, tag="position_page", array_like=True, gc=False
):
    """Positions; a missing row proves nothing before the last page."""

    positions: tuple[PositionReport, ...]
    next_cursor: str = ""


class SnapshotPage(
    msgspec.Struct, frozen=True, kw_only=True, tag="snapshot_page", array_like=True, gc=False
):
    """First pages of the whole account; each list may go on behind its own cursor."""

    positions: PositionPage
    plain: OrderPage
    conditional: OrderPage


class ExecutionPage(
    msgspec.Struct, frozen=True, kw_only=True, tag="execution_page", array_like=True, gc=False
):
    """Executions, or payments of funding, oldest first."""

    fills: tuple[Fill, ...]
    next_cursor: str = ""


class InstrumentPage(
    msgspec.Struct, frozen=True, kw_only=True, tag="instrument_page", array_like=True, gc=False
):
    """Instruments of the universe (USDT/USDC linear perpetuals, any status)."""

    instruments: tuple[Instrument, ...]
    next_cursor: str = ""


class SymbolConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="symbol_config", array_like=True, gc=False
):
    """Leverage and margin mode as the venue holds them."""

    symbol: str
    leverage: Decimal
    isolated: bool


class AccountConfig(
    msgspec.Struct, frozen=True, kw_only=True, tag="account_config", array_like=True, gc=False
):
    """`can_withdraw` None: the venue does not say."""

    hedge_mode: bool
    can_trade: bool = True
    can_withdraw: bool | None = None
    isolated: bool | None = None


class ServerTime(msgspec.Struct, frozen=True, kw_only=True, tag="time", array_like=True, gc=False):
    """The venue's clock, nanoseconds since the epoch."""

    ts_ns: TsNs


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure", array_like=True, gc=False):
    """A failed request; `kind` names a class of `kernel.errors.VENUE_ERRORS`.

    `listed` False: the code is in no table; kind is then OutcomeUnknown and an alert is due.
    """

    kind: str
    code: str = ""
    text: str = ""
    retry_at_ns: TsNs = TsNs(0)
    banned: bool = False
    listed: bool = True
    request: str = ""
    """Of a reply to a `QuerySnapshot`: the kind of the part that failed."""


type VenueReply = (
    Acked
    | Done
    | OrderReport
    | OrderPage
    | PositionPage
    | SnapshotPage
    | ExecutionPage
    | BalanceReport
    | InstrumentPage
    | SymbolConfig
    | AccountConfig
    | ServerTime
    | Failure
)


# ---------------------------------------------------------------- stream events


class StreamUp(
    msgspec.Struct, frozen=True, kw_only=True, tag="stream_up", array_like=True, gc=False
):
    """The private stream is connected, authenticated and every topic is confirmed.

    Nothing that happened before is replayed: a resync is due.
    """

    connection: int


class StreamDown(
    msgspec.Struct, frozen=True, kw_only=True, tag="stream_down", array_like=True, gc=False
):
    """The private stream ended, or is no longer to be trusted (reason "suspect: …")."""

    reason: str


class VenueNotice(
    msgspec.Struct, frozen=True, kw_only=True, tag="notice", array_like=True, gc=False
):
    """Something the kernel has no type for: counted, alerted, followed by a resync.

    `kind`: "unknown_event", "malformed", "margin_call", "config_change".
    """

    kind: str
    symbol: str = ""
    raw: str = ""


class RateLimit(
    msgspec.Struct, frozen=True, kw_only=True, tag="rate_limit", array_like=True, gc=False
):
    """What the venue itself says of a rate budget: a limit that it states, or a counter header.

    `bucket`: "queries" (request weight of the IP on Binance, requests of the IP on Bybit), "orders"
    (Binance), or on Bybit the endpoint: "create", "cancel", "trading_stop", "set_leverage".
    """

    bucket: str
    capacity: int = 0
    """Units a window; 0: not said."""
    window_ns: int = 0
    """0: not said."""
    used: int = -1
    """Units used in the present window by everybody; -1: not said."""


type VenueEvent = (
    OrderReport
    | Fill
    | PositionReport
    | BalanceReport
    | StreamUp
    | StreamDown
    | VenueNotice
    | RateLimit
)

"""Rows of the store: what must survive a crash (SPEC §3, §11).

A commit is a tuple of rows, written together or not at all, each an upsert by its key. Money is
`Decimal`, times are nanoseconds since the epoch.
"""

from __future__ import annotations

import msgspec

from kernel.model.orders import OrderClass, OrderStatus, OrderType, PriceSource, Side
from kernel.model.positions import PositionRow, TrailingState
from kernel.model.units import ZERO, Price, Qty, TsNs, Usd


class OrderRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="order_row", array_like=True, gc=False
):
    """An intent of ours and what became of it; written before it is sent.

    Key: (venue, client_order_id). `intent_open` True: not proven terminal, still to be settled
    or watched.
    """

    venue: str
    client_order_id: str
    symbol: str
    position_id: str
    order_class: OrderClass
    order_type: OrderType
    side: Side
    qty: Qty
    reduce_only: bool
    trigger_price: Price = ZERO
    trigger_by: PriceSource = PriceSource.MARK
    price: Price = ZERO
    venue_order_id: str = ""
    status: OrderStatus = OrderStatus.NEW
    filled_qty: Qty = ZERO
    avg_price: Price = ZERO
    intent_open: bool = True
    watch_until_ns: TsNs = TsNs(0)
    """Declared never placed, but watched until then (SPEC §3.1)."""
    created_ns: TsNs = TsNs(0)
    updated_ns: TsNs = TsNs(0)


class FillRow(msgspec.Struct, frozen=True, kw_only=True, tag="fill_row", array_like=True, gc=False):
    """One execution, booked once. Key: (venue, symbol, trade_id)."""

    venue: str
    symbol: str
    trade_id: str
    position_id: str
    client_order_id: str
    venue_order_id: str
    side: Side
    qty: Qty
    price: Price
    fee: Usd
    realized_pnl: Usd
    kind: str
    ts_ns: TsNs


class TrailingRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="trailing_row", array_like=True, gc=False
):
    """State of a trailing stop, stored at every change. Key: position_id."""

    position_id: str
    state: TrailingState
    activation_price: Price
    best_price: Price
    confirmed_stop: Price
    last_update_ns: TsNs
    updated_ns: TsNs


class ClaimRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="claim_row", array_like=True, gc=False
):
    """A signal that was tried: durable before its entry is sent. Key: once_key."""

    once_key: str
    wave_ns: TsNs
    claimed_ns: TsNs


class WaveRow(msgspec.Struct, frozen=True, kw_only=True, tag="wave_row", array_like=True, gc=False):
    """A wave: `open` with its selected list before the first entry, then `closed`.

    Key: (source, wave_ns). `selected` and `outcome` are JSON text.
    """

    source: str
    wave_ns: TsNs
    state: str
    expected_until_ns: TsNs
    received: int = 0
    selected: str = "[]"
    outcome: str = "{}"
    opened_ns: TsNs = TsNs(0)
    closed_ns: TsNs = TsNs(0)


class SignalRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="signal_row", array_like=True, gc=False
):
    """Every signal that came, and why it was dropped, if so. Key: (once_key, arrived_ns)."""

    once_key: str
    source: str
    venue: str
    symbol: str
    side: str
    candle_ns: TsNs
    arrived_ns: TsNs
    raw: str
    drop_reason: str = ""


class LockRow(msgspec.Struct, frozen=True, kw_only=True, tag="lock_row", array_like=True, gc=False):
    """Entries on a symbol are locked until a time. Key: (venue, symbol); symbol "" = the venue."""

    venue: str
    symbol: str
    reason: str
    until_ns: TsNs


class SwitchRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="switch_row", array_like=True, gc=False
):
    """What the kill switches have counted: one row, written with each position that ends."""

    day: int = 0
    """UTC day since 1970, and its result."""
    day_result: Usd = ZERO
    losing_stops: int = 0
    stops: tuple[TsNs, ...] = ()
    """Times of the stops inside the guard's window."""
    result: Usd = ZERO
    best: Usd = ZERO
    wallets: tuple[tuple[str, Usd], ...] = ()
    """(venue, money that drawdown counts from)."""
    counted: tuple[str, ...] = ()
    """Positions that were counted last: none of them is counted again."""


class PerformanceRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="performance_row", array_like=True, gc=False
):
    """Sums and figures of closed positions of ours; venue "": of all venues.

    `period` "running": the sums themselves, one row a venue, stored with each position that ends;
    "interval" and "day": what they were at a time. Key: (venue, period, time).
    """

    venue: str
    period: str
    ts_ns: TsNs
    closed: int = 0
    wins: int = 0
    gross_profit: Usd = ZERO
    gross_loss: Usd = ZERO
    """Above zero."""
    net: Usd = ZERO
    fees: Usd = ZERO
    funding: Usd = ZERO
    peak: Usd = ZERO
    """Highest `net` so far, zero at least."""
    drawdown: Usd = ZERO
    first_day: int = 0
    """UTC day (since 1970) of the first close."""
    day: int = 0
    day_net: Usd = ZERO
    day_sum: Usd = ZERO
    """Of the finished days before `day`."""
    day_squares: Usd = ZERO
    positions: int = 0
    """Open positions of ours at this time."""
    win_rate: str = ""
    profit_factor: str = ""
    sharpe: str = ""


class EventRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="event_row", array_like=True, gc=False
):
    """A decision, for people and statistics. Append only; losing one loses no protection.

    `values` is JSON; (seq, place) is its place among the decisions of the process.
    """

    ts_ns: TsNs
    kind: str
    venue: str
    symbol: str
    position_id: str
    client_order_id: str
    cause: str
    values: str
    seq: int = 0
    place: int = 0
    level: str = "INFO"
    text: str = ""
    """One sentence, for people."""
    wave: str = ""
    venue_order_id: str = ""


type Row = (
    PositionRow
    | OrderRow
    | FillRow
    | TrailingRow
    | ClaimRow
    | WaveRow
    | SignalRow
    | LockRow
    | SwitchRow
    | PerformanceRow
    | EventRow
)


class StoredState(
    msgspec.Struct, frozen=True, kw_only=True, tag="stored", array_like=True, gc=False
):
    """What a start reads: everything that is not finished, and what must not be done twice.

    `positions` are those that live, and those that ended and whose result is not told yet.
    `claims` are those of waves younger than a day; a claim is checked again at commit time.
    `waves` are the open ones and those younger than a day, so that a closed one is not begun again.
    """

    epoch: int
    """The new run epoch, already durable."""
    positions: tuple[PositionRow, ...] = ()
    orders: tuple[OrderRow, ...] = ()
    fills: tuple[FillRow, ...] = ()
    """Of the positions above."""
    trailing: tuple[TrailingRow, ...] = ()
    claims: tuple[ClaimRow, ...] = ()
    waves: tuple[WaveRow, ...] = ()
    locks: tuple[LockRow, ...] = ()
    performance: tuple[PerformanceRow, ...] = ()
    switches: SwitchRow | None = None
    """The running sums."""
    since_ns: TsNs = TsNs(0)
    """Since when this store exists: what is older it may never have known; 0: not told."""
    lease_of: str = ""
    """The other instance whose lease was taken over with this load."""


def row_key(row: Row) -> str:
    """The key of a row's upsert, unique over all kinds."""
    if type(row) is OrderRow:  # most of them; each of the questions below is one to its metaclass
        return f"order|{row.venue}|{row.client_order_id}"
    if type(row) is SignalRow:
        return f"signal|{row.once_key}|{row.arrived_ns}"
    match row:
        case PositionRow():
            return f"position|{row.position_id}"
        case OrderRow():
            return f"order|{row.venue}|{row.client_order_id}"
        case FillRow():
            return f"fill|{row.venue}|{row.symbol}|{row.trade_id}"
        case TrailingRow():
            return f"trailing|{row.position_id}"
        case ClaimRow():
            return f"claim|{row.once_key}"
        case WaveRow():
            return f"wave|{row.source}|{row.wave_ns}"
        case SignalRow():
            return f"signal|{row.once_key}|{row.arrived_ns}"
        case LockRow():
            return f"lock|{row.venue}|{row.symbol}"
        case SwitchRow():
            return "switches"
        case PerformanceRow(period="running"):
            return f"performance|{row.venue}"
        case PerformanceRow():
            return f"performance|{row.venue}|{row.period}|{row.ts_ns}"
        case EventRow():
            return f"event|{row.ts_ns}|{row.seq}|{row.place}|{row.kind}"

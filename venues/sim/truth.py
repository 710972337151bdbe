"""What truly happens at a simulated venue: events, live stops, the ledger, a snapshot.

Nothing here is seen by the kernel as it is: legs delay it, surfaces lag behind it, faults bend it.
Checkers of invariants hear every transition as it happens, so they never have to scan.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

import msgspec

from kernel.model.orders import (
    BalanceReport,
    Fill,
    OrderClass,
    OrderReport,
    PositionReport,
    PriceSource,
    Side,
)
from kernel.model.units import Price, Qty, TsNs, Usd


class LiveStop(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A closing stop that will fire when its price comes; a triggered one is not live."""

    symbol: str
    hedge_leg: str
    side: Side
    qty: Qty
    trigger_price: Price
    trigger_by: PriceSource
    order_class: OrderClass
    venue_order_id: str
    client_order_id: str
    reduce_only: bool


class OrderChanged(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An order was taken (`first`) or changed. `silent`: no stream event is due."""

    ts_ns: TsNs
    order: OrderReport
    ordinal: int
    first: bool = False
    silent: bool = False


class Traded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution, funding included; `position_qty` is signed and holds after it."""

    ts_ns: TsNs
    fill: Fill
    hedge_leg: str
    position_qty: Decimal
    reduce_only: bool


class PositionChanged(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A position as it is now; the mark price and what follows from it are left out.

    `silent`: reads show it, no stream event is due.
    """

    ts_ns: TsNs
    position: PositionReport
    silent: bool = False


class BalanceChanged(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The wallet moved."""

    ts_ns: TsNs
    balance: BalanceReport


class StopLive(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stop came to life, or a live one changed (same venue order id)."""

    ts_ns: TsNs
    stop: LiveStop


class StopGone(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A stop is live no more. `reason`: triggered, or the venue's word."""

    ts_ns: TsNs
    stop: LiveStop
    reason: str


class Announced(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The venue tells of a change that is neither order nor position, such as an instrument."""

    ts_ns: TsNs
    kind: str
    symbol: str
    text: str


type TruthEvent = (
    OrderChanged | Traded | PositionChanged | BalanceChanged | StopLive | StopGone | Announced
)
type TruthListener = Callable[[TruthEvent], None]


class LedgerKind(StrEnum):
    """Why cash moved."""

    DEPOSIT = "DEPOSIT"
    REALIZED_PNL = "REALIZED_PNL"
    FEE = "FEE"
    FUNDING = "FUNDING"


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One movement of cash; the wallet is the sum of all amounts, exactly."""

    ts_ns: TsNs
    kind: LedgerKind
    symbol: str
    amount: Usd
    ref: str


class TruthSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything at one instant, in a fixed order; positions carry their mark price."""

    ts_ns: TsNs
    positions: tuple[PositionReport, ...]
    stops: tuple[LiveStop, ...]
    open_orders: tuple[OrderReport, ...]
    wallet: Usd
    available: Usd
    cash: dict[str, Usd]
    """Sum by `LedgerKind`."""

"""What the tests of the trading core share: a runtime, rows, reports."""

from decimal import Decimal
from typing import Any

from kernel.config import Settings
from kernel.model.orders import (
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionSide,
    Side,
)
from kernel.model.positions import PositionRow, PositionState
from kernel.model.rows import OrderRow
from kernel.model.units import MonoNs, TsNs
from kernel.ports.outbox import Outbox
from kernel.runtime.scheduler import Runtime
from kernel.trade.book import PositionBook
from kernel.trade.orders import OrderRegistry

START_TS = 1_700_000_000_000_000_000
VENUE = "binance"
SYMBOL = "BTCUSDT"


class Bench:
    """A runtime that a test steps by hand, with a book and a registry."""

    def __init__(self) -> None:
        self.runtime = Runtime(0, START_TS)
        self.outbox = Outbox(self.runtime)
        self.settings = Settings.load({})
        self.book = PositionBook(self.runtime, self.outbox)
        self.orders = OrderRegistry(self.runtime, self.outbox, self.book, epoch=7)
        self.stored: list[object] = []
        self.orders.persist = self.stored.extend

    def at(self, mono_ns: int) -> None:
        """Let time pass, firing every timer on the way."""
        runtime = self.runtime
        runtime.run_ready()
        while (due := runtime.next_deadline()) is not None and due <= mono_ns:
            due = max(due, runtime.now())
            runtime.set_time(MonoNs(due), TsNs(START_TS + due))
            runtime.fire_due(due, inclusive=True)
        runtime.set_time(MonoNs(mono_ns), TsNs(START_TS + mono_ns))
        runtime.run_ready()

    def kinds(self) -> list[str]:
        return [decision.kind for decision in self.outbox.decisions]

    def position(self, side: PositionSide = PositionSide.LONG, name: str = "p1"):
        return self.book.create(position_row(side, name))


def position_row(side: PositionSide = PositionSide.LONG, name: str = "p1") -> PositionRow:
    return PositionRow(
        position_id=name,
        venue=VENUE,
        symbol=SYMBOL,
        side=side,
        state=PositionState.PENDING_ENTRY,
        opened_ns=TsNs(START_TS),
        wave_ns=TsNs(START_TS),
    )


def order_row(client_id: str, position_id: str = "p1", **changes) -> OrderRow:
    fields: dict[str, Any] = {
        "venue": VENUE,
        "client_order_id": client_id,
        "symbol": SYMBOL,
        "position_id": position_id,
        "order_class": OrderClass.PLAIN,
        "order_type": OrderType.MARKET,
        "side": Side.BUY,
        "qty": Decimal(1),
        "reduce_only": False,
    }
    return OrderRow(**(fields | changes))


def report(client_id: str, venue_id: str, status: OrderStatus, at: int, **changes) -> OrderReport:
    fields: dict[str, Any] = {
        "symbol": SYMBOL,
        "venue_order_id": venue_id,
        "client_order_id": client_id,
        "order_class": OrderClass.PLAIN,
        "order_type": OrderType.MARKET,
        "side": Side.BUY,
        "status": status,
        "qty": Decimal(1),
        "updated_ns": TsNs(at),
    }
    return OrderReport(**(fields | changes))


def fill(trade_id: str, side: Side, qty: str, price: str, **changes) -> Fill:
    fields: dict[str, Any] = {
        "symbol": SYMBOL,
        "trade_id": trade_id,
        "venue_order_id": "v1",
        "client_order_id": "",
        "side": side,
        "qty": Decimal(qty),
        "price": Decimal(price),
        "kind": FillKind.TRADE,
        "ts_ns": TsNs(START_TS + 1),
    }
    return Fill(**(fields | changes))

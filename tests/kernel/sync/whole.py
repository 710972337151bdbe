"""A whole kernel's parts, wired as they are, on scripted venues, with what was stored given."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kernel.assembly.incidents import Incidents
from kernel.assembly.parts import Parts
from kernel.model.ids import Leg, OrderIdParts, client_order_id, symbol_hash
from kernel.model.orders import (
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    Side,
)
from kernel.model.rows import OrderRow, StoredState
from kernel.model.units import SECOND, TsNs
from kernel.ports.direct import request_kind
from kernel.trade.risk import Risk
from tests.kernel.fakes import WALL, Bench, D

SYMBOL = "BTCUSDT"


@dataclass
class Whole(Bench):
    """The bench with every part of a kernel; nothing runs before the test says so."""

    loaded: StoredState = field(default_factory=lambda: StoredState(epoch=1))

    def __post_init__(self) -> None:
        super().__post_init__()
        services = self.services
        services.risk = Risk(services)
        services.orders.executed.on_forced = services.risk.forced
        self.parts = Parts(services)
        self.incidents = Incidents(services, self.parts)
        services.epoch = services.orders.epoch = self.loaded.epoch
        services.on_crash = self._crashed
        for name, venue in self.venues.items():
            desk = services.desks[name]
            desk.instruments_loaded = desk.stream_up = True
            venue.instruments = tuple(desk.instruments.values())
            services.supervise(f"events {name}", self.parts.routers[name].run)
        self.exits, self.stops = self.parts.exits, self.parts.stops
        self.run(0)

    @property
    def desk(self) -> Any:
        """Of the first venue."""
        return self.services.desks[self.venue_names[0]]

    def after(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run(self.runtime.now() + int(seconds * SECOND))

    def asked(self, *kinds: str) -> list[tuple[int, Any]]:
        """Requests of these kinds in their order, all without a kind."""
        return [one for one in self.venue.sent if not kinds or request_kind(one[1]) in kinds]

    def order(self, client_id: str = "", position_id: str = "", **changes: Any) -> Any:
        """An order of ours whose sending has an unknown outcome."""
        fields: dict[str, Any] = {
            "venue": self.venue_names[0],
            "client_order_id": client_id or own_id(Leg.ENTRY),
            "symbol": SYMBOL,
            "position_id": position_id,
            "order_class": OrderClass.PLAIN,
            "order_type": OrderType.MARKET,
            "side": Side.BUY,
            "qty": D("0.005"),
            "reduce_only": False,
            "created_ns": self.runtime.ts(),
        }
        return self.services.orders.register(OrderRow(**(fields | changes)))


def own_id(
    leg: Leg,
    *,
    epoch: int = 1,
    venue: str = "binance",
    minute: int = 28_333_334,
    generation: int = 0,
) -> str:
    """An id by our grammar."""
    return client_order_id(
        OrderIdParts(
            epoch=epoch,
            wave_minute=minute,
            symbol_hash=symbol_hash(venue, SYMBOL),
            leg=leg,
            child=0,
            generation=generation,
        )
    )


def order_report(client_id: str, **changes: Any) -> OrderReport:
    """What a venue says of an order."""
    fields: dict[str, Any] = {
        "symbol": SYMBOL,
        "venue_order_id": "77",
        "client_order_id": client_id,
        "order_class": OrderClass.PLAIN,
        "order_type": OrderType.MARKET,
        "side": Side.BUY,
        "status": OrderStatus.NEW,
        "qty": D("0.005"),
        "created_ns": TsNs(WALL),
        "updated_ns": TsNs(WALL),
    }
    return OrderReport(**(fields | changes))


def execution(number: int, side: Side = Side.BUY, qty: str = "0.005", **changes: Any) -> Fill:
    """An execution of the order of the same number."""
    fields: dict[str, Any] = {
        "symbol": SYMBOL,
        "trade_id": f"t{number}",
        "venue_order_id": str(number),
        "client_order_id": "",
        "side": side,
        "qty": D(qty),
        "price": D(42000),
        "kind": FillKind.TRADE,
        "ts_ns": TsNs(WALL + number),
    }
    return Fill(**(fields | changes))

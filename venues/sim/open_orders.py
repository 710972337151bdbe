"""The open orders of a simulated venue, found by id, client id and symbol; counted for the caps."""

from __future__ import annotations

from kernel.model.orders import OrderClass
from venues.sim.order import SimOrder

_NONE: tuple[SimOrder, ...] = ()


class OpenOrders:
    """Every order that is not terminal. All operations cost O(1) but those that list a symbol."""

    def __init__(self) -> None:
        self.by_id: dict[str, SimOrder] = {}
        self._by_client: dict[tuple[bool, str], SimOrder] = {}
        self._by_symbol: dict[str, dict[str, SimOrder]] = {}
        self._counts: dict[tuple[OrderClass, str], int] = {}

    def add(self, order: SimOrder) -> None:
        """Take an order in."""
        self.by_id[order.venue_order_id] = order
        if order.client_order_id:
            self._by_client[order.is_stop, order.client_order_id] = order
        self._by_symbol.setdefault(order.symbol, {})[order.venue_order_id] = order
        for key in ((order.order_class, order.symbol), (order.order_class, "")):
            self._counts[key] = self._counts.get(key, 0) + 1

    def remove(self, order: SimOrder) -> None:
        """Let an order go; nothing happens when it is not here."""
        if self.by_id.pop(order.venue_order_id, None) is None:
            return
        key = (order.is_stop, order.client_order_id)
        if self._by_client.get(key) is order:
            del self._by_client[key]
        del self._by_symbol[order.symbol][order.venue_order_id]
        for count in ((order.order_class, order.symbol), (order.order_class, "")):
            self._counts[count] -= 1

    def by_client(self, client_order_id: str, *, stop: bool) -> SimOrder | None:
        """The open order with this client id, among stops or among plain orders."""
        return self._by_client.get((stop, client_order_id))

    def of_symbol(self, symbol: str) -> tuple[SimOrder, ...]:
        """Open orders of a symbol in the order of their arrival."""
        found = self._by_symbol.get(symbol)
        return tuple(found.values()) if found else _NONE

    def count(self, order_class: OrderClass, symbol: str = "") -> int:
        """How many are open of a class, on a symbol or ("") on the account."""
        return self._counts.get((order_class, symbol), 0)

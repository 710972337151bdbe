"""Caps on open orders: no entry where the stop of it might find no room (SPEC §10).

A venue refuses the stop, not the entry, when its cap is reached. So entries end a tenth below the
cap: what is open by the last complete read, by our own books, and what entries under way still
need. The tenth is for replacements, which hold two stops for a moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.orders import OrderClass

if TYPE_CHECKING:
    from kernel.trade.desk import VenueDesk
    from kernel.trade.services import Services

RESERVE_PERCENT = 10
"""Of each cap, kept free of entries."""


class OrderCaps:
    """Asks whether the orders of one more entry fit."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def refusal(self, desk: VenueDesk, symbol: str, orders: int) -> str:
        """Why an entry of so many orders, each with a stop, must not go out; "": it may."""
        traits = desk.traits
        stops = orders + self._known(
            desk, OrderClass.CONDITIONAL, symbol if traits.conditional_cap_per_symbol else ""
        )
        if not traits.conditional_cap_per_symbol:
            stops += self._services.risk.under_way(desk.name)
        if stops > room(traits.conditional_cap):
            return f"{stops} conditional orders of {traits.conditional_cap}"
        plain = orders + self._known(desk, OrderClass.PLAIN, symbol)
        if plain > room(traits.plain_cap):
            return f"{plain} orders of {traits.plain_cap}"
        return ""

    def _known(self, desk: VenueDesk, order_class: OrderClass, symbol: str) -> int:
        """Open orders of a class, of a symbol or ("") of the account, each counted once."""
        ours = self._services.orders
        known = sum(
            1
            for order in ours.open_orders(desk.name, symbol)
            if order.row.order_class is order_class
        )
        others = sum(
            1
            for report in desk.listed.get(order_class, ())
            if symbol in ("", report.symbol)
            and ours.by_client_id(desk.name, report.client_order_id) is None
        )
        return known + others


def room(cap: int) -> int:
    """How many orders of a cap entries may make use of."""
    return cap * (100 - RESERVE_PERCENT) // 100

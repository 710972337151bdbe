"""Orders and algo orders of Binance USD-M on the wire (venue-binance.md §2.3 and §3)."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kernel.model.orders import (
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PriceSource,
    Side,
    TimeInForce,
)
from kernel.model.units import ZERO
from kernel.model.venue import (
    Acked,
    CancelOrder,
    OrderPage,
    OrderSurface,
    PlaceStop,
    QueryOpenOrders,
    QueryOrder,
    SubmitOrder,
)
from venues.sim.wire.binance_errors import refusal
from venues.sim.wire.binance_rows import BinanceRows
from venues.sim.wire.core import Asked, Local, Response, WireCore, shown, told
from venues.sim.wire.fields import BadField, Fields

_SIDES = {side.value: side for side in Side}
_LEGS = {"BOTH": "BOTH", "LONG": "LONG", "SHORT": "SHORT"}
_TYPES = {kind.value: kind for kind in OrderType if kind is not OrderType.OTHER} | {
    "STOP": OrderType.OTHER, "TAKE_PROFIT": OrderType.OTHER,
    "TRAILING_STOP_MARKET": OrderType.OTHER,
}  # fmt: skip
_IN_FORCE = {tif.value: tif for tif in TimeInForce}
_SOURCES = {"CONTRACT_PRICE": PriceSource.LAST, "MARK_PRICE": PriceSource.MARK}


class _Write(Protocol):
    def __call__(self, report: OrderReport, /, *, full: bool) -> dict[str, Any]: ...


class OrderRoutes:
    """Orders and algo orders."""

    def __init__(self, core: WireCore, rows: BinanceRows) -> None:
        self._core = core
        self._notes = core.notes
        self._rows = rows

    def submit(self, fields: Fields) -> Asked | Local:
        """POST order."""
        kind = fields.choice("type", _TYPES)
        limit = kind is OrderType.LIMIT
        if limit:
            fields.text("timeInForce")
        request = SubmitOrder(
            symbol=fields.text("symbol"),
            side=fields.choice("side", _SIDES),
            qty=fields.number("quantity"),
            order_type=kind,
            client_order_id=fields.text("newClientOrderId", ""),
            reduce_only=fields.flag("reduceOnly"),
            price=fields.number("price") if limit else ZERO,
            time_in_force=fields.choice("timeInForce", _IN_FORCE, "GTC"),
            position_side=fields.choice("positionSide", _LEGS, "BOTH"),
        )
        full = fields.text("newOrderRespType", "ACK") == "RESULT"
        return Asked(request, lambda acked: self._accepted(request, acked, result=full))

    def _accepted(self, request: SubmitOrder, acked: Acked, *, result: bool) -> Response:
        # ACK says NEW and nothing executed, even of a market order; RESULT says what it came to.
        report = self._notes.reports[acked.venue_order_id]
        if not result:
            report = msgspec.structs.replace(
                report, status=OrderStatus.NEW, filled_qty=ZERO, avg_price=ZERO, qty=request.qty
            )
        return shown(self._rows.order(report, full=False))

    def look_up(self, fields: Fields) -> Asked | Local:
        """GET order."""
        symbol, venue_id, client = fields.text("symbol"), *_ids(fields, "orderId",
                                                                 "origClientOrderId")
        request = QueryOrder(
            symbol=symbol, surface=OrderSurface.PLAIN, venue_order_id=venue_id,
            client_order_id=client,
        )  # fmt: skip

        def show(report: OrderReport) -> Response:
            if client and self._rows.client_id(report) != client:
                return refusal(-2013, "Order does not exist.")
            return shown(self._rows.order(report, full=True))

        return Asked(request, show)

    def cancel(self, fields: Fields) -> Asked | Local:
        """DELETE order."""
        symbol = fields.text("symbol")
        venue_id, client = _ids(fields, "orderId", "origClientOrderId")
        request = CancelOrder(
            symbol=symbol, order_class=OrderClass.PLAIN, venue_order_id=venue_id,
            client_order_id=client,
        )  # fmt: skip

        def show(acked: Acked) -> Response:
            report = self._notes.reports[acked.venue_order_id]
            return shown(self._rows.order(report, full=False))

        return Asked(request, show)

    def place_stop(self, fields: Fields) -> Asked | Local:
        """POST algoOrder."""
        if fields.text("algoType") != "CONDITIONAL":
            raise BadField("algoType", missing=False)
        if fields.choice("type", _TYPES) is not OrderType.STOP_MARKET:
            return told("algoOrder", refusal(-1116, "Invalid orderType."))
        leg = fields.choice("positionSide", _LEGS, "BOTH")
        closing = fields.flag("reduceOnly")
        if fields.flag("closePosition") or (leg == "BOTH" and not closing):
            words = "Combination of optional parameters invalid."
            return told("algoOrder", refusal(-1128, words))
        if leg != "BOTH" and closing:
            return told("algoOrder", refusal(-4062, "Invalid or improper reduceOnly value."))
        request = PlaceStop(
            symbol=fields.text("symbol"),
            side=fields.choice("side", _SIDES),
            qty=fields.number("quantity"),
            trigger_price=fields.number("triggerPrice"),
            trigger_by=fields.choice("workingType", _SOURCES, "CONTRACT_PRICE"),
            client_order_id=fields.text("clientAlgoId", ""),
            position_side=leg,
        )

        def show(acked: Acked) -> Response:
            report = self._notes.reports[acked.venue_order_id]
            return shown(self._rows.algo(report, full=False))

        return Asked(request, show)

    def look_up_algo(self, fields: Fields) -> Asked | Local:
        """GET algoOrder: the symbol is not needed."""
        venue_id, client = _ids(fields, "algoId", "clientAlgoId")
        request = QueryOrder(
            symbol=self._symbol(fields, venue_id, client),
            surface=OrderSurface.CONDITIONAL,
            venue_order_id=venue_id,
            client_order_id=client,
        )
        return Asked(request, lambda one: shown(self._rows.algo(one, full=True)))

    def cancel_algo(self, fields: Fields) -> Asked | Local:
        """DELETE algoOrder: the symbol is not needed."""
        venue_id, client = _ids(fields, "algoId", "clientAlgoId")
        request = CancelOrder(
            symbol=self._symbol(fields, venue_id, client),
            order_class=OrderClass.CONDITIONAL,
            venue_order_id=venue_id,
            client_order_id=client,
        )

        def show(acked: Acked) -> Response:
            row = {"algoId": int(acked.venue_order_id), "clientAlgoId": acked.client_order_id,
                   "code": "200", "msg": "success"}  # fmt: skip
            return shown(row)

        return Asked(request, show)

    def _symbol(self, fields: Fields, venue_id: str, client: str) -> str:
        return fields.text("symbol", "") or self._notes.client_symbol(venue_id, client)

    def open_orders(self, fields: Fields) -> Asked | Local:
        """GET openOrders: no algo order is among them."""
        return self._open(fields, OrderClass.PLAIN, self._rows.order)

    def open_algo_orders(self, fields: Fields) -> Asked | Local:
        """GET openAlgoOrders."""
        return self._open(fields, OrderClass.CONDITIONAL, self._rows.algo)

    def _open(self, fields: Fields, order_class: OrderClass, write: _Write) -> Asked | Local:
        request = QueryOpenOrders(order_class=order_class, symbol=fields.text("symbol", ""))

        def show(first: OrderPage) -> Response:
            pages = self._core.rest(request, first)
            return shown([write(one, full=True) for page in pages for one in page.orders])

        return Asked(request, show)


def _ids(fields: Fields, venue_name: str, client_name: str) -> tuple[str, str]:
    venue_id = str(fields.whole(venue_name)) if fields.has(venue_name) else ""
    client = "" if venue_id else fields.text(client_name)
    return venue_id, client

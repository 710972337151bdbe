"""Orders, the stop of the position and order look-ups of Bybit V5 on the wire.

Source: venue-bybit.md §3.2, §4. Answers to create, cancel and trading-stop are receipts.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote

from kernel.model.orders import OrderClass, OrderReport, OrderType, PriceSource, Side, TimeInForce
from kernel.model.units import ZERO
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    OrderPage,
    OrderSurface,
    PlaceStop,
    QueryOpenOrders,
    QueryOrder,
    SetPositionStop,
    SubmitOrder,
)
from venues.sim.wire.bybit_errors import envelope, refusal
from venues.sim.wire.bybit_rows import BybitRows
from venues.sim.wire.core import Asked, Local, Response, WireCore, told
from venues.sim.wire.fields import BadField, Fields

USUAL_ORDERS = 20
MOST_ORDERS = 50

_SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
_TYPES = {"Market": OrderType.MARKET, "Limit": OrderType.LIMIT}
_LEGS = {"0": "BOTH", "1": "LONG", "2": "SHORT"}
_SOURCES = {"LastPrice": PriceSource.LAST, "MarkPrice": PriceSource.MARK}
_IN_FORCE = {
    "GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK,
    "PostOnly": TimeInForce.GTX,
}  # fmt: skip
_RISES, _FALLS = "1", "2"
_FILTERS = {"Order": OrderClass.PLAIN, "StopOrder": OrderClass.CONDITIONAL}


class OrderRoutes:
    """Routes of /v5/order and of trading-stop."""

    def __init__(self, core: WireCore, rows: BybitRows) -> None:
        self._core = core
        self._rows = rows

    # ------------------------------------------------------------------ create and cancel

    def create(self, fields: Fields) -> Asked | Local:
        """POST order/create; a triggerPrice makes it a conditional."""
        linear(fields)
        if fields.has("triggerPrice"):
            return self._conditional(fields)
        kind = fields.choice("orderType", _TYPES)
        limit = kind is OrderType.LIMIT
        stop = fields.number("stopLoss", ZERO)
        if stop and fields.text("tpslMode", "Full") != "Full":
            raise BadField("tpslMode", missing=False)
        request = SubmitOrder(
            symbol=fields.text("symbol"),
            side=fields.choice("side", _SIDES),
            qty=fields.number("qty"),
            order_type=kind,
            client_order_id=fields.text("orderLinkId", ""),
            reduce_only=fields.flag("reduceOnly"),
            price=fields.number("price") if limit else ZERO,
            time_in_force=fields.choice("timeInForce", _IN_FORCE, "GTC"),
            position_side=fields.choice("positionIdx", _LEGS, "0"),
            stop_loss=stop,
            stop_trigger_by=fields.choice("slTriggerBy", _SOURCES, "LastPrice"),
        )
        return Asked(request, self._ids)

    def _conditional(self, fields: Fields) -> Asked | Local:
        # The simulated venue has conditionals that stop a position out, and no others.
        if fields.choice("orderType", _TYPES) is not OrderType.MARKET:
            raise BadField("orderType", missing=False)
        side = fields.choice("side", _SIDES)
        direction = fields.text("triggerDirection")
        if direction != (_RISES if side is Side.BUY else _FALLS):
            raise BadField("triggerDirection", missing=False)
        if not fields.flag("reduceOnly"):
            raise BadField("reduceOnly", missing=False)
        request = PlaceStop(
            symbol=fields.text("symbol"),
            side=side,
            qty=fields.number("qty"),
            trigger_price=fields.number("triggerPrice"),
            trigger_by=fields.choice("triggerBy", _SOURCES, "LastPrice"),
            client_order_id=fields.text("orderLinkId", ""),
            position_side=fields.choice("positionIdx", _LEGS, "0"),
        )
        return Asked(request, self._ids)

    def cancel(self, fields: Fields) -> Asked | Local:
        """POST order/cancel: orderId wins over orderLinkId."""
        linear(fields)
        venue_id = fields.text("orderId", "")
        client = "" if venue_id else fields.text("orderLinkId")
        known = self._core.notes.reports.get(venue_id)
        stop = known is not None and known.order_class is not OrderClass.PLAIN
        request = CancelOrder(
            symbol=fields.text("symbol"),
            order_class=OrderClass.CONDITIONAL if stop else OrderClass.PLAIN,
            venue_order_id=venue_id,
            client_order_id=client,
        )
        return Asked(request, self._ids)

    def _ids(self, acked: Acked) -> Response:
        result = {"orderId": acked.venue_order_id, "orderLinkId": acked.client_order_id}
        return envelope(result, self._core.now_ms)

    def trading_stop(self, fields: Fields) -> Asked | Local:
        """POST position/trading-stop, Full mode; "0" removes the stop."""
        linear(fields)
        for name in ("tpslMode", "positionIdx", "stopLoss"):
            if not fields.has(name):
                now_ms = self._core.now_ms
                return told("trading-stop", refusal(34040, "not modified", now_ms))
        if fields.text("tpslMode") != "Full":
            raise BadField("tpslMode", missing=False)
        request = SetPositionStop(
            symbol=fields.text("symbol"),
            trigger_price=fields.number("stopLoss"),
            trigger_by=fields.choice("slTriggerBy", _SOURCES, "LastPrice"),
            position_side=fields.choice("positionIdx", _LEGS),
        )
        return Asked(request, self._done(34040, "not modified"))

    def _done(self, code: int, message: str) -> Callable[[Done], Response]:
        def show(done: Done) -> Response:
            now_ms = self._core.now_ms
            return refusal(code, message, now_ms) if done.already else envelope({}, now_ms)

        return show

    # ------------------------------------------------------------------ look-ups and lists

    def realtime(self, fields: Fields) -> Asked | Local:
        """GET order/realtime: one order by id, or a page of open ones, newest first."""
        linear(fields)
        wanted = fields.choice("orderFilter", _FILTERS) if fields.has("orderFilter") else None
        if fields.has("orderId") or fields.has("orderLinkId"):
            stop = wanted is OrderClass.CONDITIONAL
            return self._look_up(fields, OrderSurface.CONDITIONAL if stop else OrderSurface.PLAIN)
        if not any(fields.has(name) for name in ("symbol", "settleCoin", "baseCoin")):
            raise BadField("symbol", missing=True)
        return self._open(fields, wanted)

    def history(self, fields: Fields) -> Asked | Local:
        """GET order/history of one order."""
        linear(fields)
        return self._look_up(fields, OrderSurface.HISTORY)

    def _look_up(self, fields: Fields, surface: OrderSurface) -> Asked | Local:
        venue_id = fields.text("orderId", "")
        client = "" if venue_id else fields.text("orderLinkId")
        known = self._core.notes.client_symbol(venue_id, client)
        request = QueryOrder(
            symbol=fields.text("symbol", known),
            surface=surface,
            venue_order_id=venue_id,
            client_order_id=client,
        )

        def show(report: OrderReport) -> Response:
            return self._list([report], "")

        return Asked(request, show)

    def _open(self, fields: Fields, wanted: OrderClass | None) -> Asked | Local:
        limit = min(fields.whole("limit", USUAL_ORDERS), MOST_ORDERS)
        place = untoken(fields.text("cursor", ""))
        if place and not place.isdecimal():
            raise BadField("cursor", missing=False)
        symbol = fields.text("symbol", "")
        if wanted is None:
            return self._all_open(symbol, place, limit)
        request = QueryOpenOrders(order_class=wanted, symbol=symbol, cursor=place)

        def show(page: OrderPage) -> Response:
            rows = list(page.orders[:limit])
            if len(page.orders) > limit:
                return self._list(rows, self._behind(rows[-1]))
            return self._list(rows, token(page.next_cursor) if page.next_cursor else "")

        return Asked(request, show)

    def _all_open(self, symbol: str, place: str, limit: int) -> Asked | Local:
        # Without a filter: orders and stops together, newest first.
        request = QueryOpenOrders(order_class=OrderClass.PLAIN, symbol=symbol)
        stops = QueryOpenOrders(order_class=OrderClass.CONDITIONAL, symbol=symbol)
        ordinals = self._core.notes.ordinals

        def show(first: OrderPage) -> Response:
            pages = self._core.rest(request, first)
            also = self._core.venue.execute(stops)
            if isinstance(also, OrderPage):
                pages += self._core.rest(stops, also)
            found = [
                one
                for page in pages
                for one in page.orders
                if not place or ordinals[one.venue_order_id] < int(place)
            ]
            found.sort(key=lambda one: -ordinals[one.venue_order_id])
            rows = found[:limit]
            return self._list(rows, self._behind(rows[-1]) if len(found) > limit else "")

        return Asked(request, show)

    def _behind(self, report: OrderReport) -> str:
        return token(str(self._core.notes.ordinals[report.venue_order_id]))

    def _list(self, orders: list[OrderReport], cursor: str) -> Response:
        rows = [self._rows.order(one) for one in orders]
        result = {"category": "linear", "list": rows, "nextPageCursor": cursor}
        return envelope(result, self._core.now_ms)


def linear(fields: Fields) -> None:
    """The category must be linear.

    Raises:
        BadField: It is another, or none.
    """
    if fields.text("category") != "linear":
        raise BadField("category", missing=False)


def token(place: str) -> str:
    """A cursor: opaque, and percent-encoded already."""
    return quote(f"page_token={place}&", safe="")


def untoken(cursor: str) -> str:
    """The place that a cursor stands for.

    Raises:
        BadField: It is none of ours.
    """
    if not cursor:
        return ""
    plain = unquote(cursor)
    if not plain.startswith("page_token=") or not plain.endswith("&"):
        raise BadField("cursor", missing=False)
    return plain.removeprefix("page_token=").removesuffix("&")

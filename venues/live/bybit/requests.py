"""Bybit: venue-neutral requests as HTTP requests, all with `category=linear`.

Numbers are strings of canonical text; positionIdx and triggerDirection are whole numbers, flags
booleans. A cursor comes percent-encoded from the venue and goes back, and is signed, exactly as it
came: parameters are ready for the wire.
Source: venue-bybit §2, §3.
"""

from __future__ import annotations

import msgspec

from kernel.errors import InvariantViolation, Rejected
from kernel.model.messages import HttpRequest
from kernel.model.orders import OrderClass, OrderType, PriceSource, Side, TimeInForce
from kernel.model.units import DAY, MS, TsNs, text
from kernel.model.venue import (
    REQUEST_LIFETIME_NS,
    CancelOrder,
    OrderSurface,
    PlaceStop,
    QueryBalance,
    QueryExecutions,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySymbolConfig,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SubmitOrder,
    VenueRequest,
)

VENUE = "bybit"
RECV_WINDOW_MS = REQUEST_LIFETIME_NS // MS
ORDERS_LIMIT = 50
POSITIONS_LIMIT = 200
EXECUTIONS_LIMIT = 100
INSTRUMENTS_LIMIT = 1000
"""Largest pages; there are more than 500 linear symbols."""
WINDOW_MS = 7 * 24 * 3_600_000 - 1
"""Histories serve at most seven days at once."""
REACH_NS = 720 * DAY
"""Histories reach back two years."""
CURSOR = "|"
"""Stands between what a page belongs to (coin or window) and the venue's own cursor."""
FIRST_COIN = "USDT"
STATUSES = ("", "Delivering")
"""Lists of instruments: what trades (the venue's default), and what only closes any more."""

type Params = tuple[tuple[str, str], ...]
type Body = dict[str, str | int | bool]

SIDES = {Side.BUY: "Buy", Side.SELL: "Sell"}
TRIGGERS = {PriceSource.MARK: "MarkPrice", PriceSource.LAST: "LastPrice"}
INDEXES = {"BOTH": 0, "LONG": 1, "SHORT": 2}
_TIMES_IN_FORCE = {
    TimeInForce.GTC: "GTC",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.GTX: "PostOnly",
}
_LINEAR = ("category", "linear")
_RISES = 1
_FALLS = 2


def encode(request: VenueRequest, now_ns: TsNs) -> HttpRequest:
    """The HTTP request that asks for it; the account's configuration is not one request.

    Raises:
        Rejected: The margin mode of one symbol, which this venue does not have.
        InvariantViolation: Something that no venue has was asked for.
    """
    match request:
        case SubmitOrder():
            return _post("/v5/order/create", _submit(request), now_ns)
        case PlaceStop():
            return _post("/v5/order/create", _place_stop(request), now_ns)
        case SetPositionStop():
            return _post("/v5/position/trading-stop", _position_stop(request), now_ns)
        case CancelOrder():
            return _post("/v5/order/cancel", _cancel(request), now_ns)
        case SetLeverage(symbol=symbol, leverage=leverage):
            body: Body = {
                "category": "linear",
                "symbol": symbol,
                "buyLeverage": text(leverage),
                "sellLeverage": text(leverage),
            }
            return _post("/v5/position/set-leverage", body, now_ns)
        case SetMarginMode():
            raise Rejected(VENUE, "set_margin", "no-surface", "margin mode is the account's here")
        case _:
            return _query(request, now_ns)


def account_info() -> HttpRequest:
    """Margin mode of the account."""
    return _get("/v5/account/info", ())


def key_info() -> HttpRequest:
    """Rights of the key."""
    return _get("/v5/user/query-api", ())


def positions_of(symbol: str) -> HttpRequest:
    """The rows of one symbol, which come back even when flat."""
    return _get(
        "/v5/position/list",
        (_LINEAR, ("symbol", symbol), ("limit", str(POSITIONS_LIMIT))),
    )


def _query(request: VenueRequest, now_ns: TsNs) -> HttpRequest:
    params: Params
    match request:
        case QueryOrder():
            return _look_up(request)
        case QueryOpenOrders(symbol=symbol, cursor=cursor):
            plain = request.order_class is OrderClass.PLAIN
            params = (
                _LINEAR,
                _scope(symbol, cursor),
                ("openOnly", "0"),
                ("orderFilter", "Order" if plain else "StopOrder"),
                ("limit", str(ORDERS_LIMIT)),
            )
            return _get("/v5/order/realtime", params + _page(cursor))
        case QueryPositions(symbol=symbol, cursor=cursor):
            params = (_LINEAR, _scope(symbol, cursor), ("limit", str(POSITIONS_LIMIT)))
            return _get("/v5/position/list", params + _page(cursor))
        case QueryExecutions():
            return _get("/v5/execution/list", _executions(request, now_ns))
        case QueryBalance():
            params = (("accountType", "UNIFIED"), ("coin", FIRST_COIN))
            return _get("/v5/account/wallet-balance", params)
        case QueryInstruments(cursor=cursor):
            status = status_of(cursor)
            params = (_LINEAR, *((("status", status),) if status else ()))
            params += (("limit", str(INSTRUMENTS_LIMIT)), *_page(cursor))
            return _get("/v5/market/instruments-info", params, signed="none")
        case QuerySymbolConfig(symbol=symbol):
            return positions_of(symbol)
        case QueryServerTime():
            return _get("/v5/market/time", (), signed="none")
        case _:
            raise InvariantViolation(f"bybit: no request for {type(request).__name__}")


def _submit(order: SubmitOrder) -> Body:
    limit = order.order_type is OrderType.LIMIT
    if not limit and order.order_type is not OrderType.MARKET:
        raise InvariantViolation(f"bybit: {order.order_type} is no plain order")
    if order.stop_loss and order.reduce_only:
        raise InvariantViolation("bybit: a reduce-only order carries no stop")
    body: Body = {
        "category": "linear",
        "symbol": order.symbol,
        "side": SIDES[order.side],
        "orderType": "Limit" if limit else "Market",
        "qty": text(order.qty),
    }
    if limit:
        body["price"] = text(order.price)
        body["timeInForce"] = _TIMES_IN_FORCE[order.time_in_force]
    body["positionIdx"] = INDEXES[order.position_side]
    body["orderLinkId"] = order.client_order_id
    if order.reduce_only:
        body["reduceOnly"] = True
    if order.stop_loss:
        body["stopLoss"] = text(order.stop_loss)
        body["slTriggerBy"] = TRIGGERS[order.stop_trigger_by]
        body["tpslMode"] = "Full"
        body["slOrderType"] = "Market"
    return body


def _place_stop(stop: PlaceStop) -> Body:
    return {
        "category": "linear",
        "symbol": stop.symbol,
        "side": SIDES[stop.side],
        "orderType": "Market",
        "qty": text(stop.qty),
        "triggerPrice": text(stop.trigger_price),
        "triggerDirection": _RISES if stop.side is Side.BUY else _FALLS,
        "triggerBy": TRIGGERS[stop.trigger_by],
        "positionIdx": INDEXES[stop.position_side],
        "orderLinkId": stop.client_order_id,
        "reduceOnly": True,
        "closeOnTrigger": True,
    }


def _position_stop(stop: SetPositionStop) -> Body:
    """Full mode: the same call again moves the same order; "0" removes it."""
    return {
        "category": "linear",
        "symbol": stop.symbol,
        "tpslMode": "Full",
        "positionIdx": INDEXES[stop.position_side],
        "stopLoss": text(stop.trigger_price),
        "slTriggerBy": TRIGGERS[stop.trigger_by],
        "slOrderType": "Market",
    }


def _cancel(order: CancelOrder) -> Body:
    name, value = _id(order)
    if order.order_class is OrderClass.ATTACHED and name != "orderId":
        raise InvariantViolation("bybit: an attached stop has no id of ours")
    return {"category": "linear", "symbol": order.symbol, name: value}


def _look_up(query: QueryOrder) -> HttpRequest:
    """The same list shows plain orders, conditionals and attached stops by id."""
    history = query.surface is OrderSurface.HISTORY
    path = "/v5/order/history" if history else "/v5/order/realtime"
    return _get(path, (_LINEAR, ("symbol", query.symbol), _id(query)))


def _id(order: CancelOrder | QueryOrder | QueryExecutions) -> tuple[str, str]:
    if order.venue_order_id:
        return ("orderId", order.venue_order_id)
    if not order.client_order_id:
        raise InvariantViolation("bybit: an order without any id was asked for")
    return ("orderLinkId", order.client_order_id)


def _executions(query: QueryExecutions, now_ns: TsNs) -> Params:
    params = [_LINEAR, ("symbol", query.symbol)]
    if query.venue_order_id or query.client_order_id:
        params.append(_id(query))
    start_ms = executions_start_ms(query, now_ns)
    if start_ms:
        params += [("startTime", str(start_ms)), ("endTime", str(start_ms + WINDOW_MS))]
    params.append(("limit", str(EXECUTIONS_LIMIT)))
    return (*params, *_page(query.cursor))


def executions_start_ms(query: QueryExecutions, now_ns: TsNs) -> int:
    """Where the present window begins; 0: the venue's own last seven days.

    A question for one order has no window: with an id the venue ignores every other filter.
    """
    if query.venue_order_id or query.client_order_id:
        return 0
    if query.cursor:
        return int(query.cursor.partition(CURSOR)[0])
    if not query.since_ns:
        return 0
    return max(query.since_ns, now_ns - REACH_NS) // MS


def coin_of(cursor: str) -> str:
    """The settlement coin whose list a page belongs to."""
    return cursor.partition(CURSOR)[0] or FIRST_COIN


def status_of(cursor: str) -> str:
    """The status whose list of instruments a page belongs to; "": the default, in trading."""
    return cursor.partition(CURSOR)[0]


def _scope(symbol: str, cursor: str) -> tuple[str, str]:
    """One symbol, or everything that settles in one coin."""
    return ("symbol", symbol) if symbol else ("settleCoin", coin_of(cursor))


def _page(cursor: str) -> Params:
    venue_cursor = cursor.partition(CURSOR)[2]
    return (("cursor", venue_cursor),) if venue_cursor else ()


def _get(path: str, params: Params, *, signed: str = "full") -> HttpRequest:
    return HttpRequest(
        venue=VENUE,
        method="GET",
        path=path,
        params=params,
        signed=signed,
        recv_window_ms=RECV_WINDOW_MS,
    )


def _post(path: str, body: Body, now_ns: TsNs) -> HttpRequest:
    """A request that changes something: worthless, and dangerous, once its time has passed."""
    return HttpRequest(
        venue=VENUE,
        method="POST",
        path=path,
        params=(),
        body=msgspec.json.encode(body),
        recv_window_ms=RECV_WINDOW_MS,
        expires_ns=TsNs(now_ns + REQUEST_LIFETIME_NS),
    )

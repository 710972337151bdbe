"""Binance: venue-neutral requests as HTTP requests.

Numbers are canonical text, booleans the strings "true" and "false" (the venue's answer to "True" is
unknown). Conditional orders go to the algo service since 2025-12-09; `/order` refuses them (-4120).
Source: venue-binance §1-§3.
"""

from __future__ import annotations

from kernel.errors import InvariantViolation, UnknownOrder
from kernel.model.messages import HttpRequest
from kernel.model.orders import OrderClass, OrderType, PriceSource
from kernel.model.units import DAY, MS, TsNs, text
from kernel.model.venue import (
    REQUEST_LIFETIME_NS,
    CancelOrder,
    OrderSurface,
    PlaceStop,
    QueryAccountConfig,
    QueryBalance,
    QueryExecutions,
    QueryFunding,
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

VENUE = "binance"
RECV_WINDOW_MS = REQUEST_LIFETIME_NS // MS
"""After this the venue itself refuses what it has not seen (-1021, -5028)."""
TRADES_LIMIT = 1000
INCOME_LIMIT = 1000
TRADES_WINDOW_MS = 7 * 24 * 3_600_000 - 1
"""userTrades serves less than 7 days at once."""
TRADES_REACH_NS = 89 * DAY
"""userTrades keeps 3 months since 2026-08-26."""
FROM_ID = "id:"
FROM_TIME = "at:"

type Params = tuple[tuple[str, str], ...]

_WORKING_TYPE = {PriceSource.MARK: "MARK_PRICE", PriceSource.LAST: "CONTRACT_PRICE"}


def listen_key(method: str) -> HttpRequest:
    """Make (POST) or extend (PUT) the key of the private stream; the header alone authorizes it.

    The key itself stays outside: paths name it `{listenKey}`.
    """
    return HttpRequest(
        venue=VENUE, method=method, path="/fapi/v1/listenKey", params=(), signed="key"
    )


def encode(request: VenueRequest, now_ns: TsNs) -> HttpRequest:
    """The HTTP request that asks for it.

    Raises:
        UnknownOrder: A look-up in the history by id, which this venue does not have.
        InvariantViolation: Something that only another venue has was asked for.
    """
    match request:
        case SubmitOrder():
            return _act("POST", "/fapi/v1/order", _submit(request), now_ns)
        case PlaceStop():
            return _act("POST", "/fapi/v1/algoOrder", _place_stop(request), now_ns)
        case CancelOrder():
            return _cancel(request, now_ns)
        case SetLeverage(symbol=symbol, leverage=leverage):
            params = (("symbol", symbol), ("leverage", text(leverage)))
            return _act("POST", "/fapi/v1/leverage", params, now_ns)
        case SetMarginMode(symbol=symbol, isolated=isolated):
            mode = "ISOLATED" if isolated else "CROSSED"
            params = (("symbol", symbol), ("marginType", mode))
            return _act("POST", "/fapi/v1/marginType", params, now_ns)
        case SetPositionStop():
            raise InvariantViolation("binance: a position has no stop of its own here")
        case _:
            return _query(request, now_ns)


def _query(request: VenueRequest, now_ns: TsNs) -> HttpRequest:
    match request:
        case QueryOrder():
            return _look_up(request)
        case QueryOpenOrders(order_class=order_class, symbol=symbol):
            plain = order_class is OrderClass.PLAIN
            path = "/fapi/v1/openOrders" if plain else "/fapi/v1/openAlgoOrders"
            return _get(path, _of(symbol))
        case QueryPositions(symbol=symbol):
            return _get("/fapi/v3/positionRisk", _of(symbol))
        case QueryExecutions():
            return _get("/fapi/v1/userTrades", _trades(request, now_ns))
        case QueryFunding():
            return _get("/fapi/v1/income", _income(request, now_ns))
        case QueryBalance():
            return _get("/fapi/v3/balance", ())
        case QueryInstruments():
            return _get("/fapi/v1/exchangeInfo", (), signed="none")
        case QuerySymbolConfig(symbol=symbol):
            return _get("/fapi/v1/symbolConfig", _of(symbol))
        case QueryAccountConfig():
            return _get("/fapi/v1/accountConfig", ())
        case QueryServerTime():
            return _get("/fapi/v1/time", (), signed="none")
        case _:
            raise InvariantViolation(f"binance: no request for {type(request).__name__}")


def _submit(order: SubmitOrder) -> Params:
    if order.stop_loss:
        raise InvariantViolation("binance: an order carries no stop here")
    limit = order.order_type is OrderType.LIMIT
    if not limit and order.order_type is not OrderType.MARKET:
        raise InvariantViolation(f"binance: {order.order_type} is no plain order")
    hedged = order.position_side != "BOTH"
    params = [
        ("symbol", order.symbol),
        ("side", order.side.value),
        ("type", order.order_type.value),
    ]
    if hedged:
        params.append(("positionSide", order.position_side))
    if limit:
        params.append(("timeInForce", order.time_in_force.value))
    params.append(("quantity", text(order.qty)))
    if limit:
        params.append(("price", text(order.price)))
    if order.reduce_only and not hedged:
        params.append(("reduceOnly", "true"))
    params += [("newClientOrderId", order.client_order_id), ("newOrderRespType", "ACK")]
    return tuple(params)


def _place_stop(stop: PlaceStop) -> Params:
    """Quantity and reduce-only, not closePosition: only so may the new one stand beside the old."""
    hedged = stop.position_side != "BOTH"
    params = [
        ("algoType", "CONDITIONAL"),
        ("symbol", stop.symbol),
        ("side", stop.side.value),
        ("type", "STOP_MARKET"),
    ]
    if hedged:
        params.append(("positionSide", stop.position_side))
    params += [
        ("quantity", text(stop.qty)),
        ("triggerPrice", text(stop.trigger_price)),
        ("workingType", _WORKING_TYPE[stop.trigger_by]),
    ]
    if not hedged:
        params.append(("reduceOnly", "true"))
    params += [("clientAlgoId", stop.client_order_id), ("newOrderRespType", "ACK")]
    return tuple(params)


def _cancel(order: CancelOrder, now_ns: TsNs) -> HttpRequest:
    if order.order_class is OrderClass.PLAIN:
        params = (("symbol", order.symbol), *_plain_id(order))
        return _act("DELETE", "/fapi/v1/order", params, now_ns)
    if order.order_class is OrderClass.CONDITIONAL:
        return _act("DELETE", "/fapi/v1/algoOrder", _algo_id(order), now_ns)
    raise InvariantViolation("binance: no order is attached to a position here")


def _look_up(query: QueryOrder) -> HttpRequest:
    match query.surface:
        case OrderSurface.PLAIN:
            return _get("/fapi/v1/order", (("symbol", query.symbol), *_plain_id(query)))
        case OrderSurface.CONDITIONAL:
            return _get("/fapi/v1/algoOrder", _algo_id(query))
        case OrderSurface.HISTORY:
            raise UnknownOrder(VENUE, "query_order", "no-surface", "no history by id here")


def _plain_id(order: CancelOrder | QueryOrder) -> Params:
    if order.venue_order_id:
        return (("orderId", order.venue_order_id),)
    return (("origClientOrderId", _known(order)),)


def _algo_id(order: CancelOrder | QueryOrder) -> Params:
    """The surface tells which one an id is: algoId and orderId are different number spaces."""
    if order.venue_order_id:
        return (("algoId", order.venue_order_id),)
    return (("clientAlgoId", _known(order)),)


def _known(order: CancelOrder | QueryOrder) -> str:
    if not order.client_order_id:
        raise InvariantViolation("binance: an order without any id was asked for")
    return order.client_order_id


def _trades(query: QueryExecutions, now_ns: TsNs) -> Params:
    params = [("symbol", query.symbol)]
    if query.venue_order_id:
        params.append(("orderId", query.venue_order_id))
    if query.cursor.startswith(FROM_ID):
        params.append(("fromId", query.cursor.removeprefix(FROM_ID)))
    else:
        start_ms = trades_start_ms(query, now_ns)
        if start_ms:
            params += [
                ("startTime", str(start_ms)),
                ("endTime", str(start_ms + TRADES_WINDOW_MS)),
            ]
    params.append(("limit", str(TRADES_LIMIT)))
    return tuple(params)


def trades_start_ms(query: QueryExecutions, now_ns: TsNs) -> int:
    """Where the present window of userTrades begins; 0: the venue's own last seven days."""
    if query.cursor.startswith(FROM_TIME):
        return int(query.cursor.removeprefix(FROM_TIME))
    if not query.since_ns:
        return 0
    return max(query.since_ns, now_ns - TRADES_REACH_NS) // MS


def _income(query: QueryFunding, now_ns: TsNs) -> Params:
    """Payments of all symbols, a window a request: how long one may be is not documented."""
    start_ms = income_start_ms(query, now_ns)
    return (
        ("incomeType", "FUNDING_FEE"),
        ("startTime", str(start_ms)),
        ("endTime", str(start_ms + TRADES_WINDOW_MS)),
        ("limit", str(INCOME_LIMIT)),
    )


def income_start_ms(query: QueryFunding, now_ns: TsNs) -> int:
    """Where the present window of the ledger begins; it keeps three months."""
    if query.cursor:
        return int(query.cursor.removeprefix(FROM_TIME))
    return max(query.since_ns, now_ns - TRADES_REACH_NS) // MS


def _of(symbol: str) -> Params:
    return (("symbol", symbol),) if symbol else ()


def _get(path: str, params: Params, *, signed: str = "full") -> HttpRequest:
    return HttpRequest(
        venue=VENUE,
        method="GET",
        path=path,
        params=params,
        signed=signed,
        recv_window_ms=RECV_WINDOW_MS,
    )


def _act(method: str, path: str, params: Params, now_ns: TsNs) -> HttpRequest:
    """A request that changes something: worthless, and dangerous, once its time has passed."""
    return HttpRequest(
        venue=VENUE,
        method=method,
        path=path,
        params=params,
        recv_window_ms=RECV_WINDOW_MS,
        expires_ns=TsNs(now_ns + REQUEST_LIFETIME_NS),
    )

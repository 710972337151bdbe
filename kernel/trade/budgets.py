"""What each request costs in which bucket of its venue.

Sources: venue-binance §2 (weights; orders count in the 10 s window, cancels do not) and
venue-bybit §8 (ten a second for each trade endpoint, fifty for each that is asked, one IP budget
for everything).
"""

from __future__ import annotations

from kernel.errors import Throttled
from kernel.model.traits import StopStyle, VenueTraits
from kernel.model.units import SECOND
from kernel.model.venue import (
    SNAPSHOT_PARTS,
    CancelOrder,
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
    QuerySnapshot,
    QuerySymbolConfig,
    SetLeverage,
    SetMarginMode,
    SetPositionStop,
    SubmitOrder,
    VenueRequest,
)

type Cost = tuple[tuple[str, int], ...]
"""(bucket, units) pairs; a request goes out only when every bucket has room."""

ORDERS = "orders"
QUERIES = "queries"
"""Binance: request weight of the IP; Bybit: requests of the IP."""

_WEIGHTS: dict[type, int] = {
    SubmitOrder: 1,
    PlaceStop: 1,
    SetPositionStop: 1,
    CancelOrder: 1,
    QueryOrder: 1,
    QueryPositions: 5,
    QueryExecutions: 5,
    QueryFunding: 30,
    QueryBalance: 5,
    QueryInstruments: 1,
    QuerySymbolConfig: 5,
    QueryAccountConfig: 5,
    SetLeverage: 1,
    SetMarginMode: 1,
    QueryServerTime: 1,
}
_WHOLE_ACCOUNT_ORDERS = 40
_SNAPSHOT = _WEIGHTS[QueryPositions] + 2 * _WHOLE_ACCOUNT_ORDERS
_ENDPOINTS: dict[type, str] = {
    SubmitOrder: "create",
    PlaceStop: "create",
    CancelOrder: "cancel",
    SetPositionStop: "trading_stop",
    SetLeverage: "set_leverage",
    SetMarginMode: "set_margin",
}
_ASKED: dict[type, str] = {
    QueryOrder: "orders_asked",
    QueryOpenOrders: "orders_asked",
    QueryExecutions: "executions_asked",
    QueryPositions: "positions_asked",
    QueryBalance: "balance_asked",
}
"""Open orders and one order are the same endpoint; the history of orders is taken for it too."""
_SNAPSHOT_ASKS: Cost = (("positions_asked", 1), ("orders_asked", 2))


def cost(traits: VenueTraits, request: VenueRequest) -> Cost:
    """What a request costs."""
    kind = type(request)
    if traits.per_endpoint_budget:
        if kind is QuerySnapshot:
            return (*_SNAPSHOT_ASKS, (QUERIES, len(SNAPSHOT_PARTS)))
        endpoint = _ENDPOINTS.get(kind) or _ASKED.get(kind)
        return ((QUERIES, 1),) if endpoint is None else ((endpoint, 1), (QUERIES, 1))
    if isinstance(request, QueryOpenOrders):
        return ((QUERIES, 1 if request.symbol else _WHOLE_ACCOUNT_ORDERS),)
    weight = _SNAPSHOT if kind is QuerySnapshot else _WEIGHTS[kind]
    if kind in (SubmitOrder, PlaceStop):
        return ((ORDERS, 1), (QUERIES, weight))
    return ((QUERIES, weight),)


def entry_cost(traits: VenueTraits) -> tuple[Cost, Cost]:
    """What an entry costs, and what its stop and its close cost together."""
    if not traits.per_endpoint_budget:
        return ((ORDERS, 1), (QUERIES, 1)), ((ORDERS, 2), (QUERIES, 2))
    stop = "trading_stop" if traits.stop_style is StopStyle.ATTACHED else "create"
    if stop == "create":
        return (("create", 1), (QUERIES, 1)), (("create", 2), (QUERIES, 2))
    return (("create", 1), (QUERIES, 1)), (("create", 1), (stop, 1), (QUERIES, 2))


def limits(traits: VenueTraits) -> dict[str, tuple[int, int]]:
    """Bucket → (units, window in nanoseconds) to start with."""
    orders = (traits.orders_per_window, traits.order_window_ns)
    made = {QUERIES: (traits.queries_per_window, traits.query_window_ns)}
    if not traits.per_endpoint_budget:
        made[ORDERS] = orders
        return made
    for endpoint in dict.fromkeys(_ENDPOINTS.values()):
        made[endpoint] = orders
    for endpoint in dict.fromkeys(_ASKED.values()):
        made[endpoint] = (traits.queries_per_endpoint, SECOND)
    return made


def exhausted(traits: VenueTraits, request: VenueRequest, error: Throttled) -> str:
    """Which bucket a throttling answer speaks of.

    Binance: -1015 is the order count, everything else the request weight. Bybit: the endpoint.
    """
    buckets = [bucket for bucket, _ in cost(traits, request)]
    if traits.per_endpoint_budget:
        return buckets[0]
    return ORDERS if error.code == "-1015" and ORDERS in buckets else QUERIES

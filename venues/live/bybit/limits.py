"""Bybit: what the venue says of its rate limits.

Answers of trade endpoints carry the account's own limit, by its level, in `X-Bapi-Limit`. What is
left of it (`X-Bapi-Limit-Status`) is of a second that is over when the answer arrives: not read.
Source: venue-bybit §2 (headers), §8.
"""

from __future__ import annotations

from kernel.model.messages import HttpReply, HttpRequest
from kernel.model.traits import VenueTraits
from kernel.model.units import SECOND
from kernel.model.venue import RateLimit
from venues.live.wire import header

LIMIT_HEADER = "x-bapi-limit"
BUCKETS = {
    "/v5/order/create": "create",
    "/v5/order/cancel": "cancel",
    "/v5/position/trading-stop": "trading_stop",
    "/v5/position/set-leverage": "set_leverage",
}


class Limits:
    """What was said so far, so that it is told once."""

    def __init__(self, traits: VenueTraits) -> None:
        self._capacities = dict.fromkeys(BUCKETS.values(), traits.orders_per_window)

    def stated(self, http: HttpRequest, reply: HttpReply) -> list[RateLimit]:
        """A new capacity of the endpoint that was asked."""
        bucket = BUCKETS.get(http.path)
        limit = header(reply, LIMIT_HEADER)
        if bucket is None or not limit.isdigit():
            return []
        capacity = int(limit)
        if capacity < 1 or capacity == self._capacities[bucket]:
            return []
        self._capacities[bucket] = capacity
        return [RateLimit(bucket=bucket, capacity=capacity, window_ns=SECOND)]

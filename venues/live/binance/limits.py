"""Binance: what the venue says of its rate limits.

Capacities stand in exchangeInfo: request weight a minute for the address, orders in ten seconds and
in a minute for the account. Counters stand in headers of answers; they count fixed windows, every
client and COIN-M too. Source: venue-binance §2.1 (rateLimits), §5 (headers).
"""

from __future__ import annotations

import msgspec

from kernel.model.messages import HttpReply
from kernel.model.traits import VenueTraits
from kernel.model.units import MINUTE, SECOND
from kernel.model.venue import RateLimit
from venues.live.wire import header

WEIGHT_HEADER = "x-mbx-used-weight-1m"
ORDERS_HEADER = "x-mbx-order-count-10s"
_WEIGHTS = "queries"
_ORDERS = "orders"
_ORDER_WINDOW_NS = 10 * SECOND
_SPOKEN_FROM = 4
"""A counter is told from a quarter of the capacity on: below, it changes nothing."""


class _Limit(msgspec.Struct, frozen=True, rename="camel", gc=False):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _Stated(msgspec.Struct, frozen=True, rename="camel", gc=False):
    rate_limits: tuple[_Limit, ...] = ()


_INTERVALS = {"SECOND": SECOND, "MINUTE": MINUTE}
_stated = msgspec.json.Decoder(_Stated)


class Limits:
    """What was said so far, so that it is told once."""

    def __init__(self, traits: VenueTraits) -> None:
        self._capacities = {
            _WEIGHTS: traits.queries_per_window,
            _ORDERS: traits.orders_per_window,
        }

    def stated(self, exchange_info: bytes) -> list[RateLimit]:
        """New capacities.

        Raises:
            MsgspecError: They can't be read.
        """
        found: dict[str, int] = {}
        for limit in _stated.decode(exchange_info).rate_limits:
            window_ns = _INTERVALS.get(limit.interval, 0) * limit.interval_num
            if limit.rate_limit_type == "REQUEST_WEIGHT" and window_ns == MINUTE:
                found[_WEIGHTS] = limit.limit
            elif limit.rate_limit_type == "ORDERS" and window_ns:
                # The longer window binds too: its share of the shorter one.
                share = limit.limit * _ORDER_WINDOW_NS // window_ns
                found[_ORDERS] = min(found.get(_ORDERS, share), share)
        made = []
        for bucket, capacity in found.items():
            if capacity > 0 and capacity != self._capacities[bucket]:
                self._capacities[bucket] = capacity
                window_ns = MINUTE if bucket == _WEIGHTS else _ORDER_WINDOW_NS
                made.append(RateLimit(bucket=bucket, capacity=capacity, window_ns=window_ns))
        return made

    def counted(self, reply: HttpReply) -> list[RateLimit]:
        """Counters of an answer that are worth to be known."""
        made = []
        for bucket, name in ((_WEIGHTS, WEIGHT_HEADER), (_ORDERS, ORDERS_HEADER)):
            used = header(reply, name)
            if used.isdigit() and int(used) * _SPOKEN_FROM >= self._capacities[bucket]:
                made.append(RateLimit(bucket=bucket, used=int(used)))
        return made

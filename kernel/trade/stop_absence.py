"""The proof that a position has no stop on its venue, for the one who must close without it.

One missing row proves nothing (SPEC, "proof of absence"): two complete reads of the conditional
orders at least the visibility lag apart, both asked for after the last execution that is known,
show none that closes the position, and neither does a look-up of each stop under its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import OrderClass
from kernel.model.units import SECOND, MonoNs
from kernel.trade import evidence

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services


LAST_LOOK_NS = 5 * SECOND
"""So long before the deadline the second look is taken: the later, the more it proves."""


async def has_no_stop(services: Services, position: Position, since_ns: MonoNs) -> bool:
    """Whether it is proven that nothing on the venue protects a position.

    Args:
        services: Of the kernel.
        position: One whose stop is missing from reads.
        since_ns: When that was first seen; the answer comes before the deadline that begins then.

    A read that failed, an execution meanwhile, or a stop that is seen: False, nothing is proven.
    """
    runtime, settings = services.runtime, services.settings
    executions = len(position.fills)
    lag_ns = settings.visibility_lag_seconds * SECOND
    last_ns = since_ns + settings.unprotected_deadline_seconds * SECOND - LAST_LOOK_NS
    try:
        for again in (False, True):
            if again:
                await runtime.sleep_until(MonoNs(max(runtime.now() + lag_ns, last_ns)))
            if await _is_listed(services, position):
                return False
        for stop in position.stops.open():
            if await evidence.look_up(services, stop.order) and not stop.order.terminal:
                return False
    except VenueError:
        return False
    return len(position.fills) == executions and position.qty > 0


async def _is_listed(services: Services, position: Position) -> bool:
    """Whether a complete read shows any conditional order that closes the position."""
    found = await evidence.read_open_orders(
        services, position.venue, position.symbol, OrderClass.CONDITIONAL
    )
    closing = position.side.exit_side
    return any(report.side is closing and not report.status.terminal for report in found)

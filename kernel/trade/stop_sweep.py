"""At the cap on conditional orders: our orphans go first, so that the real stop fits (S05)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.ids import is_ours
from kernel.model.orders import OrderClass, OrderReport
from kernel.trade import evidence

if TYPE_CHECKING:
    from kernel.trade.services import Services


async def sweep(services: Services, venue: str) -> None:
    """Cancel our stops that no living position wants.

    Raises:
        VenueError: The list could not be read; nothing was cancelled.
    """
    for report in await evidence.read_open_orders(services, venue, "", OrderClass.CONDITIONAL):
        if not is_ours(report.client_order_id) or _is_wanted(services, venue, report):
            continue
        services.decide(
            "stop.swept",
            "the cap on conditional orders is reached",
            venue=venue,
            symbol=report.symbol,
            client_order_id=report.client_order_id,
        )
        order = await services.cancels.record(venue, report)
        await services.cancels.attempt(order)  # the retry shows whether there is room
        if not _in_a_set(services, venue, report):
            services.cancels.take(order)


def _in_a_set(services: Services, venue: str, report: OrderReport) -> bool:
    """Whether the stop owner cancels it already, for the position that it was placed for."""
    position = services.book.by_symbol(venue, report.symbol, report.position_side)
    return position is not None and position.stops.find(report.client_order_id) is not None


def _is_wanted(services: Services, venue: str, report: OrderReport) -> bool:
    position = services.book.by_symbol(venue, report.symbol, report.position_side)
    if position is None:  # one that is on the venue is about to be taken up, with its stop
        return services.desks[venue].shown(report.symbol) is not None
    known = position.stops.find(report.client_order_id)
    if known is not None:
        return known.wanted
    order = services.orders.by_client_id(venue, report.client_order_id)
    if order is not None and order.row.position_id != position.id:
        return False
    return not position.stops.verified  # not judged yet after a start: this may be the one

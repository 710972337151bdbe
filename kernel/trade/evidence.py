"""Reading what a venue holds of one symbol, for those who protect and close.

Every function asks through the gateway, all pages, and hands orders and executions to the
registry, which books each once. A failed or partial read raises: it is never "nothing there".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.errors import UnknownOrder, VenueError
from kernel.model.ids import is_ours
from kernel.model.messages import PriceRead
from kernel.model.orders import FillKind, OrderClass, OrderReport, PositionReport
from kernel.model.units import MINUTE, SECOND, ZERO, MonoNs, Price, Qty, TsNs
from kernel.model.venue import EffectClass, OrderSurface

if TYPE_CHECKING:
    from kernel.model.orders import Fill
    from kernel.runtime.primitives import Event
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.book import Position
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

PRICE_FRESH_NS = 10 * SECOND
"""A price of the feed older than this proves nothing."""
_EXECUTIONS_MARGIN_NS = MINUTE


class PositionEvidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One complete read of a symbol's position."""

    qty: Qty
    """ZERO: the venue showed none on that side."""
    report: PositionReport | None
    asked_ns: MonoNs
    asked_ts_ns: TsNs


async def read_position(services: Services, position: Position) -> PositionEvidence:
    """What the venue shows of a position now, all pages.

    Raises:
        VenueError: The read has no value.
    """
    runtime = services.runtime
    asked_ns, asked_ts_ns = runtime.now(), runtime.ts()
    reports = await services.desks[position.venue].gateway.positions(
        position.symbol, cls=EffectClass.PROTECT
    )
    found: PositionReport | None = None
    for report in reports:
        same = report.symbol == position.symbol and report.hedge_leg == position.leg
        if same and report.side is position.side and report.qty:
            found = report
    if found is not None:
        position.hear(found)
    return PositionEvidence(
        qty=ZERO if found is None else found.qty,
        report=found,
        asked_ns=asked_ns,
        asked_ts_ns=asked_ts_ns,
    )


async def read_executions(services: Services, position: Position) -> int:
    """Book every execution of the symbol since the position was opened; how many were new.

    Raises:
        VenueError: The read has no value.
    """
    fills = await services.desks[position.venue].gateway.executions(
        position.symbol,
        TsNs(max(0, position.row.opened_ns - _EXECUTIONS_MARGIN_NS)),
        cls=EffectClass.PROTECT,
    )
    booked = 0
    for fill in fills:
        told = await _with_its_kind(services, position, fill)
        booked += services.orders.on_fill(position.venue, told)
    return booked


async def _with_its_kind(services: Services, position: Position, fill: Fill) -> Fill:
    """A closing execution of nobody we know: its order tells whether the venue forced it.

    Lists of executions do not say so on every venue. Where the order cannot be read it counts as
    an ordinary one.
    """
    desk, orders = services.desks[position.venue], services.orders
    closes = fill.kind is FillKind.TRADE and fill.side is position.side.exit_side
    news = fill.trade_id not in position.fills and fill.ts_ns >= position.row.opened_ns
    if not (closes and news and desk.traits.forced_ids) or fill.client_order_id:
        return fill
    if orders.by_venue_id(position.venue, OrderClass.PLAIN, fill.venue_order_id) is not None:
        return fill
    try:
        order = await desk.gateway.order(
            fill.symbol,
            OrderSurface.PLAIN,
            EffectClass.PROTECT,
            venue_order_id=fill.venue_order_id,
        )
    except VenueError:
        return fill
    kind = desk.traits.forced(order.client_order_id)
    return fill if kind is None else msgspec.structs.replace(fill, kind=kind)


async def read_open_orders(
    services: Services, venue: str, symbol: str, order_class: OrderClass
) -> tuple[OrderReport, ...]:
    """Open orders of one class on one symbol, all pages, each handed to the registry.

    Raises:
        VenueError: The read has no value.
    """
    found = await services.desks[venue].gateway.open_orders(
        order_class, symbol, cls=EffectClass.PROTECT
    )
    for report in found:
        services.orders.on_report(venue, report)
    return found


async def look_up(
    services: Services,
    order: TrackedOrder,
    *,
    cls: EffectClass = EffectClass.PROTECT,
    timeout_ns: int | None = None,
) -> bool:
    """Ask the venue for one order under its id; False: it does not show it (no proof).

    Raises:
        VenueError: The read has no value.
    """
    if order.row.order_class is OrderClass.ATTACHED and not order.row.venue_order_id:
        return False
    for surface in surfaces_of(services, order):
        if await ask_surface(services, order, surface, cls=cls, timeout_ns=timeout_ns):
            return True
    return False


def surfaces_of(services: Services, order: TrackedOrder) -> tuple[OrderSurface, ...]:
    """Where an order can be asked for by its id."""
    plain = order.row.order_class is OrderClass.PLAIN
    first = OrderSurface.PLAIN if plain else OrderSurface.CONDITIONAL
    if services.desks[order.row.venue].traits.history_by_id:
        return (first, OrderSurface.HISTORY)
    return (first,)


async def ask_surface(
    services: Services,
    order: TrackedOrder,
    surface: OrderSurface,
    *,
    cls: EffectClass,
    timeout_ns: int | None = None,
) -> bool:
    """Ask one surface for an order; what it shows goes to the registry. False: not shown.

    Args:
        services: Of the kernel.
        order: One of ours.
        surface: Which one is asked.
        cls: How urgent it is.
        timeout_ns: None: the time-out of the class.

    Raises:
        VenueError: The read has no value.
    """
    row = order.row
    # By the venue's id alone where it knows none of ours.
    nameless = row.order_class is OrderClass.ATTACHED or not is_ours(row.client_order_id)
    known_by = "" if nameless and row.venue_order_id else row.client_order_id
    try:
        report = await services.desks[row.venue].gateway.order(
            row.symbol,
            surface,
            cls,
            client_order_id=known_by,
            venue_order_id=row.venue_order_id,
            timeout_ns=timeout_ns,
        )
    except UnknownOrder:
        return False
    services.orders.on_report(row.venue, report)
    return True


async def fresh_price(services: Services, position: Position) -> Price:
    """The price of the series that triggers stops: the feed's if fresh, else the venue's mark.

    Returns:
        ZERO where neither is known: then nothing may be concluded.
    """
    source = services.settings.stop_source
    read: PriceRead = services.prices.last(position.venue, position.symbol, source)
    if read.price and services.runtime.ts() - read.ts_ns <= PRICE_FRESH_NS:
        return read.price
    try:
        evidence = await read_position(services, position)
    except VenueError:
        return ZERO
    return ZERO if evidence.report is None else evidence.report.mark_price


async def wait_until(runtime: Runtime, event: Event, deadline_ns: int) -> bool:
    """Wait for an event, at most until an instant; False: the instant came first.

    Clear the event, look at the state, then call this.
    """
    if runtime.now() >= deadline_ns:
        return event.is_set
    return await event.wait_until(deadline_ns)


def call_timeout_ns(services: Services) -> int:
    """How long one protective call may take."""
    return services.settings.protection_call_timeout_seconds * SECOND

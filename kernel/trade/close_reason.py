"""Why a position ended, told by its executions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.ids import Leg, leg_of
from kernel.model.orders import Fill, FillKind, OrderClass
from kernel.model.positions import CloseReason, TrailingState
from kernel.trade import stop_levels

if TYPE_CHECKING:
    from kernel.trade.book import Position
    from kernel.trade.services import Services

_BY_KIND = {
    FillKind.LIQUIDATION: CloseReason.LIQUIDATION,
    FillKind.ADL: CloseReason.ADL,
    FillKind.SETTLEMENT: CloseReason.SETTLEMENT,
}


def ended_by(services: Services, position: Position) -> CloseReason | None:
    """What the last closing execution was; None: an order of ours, or nothing is known."""
    last: Fill | None = None
    for fill in position.fills.values():
        closing = fill.side is position.side.exit_side and fill.kind is not FillKind.FUNDING
        if closing and (last is None or fill.ts_ns >= last.ts_ns):
            last = fill
    if last is None:
        return None
    if last.kind in _BY_KIND:
        return _BY_KIND[last.kind]
    order_class = _order_class(services, position, last)
    if order_class is OrderClass.PLAIN:
        return CloseReason.AGED if leg_of(last.client_order_id) is Leg.AGED else None
    if order_class is None and not _at_the_stop(position, last):
        return CloseReason.EXTERNAL
    return stopped_by(position)


def stopped_by(position: Position) -> CloseReason:
    """Which stop it is that stands: the first one, or a trailed one."""
    if position.row.trailing in (TrailingState.ACTIVE, TrailingState.TRIGGERED):
        return CloseReason.TRAILING_STOP
    return CloseReason.STOP_LOSS


def _order_class(services: Services, position: Position, fill: Fill) -> OrderClass | None:
    """The class of the order of ours that filled; None: none of ours."""
    orders = services.orders
    order = orders.by_client_id(position.venue, fill.client_order_id)
    for order_class in OrderClass:
        order = order or orders.by_venue_id(position.venue, order_class, fill.venue_order_id)
    return None if order is None else order.row.order_class


def _at_the_stop(position: Position, fill: Fill) -> bool:
    """Whether a stop at the protected level explains the execution."""
    level = position.row.protected_level
    return bool(level) and stop_levels.is_through(position.side, level, fill.price)

"""Whose a found position is and how it was opened: told by its executions since flat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.errors import UnknownOrder
from kernel.model.ids import Leg, parse_client_order_id
from kernel.model.orders import Fill, FillKind, OrderClass, OrderStatus, OrderType
from kernel.model.rows import OrderRow
from kernel.model.units import DAY, ZERO, TsNs
from kernel.model.venue import EffectClass, OrderSurface

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.model.orders import PositionReport, PositionSide
    from kernel.model.units import Qty
    from kernel.trade.book import Position
    from kernel.trade.services import Services

LOOK_BACK_NS = 6 * DAY
"""Venues serve executions in windows of less than seven days."""


class Opening(msgspec.Struct, frozen=True, gc=False):
    """How a position came about."""

    client_order_id: str = ""
    """The entry of ours that executed last in it; "": it is not ours."""
    fills: tuple[Fill, ...] = ()
    """Every execution since it was flat, oldest first, ours with their ids; empty: some are
    missing, so that nobody can say."""

    @property
    def ours(self) -> bool:
        """It was opened under our prefix."""
        return bool(self.client_order_id)


def since_flat(fills: Sequence[Fill], side: PositionSide, qty: Qty) -> tuple[Fill, ...]:
    """The executions that made a position of this quantity, oldest first; empty: not all known."""
    moved = [fill for fill in fills if fill.kind is not FillKind.FUNDING]
    left = qty
    for number, fill in enumerate(reversed(moved), 1):
        left -= fill.qty if fill.side is side.entry_side else -fill.qty
        if left <= 0:
            return tuple(moved[-number:]) if left == 0 else ()
    return ()


async def opening_of(services: Services, venue: str, report: PositionReport) -> Opening:
    """Look up how a position was opened.

    Raises:
        VenueError: Nobody can tell.
    """
    since = TsNs(services.runtime.ts() - LOOK_BACK_NS)
    fills = await services.desks[venue].gateway.executions(
        report.symbol, since, cls=EffectClass.EXIT
    )
    last = [fill for fill in fills if fill.side is report.side.entry_side]
    if not last:
        return Opening()
    opened_by = await _entry_of(services, venue, last[-1])
    if not opened_by:
        return Opening()
    made_by: dict[str, str] = {last[-1].venue_order_id: opened_by}
    named = []
    for fill in since_flat(fills, report.side, report.qty):
        if fill.venue_order_id not in made_by:
            made_by[fill.venue_order_id] = await _entry_of(services, venue, fill)
        made = made_by[fill.venue_order_id]
        named.append(msgspec.structs.replace(fill, client_order_id=made) if made else fill)
    return Opening(opened_by, tuple(named))


def book_opening(services: Services, position: Position, opening: Opening) -> None:
    """Book the entry of a position that turned out to be ours, with its fees and its time.

    Only where entries of ours explain all of it; else what the venue shows stands as it is.
    """
    fills = opening.fills
    if not fills:
        return
    position.update(first_fill_ns=fills[0].ts_ns)
    total = sum((fill.qty for fill in fills), ZERO)
    if total != position.qty or any(_leg(fill.client_order_id) is not Leg.ENTRY for fill in fills):
        return
    for fill in fills:
        order = services.orders.by_client_id(position.venue, fill.client_order_id)
        if order is None:
            order = services.orders.register(_row(position, fill, fills))
        elif fill.trade_id in order.fills:
            continue
        else:
            services.orders.move(order, position.id)
        services.persist((order.row,))
        services.orders.on_fill(position.venue, fill)


def _row(position: Position, fill: Fill, fills: Sequence[Fill]) -> OrderRow:
    """An entry whose row the store has lost."""
    qty = sum((one.qty for one in fills if one.client_order_id == fill.client_order_id), ZERO)
    return OrderRow(
        venue=position.venue,
        client_order_id=fill.client_order_id,
        symbol=fill.symbol,
        position_id=position.id,
        order_class=OrderClass.PLAIN,
        order_type=OrderType.MARKET,
        side=fill.side,
        qty=qty,
        reduce_only=False,
        venue_order_id=fill.venue_order_id,
        status=OrderStatus.FILLED,
        filled_qty=qty,
        intent_open=False,
        created_ns=fill.ts_ns,
        updated_ns=fill.ts_ns,
    )


async def _entry_of(services: Services, venue: str, fill: Fill) -> str:
    """The id of the entry of ours that executed; "": none. Binance names it in the order only."""
    known = services.orders.by_venue_id(venue, OrderClass.PLAIN, fill.venue_order_id)
    made = fill.client_order_id or ("" if known is None else known.client_order_id)
    if not made:
        try:
            order = await services.desks[venue].gateway.order(
                fill.symbol,
                OrderSurface.PLAIN,
                EffectClass.EXIT,
                venue_order_id=fill.venue_order_id,
            )
        except UnknownOrder:
            return ""  # the venue keeps what filled for longer than we look back
        made = order.client_order_id
    return made if _leg(made) is Leg.ENTRY else ""


def _leg(client_order_id: str) -> Leg | None:
    parts = parse_client_order_id(client_order_id)
    return None if parts is None else parts.leg

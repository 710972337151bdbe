"""Booking executions into positions, each once: (venue, symbol, trade_id).

What changes a position of the venue and belongs to no living one of ours is a *stray*: it is
recorded and told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.orders import ONE_WAY, FillKind, OrderClass, OrderStatus, PositionSide, Side
from kernel.model.rows import FillRow
from kernel.trade.executed import FORCED
from kernel.trade.funding import PAID_WITHIN_NS

if TYPE_CHECKING:
    from kernel.model.orders import Fill
    from kernel.ports.outbox import Outbox
    from kernel.trade.book import Position, PositionBook
    from kernel.trade.orders import OrderRegistry
    from kernel.trade.tracked_order import TrackedOrder

STRAYS_REMEMBERED = 4096


class FillBooking:
    """Books the executions that the registry has found an order for, or none."""

    def __init__(self, orders: OrderRegistry, outbox: Outbox, book: PositionBook) -> None:
        self._orders = orders
        self._outbox = outbox
        self._book = book
        self._booked_stray: dict[tuple[str, str, str], None] = {}

    def book(self, venue: str, fill: Fill, order: TrackedOrder) -> bool:
        """Book an execution of an order of ours; True where it changed a position."""
        if fill.trade_id in order.fills:
            return False
        order.fills[fill.trade_id] = fill
        self._end_if_full(order)
        order.changed.set()
        if not order.row.position_id:  # in the to-cancel ledger only: the symbol's position has it
            return self.book_foreign(venue, fill)
        position = self._book.by_id(order.row.position_id)
        if position is None:
            return False
        awaited = self._is_awaited(position, fill)
        if not position.apply_fill(fill):
            return False
        self._store(venue, fill, position, order)
        if position.state.terminal and fill.kind is not FillKind.FUNDING and not awaited:
            self.stray(venue, fill, "fill after the end of its position")
        return True

    def _end_if_full(self, order: TrackedOrder) -> None:
        """Executions that make up the whole quantity prove the end, also without a report."""
        row = order.row
        if row.order_class is not OrderClass.PLAIN or row.status.terminal or not row.qty:
            return
        if order.filled_qty >= row.qty:
            order.update(
                status=OrderStatus.FILLED,
                filled_qty=order.filled_qty,
                avg_price=order.avg_price,
            )
            self._orders.settled(order)
            self._orders.persist((order.row,))

    def book_foreign(self, venue: str, fill: Fill) -> bool:
        """An execution under nobody's or a stranger's id: the position of the symbol has it.

        Attached stops, liquidations and ADL come without an id of ours; so does what a person
        does by hand. An execution older than the position belongs to an earlier one. In hedge
        mode it tells its leg; a forced one closes, so its side does (hazards H02).
        """
        position = self._book.by_symbol(venue, fill.symbol, ONE_WAY)
        if position is None:
            leg = fill.hedge_leg
            if fill.kind in FORCED:
                leg = PositionSide.LONG if fill.side is Side.SELL else PositionSide.SHORT
            position = self._book.by_symbol(venue, fill.symbol, leg)
        if position is not None and fill.ts_ns >= position.row.opened_ns:
            if not position.apply_fill(fill):
                return False
            self._store(venue, fill, position, None)
            return True
        for ended in self._book.unexplained(venue, fill.symbol):
            if self._is_awaited(ended, fill):
                if ended.apply_fill(fill):
                    self._store(venue, fill, ended, None)
                return False
        key = (venue, fill.symbol, fill.trade_id)
        if fill.kind is FillKind.FUNDING or key in self._booked_stray:
            return False
        self._booked_stray[key] = None
        if len(self._booked_stray) > STRAYS_REMEMBERED:
            del self._booked_stray[next(iter(self._booked_stray))]
        self.stray(venue, fill, "fill without a position of ours")
        return False

    def _is_awaited(self, position: Position, fill: Fill) -> bool:
        """Whether an execution may be one that an ended position lacks."""
        row = position.row
        if position not in self._book.unexplained(position.venue):
            return False
        if position.leg != ONE_WAY and fill.hedge_leg not in (ONE_WAY, position.leg):
            return False
        if fill.kind is FillKind.FUNDING:
            return row.opened_ns <= fill.ts_ns <= row.closed_ns + PAID_WITHIN_NS
        side, qty = position.side.exit_side, position.qty
        if qty < 0:  # of its entry then
            side, qty = position.side.entry_side, -qty
        lacks = fill.side is side and fill.qty <= qty
        return lacks and row.opened_ns <= fill.ts_ns <= row.closed_ns

    def _store(
        self, venue: str, fill: Fill, position: Position, order: TrackedOrder | None
    ) -> None:
        row = FillRow(
            venue=venue,
            symbol=fill.symbol,
            trade_id=fill.trade_id,
            position_id=position.id,
            client_order_id=order.client_order_id if order else fill.client_order_id,
            venue_order_id=fill.venue_order_id,
            side=fill.side,
            qty=fill.qty,
            price=fill.price,
            fee=fill.fee,
            realized_pnl=fill.realized_pnl,
            kind=fill.kind.value,
            ts_ns=fill.ts_ns,
        )
        self._outbox.record(
            "fill.booked",
            fill.kind.value.lower(),
            venue=venue,
            symbol=fill.symbol,
            position_id=position.id,
            client_order_id=row.client_order_id,
            side=fill.side.value,
            qty=fill.qty,
            price=fill.price,
            fee=fill.fee,
            trade_id=fill.trade_id,
        )
        self._book.explain(position)
        self._orders.persist((row, position.row))

    def stray(self, venue: str, fill: Fill, cause: str) -> None:
        """Record an execution that belongs to no living position, and tell of it."""
        self._outbox.record(
            "fill.stray",
            cause,
            venue=venue,
            symbol=fill.symbol,
            client_order_id=fill.client_order_id,
            side=fill.side.value,
            qty=fill.qty,
            price=fill.price,
            trade_id=fill.trade_id,
        )
        self._orders.on_stray(venue, fill)

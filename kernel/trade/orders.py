"""Every order of ours, by client id and by venue id.

1. An order is registered before it is sent, so that whatever the venue says first finds it.
2. Reports are applied by venue id; an older `updated_ns` never overwrites a newer one, and a
   terminal order never opens again.
3. A fill is booked once: (venue, symbol, trade_id).
4. What belongs to nothing that is known is parked and matched later. It is dropped only when
   there is more of it than can be kept, and then a decision says so.
5. A triggered conditional becomes a plain order, its *child*, whose reports and fills belong to
   the parent but never change the parent's own status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernel.errors import InvariantViolation
from kernel.model.ids import (
    Leg,
    OrderIdParts,
    client_order_id,
    is_ours,
    parse_client_order_id,
    symbol_hash,
)
from kernel.model.orders import ONE_WAY, Fill, OrderClass, OrderReport, OrderStatus
from kernel.model.rows import OrderRow, Row
from kernel.model.units import SECOND, TsNs
from kernel.trade.executed import Executed
from kernel.trade.fill_booking import FillBooking
from kernel.trade.parking import Parking, VenueKey
from kernel.trade.tracked_order import TrackedOrder, is_another, is_news

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.ports.outbox import Outbox
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.book import Position, PositionBook

UNHEARD_NS = 2 * SECOND
"""News in a read that are older than this should have come by the stream (hazards W01, W03)."""

__all__ = ["OrderRegistry", "TrackedOrder"]


class OrderRegistry:
    """The orders of one kernel; books fills into positions as they come."""

    def __init__(
        self,
        runtime: Runtime,
        outbox: Outbox,
        book: PositionBook,
        *,
        epoch: int = 0,
    ) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._book = book
        self.epoch = epoch
        self.persist: Callable[[tuple[Row, ...]], None] = _keep_nothing
        """Writes rows behind; set by the kernel."""
        self.on_stray: Callable[[str, Fill], None] = _ignore
        """Told of executions that change a venue position and belong to no living one of ours."""
        self.on_reappeared: Callable[[TrackedOrder], None] = _ignore_order
        """Told of orders that live although they were declared never placed (SPEC §3.1)."""
        self.on_unknown: Callable[[str, OrderReport], None] = _ignore_report
        """Told of reports that belong to no order that is known."""
        self.on_unheard: Callable[[str, TsNs], None] = _ignore_news
        """Told the venue's time of news that a read showed and the stream had not."""
        self._orders: dict[tuple[str, str], TrackedOrder] = {}
        self._by_venue_id: dict[VenueKey, TrackedOrder] = {}
        self._open: dict[tuple[str, str], TrackedOrder] = {}
        self._of_position: dict[str, list[TrackedOrder]] = {}
        self._parking = Parking()
        self._booking = FillBooking(self, outbox, book)
        self.executed = Executed()
        """When something was executed last on each symbol."""

    # ------------------------------------------------------------ our side

    def new_id(self, position: Position, leg: Leg, child: int = 0) -> str:
        """An id for a new intent: the next generation, counted in the position's row.

        The caller stores the position's row together with the intent.
        """
        row, made = position.row, ""
        generation = row.generation
        while not made or (row.venue, made) in self._orders:  # found twice within one minute
            parts = OrderIdParts(
                epoch=self.epoch,
                wave_minute=row.wave_minute,
                symbol_hash=symbol_hash(row.venue, row.symbol),
                leg=leg,
                child=child,
                generation=generation,
            )
            made, generation = client_order_id(parts), generation + 1
        position.update(generation=generation)
        return made

    def register(self, row: OrderRow) -> TrackedOrder:
        """Know an order before it is sent; what was parked for it is applied now.

        Raises:
            InvariantViolation: The id was used.
        """
        key = (row.venue, row.client_order_id)
        if key in self._orders:
            raise InvariantViolation(f"client order id {row.client_order_id} was used before")
        order = TrackedOrder(row, self._runtime)
        self._orders[key] = order
        self._of_position.setdefault(row.position_id, []).append(order)
        if row.intent_open:
            self._open[key] = order
        self._link(order, row.order_class, row.venue_order_id)
        report, fills = self._parking.take_client(key)
        if report is not None:
            self.on_report(row.venue, report, streamed=True)
        for fill in fills:
            self.on_fill(row.venue, fill, streamed=True)
        return order

    def move(self, order: TrackedOrder, position_id: str) -> None:
        """An order of a position that had ended opened another one: it belongs to that now."""
        self._of_position.get(order.row.position_id, []).remove(order)
        order.update(position_id=position_id)
        self._of_position.setdefault(position_id, []).append(order)

    def acked(self, order: TrackedOrder, venue_order_id: str) -> None:
        """The venue took the request and named its id. Not a proof that the order lives."""
        if not order.row.venue_order_id:
            order.update(venue_order_id=venue_order_id)
            self._link(order, order.row.order_class, venue_order_id)

    def conclude(self, order: TrackedOrder, status: OrderStatus, cause: str) -> None:
        """End an order by proof other than a report: a definite refusal, proof of absence.

        Raises:
            InvariantViolation: The status is not terminal.
        """
        if not status.terminal:
            raise InvariantViolation(f"{order.client_order_id}: {status} ends nothing")
        if order.row.status.terminal:
            return
        order.update(status=status, updated_ns=max(order.row.updated_ns, self._runtime.ts()))
        self._outbox.record(
            "order.concluded",
            cause,
            venue=order.row.venue,
            symbol=order.row.symbol,
            position_id=order.row.position_id,
            client_order_id=order.client_order_id,
            status=status.value,
        )
        self.settled(order)
        self.persist((order.row,))
        order.changed.set()

    def reopen(self, order: TrackedOrder, report: OrderReport) -> None:
        """An order that was ended by another proof than a report is still shown live."""
        order.report = report
        order.update(status=report.status, intent_open=True)
        self._open[(order.row.venue, order.client_order_id)] = order
        self._link(order, report.order_class, report.venue_order_id)

    # ------------------------------------------------------------ look-ups

    def by_client_id(self, venue: str, client_id: str) -> TrackedOrder | None:
        """An order of ours by our id."""
        return self._orders.get((venue, client_id))

    def by_venue_id(
        self, venue: str, order_class: OrderClass, venue_order_id: str
    ) -> TrackedOrder | None:
        """An order of ours by the venue's id; a child's id finds its parent."""
        return self._by_venue_id.get((venue, order_class, venue_order_id))

    def of_position(self, position_id: str) -> list[TrackedOrder]:
        """Every order of a position, oldest first."""
        return list(self._of_position.get(position_id, ()))

    def open_orders(self, venue: str = "", symbol: str = "") -> list[TrackedOrder]:
        """Orders that are not proven terminal, oldest first."""
        return [
            order
            for order in self._open.values()
            if venue in ("", order.row.venue) and symbol in ("", order.row.symbol)
        ]

    # ------------------------------------------------------------ the venue's side

    def on_report(
        self, venue: str, report: OrderReport, *, streamed: bool = False
    ) -> TrackedOrder | None:
        """Apply what the venue says of an order.

        Args:
            venue: Name of the venue.
            report: From the stream or from a read.
            streamed: It came by the stream.

        Returns:
            The order of ours it belongs to, whether or not it changed; None: parked.
        """
        order = self._find(venue, report)
        if order is None:
            self._park(venue, report)
            return None
        if self._is_child(order, report):
            changed = self._apply_child(order, report)
        else:
            changed = self._apply(order, report)
        if changed:
            if not streamed:
                self._notice(venue, report.updated_ns)
            self.persist((order.row,))
            order.changed.set()
            position = self._book.by_id(order.row.position_id)
            if position is not None:
                position.changed.set()
        return order

    def on_fill(self, venue: str, fill: Fill, *, streamed: bool = False) -> bool:
        """Book an execution.

        Returns:
            True where it is new and changed a position of ours.
        """
        self.executed.hear(venue, fill)
        order = self._order_of_fill(venue, fill)
        if order is not None:
            booked = self._booking.book(venue, fill, order)
        elif is_ours(fill.client_order_id) and not self._of_a_lost_row(venue, fill):
            self._park_fill(venue, fill)
            return False
        else:
            booked = self._booking.book_foreign(venue, fill)
        if booked and not streamed:
            self._notice(venue, fill.ts_ns)
        return booked

    def _notice(self, venue: str, happened_ns: TsNs) -> None:
        """A read showed news: had they come by the stream, they would be known."""
        if self._runtime.ts() - happened_ns > UNHEARD_NS:
            self.on_unheard(venue, happened_ns)

    def forget(self, positions: Iterable[Position]) -> None:
        """Drop the orders of positions that ended long ago, those still watched excepted."""
        for position in positions:
            for order in self._of_position.pop(position.id, ()):
                key = (order.row.venue, order.client_order_id)
                if key in self._open:
                    self._of_position.setdefault(position.id, []).append(order)
                    continue
                self._orders.pop(key, None)
                self._unlink(order)

    # ------------------------------------------------------------ reports

    def _find(self, venue: str, report: OrderReport) -> TrackedOrder | None:
        found = self._by_venue_id.get((venue, report.order_class, report.venue_order_id))
        if found is None and report.client_order_id:
            found = self._orders.get((venue, report.client_order_id))
            if found is not None and is_another(found.row, report):
                return None
        return found

    @staticmethod
    def _is_child(order: TrackedOrder, report: OrderReport) -> bool:
        return (
            order.row.order_class is OrderClass.CONDITIONAL
            and report.order_class is OrderClass.PLAIN
        )

    def _apply(self, order: TrackedOrder, report: OrderReport) -> bool:
        row = order.row
        reappeared = row.status.terminal and order.report is None and not order.fills
        if row.status.terminal and not report.status.terminal and not reappeared:
            return False
        if order.report is not None and not is_news(order.report, report):
            return False
        changes: dict[str, Any] = {
            "status": report.status,
            "filled_qty": max(row.filled_qty, report.filled_qty),
            "updated_ns": max(row.updated_ns, report.updated_ns),
            "venue_order_id": report.venue_order_id,
        }
        if report.avg_price:
            changes["avg_price"] = report.avg_price
        order.report = report
        order.update(**changes)
        self._link(order, report.order_class, report.venue_order_id)
        self._link(order, OrderClass.PLAIN, report.child_order_id)
        if order.terminal:
            self.settled(order)
        elif reappeared:
            self._reappear(order, "reported live after it was declared ended")
        return True

    def _reappear(self, order: TrackedOrder, cause: str) -> None:
        """An order that was declared ended without the venue's word lives (hazards T05)."""
        order.update(intent_open=True)
        self._open[(order.row.venue, order.client_order_id)] = order
        self._outbox.record(
            "order.reappeared",
            cause,
            venue=order.row.venue,
            symbol=order.row.symbol,
            position_id=order.row.position_id,
            client_order_id=order.client_order_id,
            status=order.row.status.value,
        )
        self.on_reappeared(order)

    def _apply_child(self, order: TrackedOrder, report: OrderReport) -> bool:
        if order.child is not None and not is_news(order.child, report):
            return False
        order.child = report
        self._link(order, OrderClass.PLAIN, report.venue_order_id)
        if order.terminal:
            self.settled(order)
        return True

    def settled(self, order: TrackedOrder) -> None:
        """Nothing more can happen to it: it is open no longer."""
        order.update(intent_open=False)
        self._open.pop((order.row.venue, order.client_order_id), None)

    # ------------------------------------------------------------ fills

    def _order_of_fill(self, venue: str, fill: Fill) -> TrackedOrder | None:
        order = None
        if fill.client_order_id:
            order = self._orders.get((venue, fill.client_order_id))
        for order_class in OrderClass:
            if order is None:
                order = self._by_venue_id.get((venue, order_class, fill.venue_order_id))
        return order

    def _of_a_lost_row(self, venue: str, fill: Fill) -> bool:
        """Whether an earlier process closed a living position by an order that no row tells of.

        After a backup was restored; nobody will register it, and its id names the position.
        """
        parts = parse_client_order_id(fill.client_order_id)
        position = self._book.by_symbol(venue, fill.symbol, ONE_WAY)
        if parts is None or position is None or parts.leg is Leg.ENTRY:
            return False
        return parts.epoch < self.epoch and parts.wave_minute == position.row.wave_minute

    # ------------------------------------------------------------ links and the parked

    def _link(self, order: TrackedOrder, order_class: OrderClass, venue_order_id: str) -> None:
        """Find the order by a venue id from now on; what was parked under it is applied."""
        if not venue_order_id:
            return
        key = (order.row.venue, order_class, venue_order_id)
        self._by_venue_id[key] = order
        report = self._parking.take_report(key)
        if report is not None:
            self.on_report(order.row.venue, report, streamed=True)

    def _unlink(self, order: TrackedOrder) -> None:
        row = order.row
        self._by_venue_id.pop((row.venue, row.order_class, row.venue_order_id), None)
        for report in (order.report, order.child):
            if report is not None:
                self._by_venue_id.pop((row.venue, report.order_class, report.venue_order_id), None)
                self._by_venue_id.pop((row.venue, OrderClass.PLAIN, report.child_order_id), None)

    def _park(self, venue: str, report: OrderReport) -> None:
        known = self._parking.known(venue, report)
        if known is not None and not is_news(known, report):
            return
        self.on_unknown(venue, report)
        dropped = self._parking.report(venue, report)
        if dropped is not None:
            self._drop(venue, dropped.client_order_id, "report")

    def _park_fill(self, venue: str, fill: Fill) -> None:
        new, dropped = self._parking.fill(venue, fill)
        if new:
            self._booking.stray(venue, fill, "fill of an order of ours that is not known")
        if dropped is not None:
            self._drop(venue, dropped.client_order_id, "fill")

    def _drop(self, venue: str, client_id: str, what: str) -> None:
        self._outbox.record(
            "parked.dropped", f"too many parked: {what}", venue=venue, client_order_id=client_id
        )

    def parked(self, venue: str) -> list[OrderReport]:
        """Newest reports of orders that are not known, ours by grammar or not."""
        return self._parking.reports(venue)


def _keep_nothing(rows: tuple[Row, ...]) -> None:
    """Before the kernel is wired there is no store."""


def _ignore(venue: str, fill: Fill) -> None:
    """Before the kernel is wired nobody is told."""


def _ignore_report(venue: str, report: OrderReport) -> None:
    """Before the kernel is wired nobody is told."""


def _ignore_news(venue: str, happened_ns: TsNs) -> None:
    """Before the kernel is wired nobody is told."""


def _ignore_order(order: TrackedOrder) -> None:
    """Before the kernel is wired nobody is told."""

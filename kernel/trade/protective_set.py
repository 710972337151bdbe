"""The protective orders of one position: what is live, what is doubtful, what is to be cancelled.

A stop is known by our client id and by the venue's id; events find it by id, never by a slot
(hazards P09). What a read did not show is not gone: it is kept as a tombstone and probed until a
terminal report (L03). What is no longer wanted stays in the to-cancel ledger until terminal (P02).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kernel.model.orders import OrderClass, OrderReport, OrderStatus, PriceSource
from kernel.model.units import ZERO, MonoNs, Price, Qty, TsNs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.runtime.scheduler import Runtime


class StopPhase(StrEnum):
    """What evidence says of a protective order."""

    SENT = "SENT"
    """Asked for; never seen."""
    LIVE = "LIVE"
    """Seen live, on the stream or in an answer to a query."""
    MISSING = "MISSING"
    """A read did not show it: a tombstone."""
    TRIGGERED = "TRIGGERED"
    GONE = "GONE"
    """Terminal by a report."""


class StopOrder:
    """One protective order."""

    __slots__ = (
        "child_order_id",
        "client_order_id",
        "ended",
        "level",
        "order_class",
        "phase",
        "qty",
        "seen_ns",
        "since_ns",
        "source",
        "updated_ns",
        "venue_order_id",
        "wanted",
    )

    def __init__(
        self,
        client_order_id: str,
        *,
        level: Price,
        qty: Qty,
        source: PriceSource,
        since_ns: MonoNs,
        order_class: OrderClass = OrderClass.CONDITIONAL,
    ) -> None:
        self.client_order_id = client_order_id
        self.venue_order_id = ""
        self.child_order_id = ""
        self.order_class = order_class
        self.level = level
        self.qty = qty
        self.source = source
        self.phase = StopPhase.SENT
        self.wanted = True
        """False: in the to-cancel ledger."""
        self.since_ns = since_ns
        """When the phase began."""
        self.seen_ns = since_ns
        """When evidence last showed it."""
        self.updated_ns = TsNs(0)
        """The venue's time of the newest report applied; older ones change nothing."""
        self.ended = ""
        """The terminal status, once GONE."""

    def move(self, phase: StopPhase, now: MonoNs) -> None:
        """Go to another phase; GONE is final and a triggered stop only ends."""
        if phase is self.phase or self.phase is StopPhase.GONE:
            return
        if self.phase is StopPhase.TRIGGERED and phase is not StopPhase.GONE:
            return
        self.phase = phase
        self.since_ns = now


class StopSet:
    """The protective orders of one position. Empty of opinion: `StopOwner` decides."""

    def __init__(self, runtime: Runtime) -> None:
        self.lock = runtime.lock()
        """Held while a stop is placed, moved or verified: one such operation at a time."""
        self.exposed_since_ns: MonoNs | None = None
        """Since when a fill is known and no confirmed stop covers it; None: covered or flat."""
        self.confirmed_level: Price = ZERO
        """The level last seen live on the venue; ZERO: none so far."""
        self.confirmed_ns: MonoNs | None = None
        """When `confirmed_level` was last confirmed after a move."""
        self._open: dict[str, StopOrder] = {}
        self._by_client: dict[str, StopOrder] = {}
        self._by_venue: dict[tuple[OrderClass, str], StopOrder] = {}

    @property
    def busy(self) -> bool:
        """Whether an operation is in progress."""
        return self.lock.locked

    def expose(self, now: MonoNs) -> None:
        """A fill is known that no confirmed stop covers; the first such moment counts."""
        if self.exposed_since_ns is None:
            self.exposed_since_ns = now

    def add(self, order: StopOrder) -> StopOrder:
        """Keep an order before it is sent.

        Raises:
            AssertionError: The client id is known.
        """
        assert order.client_order_id not in self._by_client, order.client_order_id
        self._open[order.client_order_id] = order
        self._by_client[order.client_order_id] = order
        return order

    def find(self, report: OrderReport) -> StopOrder | None:
        """The order that a report speaks of; its child's reports are not its own."""
        if report.client_order_id and report.order_class is not OrderClass.PLAIN:
            found = self._by_client.get(report.client_order_id)
            if found is not None:
                return found
        return self._by_venue.get((report.order_class, report.venue_order_id))

    def find_parent(self, venue_order_id: str) -> StopOrder | None:
        """The open order whose triggered child has this venue id."""
        for order in self._open.values():
            if order.child_order_id and order.child_order_id == venue_order_id:
                return order
        return None

    def apply(self, order: StopOrder, report: OrderReport, now: MonoNs) -> StopPhase:
        """Apply a report to an order; answers the phase that it had before."""
        before = order.phase
        if report.updated_ns < order.updated_ns and not report.status.terminal:
            return before
        order.updated_ns = max(order.updated_ns, report.updated_ns)
        order.seen_ns = now
        if report.venue_order_id and report.venue_order_id != order.venue_order_id:
            order.venue_order_id = report.venue_order_id
            self._by_venue[(order.order_class, report.venue_order_id)] = order
        if report.child_order_id:
            order.child_order_id = report.child_order_id
        if report.status.terminal:
            order.ended = order.ended or str(report.status)
            order.move(StopPhase.GONE, now)
            self._open.pop(order.client_order_id, None)
        elif report.status in (OrderStatus.TRIGGERING, OrderStatus.TRIGGERED) or report.filled_qty:
            order.move(StopPhase.TRIGGERED, now)
        else:
            order.move(StopPhase.LIVE, now)
            order.qty = report.qty or order.qty
            order.level = report.trigger_price or order.level
            order.source = report.trigger_by
        return before

    def drop(self, order: StopOrder, now: MonoNs, why: str) -> None:
        """Proven never placed, or proven terminal by other evidence than a report."""
        order.ended = order.ended or why
        order.move(StopPhase.GONE, now)
        self._open.pop(order.client_order_id, None)

    def open(self) -> Iterator[StopOrder]:
        """Every order that is not proven terminal, oldest first."""
        return iter(tuple(self._open.values()))

    @property
    def idle(self) -> bool:
        """Nothing is open, doubtful or to be cancelled."""
        return not self._open

    def live(self) -> list[StopOrder]:
        """Wanted orders that evidence shows live."""
        return [o for o in self._open.values() if o.wanted and o.phase is StopPhase.LIVE]

    def triggered(self) -> list[StopOrder]:
        """Orders that triggered and have not ended."""
        return [o for o in self._open.values() if o.phase is StopPhase.TRIGGERED]

    def doubtful(self) -> list[StopOrder]:
        """Wanted orders that were sent or went missing: probed until proof."""
        doubt = (StopPhase.SENT, StopPhase.MISSING)
        return [o for o in self._open.values() if o.wanted and o.phase in doubt]

    def to_cancel(self) -> list[StopOrder]:
        """The to-cancel ledger."""
        return [
            o for o in self._open.values() if not o.wanted and o.phase is not StopPhase.TRIGGERED
        ]

    def live_qty(self) -> Qty:
        """Quantity that live, wanted orders close."""
        return sum((order.qty for order in self.live()), ZERO)

    def drop_wanted(self) -> None:
        """Put every wanted order into the to-cancel ledger (the position is flat)."""
        for order in self._open.values():
            order.wanted = False

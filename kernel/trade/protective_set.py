"""The protective orders of one position: what is live, what is doubtful, what is to be cancelled.

The registry applies the venue's reports to each order by its ids, never by a slot (hazards P09);
this set says what each order is to the position. What a read did not show is not gone: it is a
tombstone, probed until a terminal report (L03). What is no longer wanted stays in the to-cancel
ledger until terminal (P02). Only the stop owner writes here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kernel.model.orders import OrderClass, OrderStatus
from kernel.model.units import ZERO, MonoNs, Price, Qty

if TYPE_CHECKING:
    from kernel.model.orders import OrderReport, PriceSource
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.tracked_order import TrackedOrder

_FIRED = (OrderStatus.TRIGGERING, OrderStatus.TRIGGERED, OrderStatus.PARTIALLY_FILLED)


class StopPhase(StrEnum):
    """What evidence says of a protective order."""

    SENT = "SENT"
    """Asked for; the venue never showed it."""
    LIVE = "LIVE"
    """Seen live, on the stream or in an answer to a query."""
    MISSING = "MISSING"
    """A read did not show it: a tombstone."""
    TRIGGERED = "TRIGGERED"
    GONE = "GONE"
    """Terminal by a report or by another proof."""


class StopOrder:
    """One protective order and what it is to its position.

    Attributes:
        order: The order as the registry keeps it.
        wanted: False: in the to-cancel ledger.
        missing: The last read that should have shown it did not.
        doubt: A send of it had an unknown outcome.
        sent_ns: When it was asked for or found.
        fired_ns: When it was first seen triggered; None before that.
        cancels: How often its cancel was asked.
        cancel_due_ns: Not before then it is asked again (hazards I14).
    """

    __slots__ = (
        "cancel_due_ns",
        "cancels",
        "doubt",
        "fired_ns",
        "missing",
        "order",
        "sent_ns",
        "wanted",
    )

    def __init__(self, order: TrackedOrder, now: MonoNs) -> None:
        self.order = order
        self.wanted = True
        self.missing = False
        self.doubt = False
        self.sent_ns = now
        self.fired_ns: MonoNs | None = None
        self.cancels = 0
        self.cancel_due_ns = now

    @property
    def client_order_id(self) -> str:
        """Our id; of an attached stop one that the venue does not know."""
        return self.order.client_order_id

    @property
    def attached(self) -> bool:
        """Whether it is a property of the position rather than an order of its own."""
        return self.order.row.order_class is OrderClass.ATTACHED

    @property
    def phase(self) -> StopPhase:
        """What the newest evidence says."""
        status = self.order.row.status
        if status.terminal:
            return StopPhase.GONE
        if status in _FIRED:
            return StopPhase.TRIGGERED
        if self.missing:
            return StopPhase.MISSING
        return StopPhase.SENT if self.order.report is None else StopPhase.LIVE

    @property
    def level(self) -> Price:
        """The trigger as the venue shows it; before that as it was asked for."""
        report = self.order.report
        if report is not None and report.trigger_price:
            return report.trigger_price
        return self.order.row.trigger_price

    @property
    def qty(self) -> Qty:
        """What it closes, as the venue shows it; before that as it was asked for."""
        report = self.order.report
        return report.qty if report is not None and report.qty else self.order.row.qty

    @property
    def whole(self) -> bool:
        """Whether it closes the position whatever its size."""
        report = self.order.report
        return self.attached or (report is not None and report.close_position)

    def sound(self, source: PriceSource) -> bool:
        """Whether the venue's picture of it is a closing stop on the right side and series."""
        report, row = self.order.report, self.order.row
        if report is None:
            return False
        closing = report.closes or self.attached
        return closing and report.side is row.side and report.trigger_by is source


class StopSet:
    """The protective orders of one position."""

    __slots__ = (
        "_orders",
        "confirmed",
        "confirmed_ns",
        "exposed_since_ns",
        "fired",
        "gap_ns",
        "list_lied_ns",
        "lock",
    )

    def __init__(self, runtime: Runtime) -> None:
        self.lock = runtime.lock()
        """Held while a stop is placed, moved or verified: one such operation at a time."""
        self.confirmed: Price = ZERO
        """The level that the venue showed live, right side and size; ZERO: none, or lost."""
        self.confirmed_ns: MonoNs | None = None
        """When a stop was last confirmed at a new level."""
        self.exposed_since_ns: MonoNs | None = None
        """Since when a fill is known and no confirmed stop covers it; None: covered or flat."""
        self.gap_ns = 0
        """How long the last exposure lasted, at the last confirmation."""
        self.list_lied_ns: MonoNs | None = None
        """When it was last proven that a complete list had not shown a live stop."""
        self.fired: StopOrder | None = None
        """A stop that triggered and whose end is not yet settled."""
        self._orders: dict[str, StopOrder] = {}

    @property
    def verified(self) -> bool:
        """A stop was proven live and nothing has been heard against it since."""
        return self.confirmed > ZERO

    @property
    def busy(self) -> bool:
        """Whether an operation on the stop is in progress."""
        return self.lock.locked

    @property
    def idle(self) -> bool:
        """Nothing is open, doubtful or to be cancelled."""
        return not self.open()

    def expose(self, now: MonoNs) -> None:
        """No confirmed stop covers the position from now on; the first such moment counts."""
        self.confirmed = ZERO
        if self.exposed_since_ns is None:
            self.exposed_since_ns = now

    def cover(self, level: Price, now: MonoNs) -> None:
        """A stop at `level` is confirmed and covers the position."""
        if level != self.confirmed:
            self.confirmed_ns = now
        self.confirmed = level
        self.gap_ns = 0 if self.exposed_since_ns is None else now - self.exposed_since_ns
        self.exposed_since_ns = None

    def add(self, stop: StopOrder) -> StopOrder:
        """Keep a stop before it is sent, or one that was found.

        Raises:
            AssertionError: Its id is known.
        """
        assert stop.client_order_id not in self._orders, stop.client_order_id
        self._orders[stop.client_order_id] = stop
        return stop

    def find(self, client_order_id: str) -> StopOrder | None:
        """A stop that is not terminal, by our id."""
        return self._orders.get(client_order_id)

    def forget(self, stop: StopOrder) -> None:
        """Leave an order that is not ours to whoever placed it."""
        self._orders.pop(stop.client_order_id, None)

    def open(self) -> list[StopOrder]:
        """Every stop that is not proven terminal, oldest first."""
        return [s for s in self._orders.values() if not s.order.row.status.terminal]

    def settle(self, now: MonoNs) -> list[StopOrder]:
        """Take out the stops that ended, and note the one that fired.

        Returns:
            Those that ended since the last call.
        """
        ended = []
        for key, stop in tuple(self._orders.items()):
            phase = stop.phase
            if phase is StopPhase.TRIGGERED and stop.fired_ns is None:
                stop.fired_ns = now
                self.fired = stop
            elif phase is StopPhase.GONE:
                del self._orders[key]
                ended.append(stop)
                if stop.fired_ns is None and fired_by_end(stop.order.report):
                    stop.fired_ns = now
                    self.fired = stop
        return ended

    def live(self) -> list[StopOrder]:
        """Wanted stops that evidence shows live."""
        return [
            stop for stop in self._orders.values() if stop.wanted and stop.phase is StopPhase.LIVE
        ]

    def doubtful(self) -> list[StopOrder]:
        """Stops that were sent or went missing: probed until proof."""
        doubt = (StopPhase.SENT, StopPhase.MISSING)
        return [stop for stop in self._orders.values() if stop.phase in doubt]

    def to_cancel(self) -> list[StopOrder]:
        """The to-cancel ledger."""
        over = (StopPhase.GONE, StopPhase.TRIGGERED)
        return [
            stop for stop in self._orders.values() if not stop.wanted and stop.phase not in over
        ]

    def unwant(self) -> None:
        """Put every stop into the to-cancel ledger: the position is flat."""
        for stop in self._orders.values():
            stop.wanted = False


def fired_by_end(report: OrderReport | None) -> bool:
    """Whether a terminal report tells that the stop had triggered."""
    return report is not None and report.status in (OrderStatus.FILLED, OrderStatus.FINISHED)

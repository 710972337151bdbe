"""One order of ours: its record, the evidence about it, and which report may change it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kernel.model.orders import OrderStatus
from kernel.model.units import ZERO, Price, Qty, canonical

if TYPE_CHECKING:
    from decimal import Decimal

    from kernel.model.orders import Fill, OrderReport
    from kernel.model.rows import OrderRow
    from kernel.runtime.scheduler import Runtime

_RANK = {
    OrderStatus.NEW: 0,
    OrderStatus.PARTIALLY_FILLED: 1,
    OrderStatus.TRIGGERING: 2,
    OrderStatus.TRIGGERED: 3,
}


class TrackedOrder:
    """One order of ours and the evidence about it.

    Attributes:
        row: The record as it should be stored.
        fills: Distinct executions by trade id, those of the child included.
        changed: Set at every report and fill. Clear it, look, then wait.
        report: The newest report; None: the venue never showed the order.
        child: Newest report of the plain order that this conditional became.
    """

    __slots__ = ("changed", "child", "fills", "report", "row")

    def __init__(self, row: OrderRow, runtime: Runtime) -> None:
        self.row = row
        self.fills: dict[str, Fill] = {}
        self.changed = runtime.event()
        self.report: OrderReport | None = None
        self.child: OrderReport | None = None

    @property
    def client_order_id(self) -> str:
        """Our id."""
        return self.row.client_order_id

    @property
    def terminal(self) -> bool:
        """Proven that nothing more can happen to it, its child included."""
        if not self.row.status.terminal:
            return False
        return self.child is None or self.child.status.terminal

    @property
    def seen(self) -> bool:
        """The venue showed it: by a report or by an execution."""
        return self.report is not None or bool(self.fills)

    @property
    def filled_qty(self) -> Qty:
        """Sum of distinct executions."""
        return sum((fill.qty for fill in self.fills.values()), ZERO)

    @property
    def avg_price(self) -> Price:
        """Average of distinct executions; ZERO without any."""
        qty = self.filled_qty
        if not qty:
            return ZERO
        paid = sum((fill.qty * fill.price for fill in self.fills.values()), ZERO)
        return canonical(paid / qty)

    @property
    def reported_qty(self) -> Qty:
        """Cumulative fill by the venue's reports; above `filled_qty`: executions are missing."""
        child = self.child.filled_qty if self.child is not None else ZERO
        return max(self.row.filled_qty, child)

    @property
    def executions_missing(self) -> bool:
        """Reports tell of more than the executions that arrived."""
        return self.reported_qty > self.filled_qty

    def update(self, **changes: Any) -> None:
        """Replace fields of the row."""
        self.row = msgspec.structs.replace(self.row, **changes)


def is_another(row: OrderRow, report: OrderReport) -> bool:
    """Whether a report under our id is of another order: an id is unique among open ones only."""
    same_class = report.order_class is row.order_class
    return same_class and row.venue_order_id not in ("", report.venue_order_id)


def is_news(known: OrderReport, report: OrderReport) -> bool:
    """Whether a report may overwrite another one of the same order (hazards W10).

    A terminal order never opens again. At equal times the state that is further along wins.
    """
    if known.status.terminal:
        return report.status.terminal and (
            report.filled_qty > known.filled_qty
            or (report.updated_ns >= known.updated_ns and _facts(report) != _facts(known))
        )
    if report.status.terminal:
        return True
    if report.updated_ns != known.updated_ns:
        return report.updated_ns > known.updated_ns
    if report.filled_qty != known.filled_qty:
        return report.filled_qty > known.filled_qty
    return _RANK[report.status] >= _RANK[known.status] and _facts(report) != _facts(known)


def _facts(report: OrderReport) -> tuple[OrderStatus, Decimal, Decimal, Decimal, str]:
    return (
        report.status,
        report.filled_qty,
        report.qty,
        report.trigger_price,
        report.child_order_id,
    )

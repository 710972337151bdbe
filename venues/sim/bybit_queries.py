"""What Bybit V5 shows (venue-bybit.md §3.2, §3.3, §5)."""

from __future__ import annotations

from collections import deque

from kernel.model.orders import OrderClass, OrderReport, PositionReport
from kernel.model.units import DAY
from kernel.model.venue import OrderSurface, QueryOrder
from venues.sim.codes import Refused
from venues.sim.faults import Message
from venues.sim.queries import PageRows, Queries, never_filled
from venues.sim.surfaces import Listed, OrderIndex
from venues.sim.truth import OrderChanged

UNFILLED_KEPT_NS = DAY
"""How long order/history shows a closed order without fills."""


class BybitQueries(Queries):
    """order/realtime with its 500 closed orders, order/history with its delay."""

    rows = PageRows(orders=50, positions=200, executions=100, instruments=1000)
    newest_first = True

    def __init__(self, *args: object, recent_closed: int, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.index = OrderIndex(one_space=True)
        self._history = OrderIndex(one_space=True)
        self._recent: deque[OrderReport] = deque()
        self._recent_closed = recent_closed

    def record_order(self, event: OrderChanged, listed: Listed) -> None:
        super().record_order(event, listed)
        if not event.order.status.terminal:
            return
        self._history.record(event.ts_ns, listed)
        self._recent.append(event.order)
        while len(self._recent) > self._recent_closed:
            self.index.forget(event.ts_ns, self._recent.popleft())

    def wipe(self) -> None:
        """Order/realtime forgets what is closed (a restart of the venue)."""
        while self._recent:
            self.index.forget(self._agenda.now_ns, self._recent.popleft())

    def look_up(self, request: QueryOrder, message: Message) -> OrderReport | None:
        if request.surface is not OrderSurface.HISTORY:
            return super().look_up(request, message)
        report = self._history.find(
            self.cut(self._legs.lag_history, message),
            stop=False,
            venue_order_id=request.venue_order_id,
            client_order_id=request.client_order_id,
        )
        if report is not None and never_filled(report):
            age = self._agenda.now_ns - report.updated_ns
            return report if age <= UNFILLED_KEPT_NS else None
        return report

    def unknown(self) -> Refused:
        return Refused("none", "the list is empty")

    def classes_of(self, order_class: OrderClass) -> tuple[OrderClass, ...]:
        if order_class is OrderClass.CONDITIONAL:
            return (OrderClass.CONDITIONAL, OrderClass.ATTACHED)
        return (order_class,)

    def flat_rows(self, symbol: str, cut: int) -> list[PositionReport]:
        return [self.flat_row(symbol, cut)] if symbol in self._instruments else []

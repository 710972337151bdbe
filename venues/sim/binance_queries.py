"""What Binance USD-M shows (venue-binance.md §2.2, §2.3, §3)."""

from __future__ import annotations

from collections import deque

import msgspec

from kernel.model.orders import Fill, FillKind, OrderReport, PositionReport, Side
from kernel.model.units import DAY, ZERO, TsNs
from kernel.model.venue import ExecutionPage, OrderSurface, QueryFunding, QueryOrder
from venues.sim.faults import Message
from venues.sim.queries import PageRows, Queries, never_filled
from venues.sim.surfaces import Listed
from venues.sim.truth import BalanceChanged, OrderChanged, TruthEvent

UNFILLED_KEPT_NS = 3 * DAY
CLOSED_KEPT_NS = 90 * DAY
_FIRST_PAYMENT = 9_000_000_001
"""Ids of the ledger are not those of trades."""


class BinanceQueries(Queries):
    """Look-ups in two id spaces; closed orders are kept 90 days, unfilled ones 3."""

    rows = PageRows(executions=1000)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._closed: deque[OrderReport] = deque()
        self._funding: list[Fill] = []

    def record(self, event: TruthEvent) -> None:
        super().record(event)
        if isinstance(event, BalanceChanged) and event.balance.reason == "FUNDING_FEE":
            self._funding.append(
                Fill(
                    symbol=event.balance.symbol,
                    trade_id=str(_FIRST_PAYMENT + len(self._funding)),
                    venue_order_id="",
                    client_order_id="",
                    side=Side.BUY,
                    qty=ZERO,
                    price=ZERO,
                    fee=-event.balance.change,
                    fee_asset=event.balance.asset,
                    kind=FillKind.FUNDING,
                    ts_ns=event.ts_ns,
                )
            )

    def funding_page(self, request: QueryFunding) -> ExecutionPage:
        # The ledger lags behind like the executions do.
        message = self._message(request)
        cut = self.cut(self._legs.lag_executions, message)
        size, told = self._page_size(self.rows.executions, message)
        start = int(request.cursor) if request.cursor else 0
        known = [paid for paid in self._funding if request.since_ns <= paid.ts_ns <= cut]
        more = start + size < len(known) and told
        return ExecutionPage(
            fills=tuple(known[start : start + size]),
            next_cursor=str(start + size) if more else "",
        )

    def record_order(self, event: OrderChanged, listed: Listed) -> None:
        super().record_order(event, listed)
        if not event.order.status.terminal:
            return
        self._closed.append(event.order)
        while self._closed[0].updated_ns < event.ts_ns - CLOSED_KEPT_NS:
            self.index.forget(event.ts_ns, self._closed.popleft())

    def look_up(self, request: QueryOrder, message: Message) -> OrderReport | None:
        if request.surface is OrderSurface.HISTORY:
            return None
        report = super().look_up(request, message)
        if report is None or not report.status.terminal:
            return report
        kept = UNFILLED_KEPT_NS if never_filled(report) else CLOSED_KEPT_NS
        return report if self._agenda.now_ns - report.updated_ns <= kept else None

    def shown_position(self, report: PositionReport) -> PositionReport:
        # positionRisk v3 tells neither leverage nor when it was opened; there is no sequence.
        return msgspec.structs.replace(report, leverage=ZERO, opened_ns=TsNs(0), seq=0)

    def shown_fill(self, fill: Fill) -> Fill:
        # userTrades rows carry the order id only.
        return Fill(
            symbol=fill.symbol,
            trade_id=fill.trade_id,
            venue_order_id=fill.venue_order_id,
            client_order_id="",
            side=fill.side,
            qty=fill.qty,
            price=fill.price,
            fee=fill.fee,
            fee_asset=fill.fee_asset,
            realized_pnl=fill.realized_pnl,
            is_maker=fill.is_maker,
            kind=FillKind.TRADE,
            ts_ns=fill.ts_ns,
            hedge_leg=fill.hedge_leg,
        )

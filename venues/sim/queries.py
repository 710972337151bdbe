"""What a venue shows: the query surfaces with their lags, pages and lies.

Truth events are recorded here as they happen; a query is answered with what its surface knew a
lag ago. Faults of surfaces (lag, amnesia, short pages, left-out classes) act here, and only here.
What the two venues show differently is in the two subclasses.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import (
    BalanceReport,
    Fill,
    OrderClass,
    OrderReport,
    OrderStatus,
    PositionReport,
    PositionSide,
    PriceSource,
)
from kernel.model.units import DAY, ZERO, TsNs
from kernel.model.venue import (
    AccountConfig,
    ExecutionPage,
    InstrumentPage,
    OrderPage,
    OrderSurface,
    PositionPage,
    QueryAccountConfig,
    QueryBalance,
    QueryExecutions,
    QueryFunding,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySymbolConfig,
    ServerTime,
    SymbolConfig,
    VenueRequest,
)
from venues.sim.account import Account
from venues.sim.agenda import Agenda
from venues.sim.codes import Refused
from venues.sim.fault_kinds import Amnesia, OmitClass, PageLimit, RestLag
from venues.sim.faults import FaultBook, Message, message_of
from venues.sim.legs import Legs
from venues.sim.market import VenuePrices
from venues.sim.surfaces import Executions, Lagged, Listed, OpenList, OrderIndex
from venues.sim.truth import BalanceChanged, OrderChanged, PositionChanged, Traded, TruthEvent

EVERYTHING = 1 << 60
"""Rows a page where the venue does not page."""

_WALLET = "wallet"
_UNSEEN = Message("query", "")


class PageRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows a page by list."""

    orders: int = EVERYTHING
    positions: int = EVERYTHING
    executions: int = EVERYTHING
    instruments: int = EVERYTHING


class Queries:
    """The query side of one venue."""

    rows = PageRows()
    newest_first = False
    """Order of lists of orders."""

    def __init__(
        self,
        agenda: Agenda,
        prices: VenuePrices,
        account: Account,
        *,
        instruments: dict[str, Instrument],
        faults: FaultBook,
        legs: Legs,
    ) -> None:
        self._agenda = agenda
        self._prices = prices
        self._account = account
        self._instruments = instruments
        self._faults = faults
        self._faulty = faults.installed(RestLag, Amnesia, PageLimit, OmitClass)
        self._legs = legs
        self.lists = {order_class: OpenList() for order_class in OrderClass}
        self.index = OrderIndex()
        self.executions = Executions()
        self._positions: Lagged[tuple[str, str], PositionReport] = Lagged()
        self._ever: Lagged[tuple[str, str], PositionReport] = Lagged()
        self._balance: Lagged[str, BalanceReport] = Lagged()
        self._held_rows: tuple[PositionReport, ...] = ()
        self._held_version = 0
        self._shown: dict[tuple[str, str], tuple[PositionReport, PositionReport]] = {}
        now = agenda.now_ns
        self._balance.record(now, _WALLET, account.balance(now, "", ZERO, ""))

    # ------------------------------------------------------------------ recording

    def record(self, event: TruthEvent) -> None:
        """Take note of a truth event."""
        if type(event) is OrderChanged:
            listed = Listed(event.ordinal, event.order)
            self.lists[event.order.order_class].record(event.ts_ns, listed)
            self.record_order(event, listed)
        elif type(event) is Traded:
            self.record_fill(event.fill)
        elif type(event) is PositionChanged:
            position = event.position
            key = (position.symbol, position.hedge_leg)
            self._ever.record(event.ts_ns, key, position)
            self._positions.record(event.ts_ns, key, position if position.qty else None)
        elif type(event) is BalanceChanged:
            self._balance.record(event.ts_ns, _WALLET, event.balance)

    def record_order(self, event: OrderChanged, listed: Listed) -> None:
        """Take note of an order for look-ups by id."""
        self.index.record(event.ts_ns, listed)

    def record_fill(self, fill: Fill) -> None:
        """Take note of an execution."""
        self.executions.record(fill)

    # ------------------------------------------------------------------ lags and faults

    def _message(self, request: VenueRequest) -> Message:
        # Only faults look at it, and without them most questions are answered in microseconds.
        return message_of(request) if self._faulty else _UNSEEN

    def cut(self, lag_ns: int, message: Message) -> int:
        """The moment that a surface shows now."""
        now = self._agenda.now_ns
        if not self._faulty:
            return now - lag_ns
        for fault in self._faults.every(RestLag, message, now):
            lag_ns += fault.lag_ns
        return now - lag_ns

    def forgotten(self, message: Message, report: OrderReport, *, in_list: bool = False) -> bool:
        """Whether the venue denies an order that it has."""
        if not self._faulty:
            return False
        about = msgspec.structs.replace(
            message,
            symbol=report.symbol,
            client_order_id=report.client_order_id,
            entity=report.client_order_id or report.venue_order_id,
        )
        fault = self._faults.first(Amnesia, about, self._agenda.now_ns)
        return fault is not None and (fault.lists or not in_list)

    # ------------------------------------------------------------------ orders

    def order(self, request: QueryOrder) -> OrderReport:
        """One order by id.

        Raises:
            Refused: The surface does not show it.
        """
        message = self._message(request)
        report = self.look_up(request, message)
        if report is None or self.forgotten(message, report):
            raise self.unknown()
        return report

    def look_up(self, request: QueryOrder, message: Message) -> OrderReport | None:
        """The order as the surface shows it, before amnesia."""
        stop = request.surface is OrderSurface.CONDITIONAL
        lag = self._legs.lag_conditional if stop else self._legs.lag_plain
        return self.index.find(
            self.cut(lag, message),
            stop=stop,
            venue_order_id=request.venue_order_id,
            client_order_id=request.client_order_id,
        )

    def unknown(self) -> Refused:
        """The answer to a look-up of an order that is not shown."""
        return Refused("-2013", "Order does not exist.")

    def open_orders(self, request: QueryOpenOrders) -> OrderPage:
        """One page of open orders of one class."""
        conditional = request.order_class is not OrderClass.PLAIN
        lag = self._legs.lag_conditional if conditional else self._legs.lag_plain
        if not (self._faulty or request.symbol or request.cursor):
            page = self._whole_page(request.order_class, self._agenda.now_ns - lag)
            if page is not None:
                return page
        message = self._message(request)
        classes = self.classes_of(request.order_class)
        return self._open_page(request, message, classes, self.cut(lag, message))

    def _whole_page(self, order_class: OrderClass, cut: int) -> OrderPage | None:
        """The list as it stands, where it fits one page; None: it has to be made."""
        found = [self.lists[one].page_at(cut) for one in self.classes_of(order_class)]
        page = found[0]
        for other in found[1:]:
            if page.orders and other.orders:
                return None
            page = page if page.orders else other
        most = 1 if self.newest_first else self.rows.orders
        return page if len(page.orders) <= most else None

    def classes_of(self, order_class: OrderClass) -> tuple[OrderClass, ...]:
        """Which classes a list of this class shows."""
        return (order_class,)

    def _open_page(
        self,
        request: QueryOpenOrders,
        message: Message,
        classes: tuple[OrderClass, ...],
        cut: int,
    ) -> OrderPage:
        now = self._agenda.now_ns
        found: list[Listed] = []
        for order_class in classes:
            found += self.lists[order_class].at(cut)
        omitted = [
            fault.order_class for fault in self._faults.every(OmitClass, message, now)
        ]
        found = [
            listed
            for listed in found
            if (not request.symbol or listed.report.symbol == request.symbol)
            and listed.report.order_class.value not in omitted
            and not self.forgotten(message, listed.report, in_list=True)
        ]
        sign = -1 if self.newest_first else 1
        if len(classes) > 1 or self.newest_first:
            found.sort(key=lambda listed: listed.ordinal * sign)
        if request.cursor:
            start = int(request.cursor)
            found = [listed for listed in found if listed.ordinal * sign > start * sign]
        rows, told = self._page_size(self.rows.orders, message)
        more = len(found) > rows and told
        shown = found[:rows]
        return OrderPage(
            orders=tuple(listed.report for listed in shown),
            next_cursor=str(shown[-1].ordinal) if more else "",
        )

    def _page_size(self, rows: int, message: Message) -> tuple[int, bool]:
        if not self._faulty:
            return rows, True
        fault = self._faults.first(PageLimit, message, self._agenda.now_ns)
        if fault is None or fault.rows >= rows:
            return rows, True
        return max(fault.rows, 1), fault.cursor

    # ------------------------------------------------------------------ positions and executions

    def positions(self, request: QueryPositions) -> PositionPage:
        """One page of positions, each with its mark price of this moment."""
        if not (self._faulty or request.symbol or request.cursor):
            held = self._held(self._agenda.now_ns - self._legs.lag_positions)
            if len(held) <= self.rows.positions:
                return PositionPage(positions=tuple([self.marked(row) for row in held]))
        message = self._message(request)
        cut = self.cut(self._legs.lag_positions, message)
        rows = self._positions.at(cut)
        reports = list(rows.values())
        if request.symbol:
            reports = [report for report in reports if report.symbol == request.symbol]
            if not reports:
                reports = self.flat_rows(request.symbol, cut)
        reports.sort(key=_position_key)
        start = int(request.cursor) if request.cursor else 0
        size, told = self._page_size(self.rows.positions, message)
        shown = reports[start : start + size]
        more = start + size < len(reports) and told
        return PositionPage(
            positions=tuple([self.marked(self._row(report)) for report in shown]),
            next_cursor=str(start + size) if more else "",
        )

    def _held(self, cut: int) -> tuple[PositionReport, ...]:
        """Every open position as its row without a mark price; made anew only after a change."""
        rows = self._positions.at(cut)
        if self._held_version != self._positions.version:
            self._held_version = self._positions.version
            reports = sorted(rows.values(), key=_position_key)
            self._held_rows = tuple([self._row(report) for report in reports])
        return self._held_rows

    def flat_rows(self, symbol: str, cut: int) -> list[PositionReport]:
        """Rows of a symbol without a position."""
        return []

    def flat_row(self, symbol: str, cut: int) -> PositionReport:
        """The row of a symbol that is flat, with its latest sequence."""
        last = self._ever.at(cut).get((symbol, "BOTH"))
        if last is not None and not last.qty:
            return last
        return PositionReport(
            symbol=symbol,
            side=PositionSide.FLAT,
            qty=ZERO,
            leverage=self._account.leverage(symbol),
        )

    def position_at(self, symbol: str, hedge_leg: str, cut: int) -> PositionReport | None:
        """The open position as a surface with this cut knows it."""
        return self._positions.at(cut).get((symbol, hedge_leg))

    def _row(self, report: PositionReport) -> PositionReport:
        # A position is asked for far more often than it changes.
        key = _position_key(report)
        known = self._shown.get(key)
        if known is None or known[0] is not report:
            known = self._shown[key] = (report, self.shown_position(report))
        return known[1]

    def shown_position(self, report: PositionReport) -> PositionReport:
        """A position as a row of the list, without what depends on the price."""
        return report

    def marked(self, report: PositionReport) -> PositionReport:
        """A position with its mark price."""
        mark = self._prices.last(report.symbol, PriceSource.MARK).price
        return msgspec.structs.replace(report, mark_price=mark)

    def execution_page(self, request: QueryExecutions) -> ExecutionPage:
        """One page of executions, oldest first."""
        message = self._message(request)
        cut = self.cut(self._legs.lag_executions, message)
        start = int(request.cursor) if request.cursor else -1
        rows, told = self._page_size(self.rows.executions, message)
        fills: list[Fill] = []
        place = -1
        for at, fill in self._wanted(request, cut):
            if at <= start:
                continue
            if len(fills) == rows:
                return ExecutionPage(fills=tuple(fills), next_cursor=str(place) if told else "")
            fills.append(self.shown_fill(fill))
            place = at
        return ExecutionPage(fills=tuple(fills))

    def _wanted(self, request: QueryExecutions, cut: int) -> Iterable[tuple[int, Fill]]:
        # Without a time and without an order both venues show the last seven days.
        order_id = request.venue_order_id or request.client_order_id
        if order_id:
            return self.executions.of_order(request.symbol, order_id, request.since_ns, cut)
        since = request.since_ns or cut - 7 * DAY
        return self.executions.between(request.symbol, since, cut)

    def shown_fill(self, fill: Fill) -> Fill:
        """An execution as a row of the list."""
        return fill

    def funding_page(self, request: QueryFunding) -> ExecutionPage:
        """One page of funding, where the venue keeps a ledger of it.

        Raises:
            Refused: It keeps none.
        """
        raise self.unknown()

    # ------------------------------------------------------------------ account and instruments

    def balance(self, request: QueryBalance) -> BalanceReport:
        """The wallet."""
        now = self._agenda.now_ns
        cut = self.cut(self._legs.lag_balance, self._message(request))
        if cut == now:
            return self._account.balance(now, "", ZERO, "")
        return self._balance.at(cut)[_WALLET]

    def instruments(self, request: QueryInstruments) -> InstrumentPage:
        """One page of instruments."""
        known = list(self._instruments.values())
        start = int(request.cursor) if request.cursor else 0
        size, told = self._page_size(self.rows.instruments, self._message(request))
        more = start + size < len(known) and told
        return InstrumentPage(
            instruments=tuple(known[start : start + size]),
            next_cursor=str(start + size) if more else "",
        )

    def symbol_config(self, request: QuerySymbolConfig) -> SymbolConfig:
        """Leverage and margin mode of a symbol."""
        return SymbolConfig(
            symbol=request.symbol,
            leverage=self._account.leverage(request.symbol),
            isolated=self._account.isolated(request.symbol),
        )

    def account_config(self, request: QueryAccountConfig) -> AccountConfig:
        """Position mode and permissions."""
        rules = self._account.rules
        return AccountConfig(
            hedge_mode=self._account.hedge_mode,
            can_trade=self._account.can_trade,
            can_withdraw=rules.can_withdraw,
            isolated=self._account.isolated(""),
        )

    def server_time(self, request: QueryServerTime) -> ServerTime:
        """The venue's clock."""
        return ServerTime(ts_ns=TsNs(self._agenda.now_ns))


def _position_key(report: PositionReport) -> tuple[str, str]:
    return (report.symbol, report.hedge_leg)


def never_filled(report: OrderReport) -> bool:
    """Whether a closed order ended without any fill."""
    return report.status is not OrderStatus.FILLED and not report.filled_qty

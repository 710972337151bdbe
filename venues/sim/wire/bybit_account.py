"""Market, positions, executions, wallet and settings of Bybit V5 on the wire.

Source: venue-bybit.md §3.1, §3.3 and §3.4.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kernel.model.instrument import Instrument
from kernel.model.orders import BalanceReport, Fill, PositionReport, PositionSide
from kernel.model.units import MS, SECOND, ZERO, TsNs
from kernel.model.venue import (
    AccountConfig,
    Done,
    ExecutionPage,
    InstrumentPage,
    PositionPage,
    QueryAccountConfig,
    QueryBalance,
    QueryExecutions,
    QueryInstruments,
    QueryPositions,
    QueryServerTime,
    ServerTime,
    SetLeverage,
)
from venues.sim.wire.bybit_errors import envelope, refusal
from venues.sim.wire.bybit_orders import linear, token, untoken
from venues.sim.wire.bybit_rows import BybitRows
from venues.sim.wire.core import Asked, Local, Response, WireCore, told
from venues.sim.wire.fields import BadField, Fields

USUAL_POSITIONS, MOST_POSITIONS = 20, 200
USUAL_EXECUTIONS, MOST_EXECUTIONS = 50, 100
USUAL_INSTRUMENTS, MOST_INSTRUMENTS = 500, 1000

_FLAT: dict[str, Any] = {
    "side": PositionSide.FLAT, "qty": ZERO, "entry_price": ZERO, "liquidation_price": ZERO,
    "stop_price": ZERO, "opened_ns": TsNs(0),
}  # fmt: skip


class AccountRoutes:
    """Routes of /v5/market, /v5/position, /v5/execution, /v5/account and /v5/user."""

    def __init__(self, core: WireCore, rows: BybitRows) -> None:
        self._core = core
        self._rows = rows

    # ------------------------------------------------------------------ market

    def time(self, _fields: Fields) -> Asked | Local:
        """GET market/time."""

        def show(reply: ServerTime) -> Response:
            now = reply.ts_ns
            result = {"timeSecond": str(now // SECOND), "timeNano": str(now)}
            return envelope(result, self._core.now_ms)

        return Asked(QueryServerTime(), show)

    def instruments(self, fields: Fields) -> Asked | Local:
        """GET instruments-info: without a symbol or a status, what is trading."""
        if fields.text("category") != "linear":
            return told("instruments", self._list([], ""))
        symbol = fields.text("symbol", "")
        status = fields.text("status", "" if symbol else "Trading")
        limit = min(fields.whole("limit", USUAL_INSTRUMENTS), MOST_INSTRUMENTS)
        start = untoken(fields.text("cursor", ""))
        request = QueryInstruments(cursor=start)

        def wanted(one: Instrument) -> bool:
            own = "Trading" if one.trading else "Closed"
            return one.symbol == symbol if symbol else own == status

        def show(page: InstrumentPage) -> Response:
            rows = [
                self._rows.instrument(one, self._core.venue.place_of(one.symbol))
                for one in page.instruments[:limit]
                if wanted(one)
            ]
            return self._list(rows, _offset(page.next_cursor, start, limit, page.instruments))

        return Asked(request, show)

    # ------------------------------------------------------------------ positions, executions

    def positions(self, fields: Fields) -> Asked | Local:
        """GET position/list: of a symbol also when flat, of a coin only what is open."""
        if fields.text("category") != "linear":
            return told("positions", self._list([], ""))
        if not fields.has("symbol") and not fields.has("settleCoin"):
            raise BadField("symbol", missing=True)
        limit = min(fields.whole("limit", USUAL_POSITIONS), MOST_POSITIONS)
        start = untoken(fields.text("cursor", ""))
        request = QueryPositions(symbol=fields.text("symbol", ""), cursor=start)

        def show(page: PositionPage) -> Response:
            shown_page = self._both_legs(page.positions) if request.symbol else page.positions
            rows = [self._rows.position(one) for one in shown_page[:limit]]
            return self._list(rows, _offset(page.next_cursor, start, limit, page.positions))

        return Asked(request, show)

    def _both_legs(self, reports: tuple[PositionReport, ...]) -> tuple[PositionReport, ...]:
        # In hedge mode a symbol has a row for each leg, flat or not.
        if not reports or not self._core.venue.account.hedge_mode:
            return reports
        open_legs = {one.hedge_leg: one for one in reports if one.qty}
        flat = msgspec.structs.replace(reports[0], **_FLAT) if reports[0].qty else reports[0]
        return tuple(
            open_legs.get(leg) or msgspec.structs.replace(flat, hedge_leg=leg)
            for leg in ("LONG", "SHORT")
        )

    def executions(self, fields: Fields) -> Asked | Local:
        """GET execution/list: newest first."""
        linear(fields)
        venue_id = fields.text("orderId", "")
        client = "" if venue_id else fields.text("orderLinkId", "")
        limit = min(fields.whole("limit", USUAL_EXECUTIONS), MOST_EXECUTIONS)
        end_ms = fields.whole("endTime", 0)
        kind = fields.text("execType", "")
        behind = untoken(fields.text("cursor", ""))
        known = self._core.notes.client_symbol(venue_id, client) if venue_id or client else ""
        request = QueryExecutions(
            symbol=fields.text("symbol", known),
            since_ns=TsNs(fields.whole("startTime", 0) * MS),
            venue_order_id=venue_id,
            client_order_id=client,
        )

        def show(first: ExecutionPage) -> Response:
            pages = self._core.rest(request, first)
            fills = [
                fill
                for page in reversed(pages)
                for fill in reversed(page.fills)
                if not end_ms or fill.ts_ns // MS <= end_ms
            ]
            rows = [self._rows.execution(fill) for fill in _behind(fills, behind)]
            rows = [row for row in rows if not kind or row["execType"] == kind]
            cursor = token(rows[limit - 1]["execId"]) if len(rows) > limit else ""
            return self._list(rows[:limit], cursor)

        return Asked(request, show)

    # ------------------------------------------------------------------ account

    def wallet(self, _fields: Fields) -> Asked | Local:
        """GET wallet-balance."""

        def show(report: BalanceReport) -> Response:
            isolated = self._core.venue.account.isolated("")
            result = {"list": [self._rows.wallet(report, isolated=isolated)]}
            return envelope(result, self._core.now_ms)

        return Asked(QueryBalance(), show)

    def info(self, _fields: Fields) -> Asked | Local:
        """GET account/info: the margin mode of the whole account."""

        def show(config: AccountConfig) -> Response:
            result = {
                "marginMode": "ISOLATED_MARGIN" if config.isolated else "REGULAR_MARGIN",
                "updatedTime": "1697078946000",
                "unifiedMarginStatus": 6,
                "dcpStatus": "OFF",
                "timeWindow": 0,
                "smpGroup": 0,
                "isMasterTrader": False,
                "spotHedgingStatus": "OFF",
            }
            return envelope(result, self._core.now_ms)

        return Asked(QueryAccountConfig(), show)

    def api_key(self, _fields: Fields) -> Asked | Local:
        """GET user/query-api: what the key may do."""

        def show(config: AccountConfig) -> Response:
            withdraw = ["Withdraw"] if config.can_withdraw else []
            trade = ["Order", "Position"] if config.can_trade else ["Position"]
            result: dict[str, Any] = {
                "id": "1",
                "note": "",
                "apiKey": "k",
                "readOnly": 0,
                "secret": "",
                "permissions": {
                    "ContractTrade": trade,
                    "Wallet": ["AccountTransfer", *withdraw],
                },
                "ips": ["*"],
                "type": 1,
                "deadlineDay": 80,
                "expiredAt": "2027-02-10T00:00:00Z",
                "createdAt": "2026-11-12T00:00:00Z",
                "unified": 0,
                "uta": 1,
                "userID": 1,
                "vipLevel": "No VIP",
                "isMaster": True,
                "parentUid": "0",
            }
            return envelope(result, self._core.now_ms)

        return Asked(QueryAccountConfig(), show)

    def leverage(self, fields: Fields) -> Asked | Local:
        """POST set-leverage: both sides must be equal."""
        linear(fields)
        leverage = fields.number("buyLeverage")
        if fields.number("sellLeverage") != leverage:
            raise BadField("sellLeverage", missing=False)

        def show(done: Done) -> Response:
            now_ms = self._core.now_ms
            if done.already:
                return refusal(110043, "leverage not modified", now_ms)
            return envelope({}, now_ms)

        return Asked(SetLeverage(symbol=fields.text("symbol"), leverage=leverage), show)

    def _list(self, rows: list[dict[str, Any]], cursor: str) -> Response:
        result = {"category": "linear", "list": rows, "nextPageCursor": cursor}
        return envelope(result, self._core.now_ms)


def _offset(told_cursor: str, start: str, limit: int, rows: tuple[object, ...]) -> str:
    if len(rows) > limit:
        return token(str(int(start or 0) + limit))
    return token(told_cursor) if told_cursor else ""


def _behind(fills: list[Fill], trade_id: str) -> list[Fill]:
    """The rows behind the one that a cursor names."""
    if not trade_id:
        return fills
    for place, fill in enumerate(fills):
        if fill.trade_id == trade_id:
            return fills[place + 1 :]
    return []

"""Instruments, positions, money, settings and trades of Binance USD-M on the wire.

Source: venue-binance.md §2.1 and §2.2.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kernel.model.orders import BalanceReport, Fill
from kernel.model.units import MS, TsNs
from kernel.model.venue import (
    AccountConfig,
    Done,
    ExecutionPage,
    InstrumentPage,
    PositionPage,
    QueryAccountConfig,
    QueryBalance,
    QueryExecutions,
    QueryFunding,
    QueryInstruments,
    QueryPositions,
    QuerySymbolConfig,
    SetLeverage,
    SetMarginMode,
    SymbolConfig,
)
from venues.sim.wire.binance_errors import refusal
from venues.sim.wire.binance_rows import BinanceRows
from venues.sim.wire.core import Asked, Local, Response, WireCore, shown
from venues.sim.wire.fields import Fields

MOST_TRADES = 1000
USUAL_TRADES = 500
_MOST = 125
USUAL_INCOME = 100
_FUNDING = "FUNDING_FEE"
TRADES_WINDOW_MS = 7 * 24 * 3_600_000
"""userTrades shows at most this much from startTime on."""


class AccountRoutes:
    """Positions, money, settings, instruments, executions."""

    def __init__(self, core: WireCore, rows: BinanceRows) -> None:
        self._core = core
        self._rows = rows

    def exchange_info(self, _fields: Fields) -> Asked | Local:
        """GET exchangeInfo: always all symbols."""
        request = QueryInstruments()

        def show(first: InstrumentPage) -> Response:
            return shown({
                "timezone": "UTC",
                "serverTime": self._core.now_ms,
                "futuresType": "U_MARGINED",
                "rateLimits": [
                    _limit("REQUEST_WEIGHT", "MINUTE", 1, 2400),
                    _limit("ORDERS", "MINUTE", 1, 1200),
                    _limit("ORDERS", "SECOND", 10, 300),
                ],
                "exchangeFilters": [],
                "assets": [
                    {"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}
                ],
                "symbols": [
                    self._rows.instrument(one)
                    for page in self._core.rest(request, first)
                    for one in page.instruments
                ],
            })  # fmt: skip

        return Asked(request, show)

    def positions(self, fields: Fields) -> Asked | Local:
        """GET positionRisk."""
        request = QueryPositions(symbol=fields.text("symbol", ""))

        def show(first: PositionPage) -> Response:
            pages = self._core.rest(request, first)
            return shown([self._rows.position(one) for page in pages for one in page.positions])

        return Asked(request, show)

    def brackets(self, fields: Fields) -> Asked | Local:
        """GET leverageBracket: one bracket each, as the simulated venue has one tier."""
        symbol = fields.text("symbol", "")
        request = QueryInstruments()

        def show(first: InstrumentPage) -> Response:
            rate = self._core.venue.account.rules.maintenance_rate
            rows = [
                {"symbol": one.symbol, "notionalCoef": "1.50",
                 "brackets": [{"bracket": 1, "initialLeverage": int(one.max_leverage or _MOST),
                               "notionalCap": 100_000_000, "notionalFloor": 0,
                               "maintMarginRatio": float(rate), "cum": 0.0}]}
                for page in self._core.rest(request, first)
                for one in page.instruments
                if not symbol or one.symbol == symbol
            ]  # fmt: skip
            return shown(rows[0] if symbol and rows else rows)

        return Asked(request, show)

    def account(self, _fields: Fields) -> Asked | Local:
        """GET account v3: totals, assets, open positions without entry price."""

        def show(report: BalanceReport) -> Response:
            held = self._core.venue.execute(QueryPositions())
            positions = held.positions if isinstance(held, PositionPage) else ()
            return shown(self._rows.account(report, positions))

        return Asked(QueryBalance(), show)

    def balance(self, _fields: Fields) -> Asked | Local:
        """GET balance."""

        def show(report: BalanceReport) -> Response:
            return shown([self._rows.balance(report)])

        return Asked(QueryBalance(), show)

    def trades(self, fields: Fields) -> Asked | Local:
        """GET userTrades: oldest first; fromId leaves the times out."""
        symbol = fields.text("symbol")
        start_ms = fields.whole("startTime", 0)
        end_ms = fields.whole("endTime", 0)
        from_id = fields.whole("fromId", 0)
        limit = min(fields.whole("limit", USUAL_TRADES), MOST_TRADES)
        if start_ms and not end_ms:
            end_ms = start_ms + TRADES_WINDOW_MS
        request = QueryExecutions(
            symbol=symbol,
            since_ns=TsNs(1 if from_id else start_ms * MS),
            venue_order_id=fields.text("orderId", ""),
        )

        def show(first: ExecutionPage) -> Response:
            wanted = None if from_id else limit
            fills = [
                fill
                for page in self._core.rest(request, first, most=wanted)
                for fill in page.fills
                if (int(fill.trade_id) >= from_id if from_id else _until(fill, end_ms))
            ]
            return shown([self._rows.trade(fill) for fill in fills[:limit]])

        return Asked(request, show)

    def income(self, fields: Fields) -> Asked | Local:
        """GET income: of all its types the simulated venue keeps rows of FUNDING_FEE only.

        Without a startTime the last seven days are shown.
        """
        symbol = fields.text("symbol", "")
        asked_for = fields.text("incomeType", _FUNDING) == _FUNDING
        start_ms = fields.whole("startTime", max(self._core.now_ms - TRADES_WINDOW_MS, 0))
        end_ms = fields.whole("endTime", 0)
        limit = min(fields.whole("limit", USUAL_INCOME), MOST_TRADES)
        request = QueryFunding(since_ns=TsNs(start_ms * MS))

        def show(first: ExecutionPage) -> Response:
            rows = [
                self._rows.payment(paid)
                for page in self._core.rest(request, first)
                for paid in page.fills
                if asked_for and symbol in ("", paid.symbol) and _until(paid, end_ms)
            ]
            return shown(rows[:limit])

        return Asked(request, show)

    def symbol_config(self, fields: Fields) -> Asked | Local:
        """GET symbolConfig of one symbol."""

        def show(config: SymbolConfig) -> Response:
            row = {
                "symbol": config.symbol,
                "marginType": "ISOLATED" if config.isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": int(config.leverage),
                "maxNotionalValue": "1000000",
            }
            return shown([row])

        return Asked(QuerySymbolConfig(symbol=fields.text("symbol")), show)

    def account_config(self, _fields: Fields) -> Asked | Local:
        """GET accountConfig."""

        def show(config: AccountConfig) -> Response:
            return shown({
                "feeTier": 0,
                "canTrade": config.can_trade,
                "canDeposit": True,
                "canWithdraw": bool(config.can_withdraw),
                "dualSidePosition": config.hedge_mode,
                "updateTime": 0,
                "multiAssetsMargin": False,
                "tradeGroupId": -1,
            })

        return Asked(QueryAccountConfig(), show)

    def position_mode(self, _fields: Fields) -> Asked | Local:
        """GET positionSide/dual."""

        def show(config: AccountConfig) -> Response:
            return shown({"dualSidePosition": config.hedge_mode})

        return Asked(QueryAccountConfig(), show)

    def leverage(self, fields: Fields) -> Asked | Local:
        """POST leverage."""
        symbol, leverage = fields.text("symbol"), fields.whole("leverage")

        def show(_done: Done) -> Response:
            return shown({"leverage": leverage, "maxNotionalValue": "1000000", "symbol": symbol})

        return Asked(SetLeverage(symbol=symbol, leverage=Decimal(leverage)), show)

    def margin_type(self, fields: Fields) -> Asked | Local:
        """POST marginType."""
        isolated = fields.choice("marginType", {"ISOLATED": True, "CROSSED": False})

        def show(done: Done) -> Response:
            if done.already:
                return refusal(-4046, "No need to change margin type.")
            return shown({"code": 200, "msg": "success"})

        return Asked(SetMarginMode(symbol=fields.text("symbol"), isolated=isolated), show)


def _until(fill: Fill, end_ms: int) -> bool:
    return not end_ms or fill.ts_ns // MS <= end_ms


def _limit(kind: str, interval: str, number: int, limit: int) -> dict[str, Any]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}

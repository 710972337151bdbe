"""Rows and answers of Binance USD-M as JSON objects (venue-binance.md §2 and §3).

Prices, quantities and money are strings; times, ids and counts are numbers. `actualOrderId` is a
string, and so is the `code` of a canceled algo order.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kernel.model.instrument import Instrument
from kernel.model.orders import (
    BalanceReport,
    Fill,
    OrderReport,
    OrderType,
    PositionReport,
    PriceSource,
    Side,
)
from kernel.model.units import MS, ONE, ZERO, text
from venues.sim.account import unrealized
from venues.sim.wire.core import OrderNotes, fixed

WORKING = {PriceSource.LAST: "CONTRACT_PRICE", PriceSource.MARK: "MARK_PRICE"}
CHILD_PREFIX = "algo-"
NEVER_DELIVERED_MS = 4_133_404_800_000
"""deliveryDate of a contract whose end is not announced."""
_CONDITIONALS = [
    "LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]  # fmt: skip


class BinanceRows:
    """Writes what the simulated venue says in the shapes of this venue.

    Args:
        instruments: For the number of decimals.
        notes: What is known of each order beyond its report.
        own_child_ids: What becomes of a fired stop has a client id of the venue's making, and not
            the stop's own. Sources differ on it (venue-binance.md §3.1 and §9).
    """

    def __init__(
        self,
        instruments: dict[str, Instrument],
        notes: OrderNotes,
        *,
        own_child_ids: bool = False,
    ) -> None:
        self._instruments = instruments
        self._notes = notes
        self._own_child_ids = own_child_ids

    def client_id(self, report: OrderReport) -> str:
        """The client id that the venue shows of a plain order."""
        if self._own_child_ids and report.venue_order_id in self._notes.parents:
            return f"{CHILD_PREFIX}{report.venue_order_id}"
        return report.client_order_id

    def price(self, symbol: str, value: Decimal) -> str:
        """A price with the decimals of the tick."""
        known = self._instruments.get(symbol)
        return text(value) if known is None else fixed(value, known.tick_size)

    def qty(self, symbol: str, value: Decimal) -> str:
        """A quantity with the decimals of the step."""
        known = self._instruments.get(symbol)
        return text(value) if known is None else fixed(value, known.qty_step)

    # ------------------------------------------------------------------ orders

    def order(self, report: OrderReport, *, full: bool) -> dict[str, Any]:
        """An order; `full`: as GET shows it, with average price, cost and time."""
        symbol = report.symbol
        parent = self._notes.parents.get(report.venue_order_id)
        row: dict[str, Any] = {
            "orderId": int(report.venue_order_id),
            "symbol": symbol,
            "status": report.status.value,
            "clientOrderId": self.client_id(report),
            "price": self.price(symbol, report.price),
            "origQty": self.qty(symbol, report.qty),
            "executedQty": self.qty(symbol, report.filled_qty),
            "timeInForce": self.time_in_force(report),
            "type": report.order_type.value,
            "reduceOnly": report.reduce_only,
            "closePosition": report.close_position,
            "side": report.side.value,
            "positionSide": report.position_side,
            "stopPrice": self.price(symbol, ZERO if parent is None else parent.trigger_price),
            "workingType": WORKING[report.trigger_by if parent is None else parent.trigger_by],
            "priceProtect": False,
            "origType": (report if parent is None else parent).order_type.value,
            "priceMatch": "NONE",
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "goodTillDate": 0,
            "updateTime": report.updated_ns // MS,
        }
        if full:
            row["avgPrice"] = text(report.avg_price)
            row["cumQuote"] = text(report.avg_price * report.filled_qty)
            row["time"] = report.created_ns // MS
        else:
            row["cumQty"] = row["executedQty"]
        return row

    def time_in_force(self, report: OrderReport) -> str:
        """How long it may rest; GTC where nothing else is known."""
        return self._notes.time_in_force.get(report.venue_order_id, "GTC")

    def algo(self, report: OrderReport, *, full: bool) -> dict[str, Any]:
        """An algo order; `full`: as GET shows it, with the order that it became."""
        symbol = report.symbol
        triggered = bool(report.child_order_id)
        row: dict[str, Any] = {
            "algoId": int(report.venue_order_id),
            "clientAlgoId": report.client_order_id,
            "algoType": "CONDITIONAL",
            "orderType": report.order_type.value,
            "symbol": symbol,
            "side": report.side.value,
            "positionSide": report.position_side,
            "timeInForce": "GTC",
            "quantity": self.qty(symbol, report.qty),
            "algoStatus": report.status.value,
            "triggerPrice": self.price(symbol, report.trigger_price),
            "price": self.price(symbol, report.price),
            "icebergQuantity": None,
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "workingType": WORKING[report.trigger_by],
            "priceMatch": "NONE",
            "closePosition": report.close_position,
            "priceProtect": False,
            "reduceOnly": report.reduce_only,
            "activatePrice": "",
            "callbackRate": "",
            "createTime": report.created_ns // MS,
            "updateTime": report.updated_ns // MS,
            "triggerTime": report.updated_ns // MS if triggered else 0,
            "goodTillDate": 0,
        }
        if full:
            row["actualOrderId"] = report.child_order_id
            row["actualPrice"] = text(report.avg_price)
            row["actualQty"] = self.qty(symbol, report.filled_qty)
            row["actualType"] = OrderType.MARKET.value if triggered else ""
            row["tpOrderType"] = ""
        return row

    def trade(self, fill: Fill) -> dict[str, Any]:
        """A row of userTrades: it carries the order id, never the client's."""
        value = text(fill.qty * fill.price)
        return {
            "buyer": fill.side is Side.BUY,
            "commission": text(fill.fee),
            "commissionAsset": fill.fee_asset,
            "id": int(fill.trade_id),
            "maker": fill.is_maker,
            "orderId": int(fill.venue_order_id),
            "price": self.price(fill.symbol, fill.price),
            "qty": self.qty(fill.symbol, fill.qty),
            "quoteQty": value,
            "baseQty": self.qty(fill.symbol, fill.qty),
            "marginAsset": fill.fee_asset,
            "realizedPnl": text(fill.realized_pnl),
            "side": fill.side.value,
            "positionSide": fill.hedge_leg,
            "symbol": fill.symbol,
            "pair": fill.symbol,
            "time": fill.ts_ns // MS,
        }

    def payment(self, paid: Fill) -> dict[str, Any]:
        """A row of income: what came in is positive."""
        return {
            "symbol": paid.symbol,
            "incomeType": "FUNDING_FEE",
            "income": text(-paid.fee),
            "asset": paid.fee_asset,
            "info": "FUNDING_FEE",
            "time": paid.ts_ns // MS,
            "tranId": int(paid.trade_id),
            "tradeId": "",
        }

    # ------------------------------------------------------------------ account

    def position(self, report: PositionReport) -> dict[str, Any]:
        """A row of positionRisk v3: neither leverage nor margin type."""
        symbol = report.symbol
        amount = report.qty * report.side.sign
        notional = text(amount * report.mark_price)
        return {
            "symbol": symbol,
            "positionSide": report.hedge_leg,
            "positionAmt": self.qty(symbol, amount),
            "entryPrice": text(report.entry_price),
            "breakEvenPrice": text(report.entry_price),
            "markPrice": text(report.mark_price),
            "unRealizedProfit": text(unrealized(report)),
            "liquidationPrice": text(report.liquidation_price),
            "isolatedMargin": "0",
            "notional": notional,
            "marginAsset": "USDT",
            "isolatedWallet": "0",
            "initialMargin": "0",
            "maintMargin": "0",
            "positionInitialMargin": "0",
            "openOrderInitialMargin": "0",
            "adl": 1,
            "bidNotional": "0",
            "askNotional": "0",
            "updateTime": report.updated_ns // MS,
        }

    @staticmethod
    def balance(report: BalanceReport) -> dict[str, Any]:
        """A row of balance v3."""
        wallet, available = text(report.wallet), text(report.available)
        return {
            "accountAlias": "SgsR",
            "asset": report.asset,
            "balance": wallet,
            "crossWalletBalance": wallet,
            "crossUnPnl": "0.00000000",
            "availableBalance": available,
            "maxWithdrawAmount": available,
            "marginAvailable": True,
            "updateTime": report.updated_ns // MS,
        }

    def account(
        self, report: BalanceReport, positions: tuple[PositionReport, ...]
    ) -> dict[str, Any]:
        """The answer of account v3."""
        wallet, available = text(report.wallet), text(report.available)
        held = text(report.wallet - report.available)
        gained = sum((unrealized(one) for one in positions), ZERO)
        margin = text(report.wallet + gained)
        totals = {
            "WalletBalance": wallet, "MarginBalance": margin, "UnrealizedProfit": text(gained),
            "InitialMargin": held, "PositionInitialMargin": held, "MaintMargin": "0",
            "OpenOrderInitialMargin": "0", "CrossWalletBalance": wallet, "CrossUnPnl": "0",
        }  # fmt: skip
        row: dict[str, Any] = {f"total{name}": value for name, value in totals.items()}
        asset: dict[str, Any] = {
            f"{name[0].lower()}{name[1:]}": value for name, value in totals.items()
        }
        asset |= {
            "asset": report.asset, "availableBalance": available, "maxWithdrawAmount": available,
            "updateTime": report.updated_ns // MS,
        }  # fmt: skip
        row |= {
            "availableBalance": available,
            "maxWithdrawAmount": available,
            "assets": [asset],
            "positions": [self._account_position(one) for one in positions],
        }
        return row

    def _account_position(self, report: PositionReport) -> dict[str, Any]:
        risk = self.position(report)
        names = (
            "symbol", "positionSide", "positionAmt", "isolatedMargin", "notional",
            "isolatedWallet", "initialMargin", "maintMargin", "updateTime",
        )  # fmt: skip
        return {name: risk[name] for name in names} | {
            "unrealizedProfit": risk["unRealizedProfit"]
        }

    # ------------------------------------------------------------------ instruments

    @staticmethod
    def instrument(one: Instrument) -> dict[str, Any]:
        """A symbol of exchangeInfo."""
        return {
            "symbol": one.symbol,
            "pair": one.symbol,
            "contractType": "PERPETUAL",
            "deliveryDate": one.delist_ns // MS or NEVER_DELIVERED_MS,
            "onboardDate": 1_567_965_300_000,
            "status": "TRADING" if one.trading else "SETTLING",
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "baseAsset": one.base,
            "quoteAsset": one.quote,
            "marginAsset": one.quote,
            "pricePrecision": _decimals(one.tick_size),
            "quantityPrecision": _decimals(one.qty_step),
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            "underlyingSubType": [],
            "triggerProtect": "0.0500",
            "liquidationFee": "0.012500",
            "marketTakeBound": "0.05",
            "maxMoveOrderLimit": 10_000,
            "filters": _filters(one),
            "orderTypes": _CONDITIONALS,
            "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
            "permissionSets": ["GRID", "COPY"],
        }


def _filters(one: Instrument) -> list[dict[str, Any]]:
    step, tick = text(one.qty_step), text(one.tick_size)
    least = text(one.min_qty)
    filters: list[dict[str, Any]] = [
        {"filterType": "PRICE_FILTER", "minPrice": text(one.min_price),
         "maxPrice": text(one.max_price), "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": least, "maxQty": text(one.max_qty), "stepSize": step},
        {"filterType": "MARKET_LOT_SIZE", "minQty": least, "maxQty": text(one.max_market_qty),
         "stepSize": step},
        {"filterType": "MAX_NUM_ORDERS", "limit": 200},
        {"filterType": "MIN_NOTIONAL", "notional": text(one.min_notional)},
        {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE"},
    ]  # fmt: skip
    if one.price_band_up or one.price_band_down:
        filters.append(
            {"filterType": "PERCENT_PRICE", "multiplierUp": fixed(one.price_band_up, _BAND),
             "multiplierDown": fixed(one.price_band_down, _BAND), "multiplierDecimal": "4"}
        )  # fmt: skip
    return filters


_BAND = Decimal("0.0001")


def _decimals(step: Decimal) -> int:
    places = 0
    while step < ONE:
        step *= 10
        places += 1
    return places

"""Rows of Bybit V5 as JSON objects (venue-bybit.md §3 and appendix A).

Everything inside `result` is a string, times included; whole numbers are `positionIdx`,
`triggerDirection`, `seq`, `openTime` and the like.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kernel.model.instrument import Instrument
from kernel.model.orders import (
    BalanceReport,
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
    PositionSide,
    PriceSource,
    Side,
)
from kernel.model.units import MS, ZERO, text
from venues.sim.account import unrealized
from venues.sim.venue import SimVenue
from venues.sim.wire.core import OrderNotes, fixed

SIDE = {Side.BUY: "Buy", Side.SELL: "Sell"}
SOURCE = {PriceSource.LAST: "LastPrice", PriceSource.MARK: "MarkPrice"}
INDEX = {"BOTH": 0, "LONG": 1, "SHORT": 2}
_POSITION_SIDE = {PositionSide.LONG: "Buy", PositionSide.SHORT: "Sell", PositionSide.FLAT: ""}
_STATUS = {
    OrderStatus.NEW: "New",
    OrderStatus.PARTIALLY_FILLED: "PartiallyFilled",
    OrderStatus.TRIGGERING: "Triggered",
    OrderStatus.TRIGGERED: "Triggered",
    OrderStatus.FILLED: "Filled",
    OrderStatus.CANCELED: "Cancelled",
    OrderStatus.REJECTED: "Rejected",
    OrderStatus.EXPIRED: "Cancelled",
    OrderStatus.FINISHED: "Filled",
}
_IN_FORCE = {"GTC": "GTC", "IOC": "IOC", "FOK": "FOK", "GTX": "PostOnly"}
_EXEC_TYPE = {
    FillKind.TRADE: "Trade",
    FillKind.LIQUIDATION: "BustTrade",
    FillKind.ADL: "AdlTrade",
    FillKind.SETTLEMENT: "Delivery",
    FillKind.FUNDING: "Funding",
    FillKind.UNKNOWN: "CorporateAction",
}
_CREATE_TYPE = {
    FillKind.LIQUIDATION: "CreateByLiq",
    FillKind.ADL: "CreateByAdl_PassThrough",
    FillKind.SETTLEMENT: "CreateBySettle",
}
_STOP_TYPE = {
    OrderClass.PLAIN: "", OrderClass.CONDITIONAL: "Stop", OrderClass.ATTACHED: "StopLoss",
}  # fmt: skip
_STOP_CREATED = {
    OrderClass.CONDITIONAL: "CreateByStopOrder", OrderClass.ATTACHED: "CreateByStopLoss",
}  # fmt: skip
_BOUND = Decimal("0.05")
"""A market order is an IOC limit this far from the mark."""
FIRST_EVER_MS = 1_676_538_056_258
"""createdTime of a position: the first one ever on the symbol."""


class BybitRows:
    """Writes what the simulated venue says in the shapes of this venue.

    Args:
        venue: For instruments and marks.
        notes: What is known of each order beyond its report.
    """

    def __init__(self, venue: SimVenue, notes: OrderNotes) -> None:
        self._venue = venue
        self._notes = notes

    def price(self, symbol: str, value: Decimal) -> str:
        """A price with the decimals of the tick."""
        known = self._venue.instruments.get(symbol)
        return text(value) if known is None else fixed(value, known.tick_size)

    def qty(self, symbol: str, value: Decimal) -> str:
        """A quantity with the decimals of the step."""
        known = self._venue.instruments.get(symbol)
        return text(value) if known is None else fixed(value, known.qty_step)

    # ------------------------------------------------------------------ orders

    def order(self, report: OrderReport) -> dict[str, Any]:
        """An order as realtime, history and the stream share it."""
        symbol, stop = report.symbol, report.order_class is not OrderClass.PLAIN
        leaves = ZERO if report.status.terminal else report.qty - report.filled_qty
        value = text(report.avg_price * report.filled_qty)
        return {
            "orderId": report.venue_order_id,
            "orderLinkId": report.client_order_id,
            "parentOrderLinkId": "",
            "blockTradeId": "",
            "symbol": symbol,
            "price": self._order_price(report),
            "qty": self.qty(symbol, report.qty),
            "side": SIDE[report.side],
            "isLeverage": "",
            "positionIdx": INDEX[report.position_side],
            "orderStatus": self._status(report),
            "createType": self._created_by(report),
            "cancelType": report.reason if report.reason.startswith("Cancel") else "UNKNOWN",
            "rejectReason": self._reject_reason(report),
            "avgPrice": text(report.avg_price) if report.avg_price else "",
            "leavesQty": self.qty(symbol, leaves),
            "leavesValue": text(leaves * report.price),
            "cumExecQty": self.qty(symbol, report.filled_qty),
            "cumExecValue": value,
            "cumExecFee": "0",
            "timeInForce": self._in_force(report),
            "orderType": "Limit" if report.order_type is OrderType.LIMIT else "Market",
            "stopOrderType": _STOP_TYPE[report.order_class],
            "orderIv": "",
            "marketUnit": "",
            "slippageToleranceType": "UNKNOWN",
            "slippageTolerance": "0",
            "triggerPrice": self.price(symbol, report.trigger_price) if stop else "",
            "takeProfit": "",
            "stopLoss": "",
            "tpslMode": "Full" if report.order_class is OrderClass.ATTACHED else "UNKNOWN",
            "ocoTriggerBy": "OcoTriggerByUnknown",
            "tpLimitPrice": "0",
            "slLimitPrice": "0",
            "tpTriggerBy": "",
            "slTriggerBy": "",
            "triggerDirection": (1 if report.side is Side.BUY else 2) if stop else 0,
            "triggerBy": SOURCE[report.trigger_by] if stop else "",
            "lastPriceOnCreated": "",
            "reduceOnly": report.reduce_only or report.close_position,
            "closeOnTrigger": stop,
            "placeType": "",
            "smpType": "None",
            "smpGroup": 0,
            "smpOrderId": "",
            "createdTime": _ms(report.created_ns),
            "updatedTime": _ms(report.updated_ns),
            "cumFeeDetail": {},
        }

    def _order_price(self, report: OrderReport) -> str:
        # Of a market order: the bound, never the price of its fills.
        symbol = report.symbol
        if report.order_type is OrderType.LIMIT or report.order_class is not OrderClass.PLAIN:
            return self.price(symbol, report.price)
        mark = self._venue.price(symbol, PriceSource.MARK)
        bound = mark * (1 + _BOUND * report.side.sign)
        return self.price(symbol, self._venue.instruments[symbol].price_nearest(bound))

    @staticmethod
    def _status(report: OrderReport) -> str:
        waiting = report.order_class is not OrderClass.PLAIN
        if waiting and report.status is OrderStatus.NEW:
            return "Untriggered"
        unmet = not report.filled_qty and report.reason.startswith("Cancel")
        if waiting and report.status is OrderStatus.CANCELED and unmet:
            return "Deactivated"
        return _STATUS[report.status]

    def _created_by(self, report: OrderReport) -> str:
        if report.order_class in _STOP_CREATED:
            return _STOP_CREATED[report.order_class]
        fill = self._notes.last_fill.get(report.venue_order_id)
        return "CreateByUser" if fill is None else _CREATE_TYPE.get(fill.kind, "CreateByUser")

    @staticmethod
    def _reject_reason(report: OrderReport) -> str:
        if report.reason.startswith("EC_"):
            return report.reason
        return "EC_Others" if report.status is OrderStatus.REJECTED else "EC_NoError"

    def _in_force(self, report: OrderReport) -> str:
        if report.order_type is not OrderType.LIMIT:
            return "IOC"
        return _IN_FORCE[self._notes.time_in_force.get(report.venue_order_id, "GTC")]

    def execution(self, fill: Fill) -> dict[str, Any]:
        """An execution as the list shows it; the stream adds its own fields."""
        symbol = fill.symbol
        known = self._notes.reports.get(fill.venue_order_id)
        value = fill.qty * fill.price
        funding = fill.kind is FillKind.FUNDING
        market = known is None or known.order_type is not OrderType.LIMIT
        stop_type = "" if known is None else _STOP_TYPE[known.order_class]
        return {
            "symbol": symbol,
            "orderId": fill.venue_order_id,
            "orderLinkId": fill.client_order_id,
            "side": SIDE[fill.side],
            "orderPrice": "0" if known is None else self._order_price(known),
            "orderQty": self.qty(symbol, fill.qty if known is None else known.qty),
            "leavesQty": "0",
            "createType": "" if known is None else self._created_by(known),
            "orderType": "UNKNOWN" if funding else "Market" if market else "Limit",
            "stopOrderType": stop_type or "UNKNOWN",
            "execFee": text(fill.fee),
            "feeCurrency": fill.fee_asset,
            "execId": fill.trade_id,
            "execPrice": self.price(symbol, fill.price),
            "execQty": self.qty(symbol, fill.qty),
            "execType": _EXEC_TYPE[fill.kind],
            "execValue": text(value),
            "execTime": _ms(fill.ts_ns),
            "isMaker": fill.is_maker,
            "feeRate": text((fill.fee / value).quantize(_RATE)) if value else "0",
            "markPrice": text(fill.price),
            "indexPrice": "",
            "closedSize": self.qty(symbol, fill.qty if _closes(fill) else ZERO),
            "seq": self._notes.seqs.get(fill.trade_id, 0),
            "isLeverage": "0",
            "extraFees": "",
            "blockTradeId": "",
            "tradeIv": "",
            "markIv": "",
            "underlyingPrice": "",
            "marketUnit": "",
        }

    # ------------------------------------------------------------------ positions and money

    def position(self, report: PositionReport) -> dict[str, Any]:
        """A position as the list shows it; the stream says `entryPrice` for `avgPrice`."""
        symbol = report.symbol
        flat = report.side is PositionSide.FLAT
        stop = self.price(symbol, report.stop_price) if report.stop_price else ""
        return {
            "positionIdx": INDEX[report.hedge_leg],
            "riskId": 1,
            "riskLimitValue": "2000000",
            "symbol": symbol,
            "side": _POSITION_SIDE[report.side],
            "size": self.qty(symbol, report.qty) if report.qty else "0",
            "avgPrice": text(report.entry_price),
            "positionValue": "" if flat else text(report.entry_price * report.qty),
            "tradeMode": 0,
            "positionStatus": "Normal",
            "autoAddMargin": 0,
            "adlRankIndicator": 0 if flat else 2,
            "leverage": text(report.leverage),
            "breakEvenPrice": "" if flat else text(report.entry_price),
            "positionBalance": "0",
            "markPrice": text(report.mark_price) if report.mark_price else "",
            "liqPrice": text(report.liquidation_price) if report.liquidation_price else "",
            "bustPrice": "",
            "positionMM": "0",
            "positionMMByMp": "0",
            "positionIM": "0",
            "positionIMByMp": "0",
            "tpslMode": "Full",
            "takeProfit": "",
            "stopLoss": stop,
            "trailingStop": "0",
            "unrealisedPnl": "" if flat else text(unrealized(report)),
            "curRealisedPnl": "0",
            "cumRealisedPnl": "0",
            "seq": report.seq or -1,
            "isReduceOnly": False,
            "mmrSysUpdatedTime": "",
            "leverageSysUpdatedTime": "",
            "sessionAvgPrice": "",
            "createdTime": str(FIRST_EVER_MS),
            "updatedTime": _ms(report.updated_ns),
            "openTime": report.opened_ns // MS,
        }

    def wallet(self, report: BalanceReport, *, isolated: bool) -> dict[str, Any]:
        """The account with its one coin. With isolated margin the account-wide sums say nothing."""
        wallet, available = text(report.wallet), text(report.available)
        held = text(report.wallet - report.available)

        def sum_of(value: str) -> str:
            return "" if isolated else value

        return {
            "accountType": "UNIFIED",
            "totalEquity": wallet,
            "totalWalletBalance": wallet,
            "totalMarginBalance": sum_of(wallet),
            "totalAvailableBalance": sum_of(available),
            "totalPerpUPL": "0",
            "totalInitialMargin": sum_of(held),
            "totalMaintenanceMargin": sum_of("0"),
            "accountIMRate": sum_of("0"),
            "accountMMRate": sum_of("0"),
            "accountLTV": "0",
            "coin": [
                {
                    "coin": report.asset,
                    "equity": wallet,
                    "usdValue": wallet,
                    "walletBalance": wallet,
                    "locked": "0",
                    "borrowAmount": "0",
                    "accruedInterest": "0",
                    "totalOrderIM": "0",
                    "totalPositionIM": held,
                    "totalPositionMM": "0",
                    "unrealisedPnl": "0",
                    "cumRealisedPnl": "0",
                    "bonus": "0",
                    "marginCollateral": True,
                    "collateralSwitch": True,
                    "spotHedgingQty": "0",
                    "spotBorrow": "0",
                    "availableToWithdraw": "",
                    "availableToBorrow": "",
                }
            ],
        }

    # ------------------------------------------------------------------ instruments

    @staticmethod
    def instrument(one: Instrument, symbol_id: int) -> dict[str, Any]:
        """A row of instruments-info."""
        return {
            "symbol": one.symbol,
            "symbolId": symbol_id,
            "contractType": "LinearPerpetual",
            "status": "Trading" if one.trading else "Closed",
            "baseCoin": one.base,
            "quoteCoin": one.quote,
            "launchTime": "1585526400000",
            "deliveryTime": str(one.delist_ns // MS),
            "deliveryFeeRate": "",
            "priceScale": str(_places(one.tick_size)),
            "leverageFilter": {
                "minLeverage": "1",
                "maxLeverage": text(one.max_leverage),
                "leverageStep": "0.01",
            },
            "priceFilter": {
                "minPrice": text(one.min_price),
                "maxPrice": text(one.max_price),
                "tickSize": text(one.tick_size),
            },
            "lotSizeFilter": {
                "maxOrderQty": text(one.max_qty),
                "minOrderQty": text(one.min_qty),
                "qtyStep": text(one.qty_step),
                "postOnlyMaxOrderQty": text(one.max_qty),
                "maxMktOrderQty": text(one.max_market_qty),
                "minNotionalValue": text(one.min_notional),
            },
            "unifiedMarginTrade": True,
            "fundingInterval": one.funding_interval_h * 60,
            "settleCoin": one.quote,
            "copyTrading": "both",
            "upperFundingRate": "0.00375",
            "lowerFundingRate": "-0.00375",
            "displayName": "",
            "forbidUplWithdrawal": False,
            "riskParameters": {"priceLimitRatioX": "0.01", "priceLimitRatioY": "0.02"},
            "isPreListing": False,
            "preListingInfo": None,
            "symbolType": "",
        }


_RATE = Decimal("0.00000001")


def _ms(ts_ns: int) -> str:
    return str(ts_ns // MS)


def _places(step: Decimal) -> int:
    exponent = step.as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


def _closes(fill: Fill) -> bool:
    """Whether an execution closed something: of a leg its side tells, else what it realized."""
    if fill.hedge_leg == "BOTH":
        return bool(fill.realized_pnl)
    return fill.hedge_leg == ("SHORT" if fill.side is Side.BUY else "LONG")

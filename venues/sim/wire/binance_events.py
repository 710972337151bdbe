"""User data events of Binance USD-M (venue-binance.md §4).

ORDER_TRADE_UPDATE tells of plain orders and carries the execution with the order's new state;
ALGO_UPDATE tells of algo orders; ACCOUNT_UPDATE carries balance and position of one trade.
Events of one type keep their order; between types there is none.
"""

from __future__ import annotations

from typing import Any

from kernel.model.orders import (
    BalanceReport,
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    OrderStatus,
    OrderType,
    PositionReport,
)
from kernel.model.units import MS, ZERO, text
from venues.sim.truth import (
    Announced,
    BalanceChanged,
    OrderChanged,
    PositionChanged,
    StopGone,
    StopLive,
    Traded,
    TruthEvent,
)
from venues.sim.venue import SimVenue
from venues.sim.wire.binance_rows import WORKING, BinanceRows
from venues.sim.wire.core import Frame, OrderNotes, json_body

_TRADED = (OrderStatus.PARTIALLY_FILLED, OrderStatus.FILLED)
_EXECUTION = {
    OrderStatus.NEW: "NEW",
    OrderStatus.CANCELED: "CANCELED",
    OrderStatus.REJECTED: "REJECTED",
    OrderStatus.EXPIRED: "EXPIRED",
}
_EXPIRE_REASONS = {"CancelAllBeforeLiq": "5", "CancelBySettle": "7"}


class BinanceEvents:
    """Frames of the user data stream.

    Args:
        venue: Whose events they are.
        rows: For the decimals of prices and quantities.
        notes: What is known of each order.
    """

    def __init__(self, venue: SimVenue, rows: BinanceRows, notes: OrderNotes) -> None:
        self._venue = venue
        self._rows = rows
        self._notes = notes

    def frames(self, event: TruthEvent) -> list[Frame]:
        """The frames that tell of an event."""
        match event:
            case OrderChanged(silent=False, order=order):
                if order.order_class is OrderClass.PLAIN:
                    return [self._plain(order)]
                return [self._algo(order)]
            case BalanceChanged(balance=balance):
                return [self._account(balance)]
            case Announced(kind="config_change", symbol=symbol) if symbol:
                return [self._config(symbol)]
            case OrderChanged() | Traded() | PositionChanged() | StopLive() | StopGone():
                # An execution comes with its order's event, a position with its balance.
                return []
            case Announced():
                return []

    # ------------------------------------------------------------------ orders

    def _plain(self, order: OrderReport) -> Frame:
        fill = self._notes.last_fill.get(order.venue_order_id)
        client = order.client_order_id
        if order.status in _TRADED and fill is not None:
            body = self._order_update(order, fill)
            return self._frame("fill", order.symbol, fill.trade_id, body, client=client)
        body = self._order_update(order, None)
        entity = client or order.venue_order_id
        return self._frame("order", order.symbol, entity, body, client=client)

    def _order_update(self, order: OrderReport, fill: Fill | None) -> dict[str, Any]:
        rows, symbol = self._rows, order.symbol
        parent = self._notes.parents.get(order.venue_order_id)
        forced = fill is not None and fill.kind in (FillKind.LIQUIDATION, FillKind.ADL)
        told: dict[str, Any] = {
            "s": symbol,
            "c": rows.client_id(order),
            "S": order.side.value,
            "o": "LIQUIDATION" if forced else order.order_type.value,
            "f": rows.time_in_force(order),
            "q": rows.qty(symbol, order.qty),
            "p": rows.price(symbol, order.price),
            "ap": text(order.avg_price),
            "sp": rows.price(symbol, ZERO if parent is None else parent.trigger_price),
            "x": self._execution(order, fill, forced=forced),
            "X": order.status.value,
            "i": int(order.venue_order_id),
            "l": rows.qty(symbol, ZERO if fill is None else fill.qty),
            "z": rows.qty(symbol, order.filled_qty),
            "L": rows.price(symbol, ZERO if fill is None else fill.price),
            "T": order.updated_ns // MS,
            "t": 0 if fill is None else int(fill.trade_id),
            "b": "0",
            "a": "0",
            "m": fill is not None and fill.is_maker,
            "R": order.reduce_only,
            "wt": WORKING[order.trigger_by if parent is None else parent.trigger_by],
            "ot": (order if parent is None else parent).order_type.value,
            "ps": order.position_side,
            "cp": order.close_position,
            "rp": text(ZERO if fill is None else fill.realized_pnl),
            "pP": False,
            "si": 0,
            "ss": 0,
            "V": "EXPIRE_MAKER",
            "pm": "NONE",
            "gtd": 0,
            "er": self._expire_reason(order),
        }
        if fill is not None:
            told["N"] = fill.fee_asset
            told["n"] = text(fill.fee)
        return self._event("ORDER_TRADE_UPDATE", order.updated_ns // MS, o=told)

    @staticmethod
    def _execution(order: OrderReport, fill: Fill | None, *, forced: bool) -> str:
        if fill is None:
            return _EXECUTION.get(order.status, "NEW")
        return "CALCULATED" if forced else "TRADE"

    @staticmethod
    def _expire_reason(order: OrderReport) -> str:
        reason = order.reason
        return reason if reason.isdecimal() else _EXPIRE_REASONS.get(reason, "0")

    def _algo(self, order: OrderReport) -> Frame:
        rows, symbol = self._rows, order.symbol
        triggered = bool(order.child_order_id)
        told: dict[str, Any] = {
            "caid": order.client_order_id,
            "aid": int(order.venue_order_id),
            "at": "CONDITIONAL",
            "o": order.order_type.value,
            "s": symbol,
            "S": order.side.value,
            "ps": order.position_side,
            "f": "GTC",
            "q": rows.qty(symbol, order.qty),
            "X": order.status.value,
            "ai": order.child_order_id,
            "ap": text(order.avg_price),
            "aq": rows.qty(symbol, order.filled_qty),
            "act": OrderType.MARKET.value if triggered else "",
            "tp": rows.price(symbol, order.trigger_price),
            "p": rows.price(symbol, order.price),
            "V": "EXPIRE_MAKER",
            "wt": WORKING[order.trigger_by],
            "pm": "NONE",
            "cp": order.close_position,
            "pP": False,
            "R": order.reduce_only,
            "tt": order.updated_ns // MS if triggered else 0,
            "gtd": 0,
            "rm": order.reason if order.status is OrderStatus.REJECTED else "",
            "ia": False,
        }
        body = self._event("ALGO_UPDATE", order.updated_ns // MS, o=told)
        client = order.client_order_id
        return self._frame("order", symbol, client or order.venue_order_id, body, client=client)

    # ------------------------------------------------------------------ account

    def _account(self, balance: BalanceReport) -> Frame:
        position = self._notes.positions.get(balance.symbol)
        moved = (
            balance.reason == "ORDER"
            and position is not None
            and position.updated_ns == balance.updated_ns
        )
        told: dict[str, Any] = {"m": balance.reason}
        if balance.reason == "FUNDING_FEE":
            told["S"] = balance.symbol
        change = ZERO if balance.reason == "ORDER" else balance.change
        wallet = text(balance.wallet)
        told["B"] = [{"a": balance.asset, "wb": wallet, "cw": wallet, "bc": text(change)}]
        told["P"] = [self._leg(position)] if moved and position is not None else []
        body = self._event("ACCOUNT_UPDATE", balance.updated_ns // MS, a=told)
        topic = "position" if moved else "balance"
        return self._frame(topic, balance.symbol, balance.symbol or "account", body)

    def _leg(self, report: PositionReport) -> dict[str, Any]:
        symbol = report.symbol
        isolated = self._venue.account.isolated(symbol)
        return {
            "s": symbol,
            "pa": self._rows.qty(symbol, report.qty * report.side.sign),
            "ep": text(report.entry_price),
            "bep": text(report.entry_price),
            "cr": "0",
            "up": "0",
            "mt": "isolated" if isolated else "cross",
            "iw": "0",
            "ps": report.hedge_leg,
            "ma": "USDT",
        }

    def _config(self, symbol: str) -> Frame:
        leverage = int(self._venue.account.leverage(symbol))
        body = self._event(
            "ACCOUNT_CONFIG_UPDATE", self._now_ms(), ac={"s": symbol, "l": leverage}
        )
        return self._frame("notice", symbol, "config_change", body)

    # ------------------------------------------------------------------ inside

    def _now_ms(self) -> int:
        return self._venue.agenda.now_ns // MS

    def _event(self, name: str, transaction_ms: int, **more: Any) -> dict[str, Any]:
        return {"e": name, "E": self._now_ms(), "T": transaction_ms, **more}

    @staticmethod
    def _frame(
        topic: str, symbol: str, entity: str, body: dict[str, Any], *, client: str = ""
    ) -> Frame:
        return Frame(topic, symbol, entity, str(body["e"]), json_body(body), client)

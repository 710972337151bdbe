"""Binance: bytes of answers as venue-neutral replies. Requests are in `requests`, rows in `rows`.

Source: venue-binance §2, §3.
"""

from __future__ import annotations

import msgspec

from kernel.errors import InvariantViolation
from kernel.model.instrument import Instrument
from kernel.model.messages import HttpReply
from kernel.model.orders import FillKind, OrderClass, OrderReport, PositionReport
from kernel.model.units import MS, TsNs
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    ExecutionPage,
    InstrumentPage,
    OrderPage,
    OrderSurface,
    PlaceStop,
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
    SetLeverage,
    SetMarginMode,
    SubmitOrder,
    VenueRequest,
)
from venues.live.base import Decoded
from venues.live.binance import requests
from venues.live.binance.rows import (
    AccountConfigRow,
    AlgoRow,
    BalanceRow,
    IncomeRow,
    OrderRow,
    PositionRow,
    SymbolConfigRow,
    SymbolRow,
    TradeRow,
)
from venues.live.wire import millis, read_rows

ASSET = "USDT"
"""The balance that counts."""


class _PlainAck(msgspec.Struct, frozen=True, rename="camel", gc=False):
    order_id: int
    client_order_id: str = ""


class _AlgoAck(msgspec.Struct, frozen=True, rename="camel", gc=False):
    algo_id: int
    client_algo_id: str = ""


class _Time(msgspec.Struct, frozen=True, rename="camel", gc=False):
    server_time: int


class _ExchangeInfo(msgspec.Struct, frozen=True, gc=False):
    symbols: list[msgspec.Raw]


_rows = msgspec.json.Decoder(list[msgspec.Raw])
_plain_ack = msgspec.json.Decoder(_PlainAck)
_algo_ack = msgspec.json.Decoder(_AlgoAck)
_time = msgspec.json.Decoder(_Time)
_exchange_info = msgspec.json.Decoder(_ExchangeInfo)
_order = msgspec.json.Decoder(OrderRow)
_algo = msgspec.json.Decoder(AlgoRow)
_position = msgspec.json.Decoder(PositionRow)
_trade = msgspec.json.Decoder(TradeRow)
_income = msgspec.json.Decoder(IncomeRow)
_balance = msgspec.json.Decoder(BalanceRow)
_symbol_config = msgspec.json.Decoder(SymbolConfigRow)
_account_config = msgspec.json.Decoder(AccountConfigRow)
_symbol = msgspec.json.Decoder(SymbolRow)


def decode(request: VenueRequest, reply: HttpReply, now_ns: TsNs) -> Decoded:
    """What an answer that states no failure means.

    Raises:
        MsgspecError, ValueError, ArithmeticError: It can't be read.
    """
    body = reply.body
    match request:
        case SubmitOrder():
            return Decoded(_plain_acked(body))
        case PlaceStop():
            return Decoded(_algo_acked(body))
        case CancelOrder(order_class=order_class):
            plain = order_class is OrderClass.PLAIN
            return Decoded(_plain_acked(body) if plain else _algo_acked(body))
        case QueryOrder(surface=surface):
            return Decoded(_one(surface, body))
        case QueryOpenOrders(order_class=order_class):
            return _orders(order_class, body)
        case QueryPositions():
            return _positions(body)
        case QueryExecutions():
            return _executions(request, body, now_ns)
        case QueryFunding():
            return _funding(request, body, now_ns)
        case SetLeverage() | SetMarginMode():
            return Decoded(Done())
        case _:
            return _decode_setting(request, body, now_ns)


def _decode_setting(request: VenueRequest, body: bytes, now_ns: TsNs) -> Decoded:
    match request:
        case QueryInstruments():
            return _instruments(body)
        case QueryBalance():
            found, bad = read_rows(_rows.decode(body), _balance.decode, lambda row: row)
            for row in found:
                if row.asset == ASSET:
                    return Decoded(row.report(now_ns), tuple(bad))
            raise ValueError(f"no row of {ASSET}")
        case QuerySymbolConfig(symbol=symbol):
            configs, bad = read_rows(
                _rows.decode(body), _symbol_config.decode, SymbolConfigRow.config
            )
            for config in configs:
                if config.symbol == symbol:
                    return Decoded(config, tuple(bad))
            raise ValueError(f"no row of {symbol}")
        case QueryAccountConfig():
            return Decoded(_account_config.decode(body).config())
        case QueryServerTime():
            return Decoded(ServerTime(ts_ns=TsNs(_time.decode(body).server_time * MS)))
        case _:
            raise InvariantViolation(f"binance: no reply for {type(request).__name__}")


def _plain_acked(body: bytes) -> Acked:
    ack = _plain_ack.decode(body)
    return Acked(client_order_id=ack.client_order_id, venue_order_id=str(ack.order_id))


def _algo_acked(body: bytes) -> Acked:
    ack = _algo_ack.decode(body)
    return Acked(client_order_id=ack.client_algo_id, venue_order_id=str(ack.algo_id))


def _one(surface: OrderSurface, body: bytes) -> OrderReport:
    if surface is OrderSurface.PLAIN:
        return _order.decode(body).report()
    return _algo.decode(body).report()


def _orders(order_class: OrderClass, body: bytes) -> Decoded:
    """Both lists are whole in one answer."""
    rows = _rows.decode(body)
    if order_class is OrderClass.PLAIN:
        found, bad = read_rows(rows, _order.decode, OrderRow.report)
    else:
        found, bad = read_rows(rows, _algo.decode, AlgoRow.report)
    return Decoded(OrderPage(orders=tuple(found)), tuple(bad), is_list=True)


def _positions(body: bytes) -> Decoded:
    found: list[PositionReport]
    found, bad = read_rows(_rows.decode(body), _position.decode, PositionRow.report)
    return Decoded(PositionPage(positions=tuple(found)), tuple(bad), is_list=True)


def _executions(request: QueryExecutions, body: bytes, now_ns: TsNs) -> Decoded:
    """Oldest first. A full page goes on behind its last id, a window that ended goes on in time."""
    rows = _rows.decode(body)
    found, bad = read_rows(rows, _trade.decode, TradeRow.fill)
    cursor = ""
    if len(rows) >= requests.TRADES_LIMIT and found:
        cursor = f"{requests.FROM_ID}{max(int(fill.trade_id) for fill in found) + 1}"
    elif not request.cursor.startswith(requests.FROM_ID):
        start_ms = requests.trades_start_ms(request, now_ns)
        next_ms = start_ms + requests.TRADES_WINDOW_MS + 1
        if start_ms and millis(next_ms) <= now_ns:
            cursor = f"{requests.FROM_TIME}{next_ms}"
    found.sort(key=lambda fill: (fill.ts_ns, int(fill.trade_id)))
    return Decoded(ExecutionPage(fills=tuple(found), next_cursor=cursor), tuple(bad), is_list=True)


def _funding(request: QueryFunding, body: bytes, now_ns: TsNs) -> Decoded:
    """Oldest first. A full page goes on at its last time: what comes twice is booked once."""
    rows = _rows.decode(body)
    found, bad = read_rows(rows, _income.decode, IncomeRow.payment)
    found.sort(key=lambda paid: (paid.ts_ns, paid.trade_id))
    start_ms = requests.income_start_ms(request, now_ns)
    next_ms = start_ms + requests.TRADES_WINDOW_MS + 1
    if len(rows) >= requests.INCOME_LIMIT and found:
        next_ms = max(found[-1].ts_ns // MS, start_ms + 1)
    cursor = f"{requests.FROM_TIME}{next_ms}" if millis(next_ms) <= now_ns else ""
    payments = tuple(paid for paid in found if paid.kind is FillKind.FUNDING)
    return Decoded(ExecutionPage(fills=payments, next_cursor=cursor), tuple(bad), is_list=True)


def _instruments(body: bytes) -> Decoded:
    """A contract outside the universe is left out without a word."""
    found, bad = read_rows(_exchange_info.decode(body).symbols, _symbol.decode, _of_universe)
    made = tuple(instrument for instrument in found if instrument is not None)
    return Decoded(InstrumentPage(instruments=made), tuple(bad))


def _of_universe(row: SymbolRow) -> Instrument | None:
    return row.instrument() if row.in_universe else None

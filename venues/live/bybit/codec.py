"""Bybit: bytes of answers as venue-neutral replies. Requests are in `requests`, rows in `rows`.

Source: venue-bybit §2 (envelope), §3.
"""

from __future__ import annotations

import msgspec

from kernel.errors import InvariantViolation, UnknownOrder
from kernel.model.instrument import Instrument
from kernel.model.messages import HttpReply
from kernel.model.orders import BalanceReport, OrderClass, OrderReport
from kernel.model.units import TsNs
from kernel.model.venue import (
    Acked,
    CancelOrder,
    Done,
    ExecutionPage,
    InstrumentPage,
    OrderPage,
    PlaceStop,
    PositionPage,
    QueryBalance,
    QueryExecutions,
    QueryInstruments,
    QueryOpenOrders,
    QueryOrder,
    QueryPositions,
    QueryServerTime,
    QuerySymbolConfig,
    ServerTime,
    SetLeverage,
    SetPositionStop,
    SubmitOrder,
    SymbolConfig,
    VenueRequest,
)
from venues.live.base import Decoded
from venues.live.bybit import requests
from venues.live.bybit.errors import Envelope
from venues.live.bybit.rows import (
    ExecutionRow,
    InstrumentRow,
    OrderRow,
    PositionRow,
    WalletRow,
)
from venues.live.bybit.sources import StopSources
from venues.live.wire import millis, number, read_rows


class _Ids(msgspec.Struct, frozen=True, rename="camel", gc=False):
    order_id: str
    order_link_id: str = ""


class _Rows(msgspec.Struct, frozen=True, rename="camel", gc=False):
    items: list[msgspec.Raw] = msgspec.field(name="list")
    next_page_cursor: str | None = ""


class _Clock(msgspec.Struct, frozen=True, rename="camel", gc=False):
    time_nano: str


class _AccountInfo(msgspec.Struct, frozen=True, rename="camel", gc=False):
    margin_mode: str


class KeyInfo(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """GET /v5/user/query-api: what the key may do."""

    read_only: int = 0
    permissions: dict[str, list[str] | None] = {}

    @property
    def can_trade(self) -> bool:
        """It may place orders on contracts."""
        return self.read_only == 0 and "Order" in (self.permissions.get("ContractTrade") or ())

    @property
    def can_withdraw(self) -> bool:
        """It may take money out."""
        return any("Withdraw" in (rights or ()) for rights in self.permissions.values())


_envelope = msgspec.json.Decoder(Envelope)
_ids = msgspec.json.Decoder(_Ids)
_rows = msgspec.json.Decoder(_Rows)
_clock = msgspec.json.Decoder(_Clock)
_account_info = msgspec.json.Decoder(_AccountInfo)
_key_info = msgspec.json.Decoder(KeyInfo)
_order = msgspec.json.Decoder(OrderRow)
_position = msgspec.json.Decoder(PositionRow)
_execution = msgspec.json.Decoder(ExecutionRow)
_wallet = msgspec.json.Decoder(WalletRow)
_instrument = msgspec.json.Decoder(InstrumentRow)


class Codec:
    """Reads answers of one account.

    Attributes:
        sources: Which series triggers which stop.
        isolated: Margin mode of the account; None: not read yet.
        coins: Settlement coins of the universe.
    """

    def __init__(self) -> None:
        self.sources = StopSources()
        self.isolated: bool | None = None
        self.coins: tuple[str, ...] = (requests.FIRST_COIN,)

    def decode(self, request: VenueRequest, reply: HttpReply, now_ns: TsNs) -> Decoded:
        """What an answer that states no failure means.

        Raises:
            UnknownOrder: A look-up by id came back empty, which is no error to the venue.
            MsgspecError, ValueError, ArithmeticError: It can't be read.
        """
        envelope = _envelope.decode(reply.body)
        result = envelope.result
        match request:
            case SubmitOrder() | PlaceStop() | CancelOrder():
                ids = _ids.decode(result)
                return Decoded(
                    Acked(client_order_id=ids.order_link_id, venue_order_id=ids.order_id)
                )
            case SetPositionStop() | SetLeverage():
                return Decoded(Done())
            case QueryOrder():
                return Decoded(self._one(request, result))
            case QueryOpenOrders():
                return self._orders(request, result)
            case QueryPositions():
                return self._positions(request, result)
            case QueryExecutions():
                return _executions(request, result, now_ns)
            case QueryBalance():
                return Decoded(self._balance(result, millis(envelope.time) or now_ns))
            case QueryInstruments():
                return _instruments(request.cursor, result)
            case QuerySymbolConfig():
                return Decoded(self._symbol_config(request.symbol, result))
            case QueryServerTime():
                return Decoded(ServerTime(ts_ns=TsNs(int(_clock.decode(result).time_nano))))
            case _:
                raise InvariantViolation(f"bybit: no reply for {type(request).__name__}")

    # ------------------------------------------------------------ the account's configuration

    def read_margin_mode(self, reply: HttpReply) -> bool:
        """Whether the account's margin is isolated."""
        found = _account_info.decode(_envelope.decode(reply.body).result)
        self.isolated = found.margin_mode == "ISOLATED_MARGIN"
        return self.isolated

    def read_key(self, reply: HttpReply) -> KeyInfo:
        """What the key may do."""
        return _key_info.decode(_envelope.decode(reply.body).result)

    def read_hedge_mode(self, reply: HttpReply) -> bool:
        """Whether a symbol has two legs; its rows come back even when flat."""
        rows = _rows.decode(_envelope.decode(reply.body).result).items
        return any(_position.decode(row).position_idx != 0 for row in rows)

    # ------------------------------------------------------------ lists

    def _one(self, request: QueryOrder, result: msgspec.Raw) -> OrderReport:
        for raw in _rows.decode(result).items:
            row = _order.decode(raw)
            ids = (row.order_id, row.order_link_id or "")
            if request.venue_order_id in ids or (
                not request.venue_order_id and request.client_order_id in ids
            ):
                report = row.report()
                self.sources.seen(report)
                return report
        raise UnknownOrder(requests.VENUE, "query_order", "0", "an empty list")

    def _orders(self, request: QueryOpenOrders, result: msgspec.Raw) -> Decoded:
        """One class of the list; a conditional that the filter let through is left to its own."""
        page = _rows.decode(result)
        found, bad = read_rows(page.items, _order.decode, OrderRow.report)
        for report in found:
            self.sources.seen(report)
        plain = request.order_class is OrderClass.PLAIN
        orders = tuple(
            report for report in found if (report.order_class is OrderClass.PLAIN) is plain
        )
        cursor = self._next(request.symbol, request.cursor, page.next_page_cursor)
        return Decoded(OrderPage(orders=orders, next_cursor=cursor), tuple(bad), is_list=True)

    def _positions(self, request: QueryPositions, result: msgspec.Raw) -> Decoded:
        page = _rows.decode(result)
        found, bad = read_rows(page.items, _position.decode, lambda row: row.report(self.sources))
        cursor = self._next(request.symbol, request.cursor, page.next_page_cursor)
        return Decoded(
            PositionPage(positions=tuple(found), next_cursor=cursor), tuple(bad), is_list=True
        )

    def _next(self, symbol: str, cursor: str, venue_cursor: str | None) -> str:
        """The cursor of the next page; after the last page of a coin the next coin begins."""
        if symbol:
            return f"{requests.CURSOR}{venue_cursor}" if venue_cursor else ""
        coin = requests.coin_of(cursor)
        if venue_cursor:
            return f"{coin}{requests.CURSOR}{venue_cursor}"
        later = self.coins[self.coins.index(coin) + 1 :] if coin in self.coins else ()
        return f"{later[0]}{requests.CURSOR}" if later else ""

    def _balance(self, result: msgspec.Raw, ts_ns: TsNs) -> BalanceReport:
        for raw in _rows.decode(result).items:
            report = _wallet.decode(raw).report(ts_ns, isolated=self.isolated)
            if report is not None:
                return report
        raise ValueError(f"the wallet shows no {requests.FIRST_COIN}")

    def _symbol_config(self, symbol: str, result: msgspec.Raw) -> SymbolConfig:
        """Leverage by symbol, margin mode by account."""
        assert self.isolated is not None
        for raw in _rows.decode(result).items:
            row = _position.decode(raw)
            if row.symbol == symbol:
                return SymbolConfig(
                    symbol=symbol, leverage=number(row.leverage), isolated=self.isolated
                )
        raise ValueError(f"no row of {symbol}")


def _executions(request: QueryExecutions, result: msgspec.Raw, now_ns: TsNs) -> Decoded:
    """Windows from the oldest on; within one the venue pages from the newest on.

    So fills are oldest first within a page, and pages within a window newest first.
    """
    page = _rows.decode(result)
    fills, bad = read_rows(page.items, _execution.decode, ExecutionRow.fill)
    fills.sort(key=lambda fill: (fill.ts_ns, fill.trade_id))
    start_ms = requests.executions_start_ms(request, now_ns)
    cursor = ""
    if page.next_page_cursor and page.items:
        cursor = f"{start_ms}{requests.CURSOR}{page.next_page_cursor}"
    elif start_ms and millis(start_ms + requests.WINDOW_MS + 1) <= now_ns:
        cursor = f"{start_ms + requests.WINDOW_MS + 1}{requests.CURSOR}"
    return Decoded(ExecutionPage(fills=tuple(fills), next_cursor=cursor), tuple(bad), is_list=True)


def _instruments(cursor: str, result: msgspec.Raw) -> Decoded:
    """A contract outside the universe is left out without a word."""
    page = _rows.decode(result)
    found, bad = read_rows(page.items, _instrument.decode, _of_universe)
    made = tuple(instrument for instrument in found if instrument is not None)
    status = requests.status_of(cursor)
    if page.next_page_cursor:
        after = f"{status}{requests.CURSOR}{page.next_page_cursor}"
    else:
        after = next_list(status)
    return Decoded(InstrumentPage(instruments=made, next_cursor=after), tuple(bad))


def next_list(status: str) -> str:
    """The cursor of the list of instruments after one that was read to its end; "": the last."""
    later = requests.STATUSES[requests.STATUSES.index(status) + 1 :]
    return f"{later[0]}{requests.CURSOR}" if later else ""


def _of_universe(row: InstrumentRow) -> Instrument | None:
    return row.instrument() if row.in_universe else None

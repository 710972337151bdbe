"""Binance: frames of the private stream as venue-neutral events.

Single letters are the venue's; each struct names what is read. Within one event type the venue
keeps the order of `E` and `T`; between types there is none (venue-binance §4.2).
Source: venue-binance §4.3-§4.5.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from kernel.model.orders import (
    BalanceReport,
    Fill,
    FillKind,
    OrderClass,
    OrderReport,
    PositionReport,
    Side,
)
from kernel.model.traits import TRAITS
from kernel.model.units import ZERO
from kernel.model.venue import VenueEvent, VenueNotice
from venues.live.binance.rows import (
    ALGO_STATUSES,
    ORDER_STATUSES,
    QUOTES,
    child_id,
    side_of,
    source_of,
    status_of,
    type_of,
)
from venues.live.wire import bad_row, clip, millis, number, read_rows

EXPIRED_KEY = "listenKeyExpired"
IGNORED = ("TRADE_LITE", "STRATEGY_UPDATE", "GRID_UPDATE")
"""TRADE_LITE repeats executions of ORDER_TRADE_UPDATE without fee and PnL; the others are bots'."""
_COIN_MARGINED = 2
_EXECUTIONS = ("TRADE", "CALCULATED")
_EXPIRE_REASONS = {
    "1": "self-trade prevention",
    "2": "IOC remainder",
    "3": "IOC remainder by self-trade prevention",
    "4": "reduce-only knocked out",
    "5": "account liquidation",
    "6": "GTE condition unsatisfied",
    "7": "symbol delisted",
    "8": "initial order expired after the stop triggered",
    "9": "market order remainder",
    "10": "FOK",
    "11": "post-only would take",
}


class _Kind(msgspec.Struct, frozen=True, gc=False):
    """What every frame has; a combined stream wraps the event in `data`."""

    e: str = ""
    data: msgspec.Raw = msgspec.Raw()
    st: int = 1


class _Order(msgspec.Struct, frozen=True, gc=False):
    s: str
    i: int
    c: str
    o: str
    q: str
    side: str = msgspec.field(name="S")
    status: str = msgspec.field(name="X")
    execution: str = msgspec.field(name="x")
    p: str = ""
    ap: str = ""
    sp: str = ""
    l: str = ""  # noqa: E741 - the venue's name
    z: str = ""
    last_price: str = msgspec.field(name="L", default="")
    n: str = ""
    fee_asset: str = msgspec.field(name="N", default="USDT")
    trade_ms: int = msgspec.field(name="T", default=0)
    t: int = 0
    m: bool = False
    reduce_only: bool = msgspec.field(name="R", default=False)
    wt: str = ""
    ps: str = "BOTH"
    cp: bool = False
    rp: str = ""
    er: str | int = ""


class _OrderUpdate(msgspec.Struct, frozen=True, gc=False):
    o: _Order
    event_ms: int = msgspec.field(name="E")
    made_ms: int = msgspec.field(name="T")


class _Algo(msgspec.Struct, frozen=True, gc=False):
    aid: int
    caid: str
    s: str
    o: str
    side: str = msgspec.field(name="S")
    status: str = msgspec.field(name="X")
    q: str = ""
    ai: str | int | None = ""
    ap: str = ""
    aq: str = ""
    tp: str = ""
    p: str = ""
    wt: str = ""
    ps: str = "BOTH"
    cp: bool = False
    reduce_only: bool = msgspec.field(name="R", default=False)
    rm: str | None = ""


class _AlgoUpdate(msgspec.Struct, frozen=True, gc=False):
    o: _Algo
    event_ms: int = msgspec.field(name="E")
    made_ms: int = msgspec.field(name="T")


class _Balance(msgspec.Struct, frozen=True, gc=False):
    a: str
    wb: str
    bc: str = ""


class _Position(msgspec.Struct, frozen=True, gc=False):
    s: str
    pa: str
    ep: str = ""
    ps: str = "BOTH"


class _Account(msgspec.Struct, frozen=True, gc=False):
    m: str = ""
    symbol: str = msgspec.field(name="S", default="")
    balances: list[msgspec.Raw] = msgspec.field(name="B", default_factory=list)
    positions: list[msgspec.Raw] = msgspec.field(name="P", default_factory=list)


class _AccountUpdate(msgspec.Struct, frozen=True, gc=False):
    a: _Account
    made_ms: int = msgspec.field(name="T")


class _Leverage(msgspec.Struct, frozen=True, gc=False):
    s: str = ""
    l: int = 0  # noqa: E741 - the venue's name


class ConfigUpdate(msgspec.Struct, frozen=True, gc=False):
    """ACCOUNT_CONFIG_UPDATE: leverage of a symbol (`ac`), or the multi-assets mode (`ai`)."""

    ac: _Leverage | None = None


_kind = msgspec.json.Decoder(_Kind)
_order_update = msgspec.json.Decoder(_OrderUpdate)
_algo_update = msgspec.json.Decoder(_AlgoUpdate)
_account_update = msgspec.json.Decoder(_AccountUpdate)
_balance = msgspec.json.Decoder(_Balance)
_position = msgspec.json.Decoder(_Position)
_config = msgspec.json.Decoder(ConfigUpdate)


def unwrap(body: bytes) -> tuple[str, bytes]:
    """The event type of a frame and the event itself; "": the answer to a request of ours."""
    kind = _kind.decode(body)
    if not kind.e and bytes(kind.data):
        body = bytes(kind.data)
        kind = _kind.decode(body)
    if kind.st == _COIN_MARGINED:
        return "", body
    return kind.e, body


def read(kind: str, body: bytes) -> list[VenueEvent]:
    """What an event says, in the order in which it is to be heard.

    Raises:
        MsgspecError, ValueError, ArithmeticError: It can't be read.
    """
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(body)
    if kind in IGNORED:
        return []
    return [VenueNotice(kind="unknown_event", symbol=bad_row(body).symbol, raw=clip(body))]


def config_of(body: bytes) -> tuple[str, int]:
    """Symbol and leverage of an ACCOUNT_CONFIG_UPDATE; ("", 0): it is about something else."""
    found = _config.decode(body).ac
    return ("", 0) if found is None else (found.s, found.l)


def _read_order(body: bytes) -> list[VenueEvent]:
    """The execution before the report: who hears of a filled order finds its fill booked."""
    update = _order_update.decode(body)
    order = update.o
    made: list[VenueEvent] = []
    if order.execution in _EXECUTIONS and number(order.l):
        if order.t:
            made.append(_fill(order))
        else:
            # Without an id it can't be told from the row that userTrades will show for it.
            made.append(VenueNotice(kind="execution_without_id", symbol=order.s, raw=clip(body)))
    made.append(_report(order, update.made_ms))
    return made


def _report(order: _Order, made_ms: int) -> OrderReport:
    reason = str(order.er)
    return OrderReport(
        symbol=order.s,
        venue_order_id=str(order.i),
        client_order_id=order.c,
        order_class=OrderClass.PLAIN,
        order_type=type_of(order.o),
        side=Side(order.side),
        status=status_of(ORDER_STATUSES, order.status),
        qty=number(order.q),
        filled_qty=number(order.z),
        avg_price=number(order.ap),
        price=number(order.p),
        trigger_price=number(order.sp),
        trigger_by=source_of(order.wt),
        reduce_only=order.reduce_only,
        close_position=order.cp,
        position_side=order.ps,
        reason="" if reason in ("", "0") else _EXPIRE_REASONS.get(reason, f"reason {reason}"),
        updated_ns=millis(made_ms),
    )


def _fill(order: _Order) -> Fill:
    return Fill(
        symbol=order.s,
        trade_id=str(order.t),
        venue_order_id=str(order.i),
        client_order_id=order.c,
        side=Side(order.side),
        qty=number(order.l),
        price=number(order.last_price),
        fee=number(order.n),
        fee_asset=order.fee_asset,
        realized_pnl=number(order.rp),
        is_maker=order.m,
        kind=_fill_kind(order),
        ts_ns=millis(order.trade_ms),
        hedge_leg=order.ps,
    )


def _fill_kind(order: _Order) -> FillKind:
    forced = TRAITS["binance"].forced(order.c)
    if forced is not None:
        return forced
    return FillKind.LIQUIDATION if order.execution == "CALCULATED" else FillKind.TRADE


def _read_algo(body: bytes) -> list[VenueEvent]:
    """`T` and `E` are swapped in the venue's description: the earlier is when it happened.

    `aq` and `ap` mean something only once there is a child. `rm` stands filled in examples of
    orders that were not rejected.
    """
    update = _algo_update.decode(body)
    algo = update.o
    child = child_id(algo.ai)
    return [
        OrderReport(
            symbol=algo.s,
            venue_order_id=str(algo.aid),
            client_order_id=algo.caid,
            order_class=OrderClass.CONDITIONAL,
            order_type=type_of(algo.o),
            side=Side(algo.side),
            status=status_of(ALGO_STATUSES, algo.status),
            qty=number(algo.q),
            filled_qty=number(algo.aq) if child else ZERO,
            avg_price=number(algo.ap) if child else ZERO,
            price=number(algo.p),
            trigger_price=number(algo.tp),
            trigger_by=source_of(algo.wt),
            reduce_only=algo.reduce_only,
            close_position=algo.cp,
            position_side=algo.ps,
            child_order_id=child,
            reason=(algo.rm or "") if algo.status in ("REJECTED", "EXPIRED") else "",
            updated_ns=millis(min(update.event_ms, update.made_ms)),
        )
    ]


def _read_account(body: bytes) -> list[VenueEvent]:
    """Only what changed: positions first, then the money of the quote currencies."""
    update = _account_update.decode(body)
    account, ts = update.a, millis(update.made_ms)
    positions, bad = read_rows(
        account.positions,
        _position.decode,
        lambda row: PositionReport(
            symbol=row.s,
            side=side_of(number(row.pa), row.ps),
            qty=abs(number(row.pa)),
            entry_price=number(row.ep),
            hedge_leg=row.ps,
            updated_ns=ts,
        ),
    )
    balances, bad_balances = read_rows(
        account.balances,
        _balance.decode,
        lambda row: BalanceReport(
            asset=row.a,
            wallet=number(row.wb),
            available=ZERO,  # the stream does not say it, and nobody may spend a guess
            reason=account.m,
            change=number(row.bc),
            symbol=account.symbol,
            updated_ns=ts,
        ),
    )
    made: list[VenueEvent] = list(positions)
    made += [report for report in balances if report.asset == QUOTES[0]]
    made += [row.notice() for row in (*bad, *bad_balances)]
    return made


def _read_margin_call(body: bytes) -> list[VenueEvent]:
    return [VenueNotice(kind="margin_call", raw=clip(body))]


_READERS: dict[str, Callable[[bytes], list[VenueEvent]]] = {
    "ORDER_TRADE_UPDATE": _read_order,
    "ALGO_UPDATE": _read_algo,
    "ACCOUNT_UPDATE": _read_account,
    "MARGIN_CALL": _read_margin_call,
}

"""The layouts of market data files that can be read, and what their names say.

Sources: the column lists of data.binance.vision (USD-M and spot `klines`, `aggTrades`, `trades`,
`fundingRate`) and public.bybit.com (`trading`, `kline_for_metatrader4`). Newer Binance files have
a header line, older ones none; USD-M times are milliseconds, spot times microseconds since
2025-01-01. Every layout of ours has a header line and milliseconds.
"""

from __future__ import annotations

import re
from enum import StrEnum

import msgspec

from kernel.model.units import DAY, HOUR, MINUTE, SECOND


class Kind(StrEnum):
    """What the rows of a file are."""

    CANDLES = "candles"
    TRADES = "trades"
    FUNDING = "funding"
    QUOTES = "quotes"


class TimeUnit(StrEnum):
    """How a file counts time."""

    S = "s"
    MS = "ms"
    US = "us"
    NS = "ns"
    DAY_MS = "ms of day"
    """Milliseconds since midnight of the day in the file's name."""
    TEXT = "text"
    """`YYYY.MM.DD HH:MM`."""


UNIT_EXPONENT = {TimeUnit.S: 9, TimeUnit.MS: 6, TimeUnit.US: 3, TimeUnit.NS: 0}
"""Nanoseconds in one unit, as a power of ten."""
EARLIEST_S = 1_230_768_000
"""2009-01-01: no venue is older. The ranges of the four units do not overlap."""
LATEST_S = 4_102_444_800
"""2100-01-01."""


def unit_of(value: int) -> TimeUnit | None:
    """The one unit in which a time lies between 2009 and 2099; None where there is none."""
    for unit, exponent in UNIT_EXPONENT.items():
        scale = 10 ** (9 - exponent)
        if EARLIEST_S * scale <= value < LATEST_S * scale:
            return unit
    return None


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of one file format. "" in `roles` is a column that is not read."""

    name: str
    kind: Kind
    roles: tuple[str, ...]
    header: tuple[str, ...]
    """Names of the header line; where a file has none, the number of columns decides."""
    units: tuple[TimeUnit, ...]
    """Units that the format is published in; anything else is a wrong time unit."""
    venue: str = ""
    """"": to be found from the path or told."""
    shift_ns: int = 0
    """Added to the times: a bar's last quote is known when the bar ends."""


_OHLCV = ("time", "open", "high", "low", "close", "volume")

LAYOUTS: tuple[Layout, ...] = (
    Layout(
        name="candles",
        kind=Kind.CANDLES,
        roles=_OHLCV,
        header=("open_time", "open", "high", "low", "close", "volume"),
        units=(TimeUnit.MS,),
    ),
    Layout(
        name="trades",
        kind=Kind.TRADES,
        roles=("time", "price", "qty", "side", "id"),
        header=("time", "price", "qty", "side", "id"),
        units=(TimeUnit.MS,),
    ),
    Layout(
        name="funding",
        kind=Kind.FUNDING,
        roles=("time", "rate"),
        header=("time", "funding_rate"),
        units=(TimeUnit.MS,),
    ),
    Layout(
        name="binance-klines",
        kind=Kind.CANDLES,
        roles=(*_OHLCV, "", "", "", "", "", ""),
        header=(
            "open_time", "open", "high", "low", "close", "volume", "close_time", "quote_volume",
            "count", "taker_buy_volume", "taker_buy_quote_volume", "ignore",
        ),
        units=(TimeUnit.MS, TimeUnit.US),
        venue="binance",
    ),
    Layout(
        name="binance-aggTrades",
        kind=Kind.TRADES,
        roles=("id", "price", "qty", "", "", "time", "buyer_is_maker"),
        header=(
            "agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id",
            "transact_time", "is_buyer_maker",
        ),
        units=(TimeUnit.MS, TimeUnit.US),
        venue="binance",
    ),
    Layout(
        name="binance-spot-aggTrades",
        kind=Kind.TRADES,
        roles=("id", "price", "qty", "", "", "time", "buyer_is_maker", ""),
        header=(
            "agg_trade_id", "price", "quantity", "first_trade_id", "last_trade_id",
            "transact_time", "is_buyer_maker", "is_best_match",
        ),
        units=(TimeUnit.MS, TimeUnit.US),
        venue="binance",
    ),
    Layout(
        name="binance-trades",
        kind=Kind.TRADES,
        roles=("id", "price", "qty", "", "time", "buyer_is_maker"),
        header=("id", "price", "qty", "quote_qty", "time", "is_buyer_maker"),
        units=(TimeUnit.MS, TimeUnit.US),
        venue="binance",
    ),
    Layout(
        name="binance-spot-trades",
        kind=Kind.TRADES,
        roles=("id", "price", "qty", "", "time", "buyer_is_maker", ""),
        header=("id", "price", "qty", "quote_qty", "time", "is_buyer_maker", "is_best_match"),
        units=(TimeUnit.MS, TimeUnit.US),
        venue="binance",
    ),
    Layout(
        name="binance-fundingRate",
        kind=Kind.FUNDING,
        roles=("time", "", "rate"),
        header=("calc_time", "funding_interval_hours", "last_funding_rate"),
        units=(TimeUnit.MS,),
        venue="binance",
    ),
    Layout(
        name="bybit-trading",
        kind=Kind.TRADES,
        roles=("time", "", "side", "qty", "price", "", "text_id", "", "", ""),
        header=(
            "timestamp", "symbol", "side", "size", "price", "tickDirection", "trdMatchID",
            "grossValue", "homeNotional", "foreignNotional",
        ),
        units=(TimeUnit.S,),
        venue="bybit",
    ),
    Layout(
        name="bybit-trading-rpi",
        kind=Kind.TRADES,
        roles=("time", "", "side", "qty", "price", "", "text_id", "", "", "", ""),
        header=(
            "timestamp", "symbol", "side", "size", "price", "tickDirection", "trdMatchID",
            "grossValue", "homeNotional", "foreignNotional", "RPI",
        ),
        units=(TimeUnit.S,),
        venue="bybit",
    ),
    Layout(
        name="bybit-metatrader4",
        kind=Kind.CANDLES,
        roles=_OHLCV,
        header=(),
        units=(TimeUnit.TEXT,),
        venue="bybit",
    ),
    Layout(
        name="quotes",
        kind=Kind.QUOTES,
        roles=("time", "bid", "ask", "bid_qty", "ask_qty"),
        header=("time", "bid", "ask", "bid_qty", "ask_qty"),
        units=(TimeUnit.MS,),
    ),
    Layout(
        name="binance-bookTicker",
        kind=Kind.QUOTES,
        roles=("", "bid", "bid_qty", "ask", "ask_qty", "time", ""),
        header=(
            "update_id", "best_bid_price", "best_bid_qty", "best_ask_price", "best_ask_qty",
            "transaction_time", "event_time",
        ),
        units=(TimeUnit.MS, TimeUnit.US),
        venue="binance",
    ),
    Layout(
        name="day-candles",
        kind=Kind.CANDLES,
        roles=_OHLCV,
        header=("ms_of_day_utc", "open", "high", "low", "close", "volume"),
        units=(TimeUnit.DAY_MS,),
    ),
    Layout(
        name="day-quotes",
        kind=Kind.QUOTES,
        roles=("time", "", "", "", "bid", "bid_qty", "", "", "", "ask", "ask_qty"),
        header=(
            "ms_of_day_utc", "bid_open", "bid_high", "bid_low", "bid_close", "bid_size",
            "ask_open", "ask_high", "ask_low", "ask_close", "ask_size",
        ),
        units=(TimeUnit.DAY_MS,),
        shift_ns=MINUTE,
    ),
)
BY_NAME = {layout.name: layout for layout in LAYOUTS}


_UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s"))


def interval_text(interval_ns: int) -> str:
    """`1m`, `4h`, `1d`: the interval as file names write it."""
    for unit, letter in _UNITS:
        if interval_ns % unit == 0:
            return f"{interval_ns // unit}{letter}"
    return f"{interval_ns}ns"



def find_layout(first_line: str, kind: str) -> tuple[Layout | None, bool]:
    """The layout of a file and whether its first line is a header.

    A header decides by its names (in any letter case); without one the number of columns and the
    shape of the cells decide, with the kind that the file's name says ("": none).
    `(None, False)`: no layout fits.
    """
    cells = tuple(cell.strip().strip('"') for cell in first_line.split(","))
    names = tuple(cell.lower() for cell in cells)
    for layout in LAYOUTS:
        if layout.header and names == tuple(name.lower() for name in layout.header):
            return layout, True
    optional_id = (*names, "id")
    if optional_id == BY_NAME["trades"].header:
        return _without_id(), True
    return _headerless(cells, kind), False


def _without_id() -> Layout:
    full = BY_NAME["trades"]
    return msgspec.structs.replace(full, roles=full.roles[:-1], header=full.header[:-1])


def _headerless(cells: tuple[str, ...], kind: str) -> Layout | None:
    if re.match(r"\d{4}\.\d{2}\.\d{2} \d{2}:\d{2}$", cells[0]) and len(cells) == 6:
        return BY_NAME["bybit-metatrader4"]
    if not re.match(r"[0-9.]+$", cells[0]):
        return None
    ends_in_flag = cells[-1].lower() in ("true", "false")
    table = {
        (12, False): "binance-klines",
        (7, True): "binance-aggTrades",
        (7, False): "binance-bookTicker",
        (8, True): "binance-spot-aggTrades",
        (6, True): "binance-trades",
        (6, False): "candles",
        (10, False): "bybit-trading",
        (11, False): "bybit-trading-rpi",
    }
    if len(cells) == 7 and ends_in_flag and cells[-2].lower() in ("true", "false"):
        return BY_NAME["binance-spot-trades"]
    if len(cells) == 3 and kind == Kind.FUNDING:
        return BY_NAME["binance-fundingRate"]
    if len(cells) == 2 and kind == Kind.FUNDING:
        return BY_NAME["funding"]
    name = table.get((len(cells), ends_in_flag))
    return BY_NAME[name] if name else None

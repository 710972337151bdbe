"""Manifests: what a dataset's folder holds, where it came from and how damage was treated."""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from kernel.model.units import text
from replay.layouts import Kind, interval_text
from replay.series import CandleSet, FundingSet, Gap, QuoteSet, Series, TradeSet

FORMAT = 1
MANIFEST = "manifest.json"
ARRAYS = {
    Kind.CANDLES: ("open_time_ns", "open", "high", "low", "close", "volume"),
    Kind.TRADES: ("ts_ns", "px", "qty", "taker"),
    Kind.QUOTES: ("ts_ns", "bid", "ask", "bid_qty", "ask_qty"),
    Kind.FUNDING: ("ts_ns", "rate"),
}
DTYPES = {
    "open_time_ns": ("int64",),
    "ts_ns": ("int64",),
    "volume": ("float64",),
    "qty": ("int64",),
    "rate": ("int64",),
    "bid_qty": ("int64",),
    "ask_qty": ("int64",),
    "taker": ("int8",),
}
PRICE_DTYPES = ("int32", "int64")


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the rows came from."""

    name: str
    bytes: int
    blake2b: str


class ArrayFile(msgspec.Struct, frozen=True, kw_only=True):
    """One array: `blake2b` of its values in memory order, without the file's header."""

    dtype: str
    blake2b: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset holds. `step` is the tick size, or the rate step of funding."""

    format: int
    kind: Kind
    venue: str
    symbol: str
    price: str
    interval: str
    interval_ns: int
    step: str
    qty_step: str
    rows: int
    first_ns: int
    end_ns: int
    gaps: tuple[Gap, ...]
    arrays: dict[str, ArrayFile]
    sources: tuple[SourceFile, ...]
    treatment: dict[str, str]


def array_digest(array: np.ndarray[Any, Any]) -> str:
    """blake2b over type and values."""
    plain = np.ascontiguousarray(array)
    return blake2b(plain.dtype.str.encode() + plain.tobytes(), digest_size=16).hexdigest()


def file_digest(path: Path) -> SourceFile:
    """Size and blake2b of a source file, under its bare name."""
    total = blake2b(digest_size=16)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            total.update(piece)
    return SourceFile(name=path.name, bytes=path.stat().st_size, blake2b=total.hexdigest())


def series_place(one: Series) -> tuple[str, str, str]:
    """(venue, symbol, folder name) of a series: unique within one import."""
    name = str(one.kind)
    if isinstance(one, CandleSet):
        name = f"candles-{interval_text(one.interval_ns)}"
        if one.price != "last":
            name += f"-{one.price}"
    return one.venue, one.symbol, name


def series_step(one: Series) -> Decimal:
    """The unit of the series' prices, or of its rates."""
    return one.rate_step if isinstance(one, FundingSet) else one.tick_size


def describe(one: Series, sources: list[SourceFile], treatment: dict[str, str]) -> Manifest:
    """The manifest of a series."""
    candles = one if isinstance(one, CandleSet) else None
    return Manifest(
        format=FORMAT,
        kind=one.kind,
        venue=one.venue,
        symbol=one.symbol,
        price=candles.price if candles else "last",
        interval=interval_text(candles.interval_ns) if candles else "",
        interval_ns=candles.interval_ns if candles else 0,
        step=text(series_step(one)),
        qty_step=text(one.qty_step) if isinstance(one, TradeSet | QuoteSet) else "",
        rows=len(one),
        first_ns=one.first_ns,
        end_ns=one.end_ns,
        gaps=one.gaps,
        arrays={
            name: ArrayFile(
                dtype=str(getattr(one, name).dtype), blake2b=array_digest(getattr(one, name))
            )
            for name in ARRAYS[one.kind]
        },
        sources=tuple(sources),
        treatment=treatment,
    )

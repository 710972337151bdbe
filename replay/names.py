"""What file names and folders say about data files."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import PurePath

import msgspec

from kernel.model.units import DAY, HOUR, MINUTE, SECOND
from replay.layouts import Kind


class NameParts(msgspec.Struct, frozen=True, kw_only=True):
    """What a file's name and folder say; "" and 0 where they are silent."""

    symbol: str = ""
    venue: str = ""
    kind: str = ""
    """A `Kind`, or "" where the name leaves it to the columns."""
    layout: str = ""
    interval_ns: int = 0
    price: str = "last"
    day_ns: int = 0
    """Midnight of the day in the name, where times count from there."""


_INTERVAL_NS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
BINANCE_STREAM = "binance-stream"
"""Recorded frames of a stream: not a table, read by `replay.frames`."""
_DATE = r"\d{4}-?\d{2}(?:-?\d{2})?"
_SYMBOL = "[A-Z0-9_\u0080-\uffff-]+?"
"""Venues list contracts with names outside ASCII."""
_NAMES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("aggTrades", re.compile(rf"(?P<symbol>{_SYMBOL})-aggTrades-{_DATE}$")),
    ("trades", re.compile(rf"(?P<symbol>{_SYMBOL})-trades-{_DATE}(?:-{_DATE})?$")),
    ("bookTicker", re.compile(rf"(?P<symbol>{_SYMBOL})-bookTicker-{_DATE}$")),
    ("stream", re.compile(r"(?:[a-z0-9_]+-)?.*raw-ws.*$")),
    (
        "day",
        re.compile(rf"(?:[a-z0-9_]+-)?(?P<symbol>{_SYMBOL})-1m-(?:trade|bidask)-(?P<day>\d{{8}})$"),
    ),
    ("quotes", re.compile(rf"(?:[a-z0-9_]+-)?(?P<symbol>{_SYMBOL})-quotes(?:-{_DATE})*$")),
    ("fundingRate", re.compile(rf"(?P<symbol>{_SYMBOL})-fundingRate-{_DATE}$")),
    ("funding", re.compile(rf"(?:[a-z0-9_]+-)?(?P<symbol>{_SYMBOL})-funding(?:-{_DATE})*$")),
    (
        "metatrader4",
        re.compile(rf"(?P<symbol>{_SYMBOL})_(?P<minutes>\d+)_{_DATE}_{_DATE}$"),
    ),
    ("trading", re.compile(rf"(?P<symbol>{_SYMBOL})\d{{4}}-\d{{2}}-\d{{2}}$")),
    (
        "candles",
        re.compile(
            rf"(?:[a-z0-9_]+-)?(?P<symbol>{_SYMBOL})-(?P<count>\d+)(?P<unit>[smhd])"
            rf"(?:-{_DATE})*$"
        ),
    ),
)
_KIND_OF_NAME = {
    "bookTicker": Kind.QUOTES,
    "quotes": Kind.QUOTES,
    "aggTrades": Kind.TRADES,
    "trades": Kind.TRADES,
    "trading": Kind.TRADES,
    "fundingRate": Kind.FUNDING,
    "funding": Kind.FUNDING,
    "candles": Kind.CANDLES,
    "metatrader4": Kind.CANDLES,
}
_LAYOUT_OF_NAME = {"metatrader4": "bybit-metatrader4", "stream": BINANCE_STREAM}
SUFFIXES = (".csv.gz", ".csv", ".zip", ".parquet", ".txt.gz")


def stem_of(name: str) -> str | None:
    """The file name without its data suffix; None where it is no data file."""
    for suffix in SUFFIXES:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return None


def parse_name(path: PurePath) -> NameParts | None:
    """What the name and the folders of a data file say; None where the name is not understood."""
    stem = stem_of(path.name)
    if stem is None:
        return None
    folders = [*(part.lower() for part in path.parts[:-1]), path.name]
    price = "mark" if any("markprice" in part for part in folders) else "last"
    venue = _venue_of(folders)
    for name, pattern in _NAMES:
        match = pattern.match(stem)
        if match is None:
            continue
        groups = match.groupdict()
        return NameParts(
            symbol=groups.get("symbol", ""),
            venue=venue,
            kind=_KIND_OF_NAME.get(name, ""),
            layout=_LAYOUT_OF_NAME.get(name, ""),
            interval_ns=_interval_of(name, groups),
            price=price,
            day_ns=_midnight_ns(groups["day"]) if name == "day" else 0,
        )
    return None


def _venue_of(folders: list[str]) -> str:
    # The nearest folder wins: a Bybit set kept under a folder named after Binance is Bybit's.
    for part in reversed(folders):
        for venue in ("binance", "bybit"):
            if part.startswith(venue):
                return venue
    return ""


def _interval_of(name: str, groups: dict[str, str]) -> int:
    if name == "candles":
        return int(groups["count"]) * _INTERVAL_NS[groups["unit"]]
    if name == "metatrader4":
        return int(groups["minutes"]) * MINUTE
    return MINUTE if name == "day" else 0


def _midnight_ns(day: str) -> int:
    try:
        return int(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).timestamp()) * SECOND
    except ValueError:
        return 0

"""Recorded frames of Binance's public streams: trades and quotes, by symbol.

One line is a receive time, a space (or a colon and a space), and the JSON frame of a combined
stream. The receive time is not used: trades and quotes carry the venue's own (`T`, ms). Frames of
other streams are left alone. Where a symbol has both, `trade` is read and `aggTrade` is not.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import msgspec

from replay.importers import table_of_rows
from replay.layouts import BY_NAME, Kind
from replay.problems import LayoutError, Problem
from replay.tables import Table


class _Trade(msgspec.Struct, frozen=True):
    s: str
    T: int
    p: str
    q: str
    m: bool
    t: int = 0
    a: int = 0
    X: str = "MARKET"


class _Quote(msgspec.Struct, frozen=True):
    s: str
    T: int
    b: str
    B: str
    a: str
    A: str


class _TradeFrame(msgspec.Struct, frozen=True):
    data: _Trade


class _QuoteFrame(msgspec.Struct, frozen=True):
    data: _Quote


class _Rows:
    """Rows of one series and the lines they came from."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.lines: list[int] = []
        self.whole = True
        """False: frames were left out, so that holes in the ids prove nothing."""

    def add(self, row: str, line: int) -> None:
        self.rows.append(row)
        self.lines.append(line)


_TRADE = msgspec.json.Decoder(_TradeFrame)
_QUOTE = msgspec.json.Decoder(_QuoteFrame)
_LAYOUTS = {
    "trade": msgspec.structs.replace(BY_NAME["trades"], name="binance-stream"),
    "aggTrade": msgspec.structs.replace(BY_NAME["trades"], name="binance-stream"),
    "bookTicker": BY_NAME["quotes"],
}


def read_frames(path: Path) -> dict[tuple[str, Kind], Table] | list[Problem]:
    """Tables of one recording by (symbol, kind); only problems where it cannot be read."""
    found: dict[tuple[str, str], _Rows] = {}
    line = 0
    try:
        with gzip.open(path) as stream:
            for line, text in enumerate(stream, start=1):
                event = _event_of(text)
                if event:
                    _read_frame(text, event, line, found=found)
    except (OSError, EOFError, zlib.error, msgspec.DecodeError, ValueError) as error:
        return [_problem(path, line, str(error))]
    tables: dict[tuple[str, Kind], Table] = {}
    for (symbol, event), rows in sorted(found.items()):
        if not rows.rows or (event == "aggTrade" and (symbol, "trade") in found):
            continue
        layout = _LAYOUTS[event]
        table = table_of_rows(path, layout, rows.rows, rows.lines)
        table.ids_count = table.ids_count and rows.whole
        tables[(symbol, layout.kind)] = table
    if not tables:
        empty = LayoutError("no data", "no trade or quote", "a recorded stream", "another file")
        return [empty.problem(str(path))]
    return tables


def _event_of(text: bytes) -> str:
    for event in _LAYOUTS:
        if b'"e":"' + event.encode() + b'"' in text:
            return event
    return ""


def _read_frame(text: bytes, event: str, line: int, *, found: dict[tuple[str, str], _Rows]) -> None:
    frame = text[text.index(b"{") :]
    if event == "bookTicker":
        quote = _QUOTE.decode(frame).data
        row = f"{quote.T},{quote.b},{quote.a},{quote.B},{quote.A}"
        found.setdefault((quote.s, event), _Rows()).add(row, line)
        return
    trade = _TRADE.decode(frame).data
    series = found.setdefault((trade.s, event), _Rows())
    if trade.X != "MARKET":
        series.whole = False  # insurance fund and auto-deleveraging are no trades in the book
        return
    side = "sell" if trade.m else "buy"
    row = f"{trade.T},{trade.p},{trade.q},{side},{trade.t or trade.a}"
    series.add(row, line)


def _problem(path: Path, line: int, value: str) -> Problem:
    return Problem(
        code="broken recording",
        file=str(path),
        line=line,
        value=value[:120],
        allowed="a receive time and one JSON frame a line",
        fix="record it again",
    )

"""What a report says: plain data for one page, the worst first.

Times are milliseconds since the report's start, prices and money numbers for charts (floats: they
decide nothing) beside the exact texts of the run.
"""

from __future__ import annotations

import msgspec

type Point = tuple[int, float]
"""(milliseconds since the start, value)."""

WORST, BAD, NOTED = 0, 1, 2
"""Ranks of findings: a promise was broken; somebody should look; worth knowing."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something to look at first. `position` is the number of a position, -1: none."""

    rank: int
    title: str
    text: str
    at_ms: int = -1
    position: int = -1


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something on the time axis: a fault that struck, a death, a start, a lost stream."""

    at_ms: int
    kind: str
    text: str
    symbol: str = ""
    venue: str = ""


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Time without a full stop at the venue."""

    from_ms: int
    to_ms: int


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One execution at the venue."""

    at_ms: int
    side: str
    price: float
    qty: str
    leg: str
    """entry, stop, exit, aged, rollback, foreign, liquidation …"""
    fee: float


class Story(msgspec.Struct, kw_only=True):
    """One position from flat to flat, as the venue knows it, with what the kernel said."""

    number: int
    venue: str
    symbol: str
    side: str
    position_id: str = ""
    opened_ms: int = 0
    closed_ms: int = -1
    qty: str = "0"
    entry_price: float = 0.0
    exit_price: float = 0.0
    pnl: float = 0.0
    """Realised, before fees and funding."""
    unrealized: float = 0.0
    """Of what is open at the end, at the last price."""
    asked_price: float = 0.0
    """The last price when the entry was sent."""
    fees: float = 0.0
    funding: float = 0.0
    reason: str = ""
    """Why it was closed; "open": it was not."""
    entry_slip_bps: float = 0.0
    exit_slip_bps: float = 0.0
    """Against the level of the stop that fired; 0 where none did."""
    prices: list[Point] = []
    stops: list[Point] = []
    """The stop that protects it, each time it changed; value 0: none."""
    trades: list[Trade] = []
    naked: list[Span] = []
    facts: list[tuple[int, str, str]] = []
    """(time, level, text)."""
    marks: list[int] = []
    """Numbers of marks that concern its symbol in its time."""
    trail_moves: int = 0
    wave: str = ""

    @property
    def net(self) -> float:
        """After fees and funding."""
        return self.pnl + self.unrealized - self.fees + self.funding

    @property
    def naked_ms(self) -> int:
        """Longest time without a full stop."""
        return max((one.to_ms - one.from_ms for one in self.naked), default=0)


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that did not become a position, and why."""

    at_ms: int
    venue: str
    symbol: str
    side: str
    wave: str
    reason: str
    detail: str = ""


class WaveLine(msgspec.Struct, frozen=True, kw_only=True):
    """A wave that was closed."""

    at_ms: int
    wave: str
    why: str
    values: dict[str, str]


class Report(msgspec.Struct, kw_only=True):
    """Everything on one page. `figures` are (name, value, hint) in their order."""

    title: str
    start_ns: int
    end_ms: int
    verdict: str
    passed: bool
    figures: list[tuple[str, str, str]] = []
    findings: list[Finding] = []
    equity: list[Point] = []
    wallet: list[Point] = []
    marks: list[Mark] = []
    positions: list[Story] = []
    dropped: list[Dropped] = []
    waves: list[WaveLine] = []
    alerts: list[tuple[int, str, str, str]] = []
    """(time, severity, kind, text)."""
    events: list[tuple[int, str, str]] = []
    """(time, level, text) of facts that belong to no position."""
    settings: list[tuple[str, str, str]] = []
    """(name, value, default): those that are not at their default."""
    notes: list[str] = []
    reproduce: str = ""


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most about `most` points that keep every extreme of the line through all of them."""
    if len(points) <= most:
        return points
    size = -(-len(points) * 2 // most)
    kept: list[Point] = []
    for start in range(0, len(points), size):
        part = points[start : start + size]
        low = min(part, key=_value)
        high = max(part, key=_value)
        kept += [low] if low == high else sorted((low, high))
    if kept[0] != points[0]:
        kept.insert(0, points[0])
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    return kept


def _value(point: Point) -> float:
    return point[1]

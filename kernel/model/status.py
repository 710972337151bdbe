"""What a running kernel says of itself when it is asked (SPEC §12): for people and for tools.

Text of a money figure is exact; an empty text says that it is not known.
"""

from __future__ import annotations

import msgspec

from kernel.model.orders import PositionSide
from kernel.model.positions import PositionState, TrailingState
from kernel.model.units import Price, Qty, TsNs, Usd


class HealthPart(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One part of the health: "ok", "degraded" or "critical", since when, and why."""

    name: str
    level: str
    reason: str
    since_ns: TsNs


class HealthStatus(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The whole is as well as its worst part."""

    level: str
    parts: tuple[HealthPart, ...]


class Results(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What closed positions of ours brought, fees and funding included; venue "": all of them.

    `win_rate` is a share of 1; `profit_factor` gross profit over gross loss; `drawdown` the largest
    fall of the summed result below its best, USD; `sharpe` of daily results, a year of 365 days.
    """

    venue: str
    closed: int
    wins: int
    net: Usd
    fees: Usd
    funding: Usd
    drawdown: Usd
    win_rate: str
    profit_factor: str
    sharpe: str


class PositionStatus(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One open position. `pnl` is unrealised at the mark plus realised, less fees, plus funding."""

    position_id: str
    venue: str
    symbol: str
    side: PositionSide
    state: PositionState
    ours: bool
    qty: Qty
    entry: Price
    mark: Price
    """ZERO: no price is known."""
    pnl: Usd
    stop_level: Price
    stop_id: str
    """Venue id of the stop; "" where the venue has not told one."""
    protected: bool
    """A confirmed stop covers the whole quantity."""
    unprotected_ms: int
    trailing: TrailingState
    best: Price
    age_s: int
    frozen: str


class WaveStatus(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One wave; `state` is "open" or how it ended."""

    wave: str
    state: str
    received: int
    target: int
    active: int


class Budget(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One rate budget of a venue."""

    bucket: str
    capacity: int
    used: int
    window_ms: int


class VenueStatus(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One venue. `blocks` are the reasons for which there are no entries; none: there may be."""

    name: str
    stream_up: bool
    banned_ms: int
    blocks: tuple[str, ...]
    wallet: Usd
    clock_offset_ms: str
    budgets: tuple[Budget, ...]
    zombies_found: int = 0
    """Zombie orders that were proven since the start."""
    zombies_cleared: int = 0
    """Those of them that are proven terminal."""


class LockStatus(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """No entries on a symbol until a time; symbol "": on the venue; both "": anywhere."""

    venue: str
    symbol: str
    reason: str
    until_ns: TsNs


class Limits(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What is used of the limits of entries; `today`: net of what was closed this UTC day."""

    positions: int
    max_positions: int
    exposure: Usd
    max_exposure: Usd
    paused: str
    today: Usd


class OpenAlert(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An alert of a state that lasts."""

    severity: str
    kind: str
    text: str
    venue: str
    symbol: str
    since_ns: TsNs


class Status(msgspec.Struct, frozen=True, kw_only=True, tag="status", array_like=True, gc=False):
    """Everything that a person needs to know of a running kernel."""

    ts_ns: TsNs
    started_ns: TsNs
    epoch: int
    stopping: bool
    rows_waiting: int
    """Rows that the store has not taken yet."""
    health: HealthStatus
    positions: tuple[PositionStatus, ...]
    waves: tuple[WaveStatus, ...]
    venues: tuple[VenueStatus, ...]
    limits: Limits
    locks: tuple[LockStatus, ...]
    alerts: tuple[OpenAlert, ...]
    results: tuple[Results, ...]

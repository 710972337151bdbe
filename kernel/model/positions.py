"""A position of ours: its record and the table of its life (SPEC §3)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from kernel.model.orders import ONE_WAY, PositionSide
from kernel.model.units import MINUTE, ZERO, Price, Qty, TsNs, Usd


class PositionState(StrEnum):
    """SPEC §3; each state is durable before the action that it announces."""

    PENDING_ENTRY = "PENDING_ENTRY"
    ENTRY_PLACED = "ENTRY_PLACED"
    PENDING_SL = "PENDING_SL"
    ACTIVE = "ACTIVE"
    CLOSING = "CLOSING"
    ROLLBACK = "ROLLBACK"
    ROLLED_BACK = "ROLLED_BACK"
    CLOSED = "CLOSED"

    @property
    def terminal(self) -> bool:
        """Nothing of ours is left on the venue."""
        return self in (PositionState.ROLLED_BACK, PositionState.CLOSED)


_S = PositionState
POSITION_TABLE: dict[PositionState, tuple[PositionState, ...]] = {
    _S.PENDING_ENTRY: (_S.ENTRY_PLACED, _S.ROLLED_BACK, _S.ROLLBACK),
    _S.ENTRY_PLACED: (_S.PENDING_SL, _S.ROLLBACK, _S.ROLLED_BACK),
    _S.PENDING_SL: (_S.ACTIVE, _S.ROLLBACK, _S.CLOSED),
    _S.ACTIVE: (_S.CLOSING, _S.CLOSED),
    _S.CLOSING: (_S.CLOSED, _S.ACTIVE),
    _S.ROLLBACK: (_S.ROLLED_BACK,),
    _S.ROLLED_BACK: (),
    _S.CLOSED: (),
}
"""state → the states that may follow."""
ENTERING = (_S.PENDING_ENTRY, _S.ENTRY_PLACED, _S.PENDING_SL)
"""The states of an entry that is neither ACTIVE nor given up."""


class TrailingState(StrEnum):
    """SPEC §5."""

    INACTIVE = "INACTIVE"
    WAITING = "WAITING"
    ACTIVE = "ACTIVE"
    TRIGGERED = "TRIGGERED"


TRAILING_TABLE: dict[TrailingState, tuple[TrailingState, ...]] = {
    TrailingState.INACTIVE: (TrailingState.WAITING,),
    TrailingState.WAITING: (TrailingState.ACTIVE, TrailingState.TRIGGERED),
    TrailingState.ACTIVE: (TrailingState.TRIGGERED,),
    TrailingState.TRIGGERED: (),
}


class CloseReason(StrEnum):
    """Why a position ended."""

    STOP_LOSS = "STOP_LOSS"
    TRAILING_STOP = "TRAILING_STOP"
    ALREADY_THROUGH = "ALREADY_THROUGH"
    ROLLBACK = "ROLLBACK"
    UNPROTECTED = "UNPROTECTED"
    AGED = "AGED"
    GUARD = "GUARD"
    OPERATOR = "OPERATOR"
    LIQUIDATION = "LIQUIDATION"
    ADL = "ADL"
    SETTLEMENT = "SETTLEMENT"
    EXTERNAL = "EXTERNAL"
    """Closed on the venue by somebody else."""
    NEVER_FILLED = "NEVER_FILLED"


class Origin(StrEnum):
    """Whose position it is (SPEC §9)."""

    OURS = "OURS"
    FOREIGN = "FOREIGN"


class PositionRow(
    msgspec.Struct, frozen=True, kw_only=True, tag="position_row", array_like=True, gc=False
):
    """What is stored of a position; the kernel's working object is built from it at start."""

    position_id: str
    """Deterministic: venue, symbol, candle, epoch, generation."""
    venue: str
    symbol: str
    side: PositionSide
    state: PositionState
    origin: Origin = Origin.OURS
    wave_ns: TsNs = TsNs(0)
    once_key: str = ""
    intended_qty: Qty = ZERO
    filled_qty: Qty = ZERO
    """Distinct entry executions, summed."""
    closed_qty: Qty = ZERO
    entry_price: Price = ZERO
    """Average of the entry executions."""
    exit_price: Price = ZERO
    realized_pnl: Usd = ZERO
    """From our fills, before fees."""
    fees: Usd = ZERO
    funding: Usd = ZERO
    protected_level: Price = ZERO
    """The one stop level (SPEC §4); never loosened."""
    trailing: TrailingState = TrailingState.INACTIVE
    best_price: Price = ZERO
    close_reason: str = ""
    guard_acted: str = ""
    """Levels of the guard that were acted on, separated by commas (SPEC §8)."""
    generation: int = 0
    """Next generation number for client order ids of this position."""
    opened_ns: TsNs = TsNs(0)
    first_fill_ns: TsNs = TsNs(0)
    closed_ns: TsNs = TsNs(0)
    updated_ns: TsNs = TsNs(0)
    hedge_leg: str = ONE_WAY
    """LONG or SHORT where the account holds two legs a symbol."""
    result_ns: TsNs = TsNs(0)
    """When the result of one that ended was told; 0: executions or funding are missing."""

    @property
    def net(self) -> Usd:
        """Realised result after fees and funding."""
        return self.realized_pnl - self.fees + self.funding

    @property
    def wave_minute(self) -> int:
        """What stands for it in the ids of its orders, beside its symbol."""
        return (self.wave_ns or self.opened_ns) // MINUTE

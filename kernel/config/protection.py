"""Settings of what protects and closes: stops, trailing, aged positions, guard (SPEC §4-§6, §8)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from kernel.config.fields import GuardActions, Lower, Section, decimal, said, switch, whole


class Stops(Section):
    """Stop-losses."""

    stop_loss_percent: Decimal = decimal(
        "2.0", "0.1", "50", "distance of the first stop; 1.5 to 3 is advised"
    )
    stop_drift_adverse: Annotated[Literal["rebase", "close"], Lower] = said(
        "rebase", "what happens where the market ran against the entry before the stop stood"
    )
    stop_trigger_price: Annotated[Literal["mark", "last"], Lower] = said(
        "mark", "the series that triggers stops; drift and trailing look at it too"
    )
    stop_reuse_tolerance_percent: Decimal = decimal(
        "5", "0", "50", "a stop found on the venue counts when it is this close to the level"
    )
    stop_fill_timeout_seconds: int = whole(
        3, 1, 60, "from a triggered stop to flat; then the exit ladder"
    )
    already_through_limit: int = whole(
        3, 0, 100, "closes because a stop was already through that end entries on a venue; 0: off"
    )
    already_through_window_seconds: int = whole(
        60, 1, 3600, "in which the closes of ALREADY_THROUGH_LIMIT are counted"
    )
    protection_bulk_seconds: int = whole(
        15, 0, 120, "between bulk reads while a position is open; 0: off, for simulations"
    )
    stop_check_interval_seconds: int = whole(
        60, 0, 3600, "between full verifications; 0: off, for simulations"
    )


class Trailing(Section):
    """Trailing stop."""

    trailing_strategy: Annotated[Literal["percent", "atr", "step", "breakeven"], Lower] = said(
        "percent", "how the stop follows the best price"
    )
    trailing_activation_percent: Decimal = decimal(
        "1.5", "0.01", "100", "gross profit from the average entry at which trailing begins"
    )
    trailing_callback_percent: Decimal = decimal(
        "0.5", "0.01", "50", "distance of the stop from the best price"
    )
    trailing_atr_period: int = whole(14, 2, 200, "strategy atr: candles of one hour")
    trailing_atr_multiplier: Decimal = decimal(
        "2", "0.1", "20", "strategy atr: distance from the best price in ATRs"
    )
    trailing_step_percent: Decimal = decimal(
        "1", "0.01", "50", "strategy step: gain of the best price after which the stop moves"
    )
    trailing_step_gain_percent: Decimal = decimal(
        "0.5", "0.01", "50", "strategy step: how far it moves at each step"
    )
    trailing_breakeven_percent: Decimal | None = Field(
        None,
        gt=Decimal(0),
        le=Decimal(100),
        allow_inf_nan=False,
        description="profit at which the stop goes to the entry; empty: off",
    )
    trailing_min_update_interval_seconds: int = whole(60, 0, 3600, "between two moves of a stop")
    trailing_min_improvement_percent: Decimal = decimal(
        "0.1", "0", "10", "least improvement of a move"
    )
    trailing_emergency_improvement_percent: Decimal = decimal(
        "1.0", "0.01", "100", "an improvement that goes out at once"
    )
    trailing_alert_if_unprotected_window_ms: int = whole(
        500, 0, 60_000, "a longer gap during a move alerts"
    )
    trailing_on_passed: Annotated[Literal["close", "hold"], Lower] = said(
        "close", "what happens where the market is through a suppressed level already"
    )


class Aged(Section):
    """Aged positions."""

    max_position_age_hours: Decimal = decimal(
        "3", "0.1", "720", "older positions are aged; 2 to 4 is advised"
    )
    aged_grace_period_hours: Decimal = decimal(
        "8", "0", "720", "breakeven is tried for so long past the age"
    )
    aged_loss_step_percent: Decimal = decimal(
        "0.5", "0", "50", "tolerated loss per hour after the grace period"
    )
    aged_max_loss_percent: Decimal = decimal("10.0", "0", "100", "the most that is tolerated")
    aged_acceleration_factor: Decimal = decimal(
        "1.2", "1", "10", "factor of the tolerated loss beyond ten hours"
    )
    aged_check_interval_minutes: int = whole(60, 1, 1440, "between checks of age")
    aged_respect_trailing: bool = switch(
        True, "leaves to trailing what an active trailing stop holds at the target or better"
    )
    commission_percent: Decimal = decimal(
        "0.1", "0", "5", "commission of the round trip; also kept free of margin for each entry"
    )


class Guard(Section):
    """Position guard."""

    guard_enabled: bool = switch(True, "the health score of positions")
    guard_interval_seconds: int = whole(30, 1, 3600, "between evaluations while a position is open")
    guard_actions: GuardActions = said(
        ("critical", "emergency"),
        "levels at which the guard acts; it reports the others; none: it only reports",
        allowed="words of medium, high, critical, emergency, separated by commas, or none",
    )

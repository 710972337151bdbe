"""Settings that contradict each other."""

from __future__ import annotations

from decimal import Decimal

from kernel.config.values import Values
from kernel.config.words import shown

PRODUCTION = ("production", "prod", "live")
"""Names of an environment that trades real money."""

Contradiction = tuple[tuple[str, ...], str]
"""The names concerned, and a sentence about them."""


def contradictions(values: Values) -> list[Contradiction]:
    """What each setting allows by itself and all of them together do not."""
    checks = (_connections, _hosts, _sizes, _waves, _protection, _trailing, _aged)
    return [
        (names, f"{_told(values, names)}: {rule}; {fix}")
        for check in checks
        for holds, names, rule, fix in check(values)
        if not holds
    ]


Rule = tuple[bool, tuple[str, ...], str, str]
"""Whether it holds, the names concerned, what is wrong otherwise, what to do."""


def _told(values: Values, names: tuple[str, ...]) -> str:
    return ", ".join(f"{name.upper()}={shown(getattr(values, name))}" for name in names)


def _connections(s: Values) -> list[Rule]:
    return [
        (
            bool(getattr(s, f"{venue}_api_key").get_secret_value())
            == bool(getattr(s, f"{venue}_api_secret").get_secret_value()),
            (f"{venue}_api_key", f"{venue}_api_secret"),
            "one without the other",
            "set both, or neither",
        )
        for venue in ("binance", "bybit")
    ]


def _hosts(s: Values) -> list[Rule]:
    return [
        (
            not getattr(s, f"{venue}_testnet") or s.environment.lower() not in PRODUCTION,
            (f"{venue}_testnet", "environment"),
            "test hosts are refused in production",
            "set the first to false, or ENVIRONMENT to another name such as testing",
        )
        for venue in ("binance", "bybit")
    ]


def _sizes(s: Values) -> list[Rule]:
    return [
        (
            s.min_position_size_usd <= s.position_size_usd <= s.max_position_size_usd,
            ("min_position_size_usd", "position_size_usd", "max_position_size_usd"),
            "the size must lie between the minimum and the maximum",
            "change the size or its limits",
        ),
        (
            s.position_size_usd <= s.max_exposure_usd,
            ("position_size_usd", "max_exposure_usd"),
            "not even one position fits into the exposure",
            "lower the size or raise the exposure",
        ),
        (
            s.stop_loss_percent + s.liquidation_buffer_percent < Decimal(100) / s.leverage,
            ("stop_loss_percent", "liquidation_buffer_percent", "leverage"),
            "the stop would lie beyond the liquidation price, 100 / LEVERAGE percent away",
            "lower the leverage or the stop distance",
        ),
    ]


def _waves(s: Values) -> list[Rule]:
    minutes = s.wave_check_minutes
    return [
        (
            bool(minutes) and list(minutes) == sorted(dict.fromkeys(minutes)),
            ("wave_check_minutes",),
            "minutes of the hour, each once, ascending",
            "sort them, for instance 6,20,35,50",
        ),
        (
            not minutes or s.wave_check_duration_seconds <= 60 * _shortest_gap(minutes),
            ("wave_check_minutes", "wave_check_duration_seconds"),
            "a check would still run when the next one starts",
            "shorten the duration or move the minutes apart",
        ),
        (
            s.signal_auth_retry_seconds <= s.signal_auth_retry_max_seconds,
            ("signal_auth_retry_seconds", "signal_auth_retry_max_seconds"),
            "the first pause is longer than the longest",
            "lower the first or raise the longest",
        ),
    ]


def _shortest_gap(minutes: tuple[int, ...]) -> int:
    ordered = sorted(minutes)
    following = [*ordered[1:], ordered[0] + 60]
    return min(after - before for before, after in zip(ordered, following, strict=True))


def _protection(s: Values) -> list[Rule]:
    return [
        (
            s.protection_call_timeout_seconds < s.unprotected_deadline_seconds,
            ("protection_call_timeout_seconds", "unprotected_deadline_seconds"),
            "one call may take longer than the whole deadline",
            "lower the time-out",
        ),
    ]


def _trailing(s: Values) -> list[Rule]:
    return [
        (
            s.trailing_breakeven_percent is None
            or s.trailing_breakeven_percent <= s.trailing_activation_percent,
            ("trailing_breakeven_percent", "trailing_activation_percent"),
            "the breakeven move must come before the activation",
            "lower it, or leave it empty to switch it off",
        ),
        (
            s.trailing_callback_percent < s.trailing_activation_percent,
            ("trailing_callback_percent", "trailing_activation_percent"),
            "the first trailing stop would lie on the losing side of the entry",
            "lower the callback or raise the activation",
        ),
        (
            s.trailing_min_improvement_percent <= s.trailing_emergency_improvement_percent,
            ("trailing_min_improvement_percent", "trailing_emergency_improvement_percent"),
            "an emergency would be smaller than the least improvement",
            "lower the least improvement or raise the emergency",
        ),
        (
            s.trailing_step_gain_percent <= s.trailing_step_percent,
            ("trailing_step_gain_percent", "trailing_step_percent"),
            "the stop would move further than the price and meet it",
            "lower the gain or raise the step",
        ),
        (
            s.trailing_strategy != "breakeven" or s.trailing_breakeven_percent is not None,
            ("trailing_strategy", "trailing_breakeven_percent"),
            "the strategy begins with the breakeven move, and that is off",
            "set the percentage, or choose another strategy",
        ),
    ]


def _aged(s: Values) -> list[Rule]:
    grace_minutes = s.aged_grace_period_hours * 60
    return [
        (
            s.aged_loss_step_percent <= s.aged_max_loss_percent,
            ("aged_loss_step_percent", "aged_max_loss_percent"),
            "the first step is beyond the cap",
            "lower the step or raise the cap",
        ),
        (
            grace_minutes == 0 or s.aged_check_interval_minutes <= grace_minutes,
            ("aged_check_interval_minutes", "aged_grace_period_hours"),
            "the whole grace period could pass between two checks",
            "check more often, or set the grace period to 0 to do without it",
        ),
    ]

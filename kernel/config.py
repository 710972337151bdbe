"""Settings: the owner's names and defaults, their ranges, and every problem at once (SPEC §14).

An attribute is the lower-case of its name in the environment. Seconds, minutes and milliseconds
are whole numbers; money and percentages are exact decimals (2.0 means 2 %). 0 switches off what
says so. `load` is pure: whoever calls it reads the environment and the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from difflib import get_close_matches
from hashlib import blake2b
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from kernel.errors import SettingsError
from kernel.model.orders import PriceSource
from kernel.model.units import canonical, text

WINDOW_ADVICE_SECONDS = 180
"""A check window as long as this reaches the last signals of a wave (SPEC §1)."""


def _whole(default: int, low: int, high: int) -> Any:
    return Field(default, ge=low, le=high)


def _decimal(default: str, low: str, high: str) -> Any:
    return Field(
        Decimal(default), ge=Decimal(low), le=Decimal(high), max_digits=24, allow_inf_nan=False
    )


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


Minutes = Annotated[tuple[Annotated[int, Field(ge=0, le=59)], ...], BeforeValidator(_split)]
Symbols = Annotated[tuple[str, ...], BeforeValidator(_split), BeforeValidator(_upper)]


class Values(BaseModel):
    """The values, each checked by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @field_validator("*", mode="after")
    @classmethod
    def _one_form(cls, value: object) -> object:
        """Equal settings are equal to the last digit of their text: 2.0 is 2."""
        return canonical(value) if isinstance(value, Decimal) else value

    # ------------------------------------------------------------ outside the kernel (§14)
    binance_api_key: SecretStr = SecretStr("")
    binance_api_secret: SecretStr = SecretStr("")
    binance_testnet: bool = False
    bybit_api_key: SecretStr = SecretStr("")
    bybit_api_secret: SecretStr = SecretStr("")
    bybit_testnet: bool = False
    database_url: SecretStr = SecretStr("")
    db_host: str = "localhost"
    db_port: int = _whole(5433, 1, 65535)
    db_name: str = "fox_crypto"
    db_user: str = "elcrypto"
    db_password: SecretStr = SecretStr("")
    db_pool_size: int = _whole(10, 1, 100)
    db_max_overflow: int = _whole(20, 0, 100)
    signal_ws_url: str = Field("ws://localhost:8765", pattern=r"^wss?://\S+$")
    signal_ws_token: SecretStr = SecretStr("")
    debug: bool = False
    environment: str = Field("production", min_length=1)
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
    ] = "INFO"

    # ------------------------------------------------------------ signals and waves (§1)
    signal_request_interval_seconds: int = _whole(5, 1, 60)
    """Between requests inside a check window."""
    signal_idle_request_interval_seconds: int = _whole(60, 0, 3600)
    """Between requests outside the windows; 0: none are sent there."""
    signal_ws_auto_reconnect: bool = True
    signal_ws_reconnect_interval: int = _whole(5, 1, 3600)
    """Seconds."""
    signal_ws_max_reconnect_attempts: int = _whole(-1, -1, 1_000_000)
    """-1: for ever."""
    signal_buffer_size: int = _whole(100, 1, 100_000)
    """Messages."""
    wave_check_minutes: Minutes = (6, 20, 35, 50)
    wave_check_duration_seconds: int = _whole(120, 1, 900)
    signal_max_age_seconds: int = _whole(900, 60, 3600)
    """After the close of the candle; later there is no entry."""
    stoplist_symbols: Symbols = ()
    min_score_week: Decimal = _decimal("0", "-1000000", "1000000")
    min_score_month: Decimal = _decimal("50", "-1000000", "1000000")
    max_spread_percent: Decimal = _decimal("2.0", "0.01", "50")
    max_trades_per_15min: int = _whole(10, 1, 200)
    signal_buffer_percent: int = _whole(33, 0, 1000)
    wave_concurrency: int = _whole(4, 1, 50)

    # ------------------------------------------------------------ risk (§2)
    position_size_usd: Decimal = _decimal("200", "1", "10000000")
    min_position_size_usd: Decimal = _decimal("10", "0", "10000000")
    max_position_size_usd: Decimal = _decimal("5000", "1", "10000000")
    max_positions: int = _whole(10, 1, 200)
    max_exposure_usd: Decimal = _decimal("30000", "1", "1000000000")
    lock_timeout: int = _whole(30, 1, 600)
    """Seconds that an entry or a manual act waits for its symbol; protection never waits."""
    leverage: int = _whole(5, 1, 125)
    margin_mode: Annotated[Literal["isolated", "cross"], BeforeValidator(_lower)] = "isolated"
    liquidation_buffer_percent: Decimal = _decimal("0.5", "0", "20")
    daily_loss_limit_usd: Decimal = _decimal("0", "0", "1000000000")
    """Realised loss of the UTC day, fees and funding included; 0: off."""
    max_drawdown_percent: Decimal = _decimal("0", "0", "100")
    """Fall of the realised equity from its best; 0: off."""
    max_consecutive_stops: int = _whole(0, 0, 1000)
    """Losing stops in a row; 0: off."""
    stop_guard_count: int = _whole(0, 0, 1000)
    """Stops inside `STOP_GUARD_WINDOW_MINUTES`; 0: off."""
    stop_guard_window_minutes: int = _whole(60, 1, 1440)
    symbol_cooldown_minutes: int = _whole(0, 0, 10080)
    """No entry on a symbol for so long after it was closed; 0: off."""
    max_positions_per_side: int = _whole(0, 0, 200)
    """Long positions and short positions, each; 0: off."""
    max_positions_per_wave: int = _whole(0, 0, 200)
    """0: off."""
    venue_breaker_failures: int = _whole(3, 0, 100)
    """Equal stop failures in a row that end entries on a venue; 0: off."""

    # ------------------------------------------------------------ entry and protection (§3)
    store_wait_ms: int = _whole(100, 0, 5000)
    protection_call_timeout_seconds: int = _whole(3, 1, 10)
    unprotected_deadline_seconds: int = _whole(30, 5, 300)
    max_recovery_attempts: int = _whole(10, 1, 100)

    # ------------------------------------------------------------ stops (§4)
    stop_loss_percent: Decimal = _decimal("2.0", "0.1", "50")
    stop_drift_adverse: Annotated[Literal["rebase", "close"], BeforeValidator(_lower)] = "rebase"
    stop_trigger_price: Annotated[Literal["mark", "last"], BeforeValidator(_lower)] = "mark"
    stop_reuse_tolerance_percent: Decimal = _decimal("5", "0", "50")
    stop_fill_timeout_seconds: int = _whole(3, 1, 60)
    protection_bulk_seconds: int = _whole(15, 0, 120)
    """Between bulk reads while a position is open; 0: off (simulation only)."""
    stop_check_interval_seconds: int = _whole(60, 0, 3600)
    """Between full verifications; 0: off (simulation only)."""

    # ------------------------------------------------------------ trailing stop (§5)
    trailing_activation_percent: Decimal = _decimal("1.5", "0.01", "100")
    trailing_callback_percent: Decimal = _decimal("0.5", "0.01", "50")
    trailing_breakeven_percent: Decimal | None = Field(
        None, gt=Decimal(0), le=Decimal(100), allow_inf_nan=False
    )
    """Empty: off."""
    trailing_min_update_interval_seconds: int = _whole(60, 0, 3600)
    trailing_min_improvement_percent: Decimal = _decimal("0.1", "0", "10")
    trailing_emergency_improvement_percent: Decimal = _decimal("1.0", "0.01", "100")
    trailing_alert_if_unprotected_window_ms: int = _whole(500, 0, 60_000)
    trailing_on_passed: Annotated[Literal["close", "hold"], BeforeValidator(_lower)] = "close"

    # ------------------------------------------------------------ aged positions (§6)
    max_position_age_hours: Decimal = _decimal("3", "0.1", "720")
    aged_grace_period_hours: Decimal = _decimal("8", "0", "720")
    aged_loss_step_percent: Decimal = _decimal("0.5", "0", "50")
    aged_max_loss_percent: Decimal = _decimal("10.0", "0", "100")
    aged_acceleration_factor: Decimal = _decimal("1.2", "1", "10")
    aged_check_interval_minutes: int = _whole(60, 1, 1440)
    commission_percent: Decimal = _decimal("0.1", "0", "5")
    """Of the round trip."""

    # ------------------------------------------------------------ guard, sync, venues (§8-§11)
    guard_enabled: bool = True
    sync_interval_seconds: int = _whole(120, 0, 3600)
    """0: off, with the periodic reads of clock and instruments (simulation only)."""
    untracked_policy: Annotated[
        Literal["protect", "adopt", "alert", "close"], BeforeValidator(_lower)
    ] = "protect"
    visibility_lag_seconds: int = _whole(5, 0, 60)
    order_timeout_seconds: int = _whole(5, 1, 60)
    query_timeout_seconds: int = _whole(10, 1, 60)
    epoch_hours: int = _whole(24, 0, 720)
    """Idle restart of the kernel in its process; 0: off."""


class Settings(Values):
    """Everything that can be set; checked, frozen, and complete by its defaults alone."""

    @classmethod
    def load(cls, values: Mapping[str, str]) -> Self:
        """Settings from texts by their names in the environment; an empty text is "not set".

        Args:
            values: Names in any case. A name that is not a setting is a problem: give `known`
                of an environment, all of a file.

        Raises:
            SettingsError: All problems at once, each with name, value, range and fix.
        """
        given: dict[str, object] = {}
        problems: list[str] = []
        for name, value in values.items():
            attribute = name.lower()
            if attribute not in cls.model_fields:
                problems.append(_unknown(name, tuple(cls.model_fields)))
            elif value.strip():
                given[attribute] = value.strip()
        return cls._checked(given, problems)

    @classmethod
    def from_json(cls, document: str) -> Self:
        """Settings from what `canonical_json` wrote.

        Raises:
            SettingsError: All problems at once.
        """
        try:
            given = json.loads(document, parse_float=Decimal)
        except ValueError as error:
            raise SettingsError([f"settings: not JSON ({error}); give an object"]) from error
        if not isinstance(given, dict):
            raise SettingsError([f"settings: {type(given).__name__}, not an object of names"])
        unknown = [_unknown(name, tuple(cls.model_fields)) for name in given if not _is_ours(name)]
        return cls._checked({name: given[name] for name in given if _is_ours(name)}, unknown)

    @classmethod
    def _checked(cls, given: dict[str, object], problems: list[str]) -> Self:
        try:
            made = cls.model_validate(given)
        except ValidationError as error:
            lines, wrong = _explain(error, given)
            problems = problems + lines
            if wrong:  # what remains may contradict itself as well
                sound = {name: value for name, value in given.items() if name not in wrong}
                found = _cross_checks(Values.model_validate(sound))
                problems += [line for names, line in found if not _any(names, wrong)]
            raise SettingsError(problems) from error
        if problems:
            raise SettingsError(problems)
        return made

    @classmethod
    def known(cls, environment: Mapping[str, str]) -> dict[str, str]:
        """Those entries of an environment that are settings."""
        return {name: text for name, text in environment.items() if _is_ours(name.lower())}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        contradictions = [line for _, line in _cross_checks(self)]
        if contradictions:
            raise ValueError("\n".join(contradictions))
        return self

    # ------------------------------------------------------------ reading

    @property
    def stop_source(self) -> PriceSource:
        """The series that stops, drift, trailing and guard look at."""
        return PriceSource.MARK if self.stop_trigger_price == "mark" else PriceSource.LAST

    @property
    def database_is_set(self) -> bool:
        """Whether a server was named: else an embedded one starts (SPEC §11)."""
        return "db_host" in self.model_fields_set or bool(self.database_url.get_secret_value())

    def canonical_json(self) -> str:
        """What the kernel depends on, as JSON text with sorted names: no secret, no host."""
        inside = {
            name: _plain(getattr(self, name))
            for name in sorted(type(self).model_fields)
            if name not in OUTSIDE
        }
        return json.dumps(inside, sort_keys=True, separators=(",", ":"))

    def settings_hash(self) -> str:
        """32 hexadecimal characters that stand for `canonical_json`."""
        return blake2b(self.canonical_json().encode(), digest_size=16).hexdigest()

    def advice(self) -> tuple[str, ...]:
        """Settings that are allowed and that the owner recommends otherwise (for `check`)."""
        given: list[str] = []
        for name, low, high in RECOMMENDED:
            value = Decimal(getattr(self, name))
            if not low <= value <= high:
                advised = f"{text(low)} to {text(high)} is advised"
                given.append(f"{name.upper()}={text(value)}: {advised}")
        if self.wave_check_duration_seconds < WINDOW_ADVICE_SECONDS:
            given.append(
                f"WAVE_CHECK_DURATION_SECONDS={self.wave_check_duration_seconds}: signals arrive"
                f" 5 to 8 minutes after the close; {WINDOW_ADVICE_SECONDS} sees the last of them"
            )
        given += [
            f"{name.upper()}: accepted, but this release does not act on it"
            for name in WITHOUT_EFFECT
            if name in self.model_fields_set
        ]
        return tuple(given)

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """Every setting: name, default, what is allowed; in the order of the specification."""
        return [
            (name.upper(), _default(field), _allowed(field))
            for name, field in cls.model_fields.items()
        ]


OUTSIDE = (
    "binance_api_key", "binance_api_secret", "binance_testnet",
    "bybit_api_key", "bybit_api_secret", "bybit_testnet",
    "database_url", "db_host", "db_port", "db_name", "db_user", "db_password",
    "db_pool_size", "db_max_overflow", "signal_ws_url", "signal_ws_token",
    "debug", "environment", "log_level",
)  # fmt: skip
"""Secrets, hosts and logging: the kernel decides nothing by them, so they enter no journal."""

WITHOUT_EFFECT = (
    "max_position_age_hours", "aged_grace_period_hours", "aged_loss_step_percent",
    "aged_max_loss_percent", "aged_acceleration_factor", "aged_check_interval_minutes",
    "guard_enabled", "epoch_hours",
)  # fmt: skip
"""Names of parts that do not exist yet: accepted, so that one file serves later releases too."""

RECOMMENDED = (
    ("max_positions", Decimal(5), Decimal(10)),
    ("stop_loss_percent", Decimal("1.5"), Decimal(3)),
    ("max_position_age_hours", Decimal(2), Decimal(4)),
)
"""The owner's recommendations for production."""


def _is_ours(name: str) -> bool:
    return name in Settings.model_fields


def _any(names: tuple[str, ...], wrong: list[str]) -> bool:
    return any(name in wrong for name in names)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return text(value)
    return list(value) if isinstance(value, tuple) else value


def _cross_checks(s: Values) -> list[tuple[tuple[str, ...], str]]:
    """Pairs of the names concerned and the contradiction between them."""
    found: list[tuple[tuple[str, ...], str]] = []

    def require(holds: bool, names: tuple[str, ...], rule: str, fix: str) -> None:  # noqa: FBT001
        if not holds:
            shown = ", ".join(f"{name.upper()}={_shown(getattr(s, name))}" for name in names)
            found.append((names, f"{shown}: {rule}; {fix}"))

    require(
        s.min_position_size_usd <= s.position_size_usd <= s.max_position_size_usd,
        ("min_position_size_usd", "position_size_usd", "max_position_size_usd"),
        "the size must lie between the minimum and the maximum",
        "change the size or its limits",
    )
    require(
        s.position_size_usd <= s.max_exposure_usd,
        ("position_size_usd", "max_exposure_usd"),
        "not even one position fits into the exposure",
        "lower the size or raise the exposure",
    )
    require(
        s.stop_loss_percent + s.liquidation_buffer_percent < Decimal(100) / s.leverage,
        ("stop_loss_percent", "liquidation_buffer_percent", "leverage"),
        "the stop would lie beyond the liquidation price, 100 / LEVERAGE percent away",
        "lower the leverage or the stop distance",
    )
    require(
        s.trailing_breakeven_percent is None
        or s.trailing_breakeven_percent <= s.trailing_activation_percent,
        ("trailing_breakeven_percent", "trailing_activation_percent"),
        "the breakeven move must come before the activation",
        "lower it, or leave it empty to switch it off",
    )
    require(
        s.protection_call_timeout_seconds < s.unprotected_deadline_seconds,
        ("protection_call_timeout_seconds", "unprotected_deadline_seconds"),
        "one call may take longer than the whole deadline",
        "lower the time-out",
    )
    require(
        bool(s.wave_check_minutes)
        and list(s.wave_check_minutes) == sorted(dict.fromkeys(s.wave_check_minutes)),
        ("wave_check_minutes",),
        "minutes of the hour, each once, ascending",
        "sort them, for instance 6,20,35,50",
    )
    require(
        not s.wave_check_minutes
        or s.wave_check_duration_seconds <= 60 * _shortest_gap(s.wave_check_minutes),
        ("wave_check_minutes", "wave_check_duration_seconds"),
        "a check would still run when the next one starts",
        "shorten the duration or move the minutes apart",
    )
    return found


def _shortest_gap(minutes: tuple[int, ...]) -> int:
    ordered = sorted(minutes)
    following = [*ordered[1:], ordered[0] + 60]
    return min(after - before for before, after in zip(ordered, following, strict=True))


# ---------------------------------------------------------------- words for problems


def _shown(value: object) -> str:
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _unknown(name: str, fields: tuple[str, ...]) -> str:
    near = get_close_matches(name.lower(), fields, n=1)
    hint = f"did you mean {near[0].upper()}?" if near else "remove it"
    return f"{name}: no such setting; {hint}"


def _explain(error: ValidationError, given: dict[str, object]) -> tuple[list[str], list[str]]:
    """Sentences for people, and the names whose values are wrong by themselves."""
    lines: list[str] = []
    wrong: list[str] = []
    for problem in error.errors(include_url=False):
        if not problem["loc"]:
            lines += str(problem["msg"]).removeprefix("Value error, ").split("\n")
            continue
        name = str(problem["loc"][0])
        if name in wrong:
            continue
        wrong.append(name)
        field = Values.model_fields[name]
        secret = field.annotation is SecretStr
        value = "(hidden)" if secret else _shown(given.get(name))
        default = _default(field)
        lines.append(
            f"{name.upper()}={value}: must be {_allowed(field)};"
            f" correct it, or remove it for the default {default}"
        )
    return lines, wrong


def _default(field: FieldInfo) -> str:
    if isinstance(field.default, SecretStr) or field.default in (None, (), ""):
        return "empty"
    return _shown(field.default)


def _allowed(field: FieldInfo) -> str:
    """The range of a field in words."""
    choices = [arg for arg in get_args(field.annotation) if isinstance(arg, str)]
    if choices:
        return "one of " + ", ".join(choices)
    if field.annotation is bool:
        return "true or false"
    bounds: dict[str, Any] = {}
    for rule in field.metadata:
        for bound in ("ge", "gt", "le", "pattern"):
            if getattr(rule, bound, None) is not None:
                bounds[bound] = getattr(rule, bound)
    kind = "a whole number" if field.annotation is int else "a number"
    if "le" in bounds:
        low = (
            f"from {_shown(bounds['ge'])}"
            if "ge" in bounds
            else f"above {_shown(bounds['gt'])}, up"
        )
        return f"{kind} {low} to {_shown(bounds['le'])}"
    if "pattern" in bounds:
        return "an address that begins with ws:// or wss://"
    return "minutes from 0 to 59, separated by commas" if _is_tuple(field) else "a text"


def _is_tuple(field: FieldInfo) -> bool:
    return "tuple" in str(field.annotation)

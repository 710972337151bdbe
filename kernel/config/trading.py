"""Settings of what is traded: signals and waves, risk, entries (SPEC §1-§3)."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from kernel.config.fields import Lower, Minutes, Section, Symbols, decimal, said, switch, whole


class Waves(Section):
    """Signals and waves."""

    signal_request_interval_seconds: int = whole(
        5, 1, 60, "between requests for signals inside a check"
    )
    signal_idle_request_interval_seconds: int = whole(
        60, 0, 3600, "between requests outside the checks; 0: none there"
    )
    signal_auth_retry_seconds: int = whole(
        300, 1, 86_400, "pause after a refused token; doubles at each further refusal"
    )
    signal_auth_retry_max_seconds: int = whole(3600, 1, 86_400, "longest pause after refusals")
    signal_ws_auto_reconnect: bool = switch(True, "connect again after a loss")
    signal_ws_reconnect_interval: int = whole(5, 1, 3600, "seconds from a loss to the next attempt")
    signal_ws_max_reconnect_attempts: int = whole(
        -1, -1, 1_000_000, "attempts without a success between; -1: for ever"
    )
    signal_buffer_size: int = whole(
        100, 1, 100_000, "messages that are kept; those of the expected wave always are"
    )
    wave_check_minutes: Minutes = said(
        (6, 20, 35, 50),
        "minutes of the hour at which a check begins",
        allowed="minutes from 0 to 59, separated by commas",
    )
    wave_check_duration_seconds: int = whole(
        120, 1, 900, "how long a check watches; 180 is advised"
    )
    signal_max_age_seconds: int = whole(
        900, 60, 3600, "age of a signal, from the close of its candle; older there is no entry"
    )
    stoplist_symbols: Symbols = said(
        (), "symbols that are never traded", allowed="symbols, separated by commas"
    )
    min_score_week: Decimal = decimal("0", "-1000000", "1000000", "least score_week")
    min_score_month: Decimal = decimal(
        "50", "-1000000", "1000000", "least score_month, where there is one"
    )
    max_spread_percent: Decimal = decimal(
        "2.0", "0.01", "50", "widest spread at which a signal is valid"
    )
    max_trades_per_15min: int = whole(10, 1, 200, "positions of one wave")
    signal_buffer_percent: int = whole(33, 0, 1000, "candidates validated beyond what is missing")
    wave_concurrency: int = whole(4, 1, 50, "entries of a wave at a time, on each venue")


class Limits(Section):
    """Risk."""

    position_size_usd: Decimal = decimal(
        "200", "1", "10000000", "notional of a position; 1 to 2 % of the capital is advised"
    )
    min_position_size_usd: Decimal = decimal(
        "10", "0", "10000000", "a smaller position is not opened"
    )
    max_position_size_usd: Decimal = decimal(
        "5000", "1", "10000000", "a larger position is not opened"
    )
    max_positions: int = whole(
        10, 1, 200, "positions open, pending and unsettled, over all venues; 5 to 10 is advised"
    )
    max_exposure_usd: Decimal = decimal(
        "30000", "1", "1000000000", "notional at the mark of all positions together"
    )
    lock_timeout: int = whole(
        30, 1, 600, "seconds that an entry or a manual act waits for its symbol"
    )
    leverage: int = whole(5, 1, 125, "set and read back before the first entry of a symbol")
    margin_mode: Annotated[Literal["isolated", "cross"], Lower] = said(
        "isolated", "set and read back before the first entry; account-wide on Bybit: checked"
    )
    liquidation_buffer_percent: Decimal = decimal(
        "0.5", "0", "20", "least distance of the stop from the liquidation price"
    )
    delisting_lock_hours: int = whole(
        24, 0, 8760, "no entry on a symbol whose delisting is announced for so soon; 0: off"
    )
    fact_lock_hours: int = whole(
        24, 0, 8760, "no entry on a symbol after a liquidation, ADL or settlement; 0: off"
    )
    daily_loss_limit_usd: Decimal = decimal(
        "0", "0", "1000000000", "realised loss of the UTC day, fees and funding included; 0: off"
    )
    max_drawdown_percent: Decimal = decimal(
        "0", "0", "100", "fall from the best realised result that ends entries; 0: off"
    )
    max_consecutive_stops: int = whole(0, 0, 1000, "losing stops in a row that end entries; 0: off")
    stop_guard_count: int = whole(
        0, 0, 1000, "stops inside STOP_GUARD_WINDOW_MINUTES that end entries; 0: off"
    )
    stop_guard_window_minutes: int = whole(60, 1, 1440, "window of STOP_GUARD_COUNT")
    symbol_cooldown_minutes: int = whole(
        0, 0, 10080, "no entry on a symbol for so long after a close; 0: off"
    )
    max_positions_per_side: int = whole(0, 0, 200, "positions long, and positions short; 0: off")
    max_positions_per_wave: int = whole(0, 0, 200, "positions that one wave may open; 0: off")
    venue_breaker_failures: int = whole(
        3, 0, 100, "equal stop failures in a row that end entries on a venue; 0: off"
    )
    venue_breaker_minutes: int = whole(
        15, 0, 10080, "then one entry at a time tells whether stops work; 0: until resumed"
    )


class EntryTimes(Section):
    """Entry and start."""

    store_wait_ms: int = whole(100, 0, 5000, "longest wait of a protective act for the store")
    protection_call_timeout_seconds: int = whole(3, 1, 10, "time-out of one stop or close request")
    unprotected_deadline_seconds: int = whole(
        30, 5, 300, "from the first known fill; then a close is in flight"
    )
    start_protection_seconds: int = whole(
        15, 1, 300, "in which a start makes sure of a stop for each position"
    )
    max_recovery_attempts: int = whole(
        10, 1, 100, "attempts for a position at a start; then its symbol is frozen"
    )

"""What trailing reads of closed candles: what it missed, and how far a market moves in an hour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.model.units import HOUR, MINUTE, SECOND, Price, TsNs, text
from kernel.protect.trailing_rules import average_true_range
from kernel.trade import stop_levels

if TYPE_CHECKING:
    from decimal import Decimal

    from kernel.trade.book import Position
    from kernel.trade.services import Services

MOST_CANDLES = 1440
"""Candles that are read for what was missed: minutes of a day, else hours."""
CLOSED_NS = SECOND
"""After the hour, until its candle is asked for."""


def missed_best(services: Services, position: Position, stored_ns: TsNs, best: Price) -> Price:
    """`best`, or a better price of the candles that lie wholly after a time (SPEC §5).

    The candle in which the state was stored may have had its best price before that.
    """
    missed_ns = services.runtime.ts() - stored_ns
    interval_ns = MINUTE if missed_ns <= MOST_CANDLES * MINUTE else HOUR
    candles = services.prices.candles(
        position.venue,
        position.symbol,
        services.settings.stop_source,
        interval_ns,
        min(missed_ns // interval_ns + 1, MOST_CANDLES),
    )
    for candle in candles:
        price = candle.high if position.side.sign > 0 else candle.low
        if candle.open_ns > stored_ns and stop_levels.is_better(position.side, price, best):
            best = price
    return best


def hour_of(ts_ns: TsNs) -> int:
    """The number of the hour whose candles before it can be asked for."""
    return (ts_ns - CLOSED_NS) // HOUR


def next_hour_ns(ts_ns: TsNs) -> int:
    """How long until the candle of this hour can be asked for."""
    return (hour_of(ts_ns) + 1) * HOUR + CLOSED_NS - ts_ns


def read_atr(services: Services, position: Position) -> Decimal:
    """The average true range of the last hours; ZERO where too few of their candles are whole."""
    period = services.settings.trailing_atr_period
    candles = services.prices.candles(
        position.venue, position.symbol, services.settings.stop_source, HOUR, period + 1
    )
    atr = average_true_range(candles, period)
    services.decide(
        "trailing.atr",
        "a new hour" if atr else "too few whole candles, so the callback holds",
        venue=position.venue,
        symbol=position.symbol,
        position_id=position.id,
        atr=text(atr),
    )
    return atr

"""Signals as the signal server sends them (docs/signal-feed.md)."""

from __future__ import annotations

import json
from decimal import Decimal

from kernel.model.units import text
from kernel.signals.timestamps import format_utc


def signal_item(
    candle_ns: int,
    symbol: str,
    side: str,
    *,
    week: Decimal,
    month: Decimal | None = None,
    more: dict[str, object] | None = None,
) -> str:
    """A signal of the protocol as JSON text; numbers stay exact."""
    fields: dict[str, object] = {
        "timestamp": format_utc(candle_ns),
        "symbol": symbol,
        "side": side,
        **(more or {}),
    }
    scores = [("score_week", week), ("score_month", month)]
    numbers = "".join(f', "{name}": {text(value)}' for name, value in scores if value is not None)
    return json.dumps(fields)[:-1] + numbers + "}"

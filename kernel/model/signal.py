"""Signals and waves (SPEC §1)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from kernel.model.orders import Side
from kernel.model.units import TsNs


class Signal(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One line of a wave: a direction for one symbol, from one closed 15-minute candle.

    `candle_ns` is the candle's *open* time. `extra` keeps every field that we do not know,
    as JSON text.
    """

    source: str
    venue: str
    symbol: str
    side: Side
    candle_ns: TsNs
    score_week: Decimal
    score_month: Decimal | None = None
    signal_id: str = ""
    arrived_ns: TsNs = TsNs(0)
    extra: str = "{}"

    @property
    def once_key(self) -> str:
        """(source, venue, candle, symbol, side): tried at most once, ever."""
        return f"{self.source}|{self.venue}|{self.candle_ns}|{self.symbol}|{self.side}"

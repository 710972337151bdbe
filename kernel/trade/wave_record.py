"""What is kept and told of one wave: its decisions, its row, the rows of its signals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.model.rows import SignalRow, WaveRow
from kernel.model.units import TsNs
from kernel.signals.timestamps import format_utc
from kernel.signals.wire import write_signal

if TYPE_CHECKING:
    from kernel.model.signal import Signal
    from kernel.signals.schedule import CheckWindow
    from kernel.trade.services import Services
    from kernel.trade.wave_lines import Line, WaveLines


class Outcome(msgspec.Struct, kw_only=True):
    """What became of a wave, as `WaveRow.outcome` keeps it."""

    target: int = -1
    """-1: nothing was selected yet."""
    active: list[str] = []
    """Ids of the positions that became ACTIVE."""
    tried: int = 0
    failed: int = 0
    dropped: dict[str, int] = {}
    end: str = ""
    """Why the wave was closed."""


class WaveRecord:
    """The records of one wave.

    Attributes:
        outcome: What came of it so far.
        opened_ns: When its list was first made durable; 0: not yet.
    """

    def __init__(self, services: Services, window: CheckWindow, source: str) -> None:
        self._services = services
        self._window = window
        self._source = source
        self.outcome = Outcome()
        self.opened_ns = TsNs(0)

    def dropped(self, line: Line, detail: str) -> None:
        """Tell and keep that a line was dropped."""
        signal = line.signal
        self._services.decide(
            "signal.dropped",
            line.reason,
            venue=signal.venue,
            symbol=signal.symbol,
            side=signal.side.value,
            wave=format_utc(signal.candle_ns),
            detail=detail,
        )
        self._services.persist((signal_row(signal, line.reason),))

    def decide(self, kind: str, cause: str, *, venue: str = "", **values: int | str) -> None:
        """Record a decision about the wave."""
        texts = {name: str(value) for name, value in values.items()}
        wave = format_utc(self._window.wave_ns)
        self._services.decide(kind, cause, venue=venue, wave=wave, **texts)

    def row(self, lines: WaveLines, state: str) -> WaveRow:
        """The row of the wave as it should be stored."""
        return WaveRow(
            source=self._source,
            wave_ns=self._window.wave_ns,
            state=state,
            expected_until_ns=self._window.end_ns,
            received=len(lines),
            selected=msgspec.json.encode(lines.selected()).decode(),
            outcome=msgspec.json.encode(self.outcome).decode(),
            opened_ns=self.opened_ns,
            closed_ns=self._services.runtime.ts() if state == "closed" else TsNs(0),
        )


def signal_row(signal: Signal, drop_reason: str) -> SignalRow:
    """The record of a signal."""
    return SignalRow(
        once_key=signal.once_key,
        source=signal.source,
        venue=signal.venue,
        symbol=signal.symbol,
        side=signal.side.value,
        candle_ns=signal.candle_ns,
        arrived_ns=signal.arrived_ns,
        raw=write_signal(signal),
        drop_reason=drop_reason,
    )

"""The buffer: the newest messages of the feed, by wave.

1. A copy of a signal that came before is counted and otherwise ignored.
2. The newest `size` messages that brought something are kept.
3. Signals of the expected wave are never evicted, however many messages come.
"""

from __future__ import annotations

from collections import deque

import msgspec

from kernel.model.signal import Signal
from kernel.model.units import TsNs
from kernel.signals.wire import Flaw

SEEN_LIMIT = 50_000
"""Signals that are remembered, to know their copies."""


class Batch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one message brought that was not known before."""

    arrived_ns: TsNs
    signals: tuple[Signal, ...]
    flaws: tuple[Flaw, ...] = ()


class SignalBuffer:
    """Signals of the feed that may still be needed.

    Attributes:
        copies: Signals and flaws that had come before.
        evicted: Signals that made room for newer ones.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._messages: deque[tuple[Signal, ...]] = deque()
        self._waves: dict[TsNs, list[Signal]] = {}
        self._seen: dict[str, None] = {}
        self.copies = 0
        self.evicted = 0

    def add(self, batch: Batch, expected_wave: TsNs) -> Batch:
        """Keep what is new, evict what is too old; returns what is new."""
        signals = tuple(signal for signal in batch.signals if self._is_new(_identity(signal)))
        flaws = tuple(flaw for flaw in batch.flaws if self._is_new(f"{flaw.reason}|{flaw.raw}"))
        if signals:
            for signal in signals:
                self._waves.setdefault(signal.candle_ns, []).append(signal)
            self._messages.append(signals)
            self._evict(expected_wave)
        return Batch(arrived_ns=batch.arrived_ns, signals=signals, flaws=flaws)

    def of_wave(self, wave_ns: TsNs) -> tuple[Signal, ...]:
        """Signals of a wave in order of arrival."""
        return tuple(self._waves.get(wave_ns, ()))

    def __len__(self) -> int:
        """Messages that are kept."""
        return len(self._messages)

    def _is_new(self, identity: str) -> bool:
        if identity in self._seen:
            self.copies += 1
            return False
        self._seen[identity] = None
        if len(self._seen) > SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]
        return True

    def _evict(self, expected_wave: TsNs) -> None:
        """Drop the oldest messages; what they hold of the expected wave moves to a later round."""
        kept: list[tuple[Signal, ...]] = []
        while len(self._messages) > self._size:
            signals = self._messages.popleft()
            expected = tuple(one for one in signals if one.candle_ns == expected_wave)
            for signal in signals:
                if signal.candle_ns != expected_wave:
                    self._forget(signal)
            if expected:
                kept.append(expected)
        if kept:
            merged = tuple(signal for signals in kept for signal in signals)
            self._messages.appendleft(merged + self._messages.popleft())

    def _forget(self, signal: Signal) -> None:
        wave = self._waves[signal.candle_ns]
        wave.remove(signal)
        if not wave:
            del self._waves[signal.candle_ns]
        self.evicted += 1


def _identity(signal: Signal) -> str:
    """Equal for copies: the once-key and what was said about it."""
    return f"{signal.once_key}|{signal.score_week}|{signal.score_month}|{signal.signal_id}"

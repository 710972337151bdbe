"""Which wave is expected when: the owner's table, as data (SPEC §1).

A wave is named by the open time of its 15-minute candle. Its check starts at a check minute and
watches for a while; what it expects is fixed at its start, by the minute of the hour. All times
are UTC wall nanoseconds; nothing here reads a clock.
"""

from __future__ import annotations

import msgspec

from kernel.config import Settings
from kernel.model.units import HOUR, MINUTE, SECOND, TsNs

CANDLE_NS = 15 * MINUTE

OWNERS_MAPPING: tuple[tuple[int, int], ...] = (
    (15, -15),
    (30, 0),
    (45, 15),
    (59, 30),
)
"""(last minute of the hour, minutes from the start of the hour to the wave expected until then).

CRITICAL - the owner's table, not to be changed: 0-15 → :45 of the previous hour, 16-30 → :00,
31-45 → :15, 46-59 → :30.
"""


class CheckWindow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One check: from `start_ns` to `end_ns`, both included, it watches for one wave."""

    start_ns: TsNs
    end_ns: TsNs
    wave_ns: TsNs

    def contains(self, ts_ns: int) -> bool:
        """Whether the check is on at this time."""
        return self.start_ns <= ts_ns <= self.end_ns


class WaveSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Check minutes, duration and mapping. Any values that `Settings` let through are sound."""

    check_minutes: tuple[int, ...] = (6, 20, 35, 50)
    duration_ns: int = 120 * SECOND
    mapping: tuple[tuple[int, int], ...] = OWNERS_MAPPING

    @classmethod
    def of(cls, settings: Settings) -> WaveSchedule:
        """The schedule that the settings ask for."""
        return cls(
            check_minutes=settings.wave_check_minutes,
            duration_ns=settings.wave_check_duration_seconds * SECOND,
        )

    def expected_wave(self, ts_ns: int) -> TsNs:
        """The wave that a check starting at this time expects."""
        hour_ns = ts_ns - ts_ns % HOUR
        minute = ts_ns % HOUR // MINUTE
        for last_minute, offset in self.mapping:
            if minute <= last_minute:
                return TsNs(hour_ns + offset * MINUTE)
        raise AssertionError(f"the mapping {self.mapping} ends before minute {minute}")

    def window_at(self, ts_ns: int) -> CheckWindow | None:
        """The check that is on at this time, the latest where two meet; None between checks."""
        start_ns = self._last_start(ts_ns)
        return self._window(start_ns) if ts_ns <= start_ns + self.duration_ns else None

    def next_window(self, ts_ns: int) -> CheckWindow:
        """The first check that starts after this time."""
        return self._window(self.next_start(ts_ns))

    def next_start(self, ts_ns: int) -> int:
        """When the first check after this time starts."""
        hour_ns = ts_ns - ts_ns % HOUR
        for minute in self.check_minutes:
            start_ns = hour_ns + minute * MINUTE
            if start_ns > ts_ns:
                return start_ns
        return hour_ns + HOUR + self.check_minutes[0] * MINUTE

    def window_of(self, wave_ns: int) -> CheckWindow | None:
        """The first check that expects this wave; None where none ever does."""
        window = self.next_window(wave_ns)
        while window.start_ns <= wave_ns + 2 * HOUR:
            if window.wave_ns == wave_ns:
                return window
            window = self.next_window(window.start_ns)
        return None

    def _last_start(self, ts_ns: int) -> int:
        hour_ns = ts_ns - ts_ns % HOUR
        for minute in reversed(self.check_minutes):
            start_ns = hour_ns + minute * MINUTE
            if start_ns <= ts_ns:
                return start_ns
        return hour_ns - HOUR + self.check_minutes[-1] * MINUTE

    def _window(self, start_ns: int) -> CheckWindow:
        return CheckWindow(
            TsNs(start_ns), TsNs(start_ns + self.duration_ns), self.expected_wave(start_ns)
        )


def close_of(wave_ns: int) -> TsNs:
    """When the candle of a wave closed."""
    return TsNs(wave_ns + CANDLE_NS)

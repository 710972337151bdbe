"""Periodic work on a fixed grid of instants."""

from __future__ import annotations

from kernel.runtime.core import Core, park


class Ticker:
    """Instants `first_ns`, `first_ns + period_ns`, ...: the grid never shifts.

    Periods that pass while the task is busy, or while the process stands still, are coalesced:
    one tick stands for all of them.

    Attributes:
        due_ns: Monotonic instant of the next tick; may have passed.
    """

    __slots__ = ("_core", "due_ns", "period_ns")

    def __init__(self, core: Core, period_ns: int, first_ns: int) -> None:
        if period_ns < 1:
            raise ValueError(f"the period of a ticker is at least 1 ns, not {period_ns}")
        self._core = core
        self.period_ns = period_ns
        self.due_ns = first_ns

    async def next(self) -> int:
        """Wait for the next tick.

        Returns:
            How many periods this tick stands for: 1 when none was missed.
        """
        self._core.sleep(self.due_ns)
        await park()
        periods = (self._core.mono_ns - self.due_ns) // self.period_ns + 1
        self.due_ns += periods * self.period_ns
        return periods

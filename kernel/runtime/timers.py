"""Timers: a heap by (deadline, number).

The number is the order of registration, so that timers of one instant fire in the order in which
they were set. A cancelled timer stays in the heap until it comes up or until the dead are the
majority; then the heap is rebuilt, so that a time-out that never fires costs no memory for long.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import msgspec

PURGE_FLOOR = 64
"""Below this many entries a purge is not worth its time."""


class TimerHandle(msgspec.Struct, eq=False):
    """One timer: fires once, or not at all when it was cancelled before.

    Attributes:
        deadline_ns: Monotonic nanoseconds.
    """

    _timers: Timers
    deadline_ns: int
    callback: Callable[[], object] | None

    @property
    def pending(self) -> bool:
        """It neither fired nor was cancelled."""
        return self.callback is not None

    def cancel(self) -> None:
        """Never fire. Does nothing when it fired or was cancelled already."""
        if self.callback is not None:
            self.callback = None
            self._timers.died()

    def abort(self, _: object) -> None:
        """Cancel, in the form in which the engine takes back a wait."""
        self.cancel()


class Timers:
    """The timers of one runtime."""

    __slots__ = ("_dead", "_heap", "_number")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, TimerHandle]] = []
        self._number = 0
        self._dead = 0

    def __len__(self) -> int:
        """Number of pending timers."""
        return len(self._heap) - self._dead

    @property
    def size(self) -> int:
        """Number of heap entries, dead ones included."""
        return len(self._heap)

    def add(self, deadline_ns: int, callback: Callable[[], object]) -> TimerHandle:
        """Set a timer. A deadline that has passed is due at the next chance, in its order."""
        handle = TimerHandle(self, deadline_ns, callback)
        self._number += 1
        heapq.heappush(self._heap, (deadline_ns, self._number, handle))
        return handle

    def next_deadline(self) -> int | None:
        """Deadline of the first pending timer."""
        heap = self._heap
        while heap:
            deadline_ns, _, handle = heap[0]
            if handle.callback is not None:
                return deadline_ns
            heapq.heappop(heap)
            self._dead -= 1
        return None

    def pop_due(self, last_ns: int) -> Callable[[], object] | None:
        """Take the callback of the first pending timer whose deadline is at most `last_ns`."""
        heap = self._heap
        while heap and heap[0][0] <= last_ns:
            handle = heapq.heappop(heap)[2]
            callback = handle.callback
            if callback is not None:
                handle.callback = None
                return callback
            self._dead -= 1
        return None

    def clear(self) -> None:
        """Forget every timer."""
        for _, _, handle in self._heap:
            handle.callback = None
        self._heap.clear()
        self._dead = 0

    def died(self) -> None:
        """Count a timer that was cancelled; purge when more than half of the heap is dead."""
        self._dead += 1
        if self._dead > PURGE_FLOOR and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._dead = 0

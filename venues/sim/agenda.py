"""The agenda: everything that will happen in the simulated world, in one total order.

The order of two entries is (due_ns, rank, order, creation). At one nanosecond:

    RANK_VENUE_PRICE   what a price does at the venue (stops, limits), lane by lane, tick by tick
    RANK_WATCH         a watch of the kernel fires, in the same manner
    RANK_MESSAGE       every other message of the world, in the order of its creation

The kernel's own timers come after all three; they are the driver's business, not the agenda's.

`(now_ns, rank, order)` is the *present position*: "the price now" is the price at that position,
not at the end of the nanosecond (`venues.sim.prices`). Between two entries the position stays at
the entry that ran last; a driver that steps the kernel for another reason (a timer) calls
`advance` first, which moves the position behind everything of that nanosecond.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

import msgspec

from kernel.errors import InvariantViolation

RANK_VENUE_PRICE = 0
RANK_WATCH = 1
RANK_MESSAGE = 2
RANK_AFTER = 3
"""The position behind everything of a nanosecond; no entry has this rank."""

_PURGE_AT = 64
"""With fewer dead entries than this a purge is not worth its own cost."""

type Order = tuple[Any, ...]


class Entry(msgspec.Struct, eq=False):
    """One planned action. It runs at most once, and not at all when canceled before."""

    _agenda: Agenda
    due_ns: int
    action: Callable[[], object] | None

    @property
    def pending(self) -> bool:
        """Whether it still will run."""
        return self.action is not None

    def cancel(self) -> None:
        """Take it off the agenda; nothing happens when it ran or was canceled before."""
        if self.action is not None:
            self.action = None
            self._agenda.note_canceled()


class Agenda:
    """The event queue of a simulated world, and its clock.

    Args:
        start_ns: The first instant, wall nanoseconds.
    """

    def __init__(self, start_ns: int = 0) -> None:
        self.now_ns = start_ns
        self.rank = RANK_AFTER
        self.order: Order = ()
        self._heap: list[tuple[int, int, Order, int, Entry]] = []
        self._created = 0
        self._dead = 0

    def push(
        self, due_ns: int, rank: int, action: Callable[[], object], order: Order = ()
    ) -> Entry:
        """Plan an action.

        Args:
            due_ns: When it runs; not before now.
            rank: One of the ranks above.
            action: Called once, without arguments.
            order: Place among entries of one nanosecond and rank; orders of one rank must be
                comparable with each other.

        Raises:
            InvariantViolation: It would have to run before the present position.
        """
        if due_ns <= self.now_ns and (due_ns < self.now_ns or rank != RANK_MESSAGE):
            self._check_not_past(due_ns, rank, order)
        self._created += 1
        entry = Entry(self, due_ns, action)
        heappush(self._heap, (due_ns, rank, order, self._created, entry))
        return entry

    def next_due(self) -> int | None:
        """When the next entry runs; None: nothing is planned."""
        heap = self._heap
        while heap and heap[0][4].action is None:
            heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else None

    def pop_run(self) -> bool:
        """Move to the next entry and run it.

        Returns:
            False when there was none, and then nothing changed.
        """
        heap = self._heap
        while heap:
            due_ns, rank, order, _, entry = heappop(heap)
            action = entry.action
            if action is None:
                self._dead -= 1
                continue
            entry.action = None
            self.now_ns, self.rank, self.order = due_ns, rank, order
            action()
            return True
        return False

    def advance(self, ts_ns: int) -> None:
        """Move the present position behind everything of `ts_ns`, running nothing.

        Raises:
            InvariantViolation: `ts_ns` is past, or an entry is due at or before it.
        """
        due_ns = self.next_due()
        if ts_ns < self.now_ns:
            raise InvariantViolation(f"agenda: cannot go back from {self.now_ns} to {ts_ns} ns")
        if due_ns is not None and due_ns <= ts_ns:
            raise InvariantViolation(
                f"agenda: cannot advance to {ts_ns} ns over an entry due at {due_ns} ns; run it"
            )
        self.now_ns, self.rank, self.order = ts_ns, RANK_AFTER, ()

    def note_canceled(self) -> None:
        """Called by an entry that was canceled; purges when half of the heap is dead."""
        self._dead += 1
        if self._dead > _PURGE_AT and self._dead * 2 > len(self._heap):
            self._heap = [item for item in self._heap if item[4].action is not None]
            heapify(self._heap)
            self._dead = 0

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def _check_not_past(self, due_ns: int, rank: int, order: Order) -> None:
        # A message may be due now whatever is running now; a price may not, or it would be seen
        # before the prices that came before it.
        if due_ns == self.now_ns:
            if rank > self.rank:
                return
            if rank == self.rank and order > self.order:
                return
        raise InvariantViolation(
            f"agenda: entry (due {due_ns} ns, rank {rank}, order {order}) lies before the present "
            f"({self.now_ns} ns, rank {self.rank}, order {self.order})"
        )

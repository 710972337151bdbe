"""Events: every decision as a row of `monitoring.events`, for people and statistics (SPEC §12).

`EventLog` stands outside the kernel, beside the journal: it sees each step before its effects
leave, asks nothing and answers nothing, so that neither a slow nor a missing table can delay an
order. Rows go out in batches; those of a crash are lost, and the journal still has the decisions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from kernel.model.rows import EventRow
from kernel.model.units import SECOND
from kernel.watch.kinds import level_of, sentence_of
from kernel.watch.log import message, redacted

if TYPE_CHECKING:
    from kernel.model.messages import Decision, Input, StepResult

BATCH = 200
"""Rows that are handed over together at most."""
EVERY_NS = 5 * SECOND
"""A row waits no longer than this for others, as long as there are steps."""
WAITING = 10_000
"""Rows that are kept while the store takes none; then the oldest are lost."""


class EventStore(Protocol):
    """Where event rows go. How many and how long it keeps them is its own affair."""

    def take_events(self, rows: tuple[EventRow, ...]) -> bool:
        """Take rows without making anybody wait; False: not now, ask again later."""
        ...


def event_row(item: Input, place: int, decision: Decision) -> EventRow:
    """The row of a decision; (stamp, seq, place) names it, `place` is its place in the step."""
    values = {name: redacted(value) for name, value in decision.values.items()}
    return EventRow(
        ts_ns=item.ts_ns,
        kind=decision.kind,
        venue=decision.venue,
        symbol=decision.symbol,
        position_id=decision.position_id,
        client_order_id=decision.client_order_id,
        cause=redacted(decision.cause),
        values=msgspec.json.encode(values).decode(),
        seq=item.seq,
        place=place,
        level=level_of(decision),
        text=message(sentence_of(decision)),
        wave=values.get("wave", ""),
        venue_order_id=values.get("venue_order_id", ""),
    )


class EventLog:
    """A sink of steps that hands decisions on as rows.

    Attributes:
        lost: Rows that were given up because the store took none for too long.
    """

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._waiting: list[tuple[Input, int, Decision]] = []
        self._since_ns = 0
        self.lost = 0

    def step(self, item: Input, result: StepResult) -> None:
        """One step, before its effects leave. Rows are built when they are handed over."""
        waiting = self._waiting
        if result.decisions:
            if not waiting:
                self._since_ns = item.mono_ns
            waiting += [(item, place, one) for place, one in enumerate(result.decisions)]
        if waiting and (len(waiting) >= BATCH or item.mono_ns - self._since_ns >= EVERY_NS):
            self._since_ns = item.mono_ns
            self.flush()

    def born(self, _kernel: object) -> None:
        """A kernel starts; its clock begins anew."""
        self._since_ns = 0

    def died(self, reason: str) -> None:
        """The kernel is gone: an orderly end keeps what waits, a crash loses it."""
        if reason == "stopped":
            self.flush()
        self._waiting.clear()

    def flush(self) -> None:
        """Hand over what waits, as far as the store takes it."""
        while self._waiting:
            batch = self._waiting[:BATCH]
            if not self._store.take_events(tuple(event_row(*one) for one in batch)):
                break
            del self._waiting[:BATCH]
        excess = len(self._waiting) - WAITING
        if excess > 0:
            self.lost += excess
            del self._waiting[:excess]

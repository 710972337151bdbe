"""What is filled of an entry is protected from the first fill that is known (SPEC §3.2, §3.3).

1. A stop is asked for as soon as a fill is known: by an execution, or by the report of an order
   whose executions do not follow at once. It waits neither for the answer to the entry nor for
   other children. On Bybit the position must be visible first: the stop is a property of it.
2. What fills later makes the stop larger, and moves it where the new average entry asks for a
   tighter one.
3. ACTIVE once the entry is settled and a confirmed stop covers all that filled. What speaks
   against the entry before that is its verdict, and the saga rolls back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kernel.model.positions import ENTERING, PositionState
from kernel.model.units import MS, SECOND
from kernel.trade import evidence
from kernel.trade.entry_orders import ended, reported

if TYPE_CHECKING:
    from kernel.model.units import MonoNs
    from kernel.runtime.primitives import Event
    from kernel.runtime.scheduler import Runtime
    from kernel.trade.book import Position
    from kernel.trade.entry_fill import FillWatch
    from kernel.trade.services import Services
    from kernel.trade.tracked_order import TrackedOrder

EXECUTIONS_GRACE_NS = 300 * MS
"""So long the executions of a reported fill are waited for; then the report stands in for them
(hazards W09)."""
CLOSE_MARGIN_NS = 5 * SECOND
"""Before the deadline of an unprotected position: a read and a close must fit."""
VISIBLE_POLL_NS = 500 * MS
"""Between looks for a filled position that is not visible while an answer is still awaited."""


class Stops(Protocol):
    """What an entry needs of the stop owner."""

    async def protect(self, position: Position) -> bool:
        """Place and verify the stop of what is filled; True: confirmed live."""
        ...

    def due(self, position: Position) -> bool:
        """Whether what is filled lacks a confirmed stop of its size and level."""
        ...


class Entering:
    """One entry under way, as its tasks see it.

    Attributes:
        position: What it makes.
        children: Its orders.
        sent: Every child was answered, or will not be sent.
        polled: Its fills are asked for: nobody else needs to.
        settled: Nothing more is waited for.
        refused: Why it is not kept; "": nothing is known against it.
        missing_ns: Since when its orders report more than their executions tell; None: they do not.
    """

    __slots__ = ("children", "missing_ns", "polled", "position", "refused", "sent", "settled")

    def __init__(
        self, runtime: Runtime, position: Position, children: list[TrackedOrder]
    ) -> None:
        self.position = position
        self.children = children
        self.sent: Event = runtime.event()
        self.polled = False
        self.settled = False
        self.refused = ""
        self.missing_ns: MonoNs | None = None

    @property
    def lives(self) -> bool:
        """Neither ACTIVE nor given up."""
        return self.position.state in ENTERING

    @property
    def answered(self) -> bool:
        """Every answer is there, or no answer is needed any more."""
        return self.sent.is_set or all(ended(order) for order in self.children)

    def judge(self, refused: str) -> None:
        """Nothing more is waited for; `refused`: why it is not kept."""
        self.settled, self.refused = True, refused
        self.position.changed.set()


class EntryProtection:
    """Protects what fills of entries, any number of them concurrently."""

    def __init__(self, services: Services, stops: Stops, fills: FillWatch) -> None:
        self._services = services
        self._stops = stops
        self._fills = fills
        deadline_ns = services.settings.unprotected_deadline_seconds * SECOND
        self._hidden_ns = deadline_ns - CLOSE_MARGIN_NS

    async def see_through(self, entering: Entering) -> str:
        """Protect what fills until the entry is ACTIVE, or ended without a fill.

        Returns:
            Why it is to be rolled back; "": it is not.
        """
        position = entering.position
        while True:
            position.changed.clear()
            cause = _against(entering)
            if cause or not entering.lives:
                return cause
            if self._is_hidden_too_long(position):
                return "not visible in time although executions prove a fill"
            if self._is_due(entering):
                self._announce(position)
                if not await self._stops.protect(position):
                    return "" if position.state.terminal else "the stop was not confirmed"
            elif entering.settled and position.state is PositionState.PENDING_SL:
                position.transition(PositionState.ACTIVE, "stop confirmed")
                self._services.persist((position.row,))  # it announces no act
            else:
                await self._wait(entering)

    def _is_due(self, entering: Entering) -> bool:
        """Whether the stop owner is to be asked now."""
        position = entering.position
        if position.qty <= 0 or not (entering.settled or self._fills.shown(position)):
            return False
        return position.state is not PositionState.PENDING_SL or self._stops.due(position)

    def _is_hidden_too_long(self, position: Position) -> bool:
        """Whether a close must go out now: no stop can be asked for what is not visible."""
        since_ns = position.filled_mono_ns
        if since_ns is None or self._fills.shown(position):
            return False
        return self._services.runtime.now() - since_ns >= self._hidden_ns

    def _announce(self, position: Position) -> None:
        """The states before the first stop; durable with its intent."""
        if position.state is PositionState.PENDING_ENTRY:
            position.transition(PositionState.ENTRY_PLACED, "filled before it was answered")
        if position.state is PositionState.ENTRY_PLACED:
            position.transition(PositionState.PENDING_SL, "filled")
            self._services.persist((position.row,))

    async def _wait(self, entering: Entering) -> None:
        """For news; what is reported filled, or filled and not visible, is asked for meanwhile."""
        position, runtime = entering.position, self._services.runtime
        missing = reported(entering.children) > position.row.filled_qty
        if not missing:
            entering.missing_ns = None
        elif entering.missing_ns is None:
            entering.missing_ns = runtime.now()
        hidden = position.qty > 0 and not self._fills.shown(position)
        if entering.missing_ns is not None:
            due_ns = entering.missing_ns + EXECUTIONS_GRACE_NS
        elif hidden and not entering.polled:
            due_ns = runtime.now() + VISIBLE_POLL_NS
        else:
            await position.changed.wait()
            return
        if await evidence.wait_until(runtime, position.changed, due_ns):
            return
        if missing:
            entering.missing_ns = runtime.now()  # where no price is known: again after a while
            self._fills.infer(position, entering.children)
        else:
            await self._fills.look_for(position)


def _against(entering: Entering) -> str:
    """What is known against an entry; "": nothing."""
    position = entering.position
    if position.state is PositionState.ROLLBACK:
        return entering.refused or "a close was asked for while it was entering"
    if not entering.lives:
        return ""
    if position.stops.fired is not None or position.row.filled_qty > 0 >= position.qty:
        return "its stop was triggered while it was entering"
    return entering.refused

"""The stop owner: the only code that places, verifies, moves and resizes protective stops.

1. A position has one *protected level*: the first stop, later every tighter one. Verifying,
   repairing, resizing and adopting re-place this level; nothing loosens it.
2. A stop is one that the venue showed live with side, size, trigger and closing-only; an
   acknowledgement is not a stop.
3. What is known of the protection is `kernel.trade.stop_coverage`; what is lacking is got by
   `kernel.trade.stop_effort`, inside the deadline.
4. A triggered stop is not done and is never moved: `kernel.trade.stop_keeper` sees to its end.

Source: SPEC §3.3, §4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import OrderClass, OrderReport, OrderStatus
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import SECOND, Price
from kernel.trade import evidence, stop_levels
from kernel.trade.stop_absence import has_no_stop
from kernel.trade.stop_adoption import Adoption
from kernel.trade.stop_alarm import ExposureAlarms
from kernel.trade.stop_coverage import StopCoverage
from kernel.trade.stop_effort import StopEffort
from kernel.trade.stop_keeper import StopKeeper

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.protective_set import StopOrder
    from kernel.trade.services import Services

SETTLE_AFTER_NS = 15 * SECOND
"""A stop that was sent and not seen for so long is settled by evidence."""
OPEN_STATES = (PositionState.PENDING_SL, PositionState.ACTIVE)


class StopOwner:
    """Owns the protection of every position on every venue."""

    def __init__(self, services: Services, exits: Exits) -> None:
        self._services = services
        self._exits = exits
        self._coverage = StopCoverage(services)
        self._adoption = Adoption(services)
        self._alarms = ExposureAlarms(services, exits)
        self._effort = StopEffort(
            services,
            exits,
            coverage=self._coverage,
            adoption=self._adoption,
            alarms=self._alarms,
        )
        self._keeper = StopKeeper(services, self, exits)
        self.kept = services.runtime.event()
        """Set whenever a position begins to be kept. Clear it, look, then wait."""
        self.on_kept: Callable[[Position], None] = _ignore
        """Told whenever a position begins to be kept."""
        self.on_released: Callable[[Position], None] = _ignore
        """Told when a kept position has ended."""
        self._settling: dict[str, None] = {}

    # ------------------------------------------------------------ what others ask for

    async def protect(self, position: Position) -> bool:
        """Place the first stop of a filled position and see it confirmed.

        Returns:
            True: confirmed live; from now on the position is kept under a stop.
            False: it is not, and must be closed; or it is being closed or flat already.
        """
        if not await self._effort.protect(position, "first stop"):
            return False
        self.keep(position)
        return True

    async def tighten(self, position: Position, level: Price, cause: str) -> bool:
        """Move the stop to a tighter level.

        Returns:
            True: confirmed at `level`. False: the old stop stands as it was.
        """
        stops = position.stops
        async with stops.lock:
            if not self._may_tighten(position, level):
                return False
            with self._services.held():
                return await self._effort.move(position, level, cause)

    def _may_tighten(self, position: Position, level: Price) -> bool:
        if position.state is not PositionState.ACTIVE or position.qty <= 0:
            return False
        if position.stops.fired is not None or not self.covered(position):
            return False
        return stop_levels.is_tighter(position.side, level, position.row.protected_level)

    async def ensure(self, position: Position, cause: str) -> None:
        """Verify the protected level with the right size, and repair it; else close.

        What is found on the venue after a start is judged and adopted here too. Nothing happens
        to a position that is flat, closing, or whose stop has triggered.
        """
        if position.state not in OPEN_STATES or position.stops.fired is not None:
            return
        if self._coverage.rests(position):
            return
        since_ns = self._services.runtime.now()
        if await self._effort.protect(position, cause):
            self.keep(position)
            return
        if position.state is not PositionState.ACTIVE or position.stops.fired is not None:
            return
        if position.qty <= 0 or self.covered(position):
            return
        if self._coverage.only_missing(position) and not await has_no_stop(
            self._services, position, since_ns
        ):
            self._services.alert(
                "CRITICAL",
                "stop.not_seen",
                "reads do not show the stop and another one cannot be placed; a row that is "
                "missing closes nothing",
                venue=position.venue,
                symbol=position.symbol,
                dedupe=f"stop.not_seen|{position.id}",
            )
            self.keep(position)
            return
        if self.covered(position) or self._exits.in_progress(position):
            return  # while the venue was asked
        if not position.ours:
            return  # protected, never closed (SPEC §9): its keeper tries on, the alarm tells
        if await self._not_there(position):
            return  # nothing to be closed: a sync ends it
        if await self._stands_near(position):
            self._alarms.cancel(position)
            self.keep(position)
            self._services.alert(
                "ERROR",
                "stop.loose",
                "a stop stands near its level and no move is taken: it is kept, and tried on",
                venue=position.venue,
                symbol=position.symbol,
            )
            return
        await self._exits.close(position, CloseReason.UNPROTECTED, cause)

    async def _stands_near(self, position: Position) -> bool:
        """Whether a stop that counts stands on the venue, though not at the level (SPEC §4)."""
        if not self._coverage.shows_any(position):
            return False
        try:
            near = bool(await self._adoption.judge(position, self._coverage.level(position)))
        except VenueError:
            return False  # a read without value
        self._coverage.stands_near(position, near=near)
        return near

    async def _not_there(self, position: Position) -> bool:
        """Whether a complete read shows no such position."""
        try:
            return not (await evidence.read_position(self._services, position)).qty
        except VenueError:
            return False  # a read without value

    def forget(self, position: Position) -> None:
        """Drop what is kept of a position that ended."""
        self._coverage.forget(position)
        self._alarms.cancel(position)
        self.on_released(position)

    def put_aside(self, position: Position, report: OrderReport) -> None:
        """A stop of ours on its symbol that is not in its set: into the to-cancel ledger."""
        if position.stops.find(report.client_order_id) is None:
            self._adoption.put_aside(position, report, "surplus")
            position.changed.set()

    def keep(self, position: Position) -> None:
        """Start the task that keeps this position under a stop; nothing where it runs."""
        if self._keeper.start(position):
            self.kept.set()
            self.on_kept(position)

    def adopted(self, position: Position) -> None:
        """A position that is kept turned out to be ours: what belongs to ours begins."""
        self.on_kept(position)

    def on_report(self, position: Position, report: OrderReport) -> None:
        """Take a report of an order on this position's symbol, after the registry has."""
        if report.order_class is OrderClass.ATTACHED:
            self._coverage.attached.adopt(position, report)
        self.settle(position)

    def on_position(self, position: Position) -> None:
        """Take what the venue now says of the position (`position.report`)."""
        if self._coverage.style(position) is self._coverage.attached:
            self._coverage.attached.observe(position)

    def due(self, position: Position) -> bool:
        """Whether what is filled of an entry lacks a confirmed stop of its size and level."""
        return self._coverage.due(position)

    def covered(self, position: Position) -> bool:
        """Whether a confirmed stop covers the whole position at its level, by what is known."""
        return self._coverage.covered(position)

    def stands(self, position: Position) -> bool:
        """Whether exactly the right stop is confirmed: level, size, inside liquidation."""
        return self._coverage.stands(position)

    def oversized(self, position: Position) -> bool:
        """Whether live stops close more than there is."""
        return self._coverage.oversized(position)

    def closing(self, position: Position) -> bool:
        """Whether an exit is in progress."""
        return self._exits.in_progress(position)

    def watched(self, venue: str) -> list[Position]:
        """Positions on a venue that are kept under a stop."""
        return self._keeper.positions(venue)

    def settle(self, position: Position) -> None:
        """Draw the consequences of reports: what fired, what ended, what is exposed."""
        now = self._services.runtime.now()
        if self._coverage.style(position) is self._coverage.attached:
            self._coverage.attached.observe(position)
        for stop in position.stops.settle(now):
            self._services.decide(
                "stop.ended",
                stop.order.row.status.value.lower(),
                venue=position.venue,
                symbol=position.symbol,
                position_id=position.id,
                client_order_id=stop.client_order_id,
                wanted=str(stop.wanted),
            )
            if stop.missing and stop.order.row.status is OrderStatus.CANCELED:
                position.stops.list_lied_ns = now  # our cancel found it alive
            if stop.attached and stop.wanted:
                self._alarms.expose(position, now)
        if position.row.protected_level and not self.covered(position):
            self._alarms.expose(position, now)

    async def tidy(self, position: Position) -> None:
        """Probe what is doubtful and retry the cancels of the ledger, once each."""
        stops = position.stops
        async with stops.lock:
            style = self._coverage.style(position)
            try:
                if stops.doubtful():
                    await style.probe(position)
            except VenueError:
                return  # a read without value changes nothing
            await style.discard(position)
        now = self._services.runtime.now()
        for stop in stops.doubtful():
            if not stop.order.seen and now - stop.sent_ns >= SETTLE_AFTER_NS:
                self._settle_unseen(stop)

    def _settle_unseen(self, stop: StopOrder) -> None:
        """Prove in a task of its own that the venue has it, or that it never had it."""
        if stop.client_order_id in self._settling:
            return
        self._settling[stop.client_order_id] = None
        self._services.supervise(
            f"settle {stop.client_order_id}", lambda: self._exits.settler.settle(stop.order)
        )


def _ignore(position: Position) -> None:
    """Before the kernel is wired nobody is told."""

"""The keeper: one task a position that answers to what happens to its stop.

It acts only on evidence that is known (events and reads change the books and wake it):

1. The position is flat by executions → proven flat, leftovers cancelled, booked (`Exits`).
2. A stop triggered → it must end flat within `STOP_FILL_TIMEOUT_SECONDS`; what is left then is
   closed at market where the market is through the level, else protected again. A resting exit
   is cancelled beside it; where the two refused each other the rest is closed at market.
3. No confirmed stop covers the position → the protected level is placed again at once.
4. Live stops close more than there is → they are resized, by executions only.
5. The market has been at the level and the position is still open → the venue is asked, and where
   its own mark is through the level too, the position is closed.
6. Doubtful stops and unproven cancels → probed with a growing pause until terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.errors import VenueError
from kernel.model.orders import OrderStatus
from kernel.model.positions import CloseReason, PositionState
from kernel.model.units import MS, SECOND, MonoNs, Qty
from kernel.runtime.errors import TimedOut
from kernel.trade import evidence, stop_levels
from kernel.trade.close_reason import ended_by, stopped_by
from kernel.trade.level_watch import LevelWatch

if TYPE_CHECKING:
    from kernel.runtime.core import Task
    from kernel.trade.book import Position
    from kernel.trade.exits import Exits
    from kernel.trade.protective_set import StopOrder
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner

TIDY_NS = (SECOND, 2 * SECOND, 5 * SECOND, 15 * SECOND, 60 * SECOND)
"""Pauses between probes of what is doubtful; the last one repeats."""
AGAIN_NS = 5 * SECOND
"""After an effort that could neither protect nor was allowed to close."""
FIRED_POLL_NS = 500 * MS
_ENDED_UNFILLED = (OrderStatus.REJECTED, OrderStatus.EXPIRED, OrderStatus.CANCELED)


class StopKeeper:
    """The keepers of all positions."""

    def __init__(self, services: Services, owner: StopOwner, exits: Exits) -> None:
        self._services = services
        self._owner = owner
        self._exits = exits
        self._tasks: dict[str, tuple[Position, Task[None]]] = {}

    def start(self, position: Position) -> bool:
        """Start the keeper of a position; False where it runs."""
        running = self._tasks.get(position.id)
        if running is not None and not running[1].done:
            return False
        task = self._services.supervise(
            f"keep {position.id}", lambda: self._keep(position), position=position
        )
        self._tasks[position.id] = (position, task)
        return True

    def positions(self, venue: str) -> list[Position]:
        """The positions of a venue that are kept."""
        return [position for position, _ in self._tasks.values() if position.venue == venue]

    async def _keep(self, position: Position) -> None:
        watch = LevelWatch(self._services, position)
        try:
            await self._keep_on(position, watch)
        finally:
            watch.clear()
        self._tasks.pop(position.id, None)
        self._owner.forget(position)

    async def _keep_on(self, position: Position, watch: LevelWatch) -> None:
        runtime = self._services.runtime
        probes = 0
        tidy_ns: MonoNs | None = None
        resized: Qty | None = None
        while not position.state.terminal:
            position.changed.clear()
            self._owner.settle(position)
            if self._is_mine(position):
                if await self._act(position, watch):
                    continue
                if self._owner.oversized(position) and resized != position.qty:
                    resized = position.qty
                    await self._owner.ensure(position, "smaller by executions")
                    continue
                watch.follow()
            deadline_ns = watch.due_ns if self._is_mine(position) else None
            if not (position.stops.doubtful() or position.stops.to_cancel()):
                tidy_ns, probes = None, 0
            elif tidy_ns is None:  # whatever wakes the keeper meanwhile does not put it off
                pause_ns = TIDY_NS[min(probes, len(TIDY_NS) - 1)]
                tidy_ns = MonoNs(runtime.now() + pause_ns)
            due = [at for at in (deadline_ns, tidy_ns) if at is not None]
            if not due:
                await position.changed.wait()
                continue
            woken = await evidence.wait_until(runtime, position.changed, min(due))
            if tidy_ns is not None and not woken and runtime.now() >= tidy_ns:
                tidy_ns, probes = None, probes + 1
                await self._owner.tidy(position)

    def _is_mine(self, position: Position) -> bool:
        """Whether no saga and no close has the position in hand."""
        active = position.state is PositionState.ACTIVE
        return active and not self._exits.in_progress(position)

    async def _act(self, position: Position, watch: LevelWatch) -> bool:
        """Do what is due; False: nothing is."""
        if position.qty <= 0:
            reason = ended_by(self._services, position) or CloseReason.EXTERNAL
            await self._exits.close(position, reason, "closed by executions")
            return True
        fired = position.stops.fired
        if fired is not None:
            await self._after_trigger(position, fired)
            return True
        if not self._owner.covered(position):
            await self._owner.ensure(position, "no confirmed stop")
            if self._is_mine(position) and not self._owner.covered(position):
                await self._services.runtime.sleep(AGAIN_NS)
            return True
        if watch.due_ns is not None and self._services.runtime.now() >= watch.due_ns:
            if await watch.is_passed_over():
                cause = "the market is through the level and the stop did not trigger"
                await self._exits.close(position, stopped_by(position), cause)
            return True
        return False

    async def _after_trigger(self, position: Position, fired: StopOrder) -> None:
        """See a triggered stop to its end."""
        services, runtime = self._services, self._services.runtime
        limit_ns = services.settings.stop_fill_timeout_seconds * SECOND
        assert fired.fired_ns is not None, "it is in the set because it was seen triggered"
        deadline_ns = fired.fired_ns + limit_ns
        services.decide(
            "stop.triggered",
            fired.order.row.status.value.lower(),
            venue=position.venue,
            symbol=position.symbol,
            position_id=position.id,
            client_order_id=fired.client_order_id,
            level=fired.level,
        )
        rested = self._exits.resting.of(position) is not None
        self._exits.resting.withdraw_soon(position, "the stop was triggered")
        while position.qty > 0 and runtime.now() < deadline_ns:
            position.changed.clear()
            if _ended_short(fired) and await self._read(position, deadline_ns):
                break
            pause_ns = min(runtime.now() + FIRED_POLL_NS, deadline_ns)
            if not await evidence.wait_until(runtime, position.changed, pause_ns):
                await self._read(position, deadline_ns)
        position.stops.fired = None
        if position.qty <= 0:
            return  # the next look of the keeper ends it
        if not position.stops.live():
            position.stops.expose(runtime.now())
        level = position.row.protected_level
        price = await evidence.fresh_price(services, position)
        cause = "a triggered stop left quantity"
        if rested and _ended_short(fired):
            cause = "the stop and the resting exit refused each other"
            await self._exits.close(position, stopped_by(position), cause, doubtful=True)
        elif not price or stop_levels.is_through(position.side, level, price):
            await self._exits.close(position, stopped_by(position), cause)
        else:
            await self._owner.ensure(position, cause)

    async def _read(self, position: Position, until_ns: int) -> bool:
        """Book executions that no event told of; False: no answer of value in time."""
        try:
            with self._services.runtime.timeout_at(until_ns):
                await evidence.read_executions(self._services, position)
        except (VenueError, TimedOut):
            return False
        return True


def _ended_short(fired: StopOrder) -> bool:
    """Whether it is known that a triggered stop can fill no further."""
    order = fired.order
    if order.row.status in _ENDED_UNFILLED:
        return True
    return order.child is not None and order.child.status in _ENDED_UNFILLED

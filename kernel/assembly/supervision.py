"""What becomes of a task that crashes (DESIGN §1, failure domains).

1. It is told and recorded; `Runtime.supervise` begins it again a few times.
2. Where it belonged to a position, the symbol is locked and protection of last resort takes the
   position over; afterwards it goes on from its stored state.
3. Where it is gone for good and belonged to none, the kernel asks to be started anew, but not in
   a loop.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kernel.model.positions import PositionState
from kernel.model.units import HOUR, MINUTE, MonoNs, TsNs
from kernel.trade.router import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.model.signal import Signal
    from kernel.protect.last_resort import LastResort
    from kernel.sync.recovery import Recovery
    from kernel.trade.book import Position
    from kernel.trade.entry import Entries
    from kernel.trade.entry_plan import EntryPlan
    from kernel.trade.services import Services
    from kernel.trade.stop_loss import StopOwner

CRASH_LOCK_NS = 24 * HOUR
RESTARTS = 3
"""Of a supervised task; `Runtime.supervise` has the same default."""
SOUND_LIFE_NS = 5 * MINUTE
"""A kernel that loses a task sooner than this after its start is not started anew for it."""


class Supervision:
    """Takes the crashes of one kernel's tasks.

    Attributes:
        crashes: Tasks that failed unexpectedly: "name: error". Empty in a healthy run.
        started_ns: When the kernel was started.
    """

    def __init__(
        self,
        services: Services,
        *,
        last_resort: LastResort,
        recovery: Recovery,
        stops: StopOwner,
        restart: Callable[[str], None],
    ) -> None:
        """`restart` asks for a new kernel, with a reason."""
        self._services = services
        self._last_resort = last_resort
        self._recovery = recovery
        self._stops = stops
        self._restart = restart
        self.crashes: list[str] = []
        self.started_ns = MonoNs(0)
        services.on_crash = self.crashed

    def crashed(
        self, name: str, error: BaseException, failures: int, position: Position | None
    ) -> None:
        """A task failed unexpectedly: tell, lock the symbol, protect the position."""
        services = self._services
        what = f"{name}: {describe(error)}"
        self.crashes.append(what)
        venue = position.venue if position else ""
        symbol = position.symbol if position else ""
        services.decide(
            "task.crashed",
            what,
            venue=venue,
            symbol=symbol,
            position_id=position.id if position else "",
            failures=failures,
        )
        services.alert(
            "CRITICAL", "task.crashed", what, venue=venue, symbol=symbol, dedupe=f"crash|{name}"
        )
        if position is None:
            if failures > RESTARTS:
                self._lost(name)
            return
        until = TsNs(services.runtime.ts() + CRASH_LOCK_NS)
        services.risk.lock(venue, symbol, reason="a task of the position crashed", until_ns=until)
        if not position.state.terminal and not self._last_resort.holds(position):
            services.runtime.supervise(
                partial(self._take_over, position),
                f"last resort {position.id}",
                on_failure=self._last_resort_failed,
            )

    def start_failed(self, name: str, error: BaseException, failures: int) -> None:
        """Half a start cannot be begun again: what it began goes on, entries never do."""
        self.crashed(name, error, failures, None)
        for desk in self._services.desks.values():
            desk.block_entries("start failed")

    def _lost(self, name: str) -> None:
        """A task that the kernel needs is gone for good: start anew, but not in a loop."""
        if self._services.runtime.now() - self.started_ns > SOUND_LIFE_NS:
            self._restart(f"{name} failed too often")
            return
        for desk in self._services.desks.values():
            desk.block_entries(f"lost: {name}")

    async def _take_over(self, position: Position) -> None:
        """Last resort; then on from the stored state with what no task carries on by itself."""
        await self._last_resort.take_over(position)
        if position.state is PositionState.ACTIVE:
            self._stops.keep(position)  # its own task may be gone for good
        elif not position.state.terminal:
            self._recovery.resume(position)

    def _last_resort_failed(self, name: str, error: BaseException, failures: int) -> None:
        self.crashed(name, error, failures, None)


class GuardedEntries:
    """`Entries` for whoever runs many of them: neither a crash nor its caller ends the other."""

    def __init__(self, services: Services, entries: Entries) -> None:
        self._services = services
        self._entries = entries

    async def open(self, signal: Signal, plan: EntryPlan) -> Position | None:
        """See `kernel.trade.entry.Entries.open`; None also where it crashed."""
        task = self._services.runtime.spawn(
            self._guarded(signal, plan), f"entry {plan.venue} {plan.symbol}"
        )
        await task.wait()
        return task.result()

    async def _guarded(self, signal: Signal, plan: EntryPlan) -> Position | None:
        try:
            return await self._entries.open(signal, plan)
        except Exception as error:  # noqa: BLE001 - the failure domain of one entry
            position = self._services.book.by_symbol(plan.venue, plan.symbol)
            self._services.on_crash(f"entry {plan.venue} {plan.symbol}", error, 1, position)
            return None

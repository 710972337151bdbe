"""The runtime: one object that owns tasks and virtual time, and is driven from outside.

The semantics are in docs/runtime-semantics.md, each sentence with a test.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from kernel.model.units import SECOND, MonoNs, TsNs
from kernel.runtime.channels import Channel
from kernel.runtime.core import Core, Task, park
from kernel.runtime.errors import RestartsExhausted, RuntimeClosed, RuntimeMisuse
from kernel.runtime.groups import TaskGroup
from kernel.runtime.primitives import Event, Future, Lock, Semaphore
from kernel.runtime.scopes import CancelScope
from kernel.runtime.supervisor import OnFailure, supervised
from kernel.runtime.ticker import Ticker
from kernel.runtime.timers import TimerHandle

TURN_LIMIT = 1_000_000
"""Switches, awaits and timers in one step, beyond which it is a livelock."""

BACKOFF_NS = (1 * SECOND, 2 * SECOND, 4 * SECOND)


class Runtime:
    """Tasks and timers of one kernel. Several runtimes in one process never interact.

    Args:
        start_mono_ns: Monotonic time of the first step.
        start_ts_ns: Wall time of the first step, Unix nanoseconds.
        turn_limit: Switches, awaits and timers in one step, beyond which it is a livelock.
        collect_every: Collect garbage at every so many calls of `set_time`, so that it happens
            at the same place in every run; None = never. Whether the automatic collector is off
            is for the driver to decide.
    """

    __slots__ = ("_core", "collect_every", "next_deadline", "steps")

    def __init__(
        self,
        start_mono_ns: int = 0,
        start_ts_ns: int = 0,
        *,
        turn_limit: int = TURN_LIMIT,
        collect_every: int | None = None,
    ) -> None:
        self._core = Core(MonoNs(start_mono_ns), TsNs(start_ts_ns), turn_limit)
        self.collect_every = collect_every
        self.steps = 0
        self.next_deadline = self._core.timers.next_deadline
        """Deadline of the first pending timer, which may have passed; asked after each step."""

    # Time.

    def now(self) -> MonoNs:
        """Monotonic stamp of the present step, never an older deadline."""
        return self._core.mono_ns

    def ts(self) -> TsNs:
        """Wall stamp of the present step."""
        return self._core.ts_ns

    async def sleep(self, duration_ns: int) -> None:
        """Wait for a duration. Zero or less is due at the next chance, in its order."""
        core = self._core
        core.sleep(core.mono_ns + duration_ns if duration_ns > 0 else core.mono_ns)
        await park()

    async def sleep_until(self, mono_ns: int) -> None:
        """Wait for an instant. One that has passed is due at the next chance, in its order."""
        self._core.sleep(mono_ns)
        await park()

    async def checkpoint(self) -> None:
        """Let every task that is ready now go first."""
        core = self._core
        core.wake(core.enter())
        await park()

    def ticker(self, period_ns: int, first_ns: int | None = None) -> Ticker:
        """Periodic instants that coalesce; the first is one period from now unless given."""
        first_ns = self._core.mono_ns + period_ns if first_ns is None else first_ns
        return Ticker(self._core, period_ns, first_ns)

    def call_at(self, mono_ns: int, callback: Callable[[], object]) -> TimerHandle:
        """Call a function at an instant, outside of any task. What it raises leaves `fire_due`."""
        if self._core.closed:
            raise RuntimeClosed
        return self._core.timers.add(mono_ns, callback)

    # Tasks and scopes.

    def spawn[T](self, coro: Coroutine[Any, Any, T], name: str) -> Task[T]:
        """Start a root task: no scope is around it, and its error is a crash of the runtime."""
        return self._core.spawn(coro, name)

    def supervise(
        self,
        factory: Callable[[], Coroutine[Any, Any, object]],
        name: str,
        *,
        on_failure: OnFailure,
        backoff_ns: Sequence[int] = BACKOFF_NS,
        max_restarts: int = 3,
        forgive_after_ns: int | None = None,
    ) -> Task[None]:
        """Start a root task that is restarted when it fails.

        Args:
            factory: Makes the coroutine, anew for each restart.
            name: Of the task.
            on_failure: Called at each failure with (name, error, failures so far), before the
                back-off. With more failures than `max_restarts` it is the last call. What it
                raises is a crash of the runtime.
            backoff_ns: Pauses before the first, second, ... restart; the last one repeats.
            max_restarts: Restarts in all.
            forgive_after_ns: A run that lasted this long before it failed makes its failure
                count as the first one again; None = never.

        Returns:
            A task whose result is None when the coroutine returned, and which raises
            `RestartsExhausted` when it failed too often.
        """
        loop = supervised(
            self._core,
            factory,
            name,
            on_failure=on_failure,
            backoff_ns=backoff_ns,
            max_restarts=max_restarts,
            forgive_after_ns=forgive_after_ns,
        )
        task = self._core.spawn(loop, name)
        task.tolerated = RestartsExhausted
        return task

    def group(self) -> TaskGroup:
        """A block whose children end before it does."""
        return TaskGroup(self._core)

    def scope(self) -> CancelScope:
        """A block that can be cancelled; it absorbs its own cancellation."""
        return CancelScope(self._core)

    def timeout(self, duration_ns: int) -> CancelScope:
        """A block that is cancelled after a duration, and raises `TimedOut` if that ended it."""
        return CancelScope(self._core, deadline_ns=self._core.mono_ns + max(duration_ns, 0))

    def timeout_at(self, mono_ns: int) -> CancelScope:
        """A block that is cancelled at an instant, and raises `TimedOut` if that ended it."""
        return CancelScope(self._core, deadline_ns=mono_ns)

    def shield(self) -> CancelScope:
        """A block whose awaits are not cancelled from outside; they are again once it ended."""
        return CancelScope(self._core, shielded=True)

    @property
    def tasks(self) -> tuple[Task[Any], ...]:
        """Every task that is not done, in order of creation."""
        return tuple(self._core.tasks.values())

    # What tasks wait on.

    def event(self) -> Event:
        """A flag that tasks can wait for."""
        return Event(self._core)

    def future[T](self) -> Future[T]:
        """A result that comes once, from outside."""
        return Future(self._core)

    def lock(self) -> Lock:
        """Mutual exclusion, first come, first served."""
        return Lock(self._core)

    def semaphore(self, permits: int) -> Semaphore:
        """At most so many at a time, first come, first served."""
        return Semaphore(self._core, permits)

    def channel[T](self, capacity: int | None = None) -> Channel[T]:
        """A queue between tasks; None = unbounded, 0 = from hand to hand."""
        return Channel(self._core, capacity)

    # What drivers call.

    def set_time(self, mono_ns: int, ts_ns: int) -> None:
        """Begin a step.

        Raises:
            RuntimeMisuse: A stamp went back, or a task is running.
            RuntimeClosed: The runtime was closed.
        """
        core = self._core
        if core.closed or core.current is not None:
            self._outside("set_time")
        if mono_ns < core.mono_ns or ts_ns < core.ts_ns:
            raise RuntimeMisuse(
                f"stamps never go back: mono {core.mono_ns} -> {mono_ns}, "
                f"wall {core.ts_ns} -> {ts_ns}"
            )
        core.mono_ns = MonoNs(mono_ns)
        core.ts_ns = TsNs(ts_ns)
        core.turns = 0
        self.steps += 1
        if self.collect_every is not None and self.steps % self.collect_every == 0:
            gc.collect()

    def run_ready(self) -> None:
        """Step ready tasks, first in, first out, until there is none.

        Raises:
            TaskCrashed: A root task ended with an error; the others can go on afterwards.
            Livelock: There is no end of it.
            RuntimeMisuse: A task is running.
            RuntimeClosed: The runtime was closed before.
        """
        core = self._core
        if core.closed or core.current is not None:
            self._outside("run_ready")
        if core.ready:
            core.run_ready()

    def fire_due(self, until_ns: int, inclusive: bool) -> None:  # noqa: FBT001 - the step's contract
        """Fire timers by (deadline, number), draining the ready tasks before and after each.

        Args:
            until_ns: At most the stamp of the present step.
            inclusive: Timers with exactly this deadline fire too.

        Raises:
            RuntimeMisuse: `until_ns` lies ahead of `now()`, or a task is running.
            TaskCrashed, Livelock, RuntimeClosed: As in `run_ready`.
        """
        core = self._core
        if core.closed or core.current is not None:
            self._outside("fire_due")
        if until_ns > core.mono_ns:
            raise RuntimeMisuse(f"timers until {until_ns} ns are not due at {core.mono_ns} ns")
        last_ns = until_ns if inclusive else until_ns - 1
        if core.ready:
            core.run_ready()
        while (callback := core.timers.pop_due(last_ns)) is not None:
            core.turns += 1
            if core.turns > core.turn_limit:
                raise core.livelock()
            callback()
            core.run_ready()

    def close(self) -> None:
        """Throw every task away, as a crash does.

        The runtime is cut off first: from now on every await of it raises `RuntimeClosed`. Then
        the coroutines are closed in order of creation. Called by a running task, it cuts at once
        and closes when that task ends or awaits.
        """
        self._core.close()

    @property
    def closed(self) -> bool:
        """`close` was called."""
        return self._core.closed

    def _outside(self, call: str) -> None:
        if self._core.closed:
            raise RuntimeClosed
        if self._core.current is not None:
            raise RuntimeMisuse(f"{call} is for the driver, not for a task")

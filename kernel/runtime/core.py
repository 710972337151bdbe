"""The engine: ready queue, the stepping of coroutines, waiting and waking.

How a wait works:
1. A primitive calls `enter()`, which gives the running task or raises what it must see instead.
2. It registers the task wherever it will be woken from, and stores in `task.abort` what undoes
   that registration (None: this wait cannot be cancelled).
3. It awaits `park()`. The coroutine is suspended; the engine goes on with the next ready task.
4. Someone calls `wake()` (the result is *delivered*: nothing takes it back) or `interrupt()`.

Each call of `wake` or `interrupt` appends the task to the ready queue, which is first in, first
out; a task is in it at most once.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any, Final

from kernel.runtime.errors import (
    Cancelled,
    Livelock,
    RuntimeClosed,
    RuntimeMisuse,
    Spinning,
    TaskCancelled,
    TaskCrashed,
)
from kernel.runtime.scopes import CancelScope
from kernel.runtime.timers import Timers

if TYPE_CHECKING:
    from kernel.model.units import MonoNs, TsNs
    from kernel.runtime.groups import TaskGroup

PARKED: Final = object()
"""The one thing that a coroutine may yield to the engine."""


@types.coroutine
def park() -> Generator[object, Any, Any]:
    """Suspend the running task until it is woken; gives what it was woken with."""
    return (yield PARKED)


class Task[T]:
    """One running coroutine.

    Attributes:
        number: Order of creation in its runtime, from 1.
        name: For people; need not be unique.
        scope: Everything that the task does happens inside; `scope.cancel()` cancels the task.
        done: The coroutine ended.
        cancelled: It ended because its scope was cancelled; there is no result.
    """

    __slots__ = (
        "_core",
        "abort",
        "cancelled",
        "coro",
        "done",
        "error",
        "group",
        "inbox",
        "innermost",
        "name",
        "number",
        "parked",
        "scope",
        "thrown",
        "tolerated",
        "value",
        "waiters",
    )

    def __init__(
        self, core: Core, coro: Coroutine[Any, Any, T], name: str, parent: CancelScope | None
    ) -> None:
        core.task_number += 1
        self._core = core
        self.number = core.task_number
        self.name = name
        self.scope = CancelScope(core)
        self.scope.adopt(self, parent)
        self.done = False
        self.cancelled = False
        # What follows belongs to the engine.
        self.coro = coro
        self.innermost = self.scope
        self.parked = False
        self.inbox: Any = None
        self.thrown: BaseException | None = None
        self.abort: Callable[[Task[Any]], object] | None = None
        self.group: TaskGroup | None = None
        self.tolerated: type[Exception] | None = None
        self.waiters: deque[Task[Any]] = deque()
        self.value: T | None = None
        self.error: BaseException | None = None

    def result(self) -> T:
        """What the coroutine returned.

        Raises:
            RuntimeMisuse: The task is not done.
            TaskCancelled: It was cancelled.
            BaseException: What the coroutine raised.
        """
        if not self.done:
            raise RuntimeMisuse(f"task {self.name!r} is not done: await its wait() first")
        if self.cancelled:
            raise TaskCancelled(f"task {self.name!r} was cancelled")
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # T may include None

    def resume(self) -> None:
        """Called by the timer of a sleep."""
        self._core.wake(self)

    async def wait(self) -> None:
        """Wait until the task is done, however it ends; never raises what it raised."""
        waiter = self._core.enter()
        if self.done:
            return
        self.waiters.append(waiter)
        waiter.abort = self.waiters.remove
        await park()


class Core:
    """The engine of one runtime. Users see it through `Runtime` only."""

    __slots__ = (
        "closed",
        "current",
        "mono_ns",
        "ready",
        "task_number",
        "tasks",
        "timers",
        "ts_ns",
        "turn_limit",
        "turns",
    )

    def __init__(self, mono_ns: MonoNs, ts_ns: TsNs, turn_limit: int) -> None:
        self.mono_ns = mono_ns
        self.ts_ns = ts_ns
        self.turn_limit = turn_limit
        self.turns = 0  # task switches, awaits and timers since the step began
        self.timers = Timers()
        self.ready: deque[Task[Any]] = deque()
        self.tasks: dict[int, Task[Any]] = {}  # strong references, in order of creation
        self.task_number = 0
        self.current: Task[Any] | None = None
        self.closed = False

    # What primitives call.

    def running(self) -> Task[Any]:
        """The task that is running.

        Raises:
            RuntimeClosed: The runtime was closed.
            RuntimeMisuse: No task of this runtime is running.
        """
        if self.closed:
            raise RuntimeClosed
        if self.current is None:
            raise RuntimeMisuse("only a task of this runtime may do this: spawn one")
        return self.current

    def enter(self) -> Task[Any]:
        """Begin an await.

        Raises:
            Cancelled: The innermost scope of the running task is effective.
            RuntimeClosed: The runtime was closed.
            RuntimeMisuse: No task of this runtime is running.
        """
        task = self.current
        if task is None or self.closed:
            return self.running()
        if task.innermost.effective:
            raise Cancelled
        self.turns += 1
        if self.turns > self.turn_limit:
            raise Spinning
        return task

    def sleep(self, deadline_ns: int) -> None:
        """Begin an await that a timer ends."""
        task = self.enter()
        task.abort = self.timers.add(deadline_ns, task.resume).abort

    def wake(self, task: Task[Any], value: object = None) -> None:
        """Deliver a result to a waiting task."""
        assert task.parked or self.closed
        task.parked = False
        task.inbox = value
        task.abort = None
        self.ready.append(task)

    def wake_error(self, task: Task[Any], error: BaseException) -> None:
        """Deliver an error to a waiting task."""
        self.wake(task)
        task.thrown = error

    def interrupt(self, task: Task[Any]) -> None:
        """Wake a task with `Cancelled`, unless it has its result or its wait is protected."""
        if task.abort is not None:
            task.abort(task)
            self.wake_error(task, Cancelled())

    def spawn[T](
        self,
        coro: Coroutine[Any, Any, T],
        name: str,
        *,
        parent: CancelScope | None = None,
        group: TaskGroup | None = None,
    ) -> Task[T]:
        """Create a task; it takes its first step when its turn comes in the ready queue."""
        if self.closed:
            coro.close()
            raise RuntimeClosed
        task = Task(self, coro, name, parent)
        task.group = group
        self.tasks[task.number] = task
        self.ready.append(task)
        return task

    # What drivers call.

    def run_ready(self) -> None:
        """Step ready tasks until there is none."""
        ready = self.ready
        while ready:
            task = ready.popleft()
            self.turns += 1
            if self.turns > self.turn_limit:
                ready.appendleft(task)
                raise self.livelock(task)
            self.current = task
            thrown = task.thrown
            task.parked = True  # from here on it may be woken, if it registers itself somewhere
            try:
                if thrown is None:
                    trap = task.coro.send(task.inbox)
                else:
                    task.thrown = None
                    trap = task.coro.throw(thrown)
            except StopIteration as stop:
                self.current = None
                self._finish(task, stop.value, None)
            except BaseException as error:  # noqa: BLE001 - each kind is judged in _finish
                self.current = None
                thrown = None  # its traceback refers to this frame: no cycle
                self._finish(task, None, error)
            else:
                self.current = None
                if trap is not PARKED:
                    self._refuse(task, trap)

    def livelock(self, *last: Task[Any]) -> Livelock:
        """The error to raise when the turns of this step are used up; `last` ran last."""
        busy = dict.fromkeys(task.name for task in (*last, *self.ready))
        return Livelock(
            f"more than {self.turn_limit} turns at {self.mono_ns} ns; "
            f"busy: {', '.join(list(busy)[:8]) or 'timers only'}"
        )

    def close(self) -> None:
        """Cut the runtime off, then close what it was running, in order of creation."""
        self.closed = True
        if self.current is None:
            self._close_tasks()

    def _close_tasks(self) -> None:
        """Close every coroutine; whatever it still tries meets `RuntimeClosed`."""
        while self.tasks:
            task = self.tasks.pop(next(iter(self.tasks)))
            try:
                task.coro.close()
            except (RuntimeClosed, Exception):  # noqa: BLE001, S112 - a dead process reports nothing
                continue
        self.ready.clear()
        self.timers.clear()

    def _refuse(self, task: Task[Any], trap: object) -> None:
        task.coro.close()
        self._finish(
            task,
            None,
            RuntimeMisuse(
                f"task {task.name!r} awaited something foreign ({type(trap).__name__}): "
                "only what its own runtime offers can be awaited"
            ),
        )

    def _finish(self, task: Task[Any], value: object, error: BaseException | None) -> None:
        """Record how a task ended, tell those who wait for it, and judge its error."""
        if self.closed:  # it was running when the runtime was closed
            self.tasks.pop(task.number, None)
            self._close_tasks()
            return
        task.parked = False
        task.done = True
        task.value = value
        task.scope.task = None
        if not isinstance(error, Cancelled):
            task.error = error
        elif task.scope.effective:
            task.cancelled = True
        else:
            task.error = _stray(task, error)
        del self.tasks[task.number]
        while task.waiters:
            self.wake(task.waiters.popleft())
        if task.group is not None:
            task.group.child_ended(task)
        if task.error is not None:
            self._judge(task, task.error)

    def _judge(self, task: Task[Any], error: BaseException) -> None:
        if isinstance(error, Spinning):
            raise self.livelock(task) from error
        if not isinstance(error, Exception):
            raise error  # KeyboardInterrupt and its like end the run
        if task.group is None and not (task.tolerated and isinstance(error, task.tolerated)):
            raise TaskCrashed(f"task {task.name!r} crashed: {error!r}") from error


def _stray(task: Task[Any], error: Cancelled) -> RuntimeMisuse:
    misuse = RuntimeMisuse(f"task {task.name!r} let a Cancelled out that no scope around it sent")
    misuse.__cause__ = error
    return misuse

"""What tasks wait on: events, futures, locks and semaphores.

All are first in, first out, and hand over directly: who is woken has what it waited for, and
nobody can take it in between. Waiting for what is there already does not switch tasks; it is a
cancellation point all the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from types import TracebackType
from typing import Any

from kernel.runtime.core import PARKED, Core, Task, park
from kernel.runtime.errors import FutureAbandoned, RuntimeMisuse


class Event:
    """A flag that tasks can wait for."""

    __slots__ = ("_core", "_set", "_waiters")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._set = False
        self._waiters: deque[Task[Any]] = deque()

    @property
    def is_set(self) -> bool:
        """The flag is up."""
        return self._set

    def set(self) -> None:
        """Raise the flag and wake every waiter, in the order in which they came."""
        self._set = True
        while self._waiters:
            self._core.wake(self._waiters.popleft())

    def clear(self) -> None:
        """Take the flag down. Waiters that were woken stay woken."""
        self._set = False

    async def wait(self) -> None:
        """Return once the flag was raised."""
        task = self._core.enter()
        if self._set:
            return
        self._waiters.append(task)
        task.abort = self._waiters.remove
        await park()

    async def wait_until(self, mono_ns: int) -> bool:
        """Wait, at most until an instant. False: the instant came first.

        Cheaper than a time-out around `wait`: nothing is cancelled and nothing raised.
        """
        task = self._core.enter()
        if self._set:
            return True
        waiters = self._waiters
        timer = self._core.timers.add(mono_ns, lambda: self._give_up(task))
        waiters.append(task)

        def abort(_: Task[Any]) -> None:
            timer.cancel()
            waiters.remove(task)

        task.abort = abort
        came: bool | None = await park()
        timer.cancel()
        return came is None

    def _give_up(self, task: Task[Any]) -> None:
        if task in self._waiters:  # else the flag was raised at this very instant
            self._waiters.remove(task)
            self._core.wake(task, value=False)


class Future[T]:
    """A result that comes once, from outside: the answer to a request.

    When the last waiter is cancelled the future is abandoned: what comes later goes nowhere, and
    `set_result` and `set_error` say so by returning False.
    """

    __slots__ = ("_core", "_error", "_value", "_waiters", "abandoned", "done")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiters: deque[Task[Any]] = deque()
        self._value: T | None = None
        self._error: Exception | None = None
        self.done = False
        self.abandoned = False

    def set_result(self, value: T) -> bool:
        """Deliver the result.

        Returns:
            False when it was too late: the future was done or abandoned. Nothing changed then.
        """
        if self.done or self.abandoned:
            return False
        self.done = True
        self._value = value
        while self._waiters:
            self._core.wake(self._waiters.popleft(), value)
        return True

    def set_error(self, error: Exception) -> bool:
        """Deliver an error, to be raised where the future is awaited.

        Returns:
            False when it was too late: the future was done or abandoned. Nothing changed then.
        """
        if self.done or self.abandoned:
            return False
        self.done = True
        self._error = error
        while self._waiters:
            self._core.wake_error(self._waiters.popleft(), error)
        return True

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the result.

        Raises:
            FutureAbandoned: An earlier waiter was cancelled, so that no result can come.
        """
        task = self._core.enter()
        if self.abandoned:
            raise FutureAbandoned("an earlier waiter was cancelled: ask again with a new future")
        if not self.done:
            self._waiters.append(task)
            task.abort = self._give_up
            value: T = yield PARKED
            return value
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # T may include None

    def _give_up(self, task: Task[Any]) -> None:
        self._waiters.remove(task)
        self.abandoned = not self._waiters


class Lock:
    """Mutual exclusion: `async with lock:`. The one who waited longest gets it next."""

    __slots__ = ("_core", "_owner", "_waiters")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._owner: Task[Any] | None = None
        self._waiters: deque[Task[Any]] = deque()

    @property
    def locked(self) -> bool:
        """Some task has it."""
        return self._owner is not None

    def try_acquire(self) -> bool:
        """Take the lock if it is free; False if it is not."""
        task = self._core.running()
        if self._owner is not None:
            return False
        self._owner = task
        return True

    async def acquire(self) -> None:
        """Take the lock, waiting for it when needed.

        Raises:
            RuntimeMisuse: The task has it already, and would wait for itself for ever.
        """
        task = self._core.enter()
        if self._owner is None:
            self._owner = task
            return
        if self._owner is task:
            raise RuntimeMisuse(f"task {task.name!r} has this lock already")
        self._waiters.append(task)
        task.abort = self._waiters.remove
        await park()

    def release(self) -> None:
        """Hand the lock to the first waiter, or free it. Never a cancellation point.

        Raises:
            RuntimeMisuse: The running task does not have it.
        """
        if self._core.closed:
            return
        if self._owner is None or self._owner is not self._core.current:
            raise RuntimeMisuse("only the task that has the lock may release it")
        if self._waiters:
            self._owner = self._waiters.popleft()
            self._core.wake(self._owner)
        else:
            self._owner = None

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not GeneratorExit or self._core.current is not None:
            self.release()


class Semaphore:
    """At most so many at a time: `async with semaphore:`."""

    __slots__ = ("_core", "_free", "_waiters", "permits")

    def __init__(self, core: Core, permits: int) -> None:
        if permits < 1:
            raise ValueError(f"a semaphore needs at least 1 permit, not {permits}")
        self._core = core
        self.permits = permits
        self._free = permits
        self._waiters: deque[Task[Any]] = deque()

    @property
    def free(self) -> int:
        """Permits that nobody has."""
        return self._free

    async def acquire(self) -> None:
        """Take a permit, waiting for one when needed."""
        task = self._core.enter()
        if self._free:
            self._free -= 1
            return
        self._waiters.append(task)
        task.abort = self._waiters.remove
        await park()

    def release(self) -> None:
        """Hand the permit to the first waiter, or free it. Never a cancellation point.

        Raises:
            RuntimeMisuse: More permits would be free than there are.
        """
        if self._core.closed:
            return
        if self._free == self.permits:
            raise RuntimeMisuse("this semaphore was released more often than acquired")
        if self._waiters:
            self._core.wake(self._waiters.popleft())
        else:
            self._free += 1

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

"""Cancel scopes: the only way to cancel.

Rules:
1. Scopes form a tree: a scope opened inside another is its child, and the scope of a task of a
   group is a child of the group's scope. A task's own scope (`task.scope`) is the root of the
   scopes that the task opens.
2. A scope is *effective* when it was cancelled or, unless it is shielded, when its parent is
   effective. That never changes back.
3. A task whose innermost scope is effective sees `Cancelled` at every await.
4. A waiting task is woken with `Cancelled`; a task that already has its result is not disturbed
   before its next await. Tasks reached by one cancellation are woken in order of their creation.
5. A scope absorbs `Cancelled` at its end when it was cancelled itself and no effective scope
   around it is visible; otherwise `Cancelled` goes on to the outer one.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from kernel.runtime.errors import Cancelled, RuntimeMisuse, TimedOut

if TYPE_CHECKING:
    from kernel.runtime.core import Core, Task
    from kernel.runtime.timers import TimerHandle


class CancelScope(msgspec.Struct, eq=False):
    """A block of one task, `with`-entered once, that can be cancelled from anywhere.

    Attributes:
        shielded: Cancellations from outside don't reach the inside.
        cancel_called: `cancel()` was called on this very scope, or its deadline passed.
        absorbed: The block was ended by this scope's own cancellation.
    """

    _core: Core
    shielded: bool = False
    deadline_ns: int | None = None
    cancel_called: bool = False
    absorbed: bool = False
    effective: bool = False
    expired: bool = False
    parent: CancelScope | None = None
    inner: CancelScope | None = None
    members: dict[int, Task[Any]] | None = None
    """The running tasks of a group's scope."""
    task: Task[Any] | None = None
    timer: TimerHandle | None = None

    def cancel(self) -> None:
        """Cancel everything inside, now and later. Again or after the end: no effect."""
        if self.cancel_called:
            return
        self.cancel_called = True
        if self.task is None or self.effective:
            return
        reached: list[Task[Any]] = []
        self._spread(reached)
        reached.sort(key=_creation)
        for task in reached:
            self._core.interrupt(task)

    def adopt(self, task: Task[Any], parent: CancelScope | None) -> None:
        """Become the root scope of `task`, inside `parent`."""
        self.task = task
        self.parent = parent
        self.effective = parent is not None and parent.effective

    def _spread(self, reached: list[Task[Any]]) -> None:
        """Make this scope and all that can see it effective; collect the tasks that run there."""
        pending = [self]
        while pending:
            scope = pending.pop()
            if scope.effective:
                continue
            scope.effective = True
            inner = scope.inner
            if inner is None:
                assert scope.task is not None
                reached.append(scope.task)
            elif not inner.shielded:
                pending.append(inner)
            if scope.members:
                pending.extend(member.scope for member in scope.members.values())

    def __enter__(self) -> Self:
        task = self._core.running()
        if self.task is not None or self.parent is not None:
            raise RuntimeMisuse("a scope can be entered only once: create a new one")
        parent = task.innermost
        self.task = task
        self.parent = parent
        self.effective = self.cancel_called or (parent.effective and not self.shielded)
        parent.inner = self
        task.innermost = self
        if self.deadline_ns is not None:
            self.timer = self._core.timers.add(self.deadline_ns, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if self.timer is not None:
            self.timer.cancel()
        if self._core.closed or (kind is GeneratorExit and self._core.current is None):
            return False  # thrown away together with its task: nobody is left to be told
        parent = self._leave()
        if (
            not self.cancel_called
            or not isinstance(error, Cancelled)
            or (parent.effective and not self.shielded)
        ):
            return False
        self.absorbed = True
        if self.expired:
            raise TimedOut(f"not done at its deadline, {self.deadline_ns} ns") from None
        return True

    def _leave(self) -> CancelScope:
        task, parent = self.task, self.parent
        assert task is not None
        assert parent is not None
        if task.innermost is not self or self._core.current is not task:
            raise RuntimeMisuse(
                "scopes must be left in reverse order, by the task that opened them"
            )
        parent.inner = None
        task.innermost = parent
        self.task = None  # a later cancel() finds nothing to cancel
        return parent

    def _expire(self) -> None:
        if not self.cancel_called:
            self.expired = True
            self.cancel()


def _creation(task: Task[Any]) -> int:
    return task.number
